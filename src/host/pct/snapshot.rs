//! Snapshots: one to go back to before volumes are attached, one to copy a clone source from while it goes on running.
//!
//! A snapshot whose worker was killed leaves a section that says `snapstate`, a lock, and the container frozen. Not here: who
//! asks for one (`engine`), and which storages can take one (`storage`).

use crate::host::local::act::{Act, Taken, failed};
use crate::ids::Ctid;
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::plan::{SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES};

use super::Pct;
use super::config::Config;

/// Where a snapshot of the container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// There is none of this name.
    No,
    /// Whole.
    Whole,
    /// Begun, or begun to be deleted.
    Half,
}

/// The locks that a cut-off snapshot, or its deletion, leaves.
const LOCKS: [&str; 2] = ["snapshot", "snapshot-delete"];

impl Act<'_, Pct> {
    /// Takes a snapshot, unless it is there.
    pub(super) fn snapshot(&self, name: &str) -> Taken<()> {
        self.check_mark()?;
        match found(&self.config()?, name) {
            Found::Whole => return Ok(()),
            Found::Half => return Err(self.half(name)),
            Found::No => {}
        }
        let said = self.pct(self.words(["snapshot"], [name]))?;
        self.check_mark()?;
        match found(&self.config()?, name) {
            Found::Whole => self.make_durable_after(&said),
            Found::Half => Err(self.half(name)),
            Found::No => Err(self.refused(&said, &format!("there is no snapshot {name}"))),
        }
    }

    /// Deletes the snapshot that the source was held by, if it was.
    pub(super) fn release(&self) -> Taken {
        self.check_mark()?;
        if found(&self.config()?, SNAPSHOT_FOR_CLONES) == Found::No {
            return Ok(Evidence::Released);
        }
        self.delete_snapshot(SNAPSHOT_FOR_CLONES, &[])?;
        Ok(Evidence::Released)
    }

    fn delete_snapshot(&self, name: &str, rest: &[&str]) -> Taken<()> {
        let mut words = self.words(["delsnapshot"], [name]);
        words.extend(rest.iter().map(|&word| word.to_owned()));
        let said = self.pct(words)?;
        self.check_mark()?;
        match found(&self.config()?, name) {
            Found::No => self.make_durable_after(&said),
            Found::Half => Err(self.half(name)),
            Found::Whole => Err(self.refused(&said, &format!("the snapshot {name} is still there"))),
        }
    }

    /// Puts right what a cut-off snapshot left: thawed, unlocked, deleted by force. Without force the deletion fails and leaves a
    /// lock of its own.
    pub(super) fn repair_snapshot(&self, name: &str) -> Taken<()> {
        self.check_mark()?;
        self.check_no_worker()?;
        let config = self.config()?;
        match config.main().lock() {
            Some(lock) if is_ours(&config, name) => {
                tracing::debug!(lock, name, "left by a snapshot that was cut off");
                self.thaw()?;
                self.unlock()?;
            }
            Some(lock) => return Err(self.locked(lock)),
            None => self.thaw()?,
        }
        if found(&config, name) == Found::Half {
            self.delete_snapshot(name, &["--force", "1"])?;
        }
        Ok(())
    }

    /// Clears the lock of the container's configuration, which this intent explains. Nobody lives who holds it, or nothing is done.
    pub(super) fn unlock(&self) -> Taken<()> {
        self.unlock_of(self.intent().ctid)
    }

    pub(super) fn unlock_of(&self, ctid: Ctid) -> Taken<()> {
        if let Some((pid, title)) = super::child::worker_of(ctid) {
            return Err(self.waits_for(pid, title));
        }
        let said = self.pct(vec!["unlock".to_owned(), ctid.to_string()])?;
        match self.config_of(ctid)?.as_ref().and_then(|config| config.main().lock().map(str::to_owned)) {
            None => Ok(()),
            Some(lock) => Err(self.refused(&said, &format!("container {ctid} is still locked ({lock})"))),
        }
    }

    /// What became of [`Self::snapshot`], by looking.
    pub(super) fn probe_snapshot(&self, name: &str) -> Taken<()> {
        let config = self.config()?;
        match (found(&config, name), config.main().lock().filter(|lock| LOCKS.contains(lock))) {
            (Found::Whole, None) => Ok(()),
            (Found::No, None) => Err(Box::new(StepResult::Absent)),
            (Found::Whole | Found::Half | Found::No, Some(lock)) if !is_ours(&config, name) => Err(self.locked(lock)),
            (Found::Half, None) | (Found::Whole | Found::Half | Found::No, Some(_)) => Err(self.half(name)),
        }
    }

    /// What became of [`Self::release`], by looking.
    pub(super) fn probe_released(&self) -> Taken {
        let config = self.config()?;
        match (found(&config, SNAPSHOT_FOR_CLONES), config.main().lock().filter(|lock| LOCKS.contains(lock))) {
            (Found::No, None | Some(_)) => Ok(Evidence::Released),
            (Found::Whole, None) => Err(Box::new(StepResult::Absent)),
            (Found::Whole | Found::Half, Some(lock)) if !is_ours(&config, SNAPSHOT_FOR_CLONES) => Err(self.locked(lock)),
            (Found::Half, None) | (Found::Whole | Found::Half, Some(_)) => Err(self.half(SNAPSHOT_FOR_CLONES)),
        }
    }

    /// Whether nothing is left of what [`Self::repair_snapshot`] puts right.
    pub(super) fn is_repaired(&self, name: &str) -> Taken<bool> {
        let config = self.config()?;
        Ok(found(&config, name) != Found::Half && !is_ours(&config, name))
    }

    fn half(&self, name: &str) -> Box<StepResult> {
        let lock = self.config().ok().and_then(|config| config.main().lock().map(str::to_owned));
        let lock = lock.map_or_else(|| "no lock".to_owned(), |lock| format!("lock: {lock}"));
        Box::new(StepResult::Partial { leftover: format!("snapshot {name} is half done ({lock})") })
    }
}

