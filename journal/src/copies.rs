//! Copies of a journal: as a journal, as text; and its upgrade, which begins with one.

use std::io::Write;
use std::path::{Path, PathBuf};

use rusqlite::backup::Backup;
use rusqlite::{Connection, TransactionBehavior};
use serde_json::json;

use crate::chain::Columns;
use crate::create::{connect, connect_to_stay, make_private, version};
use crate::entry::Row;
use crate::lock::Lock;
use crate::log;
use crate::open::{WriterInfo, check_header, check_texts, check_version, configure_writer, identify};
use crate::place::{Place, look, rename_new, sync};
use crate::reader::open_read_only;
use crate::schema::Rules;
use crate::tables::{Names, Tables};
use crate::{EpochRow, JournalError, Schema, Seq, sql};

/// Copies a journal, also beside a writer, to a path where nothing is yet. The copy appears whole or not at all.
///
/// A copy is the journal: it has its id and its epochs. Whoever goes on from an old one has forgotten what the original has
/// seen since; what bears an epoch that the copy does not know gives it away.
pub fn backup(path: &Path, to: &Path) -> Result<(), JournalError> {
    let (conn, place, _copy) = open_read_only(path)?;
    check_header(&conn, &place.main, None)?;
    copy_to(&conn, to)
}

