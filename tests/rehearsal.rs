//! The real engine, turn and journal guards on the simulator: crashes at every point, and what must hold whatever happens.
//!
//! `PHOENIX_TEST_SCHEDULES` plays that many schedules of crashes where a test would play fewer, pairs and longer ones included.

#[path = "rehearsal/faults.rs"]
mod faults;
mod fleets;
#[path = "fleets/invariants.rs"]
mod invariants;
#[path = "rehearsal/turned.rs"]
mod turned;

use std::collections::BTreeSet;

use fleets::{cloned, ctid, depending, mounted, on_proxmox, proxmox_trio, spec, trio, wanted, with_application, with_snapshot};
use invariants::{history, invariant_nothing_is_damaged, invariant_snapshots_are_released, invariants};
use phoenix::driver::{Observer, Progress, Silent};
use phoenix::engine::Stand;
use phoenix::host::sim::{Behaviour, Fault, Faults, Rates, Sabotage, Survivors, Tamper, What, When, Where, World, WorldOptions};
use phoenix::ids::{State, StepId};
use phoenix::journal::Account;
use phoenix::machine::{Fact, RunCommand, RunEnd};
use phoenix::manifest::Spec;
use phoenix::plan::Doubt;
use phoenix::rehearse::{Budget, Crash, CrashKind, Ended, Findings, Guide, Nobody, Place, Point, Rehearsal, Script, Stage};
use phoenix_journal::{Append, Body, Draft};
use proptest::prelude::*;

const JOBS: usize = 4;

fn rehearsal(specs: Vec<Spec>, seed: u64) -> Rehearsal {
    rehearsal_on(WorldOptions::seeded(seed), specs)
}

fn rehearsal_on(world: WorldOptions, specs: Vec<Spec>) -> Rehearsal {
    Rehearsal::new(world, "fleet".parse().expect("a fleet name"), wanted(specs), JOBS)
}

