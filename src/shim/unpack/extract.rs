//! The entries of an archive, made one by one, in a process that can reach nothing else.
//!
//! Names are taken relative to the new root; an absolute name or a `..` is made harmless and counted, as tar does. Links
//! are made as they are written: the file system ends at the new root, so where they lead is inside. Device nodes, fifos and
//! sockets are left out and counted. Not here: how that process came to be (`unpack`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use liblzma::stream::{CONCATENATED, Stream};
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags, chownat, fchmod, fchown, fsetxattr, futimens,
    linkat, lsetxattr, mkdirat, openat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid, setrlimit};
use tar::{Archive, Entry, EntryType};

use super::super::result::Unpacked;
use super::{BLOCK_BYTES, UNPACK_MEMORY_BYTES_MAX};
use crate::ids::{IdKind, IdMap};

/// What the dictionary of an xz archive may take; `xz -9` has one of 64 MiB.
const XZ_MEMORY_BYTES_MAX: u64 = UNPACK_MEMORY_BYTES_MAX / 2;

/// Why an archive was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(super) enum UnpackError {
    /// The operating system refused something.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be read as what its first bytes say.
    #[error("the archive is damaged or no tar archive")]
    Archive(#[source] io::Error),
    /// The directory it is to be unpacked into holds something.
    #[error("{} is not empty; an archive is unpacked into an empty directory only", rootfs.display())]
    NotEmpty {
        /// The directory.
        rootfs: PathBuf,
    },
    /// An owner that the container's id map does not know.
    #[error(
        "`{name}` belongs to user {uid} and group {gid}, which lie outside of the container's id map; widen the map or rebuild the archive"
    )]
    Owner {
        /// The entry.
        name: String,
        /// Its user.
        uid: u64,
        /// Its group.
        gid: u64,
    },
    /// A form of entry that cannot be told what to do with.
    #[error("`{name}` has a form that is not understood ({form}); rebuild the archive with a plain tar")]
    Form {
        /// The entry.
        name: String,
        /// What it is.
        form: String,
    },
}

impl UnpackError {
    /// Whether memory was not enough.
    pub(super) fn is_memory(&self) -> bool {
        match self {
            Self::Io { source, .. } | Self::Archive(source) => source.kind() == io::ErrorKind::OutOfMemory,
            Self::NotEmpty { .. } | Self::Owner { .. } | Self::Form { .. } => false,
        }
    }
}

/// Unpacks into `/`.
pub(super) fn extract(archive: File, map: &IdMap) -> Result<Unpacked, UnpackError> {
    // Long names and extended headers are read whole, of whatever length they say they are.
    let most = Some(UNPACK_MEMORY_BYTES_MAX);
    setrlimit(Resource::As, Rlimit { current: most, maximum: most })
        .map_err(|errno| UnpackError::Io { what: "limit the memory".to_owned(), source: errno.into() })?;
    rustix::process::umask(Mode::empty());
    let mut archive = Archive::new(decompressed(archive).map_err(UnpackError::Archive)?);
    let mut unpacking = Unpacking { map, unpacked: Unpacked::default(), times: Vec::new(), block: vec![0; BLOCK_BYTES] };
    for entry in archive.entries().map_err(UnpackError::Archive)? {
        unpacking.entry(entry.map_err(UnpackError::Archive)?)?;
    }
    unpacking.set_times_of_directories();
    Ok(unpacking.unpacked)
}

/// Told by the first bytes, not by a name: the archive has none here.
fn decompressed(mut archive: File) -> io::Result<Box<dyn Read>> {
    let mut magic = [0; 6];
    let read = archive.read(&mut magic)?;
    let whole = io::Cursor::new(magic[..read].to_vec()).chain(archive);
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(io::BufReader::with_capacity(BLOCK_BYTES, whole))),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            let stream = Stream::new_auto_decoder(XZ_MEMORY_BYTES_MAX, CONCATENATED)?;
            Box::new(Xz(liblzma::read::XzDecoder::new_stream(whole, stream)))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::new(whole)?),
        _ => Box::new(io::BufReader::with_capacity(BLOCK_BYTES, whole)),
    })
}

/// Says of memory that was not enough what the operating system would say.
struct Xz<R: Read>(liblzma::read::XzDecoder<R>);

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, block: &mut [u8]) -> io::Result<usize> {
        use liblzma::stream::Error::{Mem, MemLimit};
        self.0.read(block).map_err(|error| match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(Mem | MemLimit) => io::ErrorKind::OutOfMemory.into(),
            _ => error,
        })
    }
}

struct Unpacking<'a> {
    map: &'a IdMap,
    unpacked: Unpacked,
    /// Directories get their times last: every name made in one changes them.
    times: Vec<(PathBuf, Timestamps)>,
    block: Vec<u8>,
}

