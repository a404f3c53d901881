//! The simulator as a host: locks, proof of identity, the saved world.

use std::path::Path;

use phoenix::host::sim::{Flow, Progress, Sim, Survivors, Tamper, World, WorldOptions};
use phoenix::host::{Host, HostError};
use phoenix::ids::Step;
use phoenix::machine::StepResult;

use crate::rig::{Rig, ctid, fleet, journal, spec};

fn options() -> WorldOptions {
    WorldOptions::seeded(3)
}

fn still(world: World) -> Sim {
    Sim::new(world, Flow::Still)
}

fn open(path: &Path) -> Sim {
    Sim::open(path, options(), Flow::Still).expect("a world that can be read")
}

#[test]
fn a_saved_world_comes_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db.sim");
    let mut rig = Rig::new(World::new(options()), fleet());
    rig.up();
    let whole = rig.world.clone();
    let sim = open(&path);
    assert!(!path.exists(), "nothing is written before something changes");
    sim.change(|world| *world = rig.world.clone()).expect("a file");
    sim.settle_in(&journal()).expect("a file");
    let back = open(&path);
    assert_eq!(back.world().fingerprint(), whole.fingerprint());
    assert_eq!(back.world().starts().collect::<Vec<_>>(), whole.starts().collect::<Vec<_>>());
    assert_eq!(back.world().now(), whole.now());
    let ctids = whole.ctids();
    assert_eq!(back.observe(Some(&journal()), &ctids).expect("a known journal"), whole.observe(&ctids));
}

/// What the file holds while an operation is under way is what a kill of Phoenix alone leaves.
#[test]
fn a_kill_at_any_piece_leaves_what_a_kill_of_phoenix_alone_leaves() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db.sim");
    let mut rig = Rig::new(World::new(options()), vec![spec(100)]);
    let feature = Step::FeatureApply("base".parse().expect("a name"));
    let steps = [Step::DefineCreate, Step::ConfigureSet, Step::FinalizeStart, Step::RunReady, feature, Step::DownStop, Step::DownDestroy];
    for step in steps {
        let effect = rig.effect(ctid(100), step.clone().id(), None);
        let sim = open(&path);
        let op = sim.change(|world| {
            *world = rig.world.clone();
            world.begin(&effect)
        });
        let op = op.expect("a file");
        loop {
            let mut killed = sim.world();
            killed.crash_process(Survivors::Shims);
            let expected = killed.settle(&effect, &mut |_| {});
            let found = open(&path).change(|world| world.settle(&effect, &mut |_| {}));
            assert_eq!(found.expect("a file").result, expected.result, "{step:?}");
            let progress = sim.change(|world| world.advance(op)).expect("a file");
            if let Progress::Finished(report) = progress {
                assert!(matches!(report.result, StepResult::Done(_)), "{step:?}: {report:?}");
                break;
            }
        }
        rig.take_one(ctid(100), step);
    }
}

#[test]
fn a_line_cut_off_by_a_kill_does_not_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db.sim");
    open(&path).tamper(&Tamper::Stranger(ctid(100))).expect("a file");
    let mut text = std::fs::read_to_string(&path).expect("a file");
    text.push_str("{\"slot\":{\"ctid\":101,");
    std::fs::write(&path, text).expect("a file");
    let sim = open(&path);
    assert_eq!(sim.world().ctids(), [ctid(100)]);
    sim.tamper(&Tamper::Stranger(ctid(102))).expect("a file");
    assert_eq!(open(&path).world().ctids(), [ctid(100), ctid(102)]);
}

#[test]
fn a_world_of_another_version_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("journal.db.sim");
    open(&path).tamper(&Tamper::Stranger(ctid(100))).expect("a file");
    let text = std::fs::read_to_string(&path).expect("a file").replace("\"version\":1", "\"version\":2");
    for bad in [text.as_str(), "", "{}\n", "[1]\n"] {
        std::fs::write(&path, bad).expect("a file");
        assert!(matches!(Sim::open(&path, options(), Flow::Still), Err(HostError::Unusable { .. })), "{bad:?}");
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), bad);
    }
}

#[test]
fn time_stands_still_unless_it_is_told_to_flow() {
    let sim = still(World::new(options()));
    let before = sim.now().expect("a clock");
    assert_eq!(sim.now().expect("a clock"), before);
    let sim = Sim::new(World::new(options()), Flow::Paced { ms_per_second: 1 });
    let mut polls = 0;
    while sim.now().expect("a clock").moment.boottime_ms < before.moment.boottime_ms + 50 {
        polls += 1;
        assert!(polls < 100_000_000, "a thousandth of a second is a second of virtual time");
    }
}
