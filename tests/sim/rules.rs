//! Each rule of the simulated host, each fault, and what counts as damage.

use std::time::Duration;

use phoenix::host::sim::{Damage, Fault, Faults, Progress, Sabotage, Survivors, Tamper, What, When, Where, World, WorldOptions};
use phoenix::ids::{Ctid, Step};
use phoenix::machine::{Evidence, FailureClass, Report, StepResult, WaitKind};
use phoenix::plan::{Action, Effect, Presence, Reason};

use crate::rig::{self, Rig, cloned, ctid, fleet, mounted, spec};

pub(crate) const C: u32 = 100;

pub(crate) fn options() -> WorldOptions {
    WorldOptions::seeded(7)
}

pub(crate) fn rig_with(options: WorldOptions, specs: Vec<phoenix::manifest::Spec>) -> Rig {
    Rig::new(World::new(options), specs)
}

pub(crate) fn faulty(step: &'static str, when: When, what: What) -> WorldOptions {
    let fault = Fault { ctid: None, step: Where::Base(step), attempt: Some(1), when, what };
    WorldOptions { faults: Faults { planned: vec![fault], ..Faults::default() }, ..options() }
}

/// Carries out a step to its end, as the rig would next.
pub(crate) fn do_step(rig: &mut Rig, id: Ctid, step: Step) -> StepResult {
    rig.take_one(id, step).result
}

/// Brings a container through the given steps.
#[track_caller]
pub(crate) fn through(rig: &mut Rig, id: Ctid, steps: &[Step]) {
    for step in steps {
        let report = rig.take_one(id, step.clone());
        assert!(matches!(report.result, StepResult::Done(_)), "{step:?}: {report:?}");
    }
}

pub(crate) fn run(world: &mut World, effect: &Effect) -> Report {
    let op = world.begin(effect);
    loop {
        if let Progress::Finished(report) = world.advance(op) {
            return report;
        }
    }
}

fn defined() -> Vec<Step> {
    vec![Step::DefineCreate, Step::DefineMark, Step::ConfigureSet]
}

pub(crate) fn finalized() -> Vec<Step> {
    [defined(), vec![Step::FinalizeStart, Step::FinalizeIdmap, Step::FinalizeStop]].concat()
}

pub(crate) fn prepare() -> Step {
    Step::VolumePrepare("media".parse().expect("a name"))
}

pub(crate) fn attach() -> Step {
    Step::VolumeAttach("/srv/media".parse().expect("a target"))
}

fn feature() -> Step {
    Step::FeatureApply("base".parse().expect("a name"))
}

#[track_caller]
pub(crate) fn class_of(result: &StepResult) -> &FailureClass {
    match result {
        StepResult::Failed(failure) => &failure.class,
        other => panic!("not a failure: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn waits_for(result: &StepResult) -> WaitKind {
    match class_of(result) {
        FailureClass::Wait(wait) => wait.kind,
        other => panic!("not a wait: {other:?}"),
    }
}

#[test]
fn there_is_no_id_map_on_file_before_the_first_start() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &defined());
    let map = |rig: &Rig| rig.world.observe(&[ctid(C)]).containers[&ctid(C)].config.clone().and_then(|config| config.idmap);
    assert_eq!(map(&rig), None);
    through(&mut rig, ctid(C), &[Step::FinalizeStart]);
    assert_eq!(map(&rig), Some(spec(C).idmap));
}

#[test]
fn a_volume_attached_before_finalization_has_the_wrong_owner() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media")]);
    rig.world.plant_directory("/srv/media".as_ref(), 0, 0, 0o755, false);
    through(&mut rig, ctid(C), &defined());
    through(&mut rig, ctid(C), &[attach()]);
    let damage = rig.world.damage();
    assert!(matches!(damage, [Damage::AttachedWithoutMap { .. }, Damage::WrongOwner { uid: 0, .. }]), "{damage:?}");
}

#[test]
fn a_volume_attached_after_finalization_has_the_mapped_owner() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media")]);
    through(&mut rig, ctid(C), &[finalized(), vec![prepare(), attach()]].concat());
    assert_eq!(rig.world.directory("/srv/media".as_ref()), Some((101_000, 101_000, 0o750)));
    assert_eq!(rig.world.damage(), []);
}

