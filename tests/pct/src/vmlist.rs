//! `.vmlist`: every guest of the cluster, with its node and kind.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};

use crate::conf::replace;
use crate::died::{Died, Outcome};
use crate::root::{Root, Vmid, ids_in};

/// Every guest: its id, node, and kind.
pub(crate) fn guests(root: &Root) -> Vec<(Vmid, String, &'static str)> {
    let nodes = fs::read_dir(root.join("etc/pve/nodes")).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for node in nodes {
        let name = node.file_name().to_string_lossy().into_owned();
        for (directory, kind) in [("lxc", "lxc"), ("qemu-server", "qemu")] {
            found.extend(ids_in(&node.path().join(directory)).into_iter().map(|id| (id, name.clone(), kind)));
        }
    }
    found.sort_unstable();
    found
}

/// Writes the list anew.
pub(crate) fn update(root: &Root) -> Outcome {
    let path = root.join("etc/pve/.vmlist");
    let failed = |error: &std::io::Error| Died::io("write", &path, error);
    let lock = File::create(root.test("vmlist.lock")).map_err(|error| failed(&error))?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(&error.into()))?;
    let old = fs::read_to_string(&path).unwrap_or_default();
    let number = |text: &str| text.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse::<u64>().ok();
    let version = old.split("\"version\":").nth(1).and_then(number).unwrap_or(0) + 1;
    let known = |id: Vmid| {
        let line = old.lines().find(|line| line.contains(&format!("\"{id}\":")))?;
        number(line.split("\"version\":").nth(1)?)
    };
    let line = |(id, node, kind): &(Vmid, String, &str)| {
        format!("\"{id}\": {{ \"node\": \"{node}\", \"type\": \"{kind}\", \"version\": {} }}", known(*id).unwrap_or(version))
    };
    let lines: Vec<String> = guests(root).iter().map(line).collect();
    replace(&path, &format!("{{\n\"version\": {version},\n\"ids\": {{\n{}}}\n\n}}\n", lines.join(",\n"))).map_err(|error| failed(&error))
}
