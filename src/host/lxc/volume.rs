//! Shared directories of one container: attached by a mount entry, taken off.
//!
//! Not here: the directory and its owner (`local`, `ownership`).

use crate::ids::IdMap;
use crate::machine::{Evidence, FailureClass};
use crate::manifest::{Mount, Ownership};
use crate::plan::{Attachment, Source};

use super::super::local::act::{Act, Taken, drift, failed};
use super::super::ownership;
use super::mount_entry::MountEntry;
use super::{Lxc, wanted};

impl Act<'_, Lxc> {
    pub(super) fn attach(&self, mount: &Mount, source: &Source, idmap: &IdMap) -> Taken {
        self.check_mark()?;
        ownership::verify_for(&mount.volume, source, idmap, &self.local.grounds).map_err(|error| self.ownership_failed(&error))?;
        let entry = entry(mount)?;
        self.rewrite(|config| wanted::with_mount(config, &mount.at, &entry))?;
        self.attached(mount, source)
    }

    /// `Attached`, as the configuration says it.
    pub(super) fn attached(&self, mount: &Mount, source: &Source) -> Taken {
        let entry = entry(mount)?;
        let found = self.config()?.mounts().filter(|(at, _)| *at == mount.at).map(|(_, found)| found).collect::<Vec<_>>();
        if found != [entry.clone()] {
            return Err(drift(format!("the configuration attaches {entry}"), format!("it attaches {found:?} at {}", mount.at)));
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
}

/// The entry that attaches a mount.
fn entry(mount: &Mount) -> Taken<MountEntry> {
    let mapped = mount.volume.ownership == Ownership::Map;
    MountEntry::new(&mount.volume.source, &mount.at, mount.read_only, mapped).ok_or_else(|| {
        let source = mount.volume.source.display();
        failed(FailureClass::Permanent, format!("{source} cannot be written into a configuration; rename it without control characters"))
    })
}
