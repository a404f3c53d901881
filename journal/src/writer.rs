//! The one writer of a journal on disk.
//!
//! Not here: which drafts are accepted, which the guards in the database decide; and the grouping of entries, which is the
//! caller's: whatever it hands in at once is one transaction.

use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, TransactionBehavior, ffi};

use crate::append::sealed::Sealed;
use crate::chain::{self, Columns};
use crate::create::connect_to_stay;
use crate::entry::Row;
use crate::ledger::well_formed;
use crate::lock::Lock;
use crate::log;
use crate::memory::begins_something;
use crate::open::{Binding, Purpose, WriterInfo, check_schema, check_version, configure_writer};
use crate::place::Place;
use crate::reserve::Reserve;
use crate::tables::Tables;
use crate::verdict::{explain, word};
use crate::verify::first_finding;
use crate::{
    Append, Digest, Draft, Entry, Epoch, EpochId, JournalError, JournalId, Position, Record, Recorded, Refused, Schema, Seq, StreamKey,
};

/// A journal on disk, open for writing: the only one, on this kernel.
///
/// [`Writer::open`], look at [`positions`](Append::positions) and [`replay`](Append::replay), and if there is something to do,
/// [`begin`](Append::begin). Until then nothing is written.
#[derive(Debug)]
pub struct Writer {
    // Dropped in this order: the connection closes before the lock is given up.
    tables: Tables,
    info: WriterInfo,
    reserve: Reserve,
    began: Option<(Epoch, EpochId)>,
    tail: Tail,
    /// The text of the error after which it is not known what is recorded.
    poison: Option<String>,
    bytes_since_checkpoint: u64,
    scratch: Vec<u8>,
    _lock: Lock,
}

/// The end of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    seq: u64,
    hash: Digest,
}

impl Writer {
    /// Opens a journal for writing: takes its lock, looks at everything that makes it unfit, begins nothing.
    pub fn open(path: &Path, schema: &Schema, info: WriterInfo) -> Result<Self, JournalError> {
        check_version()?;
        let place = Place::of(path)?;
        place.check_owner()?;
        place.check_filesystem()?;
        place.check_files()?;
        let lock = Lock::take(&place, &info)?;
        // Again: before the lock was ours, another writer may have been at it.
        place.check_files()?;
        log::check(&place)?;
        let conn = connect_to_stay(&place.main)?;
        // Before anything is changed: opening a stranger's database must not turn it into a WAL database.
        crate::open::check_header(&conn, &place.main, Some(schema.application_id))?;
        configure_writer(&conn, &place.main)?;
        let tables = check_schema(conn, &place.main, schema, Purpose::Write)?;
        let mut writer = Self {
            tables,
            info,
            reserve: Reserve::of(&place),
            began: None,
            tail: Tail { seq: 0, hash: Digest::ZERO },
            // Until it has been looked at nothing is moved from the log into the main file.
            poison: Some("it has not been looked at".to_owned()),
            bytes_since_checkpoint: 0,
            scratch: Vec::new(),
            _lock: lock,
        };
        writer.tail = writer.read_tail()?;
        writer.check_quickly()?;
        writer.poison = None;
        Ok(writer)
    }

    /// What the journal belongs to.
    pub fn binding(&self) -> Result<Binding, JournalError> {
        self.tables.binding()
    }

    /// Keeps a value beside the history: what can be computed again and should not have to be. A later value replaces it.
    pub fn cache_put(&mut self, key: &str, value: &str) -> Result<(), JournalError> {
        self.ready()?;
        let sql = "INSERT INTO cache (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        let put = self.tables.conn.execute(sql, (key, value)).map(drop).map_err(self.tables.fail("keep a value"));
        self.watch(put)
    }

    /// The value kept under this key.
    pub fn cache_get(&self, key: &str) -> Result<Option<String>, JournalError> {
        self.tables.cache_get(key)
    }

    fn read_tail(&self) -> Result<Tail, JournalError> {
        let last: Option<u64> = self
            .tables
            .conn
            .query_row("SELECT max(seq) FROM entries", [], |row| row.get(0))
            .map_err(self.tables.fail("find the last entry"))?;
        let Some(seq) = last else { return Ok(Tail { seq: 0, hash: Digest::ZERO }) };
        let entries = self.tables.entries(Seq::new(seq), Seq::new(seq), None)?;
        match entries.first() {
            Some(entry) if chain::hash(entry, &mut Vec::new()) == entry.hash => Ok(Tail { seq, hash: entry.hash }),
            Some(_) | None => Err(JournalError::Damaged {
                path: self.tables.path.clone(),
                what: format!("the hash of its last entry ({seq}) is another one"),
                source: None,
            }),
        }
    }

