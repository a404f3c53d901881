//! Logs put together by hand, in both orders of bytes: the machine that tests run on writes only one.

use super::*;

/// A log that is being written.
struct Log {
    bytes: Vec<u8>,
    order: Order,
    sum: (u32, u32),
}

const SALTS: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];
const OLD_SALTS: [u8; 8] = [0, 2, 3, 4, 5, 6, 7, 8];
const ORDERS: [Order; 2] = [Order::Little, Order::Big];
/// Pages that a transaction changes besides; `COMMIT` is what the last frame of one says: how many pages the file has.
const MORE: u32 = 0;
const COMMIT: u32 = 9;

impl Log {
    fn new(order: Order) -> Self {
        Self::with(order, VERSION, 4_096)
    }

    fn with(order: Order, version: u32, page: u32) -> Self {
        let magic: u32 = match order {
            Order::Little => 0x377f_0682,
            Order::Big => 0x377f_0683,
        };
        let mut bytes: Vec<u8> = [magic, version, page, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
        bytes.extend(SALTS);
        let sum = add(order, &bytes, (0, 0));
        bytes.extend([sum.0, sum.1].iter().flat_map(|word| word.to_be_bytes()));
        Self { bytes, order, sum }
    }

    /// Appends a frame for a page, as SQLite does.
    fn frame(&mut self, page: u32, commit: u32) -> &mut Self {
        let head: Vec<u8> = [page, commit].iter().flat_map(|word| word.to_be_bytes()).collect();
        let content = vec![page.to_le_bytes()[0] ^ 0x5a; 4_096];
        self.sum = add(self.order, &content, add(self.order, &head, self.sum));
        self.bytes.extend(head);
        self.bytes.extend(SALTS);
        self.bytes.extend([self.sum.0, self.sum.1].iter().flat_map(|word| word.to_be_bytes()));
        self.bytes.extend(content);
        self
    }

    /// The log with one byte changed in the content of its `number`th frame, counted from one.
    fn broken_at(&self, number: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[start_of(number) + 24 + 7] ^= 1;
        bytes
    }

    /// The log with one byte of the checksum changed that its `number`th frame stores.
    fn unsigned_at(&self, number: usize) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        bytes[start_of(number) + 16] ^= 1;
        bytes
    }
}

/// The checksum as SQLite's documentation of the format words it: eight bytes at a time, as two words.
fn add(order: Order, bytes: &[u8], (mut first, mut second): (u32, u32)) -> (u32, u32) {
    let word = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes");
        match order {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    };
    for eight in bytes.chunks(8) {
        first = first.wrapping_add(word(&eight[..4])).wrapping_add(second);
        second = second.wrapping_add(word(&eight[4..])).wrapping_add(first);
    }
    (first, second)
}

fn start_of(number: usize) -> usize {
    32 + (number - 1) * (24 + 4_096)
}

/// A log of `of` frames whose `number`th is broken.
fn at(number: usize, of: usize) -> String {
    format!("its log is broken at frame {number} of {of}, with entries after it")
}

#[test]
fn a_whole_log_is_whole_in_either_order_of_bytes() {
    for order in ORDERS {
        let mut log = Log::new(order);
        assert_eq!(broken(&log.bytes), None, "{order:?}: without a frame");
        log.frame(2, MORE).frame(3, COMMIT).frame(2, COMMIT);
        assert_eq!(broken(&log.bytes), None, "{order:?}");
    }
    assert_eq!(broken(&[]), None);
    assert_eq!(broken(&Log::new(Order::Little).bytes[..31]), None, "not even a header");
}

#[test]
fn a_transaction_that_was_never_synced_is_no_damage() {
    for order in ORDERS {
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, MORE).frame(5, COMMIT);
        for number in 2..=4 {
            assert_eq!(broken(&log.broken_at(number)), None, "{order:?}: {number}");
            assert_eq!(broken(&log.unsigned_at(number)), None, "{order:?}: {number}");
            assert_eq!(broken(&log.bytes[..start_of(number) + 100]), None, "{order:?}: {number} is half there");
        }
    }
}

