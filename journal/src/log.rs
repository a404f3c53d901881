//! Whether SQLite's log is whole: what SQLite itself passes over in silence.
//!
//! SQLite takes the log up to the first frame whose checksum is wrong and forgets the rest. After a crash that is right: only
//! the last transaction had not been synced. But a disk that took back or changed what it had synced makes the same picture,
//! with more transactions after the broken frame; going on would forget what was acknowledged. Frames after the broken one
//! cannot be used (each checksum includes all before it), but each can be checked against the checksum that the frame before
//! it *stored*, and so two things can be seen that one unsynced transaction cannot leave: a commit with more written after it,
//! and a page written twice. Runs of older frames that a shorter transaction has overwritten in part are no chain of that
//! kind: every transaction that was never synced was the last of its time.
//!
//! The format: "WAL File Format" in SQLite's documentation. The log itself carries no locks (they are on the main file and on
//! the index), so it can be opened beside a connection. Not here: the frames' content.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use crate::JournalError;
use crate::place::Place;

/// Refuses a log of which more than the last transaction is lost. Nobody may be writing.
pub(crate) fn check(place: &Place) -> Result<(), JournalError> {
    let path = place.beside("-wal");
    let log = match fs::read(&path) {
        Ok(log) => log,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(JournalError::Io { doing: "read", path, source }),
    };
    match broken(&log) {
        Some(_) if crate::sabotaged("broken_logs_are_cut_off") => Ok(()),
        Some(broken) => Err(JournalError::Damaged { path: place.main.clone(), what: broken, source: None }),
        None => Ok(()),
    }
}

/// What is wrong with a log, if entries are lost that had been synced.
fn broken(log: &[u8]) -> Option<String> {
    let header = log.get(..HEADER)?;
    let (frames, rest) =
        (frames(log), |frame: usize, of: usize| format!("its log is broken at frame {frame} of {of}, with entries after it"));
    let Some(order) = order(header) else {
        // The header is synced before the first frame is written.
        return (!frames.is_empty()).then(|| "the header of its log cannot be read, and the log is not empty".to_owned());
    };
    let salts = &header[16..24];
    let mut sum = stored(&header[24..32]);
    let mut whole = 0;
    for frame in &frames {
        let computed = frame.sum(order, sum);
        if frame.salts() != salts || computed != frame.stored() {
            break;
        }
        (sum, whole) = (computed, whole + 1);
    }
    let (first, after) = frames[whole..].split_first()?;
    // The broken frame's own checksum may be what is broken.
    let before = [first.stored(), first.sum(order, sum)];
    synced_later(first, after, order, salts, before).then(|| rest(whole + 1, frames.len()))
}

/// Whether the frames after a broken one show that a transaction had been synced before they were written.
fn synced_later(first: &Frame<'_>, after: &[Frame<'_>], order: Order, salts: &[u8], before: [Sum; 2]) -> bool {
    let mut last = first;
    let mut seeds = before.to_vec();
    let mut pages = BTreeSet::from([first.page()]);
    for frame in after {
        let follows = frame.salts() == salts && seeds.iter().any(|seed| frame.sum(order, *seed) == frame.stored());
        if follows && (last.commits() || pages.contains(&frame.page())) {
            return true;
        }
        if !follows {
            pages.clear();
        }
        pages.insert(frame.page());
        seeds = vec![frame.stored()];
        last = frame;
    }
    false
}

/// The order of the bytes in the words that checksums are made of.
#[derive(Clone, Copy, Debug)]
enum Order {
    Little,
    Big,
}

/// A checksum of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sum(u32, u32);

/// The order that a header asks for, if it is a header.
fn order(header: &[u8]) -> Option<Order> {
    let order = match word(header) & !1 {
        MAGIC if word(header) & 1 == 0 => Order::Little,
        MAGIC => Order::Big,
        _ => return None,
    };
    let known = word(&header[4..]) == VERSION && word(&header[8..]) as usize == PAGE;
    (known && sum(order, &header[..24], Sum(0, 0)) == stored(&header[24..])).then_some(order)
}

/// One frame: a header and a page.
struct Frame<'a>(&'a [u8]);

impl Frame<'_> {
    fn page(&self) -> u32 {
        word(self.0)
    }

    fn commits(&self) -> bool {
        word(&self.0[4..]) != 0
    }

    fn salts(&self) -> &[u8] {
        &self.0[8..16]
    }

    fn stored(&self) -> Sum {
        stored(&self.0[16..])
    }

    fn sum(&self, order: Order, seed: Sum) -> Sum {
        sum(order, &self.0[FRAME_HEADER..], sum(order, &self.0[..8], seed))
    }
}

fn frames(log: &[u8]) -> Vec<Frame<'_>> {
    log[HEADER..].chunks_exact(FRAME_HEADER + PAGE).map(Frame).collect()
}

fn sum(order: Order, bytes: &[u8], Sum(mut one, mut two): Sum) -> Sum {
    for pair in bytes.chunks_exact(8) {
        let word = |at: usize| {
            let word = word(&pair[at..]);
            match order {
                Order::Big => word,
                Order::Little => word.swap_bytes(),
            }
        };
        one = one.wrapping_add(word(0)).wrapping_add(two);
        two = two.wrapping_add(word(4)).wrapping_add(one);
    }
    Sum(one, two)
}

fn stored(bytes: &[u8]) -> Sum {
    Sum(word(bytes), word(&bytes[4..]))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// What a log begins with.
pub(crate) const HEADER: usize = 32;

const FRAME_HEADER: usize = 24;

/// The lowest bit of the number says in which order checksums take their words.
const MAGIC: u32 = 0x377f_0682;

const VERSION: u32 = 3_007_000;

/// SQLite's own default, which no journal was ever made without.
const PAGE: usize = 4_096;

#[cfg(test)]
mod tests;
