//! The guards against a plain connection: what the `sqlite3` shell can do with foreign keys off.
//!
//! Each attack is tried through a raw connection and, where the binary is there, through the shell itself, each time on a fresh
//! copy, as INSERT, INSERT OR REPLACE and INSERT OR IGNORE. It has to be refused with the right word, and nothing may change.

mod parcel;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use parcel::{declare, intent, made, open, shipped};
use phoenix_journal::{Append, verify};
use rusqlite::Connection;

/// Entries 1 to 5 bring `a` to `shipped`; `b` has the open intent 7; `c` is declared by entry 8, `d` over since 11.
fn journal() -> parcel::Made {
    let made = made();
    let mut writer = open(&made.path);
    let mut group = shipped("a", 1);
    group.extend([declare("b"), intent("b", "label", 1, "packed"), declare("c"), declare("d")]);
    group.extend([
        intent("d", "label", 1, "packed"),
        parcel::outcome("d", 10, "label", 1, "done", "labelled"),
        parcel::note("d", "packed"),
    ]);
    let begun = writer.begin(group).expect("all of it is legal");
    assert_eq!(begun.len(), LAST);
    drop(writer);
    made
}

const LAST: usize = 12;

/// A legal entry, with some columns replaced by other expressions.
fn entry(changes: &[(&str, &str)]) -> String {
    let mut columns = vec![
        ("seq", "13"),
        ("epoch", "1"),
        ("machine", "'parcel'"),
        ("stream", "'c'"),
        ("life", "'first'"),
        ("generation", "1"),
        ("run", "'run'"),
        ("kind", "'note'"),
        ("step", "NULL"),
        ("attempt", "NULL"),
        ("deadline", "NULL"),
        ("digest", "NULL"),
        ("intent_seq", "NULL"),
        ("result", "NULL"),
        ("topic", "'seen'"),
        ("state", "'packed'"),
        ("standing", "'active'"),
        ("payload", "'{}'"),
        ("at_ms", "0"),
        ("prev_hash", "(SELECT hash FROM entries WHERE seq = 12)"),
        ("hash", "zeroblob(32)"),
    ];
    for (name, value) in changes {
        let column = columns.iter_mut().find(|(column, _)| column == name).expect("a column");
        column.1 = value;
    }
    let (names, values): (Vec<&str>, Vec<&str>) = columns.into_iter().unzip();
    format!("INSERT INTO entries ({}) VALUES ({});", names.join(", "), values.join(", "))
}

fn outcome(changes: &[(&str, &str)]) -> String {
    let plain = [
        ("stream", "'b'"),
        ("kind", "'outcome'"),
        ("topic", "NULL"),
        ("intent_seq", "7"),
        ("step", "'label'"),
        ("attempt", "1"),
        ("result", "'done'"),
        ("state", "'labelled'"),
    ];
    entry(&[&plain, changes].concat())
}

fn intent_of_c(changes: &[(&str, &str)]) -> String {
    let plain = [("kind", "'intent'"), ("topic", "NULL"), ("step", "'label'"), ("attempt", "1"), ("digest", "zeroblob(32)")];
    entry(&[&plain, changes].concat())
}

fn declaration(changes: &[(&str, &str)]) -> String {
    entry(&[&[("kind", "'declare'"), ("topic", "NULL")], changes].concat())
}

type Attempt = fn(&Path, &str) -> Result<(), String>;

