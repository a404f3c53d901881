//! One look at the cluster's files and `/proc`, without a process.
//!
//! Apart from the steps because it changes nothing and takes no lock. A container exists exactly if its configuration does:
//! what lies in LXC's own directory outlives it. Not here: what follows from what is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::ids::{BootId, Ctid};
use crate::plan::{Mark, Observation, Presence, Seen};

use super::super::HostError;
use super::super::local::act::chain;
use super::super::local::life::Up;
use super::super::local::proc::Held;
use super::super::local::{durable, io_error, monitor, unusable};
use super::config::values::MountSource;
use super::config::{CONFIG_BYTES_MAX, Config, ConfigError};
use super::layout::Layout;
use super::mark;
use super::members::Members;
use super::storage::{self, Storage};
use super::vmlist::{self, Guest, GuestKind};

/// The largest file about the whole cluster that is read.
const CLUSTER_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Locks of a configuration that is not whole: not yet, or no longer.
const HALF_MADE: [&str; 2] = ["create", "destroyed"];

/// Looks at the given containers.
pub(crate) fn observe(layout: &Layout, boot: &BootId, ctids: &[Ctid]) -> Result<Observation, HostError> {
    let members = members(layout)?;
    let configured = configured(layout)?;
    let guests = if ctids.iter().all(|ctid| configured.contains(ctid)) { BTreeMap::new() } else { guests(layout)? };
    let here: Vec<Ctid> = ctids.iter().copied().filter(|ctid| configured.contains(ctid)).collect();
    let storages = storage::parse(&optional(&layout.storages())?);
    let inits = monitor::inits(layout.lxc_path(), &here).map_err(|source| io_error("look at the processes", source))?;
    let mut containers = BTreeMap::new();
    for &ctid in ctids {
        let unseen = |what: String| Seen { presence: Presence::HalfMade(what), mark: None, init: None, config: None, copies_live: false };
        let found = if configured.contains(&ctid) { Found::read(layout, ctid) } else { Ok(None) };
        let seen = match found {
            // Its own affair: the others are looked at all the same.
            Err(error) => Some(unseen(chain(&error))),
            Ok(Some(found)) => {
                let init = inits.get(&ctid).and_then(|pid| Held::open(*pid)).map(|held| held.init(boot));
                let config = found.config.as_ref().ok().and_then(|config| config.main().seen().ok());
                let copies_live = found.config.as_ref().is_ok_and(|config| copies_live(config, &storages));
                Some(Seen { presence: found.presence(layout), mark: found.mark, init, config, copies_live })
            }
            Ok(None) => elsewhere(guests.get(&ctid.get()), &members.node).map(unseen),
        };
        containers.extend(seen.map(|seen| (ctid, seen)));
    }
    Ok(Observation { boot: boot.clone(), containers })
}

/// Whether Proxmox can take a snapshot of a container and copy that while the container goes on: every volume is on a storage that
/// can, and nothing of the host's is attached, which no snapshot takes.
fn copies_live(config: &Config, storages: &[Storage]) -> bool {
    let main = config.main();
    let (Ok(Some(rootfs)), Ok(mounts)) = (main.rootfs(), main.mounts()) else { return false };
    let can = |volume: &str| storage::of_volume(storages, volume).is_some_and(|(storage, rest)| storage.copies_from_snapshot(rest));
    can(&rootfs.volume) && mounts.values().all(|mount| matches!(&mount.source, MountSource::Volume(volume) if can(volume)))
}

/// One container's configuration, as it was found.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its number.
    ctid: Ctid,
    /// What it says, if it can be read.
    pub(crate) config: Result<Config, ConfigError>,
    /// The mark, which is read even if nothing else can be.
    pub(crate) mark: Option<Mark>,
}

impl Found {
    /// Reads it; `None` if the container does not exist.
    pub(crate) fn read(layout: &Layout, ctid: Ctid) -> Result<Option<Self>, HostError> {
        let path = layout.config(ctid);
        let text = durable::read(&path, CONFIG_BYTES_MAX).map_err(|source| cannot_read(&path, source))?;
        Ok(text.map(|text| Self { ctid, config: Config::parse(&text), mark: mark::of_config(&text) }))
    }

