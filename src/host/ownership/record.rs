//! Former owners, written down before the first change.
//!
//! Apart because evidence alone would lose them: a crash between the change and its outcome leaves a directory that already
//! looks as wanted. Kept once per directory, told by file system, inode and path: a file system may have no number of its own,
//! and earlier versions wrote a device's in its place.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use phoenix_journal::Digest;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags};
use serde::{Deserialize, Serialize};

use super::{Grounds, OwnershipError, Reached, io_error};

#[derive(Serialize, Deserialize)]
struct Former {
    path: PathBuf,
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Writes `now` down unless something stands there already, and returns what stands there. Writes nothing if nothing of
/// anybody's is going to be changed.
pub(super) fn keep_first(
    grounds: &Grounds,
    reached: &Reached,
    now: (u32, u32, u32),
    changes: bool,
) -> Result<Option<(u32, u32, u32)>, OwnershipError> {
    if let Some(former) = read(grounds, reached) {
        return Ok(Some(former));
    }
    if !changes {
        return Ok(None);
    }
    let former = Former { path: reached.path.clone(), uid: now.0, gid: now.1, mode: now.2 };
    let file = file(grounds, reached);
    write(&file, &former).map_err(io_error("write", &file))?;
    Ok(Some(now))
}

/// What was written down for a directory.
pub(super) fn read(grounds: &Grounds, reached: &Reached) -> Option<(u32, u32, u32)> {
    let entries = std::fs::read_dir(&grounds.records).ok()?.flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| is_of(name, reached))).find_map(|entry| {
        let text = std::fs::read_to_string(entry.path()).ok()?;
        let Former { path, uid, gid, mode } = serde_json::from_str(&text).ok()?;
        (path == reached.path).then_some((uid, gid, mode))
    })
}

/// `FILE_SYSTEM-INODE-PATH.json`; earlier versions left the path out.
fn is_of(name: &str, reached: &Reached) -> bool {
    let Some(name) = name.strip_suffix(".json") else { return false };
    let mut parts = name.split('-');
    let mut number = || parts.next().and_then(|part| part.parse().ok());
    number().is_some_and(|file_system| reached.file_system.is(file_system)) && number() == Some(reached.inode)
}

fn file(grounds: &Grounds, reached: &Reached) -> PathBuf {
    let path = Digest::of(reached.path.as_os_str().as_bytes()).to_string();
    grounds.records.join(format!("{}-{}-{path:.16}.json", reached.file_system.number(), reached.inode))
}

fn write(path: &std::path::Path, former: &Former) -> io::Result<()> {
    let parent = path.parent().unwrap_or(std::path::Path::new("/"));
    std::fs::create_dir_all(parent)?;
    let temporary = path.with_extension("new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&temporary, flags, Mode::from_raw_mode(0o600))?);
    file.write_all(serde_json::to_string(former).map_err(io::Error::other)?.as_bytes())?;
    file.sync_all()?;
    rustix::fs::renameat_with(CWD, &temporary, CWD, path, RenameFlags::empty())?;
    File::open(parent)?.sync_all()
}
