//! What a guest has outside its configuration: its firewall file, and its place in a pool.

use std::fs;
use std::io;

use crate::conf::replace;
use crate::died::{Died, Outcome, die};
use crate::root::{Root, Vmid};

/// A clone has the firewall rules of its source.
pub(crate) fn clone_firewall(root: &Root, from: Vmid, to: Vmid) -> Outcome {
    let path = |id: Vmid| root.join(format!("etc/pve/firewall/{id}.fw"));
    match fs::copy(path(from), path(to)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Died::io("write", &path(to), &error)),
    }
}

/// Fails if there is no such pool.
pub(crate) fn check_pool(root: &Root, name: Option<&str>) -> Outcome {
    let Some(name) = name else { return Ok(()) };
    let text = fs::read_to_string(root.join("etc/pve/user.cfg")).unwrap_or_default();
    let exists = text.lines().any(|line| line.strip_prefix("pool:").and_then(|rest| rest.split(':').next()) == Some(name));
    if exists { Ok(()) } else { die(format!("pool '{name}' does not exist")) }
}

/// Puts a guest into a pool.
pub(crate) fn add_to_pool(root: &Root, name: &str, id: Vmid) -> Outcome {
    change_pools(root, |pool, ids| {
        if pool == name {
            ids.push(id.to_string());
        }
    })
}

/// A guest that is gone is in no pool and has no firewall.
pub(crate) fn forget(root: &Root, id: Vmid) -> Outcome {
    // It need not have one.
    let _ = fs::remove_file(root.join(format!("etc/pve/firewall/{id}.fw")));
    change_pools(root, |_, ids| ids.retain(|found| *found != id.to_string()))
}

/// A line is `pool:NAME:COMMENT:IDS:STORAGES:`.
fn change_pools(root: &Root, change: impl Fn(&str, &mut Vec<String>)) -> Outcome {
    let path = root.join("etc/pve/user.cfg");
    let Ok(text) = fs::read_to_string(&path) else { return Ok(()) };
    let changed = |line: &str| {
        let mut parts: Vec<String> = line.split(':').map(str::to_owned).collect();
        if let [kind, name, _, ids, ..] = parts.as_mut_slice()
            && kind == "pool"
        {
            let mut found: Vec<String> = ids.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect();
            change(name, &mut found);
            *ids = found.join(",");
        }
        parts.join(":") + "\n"
    };
    let new: String = text.lines().map(changed).collect();
    replace(&path, &new).map_err(|error| Died::io("write", &path, &error))
}
