//! The rules of what only Proxmox has: snapshots, storages, templates that are fetched, locks of others.
//!
//! Apart from the other rules for their length.

use std::time::Duration;

use phoenix::host::sim::{Damage, Survivors, Tamper};
use phoenix::ids::Step;
use phoenix::machine::{Evidence, FailureClass, StepResult, WaitKind};
use phoenix::plan::{Action, CopyFrom, Effect, HoldBy};

use crate::rig::{Rig, cloned, ctid, mounted, spec};
use crate::rules::{C, attach, class_of, do_step, finalized, options, prepare, rig_with, run, through, waits_for};

fn on_storage(number: u32, storage: &str) -> phoenix::manifest::Spec {
    let mut spec = spec(number);
    spec.host_options.storage = Some(storage.to_owned());
    spec
}

fn live(effect: Effect) -> Effect {
    let mut effect = effect;
    match &mut effect.intent.action {
        Action::Hold { by, .. } => *by = HoldBy::Snapshot,
        Action::Clone { from, .. } => *from = CopyFrom::Snapshot,
        other => panic!("{other:?} is not about a source"),
    }
    effect
}

#[test]
fn a_killed_snapshot_leaves_a_lock_half_a_section_and_a_frozen_container() {
    let mut rig = rig_with(options(), vec![on_storage(C, "local-lvm"), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &finalized());
    through(&mut rig, ctid(C), &[Step::RunStart, Step::RunReady]);
    let init = |rig: &Rig| rig.world.observe(&[ctid(C)]).containers[&ctid(C)].init.clone();
    let up_as = init(&rig);
    let hold = live(rig.effect(ctid(C), Step::CloneHold.id(), None));
    let op = rig.world.begin(&hold);
    rig.world.advance(op);
    rig.world.crash_process(Survivors::Nobody);
    assert_eq!(waits_for(&do_step(&mut rig, ctid(C), Step::AutostartSet)), WaitKind::Lock);
    let StepResult::Partial { leftover } = rig.world.settle(&hold, &mut |_| {}).result else { panic!("not partial") };
    assert!(leftover.contains("snapstate: prepare"), "{leftover}");
    let repair = rig.effect(ctid(C), Step::CloneHold.repair(), Some(&leftover));
    assert_eq!(run(&mut rig.world, &repair).result, StepResult::Done(Evidence::Repaired));
    assert_eq!(run(&mut rig.world, &hold).result, StepResult::Done(Evidence::Held { by: HoldBy::Snapshot }));
    let clone = live(rig.effect(ctid(101), Step::DefineClone.id(), None));
    assert!(matches!(run(&mut rig.world, &clone).result, StepResult::Done(Evidence::Cloned { .. })));
    let release = rig.effect(ctid(C), Step::CloneRelease.id(), None);
    let op = rig.world.begin(&release);
    rig.world.advance(op);
    rig.world.crash_process(Survivors::Nobody);
    let StepResult::Partial { leftover } = rig.world.settle(&release, &mut |_| {}).result else { panic!("not partial") };
    assert!(leftover.contains("snapshot-delete"), "{leftover}");
    let repair = rig.effect(ctid(C), Step::CloneRelease.repair(), Some(&leftover));
    assert_eq!(run(&mut rig.world, &repair).result, StepResult::Done(Evidence::Repaired));
    assert_eq!(run(&mut rig.world, &release).result, StepResult::Done(Evidence::Released));
    assert_eq!(init(&rig), up_as, "it went on all the while");
    assert!(rig.world.fingerprint().containers[&ctid(C)].snapshots.is_empty());
    assert_eq!(rig.world.damage(), []);
}

/// Not a crash: the command itself failed half-way, and another attempt is made.
#[test]
fn a_release_that_failed_half_way_is_put_right_and_not_waited_for() {
    let what = phoenix::host::sim::What::Transient;
    let mut rig =
        rig_with(crate::rules::faulty("clone.release", phoenix::host::sim::When::Piece(2), what), vec![on_storage(C, "local-lvm")]);
    through(&mut rig, ctid(C), &finalized());
    let hold = live(rig.effect(ctid(C), Step::CloneHold.id(), None));
    assert!(matches!(run(&mut rig.world, &hold).result, StepResult::Done(_)));
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), Step::CloneRelease)), &FailureClass::Transient);
    let again = do_step(&mut rig, ctid(C), Step::CloneRelease);
    assert!(matches!(again, StepResult::Partial { .. }), "{again:?}");
}

