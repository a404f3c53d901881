//! Appending: the one way into a journal, with two implementors.
//!
//! [`Writer`](crate::Writer) keeps a journal on disk, [`Memory`](crate::Memory) one for simulations. Both give the same
//! verdicts; a model test compares them.

use crate::{Digest, Entry, Epoch, EpochId, JournalError, JournalId, Position, Record, Recorded, Seq, StreamKey};

/// A journal that can be appended to.
///
/// [`begin`](Append::begin) once, then [`append_group`](Append::append_group) for whatever happened since the last time: a
/// group is one transaction and one sync, so grouping is what makes it fast. What comes back is durable. An `Err` says that
/// nothing of the group is recorded, *as far as is known*: when the disk fails in the middle of a commit nobody knows, and the
/// journal takes no more ([`JournalError::Poisoned`]) until it is opened again and read.
pub trait Append: sealed::Sealed {
    /// The journal's id.
    fn journal(&self) -> JournalId;

    /// The epoch that this writer began; `None` before [`begin`](Append::begin).
    fn epoch(&self) -> Option<(Epoch, EpochId)>;

    /// Opens an epoch and appends its first entries, in one transaction. If one of them is refused nothing is begun
    /// ([`JournalError::NotBegun`]).
    fn begin<T: Record>(&mut self, first: Vec<T>) -> Result<Vec<Recorded<T>>, JournalError>;

    /// Appends entries in one transaction, in this order. One that is refused does not take the others along.
    fn append_group<T: Record>(&mut self, batch: Vec<T>) -> Result<Vec<Result<Recorded<T>, Refused>>, JournalError>;

    /// The entries of one stream, or of all, in order.
    fn replay(&self, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError>;

    /// Where every stream stands, in the order of their keys.
    fn positions(&self) -> Result<Vec<Position>, JournalError>;

    /// What was kept under this digest.
    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError>;
}

/// Lent, a journal is appended to as if it were there.
impl<A: Append> Append for &mut A {
    fn journal(&self) -> JournalId {
        (**self).journal()
    }

    fn epoch(&self) -> Option<(Epoch, EpochId)> {
        (**self).epoch()
    }

    fn begin<T: Record>(&mut self, first: Vec<T>) -> Result<Vec<Recorded<T>>, JournalError> {
        (**self).begin(first)
    }

    fn append_group<T: Record>(&mut self, batch: Vec<T>) -> Result<Vec<Result<Recorded<T>, Refused>>, JournalError> {
        (**self).append_group(batch)
    }

    fn replay(&self, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        (**self).replay(key)
    }