/// What is set on everything that is made.
struct Attributes {
    name: PathBuf,
    uid: Uid,
    gid: Gid,
    mode: Mode,
    times: Timestamps,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Unpacking<'_> {
    fn entry<R: Read>(&mut self, mut entry: Entry<'_, R>) -> Result<(), UnpackError> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        if matches!(kind, EntryType::Char | EntryType::Block | EntryType::Fifo) {
            self.unpacked.left_out += 1;
            return Ok(());
        }
        let written = entry.path_bytes().into_owned();
        let name = self.confined(&written);
        let attributes = self.attributes(&mut entry, name)?;
        let name = attributes.name.clone();
        // Archives of old make a directory by a slash at the end.
        let is_directory = kind == EntryType::Directory || (kind.is_file() && written.ends_with(b"/"));
        if name.as_os_str().is_empty() && !is_directory {
            return Err(form(&written, "a root that is no directory"));
        }
        make_parents(&name)?;
        #[expect(clippy::wildcard_enum_match_arm, reason = "another crate's open list, and what is not known is refused")]
        match kind {
            _ if is_directory => self.directory(&attributes)?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => self.file(&mut entry, &attributes)?,
            EntryType::Symlink => {
                let target = entry.link_name_bytes().ok_or_else(|| form(&written, "a link without a target"))?.into_owned();
                self.symlink(&target, &attributes)?;
            }
            EntryType::Link => {
                let target = entry.link_name_bytes().ok_or_else(|| form(&written, "a link without a target"))?.into_owned();
                self.hard_link(&target, &attributes)?;
            }
            other => return Err(form(&written, &format!("type {:?}", char::from(other.as_byte())))),
        }
        self.unpacked.entries += 1;
        Ok(())
    }

    /// The name relative to the new root, without `.` and `..`.
    fn confined(&mut self, written: &[u8]) -> PathBuf {
        let written = Path::new(OsStr::from_bytes(written));
        let parts = written.components();
        if parts.clone().any(|part| matches!(part, Component::RootDir | Component::ParentDir | Component::Prefix(_))) {
            self.unpacked.confined += 1;
        }
        parts
            .filter_map(|part| match part {
                Component::Normal(name) => Some(name),
                Component::RootDir | Component::ParentDir | Component::CurDir | Component::Prefix(_) => None,
            })
            .collect()
    }

    fn attributes<R: Read>(&self, entry: &mut Entry<'_, R>, name: PathBuf) -> Result<Attributes, UnpackError> {
        let shown = || name.display().to_string();
        let header = entry.header();
        let archive = UnpackError::Archive;
        let (mut uid, mut gid) = (header.uid().map_err(archive)?, header.gid().map_err(archive)?);
        let mode = Mode::from_raw_mode(header.mode().map_err(archive)? & 0o7777);
        let mut seconds = i64::try_from(header.mtime().map_err(archive)?).unwrap_or(0);
        let (mut nanoseconds, mut xattrs) = (0, Vec::new());
        for extension in entry.pax_extensions().map_err(archive)?.into_iter().flatten() {
            let extension = extension.map_err(archive)?;
            let (key, value) = (extension.key_bytes(), extension.value_bytes());
            let number = || std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
            match key {
                b"uid" => uid = number().ok_or_else(|| form(name.as_os_str().as_bytes(), "a user that is no number"))?,
                b"gid" => gid = number().ok_or_else(|| form(name.as_os_str().as_bytes(), "a group that is no number"))?,
                b"mtime" => (seconds, nanoseconds) = parse_time(value).unwrap_or((seconds, 0)),
                key if key.starts_with(b"GNU.sparse.") => return Err(form(name.as_os_str().as_bytes(), "a sparse file of PAX form")),
                key => xattrs.extend(key.strip_prefix(b"SCHILY.xattr.").map(|key| (key.to_vec(), value.to_vec()))),
            }
        }
        let mapped = |kind, id: u64| u32::try_from(id).ok().filter(|&id| self.map.to_host(kind, id).is_some());
        let (Some(user), Some(group)) = (mapped(IdKind::User, uid), mapped(IdKind::Group, gid)) else {
            return Err(UnpackError::Owner { name: shown(), uid, gid });
        };
        let last_modification = Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
        let times = Timestamps { last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT }, last_modification };
        Ok(Attributes { name, uid: Uid::from_raw(user), gid: Gid::from_raw(group), mode, times, xattrs })
    }

    fn directory(&mut self, attributes: &Attributes) -> Result<(), UnpackError> {
        let name = if attributes.name.as_os_str().is_empty() { Path::new(".") } else { &attributes.name };
        let there = statat(CWD, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if there != Ok(FileType::Directory) {
            make_way(name)?;
            mkdirat(CWD, name, Mode::from_raw_mode(0o700)).map_err(|errno| refused("make directory", name, errno))?;
        }
        let directory = openat(CWD, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| refused("open directory", name, errno))?;
        self.set(&directory, attributes)?;
        self.times.push((name.to_owned(), attributes.times.clone()));
        Ok(())
    }

    fn file(&mut self, content: &mut impl Read, attributes: &Attributes) -> Result<(), UnpackError> {
        let name = &attributes.name;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = || openat(CWD, name, flags, Mode::from_raw_mode(0o600));
        let mut file = match open() {
            Err(Errno::EXIST) => make_way(name).and_then(|()| open().map_err(|errno| refused("make", name, errno)))?,
            other => other.map_err(|errno| refused("make", name, errno))?,
        };
        let mut written = File::from(file);
        loop {
            let count = match content.read(&mut self.block) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(UnpackError::Archive(error)),
            };
            let what = || format!("write {}", name.display());
            written.write_all(&self.block[..count]).map_err(|source| UnpackError::Io { what: what(), source })?;
            self.unpacked.bytes += count as u64;
        }
        file = written.into();
        self.set(&file, attributes)?;
        futimens(&file, &attributes.times).map_err(|errno| refused("set the time of", name, errno))
    }

    fn symlink(&mut self, target: &[u8], attributes: &Attributes) -> Result<(), UnpackError> {
        let name = &attributes.name;
        make_way(name)?;
        symlinkat(OsStr::from_bytes(target), CWD, name).map_err(|errno| refused("make link", name, errno))?;
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        chownat(CWD, name, Some(attributes.uid), Some(attributes.gid), nofollow).map_err(|errno| refused("give away", name, errno))?;
        for (key, value) in &attributes.xattrs {
            let key = OsStr::from_bytes(key);
            self.unpacked.xattrs_refused += u32::from(lsetxattr(name, key, value, XattrFlags::empty()).is_err());
        }
        utimensat(CWD, name, &attributes.times, nofollow).map_err(|errno| refused("set the time of", name, errno))
    }

    /// Owner and mode are the first name's.
    fn hard_link(&mut self, target: &[u8], attributes: &Attributes) -> Result<(), UnpackError> {
        let target = self.confined(target);
        if target == attributes.name {
            return Ok(());
        }
        make_way(&attributes.name)?;
        linkat(CWD, &target, CWD, &attributes.name, AtFlags::empty()).map_err(|errno| refused("link to", &target, errno))
    }

    /// In this order: a change of owner clears set-id bits and file capabilities.
    fn set(&mut self, made: &OwnedFd, attributes: &Attributes) -> Result<(), UnpackError> {
        let name = &attributes.name;
        fchown(made, Some(attributes.uid), Some(attributes.gid)).map_err(|errno| refused("give away", name, errno))?;
        fchmod(made, attributes.mode).map_err(|errno| refused("set the mode of", name, errno))?;
        for (key, value) in &attributes.xattrs {
            let key = OsStr::from_bytes(key);
            self.unpacked.xattrs_refused += u32::from(fsetxattr(made, key, value, XattrFlags::empty()).is_err());
        }
        Ok(())
    }

    fn set_times_of_directories(&self) {
        // The directory may have been replaced by a later entry: then there is no time to set.
        for (name, times) in self.times.iter().rev() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let _ = openat(CWD, name, flags, Mode::empty()).and_then(|directory| futimens(&directory, times));
        }
    }
}

