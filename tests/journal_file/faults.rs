//! A disk that fails a call: every call of a bring-up in turn, once or for good, broken and full.
//!
//! What is tested is the writer's part; the process is taken to die with the error, as it does, and to be started again on a
//! disk that is well. Not here: a real full file system (`place`).

use phoenix::host::sim::{Fingerprint, World, WorldOptions};
use phoenix::journal::{Account, SCHEMA};
use phoenix::machine::RunEnd;
use phoenix::manifest::Spec;
use phoenix_journal::{Append, JournalError, Writer};
use phoenix_test_vfs::{Fault, Kind, Lasts, Watched, watch};

use crate::fleets::{mounted, spec, wanted};
use crate::image::directory;
use crate::record::{Played, info, made, play};
use crate::resume::{chain, check_whole, crashed, take_up, tries};

#[test]
fn whichever_call_the_disk_breaks_the_fleet_comes_up_afterwards() {
    let kinds = check_every_call(Fault::Broken);
    for kind in [Kind::Open, Kind::Read, Kind::Write, Kind::Sync, Kind::Truncate, Kind::Size] {
        assert!(kinds.contains(&kind), "no {kind:?} was ever made to fail");
    }
}

#[test]
fn whichever_write_finds_the_disk_full_the_fleet_comes_up_afterwards() {
    let kinds = check_every_call(Fault::Full);
    assert!(kinds.iter().all(|kind| *kind == Kind::Write) && !kinds.is_empty(), "{kinds:?}");
}

/// A few of the same, for whoever has no time for all.
#[test]
fn a_run_ends_with_the_first_append_that_fails() {
    let whole = Cut::at(None);
    let (count, whole) = (whole.watched.count(), whole.world.fingerprint());
    for quarter in 1..4 {
        let (_, stopped) = check_call(count * quarter / 4, Fault::Full, Lasts::ForGood, &whole);
        assert!(stopped, "it went on with a disk that is full from call {} on", count * quarter / 4);
    }
}

/// Whatever the other container had under way: its outcome comes out of the reserve, and only then does the run end.
#[test]
fn a_disk_that_is_full_for_a_moment_leaves_nothing_in_doubt() {
    let two = || vec![spec(100), mounted(spec(101), "media")];
    let (count, mut stopped) = (Cut::of(two(), None).watched.count(), 0);
    for number in (0..count).step_by(tries(7, 1)) {
        let cut = Cut::of(two(), Some((number, Fault::Full, Lasts::Once)));
        let Some(error) = &cut.error else { continue };
        check_error(error, Fault::Full, &format!("call {number}"));
        stopped += 1;
        let writer = Writer::open(&cut.dir.path().join("journal.db"), &SCHEMA, info()).expect("a journal");
        let lives = Account::of(writer.replay(None).expect("entries")).lives;
        let open: Vec<_> = lives.values().flatten().filter_map(|life| life.open()).collect();
        assert!(open.is_empty(), "{count} calls, the disk full at {number}: {open:?}");
    }
    assert!(stopped > 0, "none of {count} calls was one that has to find room");
}

/// One run, with a call that fails.
struct Cut {
    dir: tempfile::TempDir,
    watched: Watched,
    world: World,
    /// How the run ended; nothing if it had ended before the disk failed, or got over it.
    error: Option<JournalError>,
}

impl Cut {
    fn at(plan: Option<(u64, Fault, Lasts)>) -> Self {
        Self::of(solo(), plan)
    }

    fn of(specs: Vec<Spec>, plan: Option<(u64, Fault, Lasts)>) -> Self {
        let dir = directory();
        let path = dir.path().join("journal.db");
        let world = made(&path, World::new(WorldOptions::seeded(3)));
        let watched = watch(dir.path());
        if let Some((number, fault, lasts)) = plan {
            watched.fail(number, fault, lasts);
        }
        let (world, error) = match Writer::open(&path, &SCHEMA, info()) {
            Err(error) => (world, Some(error)),
            Ok(writer) => {
                let Played { world, end, .. } = play(writer, world, &wanted(specs));
                let ended = end.map(|(end, writer)| {
                    drop(writer);
                    assert_eq!(end, RunEnd::Done);
                });
                (world, ended.err())
            }
        };
        Self { dir, watched, world, error }
    }
}

/// A container with a directory, a script and a health check.
fn solo() -> Vec<Spec> {
    vec![mounted(spec(100), "media")]
}

fn check_every_call(fault: Fault) -> Vec<Kind> {
    let whole = Cut::at(None);
    assert!(whole.error.is_none(), "{:?}", whole.error);
    let (count, whole) = (whole.watched.count(), whole.world.fingerprint());
    let (mut kinds, mut stopped) = (Vec::new(), 0);
    for number in 0..count {
        let both = if number.is_multiple_of(2) { [Lasts::Once, Lasts::ForGood] } else { [Lasts::ForGood, Lasts::Once] };
        for lasts in both.into_iter().take(tries(1, 2)) {
            let hit = check_call(number, fault, lasts, &whole);
            stopped += usize::from(hit.1);
            kinds.extend(hit.0);
        }
    }
    tell(fault, count, stopped);
    kinds
}

/// Gives the kinds of calls that failed, and whether the run stopped.
#[track_caller]
fn check_call(number: u64, fault: Fault, lasts: Lasts, whole: &Fingerprint) -> (Vec<Kind>, bool) {
    let what = format!("{fault:?} {lasts:?} at call {number}");
    let cut = Cut::at(Some((number, fault, lasts)));
    if let Some(error) = &cut.error {
        check_error(error, fault, &what);
    }
    cut.watched.heal();
    let world = crashed(&cut.world, usize::try_from(number / 2).unwrap_or(0));
    let (finished, world) =
        take_up(&cut.dir.path().join("journal.db"), world, &solo()).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
    check_whole(&finished, &world, whole, &what);
    (cut.watched.hit(), cut.error.is_some())
}

/// What the run stopped with says what the disk did, and does not take it for damage.
#[track_caller]
fn check_error(error: &JournalError, fault: Fault, what: &str) {
    let fits = match fault {
        Fault::Broken => matches!(error, JournalError::Sqlite { .. } | JournalError::Poisoned { .. }),
        Fault::Full => matches!(error, JournalError::Full { .. }),
    };
    assert!(fits, "{what}: {error:?}");
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(fault: Fault, count: u64, stopped: usize) {
    let fault = match fault {
        Fault::Broken => "eio",
        Fault::Full => "enospc",
    };
    println!("journal: failing_calls fault={fault} calls={count} stopped={stopped}");
}
