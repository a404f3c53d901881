//! Golden journals: the format as it was written, one file for each way a fleet can stand, resumed from now on.
//!
//! `tests/golden/journals/vN` holds for each of them the journal (`.db.zst`), the simulated world (`.sim.zst`) and what was
//! said of it (`.json`): `status` before, how `resume` ended, and where the containers stood afterwards. `format.json` pins the
//! format itself. A format that changes gets a directory with the next number, made with `PHOENIX_GOLDEN=write`, and a way to
//! take up the journals of all directories before it; what lies in a directory is never written again, the newest included, and
//! a digest of each stands below.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use phoenix::codec::SCHEMA_VERSION;
use phoenix::host::sim::{Fault, Faults, Flow, Sim, Tamper, What, When, Where, World, WorldOptions};
use phoenix::journal::SCHEMA;
use phoenix::machine::{RunCommand, RunEnd};
use phoenix_journal::{Body, Digest, Entry, Journal, Reader, Schema};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::fleets::ctid;
use crate::flips::checkpointed;
use crate::image::{FRAME, Image, beside, directory};
use crate::record::{History, info};

/// The directory of the format of today.
const NEWEST: &str = "v2";

/// All directories, oldest first, and what each holds: what was written once is held against all that comes after, so that
/// nobody makes it fit what is written today. A new directory is pinned as the test says, an old one never again.
const VERSIONS: [(&str, &str); 2] = [
    ("v1", "cc4d12e7fe10d3daa5eb756b1fc0162b371db54ec8844ad67b514a8679c3917f"),
    (NEWEST, "ae7fcf06d49101c3cfc93117290c0b8517034196b3766fdbfea28ac8d4a05c4f"),
];

#[test]
fn every_golden_journal_says_and_becomes_what_it_did() {
    write_if_asked();
    let mut count = 0;
    for (version, _) in VERSIONS {
        for name in names(version) {
            let said = read(version, &name);
            let missing = missing(&said, &took_up(version, &name), "");
            assert!(missing.is_empty(), "{version}/{name}: {missing:#?}");
            count += 1;
        }
    }
    assert!(count >= 16, "only {count} golden journals were found");
}

/// A phoenix of the version before refuses a journal of today and says what to do, and what it says is this.
#[test]
fn an_older_phoenix_refuses_a_newer_journal_with_an_explanation() {
    write_if_asked();
    let older = Schema { version: SCHEMA.version - 1, ..SCHEMA };
    let dir = directory();
    let path = dir.path().join("journal.db");
    fs::write(&path, unpacked(NEWEST, "whole", "db")).expect("room");
    for refused in [Reader::open(&path, &older).err(), phoenix_journal::Writer::open(&path, &older, info()).err()] {
        let why = refused.expect("a refusal").to_string();
        assert!(why.contains("has version 2, this program knows up to 1; use the newer program"), "{why}");
    }
}

/// The first run that writes brings an older journal to the version of today, and leaves it beside as it was.
#[test]
fn a_golden_journal_of_version_1_is_upgraded_after_a_copy() {
    let older = Schema { version: 1, ..SCHEMA };
    let dir = directory();
    let path = dir.path().join("journal.db");
    fs::write(&path, unpacked("v1", "script_in_doubt", "db")).expect("room");
    fs::write(beside(&path, ".sim"), unpacked("v1", "script_in_doubt", "sim")).expect("room");
    let entries = |path: &Path| Reader::open(path, &SCHEMA).and_then(|reader| reader.entries(.., None)).expect("entries");
    let before = entries(&path);
    assert_eq!(phoenix(&path, &["resume"]).0, 0);
    let copy = beside(&path, ".version-1");
    assert_eq!(entries(&copy), before, "the copy holds what there was");
    assert!(entries(&path).starts_with(&before), "and the journal goes on from it");
    assert!(Reader::open(&path, &older).is_err() && Reader::open(&path, &SCHEMA).is_ok());
}

/// Else a format that changed and was written over its own golden journals would look as if it had not.
#[test]
fn golden_journals_are_those_that_were_written_once() {
    write_if_asked();
    for (version, pinned) in VERSIONS {
        let found = digest_of(version);
        assert_eq!(found, pinned, "{version} is not what it was; a new version takes a new directory (CONTRIBUTING.md)");
    }
    let place = directory_of(NEWEST);
    let there = fs::read_dir(place.parent().expect("a parent")).expect("golden journals").count();
    assert_eq!(there, VERSIONS.len(), "a directory that no version names, or a version without one");
}

