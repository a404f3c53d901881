//! Up and down, as the kernel shows it: who runs of a container, its id map, and ending it.
//!
//! Ending needs no program: a pidfd names the init, and its monitor's end says that all is cleaned up. Not here: starting,
//! which every backend does its own way.

use std::time::Duration;

use rustix::process::Signal;

use crate::host::ownership;
use crate::ids::IdMap;
use crate::machine::{Evidence, FailureClass, StepResult, WaitKind};
use crate::plan::{Init, Source};
use crate::shim::{Secret, Variables};

use super::act::{Act, Taken, drift, failed, io_failed};
use super::proc::{self, Held};
use super::{Backend, cgroup};

/// How long one look at a starting container is apart from the next; its starter's end wakes earlier.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// How long a monitor may take to clean up when its init has ended and no hook of its runs: a few milliseconds.
const MONITOR_STOP: Duration = Duration::from_secs(10);
/// How long the kernel may take to end what was killed, an init with its whole namespace.
const HARD_STOP: Duration = Duration::from_secs(20);
/// The environment of host programs.
const HOST_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Who is there of one container.
#[derive(Debug)]
pub(in crate::host) struct Up {
    /// Its init, if it is up.
    pub(in crate::host) init: Option<Held>,
    /// Its monitor, and everything of the host's that is at work to start it.
    pub(in crate::host) starters: Vec<Held>,
}

impl Up {
    /// Whether nothing of it runs.
    pub(in crate::host) fn is_down(&self) -> bool {
        self.init.is_none() && self.starters.is_empty()
    }
}