    /// A look at the whole file, and at whether it says one thing, where that is fast; where it is not, now and then.
    fn check_quickly(&self) -> Result<(), JournalError> {
        let fail = self.tables.fail("check the file");
        let number = |sql: &str| self.tables.conn.query_row(sql, [], |row| row.get::<_, u64>(0));
        let bytes = number("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size").map_err(&fail)?;
        let epochs = number("SELECT count(*) FROM epochs").map_err(&fail)?;
        if bytes > QUICK_CHECK_BYTES_MAX && epochs % QUICK_CHECK_EVERY != 0 {
            return Ok(());
        }
        let damaged = |what| Err(JournalError::Damaged { path: self.tables.path.clone(), what, source: None });
        // The guards look things up in indexes, which `quick_check` does not compare with their tables.
        let sql = if bytes > INDEX_CHECK_BYTES_MAX { "PRAGMA quick_check(1)" } else { "PRAGMA integrity_check(1)" };
        let found: String = self.tables.conn.query_row(sql, [], |row| row.get(0)).map_err(&fail)?;
        match found.as_str() {
            "ok" => match first_finding(&self.tables)? {
                Some(finding) => damaged(finding.to_string()),
                None => Ok(()),
            },
            // A page that could not be read is no page that is wrong.
            _ => match io_error(&found) {
                Some(source) => Err(fail(source)),
                None => damaged(found),
            },
        }
    }

    fn ready(&self) -> Result<(), JournalError> {
        match &self.poison {
            Some(first) => Err(JournalError::Poisoned { first: first.clone() }),
            None => Ok(()),
        }
    }

    /// After an error of the journal as a whole nothing more is written. A full disk is told apart by the caller.
    fn watch<T>(&mut self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(error) = &result {
            self.poison.get_or_insert_with(|| error.to_string());
        }
        result
    }

    /// One transaction. In it, `Some(begin)` raises the epoch first. On any error nothing of it is committed.
    fn transact(&mut self, drafts: &[Draft], mode: Mode) -> Result<Vec<Result<Seq, Refused>>, JournalError> {
        let Self { tables, info, began, tail, scratch, .. } = self;
        let transaction = rusqlite::Transaction::new_unchecked(&tables.conn, TransactionBehavior::Immediate)
            .map_err(tables.fail("begin a transaction"))?;
        let (epoch, id) = match (mode, *began) {
            (Mode::Begin, _) => raise_epoch(tables, info)?,
            (Mode::All | Mode::Settle, Some(began)) => began,
            (Mode::All | Mode::Settle, None) => return Err(JournalError::NoEpoch),
        };
        let mut end = *tail;
        let mut verdicts = Vec::with_capacity(drafts.len());
        for draft in drafts {
            if mode == Mode::Settle && begins_something(&draft.body) {
                verdicts.push(Err(Refused::Full { key: draft.stream.clone() }));
                continue;
            }
            let verdict = insert(tables, epoch, &mut end, draft, scratch)?;
            if let (Mode::Begin, Err(refused)) = (mode, &verdict) {
                return Err(JournalError::NotBegun { refused: refused.clone() });
            }
            verdicts.push(verdict);
        }
        if crate::sabotaged("acknowledged_without_commit") && mode == Mode::All && drafts.len() == 1 {
            transaction.rollback().map_err(tables.fail("commit"))?;
        } else {
            transaction.commit().map_err(tables.fail("commit"))?;
        }
        (*tail, *began) = (end, Some((epoch, id)));
        Ok(verdicts)
    }

    /// A transaction, with the reserve behind it: see `reserve` for the rule.
    fn append(&mut self, drafts: &[Draft], mode: Mode) -> Result<Vec<Result<Seq, Refused>>, JournalError> {
        let begins = drafts.iter().any(|draft| begins_something(&draft.body));
        let settles = drafts.iter().any(|draft| !begins_something(&draft.body)) && mode != Mode::Begin;
        let mut mode = mode;
        if begins && !self.reserve.fill() {
            if !settles {
                return Err(JournalError::Full { source: None });
            }
            mode = Mode::Settle;
        }
        match self.transact(drafts, mode) {
            Err(JournalError::Full { source: _ }) if settles => {
                self.reserve.give_up();
                let settled = self.transact(drafts, Mode::Settle);
                self.watch(settled)
            }
            // Nothing of it was committed and nothing that is in flight lost anything: what comes next is the caller's choice.
            Err(refused @ (JournalError::Full { .. } | JournalError::NotBegun { .. } | JournalError::NoEpoch)) => Err(refused),
            other => self.watch(other),
        }
    }

