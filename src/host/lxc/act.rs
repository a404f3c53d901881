//! One effect being carried out: what every step needs, and which function takes which action.
//!
//! Apart so that each family of steps stands in a file of its own. Here are the check of the mark, the way through the shim,
//! and the words of failures.

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, Seq};

use crate::ids::{Moment, StepId};
use crate::machine::{Evidence, Failure, FailureClass, Output, Report, StepResult, Wait, WaitKind};
use crate::plan::{Action, Effect, Intent, Mark, Presence};
use crate::shim::{self, Ending, IntentRef, Job, JobResult, Lock, PrepareError, Prepared, ResultPlace, Secret, Task};

use super::{Lxc, observe};

/// What a step comes to: evidence, or the result that ends it early.
pub(super) type Taken<T = Evidence> = Result<T, Box<StepResult>>;

/// How long processes of a step get between `SIGTERM` and `SIGKILL`.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// The most bytes of a child's output repeated in a failure.
const TAIL_BYTES_MAX: usize = 2048;

/// One effect, under its locks.
pub(super) struct Act<'a> {
    pub(super) host: &'a Lxc,
    pub(super) effect: &'a Effect,
    pub(super) locks: &'a [Lock],
    pub(super) epoch: Epoch,
    pub(super) intent_ref: IntentRef,
    output: std::cell::RefCell<Option<Output>>,
    /// What was allocated before the intent, for the first child.
    prepared: std::cell::RefCell<Option<Prepared>>,
}

impl<'a> Act<'a> {
    pub(super) fn new(host: &'a Lxc, seq: Seq, epoch: Epoch, effect: &'a Effect, locks: &'a [Lock], prepared: Option<Prepared>) -> Self {
        let intent_ref = intent_ref(seq, epoch, &effect.intent);
        let (output, prepared) = (std::cell::RefCell::new(None), std::cell::RefCell::new(prepared));
        Self { host, effect, locks, epoch, intent_ref, output, prepared }
    }

    pub(super) fn intent(&self) -> &'a Intent {
        &self.effect.intent
    }

    /// Carries the effect out.
    pub(super) fn report(&self) -> Report {
        self.finish(self.take())
    }

    /// The report of a result, with what the last child wrote.
    pub(super) fn finish(&self, taken: Taken) -> Report {
        let result = match taken {
            Ok(evidence) => StepResult::Done(evidence),
            Err(result) => *result,
        };
        Report { result, output: self.output.take() }
    }

    /// Makes what a child wrote the report's output.
    pub(super) fn keep_output(&self, result: &JobResult) {
        self.output.replace(output_of(result));
    }

    fn take(&self) -> Taken {
        match &self.intent().action {
            Action::Create { template } => self.create(*template),
            Action::Clone { source, incarnation } => self.clone_from(*source, *incarnation),
            Action::Mark => self.mark(),
            Action::Hold { init } => self.stop(init.as_ref()).map(|()| Evidence::Held),
            Action::Release => self.check_mark().map(|()| Evidence::Released),
            Action::Configure => self.configure(),
            Action::Start { purpose: _, idmap, sources } => self.start(idmap, sources),
            Action::ReadIdmap { init } => self.read_idmap(init),
            Action::Stop { init } => self.stop(init.as_ref()).map(|()| Evidence::Stopped),
            Action::Prepare { volume, idmap } => self.prepare(volume, idmap),
            Action::Attach { mount, source, idmap } => self.attach(mount, source, idmap),
            Action::Detach { mount } => self.detach(mount),
            Action::AwaitReady { init } => self.await_ready(init),
            Action::RunScript { init } => self.run_script(init),
            Action::AskHealth { init } => self.ask_health(init),
            Action::SetAutostart => self.set_autostart(),
            Action::Destroy => self.destroy(),
            Action::Repair { leftover: _ } => self.repair(),
        }
    }

    /// Whether the container is there and bears our mark. To be asked under its lock, just before acting.
    pub(super) fn check_mark(&self) -> Taken<()> {
        let ctid = self.intent().ctid;
        match observe::presence(&self.host.layout, ctid).map_err(|error| io_failed("look at the container", &error))? {
            None => return Err(Box::new(StepResult::Gone)),
            Some(Presence::Whole | Presence::HalfMade(_)) => {}
        }
        let found = observe::read_mark(&self.host.layout, ctid).map_err(|error| io_failed("read the mark", &error))?;
        if phoenix_journal::sabotaged("marks_are_not_compared") {
            return Ok(());
        }
        judge_mark(&self.effect.mark, found.as_ref())
    }

    /// The time left until the deadline; of a boot that has ended, none.
    pub(super) fn remaining(&self) -> Duration {
        self.intent().deadline.remaining(&self.host.clock.moment()).unwrap_or(Duration::ZERO)
    }

    /// The time left, cut to `most`.
    pub(super) fn remaining_at_most(&self, most: Duration) -> Duration {
        self.remaining().min(most)
    }

    /// Where this intent's result lies: of scripts on disk, of everything else until the next boot.
    pub(super) fn place(&self) -> ResultPlace {
        place(self.host, self.intent())
    }

    /// Runs a child under a shim and waits for it. What it wrote becomes the report's output.
    pub(super) fn run(&self, task: Task, sync: Vec<PathBuf>, secrets: Vec<Secret>) -> Taken<JobResult> {
        self.run_until(task, sync, secrets, self.intent().deadline.clone())
    }

    /// As [`Self::run`], with a deadline of the child's own.
    pub(super) fn run_until(&self, task: Task, sync: Vec<PathBuf>, secrets: Vec<Secret>, deadline: Moment) -> Taken<JobResult> {
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
            grace: GRACE,
            sync,
            secrets,
            task,
        };
        let running =
            shim::spawn(prepared, job, self.locks, &self.host.shim).map_err(|error| failed(FailureClass::Transient, chain(&error)))?;
        let result = running.wait().map_err(|error| Box::new(StepResult::Unknown { why: chain(&error) }))?;
        self.keep_output(&result);
        Ok(result)
    }

    /// Judges the end of a child: only an exit status of 0 goes on.
    pub(super) fn expect_success(&self, result: &JobResult, what: &str, command: Option<String>) -> Taken<()> {
        let tail = tail(&result.output().unwrap_or_default());
        judge_ending(&self.intent().step, result, what, command, tail)
    }
}

