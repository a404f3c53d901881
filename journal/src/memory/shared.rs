//! What clones of a journal in memory share: the entries, and what they have been folded into.
//!
//! Apart because it is about cost alone. A rehearsal clones a journal at every point where a crash can come, and goes on from
//! thousands of clones that have most of their past in common. Both rest on one thing: a log is only ever added to, so what was
//! folded from its beginning is never out of date. Not here: which entries are accepted.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::Entry;

/// What a history comes to, one entry after the other.
pub trait Fold: Clone + Default + Send + Sync + 'static {
    /// Takes in the next entry.
    fn take(&mut self, entry: &Entry);
}

/// Entries in order, in chunks that clones share.
#[derive(Clone, Debug, Default)]
pub(super) struct Log {
    /// Each of [`CHUNK`] entries.
    full: Arc<Vec<Arc<Vec<Arc<Entry>>>>>,
    /// Fewer than [`CHUNK`].
    last: Vec<Arc<Entry>>,
}

/// Small enough that copying a last chunk costs little, large enough that there are few.
const CHUNK: usize = 16;

impl Log {
    pub(super) fn len(&self) -> usize {
        self.full.len() * CHUNK + self.last.len()
    }

    pub(super) fn push(&mut self, entry: Entry) {
        self.last.push(Arc::new(entry));
        if self.last.len() == CHUNK {
            Arc::make_mut(&mut self.full).push(Arc::new(std::mem::take(&mut self.last)));
        }
    }

    /// The entries from this index on.
    pub(super) fn since(&self, index: usize) -> impl Iterator<Item = &Entry> {
        let full = self.full.iter().skip(index / CHUNK).flat_map(|chunk| chunk.iter());
        let skipped = index - (index / CHUNK).min(self.full.len()) * CHUNK;
        full.chain(&self.last).skip(skipped).map(|entry| &**entry)
    }
}

/// What the first entries of a log have been folded into.
#[derive(Default)]
pub(super) struct Folded(Mutex<Option<Kept>>);

#[derive(Clone)]
struct Kept {
    entries: usize,
    fold: Arc<dyn Any + Send + Sync>,
}

impl Folded {
    /// All of the log, folded; what is kept stays as it is.
    pub(super) fn up_to<F: Fold>(&self, log: &Log) -> F {
        let (entries, kept) = self.kept::<F>();
        let mut fold = F::clone(&kept);
        log.since(entries).for_each(|entry| fold.take(entry));
        fold
    }

    /// Keeps all of the log, folded.
    pub(super) fn keep<F: Fold>(&self, log: &Log) {
        let (entries, mut kept) = self.kept::<F>();
        if entries == log.len() {
            return;
        }
        // Out of its place, lest it be copied because it lies there as well.
        self.lock().take();
        let fold = Arc::make_mut(&mut kept);
        log.since(entries).for_each(|entry| fold.take(entry));
        *self.lock() = Some(Kept { entries: log.len(), fold: kept });
    }

    /// What is kept of this kind, and how many entries it holds.
    fn kept<F: Fold>(&self) -> (usize, Arc<F>) {
        let kept = self.lock().clone();
        let of_this_kind = kept.and_then(|kept| Some((kept.entries, kept.fold.downcast::<F>().ok()?)));
        of_this_kind.unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        // Whoever broke down while folding had taken out what was there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for Folded {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.lock().clone()))
    }
}

impl fmt::Debug for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Folded").field(&self.lock().as_ref().map(|kept| kept.entries)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Row;
    use crate::{Body, Digest, Epoch, JournalId, Seq, StreamKey};

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Seqs(Vec<u64>);

    impl Fold for Seqs {
        fn take(&mut self, entry: &Entry) {
            self.0.push(entry.seq.get());
        }
    }

    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Count(usize);

    impl Fold for Count {
        fn take(&mut self, _: &Entry) {
            self.0 += 1;
        }
    }

    fn entry(seq: u64) -> Entry {
        let row = Row {
            seq: Seq::new(seq),
            epoch: Epoch::new(1),
            stream: StreamKey::new("parcel", "one"),
            life: "life".to_owned(),
            generation: 1,
            run: "run".to_owned(),
            body: Body::Declare,
            state: "packed".into(),
            standing: "".into(),
            payload: "{}".to_owned(),
            at_ms: 0,
            prev_hash: Digest::ZERO,
            hash: Digest::ZERO,
        };
        Entry::out_of(JournalId::from_bytes([1; 16]), row)
    }

    fn add(log: &mut Log, count: usize) {
        for _ in 0..count {
            log.push(entry(log.len() as u64 + 1));
        }
    }

    #[test]
    fn a_log_gives_back_its_entries_from_every_index_on() {
        let mut log = Log::default();
        for len in 0..3 * CHUNK + 2 {
            assert_eq!(log.len(), len);
            for index in 0..len + 3 {
                let seqs: Vec<u64> = log.since(index).map(|entry| entry.seq.get()).collect();
                assert_eq!(seqs, (index as u64 + 1..=len as u64).collect::<Vec<_>>(), "{len} from {index}");
            }
            add(&mut log, 1);
        }
    }

    #[test]
    fn clones_of_a_log_go_on_by_themselves() {
        let mut one = Log::default();
        add(&mut one, CHUNK - 1);
        let mut other = one.clone();
        add(&mut one, 5);
        add(&mut other, 2 * CHUNK);
        assert_eq!((one.len(), other.len()), (CHUNK + 4, 3 * CHUNK - 1));
        assert_eq!(one.since(0).count(), CHUNK + 4);
        assert_eq!(other.since(0).count(), 3 * CHUNK - 1);
    }

    /// Whenever it is kept, and whatever was kept before, a fold is that of all entries.
    #[test]
    fn what_is_kept_of_a_fold_changes_nothing_of_what_it_comes_to() {
        let (mut log, folded) = (Log::default(), Folded::default());
        let whole = |log: &Log| Seqs(log.since(0).map(|entry| entry.seq.get()).collect());
        for round in 0..40 {
            add(&mut log, round % 5);
            assert_eq!(folded.up_to::<Seqs>(&log), whole(&log));
            if round % 3 == 0 {
                folded.keep::<Seqs>(&log);
            }
            let (mut later, kept) = (log.clone(), folded.clone());
            add(&mut later, 3);
            kept.keep::<Seqs>(&later);
            assert_eq!(kept.up_to::<Seqs>(&later), whole(&later));
            assert_eq!(folded.up_to::<Seqs>(&log), whole(&log));
            // Of another kind nothing is kept, and it is folded from the beginning.
            assert_eq!(kept.up_to::<Count>(&later), Count(later.len()));
        }
    }
}
