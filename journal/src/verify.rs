//! Looking at a whole journal: is it what it was written as?
//!
//! Everything is done again from the entries alone: the chain, the guards (with the rules in Rust, not with the triggers that
//! let the entries in), the positions. Read-only, no lock, works beside a writer.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::Connection;

use crate::entry::{Draft, Row};
use crate::ledger::Ledger;
use crate::open::{check_header, check_texts, identify};
use crate::reader::open_read_only;
use crate::schema::Rules;
use crate::tables::{Names, Tables};
use crate::{Digest, Entry, Epoch, JournalError, JournalId, Position, Refused, Seq, StreamKey, chain, sql};

/// What [`verify`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The journal.
    pub journal: JournalId,
    /// How many entries were looked at.
    pub entries: u64,
    /// How many streams.
    pub streams: u64,
    /// How many epochs.
    pub epochs: u64,
    /// How many blobs.
    pub blobs: u64,
    /// What is wrong, the first hundred of it.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }
}

/// One thing that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// SQLite's own check.
    #[error("the file: {0}")]
    File(String),
    /// A table or guard is not what it was made as.
    #[error("{0}")]
    Tables(String),
    /// An entry cannot be read.
    #[error("from entry {from} on, entries cannot be read: {why}")]
    Unreadable {
        /// The first of those that were read together.
        from: Seq,
        /// Why.
        why: String,
    },
    /// Numbers are missing.
    #[error("entry {seq} follows entry {after}")]
    Gap {
        /// The entry.
        seq: Seq,
        /// The one before it.
        after: Seq,
    },
    /// The hash of an entry is not that of its content.
    #[error("the content of entry {seq} is not what its hash says")]
    Hash {
        /// The entry.
        seq: Seq,
    },
    /// An entry does not follow the one before it.
    #[error("entry {seq} was not written after the entry that is before it")]
    Chain {
        /// The entry.
        seq: Seq,
    },
    /// Epochs fall, or one is unknown.
    #[error("entry {seq} is of epoch {epoch}, which is unknown or over")]
    Epoch {
        /// The entry.
        seq: Seq,
        /// Its epoch.
        epoch: Epoch,
    },
    /// An entry that would have been refused.
    #[error("entry {seq} should have been refused: {refused}")]
    Guard {
        /// The entry.
        seq: Seq,
        /// Why.
        refused: Refused,
    },
    /// A position that is not what the entries say.
    #[error("the position of {key} is not what its entries say")]
    Position {
        /// The stream.
        key: StreamKey,
    },
    /// A blob that is not what its digest says.
    #[error("blob {digest} is not what its digest says")]
    Blob {
        /// The digest.
        digest: Digest,
    },
}

/// Looks at a whole journal. `Err` if it cannot be opened at all.
pub fn verify(path: &Path) -> Result<Report, JournalError> {
    let (conn, place, _copy) = open_read_only(path)?;
    check_header(&conn, &place.main, None)?;
    let texts = check_texts(&conn, &place.main);
    let rules = sql::read_rules(&conn).map_err(|source| JournalError::of_sqlite("read the machines", &place.main, source))?;
    let tables = identify(conn, &place.main, Names::default())?;
    // One moment for everything, also beside a writer.
    let _moment = tables.conn.unchecked_transaction().map_err(tables.fail("begin to read"))?;
    let mut check = Check::new(&tables, &rules);
    match texts {
        Ok(()) => {}
        Err(JournalError::Damaged { what, .. }) => check.find(Finding::Tables(what)),
        Err(other) => return Err(other),
    }
    check.file();
    check.history()?;
    check.positions()?;
    check.blobs();
    Ok(check.report)
}

/// The first thing that is wrong with what a journal says, if anything is; the file's own order is not looked at.
pub(crate) fn first_finding(tables: &Tables) -> Result<Option<Finding>, JournalError> {
    let rules = sql::read_rules(&tables.conn).map_err(tables.fail("read the machines"))?;
    let mut check = Check::new(tables, &rules);
    check.history()?;
    check.positions()?;
    check.blobs();
    match check.trouble {
        Some(trouble) => Err(trouble),
        None => Ok(check.report.findings.into_iter().next()),
    }
}

struct Check<'a> {
    tables: &'a Tables,
    rules: &'a Rules,
    ledger: Ledger,
    before: Option<(Seq, Epoch, Digest)>,
    report: Report,
    /// The first error that says nothing of what is written: the disk could not be read.
    trouble: Option<JournalError>,
}

impl<'a> Check<'a> {
    fn new(tables: &'a Tables, rules: &'a Rules) -> Self {
        let report = Report { journal: tables.id, entries: 0, streams: 0, epochs: 0, blobs: 0, findings: Vec::new() };
        Self { tables, rules, ledger: Ledger::default(), before: None, report, trouble: None }
    }

