//! Shared directories of one container: given to their owner.
//!
//! The rules for a directory are `ownership`'s; here is its lock. Not here: attaching, which every backend does its own way.

use crate::host::ownership::{self, Reached};
use crate::ids::IdMap;
use crate::machine::{Evidence, FailureClass, Prepared, StepResult, Wait, WaitKind};
use crate::manifest::Volume;
use crate::shim::{Lock, LockError, LockName};

use super::Backend;
use super::act::{Act, Taken, chain, failed};
use super::settle::{done_if, or_absent};

impl<B: Backend> Act<'_, B> {
    pub(in crate::host) fn prepare(&self, volume: &Volume, idmap: &IdMap) -> Taken {
        self.check_mark()?;
        let refused = |error: ownership::OwnershipError| self.ownership_failed(&error);
        let (reached, owner) = ownership::reach(volume, idmap, &self.local.grounds).map_err(refused)?;
        let _lock = self.lock_directory(&reached)?;
        ownership::give(volume, &reached, owner, &self.local.grounds).map(Evidence::Prepared).map_err(refused)
    }

    /// What became of [`Self::prepare`], by looking.
    pub(in crate::host) fn probe_prepared(&self, volume: &Volume, idmap: &IdMap) -> Taken {
        let refused = |error: ownership::OwnershipError| self.ownership_failed(&error);
        // Only `reach` makes what is missing; a doubt changes nothing, so a missing directory is told before.
        if std::fs::symlink_metadata(&volume.source).is_err() {
            return Err(Box::new(StepResult::Absent));
        }
        let (reached, owner) = or_absent(ownership::reach(volume, idmap, &self.local.grounds).map_err(refused))?;
        let given = or_absent(ownership::is_given(volume, &reached, owner).map_err(refused))?;
        let former = ownership::former(&reached, &self.local.grounds);
        let source = reached.source(volume);
        let prepared = Prepared { source, host_uid: owner.uid, host_gid: owner.gid, former, left_alone: Vec::new() };
        done_if(given && !volume.recursive, Evidence::Prepared(prepared))
    }

    /// The directory's lock, after the container's: two containers of one volume must not change it at once.
    fn lock_directory(&self, reached: &Reached) -> Taken<Lock> {
        let name = LockName::Volume { device: reached.device, inode: reached.inode };
        Lock::take(&self.local.runtime, &name).map_err(|error| match &error {
            LockError::Busy { holders, .. } => {
                let first = holders.first();
                let wait = Wait {
                    kind: WaitKind::Lock,
                    name: first.map_or_else(|| reached.path.display().to_string(), |holder| holder.command.clone()),
                    ctid: None,
                    pid: first.map(|holder| holder.pid),
                    since: self.local.clock.now().wall,
                };
                failed(FailureClass::Wait(wait), &error)
            }
            LockError::Io { .. } => failed(FailureClass::Transient, chain(&error)),
        })
    }
}
