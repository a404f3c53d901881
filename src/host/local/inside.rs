//! Small files inside a root file system, written from outside.
//!
//! The tree belongs to the container, which may be running and forging it: every path is resolved as the container itself
//! would see it, without links and without leaving the file system. What is written is replaced by name, never opened.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Component, Path};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Uid};
use rustix::io::Errno;

use crate::ids::{Hostname, IdKind, IdMap};

/// A container's root file system as the host sees it: what the container mounts is not in the way.
#[derive(Debug)]
pub(crate) struct Inside {
    root: File,
    /// The host's ids of the container's root.
    uid: u32,
    gid: u32,
}

/// The largest file of a template that is read to be changed: the longest lists of hosts to be blocked have a few MiB.
const READ_BYTES_MAX: u64 = 4 * 1024 * 1024;

impl Inside {
    /// Opens a root file system. A map without a root inside has nobody to write for.
    pub(crate) fn open(rootfs: &Path, idmap: &IdMap) -> io::Result<Self> {
        let owner = |kind| idmap.to_host(kind, 0).ok_or_else(|| io::Error::other("the id map has no root"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = File::from(rustix::fs::open(rootfs, flags, Mode::empty())?);
        Ok(Self { root, uid: owner(IdKind::User)?, gid: owner(IdKind::Group)? })
    }

    /// Opens what is at `path`, relative to the root, for looking.
    pub(crate) fn file(&self, path: &Path) -> io::Result<File> {
        open_in_root(&self.root, path, OFlags::RDONLY | OFlags::NONBLOCK)
    }

    /// Reads a regular file whole; `None` if there is none. A larger one than is read for changing is `FileTooLarge`.
    pub(crate) fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let file = match self.file(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
        }
        let mut bytes = Vec::new();
        match file.take(READ_BYTES_MAX + 1).read_to_end(&mut bytes)? as u64 {
            0..=READ_BYTES_MAX => Ok(Some(bytes)),
            _ => Err(io::ErrorKind::FileTooLarge.into()),
        }
    }

    /// Puts `bytes` at `path` whose directory exists, durably, owned by the container's root. Whatever lies there, a link included, is
    /// replaced by name.
    pub(crate) fn write(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        self.write_in(&self.directory(path.parent().unwrap_or(Path::new("")))?, name, bytes, mode)
    }

    /// As [`Self::write`], and makes the directories on the way.
    pub(crate) fn write_below(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let mut directory = self.root.try_clone()?;
        for part in path.parent().into_iter().flat_map(Path::components) {
            if let Component::Normal(part) = part {
                directory = self.directory_in(&directory, part)?;
            }
        }
        self.write_in(&directory, name, bytes, mode)
    }

    /// The directory at `path`.
    pub(crate) fn directory(&self, path: &Path) -> io::Result<File> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        open_in_root(&self.root, path, OFlags::RDONLY | OFlags::DIRECTORY)
    }

    fn directory_in(&self, at: &File, name: &OsStr) -> io::Result<File> {
        match rustix::fs::mkdirat(at, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                rustix::fs::chownat(at, name, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)), AtFlags::SYMLINK_NOFOLLOW)?;
                at.sync_all()?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        let directory = open_in_root(at, Path::new(name), OFlags::RDONLY | OFlags::DIRECTORY)?;
        // Made by an attempt that was cut off before it gave it away: nobody inside can make what is the host's.
        let found = rustix::fs::fstat(&directory)?;
        if (found.st_uid, found.st_gid) == (0, 0) {
            rustix::fs::fchown(&directory, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        }
        Ok(directory)
    }

