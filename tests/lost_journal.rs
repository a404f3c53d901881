//! Journals that are older than their host, damaged, empty or gone: what is refused, and that the way out that is named is one.
//!
//! On the simulator, with the real command. Not here: the journal's file (`journal_file`), and real hosts (`real`).

mod support;

use phoenix::host::sim::Tamper;
use phoenix::ids::Ctid;
use serde_json::Value;
use support::Stage;

fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("in range")
}

/// A whole output: what was asked, how it ended, what it said.
macro_rules! shows {
    ($name:literal, $ended:expr) => {
        support::settings().bind(|| insta::assert_snapshot!($name, $ended.whole()));
    };
}

/// Takes the journal away, and leaves the simulated host.
fn lose(stage: &Stage) {
    for name in ["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"] {
        drop(std::fs::remove_file(stage.path().join("journal").join(name)));
    }
}

/// Puts a backup in the journal's place, as a person does after a disk has failed.
fn restore(stage: &Stage) {
    lose(stage);
    std::fs::copy(stage.path().join("backup.db"), stage.path().join("journal/journal.db")).expect("a backup");
}

#[test]
fn scripts_that_an_older_journal_does_not_know_are_not_started_again() {
    let stage = Stage::with_fleet();
    stage.interrupted_once().ended(130);
    stage.run(&["journal", "backup", "backup.db"]).well();
    stage.run(&["resume"]).well();
    restore(&stage);
    let told = stage.run(&["resume"]).ended(1).out;
    assert!(told.contains("was run in epoch"), "{told}");
    let told = stage.run(&["explain", "101"]).out;
    assert!(told.contains("the journal is an older copy"), "{told}");
    // The way out that it names.
    lose(&stage);
    stage.run(&["journal", "rebuild", "fleet.json", "--yes"]).well();
    stage.run(&["up", "fleet.json"]).well();
    assert_eq!(stage.running(), [101, 102]);
}

#[test]
fn what_was_made_anew_since_the_backup_is_no_strangers() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.run(&["journal", "backup", "backup.db"]).well();
    stage.run(&["down", "--all", "--yes"]).well();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    restore(&stage);
    // However often it is asked: with each run the copy comes nearer to the epochs that it does not know.
    for _ in 0..3 {
        let told = stage.run(&["up", "fleet.json"]).ended(1).out;
        assert!(told.contains("which this journal never declared"), "{told}");
        stage.run(&["down", "--all", "--yes"]).ended(1);
        stage.run(&["retry", "101"]);
    }
    assert_eq!(stage.running(), [101, 102], "nothing is touched");
}

#[test]
fn what_came_up_since_the_backup_does_not_count_as_gone() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.run(&["down", "--all", "--yes"]).well();
    stage.run(&["journal", "backup", "backup.db"]).well();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    restore(&stage);
    for asked in [&["down", "--all", "--yes"][..], &["up", "fleet.json"], &["down", "101", "--yes"]] {
        let told = stage.run(asked).ended(1).out;
        assert!(told.contains("which this journal never declared"), "{asked:?}: {told}");
    }
    assert_eq!(stage.running(), [101, 102], "nothing is touched");
}

#[test]
fn a_fleet_whose_journal_is_gone_is_not_begun_anew() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    lose(&stage);
    let told = stage.run(&["up", "fleet.json"]).ended(4).err;
    assert!(told.contains("what lies at 101, 102 bears the marks of fleet homelab") && told.contains("journal rebuild"), "{told}");
    assert!(!stage.path().join("journal/journal.db").exists(), "no journal is made");
    stage.run(&["journal", "rebuild", "fleet.json", "--yes"]).well();
    stage.run(&["up", "fleet.json"]).well();
    assert_eq!(stage.running(), [101, 102]);
}

/// Whether containers bear its mark or not: a log may hold all that was recorded, and nothing is made beside it.
#[test]
fn a_log_whose_journal_is_gone_is_named_and_the_rebuild_takes_over() {
    for is_down in [false, true] {
        let stage = Stage::with_fleet();
        stage.run(&["up", "fleet.json", "-j1"]).well();
        if is_down {
            stage.run(&["down", "--all", "--yes"]).well();
        }
        let at = |name: &str| stage.path().join("journal").join(name);
        // As a rebuild leaves it that is cut off while it moves the journal aside.
        std::fs::rename(at("journal.db"), at("journal.db.unusable-1")).expect("a journal");
        let log = b"what nobody has moved into the journal";
        std::fs::write(at("journal.db-wal"), log).expect("room");
        for asked in [&["up", "fleet.json"][..], &["resume"], &["status"], &["down", "--all", "--yes"]] {
            let told = stage.run(asked).ended(4).err;
            assert!(told.contains("its log") && told.contains("put it back beside its log"), "{asked:?}: {told}");
            assert!(told.contains("next: a backup of the journal, or `phoenix journal rebuild FLEET`"), "{asked:?}: {told}");
        }
        assert_eq!(std::fs::read(at("journal.db-wal")).expect("a log"), log);
        assert!(!at("journal.db").exists(), "no journal is made");
        let rebuilt = stage.run(&["--json", "journal", "rebuild", "fleet.json", "--yes"]).well();
        let answer: Value = serde_json::from_str(&rebuilt.out).expect("JSON");
        let moved: Vec<&str> = answer["moved"].as_array().expect("paths").iter().filter_map(Value::as_str).collect();
        let kept = moved.iter().find(|path| path.ends_with("-wal")).expect("the log");
        assert_eq!(std::fs::read(kept).expect("a log"), log);
        stage.run(&["up", "fleet.json"]).well();
        assert_eq!(stage.running(), [101, 102]);
    }
}