    /// Moves the log into the main file when it has grown. What was appended is durable already, so an error here speaks of
    /// the next append.
    fn checkpoint(&mut self, drafts: &[Draft]) {
        let bytes = |draft: &Draft| ENTRY_BYTES + (draft.payload.len() + draft.blobs.iter().map(Vec::len).sum::<usize>()) as u64;
        self.bytes_since_checkpoint += GROUP_BYTES + drafts.iter().map(bytes).sum::<u64>();
        if self.bytes_since_checkpoint < CHECKPOINT_BYTES {
            return;
        }
        self.bytes_since_checkpoint = 0;
        let moved = self.tables.conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        match moved.map_err(self.tables.fail("move the log into the main file")) {
            // The log goes on growing; there is another try after as much again.
            Ok(()) | Err(JournalError::Full { .. }) => {}
            Err(error) => drop(self.watch(Err::<(), _>(error))),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.poison.is_none() {
            // A log that is left is read by the next one to open; nothing is lost if this fails.
            let _ = self.tables.conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }
}

impl Sealed for Writer {}

impl Append for Writer {
    fn journal(&self) -> JournalId {
        self.tables.id
    }

    fn epoch(&self) -> Option<(Epoch, EpochId)> {
        self.began
    }

    fn begin<T: Record>(&mut self, first: Vec<T>) -> Result<Vec<Recorded<T>>, JournalError> {
        self.ready()?;
        let drafts: Vec<Draft> = first.iter().map(Record::draft).collect();
        let verdicts = self.append(&drafts, Mode::Begin)?;
        let recorded: Result<Vec<_>, Refused> = self.mint(first, verdicts).into_iter().collect();
        recorded.map_err(|refused| JournalError::NotBegun { refused })
    }

    fn append_group<T: Record>(&mut self, batch: Vec<T>) -> Result<Vec<Result<Recorded<T>, Refused>>, JournalError> {
        self.ready()?;
        if batch.is_empty() {
            return self.began.map(|_| Vec::new()).ok_or(JournalError::NoEpoch);
        }
        let drafts: Vec<Draft> = batch.iter().map(Record::draft).collect();
        let verdicts = self.append(&drafts, Mode::All)?;
        self.checkpoint(&drafts);
        Ok(self.mint(batch, verdicts))
    }

    fn replay(&self, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        self.tables.checked_entries(Seq::new(1), Seq::new(u64::MAX), key)
    }

    fn positions(&self) -> Result<Vec<Position>, JournalError> {
        self.tables.positions()
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        self.tables.blob(digest)
    }
}

impl Writer {
    /// Only after the commit.
    fn mint<T>(&self, values: Vec<T>, verdicts: Vec<Result<Seq, Refused>>) -> Vec<Result<Recorded<T>, Refused>> {
        let Some((epoch, _)) = self.began else { return Vec::new() };
        let mint = |(value, verdict): (T, Result<Seq, Refused>)| verdict.map(|seq| Recorded::mint(self.tables.id, seq, epoch, value));
        values.into_iter().zip(verdicts).map(mint).collect()
    }
}

/// The error of the disk in what `quick_check` says, which tells of those as it tells of damage: page numbers out of range it
/// reports otherwise, so a page that it could not get is one that could not be read.
fn io_error(found: &str) -> Option<rusqlite::Error> {
    let given = found.rsplit_once("error code=").and_then(|(_, code)| code.trim().parse().ok());
    let code = given.or_else(|| found.contains("failed to get page").then_some(ffi::SQLITE_IOERR_READ))?;
    let error = ffi::Error::new(code);
    (error.code == ErrorCode::SystemIoFailure).then(|| rusqlite::Error::SqliteFailure(error, Some(found.to_owned())))
}

/// What a transaction is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Raise the epoch, then all entries or nothing.
    Begin,
    /// All entries, each for itself.
    All,
    /// Only what settles things; the disk is full.
    Settle,
}

fn raise_epoch(tables: &Tables, info: &WriterInfo) -> Result<(Epoch, EpochId), JournalError> {
    let fail = tables.fail("begin an epoch");
    let last: u64 = tables.conn.query_row("SELECT coalesce(max(number), 0) FROM epochs", [], |row| row.get(0)).map_err(&fail)?;
    if crate::sabotaged("epochs_are_not_raised") && last > 0 {
        return Ok((Epoch::new(last), EpochId::random().map_err(JournalError::Random)?));
    }
    let (epoch, id) = (Epoch::new(last + 1), EpochId::random().map_err(JournalError::Random)?);
    let sql = "INSERT INTO epochs (number, id, pid, command, boot_id, at_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let params = (epoch.get(), id.as_bytes(), info.pid, &info.command, &info.boot_id, info.started_at_ms);
    tables.conn.execute(sql, params).map_err(&fail)?;
    Ok((epoch, id))
}

/// One entry, whole or not at all: a guard that aborts undoes its statement, and blobs have a savepoint around them.
fn insert(
    tables: &Tables,
    epoch: Epoch,
    end: &mut Tail,
    draft: &Draft,
    scratch: &mut Vec<u8>,
) -> Result<Result<Seq, Refused>, JournalError> {
    if let Err(refused) = well_formed(draft) {
        return Ok(Err(refused));
    }
    if crate::sabotaged("intents_are_skipped") && matches!(draft.body, crate::Body::Intent { .. }) {
        return Ok(Ok(Seq::new(end.seq + 1)));
    }
    let intent = match draft.body {
        crate::Body::Outcome { intent, .. } => intent.get(),
        crate::Body::Declare | crate::Body::Intent { .. } | crate::Body::Note { .. } => 0,
    };
    if i64::try_from(intent).is_err() {
        return Ok(Err(Refused::Malformed { what: "the intent's number is out of range" }));
    }
    let savepoint = !draft.blobs.is_empty();
    let fail = tables.fail("write an entry");
    if savepoint {
        tables.conn.execute_batch("SAVEPOINT entry").map_err(&fail)?;
        keep_blobs(&tables.conn, draft).map_err(&fail)?;
    }
    let mut row = Row::of(draft.clone_without_blobs(), Seq::new(end.seq + 1), epoch);
    row.prev_hash = end.hash;
    row.hash = chain::hash(&row, scratch);
    let inserted = insert_row(&tables.conn, &row);
    let verdict = match inserted {
        Ok(()) => {
            *end = Tail { seq: row.seq.get(), hash: row.hash };
            Ok(row.seq)
        }
        Err(error) => match word(&error) {
            Some(word) => Err(explain(tables, epoch, draft, word)?),
            None => return Err(fail(error)),
        },
    };
    if savepoint {
        let sql = if verdict.is_ok() { "RELEASE entry" } else { "ROLLBACK TO entry; RELEASE entry" };
        tables.conn.execute_batch(sql).map_err(&fail)?;
    }
    Ok(verdict)
}

fn keep_blobs(conn: &Connection, draft: &Draft) -> rusqlite::Result<()> {
    let mut statement =
        conn.prepare_cached("INSERT INTO blobs (digest, bytes) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE digest = ?1)")?;
    for blob in &draft.blobs {
        statement.execute((Digest::of(blob).as_bytes(), blob))?;
    }
    Ok(())
}

fn insert_row(conn: &Connection, row: &Row) -> rusqlite::Result<()> {
    let Row { seq, epoch, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash, hash } = row;
    let Columns { step, attempt, deadline, digest, intent, result, topic } = Columns::of(body);
    let mut statement = conn.prepare_cached(
        "INSERT INTO entries (seq, epoch, machine, stream, life, generation, run, kind, step, attempt, deadline, digest, intent_seq, \
         result, topic, state, standing, payload, at_ms, prev_hash, hash) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21)",
    )?;
    let digest = digest.map(|digest| ValueRef::Blob(digest.as_bytes()));
    statement.execute(rusqlite::params![
        seq.get(),
        epoch.get(),
        &*stream.machine,
        stream.stream,
        life,
        generation,
        run,
        body.kind(),
        step,
        attempt,
        deadline,
        digest.map(Bound),
        intent.map(Seq::get),
        result,
        topic,
        &**state,
        &**standing,
        payload,
        at_ms,
        prev_hash.as_bytes(),
        hash.as_bytes(),
    ])?;
    Ok(())
}

/// A borrowed value as a parameter.
struct Bound<'a>(ValueRef<'a>);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(self.0))
    }
}

/// About what an entry with nothing in it takes in the log, when many are written at once.
const ENTRY_BYTES: u64 = 1_024;

/// About what a group takes beside that: the last pages of the table, of its index and of the positions.
const GROUP_BYTES: u64 = 3 * 4_096;

/// The log is moved into the main file after about as much. Each time costs three syncs, so not too often; opening after a
/// crash reads the log once, and a reader looks pages up in it, so not too rarely.
const CHECKPOINT_BYTES: u64 = 16 << 20;

/// `quick_check` reads all of the file: 8 ms at 4 MiB (measured), so about 130 ms at this size.
const QUICK_CHECK_BYTES_MAX: u64 = 64 << 20;

/// `integrity_check` takes three times as long: 40 ms at this size (measured).
const INDEX_CHECK_BYTES_MAX: u64 = 4 << 20;

/// A larger file is looked at once in so many epochs.
const QUICK_CHECK_EVERY: u64 = 16;