    fn find(&mut self, finding: Finding) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(finding);
        }
    }

    fn note(&mut self, error: JournalError) {
        if !matches!(error, JournalError::Damaged { .. }) {
            self.trouble.get_or_insert(error);
        }
    }

    fn file(&mut self) {
        match integrity(&self.tables.conn) {
            Ok(lines) => lines.into_iter().filter(|line| line != "ok").for_each(|line| self.find(Finding::File(line))),
            Err(error) => self.find(Finding::File(error.to_string())),
        }
    }

    fn history(&mut self) -> Result<(), JournalError> {
        let epochs = self.tables.epochs()?;
        self.report.epochs = epochs.len() as u64;
        let last_epoch = epochs.last().map_or(Epoch::new(0), |row| row.epoch);
        let last: Option<u64> =
            self.tables.conn.query_row("SELECT max(seq) FROM entries", [], |row| row.get(0)).map_err(self.tables.fail("count entries"))?;
        let mut first = 1;
        while first <= last.unwrap_or(0) {
            let from = Seq::new(first);
            match self.tables.entries(from, Seq::new(first + ENTRIES_AT_ONCE - 1), None) {
                Ok(entries) => entries.iter().for_each(|entry| self.entry(entry, last_epoch)),
                Err(error) => {
                    self.find(Finding::Unreadable { from, why: error.to_string() });
                    self.note(error);
                }
            }
            first += ENTRIES_AT_ONCE;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, last_epoch: Epoch) {
        let (seq, epoch) = (entry.seq, entry.epoch);
        let (after, epoch_before, hash_before) = self.before.unwrap_or((Seq::new(0), Epoch::new(1), Digest::ZERO));
        self.report.entries += 1;
        if seq.get() != after.get() + 1 {
            self.find(Finding::Gap { seq, after });
        }
        if !crate::sabotaged("chain_is_not_compared") && chain::hash(entry, &mut Vec::new()) != entry.hash {
            self.find(Finding::Hash { seq });
        }
        if entry.prev_hash != hash_before {
            self.find(Finding::Chain { seq });
        }
        if epoch < epoch_before || epoch > last_epoch {
            self.find(Finding::Epoch { seq, epoch });
        }
        let draft = draft(entry);
        if let Err(refused) = self.ledger.admit(self.rules, &draft) {
            self.find(Finding::Guard { seq, refused });
        }
        self.ledger.learn(self.rules, seq, &draft);
        self.before = Some((seq, epoch, entry.hash));
    }

    fn positions(&mut self) -> Result<(), JournalError> {
        let by_key = |positions: Vec<Position>| -> BTreeMap<StreamKey, Position> {
            positions.into_iter().map(|position| (position.key.clone(), position)).collect()
        };
        let found = by_key(self.tables.positions()?);
        let expected = by_key(self.ledger.positions().cloned().collect());
        self.report.streams = found.len() as u64;
        let differs = |key: &&StreamKey| found.get(*key) != expected.get(*key);
        let wrong: std::collections::BTreeSet<_> = found.keys().chain(expected.keys()).filter(differs).cloned().collect();
        for key in wrong {
            self.find(Finding::Position { key });
        }
        Ok(())
    }

    fn blobs(&mut self) {
        let tables = self.tables;
        let read = |check: &mut Self| -> rusqlite::Result<()> {
            let mut statement = tables.conn.prepare("SELECT digest, bytes FROM blobs")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let digest = Digest::from_bytes(row.get(0)?);
                check.report.blobs += 1;
                if Digest::of(row.get_ref(1)?.as_blob().unwrap_or_default()) != digest {
                    check.find(Finding::Blob { digest });
                }
            }
            Ok(())
        };
        if let Err(error) = read(self) {
            self.find(Finding::File(error.to_string()));
            self.note(self.tables.fail("read the blobs")(error));
        }
    }
}

fn integrity(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("PRAGMA integrity_check")?;
    let lines = statement.query_map([], |row| row.get(0))?;
    lines.collect()
}

/// What an entry was before it was one.
fn draft(row: &Row) -> Draft {
    let Row { seq: _, epoch: _, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash: _, hash: _ } = row;
    Draft {
        stream: stream.clone(),
        life: life.clone(),
        generation: *generation,
        run: run.clone(),
        body: body.clone(),
        state: state.clone(),
        standing: standing.clone(),
        payload: payload.clone(),
        at_ms: *at_ms,
        blobs: Vec::new(),
    }
}

/// More of the same says nothing new.
const FINDINGS_MAX: usize = 100;

/// Enough that the query does not count, few enough that payloads fit into memory.
const ENTRIES_AT_ONCE: u64 = 1_000;
