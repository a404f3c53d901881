//! What must hold of a stage at any time, whatever crashed, failed or was meddled with.
//!
//! Each function is one sentence, and a failure prints the history. Not here: what holds only at a run's end.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::collections::BTreeSet;

use phoenix::ids::State;
use phoenix::plan::SNAPSHOT_FOR_CLONES;
use phoenix::rehearse::Stage;
use phoenix_journal::{Append, Body, Entry};

pub(crate) fn entries(stage: &Stage) -> Vec<Entry> {
    stage.journal.replay(None).expect("a journal that can be read")
}

/// The journal, a line an entry, short enough to be read when a test fails.
pub(crate) fn history(stage: &Stage) -> Vec<String> {
    entries(stage).iter().map(line).collect()
}

pub(crate) fn line(entry: &Entry) -> String {
    let what = match &entry.body {
        Body::Declare => "declared".to_owned(),
        Body::Intent { step, attempt, .. } => format!("intent {step} {attempt}"),
        Body::Outcome { step, result, .. } => format!("outcome {step} {result}"),
        Body::Note { topic } => format!("note {topic}"),
    };
    format!("{} {}: {what} -> {} {}", entry.seq, entry.stream, entry.state, entry.standing)
}

/// All of them.
#[track_caller]
pub(crate) fn invariants(stage: &Stage) {
    invariant_nothing_is_damaged(stage);
    invariant_script_starts_are_explained(stage);
    invariant_volumes_follow_finalization(stage);
    invariant_a_held_source_takes_no_other_step(stage);
    invariant_a_live_source_keeps_running(stage);
}

#[track_caller]
pub(crate) fn invariant_nothing_is_damaged(stage: &Stage) {
    assert!(stage.world.damage().is_empty(), "{:#?}\n{:#?}", history(stage), stage.world.damage());
}

#[track_caller]
pub(crate) fn invariant_script_starts_are_explained(stage: &Stage) {
    for start in stage.world.starts() {
        assert!(start.is_explained(), "{:#?}\n{start:#?}", history(stage));
    }
}

/// From the intent of `clone.hold` to the outcome of `clone.release` nothing else is done to a source, but to destroy it.
#[track_caller]
pub(crate) fn invariant_a_held_source_takes_no_other_step(stage: &Stage) {
    // Of one physical container: a number that was given up is another's.
    let mut held: BTreeSet<(String, String)> = BTreeSet::new();
    for entry in entries(stage).iter().filter(|entry| entry.stream.machine == "container") {
        let stream = &(entry.stream.stream.clone(), entry.life.clone());
        match &entry.body {
            Body::Intent { step, .. } if step == "clone.hold" => drop(held.insert(stream.clone())),
            Body::Intent { step, .. } if held.contains(stream) => {
                let allowed = step.starts_with("clone.") || step.starts_with("down.");
                assert!(allowed, "{step} of {} while it is held: {:#?}", stream.0, history(stage));
            }
            Body::Outcome { step, result, .. } if step == "clone.release" && result == "done" => drop(held.remove(stream)),
            Body::Declare | Body::Intent { .. } | Body::Outcome { .. } | Body::Note { .. } => {}
        }
    }
}

/// A source that is held by a snapshot stays in its state: only the loss of its init takes it back, which is no step of ours.
#[track_caller]
pub(crate) fn invariant_a_live_source_keeps_running(stage: &Stage) {
    for entry in entries(stage) {
        if let Body::Outcome { step, .. } = &entry.body
            && step.starts_with("clone.")
            && entry.payload.contains(r#""held":{"by":"snapshot"}"#)
        {
            assert_eq!(entry.state, "done", "{entry:?}: {:#?}", history(stage));
        }
    }
}

/// At the end of a run that brought everything where it should be, no snapshot for clones is left.
#[track_caller]
pub(crate) fn invariant_snapshots_are_released(stage: &Stage) {
    for (ctid, print) in stage.world.fingerprint().containers {
        assert!(!print.snapshots.contains_key(SNAPSHOT_FOR_CLONES), "{ctid}: {:#?}", history(stage));
    }
}

/// No volume step of an incarnation before its id map was recorded.
#[track_caller]
pub(crate) fn invariant_volumes_follow_finalization(stage: &Stage) {
    let mut finalized: BTreeSet<String> = BTreeSet::new();
    for entry in entries(stage) {
        match &entry.body {
            Body::Outcome { step, result, .. } if step == "finalize.idmap" && result == "done" => {
                finalized.insert(entry.life.clone());
            }
            Body::Intent { step, .. } if step.starts_with("volume.") => {
                assert!(finalized.contains(&entry.life), "{step} before finalization: {:#?}", history(stage));
            }
            Body::Declare | Body::Intent { .. } | Body::Outcome { .. } | Body::Note { .. } => {}
        }
        if entry.stream.machine == "container" && entry.state.parse::<State>().is_ok_and(|state| state >= State::Volumed) {
            assert!(finalized.contains(&entry.life), "{} before finalization: {:#?}", entry.state, history(stage));
        }
    }
}
