//! What happens during a run, one value for each thing that happened: the lines of `up --json`, and the text of each.
//!
//! The field names are an interface: fields are added, never renamed or removed. Not here: the live display.

use serde::Serialize;

use crate::driver::Progress;
use crate::ids::{Ctid, State, Wall};
use crate::machine::{Decision, Fact, RunEnd, Standing, StepResult, Topic};
use crate::plan::Reason;

use super::clock::rfc3339;
use super::plain::{count, one_line};
use super::status::{ErrorReport, QuarantineReport, SCHEMA, WaitReport};
use super::ways::next_commands;

/// One thing that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// [`SCHEMA`].
    pub schema: u32,
    /// When.
    pub time: String,
    /// The container; `null` of the run as a whole.
    pub ctid: Option<u32>,
    /// `upgraded`, `run_opened`, `declared`, `intent`, `outcome`, `note`, `settling`, `waiting`, `stopping`, `run_closed`; in a history
    /// also `unreadable`.
    pub event: &'static str,
    /// The step.
    pub step: Option<String>,
    /// The how-many-th attempt at it.
    pub attempt: Option<u32>,
    /// The state after it.
    pub state: Option<String>,
    /// The standing after it.
    pub standing: Option<String>,
    /// Its place in the journal.
    pub seq: Option<u64>,
    /// What became of the step (`done`, `failed`, ...), or how the run ended.
    pub result: Option<String>,
    /// What it waits for.
    pub waiting_for: Option<WaitReport>,
    /// Why it is not touched.
    pub quarantined: Option<QuarantineReport>,
    /// What failed.
    pub last_error: Option<ErrorReport>,
    /// The same in words, without the container's number.
    pub text: String,
}

impl Event {
    fn new(event: &'static str, at: Wall, text: &str) -> Self {
        Self {
            schema: SCHEMA,
            time: rfc3339(at),
            ctid: None,
            event,
            step: None,
            attempt: None,
            state: None,
            standing: None,
            seq: None,
            result: None,
            waiting_for: None,
            quarantined: None,
            last_error: None,
            text: one_line(text),
        }
    }

    /// An entry that cannot be read, as its columns tell it.
    pub(super) fn unreadable(ctid: Option<u32>, kind: &str, state: &str, standing: &str, at: Wall, why: &str) -> Self {
        let event = Self::new("unreadable", at, &format!("{kind} that cannot be read: {why}"));
        Self { ctid, state: Some(one_line(state)), standing: Some(one_line(standing)), ..event }
    }

    fn of(self, ctid: Ctid) -> Self {
        Self { ctid: Some(ctid.get()), ..self }
    }

    fn after(self, state: State, standing: &Standing) -> Self {
        let (state, name) = (Some(state.name().to_owned()), Some(standing.name().to_owned()));
        let quarantined = match (standing, self.ctid.and_then(|ctid| Ctid::new(ctid).ok())) {
            (Standing::Quarantined(found), Some(ctid)) => Some(QuarantineReport {
                reason: found.reason.name(),
                evidence: one_line(&found.evidence),
                next: next_commands(found.reason, ctid),
            }),
            (Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } | Standing::Quarantined(_), _) => None,
        };
        let waiting_for = match standing {
            Standing::Waiting(wait) => Some(WaitReport::of(wait)),
            Standing::Active | Standing::Failed { .. } | Standing::Quarantined(_) => None,
        };
        Self { state, standing: name, quarantined, waiting_for, ..self }
    }
}

