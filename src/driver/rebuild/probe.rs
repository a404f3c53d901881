//! Asking the host about one step, and recording what it says.
//!
//! Apart from the order in which it is asked (`recall`). A probe is the host's own `settle`, of a doubt made up for the purpose.

use crate::engine::action;
use crate::host::{LockError, Watch};
use crate::ids::{Generation, State, Step, Token};
use crate::machine::{
    Evidence, Fact, FailureClass, Note, Outcome, Quarantine, QuarantineReason, Standing, StepResult, Topic, Wait, WaitKind,
};
use crate::manifest::{OnInterrupt, Origin};
use crate::plan::{Action, CopyFrom, Doubt, Effect, Intent, Mark, Presence, Reason, Seen};

use super::RebuildError;
use super::recall::{Goes, Recollection};

/// How long a probe may wait for what is at work; nothing was, a moment before.
const PROBE_TIME: std::time::Duration = std::time::Duration::from_secs(5);

/// Nobody is told of waits that last five seconds at most.
struct Unwatched;

impl Watch for Unwatched {
    fn waiting(&self, _: Wait) {}
}

impl Recollection<'_> {
    pub(super) fn state(&self) -> State {
        self.scribe.life(self.ctid).state()
    }

    /// Whether scripts have been begun in this incarnation: then everything before them was done once.
    pub(super) fn has_run(&self) -> bool {
        !self.sight.traces.scripts.is_empty()
    }

    /// Whether its scripts are to be looked at, though it cannot be seen to be ready.
    pub(super) fn has_scripts_to_judge(&self) -> bool {
        self.has_run() || self.proofs.first().is_some_and(|(_, script, _)| script.on_interrupt == OnInterrupt::Ask)
    }

    pub(super) fn is_attached(&self, seen: &Seen) -> bool {
        let mounts = seen.config.as_ref().map(|config| &config.mounts);
        self.sight.wanted.spec.mounts.iter().all(|mount| mounts.is_some_and(|mounts| mounts.contains_key(&mount.at)))
    }

    /// Whether steps after the first were taken in this very container: it is whole, bears our mark, and is up, has its shared
    /// directories, or has run scripts.
    pub(super) fn has_gone_on(&self, seen: &Seen) -> bool {
        let mounted = !self.sight.wanted.spec.mounts.is_empty() && self.is_attached(seen);
        let ours = seen.presence == Presence::Whole && self.sight.mark.is_some();
        ours && (seen.init.is_some() || mounted || self.has_run())
    }

    pub(super) fn seen_in_words(&self, seen: &Seen) -> String {
        let mark = match (&self.sight.mark, &seen.mark) {
            (Some(mark), _) => format!("our mark of epoch {}", mark.epoch),
            (None, Some(mark)) => format!("a mark of journal {}, fleet {}, container {}", mark.journal, mark.fleet, mark.ctid),
            (None, None) => "no mark that can be read".to_owned(),
        };
        let up = seen.init.as_ref().map_or_else(|| "down".to_owned(), |init| format!("up as init {}", init.pid));
        format!("{mark}, {up}")
    }

    /// Asks the host about a step as if it were in doubt.
    pub(super) fn probe(&mut self, step: &Step) -> Result<(Intent, StepResult), RebuildError> {
        let life = self.scribe.life(self.ctid);
        let action = match life.spec.origin {
            Origin::Clone { source } if *step == Step::DefineClone => {
                // A source that is not in the manifest cannot be; `check` has seen to that.
                let incarnation = self.sights.get(&source).map_or(self.sight.incarnation, |sight| sight.incarnation);
                Action::Clone { source, incarnation, from: CopyFrom::Current }
            }
            Origin::Clone { .. } | Origin::Template(_) => match action(life, step) {
                Some(action) => action,
                None => return Ok((self.intent(step, Action::Release), StepResult::Absent)),
            },
        };
        self.probe_action(step, action)
    }

    pub(super) fn probe_action(&mut self, step: &Step, action: Action) -> Result<(Intent, StepResult), RebuildError> {
        let intent = self.intent(step, action);
        let mut asked = intent.clone();
        if let Action::Prepare { volume, .. } = &mut asked.action {
            // Whether all that lies below belongs to the owner too is not looked at.
            volume.recursive = false;
        }
        let life = self.scribe.life(self.ctid);
        let mark = Mark {
            journal: self.scribe.journal(),
            fleet: self.fleet.clone(),
            ctid: self.ctid,
            incarnation: life.incarnation(),
            epoch: self.scribe.epoch(),
        };
        let effect = Effect { intent: asked, spec: life.spec.clone(), mark, former: life.former().to_vec() };
        let doubt = Doubt { seq: self.scribe.next(), epoch: self.scribe.epoch(), effect };
        let result = self.host.settle(&doubt, &Unwatched).result;
        if let StepResult::Failed(failure) = &result
            && let FailureClass::Wait(Wait { kind: WaitKind::Lock, name, pid, .. }) = &failure.class
        {
            let why = LockError::Busy { ctid: self.ctid, holder_pid: *pid, holder_command: name.clone() };
            return Err(RebuildError::Locked { ctid: self.ctid, why });
        }
        Ok((intent, result))
    }

    pub(super) fn intent(&mut self, step: &Step, action: Action) -> Intent {
        let token = Token::from_random((self.entropy)());
        let life = self.scribe.life(self.ctid);
        Intent {
            run: self.scribe.run,
            ctid: self.ctid,
            incarnation: life.incarnation(),
            generation: Generation::FIRST,
            state: life.state(),
            step: step.clone().id(),
            attempt: 1,
            reason: Reason::First,
            deadline: self.scribe.now.moment.after(PROBE_TIME),
            token,
            action,
        }
    }

    /// Records a step with what became of it.
    pub(super) fn keep(&mut self, intent: Intent, result: StepResult, aside: Option<Standing>) -> Result<(), RebuildError> {
        let at = self.scribe.now.wall;
        let mut outcome = Outcome::of(&intent, self.scribe.next(), result, at);
        outcome.recovered = true;
        if let StepResult::Done(evidence) = &outcome.result {
            outcome.state = self.scribe.life(self.ctid).after(&intent.step, evidence);
        }
        outcome.standing = aside.unwrap_or(Standing::Active);
        self.scribe.record(self.ctid, Fact::Intended(Box::new(intent), at))?;
        self.scribe.record(self.ctid, Fact::Outcome(Box::new(outcome)))
    }

    /// Records as done what something else that was seen implies.
    pub(super) fn claim(&mut self, step: &Step, evidence: Evidence) -> Result<(), RebuildError> {
        let action = action(self.scribe.life(self.ctid), step).unwrap_or(Action::Release);
        let intent = self.intent(step, action);
        self.keep(intent, StepResult::Done(evidence), None)
    }

    pub(super) fn take_or_set_aside(&mut self, step: &Step) -> Goes {
        let (intent, result) = self.probe(step)?;
        match result {
            StepResult::Done(_) => self.keep(intent, result, None).map(|()| true),
            StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Partial { .. }
            | StepResult::Foreign { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted => self.set_aside(step, &result),
        }
    }

    pub(super) fn set_aside(&mut self, step: &Step, result: &StepResult) -> Goes {
        self.drift(&format!("claim: {} was done; found: {}", step.clone().id(), in_words(result)))
    }

    pub(super) fn drift(&mut self, evidence: &str) -> Goes {
        let way = "put that right, move this journal away and rebuild it again";
        self.note(Topic::Standing, self.state(), quarantine(QuarantineReason::Drift, format!("{evidence}; {way}"))).map(|()| false)
    }

    pub(super) fn interrupted(&mut self, evidence: &str) -> Goes {
        self.note(Topic::Standing, self.state(), quarantine(QuarantineReason::Interrupted, evidence.to_owned())).map(|()| false)
    }

    pub(super) fn pass(&mut self, state: State) -> Result<(), RebuildError> {
        self.note(Topic::Passed, state, Standing::Active)
    }

    pub(super) fn note(&mut self, topic: Topic, state: State, standing: Standing) -> Result<(), RebuildError> {
        let life = self.scribe.life(self.ctid);
        let (incarnation, generation) = (life.incarnation(), life.generation);
        let (run, ctid, at) = (self.scribe.run, self.ctid, self.scribe.now.wall);
        let note = Note { run, ctid, incarnation, generation, topic, state, standing, at };
        self.scribe.record(ctid, Fact::Noted(Box::new(note)))
    }
}

pub(super) fn quarantine(reason: QuarantineReason, evidence: String) -> Standing {
    Standing::Quarantined(Quarantine { reason, evidence })
}

pub(super) fn in_words(result: &StepResult) -> String {
    match result {
        StepResult::Failed(failure) => failure.message.clone(),
        StepResult::Absent => "it does not hold".to_owned(),
        StepResult::Partial { leftover } => format!("a part of it, {leftover}"),
        StepResult::Foreign { owner } => format!("it belongs to {owner}"),
        StepResult::Unknown { why } => why.clone(),
        StepResult::Done(_) | StepResult::Gone | StepResult::Interrupted => result.name().to_owned(),
    }
}