#[test]
fn an_orderly_stop_before_readiness_may_take_until_the_deadline() {
    let mut options = options();
    options.behaviour.finalize_stops_orderly = true;
    options.behaviour.stop_hangs_percent = 100;
    options.behaviour.boot_ms = (5000, 5000);
    let mut rig = rig_with(options, vec![spec(C)]);
    through(&mut rig, ctid(C), &[defined(), vec![Step::FinalizeStart, Step::FinalizeIdmap]].concat());
    let before = rig.world.now().moment;
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), Step::FinalizeStop)), &FailureClass::Timeout);
    assert_eq!(before.after(Duration::from_secs(120)), rig.world.now().moment);
    through(&mut rig, ctid(C), &[Step::FinalizeStop]);
}

#[test]
fn a_killed_create_leaves_a_locked_half_that_only_its_repair_removes() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    let create = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    let op = rig.world.begin(&create);
    assert_eq!([rig.world.advance(op), rig.world.advance(op)], [Progress::More, Progress::More]);
    rig.world.crash_process(Survivors::Nobody);
    assert!(matches!(rig.world.observe(&[ctid(C)]).containers[&ctid(C)].presence, Presence::HalfMade(_)));
    let StepResult::Partial { leftover } = rig.world.settle(&create, &mut |_| {}).result else { panic!("not partial") };
    let again = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    assert!(matches!(run(&mut rig.world, &again).result, StepResult::Partial { .. }));
    let repair = rig.effect(ctid(C), Step::DefineCreate.repair(), Some(&leftover));
    assert_eq!(run(&mut rig.world, &repair).result, StepResult::Done(Evidence::Repaired));
    through(&mut rig, ctid(C), &[Step::DefineCreate]);
}

#[test]
fn a_half_made_container_of_somebody_else_is_foreign() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    let create = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    let op = rig.world.begin(&create);
    rig.world.advance(op);
    rig.world.crash_process(Survivors::Nobody);
    let mut other = create.clone();
    other.mark.incarnation = rig::incarnation(ctid(999));
    assert!(matches!(rig.world.settle(&other, &mut |_| {}).result, StepResult::Foreign { .. }));
}

#[test]
fn a_killed_clone_leaves_locks_on_itself_and_the_source() {
    let mut rig = rig_with(options(), vec![spec(C), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &finalized());
    let clone = rig.effect(ctid(101), Step::DefineClone.id(), None);
    let op = rig.world.begin(&clone);
    rig.world.advance(op);
    rig.world.crash_process(Survivors::Nobody);
    assert_eq!(waits_for(&do_step(&mut rig, ctid(C), Step::RunStart)), WaitKind::Lock);
    let StepResult::Partial { leftover } = rig.world.settle(&clone, &mut |_| {}).result else { panic!("not partial") };
    let repair = rig.effect(ctid(101), Step::DefineClone.repair(), Some(&leftover));
    assert_eq!(run(&mut rig.world, &repair).result, StepResult::Done(Evidence::Repaired));
    through(&mut rig, ctid(C), &[Step::RunStart]);
}

#[test]
fn a_source_with_shared_mounts_is_not_cloned() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media"), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![prepare(), attach()]].concat());
    assert_eq!(class_of(&do_step(&mut rig, ctid(101), Step::DefineClone)), &FailureClass::Permanent);
    assert!(rig.world.observe(&[ctid(101)]).containers.is_empty());
}

#[test]
fn a_start_waits_for_a_source_that_is_not_mounted() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media")]);
    through(&mut rig, ctid(C), &[finalized(), vec![prepare(), attach()]].concat());
    rig.world.tamper(&Tamper::Unmount("/srv/media".into()));
    assert_eq!(waits_for(&do_step(&mut rig, ctid(C), Step::RunStart)), WaitKind::Source);
    rig.world.plant_directory("/srv/media".as_ref(), 101_000, 101_000, 0o750, false);
    assert_eq!(waits_for(&do_step(&mut rig, ctid(C), Step::RunStart)), WaitKind::Source, "another directory at the same path");
    rig.world.tamper(&Tamper::Mount("/srv/media".into()));
    through(&mut rig, ctid(C), &[Step::RunStart]);
}

