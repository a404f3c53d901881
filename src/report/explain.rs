//! Why one container is where it is, what `resume` would do next, and on what evidence.
//!
//! From the journal's account; the host's own word is added where the host was asked. What would be done next is what the
//! engine would do: [`Life::due`] and [`reconcile`]. Not here: doing it.

use std::fmt::{self, Write};

use phoenix_journal::{Entry, Epoch, JournalId};
use serde::Serialize;

use crate::engine::reconcile;
use crate::ids::{Ctid, State, Wall};
use crate::journal::Account;
use crate::machine::{Due, Evidence as Shown, Fact, Life, QuarantineReason, RunCommand, RunEnd, Standing, StepResult, Topic};
use crate::plan::{HoldBy, Mark, Presence, Seen};

use super::clock::{age, local, rfc3339};
use super::event::standing_phrase;
use super::plain::{Look, Tone, cut, one_line, paragraph, written};
use super::status::{ErrorReport, QuarantineReport, SCHEMA, WaitReport, after_failure};
use super::status_text::write_failure;
use super::steps::{StepReport, steps};
use super::table::{Cell, Column, Table};
use super::ways::{meaning, next_commands, ways};

/// What there is to say about one container.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The container.
    pub ctid: u32,
    /// Its host name.
    pub hostname: String,
    /// Its fleet.
    pub fleet: String,
    /// Its state.
    pub state: String,
    /// Its standing.
    pub standing: &'static str,
    /// The number of its spec.
    pub generation: u64,
    /// Which physical container.
    pub incarnation: String,
    /// Since when state and standing are what they are.
    pub since: String,
    /// Why, in sentences.
    pub why: Vec<String>,
    /// What `resume` would do next.
    pub next: String,
    /// The commands that can be given.
    pub commands: Vec<String>,
    /// What it waits for.
    pub waiting_for: Option<WaitReport>,
    /// Why it is not touched.
    pub quarantined: Option<QuarantineReport>,
    /// What failed last.
    pub last_error: Option<ErrorReport>,
    /// Every step on the way to `done`.
    pub steps: Vec<StepReport>,
    /// What the journal holds as proof, of this incarnation.
    pub evidence: Vec<Evidence>,
    /// The host's own word, if it could be asked.
    pub live: Option<LiveSight>,
    #[serde(skip)]
    since_wall: Wall,
    #[serde(skip)]
    ways: Vec<(Option<String>, &'static str)>,
}

/// One piece of evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Evidence {
    /// Its entry.
    pub seq: u64,
    /// When it was recorded.
    pub at: String,
    /// The step that brought it.
    pub step: String,
    /// What the world showed.
    pub shows: String,
}

/// How the host shows a container now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveSight {
    /// Whether anything is there.
    pub present: bool,
    /// Whether it is whole.
    pub whole: bool,
    /// Whether it bears our mark; `null` if it bears none.
    pub ours: Option<bool>,
    /// Its init, if it is up.
    pub pid: Option<u32>,
}

/// What was seen of a container, as data.
pub fn sight(mark: &Mark, seen: Option<&Seen>) -> LiveSight {
    LiveSight {
        present: seen.is_some(),
        whole: seen.is_some_and(|seen| seen.presence == Presence::Whole),
        ours: seen.and_then(|seen| seen.mark.as_ref()).map(|found| mark.owns(found)),
        pid: seen.and_then(|seen| seen.init.as_ref()).map(|init| init.pid),
    }
}

impl LiveSight {
    /// In words.
    pub fn phrase(&self) -> String {
        if !self.present {
            return "nothing is there".to_owned();
        }
        let whole = if self.whole { "a container is there" } else { "a half-made container is there" };
        let ours = match self.ours {
            Some(true) => "with our mark",
            Some(false) => "with another's mark",
            None => "without a mark",
        };
        let up = self.pid.map_or_else(|| "down".to_owned(), |pid| format!("up as init {pid}"));
        format!("{whole} {ours}, {up}")
    }
}

