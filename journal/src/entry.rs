//! What is written, and what is read back.
//!
//! A [`Draft`] is what a user hands in; an [`Entry`] is what a journal holds. Nobody but a journal makes an `Entry`, and nobody
//! changes one: that is what lets it be minted into a [`Recorded`]. Not here: which drafts are accepted (the schema's triggers
//! and `ledger`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

use crate::recorded::{Recorded, Replay};
use crate::{Digest, Epoch, JournalId, Seq};

/// The result of an outcome that counts as evidence. Any other text is a failure of some kind.
pub const DONE: &str = "done";

/// Which stream: a machine of the schema and the name of one thing that runs by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    /// The machine's name, as in the schema.
    pub machine: Cow<'static, str>,
    /// The thing's name, not empty; opaque to the journal.
    pub stream: String,
}

impl StreamKey {
    /// The stream of this name in this machine.
    pub fn new(machine: impl Into<Cow<'static, str>>, stream: impl Into<String>) -> Self {
        Self { machine: machine.into(), stream: stream.into() }
    }
}

impl fmt::Display for StreamKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.machine, self.stream)
    }
}

/// An entry to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// The stream that it goes to.
    pub stream: StreamKey,
    /// The life (incarnation) of the stream that it belongs to; opaque, not empty, never used again once it is over.
    pub life: String,
    /// The number of the declaration in force; the first is 1.
    pub generation: u64,
    /// Who writes it; opaque.
    pub run: String,
    /// What it says.
    pub body: Body,
    /// The state of the stream after it.
    pub state: Cow<'static, str>,
    /// The standing of the stream after it.
    pub standing: Cow<'static, str>,
    /// Anything else, as JSON text; opaque to the journal.
    pub payload: String,
    /// Wall time in milliseconds since 1970, for people; nothing is decided by it.
    pub at_ms: i64,
    /// What is to be kept by digest (see [`Digest::of`]), written in the same transaction.
    pub blobs: Vec<Vec<u8>>,
}

impl Draft {
    /// What goes into the row itself.
    pub(crate) fn clone_without_blobs(&self) -> Self {
        let Self { stream, life, generation, run, body, state, standing, payload, at_ms, blobs: _ } = self;
        Self {
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
}

/// The kinds of entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Opens a stream, raises its generation by one, begins a new life, or both of the latter. Never changes the state.
    Declare,
    /// Something is about to be done. At most one is open per stream. Never changes the state.
    Intent {
        /// What: `attach`, `attach[/srv]`, `attach[/srv].repair`. Up to `[`, and without `.repair`, it is the base name that
        /// the schema's `begins` rows speak of.
        step: String,
        /// The how-many-th intent of exactly this step in this life, from 1: counted before acting.
        attempt: u32,
        /// When it must have ended; opaque.
        deadline: Option<String>,
        /// The digest of what is to be done.
        digest: Digest,
    },
    /// What became of the stream's open intent, which it closes.
    Outcome {
        /// The intent.
        intent: Seq,
        /// Its step.
        step: String,
        /// Its attempt.
        attempt: u32,
        /// [`DONE`], or what went wrong.
        result: Cow<'static, str>,
    },
    /// Anything else: a fall-back edge, a transition without steps, a decision.
    Note {
        /// What about; opaque.
        topic: String,
    },
}

impl Body {
    /// The kind's name in the journal.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Declare => "declare",
            Self::Intent { .. } => "intent",
            Self::Outcome { .. } => "outcome",
            Self::Note { .. } => "note",
        }
    }
}

/// The part of a step's name that the schema's `begins` rows speak of: up to `[`, and without `.repair`.
///
/// ```
/// use phoenix_journal::base_name;
/// assert_eq!(base_name("attach[/srv].repair"), "attach");
/// assert_eq!(base_name("create.repair"), "create");
/// assert_eq!(base_name("create"), "create");
/// ```
pub fn base_name(step: &str) -> &str {
    match step.split_once('[') {
        Some((base, _)) => base,
        None => step.strip_suffix(".repair").unwrap_or(step),
    }
}

/// What a journal holds of one entry. Read through [`Entry`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place.
    pub seq: Seq,
    /// The epoch in which it was written.
    pub epoch: Epoch,
    /// The stream.
    pub stream: StreamKey,
    /// The life.
    pub life: String,
    /// The generation.
    pub generation: u64,
    /// Who wrote it.
    pub run: String,
    /// What it says.
    pub body: Body,
    /// The state after it.
    pub state: Cow<'static, str>,
    /// The standing after it.
    pub standing: Cow<'static, str>,
    /// Anything else, as JSON text.
    pub payload: String,
    /// Wall time in milliseconds since 1970.
    pub at_ms: i64,
    /// The hash of the entry before it; [`Digest::ZERO`] for the first, and in memory.
    pub prev_hash: Digest,
    /// The hash of `prev_hash` and everything above; [`Digest::ZERO`] in memory.
    pub hash: Digest,
}

/// An entry that came out of a journal. Its fields are those of [`Row`], to be read and not to be changed:
///
/// ```compile_fail
/// fn forge(mut entry: phoenix_journal::Entry) {
///     entry.payload = "{}".to_owned();
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    journal: JournalId,
    row: Row,
}

impl Entry {
    pub(crate) fn out_of(journal: JournalId, row: Row) -> Self {
        Self { journal, row }
    }

    /// The journal that it came out of.
    pub fn journal(&self) -> JournalId {
        self.journal
    }

    /// What it says, as something recorded.
    pub fn mint<T: Replay>(&self) -> Result<Recorded<T>, T::Error> {
        T::from_entry(self).map(|value| Recorded::mint(self.journal, self.row.seq, self.row.epoch, value))
    }
}

impl Deref for Entry {
    type Target = Row;

    fn deref(&self) -> &Row {
        &self.row
    }
}

impl Row {
    pub(crate) fn of(draft: Draft, seq: Seq, epoch: Epoch) -> Self {
        let Draft { stream, life, generation, run, body, state, standing, payload, at_ms, blobs: _ } = draft;
        let (prev_hash, hash) = (Digest::ZERO, Digest::ZERO);
        Self { seq, epoch, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash, hash }
    }
}

/// Where a stream stands: always what its last entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The stream.
    pub key: StreamKey,
    /// Its state.
    pub state: Cow<'static, str>,
    /// Its standing.
    pub standing: Cow<'static, str>,
    /// Its life.
    pub life: String,
    /// Its generation.
    pub generation: u64,
    /// Its last entry.
    pub last_seq: Seq,
    /// The intent that has no outcome yet.
    pub open_intent: Option<Seq>,
    /// The entry since which the standing has its name (or the life that began later).
    pub standing_seq: Seq,
    /// The entry since which the state is what it is (or the life that began later).
    pub state_seq: Seq,
    /// Whether the life is over: nothing but a declaration of a new one is accepted.
    pub ended: bool,
}
