//! Two orchestrators: one journal, of which a stopped Phoenix was robbed; two journals that want the same container; a shim
//! that stands still.
//!
//! Not here: the second one that is refused while the first is at work (`interrupts`).

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use phoenix::plan::Reason;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::dice::Dice;
use super::fingerprint::check_same;
use super::fleet::{Fleet, wait_for_gate};
use super::ground::{Ground, Kind, Said, Working, tell};
use super::judge::small;
use super::processes::{Process, all, now, pause, until};

/// How often a Phoenix is stopped at a random moment, beside the one within a script.
const STOPS: usize = 6;
/// The step of the script that waits for a gate.
const GATED: &str = "feature.apply[gated]";

fn up(ground: &Ground) -> Working {
    let manifest = ground.path("fleet.json");
    ground.start(&["up", manifest.to_str().expect("plain")])
}

/// The journal's lock file, gone; the next to come makes another, and excludes nobody who holds this one.
fn remove_journal_lock(ground: &Ground) {
    let locks = fs::read_dir(ground.path("journal")).expect("the journal's directory").flatten().map(|entry| entry.path());
    let locks: Vec<PathBuf> = locks.filter(|path| path.extension().is_some_and(|end| end == "lock")).collect();
    assert_eq!(locks.len(), 1, "{locks:?}");
    for lock in locks {
        fs::remove_file(lock).expect("removed");
    }
}

/// A fleet of one whose feature waits for a gate.
fn gated(ground: &Ground, timeout: &str) {
    let script = ground.script("gated", &format!("{}; echo completed >>/completed", wait_for_gate("go")));
    Fleet::new(ground).container(0, json!({ "features": [{ "script": script, "timeout": timeout }] })).write();
}

fn shim(ground: &Ground) -> Option<Process> {
    let ctid = ground.ctid(0).to_string();
    all().into_iter().find(|one| one.is_shim() && one.argv.get(2) == Some(&ctid) && one.argv.get(3).is_some_and(|step| step == GATED))
}

/// What the robbed one said when it went on: nothing of what it did may be recorded.
#[track_caller]
fn check_robbed(said: &Said) {
    assert_eq!(said.code, 4, "{}", said.all());
    assert!(said.stderr.contains("another writer has taken over"), "{}", said.stderr);
}

/// Until it has ended, or waits for a lock that a process of this number holds; whether it waits.
#[track_caller]
fn waits_for(working: &mut Working, holder: u32) -> bool {
    until("its end or its wait", || {
        let said = working.stderr();
        let waits = said.lines().any(|line| line.contains("waits for lock") && line.contains(&format!("(pid {holder})")));
        (waits || working.has_ended()).then_some(waits)
    })
}

#[test]
fn a_writer_robbed_while_its_script_runs_is_waited_for_and_refused_when_it_goes_on() {
    let Some(ground) = Ground::new(31) else { return };
    gated(&ground, "1m");
    let first = up(&ground);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    first.signal(Signal::STOP);
    remove_journal_lock(&ground);
    let mut second = ground.start(&["resume"]);
    // It may still act in the container, so its lock is respected even now.
    assert!(waits_for(&mut second, first.pid()), "{}", second.stderr());
    ground.open_gate(0, "go");
    until("the shim's end", || shim(&ground).is_none().then_some(()));
    first.signal(Signal::CONT);
    check_robbed(&first.wait());
    let said = second.wait();
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(ground.starts(0, "gated"), 1);
    assert_eq!(ground.intents_of(0, GATED).len(), 1, "its result was taken");
    let rows = ground.entries().len();
    ground.resume(0);
    assert_eq!(ground.entries().len(), rows, "nothing is left to do");
    ground.invariant_journal_is_clean();
}

#[test]
fn a_writer_robbed_between_two_steps_is_replaced_at_once_and_begins_nothing_when_it_goes_on() {
    let Some(ground) = Ground::new(37) else { return };
    // The wait before the second attempt is when nothing is under way.
    let script = ground.script("flaky", "[ $(grep -c flaky /starts) -gt 1 ]");
    Fleet::new(&ground).container(0, json!({ "features": [{ "script": script, "retries": 1 }] })).write();
    let first = up(&ground);
    until("the first failure", || (ground.starts(0, "flaky") == 1 && ground.open_step(0).is_none()).then_some(()));
    first.signal(Signal::STOP);
    remove_journal_lock(&ground);
    let said = ground.run(&["resume"]);
    assert_eq!(said.code, 0, "{}", said.all());
    let (rows, before, init) = (ground.entries().len(), ground.fingerprint(&[0]), ground.init(0));
    first.signal(Signal::CONT);
    check_robbed(&first.wait());
    assert_eq!(ground.entries().len(), rows, "nothing of the first is recorded");
    check_same(&ground.fingerprint(&[0]), &before, "after the first went on");
    assert_eq!((ground.init(0), ground.starts(0, "flaky")), (init, 2));
    ground.invariant_journal_is_clean();
}

