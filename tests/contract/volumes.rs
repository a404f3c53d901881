//! Shared directories: whose they become, and which ones are refused.

use phoenix::ids::{State, Step};
use phoenix::machine::{Evidence, FailureClass, StepResult, WaitKind};
use phoenix::manifest::Spec;
use phoenix::plan::Init;

use super::lxc_world::HOST_ROOT;
use super::rig::{Rig, class_of};
use super::site::Meddling;

fn mounted(rig: &Rig, place: u32) -> Spec {
    let mut spec = rig.spec(place);
    spec.mounts = vec![rig.site.mount("media")];
    spec
}

fn prepare(spec: &Spec) -> Step {
    Step::VolumePrepare(spec.mounts[0].volume.name.clone())
}

pub(crate) fn a_directory_is_given_to_whom_the_map_says(rig: &mut Rig) {
    let spec = mounted(rig, 0);
    let mount = &spec.mounts[0];
    rig.bring(&spec, State::Finalized);
    let Evidence::Prepared(prepared) = rig.done(&spec, &prepare(&spec)) else { panic!("not prepared") };
    assert_eq!((prepared.host_uid, prepared.host_gid), (HOST_ROOT + 1000, HOST_ROOT + 1000));
    assert_eq!(rig.site.directory(&mount.volume.source), Some((HOST_ROOT + 1000, HOST_ROOT + 1000, 0o750)));
    let Evidence::Attached(attached) = rig.done(&spec, &Step::VolumeAttach(mount.at.clone())) else { panic!("not attached") };
    assert_eq!((attached.source, attached.read_only), (prepared.source, false));
    rig.through(&spec, &[Step::RunStart, Step::RunReady]);
    if rig.site.runs_scripts() {
        let mut looking = spec.clone();
        looking.application = Some(super::fleets::script_of(&format!("#!/bin/sh\nstat -c %u:%g:%a {}\n", mount.at)));
        let report = rig.take(&looking, &Step::ApplicationRun);
        assert_eq!(report.output.and_then(|output| output.kept).as_deref(), Some(&b"1000:1000:750\n"[..]));
    }
}

pub(crate) fn an_id_outside_the_map_is_refused_and_never_guessed(rig: &mut Rig) {
    let mut spec = mounted(rig, 0);
    spec.mounts[0].volume.owner.uid = 70_000;
    rig.bring(&spec, State::Finalized);
    assert_eq!(class_of(rig.take(&spec, &prepare(&spec)).result), FailureClass::Permanent);
    assert_eq!(rig.site.directory(&spec.mounts[0].volume.source), None);
}

pub(crate) fn a_filled_directory_of_another_is_taken_only_if_the_manifest_says_so(rig: &mut Rig) {
    let mut spec = mounted(rig, 0);
    let path = spec.mounts[0].volume.source.clone();
    rig.site.make_filled_directory(&path, 5, 5, 0o700);
    rig.bring(&spec, State::Finalized);
    assert_eq!(class_of(rig.take(&spec, &prepare(&spec)).result), FailureClass::Permanent);
    assert_eq!(rig.site.directory(&path), Some((5, 5, 0o700)));
    spec.mounts[0].volume.take_ownership = true;
    let Evidence::Prepared(prepared) = rig.done(&spec, &prepare(&spec)) else { panic!("not prepared") };
    assert_eq!((prepared.host_uid, prepared.former), (HOST_ROOT + 1000, Some((5, 5, 0o700))));
}

pub(crate) fn a_start_waits_for_a_directory_that_is_another_one(rig: &mut Rig) {
    let spec = mounted(rig, 0);
    rig.bring(&spec, State::Volumed);
    rig.site.swap_directory(&spec.mounts[0].volume.source);
    match class_of(rig.take(&spec, &Step::RunStart).result) {
        FailureClass::Wait(wait) => assert_eq!(wait.kind, WaitKind::Source),
        other => panic!("{other:?}"),
    }
    assert_eq!(rig.seen(spec.ctid).expect("it is there").init, None);
}

pub(crate) fn what_others_started_without_its_directories_is_started_again(rig: &mut Rig) {
    let spec = mounted(rig, 0);
    rig.bring(&spec, State::Finalized);
    rig.meddle(spec.ctid, &Meddling::Start);
    let theirs = up(rig, &spec);
    let steps = rig.steps_into(State::Volumed, &spec);
    rig.through(&spec, &steps);
    assert_eq!(up(rig, &spec), theirs, "whoever attaches has no need to stop it");
    assert_eq!(rig.settle(&spec, &Step::RunStart), StepResult::Absent);
    assert_eq!(up(rig, &spec), theirs, "asking changes nothing");
    rig.done(&spec, &Step::RunStart);
    let ours = up(rig, &spec);
    assert_ne!(ours, theirs);
    check_mounted(rig, &spec);
    assert!(matches!(rig.settle(&spec, &Step::RunStart), StepResult::Done(Evidence::Started { init, .. }) if init == ours));
}

/// What a program inside has mounted over the directory since does not count.
pub(crate) fn what_others_started_with_its_directories_is_taken_over(rig: &mut Rig) {
    let spec = mounted(rig, 0);
    rig.bring(&spec, State::Volumed);
    rig.meddle(spec.ctid, &Meddling::Start);
    let theirs = up(rig, &spec);
    let is_theirs = |result| matches!(result, StepResult::Done(Evidence::Started { init, .. }) if init == theirs);
    assert!(is_theirs(rig.settle(&spec, &Step::RunStart)));
    assert!(is_theirs(rig.take(&spec, &Step::RunStart).result));
    check_mounted(rig, &spec);
    let cover = format!("#!/bin/sh\nmount -t tmpfs none {}\n", spec.mounts[0].at);
    rig.done(&Spec { application: Some(super::fleets::script_of(&cover)), ..spec.clone() }, &Step::ApplicationRun);
    assert!(is_theirs(rig.take(&spec, &Step::RunStart).result));
}

/// The init that is up.
#[track_caller]
fn up(rig: &Rig, spec: &Spec) -> Init {
    rig.seen(spec.ctid).and_then(|seen| seen.init).expect("it is up")
}

/// Inside, the directory is the host's.
#[track_caller]
fn check_mounted(rig: &mut Rig, spec: &Spec) {
    if rig.site.runs_scripts() {
        let mut looking = spec.clone();
        looking.application = Some(super::fleets::script_of(&format!("#!/bin/sh\nstat -c %u:%g:%a {}\n", spec.mounts[0].at)));
        let report = rig.take(&looking, &Step::ApplicationRun);
        assert_eq!(report.output.and_then(|output| output.kept).as_deref(), Some(&b"1000:1000:750\n"[..]));
    }
}
