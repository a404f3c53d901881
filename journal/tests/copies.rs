//! Backups, exports, upgrades, and a disk that is full.

mod parcel;

use parcel::{SCHEMA, declare, info, intent, made, note, open, outcome, shipped};
use phoenix_journal::{
    Append, JournalError, Machine, Memory, Reader, Refused, Schema, StreamKey, Writer, backup, export, upgrade, verify, visible_json,
};

#[test]
fn what_a_terminal_would_obey_is_escaped_in_json() {
    assert_eq!(visible_json("{\"a\u{9b}ä\":\"b\u{7f}\"}".to_owned()), r#"{"a\u009bä":"b\u007f"}"#);
    assert_eq!(visible_json("{\"ä\":\"\u{a0}~\"}".to_owned()), "{\"ä\":\"\u{a0}~\"}");
}

#[test]
fn a_backup_made_beside_a_writer_is_the_journal() {
    let made = made();
    let to = made.dir.path().join("copy");
    let mut writer = open(&made.path);
    writer.begin(shipped("a", 1)).expect("an epoch");
    backup(&made.path, &to).expect("room");
    assert!(writer.append_group(vec![declare("b")]).expect("room")[0].is_ok());
    assert!(matches!(backup(&made.path, &to), Err(JournalError::Exists { .. })));
    let reader = Reader::open(&to, &SCHEMA).expect("a journal");
    assert_eq!((reader.journal(), reader.entries(.., None).expect("entries").len()), (made.id, 5));
    assert!(verify(&to).expect("a journal").is_clean());
    let mut other = open(&to);
    other.begin(vec![declare("c")]).expect("an epoch");
    let ids = |path| Reader::open(path, &SCHEMA).and_then(|reader| reader.epochs()).expect("epochs").len();
    assert_eq!((ids(&to), ids(&made.path)), (2, 1));
}

#[test]
fn an_export_says_everything_in_order() {
    let made = made();
    open(&made.path).begin(shipped("a", 1)).expect("an epoch");
    let mut text = Vec::new();
    assert_eq!(export(&made.path, &mut text).expect("room"), 5);
    let lines: Vec<serde_json::Value> = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert_eq!(lines.len(), 7);
    assert_eq!(lines[0]["journal"], made.id.to_string());
    assert_eq!(lines[1]["epoch"], 1);
    assert_eq!((&lines[4]["kind"], &lines[4]["intent"], &lines[4]["state"]), (&"outcome".into(), &2.into(), &"labelled".into()));
    assert_eq!(lines[5]["prev_hash"], lines[4]["hash"]);
}

const MORE: Schema = Schema {
    version: 2,
    machines: &[
        Machine {
            states: &["packed", "labelled", "shipped", "returned"],
            edges: &[
                ("packed", "labelled"),
                ("labelled", "shipped"),
                ("shipped", "labelled"),
                ("labelled", "packed"),
                ("shipped", "packed"),
                ("shipped", "returned"),
            ],
            ..parcel::PARCEL
        },
        parcel::TOUR,
    ],
    ..SCHEMA
};

#[test]
fn an_upgrade_adds_rows_and_leaves_a_copy() {
    let made = made();
    open(&made.path).begin(shipped("a", 1)).expect("an epoch");
    assert!(matches!(Writer::open(&made.path, &MORE, info()), Err(JournalError::Older { found: 1, known: 2, .. })));
    let copy = upgrade(&made.path, &MORE, &info()).expect("only additions");
    assert_eq!(Reader::open(&copy, &SCHEMA).expect("the old one").entries(.., None).expect("entries").len(), 5);
    let mut writer = Writer::open(&made.path, &MORE, info()).expect("the new one");
    writer.begin(vec![note("a", "returned")]).expect("the new edge");
    drop(writer);
    assert!(verify(&made.path).expect("a journal").is_clean());
    assert!(matches!(Writer::open(&made.path, &SCHEMA, info()), Err(JournalError::Newer { what: "schema", found: 2, known: 1, .. })));
    assert!(matches!(upgrade(&made.path, &MORE, &info()), Err(JournalError::Newer { .. })));
}

/// No copy is ever written over, and none is done without: where a hundred lie, a person has to look.
#[test]
fn an_upgrade_that_finds_no_name_for_its_copy_changes_nothing() {
    let made = made();
    let name = |number: u32| if number == 1 { "version-1".to_owned() } else { format!("version-1.{number}") };
    for number in 1..=100 {
        std::fs::write(made.dir.path().join(format!("parcels.journal.{}", name(number))), "kept").expect("a file");
    }
    let refused = upgrade(&made.path, &MORE, &info()).expect_err("no name is left");
    assert!(matches!(&refused, JournalError::Exists { path } if path.ends_with("parcels.journal.version-1.100")), "{refused}");
    open(&made.path);
}

/// Killed between its copy and its commit, an upgrade has left a copy; the next one makes another beside it.
#[test]
fn an_upgrade_that_was_cut_off_after_its_copy_can_be_done_again() {
    let made = made();
    open(&made.path).begin(shipped("a", 1)).expect("an epoch");
    let beside = |name: &str| made.dir.path().join(format!("parcels.journal.{name}"));
    backup(&made.path, &beside("version-1")).expect("what the killed one left");
    let left = std::fs::read(beside("version-1")).expect("a copy");
    assert_eq!(upgrade(&made.path, &MORE, &info()).expect("only additions"), beside("version-1.2"));
    assert_eq!(std::fs::read(beside("version-1")).expect("a copy"), left, "the first copy is kept");
    Writer::open(&made.path, &MORE, info()).expect("the new one");
}

#[test]
fn a_reader_of_a_newer_program_reads_an_older_journal_and_changes_nothing() {
    const FEWER: Schema = Schema { version: 2, machines: &[parcel::PARCEL], ..SCHEMA };
    let made = made();
    open(&made.path).begin(shipped("a", 1)).expect("an epoch");
    assert_eq!(Reader::open(&made.path, &MORE).expect("its rows are among those").entries(.., None).expect("entries").len(), 5);
    assert!(Reader::open(&made.path, &SCHEMA).is_ok(), "it is still the older one");
    assert!(matches!(Reader::open(&made.path, &FEWER), Err(JournalError::WrongSchema { .. })));
}

#[test]
fn an_upgrade_takes_nothing_away() {
    const FEWER: Schema = Schema { version: 2, machines: &[parcel::PARCEL], ..SCHEMA };
    const STRICTER: Schema = Schema {
        version: 2,
        machines: &[
            Machine { needs: &[("labelled", "label"), ("shipped", "ship"), ("shipped", "label"), ("labelled", "weigh")], ..parcel::PARCEL },
            parcel::TOUR,
        ],
        ..SCHEMA
    };
    let made = made();
    for schema in [&FEWER, &STRICTER] {
        assert!(matches!(upgrade(&made.path, schema, &info()), Err(JournalError::WrongSchema { .. })));
    }
    assert!(!made.dir.path().join("parcels.journal.version-1").exists());
    open(&made.path);
}

#[test]
fn in_memory_a_full_disk_refuses_what_begins() {
    let mut memory = Memory::new(&SCHEMA, phoenix_journal::JournalId::from_bytes([0; 16])).expect("a schema");
    memory.begin(vec![declare("a"), intent("a", "label", 1, "packed")]).expect("an epoch");
    memory.set_full(true);
    assert!(matches!(memory.append_group(vec![declare("b")]), Err(JournalError::Full { .. })));
    let mixed = memory.append_group(vec![outcome("a", 2, "label", 1, "done", "labelled"), declare("b")]).expect("outcomes are written");
    assert!(mixed[0].is_ok());
    assert_eq!(mixed[1].as_ref().err(), Some(&Refused::Full { key: StreamKey::new("parcel", "b") }));
    memory.set_full(false);
    assert!(memory.append_group(vec![declare("b")]).expect("room again")[0].is_ok());
}

/// Needs a file system of its own, so root.
#[test]
fn with_the_disk_full_nothing_is_begun_and_outcomes_are_written() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let Some(_mounted) = Mounted::small(dir.path()) else { return };
    let path = dir.path().join("parcels.journal");
    phoenix_journal::Journal::create(&path, &SCHEMA, &parcel::binding(), &info()).expect("room");
    let mut writer = open(&path);
    writer.begin(vec![declare("a"), intent("a", "label", 1, "packed")]).expect("room");
    let filler = dir.path().join("filler");
    let written = std::fs::write(&filler, vec![1_u8; 64 << 20]);
    assert_eq!(written.err().map(|error| error.kind()), Some(std::io::ErrorKind::StorageFull));
    let large = |draft| phoenix_journal::Draft { payload: "x".repeat(64 << 10), ..draft };
    assert!(matches!(writer.append_group(vec![large(declare("b"))]), Err(JournalError::Full { .. })));
    assert_eq!(writer.replay(None).expect("entries").len(), 2, "nothing was begun");
    let mixed = vec![large(declare("b")), large(outcome("a", 2, "label", 1, "done", "labelled")), large(note("a", "labelled"))];
    let mixed = writer.append_group(mixed).expect("the reserve is for this");
    assert_eq!(mixed[0].as_ref().err(), Some(&Refused::Full { key: StreamKey::new("parcel", "b") }));
    assert_eq!((mixed[1].as_ref().map(|r| r.seq().get()), mixed[2].as_ref().map(|r| r.seq().get())), (Ok(3), Ok(4)));
    assert!(matches!(writer.append_group(vec![intent("a", "ship", 1, "labelled")]), Err(JournalError::Full { .. })));
    std::fs::remove_file(&filler).expect("a file");
    assert!(writer.append_group(vec![intent("a", "ship", 1, "labelled")]).expect("room again")[0].is_ok());
    drop(writer);
    assert!(verify(&path).expect("a journal").is_clean());
}

/// A small file system in memory, for as long as this lives.
struct Mounted(std::path::PathBuf);

impl Mounted {
    #[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test's own child, waited for at once; a skipped test says so")]
    fn small(at: &std::path::Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs"]).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a file system of its own cannot be mounted here");
        None
    }
}

impl Drop for Mounted {
    #[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
    fn drop(&mut self) {
        drop(std::process::Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}
