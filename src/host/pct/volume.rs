//! Shared directories of one container: attached as mount points, taken off.
//!
//! By an edit of the configuration in this process, under Proxmox's lock: the container is down, one exchange of a file is whole
//! or not there, and a `pct` for each would cost most of a second. A target keeps its number. Not here: the directory and its
//! owner (`local`, `ownership`).

use std::path::Path;

use crate::host::local::act::{Act, Taken, drift, failed};
use crate::host::ownership;
use crate::ids::{IdMap, Target};
use crate::machine::{Evidence, FailureClass};
use crate::manifest::{Mount, Owner, Ownership};
use crate::plan::{Attachment, Source};

use super::Pct;
use super::config::values::{MountPoint, MountSource};

impl Act<'_, Pct> {
    pub(super) fn attach(&self, mount: &Mount, source: &Source, idmap: &IdMap) -> Taken {
        self.check_mark()?;
        ownership::verify_for(&mount.volume, source, idmap, &self.local.grounds).map_err(|error| self.ownership_failed(&error))?;
        let map = mapping(mount);
        if map.is_some() && !self.host.maps_mounts() {
            let message = "`ownership: \"map\"` needs Proxmox VE 9.2 (pve-container 6.1.6); leave it out, or upgrade";
            return Err(failed(FailureClass::Permanent, message));
        }
        let read_only = mount.read_only.then_some("1");
        self.edit(|config| config.attach(&mount.volume.source, &mount.at, &[("ro", read_only), ("idmap", map.as_deref())]))?;
        self.attached(mount, source)
    }

    /// `Attached`, as the configuration says it.
    pub(super) fn attached(&self, mount: &Mount, source: &Source) -> Taken {
        let found = self.attached_at(&mount.at)?;
        let is_wanted = |found: &MountPoint| {
            let directory = matches!(&found.source, MountSource::Directory(path) if Path::new(path) == mount.volume.source);
            directory && found.read_only == mount.read_only && found.idmap.is_some() == mapping(mount).is_some()
        };
        if found.len() != 1 || !found.iter().all(is_wanted) {
            let claim = format!("the configuration attaches {} at {}", mount.volume.source.display(), mount.at);
            return Err(drift(claim, format!("it attaches {found:?} there")));
        }
        let mechanism = if mapping(mount).is_some() { "bind+idmap" } else { "bind" };
        Ok(Evidence::Attached(Attachment {
            source: source.clone(),
            at: mount.at.clone(),
            mechanism: mechanism.to_owned(),
            read_only: mount.read_only,
        }))
    }

    pub(super) fn detach(&self, mount: &Mount) -> Taken {
        self.check_mark()?;
        self.edit(|config| config.detach(&mount.at))?;
        Ok(Evidence::Detached)
    }

    /// What the configuration attaches at a target.
    pub(super) fn attached_at(&self, at: &Target) -> Taken<Vec<MountPoint>> {
        let mounts = self.config()?.main().mounts().map_err(|error| drift("the mount points can be read", error))?;
        Ok(mounts.into_values().filter(|mount| mount.target() == at.as_str()).collect())
    }
}

/// How Proxmox translates the ids of a mount that is to be mapped: the volume's owner alone, so that nothing else that the
/// container creates belongs to the host's own users.
fn mapping(mount: &Mount) -> Option<String> {
    let Owner { uid, gid } = mount.volume.owner;
    (mount.volume.ownership == Ownership::Map).then(|| format!("u:{uid}:{uid}:1;g:{gid}:{gid}:1"))
}
