//! Kills of what works for Phoenix: the shim alone, its child alone, shim and Phoenix together.
//!
//! Promised is that each script is completed at least once, that every start has its reason in the journal, and that no two
//! starts overlap. Not here: Phoenix killed alone (`kills`), and the whole host (`host_crash`).

use std::fs;

use phoenix::plan::Reason;
use serde_json::json;

use super::fleet::{Fleet, wait_for_gate};
use super::ground::{Ground, Kind, Working};
use super::processes::{Process, all, pause, until};
use super::template::{Extra, packed};

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Shim,
    Child,
    ShimAndPhoenix,
}

const VICTIMS: [Victim; 3] = [Victim::Shim, Victim::Child, Victim::ShimAndPhoenix];

/// The living shim of a step and its children. Shims say in their arguments whose they are.
fn shim(ground: &Ground, place: u32, step: &str) -> Option<(Process, Vec<Process>)> {
    let (all, ctid) = (all(), ground.ctid(place).to_string());
    let shim =
        all.iter().find(|one| one.is_shim() && one.argv.get(2) == Some(&ctid) && one.argv.get(3).is_some_and(|named| named == step))?;
    Some((shim.clone(), all.iter().filter(|one| one.parent == shim.pid).cloned().collect()))
}

/// Kills the victim as soon as the step is under way and its processes are there, then brings the fleet to its end.
fn strike(ground: &Ground, place: u32, step: &str, victim: Victim) -> Working {
    for _ in 0..STRIKES_MAX {
        let manifest = ground.path("fleet.json");
        let mut phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
        let struck = until(step, || match shim(ground, place, step) {
            Some((shim, children)) => hit(victim, &shim, &children, &phoenix),
            None => phoenix.has_ended().then_some(false),
        });
        if struck {
            return phoenix;
        }
        // The step was over before it was seen.
        phoenix.wait();
        ground.down(0);
    }
    panic!("{step} is always over before it is seen");
}

/// How often a step of some milliseconds is aimed at.
const STRIKES_MAX: usize = 10;

/// Kills the victim; nothing if it is not there yet.
fn hit(victim: Victim, shim: &Process, children: &[Process], phoenix: &Working) -> Option<bool> {
    match victim {
        Victim::Shim => shim.kill(),
        Victim::Child => children.first()?.kill(),
        Victim::ShimAndPhoenix => {
            shim.kill();
            phoenix.signal(rustix::process::Signal::KILL);
        }
    }
    Some(true)
}

#[track_caller]
fn settle(ground: &Ground, phoenix: Working, victim: Victim) {
    let said = phoenix.wait();
    if victim == Victim::ShimAndPhoenix {
        assert_eq!(said.code, 137);
    }
    if said.code != 0 {
        ground.resume(0);
    }
    ground.invariant_journal_is_clean();
    let status = ground.status();
    assert!(status.iter().all(|one| one["state"] == "done" && one["standing"] == "active"), "{status:#?}");
}

fn a_container_is_made_whole_whoever_is_killed_while_it_is_made(kind: Kind) {
    for (index, victim) in VICTIMS.into_iter().enumerate() {
        let Some(ground) = Ground::on(kind, 5) else { return };
        let place = u32::try_from(index).expect("small");
        packed(&ground.template(), &[Extra::Bulk("srv/bulk", 24 << 20), Extra::File("srv/last", b"whole\n")]);
        Fleet::new(&ground).container(place, json!({})).write();
        let phoenix = strike(&ground, place, "define.create", victim);
        settle(&ground, phoenix, victim);
        assert_eq!(ground.inside(place, &["cat", "/srv/last"]), (0, "whole\n".to_owned()), "{victim:?}");
        assert_eq!(ground.standing().len(), 1, "the container alone: {:?}", ground.standing());
        assert_eq!(ground.left_by_commands(), Vec::<String>::new());
    }
}

fn a_container_starts_whoever_is_killed_while_it_starts(kind: Kind) {
    for (index, victim) in VICTIMS.into_iter().enumerate() {
        let Some(ground) = Ground::on(kind, 6) else { return };
        let place = u32::try_from(index).expect("small");
        let once = ground.script("once", "true");
        Fleet::new(&ground).container(place, json!({ "features": [once] })).write();
        let phoenix = strike(&ground, place, "run.start", victim);
        settle(&ground, phoenix, victim);
        assert!(ground.is_running(place), "{victim:?}");
        assert_eq!(ground.starts(place, "once"), 1, "{victim:?}");
        let monitors = ground.processes().into_iter().filter(Process::is_monitor).count();
        assert_eq!(monitors, 1, "{victim:?}: nothing was started twice");
    }
}