/// Explains `life`. `entries` are those of its stream; `seen` is what the host shows, if it was asked.
pub fn explain(
    account: &Account,
    life: &Life,
    entries: &[Entry],
    journal: JournalId,
    epoch: Epoch,
    seen: Option<Option<&Seen>>,
) -> Explanation {
    let ctid = life.ctid();
    let mark = Mark { journal, fleet: life.fleet.clone(), ctid, incarnation: life.incarnation(), epoch };
    let finding = seen.and_then(|seen| reconcile(life, &mark, seen, true));
    let lost = finding.as_ref().is_some_and(|finding| matches!(finding.topic, Topic::InitLost { .. }));
    let mut why = vec![standing_sentence(life)];
    why.extend(run_sentence(account, ctid));
    if let Some(finding) = finding.as_ref().filter(|finding| lost || finding.standing != life.standing) {
        why.push(match &finding.topic {
            Topic::InitLost { .. } => "the host shows that the recorded init is gone".to_owned(),
            Topic::FoundRunning { .. } => "the host shows it running although a clone holds it down".to_owned(),
            Topic::Passed | Topic::Standing | Topic::Decided(_) | Topic::Forgotten { .. } => {
                format!("the host shows that it would be {}", standing_phrase(&finding.standing))
            }
        });
    }
    let quarantined = match &life.standing {
        Standing::Quarantined(found) => Some(found),
        Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } => None,
    };
    let last_error = life.last_failure.as_ref().filter(|_| life.state() != State::Done);
    Explanation {
        schema: SCHEMA,
        ctid: ctid.get(),
        hostname: life.spec.hostname.to_string(),
        fleet: life.fleet.to_string(),
        state: life.state().name().to_owned(),
        standing: life.standing.name(),
        generation: life.generation.get(),
        incarnation: life.incarnation().to_string(),
        since: rfc3339(life.since),
        why: why.iter().map(|why| one_line(why)).collect(),
        next: one_line(&next(account, life, lost)),
        commands: commands(life),
        waiting_for: match &life.standing {
            Standing::Waiting(wait) => Some(WaitReport::of(wait)),
            Standing::Active | Standing::Failed { .. } | Standing::Quarantined(_) => None,
        },
        quarantined: quarantined.map(|found| QuarantineReport {
            reason: found.reason.name(),
            evidence: one_line(&found.evidence),
            next: next_commands(found.reason, ctid),
        }),
        last_error: last_error.map(|(step, failure)| ErrorReport::of(&step.to_string(), failure, Vec::new())),
        steps: steps(&life.spec, life.repertoire, (!life.is_ended()).then_some(life), lost),
        evidence: evidence(life, entries),
        live: seen.map(|seen| sight(&mark, seen)),
        since_wall: life.since,
        ways: quarantined
            .map_or_else(Vec::new, |found| ways(found.reason).iter().map(|way| (way.command_for(ctid), way.purpose)).collect()),
    }
}

/// What can be said of a container whose account cannot be read.
pub fn explain_unreadable(ctid: Ctid, why: &str) -> Explanation {
    let reason = QuarantineReason::Undecodable;
    let why = one_line(why);
    Explanation {
        schema: SCHEMA,
        ctid: ctid.get(),
        hostname: String::new(),
        fleet: "?".to_owned(),
        state: "?".to_owned(),
        standing: "quarantined",
        generation: 0,
        incarnation: String::new(),
        since: rfc3339(Wall(0)),
        why: vec![format!("{}: {why}", meaning(reason))],
        next: "nothing: it is not touched".to_owned(),
        commands: next_commands(reason, ctid),
        waiting_for: None,
        quarantined: Some(QuarantineReport { reason: reason.name(), evidence: why, next: next_commands(reason, ctid) }),
        last_error: None,
        steps: Vec::new(),
        evidence: Vec::new(),
        live: None,
        since_wall: Wall(0),
        ways: ways(reason).iter().map(|way| (way.command_for(ctid), way.purpose)).collect(),
    }
}

fn standing_sentence(life: &Life) -> String {
    match &life.standing {
        _ if life.is_ended() => "it was taken down; nothing of it is on the host".to_owned(),
        Standing::Active => match (life.open(), life.state()) {
            (Some((seq, _, intent)), _) => {
                format!("{} (attempt {}) was begun with entry {seq} and has no outcome yet", intent.step, intent.attempt)
            }
            (None, State::Done) => "every step on the way to done holds".to_owned(),
            (None, state) => format!("the steps into {state} hold, and nothing stands against going on"),
        },
        Standing::Quarantined(found) => format!("it is quarantined: {}. {}", meaning(found.reason), found.evidence),
        other @ (Standing::Waiting(_) | Standing::Failed { .. }) => format!("it {}", standing_phrase(other)),
    }
}

fn run_sentence(account: &Account, ctid: Ctid) -> Option<String> {
    let run = account.newest_run(ctid)?;
    let end = match run.end {
        None => "has not ended: it goes on, or was killed",
        Some(RunEnd::Done) => "brought everything where it should be",
        Some(RunEnd::Failed) => "ended without bringing everything where it should be",
        Some(RunEnd::Interrupted) => "was interrupted between steps",
    };
    Some(format!("the newest run that names it, `{}` of {}, {end}", run.opened.command.name(), local(run.opened.at)))
}