fn copy_to(conn: &Connection, to: &Path) -> Result<(), JournalError> {
    let place = Place::of(to)?;
    for taken in [place.main.clone(), place.beside("-wal")] {
        if look(&taken)?.is_some() {
            return Err(JournalError::Exists { path: taken });
        }
    }
    let unique = crate::JournalId::random().map_err(JournalError::Random)?;
    let new = place.beside(&format!(".new-{unique}"));
    make_private(&new)?;
    let fail = |source| JournalError::of_sqlite("copy the journal", to, source);
    let mut copy = connect(&new)?;
    // All pages at once, so of one moment; a pause only if a writer is just restarting its log.
    let pause = std::time::Duration::from_millis(PAUSE_MS);
    let copied = Backup::new(conn, &mut copy).and_then(|backup| backup.run_to_completion(i32::MAX, pause, None));
    // As a WAL database it would leave a log beside it under the temporary name.
    let closed = copied.and_then(|()| copy.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    closed.map_err(fail)?;
    copy.close().map_err(|(_, source)| fail(source))?;
    sync(&new)?;
    rename_new(&new, &place.main)?;
    sync(&place.dir)
}

/// Writes the history as text, one JSON object a line: first the journal, then its epochs, then its entries, in order. Gives
/// the number of entries. Payloads are texts within the text, exactly as they were recorded, so that hashes can be checked.
pub fn export(path: &Path, out: &mut impl Write) -> Result<u64, JournalError> {
    let (conn, place, _copy) = open_read_only(path)?;
    check_header(&conn, &place.main, None)?;
    let tables = identify(conn, &place.main, Names::default())?;
    let _moment = tables.conn.unchecked_transaction().map_err(tables.fail("begin to read"))?;
    let mut line = |value: serde_json::Value| {
        let io = |source| JournalError::Io { doing: "write what is exported from", path: place.main.clone(), source };
        writeln!(out, "{}", visible_json(value.to_string())).map_err(io)
    };
    line(header(&tables)?)?;
    for EpochRow { epoch, id, pid, command, boot_id, at_ms } in tables.epochs()? {
        line(json!({ "epoch": epoch.get(), "id": id.to_string(), "pid": pid, "command": command, "boot_id": boot_id, "at_ms": at_ms }))?;
    }
    let mut count = 0;
    loop {
        let entries = tables.entries(Seq::new(count + 1), Seq::new(count + ENTRIES_AT_ONCE), None)?;
        for entry in &entries {
            line(object(entry))?;
        }
        count += entries.len() as u64;
        if entries.is_empty() {
            return Ok(count);
        }
    }
}

/// JSON with every control character escaped, also those that JSON itself allows in strings: delete, and the second set
/// (U+0080 to U+009F), which terminals obey as they obey an escape sequence.
pub fn visible_json(json: String) -> String {
    let obeyed = |c: char| matches!(c, '\u{7f}'..='\u{9f}');
    if !json.contains(obeyed) {
        return json;
    }
    // Outside of strings JSON has no such character, so each is within one.
    let escaped = |c: char| format!("\\u{:04x}", u32::from(c));
    json.chars().map(|c| if obeyed(c) { escaped(c) } else { c.to_string() }).collect()
}

fn header(tables: &Tables) -> Result<serde_json::Value, JournalError> {
    let crate::Binding { host, node, directory, device } = tables.binding()?;
    Ok(json!({ "journal": tables.id.to_string(), "host": host, "node": node, "directory": directory, "device": device }))
}

fn object(row: &Row) -> serde_json::Value {
    let Row { seq, epoch, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash, hash } = row;
    let Columns { step, attempt, deadline, digest, intent, result, topic } = Columns::of(body);
    json!({
        "seq": seq.get(), "epoch": epoch.get(), "machine": stream.machine, "stream": stream.stream, "life": life,
        "generation": generation, "run": run, "kind": body.kind(), "step": step, "attempt": attempt, "deadline": deadline,
        "digest": digest.map(ToString::to_string), "intent": intent.map(Seq::get), "result": result, "topic": topic,
        "state": state, "standing": standing, "payload": payload, "at_ms": at_ms,
        "prev_hash": prev_hash.to_string(), "hash": hash.to_string(),
    })
}

/// Brings a journal to a newer version of the schema, and gives the path of the copy that was made before.
///
/// Rows can be added, never changed or taken away: what was recorded under the old rows has to be legal under the new ones. So
/// a new `needs` row may speak of new states alone.
pub fn upgrade(path: &Path, schema: &Schema, info: &WriterInfo) -> Result<PathBuf, JournalError> {
    check_version()?;
    let rules = Rules::of(schema)?;
    let place = Place::of(path)?;
    place.check_owner()?;
    place.check_filesystem()?;
    place.check_files()?;
    let _lock = Lock::take(&place, info)?;
    log::check(&place)?;
    let conn = connect_to_stay(&place.main)?;
    let found = check_header(&conn, &place.main, Some(schema.application_id))?;
    if found >= schema.version {
        let (path, known) = (place.main, schema.version.saturating_sub(1));
        return Err(JournalError::Newer { path, what: "schema", found, known });
    }
    configure_writer(&conn, &place.main)?;
    check_texts(&conn, &place.main)?;
    let fail = |source| JournalError::of_sqlite("upgrade the journal", &place.main, source);
    check_additions(&sql::read_rules(&conn).map_err(fail)?, &rules, &place.main)?;
    let copy = copy_of_version(&conn, &place, found)?;
    let transaction = rusqlite::Transaction::new_unchecked(&conn, TransactionBehavior::Immediate).map_err(fail)?;
    let change = || -> rusqlite::Result<()> {
        sql::unseal(&conn)?;
        sql::write_rules(&conn, &rules)?;
        sql::seal(&conn)?;
        conn.pragma_update(None, "user_version", version(schema))
    };
    change().and_then(|()| transaction.commit()).map_err(fail)?;
    Ok(copy)
}

/// Copies what is about to be upgraded to a path beside it where nothing is yet: an upgrade that was killed between its copy and
/// its commit has left one, and it may be the only copy of what was recorded before that.
fn copy_of_version(conn: &Connection, place: &Place, version: u32) -> Result<PathBuf, JournalError> {
    let mut number = 1_u32;
    loop {
        let ending = if number == 1 { String::new() } else { format!(".{number}") };
        let copy = place.beside(&format!(".version-{version}{ending}"));
        match copy_to(conn, &copy) {
            Ok(()) => return Ok(copy),
            Err(JournalError::Exists { .. }) if number < COPIES_MAX => number += 1,
            Err(error) => return Err(error),
        }
    }
}

fn check_additions(old: &Rules, new: &Rules, path: &Path) -> Result<(), JournalError> {
    let wrong = |difference: String| Err(JournalError::WrongSchema { path: path.to_owned(), difference });
    if let Some(row) = old.rows().difference(&new.rows()).next() {
        return wrong(format!("only in the journal: {row}"));
    }
    for (name, machine) in &old.machines {
        let added = new.machines.get(name).into_iter().flat_map(|new| new.needs.difference(&machine.needs));
        if let Some((state, step)) = added.into_iter().find(|(state, _)| machine.states.contains(state)) {
            return wrong(format!("machine `{name}`: `{state}` was entered without `{step}` so far"));
        }
    }
    Ok(())
}

/// Enough that the query does not count, few enough that payloads fit into memory.
const ENTRIES_AT_ONCE: u64 = 1_000;

/// More upgrades than that were not killed by accident.
const COPIES_MAX: u32 = 100;

/// A writer restarts its log in less.
const PAUSE_MS: u64 = 5;
