//! What every backend on this kernel can say of a fleet before anything is done: bridges and subordinate ids.
//!
//! Apart because both backends say it alike. Not here: storages and templates, which each backend keeps its own way.

use std::ffi::OsStr;
use std::path::Path;

use crate::host::Objection;
use crate::ids::{IdKind, IdMap, IdRange};
use crate::manifest::Spec;

use super::PROGRAM_DIRECTORIES;

/// Where the kernel shows the host's interfaces, and where Open vSwitch has its sockets (from the documentation, not yet run).
const INTERFACES: &str = "sys/class/net";
const OPEN_VSWITCH: &str = "run/openvswitch";

/// Which ids root may map, from `/etc/subuid` and `/etc/subgid`.
#[derive(Clone, Debug)]
pub(crate) struct SubordinateIds {
    users: Vec<(u32, u32)>,
    groups: Vec<(u32, u32)>,
}

impl SubordinateIds {
    /// Those of this machine. Where nobody hands ranges out, LXC asks for none, and root may map whatever it likes.
    pub(crate) fn of_this_machine() -> Self {
        if !PROGRAM_DIRECTORIES.iter().any(|directory| Path::new(directory).join("newuidmap").is_file()) {
            return Self { users: vec![(0, u32::MAX)], groups: vec![(0, u32::MAX)] };
        }
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/etc/subuid"), &read("/etc/subgid"))
    }

    /// Reads both texts (`subuid(5)`).
    pub(crate) fn parse(users: &str, groups: &str) -> Self {
        Self { users: root_ranges(users), groups: root_ranges(groups) }
    }

    /// The first range of a map that root may not give to a container.
    fn missing(&self, map: &IdMap) -> Option<(IdKind, IdRange)> {
        if map.is_identity() {
            return None;
        }
        let kinds = [(IdKind::User, &self.users), (IdKind::Group, &self.groups)];
        let ranges = kinds.iter().flat_map(|(kind, owned)| map.ranges(*kind).iter().map(move |range| (*kind, owned, *range)));
        let covered = |owned: &[(u32, u32)], range: &IdRange| {
            // Of itself, root may always map its own id.
            (range.host == 0 && range.count == 1)
                || owned.iter().any(|(first, count)| {
                    range.host >= *first && range.host - first <= count.saturating_sub(range.count) && range.count <= *count
                })
        };
        ranges.into_iter().find(|(_, owned, range)| !covered(owned, range)).map(|(kind, _, range)| (kind, range))
    }
}

/// What of a map root may not give, in words.
pub(crate) fn unmappable(map: &IdMap, ids: &SubordinateIds) -> Option<String> {
    let (kind, IdRange { host, count, .. }) = ids.missing(map)?;
    let file = match kind {
        IdKind::User => "/etc/subuid",
        IdKind::Group => "/etc/subgid",
    };
    Some(format!("{file} does not give root the {count} ids from {host} on"))
}

/// What is said of a map that root may not give.
pub(crate) fn idmap(spec: &Spec, ids: &SubordinateIds) -> Option<Objection> {
    let (kind, IdRange { host, count, .. }) = ids.missing(&spec.idmap)?;
    let (file, who) = match kind {
        IdKind::User => ("/etc/subuid", "users"),
        IdKind::Group => ("/etc/subgid", "groups"),
    };
    Some(Objection {
        ctid: spec.ctid,
        what: format!("root may not map {who} from {host} on ({count} of them), which the container's id map needs"),
        remedy: format!("add the line root:{host}:{count} to {file}, or give the container another idmap"),
    })
}

/// What is said of bridges that are missing; `root` is the host's, `/` but for tests.
pub(crate) fn bridges(spec: &Spec, root: &Path) -> Vec<Objection> {
    let missing = spec.network.iter().filter(|nic| !root.join(INTERFACES).join(&nic.bridge).exists());
    let remedy = || match known_bridges(root) {
        known if known.is_empty() => "make it; this host has no bridge at all".to_owned(),
        known => format!("make it, or name one that there is: {}", known.join(", ")),
    };
    let objection =
        |bridge: &str| Objection { ctid: spec.ctid, what: format!("there is no bridge {bridge} on this host"), remedy: remedy() };
    missing.map(|nic| objection(&nic.bridge)).collect()
}

/// The bridges of the host: the kernel's, and those of Open vSwitch, which are ordinary interfaces to the kernel; its daemon has
/// a socket of the name of each.
pub(crate) fn known_bridges(root: &Path) -> Vec<String> {
    let sockets = root.join(OPEN_VSWITCH);
    let of_vswitch = |name: &OsStr| sockets.join(format!("{}.mgmt", name.to_string_lossy())).exists();
    let entries = std::fs::read_dir(root.join(INTERFACES)).into_iter().flatten().flatten();
    let bridges = entries.filter(|entry| entry.path().join("bridge").is_dir() || of_vswitch(&entry.file_name()));
    let mut names: Vec<String> = bridges.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// The ranges of root's in order; malformed lines are passed over, as `newuidmap(1)` does.
fn root_ranges(text: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        (matches!(owner, "root" | "0") && fields.next().is_none()).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_needs_ranges_that_root_was_given() {
        let ids = SubordinateIds::parse("root:100000:65536\nlxd:900000:65536\n", "0:100000:65536\n");
        let missing = |host, count| unmappable(&IdMap::shifted(host, count).expect("a map"), &ids);
        assert_eq!(missing(100_000, 65_536), None);
        assert_eq!(missing(165_535, 1), None);
        for (host, count) in [(100_000, 65_537), (99_999, 2), (165_536, 1), (900_000, 1)] {
            assert!(missing(host, count).is_some_and(|what| what.contains("/etc/subuid")), "{host} {count}");
        }
        assert_eq!(unmappable(&IdMap::identity(), &ids), None);
        let own = IdMap::from_lxc(["u 0 0 1", "u 1 100000 10", "g 0 100000 10"]).expect("a map");
        assert_eq!(unmappable(&own, &ids), None);
    }

    #[test]
    fn bridges_are_the_kernels_and_those_of_open_vswitch() {
        let root = tempfile::tempdir().expect("a directory");
        for made in ["sys/class/net/vmbr0/bridge", "sys/class/net/vmbr1", "sys/class/net/eth0", "run/openvswitch"] {
            std::fs::create_dir_all(root.path().join(made)).expect("made");
        }
        for socket in ["vmbr1", "gone"] {
            std::fs::write(root.path().join(format!("run/openvswitch/{socket}.mgmt")), "").expect("written");
        }
        assert_eq!(known_bridges(root.path()), ["vmbr0", "vmbr1"]);
    }
}