/// What `resume` would do with it.
fn next(account: &Account, life: &Life, lost: bool) -> String {
    let command = account.newest_run(life.ctid()).map(|run| (run.opened.command, run.end));
    match command {
        Some((RunCommand::Down, Some(RunEnd::Done))) | None => return "nothing: no run is to be gone on with".to_owned(),
        Some((RunCommand::Down, _)) => return "go on with taking it down".to_owned(),
        Some((RunCommand::Up | RunCommand::Resume | RunCommand::Retry | RunCommand::Rebuild, _)) => {}
    }
    match &life.standing {
        _ if life.open().is_some() => {}
        Standing::Failed { .. } => return "nothing: a failed step gets a new budget from `retry` or `up`".to_owned(),
        Standing::Quarantined(_) => return "nothing: a person has to decide first".to_owned(),
        Standing::Active | Standing::Waiting(_) => {}
    }
    if lost && life.open().is_none() {
        return "note that its init is gone, fall back to volumed, and start it again".to_owned();
    }
    match life.due() {
        Due::Settle => format!(
            "wait for whatever is still at work on {}, then find out what became of it; what did not happen is taken again",
            life.open().map_or_else(String::new, |(_, _, intent)| intent.step.to_string())
        ),
        Due::Nothing => "look whether it is still up, and leave it alone if it is".to_owned(),
        Due::Redeclare => "nothing: its incarnation is over; `up` makes a new one".to_owned(),
        Due::Pass(state) => format!("note that it is {state}: no step is missing"),
        Due::Repair(step, leftover) => format!("put right what {} left ({leftover}), then take it again", step.id()),
        Due::Take(step) => {
            let waits = life.spec.depends_on.iter().find(|on| !is_done(account, **on));
            let waiting = waits.filter(|_| matches!(step, crate::ids::Step::RunStart | crate::ids::Step::DefineClone));
            let first = waiting.map_or_else(String::new, |on| format!("wait until {on} is done, then "));
            format!("{first}take {}", step.id())
        }
    }
}

fn is_done(account: &Account, ctid: Ctid) -> bool {
    account.lives.get(&ctid).is_some_and(|life| {
        life.as_ref().is_ok_and(|life| life.state() == State::Done && life.standing == Standing::Active && life.open().is_none())
    })
}

fn commands(life: &Life) -> Vec<String> {
    match &life.standing {
        _ if life.is_ended() => vec!["phoenix up FLEET".to_owned()],
        Standing::Failed { .. } => after_failure(life.ctid(), Some(&life.fleet)),
        Standing::Quarantined(found) => next_commands(found.reason, life.ctid()),
        Standing::Active | Standing::Waiting(_) if life.state() == State::Done => Vec::new(),
        Standing::Active | Standing::Waiting(_) => vec![format!("phoenix resume --fleet {}", life.fleet)],
    }
}

fn evidence(life: &Life, entries: &[Entry]) -> Vec<Evidence> {
    let facts = entries.iter().filter_map(|entry| Some((entry.seq, entry.at_ms, entry.mint::<Fact>().ok()?.into_inner())));
    facts
        .filter_map(|(seq, at_ms, fact)| {
            let Fact::Outcome(outcome) = fact else { return None };
            let StepResult::Done(shown) = &outcome.result else { return None };
            let ours = outcome.incarnation == life.incarnation();
            ours.then(|| Evidence {
                seq: seq.get(),
                at: rfc3339(Wall(at_ms)),
                step: outcome.step.to_string(),
                shows: one_line(&shows(shown)),
            })
        })
        .collect()
}

fn shows(evidence: &Shown) -> String {
    match evidence {
        Shown::Fetched => "the host has its template".to_owned(),
        Shown::Created { left_out: 0 } => "created, marked and whole".to_owned(),
        Shown::Created { left_out } => format!("created, marked and whole; {left_out} entries of the archive left out"),
        Shown::Cloned { source, .. } => format!("copied from {source}, marked and whole"),
        Shown::Marked => "bears our mark".to_owned(),
        Shown::Held { by: HoldBy::Stop } => "down, for its copies".to_owned(),
        Shown::Held { by: HoldBy::Snapshot } => "a snapshot is there, for its copies".to_owned(),
        Shown::Released => "let go".to_owned(),
        Shown::Configured { unenforced } if unenforced.is_empty() => "configured as the spec says".to_owned(),
        Shown::Configured { unenforced } => format!("configured as the spec says; not enforced here: {}", unenforced.join(", ")),
        Shown::FirewallSet => "the host's firewall has its rules".to_owned(),
        Shown::Snapshot { name } => format!("snapshot {name} is there"),
        Shown::Started { init, idmap } => format!("up as init {} with map {idmap}", init.pid),
        Shown::Idmap { init, idmap } => format!("the kernel's map of init {}: {idmap}", init.pid),
        Shown::Stopped => "down".to_owned(),
        Shown::Prepared(prepared) => {
            format!("{} belongs to {}:{} on the host", prepared.source.path.display(), prepared.host_uid, prepared.host_gid)
        }
        Shown::Attached(attachment) => {
            let access = if attachment.read_only { ", read-only" } else { "" };
            format!("{} at {} ({}{access})", attachment.source.path.display(), attachment.at, attachment.mechanism)
        }
        Shown::Detached => "not attached".to_owned(),
        Shown::Ready { basis, .. } => format!("ready: {basis}"),
        Shown::Ran { skipped: true, .. } => "counts as done on a person's word".to_owned(),
        Shown::Ran { script, started, ended, .. } => {
            let digest = script.to_string();
            format!("script {} ended with 0 after {}", digest.get(..12).unwrap_or(&digest), super::clock::took(ended.0 - started.0))
        }
        Shown::Healthy { asked } => format!("healthy when asked for the {asked}. time"),
        Shown::AutostartSet { enabled: true } => "the host starts it at boot".to_owned(),
        Shown::AutostartSet { enabled: false } => "the host does not start it at boot".to_owned(),
        Shown::Destroyed => "nothing is left of it".to_owned(),
        Shown::Repaired => "what was left over is gone".to_owned(),
    }
}

