//! Where every container of every fleet stands: the data of `status` and `status --json`.
//!
//! The field names are an interface: fields are added, never renamed or removed. Made from a [`Snapshot`] alone, so it needs no
//! host and no lock. Not here: how it is printed (`status_text`).

use std::collections::{BTreeMap, BTreeSet};

use phoenix_journal::{GlanceStep, Holder};
use serde::Serialize;

use crate::ids::{BootId, Ctid, FleetName, State, Wall};
use crate::journal::{Place, RunRecord, Snapshot};
use crate::machine::{Fact, Failure, Outcome, Quarantine, QuarantineReason, RunEnd, Standing, StepResult, Wait, WaitKind};

use super::clock::rfc3339;
use super::explain::LiveSight;
use super::plain::{last_lines, one_line};
use super::ways::next_commands;

/// The version of all JSON that the command line prints.
pub const SCHEMA: u32 = 1;
/// How many of the last lines of a failed command's output are shown.
pub(super) const TAIL_LINES: usize = 12;

/// What `status` says.
#[derive(Clone, Debug, Serialize)]
pub struct StatusReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Whether the journal was written in this boot; if not, what ran may be down by now.
    pub verified: bool,
    /// Who is writing to the journal.
    pub writer: Option<WriterReport>,
    /// The fleets, by name.
    pub fleets: Vec<FleetReport>,
}

/// A process that writes to the journal.
#[derive(Clone, Debug, Serialize)]
pub struct WriterReport {
    /// Its process id.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// Since when.
    pub since: String,
}

/// One fleet.
#[derive(Clone, Debug, Serialize)]
pub struct FleetReport {
    /// Its name.
    pub fleet: String,
    /// The newest run that names one of its containers.
    pub run: Option<RunReport>,
    /// Its containers, by number.
    pub containers: Vec<ContainerReport>,
}

/// One run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Its id.
    pub id: String,
    /// What it was for.
    pub command: &'static str,
    /// `running`, `interrupted`, `failed` or `done`.
    pub state: &'static str,
    /// When it began.
    pub started_at: String,
    /// As `started_at`, for people.
    #[serde(skip)]
    pub started: Wall,
}

/// One container.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerReport {
    /// Its number.
    pub ctid: u32,
    /// Its host name; empty where its declaration cannot be read.
    pub hostname: String,
    /// Its state.
    pub state: String,
    /// Its standing.
    pub standing: String,
    /// The number of its spec.
    pub generation: u64,
    /// The step that is under way, in doubt, or that failed last.
    pub step: Option<String>,
    /// Whether that step was begun and nobody is at work on it.
    pub in_doubt: bool,
    /// The how-many-th attempt at that step.
    pub attempt: Option<u32>,
    /// Since when state and standing are what they are.
    pub since: String,
    /// What it waits for.
    pub waiting_for: Option<WaitReport>,
    /// Why it is not touched.
    pub quarantined: Option<QuarantineReport>,
    /// What failed last, if nothing has been done since.
    pub last_error: Option<ErrorReport>,
    /// Whether it was taken down, so that nothing of it is on the host.
    pub down: bool,
    /// The host's own word, if it was asked (`--live`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub live: Option<LiveSight>,
    /// As `since`, for computing with.
    #[serde(skip)]
    pub since_wall: Wall,
}

/// What a container waits for.
#[derive(Clone, Debug, Serialize)]
pub struct WaitReport {
    /// `dependency`, `lock`, `source` or `secret`.
    pub kind: &'static str,
    /// A path, a variable, a command, a host name.
    pub name: String,
    /// The container waited for.
    pub ctid: Option<u32>,
    /// The process waited for.
    pub pid: Option<u32>,
    /// Since when.
    pub since: String,
}

/// Why a container is not touched.
#[derive(Clone, Debug, Serialize)]
pub struct QuarantineReport {
    /// The kind of reason.
    pub reason: &'static str,
    /// What was seen.
    pub evidence: String,
    /// The commands that can be given next.
    pub next: Vec<String>,
}

/// What failed.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorReport {
    /// The step.
    pub step: String,
    /// The exit status: `exit 3`, `signal 9`.
    pub exit_status: Option<String>,
    /// What happened and what to do.
    pub message: String,
    /// The last lines of output.
    pub tail: String,
    /// The command that failed.
    pub command: Option<String>,
    /// The commands that can be given next, if it was the last attempt.
    pub next: Vec<String>,
}