/// The event of a driver's progress; `now` is the time of what bears none of its own.
pub fn event(progress: &Progress<'_>, now: Wall) -> Event {
    match progress {
        Progress::Upgraded { copy } => {
            let text = format!("the journal was brought to the version of this phoenix; as it was it lies in {}", copy.display());
            Event::new("upgraded", now, &text)
        }
        Progress::Intended { seq, intent } => {
            let text = format!("{}{}", attempt_phrase(&intent.step.to_string(), intent.attempt), because(&intent.reason));
            let event = Event::new("intent", now, &text).of(intent.ctid).after(intent.state, &Standing::Active);
            Event { step: Some(intent.step.to_string()), attempt: Some(intent.attempt), seq: Some(seq.get()), ..event }
        }
        Progress::Recorded { seq, fact } => Event { seq: Some(seq.get()), ..of_fact(fact) },
        Progress::Settling { doubt } => {
            let intent = &doubt.effect.intent;
            let text = format!("{} was begun and has no outcome; looking what became of it", intent.step);
            let event = Event::new("settling", now, &text).of(intent.ctid);
            Event { step: Some(intent.step.to_string()), attempt: Some(intent.attempt), seq: Some(doubt.seq.get()), ..event }
        }
        Progress::Waiting { ctid, wait } => {
            let event = Event::new("waiting", now, &wait_phrase(&WaitReport::of(wait))).of(*ctid);
            Event { waiting_for: Some(WaitReport::of(wait)), ..event }
        }
        Progress::Stopping { in_flight, why } => {
            let (because, signal) = why.map_or((String::new(), "another signal"), |why| (format!("{why}; "), "a signal"));
            let text = format!("{because}stopping: {} in flight first; {signal} leaves at once", count(*in_flight, "step"));
            Event::new("stopping", now, &text)
        }
        Progress::Ended { end } => Event { result: Some(end.name().to_owned()), ..Event::new("run_closed", now, run_end(*end)) },
    }
}

/// The event of a fact, with the time that the fact bears.
pub(super) fn of_fact(fact: &Fact) -> Event {
    match fact {
        Fact::Declared(declaration) => {
            let text = format!("declared as {}, generation {}", declaration.spec.hostname, declaration.generation);
            Event::new("declared", declaration.at, &text).of(declaration.ctid).after(declaration.state, &declaration.standing)
        }
        Fact::Intended(intent, at) => {
            let text = format!("{}{}", attempt_phrase(&intent.step.to_string(), intent.attempt), because(&intent.reason));
            let event = Event::new("intent", *at, &text).of(intent.ctid).after(intent.state, &Standing::Active);
            Event { step: Some(intent.step.to_string()), attempt: Some(intent.attempt), ..event }
        }
        Fact::Outcome(outcome) => {
            let step = outcome.step.to_string();
            let recovered = if outcome.recovered { ", found by looking" } else { "" };
            let text = format!("{} {}{recovered}", attempt_phrase(&step, outcome.attempt), result_phrase(&outcome.result));
            let event = Event::new("outcome", outcome.at, &text).of(outcome.ctid).after(outcome.state, &outcome.standing);
            let last_error = match &outcome.result {
                StepResult::Failed(failure) => Some(ErrorReport::of(&step, failure, Vec::new())),
                StepResult::Done(_)
                | StepResult::Absent
                | StepResult::Partial { .. }
                | StepResult::Foreign { .. }
                | StepResult::Gone
                | StepResult::Unknown { .. }
                | StepResult::Interrupted => None,
            };
            Event { step: Some(step), attempt: Some(outcome.attempt), result: Some(outcome.result.name().to_owned()), last_error, ..event }
        }
        Fact::Noted(note) => {
            let text = topic_phrase(&note.topic, note.state, &note.standing);
            Event::new("note", note.at, &text).of(note.ctid).after(note.state, &note.standing)
        }
        Fact::RunOpened(opened) => {
            let containers = count(opened.containers.len(), "container");
            let text = format!("{} of {containers} begins, {} at once (run {})", opened.command.name(), opened.jobs, opened.run);
            Event::new("run_opened", opened.at, &text)
        }
        Fact::RunClosed(closed) => {
            let event = Event::new("run_closed", closed.at, run_end(closed.end));
            Event { result: Some(closed.end.name().to_owned()), ..event }
        }
    }
}

/// A fact in words, without the container's number.
pub fn fact_text(fact: &Fact) -> String {
    of_fact(fact).text
}