fn a_writer_robbed_anywhere_changes_nothing_once_another_has_taken_over(kind: Kind) {
    let Some(ground) = Ground::on(kind, 32) else { return };
    let mut dice = Dice::new();
    small(&ground);
    let from = now();
    ground.up(0);
    let whole = u64::try_from(from.elapsed().as_millis()).expect("short");
    let wanted = ground.world();
    ground.down(0);
    let (mut refused, mut held_up, mut kept_out) = (0, 0, 0);
    for _ in 0..STOPS {
        let rows = ground.entries().len();
        let mut first = up(&ground);
        until("its run", || (ground.entries().len() > rows || first.has_ended()).then_some(()));
        pause(dice.below(whole * 3 / 4));
        first.signal(Signal::STOP);
        remove_journal_lock(&ground);
        let mut second = ground.start(&["resume"]);
        let waits = waits_for(&mut second, first.pid());
        let rows = ground.entries().len();
        // Stopped within a transaction, it still keeps everybody out, and was robbed of nothing.
        let is_kept_out = !waits && second.stderr().contains("another program is writing in it");
        first.signal(Signal::CONT);
        let (robbed, said) = (first.wait(), second.wait());
        if is_kept_out {
            assert_eq!((said.code, robbed.code), (4, 0), "{}\n{}", said.all(), robbed.all());
        } else {
            assert_eq!(said.code, 0, "{}", said.all());
            if robbed.code != 0 {
                check_robbed(&robbed);
            }
            assert!(waits || ground.entries().len() == rows, "something of the first is recorded: {}", robbed.all());
        }
        let faults = ground.judge_up(&wanted, &[]);
        assert!(faults.is_empty(), "{faults:#?}");
        ground.invariant_journal_is_clean();
        ground.down(0);
        refused += usize::from(robbed.code == 4);
        held_up += usize::from(waits);
        kept_out += usize::from(is_kept_out);
    }
    assert!(refused > 0, "none was ever stopped at work");
    let counts = format!("{refused} of them refused, {held_up} waited for, {kept_out} within a transaction");
    tell(&format!("{STOPS} writers stopped and robbed, {counts}; seed {}", dice.seed()));
}

/// Phoenix on a second journal, with the same container directory and runtime directory.
fn start_second(ground: &Ground, arguments: &[&str]) -> Working {
    let directory = ground.path("journal2");
    fs::create_dir_all(&directory).expect("a directory");
    fs::set_permissions(&directory, PermissionsExt::from_mode(0o700)).expect("a mode");
    ground.start_command(ground.command_on(&directory.join("journal.db"), arguments))
}

/// The same containers, as those of this fleet.
fn second_up(ground: &Ground, fleet: &str) -> Working {
    let manifest = ground.path("second.json");
    let mut text: serde_json::Value = serde_json::from_slice(&fs::read(ground.path("fleet.json")).expect("a manifest")).expect("JSON");
    text["fleet"] = fleet.into();
    fs::write(&manifest, text.to_string()).expect("room");
    start_second(ground, &["up", manifest.to_str().expect("plain")])
}

fn a_second_journal_never_touches_the_container_of_the_first(kind: Kind) {
    let Some(ground) = Ground::on(kind, 33) else { return };
    gated(&ground, "1m");
    let first = up(&ground);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    // While the first is at work in it, and once it has finished.
    let lost = second_up(&ground, "real").wait();
    assert!(lost.code == 4 && lost.all().contains("bears the marks of fleet real"), "{}", lost.all());
    assert!(!ground.path("journal2/journal.db").exists(), "no journal is begun for what has one somewhere");
    let mut during = second_up(&ground, "other");
    let waits = waits_for(&mut during, first.pid());
    ground.open_gate(0, "go");
    assert_eq!(first.wait().code, 0);
    let during = during.wait();
    assert_eq!(during.code, 1, "waited: {waits}: {}", during.all());
    assert!(during.all().contains("foreign"), "{}", during.all());
    let (before, init) = (ground.fingerprint(&[0]), ground.init(0));
    for arguments in [&["resume"][..], &["down", "--all", "--yes"], &["status"]] {
        let said = start_second(&ground, arguments).wait();
        assert!([0, 1].contains(&said.code), "{arguments:?}: {}", said.all());
    }
    let after = second_up(&ground, "other").wait();
    assert_eq!(after.code, 1, "{}", after.all());
    assert!(after.all().contains("foreign"), "{}", after.all());
    let same = |found: super::fingerprint::Fingerprint| -> super::fingerprint::Fingerprint {
        // Each journal leaves its sentinel.
        found.into_iter().filter(|(name, _)| name != "container directory").collect()
    };
    check_same(&same(ground.fingerprint(&[0])), &same(before), "after all that the second tried");
    assert_eq!(ground.init(0), init, "its init is the one that it had");
    assert_eq!(ground.starts(0, "gated"), 1);
    ground.resume(0);
    ground.down(0);
    assert!(!ground.config(0).exists());
}