/// Puts a status together. `boot` is the boot that the host is in now, as far as it is known.
pub fn status(snapshot: &Snapshot, holder: Option<&Holder>, boot: Option<&BootId>) -> StatusReport {
    let names: BTreeMap<Ctid, (&str, bool)> =
        snapshot.containers.iter().map(|(&ctid, place)| (ctid, (hostname(place), is_done(place)))).collect();
    let mut fleets: BTreeMap<String, (BTreeSet<Ctid>, Vec<ContainerReport>)> = BTreeMap::new();
    for (&ctid, place) in &snapshot.containers {
        let fleet = fleet_of(snapshot, ctid, place);
        let (ctids, reports) = fleets.entry(fleet.map_or_else(|| "?".to_owned(), |fleet| fleet.to_string())).or_default();
        ctids.insert(ctid);
        reports.push(container(snapshot, ctid, place, holder.is_some(), &names));
    }
    let fleets = fleets.into_iter().map(|(fleet, (ctids, containers))| {
        let run = snapshot.runs.iter().find(|run| run.opened.containers.keys().any(|ctid| ctids.contains(ctid)));
        FleetReport { fleet, run: run.map(|run| run_report(run, holder.is_some())), containers }
    });
    let writer =
        holder.map(|holder| WriterReport { pid: holder.pid, command: one_line(&holder.command), since: rfc3339(Wall(holder.since_ms)) });
    let verified = boot.is_some() && boot == snapshot.boot.as_ref();
    StatusReport { schema: SCHEMA, verified, writer, fleets: fleets.collect() }
}

/// What a run without an end is doing depends on whether somebody writes.
fn run_report(run: &RunRecord, written_to: bool) -> RunReport {
    let state = match (run.end, written_to) {
        (Some(RunEnd::Done), _) => "done",
        (Some(RunEnd::Failed), _) => "failed",
        (Some(RunEnd::Interrupted), _) | (None, false) => "interrupted",
        (None, true) => "running",
    };
    let started = run.opened.at;
    RunReport { id: run.opened.run.to_string(), command: run.opened.command.name(), state, started_at: rfc3339(started), started }
}

fn container(snapshot: &Snapshot, ctid: Ctid, place: &Place, written_to: bool, names: &BTreeMap<Ctid, (&str, bool)>) -> ContainerReport {
    let position = &place.glance.position;
    let since_wall = Wall(place.glance.since_ms);
    let (standing, unreadable) = standing(place);
    let (step, attempt, in_doubt) = step(place, &standing, written_to);
    let quarantined = match (&standing, unreadable) {
        (_, Some(evidence)) => Some(quarantine(ctid, &Quarantine { reason: QuarantineReason::Undecodable, evidence })),
        (Standing::Quarantined(found), None) => Some(quarantine(ctid, found)),
        (Standing::Active | Standing::Waiting(_) | Standing::Failed { .. }, None) => None,
    };
    let fleet = place.glance.declared.as_ref().ok().map(|declared| &declared.fleet);
    let last_error = match &standing {
        Standing::Failed { step, failure } => Some(ErrorReport::of(&step.to_string(), failure, after_failure(ctid, fleet))),
        Standing::Active | Standing::Waiting(_) | Standing::Quarantined(_) => failed_attempt(place),
    };
    let waiting_for = match &standing {
        Standing::Waiting(wait) => Some(WaitReport::of(wait)),
        Standing::Active if position.open_intent.is_none() && !position.ended => dependency(snapshot, place, names, since_wall),
        Standing::Active | Standing::Failed { .. } | Standing::Quarantined(_) => None,
    };
    ContainerReport {
        ctid: ctid.get(),
        hostname: hostname(place).to_owned(),
        state: position.state.to_string(),
        standing: if quarantined.is_some() { "quarantined".to_owned() } else { position.standing.to_string() },
        generation: position.generation,
        step,
        in_doubt,
        attempt,
        since: rfc3339(since_wall),
        waiting_for,
        quarantined,
        last_error,
        down: position.ended,
        live: None,
        since_wall,
    }
}

impl WaitReport {
    /// The report of a wait.
    pub fn of(wait: &Wait) -> Self {
        let Wait { kind, name, ctid, pid, since } = wait;
        Self { kind: kind.name(), name: one_line(name), ctid: ctid.map(Ctid::get), pid: *pid, since: rfc3339(*since) }
    }
}

impl ErrorReport {
    /// The report of a failure.
    pub fn of(step: &str, failure: &Failure, next: Vec<String>) -> Self {
        let Failure { class: _, message, command, status, tail } = failure;
        Self {
            step: step.to_owned(),
            exit_status: status.clone(),
            message: one_line(message),
            tail: last_lines(tail, TAIL_LINES).join("\n"),
            command: command.as_deref().map(one_line),
            next,
        }
    }
}

