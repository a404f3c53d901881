//! Everything below a shared directory changes owner.
//!
//! The tree was made by containers, and one may be running: each entry is opened without following (`O_PATH`), looked at and
//! changed through the same descriptor, so that nothing can be slipped in between.

use std::ffi::CStr;
use std::fs::File;

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use super::{HostOwner, LEFT_ALONE_NAMES_MAX, OwnershipError, Reached, io_error, open_below};

/// The deepest nesting walked; each level holds a descriptor, of which a process has 1024 by default.
const DEPTH_MAX: usize = 256;

/// Gives everything below to `owner`, and names what was left alone: files with several links, which may be somebody's
/// outside, and device nodes.
pub(super) fn give(reached: &Reached, owner: HostOwner) -> Result<Vec<String>, OwnershipError> {
    let mut walk = Walk { reached, owner, left_alone: Vec::new(), names: Vec::new() };
    walk.directory(&reached.directory)?;
    Ok(walk.left_alone)
}

struct Walk<'a> {
    reached: &'a Reached,
    owner: HostOwner,
    left_alone: Vec<String>,
    /// The way down to where the walk is.
    names: Vec<String>,
}

impl Walk<'_> {
    fn directory(&mut self, directory: &File) -> Result<(), OwnershipError> {
        if self.names.len() >= DEPTH_MAX {
            return Err(OwnershipError::TooDeep { path: self.reached.path.clone(), max: DEPTH_MAX });
        }
        let entries = Dir::read_from(directory).map_err(|errno| self.error(errno))?;
        for entry in entries {
            let entry = entry.map_err(|errno| self.error(errno))?;
            if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
                self.names.push(entry.file_name().to_string_lossy().into_owned());
                self.entry(directory, entry.file_name())?;
                self.names.pop();
            }
        }
        Ok(())
    }

    fn entry(&mut self, directory: &File, name: &CStr) -> Result<(), OwnershipError> {
        let follows = phoenix_journal::sabotaged("owners_are_changed_through_links");
        let nofollow = if follows { OFlags::empty() } else { OFlags::NOFOLLOW };
        let flags = OFlags::PATH | nofollow | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(directory, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // Somebody removed it meanwhile.
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(self.error(errno)),
        };
        let stat = rustix::fs::fstat(&file).map_err(|errno| self.error(errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // Another file system is not ours to change, whatever is mounted there.
        if stat.st_dev != self.reached.device {
            self.leave_alone();
            return Ok(());
        }
        if kind == FileType::Directory {
            match open_below(directory, name) {
                Ok(below) => self.directory(&below)?,
                Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV) => return Ok(()),
                Err(errno) => return Err(self.error(errno)),
            }
        } else if (stat.st_nlink > 1 && !phoenix_journal::sabotaged("files_with_other_links_are_given_away"))
            || matches!(kind, FileType::CharacterDevice | FileType::BlockDevice)
        {
            self.leave_alone();
            return Ok(());
        }
        if (stat.st_uid, stat.st_gid) == (self.owner.uid, self.owner.gid) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        rustix::fs::chownat(&file, c"", Some(uid), Some(gid), AtFlags::EMPTY_PATH).map_err(|errno| self.error(errno))
    }

    fn leave_alone(&mut self) {
        if self.left_alone.len() < LEFT_ALONE_NAMES_MAX {
            self.left_alone.push(self.names.join("/"));
        }
    }

    fn error(&self, errno: Errno) -> OwnershipError {
        io_error("change the owner of", &self.reached.path.join(self.names.join("/")))(errno.into())
    }
}
