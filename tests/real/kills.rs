//! SIGKILL of Phoenix alone, at random moments, again and again.
//!
//! Meanwhile `status` is asked all the time and held against the journal. Not here: kills of shims and children (`shims`).

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::Duration;

use phoenix_journal::{Body, Position};
use rustix::process::Signal;
use serde_json::Value;

use super::dice::Dice;
use super::fingerprint::check_same;
use super::fleet::{FIVE_SCRIPTS, Fleet, paced_five};
use super::ground::{Ground, Kind, containers_of, tell};
use super::processes::{Process, kill, now, pause, until};
use super::template::{Extra, packed};

/// Kills in one run of this test, unless `PHOENIX_TEST_KILLS` says otherwise.
const KILLS: usize = 30;
/// Status samples wanted over the whole test, unless there are fewer kills than [`KILLS`].
const SAMPLES: usize = 1000;
const PLACES: [u32; 5] = [0, 1, 2, 3, 4];

#[derive(Default)]
struct Samples {
    compared: AtomicUsize,
    busy_ms: AtomicUsize,
    stop: AtomicBool,
}

impl Samples {
    /// Asks `status` until it is told to stop, and compares each answer that a standing journal can be held against.
    fn take(&self, ground: &Ground) {
        while !self.stop.load(Ordering::Relaxed) {
            if ground.journal().exists() {
                self.take_one(ground);
            } else {
                pause(1);
            }
        }
    }

    fn take_one(&self, ground: &Ground) {
        let before = ground.positions();
        let from = now();
        let said = ground.run(&["--json", "status"]);
        let took = from.elapsed();
        assert_eq!(said.code, 0, "{}", said.stderr);
        let status: Value = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}", said.stdout));
        check_status(ground, &shown(&status), &before);
        self.compared.fetch_add(1, Ordering::Relaxed);
        self.busy_ms.fetch_add(usize::try_from(took.as_millis()).expect("small"), Ordering::Relaxed);
    }
}

/// Where containers stand: state, standing, generation, and the step under way.
type Stands = BTreeMap<String, (String, String, u64, Option<String>)>;

fn shown(status: &Value) -> Stands {
    let stand = |one: &Value| {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let step = one["step"].as_str().filter(|_| one["last_error"].is_null()).map(str::to_owned);
        (one["ctid"].to_string(), (text("state"), text("standing"), one["generation"].as_u64().unwrap_or_default(), step))
    };
    containers_of(status).iter().map(stand).collect()
}

/// The status is what the journal said at one moment between the look before it and now, of all containers at once.
#[track_caller]
fn check_status(ground: &Ground, shown: &Stands, before: &[Position]) {
    let mut stands = Stands::new();
    let entries = ground.entries();
    let last = before.iter().map(|position| position.last_seq).max();
    let mut found = shown.is_empty() && last.is_none();
    for entry in &entries {
        if entry.stream.machine == "container" {
            let step = match &entry.body {
                Body::Intent { step, .. } => Some(step.clone()),
                // Taken for cut off, and shown until something follows.
                Body::Outcome { step, result, .. } if result != "done" && result != "failed" => Some(step.clone()),
                Body::Declare | Body::Outcome { .. } | Body::Note { .. } => None,
            };
            stands.insert(entry.stream.stream.clone(), (entry.state.to_string(), entry.standing.to_string(), entry.generation, step));
        }
        found |= Some(entry.seq) >= last && stands == *shown;
    }
    assert!(found, "status says {shown:#?}, and the journal says {stands:#?}");
}

