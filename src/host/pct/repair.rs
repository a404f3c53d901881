//! Putting right what a cut-off `pct` left, once it is proven to be ours.
//!
//! A repair acts on what its own intent names: the configuration of that digest, those volumes, that source. What has changed
//! since is somebody else's doing, and is left alone. Not here: how it is known whose a leftover is (`leftover`).

use std::path::Path;

use rustix::mount::{UnmountFlags, unmount};

use crate::host::local::act::{Act, Taken, failed, io_failed};
use crate::ids::Step;
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::manifest::Origin;
use crate::plan::{SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES};
use crate::shim::Kept;

use super::Pct;
use super::child::worker_of;
use super::config::Config;
use super::leftover::Leftover;

impl Act<'_, Pct> {
    /// A repair whose own `pct` was cut off has failed, and is taken again.
    pub(super) fn repair(&self, leftover: &str) -> Taken {
        self.put_right(leftover).map_err(|result| match *result {
            StepResult::Partial { leftover } => failed(FailureClass::Transient, format!("the repair did not come to its end: {leftover}")),
            other @ (StepResult::Done(_)
            | StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Foreign { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted) => Box::new(other),
        })
    }

    fn put_right(&self, leftover: &str) -> Taken {
        match &self.intent().step.step {
            Step::DefineCreate => self.clear_away(leftover)?,
            Step::DefineClone => {
                self.clear_away(leftover)?;
                self.unlock_source(leftover)?;
            }
            Step::CloneHold | Step::CloneRelease => self.repair_snapshot(SNAPSHOT_FOR_CLONES)?,
            Step::SnapshotTake => self.repair_snapshot(SNAPSHOT_BEFORE_VOLUMES)?,
            Step::DownDestroy => {
                self.clear_away(leftover)?;
                self.finish_destroying()?;
            }
            Step::FinalizeStart | Step::RunStart => {
                self.check_mark()?;
                // A start that only took longer has come up meanwhile: taken again, it is found done.
                if !self.is_up_as_wanted()? {
                    self.put_down_all(None)?;
                }
            }
            // These are whole or not there.
            Step::TemplateFetch
            | Step::DefineMark
            | Step::ConfigureSet
            | Step::FirewallSet
            | Step::FinalizeIdmap
            | Step::FinalizeStop
            | Step::VolumePrepare(_)
            | Step::VolumeAttach(_)
            | Step::VolumeDetach(_)
            | Step::RunReady
            | Step::FeatureApply(_)
            | Step::ApplicationRun
            | Step::HealthCheck(_)
            | Step::AutostartSet
            | Step::DownStop => {}
        }
        Ok(Evidence::Repaired)
    }

    /// Takes away a container that is not whole: its mounts, its lock, itself with every volume of its number.
    fn clear_away(&self, leftover: &str) -> Taken<()> {
        // Before anything is taken off: its mounts are in use.
        self.check_no_worker()?;
        let Some(config) = self.found_config()? else { return self.clear_remains(leftover) };
        let marked = self.check_mark().is_ok();
        if marked && is_whole(&config) && !self.is_unfinished()? && !Leftover::is_unsynced_in(leftover) {
            return Ok(());
        }
        if !marked && !is_found(&config, leftover) {
            let owner = format!("{}, changed since it was found half-made", self.host.layout.config(self.intent().ctid).display());
            return Err(Box::new(StepResult::Foreign { owner }));
        }
        self.unmount()?;
        match config.main().lock() {
            Some("create" | "destroyed") => self.unlock()?,
            Some(lock) => return Err(self.locked(lock)),
            None => {}
        }
        // Unlocked and destroyed without this, it would leave the volume that its configuration does not name yet.
        // It looks on every storage: not if something is where only others can have put it.
        let all = if self.strange_volumes()?.is_empty() { "1" } else { "0" };
        let said = self.pct(self.words(["destroy"], ["--destroy-unreferenced-disks", all]))?;
        if self.found_config()?.is_some() {
            return Err(self.refused(&said, "the half-made container was not destroyed"));
        }
        self.clear_remains(leftover)
    }

    /// What is left without a configuration: mounts, and the volumes that were found.
    fn clear_remains(&self, leftover: &str) -> Taken<()> {
        self.check_no_worker()?;
        self.check_not_elsewhere()?;
        self.unmount()?;
        let ctid = self.intent().ctid;
        for volume in Leftover::volumes_in(leftover) {
            if self.volumes(ctid).contains(&volume) {
                let said = self.call("pvesm", vec!["free".to_owned(), volume.clone()], Kept::LockAndToken)?;
                if self.volumes(ctid).contains(&volume) {
                    return Err(self.refused(&said, &format!("the volume {volume} is still there")));
                }
            }
        }
        Ok(())
    }

    /// Waits while a worker lives that is about the container: none of ours does any more, or it would have been waited for.
    pub(super) fn check_no_worker(&self) -> Taken<()> {
        match worker_of(self.intent().ctid) {
            Some((pid, title)) => Err(self.waits_for(pid, title)),
            None => Ok(()),
        }
    }

    /// Whether an init of the container is up, with the id map that it is to have.
    fn is_up_as_wanted(&self) -> Taken<bool> {
        let wanted = &self.effect.spec.idmap;
        Ok(self.up()?.init.is_some_and(|init| init.idmap().is_ok_and(|found| found == *wanted) && init.is_alive()))
    }

    /// Takes off what is mounted where Proxmox mounts a container that it works on. The container is down: a running one has its
    /// mounts in a namespace of its own.
    fn unmount(&self) -> Taken<()> {
        if !self.up()?.is_down() {
            return Err(failed(FailureClass::Transient, "something of the half-made container runs; it is not taken away"));
        }
        for point in self.mounts(self.intent().ctid)? {
            unmount(&point, UnmountFlags::DETACH).map_err(|errno| io_failed(&format!("unmount {}", point.display()), &errno.into()))?;
        }
        remove_empty(&self.host.layout.rootfs(self.intent().ctid));
        Ok(())
    }

    /// Unlocks the source of a cut-off clone, under its lock as well. Only the lock that the clone left: the configuration is the
    /// one that was found.
    fn unlock_source(&self, leftover: &str) -> Taken<()> {
        let (Origin::Clone { source }, Some(digest)) = (&self.effect.spec.origin, Leftover::source_in(leftover)) else { return Ok(()) };
        let held = self.local.lock(&[*source]).map_err(|error| self.busy(*source, &error))?;
        if self.locked_source(*source)?.is_some_and(|(_, found)| found == digest) {
            self.unlock_of(*source)?;
        }
        drop(held);
        Ok(())
    }

    /// Whether nothing half-made lies there: nothing at all, or a container that is whole and ours.
    fn is_cleared(&self, leftover: &str) -> Taken<bool> {
        let whole = self.found_config()?.is_some_and(|config| is_whole(&config)) && self.check_mark().is_ok() && !self.is_unfinished()?;
        Ok((whole && !Leftover::is_unsynced_in(leftover)) || self.leftover()?.is_empty())
    }

    /// Whether nothing is left of what [`Self::repair`] puts right.
    pub(super) fn probe_repair(&self, leftover: &str) -> Taken<bool> {
        match &self.intent().step.step {
            Step::DefineCreate => self.is_cleared(leftover),
            Step::DefineClone => {
                let Origin::Clone { source } = &self.effect.spec.origin else { return Ok(true) };
                let locked = self.locked_source(*source)?.is_some_and(|(_, found)| Leftover::source_in(leftover) == Some(&found));
                Ok(self.is_cleared(leftover)? && !locked)
            }
            Step::CloneHold | Step::CloneRelease => self.is_repaired(SNAPSHOT_FOR_CLONES),
            Step::SnapshotTake => self.is_repaired(SNAPSHOT_BEFORE_VOLUMES),
            Step::DownDestroy => {
                let volumes = self.volumes(self.intent().ctid);
                Ok(self.left_of_destroyed().is_ok() && !Leftover::volumes_in(leftover).iter().any(|volume| volumes.contains(volume)))
            }
            Step::FinalizeStart | Step::RunStart => Ok(self.is_up_as_wanted()? || self.up()?.is_down()),
            Step::TemplateFetch
            | Step::DefineMark
            | Step::ConfigureSet
            | Step::FirewallSet
            | Step::FinalizeIdmap
            | Step::FinalizeStop
            | Step::VolumePrepare(_)
            | Step::VolumeAttach(_)
            | Step::VolumeDetach(_)
            | Step::RunReady
            | Step::FeatureApply(_)
            | Step::ApplicationRun
            | Step::HealthCheck(_)
            | Step::AutostartSet
            | Step::DownStop => Ok(true),
        }
    }
}

/// Whether a configuration without our mark is the one that was found, or what an attempt before at this repair made of it:
/// unlocked, or nothing any more but the lock of its destruction, with which its volumes are gone.
fn is_found(config: &Config, leftover: &str) -> bool {
    let Some(found) = Leftover::config_in(leftover) else { return false };
    let was_locked = |lock: &&str| {
        let mut before = config.clone();
        before.set("lock", lock).is_ok() && before.digest() == found
    };
    match config.main().lock() {
        None => config.digest() == found || ["create", "destroyed"].iter().any(was_locked),
        Some("destroyed") => config.digest() == found || config.main().settings().count() == 1,
        Some(_) => config.digest() == found,
    }
}

/// Whether a container that bears our mark was made to the end.
fn is_whole(config: &Config) -> bool {
    config.main().lock().is_none() && config.main().value("rootfs").is_some()
}

/// LXC's directory of a container that never was; what is in use, or not empty, stays.
fn remove_empty(rootfs: &Path) {
    let _ = std::fs::remove_dir(rootfs);
    let _ = rootfs.parent().map(std::fs::remove_dir);
}
