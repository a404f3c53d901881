//! Thawing: a frozen process neither handles `SIGTERM` nor, in the old hierarchy, dies of `SIGKILL`.
//!
//! Apart because both hierarchies have to be known (`cgroups(7)`: `freezer.state` in v1, `cgroup.freeze` in v2). Only groups
//! of containers are thawed, from the process's own upwards. Not here: who is to be ended.

use std::fs;
use std::path::{Path, PathBuf};

/// Where hierarchies are mounted.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Thaws the container that a process is in, if it is frozen. What cannot be thawed shows as a process that does not end.
pub fn thaw(pid: u32) {
    let Ok(text) = fs::read_to_string(format!("/proc/{pid}/cgroup")) else { return };
    for switch in text.lines().filter_map(parse_line).flat_map(|(hierarchy, path)| switches(hierarchy, path)) {
        // Writing to one that is not frozen is harmless but costs a lock in the kernel: look first.
        let frozen = fs::read_to_string(&switch.file).is_ok_and(|state| state.trim() != switch.thawed);
        if frozen {
            let _ = fs::write(&switch.file, switch.thawed);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hierarchy {
    Freezer,
    Unified,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Switch {
    file: PathBuf,
    thawed: &'static str,
}

/// `5:freezer:/lxc.payload.101` and `0::/lxc.payload.101`; other controllers do not freeze.
fn parse_line(line: &str) -> Option<(Hierarchy, &str)> {
    let (_, rest) = line.split_once(':')?;
    let (controllers, path) = rest.split_once(':')?;
    let hierarchy = match controllers {
        "" => Hierarchy::Unified,
        names if names.split(',').any(|name| name == "freezer") => Hierarchy::Freezer,
        _ => return None,
    };
    // A path with `..` lies outside of what is mounted here.
    (!path.split('/').any(|part| part == "..")).then_some((hierarchy, path))
}

/// The process's group and those above it, as long as they belong to a container.
fn switches(hierarchy: Hierarchy, path: &str) -> Vec<Switch> {
    let path = Path::new(path.trim_start_matches('/'));
    let of_container = |group: &&Path| group.iter().any(|part| part.to_string_lossy().starts_with("lxc"));
    // `/lxc` alone is the parent of every container.
    let of_all = |group: &&Path| group.file_name().is_some_and(|name| name == "lxc");
    let below = |mount: &str, name: &str, thawed| -> Vec<Switch> {
        let root = Path::new(CGROUP_ROOT).join(mount);
        let groups = path.ancestors().take_while(of_container).filter(|group| !of_all(group));
        groups.map(|group| Switch { file: root.join(group).join(name), thawed }).collect()
    };
    match hierarchy {
        Hierarchy::Freezer => below("freezer", "freezer.state", "THAWED"),
        // The unified hierarchy is at the root, or beside the old ones.
        Hierarchy::Unified => [below("", "cgroup.freeze", "0"), below("unified", "cgroup.freeze", "0")].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_groups_of_containers_are_thawed() {
        let files = |line: &str| -> Vec<String> {
            let switches = parse_line(line).map(|(hierarchy, path)| switches(hierarchy, path)).unwrap_or_default();
            switches.into_iter().map(|switch| switch.file.to_string_lossy().into_owned()).collect()
        };
        assert_eq!(
            files("5:freezer:/lxc.payload.101/ns"),
            ["/sys/fs/cgroup/freezer/lxc.payload.101/ns/freezer.state", "/sys/fs/cgroup/freezer/lxc.payload.101/freezer.state"]
        );
        assert_eq!(
            files("0::/system.slice/lxc/101"),
            ["/sys/fs/cgroup/system.slice/lxc/101/cgroup.freeze", "/sys/fs/cgroup/unified/system.slice/lxc/101/cgroup.freeze"]
        );
        assert_eq!(files("5:freezer:/user.slice"), [""; 0]);
        assert_eq!(files("5:memory:/lxc.payload.101"), [""; 0]);
        assert_eq!(files("5:freezer:/../lxc.payload.101"), [""; 0]);
    }
}
