//! One effect being carried out: what every step of every backend needs.
//!
//! Apart so that each family of steps stands in a file of its own. Here are the way through the shim, the judgement of a mark,
//! and the words of failures. Not here: which function takes which action, which is the backend's to say.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, Seq};

use crate::ids::{Ctid, Incarnation, Moment, Step, StepId};
use crate::machine::{Evidence, Failure, FailureClass, Output, Report, StepResult, Wait, WaitKind};
use crate::plan::{Effect, Intent, Mark};
use crate::shim::{self, Ending, IntentRef, Job, JobResult, Lock, PrepareError, Prepared, ResultPlace, Secret, Task};

use super::{Backend, Local};

/// What a step comes to: evidence, or the result that ends it early.
pub(in crate::host) type Taken<T = Evidence> = Result<T, Box<StepResult>>;

/// How long what runs inside gets between `SIGTERM` and `SIGKILL`.
const SCRIPT_GRACE: Duration = Duration::from_secs(5);
/// The most bytes of a child's output repeated in a failure.
const TAIL_BYTES_MAX: usize = 2048;

/// One effect, under its locks.
#[derive(Debug)]
pub(in crate::host) struct Act<'a, B> {
    pub(in crate::host) host: &'a B,
    pub(in crate::host) local: &'a Local,
    pub(in crate::host) effect: &'a Effect,
    pub(in crate::host) locks: &'a [Lock],
    pub(in crate::host) epoch: Epoch,
    pub(in crate::host) intent_ref: IntentRef,
    output: std::cell::RefCell<Option<Output>>,
    /// What was allocated before the intent, for the first child.
    prepared: std::cell::RefCell<Option<Prepared>>,
}

impl<'a, B: Backend> Act<'a, B> {
    pub(in crate::host) fn new(
        host: &'a B,
        seq: Seq,
        epoch: Epoch,
        effect: &'a Effect,
        locks: &'a [Lock],
        prepared: Option<Prepared>,
    ) -> Self {
        let intent_ref = intent_ref(seq, epoch, &effect.intent);
        let (output, prepared) = (std::cell::RefCell::new(None), std::cell::RefCell::new(prepared));
        Self { host, local: host.local(), effect, locks, epoch, intent_ref, output, prepared }
    }