/// Directories that the archive does not list, or lists later.
fn make_parents(name: &Path) -> Result<(), UnpackError> {
    let Some(parent) = name.parent().filter(|parent| !parent.as_os_str().is_empty()) else { return Ok(()) };
    // Following links on purpose: `bin/x` belongs into `usr/bin` where `bin` is a link, and all of it is inside.
    match statat(CWD, parent, AtFlags::empty()) {
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => {
            make_parents(parent)?;
            match mkdirat(CWD, parent, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => Ok(()),
                Err(errno) => Err(refused("make directory", parent, errno)),
            }
        }
        Err(errno) => Err(refused("look at", parent, errno)),
    }
}

/// A later entry replaces an earlier one of its name, but never a directory with something in it.
fn make_way(name: &Path) -> Result<(), UnpackError> {
    match unlinkat(CWD, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => unlinkat(CWD, name, AtFlags::REMOVEDIR).map_err(|errno| refused("replace", name, errno)),
        Err(errno) => Err(refused("replace", name, errno)),
    }
}

fn refused(what: &str, name: &Path, errno: Errno) -> UnpackError {
    UnpackError::Io { what: format!("{what} {}", name.display()), source: errno.into() }
}

fn form(name: &[u8], form: &str) -> UnpackError {
    UnpackError::Form { name: String::from_utf8_lossy(name).into_owned(), form: form.to_owned() }
}

/// `1700000000.25`: seconds and a decimal fraction.
fn parse_time(value: &[u8]) -> Option<(i64, i64)> {
    let text = std::str::from_utf8(value).ok()?;
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let (seconds, nanoseconds): (i64, i64) = (seconds.parse().ok()?, digits.parse().ok()?);
    Some(if text.starts_with('-') && nanoseconds > 0 { (seconds - 1, 1_000_000_000 - nanoseconds) } else { (seconds, nanoseconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_fractions_and_signs() {
        assert_eq!(parse_time(b"1700000000"), Some((1_700_000_000, 0)));
        assert_eq!(parse_time(b"1700000000.25"), Some((1_700_000_000, 250_000_000)));
        assert_eq!(parse_time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parse_time(b"x"), None);
    }
}