    /// Whether it is a whole container, or what an operation left that is at work or was cut off.
    pub(crate) fn presence(&self, layout: &Layout) -> Presence {
        let half = |what: &str| Presence::HalfMade(format!("{}: {what}", layout.config(self.ctid).display()));
        match &self.config {
            // It is there, and whole for all that is known; what of it is asked for says what cannot be read.
            Err(_) => Presence::Whole,
            Ok(config) => match config.main().lock().filter(|lock| HALF_MADE.contains(lock)) {
                Some(lock) => half(&format!("locked ({lock})")),
                None if config.main().value("rootfs").is_none() => half("no rootfs"),
                None => Presence::Whole,
            },
        }
    }
}

/// Takes hold of what runs of one container: its init, its monitor, and every `lxc-start` of it.
pub(crate) fn up(layout: &Layout, ctid: Ctid) -> io::Result<Up> {
    let found = monitor::processes(layout.lxc_path(), &[ctid])?;
    let starters = found.starters.get(&ctid).into_iter().flatten().copied().filter_map(Held::open).collect();
    let init = found.inits.get(&ctid).copied().and_then(Held::open);
    Ok(Up { init, starters })
}

/// Which node this is. Fails where the cluster's file system is not mounted: there an empty directory says nothing.
pub(crate) fn members(layout: &Layout) -> Result<Members, HostError> {
    let path = layout.members();
    let text = durable::read(&path, CLUSTER_BYTES_MAX).map_err(|source| cannot_read(&path, source))?;
    text.as_deref().and_then(Members::parse).ok_or_else(|| {
        let what = format!("the cluster's file system is not mounted: {} names no node", path.display());
        unusable(&what, "`systemctl start pve-cluster`, then try again")
    })
}

/// Every guest of the cluster.
pub(crate) fn guests(layout: &Layout) -> Result<BTreeMap<u32, Guest>, HostError> {
    let path = layout.vmlist();
    let text = durable::read(&path, CLUSTER_BYTES_MAX).map_err(|source| cannot_read(&path, source))?;
    text.as_deref().and_then(vmlist::parse).ok_or_else(|| {
        let what = format!("{} is no list of the cluster's guests", path.display());
        unusable(&what, "`systemctl restart pve-cluster`, then try again")
    })
}

/// The containers of this node, from one reading of the directory.
pub(crate) fn configured(layout: &Layout) -> Result<BTreeSet<Ctid>, HostError> {
    let path = layout.configs();
    let entries = std::fs::read_dir(&path).map_err(|source| cannot_read(&path, source))?;
    let mut found = BTreeSet::new();
    for entry in entries {
        let name = entry.map_err(|source| cannot_read(&path, source))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".conf")).filter(|number| !number.starts_with('0'));
        found.extend(number.and_then(|number| number.parse::<Ctid>().ok()));
    }
    Ok(found)
}

/// Why a number is taken though there is no such container here.
pub(crate) fn elsewhere(guest: Option<&Guest>, node: &str) -> Option<String> {
    let Guest { node: other, kind } = guest?;
    match kind {
        GuestKind::Other => Some(format!("the number belongs to a virtual machine on node {other}")),
        GuestKind::Container if other != node => Some(format!("the container is on node {other}")),
        // Destroyed a moment ago: the list lags behind.
        GuestKind::Container => None,
    }
}

/// A file of the cluster's that there may be; as text.
pub(crate) fn optional(path: &Path) -> Result<String, HostError> {
    Ok(durable::read(path, CLUSTER_BYTES_MAX).map_err(|source| cannot_read(path, source))?.unwrap_or_default())
}

fn cannot_read(path: &Path, source: io::Error) -> HostError {
    io_error(&format!("read {}", path.display()), source)
}

#[cfg(test)]
mod tests;