#[test]
fn a_source_started_while_it_is_held_or_copied_is_damage() {
    let mut rig = rig_with(options(), vec![spec(C), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &finalized());
    through(&mut rig, ctid(C), &[Step::CloneHold, Step::RunStart]);
    assert_eq!(rig.world.damage(), [Damage::StartedWhileHeld { ctid: ctid(C) }]);
    let mut rig = rig_with(options(), vec![spec(C), cloned(spec(101), C)]);
    through(&mut rig, ctid(C), &finalized());
    through(&mut rig, ctid(C), &[Step::CloneHold, Step::CloneRelease, Step::RunStart]);
    assert_eq!(rig.world.damage(), []);
}

#[test]
fn two_mutators_at_once_are_damage() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &defined());
    let one = rig.effect(ctid(C), Step::ConfigureSet.id(), None);
    let other = rig.effect(ctid(C), Step::FinalizeStart.id(), None);
    rig.world.begin(&one);
    rig.world.begin(&other);
    assert!(matches!(rig.world.damage(), [Damage::TwoMutators { .. }]));
}

#[test]
fn a_host_that_does_not_look_at_marks_does_damage() {
    let mut options = options();
    options.behaviour.sabotage = Some(Sabotage::BlindToMarks);
    let mut rig = rig_with(options, vec![spec(C)]);
    rig.world.tamper(&Tamper::Stranger(ctid(C)));
    do_step(&mut rig, ctid(C), Step::ConfigureSet);
    assert!(matches!(rig.world.damage(), [Damage::Trespass { .. }]), "{:?}", rig.world.damage());
}

#[test]
fn autostart_before_the_volumes_is_damage() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media")]);
    through(&mut rig, ctid(C), &finalized());
    through(&mut rig, ctid(C), &[Step::AutostartSet]);
    assert_eq!(rig.world.damage(), [Damage::AutostartTooEarly { ctid: ctid(C) }]);
}

#[test]
fn a_script_started_again_without_reason_is_not_explained() {
    let what = What::Exit { status: 3, output: "no".to_owned() };
    let mut rig = rig_with(faulty("feature.apply", When::Piece(3), what), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    assert!(matches!(do_step(&mut rig, ctid(C), feature()), StepResult::Failed(_)));
    assert!(rig.world.starts().all(phoenix::host::sim::ScriptStart::is_explained));
    for (reason, explained) in [(Reason::First, false), (Reason::Interrupted, true), (Reason::Asked, true)] {
        let mut rig = rig.clone();
        let mut again = rig.effect(ctid(C), feature().id(), None);
        again.intent.reason = reason;
        run(&mut rig.world, &again);
        assert_eq!(rig.world.starts().all(phoenix::host::sim::ScriptStart::is_explained), explained, "{:?}", again.intent.reason);
    }
}

#[test]
fn a_script_that_has_succeeded_is_not_started_for_a_journal_that_does_not_know_it() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady, feature()]].concat());
    let again = rig.effect(ctid(C), feature().id(), None);
    let report = run(&mut rig.world, &again);
    assert!(matches!(&report.result, StepResult::Failed(failure) if failure.class == FailureClass::JournalOlder), "{report:?}");
    assert_eq!(rig.world.starts().count(), 1);
}

#[test]
fn phoenix_alone_killed_cuts_what_it_did_itself_and_nothing_else() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    let create = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    rig.world.begin(&create);
    rig.world.crash_process(Survivors::Shims);
    assert!(rig.world.locked_until(ctid(C)).is_some());
    let mut waits = Vec::new();
    let report = rig.world.settle(&create, &mut |wait| waits.push(wait));
    assert!(matches!(report.result, StepResult::Done(Evidence::Created { .. })), "{report:?}");
    assert!(!waits.is_empty() && rig.world.locked_until(ctid(C)).is_none());
    let configure = rig.effect(ctid(C), Step::ConfigureSet.id(), None);
    rig.world.begin(&configure);
    rig.world.crash_process(Survivors::Shims);
    assert_eq!(rig.world.settle(&configure, &mut |_| {}).result, StepResult::Absent);
}

#[test]
fn scripts_are_interrupted_without_their_shim_and_finished_with_it() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    let script = rig.effect(ctid(C), feature().id(), None);
    let op = rig.world.begin(&script);
    for done in 0..=4 {
        for survivors in [Survivors::Shims, Survivors::Children, Survivors::Nobody] {
            let mut world = rig.world.clone();
            world.crash_process(survivors);
            let result = world.settle(&script, &mut |_| {}).result;
            let finished = matches!(result, StepResult::Done(Evidence::Ran { .. }));
            let absent = result == StepResult::Absent;
            assert_eq!(finished, survivors == Survivors::Shims, "{survivors:?} after {done}: {result:?}");
            assert_eq!(absent, survivors == Survivors::Nobody && done == 0, "{survivors:?} after {done}: {result:?}");
        }
        rig.world.advance(op);
    }
}

