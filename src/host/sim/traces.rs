//! What scripts leave beside what they were run for: results on the host's disk, notes inside.
//!
//! Apart from `scripts` because nothing but a rebuilt journal reads it. As on real hosts a result is durable when it is there, a
//! note is written by whoever reads the result, and only as durable as the container's next sync.

use std::sync::Arc;

use phoenix_journal::Epoch;

use crate::ids::{Ctid, Step};
use crate::machine::{Evidence, StepResult};
use crate::manifest::Spec;
use crate::plan::{Effect, Mark, Trace, Traces, Trail};

use super::disk::{Guest, InsideNote};
use super::scripts::script_of;
use super::world::{End, Kept, Left, Slot, World};

impl World {
    /// What is left of the container that `mark` means.
    pub fn traces(&self, spec: &Spec, mark: &Mark) -> Traces {
        let Some(slot) = self.slot(mark.ctid) else { return Traces::default() };
        let mut scripts: Vec<Trace> = slot.results.iter().filter(|kept| kept.incarnation == mark.incarnation).map(of_result).collect();
        scripts.extend(self.begun(slot, mark));
        let guest = slot.guest.get().as_deref();
        scripts.extend(guest.into_iter().flat_map(|guest| notes(guest, mark)));
        let unlike = guest.and_then(|guest| unlike(guest, spec));
        Traces { epoch: slot.epoch, scripts, unlike }
    }

    /// Deletes every result of a script, as when the directory that holds them goes with the journal.
    pub fn lose_results(&mut self) {
        let ctids: Vec<Ctid> = self.slots.keys().copied().collect();
        for ctid in ctids {
            self.slot_mut(ctid).results = Arc::default();
        }
    }

    /// Holds stand in a journal alone: with the journal they are gone, and nobody starts a container in spite of one.
    pub(crate) fn forget_holds(&mut self) {
        let held: Vec<Ctid> = self.slots.iter().filter(|(_, slot)| slot.held.is_some()).map(|(ctid, _)| *ctid).collect();
        for ctid in held {
            self.slot_mut(ctid).held = None;
        }
    }

    /// A script that its shim said it began, and of which nothing more was heard; its record goes with the boot.
    fn begun(&self, slot: &Slot, mark: &Mark) -> Option<Trace> {
        let token = slot.script_begun?;
        if slot.left.as_ref().is_some_and(|left| left.token == token) {
            return None;
        }
        let start = slot.starts.last().filter(|start| start.incarnation == mark.incarnation)?;
        let of_token = |op: &&super::op::Op| op.effect.intent.token == token;
        let alive = self.ops.values().any(|op| of_token(&op));
        Some(Trace { step: start.step.clone(), epoch: Epoch::new(0), trail: Trail::Begun { alive } })
    }

    pub(super) fn keep_result(&mut self, effect: &Effect, left: &Left) {
        let Some(script) = script_of(effect).map(|script| script.digest).filter(|_| left.of_script) else { return };
        let kept = Kept {
            incarnation: effect.intent.incarnation,
            step: effect.intent.step.step.clone(),
            script,
            epoch: effect.mark.epoch,
            succeeded: left.end == End::Exit(0),
            started: left.started,
            ended: left.ended,
        };
        Arc::make_mut(&mut self.slot_mut(effect.intent.ctid).results).push(kept);
    }

    pub(super) fn leave_note(&mut self, effect: &Effect, result: &StepResult) {
        let StepResult::Done(Evidence::Ran { script, .. }) = result else { return };
        let (ctid, incarnation) = (effect.intent.ctid, effect.intent.incarnation);
        let note = InsideNote { ctid, incarnation, script: *script, epoch: effect.mark.epoch };
        let step = effect.intent.step.step.clone();
        if self.guest(ctid).is_some_and(|guest| guest.notes.get(&step) != Some(&note)) {
            self.change_guest(ctid, |guest| {
                Arc::make_mut(&mut guest.notes).insert(step, note);
            });
        }
    }
}

fn of_result(kept: &Kept) -> Trace {
    let Kept { incarnation: _, step, script, epoch, succeeded, started, ended } = kept.clone();
    Trace { step, epoch, trail: Trail::Result { script, succeeded, started, ended } }
}

fn notes(guest: &Guest, mark: &Mark) -> Vec<Trace> {
    let ours = |note: &InsideNote| note.ctid == mark.ctid && note.incarnation == mark.incarnation;
    let of =
        |(step, note): (&Step, &InsideNote)| Trace { step: step.clone(), epoch: note.epoch, trail: Trail::Note { script: note.script } };
    guest.notes.iter().filter(|(_, note)| ours(note)).map(of).collect()
}

fn unlike(guest: &Guest, spec: &Spec) -> Option<String> {
    match guest.settings.as_deref() {
        Some(settings) if settings.matches(spec) => None,
        Some(settings) => Some(format!("it is that of {} with {} MB", settings.hostname, settings.resources.memory_mb)),
        None => Some("it was never written".to_owned()),
    }
}
