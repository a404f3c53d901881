//! A disk that took back what it said it had synced: the world is ahead of the journal.
//!
//! A log that is merely shorter than it was cannot be told from one that was never longer. The run goes on from what the journal
//! holds, finds its own containers by their marks and by looking, and ends where a run without a crash ends; unless a script
//! whose result lies on the host is not known to the journal: then the container is set aside, and the script is not started a
//! second time. Not here: logs that are broken in the middle, which are refused (`flips`).

use std::path::Path;

use phoenix::driver::RunError;
use phoenix::engine::Stand;
use phoenix::host::sim::{Damage, ScriptEnd, Survivors, World};
use phoenix::journal::SCHEMA;
use phoenix::machine::{QuarantineReason, Standing};
use phoenix_journal::{Body, Entry, Reader};

use crate::fleets::ctid;
use crate::image::{FRAME, Image};
use crate::record::{History, pair};
use crate::resume::{Became, became, chain, check_converged, crashed, tries};

#[test]
fn a_run_whose_journal_lost_its_end_converges_or_is_set_aside_and_starts_no_script_twice() {
    let history = History::of_the_pair();
    let ends: Vec<usize> = history.image.frames().iter().filter(|frame| frame.commits).map(|frame| frame.at + FRAME).collect();
    let (mut converged, mut set_aside) = (0, 0);
    for (commits, end) in ends.iter().enumerate() {
        let image = history.image.cut(*end);
        for ahead in [3, ends.len(), 9].into_iter().take(tries(2, 3)) {
            let moment = history.moments.get(commits + ahead);
            let world = crashed(moment.map_or(&history.world, |moment| &moment.world), commits + ahead);
            let goes_on = check_goes_on(&history, &image, world, &format!("{commits} groups left, the world {ahead} ahead"));
            *(if goes_on { &mut converged } else { &mut set_aside }) += 1;
        }
    }
    assert!(converged > 0 && set_aside > 0, "{converged} and {set_aside}");
    tell(converged, set_aside);
}

/// The journal then knows of no container at all, and what bears its mark all the same is left alone: it says that it is lost.
#[test]
fn a_fleet_whose_journal_lost_everything_is_not_touched() {
    let history = History::of_the_pair();
    let laid = Image { log: None, ..history.image.clone() }.lay();
    let mut world = history.world.clone();
    world.crash_process(Survivors::Shims);
    match became(&laid, world, &pair(), "no log") {
        Became::Ran { finished, .. } => panic!("{finished:#?}"),
        Became::Refused(RunError::JournalLost { ctids, .. }) => assert_eq!(ctids, [ctid(100), ctid(101)]),
        Became::Refused(error) => panic!("refused: {}", chain(&error)),
    }
}

/// How many scripts the journal calls done.
fn known(path: &Path) -> usize {
    let entries = Reader::open(path, &SCHEMA).and_then(|reader| reader.entries(.., None)).expect("a journal");
    let is_done = |entry: &&Entry| matches!(&entry.body, Body::Outcome { step, result, .. } if is_script(step) && result == "done");
    entries.iter().filter(is_done).count()
}

fn is_script(step: &str) -> bool {
    step.starts_with("feature.apply") || step == "application.run"
}

/// Whether it came to the same end; else a container is set aside, and nothing that had succeeded was started again.
#[track_caller]
fn check_goes_on(history: &History, image: &Image, world: World, what: &str) -> bool {
    let laid = image.lay();
    let unknown = world.starts().filter(|start| matches!(start.end, ScriptEnd::Succeeded | ScriptEnd::Running)).count() > known(&laid.path);
    match became(&laid, world, &pair(), what) {
        Became::Refused(error) => panic!("{what}: refused: {}", chain(&error)),
        Became::Ran { finished, world } => {
            let is_older = |stand: &Stand| matches!(stand, Stand::Stuck(Standing::Quarantined(found)) if found.reason == QuarantineReason::JournalOlder);
            let set_aside = finished.stands.values().any(is_older);
            assert!(!set_aside || unknown, "{what}: set aside, though the journal knows of every script that succeeded: {finished:#?}");
            if !set_aside {
                check_converged(&finished, &world, &history.whole, what);
            }
            // That a source was asked to be held is lost with the rest.
            let other = world.damage().iter().find(|damage| !matches!(damage, Damage::StartedWhileHeld { .. }));
            assert_eq!(other, None, "{what}");
            let again: Vec<_> = world.starts().filter(|start| !start.is_explained()).collect();
            assert!(again.is_empty(), "{what}: {again:#?}");
            !set_aside
        }
    }
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(converged: usize, set_aside: usize) {
    println!("journal: lies images={} converged={converged} set_aside={set_aside}", converged + set_aside);
}
