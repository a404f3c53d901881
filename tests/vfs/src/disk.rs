//! A disk as a power cut leaves it: what was synced, and of the rest whatever chance lets through.
//!
//! Writes that were not synced may be kept, lost, torn at any boundary of 512 bytes, and in any order; the file systems that
//! this stands for order nothing between two syncs of a file. Pure: calls in, files out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::watched::Call;

/// Files with what is durable, and what is not yet.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    files: BTreeMap<PathBuf, File>,
}

/// What a power cut lets through of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// Everything: the cut came just before the sync returned.
    Everything,
    /// Each write or not, whole sectors of it or not, by this seed.
    Chance(u64),
}

#[derive(Clone, Debug, Default)]
struct File {
    durable: Option<Vec<u8>>,
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: std::sync::Arc<[u8]> },
    Truncate { length: usize },
    Delete,
}

impl Disk {
    /// A disk with these files, durable.
    pub fn new(files: impl IntoIterator<Item = (PathBuf, Vec<u8>)>) -> Self {
        let file = |(path, bytes)| (path, File { durable: Some(bytes), pending: Vec::new() });
        Self { files: files.into_iter().map(file).collect() }
    }

    /// Takes in a call.
    pub fn take(&mut self, call: &Call) {
        let mut change = |path: &PathBuf, change| self.files.entry(path.clone()).or_default().pending.push(change);
        let place = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        match call {
            Call::Write { file, at, bytes } => change(file, Change::Write { at: place(*at), bytes: bytes.clone() }),
            Call::Truncate { file, length } => change(file, Change::Truncate { length: place(*length) }),
            Call::Delete { file } => change(file, Change::Delete),
            Call::Sync { file } => {
                let file = self.files.entry(file.clone()).or_default();
                for change in std::mem::take(&mut file.pending) {
                    change.apply(&mut file.durable, &mut |_| true);
                }
            }
        }
    }

    /// Whether anything is not durable.
    pub fn is_unsettled(&self) -> bool {
        self.files.values().any(|file| !file.pending.is_empty())
    }

    /// The files after a power cut.
    pub fn cut(&self, kept: Kept) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut dice = Dice(match kept {
            Kept::Chance(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            Kept::Nothing | Kept::Everything => 1,
        });
        let mut found = BTreeMap::new();
        for (path, file) in &self.files {
            let mut bytes = file.durable.clone();
            for change in dice.shuffled(&file.pending, kept) {
                change.apply(&mut bytes, &mut |_| match kept {
                    Kept::Nothing => false,
                    Kept::Everything => true,
                    Kept::Chance(_) => dice.below(8) != 0,
                });
            }
            found.extend(bytes.map(|bytes| (path.clone(), bytes)));
        }
        found
    }
}

impl Change {
    /// Does it, but for the sectors that are not let through.
    fn apply(&self, file: &mut Option<Vec<u8>>, passes: &mut dyn FnMut(usize) -> bool) {
        match self {
            Self::Write { at, bytes } => {
                let file = file.get_or_insert_default();
                let mut from = 0;
                while from < bytes.len() {
                    let to = ((at + from) / SECTOR * SECTOR + SECTOR - at).min(bytes.len());
                    if passes(from) {
                        let end = at + to;
                        if file.len() < end {
                            file.resize(end, 0);
                        }
                        file[at + from..end].copy_from_slice(&bytes[from..to]);
                    }
                    from = to;
                }
            }
            Self::Truncate { length } => {
                if passes(0) {
                    file.get_or_insert_default().resize(*length, 0);
                }
            }
            Self::Delete => {
                if passes(0) {
                    *file = None;
                }
            }
        }
    }
}

/// Chance from a seed (xorshift; Marsaglia, "Xorshift RNGs").
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 24).unwrap_or(0) % end
    }

    /// The changes in the order in which they reach the disk; by chance a part of them.
    fn shuffled<'a>(&mut self, changes: &'a [Change], kept: Kept) -> Vec<&'a Change> {
        let mut order: Vec<&Change> = changes.iter().collect();
        if let Kept::Chance(_) = kept {
            for at in (1..order.len()).rev() {
                order.swap(at, self.below(at + 1));
            }
            let keep = self.below(order.len() + 1);
            order.truncate(keep);
        }
        order
    }
}

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
