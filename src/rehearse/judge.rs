//! Bringing a wreck to its end, and what has to hold there.
//!
//! Apart because it is the oracle: the world of a run without crashes, no damage, no script started without a reason, no volume
//! before finalization. Not here: which wrecks there are.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

use phoenix_journal::{Body, DONE, Entry};

use crate::driver::Silent;
use crate::engine::Stand;
use crate::host::sim::{Fingerprint, ScriptStart};
use crate::ids::{Ctid, State, Step};
use crate::machine::{RunCommand, RunEnd, Standing};
use crate::plan::Doubt;

use super::crash::CrashKind;
use super::findings::Trouble;
use super::show::{Guide, Point};
use super::stage::{Ended, Stage, StageError};

/// The most resumes that a schedule may need after its last crash. One brings everything up again; the others are for
/// containers that were left waiting for something that passes by itself.
pub(super) const RESUMES_MAX: u32 = 4;

/// Resumes until nothing is left to do, asking `guide` in the first resume, and looks at what that came to; how many resumes it
/// took.
pub(super) fn bring_to_end(stage: &mut Stage, guide: &mut dyn Guide, expected: &Fingerprint) -> Result<u32, Trouble> {
    let mut stands = play(stage, RunCommand::Resume, guide)?;
    let mut resumes = 1;
    while !stands.is_empty() {
        if resumes == RESUMES_MAX {
            return Err(Trouble::NotDone { stands });
        }
        stands = play(stage, RunCommand::Resume, &mut NoCrash)?;
        resumes += 1;
    }
    look(stage, expected)?;
    Ok(resumes)
}

/// Plays a run that nothing cuts; how each container stands that is not done. A panic is a trouble like any other: the
/// schedule that led to it must not be lost.
pub(super) fn play(stage: &mut Stage, command: RunCommand, guide: &mut dyn Guide) -> Result<Vec<String>, Trouble> {
    let played = catch_unwind(AssertUnwindSafe(|| stage.run(command, guide, &mut Silent)));
    match played {
        Ok(Ok(Ended::Run { end: RunEnd::Done, .. })) => Ok(Vec::new()),
        Ok(Ok(Ended::Run { end: RunEnd::Failed | RunEnd::Interrupted, stands, points: _ })) => Ok(told(&stands)),
        Ok(Ok(Ended::Crashed)) => Err(Trouble::Broke { why: "it was cut where it should not be".to_owned() }),
        Ok(Err(error)) => Err(broke(&error)),
        Err(_) => Err(Trouble::Broke { why: "phoenix broke down; the message was printed where it happened".to_owned() }),
    }
}

/// What has to hold at the end of every schedule.
pub(super) fn look(stage: &Stage, expected: &Fingerprint) -> Result<(), Trouble> {
    let damage = stage.world.damage();
    if !damage.is_empty() {
        return Err(Trouble::Damaged { damage: damage.iter().map(ToString::to_string).collect() });
    }
    let unexplained: Vec<&ScriptStart> = stage.world.starts().filter(|start| !start.is_explained()).collect();
    if !unexplained.is_empty() {
        return Err(Trouble::Unexplained { starts: unexplained.into_iter().map(start_text).collect() });
    }
    if let Some(entry) = before_finalization(stage.journal.since(0)) {
        return Err(Trouble::OutOfOrder { entry: entry_text(entry) });
    }
    let found = stage.world.fingerprint();
    if found != *expected {
        return Err(Trouble::Differs { differences: found.differences(expected) });
    }
    Ok(())
}

pub(super) fn broke(error: &StageError) -> Trouble {
    let mut why = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        why = format!("{why}: {cause}");
        source = cause.source();
    }
    if let StageError::Plan(errors) = error {
        why.extend(errors.iter().map(|error| format!("; {error}")));
    }
    Trouble::Broke { why }
}

fn told(stands: &BTreeMap<Ctid, Stand>) -> Vec<String> {
    let open = stands.iter().filter(|(_, stand)| **stand != Stand::There);
    let told: Vec<String> = open.map(|(ctid, stand)| format!("{ctid} {}", stand_text(stand))).collect();
    if told.is_empty() { vec!["the run says so, and every container is where it should be".to_owned()] } else { told }
}

fn stand_text(stand: &Stand) -> String {
    match stand {
        Stand::There => "is where it should be".to_owned(),
        Stand::UnderWay => "is under way".to_owned(),
        Stand::Blocked(on) => format!("waits for {on}"),
        Stand::Undecodable(why) => format!("cannot be read: {why}"),
        Stand::Stuck(Standing::Active) => "does not go on".to_owned(),
        Stand::Stuck(Standing::Waiting(wait)) => format!("waits for {} {}", wait.kind.name(), wait.name),
        Stand::Stuck(Standing::Failed { step, failure }) => format!("failed at {step}: {}", failure.message),
        Stand::Stuck(Standing::Quarantined(why)) => format!("is quarantined ({}): {}", why.reason.name(), why.evidence),
    }
}

fn start_text(start: &ScriptStart) -> String {
    let ScriptStart { ctid, incarnation: _, step, attempt, reason, before, end: _ } = start;
    format!("{ctid} {} attempt {attempt}, reason {reason:?}, before it {before:?}", step.clone().id())
}

fn entry_text(entry: &Entry) -> String {
    format!("entry {} of {}: {} -> {}", entry.seq, entry.stream, entry.body.kind(), entry.state)
}

/// The first entry of an incarnation that speaks of volumes although its id map was not recorded.
fn before_finalization<'a>(entries: impl Iterator<Item = &'a Entry>) -> Option<&'a Entry> {
    let idmap = Step::FinalizeIdmap;
    let mut finalized: BTreeSet<&str> = BTreeSet::new();
    for entry in entries {
        match &entry.body {
            Body::Outcome { step, result, .. } if *step == idmap.base() && *result == DONE => {
                finalized.insert(&entry.life);
            }
            Body::Intent { step, .. } if step.starts_with("volume.") && !finalized.contains(&*entry.life) => return Some(entry),
            Body::Declare | Body::Intent { .. } | Body::Outcome { .. } | Body::Note { .. } => {}
        }
        let rests_on_map = State::ALL.iter().any(|state| *state >= State::Volumed && state.name() == entry.state);
        if rests_on_map && entry.stream.machine == crate::codec::CONTAINER && !finalized.contains(&*entry.life) {
            return Some(entry);
        }
    }
    None
}

/// Lets a run go on to its end.
pub(super) struct NoCrash;

impl Guide for NoCrash {
    fn at_point(&mut self, _: &Point<'_>) -> Option<CrashKind> {
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sim::Damage;

    #[test]
    fn damage_is_told_before_anything_else() {
        let trouble = Trouble::Damaged { damage: vec![Damage::StartedWhileHeld { ctid: Ctid::new(101).expect("in range") }.to_string()] };
        assert_eq!(trouble.to_string(), "damage was done: 101: started while it was held as a clone source");
    }
}
