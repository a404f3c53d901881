//! What a guard's refusal means.
//!
//! The guards decide and say one word; the details that a person wants are looked up here, in the same transaction. Not here:
//! any decision.

use crate::entry::{Body, Draft};
use crate::tables::Tables;
use crate::{DONE, Epoch, JournalError, Position, Refused, Seq};

/// The word that a guard of ours said, if it was one.
pub(crate) fn word(error: &rusqlite::Error) -> Option<&str> {
    let rusqlite::Error::SqliteFailure(_, Some(text)) = error else { return None };
    text.strip_prefix("phoenix: ").and_then(|text| text.split(':').next())
}

/// Why a draft was refused; `Err` where the journal itself is not what this writer left.
pub(crate) fn explain(tables: &Tables, epoch: Epoch, draft: &Draft, word: &str) -> Result<Refused, JournalError> {
    let position = tables.position(&draft.stream)?;
    let details = Details { tables, draft, position: position.as_ref() };
    match word {
        "epoch" => Err(JournalError::StaleEpoch { epoch }),
        "machine" => Ok(Refused::UnknownMachine { machine: draft.stream.machine.to_string() }),
        "state" => Ok(Refused::UnknownState { key: draft.stream.clone(), state: draft.state.to_string() }),
        "standing" => Ok(Refused::UnknownStanding { key: draft.stream.clone(), standing: draft.standing.to_string() }),
        "undeclared" => Ok(Refused::Undeclared { key: draft.stream.clone() }),
        "initial" => details.not_initial(),
        "open" => details.with(|position| position.open_intent.map(|open| Refused::OpenIntent { key: position.key.clone(), open })),
        "ended" => Ok(Refused::Ended { key: draft.stream.clone() }),
        "goes-on" => details.goes_on(),
        "reused" => Ok(Refused::LifeReused { key: draft.stream.clone(), life: draft.life.clone() }),
        "life" => details.life(),
        "generation" => Ok(details.generation()),
        "moves" => details.moves(),
        "begins" => details.begins(),
        "attempt" => details.attempt(),
        "no-intent" => details.no_intent(),
        "other-intent" => details.other_intent(),
        "edge" => details.edge(),
        "needs" => details.needs(),
        other => Err(details.strange(other)),
    }
}

struct Details<'a> {
    tables: &'a Tables,
    draft: &'a Draft,
    position: Option<&'a Position>,
}

