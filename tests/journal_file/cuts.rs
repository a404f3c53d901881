//! A log that was cut off: at every frame, and inside.
//!
//! What a crash of the host leaves of the last group that was being written. The world is the one of that moment.

use std::collections::BTreeMap;

use phoenix::journal::SCHEMA;
use phoenix_journal::Reader;

use crate::image::{FRAME, FRAME_HEADER, LOG_HEADER};
use crate::record::{History, pair};
use crate::resume::{check_comes_up, crashed, tries};

#[test]
fn a_cut_log_gives_exactly_the_committed_prefix_and_the_fleet_comes_up() {
    let history = History::of_the_pair();
    let frames = history.image.frames();
    let mut images = 0_usize;
    let mut prefixes = BTreeMap::new();
    for cut in cuts(&frames.iter().map(|frame| frame.at).collect::<Vec<_>>()) {
        let whole = frames.iter().take_while(|frame| frame.at + FRAME <= cut);
        let commits = whole.filter(|frame| frame.commits).count();
        let laid = history.image.cut(cut).lay();
        let last = last(&laid.path);
        let known = *prefixes.entry(commits).or_insert(last);
        assert_eq!(known, last, "a log cut at byte {cut} gives another prefix than one cut after the same {commits} groups");
        images += 1;
        // Every second one is only opened: the one before it gave the same prefix, or the next one does.
        if !images.is_multiple_of(tries(2, 1)) {
            continue;
        }
        let world = crashed(history.world_after(last), images / 2);
        check_comes_up(&laid, world, &pair(), &history.whole, &format!("cut at byte {cut}, after entry {last}"));
    }
    assert_eq!(prefixes.values().max(), Some(&history.last()));
    assert!(prefixes.values().zip(prefixes.values().skip(1)).all(|(one, next)| one < next), "{prefixes:?}");
    tell(images, frames.len(), prefixes.len());
}

/// Inside the log's header; at each frame's beginning, and inside it at one of four places in turn; and the whole log.
fn cuts(frames: &[usize]) -> Vec<usize> {
    let inside = [1, FRAME_HEADER, FRAME_HEADER + 512, FRAME - 1];
    let header = [0, 1, LOG_HEADER - 1];
    let end = frames.last().map_or(LOG_HEADER, |at| at + FRAME);
    let pairs = frames.iter().zip(inside.iter().cycle()).flat_map(|(at, more)| [*at, at + more]);
    header.into_iter().chain(pairs).chain([end]).collect()
}

/// The number of the last entry that a journal gives.
pub(crate) fn last(path: &std::path::Path) -> u64 {
    let reader = Reader::open(path, &SCHEMA).expect("a journal");
    reader.positions().expect("positions").iter().map(|position| position.last_seq.get()).max().unwrap_or(0)
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(images: usize, frames: usize, prefixes: usize) {
    println!("journal: cuts images={images} frames={frames} prefixes={prefixes}");
}
