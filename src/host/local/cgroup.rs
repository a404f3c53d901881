//! Which limits the kernel can keep here, and how LXC spells them: cgroup v1, v2, or some controllers in each.
//!
//! And the groups themselves, where a container needs help with them: frozen ones, and those that nobody is left to remove.
//!
//! Apart because it is the one place that looks at the cgroup mounts. Not here: the rest of the configuration.
//! Sources: `cgroups(7)`, the kernel's `cgroup-v1/memory.rst` and `cgroup-v2.rst`.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use crate::ids::Ctid;
use crate::manifest::Resources;

use super::proc::Held;

/// Where the controllers are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Controllers {
    memory: Option<Version>,
    /// Whether swap is accounted (`memsw` in v1, `memory.swap.max` in v2).
    swap: bool,
    cpu: Option<Version>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The period over which processor time is counted, in microseconds; the kernel's default.
const CPU_PERIOD_US: u64 = 100_000;
/// How deep groups made inside a container are followed; a container may nest them deeper, and keeps them then.
const GROUPS_DEPTH_MAX: usize = 32;
/// How long a process that was killed may take to end.
const END_MAX: Duration = Duration::from_secs(5);
const MIB: u64 = 1024 * 1024;

/// All keys that [`Controllers::settings`] may write; others under `lxc.cgroup` are left alone.
pub(crate) const LIMIT_KEYS: [&str; 7] = [
    "lxc.cgroup.memory.limit_in_bytes",
    "lxc.cgroup.memory.memsw.limit_in_bytes",
    "lxc.cgroup2.memory.max",
    "lxc.cgroup2.memory.swap.max",
    "lxc.cgroup.cpu.cfs_period_us",
    "lxc.cgroup.cpu.cfs_quota_us",
    "lxc.cgroup2.cpu.max",
];

impl Controllers {
    /// Looks at what is mounted. `mountinfo` is the text of `/proc/self/mountinfo`; `read` reads a file of a cgroup mount.
    pub(crate) fn look(mountinfo: &str, read: impl Fn(&Path) -> Option<String>) -> Self {
        let mounts: Vec<(&Path, &str, &str)> = mountinfo.lines().filter_map(parse_mount).collect();
        let v1 = |name: &str| mounts.iter().find(|(_, kind, options)| *kind == "cgroup" && options.split(',').any(|option| option == name));
        let v2 = mounts.iter().find(|(_, kind, _)| *kind == "cgroup2");
        let v2_list = v2.and_then(|(point, ..)| read(&point.join("cgroup.controllers"))).unwrap_or_default();
        let find = |name: &str| {
            let in_v2 = || v2_list.split_ascii_whitespace().any(|found| found == name).then_some(Version::V2);
            v1(name).map(|_| Version::V1).or_else(in_v2)
        };
        let memory = find("memory");
        let swap = match memory {
            Some(Version::V1) => v1("memory").is_some_and(|(point, ..)| read(&point.join("memory.memsw.limit_in_bytes")).is_some()),
            // The root group has no such file; what is there says only that the kernel was built with swap.
            Some(Version::V2) => read(Path::new("/proc/swaps")).is_some(),
            None => false,
        };
        Self { memory, swap, cpu: find("cpu") }
    }

    /// Looks at this host.
    pub(crate) fn of_this_host() -> Self {
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Self::look(&mountinfo, |path| std::fs::read_to_string(path).ok())
    }

