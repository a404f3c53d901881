//! What this version did not write is refused with its reason, and never with a panic.

use std::borrow::Cow;
use std::error::Error as _;

use phoenix_journal::{Body, Digest, Record, Row, Seq, StreamKey};
use proptest::prelude::*;

use super::golden::{declarations, intents, notes, outcomes, runs_closed, runs_opened};
use super::row_of;
use crate::codec::{CodecError, MarkError, arbitrary, entry, mark_from_json, mark_to_json};
use crate::machine::{Fact, Line};

/// An intent's row.
fn intended() -> Row {
    row_of(&intents()[0])
}

fn refused(row: &Row) -> CodecError {
    match entry::read(row) {
        Ok(fact) => panic!("{} was read as {fact:?}", row.payload),
        Err(why) => why,
    }
}

/// The row with this in its payload instead of that.
fn respelled(mut row: Row, from: &str, to: &str) -> Row {
    assert!(row.payload.contains(from), "{from} is not in {}", row.payload);
    row.payload = row.payload.replacen(from, to, 1);
    row
}

#[track_caller]
fn check_payload(row: &Row, path: &str, reason: &str) {
    let why = refused(row);
    let said = why.source().map(ToString::to_string).unwrap_or_default();
    assert!(matches!(&why, CodecError::Payload { seq, path: found, .. } if *seq == Seq::new(7) && found == path), "{why} ({said})");
    assert!(said.contains(reason), "{said}");
}

