//! Every crash the simulated host can have is one that the table of verdicts recovers from.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

use proptest::prelude::*;

use phoenix::host::sim::{Before, Faults, Fingerprint, Rates, Sabotage, ScriptEnd, Survivors, World, WorldOptions};

use crate::rig::{CRASHES, Crash, Cut, Rig, fleet};

/// The world of a run without a crash; it depends on no seed.
static WHOLE: LazyLock<(Fingerprint, Vec<u8>)> = LazyLock::new(|| {
    let mut rig = Rig::new(World::new(WorldOptions::seeded(1)), fleet());
    rig.up();
    (rig.world.fingerprint(), rig.lengths)
});

#[track_caller]
fn check_converges(options: WorldOptions, cuts: &[Cut]) -> Rig {
    let mut rig = Rig::new(World::new(options), fleet());
    rig.cuts = cuts.to_vec();
    rig.up();
    let differences = WHOLE.0.differences(&rig.world.fingerprint());
    assert!(differences.is_empty(), "{cuts:?}: {differences:#?}");
    assert_eq!(rig.world.damage(), [], "{cuts:?}");
    for start in rig.world.starts() {
        assert!(start.is_explained(), "{cuts:?}: {start:?}");
    }
    rig
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(schedules: usize) {
    println!("{schedules} schedules");
}

/// Every place where a run without a crash can be cut.
fn places() -> impl Iterator<Item = (usize, u8)> {
    WHOLE.1.iter().enumerate().flat_map(|(op, &length)| (0..=length).map(move |pieces| (op, pieces)))
}

#[test]
fn a_fleet_comes_up() {
    let rig = check_converges(WorldOptions::seeded(1), &[]);
    let print = rig.world.fingerprint();
    assert_eq!(print.containers.len(), 3);
    assert!(print.containers.values().all(|container| container.up && container.sound && container.marked));
    assert_eq!(rig.world.starts().count(), 4);
    assert!(rig.world.starts().all(|start| start.before == Before::Never && start.end == ScriptEnd::Succeeded));
}

#[test]
fn every_crash_at_every_piece_of_every_operation_converges() {
    let mut verdicts = BTreeSet::new();
    let mut schedules = 0;
    for (op, pieces) in places() {
        for crash in CRASHES {
            verdicts.extend(check_converges(WorldOptions::seeded(1), &[Cut { op, pieces, crash }]).verdicts);
            schedules += 1;
        }
    }
    tell(schedules);
    for verdict in ["done", "absent", "partial", "interrupted", "failed"] {
        assert!(verdicts.contains(verdict), "{verdict} was never seen in {schedules} schedules");
    }
}

/// A power cut right after recovery from the first crash takes back what a probe only saw.
fn power_cuts_after_recovery() -> impl Iterator<Item = [Cut; 2]> {
    let firsts = places().flat_map(|(op, pieces)| CRASHES.into_iter().map(move |crash| Cut { op, pieces, crash }));
    firsts.flat_map(|first| (0..2).map(move |pieces| [first, Cut { op: first.op + 1, pieces, crash: Crash::Host }]))
}

#[test]
fn a_power_cut_right_after_recovery_converges() {
    let mut schedules = 0;
    for cuts in power_cuts_after_recovery() {
        check_converges(WorldOptions::seeded(2), &cuts);
        schedules += 1;
    }
    tell(schedules);
}

#[test]
fn a_probe_that_does_not_make_durable_what_it_saw_is_found_out() {
    let mut options = WorldOptions::seeded(2);
    options.behaviour.sabotage = Some(Sabotage::ForgetfulProbe);
    let survives = |cuts: [Cut; 2]| catch_unwind(AssertUnwindSafe(|| check_converges(options.clone(), &cuts))).is_ok();
    assert!(!power_cuts_after_recovery().all(survives), "no schedule noticed");
}

#[test]
fn phoenix_alone_killed_starts_each_script_exactly_once() {
    for (op, pieces) in places() {
        let cut = Cut { op, pieces, crash: Crash::Process(Survivors::Shims) };
        let rig = check_converges(WorldOptions::seeded(1), &[cut]);
        assert_eq!(rig.world.starts().count(), 4, "{cut:?}");
    }
}

/// A hold that was done and never told of, undone by the host that came back, is none: the source may go up.
#[test]
fn a_source_may_be_started_after_a_hold_that_a_boot_undid() {
    let rates = Rates { transient_percent: 16, hang_percent: 1, init_dies_percent: 5, spared_from_attempt: 6 };
    let options = WorldOptions { faults: Faults { rates, ..Faults::default() }, ..WorldOptions::seeded(8_321_838_381_495_840_236) };
    let host = |op, pieces| Cut { op, pieces, crash: Crash::Host };
    check_converges(options, &[host(4, 0), host(15, 2)]);
}

fn cut() -> impl Strategy<Value = Cut> {
    let crash = prop::sample::select(CRASHES.to_vec());
    (0..70_usize, 0..6_u8, crash).prop_map(|(op, pieces, crash)| Cut { op, pieces, crash })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_crashes_with_any_faults_converge(seed: u64, cuts in prop::collection::vec(cut(), 0..5), transient in 0..20_u8, hang in 0..10_u8) {
        let rates = Rates { transient_percent: transient, hang_percent: hang, init_dies_percent: 5, spared_from_attempt: 6 };
        let options = WorldOptions { faults: Faults { rates, ..Faults::default() }, ..WorldOptions::seeded(seed) };
        check_converges(options, &cuts);
    }

    #[test]
    fn equal_seeds_give_equal_worlds(seed: u64, cuts in prop::collection::vec(cut(), 0..3)) {
        let play = || {
            let mut rig = Rig::new(World::new(WorldOptions::seeded(seed)), fleet());
            rig.cuts.clone_from(&cuts);
            rig.up();
            format!("{:?}", rig.world)
        };
        prop_assert_eq!(play(), play());
    }
}
