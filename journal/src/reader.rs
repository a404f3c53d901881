//! Reading a journal without a lock, whether or not somebody writes.
//!
//! A reader never makes, changes or deletes a file beside the journal. SQLite by itself would: it makes a missing log or
//! index, and on closing last deletes the log. So the index is opened read-only (`readonly_shm`), and where log or index is
//! missing, which is so only before the first writer and in copies made by hand, a private copy is read.

use std::borrow::Cow;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::ops::{Bound, RangeBounds};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempDir;

use crate::create::connect;
use crate::lock::{Holder, Lock};
use crate::log;
use crate::open::{Binding, Purpose, check_schema, check_version, configure_any};
use crate::place::{Place, look};
use crate::tables::Tables;
use crate::{Digest, Entry, Epoch, EpochId, JournalError, JournalId, Position, Schema, Seq, StreamKey};

/// A journal, open for reading. Each call sees one moment; two calls may see two.
///
/// Where nobody has ever written (or the log was lost), what is seen is the moment of opening: a reader is for one look, not
/// for keeping.
#[derive(Debug)]
pub struct Reader {
    tables: Tables,
    place: Place,
    schema: Schema,
    /// Deleted when dropped; after the connection.
    _copy: Option<TempDir>,
}

/// An epoch of a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRow {
    /// Its number.
    pub epoch: Epoch,
    /// Its own name, which no other journal and no restored copy has.
    pub id: EpochId,
    /// The writer's process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The boot it ran in.
    pub boot_id: String,
    /// When it started, in milliseconds since 1970.
    pub at_ms: i64,
}

/// A position, and the entries that tell about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The position.
    pub position: Position,
    /// The stream's last entry.
    pub last: Arc<Entry>,
    /// The intent that is open.
    pub open: Option<Arc<Entry>>,
    /// The entry since which the standing has its name.
    pub standing: Arc<Entry>,
}

/// A position, and the little beside it that a look at very many streams can afford.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glance<T> {
    /// The position.
    pub position: Position,
    /// When the younger of state and standing began, in milliseconds since 1970.
    pub since_ms: i64,
    /// The step of the open intent, else of the last outcome, if nothing but that was recorded since.
    pub step: Option<GlanceStep>,
    /// What was read out of the payload of the declaration in force.
    pub declared: T,
}

/// The step in a [`Glance`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlanceStep {
    /// Its name.
    pub name: String,
    /// The how-many-th intent of it.
    pub attempt: u32,
    /// What became of it; nothing if the intent is open.
    pub result: Option<Cow<'static, str>>,
}

impl Reader {
    /// Opens a journal for reading, also one of an older version of the schema. No lock, no check of the whole file.
    ///
    /// A writer that is killed while it is being opened leaves an index that only a writer can mend; the next try reads past
    /// it.
    pub fn open(path: &Path, schema: &Schema) -> Result<Self, JournalError> {
        for _ in 0..TRIES {
            match Self::open_once(path, schema) {
                Err(JournalError::Sqlite { source, .. }) if source.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {}
                other => return other,
            }
        }
        Self::open_once(path, schema)
    }

    fn open_once(path: &Path, schema: &Schema) -> Result<Self, JournalError> {
        let (conn, place, copy) = open_read_only(path)?;
        let tables = check_schema(conn, &place.main, schema, Purpose::Read)?;
        Ok(Self { tables, place, schema: *schema, _copy: copy })
    }

    /// The journal's id.
    pub fn journal(&self) -> JournalId {
        self.tables.id
    }

    /// Who is writing now.
    pub fn writer(&self) -> Result<Option<Holder>, JournalError> {
        Lock::holder(&self.place)
    }

    /// What the journal belongs to.
    pub fn binding(&self) -> Result<Binding, JournalError> {
        self.ask(Tables::binding)
    }

    /// Every epoch, in order.
    pub fn epochs(&self) -> Result<Vec<EpochRow>, JournalError> {
        self.ask(Tables::epochs)
    }

