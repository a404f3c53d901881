//! The documents of every schema, byte for byte: a file once released never changes, a new schema gets a new directory, which holds
//! what only that schema can say.
//!
//! To write the files of the newest schema that are not there: `PHOENIX_GOLDEN=write cargo test --lib codec::tests::golden`, then
//! read them. One that is there is never written over: who means to, before the schema is released, deletes it first.

mod samples;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::PathBuf;

use phoenix_journal::Record;

pub(super) use samples::{declarations, intents, mark, notes, outcomes, runs_closed, runs_opened};

use super::row;
use crate::codec::written::{Read, Shown, Written};
use crate::codec::{SCHEMA_VERSION, arbitrary, entry, mark_from_json, mark_to_json};
use crate::ids::State;
use crate::machine::{
    Decision, Evidence, Fact, FailureClass, Line, QuarantineReason, RunCommand, RunEnd, Standing, StepResult, Topic, WaitKind,
};
use crate::manifest::{Address, EnvValue, FirewallPolicy, OnInterrupt, Origin, Ownership, ReadyProbe, Template};
use crate::plan::{Action, Reason, StartPurpose};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

#[track_caller]
fn check_file(schema: u32, name: &str, text: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "tests/golden/codec", &format!("v{schema}"), name].iter().collect();
    let wanted = std::env::var_os("PHOENIX_GOLDEN").is_some_and(|what| what == "write");
    if wanted && schema == SCHEMA_VERSION && !text.is_empty() && !path.exists() {
        std::fs::write(&path, text).expect("the golden directory can be written");
    }
    if text.is_empty() {
        assert!(!path.exists(), "{}: nothing says this any more", path.display());
        return String::new();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    for (line, (golden, now)) in golden.lines().zip(text.lines()).enumerate() {
        assert_eq!(now, golden, "{}:{}", path.display(), line + 1);
    }
    assert_eq!(text, golden, "{}", path.display());
    golden
}

/// Both ways: the facts give the lines of the files, the lines give the facts.
#[track_caller]
fn check(name: &str, facts: &[Fact]) -> String {
    let rows: Vec<_> = facts.iter().map(|fact| row(Line::Fact(fact.clone()).draft())).collect();
    let of_schema = |schema: u32| -> String {
        let start = format!("{{\"schema\":{schema},");
        rows.iter().filter(|row| row.payload.starts_with(&start)).flat_map(|row| [row.payload.as_str(), "\n"]).collect()
    };
    for (fact, row) in facts.iter().zip(&rows) {
        let back = entry::read(row).unwrap_or_else(|why| panic!("{why:?}"));
        assert_eq!(back, *fact);
    }
    (1..=SCHEMA_VERSION).map(|schema| check_file(schema, name, &of_schema(schema))).collect()
}

/// Each variant of `T` stands in the golden text: serde itself says which there are.
#[track_caller]
fn check_variants<T: Written>(text: &str) {
    let Err(error) = serde_json::from_str::<Read<T>>("\"?\"") else { panic!("`?` is a variant") };
    let said = error.to_string();
    let names: Vec<&str> = said.split('`').skip(3).step_by(2).collect();
    assert!(names.len() > 1, "{said}");
    for name in names {
        assert!(text.contains(&format!("\"{name}\"")), "no line shows `{name}` ({said})");
    }
}

#[test]
fn declarations_are_as_released() {
    let text = check("declaration.jsonl", &declarations());
    check_variants::<Origin>(&text);
    check_variants::<Template>(&text);
    check_variants::<Address>(&text);
    check_variants::<Ownership>(&text);
    check_variants::<FirewallPolicy>(&text);
    check_variants::<EnvValue>(&text);
    check_variants::<OnInterrupt>(&text);
    check_variants::<ReadyProbe>(&text);
}

#[test]
fn intents_are_as_released() {
    let text = check("intent.jsonl", &intents());
    check_variants::<Action>(&text);
    check_variants::<Reason>(&text);
    check_variants::<StartPurpose>(&text);
}

