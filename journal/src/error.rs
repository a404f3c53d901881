//! What can go wrong with a journal as a whole.
//!
//! Each text says what happened and what to do; the source is in the chain and not in the text. That one entry is not accepted
//! is no error of the journal but a [`Refused`].

use std::path::{Path, PathBuf};

use crate::{Epoch, Refused};

/// Why a journal cannot be made, opened, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// Another process writes to it.
    #[error("the journal {path} is being written by `{command}` (pid {pid}); wait for it or stop it", path = path.display())]
    Locked {
        /// The journal.
        path: PathBuf,
        /// The writer's process id, 0 if it has not said yet.
        pid: u32,
        /// Its command line.
        command: String,
        /// Since when, in milliseconds since 1970.
        since_ms: i64,
    },
    /// There is none.
    #[error("there is no journal at {path}; create one, or name the right path", path = path.display())]
    Missing {
        /// The path.
        path: PathBuf,
    },
    /// There is one already.
    #[error("{path} exists already; open it, or choose another path", path = path.display())]
    Exists {
        /// The path.
        path: PathBuf,
    },
    /// The file is something else.
    #[error("{path} is not a journal of this program: {why}; name the right path, or if this is it, move all its files away (-wal and -shm too) and put the newest backup in their place", path = path.display())]
    NotAJournal {
        /// The path.
        path: PathBuf,
        /// What it is instead.
        why: String,
    },
    /// The journal was written by a newer program.
    #[error("the {what} of the journal {path} has version {found}, this program knows up to {known}; use the newer program", path = path.display())]
    Newer {
        /// The journal.
        path: PathBuf,
        /// `tables` or `schema`.
        what: &'static str,
        /// The journal's.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The journal was written with an older schema.
    #[error("the schema of the journal {path} has version {found}, this program has {known}; upgrade the journal (a backup is made first)", path = path.display())]
    Older {
        /// The path.
        path: PathBuf,
        /// The journal's.
        found: u32,
        /// This program's.
        known: u32,
    },
    /// The rows of the journal are not the program's.
    #[error("the machines of the journal {path} are not those of this program: {difference}; use the program that made it, or move all its files away (-wal and -shm too) and put the newest backup in their place", path = path.display())]
    WrongSchema {
        /// The journal.
        path: PathBuf,
        /// The first difference.
        difference: String,
    },
    /// The rows that the program supplies make no sense.
    #[error("the schema is wrong: {what}; this is a bug of the program")]
    BadSchema {
        /// What is wrong.
        what: String,
    },
    /// The journal is damaged.
    #[error("the journal {path} is damaged: {what}; move all its files away (-wal and -shm too) and put the newest backup in their place, or rebuild it from the host", path = path.display())]
    Damaged {
        /// The path.
        path: PathBuf,
        /// What was found.
        what: String,
        /// Where SQLite said so.
        #[source]
        source: Option<rusqlite::Error>,
    },
    /// A log beside an empty main file: opening it would delete the log.
    #[error("{path} is empty but has a log beside it, which opening would delete; move both away and put the newest backup in their place", path = path.display())]
    WalBesideEmpty {
        /// The main file.
        path: PathBuf,
    },
    /// A log without its main file: another main file beside it would be changed by it.
    #[error(
        "there is no journal at {path}, but its log {path}-wal is there; if {path} was moved, put it back beside its log; else \
         keep the log, but move it away before you put back the newest backup, or rebuild the journal from the host",
        path = path.display()
    )]
    WalWithoutMain {
        /// The main file.
        path: PathBuf,
    },
    /// The disk is full. Nothing of the group is recorded.
    #[error("the disk that holds the journal is full, nothing was begun; free some space and try again")]
    Full {
        /// What SQLite or the system said.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The directory can be written by others.
    #[error("{path} can be changed by others ({why}); `chmod go-w` it and see who owns it", path = path.display())]
    InsecureDirectory {
        /// The directory or file.
        path: PathBuf,
        /// How.
        why: String,
    },
    /// The file system is none on which locks and memory maps are reliable.
    #[error("{path} is on {kind}, where locks cannot be relied on; keep the journal on a local disk", path = path.display())]
    NetworkFilesystem {
        /// The path.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// Another writer has begun since.
    #[error("another writer has taken over (this one began as epoch {epoch}); stop")]
    StaleEpoch {
        /// The epoch of this writer.
        epoch: Epoch,
    },
    /// An entry was appended before an epoch was begun.
    #[error("nothing is appended before an epoch is begun; this is a bug of the program")]
    NoEpoch,
    /// One of the first entries of an epoch was refused; no epoch was begun.
    #[error("the first entries were not accepted; nothing was begun")]
    NotBegun {
        /// Why.
        #[source]
        refused: Refused,
    },
    /// An earlier error left open what is recorded.
    #[error("the journal is not written to after an earlier error ({first}); open it again")]
    Poisoned {
        /// The text of that error.
        first: String,
    },
    /// The bundled SQLite is too old, or does not keep a setting that durability rests on.
    #[error("SQLite does not do what is needed: {what}; build with the bundled SQLite")]
    Unfit {
        /// What it does not do.
        what: String,
    },
    /// The system has no random numbers.
    #[error("the system gave no random numbers; see getrandom(2)")]
    Random(#[source] getrandom::Error),
    /// A system call failed.
    #[error("cannot {doing} {path}; see the cause", path = path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// Another program has a transaction open in the journal, and did not end it in time. Nothing was written.
    #[error(
        "cannot {doing} at {path}: another program is writing in it, or was stopped while it did; \
         `fuser {path}` says which, then try again",
        path = path.display()
    )]
    InUse {
        /// The journal.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// SQLite failed.
    #[error("SQLite failed to {doing} at {path}; see the cause, and try again once the disk is well", path = path.display())]
    Sqlite {
        /// The journal.
        path: PathBuf,
        /// What was being done.
        doing: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
}

impl JournalError {
    /// What an error of SQLite means for a journal.
    pub(crate) fn of_sqlite(doing: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};
        let undecodable = matches!(
            source,
            Error::FromSqlConversionFailure(..) | Error::InvalidColumnType(..) | Error::IntegralValueOutOfRange(..) | Error::Utf8Error(..)
        );
        let path = path.to_owned();
        if undecodable {
            return Self::Damaged { path, what: "a row cannot be read".to_owned(), source: Some(source) };
        }
        if matches!(source, Error::QueryReturnedNoRows) {
            return Self::Damaged { path, what: "a row is missing".to_owned(), source: Some(source) };
        }
        // SQLite has no code of its own for a number in the header that it does not know.
        if source.to_string().starts_with("unsupported file format") {
            return Self::Damaged { path, what: "its header is not that of any SQLite".to_owned(), source: Some(source) };
        }
        let code = source.sqlite_error_code();
        if code == Some(ErrorCode::DiskFull) {
            return Self::Full { source: Some(source.into()) };
        }
        if code == Some(ErrorCode::DatabaseCorrupt) {
            return Self::Damaged { path, what: "SQLite finds it corrupt".to_owned(), source: Some(source) };
        }
        if code == Some(ErrorCode::NotADatabase) {
            return Self::NotAJournal { path, why: "it is no SQLite database".to_owned() };
        }
        if code == Some(ErrorCode::DatabaseBusy) {
            return Self::InUse { path, doing, source };
        }
        Self::Sqlite { path, doing, source }
    }
}
