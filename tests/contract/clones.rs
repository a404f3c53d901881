//! Copies: what comes along and what does not.

use phoenix::ids::{State, Step};
use phoenix::machine::{Evidence, StepResult};
use phoenix::plan::{HoldBy, Presence};

use super::fleets::cloned;
use super::hands::{incarnation, mark};
use super::rig::{Rig, check_same};

pub(crate) fn a_clone_brings_its_files_and_none_of_marks_mounts_and_autostart(rig: &mut Rig) {
    let mut source = rig.full(0);
    source.mounts.clear();
    let copy = cloned(rig.spec(1), source.ctid.get());
    rig.bring(&source, State::Done);
    rig.done(&source, &Step::CloneHold);
    assert_eq!(rig.seen(source.ctid).expect("it is there").init, None);
    let evidence = rig.done(&copy, &Step::DefineClone);
    assert_eq!(evidence, Evidence::Cloned { source: source.ctid, incarnation: incarnation(source.ctid), shared_mounts: 0 });
    let seen = rig.seen(copy.ctid).expect("it is there");
    assert_eq!((&seen.presence, seen.mark.as_ref(), seen.init), (&Presence::Whole, Some(&mark(copy.ctid)), None));
    let config = seen.config.expect("a configuration");
    assert!(!config.autostart && config.mounts.is_empty(), "{config:?}");
    let kept = rig.seen(source.ctid).expect("it is there");
    assert_eq!((kept.mark, kept.config.map(|config| config.autostart)), (Some(mark(source.ctid)), Some(true)));
    rig.done(&source, &Step::CloneRelease);
    rig.done(&source, &Step::RunStart);
    let rest = rig.steps_up_to(State::Running, &copy);
    rig.through(&copy, &rest[1..]);
    assert_eq!(
        rig.seen(copy.ctid).and_then(|seen| seen.config).and_then(|config| config.hostname).as_deref(),
        Some(copy.hostname.as_str())
    );
    if rig.site.runs_scripts() {
        let mut looking = copy.clone();
        looking.application = Some(super::fleets::script_of("#!/bin/sh\ncat /base\n"));
        let report = rig.take(&looking, &Step::ApplicationRun);
        assert_eq!(report.output.and_then(|output| output.kept).as_deref(), Some(&b"base\n"[..]), "what the source's scripts had made");
    }
}

pub(crate) fn a_running_source_is_not_cloned(rig: &mut Rig) {
    let source = rig.spec(0);
    let copy = cloned(rig.spec(1), source.ctid.get());
    rig.bring(&source, State::Running);
    let refused = rig.take(&copy, &Step::DefineClone).result;
    assert!(matches!(refused, StepResult::Failed(_)), "{refused:?}");
    assert_eq!(rig.seen(copy.ctid), None);
    assert_eq!(rig.seen(source.ctid).and_then(|seen| seen.init), Some(rig.init(&source)), "the source is as it was");
}

pub(crate) fn a_source_that_can_be_copied_while_it_runs_goes_on_running(rig: &mut Rig) {
    let Some(source) = rig.site.live_spec(rig.ctid(0)) else { return };
    let copy = cloned(rig.site.live_spec(rig.ctid(1)).expect("as before"), source.ctid.get());
    rig.bring(&source, State::Done);
    assert!(rig.seen(source.ctid).expect("it is there").copies_live);
    let (before, init) = (rig.print(), rig.init(&source));
    rig.learned.held_by = HoldBy::Snapshot;
    assert_eq!(rig.settle(&source, &Step::CloneHold), StepResult::Absent);
    rig.done(&source, &Step::CloneHold);
    rig.done(&source, &Step::CloneHold);
    rig.done(&copy, &Step::DefineClone);
    rig.done(&source, &Step::CloneRelease);
    rig.done(&source, &Step::CloneRelease);
    assert_eq!(rig.seen(source.ctid).and_then(|seen| seen.init), Some(init));
    assert_eq!(rig.seen(copy.ctid).map(|seen| (seen.mark, seen.init)), Some((Some(mark(copy.ctid)), None)));
    rig.learned.held_by = HoldBy::Stop;
    rig.done(&copy, &Step::DownDestroy);
    check_same(&rig.print(), &before, "once the copy is gone again");
}