#[test]
fn outcomes_are_as_released() {
    let text = check("outcome.jsonl", &outcomes());
    check_variants::<StepResult>(&text);
    check_variants::<Evidence>(&text);
    check_variants::<FailureClass>(&text);
    check_variants::<Standing>(&text);
    check_variants::<WaitKind>(&text);
    check_variants::<QuarantineReason>(&text);
}

#[test]
fn notes_are_as_released() {
    let text = check("note.jsonl", &notes());
    check_variants::<Topic>(&text);
    check_variants::<Decision>(&text);
}

#[test]
fn runs_are_as_released() {
    let text = check("run_opened.jsonl", &runs_opened());
    check_variants::<RunCommand>(&text);
    let text = check("run_closed.jsonl", &runs_closed());
    check_variants::<RunEnd>(&text);
}

#[test]
fn a_mark_is_as_released() {
    let golden = check_file(1, "mark.json", &mark_to_json(&mark()));
    assert_eq!(mark_from_json(&golden).expect("the golden mark"), mark());
}

/// The variant's name in JSON: the text, or the only key.
fn tag<T: Written>(value: &T) -> String {
    let written = serde_json::to_value(Shown(value)).expect("a document");
    let key = written.as_object().and_then(|fields| fields.keys().next());
    let name = key.map(String::as_str).or(written.as_str());
    name.unwrap_or_else(|| panic!("{written} has no variant")).to_owned()
}

#[track_caller]
fn check_names<T: Written + Debug>(values: impl IntoIterator<Item = T>, name: impl Fn(&T) -> &'static str) {
    let mut seen = BTreeSet::new();
    for value in values {
        assert_eq!(tag(&value), name(&value), "{value:?}");
        seen.insert(name(&value));
    }
    assert!(seen.len() > 2, "{seen:?}");
}

/// Columns, payloads, JSON output and messages use one word for one thing.
#[test]
fn the_payload_names_things_as_the_columns_do() {
    check_names(State::ALL, |state| state.name());
    check_names(RunCommand::ALL, |command| command.name());
    check_names(RunEnd::ALL, |end| end.name());
    check_names(WaitKind::ALL, |kind| kind.name());
    check_names(QuarantineReason::ALL, |reason| reason.name());
    check_names(outcomes().into_iter().filter_map(|fact| result_of(&fact)), StepResult::name);
    check_names(outcomes().into_iter().filter_map(|fact| standing_of(&fact)), Standing::name);
    check_names(notes().into_iter().filter_map(|fact| topic_of(&fact)), entry::topic_name);
}

fn result_of(fact: &Fact) -> Option<StepResult> {
    if let Fact::Outcome(outcome) = fact { Some(outcome.result.clone()) } else { None }
}

fn standing_of(fact: &Fact) -> Option<Standing> {
    if let Fact::Outcome(outcome) = fact { Some(outcome.standing.clone()) } else { None }
}

fn topic_of(fact: &Fact) -> Option<Topic> {
    if let Fact::Noted(note) = fact { Some(note.topic.clone()) } else { None }
}

/// The strategies draw what serde knows, so that a variant added to the documents cannot be left out of the property tests.
#[track_caller]
fn check_drawn<T: Written + Debug>(strategy: &impl Strategy<Value = T>) {
    let mut runner = TestRunner::deterministic();
    let drawn: BTreeSet<String> =
        (0..2_000).map(|_| tag(&strategy.new_tree(&mut runner).expect("a strategy that rejects little").current())).collect();
    let text: String = drawn.iter().flat_map(|name| ["\"", name.as_str(), "\""]).collect();
    check_variants::<T>(&text);
}

#[test]
fn the_strategies_draw_every_variant() {
    check_drawn(&arbitrary::evidence());
    check_drawn(&arbitrary::standing());
    check_drawn(&arbitrary::intent().prop_map(|intent| intent.action));
    check_drawn(&arbitrary::intent().prop_map(|intent| intent.reason));
    check_drawn(&arbitrary::outcome().prop_map(|outcome| outcome.result));
    check_drawn(&arbitrary::failure().prop_map(|failure| failure.class));
    check_drawn(&arbitrary::note().prop_map(|note| note.topic));
}