#[test]
#[should_panic(expected = "what was written once stays")]
fn nothing_is_written_into_a_directory_that_is_there() {
    make_new(&directory_of("v1"));
}

#[test]
fn the_newest_golden_journals_are_of_the_version_that_is_written() {
    assert_eq!(NEWEST, format!("v{}", SCHEMA.version), "NEWEST follows the schema's version");
}

#[test]
fn the_format_is_the_one_of_the_newest_golden_journals() {
    write_if_asked();
    let path = directory_of(NEWEST).join("format.json");
    let now = format();
    let then: Value = serde_json::from_slice(&fs::read(&path).expect("a pinned format")).expect("JSON");
    assert_eq!(
        now, then,
        "the format of journals has changed: raise the version that belongs to it, write a migration from {NEWEST}, and make the golden \
         journals of the next version (CONTRIBUTING.md)"
    );
}

/// What was said and is not said any more; more may be said.
fn missing(said: &Value, now: &Value, at: &str) -> Vec<String> {
    match (said, now) {
        (Value::Object(said), Value::Object(now)) => {
            let fields = said.iter().map(|(key, value)| missing(value, now.get(key).unwrap_or(&Value::Null), &format!("{at}.{key}")));
            fields.flatten().collect()
        }
        (Value::Array(said), Value::Array(now)) if said.len() == now.len() => {
            said.iter().zip(now).enumerate().flat_map(|(number, (said, now))| missing(said, now, &format!("{at}[{number}]"))).collect()
        }
        (said, now) if said == now => Vec::new(),
        (said, now) => vec![format!("{at}: {said} was said, and now {now}")],
    }
}

/// What of the format can be read off an empty journal, and the version of the payloads (whose form `tests/golden/codec` pins).
fn format() -> Value {
    let dir = directory();
    let path = dir.path().join("journal.db");
    let binding = phoenix_journal::Binding { host: "sim".to_owned(), node: "sim".to_owned(), directory: "/sim".to_owned(), device: 0 };
    Journal::create(&path, &SCHEMA, &binding, &info()).expect("a journal");
    let conn = Connection::open(&path).expect("a database");
    let number = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).expect("a number");
    let digest = |sql: &str| {
        let mut statement = conn.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        Digest::of(rows.map(|row| row.expect("a text")).collect::<Vec<_>>().join("\n").as_bytes()).to_string()
    };
    json!({
        "application_id": number("application_id"),
        "user_version": number("user_version"),
        "page_size": number("page_size"),
        "codec": SCHEMA_VERSION,
        "tables": digest("SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY type, name"),
        "rows": digest(
            "SELECT 'state ' || machine || ' ' || state || ' ' || initial FROM machine_states UNION ALL \
             SELECT 'edge ' || machine || ' ' || from_state || ' ' || to_state FROM machine_edges UNION ALL \
             SELECT 'needs ' || machine || ' ' || state || ' ' || step FROM machine_needs UNION ALL \
             SELECT 'begins ' || machine || ' ' || step || ' ' || state FROM machine_begins UNION ALL \
             SELECT 'standing ' || machine || ' ' || standing FROM machine_standings ORDER BY 1"
        ),
    })
}

/// Lays a golden journal down, asks for its status, resumes it, and says what came of it.
fn took_up(version: &str, name: &str) -> Value {
    let dir = directory();
    let path = dir.path().join("journal.db");
    fs::write(&path, unpacked(version, name, "db")).expect("room");
    fs::write(beside(&path, ".sim"), unpacked(version, name, "sim")).expect("room");
    let (code, status) = phoenix(&path, &["status", "--json"]);
    let verified = phoenix(&path, &["journal", "verify"]).0;
    if name == "waiting" {
        let sim = Sim::open(&beside(&path, ".sim"), WorldOptions::seeded(1), Flow::Still).expect("a world");
        sim.tamper(&Tamper::Mount("/srv/media".into())).expect("a world that can be saved");
    }
    let exit = phoenix(&path, &["resume"]).0;
    let after = phoenix(&path, &["status", "--json"]).1;
    let stands = |status: &Value| -> BTreeMap<String, String> {
        let containers = status["fleets"][0]["containers"].as_array().cloned().unwrap_or_default();
        let stand = |container: &Value| (container["ctid"].to_string(), format!("{} {}", container["state"], container["standing"]));
        containers.iter().map(stand).map(|(ctid, stand)| (ctid, stand.replace('"', ""))).collect()
    };
    json!({ "status": status, "status_exit": code, "verify_exit": verified, "resume_exit": exit, "after": stands(&after) })
}