#[test]
fn a_storage_takes_the_snapshots_that_it_can() {
    let seen = |rig: &Rig| rig.world.observe(&[ctid(C)]).containers[&ctid(C)].copies_live;
    for (storage, takes, copies) in [("local", false, false), ("local-zfs", true, false), ("local-lvm", true, true), ("tank", true, true)] {
        let mut rig = rig_with(options(), vec![mounted(on_storage(C, storage), "media")]);
        through(&mut rig, ctid(C), &finalized());
        assert_eq!(seen(&rig), copies, "{storage}");
        let taken = do_step(&mut rig, ctid(C), Step::SnapshotTake);
        let expected = StepResult::Done(Evidence::Snapshot { name: "before-volumes".to_owned() });
        if takes {
            assert_eq!(taken, expected, "{storage}");
        } else {
            assert_eq!(class_of(&taken), &FailureClass::Permanent, "{storage}");
        }
        through(&mut rig, ctid(C), &[prepare(), attach()]);
        assert!(!seen(&rig), "{storage}: attached directories keep every storage from it");
        let hold = live(rig.effect(ctid(C), Step::CloneHold.id(), None));
        assert_eq!(class_of(&run(&mut rig.world, &hold).result), &FailureClass::Permanent, "{storage}");
    }
}

#[test]
fn a_download_that_was_cut_off_is_begun_afresh_and_nothing_is_made_of_a_part() {
    let mut fetched = spec(C);
    fetched.origin = phoenix::manifest::Origin::Template(phoenix::manifest::Template::Stored("local:vztmpl/debian.tar.zst".to_owned()));
    fetched.host_options.fetch_template = true;
    let mut rig = rig_with(options(), vec![fetched]);
    let fetch = rig.effect(ctid(C), Step::TemplateFetch.id(), None);
    let op = rig.world.begin(&fetch);
    rig.world.advance(op);
    rig.world.crash_process(Survivors::Nobody);
    assert_eq!(rig.world.settle(&fetch, &mut |_| {}).result, StepResult::Absent);
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), Step::DefineCreate)), &FailureClass::Permanent);
    through(&mut rig, ctid(C), &[Step::TemplateFetch, Step::TemplateFetch, Step::DefineCreate]);
}

#[test]
fn a_backup_locks_a_container_until_it_ends() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[Step::DefineCreate, Step::DefineMark]);
    rig.world.tamper(&Tamper::Backup { ctid: ctid(C), during: Duration::from_secs(3) });
    assert_eq!(waits_for(&do_step(&mut rig, ctid(C), Step::ConfigureSet)), WaitKind::Lock);
    rig.world.pass(Duration::from_secs(4));
    through(&mut rig, ctid(C), &[Step::ConfigureSet]);
}

#[test]
fn a_source_that_is_stopped_while_it_is_held_by_a_snapshot_is_damage() {
    let mut rig = rig_with(options(), vec![on_storage(C, "local-lvm"), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &finalized());
    through(&mut rig, ctid(C), &[Step::RunStart, Step::RunReady]);
    let hold = live(rig.effect(ctid(C), Step::CloneHold.id(), None));
    assert!(matches!(run(&mut rig.world, &hold).result, StepResult::Done(_)));
    let stop = rig.effect(ctid(C), Step::CloneHold.id(), None);
    run(&mut rig.world, &stop);
    assert_eq!(rig.world.damage(), [Damage::StoppedWhileHeld { ctid: ctid(C) }]);
}