/// A clone source that is to go on running is copied from its snapshot.
pub(super) fn check(config: &Config, source: Ctid) -> Taken<()> {
    if found(config, SNAPSHOT_FOR_CLONES) == Found::Whole {
        return Ok(());
    }
    Err(failed(FailureClass::Transient, format!("container {source} has no snapshot {SNAPSHOT_FOR_CLONES} to be copied from")))
}

/// What `snapshot.take` leaves as evidence.
pub(super) fn taken() -> Evidence {
    Evidence::Snapshot { name: SNAPSHOT_BEFORE_VOLUMES.to_owned() }
}

/// Whether the configuration bears a lock that our snapshot of this name explains. Proxmox writes the section and the lock at
/// once, and takes both out at once: without our section, or with another that is half done, the lock is somebody else's.
fn is_ours(config: &Config, name: &str) -> bool {
    let of_snapshot = config.main().lock().is_some_and(|lock| LOCKS.contains(&lock));
    let mut others = config.snapshots().filter(|(other, _)| *other != name);
    of_snapshot && config.snapshot(name).is_some() && !others.any(|(_, section)| section.value("snapstate").is_some())
}

/// Where a snapshot is, by the configuration.
pub(super) fn found(config: &Config, name: &str) -> Found {
    match config.snapshot(name) {
        None => Found::No,
        Some(section) if section.value("snapstate").is_some() => Found::Half,
        Some(_) => Found::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_that_says_its_state_is_half_done() {
        let config = |text: &str| Config::parse(text).expect("a configuration");
        let whole = config("hostname: a\n\n[phoenix-clone]\nsnaptime: 1\n");
        let half = config("hostname: a\nlock: snapshot\n\n[phoenix-clone]\nsnapstate: prepare\nsnaptime: 1\n");
        assert_eq!(found(&whole, SNAPSHOT_FOR_CLONES), Found::Whole);
        assert_eq!(found(&half, SNAPSHOT_FOR_CLONES), Found::Half);
        assert_eq!(found(&whole, "before-volumes"), Found::No);
    }
}
