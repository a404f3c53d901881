//! The oldest schema that can say what is recorded: which words are known since when.
//!
//! Apart from the documents, whose forms say nothing about versions. Each function is a match without a rest, so that a new
//! word has to say here since when it is known. Not here: the keys of a spec (`spec`).

use crate::ids::{Step, StepId};
use crate::machine::{Decision, Evidence, Note, Outcome, Standing, StepResult, Topic};
use crate::plan::{Action, CopyFrom, HoldBy, Intent};

pub(super) fn intent(intent: &Intent) -> u32 {
    let action = match &intent.action {
        Action::FetchTemplate
        | Action::SetFirewall
        | Action::TakeSnapshot
        | Action::Hold { by: HoldBy::Snapshot, .. }
        | Action::Clone { from: CopyFrom::Snapshot, .. } => 2,
        Action::Create { .. }
        | Action::Clone { from: CopyFrom::Current, .. }
        | Action::Mark
        | Action::Hold { by: HoldBy::Stop, .. }
        | Action::Release
        | Action::Configure
        | Action::Start { .. }
        | Action::ReadIdmap { .. }
        | Action::Stop { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AwaitReady { .. }
        | Action::RunScript { .. }
        | Action::AskHealth { .. }
        | Action::SetAutostart
        | Action::Destroy
        | Action::Repair { .. } => 1,
    };
    step(&intent.step).max(action)
}

pub(super) fn outcome(outcome: &Outcome) -> u32 {
    let shown = match &outcome.result {
        StepResult::Done(shown) => evidence(shown),
        StepResult::Failed(_)
        | StepResult::Absent
        | StepResult::Partial { .. }
        | StepResult::Foreign { .. }
        | StepResult::Gone
        | StepResult::Unknown { .. }
        | StepResult::Interrupted => 1,
    };
    step(&outcome.step).max(shown).max(standing(&outcome.standing))
}

pub(super) fn note(note: &Note) -> u32 {
    let topic = match &note.topic {
        Topic::Decided(Decision::NewBudget { step }) => step.as_ref().map_or(1, self::step),
        Topic::Decided(Decision::Rerun { step } | Decision::Skip { step }) => self::step(step),
        Topic::Passed
        | Topic::InitLost { .. }
        | Topic::FoundRunning { .. }
        | Topic::Standing
        | Topic::Decided(Decision::Remark)
        | Topic::Forgotten { .. } => 1,
    };
    topic.max(standing(&note.standing))
}

pub(super) fn standing(standing: &Standing) -> u32 {
    match standing {
        Standing::Failed { step, .. } => self::step(step),
        Standing::Active | Standing::Waiting(_) | Standing::Quarantined(_) => 1,
    }
}

fn evidence(evidence: &Evidence) -> u32 {
    match evidence {
        Evidence::Fetched | Evidence::FirewallSet | Evidence::Snapshot { .. } | Evidence::Held { by: HoldBy::Snapshot } => 2,
        Evidence::Created { .. }
        | Evidence::Cloned { .. }
        | Evidence::Marked
        | Evidence::Held { by: HoldBy::Stop }
        | Evidence::Released
        | Evidence::Configured { .. }
        | Evidence::Started { .. }
        | Evidence::Idmap { .. }
        | Evidence::Stopped
        | Evidence::Prepared(_)
        | Evidence::Attached(_)
        | Evidence::Detached
        | Evidence::Ready { .. }
        | Evidence::Ran { .. }
        | Evidence::Healthy { .. }
        | Evidence::AutostartSet { .. }
        | Evidence::Destroyed
        | Evidence::Repaired => 1,
    }
}

fn step(id: &StepId) -> u32 {
    match &id.step {
        Step::TemplateFetch | Step::FirewallSet | Step::SnapshotTake => 2,
        Step::DefineCreate
        | Step::DefineClone
        | Step::DefineMark
        | Step::CloneHold
        | Step::CloneRelease
        | Step::ConfigureSet
        | Step::FinalizeStart
        | Step::FinalizeIdmap
        | Step::FinalizeStop
        | Step::VolumePrepare(_)
        | Step::VolumeAttach(_)
        | Step::VolumeDetach(_)
        | Step::RunStart
        | Step::RunReady
        | Step::FeatureApply(_)
        | Step::ApplicationRun
        | Step::HealthCheck(_)
        | Step::AutostartSet
        | Step::DownStop
        | Step::DownDestroy => 1,
    }
}
