//! Shared directories of one container: prepared, attached by a mount entry, taken off.
//!
//! The rules for the directory are `ownership`'s; here are its lock and the configuration.

use crate::ids::IdMap;
use crate::machine::{Evidence, FailureClass, Wait, WaitKind};
use crate::manifest::{Mount, Ownership, Volume};
use crate::plan::{Attachment, Source};
use crate::shim::{Lock, LockError, LockName};

use super::super::ownership::{self, Reached};
use super::act::{Act, Taken, chain, failed};
use super::mount_entry::MountEntry;
use super::wanted;

impl Act<'_> {
    pub(super) fn prepare(&self, volume: &Volume, idmap: &IdMap) -> Taken {
        self.check_mark()?;
        let refused = |error: ownership::OwnershipError| self.ownership_failed(&error);
        let (reached, owner) = ownership::reach(volume, idmap, &self.host.grounds).map_err(refused)?;
        let _lock = self.lock_directory(&reached)?;
        ownership::give(volume, &reached, owner, &self.host.grounds).map(Evidence::Prepared).map_err(refused)
    }

    pub(super) fn attach(&self, mount: &Mount, source: &Source, idmap: &IdMap) -> Taken {
        self.check_mark()?;
        ownership::verify_for(&mount.volume, source, idmap, &self.host.grounds).map_err(|error| self.ownership_failed(&error))?;
        let entry = entry(mount)?;
        self.rewrite(|config| wanted::with_mount(config, &mount.at, &entry))?;
        self.attached(mount, source)
    }

    /// `Attached`, as the configuration says it.
    pub(super) fn attached(&self, mount: &Mount, source: &Source) -> Taken {
        let entry = entry(mount)?;
        let found = self.config()?.mounts().filter(|(at, _)| *at == mount.at).map(|(_, found)| found).collect::<Vec<_>>();
        if found != [entry.clone()] {
            return Err(super::act::drift(format!("the configuration attaches {entry}"), format!("it attaches {found:?} at {}", mount.at)));
        }
        Ok(Evidence::Attached(Attachment {
            source: source.clone(),
            at: mount.at.clone(),
            mechanism: entry.mechanism().to_owned(),
            read_only: mount.read_only,
        }))
    }

    pub(super) fn detach(&self, mount: &Mount) -> Taken {
        self.check_mark()?;
        self.rewrite(|config| wanted::without_mount(config, &mount.at))?;
        Ok(Evidence::Detached)
    }

    /// The directory's lock, after the container's: two containers of one volume must not change it at once.
    fn lock_directory(&self, reached: &Reached) -> Taken<Lock> {
        let name = LockName::Volume { device: reached.device, inode: reached.inode };
        Lock::take(&self.host.runtime, &name).map_err(|error| match &error {
            LockError::Busy { holders, .. } => {
                let first = holders.first();
                let wait = Wait {
                    kind: WaitKind::Lock,
                    name: first.map_or_else(|| reached.path.display().to_string(), |holder| holder.command.clone()),
                    ctid: None,
                    pid: first.map(|holder| holder.pid),
                    since: self.host.clock.now().wall,
                };
                failed(FailureClass::Wait(wait), &error)
            }
            LockError::Io { .. } => failed(FailureClass::Transient, chain(&error)),
        })
    }
}

/// The entry that attaches a mount.
fn entry(mount: &Mount) -> Taken<MountEntry> {
    let mapped = mount.volume.ownership == Ownership::Map;
    MountEntry::new(&mount.volume.source, &mount.at, mount.read_only, mapped).ok_or_else(|| {
        let source = mount.volume.source.display();
        failed(FailureClass::Permanent, format!("{source} cannot be written into a configuration; rename it without control characters"))
    })
}
