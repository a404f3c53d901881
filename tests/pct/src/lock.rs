//! The lock files: of a container's configuration, and of a storage.
//!
//! Not here: the `lock:` line of a configuration (`conf`).

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::call::Call;
use crate::clock;
use crate::died::{Died, Outcome, die, err};
use crate::fault::{Fault, delay};
use crate::root::{Root, Vmid};
use crate::task;

/// A lock, held until this is dropped or the process ends. Children do not inherit it.
#[derive(Debug)]
pub(crate) struct Held(#[expect(dead_code, reason = "the lock lasts as long as the descriptor")] File);

const CONFIG_TIMEOUT_MS: u64 = 10_000;
const STORAGE_TIMEOUT_MS: u64 = 60_000;
/// How long one try is apart from the next.
const POLL_MS: u64 = 10;

/// The lock of a container's configuration.
pub(crate) fn config(call: &Call, id: Vmid) -> Outcome<Held> {
    let path = call.root.config_lock(id);
    if call.fault == Some(Fault::LockTimeout) {
        err("trying to acquire lock...");
        return timed_out(&path);
    }
    let most = delay(&call.root, "lock-timeout", None).unwrap_or(CONFIG_TIMEOUT_MS);
    file(&path, most)
}

/// The lock of a storage, taken while volumes are made or removed.
pub(crate) fn storage(root: &Root, name: &str) -> Outcome<Held> {
    file(&root.join(format!("run/lock/pve-manager/pve-storage-{name}")), STORAGE_TIMEOUT_MS)
}

fn file(path: &PathBuf, most_ms: u64) -> Outcome<Held> {
    let failed = |error: &std::io::Error| Died::new(format!("can't open lock file '{}' - {error}", path.display()));
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    }
    let file = OpenOptions::new().append(true).create(true).open(path).map_err(|error| failed(&error))?;
    if is_taken(&file, path)? {
        return Ok(Held(file));
    }
    err("trying to acquire lock...");
    let from = clock::moment();
    while from.elapsed() < Duration::from_millis(most_ms) {
        task::pause(POLL_MS)?;
        if is_taken(&file, path)? {
            err(" OK");
            return Ok(Held(file));
        }
    }
    timed_out(path)
}

fn is_taken(file: &File, path: &Path) -> Outcome<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => die(format!("can't lock file '{}' - {error}", path.display())),
    }
}

fn timed_out<T>(path: &Path) -> Outcome<T> {
    die(format!("can't lock file '{}' - got timeout", path.display()))
}