/// What can be said next about a container that failed.
///
/// Both give the failed step a new budget; the first takes what was mended in the manifest or its scripts along.
pub(super) fn after_failure(ctid: Ctid, fleet: Option<&FleetName>) -> Vec<String> {
    let only = fleet.map_or_else(String::new, |fleet| format!(" --fleet {fleet}"));
    vec!["phoenix up FLEET".to_owned(), format!("phoenix retry {ctid} && phoenix resume{only}")]
}

fn quarantine(ctid: Ctid, found: &Quarantine) -> QuarantineReport {
    let Quarantine { reason, evidence } = found;
    QuarantineReport { reason: reason.name(), evidence: one_line(evidence), next: next_commands(*reason, ctid) }
}

/// The standing with what belongs to it. The name stands in the position; the rest is read only where there is more to it.
fn standing(place: &Place) -> (Standing, Option<String>) {
    if let Err(why) = &place.glance.declared {
        return (Standing::Active, Some(format!("its declaration cannot be read: {why}")));
    }
    if place.glance.position.standing == Standing::Active.name() {
        return (Standing::Active, None);
    }
    // The last entry, not the first of this name: a second failure has a tale of its own.
    match &place.last {
        Some(Ok(fact)) => (standing_after(fact), None),
        Some(Err(why)) => (Standing::Active, Some(why.clone())),
        None => (Standing::Active, Some("its last entry is missing".to_owned())),
    }
}

fn standing_after(fact: &Fact) -> Standing {
    match fact {
        Fact::Declared(declaration) => declaration.standing.clone(),
        Fact::Outcome(outcome) => outcome.standing.clone(),
        Fact::Noted(note) => note.standing.clone(),
        Fact::Intended(..) | Fact::RunOpened(_) | Fact::RunClosed(_) => Standing::Active,
    }
}

/// The step to be shown, its attempt, and whether it is in doubt.
fn step(place: &Place, standing: &Standing, written_to: bool) -> (Option<String>, Option<u32>, bool) {
    match (&place.glance.step, standing) {
        (Some(GlanceStep { name, attempt, result: None }), _) => (Some(name.clone()), Some(*attempt), !written_to),
        (Some(GlanceStep { name, attempt, result: Some(result) }), _) if result != phoenix_journal::DONE => {
            (Some(name.clone()), Some(*attempt), false)
        }
        (_, Standing::Failed { step, .. }) => (Some(step.to_string()), None, false),
        (_, Standing::Active | Standing::Waiting(_) | Standing::Quarantined(_)) => (None, None, false),
    }
}

/// The failure of an attempt after which nothing has happened yet.
fn failed_attempt(place: &Place) -> Option<ErrorReport> {
    match place.last.as_ref()?.as_ref().ok()? {
        Fact::Outcome(outcome) => match &**outcome {
            Outcome { step, result: StepResult::Failed(failure), .. } => Some(ErrorReport::of(&step.to_string(), failure, Vec::new())),
            Outcome { .. } => None,
        },
        Fact::Declared(_) | Fact::Intended(..) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => None,
    }
}

/// The container that keeps this one from going on: its clone source before it is made, the others before its regular start.
fn dependency(snapshot: &Snapshot, place: &Place, names: &BTreeMap<Ctid, (&str, bool)>, since: Wall) -> Option<WaitReport> {
    let declared = place.glance.declared.as_ref().ok()?;
    let state = &place.glance.position.state;
    let waits_now = if state == State::Declared.name() { declared.clone_of.is_some() } else { state == State::Volumed.name() };
    let goes_on = snapshot.newest_run(place.glance.position.key.stream.parse().ok()?)?.opened.command != crate::machine::RunCommand::Down;
    if !waits_now || !goes_on {
        return None;
    }
    let on = declared.depends_on.iter().find(|on| names.get(on).is_some_and(|(_, done)| !done))?;
    let name = names.get(on).map_or_else(String::new, |(name, _)| (*name).to_owned());
    Some(WaitReport { kind: WaitKind::Dependency.name(), name, ctid: Some(on.get()), pid: None, since: rfc3339(since) })
}

fn is_done(place: &Place) -> bool {
    let position = &place.glance.position;
    position.state == State::Done.name() && position.standing == Standing::Active.name() && position.open_intent.is_none()
}

fn hostname(place: &Place) -> &str {
    place.glance.declared.as_ref().map_or("", |declared| declared.hostname.as_str())
}

fn fleet_of(snapshot: &Snapshot, ctid: Ctid, place: &Place) -> Option<FleetName> {
    let named = || snapshot.newest_run(ctid).and_then(|run| run.opened.containers.get(&ctid)).cloned();
    place.glance.declared.as_ref().ok().map(|declared| declared.fleet.clone()).or_else(named)
}