fn raw(path: &Path, sql: &str) -> Result<(), String> {
    let conn = Connection::open(path).map_err(|error| error.to_string())?;
    conn.execute_batch(&format!("PRAGMA foreign_keys = OFF; PRAGMA recursive_triggers = OFF; {sql}")).map_err(|error| error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
fn shell(path: &Path, sql: &str) -> Result<(), String> {
    let done = std::process::Command::new("sqlite3").arg("-bail").arg(path).arg(sql).output().map_err(|error| error.to_string())?;
    if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
}

#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a skipped test says so")]
fn ways() -> Vec<(&'static str, Attempt)> {
    let mut ways: Vec<(&'static str, Attempt)> = vec![("a raw connection", raw)];
    match std::process::Command::new("sqlite3").arg("-version").output() {
        Ok(_) => ways.push(("the sqlite3 shell", shell)),
        Err(_) => eprintln!("SKIPPED: there is no sqlite3 shell here; a raw connection stands in for it"),
    }
    ways
}

fn fresh(original: &Path) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("parcels.journal");
    std::fs::copy(original, &path).expect("a copy");
    (dir, path)
}

/// Everything in the file, as text.
fn content(path: &Path) -> String {
    let conn = Connection::open(path).expect("a database");
    let tables = ["meta", "machine_states", "machine_edges", "machine_needs", "machine_begins", "machine_standings"];
    let mut text = String::new();
    for table in tables.into_iter().chain(["epochs", "entries", "streams", "blobs"]) {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let width = statement.column_count();
        let mut rows = statement.query([]).expect("rows");
        while let Some(row) = rows.next().expect("a row") {
            let values = (0..width).map(|index| format!("{:?}", row.get::<_, rusqlite::types::Value>(index).expect("a value")));
            writeln!(text, "{table}: {}", values.collect::<Vec<_>>().join(" | ")).expect("a text takes any text");
        }
    }
    text
}

#[track_caller]
fn refused(original: &Path, sql: &str, word: &str) {
    let before = content(original);
    for (way, attempt) in ways() {
        for verb in ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE"] {
            let (_dir, path) = fresh(original);
            let sql = sql.replacen("INSERT", verb, 1);
            let error = attempt(&path, &sql).err();
            assert_eq!(content(&path), before, "by {way}: {sql}");
            // What is ignored is not told.
            if verb != "INSERT OR IGNORE" || word.starts_with("phoenix") {
                assert!(error.as_ref().is_some_and(|text| text.contains(word)), "{error:?} instead of {word}, by {way}: {sql}");
            }
            if !sql.contains("INSERT") {
                break;
            }
        }
    }
}

#[track_caller]
fn accepted(original: &Path, sql: &str) {
    for (way, attempt) in ways() {
        let (_dir, path) = fresh(original);
        assert_eq!(attempt(&path, sql), Ok(()), "by {way}: {sql}");
    }
}

#[test]
fn what_is_legal_passes() {
    let made = journal();
    for sql in
        [entry(&[]), outcome(&[]), intent_of_c(&[]), intent_of_c(&[("step", "'weigh[3]'")]), intent_of_c(&[("step", "'weigh.repair'")])]
    {
        accepted(&made.path, &sql);
    }
    accepted(&made.path, &declaration(&[("stream", "'e'")]));
    accepted(&made.path, &declaration(&[("generation", "2")]));
    accepted(&made.path, &declaration(&[("life", "'second'"), ("stream", "'d'")]));
}

#[test]
fn history_is_neither_changed_nor_deleted() {
    let made = journal();
    for sql in [
        "UPDATE entries SET payload = 'x' WHERE seq = 1;",
        "UPDATE OR REPLACE entries SET seq = 2 WHERE seq = 1;",
        "DELETE FROM entries WHERE seq = 12;",
        "DELETE FROM entries;",
    ] {
        refused(&made.path, sql, "phoenix: history");
    }
    refused(&made.path, &entry(&[("seq", "12"), ("prev_hash", "(SELECT hash FROM entries WHERE seq = 11)")]), "phoenix: sequence");
}

#[test]
fn an_entry_follows_the_last_one() {
    let made = journal();
    refused(&made.path, &entry(&[("seq", "14")]), "phoenix: sequence");
    refused(&made.path, &entry(&[("seq", "NULL")]), "phoenix: sequence");
    refused(&made.path, &entry(&[("seq", "-1")]), "phoenix: sequence");
    refused(&made.path, &entry(&[("prev_hash", "zeroblob(32)")]), "phoenix: chain");
    refused(&made.path, &entry(&[("prev_hash", "NULL")]), "phoenix: chain");
    refused(&made.path, &entry(&[("hash", "zeroblob(31)")]), "CHECK");
    for epoch in ["0", "2", "NULL"] {
        refused(&made.path, &entry(&[("epoch", epoch)]), "phoenix: epoch");
    }
    let other = format!("{} {}", "INSERT INTO epochs VALUES (2, zeroblob(16), 1, 'x', 'b', 0);", entry(&[]));
    let (_dir, path) = fresh(&made.path);
    assert!(raw(&path, &other).expect_err("the epoch is over").contains("phoenix: epoch"));
}

#[test]
fn no_state_without_its_edge_and_evidence() {
    let made = journal();
    refused(&made.path, &entry(&[("state", "'shipped'")]), "phoenix: edge");
    refused(&made.path, &entry(&[("state", "'labelled'")]), "phoenix: needs");
    refused(&made.path, &outcome(&[("result", "'failed'")]), "phoenix: needs");
    refused(&made.path, &entry(&[("state", "'lost'")]), "phoenix: state");
    refused(&made.path, &entry(&[("state", "NULL")]), "phoenix: state");
    refused(&made.path, &entry(&[("standing", "'tired'")]), "phoenix: standing");
    refused(&made.path, &entry(&[("machine", "'letter'")]), "phoenix: machine");
    refused(&made.path, &entry(&[("kind", "'rumour'")]), "CHECK");
    refused(&made.path, &entry(&[("kind", "NULL")]), "NOT NULL");
    // Evidence of another stream, and of a life that is over, does not count.
    let second = declaration(&[("stream", "'d'"), ("life", "'second'")]);
    let (_dir, path) = fresh(&made.path);
    raw(&path, &second).expect("the old life is over");
    let moved = entry(&[
        ("seq", "14"),
        ("stream", "'d'"),
        ("life", "'second'"),
        ("state", "'labelled'"),
        ("prev_hash", "(SELECT hash FROM entries WHERE seq = 13)"),
    ]);
    assert!(raw(&path, &moved).expect_err("no evidence").contains("phoenix: needs"));
}

#[test]
fn intents_and_outcomes_belong_together() {
    let made = journal();
    refused(&made.path, &intent_of_c(&[("stream", "'b'"), ("attempt", "2")]), "phoenix: open");
    refused(&made.path, &intent_of_c(&[("attempt", "2")]), "phoenix: attempt");
    refused(&made.path, &intent_of_c(&[("attempt", "NULL")]), "phoenix: attempt");
    refused(&made.path, &intent_of_c(&[("step", "'ship'")]), "phoenix: begins");
    refused(&made.path, &intent_of_c(&[("step", "'ship[label'")]), "phoenix: begins");
    refused(&made.path, &intent_of_c(&[("step", "NULL")]), "phoenix: begins");
    refused(&made.path, &intent_of_c(&[("state", "'labelled'")]), "phoenix: moves");
    refused(&made.path, &intent_of_c(&[("digest", "NULL")]), "CHECK");
    refused(&made.path, &outcome(&[("intent_seq", "2")]), "phoenix: no-intent");
    refused(&made.path, &outcome(&[("intent_seq", "NULL")]), "phoenix: no-intent");
    refused(&made.path, &outcome(&[("stream", "'c'")]), "phoenix: no-intent");
    refused(&made.path, &outcome(&[("stream", "'a'"), ("intent_seq", "2"), ("state", "'shipped'")]), "phoenix: no-intent");
    refused(&made.path, &outcome(&[("stream", "'c'"), ("intent_seq", "NULL")]), "phoenix: no-intent");
    refused(&made.path, &outcome(&[("step", "'ship'")]), "phoenix: other-intent");
    refused(&made.path, &outcome(&[("step", "NULL")]), "phoenix: other-intent");
    refused(&made.path, &outcome(&[("attempt", "2")]), "phoenix: other-intent");
    refused(&made.path, &outcome(&[("life", "'second'")]), "phoenix: life");
    refused(&made.path, &outcome(&[("generation", "2")]), "phoenix: generation");
    refused(&made.path, &outcome(&[("generation", "NULL")]), "phoenix: generation");
}

#[test]
fn lives_and_generations_follow_each_other() {
    let made = journal();
    refused(&made.path, &entry(&[("stream", "'new'")]), "phoenix: undeclared");
    refused(&made.path, &declaration(&[("stream", "'new'"), ("generation", "2")]), "phoenix: generation");
    refused(&made.path, &declaration(&[("stream", "'new'"), ("state", "'labelled'")]), "phoenix: initial");
    refused(&made.path, &declaration(&[("stream", "''")]), "CHECK");
    refused(&made.path, &declaration(&[]), "phoenix: generation");
    refused(&made.path, &declaration(&[("generation", "3")]), "phoenix: generation");
    refused(&made.path, &declaration(&[("stream", "'b'"), ("generation", "2")]), "phoenix: open");
    refused(&made.path, &declaration(&[("stream", "'a'"), ("life", "'second'"), ("state", "'shipped'")]), "phoenix: goes-on");
    refused(&made.path, &declaration(&[("stream", "'d'"), ("generation", "2")]), "phoenix: ended");
    refused(&made.path, &entry(&[("stream", "'d'")]), "phoenix: ended");
    let (_dir, path) = fresh(&made.path);
    raw(&path, &declaration(&[("stream", "'c'"), ("life", "'second'")])).expect("nothing was done in the first life");
    let back = declaration(&[("seq", "14"), ("prev_hash", "(SELECT hash FROM entries WHERE seq = 13)")]);
    assert!(raw(&path, &back).expect_err("it has been").contains("phoenix: reused"));
}

#[test]
fn positions_say_what_entries_say() {
    let made = journal();
    for sql in [
        "UPDATE streams SET state = 'shipped' WHERE stream = 'c';",
        "UPDATE streams SET state = state;",
        "UPDATE OR REPLACE streams SET stream = 'a' WHERE stream = 'c';",
        "UPDATE streams SET last_seq = 13 WHERE stream = 'c';",
        "UPDATE streams SET ended = 0, life = 'second' WHERE stream = 'd';",
        "UPDATE streams SET open_intent = NULL WHERE stream = 'b';",
        // The newest entry is this stream's: only that the position stands at it already tells this from the guards' own update.
        "UPDATE streams SET ended = 0 WHERE stream = 'd';",
        "UPDATE streams SET open_intent = 7 WHERE stream = 'd';",
        "DELETE FROM streams WHERE stream = 'c';",
        "INSERT INTO streams VALUES ('parcel', 'e', 'packed', 'active', 'first', 1, 12, NULL, 12, 12, 0);",
        "INSERT INTO streams VALUES ('parcel', 'd', 'packed', 'active', 'first', 1, 12, NULL, 12, 12, 0);",
        "INSERT INTO streams VALUES ('parcel', 'c', 'packed', 'active', 'first', 1, 8, NULL, 8, 8, 0);",
    ] {
        refused(&made.path, sql, "phoenix: position");
    }
}

#[test]
fn epochs_blobs_and_what_is_written_once_stay() {
    let made = journal();
    refused(&made.path, "INSERT INTO epochs VALUES (1, zeroblob(16), 1, 'x', 'b', 0);", "phoenix: epochs");
    refused(&made.path, "INSERT INTO epochs VALUES (3, zeroblob(16), 1, 'x', 'b', 0);", "phoenix: epochs");
    refused(&made.path, "INSERT INTO epochs VALUES (NULL, zeroblob(16), 1, 'x', 'b', 0);", "phoenix: epochs");
    refused(&made.path, "UPDATE epochs SET pid = 1;", "phoenix: epochs");
    refused(&made.path, "DELETE FROM epochs;", "phoenix: epochs");
    for table in ["meta", "machine_states", "machine_edges", "machine_needs", "machine_begins", "machine_standings"] {
        refused(&made.path, &format!("DELETE FROM {table};"), "phoenix: sealed");
        refused(&made.path, &format!("INSERT INTO {table} SELECT * FROM {table} LIMIT 1;"), "phoenix: sealed");
    }
    refused(&made.path, "UPDATE meta SET value = 'x';", "phoenix: sealed");
    refused(&made.path, "INSERT INTO machine_edges VALUES ('parcel', 'packed', 'shipped');", "phoenix: sealed");
    let (_dir, path) = fresh(&made.path);
    raw(&path, "INSERT INTO blobs VALUES (zeroblob(32), x'01');").expect("a blob");
    raw(&path, "PRAGMA wal_checkpoint(TRUNCATE);").expect("a checkpoint");
    refused(&path, "INSERT INTO blobs VALUES (zeroblob(32), x'02');", "phoenix: blobs");
    refused(&path, "UPDATE blobs SET bytes = x'02';", "phoenix: blobs");
    refused(&path, "DELETE FROM blobs;", "phoenix: blobs");
}

#[test]
fn verify_finds_what_the_guards_were_switched_off_for() {
    let made = journal();
    assert!(verify(&made.path).expect("a journal").is_clean());
    let found = |sql: &str| -> Vec<String> {
        let (_dir, path) = fresh(&made.path);
        let conn = Connection::open(&path).expect("a database");
        let name = sql.split("TRIGGER ").nth(1).and_then(|rest| rest.split(';').next()).expect("a trigger").to_owned();
        let text: String = conn.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [name], |row| row.get(0)).expect("a text");
        conn.execute_batch(sql).and_then(|()| conn.execute_batch(&text)).expect("the owner of a file can do that");
        drop(conn);
        verify(&path).expect("a journal").findings.iter().map(ToString::to_string).collect()
    };
    let changed = found("DROP TRIGGER entries_update; UPDATE entries SET payload = 'x' WHERE seq = 3;");
    assert_eq!(changed, ["the content of entry 3 is not what its hash says"]);
    let forged = found("DROP TRIGGER entries_update; UPDATE entries SET result = 'failed' WHERE seq = 3;");
    assert_eq!(forged[1], "entry 3 should have been refused: parcel a: `labelled` needs `label`, which is not done");
    let cut = found("DROP TRIGGER entries_delete; DELETE FROM entries WHERE seq = 8;");
    assert_eq!(cut[..2], ["entry 9 follows entry 7", "entry 9 was not written after the entry that is before it"]);
    assert_eq!(cut[2], "the position of parcel c is not what its entries say");
    let moved = found("DROP TRIGGER streams_update; UPDATE streams SET state = 'shipped' WHERE stream = 'c';");
    assert_eq!(moved, ["the position of parcel c is not what its entries say"]);
}
