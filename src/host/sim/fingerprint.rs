//! What the final world is, without what differs from run to run.
//!
//! Two worlds with equal fingerprints hold the same containers, configured, attached and worked on alike; pids, times, tokens,
//! incarnations, inodes and how often something was tried are left out. Apart because it is the oracle of every crash test.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use phoenix_journal::Digest;

use crate::ids::{Ctid, Hostname, IdMap, Step, Target};
use crate::manifest::{Autostart, Firewall, Nic, Resources};
use crate::plan::MountSeen;

use super::disk::{Attached, ConfigLock, Guest, Made, Place, Settings, SnapshotStage};
use super::world::{Slot, World};

/// The final world, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// What lies at each id.
    pub containers: BTreeMap<Ctid, ContainerPrint>,
    /// Owner, group and mode of each shared directory.
    pub directories: BTreeMap<PathBuf, (u32, u32, u32)>,
}

/// One container, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPrint {
    /// Whole, and free of locks.
    pub sound: bool,
    /// Marked by Phoenix for this id.
    pub marked: bool,
    /// What it was configured as, once it was.
    pub settings: Option<SettingsPrint>,
    /// Whether its id map stands in the host's configuration.
    pub idmap: Option<IdMap>,
    /// Attached directories, and whether their owners were right.
    pub mounts: BTreeMap<Target, (MountSeen, bool)>,
    /// Autostart.
    pub autostart: Autostart,
    /// Snapshots, and whether each is whole.
    pub snapshots: BTreeMap<String, bool>,
    /// What the host's firewall says of it.
    pub firewall: Option<Firewall>,
    /// Whether it is up.
    pub up: bool,
    /// What scripts left inside: whose script, its step and text, and whether it came to its end.
    pub inside: BTreeSet<(Ctid, Step, Digest, bool)>,
}

/// A configuration, comparable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsPrint {
    /// Host name.
    pub hostname: Hostname,
    /// Limits.
    pub resources: Resources,
    /// Network interfaces.
    pub network: Vec<Nic>,
}

impl World {
    /// What the world is now, comparable with another.
    pub fn fingerprint(&self) -> Fingerprint {
        let containers = self.slots.iter().filter_map(|(ctid, slot)| Some((*ctid, print(*ctid, slot)?)));
        let owners = |place: &Place| place.seen().map(|seen| (seen.uid, seen.gid, seen.mode));
        let directories = self.places.iter().filter_map(|(path, place)| Some((path.clone(), owners(place)?)));
        Fingerprint { containers: containers.collect(), directories: directories.collect() }
    }
}

impl Fingerprint {
    /// The containers and directories that differ, one line each; empty if nothing does.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let ctids: BTreeSet<_> = self.containers.keys().chain(other.containers.keys()).collect();
        let paths: BTreeSet<_> = self.directories.keys().chain(other.directories.keys()).collect();
        let containers = ctids.into_iter().filter_map(|id| differing(id, self.containers.get(id), other.containers.get(id)));
        let directories =
            paths.into_iter().filter_map(|path| differing(path.display(), self.directories.get(path), other.directories.get(path)));
        containers.chain(directories).collect()
    }
}

fn differing<T: PartialEq + fmt::Debug>(name: impl fmt::Display, one: Option<&T>, other: Option<&T>) -> Option<String> {
    (one != other).then(|| format!("{name}: {one:?} against {other:?}"))
}

fn print(ctid: Ctid, slot: &Slot) -> Option<ContainerPrint> {
    let guest: &Guest = slot.guest.get().as_ref()?;
    let settings = guest.settings.as_deref().map(|settings| {
        let Settings { hostname, resources, network } = settings.clone();
        SettingsPrint { hostname, resources, network }
    });
    let mount = |attached: &Attached| (MountSeen { source: attached.path.clone(), read_only: attached.read_only }, attached.owner_right);
    Some(ContainerPrint {
        sound: guest.made == Made::Whole && guest.lock.is_none_or(|lock| matches!(lock, ConfigLock::Backup { .. })),
        marked: guest.mark.as_ref().is_some_and(|mark| mark.ctid == ctid),
        settings,
        idmap: guest.idmap_on_file.then(|| IdMap::clone(&guest.idmap)),
        mounts: guest.mounts.iter().map(|(at, attached)| (at.clone(), mount(attached))).collect(),
        autostart: guest.autostart,
        snapshots: guest.snapshots.iter().map(|(name, snapshot)| (name.clone(), snapshot.stage == SnapshotStage::Whole)).collect(),
        firewall: guest.firewall.as_deref().cloned(),
        up: slot.up.is_some(),
        inside: guest.inside.iter().map(|trace| (trace.by, trace.step.clone(), trace.script, !trace.torn)).collect(),
    })
}
