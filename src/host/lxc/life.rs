//! Up and down: starting, reading the id map, stopping.
//!
//! `lxc-start` gets neither lock nor token, because the monitor that it leaves behind would keep them; what it did is judged
//! by looking. Stopping needs no program: a pidfd names the init, and its monitor's end says that all is cleaned up.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::ids::{IdMap, Step};
use crate::machine::{Evidence, Failure, FailureClass, StepResult, WaitKind};
use crate::plan::{Init, Source};
use crate::shim::{Kept, Secret, Task, Variables};

use super::super::ownership;
use super::act::{Act, Taken, drift, failed, io_failed, judge_ending, tail};
use super::cgroup;
use super::observe::{self, Up};
use super::proc::{self, Held};

/// How long one look at a starting container is apart from the next; its `lxc-start` ending wakes earlier.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long an init may take to shut down in order, unless the spec says otherwise. The busybox init takes 2 s, systemd with
/// services up to some 10 s.
const ORDERLY_STOP: Duration = Duration::from_secs(30);
/// Kept back from the deadline for the hard stop that follows an orderly one in vain.
const HARD_STOP_RESERVE: Duration = Duration::from_secs(5);
/// How long a monitor may take to clean up when its init has ended: a few milliseconds, hooks of the operator's longer.
const MONITOR_STOP: Duration = Duration::from_secs(10);
/// How long the kernel may take to end what was killed, an init with its whole namespace.
const HARD_STOP: Duration = Duration::from_secs(20);
/// The environment of host programs.
const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Act<'_> {
    pub(super) fn start(&self, idmap: &IdMap, sources: &[Source]) -> Taken {
        self.check_mark()?;
        sources.iter().try_for_each(|source| self.check_source_directory(source))?;
        let configured = self.config()?.idmap().map_err(|error| drift("the configuration has an id map", error))?;
        if configured.as_ref() != (!idmap.is_identity()).then_some(idmap) {
            let found = configured.map_or_else(|| "none".to_owned(), |map| map.to_string());
            return Err(drift(format!("the configured id map is {idmap}"), format!("it is {found}")));
        }
        if self.settled_up()?.is_down() {
            self.remove_control_groups();
            self.spawn_lxc_start()?;
        }
        self.started(idmap)?.ok_or_else(|| self.ended_at_once())
    }

    /// Evidence that the container is up with the map wanted; `None` if it is not up. Stops it if the map is another.
    fn started(&self, idmap: &IdMap) -> Taken<Option<Evidence>> {
        match self.look_started()? {
            Some((init, found)) if found == *idmap => Ok(Some(Evidence::Started { init, idmap: found })),
            Some((_, found)) => {
                self.stop_hard(None)?;
                Err(drift(format!("the kernel's id map is {idmap}"), format!("it was {found}; the container was stopped")))
            }
            None => Ok(None),
        }
    }

    /// The init and its map, read while it provably was the same process; `None` if it is not up.
    pub(super) fn look_started(&self) -> Taken<Option<(Init, IdMap)>> {
        let Some(held) = self.settled_up()?.init else { return Ok(None) };
        let init = held.init(self.host.clock.boot());
        let Ok(idmap) = held.idmap() else { return Ok(None) };
        Ok(held.is_alive().then_some((init, idmap)))
    }

    /// Who is up once nothing is starting any more: a living `lxc-start` or monitor without init is waited for.
    pub(super) fn settled_up(&self) -> Taken<Up> {
        loop {
            let up = self.up()?;
            if up.init.is_some() || up.starters.is_empty() {
                return Ok(up);
            }
            if self.remaining().is_zero() {
                let pids: Vec<u32> = up.starters.iter().map(|held| held.pid).collect();
                return Err(Box::new(StepResult::Partial { leftover: format!("lxc-start {pids:?} hangs without an init") }));
            }
            up.starters.first().map(|held| held.ends_within(self.remaining_at_most(LOOK_AGAIN)));
        }
    }

    pub(super) fn up(&self) -> Taken<Up> {
        observe::up(&self.host.layout, self.intent().ctid).map_err(|error| io_failed("look at the container's processes", &error))
    }

    pub(super) fn read_idmap(&self, init: &Init) -> Taken {
        self.check_mark()?;
        let held = self.hold(init)?;
        let found = held.idmap().map_err(|error| io_failed("read the id map", &error))?;
        if !held.is_alive() {
            return Err(init_lost(init));
        }
        let planned = &self.effect.spec.idmap;
        let configured =
            self.config()?.idmap().map_err(|error| drift("the configuration has an id map", error))?.unwrap_or_else(IdMap::identity);
        if found != *planned {
            return Err(drift(format!("the planned id map is {planned}"), format!("the kernel's is {found}")));
        }
        if configured != found {
            return Err(drift(format!("the configured id map is {configured}"), format!("the kernel's is {found}")));
        }
        Ok(Evidence::Idmap { init: init.clone(), idmap: found })
    }

    /// Takes hold of a recorded init, or says that it is lost.
    pub(super) fn hold(&self, init: &Init) -> Taken<Held> {
        Held::of_init(init, self.host.clock.boot()).ok_or_else(|| init_lost(init))
    }

    /// Brings the container down: at once after the first start, else in order as far as time allows.
    pub(super) fn stop(&self, init: Option<&Init>) -> Taken<()> {
        self.check_mark()?;
        if self.intent().step.step != Step::FinalizeStop {
            self.stop_in_order()?;
        }
        self.stop_hard(init)
    }

    fn stop_in_order(&self) -> Taken<()> {
        let Some(init) = self.up()?.init else { return Ok(()) };
        let asked = self.effect.spec.autostart.down_timeout_s.map_or(ORDERLY_STOP, |seconds| Duration::from_secs(seconds.into()));
        let wait = asked.min(self.remaining().saturating_sub(HARD_STOP_RESERVE));
        cgroup::thaw(&init.cgroups());
        if init.blocks_systemd_halt() {
            // SIGRTMIN+3 can be sent by `lxc-stop` alone; it ends in time by itself, and `stop_hard` looks at what it achieved.
            self.run(self.lxc_stop(wait), Vec::new(), Vec::new())?;
        } else {
            init.signal(Signal::POWER).map_err(|error| io_failed("signal the init", &error))?;
            init.ends_within(wait);
        }
        Ok(())
    }

    /// Kills the init, waits until its monitor has cleaned up, and looks.
    pub(super) fn stop_hard(&self, recorded: Option<&Init>) -> Taken<()> {
        let up = self.up()?;
        // An init whose monitor was killed, and whose root was moved away, is known by its record alone.
        let recorded = recorded.and_then(|init| Held::of_init(init, self.host.clock.boot()));
        for init in up.init.iter().chain(&recorded) {
            init.signal(Signal::KILL).map_err(|error| io_failed("end the init", &error))?;
            cgroup::thaw(&init.cgroups());
            if !init.ends_within(HARD_STOP) {
                return Err(failed(FailureClass::Undead, format!("init {} does not end though it was killed", init.pid)));
            }
        }
        for starter in &up.starters {
            if starter.ends_within(self.remaining_at_most(MONITOR_STOP)) {
                continue;
            }
            // It hangs with nothing left to watch over; what it still holds, the kernel lets go of.
            starter.signal(Signal::KILL).map_err(|error| io_failed("end the monitor", &error))?;
            if !starter.ends_within(HARD_STOP) {
                return Err(failed(FailureClass::Undead, format!("the monitor {} does not end though it was killed", starter.pid)));
            }
        }
        let after = self.up()?;
        if after.is_down() {
            self.remove_control_groups();
            return Ok(());
        }
        Err(failed(FailureClass::Transient, "the container was started again by others while it was stopped"))
    }

    /// Removes what a monitor that was killed left of the container's control groups: they would stay until the host restarts,
    /// and the next start would get others, under a second name. Nothing of the container runs when this is called.
    pub(super) fn remove_control_groups(&self) {
        let ctid = self.intent().ctid;
        // A container of this number on another path has groups of the same names.
        if !proc::is_started_anywhere(ctid) {
            cgroup::remove_empty(ctid);
        }
    }

    /// The directory of a shared mount is still the one prepared.
    fn check_source_directory(&self, source: &Source) -> Taken<()> {
        ownership::verify(source, &self.host.grounds).map(|_| ()).map_err(|error| self.ownership_failed(&error))
    }

    /// What a problem with a shared directory means.
    pub(super) fn ownership_failed(&self, error: &ownership::OwnershipError) -> Box<StepResult> {
        match error.awaited() {
            Some(path) => self.wait(WaitKind::Source, path.display(), error),
            None => failed(FailureClass::Permanent, error),
        }
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
        self.host.runtime.path().join("log").join(format!("lxc-{}.log", self.intent().ctid))
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

/// The whole environment of a program of the host.
pub(super) fn host_environment() -> Variables {
    BTreeMap::from([("PATH".to_owned(), Secret::new(HOST_PATH)), ("LC_ALL".to_owned(), Secret::new("C"))])
}

pub(super) fn init_lost(init: &Init) -> Box<StepResult> {
    failed(FailureClass::InitLost, format!("init {} of this container has ended", init.pid))
}
