//! One writer: the lock on `JOURNAL.lock`.
//!
//! An open-file-description lock (`F_OFD_SETLK`, fcntl(2)): unlike a POSIX lock it does not vanish when some other part of the
//! process closes a descriptor of the file, and unlike a pid file it vanishes with the writer. The file is never unlinked: a
//! lock on an unlinked file excludes nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use serde::{Deserialize, Serialize};

use crate::place::Place;
use crate::{JournalError, WriterInfo};

/// Who writes to a journal, from the lock file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; 0 if it has only just taken the lock.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: i64,
}

/// The lock, held until this is dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

/// The content of the lock file.
#[derive(Serialize, Deserialize)]
struct Note {
    pid: u32,
    command: String,
    since_ms: i64,
}

impl Lock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(place: &Place, info: &WriterInfo) -> Result<Self, JournalError> {
        let path = place.beside(".lock");
        let io = |source| JournalError::Io { doing: "lock", path: path.clone(), source };
        for _ in 0..TRIES {
            let file = open_or_create(&path).map_err(io)?;
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_WRLCK))) {
                Ok(_) => {}
                Err(Errno::EAGAIN | Errno::EACCES) if crate::sabotaged("journal_lock_is_not_asked") => {}
                Err(Errno::EAGAIN | Errno::EACCES) => return Err(held_by(place, &mut &file)),
                Err(errno) => return Err(io(errno.into())),
            }
            // Somebody may have removed the file between our opening and our locking it.
            if is_at(&file, &path).map_err(io)? {
                write_note(&file, info).map_err(io)?;
                return Ok(Self { file });
            }
        }
        Err(io(io::Error::other("the lock file is being replaced all the time")))
    }

    /// Whether somebody holds the lock, without touching it.
    pub(crate) fn holder(place: &Place) -> Result<Option<Holder>, JournalError> {
        let path = place.beside(".lock");
        let io = |source| JournalError::Io { doing: "ask for the lock", path: path.clone(), source };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(io(source)),
        };
        let mut asked = whole_file(libc::F_WRLCK);
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut asked)).map_err(|errno| io(errno.into()))?;
        if libc::c_int::from(asked.l_type) == libc::F_UNLCK {
            return Ok(None);
        }
        Ok(Some(read_note(&mut file)))
    }
}

impl Drop for Lock {
    /// Closing the descriptor would not do: a child that some other thread is just starting has a copy of it until it
    /// executes its program, and the lock lasts as long as any copy (seen).
    fn drop(&mut self) {
        let _ = fcntl(&self.file, FcntlArg::F_OFD_SETLK(&whole_file(libc::F_UNLCK)));
    }
}

fn held_by(place: &Place, file: &mut impl Read) -> JournalError {
    let Holder { pid, command, since_ms } = read_note(file);
    JournalError::Locked { path: PathBuf::from(&place.main), pid, command, since_ms }
}

fn open_or_create(path: &Path) -> io::Result<File> {
    let no_follow = libc::O_NOFOLLOW | libc::O_CLOEXEC;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(no_follow).open(path)
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(there) => Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(source),
    }
}

/// The line is written before what is left of a longer one is cut off, so that a reader sees the old line or the new one.
fn write_note(file: &File, info: &WriterInfo) -> io::Result<()> {
    let note = Note { pid: info.pid, command: info.command.clone(), since_ms: info.started_at_ms };
    let mut line = serde_json::to_vec(&note)?;
    line.push(b'\n');
    file.write_all_at(&line, 0)?;
    file.set_len(line.len() as u64)
}

fn read_note(file: &mut impl Read) -> Holder {
    let mut text = String::new();
    let read = file.take(NOTE_BYTES_MAX).read_to_string(&mut text);
    let note = read.ok().and_then(|_| serde_json::from_str(text.lines().next()?).ok());
    match note {
        Some(Note { pid, command, since_ms }) => Holder { pid, command, since_ms },
        None => Holder { pid: 0, command: "a process that has not said its name yet".to_owned(), since_ms: 0 },
    }
}

fn whole_file(kind: libc::c_int) -> libc::flock {
    let (l_type, l_whence) = (i16::try_from(kind).unwrap_or_default(), i16::try_from(libc::SEEK_SET).unwrap_or_default());
    // `l_pid` has to be 0 for open-file-description locks; a length of 0 is the whole file.
    libc::flock { l_type, l_whence, l_start: 0, l_len: 0, l_pid: 0 }
}

/// The file can be replaced between opening and locking; more than a few times is somebody's doing.
const TRIES: u32 = 16;

/// A command line can be long; what is not ours can be longer.
const NOTE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn place(dir: &Path) -> Place {
        Place { main: dir.join("journal"), dir: dir.to_owned() }
    }

    fn info() -> WriterInfo {
        WriterInfo { pid: 7, command: "phoenix up".to_owned(), started_at_ms: 1, boot_id: "boot".to_owned() }
    }

    #[test]
    fn a_lock_ends_with_its_holder_although_a_child_has_a_copy_of_it() {
        let dir = tempfile::tempdir().expect("room");
        let place = place(dir.path());
        let lock = Lock::take(&place, &info()).expect("free");
        let copy = lock.file.try_clone().expect("a descriptor");
        let refused = Lock::take(&place, &info()).expect_err("held");
        assert!(matches!(&refused, JournalError::Locked { pid: 7, command, .. } if command == "phoenix up"), "{refused}");
        drop(lock);
        Lock::take(&place, &info()).expect("free again");
        drop(copy);
    }

    #[test]
    fn a_lock_counts_only_if_its_file_is_still_at_its_place() {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("lock");
        let file = open_or_create(&path).expect("made");
        assert!(is_at(&file, &path).expect("looked"));
        std::fs::remove_file(&path).expect("removed");
        assert!(!is_at(&file, &path).expect("looked"), "removed");
        open_or_create(&path).expect("made");
        assert!(!is_at(&file, &path).expect("looked"), "another one");
        is_at(&file, &path.join("below")).expect_err("a file is no directory");
    }

    #[test]
    fn a_link_in_the_place_of_the_lock_is_not_followed() {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("lock");
        symlink(dir.path().join("elsewhere"), &path).expect("a link");
        open_or_create(&path).expect_err("a link");
        assert!(!dir.path().join("elsewhere").exists());
    }
}