fn of_two_journals_that_race_for_a_container_one_gets_it_and_the_other_says_so(kind: Kind) {
    let Some(ground) = Ground::on(kind, 34) else { return };
    let once = ground.script("once", "true");
    Fleet::new(&ground).container(0, json!({ "features": [once] })).container(1, json!({})).write();
    for _ in 0..3 {
        let (first, second) = (up(&ground), second_up(&ground, "other"));
        let (first, second) = (first.wait(), second.wait());
        assert!([0, 1].contains(&first.code) && [0, 1].contains(&second.code), "{}{}", first.all(), second.all());
        assert_eq!(ground.starts(0, "once"), 1, "{}{}", first.all(), second.all());
        let monitors: Vec<Process> = ground.processes().into_iter().filter(Process::is_monitor).collect();
        assert_eq!(monitors.len(), 2, "each is up once: {monitors:#?}");
        let standing = |said: &Said| said.all().matches("foreign").count();
        assert!(standing(&first) + standing(&second) >= 2, "each is somebody's, and the other says so: {}{}", first.all(), second.all());
        assert_eq!(start_second(&ground, &["down", "--all", "--yes"]).wait().code, 0);
        ground.down(0);
        assert!(!ground.config(0).exists() && !ground.config(1).exists());
    }
}

/// Starts `up`, stops the script's shim, kills Phoenix.
fn stop_shim(ground: &Ground) -> Process {
    let phoenix = up(ground);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    let shim = until("the shim", || shim(ground));
    super::processes::kill(shim.pid, Signal::STOP);
    phoenix.kill();
    shim
}

#[test]
fn a_shim_that_stands_still_is_waited_for_and_its_result_taken() {
    let Some(ground) = Ground::new(35) else { return };
    gated(&ground, "1m");
    let shim = stop_shim(&ground);
    let mut resumed = ground.start(&["resume"]);
    ground.open_gate(0, "go");
    pause(500);
    assert!(!resumed.has_ended(), "the lock is held: {}", resumed.stderr());
    super::processes::kill(shim.pid, Signal::CONT);
    let said = resumed.wait();
    assert_eq!(said.code, 0, "{}", said.all());
    assert_eq!(ground.starts(0, "gated"), 1);
    assert_eq!(ground.intents_of(0, GATED).len(), 1);
    ground.invariant_journal_is_clean();
}

#[test]
fn a_shim_that_stands_still_beyond_its_deadline_is_ended_with_its_script() {
    let Some(ground) = Ground::new(36) else { return };
    gated(&ground, "4s");
    let shim = stop_shim(&ground);
    let said = ground.run(&["resume"]);
    assert_ne!(Process::of(shim.pid).map(|one| one.argv), Some(shim.argv), "it was ended: {}", said.all());
    let scripts = |one: &Process| one.argv.iter().any(|word| word.starts_with("/proc/self/fd/"));
    assert!(!ground.processes().iter().any(scripts), "its script was ended with it, and a second start too, by its deadline");
    assert_eq!(said.code, 1, "the gate never opened: {}", said.all());
    ground.open_gate(0, "go");
    ground.up(0);
    let reasons: Vec<Reason> = ground.intents_of(0, GATED).into_iter().map(|intent| intent.reason).collect();
    assert_eq!(reasons.first(), Some(&Reason::First));
    assert!(reasons.iter().skip(1).all(|reason| matches!(reason, Reason::Interrupted | Reason::Retry { .. })), "{reasons:?}");
    ground.invariant_starts_are_explained(0, "gated", GATED);
    let status = ground.status();
    assert_eq!((&status[0]["state"], &status[0]["last_error"]), (&json!("done"), &Value::Null));
    ground.invariant_journal_is_clean();
}

on_each_host! {
    a_second_journal_never_touches_the_container_of_the_first
    of_two_journals_that_race_for_a_container_one_gets_it_and_the_other_says_so
    a_writer_robbed_anywhere_changes_nothing_once_another_has_taken_over
}
