//! The same with the real `sqlite3` shell, which knows nothing of us: the guards are in the file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{PoisonError, RwLockWriteGuard};

use phoenix_journal::{Append, Draft, verify};

use super::drafts::{FORKS, content, journal_with, open};

/// Nothing if there is no shell. Where the tests on real LXC are required, so is it.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test's own child; a skipped test says so")]
fn there_is_a_shell() -> Option<RwLockWriteGuard<'static, ()>> {
    let alone = FORKS.write().unwrap_or_else(PoisonError::into_inner);
    let there = Command::new("sqlite3").arg("-version").output().is_ok_and(|done| done.status.success());
    let required = std::env::var_os("PHOENIX_TEST_LXC").is_some_and(|value| value == "require");
    assert!(there || !required, "there is no sqlite3 shell, and PHOENIX_TEST_LXC=require asks for one: install sqlite3");
    if !there {
        eprintln!("SKIPPED: there is no sqlite3 shell here");
    }
    there.then_some(alone)
}

/// What the shell says to these lines; an error is its complaint.
#[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
fn shell(path: &Path, lines: &[&str]) -> Result<String, String> {
    let done = Command::new("sqlite3").arg("-bail").arg(path).args(lines).output().expect("the shell runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() { Ok(text(&done.stdout)) } else { Err(text(&done.stderr)) }
}

/// Entries 1 to `count` of the legal way.
fn journal(count: usize) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = journal_with(dir.path(), count);
    (dir, path)
}

#[track_caller]
fn refused(count: usize, sql: &str, word: &str) {
    let (_dir, path) = journal(count);
    let before = content(&path);
    for verb in ["INSERT", "INSERT OR REPLACE"] {
        let sql = sql.replacen("INSERT", verb, 1);
        let said = shell(&path, &[&sql]).expect_err("the guards refuse it");
        assert!(said.contains(word), "{said} instead of {word}: {sql}");
        assert_eq!(content(&path), before, "{sql}");
    }
    assert!(verify(&path).expect("a journal").is_clean());
}

/// An entry about container 101, the next one, in this epoch and state.
fn entry(kind: &str, epoch: &str, state: &str, rest: &str) -> String {
    let (columns, values) = rest.split_once('=').unwrap_or_default();
    format!(
        "INSERT INTO entries (seq, epoch, machine, stream, life, generation, run, kind, state, standing, payload, at_ms, prev_hash, hash, {columns}) \
         SELECT max(seq) + 1, {epoch}, 'container', '101', 'first', 1, 'run', '{kind}', '{state}', 'active', '{{}}', 0, hash, zeroblob(32), {values} FROM entries;"
    )
}

fn note(epoch: &str, state: &str) -> String {
    entry("note", epoch, state, "topic='x'")
}

/// After how many entries of the way 101 is in which state.
const DECLARED: usize = 1;
const CONFIGURED: usize = 5;
const FINALIZED: usize = 7;

#[test]
fn the_shell_can_append_what_is_legal() {
    let Some(_alone) = there_is_a_shell() else { return };
    let (_dir, path) = journal(FINALIZED);
    shell(&path, &[&note("1", "volumed")]).expect("a container without volumes passes");
    assert_eq!(shell(&path, &["SELECT state FROM streams WHERE stream = '101'"]).as_deref(), Ok("volumed\n"));
}

#[test]
fn the_shell_cannot_skip_the_finalization() {
    let Some(_alone) = there_is_a_shell() else { return };
    for state in ["volumed", "running", "featured", "done"] {
        refused(DECLARED, &note("1", state), "phoenix: edge");
        refused(CONFIGURED, &note("1", state), "phoenix: edge");
    }
    refused(CONFIGURED, &note("1", "finalized"), "phoenix: needs");
    let failed = "intent_seq, step, attempt, result=6, 'finalize.idmap', 1, 'failed'";
    refused(CONFIGURED + 1, &entry("outcome", "1", "finalized", failed), "phoenix: needs");
    let forged = "intent_seq, step, attempt, result=4, 'finalize.idmap', 1, 'done'";
    refused(CONFIGURED, &entry("outcome", "1", "finalized", forged), "phoenix: no-intent");
}

#[test]
fn the_shell_cannot_write_a_position() {
    let Some(_alone) = there_is_a_shell() else { return };
    refused(CONFIGURED, "UPDATE streams SET state = 'volumed' WHERE stream = '101';", "phoenix: position");
    refused(CONFIGURED, "DELETE FROM streams;", "phoenix: position");
    let row = "INSERT INTO streams VALUES ('container', '101', 'volumed', 'active', 'first', 1, 5, NULL, 5, 5, 0);";
    refused(CONFIGURED, row, "phoenix: position");
    refused(CONFIGURED, &row.replace("'101'", "'103'"), "phoenix: position");
}

#[test]
fn the_shell_cannot_change_history() {
    let Some(_alone) = there_is_a_shell() else { return };
    refused(FINALIZED, "UPDATE entries SET state = 'volumed' WHERE seq = 5;", "phoenix: history");
    refused(FINALIZED, "UPDATE OR REPLACE entries SET seq = 1 WHERE seq = 2;", "phoenix: history");
    refused(FINALIZED, "DELETE FROM entries WHERE seq = 7;", "phoenix: history");
    refused(FINALIZED, "INSERT INTO machine_edges VALUES ('container', 'declared', 'volumed');", "phoenix: sealed");
    refused(FINALIZED, "DELETE FROM machine_needs;", "phoenix: sealed");
}

#[test]
fn the_shell_cannot_append_for_a_writer_whose_time_is_over() {
    let Some(_alone) = there_is_a_shell() else { return };
    let (_dir, path) = journal(FINALIZED);
    open(&path).begin(Vec::<Draft>::new()).expect("a second epoch");
    let before = content(&path);
    let said = shell(&path, &[&note("1", "volumed")]).expect_err("epoch 1 is over");
    assert!(said.contains("phoenix: epoch"), "{said}");
    assert_eq!(content(&path), before);
    shell(&path, &[&note("2", "volumed")]).expect("epoch 2 goes on");
}

/// Whoever owns the file can switch its triggers off; nobody can do so unseen.
#[test]
fn what_is_written_with_the_guards_off_is_found() {
    let Some(_alone) = there_is_a_shell() else { return };
    let (_dir, path) = journal(CONFIGURED);
    shell(&path, &[".dbconfig enable_trigger off", &note("1", "volumed")]).expect("the guards are off");
    let findings: Vec<String> = verify(&path).expect("a journal").findings.iter().map(ToString::to_string).collect();
    let guard = "entry 6 should have been refused: container 101: no edge leads from `configured` to `volumed`";
    assert!(findings.iter().any(|found| found == guard), "{findings:#?}");
    assert!(findings.iter().any(|found| found == "the content of entry 6 is not what its hash says"), "{findings:#?}");
}
