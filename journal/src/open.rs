//! Connections: how they are set up, and what is looked at before anything else.
//!
//! Settings are per connection and not all of them are remembered in the file, so every opening sets them and reads them back.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;

use crate::schema::Rules;
use crate::sql;
use crate::tables::{Names, Tables};
use crate::{JournalError, JournalId, Schema};

/// What a journal belongs to; recorded when it is made and never compared here: what another host, node, directory or device
/// means is for the user to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The kind of host.
    pub host: String,
    /// The node, by an id that lasts.
    pub node: String,
    /// The directory that the streams' things lie in.
    pub directory: String,
    /// That directory's device number.
    pub device: u64,
}

/// Who writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterInfo {
    /// Its process id.
    pub pid: u32,
    /// Its command line, for people.
    pub command: String,
    /// When it started, in milliseconds since 1970.
    pub started_at_ms: i64,
    /// The id of the boot it runs in.
    pub boot_id: String,
}

/// Refuses an SQLite that is not the one that this was tested with, or newer.
pub(crate) fn check_version() -> Result<(), JournalError> {
    check_number(rusqlite::version_number(), rusqlite::version())
}

fn check_number(found: i32, name: &str) -> Result<(), JournalError> {
    if found < SQLITE_VERSION_MIN {
        return Err(JournalError::Unfit { what: format!("version {name} is older than 3.51.3") });
    }
    Ok(())
}

/// Sets up a connection that writes.
pub(crate) fn configure_writer(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let fail = |source| JournalError::of_sqlite("set up the connection", path, source);
    // In this order: a journal mode that is changed with another `synchronous` in force is changed less durably.
    set(conn, path, "synchronous", "EXTRA", "3")?;
    set(conn, path, "journal_mode", "WAL", "wal")?;
    set(conn, path, "synchronous", "EXTRA", "3")?;
    if crate::sabotaged("commits_are_not_synced") {
        set(conn, path, "synchronous", "OFF", "0")?;
    }
    set(conn, path, "mmap_size", "0", "0")?;
    // The writer makes checkpoints itself: those that SQLite makes by itself hide their errors.
    set(conn, path, "wal_autocheckpoint", "0", "0")?;
    configure_any(conn, path)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true).map_err(fail)?;
    Ok(())
}

/// Sets up any connection.
pub(crate) fn configure_any(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let fail = |source| JournalError::of_sqlite("set up the connection", path, source);
    set(conn, path, "trusted_schema", "OFF", "0")?;
    set(conn, path, "cell_size_check", "ON", "1")?;
    conn.busy_timeout(std::time::Duration::from_millis(BUSY_TIMEOUT_MS)).map_err(fail)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(())
}

fn set(conn: &Connection, path: &Path, name: &'static str, value: &str, expected: &str) -> Result<(), JournalError> {
    let fail = |source| JournalError::of_sqlite("set up the connection", path, source);
    conn.pragma_update(None, name, value).map_err(fail)?;
    let mut found = None;
    conn.pragma_query(None, name, |row| {
        let value: rusqlite::types::Value = row.get(0)?;
        found = Some(match value {
            rusqlite::types::Value::Integer(number) => number.to_string(),
            rusqlite::types::Value::Text(text) => text,
            other @ (rusqlite::types::Value::Null | rusqlite::types::Value::Real(_) | rusqlite::types::Value::Blob(_)) => {
                format!("{other:?}")
            }
        });
        Ok(())
    })
    .map_err(fail)?;
    // A build without memory maps answers nothing to `mmap_size`.
    match found {
        Some(found) if found != expected => Err(JournalError::Unfit { what: format!("{name} is {found} after it was set to {value}") }),
        Some(_) | None => Ok(()),
    }
}

/// Refuses what is not a journal of this schema, and reads its id. For a reader, a journal of an older version will do: its rows
/// are among those of the schema, which says more than it asks.
pub(crate) fn check_schema(conn: Connection, path: &Path, schema: &Schema, purpose: Purpose) -> Result<Tables, JournalError> {
    let rules = Rules::of(schema)?;
    let fail = |source| JournalError::of_sqlite("read the tables", path, source);
    let version = check_header(&conn, path, Some(schema.application_id))?;
    let older = version < schema.version;
    if version != schema.version && !(older && purpose == Purpose::Read) {
        let (found, known) = (version, schema.version);
        return Err(if found > known {
            JournalError::Newer { path: path.to_owned(), what: "schema", found, known }
        } else {
            JournalError::Older { path: path.to_owned(), found, known }
        });
    }
    check_texts(&conn, path)?;
    let (found, wanted) = (sql::read_rules(&conn).map_err(fail)?.rows(), rules.rows());
    if let Some(row) = wanted.difference(&found).next().filter(|_| !older) {
        return Err(JournalError::WrongSchema { path: path.to_owned(), difference: format!("only in the program: {row}") });
    }
    if let Some(row) = found.difference(&wanted).next() {
        return Err(JournalError::WrongSchema { path: path.to_owned(), difference: format!("only in the journal: {row}") });
    }
    identify(conn, path, Names::of(schema))
}

