//! Reading: what readers, writers and `verify` have in common.
//!
//! Every function is one read transaction at most. Not here: opening and its checks (`open`), and anything that writes.

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row as SqlRow};

use crate::chain;
use crate::entry::{Body, Row};
use crate::schema::Schema;
use crate::{
    Binding, Digest, Entry, Epoch, EpochId, EpochRow, Glance, GlanceStep, JournalError, JournalId, Overview, Position, Seq, StreamKey,
};

/// An open journal, to be read.
#[derive(Debug)]
pub(crate) struct Tables {
    pub(crate) conn: Connection,
    pub(crate) path: PathBuf,
    pub(crate) id: JournalId,
    pub(crate) names: Names,
}

/// The words of the schema: what is read back is mostly one of them, and needs no allocation.
#[derive(Debug, Default)]
pub(crate) struct Names(Vec<&'static str>);

impl Names {
    pub(crate) fn of(schema: &Schema) -> Self {
        let mut names = Vec::new();
        for machine in schema.machines {
            names.push(machine.name);
            names.extend(machine.standings.iter().chain(machine.states));
        }
        Self(names)
    }

    fn intern(&self, text: &str) -> Cow<'static, str> {
        match self.0.iter().find(|name| **name == text) {
            Some(name) => Cow::Borrowed(name),
            None => Cow::Owned(text.to_owned()),
        }
    }
}

