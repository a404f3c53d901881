//! Whose a container is: every step looks at the mark before it acts, and so does every probe.

use phoenix::ids::{Incarnation, State, Step};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::Spec;
use phoenix::plan::{Mark, Reason};
use phoenix_journal::Epoch;

use super::hands::{former, incarnation, mark};
use super::rig::{Rig, check_same, class_of};
use super::site::Meddling;

/// The steps of a container that has to be there and ours.
fn marked_steps(rig: &Rig, spec: &Spec) -> Vec<Step> {
    let more = [Step::CloneHold, Step::CloneRelease];
    let defines = |step: &Step| matches!(step, Step::TemplateFetch | Step::DefineCreate | Step::DefineClone | Step::DownDestroy);
    rig.whole_life(spec).into_iter().chain(more).filter(|step| !defines(step)).collect()
}

/// Carries each step out and asks about it; what is said must be `wanted`, and nothing may change.
#[track_caller]
fn check_refused(rig: &mut Rig, spec: &Spec, why: &str, wanted: impl Fn(&StepResult) -> bool) {
    let before = rig.print();
    for step in marked_steps(rig, spec) {
        let taken = rig.take(spec, &step).result;
        check_same(&rig.print(), &before, &format!("{why}: {step:?}"));
        assert!(wanted(&taken), "{why}: {step:?}: {taken:?}");
        // What became of a directory is told from the directory.
        if !matches!(step, Step::VolumePrepare(_)) {
            let verdict = rig.settle(spec, &step);
            check_same(&rig.print(), &before, &format!("{why}: {step:?} asked about"));
            assert!(wanted(&verdict), "{why}: {step:?} asked about: {verdict:?}");
        }
    }
    let destroyed = rig.take(spec, &Step::DownDestroy).result;
    check_same(&rig.print(), &before, &format!("{why}: destroy"));
    assert!(wanted(&destroyed) || destroyed == StepResult::Done(Evidence::Destroyed), "{why}: {destroyed:?}");
    let verdict = rig.settle(spec, &Step::DownDestroy);
    check_same(&rig.print(), &before, &format!("{why}: destroy asked about"));
    let gone = wanted(&StepResult::Gone);
    assert!(if gone { verdict == StepResult::Done(Evidence::Destroyed) } else { wanted(&verdict) }, "{why}: {verdict:?}");
}

fn failed_as(class: FailureClass) -> impl Fn(&StepResult) -> bool {
    move |result| matches!(result, StepResult::Failed(failure) if failure.class == class)
}

pub(crate) fn a_step_on_what_is_not_there_finds_it_gone(rig: &mut Rig) {
    let spec = rig.full(0);
    check_refused(rig, &spec, "never created", |result| *result == StepResult::Gone);
    rig.bring(&spec, State::Running);
    rig.meddle(spec.ctid, &Meddling::Remove);
    check_refused(rig, &spec, "removed", |result| *result == StepResult::Gone);
}

pub(crate) fn a_step_on_what_is_not_ours_is_refused_and_changes_nothing(rig: &mut Rig) {
    let spec = rig.full(0);
    rig.bring(&spec, State::Running);
    let ours = mark(spec.ctid);
    let with = |change: fn(&mut Mark)| {
        let mut other = ours.clone();
        change(&mut other);
        Meddling::Mark(other)
    };
    let foreign = |result: &StepResult| matches!(result, StepResult::Foreign { .. });

    rig.meddle(spec.ctid, &with(|other| other.journal = "ffffffffffffffffffffffffffffffff".parse().expect("32 hex digits")));
    check_refused(rig, &spec, "another journal's", foreign);
    rig.meddle(spec.ctid, &with(|other| other.incarnation = former()));
    check_refused(rig, &spec, "what it was before", foreign);
    rig.meddle(spec.ctid, &with(|other| other.incarnation = Incarnation::from_random([9; 16])));
    check_refused(rig, &spec, "an incarnation that nobody knows", failed_as(FailureClass::JournalOlder));
    rig.meddle(spec.ctid, &with(|other| other.ctid = super::fleets::ctid(777)));
    check_refused(rig, &spec, "for another number", failed_as(FailureClass::MarkMissing));
    rig.meddle(spec.ctid, &with(|other| other.epoch = Epoch::new(99)));
    check_refused(rig, &spec, "of a later epoch", failed_as(FailureClass::JournalOlder));
    rig.meddle(spec.ctid, &Meddling::Unmark);
    check_refused(rig, &spec, "unmarked", failed_as(FailureClass::MarkMissing));
    rig.meddle(spec.ctid, &Meddling::Mark(ours));
    rig.through(&spec, &[Step::DownStop, Step::DownDestroy]);
    rig.meddle(spec.ctid, &Meddling::Stranger);
    check_refused(rig, &spec, "a stranger's", failed_as(FailureClass::MarkMissing));
}

pub(crate) fn a_stranger_on_the_id_is_foreign_to_create_and_safe_from_destroy(rig: &mut Rig) {
    let spec = rig.spec(0);
    rig.meddle(spec.ctid, &Meddling::Stranger);
    let before = rig.print();
    let created = rig.take(&spec, &Step::DefineCreate).result;
    assert!(matches!(created, StepResult::Foreign { .. }), "{created:?}");
    let verdict = rig.settle(&spec, &Step::DefineCreate);
    assert!(matches!(verdict, StepResult::Foreign { .. }), "{verdict:?}");
    let destroyed = rig.take(&spec, &Step::DownDestroy).result;
    assert!(!matches!(destroyed, StepResult::Done(_)), "{destroyed:?}");
    check_same(&rig.print(), &before, "the stranger");
    // Nor is one of ours made a second time for another incarnation.
    let mut other = rig.effect(&spec, &Step::DefineCreate);
    rig.meddle(spec.ctid, &Meddling::Remove);
    rig.bring(&spec, State::Defined);
    other.intent.incarnation = Incarnation::from_random([9; 16]);
    other.mark.incarnation = other.intent.incarnation;
    let created = rig.hands.carry_out(other.clone()).result;
    assert_eq!(class_of(created), FailureClass::JournalOlder, "it was declared by a newer one");
    other.former = vec![incarnation(spec.ctid)];
    let created = rig.hands.carry_out(other).result;
    assert!(matches!(created, StepResult::Foreign { .. }), "{created:?}");
    assert_eq!(rig.seen(spec.ctid).and_then(|seen| seen.mark).map(|mark| mark.incarnation), Some(incarnation(spec.ctid)));
}

pub(crate) fn a_missing_mark_is_written_again_only_if_a_person_asked(rig: &mut Rig) {
    let spec = rig.spec(0);
    rig.bring(&spec, State::Configured);
    rig.meddle(spec.ctid, &Meddling::Unmark);
    assert_eq!(class_of(rig.take(&spec, &Step::DefineMark).result), FailureClass::MarkMissing);
    let asked = |rig: &Rig| {
        let mut effect = rig.effect(&spec, &Step::DefineMark);
        effect.intent.reason = Reason::Asked;
        effect
    };
    assert_eq!(rig.hands.settle(asked(rig)), StepResult::Absent);
    let effect = asked(rig);
    let seq = rig.hands.next_seq();
    assert_eq!(rig.hands.carry_out(effect.clone()).result, StepResult::Done(Evidence::Marked));
    assert_eq!(rig.hands.settle_as(effect, seq), StepResult::Done(Evidence::Marked));
    assert_eq!(rig.seen(spec.ctid).and_then(|seen| seen.mark), Some(mark(spec.ctid)));
    rig.done(&spec, &Step::DownStop);
}