    /// Where every stream stands, in the order of their keys.
    pub fn positions(&self) -> Result<Vec<Position>, JournalError> {
        self.ask(Tables::positions)
    }

    /// Where every stream stands, with the entries that tell about it.
    pub fn overview(&self) -> Result<Vec<Overview>, JournalError> {
        self.ask(Tables::overview)
    }

    /// Where every stream of one machine stands, with what is needed to show it: one query, however long the history is.
    /// `read` takes what is wanted out of the payload of each declaration, so that the rest is not kept.
    pub fn glance<T>(&self, machine: &str, mut read: impl FnMut(&str) -> T) -> Result<Vec<Glance<T>>, JournalError> {
        self.ask(|tables| tables.glance(machine, &mut read))
    }

    /// The entries with numbers in this range, of one stream or of all, in order. Damaged ones are an error.
    pub fn entries(&self, range: impl RangeBounds<Seq>, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        let first = match range.start_bound() {
            Bound::Included(seq) => *seq,
            Bound::Excluded(seq) => Seq::new(seq.get().saturating_add(1)),
            Bound::Unbounded => Seq::new(1),
        };
        let last = match range.end_bound() {
            Bound::Included(seq) => *seq,
            Bound::Excluded(seq) => Seq::new(seq.get().saturating_sub(1)),
            Bound::Unbounded => Seq::new(u64::MAX),
        };
        self.ask(|tables| tables.checked_entries(first, last, key))
    }

    /// The value that a writer kept under this key.
    pub fn cache_get(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.ask(|tables| tables.cache_get(key))
    }

    /// What was kept under this digest.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        self.ask(|tables| tables.blob(digest))
    }

    /// Asks once more, of the journal opened anew, if its writer was killed in between and left an index that only a writer can
    /// mend: opening knows how to read past it.
    fn ask<T>(&self, mut ask: impl FnMut(&Tables) -> Result<T, JournalError>) -> Result<T, JournalError> {
        match ask(&self.tables) {
            Err(JournalError::Sqlite { source, .. }) if source.sqlite_error_code() == Some(ErrorCode::ReadOnly) => {
                let anew = Self::open(&self.place.main, &self.schema)?;
                ask(&anew.tables)
            }
            other => other,
        }
    }
}

/// A connection that reads, whatever state the files are in.
pub(crate) fn open_read_only(path: &Path) -> Result<(Connection, Place, Option<TempDir>), JournalError> {
    check_version()?;
    let place = Place::of(path)?;
    place.check_filesystem()?;
    for _ in 0..TRIES {
        place.check_files()?;
        check_log(&place)?;
        if is_complete(&place)? {
            let conn = open_in_place(&place)?;
            if is_readable(&conn, &place)? {
                return Ok((conn, place, None));
            }
        }
        // A writer that is just opening makes the missing files next. And nothing of the journal is opened by other means
        // while a writer, which may be of this very process, has it open.
        if Lock::holder(&place)?.is_none()
            && let Some(copy) = copy(&place)?
        {
            let main = copy.path().join(COPY);
            let conn = connect(&main)?;
            configure_any(&conn, &place.main)?;
            return Ok((conn, place, Some(copy)));
        }
        #[expect(clippy::disallowed_methods, reason = "the other side is another process, and SQLite tells nobody that it made a file")]
        std::thread::sleep(std::time::Duration::from_millis(PAUSE_MS));
    }
    let source = std::io::Error::other("its files change all the time");
    Err(JournalError::Io { doing: "read", path: place.main, source })
}

/// Refuses a log of which entries are lost, unless somebody is writing, and then it is theirs.
fn check_log(place: &Place) -> Result<(), JournalError> {
    let wal = place.beside("-wal");
    let state = || -> Result<_, JournalError> { Ok((Lock::holder(place)?.is_some(), look(&wal)?.as_ref().map(stamp))) };
    let before = state()?;
    match log::check(place) {
        // Read while a writer was at it, it says nothing.
        Err(JournalError::Damaged { .. }) if before.0 || before != state()? => Ok(()),
        other => other,
    }
}

