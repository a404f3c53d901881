//! What every host on this kernel needs: root, namespaces, cgroups, ids, a clock, a bridge.
//!
//! Not here: programs and directories, which differ by kind.

use std::path::Path;

use crate::manifest::{Resources, subordinate_idmap};
use crate::shim::Clock;

use super::super::local::cgroup::Controllers;
use super::super::local::vet::known_bridges;
use super::{Findings, Topic};

/// Wall times between which a clock is believed, in milliseconds since 1970: the beginnings of 2025 and of 2100.
const WALL_MS: std::ops::Range<i64> = 1_735_689_600_000..4_102_444_800_000;
/// How root comes by ids to map.
pub(super) const ADD_IDS: &str = "`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 root`";
/// The kernel that came with a way to open files of a container without being led out of it (`openat2(2)`).
const OPENAT2_SINCE: (u32, u32) = (5, 6);
/// The kernel that came with mounts that translate ids.
const MAPPED_MOUNTS_SINCE: (u32, u32) = (5, 12);

/// Looks at all of it; `root` is the host's, and `bridge` says how one is made on it.
pub(super) fn examine(found: &mut Findings, root: &Path, bridge: &str) {
    if rustix::process::geteuid().is_root() {
        found.good(Topic::User, "this is root");
    } else {
        found.bad(Topic::User, "this is not root, who alone can run containers", "run phoenix as root");
    }
    kernel(found);
    cgroups(found);
    clock(found);
    match known_bridges(root) {
        none if none.is_empty() => found.warning(Topic::Network, "there is no bridge: containers can have no network", bridge),
        names => found.good(Topic::Network, format!("bridges: {}", names.join(", "))),
    }
}

/// Looks at the ids that containers get for which the manifest names none.
pub(super) fn default_ids(found: &mut Findings) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    match subordinate_idmap(&read("/etc/subuid"), &read("/etc/subgid")) {
        Some(map) => found.good(Topic::Ids, format!("unprivileged containers get {map}")),
        None => found.bad(Topic::Ids, "root may map no 65536 ids for unprivileged containers (/etc/subuid, /etc/subgid)", ADD_IDS),
    }
}

fn kernel(found: &mut Findings) {
    release(&rustix::system::uname().release().to_string_lossy(), found);
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").ok().and_then(|text| text.trim().parse::<u64>().ok());
    match most {
        Some(0) => found.bad(
            Topic::Kernel,
            "the kernel allows no user namespaces, which unprivileged containers need",
            "`sysctl user.max_user_namespaces=15000`, and set it in /etc/sysctl.d",
        ),
        Some(_) => {}
        None => found.bad(Topic::Kernel, "the kernel has no user namespaces", "boot a kernel with CONFIG_USER_NS"),
    }
}

fn release(release: &str, found: &mut Findings) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if version < OPENAT2_SINCE {
        let what = format!("Linux {release} cannot open a container's files without being led out of it (openat2)");
        found.bad(Topic::Kernel, what, "boot Linux 5.6 or later");
    } else if version >= MAPPED_MOUNTS_SINCE {
        found.good(Topic::Kernel, format!("Linux {release}"));
    } else {
        found.warning(
            Topic::Kernel,
            format!("Linux {release} cannot translate ids of a mount"),
            "leave the ownership of volumes at \"chown\", or boot Linux 5.12 or later",
        );
    }
}

fn cgroups(found: &mut Findings) {
    let all = Resources { memory_mb: 1, swap_mb: 1, cores: Some(1), disk_gb: None };
    let (_, unenforced) = Controllers::of_this_host().settings(&all);
    if unenforced.is_empty() {
        found.good(Topic::Cgroups, "memory, swap and processor time can be limited");
    } else {
        found.warning(
            Topic::Cgroups,
            format!("cannot be limited here: {}", unenforced.join(", ")),
            "mount the cgroup controllers; systemd does so with version 2 (`systemd.unified_cgroup_hierarchy=1`)",
        );
    }
}

fn clock(found: &mut Findings) {
    match Clock::from_env() {
        Err(error) => found.bad(
            Topic::Clock,
            format!("which boot this is cannot be told: {error}"),
            "mount /proc; without the boot's id a crash of the host cannot be told from one of phoenix",
        ),
        Ok(clock) if !WALL_MS.contains(&clock.now().wall.0) => {
            found.warning(Topic::Clock, "the clock is not set: records will bear wrong times", "set it, as `timedatectl set-ntp true`");
        }
        Ok(_) => found.good(Topic::Clock, "the clock is set, and the boot has an id"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn a_kernel_is_judged_by_its_version() {
        let judged = |text: &str| {
            let mut found = Findings::default();
            release(text, &mut found);
            found.0.iter().map(|finding| finding.level).collect::<Vec<_>>()
        };
        assert_eq!(judged("5.4.0-150-generic"), [Level::Bad]);
        assert_eq!(judged("5.10.0-28-amd64"), [Level::Warning]);
        assert_eq!(judged("6.8.12-4-pve"), [Level::Good]);
    }
}
