//! Lines to entries and entries to facts.
//!
//! One function says which columns and which payload a record has, and both directions use it: what is read is written again
//! and has to give the same entry. So columns and payload cannot disagree, and each fact has exactly one text. Not here: the
//! documents themselves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use phoenix_journal::{Body, Digest, Draft, Entry, Record, Replay, Row, Seq, StreamKey};
use serde::{Deserialize, Serialize};

use super::written::{Read, Shown};
use super::{since, spec};
use crate::ids::{Ctid, RunId, Wall};
use crate::machine::{Declaration, Fact, Line, Note, Outcome, RunClosed, RunOpened, Standing, Topic};
use crate::manifest::{Feature, Script, Spec};
use crate::plan::{Intent, Repertoire};

/// The journal's machine for containers; its streams are their numbers.
pub const CONTAINER: &str = "container";
/// The journal's machine for runs; its streams are their ids.
pub const RUN: &str = "run";
/// The newest version of the payloads. See the table in the [module's](super) documentation.
pub const SCHEMA_VERSION: u32 = 2;

/// A run is declared once.
const RUN_GENERATION: u64 = 1;

impl Record for Line {
    fn draft(&self) -> Draft {
        match self {
            Self::Effect(effect, at) => draft_intent(&effect.intent, *at),
            Self::Fact(fact) => draft_fact(fact),
        }
    }
}

impl Replay for Fact {
    type Error = CodecError;

    fn from_entry(entry: &Entry) -> Result<Self, CodecError> {
        read(entry)
    }
}

/// Why an entry is no [`Fact`] that this program knows. The container is not touched until a program that can read it does.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// A payload of another version.
    #[error(
        "entry {seq} has a payload of schema {found}, and this phoenix reads schemas 1 to {SCHEMA_VERSION}; use the version that wrote it, or a later one"
    )]
    Version {
        /// The entry.
        seq: Seq,
        /// Its version.
        found: u64,
    },
    /// A payload that is no JSON, or has something in it that this version does not know.
    #[error("entry {seq} has a payload that this phoenix cannot read at `{path}`; use the version that wrote it, or a later one")]
    Payload {
        /// The entry.
        seq: Seq,
        /// The place in the JSON, as `record.intent.step`; `.` for the whole.
        path: String,
        /// What is wrong there.
        #[source]
        cause: serde_json::Error,
    },
    /// A column that says something else than the payload.
    #[error(
        "entry {seq} says {column} {column_says} in its column and {payload_says} in its payload; it was not written by phoenix: run `phoenix journal verify`"
    )]
    Disagreement {
        /// The entry.
        seq: Seq,
        /// The column.
        column: &'static str,
        /// What it says.
        column_says: String,
        /// What the payload asks for.
        payload_says: String,
    },
    /// A payload that can be read but is spelled as this program never does (spaces, order, a field twice, a list unsorted).
    #[error(
        "entry {seq} has a payload that phoenix would have spelled differently; it was not written by phoenix: run `phoenix journal verify`"
    )]
    Spelling {
        /// The entry.
        seq: Seq,
    },
}