impl<B: Backend> Act<'_, B> {
    /// Evidence that the container is up with the map wanted; `None` if it is not up. Stops it if the map is another.
    pub(in crate::host) fn started(&self, idmap: &IdMap) -> Taken<Option<Evidence>> {
        self.look_started()?.map(|(init, found)| self.judge_started(&init, found, idmap)).transpose()
    }

    /// As [`Self::started`], of a container that was up before anything was done: others started it, perhaps before its
    /// directories were attached. `None` also if it runs without them.
    pub(in crate::host) fn taken_over(&self, idmap: &IdMap, sources: &[Source]) -> Taken<Option<Evidence>> {
        let found = self.look_started()?;
        found
            .filter(|(init, found)| found != idmap || self.has_mounted(init, sources))
            .map(|(init, found)| self.judge_started(&init, found, idmap))
            .transpose()
    }

    fn judge_started(&self, init: &Held, found: IdMap, wanted: &IdMap) -> Taken {
        if found == *wanted {
            return Ok(Evidence::Started { init: init.init(self.local.clock.boot()), idmap: found });
        }
        self.stop_hard(None)?;
        Err(drift(format!("the kernel's id map is {wanted}"), format!("it was {found}; the container was stopped")))
    }

    /// The init and its map, read while it provably was the same process; `None` if it is not up.
    pub(in crate::host) fn look_started(&self) -> Taken<Option<(Held, IdMap)>> {
        let Some(held) = self.settled_up()?.init else { return Ok(None) };
        let Ok(idmap) = held.idmap() else { return Ok(None) };
        Ok(held.is_alive().then_some((held, idmap)))
    }

    /// Who is up once nothing is starting any more: a living `lxc-start` or monitor without init is waited for.
    pub(in crate::host) fn settled_up(&self) -> Taken<Up> {
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

    pub(in crate::host) fn up(&self) -> Taken<Up> {
        self.host.up(self.intent().ctid).map_err(|error| io_failed("look at the container's processes", &error))
    }

    pub(in crate::host) fn read_idmap(&self, init: &Init) -> Taken {
        self.check_mark()?;
        let held = self.hold(init)?;
        let found = held.idmap().map_err(|error| io_failed("read the id map", &error))?;
        if !held.is_alive() {
            return Err(init_lost(init));
        }
        let planned = &self.effect.spec.idmap;
        let configured = B::configured_idmap(self)?.unwrap_or_else(IdMap::identity);
        if found != *planned {
            return Err(drift(format!("the planned id map is {planned}"), format!("the kernel's is {found}")));
        }
        if configured != found {
            return Err(drift(format!("the configured id map is {configured}"), format!("the kernel's is {found}")));
        }
        Ok(Evidence::Idmap { init: init.clone(), idmap: found })
    }

    /// The configuration asks for the map that is expected.
    pub(in crate::host) fn check_configured_idmap(&self, expected: &IdMap) -> Taken<()> {
        let configured = B::configured_idmap(self)?;
        if configured.as_ref() != (!expected.is_identity()).then_some(expected) {
            let found = configured.map_or_else(|| "none".to_owned(), |map| map.to_string());
            return Err(drift(format!("the configured id map is {expected}"), format!("it is {found}")));
        }
        Ok(())
    }

    /// Takes hold of a recorded init, or says that it is lost.
    pub(in crate::host) fn hold(&self, init: &Init) -> Taken<Held> {
        Held::of_init(init, self.local.clock.boot()).ok_or_else(|| init_lost(init))
    }

    /// Kills the init, waits until its monitor has cleaned up, and looks.
    pub(in crate::host) fn stop_hard(&self, recorded: Option<&Init>) -> Taken<()> {
        let up = self.up()?;
        // An init whose monitor was killed, and whose root was moved away, is known by its record alone.
        let recorded = recorded.and_then(|init| Held::of_init(init, self.local.clock.boot()));
        for init in up.init.iter().chain(&recorded) {
            init.signal(Signal::KILL).map_err(|error| io_failed("end the init", &error))?;
            crate::shim::thaw(init.pid);
            if !init.ends_within(HARD_STOP) {
                return Err(failed(FailureClass::Undead, format!("init {} does not end though it was killed", init.pid)));
            }
        }
        for starter in &up.starters {
            if self.ends_by_itself(starter) {
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
            return Ok(());
        }
        Err(failed(FailureClass::Transient, "the container was started again by others while it was stopped"))
    }

    /// Whether a monitor ends once it has cleaned up. What it runs for that, hooks of the operator's included, is let run until the
    /// deadline. In a repair nothing is waited for: what is at it still hangs.
    fn ends_by_itself(&self, starter: &Held) -> bool {
        loop {
            if starter.ends_within(self.remaining_at_most(MONITOR_STOP)) {
                return true;
            }
            if self.intent().step.repair || self.remaining().is_zero() || !proc::has_child(starter.pid) {
                return false;
            }
        }
    }

    /// Ends the container at once, and what its monitor would have cleaned up.
    pub(in crate::host) fn put_down(&self, recorded: Option<&Init>) -> Taken<()> {
        self.stop_hard(recorded)?;
        self.remove_control_groups();
        Ok(())
    }

    /// Removes what a monitor that was killed left of the container's control groups: they would stay until the host restarts.
    /// The next start would get others under a second name, or, where the names are fixed as on Proxmox, fail for ever. Nothing
    /// of the container runs when this is called.
    pub(in crate::host) fn remove_control_groups(&self) {
        let ctid = self.intent().ctid;
        // A container of this number on another path has groups of the same names.
        if !proc::is_started_anywhere(ctid) {
            cgroup::remove_empty(ctid);
        }
    }

    /// The directory of a shared mount is still the one prepared.
    pub(in crate::host) fn check_source_directory(&self, source: &Source) -> Taken<()> {
        ownership::verify(source, &self.local.grounds).map(|_| ()).map_err(|error| self.ownership_failed(&error))
    }

    /// What a problem with a shared directory means.
    pub(in crate::host) fn ownership_failed(&self, error: &ownership::OwnershipError) -> Box<StepResult> {
        match error.awaited() {
            Some(path) => self.wait(WaitKind::Source, path.display(), error),
            None => failed(FailureClass::Permanent, error),
        }
    }
}

/// The whole environment of a program of the host. In English, and in UTF-8: Perl programs of Proxmox's read their arguments as
/// the locale says, and make of every letter beyond ASCII a replacement character where it says nothing. LVM does not complain of
/// the locks that it inherits.
pub(in crate::host) fn host_environment() -> Variables {
    let variables = [("PATH", HOST_PATH), ("LC_ALL", "C.UTF-8"), ("LVM_SUPPRESS_FD_WARNINGS", "1")];
    variables.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect()
}

pub(in crate::host) fn init_lost(init: &Init) -> Box<StepResult> {
    failed(FailureClass::InitLost, format!("init {} of this container has ended", init.pid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_of_the_host_get_what_they_need_and_nothing_else() {
        let environment = host_environment();
        let told: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.reveal())).collect();
        // `LVM` complains of every descriptor that it did not open, and that is the lock of the container.
        assert_eq!(told, [("LC_ALL", &b"C.UTF-8"[..]), ("LVM_SUPPRESS_FD_WARNINGS", b"1"), ("PATH", HOST_PATH.as_bytes())]);
    }
}
