//! What `up` would do, and why, container by container.
//!
//! Worked out with the functions that the engine itself goes by, from the journal and one look at the host. Nothing is promised:
//! between a plan and a run the world can change. Not here: doing any of it.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use phoenix_journal::{Epoch, JournalId};
use serde::Serialize;

use crate::driver::{Lives, Wanted};
use crate::engine::{Finding, reconcile};
use crate::ids::{Ctid, FleetName, State};
use crate::machine::{Life, Standing, Topic};
use crate::plan::{Mark, Observation};

use super::event::standing_phrase;
use super::plain::{Look, Tone, count, one_line, paragraph, wrap, written};
use super::status::SCHEMA;
use super::steps::steps;
use super::ways::next_commands;

/// What `up` would do with a fleet.
#[derive(Clone, Debug, Serialize)]
pub struct FleetPlan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The fleet.
    pub fleet: String,
    /// Its containers, by number.
    pub containers: Vec<ContainerPlan>,
    /// Containers of the fleet that the manifest no longer has; they are left alone.
    pub left_alone: Vec<u32>,
}

/// What `up` would do with one container.
#[derive(Clone, Debug, Serialize)]
pub struct ContainerPlan {
    /// Its number.
    pub ctid: u32,
    /// Its host name.
    pub hostname: String,
    /// The state it is in; `null` if nothing of it exists.
    pub from: Option<String>,
    /// `create`, `go_on`, `nothing`, or `left_alone`.
    pub action: &'static str,
    /// Why.
    pub why: String,
    /// The containers that must be done before it is started.
    pub after: Vec<u32>,
    /// The steps that would be taken, in order.
    pub steps: Vec<PlannedStep>,
    /// The commands that would change this, where it is left alone.
    pub next: Vec<String>,
}

/// One step that would be taken.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedStep {
    /// Its id.
    pub step: String,
    /// The state that it leads into.
    pub into: &'static str,
    /// Why it would be taken, where it is not simply its turn.
    pub why: Option<String>,
}

/// Plans. `journal` is the journal's id and newest epoch, if there is one; `seen` is what the host shows.
pub fn plan(
    fleet: &FleetName,
    wanted: &BTreeMap<Ctid, Wanted>,
    lives: &Lives,
    journal: Option<(JournalId, Epoch)>,
    seen: &Observation,
    left_alone: &[Ctid],
) -> FleetPlan {
    let containers = wanted.iter().map(|(&ctid, wanted)| {
        let finding = |life: &Life| {
            let (journal, epoch) = journal?;
            let mark = Mark { journal, fleet: fleet.clone(), ctid, incarnation: life.incarnation(), epoch };
            let verify = life.init().is_some_and(|init| init.boot != seen.boot);
            reconcile(life, &mark, seen.containers.get(&ctid), verify)
        };
        match lives.get(&ctid) {
            None => fresh(ctid, wanted, "the journal has no such container"),
            Some(Ok(life)) if !life.may_exist() => fresh(ctid, wanted, "nothing of it is on the host"),
            Some(Ok(life)) => going_on(ctid, wanted, life, finding(life).as_ref()),
            Some(Err(why)) => left(ctid, wanted, None, &format!("its account cannot be read: {why}"), Vec::new()),
        }
    });
    let left_alone = left_alone.iter().map(|ctid| ctid.get()).collect();
    FleetPlan { schema: SCHEMA, fleet: fleet.to_string(), containers: containers.collect(), left_alone }
}

fn of(ctid: Ctid, wanted: &Wanted, from: Option<State>, action: &'static str, why: &str) -> ContainerPlan {
    ContainerPlan {
        ctid: ctid.get(),
        hostname: wanted.spec.hostname.to_string(),
        from: from.map(|state| state.name().to_owned()),
        action,
        why: one_line(why),
        after: wanted.spec.depends_on.iter().map(|on| on.get()).collect(),
        steps: Vec::new(),
        next: Vec::new(),
    }
}

fn fresh(ctid: Ctid, wanted: &Wanted, why: &str) -> ContainerPlan {
    ContainerPlan { steps: missing(wanted, None, false), ..of(ctid, wanted, None, "create", why) }
}

fn left(ctid: Ctid, wanted: &Wanted, from: Option<State>, why: &str, next: Vec<String>) -> ContainerPlan {
    ContainerPlan { next, ..of(ctid, wanted, from, "left_alone", why) }
}