fn phoenix_killed_at_random_moments_starts_each_script_exactly_once(kind: Kind) {
    let Some(ground) = Ground::on(kind, 4) else { return };
    let kills_wanted = std::env::var("PHOENIX_TEST_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut dice = Dice::new();
    paced_five(&ground, 0.3);
    let from = now();
    ground.up(0);
    let whole = from.elapsed();
    let wanted = ground.fingerprint(&PLACES);
    ground.down(0);

    let samples = Samples::default();
    let (mut kills, mut rounds) = (0, 0);
    std::thread::scope(|scope| {
        let askers = [(); 2].map(|()| scope.spawn(|| samples.take(&ground)));
        let stop = Stop(&samples.stop);
        let samples_wanted = SAMPLES.min(SAMPLES * kills_wanted / KILLS);
        while kills < kills_wanted || samples.compared.load(Ordering::Relaxed) < samples_wanted {
            assert!(!askers.iter().any(ScopedJoinHandle::is_finished), "a sample went wrong");
            rounds += 1;
            kills += round(&ground, &mut dice, whole, kills_wanted.saturating_sub(kills).max(1));
            let why = format!("round {rounds}, {kills} kills");
            check_same(&ground.fingerprint(&PLACES), &wanted, &why);
            for (place, script, step) in FIVE_SCRIPTS {
                let starts = ground.starts(place, script);
                assert_eq!(starts, 1, "{why}: {script} of {place} ({step}): {:#?}", ground.intents_of(place, step));
            }
            ground.invariant_journal_is_clean();
            kills += kill_down(&ground, &mut dice);
        }
        drop(stop);
    });
    let compared = samples.compared.into_inner();
    tell(&format!(
        "{kills} kills of phoenix in {rounds} rounds (a run takes {whole:?}); {compared} status samples, each equal to the journal at one \
         moment; a status took {} ms beside the run",
        samples.busy_ms.into_inner() / compared.max(1)
    ));
}

/// Stops the sampler, also when the round panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// From nothing to done, with up to `most` kills in between; how many there were.
fn round(ground: &Ground, dice: &mut Dice, whole: Duration, most: usize) -> usize {
    let manifest = ground.path("fleet.json");
    let mut arguments = vec!["up", manifest.to_str().expect("plain")];
    let rows = ground.entries().len();
    let mut kills = 0;
    while kills < most {
        let mut phoenix = ground.start(&arguments);
        // Short ones more often, so that a round sees several kills.
        let longest = u64::try_from(whole.as_millis()).expect("short") >> dice.below(3);
        pause(dice.below(longest));
        if phoenix.has_ended() {
            let said = phoenix.wait();
            assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
            break;
        }
        phoenix.kill();
        kills += 1;
        // Killed before its run was recorded, there is nothing to resume.
        if ground.entries().len() > rows {
            arguments = vec!["resume"];
        }
    }
    let said = ground.run(&arguments);
    assert_eq!(said.code, 0, "{}\n{}", said.stdout, said.stderr);
    kills
}

/// Takes all down with one kill on the way; a `resume` has to go on with the taking down.
fn kill_down(ground: &Ground, dice: &mut Dice) -> usize {
    let mut phoenix = ground.start(&["down", "--all", "--yes"]);
    pause(dice.below(2500));
    let in_time = !phoenix.has_ended();
    phoenix.kill();
    ground.down(0);
    usize::from(in_time)
}

#[test]
fn what_a_killed_down_had_moved_away_is_removed_by_the_next() {
    let Some(ground) = Ground::new(38) else { return };
    let names: Vec<String> = (0..3000).map(|index| format!("srv/file-{index}")).collect();
    let files: Vec<Extra<'_>> = names.iter().map(|name| Extra::File(name, b"x")).collect();
    packed(&ground.template(), &files);
    Fleet::new(&ground).container(0, serde_json::json!({ "startup": { "down_timeout": "1s" } })).write();
    ground.up(0);
    let phoenix = ground.start(&["down", "--all", "--yes"]);
    let left = || fs::read_dir(ground.path("lxc")).expect("a directory").flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    until("the move", || left().iter().any(|name| name.to_string_lossy().starts_with(".phoenix-gone-")).then_some(()));
    phoenix.kill();
    assert_eq!(left().len(), 2, "it was killed too late: {:?}", left());
    ground.down(0);
    assert_eq!(left().len(), 1, "the sentinel alone: {:?}", left());
    ground.invariant_journal_is_clean();
}

/// Nobody is left then to remove the control groups, and where their names are fixed LXC starts nothing beside them.
fn a_container_comes_up_again_after_its_monitor_and_its_init_were_killed(kind: Kind) {
    let Some(ground) = Ground::on(kind, 24) else { return };
    Fleet::new(&ground).container(0, serde_json::json!({})).write();
    ground.up(0);
    // Plain LXC finds an init without a monitor by its root, and what runs in it goes on.
    let cases: &[(bool, bool)] = if kind == Kind::Pct { &[(false, true), (true, true), (false, false)] } else { &[(false, true)] };
    for &(frozen, with_init) in cases {
        let init = ground.init(0).expect("it runs");
        let monitor = Process::of(init).expect("it runs").parent;
        if frozen {
            ground.freeze(0);
        }
        kill(monitor, Signal::KILL);
        if with_init {
            kill(init, Signal::KILL);
        }
        until("its end", || Process::of(monitor).is_none().then_some(()));
        assert!(!ground.control_groups().is_empty(), "they stay");
        ground.resume(0);
        assert!(ground.is_running(0) && ground.init(0) != Some(init), "frozen: {frozen}, with its init: {with_init}");
        until("the end of the old one", || Process::of(init).is_none().then_some(()));
    }
    ground.down(0);
    assert_eq!(ground.control_groups(), [] as [std::path::PathBuf; 0]);
    ground.invariant_journal_is_clean();
}

on_each_host! {
    a_container_comes_up_again_after_its_monitor_and_its_init_were_killed
    phoenix_killed_at_random_moments_starts_each_script_exactly_once
}