    pub(in crate::host) fn intent(&self) -> &'a Intent {
        &self.effect.intent
    }

    /// Carries the effect out.
    pub(in crate::host) fn report(&self) -> Report {
        self.finish(B::take(self))
    }

    /// The report of a result, with what the last child wrote.
    pub(in crate::host) fn finish(&self, taken: Taken) -> Report {
        let result = match taken {
            Ok(evidence) => StepResult::Done(evidence),
            Err(result) => *result,
        };
        Report { result, output: self.output.take() }
    }

    /// Makes what a child wrote the report's output.
    pub(in crate::host) fn keep_output(&self, result: &JobResult) {
        self.output.replace(output_of(result));
    }

    /// Whether the container is there and bears our mark. To be asked under its lock, just before acting.
    pub(in crate::host) fn check_mark(&self) -> Taken<()> {
        B::check_mark(self)
    }

    /// Judges a mark that was found on the container.
    pub(in crate::host) fn judge_found(&self, found: Option<&Mark>) -> Taken<()> {
        if phoenix_journal::sabotaged("marks_are_not_compared") {
            return Ok(());
        }
        judge_mark(&self.effect.mark, &self.effect.former, found)
    }

    /// Judges a mark that was found on the container that is copied. What it was before nobody says here: another incarnation is
    /// not the one that is meant, and whose affair that is the next look at the source itself tells.
    pub(in crate::host) fn judge_source(&self, source: Ctid, incarnation: Incarnation, found: Option<&Mark>) -> Taken<()> {
        let ours = Mark { ctid: source, incarnation, ..self.effect.mark.clone() };
        judge_mark(&ours, found.map(|found| found.incarnation).as_slice(), found)
    }

    /// The time left until the deadline; of a boot that has ended, none.
    pub(in crate::host) fn remaining(&self) -> Duration {
        self.intent().deadline.remaining(&self.local.clock.moment()).unwrap_or(Duration::ZERO)
    }

    /// The time left, cut to `most`.
    pub(in crate::host) fn remaining_at_most(&self, most: Duration) -> Duration {
        self.remaining().min(most)
    }

    /// Where this intent's result lies: of scripts on disk, of everything else until the next boot.
    pub(in crate::host) fn place(&self) -> ResultPlace {
        place(self.local, self.intent())
    }

    /// Runs a child under a shim and waits for it. What it wrote becomes the report's output.
    pub(in crate::host) fn run(&self, task: Task, sync: Vec<PathBuf>, secrets: Vec<Secret>) -> Taken<JobResult> {
        self.run_until(task, sync, secrets, self.intent().deadline.clone())
    }

    /// As [`Self::run`], with a deadline of the child's own.
    pub(in crate::host) fn run_until(&self, task: Task, sync: Vec<PathBuf>, secrets: Vec<Secret>, deadline: Moment) -> Taken<JobResult> {
        let Intent { ctid, incarnation, step, attempt, token, .. } = self.intent();
        let allocated = self.prepared.take();
        let prepared = allocated.map_or_else(|| shim::prepare(&self.place(), *token), Ok);
        let prepared = prepared.map_err(|error| {
            let class = FailureClass::Transient;
            match &error {
                PrepareError::Full { .. } => failed(class, error),
                PrepareError::Io { source, .. } => failed(class, format!("{error}: {source}")),
            }
        })?;
        let (step, intent) = (step.clone(), self.intent_ref.clone());
        let job = Job {
            ctid: *ctid,
            incarnation: *incarnation,
            step,
            attempt: *attempt,
            intent,
            token: *token,
            deadline,
            grace: grace(self.local, self.intent()),
            sync,
            secrets,
            task,
        };
        let running =
            shim::spawn(prepared, job, self.locks, &self.local.shim).map_err(|error| failed(FailureClass::Transient, chain(&error)))?;
        let result = running.wait().map_err(|error| Box::new(StepResult::Unknown { why: chain(&error) }))?;
        self.keep_output(&result);
        Ok(result)
    }

    /// Judges the end of a child: only an exit status of 0 goes on.
    pub(in crate::host) fn expect_success(&self, result: &JobResult, what: &str, command: Option<String>) -> Taken<()> {
        let tail = tail(&result.output().unwrap_or_default());
        judge_ending(&self.intent().step, result, what, command, tail)
    }
}

/// What names an intent to its shim and to whoever reads the result. Made of what the intent itself holds, so that it is the
/// same before and after a crash, and for every version.
pub(in crate::host) fn intent_ref(seq: Seq, epoch: Epoch, intent: &Intent) -> IntentRef {
    let Intent { ctid, incarnation, step, attempt, token, .. } = intent;
    let digest = Digest::of(format!("{ctid} {incarnation} {step} {attempt} {token}").as_bytes());
    IntentRef::new(seq, epoch, digest).expect("a sequence number prints as decimal digits")
}

pub(in crate::host) fn place(local: &Local, intent: &Intent) -> ResultPlace {
    if intent.step.step.is_script() && !intent.step.repair {
        ResultPlace::lasting(&local.state, intent.ctid, intent.incarnation)
    } else {
        ResultPlace::of_this_boot(&local.runtime, intent.ctid, intent.incarnation)
    }
}

/// How long the processes of a step get between `SIGTERM` and `SIGKILL`.
pub(in crate::host) fn grace(local: &Local, intent: &Intent) -> Duration {
    let step = &intent.step.step;
    let inside = step.is_script() || matches!(step, Step::HealthCheck(_) | Step::RunReady);
    if inside && !intent.step.repair { SCRIPT_GRACE } else { local.grace }
}

