//! The proof that something is in a journal.
//!
//! Apart because its privacy is the point: a [`Recorded`] is made after the commit, here alone, and a function that takes one
//! by value cannot be called for what was never recorded, nor twice for what was recorded once.

use std::ops::Deref;

use crate::{Draft, Entry, Epoch, JournalId, Seq};

/// A value that a journal holds durably, with its place there.
///
/// It is neither `Clone` nor deserializable, and only journals make it:
///
/// ```compile_fail
/// fn twice<T>(recorded: phoenix_journal::Recorded<T>) {
///     let _copy = recorded.clone();
///     let _moved: T = recorded.into_inner();
/// }
/// fn needs_clone<T: Clone>(value: &T) -> T { value.clone() }
/// fn really<T>(recorded: phoenix_journal::Recorded<T>) { needs_clone(&recorded); }
/// ```
#[derive(Debug)]
pub struct Recorded<T> {
    journal: JournalId,
    seq: Seq,
    epoch: Epoch,
    value: T,
}

/// What can be appended. The entry derives from the value itself, so that what is recorded is what is carried out.
pub trait Record {
    /// The entry that says this.
    fn draft(&self) -> Draft;
}

impl Record for Draft {
    fn draft(&self) -> Draft {
        self.clone()
    }
}

/// What can be minted from history. A type that stands for *doing* something implements [`Record`] alone: read back, an effect
/// is a thing of the past.
pub trait Replay: Sized {
    /// Why an entry is not one of these.
    type Error;

    /// Reads an entry.
    fn from_entry(entry: &Entry) -> Result<Self, Self::Error>;
}

/// What a recorded whole contains: the effect in a recorded line, say. Only the crate of the part can say what it is a part of
/// (the trait is foreign to all others), and each part has one whole, so that recorded parts cannot be forged.
pub trait Part: Sized {
    /// What it is a part of.
    type Whole;

    /// Takes the part out, or gives back a whole that does not have it.
    fn part(whole: Self::Whole) -> Result<Self, Self::Whole>;
}

impl<T> Recorded<T> {
    pub(crate) fn mint(journal: JournalId, seq: Seq, epoch: Epoch, value: T) -> Self {
        Self { journal, seq, epoch, value }
    }

    /// The journal that holds it.
    pub fn journal(&self) -> JournalId {
        self.journal
    }

    /// Its place there.
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The epoch in which it was written.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The value.
    pub fn get(&self) -> &T {
        &self.value
    }

    /// The value, without the proof.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The part, with the place of the whole; or the whole again if it does not have one.
    pub fn part<P: Part<Whole = T>>(self) -> Result<Recorded<P>, Self> {
        let Self { journal, seq, epoch, value } = self;
        match P::part(value) {
            Ok(value) => Ok(Recorded { journal, seq, epoch, value }),
            Err(value) => Err(Self { journal, seq, epoch, value }),
        }
    }
}

impl<T> Deref for Recorded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
