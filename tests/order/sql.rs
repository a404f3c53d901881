//! The tables alone: drafts through a writer and statements past it, legal and not, on a journal of ours on disk.
//!
//! Statements come over a plain connection with its switches off, as whoever opens the file could send them. What is not
//! tried is taking the guards themselves out; `verify` finds that (`shell`).

use std::path::Path;
use std::sync::PoisonError;

use phoenix_journal::{Append, Body, Draft, Finding, Seq, verify};
use proptest::prelude::*;
use rusqlite::Connection;

use super::drafts::{FORKS, LIFE, content, draft, journal_with, open, out_of_order, way};

const STATES: [&str; 8] = ["declared", "defined", "configured", "finalized", "volumed", "running", "featured", "done"];

/// One attempt at the journal.
#[derive(Clone, Debug)]
enum Attempt {
    /// Through the writer, as we write.
    Draft(Box<Draft>),
    /// The next entry of the legal way of 101.
    Next,
    /// Past the writer.
    Statement(String),
}

fn choice(texts: &[&'static str]) -> BoxedStrategy<&'static str> {
    prop::sample::select(texts.to_vec()).boxed()
}

/// The value that fits, mostly, else another.
fn mostly(fits: &'static str, others: &[&'static str]) -> BoxedStrategy<&'static str> {
    prop_oneof![6 => Just(fits), 1 => choice(others)].boxed()
}

fn quoted(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| format!("'{text}'")).collect()
}

fn states() -> BoxedStrategy<String> {
    prop_oneof![3 => prop::sample::select(quoted(&STATES)), 3 => Just("'volumed'".to_owned()), 1 => Just("NULL".to_owned())].boxed()
}

const STEPS: [&str; 7] =
    ["'finalize.idmap'", "'finalize.idmap.repair'", "'volume.attach[/srv]'", "'define.mark'", "'run.ready'", "'configure.set'", "NULL"];

/// An entry of any kind, often one that would follow.
fn insert() -> impl Strategy<Value = String> {
    let verb = choice(&["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR FAIL", "INSERT OR ROLLBACK", "REPLACE"]);
    let seq = mostly("(SELECT max(seq) + 1 FROM entries)", &["(SELECT max(seq) FROM entries)", "1", "NULL", "-1", "9000"]);
    let epoch = mostly("(SELECT max(number) FROM epochs)", &["0", "NULL", "2"]);
    let whose = (mostly("'container'", &["'run'", "NULL", "''"]), mostly("'101'", &["'102'", "'103'", "NULL"]));
    let life = (mostly("'first'", &["'second'", "NULL", "''"]), mostly("1", &["2", "0", "NULL"]));
    let kind = choice(&["'note'", "'note'", "'outcome'", "'outcome'", "'intent'", "'declare'", "'rumour'", "NULL"]);
    let open = "(SELECT open_intent FROM streams WHERE stream = '101')";
    let answered = (mostly(open, &["NULL", "1", "2", "8"]), mostly("'done'", &["'failed'", "NULL", "'DONE'"]));
    let prev = mostly("(SELECT hash FROM entries ORDER BY seq DESC LIMIT 1)", &["zeroblob(32)", "NULL"]);
    let step = (choice(&STEPS), mostly("1", &["2", "NULL"]));
    let tail = choice(&["", "", "", " ON CONFLICT (seq) DO UPDATE SET state = 'volumed'", " ON CONFLICT DO NOTHING"]);
    ((verb, seq, epoch, whose, life), (kind, answered, step, states()), (prev, tail)).prop_map(
        |((verb, seq, epoch, (machine, stream), (life, generation)), (kind, (intent, result), (step, attempt), state), (prev, tail))| {
            // What the kind does not have is left out: else every row would break the shape of its kind.
            let (step, attempt) = if matches!(kind, "'intent'" | "'outcome'") { (step, attempt) } else { ("NULL", "NULL") };
            let (intent, result) = if kind == "'outcome'" { (intent, result) } else { ("NULL", "NULL") };
            let digest = if kind == "'intent'" { "zeroblob(32)" } else { "NULL" };
            let topic = if kind == "'note'" { "'x'" } else { "NULL" };
            // `ON CONFLICT` and a verb of its own do not go together.
            let verb = if tail.is_empty() { verb } else { "INSERT" };
            format!(
                "{verb} INTO entries (seq, epoch, machine, stream, life, generation, run, kind, step, attempt, deadline, digest, intent_seq, \
                 result, topic, state, standing, payload, at_ms, prev_hash, hash) VALUES ({seq}, {epoch}, {machine}, {stream}, {life}, \
                 {generation}, 'run', {kind}, {step}, {attempt}, NULL, {digest}, {intent}, {result}, {topic}, {state}, 'active', '{{}}', 0, \
                 {prev}, zeroblob(32)){tail};"
            )
        },
    )
}

