//! Changes of mind: down after an up that was cut off anywhere, up after such a down.

use phoenix::host::sim::World;
use phoenix::machine::RunEnd;
use phoenix::rehearse::{Crash, CrashKind, Ended, Stage};

use super::fleets::{proxmox_trio, trio};
use super::invariants::{history, invariants};
use super::{Silent, Spec, ended, stage};

/// Every crash of one run from this stage on, with what it leaves.
fn cut_everywhere(base: &Stage, run: impl Fn(&mut Stage, Option<Crash>) -> Ended, mut judge: impl FnMut(Crash, Stage)) {
    let points = match run(&mut base.clone(), None) {
        Ended::Run { end: RunEnd::Done, points, .. } => points,
        other @ (Ended::Run { .. } | Ended::Crashed) => panic!("{other:#?}"),
    };
    for point in 0..points {
        for kind in CrashKind::ALL {
            let (mut stage, crash) = (base.clone(), Crash { point, kind });
            run(&mut stage, Some(crash));
            judge(crash, stage);
        }
    }
}

fn up(stage: &mut Stage, crash: Option<Crash>) -> Ended {
    stage.up(crash, &mut Silent).expect("a run")
}

fn down(stage: &mut Stage, crash: Option<Crash>) -> Ended {
    stage.down(crash, &mut Silent).expect("a run")
}

fn containers(world: &World) -> Vec<String> {
    let empty = World::new(phoenix::host::sim::WorldOptions::seeded(1)).fingerprint();
    // Shared directories stay, and their names begin with a slash.
    world.fingerprint().differences(&empty).into_iter().filter(|line| !line.starts_with('/')).collect()
}

fn fleets() -> [Vec<Spec>; 2] {
    [trio(), proxmox_trio()]
}

#[test]
fn down_leaves_nothing_of_an_up_that_was_cut_anywhere() {
    for specs in fleets() {
        cut_everywhere(&stage(specs, 11), up, |crash, mut stage| {
            let end = ended(&down(&mut stage, None));
            assert_eq!((end, containers(&stage.world)), (RunEnd::Done, Vec::new()), "{crash:?} {:#?}", history(&stage));
            invariants(&stage);
        });
    }
}

/// The results of a step of one container, in order.
fn outcomes<'a>(told: &'a [String], ctid: u32, step: &str) -> Vec<&'a str> {
    let begin = format!("container {ctid}: outcome {step} ");
    told.iter().filter_map(|line| line.split_once(&begin)?.1.split(' ').next()).collect()
}

#[test]
fn an_up_after_a_down_that_was_cut_anywhere_brings_everything_back() {
    for specs in fleets() {
        let mut base = stage(specs, 12);
        up(&mut base, None);
        let mut cut_off = 0;
        let wanted = base.world.fingerprint();
        cut_everywhere(&base, down, |crash, mut stage| {
            let mut end = ended(&up(&mut stage, None));
            let half_destroyed = history(&stage).iter().any(|line| line.ends_with("outcome down.destroy partial -> volumed active"));
            if half_destroyed {
                // It is no longer what the journal knows, so that a person has to say that it goes.
                assert_eq!(end, RunEnd::Failed, "{crash:?}");
                assert_eq!(ended(&down(&mut stage, None)), RunEnd::Done, "{crash:?} {:#?}", history(&stage));
                end = ended(&up(&mut stage, None));
            }
            let differences = stage.world.fingerprint().differences(&wanted);
            assert_eq!((end, differences), (RunEnd::Done, Vec::new()), "{crash:?} {:#?}", history(&stage));
            // Who was asked to shut down and is still up may go down at any moment, so that the stop is completed first.
            let told = history(&stage);
            let stops = [100, 101, 102].map(|ctid| outcomes(&told, ctid, "down.stop"));
            let completed = stops.iter().all(|of_one| of_one.last().is_none_or(|last| ["done", "gone"].contains(last)));
            // With the host, all are down.
            assert!(completed || crash.kind == CrashKind::Host, "{crash:?} {stops:?}");
            cut_off += stops.iter().filter(|of_one| of_one.contains(&"absent")).count();
            invariants(&stage);
        });
        assert!(cut_off > 0, "a stop was cut off before it took effect");
    }
}
