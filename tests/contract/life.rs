//! A container's steps, from nothing to nothing: taken, taken again, and asked about.

use phoenix::ids::{IdMap, State, Step};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::Spec;
use phoenix::plan::{Action, StartPurpose};

use super::fleets::cloned;
use super::hands::incarnation;
use super::rig::{Rig, check_same, class_of, evidence_of};
use super::site::Meddling;

pub(crate) fn every_step_carried_out_twice_and_then_probed_is_done(rig: &mut Rig) {
    let spec = rig.full(0);
    for step in rig.whole_life(&spec) {
        twice(rig, &spec, &step);
    }
    let source = rig.spec(1);
    let copy = cloned(rig.spec(2), source.ctid.get());
    rig.bring(&source, State::Running);
    for (whose, step) in [(&source, Step::CloneHold), (&copy, Step::DefineClone), (&source, Step::CloneRelease)] {
        twice(rig, whose, &step);
    }
}

/// Carries the same effect out two times, with an intent for each, then asks what became of the second.
#[track_caller]
fn twice(rig: &mut Rig, spec: &Spec, step: &Step) {
    let id = step.clone().id();
    let action = rig.learned.action(spec, step, incarnation);
    let evidence = rig.done(spec, step);
    let print = rig.print();
    let second = rig.hands.effect(spec, id.clone(), action);
    let seq = rig.hands.next_seq();
    let report = rig.hands.carry_out(second.clone());
    if step.is_script() {
        // Whoever knew of the first would not ask for a second: the journal that does is an older one.
        assert_eq!(class_of(report.result), FailureClass::JournalOlder, "{id}");
        return check_same(&rig.print(), &print, &format!("{id} asked for again"));
    }
    evidence_of(step, report.result);
    check_same(&rig.print(), &print, &format!("{id} carried out again"));
    let verdict = rig.hands.settle_as(second, seq);
    check_same(&rig.print(), &print, &format!("{id} asked about"));
    let probed = evidence_of(step, verdict);
    if !matches!(step, Step::VolumePrepare(_)) {
        assert_eq!(probed, evidence, "{id}: what a probe finds is what the step showed");
    }
}

pub(crate) fn a_step_that_was_not_carried_out_is_absent_and_asking_changes_nothing(rig: &mut Rig) {
    let spec = rig.full(0);
    for step in rig.whole_life(&spec) {
        let before = rig.print();
        let verdict = rig.settle(&spec, &step);
        check_same(&rig.print(), &before, &format!("{step:?} asked about"));
        match verdict {
            StepResult::Absent => {}
            StepResult::Done(evidence) if may_hold_by_itself(&step) => assert!(evidence.is_of(&step.clone().id()), "{evidence:?}"),
            other => panic!("{step:?}: {other:?}"),
        }
        rig.done(&spec, &step);
    }
}

/// Steps that find out, or whose work an earlier one may have done.
fn may_hold_by_itself(step: &Step) -> bool {
    matches!(step, Step::DefineMark | Step::ConfigureSet | Step::FinalizeIdmap | Step::RunReady)
}

pub(crate) fn another_map_than_the_recorded_one_is_drift_and_nothing_stays_up(rig: &mut Rig) {
    let spec = rig.spec(0);
    rig.bring(&spec, State::Finalized);
    let other = IdMap::shifted(super::lxc_world::HOST_ROOT, 65_535).expect("a map");
    let action = Action::Start { purpose: StartPurpose::Run, idmap: other, sources: Vec::new() };
    let result = rig.hands.carry_out(rig.hands.effect(&spec, Step::RunStart.id(), action)).result;
    assert!(matches!(class_of(result), FailureClass::Drift { .. }));
    assert_eq!(rig.seen(spec.ctid).expect("it is there").init, None);
    rig.done(&spec, &Step::RunStart);
}

/// An init that another took the place of is as lost as one that is gone.
pub(crate) fn what_rests_on_an_init_is_lost_with_it(rig: &mut Rig) {
    let spec = rig.full(0);
    rig.bring(&spec, State::Running);
    let resting = [
        Step::FinalizeIdmap,
        Step::RunReady,
        Step::FeatureApply(spec.features[0].name.clone()),
        Step::ApplicationRun,
        Step::HealthCheck(spec.health[0].name.clone()),
    ];
    rig.meddle(spec.ctid, &Meddling::KillInit);
    assert_eq!(rig.seen(spec.ctid).expect("it is there").init, None);
    let lost = rig.learned.clone();
    for started in [false, true] {
        if started {
            rig.done(&spec, &Step::RunStart);
        }
        let learned = std::mem::replace(&mut rig.learned, lost.clone());
        for step in &resting {
            let result = rig.take(&spec, step).result;
            assert_eq!(class_of(result), FailureClass::InitLost, "{step:?}, started: {started}");
            let verdict = rig.settle(&spec, step);
            let told = matches!(&verdict, StepResult::Failed(failure) if failure.class == FailureClass::InitLost);
            let not_begun = verdict == StepResult::Absent || (step.is_script() && verdict == StepResult::Interrupted);
            assert!(told || not_begun, "{step:?}: {verdict:?}");
        }
        rig.learned = learned;
    }
    rig.done(&spec, &Step::RunReady);
}

pub(crate) fn autostart_is_off_until_it_is_set(rig: &mut Rig) {
    let spec = rig.full(0);
    let enabled = |rig: &Rig| rig.seen(spec.ctid).and_then(|seen| seen.config).is_some_and(|config| config.autostart);
    let mut steps = rig.steps_up_to(State::Done, &spec);
    assert_eq!(steps.pop(), Some(Step::AutostartSet));
    for step in &steps {
        rig.done(&spec, step);
        assert!(!enabled(rig), "after {step:?}");
    }
    assert_eq!(rig.done(&spec, &Step::AutostartSet), Evidence::AutostartSet { enabled: true });
    assert!(enabled(rig));
}

pub(crate) fn destroy_leaves_nothing_but_the_shared_directories(rig: &mut Rig) {
    let (spec, other) = (rig.full(0), rig.spec(1));
    rig.meddle(other.ctid, &Meddling::Stranger);
    let before = rig.seen(other.ctid);
    rig.bring(&spec, State::Done);
    let refused = rig.take(&spec, &Step::DownDestroy).result;
    assert!(matches!(refused, StepResult::Failed(_)), "a running container is stopped first: {refused:?}");
    let owner = rig.site.directory(&spec.mounts[0].volume.source);
    assert_ne!(rig.site.left_of(spec.ctid), Vec::<String>::new());
    rig.through(&spec, &[Step::DownStop, Step::DownDestroy]);
    assert_eq!(rig.seen(spec.ctid), None);
    assert_eq!(rig.site.left_of(spec.ctid), Vec::<String>::new());
    assert_eq!(rig.site.directory(&spec.mounts[0].volume.source), owner);
    assert_eq!(rig.seen(other.ctid), before, "others are as they were");
}