/// The first half of what the refusal says.
#[test]
fn a_journal_that_is_put_back_beside_its_log_is_gone_on_with() {
    let stage = Stage::with_fleet();
    stage.killed_in_the_middle();
    assert!(std::fs::metadata(stage.path().join("journal/journal.db-wal")).expect("a log").len() > 0);
    let (at, away) = (stage.path().join("journal/journal.db"), stage.path().join("journal.db"));
    std::fs::rename(&at, &away).expect("a journal");
    stage.run(&["resume"]).ended(4);
    std::fs::rename(&away, &at).expect("a journal");
    stage.run(&["resume"]).well();
    assert_eq!(stage.running(), [101, 102]);
}

#[test]
fn a_lost_journal_is_rebuilt_and_up_changes_nothing() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    shows!("rebuild_usable", stage.run(&["journal", "rebuild", "fleet.json", "--yes"]));
    lose(&stage);
    shows!("rebuild_without_terminal", stage.run(&["journal", "rebuild", "fleet.json"]));
    assert!(!stage.path().join("journal/journal.db").exists(), "nothing was written without a yes");
    shows!("rebuild", stage.run(&["journal", "rebuild", "fleet.json", "--yes"]));
    stage.run(&["journal", "verify"]).well();
    shows!("up_after_rebuild", stage.run(&["up", "fleet.json", "-j1"]));
    shows!("history_after_rebuild", stage.run(&["history", "102"]));
    let before = stage.run(&["journal", "export"]).out;
    stage.run(&["up", "fleet.json", "-j1"]).well();
    assert_eq!(stage.run(&["journal", "export"]).out, before, "a finished fleet costs no entry");
}

#[test]
fn what_cannot_be_known_is_set_aside_and_said() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    lose(&stage);
    stage.tamper(&Tamper::Unmark(ctid(101)));
    stage.write("s/base.sh", "#!/bin/sh\necho changed\n");
    shows!("rebuild_set_aside", stage.run(&["journal", "rebuild", "fleet.json", "--yes"]).ended(1));
    let said = stage.run(&["status", "--json"]);
    let status: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(status["fleets"][0]["containers"][0]["standing"], "quarantined", "{status:#}");
    stage.run(&["up", "fleet.json", "-j1"]).ended(1);
}

#[test]
fn a_journal_that_cannot_be_used_is_moved_aside_and_never_deleted() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    lose(&stage);
    stage.write("journal/journal.db", "this was a journal once");
    let hint = stage.run(&["status", "--host", "sim"]).ended(4);
    assert!(hint.err.contains("phoenix journal rebuild FLEET"), "{}", hint.err);
    let rebuilt = stage.run(&["--json", "journal", "rebuild", "fleet.json", "--yes"]).well();
    let answer: Value = serde_json::from_str(&rebuilt.out).expect("JSON");
    let moved = answer["moved"][0].as_str().expect("a path");
    assert_eq!(std::fs::read_to_string(moved).expect("still there"), "this was a journal once");
    assert_eq!(answer["containers"][0]["scripts"][0]["proof"], "result", "{answer:#}");
    stage.run(&["up", "fleet.json", "-j1"]).well();
}

/// The remedy that a refusal names has to be one.
#[test]
fn a_journal_with_a_flipped_bit_is_rebuilt_as_its_refusal_says() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let path = stage.path().join("journal/journal.db");
    let mut bytes = std::fs::read(&path).expect("a journal");
    let word = br#""hostname":"web""#;
    let places = (0..bytes.len() - word.len()).filter(|&at| bytes[at..].starts_with(word)).collect::<Vec<_>>();
    assert!(!places.is_empty(), "the spec of 102");
    for at in places {
        bytes[at + 12] ^= 1;
    }
    std::fs::write(&path, &bytes).expect("written");
    let refused = stage.run(&["up", "fleet.json"]).ended(4).err;
    assert!(refused.contains("next: a backup of the journal, or `phoenix journal rebuild FLEET`"), "{refused}");
    let rebuilt = stage.run(&["journal", "rebuild", "fleet.json", "--yes"]).well();
    assert!(rebuilt.whole().contains("is damaged"), "{}", rebuilt.whole());
    stage.run(&["up", "fleet.json"]).well();
    assert_eq!(stage.running(), [101, 102]);
}

/// A rebuild that was cut off leaves one: whatever is tried next, it must not pass for a journal in use.
#[test]
fn a_journal_without_an_entry_is_not_gone_on_with() {
    use phoenix::journal::SCHEMA;
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let path = stage.path().join("journal/journal.db");
    let binding = phoenix_journal::Reader::open(&path, &SCHEMA).and_then(|reader| reader.binding()).expect("a journal");
    lose(&stage);
    let info = phoenix_journal::WriterInfo { pid: 1, command: "cut off".to_owned(), started_at_ms: 0, boot_id: "boot".to_owned() };
    phoenix_journal::Journal::create(&path, &SCHEMA, &binding, &info).expect("a journal");
    for asked in [&["resume"][..], &["down", "--all", "--yes"]] {
        let told = stage.run(asked).ended(4).err;
        assert!(told.contains("holds no entry") && told.contains("phoenix journal rebuild FLEET"), "{asked:?}: {told}");
    }
    let told = stage.run(&["up", "fleet.json"]).ended(4).err;
    assert!(told.contains("bears the marks of fleet homelab"), "{told}");
    stage.run(&["journal", "rebuild", "fleet.json", "--yes"]).well();
    stage.run(&["up", "fleet.json"]).well();
    assert_eq!(stage.running(), [101, 102]);
}
