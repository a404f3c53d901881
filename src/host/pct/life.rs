//! Up and down.
//!
//! `pct start` gets neither lock nor token, because the monitor that it leaves behind would keep them; what it did is judged by
//! looking. Stopping is `pct`'s too, so that its hooks run; where it fails, a pidfd ends the init. Not here: who runs
//! (`running`), and how the init's map is read (`local`).

use std::time::Duration;

use crate::host::local::Backend;
use crate::host::local::act::{Act, Taken, io_failed};
use crate::host::local::life::Up;
use crate::host::local::{cgroup, proc};
use crate::ids::{Ctid, IdMap, Step};
use crate::machine::{FailureClass, StepResult};
use crate::plan::{Init, Source};
use crate::shim::{Ending, Kept};

use super::Pct;
use super::child::Said;

/// How long an init may take to shut down in order, unless the spec says otherwise; as on plain LXC.
const ORDERLY_STOP: Duration = Duration::from_secs(30);
/// Kept back from the deadline for `pct`'s own start-up, its hard stop, and ours.
const HARD_STOP_RESERVE: Duration = Duration::from_secs(15);
/// What `pct` says when the container was up still after the wait.
const NOT_STOPPED: &str = "container did not stop";
/// The lock of `pct mount`, with which a container can be started and stopped.
pub(super) const MOUNTED: &str = "mounted";

impl Act<'_, Pct> {
    pub(super) fn start(&self, idmap: &IdMap, sources: &[Source]) -> Taken {
        self.check_mark()?;
        sources.iter().try_for_each(|source| self.check_source_directory(source))?;
        self.check_configured_idmap(idmap)?;
        if !self.settled_up()?.is_down() {
            if let Some(evidence) = self.taken_over(idmap, sources)? {
                return Ok(evidence);
            }
            self.stop(None)?;
        }
        self.end_orphans();
        self.remove_control_groups();
        self.remove_drafts()?;
        let said = self.call("pct", self.words(["start"], []), Kept::Nothing)?;
        match self.started(idmap)? {
            Some(evidence) => Ok(evidence),
            None => {
                Err(self.refused(&said, &format!("the container did not start (`pct start {} --debug 1` shows why)", self.intent().ctid)))
            }
        }
    }

    /// Brings the container down: at once after the first start, else in order as far as time allows.
    pub(super) fn stop(&self, init: Option<&Init>) -> Taken<()> {
        self.check_mark()?;
        let up = self.up()?;
        let Some(running) = &up.init else { return self.put_down_all(init) };
        // A backup or a snapshot of others keeps it frozen on purpose, and `pct` would not stop it below their lock either.
        self.check_no_task()?;
        // Frozen, it would neither hear of a shutdown nor, in the old hierarchy, die.
        crate::shim::thaw(running.pid);
        let said = if self.intent().step.step == Step::FinalizeStop {
            self.pct(self.words(["stop"], []))?
        } else {
            let wait = self.effect.spec.autostart.down_timeout_s.map_or(ORDERLY_STOP, |seconds| Duration::from_secs(seconds.into()));
            let wait = wait.min(self.remaining().saturating_sub(HARD_STOP_RESERVE)).as_secs().max(1).to_string();
            self.pct(self.words(["shutdown"], ["--timeout", &wait, "--forceStop", "1"]))?
        };
        self.down_after(&said, init)
    }

    /// Waits while a task of others is at work on the container, by the lock of its configuration or by its worker.
    fn check_no_task(&self) -> Taken<()> {
        // What `pct mount` leaves is in nobody's way.
        match self.config()?.main().lock() {
            Some(lock) if lock != MOUNTED => Err(self.locked(lock)),
            Some(_) | None => self.check_no_worker(),
        }
    }

    /// Whether it is down now. Who holds a lock is waited for, and what `pct` could not end is ended without it; but a `pct` that
    /// failed before it had waited says nothing of the container, which may be a database at work: it is asked again. Only what
    /// was just started for the first time has nothing to lose.
    fn down_after(&self, said: &Said, init: Option<&Init>) -> Taken<()> {
        if self.up()?.init.is_some() {
            let refused = self.refused(said, "the container did not stop");
            let waits = matches!(&*refused, StepResult::Failed(failure) if matches!(failure.class, FailureClass::Wait(_)));
            if waits || !(self.intent().step.step == Step::FinalizeStop || has_waited(said)) {
                return Err(refused);
            }
        }
        self.put_down_all(init)
    }

    /// As [`Self::put_down`], with what a killed monitor left running.
    pub(super) fn put_down_all(&self, init: Option<&Init>) -> Taken<()> {
        self.stop_hard(init)?;
        self.end_orphans();
        self.remove_control_groups();
        Ok(())
    }

    /// Ends what runs of the container without a monitor, which is how LXC knows what runs. It is ours: that was asked.
    fn end_orphans(&self) {
        let ctid = self.intent().ctid;
        if !proc::is_started_anywhere(ctid) {
            cgroup::end_members(ctid);
        }
    }

    /// What runs of another container.
    pub(super) fn up_of(&self, ctid: Ctid) -> Taken<Up> {
        self.host.up(ctid).map_err(|error| io_failed("look at the container's processes", &error))
    }

    /// `VERB ID REST`, as `pct` wants it.
    pub(super) fn words<const N: usize>(&self, verb: [&str; 1], rest: [&str; N]) -> Vec<String> {
        let id = self.intent().ctid.to_string();
        verb.into_iter().chain([id.as_str()]).chain(rest).map(str::to_owned).collect()
    }

    /// Thaws the container and its file systems, if it runs: a snapshot that was cut off leaves them frozen.
    pub(super) fn thaw(&self) -> Taken<()> {
        let up = self.up_of(self.intent().ctid)?;
        if let Some(init) = up.init {
            crate::shim::thaw(init.pid);
            self.unfreeze_volumes(init.pid)?;
        }
        Ok(())
    }
}

/// Whether `pct shutdown` ran its wait out, or was at it until the deadline.
fn has_waited(said: &Said) -> bool {
    said.result.ending == Ending::TimedOut || said.text.contains(NOT_STOPPED)
}
