//! Power cuts on an honest disk: what was synced is there, of the rest any part may be, torn and in any order.
//!
//! At every write of two bring-ups, with a log that is moved into the main file between them. And the test of the test: on a
//! disk whose syncs do nothing, what was acknowledged is missed.

use std::path::PathBuf;

use phoenix::host::sim::{Fingerprint, World, WorldOptions};
use phoenix::journal::SCHEMA;
use phoenix::machine::RunEnd;
use phoenix_journal::Writer;
use phoenix_test_vfs::{Call, Disk, Kept, Watched, watch};

use crate::cuts::last;
use crate::fleets::wanted;
use crate::image::{Image, Laid, beside, directory};
use crate::record::{Moment, info, made, pair, play_marking};
use crate::resume::{Became, became, chain, check_whole};

#[test]
fn after_a_power_cut_at_any_write_nothing_acknowledged_is_missing_and_the_fleet_comes_up() {
    let tape = Tape::recorded(false);
    let mut disk = tape.disk();
    let mut images = 0;
    for (number, call) in tape.calls.iter().enumerate() {
        disk.take(call);
        if !disk.is_unsettled() {
            continue;
        }
        let kept = match number % 5 {
            0 => Kept::Nothing,
            1 => Kept::Everything,
            _ => Kept::Chance(number as u64),
        };
        let what = format!("a power cut after call {number}, {kept:?}");
        let moment = tape.moment(number);
        let laid = tape.laid(&disk, kept);
        assert!(last(&laid.path) >= moment.from, "{what}: acknowledged up to {}, and found up to {}", moment.from, last(&laid.path));
        let mut world = moment.world.clone();
        world.crash_host();
        match became(&laid, world, &pair(), &what) {
            Became::Ran { finished, world } => check_whole(&finished, &world, &tape.whole, &what),
            Became::Refused(error) => panic!("{what}: refused: {}", chain(&error)),
        }
        images += 1;
    }
    tell(images);
}

#[test]
fn what_is_synced_is_enough_for_everything_that_was_acknowledged() {
    let (missed, cuts) = missed_after_cuts(false);
    assert_eq!(missed, 0, "of {cuts} cuts");
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let (missed, cuts) = missed_after_cuts(true);
    assert!(missed > cuts / 2, "only {missed} of {cuts} cuts missed something");
}

/// After how many cuts, of how many, something acknowledged was missing, when all is lost that was not synced.
fn missed_after_cuts(lying: bool) -> (usize, usize) {
    let tape = Tape::recorded(lying);
    let mut disk = tape.disk();
    let mut missed = 0;
    for (number, call) in tape.calls.iter().enumerate() {
        disk.take(call);
        let laid = tape.laid(&disk, Kept::Nothing);
        missed += usize::from(last(&laid.path) < tape.moment(number).from);
    }
    (missed, tape.calls.len())
}

/// Two bring-ups, and everything that was written.
struct Tape {
    path: PathBuf,
    /// The main file before the first call.
    main: Vec<u8>,
    calls: Vec<Call>,
    /// With the number of calls at the end of each.
    moments: Vec<(Moment, usize)>,
    last: Moment,
    whole: Fingerprint,
}

impl Tape {
    /// One container alone, then its clone as well, with a writer each.
    fn recorded(lying: bool) -> Self {
        let dir = directory();
        let path = dir.path().join("journal.db");
        let mut world = made(&path, World::new(WorldOptions::seeded(11)));
        let main = Image::of(&path).main;
        let watched: Watched = watch(dir.path());
        if lying {
            watched.lie();
        }
        let mut moments = Vec::new();
        for specs in [vec![pair().remove(0)], pair()] {
            let writer = Writer::open(&path, &SCHEMA, info()).expect("a journal");
            let played = play_marking(writer, world, &wanted(specs), &|| watched.written());
            let (end, writer) = played.end.expect("a run");
            assert_eq!(end, RunEnd::Done);
            drop(writer);
            moments.extend(played.moments.into_iter().zip(played.marks));
            world = played.world;
        }
        let to = moments.last().map_or(0, |(moment, _)| moment.to);
        let whole = world.fingerprint();
        Self { path, main, calls: watched.calls(), moments, last: Moment { from: to, to, world }, whole }
    }

    fn disk(&self) -> Disk {
        Disk::new([(self.path.clone(), self.main.clone())])
    }

    /// The moment at which a call was made. What is written between two runs belongs to the moment after it.
    fn moment(&self, call: usize) -> &Moment {
        self.moments.iter().find(|(_, end)| call < *end).map_or(&self.last, |(moment, _)| moment)
    }

    fn laid(&self, disk: &Disk, kept: Kept) -> Laid {
        let mut files = disk.cut(kept);
        let log = files.remove(&beside(&self.path, "-wal"));
        let main = files.remove(&self.path).expect("the main file is never deleted");
        Image { main, log }.lay()
    }
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(images: usize) {
    println!("journal: power_cuts images={images}");
}