/// What names an intent to its shim and to whoever reads the result. Made of what the intent itself holds, so that it is the
/// same before and after a crash, and for every version.
pub(super) fn intent_ref(seq: Seq, epoch: Epoch, intent: &Intent) -> IntentRef {
    let Intent { ctid, incarnation, step, attempt, token, .. } = intent;
    let digest = Digest::of(format!("{ctid} {incarnation} {step} {attempt} {token}").as_bytes());
    IntentRef::new(seq, epoch, digest).expect("a sequence number prints as decimal digits")
}

/// Whether a step always has a child, so that space for its result is allocated before the intent. Others have one at most on
/// some systems, or none.
pub(super) fn needs_a_shim(intent: &Intent) -> bool {
    match &intent.action {
        Action::Create { .. } | Action::Clone { .. } | Action::Start { .. } | Action::RunScript { .. } | Action::AskHealth { .. } => true,
        Action::Mark
        | Action::Hold { .. }
        | Action::Release
        | Action::Configure
        | Action::ReadIdmap { .. }
        | Action::Stop { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AwaitReady { .. }
        | Action::SetAutostart
        | Action::Destroy
        | Action::Repair { .. } => false,
    }
}

pub(super) fn place(host: &Lxc, intent: &Intent) -> ResultPlace {
    if intent.step.step.is_script() && !intent.step.repair {
        ResultPlace::lasting(&host.state, intent.ctid, intent.incarnation)
    } else {
        ResultPlace::of_this_boot(&host.runtime, intent.ctid, intent.incarnation)
    }
}

/// What a mark that was found means for an effect that bears `ours`.
pub(super) fn judge_mark(ours: &Mark, found: Option<&Mark>) -> Taken<()> {
    match found {
        // A clone brings its source's mark: a mark for another container counts as none.
        None => Err(failed(FailureClass::MarkMissing, "the container bears no mark of phoenix; see `phoenix explain`")),
        Some(found) if found.ctid != ours.ctid => {
            Err(failed(FailureClass::MarkMissing, format!("the container bears the mark of container {}", found.ctid)))
        }
        Some(found) if !ours.owns(found) => Err(Box::new(StepResult::Foreign { owner: owner(found) })),
        Some(found) if found.epoch > ours.epoch && !phoenix_journal::sabotaged("later_epochs_are_not_noticed") => {
            let message = format!("the mark was written in epoch {}, which this journal ({}) has not reached", found.epoch, ours.epoch);
            Err(failed(FailureClass::JournalOlder, message))
        }
        Some(_) => Ok(()),
    }
}

/// Who a mark says a container belongs to.
pub(super) fn owner(mark: &Mark) -> String {
    format!("journal {}, fleet {}, incarnation {}", mark.journal, mark.fleet, mark.incarnation)
}

/// Judges the end of a child.
pub(super) fn judge_ending(step: &StepId, result: &JobResult, what: &str, command: Option<String>, tail: String) -> Taken<()> {
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
        Ending::NotDurable { why } => (FailureClass::Transient, format!("{what} succeeded, but could not be made durable: {why}"), None),
    };
    Err(Box::new(StepResult::Failed(Failure { class, message, command, status, tail })))
}

/// What a child wrote, for the report.
pub(super) fn output_of(result: &JobResult) -> Option<Output> {
    let kept = result.output().ok().filter(|kept| !kept.is_empty())?;
    Some(Output { digest: Digest::of(&kept), kept: Some(kept), bytes_written: result.output_bytes })
}

/// The end of what a child wrote, as text.
pub(super) fn tail(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(TAIL_BYTES_MAX);
    String::from_utf8_lossy(&bytes[from..]).trim_end().to_owned()
}

pub(super) fn failed(class: FailureClass, message: impl Display) -> Box<StepResult> {
    Box::new(StepResult::Failed(Failure::new(class, message.to_string())))
}

pub(super) fn io_failed(what: &str, error: &io::Error) -> Box<StepResult> {
    let stays = matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::InvalidData);
    let class = if stays { FailureClass::Permanent } else { FailureClass::Transient };
    failed(class, format!("cannot {what}: {error}"))
}

/// An [`io_failed`] that names a path.
pub(super) fn at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Box<StepResult> {
    let what = format!("{what} {}", path.display());
    move |error| io_failed(&what, &error)
}

pub(super) fn drift(claim: impl Display, found: impl Display) -> Box<StepResult> {
    let (claim, found) = (claim.to_string(), found.to_string());
    let message = format!("{claim}, but {found}");
    failed(FailureClass::Drift { claim, found }, message)
}

impl Act<'_> {
    /// A failure that waits for something outside.
    pub(super) fn wait(&self, kind: WaitKind, name: impl Display, message: impl Display) -> Box<StepResult> {
        let wait = Wait { kind, name: name.to_string(), ctid: None, pid: None, since: self.host.clock.now().wall };
        failed(FailureClass::Wait(wait), message)
    }
}

/// An error with its sources, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}
