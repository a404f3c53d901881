//! Bits that flip: in the log, in the main file, in every frame and on every page.
//!
//! A flip is either noticed, and the file refused as it is, or it changed nothing that counts, and the fleet comes up. What is
//! never accepted is a third thing: a resume from a history that nobody wrote.

use std::path::Path;

use phoenix::driver::{RunError, rebuild};
use phoenix::host::HostError;
use phoenix_journal::{Append, JournalError, Writer};

use crate::image::{FRAME, FRAME_HEADER, Image, LOG_HEADER, PAGE};
use crate::record::{History, pair};
use crate::resume::{Became, became, chain, check_whole, tries};

/// Counts of what became of the images.
#[derive(Debug, Default)]
struct Tally {
    came_up: usize,
    refused: usize,
}

#[test]
fn a_bit_that_flips_in_the_log_is_noticed_or_changes_nothing() {
    let history = History::of_the_pair();
    let log = history.image.log.clone().expect("a log");
    let last_group = last_group(&history.image);
    let mut tally = Tally::default();
    let mut dice = Dice(1);
    let mut places: Vec<usize> = (0..LOG_HEADER).collect();
    for frame in history.image.frames() {
        places.extend((0..tries(1, 4)).map(|_| frame.at + dice.below(FRAME_HEADER)));
        places.extend((0..tries(1, 4)).map(|_| frame.at + FRAME_HEADER + dice.below(PAGE)));
    }
    for place in places {
        let bit = dice.below(8);
        let mut flipped = log.clone();
        flipped[place] ^= 1 << bit;
        let image = Image { log: Some(flipped), ..history.image.clone() };
        let what = format!("bit {bit} of byte {place} of the log (frame {})", place.saturating_sub(LOG_HEADER) / FRAME + 1);
        // Of the last group nobody can tell whether it was ever acknowledged: the world is the one before it.
        let world = if place >= last_group { history.world_after(history.last() - 1) } else { &history.world };
        judge(&history, &image, world.clone(), place < last_group, &what, &mut tally);
    }
    tell("log", &tally);
}

#[test]
fn a_bit_that_flips_in_the_main_file_is_noticed_or_changes_nothing() {
    let history = History::of_the_pair();
    let image = checkpointed(&history.image);
    let mut tally = Tally::default();
    let mut dice = Dice(2);
    // Of the first page's header every byte counts.
    let mut places: Vec<usize> = (0..100).collect();
    for page in (0..image.main.len()).step_by(PAGE) {
        places.extend((0..tries(4, 16)).map(|_| page + dice.below(PAGE)));
        // The head of a page, and what is written from its end on.
        places.extend((0..tries(2, 8)).map(|_| page + dice.below(16)));
        places.extend((0..tries(4, 16)).map(|_| page + PAGE - 1 - dice.below(PAGE / 2)));
    }
    for place in places {
        let bit = dice.below(8);
        let mut main = image.main.clone();
        main[place] ^= 1 << bit;
        let what = format!("bit {bit} of byte {place} of the main file (page {}, byte {})", place / PAGE + 1, place % PAGE);
        judge(&history, &Image { main, log: image.log.clone() }, history.world.clone(), false, &what, &mut tally);
    }
    tell("main", &tally);
}

/// Came up as a whole, or was refused with a text that names file and remedy.
#[track_caller]
fn judge(history: &History, image: &Image, world: phoenix::host::sim::World, must_refuse: bool, what: &str, tally: &mut Tally) {
    let laid = image.lay();
    match became(&laid, world, &pair(), what) {
        Became::Ran { finished, world } => {
            assert!(!must_refuse, "{what}: taken up, though entries were lost that had been acknowledged");
            check_whole(&finished, &world, &history.whole, what);
            tally.came_up += 1;
        }
        Became::Refused(error) => {
            check_text(&error, &laid.path, what);
            check_remedy(&error, &laid.path, what);
            tally.refused += 1;
        }
    }
}

/// What a person reads names the file and what to do.
#[track_caller]
pub(crate) fn check_text(error: &RunError, path: &Path, what: &str) {
    let text = chain(error);
    // Nothing vouches for the journal's own id and what it belongs to: with another one it is another host's journal.
    if matches!(error, RunError::Host(HostError::NotOurs { .. }) | RunError::OtherTerritory { .. }) {
        return;
    }
    assert!(text.contains(&*path.display().to_string()), "{what}: no file in: {text}");
    assert!(text.contains("backup") || text.contains("newer"), "{what}: nothing to do in: {text}");
    assert!(!matches!(error, RunError::Drive(_)), "{what}: noticed only after the run had begun: {text}");
}

/// Where the advice is to rebuild the journal, that is possible.
#[track_caller]
fn check_remedy(error: &RunError, path: &Path, what: &str) {
    if chain(error).contains("rebuild") {
        let place = rebuild::place(path);
        assert!(matches!(place, Ok(rebuild::InPlace::Unusable(_))), "{what}: {place:?} after: {}", chain(error));
    }
}

/// Where the frames of the last group begin.
fn last_group(image: &Image) -> usize {
    let frames = image.frames();
    let before = frames.iter().rev().skip(1).find(|frame| frame.commits).expect("more than one group");
    before.at + FRAME
}

/// The same journal with everything in its main file.
pub(crate) fn checkpointed(image: &Image) -> Image {
    let laid = image.lay();
    let writer = Writer::open(&laid.path, &phoenix::journal::SCHEMA, crate::record::info()).expect("a journal");
    assert_eq!(writer.epoch(), None);
    // A writer that ends in good order moves the log into the main file.
    drop(writer);
    let image = Image::of(&laid.path);
    assert!(image.log.as_ref().is_none_or(Vec::is_empty), "the log is empty");
    image
}

/// Places from a seed, the same on every machine (xorshift; Marsaglia, "Xorshift RNGs").
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 20).unwrap_or(0) % end
    }
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(file: &str, tally: &Tally) {
    let Tally { came_up, refused } = tally;
    println!("journal: flips file={file} images={} resumed={came_up} refused={refused}", came_up + refused);
}

/// What a damaged journal is refused with is an error of the journal, not of the host or the fleet.
#[test]
fn a_refusal_blames_the_journal() {
    let history = History::of_the_pair();
    let mut image = checkpointed(&history.image);
    image.main[0] ^= 1;
    let laid = image.lay();
    match became(&laid, history.world.clone(), &pair(), "the first byte") {
        Became::Refused(RunError::Journal(JournalError::NotAJournal { .. })) => {}
        other @ (Became::Ran { .. } | Became::Refused(_)) => panic!("{other:?}"),
    }
}
