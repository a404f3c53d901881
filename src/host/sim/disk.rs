//! What lies on the simulated disks, and what of it a power cut may take back.
//!
//! Apart because durability is one rule for everything: a change is visible at once and safe only after a sync; a power cut
//! falls back to any state since the last sync. Not here: who changes what.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use phoenix_journal::{Digest, Epoch, JournalId};

use crate::ids::{Ctid, Hostname, IdMap, Incarnation, Step, Target};
use crate::manifest::{Autostart, Firewall, Nic, Resources, Spec};
use crate::plan::Mark;

/// A value on a disk: how it looks now, and the looks it had since the last sync, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct OnDisk<T> {
    now: T,
    unsynced: Vec<T>,
}

impl<T> OnDisk<T> {
    /// A value that is safe already.
    pub(super) fn safe(now: T) -> Self {
        Self { now, unsynced: Vec::new() }
    }

    pub(super) fn get(&self) -> &T {
        &self.now
    }

    pub(super) fn set(&mut self, value: T) {
        self.unsynced.push(std::mem::replace(&mut self.now, value));
    }

    pub(super) fn sync(&mut self) {
        self.unsynced.clear();
    }

    /// Keeps the present look or falls back to one since the last sync, as `throw` says.
    pub(super) fn power_cut(&mut self, throw: u64) {
        let looks = self.unsynced.len() as u64 + 1;
        let pick = usize::try_from(throw % looks).unwrap_or_default();
        if pick < self.unsynced.len() {
            self.now = self.unsynced.swap_remove(pick);
        }
        self.unsynced.clear();
    }
}

/// The part of a container that lies on disk: configuration and root file system.
#[derive(Clone, Debug)]
pub(super) struct Guest {
    pub(super) made: Made,
    pub(super) lock: Option<ConfigLock>,
    pub(super) mark: Option<Arc<Mark>>,
    /// What `configure.set` wrote; `None` until then.
    pub(super) settings: Option<Arc<Settings>>,
    pub(super) unprivileged: bool,
    /// The map that the kernel gives it when it is started.
    pub(super) idmap: Arc<IdMap>,
    /// Whether the map stands in the host's own configuration, which the first start writes.
    pub(super) idmap_on_file: bool,
    pub(super) mounts: Arc<BTreeMap<Target, Attached>>,
    pub(super) autostart: Autostart,
    /// What scripts did to the root file system, oldest first; a clone brings its source's along.
    pub(super) inside: Arc<Vec<Trace>>,
    /// The notes that Phoenix left inside, by step; a clone brings none along.
    pub(super) notes: Arc<BTreeMap<Step, InsideNote>>,
    /// The storage that its root file system lies on, as the spec names it.
    pub(super) storage: Option<Arc<str>>,
    /// Snapshots by name.
    pub(super) snapshots: Arc<BTreeMap<String, Snapshot>>,
    /// What the host's firewall says of it.
    pub(super) firewall: Option<Arc<Firewall>>,
}

/// A snapshot, as its section of the configuration and the storage have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) stage: SnapshotStage,
    /// What scripts had done to the root file system when it was taken.
    pub(super) inside: Arc<Vec<Trace>>,
}

/// How far a snapshot is made, or deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SnapshotStage {
    /// `snapstate: prepare`: the section stands there, the storage has nothing.
    Prepare,
    Whole,
    /// `snapstate: delete`.
    Delete,
}

/// A note inside: which script of which container succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct InsideNote {
    pub(super) ctid: Ctid,
    pub(super) incarnation: Incarnation,
    pub(super) script: Digest,
    pub(super) epoch: Epoch,
}

/// How far a container is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// Being created, cloned or destroyed, or left so by a killed operation.
    Half { stage: Stage, maker: Maker },
    /// Configuration and root file system are there.
    Whole,
}

/// What of a half-made container is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The configuration alone, with its lock.
    Claimed,
    /// The root file system as well.
    Filled,
    /// On its way out: renamed away, not yet deleted.
    Dying,
}

/// Who makes or made a half-made container, as the host's task log and the shim's record tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Maker {
    pub(super) journal: JournalId,
    pub(super) incarnation: Incarnation,
}

/// The `lock:` of a configuration: what an operation leaves that was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConfigLock {
    /// Being created or cloned into.
    Create,
    /// Being copied into `target`.
    Disk { target: Ctid },
    /// A snapshot of it is being taken.
    Snapshot,
    /// One is being deleted.
    SnapshotDelete,
    /// Somebody backs it up, until so many milliseconds since the world began.
    Backup { until_ms: u64 },
}

/// What `configure.set` is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) hostname: Hostname,
    pub(super) resources: Resources,
    pub(super) network: Vec<Nic>,
}

impl Settings {
    pub(super) fn of(spec: &Spec) -> Self {
        Self { hostname: spec.hostname.clone(), resources: spec.resources.clone(), network: spec.network.clone() }
    }

    pub(super) fn matches(&self, spec: &Spec) -> bool {
        self.hostname == spec.hostname && self.resources == spec.resources && self.network == spec.network
    }
}

/// A directory attached at a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) path: PathBuf,
    pub(super) read_only: bool,
    /// Whether an id-mapped mount translates, instead of the directory having the owner.
    pub(super) mapped: bool,
    /// Whether the owner was right, as seen from inside, when it was attached.
    pub(super) owner_right: bool,
}

/// What one script did to a root file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trace {
    pub(super) by: Ctid,
    pub(super) incarnation: Incarnation,
    pub(super) step: Step,
    pub(super) script: Digest,
    /// How often it got to its end.
    pub(super) completed: u32,
    /// Whether the last start of it wrote something and did not get to its end.
    pub(super) torn: bool,
}

/// A path that can be a mount point: one directory when its file system is mounted, another (or none) when it is not.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    pub(super) unmounted: bool,
    pub(super) mounted_dir: OnDisk<Option<Directory>>,
    pub(super) bare_dir: OnDisk<Option<Directory>>,
}

impl Place {
    pub(super) fn seen(&self) -> Option<&Directory> {
        if self.unmounted { self.bare_dir.get().as_ref() } else { self.mounted_dir.get().as_ref() }
    }

    pub(super) fn change(&mut self, directory: Directory) {
        let disk = if self.unmounted { &mut self.bare_dir } else { &mut self.mounted_dir };
        disk.set(Some(directory));
    }

    pub(super) fn sync(&mut self) {
        self.mounted_dir.sync();
        self.bare_dir.sync();
    }
}

/// A directory of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Directory {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mode: u32,
    /// Owner, group and mode before Phoenix first changed them; the host keeps that beside the directory.
    pub(super) former: Option<(u32, u32, u32)>,
    /// Whether something lies in it.
    pub(super) filled: bool,
}
