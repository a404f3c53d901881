//! What a run does, shown while it does it: lines in place on a terminal, a line per transition elsewhere, JSON where asked for.
//!
//! Told after the commit, so nothing is shown that a crash could take back. Not here: the words, which stand with the events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::driver::{Observer, Progress};
use crate::host::Host;
use crate::ids::{State, Wall};
use crate::report::plain::{Look, Tone, cut};
use crate::report::{Event, event};

use super::screen::{Screen, print, print_json, say};

/// Shows a run on stderr, or as JSON on stdout.
pub(super) struct Display {
    host: Arc<dyn Host>,
    form: Form,
    last: Wall,
    /// What each container was last said to wait for: a lock is asked for ten times a second.
    waits: BTreeMap<u32, String>,
}

enum Form {
    /// One event a line on stdout; quiet once nobody reads.
    Json { closed: bool },
    /// One line per transition on stderr.
    Lines { look: Look, state: BTreeMap<u32, String> },
    /// One line per busy container, in place.
    Live(Live),
}

struct Live {
    all: MultiProgress,
    bars: BTreeMap<u32, ProgressBar>,
    state: BTreeMap<u32, String>,
    look: Look,
}

/// How often the spinner turns.
const TICK: Duration = Duration::from_millis(120);
/// The most containers that are shown in place; the others show when they change state.
const BARS_MAX: usize = 16;

impl Display {
    /// A display that fits the screen. `host` gives the time of events that bear none.
    pub(super) fn new(screen: Screen, json: bool, host: Arc<dyn Host>) -> Self {
        let form = if json {
            Form::Json { closed: false }
        } else if screen.live {
            let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
            Form::Live(Live { all, bars: BTreeMap::new(), state: BTreeMap::new(), look: screen.err })
        } else {
            Form::Lines { look: screen.err, state: BTreeMap::new() }
        };
        Self { host, form, last: Wall(0), waits: BTreeMap::new() }
    }

    /// Whether it only says again that a container waits for the same thing.
    fn is_repeated(&mut self, event: &Event) -> bool {
        let Some(ctid) = event.ctid else { return false };
        if event.event == "waiting" {
            return self.waits.insert(ctid, event.text.clone()).as_ref() == Some(&event.text);
        }
        self.waits.remove(&ctid);
        false
    }

    /// Takes the lines in place off the screen.
    pub(super) fn finish(&mut self) {
        if let Form::Live(live) = &mut self.form {
            live.bars.values().for_each(ProgressBar::finish_and_clear);
            live.bars.clear();
        }
    }
}

impl Observer for Display {
    fn observe(&mut self, progress: Progress<'_>) {
        self.last = self.host.now().map_or(self.last, |now| now.wall);
        let event = event(&progress, self.last);
        if self.is_repeated(&event) {
            return;
        }
        tracing::debug!(ctid = event.ctid, event = event.event, "{}", event.text);
        match &mut self.form {
            Form::Json { closed } => *closed = *closed || print_json(&event).is_err(),
            Form::Lines { look, state } => {
                if let Some(line) = line(&event, state, *look) {
                    say(&format!("{line}\n"));
                }
            }
            Form::Live(live) => live.show(&event),
        }
    }
}

impl Live {
    fn show(&mut self, event: &Event) {
        if let Some(line) = line(event, &mut self.state, self.look) {
            // Above the lines in place; what cannot be drawn is not worth stopping for.
            let _ = self.all.println(line);
        }
        let Some(ctid) = event.ctid else { return };
        let busy = matches!(event.event, "intent" | "settling" | "waiting");
        if !busy {
            if let Some(bar) = self.bars.remove(&ctid) {
                bar.finish_and_clear();
            }
            return;
        }
        let text = cut(&format!("{ctid}  {}", event.text), self.look.columns().unwrap_or(80).saturating_sub(4));
        if let Some(bar) = self.bars.get(&ctid) {
            bar.set_message(text);
        } else if self.bars.len() < BARS_MAX {
            let bar = self.all.add(ProgressBar::new_spinner());
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_message(text);
            bar.enable_steady_tick(TICK);
            self.bars.insert(ctid, bar);
        }
    }
}

/// The line for what a person wants to have seen afterwards: a new state, a failure, a wait; nothing for the rest.
fn line(event: &Event, states: &mut BTreeMap<u32, String>, look: Look) -> Option<String> {
    let Event { ctid, event: kind, state, text, result, quarantined, waiting_for, .. } = event;
    let Some(ctid) = ctid else {
        return matches!(*kind, "stopping" | "upgraded").then(|| text.clone());
    };
    let moved = state.as_ref().filter(|state| states.get(ctid) != Some(*state));
    let back = moved.is_some_and(|state| states.get(ctid).is_some_and(|before| goes_back(before, state)));
    states.extend(state.clone().map(|state| (*ctid, state)));
    let (tone, text) = match (*kind, result.as_deref(), moved) {
        ("waiting" | "settling", _, _) => (Tone::Busy, text.clone()),
        _ if quarantined.is_some() || waiting_for.is_some() => (Tone::Bad, text.clone()),
        (_, _, Some(state)) if back && state == "declared" => (Tone::Plain, "down".to_owned()),
        (_, _, Some(_)) if back && text.starts_with("down.stop") => (Tone::Plain, "stopped".to_owned()),
        (_, _, Some(state)) if back => (Tone::Busy, format!("{state} again: {text}")),
        ("outcome", Some("done"), Some(state)) => (if state == "done" { Tone::Good } else { Tone::Plain }, state.clone()),
        ("outcome", Some("done"), None) => return None,
        ("outcome", _, _) => (Tone::Bad, text.clone()),
        ("note", _, Some(state)) if text.starts_with(state.as_str()) => (Tone::Plain, state.clone()),
        ("note", _, _) => (Tone::Busy, text.clone()),
        ("declared", _, _) => (Tone::Faint, text.clone()),
        (_, _, _) => return None,
    };
    Some(format!("{ctid}  {}", look.paint(tone, &text)))
}

/// Whether a container went from one state to one below it.
fn goes_back(before: &str, now: &str) -> bool {
    let place = |name: &str| State::ALL.into_iter().position(|state| state.name() == name);
    place(now) < place(before)
}

/// Prints a summary where events went to stderr; JSON consumers have had everything.
pub(super) fn conclude(json: bool, text: &str) -> Result<(), super::blame::CliError> {
    if json { Ok(()) } else { print(text) }
}
