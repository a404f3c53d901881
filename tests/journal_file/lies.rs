//! A disk that took back what it said it had synced: the world is ahead of the journal.
//!
//! Nothing can be promised then (docs/guarantees.md), and this says what happens all the same. A log that is merely shorter
//! than it was cannot be told from one that was never longer. The run goes on from what the journal holds, finds its own
//! containers by their marks and by looking, and ends where a run without a crash ends; what it repeats is what the journal
//! does not know of. Not here: logs that are broken in the middle, which are refused (`flips`).

use phoenix::engine::Stand;
use phoenix::host::sim::{Damage, Survivors, World};
use phoenix::machine::Standing;
use phoenix_journal::Body;

use crate::fleets::ctid;
use crate::image::{FRAME, Image};
use crate::record::{History, pair};
use crate::resume::{Became, became, chain, check_converged, check_innocent, crashed, tries};

#[test]
fn a_run_whose_journal_lost_its_end_converges_and_repeats_only_what_was_lost() {
    let history = History::of_the_pair();
    let ends: Vec<usize> = history.image.frames().iter().filter(|frame| frame.commits).map(|frame| frame.at + FRAME).collect();
    let mut repeated = 0;
    for (commits, end) in ends.iter().enumerate() {
        let image = history.image.cut(*end);
        for ahead in [3, ends.len(), 9].into_iter().take(tries(2, 3)) {
            let moment = history.moments.get(commits + ahead);
            let world = crashed(moment.map_or(&history.world, |moment| &moment.world), commits + ahead);
            repeated += check_goes_on(&history, &image, world, &format!("{commits} groups left, the world {ahead} ahead"));
        }
    }
    tell(ends.len() * tries(2, 3), repeated);
}

/// The journal then knows of no container at all, and what bears its mark all the same is left alone.
#[test]
fn a_fleet_whose_journal_lost_everything_is_not_touched() {
    let history = History::of_the_pair();
    let laid = Image { log: None, ..history.image.clone() }.lay();
    let mut world = history.world.clone();
    world.crash_process(Survivors::Shims);
    let before = world.fingerprint();
    match became(&laid, world, &pair(), "no log") {
        Became::Ran { finished, world } => {
            assert!(matches!(finished.stands[&ctid(100)], Stand::Stuck(Standing::Quarantined(_))), "{:#?}", finished.stands);
            assert_eq!(finished.stands[&ctid(101)], Stand::Blocked(ctid(100)));
            assert_eq!(world.fingerprint(), before);
            check_innocent(&world, "no log");
        }
        Became::Refused(error) => panic!("refused: {}", chain(&error)),
    }
}

/// Gives the number of scripts that were run again.
#[track_caller]
fn check_goes_on(history: &History, image: &Image, world: World, what: &str) -> usize {
    let known = scripts_done(image);
    let laid = image.lay();
    match became(&laid, world, &pair(), what) {
        Became::Refused(error) => panic!("{what}: refused: {}", chain(&error)),
        Became::Ran { finished, world } => {
            check_converged(&finished, &world, &history.whole, what);
            // That a source was asked to be held is lost with the rest.
            let other = world.damage().iter().find(|damage| !matches!(damage, Damage::StartedWhileHeld { .. }));
            assert_eq!(other, None, "{what}");
            let again: Vec<_> = world.starts().filter(|start| !start.is_explained()).collect();
            for start in &again {
                let name = (start.ctid.to_string(), start.step.clone().id().to_string());
                assert!(!known.contains(&name), "{what}: repeated though the journal knows it as done: {start:#?}");
            }
            again.len()
        }
    }
}

/// The scripts whose outcomes the journal still has.
fn scripts_done(image: &Image) -> Vec<(String, String)> {
    let laid = image.lay();
    let reader = phoenix_journal::Reader::open(&laid.path, &phoenix::journal::SCHEMA).expect("a journal");
    let entries = reader.entries(.., None).expect("entries");
    let outcome = |entry: &phoenix_journal::Entry| match &entry.body {
        Body::Outcome { step, .. } => Some((entry.stream.stream.clone(), step.clone())),
        Body::Declare | Body::Intent { .. } | Body::Note { .. } => None,
    };
    entries.iter().filter_map(outcome).collect()
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(images: usize, repeated: usize) {
    println!("journal: lies images={images} scripts_run_twice={repeated}");
}
