//! What is at the edge: numbers that are none, generations that do not follow, and journals that are too large to be looked at
//! whole each time.

mod parcel;

use std::fs;
use std::path::Path;

use parcel::{SCHEMA, declare, info, intent, made, note, open, outcome};
use phoenix_journal::{Append, Draft, Journal, JournalError, Machine, Memory, Refused, Schema, StreamKey, Writer};

/// The verdict on the last of these drafts, after the others were taken: on disk, which must be that in memory.
#[track_caller]
fn verdict(drafts: &[Draft]) -> Result<(), Refused> {
    verdict_by(&SCHEMA, drafts)
}

/// The same in journals of other rows.
#[track_caller]
fn verdict_by(schema: &Schema, drafts: &[Draft]) -> Result<(), Refused> {
    let last_of = |journal: &mut dyn FnMut(Vec<Draft>) -> Vec<Option<Refused>>| {
        let mut verdicts = journal(drafts.to_vec());
        let last = verdicts.pop().expect("a draft");
        assert!(verdicts.iter().all(Option::is_none), "{verdicts:?}");
        last.map_or(Ok(()), Err)
    };
    let (dir, id) = (tempfile::tempdir().expect("room"), phoenix_journal::JournalId::from_bytes([1; 16]));
    let path = dir.path().join("parcels.journal");
    Journal::create(&path, schema, &parcel::binding(), &info()).expect("a new journal");
    let mut memory = Memory::new(schema, id).expect("a schema");
    let mut writer = Writer::open(&path, schema, info()).expect("nobody else writes");
    writer.begin(Vec::<Draft>::new()).expect("an epoch");
    memory.begin(Vec::<Draft>::new()).expect("an epoch");
    let on_disk = last_of(&mut |batch| writer.append_group(batch).expect("a disk").into_iter().map(Result::err).collect());
    let in_memory = last_of(&mut |batch| memory.append_group(batch).expect("memory").into_iter().map(Result::err).collect());
    assert_eq!(on_disk, in_memory);
    on_disk
}

#[test]
fn generations_and_attempts_are_numbers_from_one_on() {
    let out_of_range = Err(Refused::Malformed { what: "generation or attempt is out of range" });
    for generation in [0, u64::MAX] {
        assert_eq!(verdict(&[Draft { generation, ..declare("a") }]), out_of_range, "{generation}");
    }
    assert_eq!(verdict(&[declare("a"), intent("a", "label", 0, "packed")]), out_of_range);
    assert_eq!(verdict(&[declare("a"), intent("a", "label", 1, "packed")]), Ok(()));
}

#[test]
fn a_declaration_raises_the_generation_unless_it_begins_a_life() {
    let again = |life: &str, generation| Draft { life: life.to_owned(), generation, ..declare("a") };
    for (life, generation, accepted) in
        [("first", 1, false), ("first", 2, true), ("first", 3, false), ("second", 1, true), ("second", 2, true), ("second", 3, false)]
    {
        let verdict = verdict(&[declare("a"), again(life, generation)]);
        assert_eq!(verdict.is_ok(), accepted, "{life} {generation}: {verdict:?}");
    }
}

#[test]
fn the_evidence_that_is_missing_is_named() {
    const WEIGHED: Schema = Schema {
        machines: &[Machine { needs: &[("labelled", "label"), ("labelled", "weigh")], ..parcel::PARCEL }, parcel::TOUR],
        ..SCHEMA
    };
    let labelled = |result| [declare("a"), intent("a", "label", 1, "packed"), outcome("a", 2, "label", 1, result, "labelled")];
    let missing = |step: &str| {
        Err(Refused::NeedsEvidence { key: StreamKey::new("parcel", "a"), state: "labelled".to_owned(), step: step.to_owned() })
    };
    assert_eq!(verdict(&labelled("done")), Ok(()));
    assert_eq!(verdict(&labelled("failed")), missing("label"), "what failed proves nothing");
    assert_eq!(verdict_by(&WEIGHED, &labelled("done")), missing("weigh"), "what was done just now is not missing");
    assert_eq!(verdict_by(&WEIGHED, &labelled("failed")), missing("label"), "the first of two");
}

/// Changes these bytes where they lie in the main file.
fn alter(path: &Path, from: &[u8], to: &[u8]) {
    let mut bytes = fs::read(path).expect("a main file");
    let near = [0..bytes.len().min(1 << 20), bytes.len().saturating_sub(1 << 20)..bytes.len()];
    let places: Vec<usize> = near.into_iter().flatten().filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "it is there");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    fs::write(path, bytes).expect("room");
}

#[test]
fn a_large_journal_is_looked_at_whole_now_and_then_and_its_last_entry_always() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(vec![Draft { payload: "as it was written".to_owned(), ..declare("a") }]).expect("an epoch");
    for number in 0..9_u8 {
        let large = Draft { blobs: vec![vec![number; 8 << 20]], ..note("a", "packed") };
        assert!(writer.append_group(vec![large]).expect("room")[0].is_ok());
    }
    assert!(writer.append_group(vec![Draft { payload: "written at the end".to_owned(), ..note("a", "packed") }]).expect("room")[0].is_ok());
    drop(writer);
    alter(&made.path, b"written at the end", b"altered at the end");
    match Writer::open(&made.path, &SCHEMA, info()) {
        Err(JournalError::Damaged { what, .. }) => assert_eq!(what, "the hash of its last entry (11) is another one"),
        other => panic!("{other:?}"),
    }
    alter(&made.path, b"altered at the end", b"written at the end");
    alter(&made.path, b"as it was written", b"as it was altered");
    let mut openings = 0;
    let found = loop {
        match Writer::open(&made.path, &SCHEMA, info()) {
            Ok(mut writer) => drop(writer.begin(vec![note("a", "packed")]).expect("an epoch")),
            Err(error) => break error,
        }
        openings += 1;
        assert!(openings < 100, "it is never looked at");
    };
    assert!(matches!(&found, JournalError::Damaged { what, .. } if what.contains("entry 1")), "{found:?}");
    assert_eq!(openings, 15, "the sixteenth epoch's look finds it");
}

#[test]
fn the_log_is_moved_into_the_main_file_before_it_gets_long() {
    const MIB: usize = 1 << 20;
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(vec![declare("a")]).expect("an epoch");
    let log = || fs::metadata(made.path.with_file_name("parcels.journal-wal")).expect("a log").len();
    let with_blobs = |number: u8| Draft { blobs: vec![vec![number; MIB]], ..note("a", "packed") };
    let with_payloads = |number: u8| Draft { payload: number.to_string().repeat(MIB), ..note("a", "packed") };
    for number in 0..96_u8 {
        let draft = if number < 48 { with_blobs(number) } else { with_payloads(number % 10) };
        assert!(writer.append_group(vec![draft]).expect("room")[0].is_ok());
        assert!(log() < 24 << 20, "{} bytes after {number} MiB", log());
    }
    assert!(log() > 8 << 20, "each time costs three syncs: {} bytes", log());
}