/// The step of the script that waits for a gate.
const GATED: &str = "feature.apply[gated]";
/// A script whose starts show when they overlap: it notes begin and end with its process id.
const EXCLUSIVE: &str = "mkdir /running || echo overlap >>/overlaps; ";

/// A fleet of one whose feature waits for a gate.
fn gated(ground: &Ground, keys: &serde_json::Value) {
    let body = format!("{EXCLUSIVE}{}; rmdir /running; echo completed >>/completed; sync /completed", wait_for_gate("go"));
    let gated = ground.script("gated", &body);
    let mut feature = json!({ "script": gated, "timeout": "1m" });
    for (key, value) in keys.as_object().into_iter().flatten() {
        feature[key] = value.clone();
    }
    let before = ground.script("before", "true");
    Fleet::new(ground).container(0, json!({ "features": [before, feature] })).write();
}

fn completions(ground: &Ground) -> usize {
    fs::read_to_string(ground.rootfs(0).join("completed")).unwrap_or_default().lines().count()
}

#[track_caller]
fn check_script(ground: &Ground, starts: usize) {
    assert_eq!(ground.starts(0, "gated"), starts, "{:#?}", ground.intents_of(0, GATED));
    assert_eq!(ground.starts(0, "before"), 1, "what had succeeded is not repeated");
    assert!(!ground.rootfs(0).join("overlaps").exists(), "two starts overlapped");
    ground.invariant_starts_are_explained(0, "gated", GATED);
    ground.invariant_journal_is_clean();
}

fn a_script_goes_on_and_is_started_once_when_phoenix_alone_is_killed(kind: Kind) {
    let Some(ground) = Ground::on(kind, 7) else { return };
    gated(&ground, &json!({}));
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    phoenix.kill();
    let resumed = ground.start(&["resume"]);
    // The second Phoenix finds the lock held and waits; only then may the script end.
    pause(300);
    ground.open_gate(0, "go");
    let said = resumed.wait();
    assert_eq!(said.code, 0, "{}", said.stderr);
    check_script(&ground, 1);
    assert_eq!(completions(&ground), 1);

    // Ended while nobody was there: its result is taken. Two containers of one number share control groups.
    drop(ground);
    let Some(ground) = Ground::on(kind, 20) else { return };
    gated(&ground, &json!({}));
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    phoenix.kill();
    ground.open_gate(0, "go");
    until("the shim's end", || shim(&ground, 0, GATED).is_none().then_some(()));
    ground.resume(0);
    check_script(&ground, 1);
    assert_eq!(completions(&ground), 1);
    assert_eq!(ground.intents_of(0, GATED).len(), 1, "its result was taken; it was not begun again");
}

fn a_script_whose_messenger_dies_is_waited_for_and_started_once(kind: Kind) {
    let Some(ground) = Ground::on(kind, 8) else { return };
    gated(&ground, &json!({}));
    let phoenix = strike_script(&ground, |_, children| children.iter().find(|one| one.is_attach()).cloned());
    ground.open_gate(0, "go");
    let said = phoenix.wait();
    assert_eq!(said.code, 0, "{}", said.stderr);
    check_script(&ground, 1);
    assert_eq!(completions(&ground), 1);
}

fn a_script_without_its_shim_is_never_run_beside_a_second_start(kind: Kind) {
    for both in [false, true] {
        let Some(ground) = Ground::on(kind, 9) else { return };
        gated(&ground, &json!({}));
        let phoenix = strike_script(&ground, |shim, _| Some(shim.clone()));
        if both {
            phoenix.signal(rustix::process::Signal::KILL);
        }
        // The orphan goes on for a while, with nobody to collect its result.
        pause(200);
        let said = if both {
            phoenix.wait();
            let resumed = ground.start(&["resume"]);
            pause(300);
            assert_eq!(ground.starts(0, "gated"), 1, "the first start still runs");
            ground.open_gate(0, "go");
            resumed.wait()
        } else {
            ground.open_gate(0, "go");
            phoenix.wait()
        };
        if said.code != 0 {
            ground.resume(0);
        }
        let starts = ground.starts(0, "gated");
        assert!((1..=2).contains(&starts), "both: {both}, {starts}");
        check_script(&ground, starts);
        assert_eq!(completions(&ground), starts, "both: {both}: the first went on to its end, the second is recorded");
        if starts == 2 {
            let reasons: Vec<_> = ground.intents_of(0, GATED).into_iter().map(|intent| intent.reason).collect();
            assert!(!reasons.iter().skip(1).any(|reason| *reason == Reason::First), "{reasons:?}");
        }
    }
}

