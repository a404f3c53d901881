//! Making a journal: complete under a temporary name, then renamed.
//!
//! Whoever sees the final name sees a whole journal: tables, guards, rows and binding, checkpointed and synced.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use crate::lock::Lock;
use crate::open::{Binding, WriterInfo, check_version, configure_any};
use crate::place::{Place, look, rename_new, sync};
use crate::schema::Rules;
use crate::{Epoch, EpochId, JournalError, JournalId, Schema, sql};

/// Journals as files: making them.
#[derive(Debug)]
pub struct Journal(());

impl Journal {
    /// Makes an empty journal. Its directory is made if only that is missing (mode 0700); its files have mode 0600.
    ///
    /// ```
    /// # use phoenix_journal::{Binding, Journal, JournalError, Machine, Schema, WriterInfo};
    /// # const PARCELS: Schema = Schema { application_id: 7, version: 1, machines: &[Machine { name: "parcel", states: &["packed"],
    /// #     initial: "packed", edges: &[], needs: &[], begins: &[], standings: &[] }] };
    /// # let dir = tempfile::tempdir()?;
    /// # let path = dir.path().join("parcels.journal");
    /// let binding = Binding { host: "van".into(), node: "7".into(), directory: "/parcels".into(), device: 1 };
    /// let info = WriterInfo { pid: std::process::id(), command: "doc".into(), started_at_ms: 0, boot_id: "b".into() };
    /// Journal::create(&path, &PARCELS, &binding, &info)?;
    /// assert!(matches!(Journal::create(&path, &PARCELS, &binding, &info), Err(JournalError::Exists { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn create(path: &Path, schema: &Schema, binding: &Binding, info: &WriterInfo) -> Result<JournalId, JournalError> {
        let id = JournalId::random().map_err(JournalError::Random)?;
        Self::create_as(path, schema, binding, info, Heritage { id, epoch: Epoch::new(0) })
    }

    /// As [`Journal::create`], in the place of a journal that is lost: with its id, and with all epochs up to a given one over.
    pub fn create_as(
        path: &Path,
        schema: &Schema,
        binding: &Binding,
        info: &WriterInfo,
        heritage: Heritage,
    ) -> Result<JournalId, JournalError> {
        check_version()?;
        let rules = Rules::of(schema)?;
        let place = Place::made(path)?;
        place.check_owner()?;
        place.check_filesystem()?;
        let _lock = Lock::take(&place, info)?;
        if look(&place.main)?.is_some() {
            return Err(JournalError::Exists { path: place.main });
        }
        place.check_no_log()?;
        sweep(&place)?;
        let id = heritage.id;
        let new = place.beside(&format!("{NEW}{id}"));
        build(&new, schema, &rules, binding, heritage, info)?;
        sync(&new)?;
        rename_new(&new, &place.main)?;
        sync(&place.dir)?;
        Ok(id)
    }
}

/// What a new journal takes over from one that is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heritage {
    /// The lost journal's id.
    pub id: JournalId,
    /// The highest epoch that it is known to have had; 0 if it had none. The first writer begins the next one.
    pub epoch: Epoch,
}

/// Makes the file with nobody but its owner allowed: SQLite gives log and index the mode of the main file.
pub(crate) fn make_private(path: &Path) -> Result<(), JournalError> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map(drop).map_err(|source| JournalError::Io { doing: "make", path: path.to_owned(), source })
}

/// Opens a file that exists, for writing.
pub(crate) fn connect(path: &Path) -> Result<Connection, JournalError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    Connection::open_with_flags(path, flags).map_err(|source| JournalError::of_sqlite("open the journal", path, source))
}

/// The same for a journal that stays as it is: closing this connection moves nothing out of the log and deletes nothing, also
/// if what is looked at first is not what it should be.
pub(crate) fn connect_to_stay(path: &Path) -> Result<Connection, JournalError> {
    let conn = connect(path)?;
    let set = conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    set.map(|_| conn).map_err(|source| JournalError::of_sqlite("set up the connection", path, source))
}

fn build(
    path: &Path,
    schema: &Schema,
    rules: &Rules,
    binding: &Binding,
    heritage: Heritage,
    info: &WriterInfo,
) -> Result<(), JournalError> {
    make_private(path)?;
    let last = EpochId::random().map_err(JournalError::Random)?;
    let conn = connect(path)?;
    let fail = |source| JournalError::of_sqlite("make the tables", path, source);
    configure_any(&conn, path)?;
    conn.execute_batch("PRAGMA synchronous = EXTRA; PRAGMA journal_mode = WAL; BEGIN IMMEDIATE;").map_err(fail)?;
    let fill = || -> rusqlite::Result<()> {
        sql::install_tables(&conn)?;
        if heritage.epoch > Epoch::new(0) {
            // Before the guards, which let one epoch follow another without a gap: one row stands for all that are over.
            let sql = "INSERT INTO epochs (number, id, pid, command, boot_id, at_ms) VALUES (?1, ?2, 0, ?3, ?4, ?5)";
            conn.execute(sql, (heritage.epoch.get(), last.as_bytes(), LOST_WRITER, &info.boot_id, info.started_at_ms))?;
        }
        sql::install_guards(&conn)?;
        sql::write_rules(&conn, rules)?;
        let Binding { host, node, directory, device } = binding;
        let (id, device, made) = (heritage.id.to_string(), device.to_string(), info.started_at_ms.to_string());
        let rows = [("journal", &id), ("host", host), ("node", node), ("directory", directory), ("device", &device), ("made_at_ms", &made)];
        for (key, value) in rows {
            conn.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (key, value))?;
        }
        sql::seal(&conn)?;
        conn.pragma_update(None, "application_id", schema.application_id)?;
        conn.pragma_update(None, "user_version", version(schema))?;
        conn.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")
    };
    fill().map_err(fail)?;
    conn.close().map_err(|(_, source)| fail(source))
}

/// The number that the header carries: the layout above, the user's version below.
pub(crate) fn version(schema: &Schema) -> i32 {
    (sql::LAYOUT << 16 | schema.version).cast_signed()
}

/// Removes what a creation that was killed has left. Nobody else is creating: the lock is ours.
fn sweep(place: &Place) -> Result<(), JournalError> {
    let io = |source| JournalError::Io { doing: "look through", path: place.dir.clone(), source };
    let mut start = place.main.file_name().map(OsString::from).unwrap_or_default().into_vec();
    start.extend_from_slice(NEW.as_bytes());
    for found in fs::read_dir(&place.dir).map_err(io)? {
        let found = found.map_err(io)?;
        if found.file_name().as_bytes().starts_with(&start) {
            let path: PathBuf = found.path();
            fs::remove_file(&path).map_err(|source| JournalError::Io { doing: "remove", path, source })?;
        }
    }
    Ok(())
}

/// Who had the last epoch of a journal that is lost, as far as anybody knows.
const LOST_WRITER: &str = "a writer of the lost journal";

/// What the temporary names have after the journal's own.
const NEW: &str = ".new-";