/// A position that somebody would like.
fn position() -> impl Strategy<Value = String> {
    let verb = choice(&["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"]);
    let seq = choice(&["(SELECT max(seq) FROM entries)", "(SELECT max(seq) + 1 FROM entries)", "1", "9000"]);
    (verb, choice(&["'101'", "'102'", "'103'"]), states(), seq).prop_map(|(verb, stream, state, seq)| {
        format!("{verb} INTO streams VALUES ('container', {stream}, {state}, 'active', 'first', 1, {seq}, NULL, {seq}, {seq}, 0);")
    })
}

fn change() -> impl Strategy<Value = String> {
    let verb = choice(&["UPDATE", "UPDATE OR REPLACE", "UPDATE OR IGNORE"]);
    let which = choice(&["", " WHERE stream = '101'", " WHERE stream = '102'", " WHERE rowid = 1"]);
    let row =
        choice(&["state = 'volumed'", "life = 'second'", "seq = seq + 1", "result = 'done'", "step = 'finalize.idmap'", "stream = '102'"]);
    let place = choice(&[
        "state = 'volumed'",
        "state = 'done', last_seq = last_seq + 1",
        "open_intent = NULL",
        "ended = 0",
        "stream = '103'",
        "life = 'second'",
        "state = 'volumed', last_seq = (SELECT max(seq) FROM entries)",
    ]);
    prop_oneof![
        (verb.clone(), row, which.clone()).prop_map(|(verb, set, which)| format!("{verb} entries SET {set}{which};")),
        (verb, place, which.clone()).prop_map(|(verb, set, which)| format!("{verb} streams SET {set}{which};")),
        (choice(&["entries", "streams", "epochs", "machine_needs", "machine_edges"]), which)
            .prop_map(|(table, which)| format!("DELETE FROM {table}{which};")),
        choice(&[
            "INSERT OR REPLACE INTO entries SELECT * FROM entries;",
            "INSERT INTO machine_edges VALUES ('container', 'declared', 'volumed');",
            "INSERT INTO epochs SELECT max(number) + 1, zeroblob(16), 1, 'x', 'b', 0 FROM epochs;",
            "UPDATE machine_needs SET step = 'define.mark';",
            "REPLACE INTO machine_begins VALUES ('container', 'volume.attach', 'declared');",
        ])
        .prop_map(str::to_owned),
    ]
}

/// What a connection can be told beforehand.
fn switches() -> BoxedStrategy<&'static str> {
    choice(&[
        "",
        "PRAGMA recursive_triggers = OFF;",
        "PRAGMA recursive_triggers = ON;",
        "PRAGMA ignore_check_constraints = ON;",
        "PRAGMA foreign_keys = ON; PRAGMA defer_foreign_keys = ON;",
        "PRAGMA case_sensitive_like = ON; PRAGMA reverse_unordered_selects = ON;",
    ])
}

fn any_draft() -> impl Strategy<Value = Draft> {
    let step = prop::sample::select(vec!["finalize.idmap", "finalize.idmap.repair", "volume.attach[/srv]", "define.mark", "run.ready"]);
    let body = prop_oneof![
        Just(Body::Declare),
        Just(Body::Note { topic: "x".to_owned() }),
        (step.clone(), 1_u32..3).prop_map(|(step, attempt)| Body::Intent {
            step: step.to_owned(),
            attempt,
            deadline: None,
            digest: phoenix_journal::Digest::ZERO
        }),
        (step, 1_u64..18, prop::sample::select(vec!["done", "failed"])).prop_map(|(step, intent, result)| Body::Outcome {
            intent: Seq::new(intent),
            step: step.to_owned(),
            attempt: 1,
            result: result.into()
        }),
    ];
    let life = prop::sample::select(vec![LIFE, LIFE, "second"]);
    (prop::sample::select(vec!["101", "101", "102"]), body, prop::sample::select(STATES.to_vec()), life, 1_u64..3)
        .prop_map(|(stream, body, state, life, generation)| Draft { life: life.to_owned(), generation, ..draft(stream, body, state) })
}