#[test]
fn another_schema_is_named_before_anything_else() {
    for found in ["3", "0", "18446744073709551615"] {
        let mut row = intended();
        row.payload = format!(r#"{{"schema":{found},"strange":[]}}"#);
        let why = refused(&row);
        assert!(matches!(why, CodecError::Version { .. }), "{why}");
        assert!(why.to_string().contains(&format!("schema {found}")) && why.to_string().starts_with("entry 7 "), "{why}");
    }
}

#[test]
fn an_unknown_step_is_named_with_its_place() {
    check_payload(
        &respelled(intended(), r#""step":"define.create""#, r#""step":"define.summon""#),
        "record.intent.step",
        "`define.summon` is no step this version of phoenix knows",
    );
}

#[test]
fn an_unknown_standing_is_named_with_its_place() {
    let row = row_of(&notes()[0]);
    check_payload(&respelled(row, r#""standing":"active""#, r#""standing":"asleep""#), "record.note.standing", "unknown variant `asleep`");
}

#[test]
fn unknown_and_missing_fields_are_named_with_their_place() {
    check_payload(&respelled(intended(), r#""attempt":1"#, r#""attempt":1,"mood":2"#), "record.intent.mood", "unknown field `mood`");
    check_payload(&respelled(intended(), r#""attempt":1,"#, ""), "record.intent", "missing field `attempt`");
    check_payload(&respelled(intended(), r#""template":null"#, ""), "record.intent.action.create", "missing field `template`");
    check_payload(&respelled(intended(), r#""attempt":1"#, r#""attempt":1,"attempt":1"#), "record.intent", "duplicate field");
    check_payload(&respelled(intended(), r#""intent""#, r#""hope""#), "record", "unknown variant `hope`");
    check_payload(&respelled(intended(), r#""schema":1"#, r#""schema":1,"more":0"#), "more", "unknown field `more`");
}

/// Puts a strange field into the object that comes `left`th; false if there are fewer.
fn intrude(value: &mut serde_json::Value, left: &mut usize) -> bool {
    let inside: Vec<&mut serde_json::Value> = match value {
        serde_json::Value::Object(fields) if *left == 0 => return fields.insert("zzz".to_owned(), 0.into()).is_none(),
        serde_json::Value::Object(fields) => {
            *left -= 1;
            fields.values_mut().collect()
        }
        serde_json::Value::Array(values) => values.iter_mut().collect(),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) | serde_json::Value::String(_) => Vec::new(),
    };
    inside.into_iter().any(|value| intrude(value, left))
}

#[test]
fn a_strange_field_is_seen_in_every_object_of_every_document() {
    let facts = declarations().into_iter().chain(intents()).chain(outcomes()).chain(notes()).chain(runs_opened()).chain(runs_closed());
    for row in facts.map(|fact| row_of(&fact)) {
        for place in 0.. {
            let mut payload: serde_json::Value = serde_json::from_str(&row.payload).expect("a payload is JSON");
            if !intrude(&mut payload, &mut place.clone()) {
                assert!(place > 2, "{payload}");
                break;
            }
            let row = Row { payload: payload.to_string(), ..row.clone() };
            assert!(matches!(refused(&row), CodecError::Payload { .. }), "{payload}");
        }
    }
}

#[test]
fn what_is_out_of_range_is_named_with_its_place() {
    check_payload(&respelled(intended(), r#""ctid":101"#, r#""ctid":99"#), "record.intent.ctid", "out of range");
    check_payload(&respelled(intended(), r#""attempt":1"#, r#""attempt":-1"#), "record.intent.attempt", "-1");
    check_payload(&respelled(intended(), r#""state":"declared""#, r#""state":"Declared""#), "record.intent.state", "is no state");
}

#[test]
fn what_is_no_json_is_refused() {
    for payload in ["", "{", "null", "[]", "[1]", "\"", "{}", "{\"schema\":1}", "{\"schema\":1,\"record\":null}", "\u{0}"] {
        let row = Row { payload: payload.to_owned(), ..intended() };
        assert!(matches!(refused(&row), CodecError::Payload { .. }), "{payload:?}");
    }
    let twice = Row { payload: intended().payload.repeat(2), ..intended() };
    assert!(matches!(refused(&twice), CodecError::Payload { .. }));
}

#[track_caller]
fn check_spelling(row: &Row) {
    let why = refused(row);
    assert!(matches!(why, CodecError::Spelling { .. }), "{why}");
}

/// Each of these reads as the same fact; an intent would be caught by its digest already.
#[test]
fn another_spelling_of_the_same_fact_is_refused() {
    let noted = || row_of(&notes()[0]);
    check_spelling(&Row { payload: format!("{} ", noted().payload), ..noted() });
    check_spelling(&respelled(noted(), r#""schema":1"#, r#""schema": 1"#));
    check_spelling(&respelled(noted(), r#""topic":"passed""#, r#""topic":{"passed":null}"#));
    let noted_text = noted().payload;
    let body = noted_text.strip_prefix(r#"{"schema":1,"record":"#).and_then(|rest| rest.strip_suffix('}')).expect("the envelope");
    check_spelling(&Row { payload: format!(r#"{{"record":{body},"schema":1}}"#), ..noted() });
    let opened = row_of(&runs_opened()[0]);
    check_spelling(&respelled(opened, r#""containers":{"#, r#""containers":{"101":"other","#));
}

/// So a version that reads schema 1 alone never meets a key that it would have to pass over, and each fact keeps its one spelling.
#[test]
fn a_payload_bears_the_oldest_schema_that_can_say_it() {
    let plain = row_of(&declarations()[0]);
    check_spelling(&respelled(plain, r#""schema":1"#, r#""schema":2"#));
    let newer = || row_of(declarations().last().expect("samples"));
    check_spelling(&respelled(newer(), r#""schema":2"#, r#""schema":1"#));
    let pool = declarations().iter().map(row_of).find(|row| row.payload.contains(r#""pool":"#)).expect("a sample");
    check_spelling(&respelled(pool, r#""pool":"#, r#""devices":[],"pool":"#));
}

#[test]
fn a_path_that_is_text_is_not_read_from_hex() {
    let prepared = outcomes().iter().map(row_of).find(|row| row.payload.contains(r#""path":"/srv/media""#)).expect("a source");
    check_spelling(&respelled(prepared.clone(), r#""path":"/srv/media""#, r#""path":{"hex":"2f737276"}"#));
    for hex in ["2", "2F", "zz", "é"] {
        let row = respelled(prepared.clone(), r#""path":"/srv/media""#, &format!(r#""path":{{"hex":"{hex}"}}"#));
        assert!(refused(&row).source().is_some_and(|cause| cause.to_string().contains("is no path")), "{hex}");
    }
}

#[track_caller]
fn check_column(column: &str, row: &Row) {
    let why = refused(row);
    assert!(matches!(&why, CodecError::Disagreement { column: found, .. } if *found == column), "{column}: {why}");
}

#[test]
fn each_column_must_say_what_the_payload_says() {
    let other = || "0".repeat(32);
    check_column("machine", &Row { stream: StreamKey::new("run", "101"), ..intended() });
    check_column("stream", &Row { stream: StreamKey::new("container", "102"), ..intended() });
    check_column("life", &Row { life: other(), ..intended() });
    check_column("generation", &Row { generation: 99, ..intended() });
    check_column("run", &Row { run: other(), ..intended() });
    check_column("state", &Row { state: Cow::Borrowed("done"), ..intended() });
    check_column("standing", &Row { standing: Cow::Borrowed("failed"), ..intended() });
    let noted = row_of(&notes()[0]);
    check_column("at_ms", &Row { at_ms: 0, ..noted.clone() });
    check_column("topic", &Row { body: Body::Note { topic: "standing".to_owned() }, ..noted.clone() });
    check_column("kind", &Row { body: Body::Declare, ..noted });
}

#[test]
fn each_column_of_an_intent_must_say_what_the_payload_says() {
    let Body::Intent { step, attempt, deadline, digest } = intended().body else { panic!("an intent") };
    let with = |step: &str, attempt, deadline: Option<&str>, digest| {
        let (step, deadline) = (step.to_owned(), deadline.map(str::to_owned));
        Row { body: Body::Intent { step, attempt, deadline, digest }, ..intended() }
    };
    check_column("step", &with("run.start", attempt, deadline.as_deref(), digest));
    check_column("attempt", &with(&step, attempt + 1, deadline.as_deref(), digest));
    check_column("deadline", &with(&step, attempt, None, digest));
    check_column("deadline", &with(&step, attempt, Some("other+1"), digest));
    check_column("digest", &with(&step, attempt, deadline.as_deref(), Digest::ZERO));
}

#[test]
fn each_column_of_an_outcome_must_say_what_the_payload_says() {
    let closed = || row_of(&outcomes()[0]);
    let Body::Outcome { intent, step, attempt, result } = closed().body else { panic!("an outcome") };
    let with = |intent, step: &str, attempt, result: &str| {
        let (step, result) = (step.to_owned(), Cow::Owned(result.to_owned()));
        Row { body: Body::Outcome { intent, step, attempt, result }, ..closed() }
    };
    check_column("intent_seq", &with(Seq::new(999), &step, attempt, &result));
    check_column("step", &with(intent, "run.start", attempt, &result));
    check_column("attempt", &with(intent, &step, attempt + 1, &result));
    check_column("result", &with(intent, &step, attempt, "failed"));
}

#[test]
fn a_column_is_repeated_without_its_control_characters() {
    let why = refused(&Row { run: format!("\u{1b}[31m{}", "x".repeat(10_000)), ..intended() });
    assert!(!why.to_string().contains('\u{1b}') && why.to_string().len() < 500, "{why}");
}

#[test]
fn a_mark_of_another_version_or_cut_off_is_refused() {
    let mark = arbitrary_mark();
    for (from, to) in [(r#""schema":1"#, r#""schema":2"#), (r#""schema":1"#, r#""schema":2,"more":1"#)] {
        assert!(matches!(mark_from_json(&mark.replacen(from, to, 1)), Err(MarkError::Version { found: 2 })));
    }
    for text in ["", "{}", &mark[..mark.len() / 2], &mark.replacen("101", "1", 1), &mark.replacen('{', r#"{"x":0,"#, 1), &mark.repeat(2)] {
        assert!(matches!(mark_from_json(text), Err(MarkError::Form { .. })), "{text:?}");
    }
    assert!(mark_from_json(&format!(" {mark}\n")).is_ok());
}

fn arbitrary_mark() -> String {
    mark_to_json(&super::golden::mark())
}

/// Any JSON, four levels deep, with our own words among its keys and texts.
fn json() -> BoxedStrategy<serde_json::Value> {
    let words = ["schema", "record", "intent", "outcome", "note", "declaration", "run_opened", "ctid", "step", "standing", "active", "hex"];
    let word = prop::sample::select(words.to_vec()).prop_map(str::to_owned);
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        word.clone().prop_map(Into::into),
        arbitrary::text().prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 32, 6, move |inner| {
        let fields = prop::collection::vec((word.clone(), inner.clone()), 0..6);
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(Into::into),
            fields.prop_map(|fields| serde_json::Value::Object(fields.into_iter().collect())),
        ]
    })
    .boxed()
}

/// What is read at all is spelled as it would be written.
fn read_or_refused(row: &Row) -> Result<(), TestCaseError> {
    if let Ok(fact) = entry::read(row) {
        prop_assert_eq!(&Line::Fact(fact).draft().payload, &row.payload);
    }
    Ok(())
}

proptest! {
    #[test]
    fn no_text_makes_the_codec_panic(payload in arbitrary::text()) {
        read_or_refused(&Row { payload: payload.clone(), ..intended() })?;
        prop_assert!(mark_from_json(&payload).is_err());
    }

    #[test]
    fn no_json_makes_the_codec_panic(inner in json()) {
        for payload in [inner.to_string(), format!(r#"{{"schema":1,"record":{inner}}}"#), format!(r#"{{"schema":1,"record":{{"note":{inner}}}}}"#)] {
            let row = Row { payload: payload.clone(), ..intended() };
            prop_assert!(entry::read(&row).is_err());
            prop_assert!(mark_from_json(&payload).is_err());
        }
    }

    /// One value anywhere in a document is another one: refused, or the document of another fact.
    #[test]
    fn no_changed_document_is_taken_for_the_fact_it_was(fact in arbitrary::fact(), place in any::<prop::sample::Index>(), digit in "[0-9a-f{}\\[\\]\",:]") {
        let mut row = row_of(&fact);
        let (at, old) = *place.get(&row.payload.char_indices().collect::<Vec<_>>());
        row.payload.replace_range(at..at + old.len_utf8(), &digit);
        prop_assume!(row.payload != row_of(&fact).payload);
        read_or_refused(&row)?;
        if let (Ok(read), Fact::Intended(..)) = (entry::read(&row), &fact) {
            return Err(TestCaseError::fail(format!("the digest should not allow {read:?}")));
        }
    }
}