/// What a mark that was found means for an effect that bears `ours`.
pub(in crate::host) fn judge_mark(ours: &Mark, former: &[Incarnation], found: Option<&Mark>) -> Taken<()> {
    match found {
        // A clone brings its source's mark: a mark for another container counts as none.
        None => Err(failed(FailureClass::MarkMissing, "the container bears no mark of phoenix; see `phoenix explain`")),
        Some(found) if found.ctid != ours.ctid => {
            Err(failed(FailureClass::MarkMissing, format!("the container bears the mark of container {}", found.ctid)))
        }
        Some(found) => match ours.outlived_by(found, former) {
            Some(message) => Err(failed(FailureClass::JournalOlder, message)),
            None if !ours.owns(found) => Err(Box::new(StepResult::Foreign { owner: owner(found) })),
            None => Ok(()),
        },
    }
}

/// Who a mark says a container belongs to.
pub(in crate::host) fn owner(mark: &Mark) -> String {
    format!("journal {}, fleet {}, incarnation {}", mark.journal, mark.fleet, mark.incarnation)
}

/// Judges the end of a child.
pub(in crate::host) fn judge_ending(step: &StepId, result: &JobResult, what: &str, command: Option<String>, tail: String) -> Taken<()> {
    let (class, message, status) = match &result.ending {
        Ending::Exited(0) => return Ok(()),
        Ending::ContainerEnded => return Err(Box::new(StepResult::Interrupted)),
        Ending::Exited(status) => (FailureClass::Transient, format!("{what} failed"), Some(format!("exit {status}"))),
        Ending::Signalled(signal) => (FailureClass::Transient, format!("{what} was ended by a signal"), Some(format!("signal {signal}"))),
        Ending::TimedOut if result.undead.is_empty() => {
            (FailureClass::Timeout, format!("{what} did not end before the deadline of {step}"), None)
        }
        Ending::TimedOut => (FailureClass::Undead, format!("{what} did not end, and processes {:?} cannot be ended", result.undead), None),
        Ending::NotStarted { why } => (FailureClass::Transient, format!("{what} could not be started: {why}"), None),
        // The status tells a script that ran from one that was not begun.
        Ending::NotDurable { why } => {
            (FailureClass::Transient, format!("{what} succeeded, but could not be made durable: {why}"), Some("exit 0".to_owned()))
        }
    };
    Err(Box::new(StepResult::Failed(Failure { class, message, command, status, tail })))
}

/// What a child wrote, for the report.
pub(in crate::host) fn output_of(result: &JobResult) -> Option<Output> {
    let kept = result.output().ok().filter(|kept| !kept.is_empty())?;
    Some(Output { digest: Digest::of(&kept), kept: Some(kept), bytes_written: result.output_bytes })
}

/// The end of what a child wrote, as text.
pub(in crate::host) fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(TAIL_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).trim_end().to_owned()
}

pub(in crate::host) fn failed(class: FailureClass, message: impl Display) -> Box<StepResult> {
    Box::new(StepResult::Failed(Failure::new(class, message.to_string())))
}

pub(in crate::host) fn io_failed(what: &str, error: &io::Error) -> Box<StepResult> {
    let stays = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidData);
    let class = if stays { FailureClass::Permanent } else { FailureClass::Transient };
    failed(class, format!("cannot {what}: {error}"))
}

/// An [`io_failed`] that names a path.
pub(in crate::host) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Box<StepResult> {
    let what = format!("{what} {}", path.display());
    move |error| io_failed(&what, &error)
}

pub(in crate::host) fn drift(claim: impl Display, found: impl Display) -> Box<StepResult> {
    let (claim, found) = (claim.to_string(), found.to_string());
    let message = format!("{claim}, but {found}");
    failed(FailureClass::Drift { claim, found }, message)
}

impl<B: Backend> Act<'_, B> {
    /// A failure that waits for something outside.
    pub(in crate::host) fn wait(&self, kind: WaitKind, name: impl Display, message: impl Display) -> Box<StepResult> {
        let wait = Wait { kind, name: name.to_string(), ctid: None, pid: None, since: self.local.clock.now().wall };
        failed(FailureClass::Wait(wait), message)
    }
}

/// An error with its sources, in one line.
pub(in crate::host) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
