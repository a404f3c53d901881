//! Which processes belong to a test's ground, and ending them, all of them and no others.
//!
//! Apart because both the end of a test and the crash of its host need it. Not here: which of them Phoenix would end.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Pid, Signal, kill_process};

/// A process, as `/proc` tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) argv: Vec<String>,
}

impl Process {
    /// Reads `/proc`; `None` of one that has ended, zombies among them.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?.parse().ok()?);
        if matches!(state, "Z" | "X") {
            return None;
        }
        let argv = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let argv = argv.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        Some(Self { pid, parent, argv })
    }

    /// Whether it is one of our shims.
    pub(crate) fn is_shim(&self) -> bool {
        self.argv.get(1).is_some_and(|word| word.starts_with("__shim"))
    }

    /// Whether it is Phoenix itself or one of its shims.
    fn is_phoenix(&self) -> bool {
        self.is_shim() || self.argv.first().is_some_and(|name| name == env!("CARGO_BIN_EXE_phoenix"))
    }

    /// Whether it carries a command or a script into a container.
    pub(crate) fn is_attach(&self) -> bool {
        self.argv.first().is_some_and(|name| name.ends_with("lxc-attach"))
    }

    /// Whether it watches over a container.
    pub(crate) fn is_monitor(&self) -> bool {
        self.argv.first().is_some_and(|name| name.starts_with("[lxc monitor]"))
    }

    pub(crate) fn kill(&self) {
        kill(self.pid, Signal::KILL);
    }
}

/// Sends a signal; a process that has ended takes none.
pub(crate) fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Kills the children of a process that a test started itself.
pub(crate) fn end_children(parent: u32) {
    all().iter().filter(|one| one.parent == parent).for_each(Process::kill);
}

/// Every living process.
pub(crate) fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Process::of).collect()
}

/// The processes whose environment, arguments, open files or root directory lie in one of these directories, and all below
/// them; never this one.
pub(crate) fn belonging(directories: &[PathBuf]) -> Vec<Process> {
    let all = all();
    let roots: BTreeSet<(u64, u64)> = directories.iter().flat_map(|directory| root_file_systems(directory)).collect();
    let mut ours: BTreeSet<u32> = all.iter().filter(|one| belongs(one, directories, &roots)).map(|one| one.pid).collect();
    loop {
        let below: Vec<u32> = all.iter().filter(|one| ours.contains(&one.parent) && !ours.contains(&one.pid)).map(|one| one.pid).collect();
        if below.is_empty() {
            break;
        }
        ours.extend(below);
    }
    all.into_iter().filter(|one| ours.contains(&one.pid) && one.pid != std::process::id()).collect()
}

/// Kills all that belong to these directories until none is left; those that will not end. Phoenix and its shims first: a power
/// cut leaves nobody to write down how the others ended, or to start new ones. What is frozen ends only when it is thawed.
#[must_use]
pub(crate) fn end_belonging(directories: &[PathBuf], thaw: impl Fn()) -> Vec<Process> {
    let writers = end(directories, Process::is_phoenix, || ());
    if writers.is_empty() { end(directories, |_| true, thaw) } else { writers }
}

fn end(directories: &[PathBuf], which: impl Fn(&Process) -> bool, thaw: impl Fn()) -> Vec<Process> {
    let from = now();
    loop {
        let mut left = belonging(directories);
        left.retain(&which);
        if left.is_empty() || from.elapsed() > Duration::from_secs(20) {
            return left;
        }
        left.iter().for_each(Process::kill);
        thaw();
        pause(2);
    }
}

/// Looks again and again until something is there, for twenty seconds at most.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let from = now();
    while from.elapsed() < Duration::from_secs(20) {
        if let Some(found) = look() {
            return found;
        }
        pause(1);
    }
    panic!("{what} did not come about");
}

#[expect(clippy::disallowed_methods, reason = "tests measure how long another process takes")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, as the journal counts them.
#[expect(clippy::disallowed_methods, reason = "what a test did is held against what the journal says was under way")]
pub(crate) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_millis()).expect("not that late")
}

#[expect(clippy::disallowed_methods, reason = "waiting with a bound for what another process does, and killing it at random moments")]
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

/// The root file systems of containers in the container directories below `directory`, those half made or half gone too.
fn root_file_systems(directory: &Path) -> Vec<(u64, u64)> {
    let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let plain = below(directory.join("lxc")).map(|container| container.join("rootfs"));
    // On Proxmox the volumes are mounted where the monitor alone sees them.
    let storages = ["pve/var/lib/vz/images", "pve/var/lib/vz/btr/images"].map(|images| directory.join(images));
    let volumes = storages.into_iter().flat_map(below).flat_map(below);
    plain.chain(volumes).filter_map(|root| fs::metadata(root).ok()).map(|root| (root.dev(), root.ino())).collect()
}

fn belongs(process: &Process, directories: &[PathBuf], roots: &BTreeSet<(u64, u64)>) -> bool {
    let names = |bytes: &[u8]| {
        directories.iter().any(|directory| {
            let name = directory.as_os_str().as_bytes();
            bytes.windows(name.len()).any(|window| window == name)
        })
    };
    let proc = PathBuf::from(format!("/proc/{}", process.pid));
    let holds = || {
        let descriptors = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        descriptors.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|target| directories.iter().any(|one| target.starts_with(one)))
    };
    process.argv.iter().any(|word| names(word.as_bytes()))
        || fs::read(proc.join("environ")).is_ok_and(|environment| names(&environment))
        || fs::metadata(proc.join("root")).is_ok_and(|root| roots.contains(&(root.dev(), root.ino())))
        || holds()
}