fn going_on(ctid: Ctid, wanted: &Wanted, life: &Life, finding: Option<&Finding>) -> ContainerPlan {
    let state = Some(life.state());
    if let Standing::Quarantined(found) = &life.standing {
        return left(ctid, wanted, state, &standing_phrase(&life.standing), next_commands(found.reason, ctid));
    }
    let lost = match finding {
        Some(finding) => match (&finding.topic, &finding.standing) {
            (Topic::InitLost { .. }, _) => true,
            (_, Standing::Quarantined(found)) => {
                return left(ctid, wanted, state, &standing_phrase(&finding.standing), next_commands(found.reason, ctid));
            }
            (Topic::Passed | Topic::FoundRunning { .. } | Topic::Standing | Topic::Decided(_) | Topic::Forgotten { .. }, _) => false,
        },
        None => false,
    };
    let steps = missing(wanted, Some(life), lost);
    let why = match (life.open(), &life.standing) {
        (Some((_, _, intent)), _) => format!("{} was begun and has no outcome; first find out what became of it", intent.step),
        (None, Standing::Failed { step, .. }) => format!("{step} failed, and `up` gives it a new budget"),
        (None, Standing::Waiting(_)) => format!("it {}", standing_phrase(&life.standing)),
        (None, _) if lost => "its recorded init is gone".to_owned(),
        (None, Standing::Active | Standing::Quarantined(_)) if steps.is_empty() && life.state() == State::Done => "it is done".to_owned(),
        (None, Standing::Active | Standing::Quarantined(_)) => format!("it is {}, and steps are missing", life.state()),
    };
    let action = if steps.is_empty() && life.open().is_none() && life.state() == State::Done { "nothing" } else { "go_on" };
    ContainerPlan { steps, ..of(ctid, wanted, state, action, &why) }
}

fn missing(wanted: &Wanted, life: Option<&Life>, lost: bool) -> Vec<PlannedStep> {
    let due = steps(&wanted.spec, life.map_or(wanted.repertoire, |life| life.repertoire), life, lost).into_iter().filter(|step| !step.done);
    due.map(|step| PlannedStep { step: step.step, into: step.into, why: step.why }).collect()
}

impl FleetPlan {
    /// The text for people.
    pub fn text(&self, look: Look) -> String {
        written(|f| self.write(f, look))
    }

    fn write(&self, f: &mut String, look: Look) -> fmt::Result {
        writeln!(f, "{}", look.paint(Tone::Strong, &format!("Plan for fleet {}", self.fleet)))?;
        for container in &self.containers {
            write_container(f, container, look)?;
        }
        for ctid in &self.left_alone {
            let why = format!("{ctid} is no longer in the manifest and is left alone; `phoenix down {ctid}` destroys it");
            writeln!(f)?;
            paragraph(f, look, "", &why)?;
        }
        writeln!(f)?;
        let steps: usize = self.containers.iter().map(|container| container.steps.len()).sum();
        let busy = self.containers.iter().filter(|container| !container.steps.is_empty()).count();
        let nothing = "Nothing to do.".to_owned();
        let total = if steps == 0 { nothing } else { format!("{} for {}.", count(steps, "step"), count(busy, "container")) };
        writeln!(f, "{total}")
    }
}

fn write_container(f: &mut String, container: &ContainerPlan, look: Look) -> fmt::Result {
    let ContainerPlan { ctid, hostname, from, action, why, after, steps, next } = container;
    let tone = match *action {
        "nothing" => Tone::Good,
        "left_alone" => Tone::Bad,
        _ => Tone::Busy,
    };
    let way = match (*action, from) {
        ("nothing", _) => "done".to_owned(),
        ("left_alone", Some(from)) => format!("{from}, left alone"),
        ("left_alone", None) => "left alone".to_owned(),
        (_, Some(from)) => format!("{from} -> done"),
        (_, None) => "absent -> done".to_owned(),
    };
    writeln!(f, "\n{ctid} {hostname}: {}", look.paint(tone, &way))?;
    paragraph(f, look, "  why:   ", why)?;
    if !after.is_empty() && !steps.is_empty() {
        let after: Vec<String> = after.iter().map(u32::to_string).collect();
        paragraph(f, look, "  after: ", &after.join(", "))?;
    }
    for (state, names) in by_state(steps) {
        let columns = look.columns().map(|columns| columns.saturating_sub(15).max(20));
        for (index, line) in wrap(&names, columns).iter().enumerate() {
            let head = if index == 0 { state } else { "" };
            writeln!(f, "    {head:<10} {line}")?;
        }
    }
    for PlannedStep { step, why: again, .. } in steps {
        // What is said of the container as a whole need not be said again of each step.
        if let Some(again) = again.as_ref().filter(|again| !why.ends_with(*again)) {
            paragraph(f, look, "    again: ", &format!("{step}: {again}"))?;
        }
    }
    next.iter().try_for_each(|command| writeln!(f, "  next:  {command}"))
}

/// The steps, gathered by the state they lead into, in order.
fn by_state(steps: &[PlannedStep]) -> Vec<(&'static str, String)> {
    let mut gathered: Vec<(&'static str, String)> = Vec::new();
    for step in steps {
        match gathered.last_mut() {
            Some((state, names)) if *state == step.into => {
                names.push(' ');
                names.push_str(&step.step);
            }
            Some(_) | None => gathered.push((step.into, step.step.clone())),
        }
    }
    gathered
}