    fn write_in(&self, directory: &File, name: &OsStr, bytes: &[u8], mode: u32) -> io::Result<()> {
        let mut temporary = OsStr::new(".phoenix-new-").to_owned();
        temporary.push(name);
        match rustix::fs::unlinkat(directory, &temporary, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut file = File::from(rustix::fs::openat(directory, &temporary, flags, Mode::from_raw_mode(0o600))?);
        file.write_all(bytes)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        file.sync_all()?;
        rustix::fs::renameat(directory, &temporary, directory, name)?;
        directory.sync_all()
    }
}

/// Opens `path` as a process whose root is `root` would, without links and without crossing into another file system.
pub(crate) fn open_in_root(root: &File, path: &Path, flags: OFlags) -> io::Result<File> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    Ok(File::from(rustix::fs::openat2(root, path, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), resolve)?))
}

/// Tells a root file system its host name, where it has an `/etc`. A link there, as NixOS has them, gives way to a file.
pub(crate) fn set_hostname(inside: &Inside, hostname: &Hostname) -> io::Result<()> {
    match inside.directory(Path::new("etc")) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    replace(inside, Path::new("etc/hostname"), |_| format!("{hostname}\n").into_bytes())?;
    replace(inside, Path::new("etc/hosts"), |old| hosts_with(old.unwrap_or(NO_HOSTS), hostname))
}

/// Writes what a file is to be in the place of what it is, unless that is the same or larger than is read.
fn replace(inside: &Inside, path: &Path, wanted: impl FnOnce(Option<&[u8]>) -> Vec<u8>) -> io::Result<()> {
    let old = match inside.read(path) {
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => None,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
            tracing::warn!(path = %path.display(), "of a container is larger than {READ_BYTES_MAX} bytes and left without its host name");
            return Ok(());
        }
        other => other?,
    };
    let new = wanted(old.as_deref());
    if old.as_ref() == Some(&new) { Ok(()) } else { inside.write(path, &new, 0o644) }
}

/// What every system calls itself, for one that has no file.
const NO_HOSTS: &[u8] = b"127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n";

