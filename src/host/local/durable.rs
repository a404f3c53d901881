//! Small files and directory entries that survive a power cut.
//!
//! Apart so that no step invents its own order of write, sync and rename. Only for directories that root alone can write;
//! trees of a container are [`super::inside`]'s.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use rustix::path::Arg;

/// Puts `bytes` at `path` in one step: whoever looks sees the old file or the new one, also after a power cut.
pub(crate) fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let temporary =
        path.with_file_name([b".phoenix-new-".as_slice(), path.file_name().unwrap_or_default().as_bytes()].concat().into_name());
    match std::fs::remove_file(&temporary) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(&temporary, flags, Mode::from_raw_mode(mode))?);
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)?;
    sync_directory_of(path)
}

/// Makes the entries of `directory` durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes the entry of `path` durable.
pub(crate) fn sync_directory_of(path: &Path) -> io::Result<()> {
    sync_directory(path.parent().unwrap_or(Path::new("/")))
}

/// Makes everything on the file system of `path` durable; cheaper for a tree than a sync per file.
pub(crate) fn sync_file_system(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Moves `from` to `to` unless something is there already, durably. For whoever holds the container's lock.
pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> io::Result<()> {
    move_new(CWD, from, CWD, to)?;
    if phoenix_journal::sabotaged("renames_are_not_synced") {
        return Ok(());
    }
    sync_directory_of(to)
}

/// Moves a name to a directory unless that has such a name already; not durable yet. For whoever holds the container's lock.
pub(crate) fn move_new(from: impl AsFd, name: impl Arg + Copy, to: impl AsFd, new: impl Arg + Copy) -> rustix::io::Result<()> {
    match rustix::fs::renameat_with(&from, name, &to, new, RenameFlags::NOREPLACE) {
        // ZFS before 2.2 does not know how.
        Err(Errno::INVAL) => look_and_move(from, name, to, new),
        other => other,
    }
}

/// The same in two calls: the lock keeps other Phoenixes out between them, and no file system lets a directory replace one with
/// something in it.
fn look_and_move(from: impl AsFd, name: impl Arg, to: impl AsFd, new: impl Arg + Copy) -> rustix::io::Result<()> {
    match rustix::fs::statat(&to, new, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::renameat(from, name, to, new),
        Err(errno) => Err(errno),
    }
}

/// Reads a text of at most `limit` bytes; `None` if there is no such file. A link, a device or a longer file is an error.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<Option<String>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(errno) => return Err(errno.into()),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let mut text = String::new();
    file.take(limit + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {limit} bytes")));
    }
    Ok(Some(text))
}

trait IntoName {
    fn into_name(self) -> std::ffi::OsString;
}

impl IntoName for Vec<u8> {
    fn into_name(self) -> std::ffi::OsString {
        std::os::unix::ffi::OsStringExt::from_vec(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_system_that_cannot_tell_is_looked_at_first() {
        let place = tempfile::tempdir().expect("a directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        let move_it = || look_and_move(CWD, from.as_path(), CWD, to.as_path());
        std::fs::create_dir(&from).expect("made");
        assert_eq!(move_it(), Ok(()));
        assert!(to.is_dir() && !from.exists());
        // Empty, so that a plain rename would replace it.
        std::fs::create_dir(&from).expect("made");
        assert_eq!(move_it(), Err(Errno::EXIST));
        std::fs::remove_dir(&to).expect("removed");
        std::os::unix::fs::symlink("nowhere", &to).expect("linked");
        assert_eq!(move_it(), Err(Errno::EXIST));
        assert!(from.is_dir());
    }

    #[test]
    fn what_is_there_already_is_not_replaced() {
        let place = tempfile::tempdir().expect("a directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        std::fs::create_dir(&from).expect("made");
        std::fs::create_dir(&to).expect("made");
        assert_eq!(rename_no_replace(&from, &to).map_err(|error| error.kind()), Err(io::ErrorKind::AlreadyExists));
        // Into itself is refused with the word that ZFS has for what it does not know.
        assert_eq!(move_new(CWD, from.as_path(), CWD, from.join("in").as_path()), Err(Errno::INVAL));
    }
}