    fn positions(&self) -> Result<Vec<Position>, JournalError> {
        (**self).positions()
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        (**self).blob(digest)
    }
}

/// Why one entry is not accepted. Nothing of it is recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A name is empty or holds a NUL, or a number is out of range.
    #[error("the entry is malformed: {what}")]
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
    /// The schema has no such machine.
    #[error("no machine is called `{machine}`")]
    UnknownMachine {
        /// The name.
        machine: String,
    },
    /// The machine has no such state.
    #[error("{key}: the machine has no state `{state}`")]
    UnknownState {
        /// The stream.
        key: StreamKey,
        /// The name.
        state: String,
    },
    /// The machine has no such standing.
    #[error("{key}: the machine has no standing `{standing}`")]
    UnknownStanding {
        /// The stream.
        key: StreamKey,
        /// The name.
        standing: String,
    },
    /// The stream was not declared.
    #[error("{key}: the first entry of a stream is a declaration")]
    Undeclared {
        /// The stream.
        key: StreamKey,
    },
    /// A stream is declared in another state than the initial one.
    #[error("{key}: a life begins in `{initial}`, not in `{state}`")]
    NotInitial {
        /// The stream.
        key: StreamKey,
        /// The state given.
        state: String,
        /// The initial state.
        initial: String,
    },
    /// The life is over.
    #[error("{key}: its life is over; declare a new one first")]
    Ended {
        /// The stream.
        key: StreamKey,
    },
    /// The entry belongs to another life than the stream.
    #[error("{key}: its life is `{expected}`, not `{given}`")]
    Life {
        /// The stream.
        key: StreamKey,
        /// The stream's life.
        expected: String,
        /// The entry's.
        given: String,
    },
    /// A new life is declared while the old one goes on.
    #[error("{key}: in `{state}` its life goes on; a new one begins only in `{initial}`")]
    LifeGoesOn {
        /// The stream.
        key: StreamKey,
        /// Its state.
        state: String,
        /// The initial state.
        initial: String,
    },
    /// A life that is over is declared again: its evidence would count again.
    #[error("{key}: the life `{life}` has been before")]
    LifeReused {
        /// The stream.
        key: StreamKey,
        /// The life.
        life: String,
    },
    /// The generation is not the stream's, or not the next one where a declaration raises it.
    #[error("{key}: generation {given} where {expected} is due")]
    Generation {
        /// The stream.
        key: StreamKey,
        /// The one that is due. (A declaration of a new life may also keep the one before it.)
        expected: u64,
        /// The entry's.
        given: u64,
    },
    /// An intent is open, and must have its outcome first.
    #[error("{key}: intent {open} is open and must have its outcome first")]
    OpenIntent {
        /// The stream.
        key: StreamKey,
        /// The open intent.
        open: Seq,
    },
    /// A declaration or an intent that changes the state.
    #[error("{key}: {kind} never changes the state (`{from}`), this one says `{to}`")]
    Moves {
        /// The stream.
        key: StreamKey,
        /// The kind of entry.
        kind: &'static str,
        /// The stream's state.
        from: String,
        /// The entry's.
        to: String,
    },
    /// The step does not begin in this state.
    #[error("{key}: `{step}` does not begin in `{state}`")]
    Begins {
        /// The stream.
        key: StreamKey,
        /// The step.
        step: String,
        /// The state.
        state: String,
    },
    /// The attempt is not the next one.
    #[error("{key}: attempt {given} of `{step}` where {expected} is due")]
    Attempt {
        /// The stream.
        key: StreamKey,
        /// The step.
        step: String,
        /// One more than there are.
        expected: u32,
        /// The entry's.
        given: u32,
    },
    /// The outcome is not that of the stream's open intent; or it is a second one.
    #[error("{key}: intent {intent} is not open")]
    NoSuchIntent {
        /// The stream.
        key: StreamKey,
        /// The intent that the outcome names.
        intent: Seq,
        /// The one that is open.
        open: Option<Seq>,
    },
    /// The outcome names the open intent and another step or attempt.
    #[error("{key}: intent {intent} is attempt {attempt} of `{step}`, which the outcome is not")]
    OtherIntent {
        /// The stream.
        key: StreamKey,
        /// The intent.
        intent: Seq,
        /// Its step.
        step: String,
        /// Its attempt.
        attempt: u32,
    },
    /// The machine has no such edge.
    #[error("{key}: no edge leads from `{from}` to `{to}`")]
    Edge {
        /// The stream.
        key: StreamKey,
        /// Its state.
        from: String,
        /// The entry's.
        to: String,
    },
    /// The state needs a step that was not done in this life.
    #[error("{key}: `{state}` needs `{step}`, which is not done")]
    NeedsEvidence {
        /// The stream.
        key: StreamKey,
        /// The state.
        state: String,
        /// The first such step, by name.
        step: String,
    },
    /// The disk is full: only outcomes and notes are accepted, from the reserve. Nothing was begun.
    #[error("{key}: the disk is full, nothing new is begun; free some space and try again")]
    Full {
        /// The stream.
        key: StreamKey,
    },
}

/// Only this crate's journals keep what [`Append`] promises.
pub(crate) mod sealed {
    pub trait Sealed {}

    impl<S: Sealed> Sealed for &mut S {}
}