#[expect(clippy::disallowed_methods, reason = "the binary under test is a child of the test")]
fn phoenix(journal: &Path, arguments: &[&str]) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phoenix"));
    let output = command.env_clear().env("TZ", "UTC").arg("--journal").arg(journal).args(arguments).output().expect("it runs");
    (output.status.code().unwrap_or(-1), serde_json::from_slice(&output.stdout).unwrap_or(Value::Null))
}

/// Each test that reads golden journals may be the first of all, and all of them wait for what is written.
fn write_if_asked() {
    static ONCE: Once = Once::new();
    if writing() {
        ONCE.call_once(write_all);
    }
}

/// Makes all golden journals of the newest version, in a directory that is not there yet.
fn write_all() {
    make_new(&directory_of(NEWEST));
    fs::write(directory_of(NEWEST).join("format.json"), format!("{:#}\n", format())).expect("room");
    let plain = History::of_the_pair();
    let reached = |state: &'static str| move |entry: &Entry| entry.stream.stream == "100" && entry.state == state;
    for state in ["declared", "defined", "configured", "finalized", "volumed", "running", "featured", "done"] {
        write_prefix(state, &plain, &reached(state));
    }
    write_prefix("script_in_doubt", &plain, &intent("feature.apply[base]"));
    write_prefix("clone_in_doubt", &plain, &intent("define.clone"));
    write_prefix("source_held", &plain, &intent("clone.release"));
    write("whole", &plain.image, plain.world.clone());
    let (down, end) = History::of_the_pair().then(RunCommand::Down, |_| {});
    assert_eq!(end, RunEnd::Done);
    write_prefix("during_down", &down, &intent("down.destroy"));
    write("after_down", &down.image, down.world.clone());
    let (fallen, end) = History::of_the_pair().then(RunCommand::Resume, World::crash_host);
    assert_eq!(end, RunEnd::Done);
    write_prefix("fallen_back", &fallen, &intent("run.start"));
    let (unmarked, end) = History::of_the_pair().then(RunCommand::Resume, |world| world.tamper(&Tamper::Unmark(ctid(100))));
    assert_eq!(end, RunEnd::Failed);
    write("quarantined", &unmarked.image, unmarked.world.clone());
    let what = What::Exit { status: 1, output: "no such package".to_owned() };
    let fault = Fault { ctid: Some(ctid(100)), step: Where::Base("feature.apply"), attempt: None, when: When::Before, what };
    let faults = Faults { planned: vec![fault], ..Faults::default() };
    let (failed, end) = History::of(WorldOptions { faults, ..WorldOptions::seeded(7) });
    assert_eq!(end, RunEnd::Failed);
    write("failed", &failed.image, failed.world.clone());
    write_waiting();
    let specs = crate::fleets::proxmox_trio().into_iter().take(2).collect();
    let (live, end) = History::of_specs(WorldOptions::seeded(7), specs);
    assert_eq!(end, RunEnd::Done);
    for (name, step) in [
        ("template_in_doubt", "template.fetch"),
        ("snapshot_in_doubt", "snapshot.take"),
        ("live_hold_in_doubt", "clone.hold"),
        ("live_clone_in_doubt", "define.clone"),
        ("live_source_held", "clone.release"),
    ] {
        write_prefix(name, &live, &intent(step));
    }
}

fn intent(name: &'static str) -> impl Fn(&Entry) -> bool {
    move |entry| matches!(&entry.body, Body::Intent { step, .. } if step == name)
}