/// Whether log and index are there, and such that a reader alone can read them. A writer that is killed between the first write
/// to a new log and the next leaves a log that is all header; a reader without a writer takes that for one that is being
/// replaced, and waits for ten seconds in vain (seen; `walBeginShmUnreliable` of SQLite compares salts that
/// `walIndexRecover` does not read).
fn is_complete(place: &Place) -> Result<bool, JournalError> {
    let (log, index) = (look(&place.beside("-wal"))?, look(&place.beside("-shm"))?);
    let all_header = log.as_ref().is_some_and(|log| log.len() == log::HEADER as u64);
    Ok(log.is_some() && index.is_some() && !(all_header && Lock::holder(place)?.is_none()))
}

fn open_in_place(place: &Place) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let conn = Connection::open_with_flags(uri(&place.main), flags);
    let conn = conn.map_err(|source| JournalError::of_sqlite("open the journal", &place.main, source))?;
    configure_any(&conn, &place.main)?;
    Ok(conn)
}

/// Whether the index can be used as it is. One whose writer was killed while changing it has to be built anew, which needs
/// writing; a writer that is just opening does so, and without one a copy is read.
fn is_readable(conn: &Connection, place: &Place) -> Result<bool, JournalError> {
    match conn.query_row("PRAGMA schema_version", [], |row| row.get::<_, i64>(0)) {
        Ok(_) => Ok(true),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::ReadOnly) => Ok(false),
        Err(source) => Err(JournalError::of_sqlite("read the journal", &place.main, source)),
    }
}

fn uri(path: &Path) -> PathBuf {
    let mut uri = b"file:".to_vec();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'%' | b'?' | b'#' => uri.extend(format!("%{byte:02x}").bytes()),
            plain => uri.push(plain),
        }
    }
    uri.extend(b"?mode=ro&readonly_shm=1");
    PathBuf::from(OsString::from_vec(uri))
}

/// A copy of main file and log, if they stayed the same while they were copied.
fn copy(place: &Place) -> Result<Option<TempDir>, JournalError> {
    let io = |source| JournalError::Io { doing: "copy", path: place.main.clone(), source };
    let wal = place.beside("-wal");
    let state = || -> Result<_, JournalError> { Ok((look(&place.main)?.as_ref().map(stamp), look(&wal)?.as_ref().map(stamp))) };
    let before = state()?;
    let dir = TempDir::with_prefix("journal-").map_err(io)?;
    let main = dir.path().join(COPY);
    fs::copy(&place.main, &main).map_err(io)?;
    if before.1.is_some() {
        fs::copy(&wal, dir.path().join(format!("{COPY}-wal"))).map_err(io)?;
    }
    Ok((before == state()?).then_some(dir))
}

/// What tells one content of a file from another.
fn stamp(file: &Metadata) -> (u64, u64, i64, i64) {
    (file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

/// The name of a copy in its own directory.
const COPY: &str = "journal";

/// How often, and after which pause, a journal is looked at again that somebody is just opening.
const TRIES: u32 = 50;
const PAUSE_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_what_was_written_and_what_was_put_in_its_place() {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("file");
        let stamped = || stamp(&fs::metadata(&path).expect("a file"));
        fs::write(&path, "one").expect("room");
        let first = stamped();
        assert_eq!(stamped(), first);
        fs::write(&path, "more").expect("room");
        assert_ne!(stamped(), first, "longer");
        fs::write(&path, "two").expect("room");
        let other = dir.path().join("other");
        fs::write(&other, "two").expect("room");
        let time = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
        fs::File::options().write(true).open(&other).and_then(|file| file.set_modified(time)).expect("its own file");
        let second = stamped();
        fs::rename(&other, &path).expect("one file system");
        assert_ne!(stamped(), second, "another file of the same length and time");
        let third = stamped();
        fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(time + std::time::Duration::from_nanos(1)))
            .expect("set");
        assert_ne!(stamped(), third, "a nanosecond later");
    }
}