#[test]
fn a_commit_with_more_after_it_had_been_synced() {
    for order in ORDERS {
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, COMMIT).frame(5, COMMIT);
        for number in 1..=3 {
            assert_eq!(broken(&log.broken_at(number)), Some(at(number, 4)), "{order:?}");
            assert_eq!(broken(&log.unsigned_at(number)), Some(at(number, 4)), "{order:?}");
        }
        assert_eq!(broken(&log.broken_at(4)), None, "{order:?}: the last one may not have been");
    }
}

#[test]
fn one_transaction_writes_no_page_twice() {
    for order in ORDERS {
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, MORE).frame(3, MORE);
        assert_eq!(broken(&log.broken_at(2)), Some(at(2, 4)), "{order:?}: the broken frame's own page");
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, MORE).frame(5, MORE).frame(4, MORE);
        assert_eq!(broken(&log.broken_at(2)), Some(at(2, 5)), "{order:?}: a page after it");
    }
}

/// What a shorter transaction has overwritten in part is of an older time: it follows on nothing.
#[test]
fn frames_that_follow_on_nothing_prove_nothing() {
    for order in ORDERS {
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, COMMIT).frame(5, MORE);
        // Broken twice: the fourth frame cannot be checked against the third, nor that against the second.
        let mut bytes = log.broken_at(2);
        for number in [3, 4] {
            bytes[start_of(number) + 24] ^= 1;
        }
        assert_eq!(broken(&bytes), None, "{order:?}");

        // Of other salts, whatever else they say.
        let mut bytes = log.broken_at(2);
        for number in 2..=4 {
            bytes[start_of(number) + 8..start_of(number) + 16].copy_from_slice(&OLD_SALTS);
        }
        assert_eq!(broken(&bytes), None, "{order:?}");

        // A page of before a gap is not written twice after it.
        let mut log = Log::new(order);
        log.frame(2, COMMIT).frame(3, MORE).frame(4, MORE).frame(5, MORE).frame(3, MORE);
        let mut bytes = log.broken_at(2);
        bytes[start_of(4) + 24] ^= 1;
        assert_eq!(broken(&bytes), None, "{order:?}");
    }
}

/// Frames of an older time have whole checksums of their own.
#[test]
fn frames_of_other_salts_end_the_log() {
    for order in ORDERS {
        let mut log = Log::new(order);
        log.frame(2, COMMIT);
        let mut bytes = log.bytes.clone();
        log.frame(3, COMMIT).frame(4, COMMIT);
        let mut older = log.bytes[start_of(2)..].to_vec();
        for frame in [0, 24 + 4_096] {
            older[frame + 8..frame + 16].copy_from_slice(&OLD_SALTS);
        }
        bytes.extend(older);
        assert_eq!(broken(&bytes), None, "{order:?}");
    }
}

#[test]
fn a_header_that_cannot_be_read_is_damage_once_there_are_frames() {
    let unread = Some("the header of its log cannot be read, and the log is not empty".to_owned());
    for order in ORDERS {
        let with_frame = |mut log: Log| {
            let empty = log.bytes.clone();
            log.frame(2, COMMIT);
            (empty, log.bytes)
        };
        let spoilt = |at: usize| {
            let (mut empty, mut bytes) = with_frame(Log::new(order));
            empty[at] ^= 4;
            bytes[at] ^= 4;
            (empty, bytes)
        };
        // The magic number, the version, the size of a page, salts, and each half of the checksum.
        for (empty, bytes) in [1, 3, 6, 10, 20, 25, 30].map(spoilt) {
            assert_eq!((broken(&empty), broken(&bytes)), (None, unread.clone()), "{order:?}");
        }
        // Another format is none of ours, even if its checksum is right.
        for log in [Log::with(order, VERSION + 1, 4_096), Log::with(order, VERSION, 1_024)] {
            let (empty, bytes) = with_frame(log);
            assert_eq!((broken(&empty), broken(&bytes)), (None, unread.clone()), "{order:?}");
        }
    }
}

#[test]
fn a_log_that_cannot_be_read_is_no_missing_log() {
    let dir = tempfile::tempdir().expect("room");
    let place = Place { main: dir.path().join("journal"), dir: dir.path().to_owned() };
    check(&place).expect("no log");
    fs::create_dir(place.beside("-wal")).expect("a directory");
    let refused = check(&place).expect_err("a directory");
    assert!(matches!(refused, JournalError::Io { doing: "read", .. }), "{refused}");
}
