//! The simulator keeps its rules, and every crash it can have is one that the table of verdicts recovers from.

#[path = "sim/rig.rs"]
mod rig;

use phoenix::host::sim::{Before, ScriptEnd, World, WorldOptions};

use rig::{CRASHES, Crash, Cut, Rig, fleet};

fn world() -> World {
    World::new(WorldOptions::seeded(1))
}

/// The run without a crash, and one with each of the cuts; the worlds have to be the same.
#[track_caller]
fn check_converges(seed: u64, cuts: &[Cut]) -> Rig {
    let mut whole = Rig::new(World::new(WorldOptions::seeded(seed)), fleet());
    whole.up();
    let mut rig = Rig::new(World::new(WorldOptions::seeded(seed)), fleet());
    rig.cuts = cuts.to_vec();
    rig.up();
    let differences = whole.world.fingerprint().differences(&rig.world.fingerprint());
    assert!(differences.is_empty(), "{cuts:?}: {differences:#?}");
    assert_eq!(rig.world.damage(), [], "{cuts:?}");
    for start in rig.world.starts() {
        assert!(start.is_explained(), "{cuts:?}: {start:?}");
    }
    rig
}

#[test]
fn a_fleet_comes_up() {
    let rig = check_converges(1, &[]);
    let print = rig.world.fingerprint();
    assert_eq!(print.containers.len(), 3);
    assert!(print.containers.values().all(|container| container.up && container.sound && container.marked));
    assert_eq!(rig.world.starts().count(), 4);
    assert!(rig.world.starts().all(|start| start.before == Before::Never && start.end == ScriptEnd::Succeeded));
}

#[test]
fn every_crash_at_every_piece_of_every_operation_converges() {
    let mut whole = Rig::new(world(), fleet());
    whole.up();
    let mut verdicts = std::collections::BTreeSet::new();
    let mut schedules = 0;
    for (op, &length) in whole.lengths.iter().enumerate() {
        for pieces in 0..=length {
            for crash in CRASHES {
                let rig = check_converges(1, &[Cut { op, pieces, crash }]);
                verdicts.extend(rig.verdicts);
                schedules += 1;
            }
        }
    }
    println!("{schedules} schedules");
    for verdict in ["done", "absent", "partial", "interrupted", "failed"] {
        assert!(verdicts.contains(verdict), "{verdict} was never seen in {schedules} schedules");
    }
}

#[test]
fn phoenix_alone_killed_starts_each_script_exactly_once() {
    let mut whole = Rig::new(world(), fleet());
    whole.up();
    for (op, &length) in whole.lengths.iter().enumerate() {
        for pieces in 0..=length {
            let cut = Cut { op, pieces, crash: Crash::Process(phoenix::host::sim::Survivors::Shims) };
            let rig = check_converges(1, &[cut]);
            assert_eq!(rig.world.starts().count(), 4, "{cut:?}");
        }
    }
}
