//! Up and down: starting, reading the id map, stopping.
//!
//! `lxc-start` gets neither lock nor token, because the monitor that it leaves behind would keep them; what it did is judged
//! by looking. Stopping needs no program: a pidfd names the init, and its monitor's end says that all is cleaned up.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::ids::{IdMap, Step};
use crate::machine::{Failure, FailureClass, StepResult};
use crate::plan::{Init, Source};
use crate::shim::{Kept, Task};

use super::super::local::act::{Act, Taken, io_failed, judge_ending, tail};
use super::super::local::life::host_environment;
use super::Lxc;

/// How long an init may take to shut down in order, unless the spec says otherwise. The busybox init takes 2 s, systemd with
/// services up to some 10 s.
const ORDERLY_STOP: Duration = Duration::from_secs(30);
/// Kept back from the deadline for the hard stop that follows an orderly one in vain.
const HARD_STOP_RESERVE: Duration = Duration::from_secs(5);

impl Act<'_, Lxc> {
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
        self.remove_control_groups();
        self.spawn_lxc_start()?;
        self.started(idmap)?.ok_or_else(|| self.ended_at_once())
    }

    /// Brings the container down: at once after the first start, else in order as far as time allows.
    pub(super) fn stop(&self, init: Option<&Init>) -> Taken<()> {
        self.check_mark()?;
        if self.intent().step.step != Step::FinalizeStop {
            self.stop_in_order()?;
        }
        self.put_down(init)
    }

    fn stop_in_order(&self) -> Taken<()> {
        let Some(init) = self.up()?.init else { return Ok(()) };
        let asked = self.effect.spec.autostart.down_timeout_s.map_or(ORDERLY_STOP, |seconds| Duration::from_secs(seconds.into()));
        let wait = asked.min(self.remaining().saturating_sub(HARD_STOP_RESERVE));
        crate::shim::thaw(init.pid);
        if init.blocks_systemd_halt() {
            // SIGRTMIN+3 can be sent by `lxc-stop` alone; it ends in time by itself, and `stop_hard` looks at what it achieved.
            self.run(self.lxc_stop(wait), Vec::new(), Vec::new())?;
        } else {
            init.signal(Signal::POWER).map_err(|error| io_failed("signal the init", &error))?;
            init.ends_within(wait);
        }
        Ok(())
    }

    fn spawn_lxc_start(&self) -> Taken<()> {
        let log = self.log();
        let private = |path: &std::path::Path| std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
        let prepared = log.parent().map_or(Ok(()), private).and_then(|()| match std::fs::remove_file(&log) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        });
        prepared.map_err(|error| io_failed("make room for the log of lxc-start", &error))?;
        let (path, ctid) = (self.host.layout.path(), self.intent().ctid);
        let mut argv: Vec<OsString> =
            vec![self.host.programs.lxc_start.clone().into(), "-P".into(), path.into(), "-n".into(), ctid.to_string().into()];
        argv.extend(["-d".into(), "-l".into(), "WARN".into(), "-o".into(), log.into()]);
        let task = Task::Run { argv, env: host_environment(), kept: Kept::Nothing };
        let result = self.run(task, Vec::new(), Vec::new())?;
        judge_ending(&self.intent().step, &result, "lxc-start", Some(self.start_command()), self.log_tail())
    }

    fn ended_at_once(&self) -> Box<StepResult> {
        let (class, message) = (FailureClass::Transient, "the container's init ended at once".to_owned());
        let command = Some(self.start_command());
        Box::new(StepResult::Failed(Failure { class, message, command, status: None, tail: self.log_tail() }))
    }

    fn start_command(&self) -> String {
        format!("lxc-start -P {} -n {}", self.host.layout.path().display(), self.intent().ctid)
    }

    /// The log of the last `lxc-start`; the monitor goes on writing to it.
    fn log(&self) -> PathBuf {
        self.local.runtime.path().join("log").join(format!("lxc-{}.log", self.intent().ctid))
    }

    fn log_tail(&self) -> String {
        tail(&std::fs::read(self.log()).unwrap_or_default())
    }

    fn lxc_stop(&self, wait: Duration) -> Task {
        let (path, ctid) = (self.host.layout.path(), self.intent().ctid);
        let mut argv: Vec<OsString> =
            vec![self.host.programs.lxc_stop.clone().into(), "-P".into(), path.into(), "-n".into(), ctid.to_string().into()];
        argv.extend(["-t".into(), wait.as_secs().max(1).to_string().into()]);
        Task::Run { argv, env: host_environment(), kept: Kept::LockAndToken }
    }
}
