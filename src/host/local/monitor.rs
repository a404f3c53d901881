//! Containers found by their monitors.
//!
//! For hosts whose monitors mount the root file system in a namespace of their own, so that the init cannot be told by its
//! root directory: it is the monitor's child that is process 1 of a pid namespace below ours. LXC ends the init with its
//! monitor, so that there is none without. Not here: decisions.

#![allow(dead_code, reason = "the backend that asks follows")]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::ids::Ctid;

use super::proc::{Processes, command_line, is_init, is_of_this_root, parent_of, parse_starter};

/// Where cgroups are mounted; with version 1, one directory for each controller.
const CGROUPS: &str = "/sys/fs/cgroup";
/// The cgroup that Proxmox has LXC put monitors into, one below it for each container.
const MONITORS: &str = "lxc.monitor";

/// The inits of the given containers that are up. Cheaper than [`processes`] where most are.
pub(crate) fn inits(path: &Path, ctids: &[Ctid]) -> io::Result<BTreeMap<Ctid, u32>> {
    let hint = hint(Path::new(CGROUPS));
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for &ctid in ctids {
        match hint.as_ref().and_then(|hint| hinted(hint, path, ctid)) {
            Some(init) => {
                found.insert(ctid, init);
            }
            None => missing.push(ctid),
        }
    }
    // That a cgroup shows none proves nothing: LXC takes another name where this one is taken.
    if !missing.is_empty() {
        found.extend(processes(path, &missing)?.inits);
    }
    Ok(found)
}

/// Inits and starters of the given containers, from every process there is.
pub(crate) fn processes(path: &Path, ctids: &[Ctid]) -> io::Result<Processes> {
    let mut found = Processes::default();
    for pid in pids(Path::new("/proc"))? {
        let Some(ctid) = starter_of(pid, path).filter(|ctid| ctids.contains(ctid)) else { continue };
        found.starters.entry(ctid).or_default().push(pid);
        if let Some(init) = init_below(pid) {
            found.inits.insert(ctid, init);
        }
    }
    Ok(found)
}

/// The directory below which a container's monitor may have its cgroup; with version 1, that of one controller is as good as
/// another's.
fn hint(cgroups: &Path) -> Option<PathBuf> {
    let controllers = std::fs::read_dir(cgroups).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut all = [cgroups.to_owned()].into_iter().chain(controllers).map(|directory| directory.join(MONITORS));
    all.find(|directory| directory.is_dir())
}

/// The init of one container whose monitor is in the cgroup that it should be in, checked against the monitor's own words.
fn hinted(hint: &Path, path: &Path, ctid: Ctid) -> Option<u32> {
    let members = std::fs::read_to_string(hint.join(ctid.to_string()).join("cgroup.procs")).ok()?;
    let monitors = members.lines().filter_map(|pid| pid.parse().ok()).filter(|&pid| starter_of(pid, path) == Some(ctid));
    monitors.into_iter().find_map(init_below)
}

/// The container that this process starts or monitors, if it is an `lxc-start` of ours on `path`.
fn starter_of(pid: u32, path: &Path) -> Option<Ctid> {
    let command = command_line(pid)?;
    let (_, ctid) = parse_starter(&command).filter(|(found, _)| *found == path)?;
    is_of_this_root(pid).then_some(ctid)
}

/// The child that is process 1 of its pid namespace.
fn init_below(monitor: u32) -> Option<u32> {
    children(monitor)?.into_iter().find(|&pid| is_init(pid))
}

fn children(pid: u32) -> Option<Vec<u32>> {
    match std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")) {
        Ok(text) => Some(text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()),
        // Kernels built without it have to be asked the long way.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(pids(Path::new("/proc")).ok()?.filter(|&child| parent_of(child) == Some(pid)).collect())
        }
        Err(_) => None,
    }
}

fn pids(proc: &Path) -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir(proc)?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}