    /// The settings that bring `resources` about, in the order they must be made, and what cannot be kept here.
    pub(crate) fn settings(self, resources: &Resources) -> (Vec<(&'static str, String)>, Vec<String>) {
        let Resources { memory_mb, swap_mb, cores, disk_gb } = resources;
        let (memory, swap) = (u64::from(*memory_mb) * MIB, u64::from(*swap_mb) * MIB);
        let (mut settings, mut unenforced) = (Vec::new(), Vec::new());
        match self.memory {
            Some(Version::V1) => {
                settings.push(("lxc.cgroup.memory.limit_in_bytes", memory.to_string()));
                if self.swap {
                    settings.push(("lxc.cgroup.memory.memsw.limit_in_bytes", (memory + swap).to_string()));
                }
            }
            Some(Version::V2) => {
                settings.push(("lxc.cgroup2.memory.max", memory.to_string()));
                if self.swap {
                    settings.push(("lxc.cgroup2.memory.swap.max", swap.to_string()));
                }
            }
            None => unenforced.push("memory_mb without a memory controller".to_owned()),
        }
        if self.memory.is_some() && !self.swap {
            unenforced.push("swap_mb without swap accounting".to_owned());
        }
        if let Some(cores) = cores {
            let quota = u64::from(*cores) * CPU_PERIOD_US;
            match self.cpu {
                Some(Version::V1) => {
                    settings.push(("lxc.cgroup.cpu.cfs_period_us", CPU_PERIOD_US.to_string()));
                    settings.push(("lxc.cgroup.cpu.cfs_quota_us", quota.to_string()));
                }
                Some(Version::V2) => settings.push(("lxc.cgroup2.cpu.max", format!("{quota} {CPU_PERIOD_US}"))),
                None => unenforced.push("cores without a cpu controller".to_owned()),
            }
        }
        if disk_gb.is_some() {
            unenforced.push("disk_gb on a directory".to_owned());
        }
        (settings, unenforced)
    }
}

/// Removes the control groups of this container's names, in every hierarchy, as far as no process is in them; the kernel
/// refuses to remove those that are in use, so that nothing running can lose its own. Names as LXC gives them by itself, and
/// `lxc/101` and `lxc.monitor/101`, which Proxmox gives.
pub(crate) fn remove_empty(ctid: Ctid) {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (point, ..) in mountinfo.lines().filter_map(parse_mount).filter(|(_, kind, _)| kind.starts_with("cgroup")) {
        let groups = std::fs::read_dir(point).into_iter().flatten().flatten();
        groups.filter(|group| group.file_name().to_str().is_some_and(|name| is_group_of(name, ctid))).for_each(|group| {
            remove_group(&group.path(), 0);
        });
        for parent in ["lxc", "lxc.monitor"] {
            remove_group(&point.join(parent).join(ctid.to_string()), 0);
        }
    }
}

/// Ends what is left in the groups that Proxmox gives a container whose monitor is gone: nobody can reach it any more, and nothing
/// starts beside it. What is frozen is thawed, or it would not end. A group that does not get empty is noticed when it is in the way.
pub(crate) fn end_members(ctid: Ctid) {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for (point, ..) in mountinfo.lines().filter_map(parse_mount).filter(|(_, kind, _)| kind.starts_with("cgroup")) {
        for pid in members(&point.join("lxc").join(ctid.to_string()), 0) {
            // Held before it is looked at again, so that it is the one that is ended.
            let Some(held) = Held::open(pid).filter(|_| is_in_payload(pid, ctid)) else { continue };
            if held.signal(Signal::KILL).is_ok() {
                crate::shim::thaw(pid);
                held.ends_within(END_MAX);
            }
        }
    }
}

/// The processes in a group and below.
fn members(group: &Path, depth: usize) -> Vec<u32> {
    let own = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    if depth < GROUPS_DEPTH_MAX {
        let below = std::fs::read_dir(group).into_iter().flatten().flatten();
        let groups = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        found.extend(groups.flat_map(|entry| members(&entry.path(), depth + 1)));
    }
    found
}

fn is_in_payload(pid: u32, ctid: Ctid) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let payload = Path::new("/lxc").join(ctid.to_string());
    text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).any(|group| Path::new(group).starts_with(&payload))
}

/// `lxc.payload.101`, `lxc.monitor.101`, and with `-1`, `-2` and so on where such a name was taken (`lxc.container.conf(5)`).
fn is_group_of(name: &str, ctid: Ctid) -> bool {
    let rest = ["lxc.payload.", "lxc.monitor."].iter().find_map(|kind| name.strip_prefix(kind)).unwrap_or_default();
    let (number, suffix) = rest.split_once('-').unwrap_or((rest, "0"));
    number.parse() == Ok(ctid) && suffix.parse::<u32>().is_ok()
}