impl Details<'_> {
    /// Another word than those that this writer can be told means that somebody else has written in between.
    fn strange(&self, word: &str) -> JournalError {
        JournalError::Damaged { path: self.tables.path.clone(), what: format!("its guards said `{word}`, unexpectedly"), source: None }
    }

    fn with(&self, details: impl FnOnce(&Position) -> Option<Refused>) -> Result<Refused, JournalError> {
        self.position.and_then(details).ok_or_else(|| self.strange("no position"))
    }

    fn step(&self) -> (&str, u32, Option<Seq>) {
        match &self.draft.body {
            Body::Intent { step, attempt, deadline: _, digest: _ } => (step, *attempt, None),
            Body::Outcome { intent, step, attempt, result: _ } => (step, *attempt, Some(*intent)),
            Body::Declare | Body::Note { topic: _ } => ("", 0, None),
        }
    }

    fn initial(&self) -> Result<String, JournalError> {
        let sql = "SELECT state FROM machine_states WHERE machine = ?1 AND initial = 1";
        self.tables.conn.query_row(sql, [&self.draft.stream.machine], |row| row.get(0)).map_err(self.tables.fail("read a machine"))
    }

    fn not_initial(&self) -> Result<Refused, JournalError> {
        let Draft { stream, state, .. } = self.draft;
        Ok(Refused::NotInitial { key: stream.clone(), state: state.to_string(), initial: self.initial()? })
    }

    fn goes_on(&self) -> Result<Refused, JournalError> {
        let initial = self.initial()?;
        self.with(|position| Some(Refused::LifeGoesOn { key: position.key.clone(), state: position.state.to_string(), initial }))
    }

    fn life(&self) -> Result<Refused, JournalError> {
        let given = self.draft.life.clone();
        self.with(|position| Some(Refused::Life { key: position.key.clone(), expected: position.life.clone(), given }))
    }

    fn generation(&self) -> Refused {
        let raise = u64::from(self.draft.body == Body::Declare);
        let expected = self.position.map_or(1, |position| position.generation + raise);
        Refused::Generation { key: self.draft.stream.clone(), expected, given: self.draft.generation }
    }

    fn moves(&self) -> Result<Refused, JournalError> {
        let (kind, to) = (self.draft.body.kind(), self.draft.state.to_string());
        self.with(|position| Some(Refused::Moves { key: position.key.clone(), kind, from: position.state.to_string(), to }))
    }

    fn begins(&self) -> Result<Refused, JournalError> {
        let step = self.step().0.to_owned();
        self.with(|position| Some(Refused::Begins { key: position.key.clone(), step, state: position.state.to_string() }))
    }

    fn attempt(&self) -> Result<Refused, JournalError> {
        let (Draft { stream, life, .. }, (step, given, _)) = (self.draft, self.step());
        let sql = "SELECT 1 + coalesce(max(attempt), 0) FROM entries \
                   WHERE machine = ?1 AND stream = ?2 AND life = ?3 AND step = ?4 AND kind = 'intent'";
        let row = self.tables.conn.query_row(sql, (&stream.machine, &stream.stream, life, step), |row| row.get(0));
        let expected = row.map_err(self.tables.fail("count attempts"))?;
        Ok(Refused::Attempt { key: stream.clone(), step: step.to_owned(), expected, given })
    }

    fn no_intent(&self) -> Result<Refused, JournalError> {
        let intent = self.step().2;
        self.with(|position| Some(Refused::NoSuchIntent { key: position.key.clone(), intent: intent?, open: position.open_intent }))
    }

    fn other_intent(&self) -> Result<Refused, JournalError> {
        let Some(intent) = self.step().2 else { return Err(self.strange("other-intent")) };
        let found = self.tables.entries(intent, intent, None)?;
        match found.first().map(|entry| &entry.body) {
            Some(Body::Intent { step, attempt, deadline: _, digest: _ }) => {
                Ok(Refused::OtherIntent { key: self.draft.stream.clone(), intent, step: step.clone(), attempt: *attempt })
            }
            Some(Body::Declare | Body::Outcome { .. } | Body::Note { .. }) | None => Err(self.strange("other-intent")),
        }
    }

    fn edge(&self) -> Result<Refused, JournalError> {
        let to = self.draft.state.to_string();
        self.with(|position| Some(Refused::Edge { key: position.key.clone(), from: position.state.to_string(), to }))
    }

    fn needs(&self) -> Result<Refused, JournalError> {
        let Draft { stream, life, state, body, .. } = self.draft;
        let proof = match body {
            Body::Outcome { step, result, .. } if &**result == DONE => Some(step),
            Body::Outcome { .. } | Body::Declare | Body::Intent { .. } | Body::Note { .. } => None,
        };
        let sql = "SELECT n.step FROM machine_needs n WHERE n.machine = ?1 AND n.state = ?4 AND n.step IS NOT ?5 AND NOT EXISTS ( \
                     SELECT 1 FROM entries e WHERE e.machine = ?1 AND e.stream = ?2 AND e.life = ?3 AND e.step = n.step \
                     AND e.kind = 'outcome' AND e.result = 'done') ORDER BY n.step LIMIT 1";
        let params = (&stream.machine, &stream.stream, life, state, proof);
        let step = self.tables.conn.query_row(sql, params, |row| row.get(0)).map_err(self.tables.fail("look for evidence"))?;
        Ok(Refused::NeedsEvidence { key: stream.clone(), state: state.to_string(), step })
    }
}
