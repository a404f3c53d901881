//! Where a journal lies: its files, and whether the place is fit for it.
//!
//! Nothing here opens the database files: a descriptor of them that is closed takes SQLite's own locks in this process along.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::JournalError;

/// The files of one journal, all in one directory.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) main: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Place {
    /// The place of a journal, its directory without links, so that one journal has one lock.
    pub(crate) fn of(path: &Path) -> Result<Self, JournalError> {
        let io = |source| JournalError::Io { doing: "find the directory of", path: path.to_owned(), source };
        let name = path.file_name().ok_or_else(|| io(io::Error::from(io::ErrorKind::InvalidInput)))?;
        let found = parent(path).canonicalize();
        if found.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            return Err(JournalError::Missing { path: path.to_owned() });
        }
        let dir = found.map_err(io)?;
        Ok(Self { main: dir.join(name), dir })
    }

    /// As [`Place::of`], with the directory made if only it is missing: for its owner alone.
    pub(crate) fn made(path: &Path) -> Result<Self, JournalError> {
        let dir = parent(path);
        if !dir.exists() {
            let io = |source| JournalError::Io { doing: "make the directory", path: dir.to_owned(), source };
            fs::DirBuilder::new().mode(0o700).create(dir).map_err(io)?;
            sync(parent(dir))?;
        }
        Self::of(path)
    }

    /// A file of the journal: `-wal`, `-shm`, `.lock`, `.reserve`.
    pub(crate) fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.main);
        name.push(suffix);
        PathBuf::from(name)
    }

    /// Refuses a directory, or a file, that others can change.
    pub(crate) fn check_owner(&self) -> Result<(), JournalError> {
        let user = rustix::process::geteuid().as_raw();
        for path in [&self.dir, &self.main] {
            let Some(found) = look(path)? else { continue };
            if let Some(why) = who_else(found.mode(), found.uid(), user) {
                return Err(JournalError::InsecureDirectory { path: path.clone(), why });
            }
        }
        Ok(())
    }

    /// Refuses file systems whose locks or memory maps are not those of one kernel.
    pub(crate) fn check_filesystem(&self) -> Result<(), JournalError> {
        let io = |source: rustix::io::Errno| JournalError::Io {
            doing: "find the file system of",
            path: self.dir.clone(),
            source: source.into(),
        };
        // Some architectures have a signed and some a narrow `f_type`; the magic numbers are 32 bits everywhere.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::unnecessary_cast,
            reason = "f_type differs by architecture"
        )]
        let magic = rustix::fs::statfs(&self.dir).map_err(io)?.f_type as u32;
        match unreliable(magic) {
            Some(kind) => Err(JournalError::NetworkFilesystem { path: self.main.clone(), kind }),
            None => Ok(()),
        }
    }

    /// Refuses what would be destroyed by being opened, and what is no file at all.
    pub(crate) fn check_files(&self) -> Result<(), JournalError> {
        let Some(main) = look(&self.main)? else {
            self.check_no_log()?;
            return Err(JournalError::Missing { path: self.main.clone() });
        };
        if !main.is_file() {
            return Err(JournalError::NotAJournal { path: self.main.clone(), why: "it is no regular file".to_owned() });
        }
        if main.len() > 0 {
            return Ok(());
        }
        // SQLite deletes a log that it finds beside an empty main file, without a word.
        match look(&self.beside("-wal"))? {
            Some(_) => Err(JournalError::WalBesideEmpty { path: self.main.clone() }),
            None => Err(JournalError::NotAJournal { path: self.main.clone(), why: "it is empty".to_owned() }),
        }
    }

    /// Refuses a place where there is a log and no main file.
    pub(crate) fn check_no_log(&self) -> Result<(), JournalError> {
        // In this order: a journal that is made and opened just now gets its log last.
        let alone = look(&self.beside("-wal"))?.is_some() && look(&self.main)?.is_none();
        if alone && !crate::sabotaged("logs_without_a_journal_are_not_noticed") {
            return Err(JournalError::WalWithoutMain { path: self.main.clone() });
        }
        Ok(())
    }
}

/// Whether a journal can be kept at `path`, whose directory exists: nobody else can change it, and locks can be relied on. Changes
/// nothing; a journal may be there or not.
pub fn check_place(path: &Path) -> Result<(), JournalError> {
    let place = Place::of(path)?;
    place.check_owner()?;
    place.check_filesystem()
}

/// The directory that a path lies in, as the path has it.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    }
}

/// By what somebody other than `user` and root can change what has this mode and owner.
fn who_else(mode: u32, owner: u32, user: u32) -> Option<String> {
    if mode & 0o022 != 0 {
        return Some(format!("its mode is {:04o}", mode & 0o7777));
    }
    (owner != 0 && owner != user).then(|| format!("it belongs to uid {owner}"))
}

/// What a file system is called on which a journal cannot be.
fn unreliable(magic: u32) -> Option<&'static str> {
    UNRELIABLE.iter().find(|(known, _)| *known == magic).map(|(_, kind)| *kind)
}

