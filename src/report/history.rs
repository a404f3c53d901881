//! The journal, readable: every entry in order, with how long each step took.
//!
//! An entry that cannot be read is shown as such and hides no other. Not here: integrity, which `journal verify` tests.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use phoenix_journal::{Body, Entry, Seq};
use serde::Serialize;

use crate::ids::Wall;
use crate::machine::Fact;

use super::clock::{local, time_of_day, took};
use super::event::{Event, of_fact};
use super::plain::{Look, Tone, lines, width, wrap, written};
use super::status::SCHEMA;

/// The entries of a journal, or of one container.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// [`SCHEMA`].
    pub schema: u32,
    /// In order.
    pub entries: Vec<TimelineEntry>,
}

/// One entry.
#[derive(Clone, Debug, Serialize)]
pub struct TimelineEntry {
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
    /// The run that wrote it.
    pub run: String,
    /// The epoch in which it was written.
    pub epoch: u64,
    /// The incarnation, or the run itself.
    pub life: String,
    /// How long the step took, of an outcome.
    pub took_ms: Option<i64>,
    /// Whether the entry could be read.
    pub readable: bool,
    #[serde(skip)]
    at: Wall,
}

impl Timeline {
    /// The entries, as they stand in the journal.
    pub fn of<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> Self {
        let mut begun: BTreeMap<Seq, i64> = BTreeMap::new();
        let mut told = Vec::new();
        for entry in entries {
            let took_ms = match &entry.body {
                Body::Intent { .. } => {
                    begun.insert(entry.seq, entry.at_ms);
                    None
                }
                Body::Outcome { intent, .. } => begun.remove(intent).map(|at_ms| entry.at_ms.saturating_sub(at_ms)),
                Body::Declare | Body::Note { .. } => None,
            };
            told.push(TimelineEntry { took_ms, ..told_of(entry) });
        }
        Self { schema: SCHEMA, entries: told }
    }

    /// The text for people.
    pub fn text(&self, look: Look) -> String {
        written(|f| self.write(f, look))
    }

    fn write(&self, f: &mut String, look: Look) -> fmt::Result {
        let mut day = String::new();
        let mut state: BTreeMap<Option<u32>, String> = BTreeMap::new();
        for entry in &self.entries {
            let at = local(entry.at);
            let date = at.split(' ').next().unwrap_or_default();
            if day != date {
                date.clone_into(&mut day);
                writeln!(f, "{}", look.paint(Tone::Strong, date))?;
            }
            write_entry(f, entry, &mut state, look)?;
        }
        if self.entries.is_empty() {
            writeln!(f, "Nothing has been recorded.")?;
        }
        Ok(())
    }
}

fn told_of(entry: &Entry) -> TimelineEntry {
    let (event, readable) = match entry.mint::<Fact>() {
        Ok(fact) => (of_fact(fact.get()), true),
        Err(error) => (unreadable(entry, &error.to_string()), false),
    };
    TimelineEntry {
        event: Event { seq: Some(entry.seq.get()), ..event },
        run: entry.run.clone(),
        epoch: entry.epoch.get(),
        life: entry.life.clone(),
        took_ms: None,
        readable,
        at: Wall(entry.at_ms),
    }
}

/// The entry as its columns tell it.
fn unreadable(entry: &Entry, why: &str) -> Event {
    Event::unreadable(entry.stream.stream.parse().ok(), entry.body.kind(), &entry.state, &entry.standing, Wall(entry.at_ms), why)
}

fn write_entry(f: &mut String, entry: &TimelineEntry, states: &mut BTreeMap<Option<u32>, String>, look: Look) -> fmt::Result {
    let Event { ctid, event, state, text, last_error, result, .. } = &entry.event;
    let who = ctid.map_or_else(|| "run".to_owned(), |ctid| ctid.to_string());
    let head = format!("  {} {:>5}  {who:<5}  ", time_of_day(entry.at), entry.event.seq.unwrap_or_default());
    let took = entry.took_ms.map_or_else(String::new, |ms| format!(", {}", took(ms)));
    let entered = match state {
        Some(now) if *event != "declared" && states.get(ctid).is_some_and(|before| before != now) => format!(" -> {now}"),
        Some(_) | None => String::new(),
    };
    if let Some(now) = state {
        states.insert(*ctid, now.clone());
    }
    let tone = match result.as_deref() {
        Some("done") => Tone::Good,
        Some(_) => Tone::Bad,
        None if *event == "intent" => Tone::Faint,
        None => Tone::Plain,
    };
    let indent = width(&head);
    let columns = look.columns().map(|columns| columns.saturating_sub(indent).max(20));
    for (index, line) in wrap(&format!("{text}{took}{entered}"), columns).iter().enumerate() {
        let head = if index == 0 { look.paint(Tone::Faint, &head) } else { " ".repeat(indent) };
        writeln!(f, "{head}{}", look.paint(tone, line))?;
    }
    for line in last_error.iter().flat_map(|error| lines(&error.tail)) {
        writeln!(f, "{:indent$}| {line}", "")?;
    }
    Ok(())
}