#[derive(Serialize)]
struct Sheet<'a> {
    schema: u32,
    record: Page<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Page<'a> {
    Declaration(Shown<'a, Declaration>),
    Intent(Shown<'a, Intent>),
    Outcome(Shown<'a, Outcome>),
    Note(Shown<'a, Note>),
    RunOpened(Shown<'a, RunOpened>),
    RunClosed(Shown<'a, RunClosed>),
}

impl Page<'_> {
    /// The oldest schema that can say it.
    fn schema(&self) -> u32 {
        match self {
            Self::Declaration(Shown(declaration)) => {
                let host = if declaration.repertoire == Repertoire::Common { 1 } else { 2 };
                spec::schema_of(&declaration.spec).max(host).max(since::standing(&declaration.standing))
            }
            Self::Intent(Shown(intent)) => since::intent(intent),
            Self::Outcome(Shown(outcome)) => since::outcome(outcome),
            Self::Note(Shown(note)) => since::note(note),
            Self::RunOpened(_) | Self::RunClosed(_) => 1,
        }
    }
}

/// What any version can be read as, so that a later one is named as such and not by its first strange field.
#[derive(Deserialize)]
struct Versioned {
    schema: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SheetRead {
    schema: u32,
    record: PageRead,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum PageRead {
    Declaration(Read<Box<Declaration>>),
    Intent(Read<Box<Intent>>),
    Outcome(Read<Box<Outcome>>),
    Note(Read<Box<Note>>),
    RunOpened(Read<Box<RunOpened>>),
    RunClosed(Read<RunClosed>),
}

/// Reads an entry's row.
pub(super) fn read(row: &Row) -> Result<Fact, CodecError> {
    let fact = match read_page(row.seq, &row.payload)? {
        PageRead::Declaration(Read(declaration)) => Fact::Declared(declaration),
        // When an intent was written stands in its column alone, lest its digest depend on the time.
        PageRead::Intent(Read(intent)) => Fact::Intended(intent, Wall(row.at_ms)),
        PageRead::Outcome(Read(outcome)) => Fact::Outcome(outcome),
        PageRead::Note(Read(note)) => Fact::Noted(note),
        PageRead::RunOpened(Read(opened)) => Fact::RunOpened(opened),
        PageRead::RunClosed(Read(closed)) => Fact::RunClosed(closed),
    };
    if !phoenix_journal::sabotaged("columns_are_not_compared") {
        agree(row, &draft_fact(&fact))?;
    }
    Ok(fact)
}

fn read_page(seq: Seq, payload: &str) -> Result<PageRead, CodecError> {
    let known = 1..=SCHEMA_VERSION;
    match read_json::<SheetRead>(seq, payload) {
        Ok(SheetRead { schema, record }) if known.contains(&schema) => Ok(record),
        Ok(SheetRead { schema, record: _ }) => Err(CodecError::Version { seq, found: u64::from(schema) }),
        // Only now is it asked which version it is: nearly all can be read, and are read once.
        Err(error) => match read_json(seq, payload)? {
            Versioned { schema } if u32::try_from(schema).is_ok_and(|schema| known.contains(&schema)) => Err(error),
            Versioned { schema } => Err(CodecError::Version { seq, found: schema }),
        },
    }
}

fn read_json<'a, T: Deserialize<'a>>(seq: Seq, payload: &'a str) -> Result<T, CodecError> {
    // To know the place of what is wrong costs more than the reading; it is asked for once something is.
    if let Ok(value) = serde_json::from_str(payload) {
        return Ok(value);
    }
    let mut json = serde_json::Deserializer::from_str(payload);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| CodecError::Payload {
        seq,
        path: error.path().to_string(),
        cause: error.into_inner(),
    })?;
    json.end().map_err(|cause| CodecError::Payload { seq, path: ".".to_owned(), cause })?;
    Ok(value)
}

/// Whether the entry is the one that its own payload would have been written as.
fn agree(row: &Row, again: &Draft) -> Result<(), CodecError> {
    let Draft { stream, life, generation, run, body, state, standing, payload, at_ms, blobs: _ } = again;
    let seq = row.seq;
    same(seq, "machine", &row.stream.machine, &stream.machine)?;
    same(seq, "stream", &row.stream.stream, &stream.stream)?;
    same(seq, "life", &row.life, life)?;
    same(seq, "generation", &row.generation, generation)?;
    same(seq, "run", &row.run, run)?;
    same(seq, "state", &row.state, state)?;
    same(seq, "standing", &row.standing, standing)?;
    same(seq, "at_ms", &row.at_ms, at_ms)?;
    if row.body != *body {
        for ((column, column_says), (_, payload_says)) in columns(&row.body).into_iter().zip(columns(body)) {
            same(seq, column, &column_says, &payload_says)?;
        }
    }
    if row.payload == *payload { Ok(()) } else { Err(CodecError::Spelling { seq }) }
}

fn same<T: PartialEq + fmt::Display>(seq: Seq, column: &'static str, says: &T, payload: &T) -> Result<(), CodecError> {
    if says == payload {
        return Ok(());
    }
    Err(CodecError::Disagreement { seq, column, column_says: quoted(says), payload_says: quoted(payload) })
}

/// What comes from disk reaches terminals: cut, and with control characters escaped.
fn quoted(value: &impl fmt::Display) -> String {
    let text: String = value.to_string().chars().take(SAID_CHARS_MAX).collect();
    format!("`{}`", text.escape_debug())
}

/// The most of a column that a message repeats; the longest that is ours, a step with a target, is usually far shorter.
const SAID_CHARS_MAX: usize = 120;

/// The columns of a body, the digest last: it differs whenever anything else does, and says the least.
fn columns(body: &Body) -> [(&'static str, String); 8] {
    let (mut step_is, mut attempt_is, mut deadline_is, mut intent_is) = (String::new(), String::new(), String::new(), String::new());
    let (mut result_is, mut topic_is, mut digest_is) = (String::new(), String::new(), String::new());
    match body {
        Body::Declare => {}
        Body::Intent { step, attempt, deadline, digest } => {
            step_is.clone_from(step);
            attempt_is = attempt.to_string();
            deadline_is = deadline.clone().unwrap_or_default();
            digest_is = digest.to_string();
        }
        Body::Outcome { intent, step, attempt, result } => {
            intent_is = intent.to_string();
            step_is.clone_from(step);
            attempt_is = attempt.to_string();
            result_is = result.to_string();
        }
        Body::Note { topic } => topic_is.clone_from(topic),
    }
    [
        ("kind", body.kind().to_owned()),
        ("step", step_is),
        ("attempt", attempt_is),
        ("intent_seq", intent_is),
        ("result", result_is),
        ("topic", topic_is),
        ("deadline", deadline_is),
        ("digest", digest_is),
    ]
}

fn draft_fact(fact: &Fact) -> Draft {
    match fact {
        Fact::Declared(declaration) => draft_declaration(declaration),
        Fact::Intended(intent, at) => draft_intent(intent, *at),
        Fact::Outcome(outcome) => draft_outcome(outcome),
        Fact::Noted(note) => draft_note(note),
        Fact::RunOpened(opened) => draft_run_opened(opened),
        Fact::RunClosed(closed) => draft_run_closed(closed),
    }
}

fn draft_declaration(declaration: &Declaration) -> Draft {
    let Declaration { run, fleet: _, ctid, incarnation, generation, spec, template: _, repertoire: _, state, standing, at } = declaration;
    Draft {
        stream: container(*ctid),
        life: incarnation.to_string(),
        generation: generation.get(),
        run: run.to_string(),
        body: Body::Declare,
        state: Cow::Borrowed(state.name()),
        standing: Cow::Borrowed(standing.name()),
        payload: payload(Page::Declaration(Shown(declaration))),
        at_ms: at.0,
        blobs: script_texts(spec),
    }
}

/// An intent is written only for a container that goes on, so its standing is always `active`.
fn draft_intent(intent: &Intent, at: Wall) -> Draft {
    let Intent { run, ctid, incarnation, generation, state, step, attempt, reason: _, deadline, token: _, action: _ } = intent;
    let payload = payload(Page::Intent(Shown(intent)));
    let digest = Digest::of(payload.as_bytes());
    Draft {
        stream: container(*ctid),
        life: incarnation.to_string(),
        generation: generation.get(),
        run: run.to_string(),
        body: Body::Intent { step: step.to_string(), attempt: *attempt, deadline: Some(deadline.to_string()), digest },
        state: Cow::Borrowed(state.name()),
        standing: Cow::Borrowed(Standing::Active.name()),
        payload,
        at_ms: at.0,
        blobs: Vec::new(),
    }
}

fn draft_outcome(outcome: &Outcome) -> Draft {
    let Outcome { run, ctid, incarnation, generation, intent, step, attempt, result, recovered: _, output, state, standing, at } = outcome;
    let result = Cow::Borrowed(result.name());
    Draft {
        stream: container(*ctid),
        life: incarnation.to_string(),
        generation: generation.get(),
        run: run.to_string(),
        body: Body::Outcome { intent: *intent, step: step.to_string(), attempt: *attempt, result },
        state: Cow::Borrowed(state.name()),
        standing: Cow::Borrowed(standing.name()),
        payload: payload(Page::Outcome(Shown(outcome))),
        at_ms: at.0,
        blobs: output.iter().filter_map(|output| output.kept.clone()).collect(),
    }
}

fn draft_note(note: &Note) -> Draft {
    let Note { run, ctid, incarnation, generation, topic, state, standing, at } = note;
    Draft {
        stream: container(*ctid),
        life: incarnation.to_string(),
        generation: generation.get(),
        run: run.to_string(),
        body: Body::Note { topic: topic_name(topic).to_owned() },
        state: Cow::Borrowed(state.name()),
        standing: Cow::Borrowed(standing.name()),
        payload: payload(Page::Note(Shown(note))),
        at_ms: at.0,
        blobs: Vec::new(),
    }
}

fn draft_run_opened(opened: &RunOpened) -> Draft {
    let RunOpened { run, command: _, containers: _, jobs: _, at } = opened;
    draft_run(*run, Body::Declare, RUN_OPEN, Page::RunOpened(Shown(opened)), *at)
}

fn draft_run_closed(closed: &RunClosed) -> Draft {
    let RunClosed { run, end, at } = closed;
    draft_run(*run, Body::Note { topic: "closed".to_owned() }, end.name(), Page::RunClosed(Shown(closed)), *at)
}

/// A run is one life of one generation, and nothing stands in its way.
fn draft_run(run: RunId, body: Body, state: &'static str, page: Page<'_>, at: Wall) -> Draft {
    Draft {
        stream: StreamKey::new(RUN, run.to_string()),
        life: run.to_string(),
        generation: RUN_GENERATION,
        run: run.to_string(),
        body,
        state: Cow::Borrowed(state),
        standing: Cow::Borrowed(Standing::Active.name()),
        payload: payload(page),
        at_ms: at.0,
        blobs: Vec::new(),
    }
}

/// The state of a run that has not ended.
const RUN_OPEN: &str = "running";

fn container(ctid: Ctid) -> StreamKey {
    StreamKey::new(CONTAINER, ctid.to_string())
}

fn payload(record: Page<'_>) -> String {
    let sheet = Sheet { schema: record.schema(), record };
    let mut json = Vec::with_capacity(PAYLOAD_BYTES_USUAL);
    serde_json::to_writer(&mut json, &sheet).expect("a document has text for keys and no part whose writing can fail");
    String::from_utf8(json).expect("JSON is UTF-8")
}

/// What most payloads fit into.
const PAYLOAD_BYTES_USUAL: usize = 1024;

/// The name of a topic in its column; the payload calls it the same.
pub(super) fn topic_name(topic: &Topic) -> &'static str {
    match topic {
        Topic::Passed => "passed",
        Topic::InitLost { .. } => "init_lost",
        Topic::FoundRunning { .. } => "found_running",
        Topic::Standing => "standing",
        Topic::Decided(_) => "decided",
        Topic::Forgotten { .. } => "forgotten",
    }
}

/// Each text once; a spec that was read back has none, and the journal has them already.
fn script_texts(spec: &Spec) -> Vec<Vec<u8>> {
    let features = spec.features.iter().map(|Feature { name: _, script }| script);
    let scripts = features.chain(&spec.application);
    let texts = scripts.filter_map(|Script { digest, text, .. }| text.as_ref().map(|text| (*digest, text)));
    texts.collect::<BTreeMap<_, _>>().into_values().map(|text| text.to_vec()).collect()
}
