//! Making, opening, refusing: what a journal on disk does before anything is appended.

mod parcel;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};

use parcel::{SCHEMA, binding, declare, info, made, open, shipped};
use phoenix_journal::{Append, Binding, Journal, JournalError, Machine, Reader, Schema, StreamKey, Writer};

#[test]
fn what_was_appended_is_read_back() {
    let made = made();
    let mut writer = open(&made.path);
    assert_eq!(writer.epoch(), None);
    let begun = writer.begin(vec![declare("a")]).expect("a fresh journal");
    assert_eq!((begun[0].seq().get(), begun[0].epoch().get(), begun[0].journal()), (1, 1, made.id));
    let recorded = writer.append_group(shipped("b", 2)).expect("room on the disk");
    assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
    let key = StreamKey::new("parcel", "b");
    let entries = writer.replay(Some(&key)).expect("entries");
    assert_eq!(entries.len(), 5);
    let position = &writer.positions().expect("positions")[1];
    assert_eq!((position.key.clone(), &*position.state, position.last_seq.get(), position.open_intent), (key, "shipped", 6, None));
    let reader = Reader::open(&made.path, &SCHEMA).expect("a writer is no hindrance");
    assert_eq!(reader.positions().expect("positions"), writer.positions().expect("positions"));
    assert_eq!(reader.entries(.., None).expect("entries"), writer.replay(None).expect("entries"));
    assert_eq!(reader.binding().expect("binding"), binding());
    let overview = &reader.overview().expect("overview")[1];
    assert_eq!((overview.last.seq.get(), overview.standing.seq.get(), overview.open.is_none()), (6, 2, true));
    assert_eq!(reader.writer().expect("lock").map(|holder| holder.pid), Some(std::process::id()));
    drop(writer);
    assert_eq!(reader.writer().expect("lock"), None);
    assert_eq!(reader.entries(.., None).expect("entries").len(), 6);
    let mut lock = made.path.clone().into_os_string();
    lock.push(".lock");
    fs::remove_file(&lock).expect("a lock file");
    assert_eq!(reader.writer().expect("nobody can hold what is not there"), None);
    std::os::unix::fs::symlink(&lock, &lock).expect("a link that leads nowhere");
    assert!(matches!(reader.writer(), Err(JournalError::Io { .. })), "what cannot be asked is not taken for free");
}

#[test]
fn an_epoch_outlives_its_writer_and_is_never_given_twice() {
    let made = made();
    for number in 1..=3 {
        let mut writer = open(&made.path);
        writer.begin(vec![declare(&format!("p{number}"))]).expect("an epoch");
        assert_eq!(writer.epoch().map(|(epoch, _)| epoch.get()), Some(number));
    }
    let epochs = Reader::open(&made.path, &SCHEMA).expect("reader").epochs().expect("epochs");
    assert_eq!(epochs.len(), 3);
    assert_ne!(epochs[0].id, epochs[1].id);
}

#[test]
fn nothing_is_appended_before_an_epoch_is_begun() {
    let made = made();
    let mut writer = open(&made.path);
    assert!(matches!(writer.append_group(vec![declare("a")]), Err(JournalError::NoEpoch)));
    assert!(matches!(writer.begin(vec![parcel::note("a", "packed")]), Err(JournalError::NotBegun { .. })));
    assert_eq!(writer.epoch(), None);
    drop(writer);
    assert_eq!(Reader::open(&made.path, &SCHEMA).expect("reader").epochs().expect("epochs"), []);
}