fn attempts() -> impl Strategy<Value = Vec<Attempt>> {
    let statement = prop_oneof![4 => insert().boxed(), 1 => position().boxed(), 2 => change().boxed()];
    let statement = (switches(), statement).prop_map(|(switches, statement)| Attempt::Statement(format!("{switches} {statement}")));
    let drafts = any_draft().prop_map(|draft| Attempt::Draft(Box::new(draft)));
    prop::collection::vec(prop_oneof![6 => statement, 2 => drafts, 1 => Just(Attempt::Next)], 1..10)
}

/// Whether it was taken.
fn attempt(path: &Path, attempt: &Attempt) -> bool {
    let append = |draft: Draft| {
        // A journal with a forged last entry is not even opened.
        let Ok(mut writer) = phoenix_journal::Writer::open(path, &phoenix::journal::SCHEMA, super::drafts::info()) else { return false };
        writer.begin(vec![draft]).is_ok()
    };
    match attempt {
        Attempt::Draft(draft) => append(Draft::clone(draft)),
        Attempt::Next => way().into_iter().nth(content(path).entries.len()).is_some_and(append),
        Attempt::Statement(sql) => {
            let conn = Connection::open(path).expect("a database");
            conn.execute_batch(sql).is_ok()
        }
    }
}

/// What `verify` may find after a statement was taken: that the hash of what was added past us is none.
fn is_about_a_forged_hash(finding: &Finding, ours: u64) -> bool {
    match finding {
        Finding::Hash { seq } => seq.get() > ours,
        Finding::File(_)
        | Finding::Tables(_)
        | Finding::Unreadable { .. }
        | Finding::Gap { .. }
        | Finding::Chain { .. }
        | Finding::Epoch { .. }
        | Finding::Guard { .. }
        | Finding::Position { .. }
        | Finding::Blob { .. } => false,
    }
}

fn check(start: usize, attempts: &[Attempt]) -> usize {
    let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = journal_with(dir.path(), start);
    let (mut taken, mut shapeless) = (0, false);
    for one in attempts {
        let before = content(&path);
        let accepted = attempt(&path, one);
        let after = content(&path);
        // A refused draft may still have begun an epoch; a refused statement changes nothing.
        assert!(accepted || after.entries == before.entries, "{one:#?}");
        assert!(accepted || after == before || !matches!(one, Attempt::Statement(_)), "{one:#?}");
        let kept: Vec<_> = after.entries.iter().take(before.entries.len()).collect();
        assert_eq!(kept, before.entries.iter().collect::<Vec<_>>(), "history stays: {one:#?}");
        assert_eq!(out_of_order(&path), Vec::<String>::new(), "{one:#?}");
        taken += usize::from(after.entries.len() > before.entries.len());
        shapeless |= matches!(one, Attempt::Statement(sql) if sql.contains("ignore_check_constraints"));
        let report = verify(&path).expect("a journal");
        let other = report.findings.iter().find(|finding| !is_about_a_forged_hash(finding, start as u64));
        // With CHECK switched off a row may have a shape that is none of its kind; then `verify` says so.
        assert!(other.is_none() || shapeless, "{other:?} after {one:#?}");
    }
    taken
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_sent_to_the_tables_breaks_the_order(start in 1_usize..=16, attempts in attempts()) {
        check(start, &attempts);
    }
}

/// Else the property above would hold of nothing.
#[test]
fn the_legal_way_is_taken_step_by_step() {
    assert_eq!(check(1, &vec![Attempt::Next; 15]), 15);
}

#[test]
fn a_writer_refuses_volumes_without_a_finalization() {
    let _no_forks = FORKS.read().unwrap_or_else(PoisonError::into_inner);
    let dir = tempfile::tempdir().expect("a temporary directory");
    for start in 1..=6 {
        let path = journal_with(&dir.path().join(start.to_string()), start);
        let mut writer = open(&path);
        writer.begin(Vec::<Draft>::new()).expect("an epoch");
        let state = way()[start - 1].state.clone();
        for to in STATES.iter().skip_while(|to| **to != "volumed") {
            let note = draft("101", Body::Note { topic: "x".to_owned() }, to);
            assert!(writer.append_group(vec![note]).expect("a group")[0].is_err(), "{state} to {to}");
        }
    }
}