/// `127.0.1.1` is the address Debian gives to a host's own name; others are left alone, to the byte.
fn hosts_with(old: &[u8], hostname: &Hostname) -> Vec<u8> {
    let short = hostname.as_str().split('.').next().unwrap_or_default();
    let names = if short == hostname.as_str() { short.to_owned() } else { format!("{hostname} {short}") };
    let is_own = |line: &[u8]| line.trim_ascii_start().split(u8::is_ascii_whitespace).next() == Some(b"127.0.1.1");
    let mut text = old.split_inclusive(|&byte| byte == b'\n').filter(|line| !is_own(line)).collect::<Vec<_>>().concat();
    if text.last().is_some_and(|&byte| byte != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(format!("127.0.1.1\t{names}\n").as_bytes());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_name_replaces_the_templates() {
        let name: Hostname = "db.home".parse().expect("a host name");
        assert_eq!(hosts_with(b"127.0.0.1 localhost\n127.0.1.1 debian\n", &name), b"127.0.0.1 localhost\n127.0.1.1\tdb.home db\n");
        let again = hosts_with(&hosts_with(b"", &name), &name);
        assert_eq!(again, b"127.0.1.1\tdb.home db\n");
    }

    #[test]
    fn a_link_is_replaced_and_never_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (root, out) = (place.path().join("root"), place.path().join("out"));
        std::fs::create_dir_all(root.join("etc")).expect("a directory");
        std::fs::write(&out, "host").expect("a file");
        std::os::unix::fs::symlink(&out, root.join("etc/hostname")).expect("a link");
        std::os::unix::fs::symlink(place.path(), root.join("var")).expect("a link");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let inside = Inside { root: File::open(&root).expect("a directory"), uid, gid };
        inside.write(Path::new("etc/hostname"), b"x", 0o644).expect("a write");
        assert_eq!(std::fs::read_to_string(root.join("etc/hostname")).ok().as_deref(), Some("x"));
        assert_eq!(std::fs::read_to_string(&out).ok().as_deref(), Some("host"));
        std::fs::create_dir(place.path().join("lib")).expect("a directory");
        assert!(inside.write(Path::new("var/lib/x"), b"x", 0o644).is_err(), "a link in the middle of the way");
        assert!(inside.write(Path::new("var/x"), b"x", 0o644).is_err());
        assert!(inside.write_below(Path::new("var/lib/x"), b"x", 0o644).is_err());
        assert!(inside.write_below(Path::new("../x"), b"x", 0o644).is_err() || !place.path().join("x").exists());
    }

    /// A root file system with an `/etc`, as its own root would have made it.
    fn with_etc() -> (tempfile::TempDir, Inside) {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::create_dir_all(place.path().join("root/etc")).expect("a directory");
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        let inside = Inside { root: File::open(place.path().join("root")).expect("a directory"), uid, gid };
        (place, inside)
    }

    /// What `/etc/hosts` is for the host name `db` where it was `old`.
    #[track_caller]
    fn hosts_after(old: &[u8]) -> Vec<u8> {
        let (place, inside) = with_etc();
        let hosts = place.path().join("root/etc/hosts");
        std::fs::write(&hosts, old).expect("a file");
        for _ in 0..2 {
            set_hostname(&inside, &"db".parse().expect("a host name")).expect("a host name");
        }
        assert_eq!(std::fs::read(place.path().join("root/etc/hostname")).expect("a file"), b"db\n");
        std::fs::read(hosts).expect("a file")
    }

    #[test]
    fn a_long_list_of_hosts_is_kept_whole() {
        let old = "0.0.0.0 advertising.example\n".repeat(40_000);
        assert!(hosts_after(old.as_bytes()) == format!("{old}127.0.1.1\tdb\n").into_bytes());
    }

    #[test]
    fn hosts_beyond_any_measure_are_left_alone() {
        let old = vec![b'#'; 5 * 1024 * 1024];
        assert!(hosts_after(&old) == old);
    }

    #[test]
    fn hosts_that_are_no_text_stay_as_they_are() {
        assert_eq!(hosts_after(b"# caf\xe9\r\n127.0.1.1 debian\n10.0.0.1 last"), b"# caf\xe9\r\n10.0.0.1 last\n127.0.1.1\tdb\n");
    }

    #[test]
    fn links_in_the_place_of_the_names_are_replaced_and_never_followed() {
        let (place, inside) = with_etc();
        let out = place.path().join("out");
        std::fs::write(&out, "host").expect("a file");
        for name in ["hosts", "hostname"] {
            std::os::unix::fs::symlink(&out, place.path().join("root/etc").join(name)).expect("a link");
        }
        set_hostname(&inside, &"db".parse().expect("a host name")).expect("a host name");
        let read = |name: &str| std::fs::read_to_string(place.path().join(name)).expect("a file");
        assert_eq!((read("out").as_str(), read("root/etc/hostname").as_str()), ("host", "db\n"));
        assert_eq!(read("root/etc/hosts"), "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n127.0.1.1\tdb\n");
        assert!(!place.path().join("root/etc/hosts").is_symlink() && !place.path().join("root/etc/hostname").is_symlink());
    }

    #[test]
    fn a_directory_that_was_made_and_not_yet_given_away_is_given_away() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let place = tempfile::tempdir().expect("a directory");
        for name in ["var", "var/lib"] {
            std::fs::create_dir(place.path().join(name)).expect("a directory");
        }
        std::os::unix::fs::chown(place.path().join("var"), Some(100_033), Some(100_033)).expect("given away");
        let inside = Inside { root: File::open(place.path()).expect("a directory"), uid: 100_000, gid: 100_000 };
        inside.write_below(Path::new("var/lib/phoenix/x"), b"x", 0o644).expect("a write");
        let owner = |name: &str| std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(place.path().join(name)).expect("there"));
        assert_eq!(["var", "var/lib", "var/lib/phoenix", "var/lib/phoenix/x"].map(owner), [100_033, 100_000, 100_000, 100_000]);
    }
}
