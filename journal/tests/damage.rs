//! What a writer does with a file that is not what was written: it says so, and leaves file and log as they are.

mod parcel;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parcel::{SCHEMA, declare, info, made, open, outside, shipped};
use phoenix_journal::{Append, Digest, Draft, Finding, JournalError, Reader, Writer, verify};

/// A copy of a journal with something in its log, as after SIGKILL; `change` is done to the main file's bytes.
fn killed(path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> tempfile::TempDir {
    let copy = tempfile::tempdir().expect("a temporary directory");
    let from = path.parent().expect("a directory").display();
    outside("cp", &["-a", &format!("{from}/."), &copy.path().display().to_string()]);
    let main = copy.path().join(path.file_name().expect("a name"));
    let mut bytes = fs::read(&main).expect("a main file");
    change(&mut bytes);
    fs::write(&main, bytes).expect("room");
    copy
}

/// Refused, with both files as they were.
#[track_caller]
fn refused(path: &Path) -> JournalError {
    let log = path.with_file_name(format!("{}-wal", path.file_name().and_then(|name| name.to_str()).expect("a name")));
    let files = || (fs::read(path).expect("a main file"), fs::read(&log).expect("a log"));
    let before = files();
    assert!(!before.1.is_empty(), "something is in the log");
    let error = Writer::open(path, &SCHEMA, info()).expect_err("it is damaged");
    assert!(before == files(), "refused, and changed: {error}");
    error
}

/// What is wrong with a journal that is refused.
#[track_caller]
fn damage(path: &Path) -> String {
    let error = refused(path);
    if let JournalError::Damaged { what, .. } = error {
        return what;
    }
    panic!("{error:?}");
}

/// Everywhere: parts of a page that are not in use may hold an old copy.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let places: Vec<usize> = (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
    assert!(!places.is_empty(), "it is there");
    for at in places {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

#[test]
fn an_entry_whose_content_changed_is_refused_by_its_number() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(vec![Draft { payload: "as it was written".to_owned(), ..declare("a") }]).expect("an epoch");
    for number in 0..40 {
        let verdicts = writer.append_group(shipped(&format!("p{number}"), 2 + 5 * number)).expect("room");
        assert!(verdicts.iter().all(Result::is_ok), "{verdicts:?}");
    }
    drop(writer);
    let mut writer = open(&made.path);
    writer.begin(vec![declare("z")]).expect("an epoch");
    let copy = killed(&made.path, |bytes| replace(bytes, b"as it was written", b"as it was altered"));
    let path = copy.path().join("parcels.journal");
    assert_eq!(damage(&path), "the content of entry 1 is not what its hash says");
    let reader = Reader::open(&path, &SCHEMA).expect("a look is for free");
    assert!(matches!(reader.entries(.., None), Err(JournalError::Damaged { .. })));
    assert!(reader.entries(phoenix_journal::Seq::new(2).., None).is_ok(), "the others can be read");
    let findings = verify(&path).expect("a journal").findings;
    assert_eq!(findings, [Finding::Hash { seq: phoenix_journal::Seq::new(1) }]);
}

#[test]
fn a_blob_whose_content_changed_is_not_handed_out() {
    let made = made();
    let mut writer = open(&made.path);
    let kept = [b"as it was written".as_slice(), b"something else"].map(<[u8]>::to_vec);
    let digests = kept.each_ref().map(|blob| Digest::of(blob));
    writer.begin(vec![Draft { blobs: kept.to_vec(), ..declare("a") }]).expect("an epoch");
    drop(writer);
    let mut altered = fs::read(&made.path).expect("a main file");
    replace(&mut altered, b"as it was written", b"as it was altered");
    fs::write(&made.path, altered).expect("room");
    let reader = Reader::open(&made.path, &SCHEMA).expect("a look is for free");
    assert!(matches!(reader.blob(&digests[0]), Err(JournalError::Damaged { .. })));
    assert_eq!(reader.blob(&digests[1]).expect("whole").as_deref(), Some(&b"something else"[..]));
}

#[test]
fn a_position_that_contradicts_the_entries_is_refused() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(shipped("a", 1)).expect("an epoch");
    let copy = killed(&made.path, |_| {});
    let path = copy.path().join("parcels.journal");
    let conn = rusqlite::Connection::open(&path).expect("a database");
    let close = rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    conn.set_db_config(close, true).expect("a setting");
    // As if a page of another time had come back: the guards refuse to do this with a statement.
    let read = |sql: &str| -> String {
        let mut statement = conn.prepare(sql).expect("a statement");
        let texts = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        texts.map(|text| text.expect("a text") + ";").collect()
    };
    let drops = read("SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'streams'");
    let makes = read("SELECT sql FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'streams'");
    conn.execute_batch(&format!("{drops} UPDATE streams SET generation = 7; {makes}")).expect("a change");
    drop(conn);
    assert_eq!(damage(&path), "the position of parcel a is not what its entries say");
}

