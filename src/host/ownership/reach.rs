//! From the root down to a directory, component by component, trusting none that others could exchange.
//!
//! Apart because it is the one place where a path of a shared directory is turned into a descriptor.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::manifest::Volume;
use crate::plan::Source;

use super::{FileSystem, HostOwner, OwnershipError, io_error};

/// A directory that was reached without passing anything that others than root could exchange.
#[derive(Debug)]
pub(crate) struct Reached {
    pub(crate) path: PathBuf,
    pub(crate) directory: File,
    /// The device number of its file system, in this boot.
    pub(crate) device: u64,
    /// Which file system that is, in the next boot as well.
    pub(crate) file_system: FileSystem,
    pub(crate) inode: u64,
    /// The directories above, from the root down.
    above: Vec<Above>,
}

/// A directory on the way.
#[derive(Debug)]
struct Above {
    path: PathBuf,
    mode: u32,
    gid: u32,
}

impl Above {
    /// Whether others may create names in it, but not exchange those of root.
    fn is_sticky(&self) -> bool {
        self.mode & 0o022 != 0 && self.mode & 0o1000 != 0
    }

    /// Whether nobody passes but root and members of these groups.
    fn lets_pass_only(&self, groups: [u32; 2]) -> bool {
        let for_others = self.mode & 0o077;
        for_others == 0 || (for_others == 0o010 && groups.contains(&self.gid))
    }

    /// Whether somebody who is neither root nor in other groups passes.
    fn lets_pass(&self, group: u32) -> bool {
        self.mode & if self.gid == group { 0o010 } else { 0o001 } != 0
    }
}

/// The mode of a directory between being made and being given away: sticky, which `mkdir` sets in the same step.
const JUST_MADE: u32 = 0o1700;
/// A bit that a directory may inherit from the one above.
const SET_GROUP_ID: u32 = 0o2000;

impl Reached {
    /// Opens an absolute path without `.` and `..`.
    pub(super) fn open(path: &Path) -> Result<Self, OwnershipError> {
        let mut at = PathBuf::from("/");
        let mut directory = File::open("/").map_err(io_error("open", &at))?;
        let mut above: Vec<Above> = Vec::new();
        let names: Vec<_> = path.components().filter(|component| !matches!(component, Component::RootDir)).collect();
        for (index, name) in names.iter().enumerate() {
            above.push(judge(&directory, &at)?);
            at.push(name);
            directory = step(&directory, name, &at)?;
            let last = index + 1 == names.len();
            let meta = directory.metadata().map_err(io_error("look at", &at))?;
            if above.last().is_some_and(Above::is_sticky) && !last && meta.uid() != 0 {
                return Err(OwnershipError::Exchangeable {
                    component: at,
                    why: "is not root's, in a directory where everyone can create names",
                });
            }
        }
        let meta = directory.metadata().map_err(io_error("look at", &at))?;
        let file_system = FileSystem::of(&directory).map_err(io_error("look at", &at))?;
        Ok(Self { path: at, device: meta.dev(), file_system, inode: meta.ino(), directory, above })
    }

    /// Whether a directory above lets nobody pass but root and the container's own root.
    pub(super) fn is_closed_above(&self, container_root: HostOwner) -> bool {
        self.above.iter().any(|above| above.lets_pass_only([0, container_root.gid]))
    }

    /// Refuses a way that the container's root cannot go. LXC mounts in the container's name: what its root cannot reach, it
    /// cannot attach, and says so only when it fails to start.
    pub(super) fn refuse_impassable(&self, container_root: HostOwner) -> Result<(), OwnershipError> {
        match self.above.iter().find(|above| container_root.uid != 0 && !above.lets_pass(container_root.gid)) {
            Some(above) => Err(OwnershipError::Impassable { component: above.path.clone(), gid: container_root.gid }),
            None => Ok(()),
        }
    }

    /// Refuses a directory in a sticky one that belongs, or will belong, to somebody else: its owner could rename it away.
    pub(super) fn refuse_exchangeable_last(&self, owner: u32) -> Result<(), OwnershipError> {
        if self.above.last().is_some_and(Above::is_sticky) && owner != 0 && !phoenix_journal::sabotaged("paths_may_be_exchanged") {
            let why = "lies directly in a directory where everyone can create names, and its owner could exchange it";
            return Err(OwnershipError::Exchangeable { component: self.path.clone(), why });
        }
        Ok(())
    }

    /// Whether nothing lies in it.
    pub(super) fn is_empty(&self) -> Result<bool, OwnershipError> {
        let mut entries = rustix::fs::Dir::read_from(&self.directory).map_err(|errno| io_error("read", &self.path)(errno.into()))?;
        Ok(!entries.any(|entry| entry.is_ok_and(|entry| !matches!(entry.file_name().to_bytes(), b"." | b".."))))
    }

    /// The directory as evidence.
    pub(crate) fn source(&self, volume: &Volume) -> Source {
        Source { volume: volume.name.clone(), path: volume.source.clone(), device: self.file_system.number(), inode: self.inode }
    }
}

/// Whether an empty directory of this owner and mode is one that [`make`] made and that was not given away yet.
pub(super) fn was_just_made(uid: u32, mode: u32) -> bool {
    uid == 0 && mode & !SET_GROUP_ID == JUST_MADE
}

/// Makes the last component of `path`, for root alone, in a directory that exists; those above it are the operator's to make.
pub(super) fn make(path: &Path) -> Result<(), OwnershipError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(OwnershipError::Missing { component: path.to_owned() });
    };
    let parent = Reached::open(parent)?;
    let made = rustix::fs::mkdirat(&parent.directory, name, Mode::from_raw_mode(JUST_MADE));
    match made {
        Ok(()) => parent.directory.sync_all().map_err(io_error("make", path)),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(io_error("make", path)(errno.into())),
    }
}

/// Judges a directory on the way: root's, and not writable by others unless sticky.
fn judge(directory: &File, at: &Path) -> Result<Above, OwnershipError> {
    let meta = directory.metadata().map_err(io_error("look at", at))?;
    let above = Above { path: at.to_owned(), mode: meta.mode() & 0o7777, gid: meta.gid() };
    let why = if meta.uid() != 0 {
        "does not belong to root"
    } else if above.mode & 0o022 != 0 && !above.is_sticky() {
        "is writable for others"
    } else {
        return Ok(above);
    };
    Err(OwnershipError::Exchangeable { component: at.to_owned(), why })
}

fn step(directory: &File, name: &Component<'_>, at: &Path) -> Result<File, OwnershipError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(directory, name.as_os_str(), flags, Mode::empty()) {
        Ok(file) => Ok(File::from(file)),
        Err(Errno::NOENT) => Err(OwnershipError::Missing { component: at.to_owned() }),
        Err(Errno::NOTDIR | Errno::LOOP) => {
            let link = std::fs::symlink_metadata(at).is_ok_and(|meta| meta.is_symlink());
            let component = at.to_owned();
            Err(if link { OwnershipError::Link { component } } else { OwnershipError::NotADirectory { component } })
        }
        Err(errno) => Err(io_error("open", at)(io::Error::from(errno))),
    }
}