/// The budget of a test, or the one that is asked for.
fn budget(usual: Budget) -> Budget {
    let asked = std::env::var("PHOENIX_TEST_SCHEDULES").ok().map(|text| text.parse().expect("a number of schedules"));
    asked.map_or(usual, Budget::of)
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn perform(rehearsal: &Rehearsal, usual: Budget) -> Findings {
    let findings = rehearsal.perform(budget(usual), threads(), &Nobody).expect("a rehearsal");
    check_none_diverge(rehearsal, &findings);
    findings
}

/// Prints what is wrong with the shortest schedule, and the one line that replays it.
#[track_caller]
fn check_none_diverge(rehearsal: &Rehearsal, findings: &Findings) {
    let Some(first) = findings.divergences.first() else { return };
    let replayed = rehearsal.replay(&first.script.crashes).expect("a schedule that was played");
    let entries = replayed.entries.iter().map(invariants::line).collect::<Vec<_>>();
    panic!("{} diverged, the shortest is {}: {}\n{:#?}\n{entries:#?}", findings.diverged(), first.script, first.trouble, replayed.cuts);
}

fn stage(specs: Vec<Spec>, seed: u64) -> Stage {
    let world = World::new(WorldOptions::seeded(seed));
    Stage::new(world, "fleet".parse().expect("a fleet name"), wanted(specs), JOBS, seed).expect("a stage")
}

fn ended(ended: &Ended) -> RunEnd {
    match ended {
        Ended::Run { end, .. } => *end,
        Ended::Crashed => panic!("the run was cut"),
    }
}

#[test]
fn a_fleet_comes_up_and_a_second_up_does_nothing() {
    let mut stage = stage(trio(), 1);
    assert_eq!(ended(&stage.up(None, &mut Silent).expect("a run")), RunEnd::Done);
    let account = stage.account().expect("an account");
    assert!(account.lives.values().flatten().all(|life| life.state() == State::Done));
    let before = stage.world.fingerprint();
    let mut effects = Count::default();
    assert_eq!(ended(&stage.up(None, &mut effects).expect("a run")), RunEnd::Done);
    assert_eq!(effects.intents, 0, "a finished fleet asks for nothing");
    assert_eq!(stage.world.fingerprint(), before);
}

#[derive(Default)]
struct Count {
    intents: usize,
}

impl Observer for Count {
    fn observe(&mut self, progress: Progress<'_>) {
        if matches!(progress, Progress::Intended { .. }) {
            self.intents += 1;
        }
    }
}

#[test]
fn every_single_crash_converges_every_place_is_hit_and_every_verdict_seen() {
    let rehearsal = rehearsal(trio(), 3);
    let findings = perform(&rehearsal, Budget::singles(u64::MAX));
    assert_eq!(Some(findings.singles.tried), findings.singles.possible);
    assert_eq!(findings.singles.possible, Some(findings.points * 4));
    assert_eq!(findings.coverage.missing(), Vec::<String>::new());
    let cut: BTreeSet<String> = findings.coverage.steps().map(|(ctid, step, _)| format!("{ctid} {step}")).collect();
    assert!(cut.is_superset(&steps_of(trio(), 3)), "steps without a crash: {:?}", steps_of(trio(), 3).difference(&cut));
    // Foreign, gone and unknown take a stranger or a hand on the host; crashes alone do not lead there.
    let seen: BTreeSet<&str> = findings.coverage.verdicts().values().flatten().copied().collect();
    assert_eq!(seen, BTreeSet::from(["absent", "done", "failed", "interrupted", "partial"]));
}

/// The source is held by a snapshot and goes on running; templates are fetched, the firewall is set, snapshots are taken.
#[test]
fn every_single_crash_on_proxmox_converges_and_every_place_is_hit() {
    let rehearsal = rehearsal(proxmox_trio(), 3);
    let findings = perform(&rehearsal, Budget::singles(u64::MAX));
    assert_eq!(Some(findings.singles.tried), findings.singles.possible);
    assert_eq!(findings.coverage.missing(), Vec::<String>::new());
    let cut: BTreeSet<String> = findings.coverage.steps().map(|(ctid, step, _)| format!("{ctid} {step}")).collect();
    assert!(cut.is_superset(&steps_of(proxmox_trio(), 3)), "steps without a crash: {:?}", steps_of(proxmox_trio(), 3).difference(&cut));
    for step in ["100 template.fetch", "102 firewall.set", "101 snapshot.take", "100 clone.hold", "100 clone.release"] {
        assert!(cut.contains(step), "{step} was never cut: {cut:?}");
    }
    let verdicts = |step: &str| {
        let of = findings.coverage.verdicts().iter().find(|(id, _)| id.to_string() == step).map(|(_, seen)| seen.clone());
        of.unwrap_or_default()
    };
    for step in ["snapshot.take", "clone.hold", "clone.release"] {
        assert!(verdicts(step).is_superset(&BTreeSet::from(["absent", "done", "partial"])), "{step}: {:?}", verdicts(step));
    }
}

#[test]
fn sampled_pairs_and_longer_schedules_on_proxmox_converge() {
    let rehearsal = rehearsal(live_pair(), 5);
    let findings = perform(&rehearsal, Budget::of(1400));
    assert!(findings.pairs.tried > 0);
    let longer = rehearsal.perform(Budget::longer(300), threads(), &Nobody).expect("a rehearsal");
    check_none_diverge(&rehearsal, &longer);
}

/// What a snapshot leaves that was cut off is put right, whatever cuts that.
#[test]
fn every_crash_in_the_repair_of_a_snapshot_converges() {
    let rehearsal = rehearsal(live_pair(), 5);
    for (of, step) in [(101, "snapshot.take"), (100, "clone.hold"), (100, "clone.release")] {
        let mut inside = Within { ctid: ctid(of), step: step.to_owned(), found: None };
        stage(live_pair(), 5).run(RunCommand::Up, &mut inside, &mut Silent).expect("a run");
        let first = Crash { point: inside.found.expect("the step is taken"), kind: CrashKind::Process(Survivors::Nobody) };
        let mut places = BTreeSet::new();
        for point in 0..16 {
            for kind in CrashKind::ALL {
                let crashes = [first, Crash { point, kind }];
                let replayed = rehearsal.replay(&crashes).expect("a schedule");
                assert!(replayed.judged.is_ok(), "{crashes:?}: {:?}", replayed.judged);
                let repair = format!("{step}.repair");
                let at = replayed.cuts.iter().flat_map(|cut| &cut.places).filter(|(_, step, _)| step.to_string() == repair);
                places.extend(at.map(|(_, _, place)| *place));
            }
        }
        assert!(places.contains(&Place::Inside { done: 1, of: 2 }), "{step}: its repair was cut at {places:?} alone");
    }
}

/// Finds the point at which one piece of a step is done.
struct Within {
    ctid: phoenix::ids::Ctid,
    step: String,
    found: Option<u64>,
}

impl Guide for Within {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        let here = |(of, step, place): (_, &StepId, Place)| {
            of == self.ctid && step.to_string() == self.step && matches!(place, Place::Inside { done: 1, .. })
        };
        if self.found.is_none() && point.places.iter().any(here) {
            self.found = Some(point.number);
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// A source that goes on running, and its clone with a volume and a snapshot before it; no scripts.
fn live_pair() -> Vec<Spec> {
    let mut source = on_proxmox(spec(100));
    source.features.clear();
    source.health.clear();
    let mut clone = with_snapshot(on_proxmox(cloned(mounted(spec(101), "media"), 100)));
    clone.features.clear();
    clone.health.clear();
    vec![source, clone]
}

/// Its init dies while it is held, between two of its copies: it is let go, goes up again, and is held once more.
#[test]
fn a_live_source_whose_init_dies_is_let_go_and_held_again() {
    let specs = || vec![on_proxmox(spec(100)), on_proxmox(cloned(spec(101), 100)), on_proxmox(cloned(spec(102), 100))];
    let what = What::Tamper(Tamper::Stop(ctid(100)));
    let fault = Fault { ctid: Some(ctid(101)), step: Where::Base("define.clone"), attempt: Some(1), when: When::Piece(3), what };
    let faults = Faults { planned: vec![fault], ..Faults::default() };
    let options = WorldOptions { faults, ..WorldOptions::seeded(1) };
    let mut stage = Stage::new(World::new(options), "fleet".parse().expect("a name"), wanted(specs()), JOBS, 1).expect("a stage");
    let up = |stage: &mut Stage| ended(&stage.up(None, &mut Silent).expect("a run"));
    assert_eq!(up(&mut stage), RunEnd::Done, "{:#?}", history(&stage));
    assert_eq!(up(&mut stage), RunEnd::Done, "the next run finds the source down, and brings it up: {:#?}", history(&stage));
    invariants(&stage);
    invariant_snapshots_are_released(&stage);
    let running = |stage: &Stage| stage.world.fingerprint().containers.values().all(|container| container.up);
    assert!(running(&stage), "{:#?}", history(&stage));
}

/// While it is copied a source answers as ever: it is never stopped, and what depends on it need not wait for its copies.
#[test]
fn a_live_source_is_started_once_and_its_dependents_do_not_wait_for_its_copies() {
    let specs = vec![on_proxmox(spec(100)), on_proxmox(cloned(spec(101), 100)), on_proxmox(depending(spec(102), 100))];
    let mut stage = stage(specs, 1);
    assert_eq!(ended(&stage.up(None, &mut Silent).expect("a run")), RunEnd::Done);
    invariants(&stage);
    invariant_snapshots_are_released(&stage);
    let of_source = |text: &str| history(&stage).iter().filter(|line| line.contains("container 100") && line.contains(text)).count();
    assert_eq!(of_source("outcome run.start done"), 1, "{:#?}", history(&stage));
    assert_eq!(of_source("outcome clone.hold done -> done"), 1, "{:#?}", history(&stage));
}

#[test]
fn every_pair_of_crashes_converges_and_every_place_of_every_repair_is_hit() {
    let mut small = mounted(spec(100), "media");
    small.features.clear();
    small.health.clear();
    let findings = perform(&rehearsal(vec![small], 5), Budget::pairs(u64::MAX));
    assert_eq!(Some(findings.pairs.tried), findings.pairs.possible);
    let steps: Vec<String> = findings.coverage.steps().map(|(_, step, _)| step.to_string()).collect();
    assert!(steps.contains(&"define.create.repair".to_owned()), "{steps:?}");
    assert_eq!(findings.coverage.missing(), Vec::<String>::new());
}

#[test]
fn sampled_pairs_and_longer_schedules_converge() {
    let rehearsal = rehearsal(trio(), 5);
    let findings = perform(&rehearsal, Budget::of(1400));
    assert!(findings.pairs.tried > 0);
    let longer = rehearsal.perform(Budget::longer(300), threads(), &Nobody).expect("a rehearsal");
    check_none_diverge(&rehearsal, &longer);
    assert_eq!(longer.longer.tried, 300);
}

#[test]
fn the_number_of_threads_changes_nothing() {
    let mut small = spec(100);
    small.features.clear();
    let rehearsal = rehearsal(vec![small], 11);
    let perform = |budget, threads| rehearsal.perform(budget, threads, &Nobody).expect("a rehearsal");
    for budget in [Budget::of(100), Budget::of(400), Budget::longer(50)] {
        let one = perform(budget, 1);
        assert_eq!(one, perform(budget, 2));
        assert_eq!(one, perform(budget, 3));
    }
}

/// What a crash leaves is taken along at a point instead of playing up to it again: that has to be the same.
#[test]
fn a_wreck_is_what_the_crash_itself_leaves() {
    let mut wrecks = Wrecks::default();
    stage(trio(), 3).run(RunCommand::Up, &mut wrecks, &mut Silent).expect("a run");
    for (crash, wreck) in wrecks.0.into_iter().step_by(7) {
        let mut cut = stage(trio(), 3);
        assert_eq!(cut.up(Some(crash), &mut Silent).expect("a run"), Ended::Crashed);
        assert_eq!(history(&wreck), history(&cut), "{crash}");
        assert_eq!(format!("{:?}", wreck.world), format!("{:?}", cut.world), "{crash}");
        let (mut one, mut other) = (wreck, cut);
        assert_eq!(one.resume(None, &mut Silent).expect("a run"), other.resume(None, &mut Silent).expect("a run"), "{crash}");
        assert_eq!(one.journal.replay(None).expect("a journal"), other.journal.replay(None).expect("a journal"), "{crash}");
    }
}

/// A wreck remembers what its journal was folded into: that has to be what the journal says if it is read from the beginning.
#[test]
fn what_a_wreck_remembers_is_what_its_journal_says() {
    let mut firsts = Wrecks::default();
    stage(trio(), 3).run(RunCommand::Up, &mut firsts, &mut Silent).expect("a run");
    for (first, mut wreck) in firsts.0.into_iter().step_by(97) {
        let mut seconds = Wrecks::default();
        wreck.run(RunCommand::Resume, &mut seconds, &mut Silent).expect("a run");
        for (second, wreck) in seconds.0.into_iter().step_by(13).chain([(first, wreck)]) {
            let read = Account::of(wreck.journal.replay(None).expect("a journal"));
            assert_eq!(format!("{:?}", wreck.account().expect("an account")), format!("{read:?}"), "{first} {second}");
        }
    }
}

#[derive(Default)]
struct Wrecks(Vec<(Crash, Stage)>);

impl Guide for Wrecks {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        self.0.extend(CrashKind::ALL.map(|kind| (Crash { point: point.number, kind }, point.wreck(kind))));
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// A probe that does not make durable what it calls done is noticed only if the host goes down after the recovery from another
/// crash: it takes a pair, and the line that is printed plays it again.
#[test]
fn a_bug_in_recovery_is_found_and_can_be_replayed() {
    let behaviour = Behaviour { sabotage: Some(Sabotage::ForgetfulProbe), ..Behaviour::default() };
    let mut small = mounted(spec(100), "media");
    small.features.clear();
    small.health.clear();
    let rehearsal = rehearsal_on(WorldOptions { behaviour, ..WorldOptions::seeded(5) }, vec![small]);
    let findings = rehearsal.perform(Budget::pairs(2500), threads(), &Nobody).expect("a rehearsal");
    assert_eq!(findings.singles.diverged, 0, "one crash alone cannot show it");
    assert!(findings.pairs.diverged > 0);
    for divergence in &findings.divergences {
        let script: Script = divergence.script.to_string().parse().expect("a script");
        let replayed = rehearsal.replay(&script.crashes).expect("a schedule that was played");
        assert_eq!(replayed.judged, Err(divergence.trouble.clone()), "{script}");
        assert_eq!(replayed.cuts.iter().map(|cut| cut.crash).collect::<Vec<_>>(), script.crashes);
    }
}

#[test]
fn a_crash_beyond_the_end_of_its_run_is_refused() {
    let rehearsal = rehearsal(vec![spec(100)], 1);
    let crash = Crash { point: 1_000_000, kind: CrashKind::Host };
    let error = rehearsal.replay(&[crash]).expect_err("no run is that long");
    assert!(error.to_string().starts_with("the crash 1000000h never comes: run 1 of the schedule has "), "{error}");
}

/// The steps that a run takes which nothing cuts, by container.
fn steps_of(specs: Vec<Spec>, seed: u64) -> BTreeSet<String> {
    let mut steps = Taken::default();
    stage(specs, seed).up(None, &mut steps).expect("a run");
    steps.0
}

#[derive(Default)]
struct Taken(BTreeSet<String>);

impl Observer for Taken {
    fn observe(&mut self, progress: Progress<'_>) {
        if let Progress::Intended { intent, .. } = progress {
            let step: &StepId = &intent.step;
            self.0.insert(format!("{} {step}", intent.ctid));
        }
    }
}

#[test]
fn down_takes_everything_off_whatever_cuts_it() {
    let mut base = stage(proxmox_trio(), 7);
    base.up(None, &mut Silent).expect("a run");
    let mut whole = base.clone();
    let points = match whole.down(None, &mut Silent).expect("a run") {
        Ended::Run { end: RunEnd::Done, points, .. } => points,
        other @ (Ended::Run { .. } | Ended::Crashed) => panic!("{other:#?}\n{:#?}", history(&whole)),
    };
    for point in 0..points {
        for kind in CrashKind::ALL {
            let mut stage = base.clone();
            stage.down(Some(Crash { point, kind }), &mut Silent).expect("a run");
            assert_eq!(ended(&stage.down(None, &mut Silent).expect("a run")), RunEnd::Done, "{point} {kind:?} {:#?}", history(&stage));
            invariants(&stage);
            let differences = stage.world.fingerprint().differences(&whole.world.fingerprint());
            assert!(differences.is_empty(), "{point} {kind:?} {differences:#?}");
        }
    }
}

#[test]
fn a_fleet_taken_down_comes_up_again_as_a_new_incarnation() {
    let mut stage = stage(trio(), 9);
    stage.up(None, &mut Silent).expect("a run");
    let first = stage.account().expect("an account").lives.remove(&ctid(100)).expect("declared").expect("readable").incarnation();
    stage.down(None, &mut Silent).expect("a run");
    assert_eq!(ended(&stage.up(None, &mut Silent).expect("a run")), RunEnd::Done);
    let second = stage.account().expect("an account").lives.remove(&ctid(100)).expect("declared").expect("readable").incarnation();
    assert_ne!(first, second);
    invariants(&stage);
}

#[test]
fn a_container_whose_account_cannot_be_read_holds_up_no_other() {
    let mut stage = stage(vec![spec(100), spec(101)], 1);
    let cut = stage.up(Some(Crash { point: 20, kind: CrashKind::Host }), &mut Silent).expect("a run");
    assert_eq!(cut, Ended::Crashed, "neither is where it is to be");
    let last = stage.journal.replay(None).expect("a journal").into_iter().rfind(|entry| entry.stream.stream == "100").expect("an entry");
    let draft = Draft {
        stream: last.stream.clone(),
        life: last.life.clone(),
        generation: last.generation,
        run: last.run.clone(),
        body: Body::Note { topic: "standing".to_owned() },
        state: last.state.clone(),
        standing: last.standing.clone(),
        payload: "{\"schema\":99}".to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    };
    stage.journal.begin(vec![draft]).expect("no rule speaks of payloads");
    let Ended::Run { end, stands, .. } = stage.up(None, &mut Silent).expect("a run") else { panic!("cut") };
    assert_eq!(end, RunEnd::Failed);
    assert!(matches!(stands[&ctid(100)], Stand::Undecodable(_)), "{stands:#?}");
    assert_eq!(stands[&ctid(101)], Stand::There);
}

#[test]
fn a_strangers_container_is_not_touched() {
    let mut stage = stage(vec![spec(100), depending(spec(101), 100)], 11);
    stage.world.tamper(&Tamper::Stranger(ctid(100)));
    let Ended::Run { end, stands, .. } = stage.up(None, &mut Silent).expect("a run") else { panic!("cut") };
    assert_eq!(end, RunEnd::Failed);
    assert!(matches!(stands[&ctid(100)], Stand::Stuck(_)), "{stands:#?}");
    assert_eq!(stands[&ctid(101)], Stand::Blocked(ctid(100)));
    invariant_nothing_is_damaged(&stage);
}

/// A fleet of one to four containers: each may clone or depend on an earlier one, and may share a volume.
fn fleets() -> impl Strategy<Value = Vec<Spec>> {
    let one = (any::<bool>(), 0_u8..3, any::<bool>(), any::<bool>(), any::<prop::sample::Index>());
    prop::collection::vec(one, 1..5).prop_map(|choices| {
        let mut specs: Vec<Spec> = Vec::new();
        for (number, (volume, link, application, proxmox, index)) in (100_u32..).zip(choices) {
            let mut new = spec(number);
            let is_source = |specs: &[Spec], at: usize| specs[at].mounts.is_empty();
            if !specs.is_empty() {
                let at = index.index(specs.len());
                match link {
                    1 => new = depending(new, specs[at].ctid.get()),
                    2 if is_source(&specs, at) => new = cloned(new, specs[at].ctid.get()),
                    _ => {}
                }
            }
            if volume {
                new = mounted(new, "media");
            }
            if application {
                new = with_application(new);
            }
            if proxmox {
                new = with_snapshot(on_proxmox(new));
            }
            specs.push(new);
        }
        specs
    })
}

fn crash_lists() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec((0_u64..400, 0..CrashKind::ALL.len()), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_fleet_under_any_crashes_comes_up_as_if_there_had_been_none(specs in fleets(), seed in any::<u64>()) {
        let rehearsal = rehearsal(specs, seed);
        check_none_diverge(&rehearsal, &rehearsal.perform(Budget::longer(8), 1, &Nobody).expect("a rehearsal"));
        check_none_diverge(&rehearsal, &rehearsal.perform(Budget::of(8), 1, &Nobody).expect("a rehearsal"));
    }

    #[test]
    fn volumes_never_precede_finalization(specs in fleets(), crashes in crash_lists(), seed in any::<u64>(), errors in 0_u8..20, hangs in 0_u8..5) {
        let rates = Rates { transient_percent: errors, hang_percent: hangs, ..Rates::default() };
        let options = WorldOptions { faults: Faults { rates, ..Faults::default() }, ..WorldOptions::seeded(seed) };
        let mut stage = Stage::new(World::new(options), "fleet".parse().expect("a name"), wanted(specs), 3, seed).expect("a stage");
        stage.up(None, &mut Silent).expect("a run");
        for (point, kind) in crashes {
            stage.up(Some(Crash { point, kind: CrashKind::ALL[kind] }), &mut Silent).expect("a run");
        }
        invariants(&stage);
    }
}

#[test]
fn a_step_of_every_kind_is_taken_in_these_fleets() {
    let mut stage = stage(proxmox_trio(), 1);
    let mut seen = Steps::default();
    stage.up(None, &mut seen).expect("a run");
    stage.down(None, &mut seen).expect("a run");
    let missing: Vec<&str> = ALL_STEPS.into_iter().filter(|base| !seen.bases.contains(base)).collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
}

/// Every step but `volume.detach`, which nothing asks for yet.
const ALL_STEPS: [&str; 22] = [
    "template.fetch",
    "firewall.set",
    "snapshot.take",
    "define.create",
    "define.clone",
    "define.mark",
    "clone.hold",
    "clone.release",
    "configure.set",
    "finalize.start",
    "finalize.idmap",
    "finalize.stop",
    "volume.prepare",
    "volume.attach",
    "run.start",
    "run.ready",
    "feature.apply",
    "application.run",
    "health.check",
    "autostart.set",
    "down.stop",
    "down.destroy",
];

#[derive(Default)]
struct Steps {
    bases: Vec<&'static str>,
}

impl Observer for Steps {
    fn observe(&mut self, progress: Progress<'_>) {
        if let Progress::Recorded { fact: Fact::Outcome(outcome), .. } = progress {
            self.bases.push(outcome.step.step.base());
        }
    }
}

/// Four host crashes in a row while the container is awaited: none of them is the container's failure.
#[test]
fn an_init_that_goes_with_the_host_uses_up_no_budget() {
    let rehearsal = rehearsal(vec![spec(100)], 1);
    let mut crashes = Vec::new();
    for _ in 0..5 {
        let replayed = rehearsal.replay(&crashes).expect("a schedule");
        assert!(replayed.judged.is_ok(), "{crashes:?}: {:?}", replayed.judged);
        crashes.push(Crash { point: point_inside(&crashes, "run.ready"), kind: CrashKind::Host });
    }
}

/// The first point of the run after `crashes` at which the host is at work on this step.
fn point_inside(crashes: &[Crash], step: &str) -> u64 {
    let mut stage = stage(vec![spec(100)], 1);
    for (number, &crash) in crashes.iter().enumerate() {
        let cut = if number == 0 { stage.up(Some(crash), &mut Silent) } else { stage.resume(Some(crash), &mut Silent) };
        assert_eq!(cut.expect("a run"), Ended::Crashed);
    }
    let mut seen = Inside { step: step.to_owned(), first: None };
    let command = if crashes.is_empty() { RunCommand::Up } else { RunCommand::Resume };
    stage.run(command, &mut seen, &mut Silent).expect("a run");
    seen.first.expect("the step is taken")
}

struct Inside {
    step: String,
    first: Option<u64>,
}

impl Guide for Inside {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        let inside = |(_, step, place): (_, &StepId, Place)| step.to_string() == self.step && matches!(place, Place::Inside { .. });
        if self.first.is_none() && point.places.iter().any(inside) {
            self.first = Some(point.number);
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// The source of a clone that was cut off may go up while what is left of the copy is taken away.
#[test]
fn a_source_goes_up_beside_the_repair_of_its_copy() {
    let clone = |number, on| depending(cloned(spec(number), 100), on);
    let rehearsal = rehearsal(vec![spec(100), cloned(spec(101), 100), clone(102, 101)], 1);
    // The copy to 102 has locked its source and done nothing else.
    let mut inside = Within { ctid: ctid(102), step: "define.clone".to_owned(), found: None };
    let mut first = stage(vec![spec(100), cloned(spec(101), 100), clone(102, 101)], 1);
    first.run(RunCommand::Up, &mut inside, &mut Silent).expect("a run");
    let point = inside.found.expect("102 is cloned");
    for second in 0..6 {
        for kind in CrashKind::ALL {
            let crashes = [Crash { point, kind: CrashKind::Process(Survivors::Nobody) }, Crash { point: second, kind }];
            let replayed = rehearsal.replay(&crashes).expect("a schedule");
            assert!(replayed.judged.is_ok(), "{crashes:?}: {:?}", replayed.judged);
        }
    }
}