#[test]
fn a_strangers_log_is_left_where_it_is() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("other");
    let conn = rusqlite::Connection::open(&path).expect("a database");
    conn.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (x); INSERT INTO t VALUES (1);").expect("a table");
    let copy = killed(&path, |_| {});
    assert!(matches!(refused(&copy.path().join("other")), JournalError::NotAJournal { .. }));
}

/// What a writer is at is the writer's: only without one is a broken log damage.
#[test]
fn a_log_broken_before_its_end_is_refused_to_readers_too() {
    const FIRST_SUM: u64 = 32 + 16;
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(vec![declare("a")]).expect("an epoch");
    for number in 0..3 {
        drop(writer.append_group(vec![declare(&format!("p{number}"))]).expect("room"));
    }
    let log = made.path.with_file_name("parcels.journal-wal");
    let change = |log: &Path| {
        let file = fs::OpenOptions::new().read(true).write(true).open(log).expect("a log");
        let mut byte = [0];
        file.read_exact_at(&mut byte, FIRST_SUM).expect("a frame");
        file.write_all_at(&[!byte[0]], FIRST_SUM).expect("room");
    };
    let copy = killed(&made.path, |_| {});
    change(&copy.path().join("parcels.journal-wal"));
    let refused = Reader::open(&copy.path().join("parcels.journal"), &SCHEMA).map(|_| ());
    assert!(matches!(refused, Err(JournalError::Damaged { .. })), "{refused:?}");
    change(&log);
    Reader::open(&made.path, &SCHEMA).expect("somebody writes");
    drop(writer);
}

/// Of a group that was being written when the host went down any frame may be missing, and what is left of it stays behind
/// whatever shorter group is written over it next. None of that was ever acknowledged.
#[test]
fn what_is_left_of_groups_that_were_never_synced_is_no_damage() {
    for seed in 1..=12_usize {
        let made = made();
        let mut copies = vec![];
        let mut path = made.path.clone();
        let mut known = 0;
        for round in 0..12_usize {
            let mut writer = open(&path);
            assert_eq!(writer.replay(None).expect("entries").len(), known, "seed {seed}, round {round}");
            let log = path.with_file_name("parcels.journal-wal");
            let before = fs::read(&log).unwrap_or_default();
            let group: Vec<Draft> = (0..=(seed * 31 + round * 17) % 60).map(|number| declare(&format!("{round}-{number}"))).collect();
            let length = group.len();
            writer.begin(group).expect("an epoch");
            let copy = killed(&path, |_| {});
            path = copy.path().join("parcels.journal");
            if (seed + round) % 4 == 0 {
                known += length;
            } else {
                lose_first_frame(&before, &copy.path().join("parcels.journal-wal"));
            }
            copies.push(copy);
        }
    }
}

/// The first frame that differs from what was there before becomes what was there before.
fn lose_first_frame(before: &[u8], log: &Path) {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let mut after = fs::read(log).expect("a log");
    let differs = |at: &usize| before.get(*at..at + FRAME) != after.get(*at..at + FRAME);
    let at = (HEADER..after.len()).step_by(FRAME).find(differs).expect("something was written");
    for (place, byte) in after[at..at + FRAME].iter_mut().enumerate() {
        *byte = before.get(at + place).copied().unwrap_or(0);
    }
    fs::write(log, after).expect("room");
}