/// What a journal is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

/// Refuses what is not a journal, or of a newer layout; gives the version of the user's rows.
pub(crate) fn check_header(conn: &Connection, path: &Path, application_id: Option<i32>) -> Result<u32, JournalError> {
    let fail = |source| JournalError::of_sqlite("read the header", path, source);
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i32>(0)).map_err(fail);
    let (found, version) = (number("application_id")?, number("user_version")?.cast_unsigned());
    if application_id.is_some_and(|wanted| wanted != found) {
        return Err(JournalError::NotAJournal { path: path.to_owned(), why: format!("its application id is {found}") });
    }
    let layout = version >> 16;
    if layout > sql::LAYOUT {
        return Err(JournalError::Newer { path: path.to_owned(), what: "tables", found: layout, known: sql::LAYOUT });
    }
    if layout == 0 {
        return Err(JournalError::NotAJournal { path: path.to_owned(), why: "it has no version".to_owned() });
    }
    Ok(version & crate::schema::VERSION_MAX)
}

/// Refuses a journal whose tables or guards are not what they were made as.
pub(crate) fn check_texts(conn: &Connection, path: &Path) -> Result<(), JournalError> {
    let fail = |source| JournalError::of_sqlite("read the tables", path, source);
    let (found, wanted) = (sql::texts(conn).map_err(fail)?, sql::expected_texts().map_err(fail)?);
    let damaged = |what| Err(JournalError::Damaged { path: path.to_owned(), what, source: None });
    for (name, text) in wanted {
        match found.get(name) {
            Some(there) if there == text => {}
            Some(_) | None if crate::sabotaged("guards_may_be_missing") => {}
            Some(_) => return damaged(format!("the table or guard `{name}` was changed")),
            None => return damaged(format!("the table or guard `{name}` is missing")),
        }
    }
    match found.keys().find(|name| !wanted.contains_key(*name)) {
        Some(name) => damaged(format!("the table or guard `{name}` was added")),
        None => Ok(()),
    }
}

/// The journal that this connection is open on.
pub(crate) fn identify(conn: Connection, path: &Path, names: Names) -> Result<Tables, JournalError> {
    let mut tables = Tables { conn, path: path.to_owned(), id: JournalId::from_bytes([0; 16]), names };
    let damaged = |_| JournalError::Damaged { path: path.to_owned(), what: "its id is none".to_owned(), source: None };
    tables.id = tables.meta("journal")?.parse().map_err(damaged)?;
    Ok(tables)
}

/// The first version without a known bug in what is used here.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// Nobody but a person with a shell competes for the write lock of SQLite; a short transaction of theirs is waited for.
pub(crate) const BUSY_TIMEOUT_MS: u64 = 5_000;

/// More than there are different statements.
const STATEMENTS_CACHED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn memory() -> Connection {
        Connection::open_in_memory().expect("room")
    }

    #[test]
    fn an_sqlite_that_is_too_old_is_refused_by_name() {
        check_number(3_051_003, "3.51.3").expect("tested with");
        check_number(3_052_000, "3.52.0").expect("newer");
        let refused = check_number(3_051_002, "3.51.2").expect_err("older");
        assert!(matches!(refused, JournalError::Unfit { what } if what == "version 3.51.2 is older than 3.51.3"));
    }

    #[test]
    fn every_connection_distrusts_the_file_and_waits() {
        let conn = memory();
        configure_any(&conn, Path::new("journal")).expect("set up");
        let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a number");
        assert_eq!((number("trusted_schema"), number("cell_size_check"), number("busy_timeout")), (0, 1, 5_000));
    }

    /// A database in memory keeps no log, whatever it is asked for.
    #[test]
    fn a_setting_that_does_not_take_is_refused() {
        let refused = configure_writer(&memory(), Path::new("journal")).expect_err("no log");
        assert!(matches!(refused, JournalError::Unfit { what } if what == "journal_mode is memory after it was set to WAL"));
    }
}