#[test]
fn after_a_boot_nobody_can_tell_whether_a_script_was_begun() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    let script = rig.effect(ctid(C), feature().id(), None);
    let op = rig.world.begin(&script);
    for _ in 0..2 {
        let mut world = rig.world.clone();
        world.crash_host();
        assert_eq!(world.settle(&script, &mut |_| {}).result, StepResult::Interrupted);
        rig.world.advance(op);
    }
}

#[test]
fn the_deadline_thaws_a_frozen_container() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    rig.world.tamper(&Tamper::Freeze(ctid(C)));
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), feature())), &FailureClass::Timeout);
    through(&mut rig, ctid(C), &[feature()]);
}

#[test]
fn results_of_scripts_survive_the_boot_and_those_of_checks_do_not() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    let script = rig.effect(ctid(C), feature().id(), None);
    run(&mut rig.world, &script);
    rig.world.crash_host();
    assert!(matches!(rig.world.settle(&script, &mut |_| {}).result, StepResult::Done(Evidence::Ran { .. })));
    through(&mut rig, ctid(C), &[Step::RunStart, Step::RunReady]);
    let health = rig.effect(ctid(C), Step::HealthCheck("up".parse().expect("a name")).id(), None);
    run(&mut rig.world, &health);
    assert!(matches!(rig.world.settle(&health, &mut |_| {}).result, StepResult::Done(Evidence::Healthy { .. })));
    rig.world.crash_host();
    assert_eq!(rig.world.settle(&health, &mut |_| {}).result, StepResult::Absent);
}

#[test]
fn a_power_cut_takes_back_only_what_was_not_synced() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..40 {
        let mut rig = rig_with(WorldOptions::seeded(seed), vec![spec(C)]);
        through(&mut rig, ctid(C), &[Step::DefineCreate]);
        let configure = rig.effect(ctid(C), Step::ConfigureSet.id(), None);
        let op = rig.world.begin(&configure);
        rig.world.advance(op);
        rig.world.crash_host();
        match rig.world.settle(&configure, &mut |_| {}).result {
            StepResult::Done(_) => kept += 1,
            StepResult::Absent => lost += 1,
            other => panic!("{other:?}"),
        }
        through(&mut rig, ctid(C), &[Step::ConfigureSet]);
        rig.world.crash_host();
        assert!(matches!(rig.world.settle(&configure, &mut |_| {}).result, StepResult::Done(_)));
    }
    assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
}

#[test]
fn a_boot_starts_what_has_autostart_and_its_directories() {
    let mut rig = rig_with(options(), fleet());
    rig.up();
    rig.world.tamper(&Tamper::Unmount("/srv/media".into()));
    rig.world.crash_host();
    let seen = rig.world.observe(&[ctid(100), ctid(101), ctid(102)]);
    let up: Vec<bool> = seen.containers.values().map(|seen| seen.init.is_some()).collect();
    assert_eq!(up, [true, false, false]);
    assert_ne!(rig.world.now().moment.boot, options().boot);
}

#[test]
fn each_fault_is_reported_as_what_it_is() {
    let cases = [
        ("configure.set", When::Before, What::Transient, FailureClass::Transient),
        ("configure.set", When::Piece(2), What::Permanent, FailureClass::Permanent),
        ("define.create", When::Piece(2), What::DiskFull, FailureClass::Transient),
        ("configure.set", When::After, What::Hang, FailureClass::Timeout),
        ("configure.set", When::Before, What::Undead, FailureClass::Undead),
        ("finalize.start", When::Piece(2), What::InitDies, FailureClass::Transient),
        ("feature.apply", When::Before, What::InitDies, FailureClass::InitLost),
        ("feature.apply", When::Piece(3), What::Exit { status: 3, output: "no".to_owned() }, FailureClass::Transient),
        ("feature.apply", When::Piece(3), What::Hang, FailureClass::Timeout),
        ("feature.apply", When::Before, What::Tamper(Tamper::Freeze(ctid(C))), FailureClass::Timeout),
        ("finalize.idmap", When::Before, What::Tamper(Tamper::Stop(ctid(C))), FailureClass::InitLost),
        ("run.ready", When::Before, What::Tamper(Tamper::Start(ctid(C))), FailureClass::InitLost),
        ("finalize.start", When::Before, What::Tamper(Tamper::Unmark(ctid(C))), FailureClass::MarkMissing),
    ];
    let all = [finalized(), vec![Step::RunStart, Step::RunReady, feature()]].concat();
    for (base, when, what, class) in cases {
        let mut rig = rig_with(faulty(base, when, what.clone()), vec![spec(C)]);
        let place = all.iter().position(|step| step.base() == base).expect("a step of this container");
        through(&mut rig, ctid(C), &all[..place]);
        let result = do_step(&mut rig, ctid(C), all[place].clone());
        assert_eq!(class_of(&result), &class, "{base} {when:?} {what:?}");
    }
}