/// What lies at a path, links not followed; `None` if nothing does.
pub(crate) fn look(path: &Path) -> Result<Option<Metadata>, JournalError> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(JournalError::Io { doing: "look at", path: path.to_owned(), source }),
    }
}

/// Syncs a file or directory that no connection is open on.
pub(crate) fn sync(path: &Path) -> Result<(), JournalError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(|source| JournalError::Io { doing: "sync", path: path.to_owned(), source })
}

/// Gives a file its final name, unless something has that name already.
pub(crate) fn rename_new(from: &Path, to: &Path) -> Result<(), JournalError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let renamed = match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // ZFS before 2.2 does not know how.
        Err(Errno::INVAL) => look_and_rename(from, to),
        other => other,
    };
    match renamed {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(JournalError::Exists { path: to.to_owned() }),
        Err(source) => Err(JournalError::Io { doing: "rename into place", path: to.to_owned(), source: source.into() }),
    }
}

/// The same in two calls. Between them the journal's lock keeps others out; a copy, which is made without it, could at worst
/// replace one that another run made under its name in that moment, as whole as this.
fn look_and_rename(from: &Path, to: &Path) -> rustix::io::Result<()> {
    match rustix::fs::lstat(to) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => rustix::fs::rename(from, to),
        Err(errno) => Err(errno),
    }
}

/// `f_type` of statfs(2), from linux/magic.h and the file systems' own sources.
const UNRELIABLE: [(u32, &str); 14] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9P"),
    (0x00c3_6400, "Ceph"),
    (0x6573_5546, "FUSE"),
    (0x5346_414f, "AFS"),
    (0x7375_7245, "Coda"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x564c, "NCP"),
    (0x786f_4256, "a VirtualBox shared folder"),
];

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_file_system_that_cannot_tell_is_looked_at_first() {
        let place = tempfile::tempdir().expect("a directory");
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::write(&from, "new").expect("written");
        assert_eq!(look_and_rename(&from, &to), Ok(()));
        fs::write(&from, "newer").expect("written");
        assert_eq!(look_and_rename(&from, &to), Err(Errno::EXIST));
        assert_eq!(fs::read(&to).expect("there"), b"new");
        assert!(matches!(rename_new(&from, &to), Err(JournalError::Exists { .. })));
    }

    #[test]
    fn a_path_without_a_directory_lies_in_this_one() {
        for (path, dir) in [("journal", "."), ("a/journal", "a"), ("a", "."), ("/journal", "/"), ("/", ".")] {
            assert_eq!(parent(Path::new(path)), Path::new(dir), "{path}");
        }
        let here = std::env::current_dir().and_then(|dir| dir.canonicalize()).expect("a directory");
        assert_eq!(Place::of(Path::new("journal")).expect("a place").main, here.join("journal"));
    }

    #[test]
    fn a_missing_directory_is_a_missing_journal_and_nothing_else_is() {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("below/journal");
        assert!(matches!(Place::of(&path), Err(JournalError::Missing { path: of }) if of == path));
        fs::write(dir.path().join("below"), "a file").expect("written");
        assert!(matches!(Place::of(&path.join("journal")), Err(JournalError::Io { doing: "find the directory of", .. })));
        assert!(matches!(look(&path), Err(JournalError::Io { doing: "look at", .. })));
        assert!(look(&dir.path().join("nothing")).expect("looked").is_none());
        assert!(matches!(sync(&path), Err(JournalError::Io { doing: "sync", .. })));
    }

    #[test]
    fn only_its_directory_is_made_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().expect("room");
        Place::made(&dir.path().join("a/b/journal")).expect_err("two directories are missing");
        let place = Place::made(&dir.path().join("a/journal")).expect("one is");
        assert_eq!(look(&place.dir).expect("looked").expect("made").mode() & 0o7777, 0o700);
        Place::made(&dir.path().join("a/journal")).expect("it is there");
    }

    #[test]
    fn who_else_can_change_it_is_said() {
        let (user, other) = (1_000, 1_001);
        for (mode, owner, why) in [
            (0o100_600, user, None),
            (0o040_755, 0, None),
            (0o040_700, other, Some("it belongs to uid 1001")),
            (0o040_770, user, Some("its mode is 0770")),
            (0o041_702, 0, Some("its mode is 1702")),
        ] {
            assert_eq!(who_else(mode, owner, user).as_deref(), why, "{mode:o} {owner}");
        }
        assert_eq!(who_else(0o600, other, 0).as_deref(), Some("it belongs to uid 1001"), "for root as well");
        let dir = tempfile::tempdir().expect("room");
        check_place(&dir.path().join("journal")).expect("fit");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o722)).expect("chmod");
        let refused = check_place(&dir.path().join("journal"));
        assert!(matches!(refused, Err(JournalError::InsecureDirectory { why, .. }) if why == "its mode is 0722"));
    }

    #[test]
    fn file_systems_of_a_network_are_known_by_number() {
        let (nfs, ext4) = (0x6969, 0xef53);
        assert_eq!((unreliable(nfs), unreliable(ext4)), (Some("NFS"), None));
    }
}