#[test]
fn a_second_writer_is_told_who_the_first_is() {
    let made = made();
    let _first = open(&made.path);
    match Writer::open(&made.path, &SCHEMA, info()) {
        Err(JournalError::Locked { pid, command, since_ms, .. }) => {
            assert_eq!((pid, command.as_str(), since_ms), (std::process::id(), "parcels send", 1_700_000_000_000));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_writer_whose_lock_file_was_removed_is_refused_by_its_epoch() {
    let made = made();
    let mut stopped = open(&made.path);
    stopped.begin(vec![declare("a")]).expect("an epoch");
    fs::remove_file(made.dir.path().join("parcels.journal.lock")).expect("a lock file");
    let mut other = open(&made.path);
    other.begin(vec![declare("b")]).expect("an epoch");
    assert!(matches!(stopped.append_group(vec![declare("c")]), Err(JournalError::StaleEpoch { .. })));
    assert!(matches!(stopped.append_group(vec![declare("c")]), Err(JournalError::Poisoned { .. })));
    assert_eq!(other.replay(None).expect("entries").len(), 2);
}

#[test]
fn files_are_for_their_owner_alone() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("new").join("parcels.journal");
    Journal::create(&path, &SCHEMA, &binding(), &info()).expect("a new journal");
    let mut writer = open(&path);
    writer.begin(vec![declare("a")]).expect("an epoch");
    let inside: Vec<_> = fs::read_dir(dir.path().join("new")).expect("a directory").map(|file| file.expect("a file").path()).collect();
    let names: std::collections::BTreeSet<_> = inside.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let expected = ["", "-shm", "-wal", ".lock", ".reserve"].map(|suffix| format!("parcels.journal{suffix}"));
    assert_eq!(names, expected.iter().map(String::as_str).collect());
    for path in inside {
        assert_eq!(path.metadata().expect("a file").mode() & 0o777, 0o600, "{}", path.display());
    }
    assert_eq!(dir.path().join("new").metadata().expect("a directory").mode() & 0o777, 0o700);
}

#[test]
fn a_reader_makes_changes_and_deletes_no_file() {
    let made = made();
    // The index is shared memory, in which a reader beside a writer of its own process leaves its mark.
    let writing = std::cell::Cell::new(false);
    let names = || {
        let mut files = parcel::digests(made.dir.path());
        files.retain(|file| !(writing.get() && file.ends_with("-shm")));
        files
    };
    let look = |entries: usize| {
        let before = names();
        let reader = Reader::open(&made.path, &SCHEMA).expect("reader");
        assert_eq!(reader.entries(.., None).expect("entries").len(), entries);
        assert_eq!(reader.positions().expect("positions").len(), entries);
        drop(reader);
        assert_eq!(before, names());
    };
    look(0);
    let mut writer = open(&made.path);
    writing.set(true);
    writer.begin(vec![declare("a")]).expect("an epoch");
    look(1);
    // As after SIGKILL: nothing is closed, the log is full.
    let copy = tempfile::tempdir().expect("a temporary directory");
    parcel::outside("cp", &["-a", &format!("{}/.", made.dir.path().display()), &copy.path().display().to_string()]);
    drop(writer);
    writing.set(false);
    look(1);
    for missing in ["-shm", "-wal"] {
        fs::remove_file(made.dir.path().join(format!("parcels.journal{missing}"))).expect("a file");
        look(1);
    }
    for missing in ["", "-shm"] {
        if !missing.is_empty() {
            fs::remove_file(copy.path().join(format!("parcels.journal{missing}"))).expect("a file");
        }
        let reader = Reader::open(&copy.path().join("parcels.journal"), &SCHEMA).expect("reader");
        assert_eq!(reader.entries(.., None).expect("entries").len(), 1, "what is only in the log counts");
    }
}

/// Another process that has the journal open, so that its index counts as kept by somebody.
fn somebody_looking(path: &std::path::Path) -> Option<std::process::Child> {
    #[expect(clippy::disallowed_methods, reason = "a test's own child, waited for below")]
    let shell = std::process::Command::new("sqlite3")
        .arg(path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .ok();
    let Some(mut shell) = shell else {
        #[expect(clippy::print_stderr, reason = "a skipped test says so")]
        {
            eprintln!("skipped: there is no sqlite3 shell here");
        }
        return None;
    };
    writeln!(shell.stdin.as_mut().expect("a pipe"), "SELECT count(*) FROM entries;").expect("it listens");
    let mut line = String::new();
    BufReader::new(shell.stdout.as_mut().expect("a pipe")).read_line(&mut line).expect("an answer");
    assert_eq!(line, "1\n");
    Some(shell)
}

#[test]
fn an_index_that_a_killed_writer_left_half_changed_is_passed_over() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(vec![declare("a")]).expect("an epoch");
    let copy = tempfile::tempdir().expect("a temporary directory");
    parcel::outside("cp", &["-a", &format!("{}/.", made.dir.path().display()), &copy.path().display().to_string()]);
    let path = copy.path().join("parcels.journal");
    let Some(mut looking) = somebody_looking(&path) else { return };
    let opened_before = Reader::open(&path, &SCHEMA).expect("reader");
    // The index begins with two copies of its header, changed one after the other.
    let index = fs::OpenOptions::new().read(true).write(true).open(copy.path().join("parcels.journal-shm")).expect("an index");
    let mut byte = [0];
    index.read_exact_at(&mut byte, 8).expect("a header");
    index.write_all_at(&[byte[0] ^ 0xff], 8).expect("a header");
    assert_eq!(opened_before.entries(.., None).expect("entries").len(), 1);
    assert_eq!(Reader::open(&path, &SCHEMA).expect("reader").positions().expect("positions").len(), 1);
    assert_eq!(phoenix_journal::verify(&path).expect("a journal").findings, []);
    looking.kill().and_then(|()| looking.wait()).expect("it ends");
}

#[test]
fn a_log_beside_an_empty_file_is_left_alone() {
    let made = made();
    open(&made.path).begin(vec![declare("a")]).expect("an epoch");
    fs::write(made.dir.path().join("parcels.journal-wal"), "all there is").expect("a file");
    fs::write(&made.path, "").expect("a file");
    assert!(matches!(Writer::open(&made.path, &SCHEMA, info()), Err(JournalError::WalBesideEmpty { .. })));
    assert!(matches!(Reader::open(&made.path, &SCHEMA), Err(JournalError::WalBesideEmpty { .. })));
    assert_eq!(fs::read(made.dir.path().join("parcels.journal-wal")).expect("a file"), b"all there is");
}

#[test]
fn a_log_without_its_main_file_is_left_alone_and_no_journal_is_made_beside_it() {
    let made = made();
    open(&made.path).begin(vec![declare("a")]).expect("an epoch");
    let log = made.dir.path().join("parcels.journal-wal");
    fs::write(&log, "all there is").expect("a file");
    let before = fs::read(&log).expect("a log");
    fs::remove_file(&made.path).expect("a file");
    let refused = [
        Writer::open(&made.path, &SCHEMA, info()).map(drop),
        Reader::open(&made.path, &SCHEMA).map(drop),
        Journal::create(&made.path, &SCHEMA, &binding(), &info()).map(drop),
    ];
    for refused in refused {
        assert!(matches!(&refused, Err(JournalError::WalWithoutMain { path }) if path.ends_with("parcels.journal")), "{refused:?}");
    }
    assert_eq!(fs::read(&log).expect("a log"), before);
    assert!(!made.path.exists());
    let moved = phoenix_journal::set_aside(&made.path, "old", &info(), || Ok::<(), JournalError>(())).expect("moved");
    assert_eq!(moved.last().map(fs::read).expect("the log").expect("a log"), before);
    Journal::create(&made.path, &SCHEMA, &binding(), &info()).expect("the place is free");
}

#[test]
fn what_others_can_change_is_refused() {
    let made = made();
    let chmod = |path: &std::path::Path, bits| fs::set_permissions(path, fs::Permissions::from_mode(bits)).expect("chmod");
    chmod(made.dir.path(), 0o770);
    assert!(matches!(Writer::open(&made.path, &SCHEMA, info()), Err(JournalError::InsecureDirectory { .. })));
    chmod(made.dir.path(), 0o700);
    chmod(&made.path, 0o602);
    assert!(matches!(Writer::open(&made.path, &SCHEMA, info()), Err(JournalError::InsecureDirectory { .. })));
    chmod(&made.path, 0o600);
    open(&made.path);
}

#[test]
fn strangers_are_refused_and_left_as_they_are() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("other");
    assert!(matches!(Writer::open(&path, &SCHEMA, info()), Err(JournalError::Missing { .. })));
    fs::write(&path, "").expect("a file");
    assert!(matches!(Writer::open(&path, &SCHEMA, info()), Err(JournalError::NotAJournal { .. })));
    fs::write(&path, "a text of some length, which is no database at all").expect("a file");
    assert!(matches!(Writer::open(&path, &SCHEMA, info()), Err(JournalError::NotAJournal { .. })));
    fs::remove_file(&path).expect("a file");
    rusqlite::Connection::open(&path).and_then(|conn| conn.execute_batch("CREATE TABLE t (x);")).expect("a database");
    let before = fs::read(&path).expect("a file");
    assert!(matches!(Writer::open(&path, &SCHEMA, info()), Err(JournalError::NotAJournal { .. })));
    assert_eq!(before, fs::read(&path).expect("a file"));
}

#[test]
fn another_schema_is_refused_with_what_differs() {
    const FEWER: Schema = Schema { machines: &[parcel::PARCEL], ..SCHEMA };
    const OTHER: Schema = Schema { machines: &[Machine { needs: &[], ..parcel::PARCEL }, parcel::TOUR], ..SCHEMA };
    const MORE: Schema = Schema { machines: &[parcel::PARCEL, Machine { needs: &[("planned", "map")], ..parcel::TOUR }], ..SCHEMA };
    let made = made();
    let text = |schema| match Writer::open(&made.path, schema, info()) {
        Err(JournalError::WrongSchema { difference, .. }) => difference,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(&FEWER), "only in the journal: machine `tour` begins in `planned`");
    assert_eq!(text(&OTHER), "only in the journal: machine `parcel`: `labelled` needs `label`");
    assert_eq!(text(&MORE), "only in the program: machine `tour`: `planned` needs `map`");
    assert!(matches!(
        Writer::open(&made.path, &Schema { version: 2, ..SCHEMA }, info()),
        Err(JournalError::Older { found: 1, known: 2, .. })
    ));
    rusqlite::Connection::open(&made.path).and_then(|conn| conn.pragma_update(None, "user_version", 2 << 16 | 1)).expect("a pragma");
    assert!(matches!(Writer::open(&made.path, &SCHEMA, info()), Err(JournalError::Newer { what: "tables", found: 2, known: 1, .. })));
}

#[test]
fn a_guard_that_was_dropped_changed_or_added_is_named() {
    let weak = "DROP TRIGGER entries_delete; CREATE TRIGGER entries_delete BEFORE DELETE ON entries WHEN 0 BEGIN SELECT 1; END";
    for (sql, how) in [
        ("DROP TRIGGER entries_delete", "`entries_delete` is missing"),
        (weak, "`entries_delete` was changed"),
        ("CREATE TABLE more (x)", "`more` was added"),
    ] {
        let made = made();
        rusqlite::Connection::open(&made.path).and_then(|conn| conn.execute_batch(sql)).expect("legal");
        match Writer::open(&made.path, &SCHEMA, info()) {
            Err(JournalError::Damaged { what, .. }) => assert_eq!(what, format!("the table or guard {how}")),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn leftovers_of_a_killed_creation_are_swept() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("parcels.journal");
    let left = dir.path().join("parcels.journal.new-00-wal");
    fs::write(&left, "half").expect("a file");
    let other = Binding { host: "other".into(), ..binding() };
    Journal::create(&path, &SCHEMA, &other, &info()).expect("a new journal");
    assert!(!left.exists());
    assert!(matches!(Journal::create(&path, &SCHEMA, &other, &info()), Err(JournalError::Exists { .. })));
    assert_eq!(open(&path).binding().expect("binding"), other);
}

#[test]
fn blobs_and_cached_values_come_back() {
    let made = made();
    let mut writer = open(&made.path);
    let blob = b"#!/bin/sh".to_vec();
    let digest = phoenix_journal::Digest::of(&blob);
    let twice = phoenix_journal::Draft { blobs: vec![blob.clone(), blob.clone()], ..declare("a") };
    writer.begin(vec![twice.clone()]).expect("an epoch");
    let refused = phoenix_journal::Draft { blobs: vec![b"never kept".to_vec()], ..declare("a") };
    assert!(writer.append_group(vec![refused]).expect("room")[0].is_err());
    assert_eq!(writer.blob(&digest).expect("a blob"), Some(blob));
    assert_eq!(writer.blob(&phoenix_journal::Digest::of(b"never kept")).expect("no blob"), None);
    writer.cache_put("template", "1").expect("room");
    writer.cache_put("template", "2").expect("room");
    assert_eq!(writer.cache_get("template").expect("a value").as_deref(), Some("2"));
    let reader = Reader::open(&made.path, &SCHEMA).expect("a reader");
    assert_eq!(reader.blob(&digest).expect("a blob").as_deref(), Some(&b"#!/bin/sh"[..]));
    assert_eq!(reader.blob(&phoenix_journal::Digest::of(b"never kept")).expect("no blob"), None);
    assert_eq!(reader.cache_get("template").expect("a value").as_deref(), Some("2"));
    assert_eq!(reader.cache_get("nothing").expect("no value"), None);
}

#[test]
fn a_glance_says_since_when_and_by_which_step() {
    let made = made();
    let mut writer = open(&made.path);
    let at = |at_ms, draft| phoenix_journal::Draft { at_ms, ..draft };
    let declared = phoenix_journal::Draft { payload: "declared".to_owned(), ..declare("a") };
    writer.begin(vec![at(1, declared)]).expect("an epoch");
    let glances = || Reader::open(&made.path, &SCHEMA).and_then(|reader| reader.glance("parcel", str::to_owned)).expect("a glance");
    let told = || glances().into_iter().map(|glance| (glance.position.state, glance.since_ms, glance.step, glance.declared)).next();
    let step = |name: &str, result: Option<&'static str>| {
        Some(phoenix_journal::GlanceStep { name: name.to_owned(), attempt: 1, result: result.map(Into::into) })
    };
    assert_eq!(told(), Some(("packed".into(), 1, None, "declared".to_owned())));
    drop(writer.append_group(vec![at(2, parcel::intent("a", "label", 1, "packed"))]).expect("room"));
    assert_eq!(told(), Some(("packed".into(), 1, step("label", None), "declared".to_owned())));
    drop(writer.append_group(vec![at(3, parcel::outcome("a", 2, "label", 1, "done", "labelled"))]).expect("room"));
    assert_eq!(told(), Some(("labelled".into(), 3, step("label", Some("done")), "declared".to_owned())));
    let lost = phoenix_journal::Draft { standing: "lost".into(), ..parcel::note("a", "labelled") };
    drop(writer.append_group(vec![at(4, lost)]).expect("room"));
    assert_eq!(told(), Some(("labelled".into(), 4, None, "declared".to_owned())));
    assert_eq!(glances().len(), 1);
}

/// What a kill between the first two writes to a new log leaves.
#[test]
fn a_log_that_is_all_header_is_read_and_written_on() {
    let made = made();
    open(&made.path).begin(vec![declare("a")]).expect("an epoch");
    let mut writer = open(&made.path);
    writer.begin(vec![declare("b")]).expect("an epoch");
    let copy = tempfile::tempdir().expect("a temporary directory");
    parcel::outside("cp", &["-a", &format!("{}/.", made.dir.path().display()), &copy.path().display().to_string()]);
    drop(writer);
    let path = copy.path().join("parcels.journal");
    let log = fs::OpenOptions::new().write(true).open(copy.path().join("parcels.journal-wal")).expect("a log");
    log.set_len(32).expect("a shorter log");
    assert_eq!(Reader::open(&path, &SCHEMA).expect("a journal").positions().expect("positions").len(), 1);
    open(&path).begin(vec![declare("b")]).expect("an epoch");
    assert_eq!(Reader::open(&path, &SCHEMA).expect("a journal").positions().expect("positions").len(), 2);
}
