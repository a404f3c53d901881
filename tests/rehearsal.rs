//! The real engine, turn and journal guards on the simulator: crashes at every point, and what must hold whatever happens.

mod fleets;
#[path = "fleets/invariants.rs"]
mod invariants;

use fleets::{cloned, ctid, depending, mounted, spec, trio, wanted, with_application};
use invariants::{history, invariant_nothing_is_damaged, invariants};
use phoenix::driver::{Observer, Progress, Silent};
use phoenix::engine::Stand;
use phoenix::host::sim::{Faults, Fingerprint, Rates, Survivors, Tamper, World, WorldOptions};
use phoenix::ids::State;
use phoenix::machine::{Fact, RunEnd};
use phoenix::manifest::Spec;
use phoenix::rehearse::{Crash, CrashKind, Ended, Stage};
use proptest::prelude::*;

const CRASHES: [CrashKind; 4] =
    [CrashKind::Process(Survivors::Shims), CrashKind::Process(Survivors::Children), CrashKind::Process(Survivors::Nobody), CrashKind::Host];

/// More resumes than any schedule here needs; a run that needs more does not converge.
const RESUMES_MAX: usize = 12;

fn stage(specs: Vec<Spec>, seed: u64) -> Stage {
    let world = World::new(WorldOptions::seeded(seed));
    Stage::new(world, "fleet".parse().expect("a fleet name"), wanted(specs), 4, seed).expect("a stage")
}

fn ended(ended: &Ended) -> RunEnd {
    match ended {
        Ended::Run { end, .. } => *end,
        Ended::Crashed => panic!("the run was cut"),
    }
}

/// Runs until nothing is left to do; returns how many resumes that took.
fn settle(stage: &mut Stage) -> usize {
    for resumes in 1..=RESUMES_MAX {
        match stage.resume(None, &mut Silent).expect("a resume") {
            Ended::Run { end: RunEnd::Done, .. } => return resumes,
            Ended::Run { end, stands, .. } => panic!("resume ended {end:?}: {stands:#?}\n{:#?}", history(stage)),
            Ended::Crashed => {}
        }
    }
    panic!("no end after {RESUMES_MAX} resumes");
}

fn uninterrupted(specs: Vec<Spec>, seed: u64) -> (Fingerprint, u64) {
    let mut stage = stage(specs, seed);
    match stage.up(None, &mut Silent).expect("a run") {
        Ended::Run { end: RunEnd::Done, points, .. } => {
            invariants(&stage);
            (stage.world.fingerprint(), points)
        }
        other @ (Ended::Run { .. } | Ended::Crashed) => panic!("{other:#?}\n{:#?}", history(&stage)),
    }
}

#[track_caller]
fn check_crashes(specs: &[Spec], seed: u64, crashes: &[Crash], wanted: &Fingerprint) {
    let mut stage = stage(specs.to_vec(), seed);
    let mut crashes = crashes.iter().copied();
    let mut last = stage.up(crashes.next(), &mut Silent);
    for crash in crashes {
        last = stage.resume(Some(crash), &mut Silent);
    }
    last.expect("a run");
    settle(&mut stage);
    invariants(&stage);
    let differences = stage.world.fingerprint().differences(wanted);
    assert!(differences.is_empty(), "{differences:#?}\n{:#?}", history(&stage));
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
fn every_single_crash_converges() {
    let (wanted, points) = uninterrupted(trio(), 3);
    for point in 0..points {
        for kind in CRASHES {
            check_crashes(&trio(), 3, &[Crash { point, kind }], &wanted);
        }
    }
}

#[test]
fn sampled_pairs_of_crashes_converge() {
    let (wanted, points) = uninterrupted(trio(), 5);
    for (number, first) in (0..points).step_by(3).enumerate() {
        for second in (0..points).step_by(17) {
            let kind = |place: usize| CRASHES[(number + place) % CRASHES.len()];
            check_crashes(&trio(), 5, &[Crash { point: first, kind: kind(0) }, Crash { point: second, kind: kind(1) }], &wanted);
        }
    }
}

#[test]
fn down_takes_everything_off_whatever_cuts_it() {
    let mut base = stage(trio(), 7);
    base.up(None, &mut Silent).expect("a run");
    let mut whole = base.clone();
    let points = match whole.down(None, &mut Silent).expect("a run") {
        Ended::Run { end: RunEnd::Done, points, .. } => points,
        other @ (Ended::Run { .. } | Ended::Crashed) => panic!("{other:#?}\n{:#?}", history(&whole)),
    };
    for point in 0..points {
        for kind in CRASHES {
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
    let one = (any::<bool>(), 0_u8..3, any::<bool>(), any::<prop::sample::Index>());
    prop::collection::vec(one, 1..5).prop_map(|choices| {
        let mut specs: Vec<Spec> = Vec::new();
        for (number, (volume, link, application, index)) in (100_u32..).zip(choices) {
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
            specs.push(new);
        }
        specs
    })
}

fn crash_lists() -> impl Strategy<Value = Vec<(u64, usize)>> {
    prop::collection::vec((0_u64..400, 0..CRASHES.len()), 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_fleet_under_any_crashes_comes_up_as_if_there_had_been_none(specs in fleets(), crashes in crash_lists(), seed in any::<u64>()) {
        let (wanted, points) = uninterrupted(specs.clone(), seed);
        let crashes: Vec<Crash> = crashes.iter().map(|&(point, kind)| Crash { point: point % points, kind: CRASHES[kind] }).collect();
        check_crashes(&specs, seed, &crashes, &wanted);
    }

    #[test]
    fn volumes_never_precede_finalization(specs in fleets(), crashes in crash_lists(), seed in any::<u64>(), errors in 0_u8..20, hangs in 0_u8..5) {
        let rates = Rates { transient_percent: errors, hang_percent: hangs, ..Rates::default() };
        let options = WorldOptions { faults: Faults { rates, ..Faults::default() }, ..WorldOptions::seeded(seed) };
        let mut stage = Stage::new(World::new(options), "fleet".parse().expect("a name"), wanted(specs), 3, seed).expect("a stage");
        stage.up(None, &mut Silent).expect("a run");
        for (point, kind) in crashes {
            stage.up(Some(Crash { point, kind: CRASHES[kind] }), &mut Silent).expect("a run");
        }
        invariants(&stage);
    }
}

#[test]
fn a_step_of_every_kind_is_taken_in_these_fleets() {
    let mut stage = stage(trio(), 1);
    let mut seen = Steps::default();
    stage.up(None, &mut seen).expect("a run");
    stage.down(None, &mut seen).expect("a run");
    let missing: Vec<&str> = ALL_STEPS.into_iter().filter(|base| !seen.bases.contains(base)).collect();
    assert!(missing.is_empty(), "never taken: {missing:?}");
}

/// Every step but `volume.detach`, which nothing asks for yet.
const ALL_STEPS: [&str; 19] = [
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
