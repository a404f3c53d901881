//! What a check needs to know of the machine beside the manifest.
//!
//! Apart so that a check depends on its arguments and the files the manifest names, and on nothing else: no environment, no clock,
//! no question to the host. Not here: finding these facts out; the caller does that.

use std::path::PathBuf;

use crate::ids::{HostKind, IdMap};

/// What the machine decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The kind of host the fleet is meant for.
    pub host: HostKind,
    /// Whether the check is made for a run as root; then files that others can write are refused.
    pub root: bool,
    /// Takes files that others can write all the same (`--trust-manifest`).
    pub trust_manifest: bool,
    /// The map of unprivileged containers without a key `idmap`; `None` if the machine gives none, which is a problem for the
    /// containers that need it. See [`proxmox_idmap`] and [`subordinate_idmap`].
    pub default_idmap: Option<IdMap>,
    /// Directories of Phoenix and LXC on this machine that no volume may touch, beside [`SYSTEM_DIRECTORIES`]: those of journal,
    /// runtime and containers. Absolute.
    pub protected: Vec<PathBuf>,
}

/// Directories that no volume may be, contain or lie in.
pub const SYSTEM_DIRECTORIES: &[&str] = &[
    "/bin",
    "/boot",
    "/dev",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/lost+found",
    "/proc",
    "/root",
    "/run",
    "/sbin",
    "/sys",
    "/usr",
    "/var/backups",
    "/var/cache",
    "/var/lib/apt",
    "/var/lib/dpkg",
    "/var/lib/lxc",
    "/var/lib/lxcfs",
    "/var/lib/misc",
    "/var/lib/pam",
    "/var/lib/phoenix",
    "/var/lib/pve-cluster",
    "/var/lib/pve-manager",
    "/var/lib/systemd",
    "/var/lib/vz",
    "/var/lock",
    "/var/log",
    "/var/run",
    "/var/spool",
];

/// How many ids the default map of an unprivileged container has, and the fewest that do for a distribution (`nobody` is 65534).
pub const DEFAULT_IDMAP_COUNT: u32 = 65_536;

/// The map Proxmox gives to every unprivileged container.
#[expect(clippy::missing_panics_doc, reason = "the numbers are constants, and every test that needs a map calls it")]
pub fn proxmox_idmap() -> IdMap {
    IdMap::shifted(100_000, DEFAULT_IDMAP_COUNT).expect("one range far from the end of the ids")
}

/// The map plain LXC containers get: root's first range of at least [`DEFAULT_IDMAP_COUNT`] ids, from the texts of `/etc/subuid` and
/// `/etc/subgid` (`subuid(5)`); `None` if one of them has none. Lines that are none of root's, or malformed, are passed over, as
/// `newuidmap(1)` does.
pub fn subordinate_idmap(users: &str, groups: &str) -> Option<IdMap> {
    let range = |text: &str| {
        let ranges = text.lines().filter_map(|line| {
            let mut fields = line.trim().split(':');
            let (owner, first, count) = (fields.next()?, fields.next()?.parse::<u32>().ok()?, fields.next()?.parse::<u32>().ok()?);
            (matches!(owner, "root" | "0") && fields.next().is_none()).then_some((first, count))
        });
        let mut fitting = ranges.filter(|(first, count)| *first > 0 && *count >= DEFAULT_IDMAP_COUNT);
        fitting.next().map(|(host, _)| crate::ids::IdRange { inside: 0, host, count: DEFAULT_IDMAP_COUNT })
    };
    IdMap::new(vec![range(users)?], vec![range(groups)?]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_map_is_roots_first_range_that_is_large_enough() {
        let subuid = "# comment\nlxd:100000:65536\nroot:1000:100\nroot:165536:65536\nroot:900000:131072\n";
        let map = subordinate_idmap(subuid, "0:300000:1000000\n").map(|map| map.to_string());
        assert_eq!(map.as_deref(), Some("u 0 165536 65536, g 0 300000 65536"));
    }

    #[test]
    fn no_range_of_roots_gives_no_map() {
        for text in [
            "",
            "root:100000:65535",
            "lxd:100000:65536",
            "root:100000",
            "root:0:65536",
            "root:1:2:3",
            "root:x:65536",
            "root:4294967000:65536",
        ] {
            assert_eq!(subordinate_idmap(text, "root:100000:65536"), None, "{text:?}");
            assert_eq!(subordinate_idmap("root:100000:65536", text), None, "{text:?}");
        }
    }

    #[test]
    fn kinds_of_host_come_back_from_their_text() {
        for kind in HostKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("vm".parse::<HostKind>().is_err());
    }
}