impl Tables {
    pub(crate) fn fail(&self, doing: &'static str) -> impl Fn(rusqlite::Error) -> JournalError + '_ {
        move |source| JournalError::of_sqlite(doing, &self.path, source)
    }

    pub(crate) fn meta(&self, key: &str) -> Result<String, JournalError> {
        let sql = "SELECT value FROM meta WHERE key = ?1";
        self.conn.query_row(sql, [key], |row| row.get(0)).map_err(self.fail("read what the journal belongs to"))
    }

    pub(crate) fn binding(&self) -> Result<Binding, JournalError> {
        let damaged = |_| JournalError::Damaged { path: self.path.clone(), what: "its device is no number".to_owned(), source: None };
        let device = self.meta("device")?.parse().map_err(damaged)?;
        Ok(Binding { host: self.meta("host")?, node: self.meta("node")?, directory: self.meta("directory")?, device })
    }

    pub(crate) fn epochs(&self) -> Result<Vec<EpochRow>, JournalError> {
        let read = || -> rusqlite::Result<Vec<EpochRow>> {
            let mut statement = self.conn.prepare("SELECT number, id, pid, command, boot_id, at_ms FROM epochs ORDER BY number")?;
            let rows = statement.query_map([], |row| {
                Ok(EpochRow {
                    epoch: Epoch::new(row.get(0)?),
                    id: EpochId::from_bytes(row.get(1)?),
                    pid: row.get(2)?,
                    command: row.get(3)?,
                    boot_id: row.get(4)?,
                    at_ms: row.get(5)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.fail("read the epochs"))
    }

    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        let sql = "SELECT bytes FROM blobs WHERE digest = ?1";
        let bytes: Option<Vec<u8>> =
            self.conn.query_row(sql, [digest.as_bytes()], |row| row.get(0)).optional().map_err(self.fail("read a blob"))?;
        match bytes {
            Some(bytes) if Digest::of(&bytes) != *digest => {
                Err(JournalError::Damaged { path: self.path.clone(), what: format!("blob {digest} has another digest"), source: None })
            }
            Some(_) | None => Ok(bytes),
        }
    }

    pub(crate) fn cache_get(&self, key: &str) -> Result<Option<String>, JournalError> {
        let row = self.conn.query_row("SELECT value FROM cache WHERE key = ?1", [key], |row| row.get(0));
        row.optional().map_err(self.fail("look for a value"))
    }

    /// Entries from `first` to `last`, both included, of one stream or of all, in order.
    pub(crate) fn entries(&self, first: Seq, last: Seq, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        let bound = |seq: Seq| i64::try_from(seq.get()).unwrap_or(i64::MAX);
        let (first, last) = (bound(first), bound(last));
        let read = || match key {
            // The `+` keeps the planner from walking all entries by number.
            Some(key) => {
                let filter = "machine = ?1 AND stream = ?2 AND +seq BETWEEN ?3 AND ?4";
                self.select(filter, (&key.machine, &key.stream, first, last))
            }
            None => self.select("seq BETWEEN ?1 AND ?2", (first, last)),
        };
        read().map_err(self.fail("read entries"))
    }

    /// As [`Tables::entries`], but only if they are what was written; asked for all of them, also in their order.
    pub(crate) fn checked_entries(&self, first: Seq, last: Seq, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        let entries = self.entries(first, last, key)?;
        match chain::broken(&entries, key.is_none() && first.get() <= 1) {
            Some(what) => Err(JournalError::Damaged { path: self.path.clone(), what, source: None }),
            None => Ok(entries),
        }
    }

    fn select(&self, filter: &str, params: impl rusqlite::Params) -> rusqlite::Result<Vec<Entry>> {
        let mut statement = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE {filter} ORDER BY seq"))?;
        let rows = statement.query_map(params, |row| self.entry(row))?;
        rows.collect()
    }

    pub(crate) fn entry(&self, row: &SqlRow<'_>) -> rusqlite::Result<Entry> {
        decode(row, &self.names).map(|row| Entry::out_of(self.id, row))
    }

    pub(crate) fn positions(&self) -> Result<Vec<Position>, JournalError> {
        let read = || -> rusqlite::Result<Vec<Position>> {
            let sql = format!("SELECT {POSITION} FROM streams ORDER BY machine, stream");
            let mut statement = self.conn.prepare_cached(&sql)?;
            let rows = statement.query_map([], |row| position(row, &self.names))?;
            rows.collect()
        };
        read().map_err(self.fail("read positions"))
    }

    pub(crate) fn position(&self, key: &StreamKey) -> Result<Option<Position>, JournalError> {
        let read = || {
            let sql = format!("SELECT {POSITION} FROM streams WHERE machine = ?1 AND stream = ?2");
            let mut statement = self.conn.prepare_cached(&sql)?;
            statement.query_row((&key.machine, &key.stream), |row| position(row, &self.names)).optional()
        };
        read().map_err(self.fail("read a position"))
    }

    /// Positions of one machine with what is needed to show them.
    pub(crate) fn glance<T>(&self, machine: &str, mut headline: impl FnMut(&str) -> T) -> Result<Vec<Glance<T>>, JournalError> {
        let mut read = || -> rusqlite::Result<Vec<Glance<T>>> {
            let mut statement = self.conn.prepare_cached(GLANCE)?;
            let rows = statement.query_map([machine], |row| {
                let result = |name| Ok::<_, rusqlite::Error>(self.names.intern(name));
                let step = match text(row, 12)? {
                    "intent" => Some(GlanceStep { name: row.get(13)?, attempt: row.get(14)?, result: None }),
                    "outcome" => {
                        Some(GlanceStep { name: row.get(13)?, attempt: row.get(14)?, result: Some(text(row, 15).and_then(result)?) })
                    }
                    _ => None,
                };
                Ok(Glance {
                    position: position(row, &self.names)?,
                    since_ms: row.get(11)?,
                    step,
                    declared: text(row, 16).map(&mut headline)?,
                })
            })?;
            rows.collect()
        };
        read().map_err(self.fail("read positions"))
    }

    /// Positions with the entries that tell about them, of one moment.
    pub(crate) fn overview(&self) -> Result<Vec<Overview>, JournalError> {
        let transaction = self.conn.unchecked_transaction().map_err(self.fail("begin to read"))?;
        let positions = self.positions()?;
        let read = || -> rusqlite::Result<Vec<Overview>> {
            let mut statement = self.conn.prepare_cached(&format!("SELECT {COLUMNS} FROM entries WHERE seq = ?1"))?;
            let mut one = |seq: Seq| statement.query_row([seq.get()], |row| self.entry(row)).map(Arc::new);
            let mut overviews = Vec::with_capacity(positions.len());
            for position in positions {
                let last = one(position.last_seq)?;
                let mut at = |seq: Seq| if seq == position.last_seq { Ok(Arc::clone(&last)) } else { one(seq) };
                let open = position.open_intent.map(&mut at).transpose()?;
                let standing = at(position.standing_seq)?;
                overviews.push(Overview { position, last, open, standing });
            }
            Ok(overviews)
        };
        let overviews = read().map_err(self.fail("read entries"))?;
        drop(transaction);
        Ok(overviews)
    }
}

/// Positions with the step and the time that go with them. The condition on the declaration is a whole prefix of the index, so
/// that it is one step in it.
const GLANCE: &str = "
    SELECT s.machine, s.stream, s.state, s.standing, s.life, s.generation, s.last_seq, s.open_intent, s.standing_seq, s.state_seq, s.ended,
           since.at_ms, l.kind, l.step, l.attempt, l.result, d.payload
    FROM streams s
    JOIN entries l ON l.seq = coalesce(s.open_intent, s.last_seq)
    JOIN entries since ON since.seq = max(s.state_seq, s.standing_seq)
    JOIN entries d ON d.seq = (
      SELECT seq FROM entries e
      WHERE e.machine = s.machine AND e.stream = s.stream AND e.life = s.life AND e.step IS NULL AND e.kind = 'declare' AND e.attempt IS NULL
      ORDER BY seq DESC LIMIT 1)
    WHERE s.machine = ?1
    ORDER BY s.stream";

/// The columns of `entries`, in the order that [`decode`] reads them.
pub(crate) const COLUMNS: &str = "seq, epoch, machine, stream, life, generation, run, kind, step, attempt, deadline, digest, \
     intent_seq, result, topic, state, standing, payload, at_ms, prev_hash, hash";

const POSITION: &str = "machine, stream, state, standing, life, generation, last_seq, open_intent, standing_seq, state_seq, ended";

fn position(row: &SqlRow<'_>, names: &Names) -> rusqlite::Result<Position> {
    let word = |index| text(row, index).map(|text| names.intern(text));
    Ok(Position {
        key: StreamKey { machine: word(0)?, stream: row.get(1)? },
        state: word(2)?,
        standing: word(3)?,
        life: row.get(4)?,
        generation: row.get(5)?,
        last_seq: Seq::new(row.get(6)?),
        open_intent: row.get::<_, Option<u64>>(7)?.map(Seq::new),
        standing_seq: Seq::new(row.get(8)?),
        state_seq: Seq::new(row.get(9)?),
        ended: row.get(10)?,
    })
}

fn decode(row: &SqlRow<'_>, names: &Names) -> rusqlite::Result<Row> {
    let word = |index| text(row, index).map(|text| names.intern(text));
    let digest = |index| row.get(index).map(Digest::from_bytes);
    let body = match text(row, 7)? {
        "declare" => Body::Declare,
        "intent" => Body::Intent { step: row.get(8)?, attempt: row.get(9)?, deadline: row.get(10)?, digest: digest(11)? },
        "outcome" => Body::Outcome { step: row.get(8)?, attempt: row.get(9)?, intent: Seq::new(row.get(12)?), result: word(13)? },
        "note" => Body::Note { topic: row.get(14)? },
        stranger => return Err(rusqlite::Error::FromSqlConversionFailure(7, Type::Text, format!("kind `{stranger}`").into())),
    };
    Ok(Row {
        seq: Seq::new(row.get(0)?),
        epoch: Epoch::new(row.get(1)?),
        stream: StreamKey { machine: word(2)?, stream: row.get(3)? },
        life: row.get(4)?,
        generation: row.get(5)?,
        run: row.get(6)?,
        body,
        state: word(15)?,
        standing: word(16)?,
        payload: row.get(17)?,
        at_ms: row.get(18)?,
        prev_hash: digest(19)?,
        hash: digest(20)?,
    })
}

fn text<'row>(row: &'row SqlRow<'_>, index: usize) -> rusqlite::Result<&'row str> {
    let value: ValueRef<'row> = row.get_ref(index)?;
    value.as_str().map_err(|error| rusqlite::Error::FromSqlConversionFailure(index, value.data_type(), error.into()))
}
