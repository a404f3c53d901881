//! A journal in memory, for simulations.
//!
//! It gives the verdicts of a journal on disk and forgets everything when dropped. A clone is what a crash leaves: clone it
//! after any append, drop the original, begin again on the clone. Clones share their common past, so they cost little however
//! long that is. Not here: how it is shared (`shared`).

mod shared;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::append::sealed::Sealed;
use crate::create::Heritage;
use crate::entry::Row;
use crate::ledger::Ledger;
use crate::schema::Rules;
use crate::{Append, Digest, Draft, Entry, Epoch, EpochId, JournalError, JournalId, Position, Record, Recorded, Refused, Schema, Seq};
use crate::{Body, StreamKey};
use shared::{Folded, Log};

pub use shared::Fold;

/// A journal in memory. Hashes are not computed: `hash` and `prev_hash` are [`Digest::ZERO`].
#[derive(Clone, Debug)]
pub struct Memory {
    id: JournalId,
    rules: Arc<Rules>,
    ledger: Ledger,
    log: Log,
    /// What the log has been folded into so far.
    folded: Folded,
    /// The last epoch before the first of `epochs`.
    inherited: Epoch,
    epochs: Vec<EpochId>,
    blobs: Arc<BTreeMap<Digest, Arc<[u8]>>>,
    began: bool,
    full: bool,
}

impl Memory {
    /// An empty journal with this id.
    pub fn new(schema: &Schema, id: JournalId) -> Result<Self, JournalError> {
        Self::new_as(schema, Heritage { id, epoch: Epoch::new(0) })
    }

    /// As [`Memory::new`], in the place of a journal that is lost; see [`Journal::create_as`](crate::Journal::create_as).
    pub fn new_as(schema: &Schema, heritage: Heritage) -> Result<Self, JournalError> {
        Ok(Self {
            id: heritage.id,
            inherited: heritage.epoch,
            rules: Arc::new(Rules::of(schema)?),
            ledger: Ledger::default(),
            log: Log::default(),
            folded: Folded::default(),
            epochs: Vec::new(),
            blobs: Arc::default(),
            began: false,
            full: false,
        })
    }

    /// What a crash leaves: the same history, and no epoch begun.
    #[must_use]
    pub fn reopened(&self) -> Self {
        Self { began: false, ..self.clone() }
    }

    /// Ends the epoch, as when its writer is gone: the journal is what [`reopened`](Self::reopened) would give.
    pub fn close(&mut self) {
        self.began = false;
    }

    /// Every epoch so far, as number and random id.
    pub fn epochs(&self) -> Vec<(Epoch, EpochId)> {
        (self.inherited.get() + 1..).map(Epoch::new).zip(self.epochs.iter().copied()).collect()
    }

    /// Makes the disk full, or not: declarations and intents are refused, outcomes and notes come out of the reserve.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.log.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.log.len() == 0
    }

    /// The entries from the one with this index (from 0) on, in order.
    pub fn since(&self, index: usize) -> impl Iterator<Item = &Entry> {
        self.log.since(index)
    }

    /// All entries, folded in order. Begins with what [`keep_folded`](Self::keep_folded) has kept.
    pub fn folded<F: Fold>(&self) -> F {
        self.folded.up_to(&self.log)
    }

    /// Folds what is there now and keeps it: clones that are made from here on fold only what comes after.
    pub fn keep_folded<F: Fold>(&self) {
        self.folded.keep::<F>(&self.log);
    }

    fn append(&mut self, epoch: Epoch, mut draft: Draft) -> Result<Seq, Refused> {
        if self.full && begins_something(&draft.body) {
            return Err(Refused::Full { key: draft.stream });
        }
        self.ledger.admit(&self.rules, &draft)?;
        let seq = Seq::new(self.log.len() as u64 + 1);
        self.ledger.learn(&self.rules, seq, &draft);
        for blob in std::mem::take(&mut draft.blobs) {
            Arc::make_mut(&mut self.blobs).insert(Digest::of(&blob), blob.into());
        }
        self.log.push(Entry::out_of(self.id, Row::of(draft, seq, epoch)));
        Ok(seq)
    }

    fn append_all<T: Record>(&mut self, epoch: Epoch, batch: Vec<T>) -> Vec<Result<Recorded<T>, Refused>> {
        let id = self.id;
        batch.into_iter().map(|value| self.append(epoch, value.draft()).map(|seq| Recorded::mint(id, seq, epoch, value))).collect()
    }
}

impl Sealed for Memory {}

impl Append for Memory {
    fn journal(&self) -> JournalId {
        self.id
    }

    fn epoch(&self) -> Option<(Epoch, EpochId)> {
        let last = *self.epochs.last()?;
        self.began.then(|| (Epoch::new(self.inherited.get() + self.epochs.len() as u64), last))
    }

    fn begin<T: Record>(&mut self, first: Vec<T>) -> Result<Vec<Recorded<T>>, JournalError> {
        let (log, ledger, blobs) = (self.log.clone(), self.ledger.clone(), Arc::clone(&self.blobs));
        let epoch = Epoch::new(self.inherited.get() + self.epochs.len() as u64 + 1);
        let first: Result<Vec<_>, Refused> = self.append_all(epoch, first).into_iter().collect();
        if first.is_err() {
            (self.log, self.ledger, self.blobs) = (log, ledger, blobs);
        }
        match first {
            Ok(recorded) => {
                self.epochs.push(EpochId::derived(self.id, epoch));
                self.began = true;
                Ok(recorded)
            }
            Err(Refused::Full { key: _ }) => Err(JournalError::Full { source: None }),
            Err(refused) => Err(JournalError::NotBegun { refused }),
        }
    }

    fn append_group<T: Record>(&mut self, batch: Vec<T>) -> Result<Vec<Result<Recorded<T>, Refused>>, JournalError> {
        let (epoch, _) = self.epoch().ok_or(JournalError::NoEpoch)?;
        if self.full && !batch.is_empty() && batch.iter().all(|value| begins_something(&value.draft().body)) {
            return Err(JournalError::Full { source: None });
        }
        Ok(self.append_all(epoch, batch))
    }

    fn replay(&self, key: Option<&StreamKey>) -> Result<Vec<Entry>, JournalError> {
        let wanted = |entry: &&Entry| key.is_none_or(|key| entry.stream == *key);
        Ok(self.since(0).filter(wanted).cloned().collect())
    }

    fn positions(&self) -> Result<Vec<Position>, JournalError> {
        Ok(self.ledger.positions().cloned().collect())
    }

    fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>, JournalError> {
        Ok(self.blobs.get(digest).map(|blob| blob.to_vec()))
    }
}

/// Whether the entry is one of those that a full disk refuses.
pub(crate) fn begins_something(body: &Body) -> bool {
    match body {
        Body::Declare | Body::Intent { .. } => true,
        Body::Outcome { .. } | Body::Note { .. } => false,
    }
}