/// The reason in full stands with the last failure.
const WHY_COLUMNS_MAX: usize = 48;

const STEP_COLUMNS: [Column; 4] = [
    Column { title: "STEP", gives_way: 0, narrow: 16 },
    Column { title: "INTO", gives_way: 2, narrow: 10 },
    Column { title: "STATUS", gives_way: 0, narrow: 7 },
    Column { title: "WHY", gives_way: 1, narrow: 12 },
];

impl Explanation {
    /// The text for people.
    pub fn text(&self, look: Look, now: Wall) -> String {
        written(|f| self.write(f, look, now))
    }

    fn write(&self, f: &mut String, look: Look, now: Wall) -> fmt::Result {
        let Self { ctid, hostname, fleet, state, standing, generation, .. } = self;
        writeln!(f, "{} of fleet {fleet}", look.paint(Tone::Strong, format!("{ctid} {hostname}").trim_end()))?;
        if *generation > 0 {
            let since = format!("{state}, {standing}, for {}; generation {generation}", age(now, self.since_wall));
            paragraph(f, look, "  now:    ", &since)?;
        }
        for (index, why) in self.why.iter().enumerate() {
            paragraph(f, look, if index == 0 { "  why:    " } else { "          " }, why)?;
        }
        if let Some(live) = &self.live {
            paragraph(f, look, "  host:   ", &live.phrase())?;
        }
        paragraph(f, look, "  resume: ", &self.next)?;
        if let Some(error) = &self.last_error {
            writeln!(f)?;
            write_failure(f, "last failure: it", error, look)?;
        }
        self.write_next(f, look)?;
        if !self.steps.is_empty() {
            writeln!(f, "\n{}", look.paint(Tone::Strong, "Steps"))?;
            self.step_table().write(f, look)?;
        }
        if !self.evidence.is_empty() {
            writeln!(f, "\n{}", look.paint(Tone::Strong, "Evidence"))?;
        }
        for Evidence { seq, at: _, step, shows } in &self.evidence {
            paragraph(f, look, &format!("  entry {seq}: "), &format!("{step}: {shows}"))?;
        }
        Ok(())
    }

    fn write_next(&self, f: &mut String, look: Look) -> fmt::Result {
        if self.ways.is_empty() && self.commands.is_empty() {
            return Ok(());
        }
        writeln!(f, "\n{}", look.paint(Tone::Strong, "Ways on"))?;
        for (command, purpose) in &self.ways {
            match command {
                Some(command) => writeln!(f, "  {command}").and_then(|()| paragraph(f, look, "      ", purpose))?,
                None => paragraph(f, look, "  ", purpose)?,
            }
        }
        let plain = self.commands.iter().filter(|_| self.ways.is_empty());
        plain.into_iter().try_for_each(|command| writeln!(f, "  {command}"))
    }

    fn step_table(&self) -> Table {
        let mut table = Table::new(&STEP_COLUMNS);
        for StepReport { step, into, done, attempts, why } in &self.steps {
            let status = match (done, attempts) {
                (true, _) => Cell::new("done", Tone::Good),
                (false, 0) => Cell::new("to come", Tone::Faint),
                (false, 1) => Cell::new("tried", Tone::Busy),
                (false, attempts) => Cell::new(&format!("tried {attempts}x"), Tone::Busy),
            };
            table.row(vec![
                Cell::plain(step),
                Cell::plain(into),
                status,
                Cell::plain(&cut(why.as_deref().unwrap_or_default(), WHY_COLUMNS_MAX)),
            ]);
        }
        table
    }
}
