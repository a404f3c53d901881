//! Making and upgrading a journal on a disk that fails a call, and on one whose power is cut.
//!
//! After a creation there is no journal or a whole one, after an upgrade the old one or the new one, and what was recorded is
//! in it. Apart from `faults` and `power`, which begin with a journal that is there. Not here: a kill between two calls, after
//! which the disk has everything that was written (`Kept::Everything`).

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use phoenix_journal::{Append, Binding, Body, Draft, Journal, JournalError, Machine, Schema, StreamKey, Writer, upgrade, verify};
use phoenix_test_vfs::{Call, Disk, Fault, Kept, Lasts, watch};

use crate::image::{Image, beside, directory};
use crate::record::info;
use crate::resume::tries;

#[test]
fn whichever_call_fails_while_a_journal_is_made_there_is_none_or_a_whole_one() {
    let count = {
        let dir = directory();
        let watched = watch(dir.path());
        create(dir.path()).expect("a disk that is well");
        watched.count()
    };
    let mut failed = 0;
    for (number, fault, lasts) in faults(count) {
        let what = format!("{fault:?} {lasts:?} at call {number} of {count}");
        let dir = directory();
        let watched = watch(dir.path());
        watched.fail(number, fault, lasts);
        let made = create(dir.path());
        watched.heal();
        if made.is_err() {
            failed += 1;
            assert!(!dir.path().join(NAME).exists(), "{what}: something has its name");
            create(dir.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
            check_swept(dir.path(), &what);
        }
        check_usable(&dir.path().join(NAME), &OLD, 0, &what);
    }
    assert!(failed > count / 3, "only {failed} creations failed");
}

#[test]
fn wherever_the_power_is_cut_while_a_journal_is_made_there_is_none_or_a_whole_one() {
    let dir = directory();
    let watched = watch(dir.path());
    create(dir.path()).expect("a disk that is well");
    let calls = watched.calls();
    let mut disk = Disk::default();
    for (number, call) in calls.iter().enumerate() {
        disk.take(call);
        for kept in every(number) {
            // All of it has temporary names, which a power cut leaves behind or not.
            let what = format!("a cut after call {number} of {}, {kept:?}", calls.len());
            let left = directory();
            for (path, bytes) in disk.cut(kept) {
                fs::write(left.path().join(path.file_name().expect("a name")), bytes).expect("room");
            }
            create(left.path()).unwrap_or_else(|error| panic!("{what}: {error}"));
            check_usable(&left.path().join(NAME), &OLD, 0, &what);
            check_swept(left.path(), &what);
        }
    }
    // It is synced before it is renamed; its log is not renamed with it.
    let is_beside = |name: &str| name.ends_with("-wal") || name.ends_with("-journal");
    let is_main = |path: &Path| path.to_str().is_some_and(|name| name.contains(".new-") && !is_beside(name));
    let main = calls.iter().find_map(|call| Some(file_of(call)).filter(|path| is_main(path))).expect("a main file").to_owned();
    disk.take(&Call::Sync { file: main.clone() });
    let main = disk.cut(Kept::Nothing).remove(&main).expect("it was synced");
    let laid = Image { main, log: None }.lay();
    check_usable(&laid.path, &OLD, 0, "what has the name after a power cut");
}

#[test]
fn whichever_call_fails_while_a_journal_is_upgraded_it_is_the_old_one_or_the_new_one() {
    let image = recorded();
    let count = {
        let laid = image.lay();
        let watched = watch(laid.path.parent().expect("a directory"));
        upgrade(&laid.path, &NEW, &info()).expect("a disk that is well");
        watched.count()
    };
    let mut failed = 0;
    for (number, fault, lasts) in faults(count) {
        let what = format!("{fault:?} {lasts:?} at call {number} of {count}");
        let laid = image.lay();
        let watched = watch(laid.path.parent().expect("a directory"));
        watched.fail(number, fault, lasts);
        let upgraded = upgrade(&laid.path, &NEW, &info());
        watched.heal();
        failed += u64::from(upgraded.is_err());
        check_upgradable(&laid.path, &what);
    }
    assert!(failed > count / 3, "only {failed} upgrades failed");
}

#[test]
fn wherever_the_power_is_cut_while_a_journal_is_upgraded_it_is_the_old_one_or_the_new_one() {
    let image = recorded();
    let laid = image.lay();
    let watched = watch(laid.path.parent().expect("a directory"));
    upgrade(&laid.path, &NEW, &info()).expect("a disk that is well");
    let calls = watched.calls();
    let log = beside(&laid.path, "-wal");
    let mut disk = Disk::new([(laid.path.clone(), image.main)]);
    for (number, call) in calls.iter().enumerate() {
        disk.take(call);
        for kept in every(number) {
            let mut files = disk.cut(kept);
            let main = files.remove(&laid.path).expect("the main file is never deleted");
            let cut = Image { main, log: files.remove(&log) }.lay();
            check_upgradable(&cut.path, &format!("a cut after call {number} of {}, {kept:?}", calls.len()));
        }
    }
}

/// Every call in turn; broken and full, once and for good, by turns unless all are asked for.
fn faults(count: u64) -> impl Iterator<Item = (u64, Fault, Lasts)> {
    let ways = [(Fault::Broken, Lasts::Once), (Fault::Broken, Lasts::ForGood), (Fault::Full, Lasts::Once), (Fault::Full, Lasts::ForGood)];
    (0..count).flat_map(move |number| {
        let first = usize::try_from(number).unwrap_or(0);
        (first..first + tries(1, ways.len())).map(move |way| (number, ways[way % ways.len()].0, ways[way % ways.len()].1))
    })
}

fn every(number: usize) -> [Kept; 3] {
    [Kept::Nothing, Kept::Everything, Kept::Chance(number as u64)]
}

fn create(dir: &Path) -> Result<(), JournalError> {
    let binding = Binding { host: "van".to_owned(), node: "7".to_owned(), directory: "/parcels".to_owned(), device: 1 };
    Journal::create(&dir.join(NAME), &OLD, &binding, &info()).map(drop)
}

/// A journal with one entry, all of it in the main file.
fn recorded() -> Image {
    let dir = directory();
    create(dir.path()).expect("a journal");
    let path = dir.path().join(NAME);
    check_usable(&path, &OLD, 0, "a new one");
    Image { log: None, ..Image::of(&path) }
}

/// It opens, holds what it should, takes another entry, and is clean.
#[track_caller]
fn check_usable(path: &Path, schema: &Schema, entries: usize, what: &str) {
    let mut writer = Writer::open(path, schema, info()).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(writer.replay(None).expect("entries").len(), entries, "{what}");
    writer.begin(vec![declared(entries)]).unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(writer);
    assert!(verify(path).unwrap_or_else(|error| panic!("{what}: {error}")).is_clean(), "{what}");
}

/// It is the old journal, which can be upgraded, or the new one.
#[track_caller]
fn check_upgradable(path: &Path, what: &str) {
    match Writer::open(path, &OLD, info()) {
        Ok(writer) => {
            drop(writer);
            upgrade(path, &NEW, &info()).map_or_else(|error| panic!("{what}: {error}"), drop);
        }
        Err(JournalError::Newer { .. }) => {}
        Err(error) => panic!("{what}: {error}"),
    }
    check_usable(path, &NEW, 1, what);
}

/// Nothing is left of an attempt that failed.
#[track_caller]
fn check_swept(dir: &Path, what: &str) {
    let left: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains(".new-")), "{what}: {left:?}");
}

fn file_of(call: &Call) -> &Path {
    match call {
        Call::Write { file, .. } | Call::Truncate { file, .. } | Call::Sync { file } | Call::Delete { file } => file,
    }
}

fn declared(number: usize) -> Draft {
    Draft {
        stream: StreamKey::new("parcel", number.to_string()),
        life: "a".to_owned(),
        generation: 1,
        run: "r".to_owned(),
        body: Body::Declare,
        state: Cow::Borrowed("packed"),
        standing: Cow::Borrowed(""),
        payload: "{}".to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    }
}

const NAME: &str = "journal.db";

const PARCEL: Machine = Machine {
    name: "parcel",
    states: &["packed", "shipped"],
    initial: "packed",
    edges: &[("packed", "shipped")],
    needs: &[],
    begins: &[("ship", "packed")],
    standings: &[],
};

const OLD: Schema = Schema { application_id: 7, version: 1, machines: &[PARCEL] };

/// With a way back.
const NEW: Schema = Schema { version: 2, machines: &[Machine { edges: &[("packed", "shipped"), ("shipped", "packed")], ..PARCEL }], ..OLD };