/// A standing in words, to stand after the container's number.
pub fn standing_text(standing: &Standing) -> String {
    one_line(&standing_phrase(standing))
}

/// `run.start`, `run.start (attempt 2)`.
fn attempt_phrase(step: &str, attempt: u32) -> String {
    if attempt > 1 { format!("{step} (attempt {attempt})") } else { step.to_owned() }
}

fn because(reason: &Reason) -> String {
    match reason {
        Reason::First => String::new(),
        Reason::Retry { after } => format!(", again after: {after}"),
        Reason::Interrupted => ", again because it was cut off".to_owned(),
        Reason::Lost => ", again because what it achieved is gone".to_owned(),
        Reason::Asked => ", again because it was asked for".to_owned(),
    }
}

pub(super) fn result_phrase(result: &StepResult) -> String {
    match result {
        StepResult::Done(crate::machine::Evidence::Ran { skipped: true, .. }) => "taken as done on a person's word".to_owned(),
        StepResult::Done(_) => "done".to_owned(),
        StepResult::Failed(failure) => {
            let status = failure.status.as_ref().map_or_else(String::new, |status| format!(" ({status})"));
            format!("failed{status}: {}", failure.message)
        }
        StepResult::Absent => "had not happened".to_owned(),
        StepResult::Partial { leftover } => format!("had happened in part: {leftover}"),
        StepResult::Foreign { owner } => format!("met something that is not ours: {owner}"),
        StepResult::Gone => "found the container gone".to_owned(),
        StepResult::Unknown { why } => format!("could not be judged: {why}"),
        StepResult::Interrupted => "was cut off without a result".to_owned(),
    }
}

fn topic_phrase(topic: &Topic, state: State, standing: &Standing) -> String {
    match topic {
        Topic::Passed => format!("{state}: no further step is asked for"),
        Topic::InitLost { recorded, found } => {
            let now = found.as_ref().map_or_else(|| "it is down".to_owned(), |init| format!("it runs as init {}", init.pid));
            format!("its init {} is gone; {now}", recorded.pid)
        }
        Topic::FoundRunning { init } => format!("held down for a clone and found running as init {}; it is stopped again", init.pid),
        Topic::Standing => standing_phrase(standing),
        Topic::Decided(decision) => decision_phrase(decision),
        Topic::Forgotten { seen } => format!("forgotten: {seen}"),
    }
}

pub(super) fn standing_phrase(standing: &Standing) -> String {
    match standing {
        Standing::Active => "goes on".to_owned(),
        Standing::Waiting(wait) => wait_phrase(&WaitReport::of(wait)),
        Standing::Failed { step, failure } => format!("failed at {step}: {}", failure.message),
        Standing::Quarantined(found) => format!("quarantined ({}): {}", found.reason.name(), found.evidence),
    }
}

pub(super) fn decision_phrase(decision: &Decision) -> String {
    match decision {
        Decision::NewBudget { step: None } => "a new budget for everything that failed".to_owned(),
        Decision::NewBudget { step: Some(step) } => format!("a new budget for {step}"),
        Decision::Rerun { step } => format!("{step} is to be started again"),
        Decision::Skip { step } => format!("{step} counts as done, on a person's word"),
        Decision::Remark => "the mark is to be written again".to_owned(),
    }
}

pub(super) fn wait_phrase(wait: &WaitReport) -> String {
    let WaitReport { kind, name, ctid, pid, since: _ } = wait;
    let of = ctid.map_or_else(String::new, |ctid| format!(" of {ctid}"));
    let by = pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    format!("waits for {kind}{of}: {name}{by}")
}

fn run_end(end: RunEnd) -> &'static str {
    match end {
        RunEnd::Done => "the run is done",
        RunEnd::Failed => "the run ended, and not every container is where it should be",
        RunEnd::Interrupted => "the run was interrupted between steps; `phoenix resume` goes on with it",
    }
}