/// A run that waits for a directory, killed while it does.
fn write_waiting() {
    let what = What::Tamper(Tamper::Unmount("/srv/media".into()));
    let fault = Fault { ctid: Some(ctid(101)), step: Where::Base("run.start"), attempt: Some(1), when: When::Before, what };
    let back = What::Tamper(Tamper::Mount("/srv/media".into()));
    let mended = Fault { ctid: Some(ctid(101)), step: Where::Base("run.start"), attempt: Some(2), when: When::Before, what: back };
    let faults = Faults { planned: vec![fault, mended], ..Faults::default() };
    let (history, _) = History::of(WorldOptions { faults, ..WorldOptions::seeded(7) });
    write_prefix("waiting", &history, &|entry| entry.standing == "waiting");
}

/// The journal up to the first entry that fits, and the world as it was when the next one was being written.
fn write_prefix(name: &str, history: &History, fits: &dyn Fn(&Entry) -> bool) {
    let laid = history.image.lay();
    let entries = Reader::open(&laid.path, &SCHEMA).and_then(|reader| reader.entries(.., None)).expect("entries");
    let base = history.moments.first().map_or(0, |moment| moment.from);
    let entry = entries.iter().find(|entry| entry.seq.get() > base && fits(entry));
    let seq = entry.unwrap_or_else(|| panic!("{name}: no entry fits")).seq.get();
    let ends = history.image.frames().into_iter().filter(|frame| frame.commits).map(|frame| frame.at + FRAME);
    let prefix = ends.map(|end| history.image.cut(end)).find(|image| crate::cuts::last(&image.lay().path) >= seq);
    let prefix = prefix.expect("the entry is in the log");
    let last = crate::cuts::last(&prefix.lay().path);
    write(name, &prefix, history.world_after(last).clone());
}

fn make_new(place: &Path) {
    let advice = "what was written once stays; raise the version, and NEWEST with it";
    fs::create_dir(place).unwrap_or_else(|why| panic!("{}: {why}: {advice}", place.display()));
}

fn write(name: &str, image: &Image, world: World) {
    let place = directory_of(NEWEST);
    let dir = directory();
    let path = dir.path().join("world");
    let sim = Sim::open(&path, WorldOptions::seeded(1), Flow::Still).expect("a new world");
    sim.change(|there| *there = world).expect("room");
    let packed = |bytes: &[u8]| zstd::bulk::compress(bytes, zstd::DEFAULT_COMPRESSION_LEVEL).expect("memory");
    fs::write(place.join(format!("{name}.db.zst")), packed(&checkpointed(image).main)).expect("room");
    fs::write(place.join(format!("{name}.sim.zst")), packed(&fs::read(&path).expect("a world"))).expect("room");
    fs::write(place.join(format!("{name}.json")), format!("{:#}\n", took_up(NEWEST, name))).expect("room");
}

fn read(version: &str, name: &str) -> Value {
    let text = fs::read(directory_of(version).join(format!("{name}.json"))).expect("what was said of it");
    serde_json::from_slice(&text).expect("JSON")
}

fn unpacked(version: &str, name: &str, kind: &str) -> Vec<u8> {
    let packed = fs::read(directory_of(version).join(format!("{name}.{kind}.zst"))).expect("a golden file");
    zstd::bulk::decompress(&packed, BYTES_MAX).expect("what was packed")
}

/// Of the names and bytes of all files.
fn digest_of(version: &str) -> String {
    let line = |file: std::io::Result<fs::DirEntry>| {
        let file = file.expect("a file");
        format!("{} {}", file.file_name().display(), Digest::of(&fs::read(file.path()).expect("a golden file")))
    };
    let mut lines: Vec<String> = fs::read_dir(directory_of(version)).expect("golden journals").map(line).collect();
    lines.sort();
    Digest::of(lines.join("\n").as_bytes()).to_string()
}

fn names(version: &str) -> Vec<String> {
    let files = fs::read_dir(directory_of(version)).expect("golden journals");
    let name = |file: std::io::Result<fs::DirEntry>| {
        let file = file.expect("a file").file_name().into_string().expect("a plain name");
        file.strip_suffix(".db.zst").map(ToOwned::to_owned)
    };
    let mut names: Vec<String> = files.filter_map(name).collect();
    names.sort();
    names
}

fn directory_of(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/journals").join(version)
}

fn writing() -> bool {
    std::env::var("PHOENIX_GOLDEN").is_ok_and(|asked| asked == "write")
}

/// Far more than a golden journal has.
const BYTES_MAX: usize = 16 << 20;
