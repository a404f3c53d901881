//! One lock per container and host, whichever journal: an open file description that travels into the shim.
//!
//! `flock(2)` because its lock belongs to the open file description: a duplicated descriptor in the shim keeps it when
//! Phoenix dies, and closing one of several descriptors lets go of nothing. For the same reason nothing here ever unlocks:
//! an unlock through one descriptor would take the lock from all. Lock files are never unlinked. Not here: who waits how
//! long for a lock (`recover`, and the engine).

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::process;
use crate::ids::Ctid;

/// Where locks and short-lived results lie, unless `PHOENIX_RUNTIME_DIR` says otherwise.
const RUNTIME_DIR: &str = "/run/phoenix";
/// How often a lock is tried again whose holder cannot be found. A child of another thread holds every descriptor between
/// its fork and its exec, for some hundred microseconds, and is no holder.
const NAMELESS_RETRIES_MAX: u32 = 20;
/// The wait between two such tries.
const NAMELESS_RETRY_MS: u32 = 5;

/// The runtime directory: there, owned by us, and closed to others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir(PathBuf);

impl RuntimeDir {
    /// The directory that `PHOENIX_RUNTIME_DIR` names, or `/run/phoenix`; made if it is not there.
    pub fn from_env() -> Result<Self, RuntimeDirError> {
        Self::at(std::env::var_os("PHOENIX_RUNTIME_DIR").map_or_else(|| PathBuf::from(RUNTIME_DIR), PathBuf::from))
    }

    /// This directory, which must be absolute; made with its parents if it is not there, mode 0700.
    pub fn at(path: impl Into<PathBuf>) -> Result<Self, RuntimeDirError> {
        let path = path.into();
        if !path.is_absolute() {
            return Err(RuntimeDirError::Relative { path });
        }
        let io = |source| RuntimeDirError::Io { path: path.clone(), source };
        make_private_dir(&path).map_err(io)?;
        let meta = fs::symlink_metadata(&path).map_err(io)?;
        let ours = meta.is_dir() && meta.uid() == rustix::process::geteuid().as_raw() && meta.mode() & 0o022 == 0;
        if ours { Ok(Self(path)) } else { Err(RuntimeDirError::Open { path, uid: meta.uid(), mode: meta.mode() & 0o7777 }) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Makes a directory and its parents; those that are made are closed to others.
pub(super) fn make_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Why a directory cannot be the runtime directory.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeDirError {
    /// It depends on where Phoenix was started.
    #[error("the runtime directory {} is not absolute; name it from / on", path.display())]
    Relative {
        /// As given.
        path: PathBuf,
    },
    /// Others could put their own files there.
    #[error("the runtime directory {} belongs to user {uid} with mode {mode:04o}, so that others can write to it or it is a link; it must be a directory of our own, mode 0700", path.display())]
    Open {
        /// Where it is.
        path: PathBuf,
        /// Its owner.
        uid: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system refused something.
    #[error("cannot make or read the runtime directory {}", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
}

/// What a lock is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LockName {
    /// A container of one backend: `ct/<backend>-<ctid>`.
    Container {
        /// The backend's name, as `lxc`.
        backend: &'static str,
        /// The container.
        ctid: Ctid,
    },
    /// A shared directory: `vol/<device>-<inode>`. Taken after the containers' locks.
    Volume {
        /// The device number of its file system, in this boot.
        device: u64,
        /// Its inode number.
        inode: u64,
    },
}

impl LockName {
    fn path_in(&self, dir: &RuntimeDir) -> PathBuf {
        match self {
            Self::Container { backend, ctid } => dir.0.join("ct").join(format!("{backend}-{ctid}")),
            Self::Volume { device, inode } => dir.0.join("vol").join(format!("{device}-{inode}")),
        }
    }
}

/// A lock that is held. Dropping it closes one descriptor; the lock is free when no process holds another.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes the lock without waiting, or says who holds it.
    pub fn take(dir: &RuntimeDir, name: &LockName) -> Result<Self, LockError> {
        let path = name.path_in(dir);
        let io = |source| LockError::Io { path: path.clone(), source };
        path.parent().map_or(Ok(()), make_private_dir).map_err(io)?;
        for _ in 0..NAMELESS_RETRIES_MAX {
            let file = open(&path).map_err(io)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path).map_err(io)? => return Ok(Self { file, path }),
                // Somebody replaced the file between our opening and our locking: what we hold excludes nobody.
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    let holders = process::holders_of(&file).map_err(io)?;
                    if !holders.is_empty() {
                        return Err(LockError::Busy { path, holders });
                    }
                    process::pause_ms(NAMELESS_RETRY_MS).map_err(io)?;
                }
                Err(errno) => return Err(io(errno.into())),
            }
        }
        Err(LockError::Busy { path, holders: Vec::new() })
    }

    /// Who holds the lock now, this process included.
    pub fn holders(dir: &RuntimeDir, name: &LockName) -> io::Result<Vec<Holder>> {
        match File::open(name.path_in(dir)) {
            Ok(file) => process::holders_of(&file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Whether the file at the lock's path is still the one that is locked; if not, the lock excludes nobody.
    pub fn is_in_place(&self) -> io::Result<bool> {
        is_at(&self.file, &self.path)
    }

    /// The locked descriptor, as [`super::spawn()`] hands it on.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Where the lock file is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open(path: &Path) -> io::Result<File> {
    let nofollow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(nofollow).open(path)
}

/// Whether `file` is what lies at `path` now.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((held.dev(), held.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// A process that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command line, cut and without control characters.
    pub command: String,
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it: Phoenix, its shim, their children, each with a descriptor.
    #[error("{} is locked by {}", path.display(), named(holders))]
    Busy {
        /// The lock file.
        path: PathBuf,
        /// All processes with the locked descriptor that could be found.
        holders: Vec<Holder>,
    },
    /// The operating system refused something.
    #[error("cannot take the lock {}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
}

fn named(holders: &[Holder]) -> String {
    match holders {
        [] => "a process that cannot be seen from here".to_owned(),
        some => some.iter().map(|h| format!("process {} ({})", h.pid, h.command)).collect::<Vec<_>>().join(", "),
    }
}