fn remove_group(group: &Path, depth: usize) {
    if depth < GROUPS_DEPTH_MAX {
        let below = std::fs::read_dir(group).into_iter().flatten().flatten();
        below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|entry| remove_group(&entry.path(), depth + 1));
    }
    // In use, or gone already.
    let _ = std::fs::remove_dir(group);
}

/// Mount point, type and super block options of one line of `mountinfo` (`proc_pid_mountinfo(5)`).
fn parse_mount(line: &str) -> Option<(&Path, &str, &str)> {
    let (front, back) = line.split_once(" - ")?;
    let mut back = back.split(' ');
    Some((Path::new(front.split(' ').nth(4)?), back.next()?, back.nth(1)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "30 24 0:26 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      31 24 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                      32 24 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
    const V2: &str = "32 24 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
    const RESOURCES: Resources = Resources { memory_mb: 256, swap_mb: 128, cores: Some(2), disk_gb: None };

    #[track_caller]
    fn check(mountinfo: &str, files: &[(&str, &str)], expected: &[(&str, &str)], unenforced: &[&str]) {
        let read = |path: &Path| files.iter().find(|(name, _)| path == Path::new(name)).map(|(_, text)| (*text).to_owned());
        let (settings, missing) = Controllers::look(mountinfo, read).settings(&RESOURCES);
        let settings: Vec<(&str, &str)> = settings.iter().map(|(key, value)| (*key, value.as_str())).collect();
        assert_eq!(settings, expected);
        assert_eq!(missing, unenforced);
    }

    #[test]
    fn limits_are_spelled_for_the_version_that_has_the_controller() {
        check(
            V1,
            &[("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes", "0")],
            &[
                ("lxc.cgroup.memory.limit_in_bytes", "268435456"),
                ("lxc.cgroup.memory.memsw.limit_in_bytes", "402653184"),
                ("lxc.cgroup.cpu.cfs_period_us", "100000"),
                ("lxc.cgroup.cpu.cfs_quota_us", "200000"),
            ],
            &[],
        );
        check(
            V2,
            &[("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory\n"), ("/proc/swaps", "")],
            &[
                ("lxc.cgroup2.memory.max", "268435456"),
                ("lxc.cgroup2.memory.swap.max", "134217728"),
                ("lxc.cgroup2.cpu.max", "200000 100000"),
            ],
            &[],
        );
    }

    #[test]
    fn what_cannot_be_kept_is_said() {
        check(
            V1,
            &[],
            &[
                ("lxc.cgroup.memory.limit_in_bytes", "268435456"),
                ("lxc.cgroup.cpu.cfs_period_us", "100000"),
                ("lxc.cgroup.cpu.cfs_quota_us", "200000"),
            ],
            &["swap_mb without swap accounting"],
        );
        check("", &[], &[], &["memory_mb without a memory controller", "cores without a cpu controller"]);
    }

    #[test]
    fn groups_are_told_by_their_whole_name() {
        let ctid: Ctid = "101".parse().expect("a number");
        for name in ["lxc.payload.101", "lxc.monitor.101", "lxc.payload.101-1", "lxc.monitor.101-12"] {
            assert!(is_group_of(name, ctid), "{name}");
        }
        for name in ["lxc.payload.1011", "lxc.payload.10", "lxc.payload.101-", "lxc.payload.101-a", "lxc.payload.web", "lxc.pivot", "101"] {
            assert!(!is_group_of(name, ctid), "{name}");
        }
    }

    #[test]
    fn every_key_written_is_one_that_rewriting_replaces() {
        for version in [Version::V1, Version::V2] {
            let (settings, _) = Controllers { memory: Some(version), swap: true, cpu: Some(version) }.settings(&RESOURCES);
            assert!(settings.iter().all(|(key, _)| LIMIT_KEYS.contains(key)), "{settings:?}");
        }
    }
}
