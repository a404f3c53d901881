//! Every limit of the engine: how many at once, how often again, how long.
//!
//! Each has a name and a reason. Not here: limits of the host's own work (output sizes, signal waits).

use std::time::Duration;

use crate::ids::{Step, StepId};
use crate::machine::FailureClass;
use crate::manifest::{Script, Spec};
use crate::plan::{Action, HoldBy};

/// How often a step of the host may fail before its container counts as failed, and how often a script may not even be begun.
/// Three: once for a passing fault, once for one that takes a moment, and a third to be sure.
pub const FAILURES_MAX: u32 = 3;
/// How often a step may be cut off by a crash before its container is quarantined. Larger, because a crash says nothing
/// about the step; finite, because a step that brings the host down would otherwise do so for ever.
pub const CUT_OFFS_MAX: u32 = 20;
/// How often a probe may answer that it cannot tell.
pub const UNKNOWNS_MAX: u32 = 3;
/// The first wait after a failure; each further one is twice as long.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(200);
/// The longest wait after a failure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// The wait until a lock that was found held is tried again. Short: most holders are shims about to end.
pub const LOCK_RETRY: Duration = Duration::from_millis(100);
/// How long a lock is waited for before its container counts as waiting in this run.
pub const LOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// How often a step may find a lock held that it needs beside the container's own (a shared directory's, or the host's own
/// lock on a configuration). With the waits between them, some two and a half minutes.
pub const LOCK_WAITS_MAX: u32 = 12;
/// How many effects at once, if the person says nothing.
pub const JOBS_DEFAULT: usize = 4;

const FETCH_TIMEOUT: Duration = Duration::from_secs(60 * 60);
const CREATE_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// A storage that has just been busy, or that checks its file system first, holds a start up for a minute and more.
const START_TIMEOUT: Duration = Duration::from_secs(2 * 60);
const STOP_TIMEOUT: Duration = Duration::from_secs(90);
/// What a stop gets beyond the time that its container may take to shut down: for the hard way after it, and what is cleaned up.
const STOP_RESERVE: Duration = Duration::from_secs(60);
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const EDIT_TIMEOUT: Duration = Duration::from_secs(30);
/// A file system that grows is checked first, and written to; of a large one on a slow disk that takes minutes.
const GROW_TIMEOUT: Duration = Duration::from_secs(10 * 60);
const PREPARE_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// What a health check or readiness gets beyond its own sum, so that the answer can still be written.
const SLACK: Duration = Duration::from_secs(10);

/// How long one attempt of `step` may take that does `action`.
pub fn timeout_of(step: &StepId, action: &Action, spec: &Spec) -> Duration {
    if let Action::Hold { init: _, by: HoldBy::Snapshot } = action { SNAPSHOT_TIMEOUT } else { timeout(step, spec) }
}

/// How long one attempt of `step` may take, whichever way it is done.
pub fn timeout(step: &StepId, spec: &Spec) -> Duration {
    match &step.step {
        Step::TemplateFetch => FETCH_TIMEOUT,
        Step::DefineCreate | Step::DefineClone | Step::DownDestroy => CREATE_TIMEOUT,
        Step::FinalizeStart | Step::RunStart => START_TIMEOUT,
        Step::FinalizeStop => STOP_TIMEOUT,
        // A container that was stopped needs no repair; a snapshot that was cut off is deleted.
        Step::CloneHold if step.repair => SNAPSHOT_TIMEOUT,
        Step::CloneHold | Step::DownStop => orderly_stop(spec),
        Step::SnapshotTake | Step::CloneRelease => SNAPSHOT_TIMEOUT,
        Step::VolumePrepare(_) => PREPARE_TIMEOUT,
        // Killed in between, the volume would have its new size and the file system its old one, which nothing tells.
        Step::ConfigureSet if spec.resources.disk_gb.is_some() => GROW_TIMEOUT,
        Step::DefineMark
        | Step::ConfigureSet
        | Step::FirewallSet
        | Step::FinalizeIdmap
        | Step::VolumeAttach(_)
        | Step::VolumeDetach(_)
        | Step::AutostartSet => EDIT_TIMEOUT,
        Step::RunReady => spec.ready.timeout + SLACK,
        Step::FeatureApply(_) | Step::ApplicationRun => script(&step.step, spec).map_or(EDIT_TIMEOUT, |script| script.timeout),
        Step::HealthCheck(name) => {
            let check = spec.health.iter().find(|check| check.name == *name);
            check.map_or(EDIT_TIMEOUT, |check| (check.timeout + check.interval) * (check.retries + 1) + SLACK)
        }
    }
}

/// How long a stop may take that lets the container shut down as long as its spec says.
fn orderly_stop(spec: &Spec) -> Duration {
    let asked = spec.autostart.down_timeout_s.map(|seconds| Duration::from_secs(seconds.into()) + STOP_RESERVE);
    asked.map_or(STOP_TIMEOUT, |asked| asked.max(STOP_TIMEOUT))
}

/// How often `step` may fail with `class`, once it was begun. A script's own budget is for the script's own failures: that its
/// container was not there is none.
pub fn failures_max(step: &StepId, class: &FailureClass, spec: &Spec) -> u32 {
    if let Some(script) = script(&step.step, spec).filter(|_| *class != FailureClass::InitLost) {
        return script.retries.saturating_add(1);
    }
    // A health check asks as often as its spec says within one attempt, and readiness until its deadline.
    let asks_by_itself = matches!(step.step, Step::HealthCheck(_) | Step::RunReady);
    match class {
        FailureClass::InitLost => FAILURES_MAX,
        FailureClass::Transient | FailureClass::Timeout if !asks_by_itself => FAILURES_MAX,
        FailureClass::Transient
        | FailureClass::Timeout
        | FailureClass::Permanent
        | FailureClass::Drift { .. }
        | FailureClass::Wait(_)
        | FailureClass::MarkMissing
        | FailureClass::Undead
        | FailureClass::JournalOlder => 1,
    }
}

/// The wait after the `failures`-th failure, before jitter.
pub fn backoff(failures: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(BACKOFF_MAX)
}

/// The script that a step runs.
pub fn script<'a>(step: &Step, spec: &'a Spec) -> Option<&'a Script> {
    match step {
        Step::FeatureApply(name) => spec.features.iter().find(|feature| feature.name == *name).map(|feature| &feature.script),
        Step::ApplicationRun => spec.application.as_ref(),
        Step::TemplateFetch
        | Step::FirewallSet
        | Step::SnapshotTake
        | Step::DefineCreate
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
        | Step::HealthCheck(_)
        | Step::AutostartSet
        | Step::DownStop
        | Step::DownDestroy => None,
    }
}
