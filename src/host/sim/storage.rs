//! Storages: what the root file systems lie on, and what of a snapshot each kind can do; and the store of templates.
//!
//! Apart because snapshots are where Proxmox's storages differ. Not here: what a snapshot does to a container (`snapshots`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::Ctid;
use crate::plan::{Effect, STORAGE_DEFAULT};

use super::disk::{Guest, Made};
use super::world::World;

/// A kind of storage, by what it can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Directories: no snapshots.
    Directory,
    /// Snapshots that can be gone back to, but of which no container can be made (ZFS).
    Snapshots,
    /// Snapshots of which containers can be made while the original runs (LVM-thin, BTRFS, Ceph).
    Copies,
}

impl Storage {
    /// The storages that a Proxmox node has by itself. One that is not among them is taken for the best kind, so that a fleet
    /// can be rehearsed that names the storages of another node.
    pub fn usual() -> BTreeMap<String, Self> {
        let named = [("local", Self::Directory), ("local-zfs", Self::Snapshots), ("local-lvm", Self::Copies)];
        named.map(|(name, kind)| (name.to_owned(), kind)).into()
    }

    /// Whether it keeps snapshots.
    pub fn keeps_snapshots(self) -> bool {
        match self {
            Self::Directory => false,
            Self::Snapshots | Self::Copies => true,
        }
    }

    /// Whether a container can be made of a snapshot.
    pub fn copies_snapshots(self) -> bool {
        match self {
            Self::Directory | Self::Snapshots => false,
            Self::Copies => true,
        }
    }
}

/// What of a template there is in the host's store, where it was ever asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    /// A download that was cut off; the next one begins afresh.
    Part,
    Whole,
}

/// The store of templates.
pub(super) type Templates = Arc<BTreeMap<String, Stored>>;

impl World {
    /// The storage of a container; the host's own where the spec names none.
    pub(super) fn storage_of(&self, guest: &Guest) -> Storage {
        let name = guest.storage.as_deref().unwrap_or(STORAGE_DEFAULT);
        self.options.storages.get(name).copied().unwrap_or(Storage::Copies)
    }

    /// Whether a container could be copied while it goes on.
    pub(super) fn copies_live(&self, ctid: Ctid) -> bool {
        // Directories of the host that are attached keep every storage from a snapshot.
        let able = |guest: &Arc<Guest>| guest.made == Made::Whole && guest.mounts.is_empty() && self.storage_of(guest).copies_snapshots();
        self.guest(ctid).is_some_and(able)
    }

    /// The template that an effect fetches, and what there is of it.
    pub(super) fn stored(&self, effect: &Effect) -> Option<(String, Option<Stored>)> {
        let name = crate::plan::Repertoire::Proxmox.fetched_template(&effect.spec)?;
        Some((name.to_owned(), self.templates.get().get(name).copied()))
    }

    pub(super) fn store(&mut self, effect: &Effect, what: Stored) {
        let Some((name, had)) = self.stored(effect) else { return };
        if had != Some(what) {
            let mut templates = Arc::clone(self.templates.get());
            Arc::make_mut(&mut templates).insert(name, what);
            self.templates.set(templates);
        }
    }
}