fn a_script_that_is_killed_itself_has_failed_and_is_retried_within_its_budget(kind: Kind) {
    let Some(ground) = Ground::on(kind, 10) else { return };
    gated(&ground, &json!({ "retries": 1 }));
    let phoenix = strike_script(&ground, |_, _| {
        let inside =
            ground.processes().into_iter().find(|one| one.argv.iter().any(|word| word.starts_with("/proc/self/fd/")) && !one.is_attach());
        inside.filter(|one| !one.is_shim())
    });
    until("the second start", || (ground.starts(0, "gated") == 2).then_some(()));
    fs::remove_dir(ground.rootfs(0).join("running")).ok();
    ground.open_gate(0, "go");
    let said = phoenix.wait();
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!((ground.starts(0, "gated"), completions(&ground)), (2, 1));
    ground.invariant_starts_are_explained(0, "gated", GATED);
    let reasons: Vec<_> = ground.intents_of(0, GATED).into_iter().map(|intent| intent.reason).collect();
    assert!(matches!(reasons.as_slice(), [Reason::First, Reason::Retry { .. }]), "{reasons:?}");
}

#[test]
fn a_script_that_must_be_asked_about_waits_for_a_person() {
    let Some(ground) = Ground::new(11) else { return };
    gated(&ground, &json!({ "on_interrupt": "ask" }));
    let phoenix = strike_script(&ground, |shim, _| Some(shim.clone()));
    phoenix.signal(rustix::process::Signal::KILL);
    phoenix.wait();
    // The script dies with its shim's host side gone, too.
    for one in ground.processes().into_iter().filter(|one| one.argv.iter().any(|word| word.starts_with("/proc/self/fd/"))) {
        one.kill();
    }
    ground.resume(1);
    let status = ground.status();
    assert_eq!(status[0]["quarantined"]["reason"], "interrupted", "{status:#?}");
    ground.resume(1);
    assert_eq!(ground.starts(0, "gated"), 1);
    ground.ends(0, &["retry", &ground.ctid(0).to_string(), "--rerun"]);
    fs::remove_dir(ground.rootfs(0).join("running")).ok();
    ground.open_gate(0, "go");
    ground.resume(0);
    check_script(&ground, 2);
}

/// Begun since a backup that was put back, and left without its shim: no entry knows of it.
fn a_start_that_an_older_journal_does_not_know_gets_no_second_one_beside_it(kind: Kind) {
    let Some(ground) = Ground::on(kind, 55) else { return };
    let first = ground.script("first", &wait_for_gate("one"));
    let second = ground.script("second", &format!("{EXCLUSIVE}{}", wait_for_gate("two")));
    Fleet::new(&ground).container(0, json!({ "features": [first, second] })).write();
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the first script's start", || (ground.starts(0, "first") == 1).then_some(()));
    let copy = ground.path("copy.db");
    ground.ends(0, &["journal", "backup", copy.to_str().expect("plain")]);
    ground.open_gate(0, "one");
    until("the second script's start", || (ground.starts(0, "second") == 1).then_some(()));
    phoenix.kill();
    shim(&ground, 0, "feature.apply[second]").expect("it goes on").0.kill();
    for end in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{end}", ground.journal().display()));
    }
    fs::copy(&copy, ground.journal()).expect("put back");
    let said = ground.resume(1);
    assert!(said.stdout.contains("feature.apply[second] is running already"), "{}", said.stdout);
    assert_eq!(ground.starts(0, "second"), 1);
    assert!(!ground.rootfs(0).join("overlaps").exists(), "two starts overlapped");
    ground.open_gate(0, "two");
}

/// Starts `up`, waits until the gated script runs, and kills who is named.
fn strike_script(ground: &Ground, victim: impl Fn(&Process, &[Process]) -> Option<Process>) -> Working {
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    let victim = until("the victim", || {
        let (shim, children) = shim(ground, 0, GATED)?;
        victim(&shim, &children)
    });
    victim.kill();
    phoenix
}

on_each_host! {
    a_container_is_made_whole_whoever_is_killed_while_it_is_made
    a_container_starts_whoever_is_killed_while_it_starts
    a_script_goes_on_and_is_started_once_when_phoenix_alone_is_killed
    a_script_whose_messenger_dies_is_waited_for_and_started_once
    a_script_without_its_shim_is_never_run_beside_a_second_start
    a_script_that_is_killed_itself_has_failed_and_is_retried_within_its_budget
    a_start_that_an_older_journal_does_not_know_gets_no_second_one_beside_it
}
