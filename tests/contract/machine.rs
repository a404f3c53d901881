//! What sites with real containers have in common: the machine that they are on.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenix::host::Host;
use phoenix::ids::Ctid;
use rustix::process::{Pid, Signal, kill_process};

use super::tree::tree;

/// How long the kernel and a monitor may take to be done with a container.
const ENDING: Duration = Duration::from_secs(20);

/// Kills the init, if one is up, and waits until nothing of the container runs.
pub(crate) fn end(host: &dyn Host, ctid: Ctid) {
    let seen = || host.observe(None, &[ctid]).expect("a look").containers.remove(&ctid).and_then(|seen| seen.init);
    let Some(init) = seen() else { return };
    let pid = i32::try_from(init.pid).ok().and_then(Pid::from_raw).expect("a process");
    kill_process(pid, Signal::KILL).expect("killed");
    let until = host.now().expect("a time").moment.after(ENDING);
    while seen().is_some() {
        assert!(until.remaining(&host.now().expect("a time").moment).is_some_and(|left| !left.is_zero()), "{ctid} does not end");
        std::thread::yield_now();
    }
}

/// Every file below these directories, a line each.
pub(crate) fn print(directories: &[PathBuf]) -> String {
    let mut found = BTreeMap::new();
    for directory in directories {
        tree(directory, &directory.display().to_string(), &mut found);
    }
    let lines: Vec<String> = found.into_iter().map(|(name, what)| format!("{name}: {what}")).collect();
    lines.join("\n")
}

/// What lies in these directories under a container's number. A directory of results stays, empty.
pub(crate) fn left_below(ctid: Ctid, directories: &[PathBuf]) -> Vec<String> {
    let number = ctid.to_string();
    let entries = directories.iter().flat_map(|place| fs::read_dir(place).into_iter().flatten().flatten());
    let its = entries.filter(|entry| entry.file_name().to_string_lossy().contains(&number));
    let paths = its.map(|entry| entry.path());
    let filled = paths.filter(|path| !fs::read_dir(path).is_ok_and(|mut within| within.next().is_none()));
    filled.map(|path| path.display().to_string()).collect()
}

pub(crate) fn owner(path: &Path) -> Option<(u32, u32, u32)> {
    let meta = fs::symlink_metadata(path).ok()?;
    Some((meta.uid(), meta.gid(), meta.mode() & 0o7777))
}

pub(crate) fn make_filled(path: &Path, uid: u32, gid: u32, mode: u32) {
    fs::create_dir(path).expect("a directory");
    fs::write(path.join("file"), "theirs").expect("written");
    chown(path, Some(uid), Some(gid)).expect("given");
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
}

pub(crate) fn swap(path: &Path) {
    fs::rename(path, path.with_extension("aside")).expect("renamed");
    fs::create_dir(path).expect("a directory");
}