#[test]
fn a_script_whose_container_dies_was_cut_off() {
    let mut rig = rig_with(faulty("feature.apply", When::Piece(3), What::InitDies), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    assert_eq!(do_step(&mut rig, ctid(C), feature()), StepResult::Interrupted);
}

#[test]
fn a_container_that_is_never_ready_takes_until_the_deadline() {
    let mut rig = rig_with(faulty("run.start", When::Before, What::NeverReady), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart]].concat());
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), Step::RunReady)), &FailureClass::Timeout);
}

#[test]
fn an_init_that_dies_after_its_start_is_lost_to_the_next_step() {
    let mut rig = rig_with(faulty("run.start", When::After, What::InitDies), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart]].concat());
    assert_eq!(class_of(&do_step(&mut rig, ctid(C), Step::RunReady)), &FailureClass::InitLost);
}

#[test]
fn a_failed_script_shows_its_status_and_output() {
    let what = What::Exit { status: 3, output: "no such package".to_owned() };
    let mut rig = rig_with(faulty("feature.apply", When::After, what), vec![spec(C)]);
    through(&mut rig, ctid(C), &[finalized(), vec![Step::RunStart, Step::RunReady]].concat());
    let effect = rig.effect(ctid(C), feature().id(), None);
    let report = run(&mut rig.world, &effect);
    assert_eq!(report.output.and_then(|output| output.kept), Some(b"no such package".to_vec()));
    let StepResult::Failed(failure) = report.result else { panic!("not failed") };
    assert_eq!((failure.status.as_deref(), failure.tail.as_str()), (Some("exit 3"), "no such package"));
    assert!(matches!(rig.world.settle(&effect, &mut |_| {}).result, StepResult::Failed(_)), "the result lies there");
}

#[test]
fn what_cannot_be_ended_is_undead_and_keeps_its_lock() {
    let mut rig = rig_with(faulty("define.create", When::Piece(2), What::Undead), vec![spec(C)]);
    let create = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    assert_eq!(class_of(&run(&mut rig.world, &create).result), &FailureClass::Undead);
    assert!(rig.world.locked_until(ctid(C)).is_some());
    rig.world.crash_process(Survivors::Nobody);
    assert_eq!(class_of(&rig.world.settle(&create, &mut |_| {}).result), &FailureClass::Undead);
    rig.world.crash_host();
    assert!(rig.world.locked_until(ctid(C)).is_none());
}

#[test]
fn a_lock_held_by_others_ends_by_itself() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    rig.world.tamper(&Tamper::Lock { ctid: ctid(C), during: Duration::from_secs(3) });
    assert!(rig.world.locked_until(ctid(C)).is_some());
    rig.world.pass(Duration::from_secs(4));
    assert!(rig.world.locked_until(ctid(C)).is_none());
}

#[test]
fn an_operation_that_is_not_there_is_unknown_and_no_panic() {
    let mut rig = rig_with(options(), vec![spec(C)]);
    let effect = rig.effect(ctid(C), Step::DefineCreate.id(), None);
    let op = rig.world.begin(&effect);
    rig.world.crash_process(Survivors::Nobody);
    assert_eq!(rig.world.next_due(op), None);
    assert!(matches!(rig.world.advance(op), Progress::Finished(Report { result: StepResult::Unknown { .. }, .. })));
}

#[test]
fn an_attached_directory_that_is_not_the_one_wanted_is_partial() {
    let mut rig = rig_with(options(), vec![mounted(spec(C), "media")]);
    through(&mut rig, ctid(C), &[finalized(), vec![prepare(), attach()]].concat());
    let mut effect = rig.effect(ctid(C), attach().id(), None);
    if let Action::Attach { source, .. } = &mut effect.intent.action {
        source.path = "/srv/other".into();
    }
    assert!(matches!(rig.world.settle(&effect, &mut |_| {}).result, StepResult::Partial { .. }));
}
