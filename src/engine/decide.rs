//! What a container does next.
//!
//! `decide` is called whenever something about a container has changed and looks at everything afresh, so there is no list
//! of things to remember that a crash could lose. Not here: what an event means (`act`).

use crate::ids::{Ctid, Incarnation, Now, State, Step, StepId};
use crate::machine::{Declaration, Due, Fact, Life, Note, Past, Quarantine, QuarantineReason, Standing, Topic};
use crate::manifest::Origin;
use crate::plan::{Action, Doubt, Effect, HoldBy, Intent, Reason, StartPurpose};

use super::reconcile::{Finding, is_back, reconcile};
use super::{Engine, Goal, Outbox, Phase, Request, Share, limits};

/// What `decide` came to.
enum Next {
    /// Take or repair this step.
    Take(StepId, Action, Reason),
    /// Find out about the step in doubt.
    Settle,
    /// Look at it once more first.
    Look,
    /// Note this.
    Note(Finding),
    /// Declare a new incarnation: the old one was destroyed after this run was planned.
    Redeclare,
    /// Nothing until something else changes.
    Rest,
    /// Nothing more in this run.
    Over,
}

impl Engine {
    pub(super) fn decide(&mut self, ctid: Ctid, now: &Now, out: &mut Outbox) {
        if !matches!(self.slot(ctid).phase, Phase::Idle) {
            return;
        }
        let first_look = self.slot(ctid).sight.is_some();
        let next = self.next(ctid);
        let takes_a_place = matches!(next, Next::Take(..) | Next::Settle);
        if takes_a_place && self.interrupted {
            return;
        }
        if takes_a_place && self.in_flight >= self.orders.jobs && !phoenix_journal::sabotaged("jobs_are_not_limited") {
            self.queue.insert(ctid);
            return;
        }
        if let Next::Take(_, action, _) = &next
            && let Some(life) = self.life(ctid)
        {
            let shares = Share::of(action, life);
            if let Some(full) = self.shares.full(ctid, &shares).filter(|_| !phoenix_journal::sabotaged("shares_are_not_limited")) {
                self.shares.wait(ctid, full);
                return;
            }
        }
        match next {
            Next::Take(step, action, reason) => self.take(ctid, step, action, reason, now, out),
            Next::Settle => self.settle(ctid, out),
            Next::Look => {
                self.slot(ctid).phase = Phase::Looking;
                self.pending += 1;
                out.put(Request::Look { ctid });
            }
            Next::Note(finding) => self.note(ctid, finding, now, out),
            Next::Redeclare => self.redeclare(ctid, now, out),
            Next::Rest => {
                self.slot(ctid).phase = Phase::Resting;
                if first_look {
                    // Until now nobody could rely on it, even if the journal called it done.
                    self.wake_dependents(ctid);
                }
            }
            Next::Over => self.over(ctid),
        }
    }

    /// Nothing more of it in this run: whoever waits for it, or for its copy, is told.
    pub(super) fn over(&mut self, ctid: Ctid) {
        self.slot(ctid).phase = Phase::Over;
        self.shares.disengage(ctid);
        self.leave_source(ctid);
        self.wake_dependents(ctid);
    }

    /// A clone that is made, or will not be made in this run, no longer keeps its source down.
    pub(super) fn leave_source(&mut self, ctid: Ctid) {
        let Some(Origin::Clone { source }) = self.life(ctid).map(|life| life.spec.origin.clone()) else { return };
        let Some(slot) = self.slots.get_mut(&source) else { return };
        slot.cloning = slot.cloning.filter(|&clone| clone != ctid);
        self.wake(source);
        self.wake_siblings(ctid);
    }

    fn life(&self, ctid: Ctid) -> Option<&Life> {
        self.slots.get(&ctid)?.life.as_ref().ok()
    }

    fn next(&mut self, ctid: Ctid) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        if phoenix_journal::sabotaged("one_bad_container_stops_all") && self.slots.values().any(|slot| slot.life.is_err()) {
            return Next::Over;
        }
        if life.open().is_some() {
            return Next::Settle;
        }
        let heedless = phoenix_journal::sabotaged("quarantine_is_not_heeded");
        if self.orders.goal == Goal::Up && !heedless && matches!(life.standing, Standing::Failed { .. } | Standing::Quarantined(_)) {
            // A person, or `up` with its new budget, has to say that it goes on.
            return Next::Over;
        }
        let mark = self.orders.mark(life);
        let slot = self.slot(ctid);
        if std::mem::take(&mut slot.init_lost) {
            return slot.life.as_ref().ok().and_then(init_lost).map_or(Next::Over, Next::Note);
        }
        let sight = slot.sight.take();
        if let Some(sight) = &sight {
            slot.copies_live = Some(sight.seen.as_ref().is_some_and(|seen| seen.copies_live));
        }
        let goal = self.orders.goal;
        let Some(life) = self.life(ctid) else { return Next::Over };
        // What is to go may have drifted.
        let verify = goal == Goal::Up && !life.was_worked_on_in(&self.boot) && !phoenix_journal::sabotaged("drift_is_not_looked_for");
        let finding = sight.as_ref().and_then(|sight| reconcile(life, &mark, sight.seen.as_deref(), verify));
        if goal == Goal::Down && sight.as_ref().is_some_and(|sight| is_back(life, &mark, sight.seen.as_deref(), finding.as_ref())) {
            // What was seen is compared with what it then claims, as of any other.
            let back = Finding { topic: Topic::Standing, state: life.state(), standing: Standing::Active };
            self.slot(ctid).sight = sight;
            return Next::Note(back);
        }
        // Half-made as well; whose it is still matters, unless it was moved away already and bears our name.
        let moved = life.record(&Step::DownDestroy).leftover.is_some();
        let finding = finding.filter(|finding| goal == Goal::Up || !(moved || is_drift(&finding.standing)));
        match finding {
            // Whether the standing is news, or what passes by itself has passed.
            Some(finding) if finding.standing != life.standing || finding.topic != Topic::Standing => Next::Note(finding),
            Some(_) | None if goal == Goal::Up => self.next_up(ctid),
            Some(_) | None => self.next_down(ctid),
        }
    }

    fn next_up(&mut self, ctid: Ctid) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        if life.may_exist() && life.may_go_down() {
            // Up now and down in a moment: what was begun comes to its end first.
            let init = life.init().cloned();
            return self.step(ctid, Step::DownStop, Action::Stop { init });
        }
        if let Some(by) = life.held() {
            return self.next_held(ctid, by);
        }
        match life.due() {
            Due::Nothing if self.is_wanted_by_a_clone(ctid) => match self.slots[&ctid].copies_live {
                Some(copies_live) => self.hold(ctid, if copies_live { HoldBy::Snapshot } else { HoldBy::Stop }),
                // It came to be done in this run: how it looked before says nothing.
                None => Next::Look,
            },
            Due::Nothing => Next::Rest,
            Due::Settle => Next::Settle,
            Due::Redeclare => Next::Redeclare,
            Due::Pass(state) => Next::Note(Finding { topic: Topic::Passed, state, standing: life.standing.clone() }),
            Due::Repair(step, leftover) => Next::Take(step.repair(), Action::Repair { leftover }, Reason::Interrupted),
            Due::Take(Step::DefineClone) => self.next_clone(ctid),
            Due::Take(Step::RunStart) if self.blocker(life).is_some() => Next::Rest,
            Due::Take(step) => match action(life, &step) {
                Some(action) => self.step(ctid, step, action),
                // What the step rests on is no longer there; the step that brings it is due again once that is noted.
                None => init_lost(life).map_or(Next::Over, Next::Note),
            },
        }
    }

    /// A source that is held: it stays so while a clone wants it, then it is released, whatever became of the clones. Nothing
    /// else is done to it meanwhile: one that went on running and whose init is gone is released first, goes up by its own
    /// steps, and is held again.
    fn next_held(&mut self, ctid: Ctid, by: HoldBy) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        let hold = life.record(&Step::CloneHold);
        for step in [Step::CloneHold, Step::CloneRelease] {
            if let Some(leftover) = life.record(&step).leftover {
                return Next::Take(step.repair(), Action::Repair { leftover }, Reason::Interrupted);
            }
        }
        let fallen = by == HoldBy::Snapshot && life.state() != State::Done;
        let stays = if fallen { self.is_being_copied(ctid) } else { self.is_wanted_by_a_clone(ctid) };
        match (stays, hold.done) {
            (true, false) if !fallen => self.hold(ctid, by),
            (true, _) => Next::Rest,
            (false, _) => self.step(ctid, Step::CloneRelease, Action::Release),
        }
    }

    fn hold(&self, ctid: Ctid, by: HoldBy) -> Next {
        let init = self.life(ctid).and_then(Life::init).cloned();
        self.step(ctid, Step::CloneHold, Action::Hold { init, by })
    }

    /// Whether a copy of it is under way, in doubt, or left in part.
    fn is_being_copied(&self, source: Ctid) -> bool {
        let clones = self.dependents.get(&source).into_iter().flatten().filter_map(|clone| self.slots.get(clone));
        clones.into_iter().any(|slot| {
            let Ok(life) = &slot.life else { return false };
            let copies = |intent: &Intent| intent.step.step == Step::DefineClone;
            let beginning = matches!(&slot.phase, Phase::Beginning(intent) if copies(intent));
            let begun = life.open().is_some_and(|(_, _, intent)| copies(intent)) || life.record(&Step::DefineClone).leftover.is_some();
            self.source_of(life) == Some(source) && (beginning || begun) && !matches!(slot.phase, Phase::Over)
        })
    }

    /// The clone for whose sake a held source stays down, if what became of the copy is not known yet.
    pub(super) fn held_for(&self, source: Ctid) -> Option<Ctid> {
        let is_in_doubt = |clone: Ctid| {
            let Some(life) = self.life(clone) else { return false };
            self.source_of(life) == Some(source) && life.open().is_some_and(|(_, _, intent)| intent.step.step == Step::DefineClone)
        };
        self.life(source).filter(|life| life.held().is_some())?;
        self.dependents.get(&source).into_iter().flatten().copied().find(|&clone| is_in_doubt(clone))
    }

    /// Whether a clone is still to be made of it. The one reason to hold a source and to keep it held: were there two, it could
    /// be held and released for ever.
    fn is_wanted_by_a_clone(&self, source: Ctid) -> bool {
        let clones = self.dependents.get(&source).into_iter().flatten();
        clones.filter_map(|clone| self.slots.get(clone)).any(|slot| {
            let Ok(life) = &slot.life else { return false };
            let in_doubt = life.open().is_some_and(|(_, _, intent)| intent.step.step == Step::DefineClone);
            let stopped = matches!(life.standing, Standing::Failed { .. } | Standing::Quarantined(_));
            let goes_on = !matches!(slot.phase, Phase::Over) && !stopped;
            self.source_of(life) == Some(source) && !life.record(&Step::DefineClone).done && (in_doubt || goes_on)
        })
    }

    /// A clone that is to be made: its source must be `Done`, then held, and copied to one clone at a time.
    fn next_clone(&mut self, ctid: Ctid) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        let Some(source) = self.source_of(life) else { return Next::Over };
        let Some(slot) = self.slots.get(&source) else { return Next::Over };
        let Ok(origin) = &slot.life else { return Next::Over };
        let incarnation = origin.incarnation();
        let held = origin.held().filter(|_| slot.is_at_rest() && origin.open().is_none() && origin.record(&Step::CloneHold).done);
        let done = origin.state() == State::Done && origin.standing == Standing::Active;
        let free = slot.cloning.is_none_or(|clone| clone == ctid);
        if self.is_source_unsettled(source, ctid) {
            return Next::Rest;
        }
        let held = held.or_else(|| phoenix_journal::sabotaged("sources_are_not_held").then_some(HoldBy::Stop));
        if let Some(by) = held.filter(|_| free) {
            self.slot(source).cloning = Some(ctid);
            return self.step(ctid, Step::DefineClone, Action::Clone { source, incarnation, from: by.copied() });
        }
        if done {
            self.wake(source);
        }
        Next::Rest
    }

    /// Whether another clone of `source` was cut off and may have left the source locked: it is settled and repaired first.
    fn is_source_unsettled(&self, source: Ctid, ctid: Ctid) -> bool {
        let others = self.dependents.get(&source).into_iter().flatten().filter(|&&other| other != ctid);
        others.filter_map(|other| self.slots.get(other)).any(|slot| {
            let Ok(life) = &slot.life else { return false };
            let in_doubt = matches!(slot.phase, Phase::Idle | Phase::Settling)
                && life.open().is_some_and(|(_, _, intent)| intent.step.step == Step::DefineClone);
            let cut_off = in_doubt || life.record(&Step::DefineClone).leftover.is_some();
            self.source_of(life) == Some(source) && cut_off && !matches!(slot.phase, Phase::Over)
        })
    }

    /// Lets the source of a clone look again: it may have waited for the copy to be put right.
    pub(super) fn wake_source(&mut self, ctid: Ctid) {
        if let Some(Origin::Clone { source }) = self.life(ctid).map(|life| life.spec.origin.clone()) {
            self.wake(source);
        }
    }

    /// Lets the clones that wait for a source look again.
    pub(super) fn wake_siblings(&mut self, ctid: Ctid) {
        let Some(Origin::Clone { source }) = self.life(ctid).map(|life| life.spec.origin.clone()) else { return };
        for sibling in self.dependents.get(&source).cloned().unwrap_or_default() {
            self.wake(sibling);
        }
    }

    fn next_down(&mut self, ctid: Ctid) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        if !life.may_exist() {
            return Next::Over;
        }
        // First of all: once the container is forgotten, nobody knows of what is left of it; what bears no mark yet only the
        // repair knows for ours; and what a snapshot left in part locks it. Where a stranger lies now, nothing is left to repair.
        let is_anothers = matches!(&life.standing, Standing::Quarantined(quarantine) if quarantine.reason == QuarantineReason::Foreign);
        for step in [Step::DownDestroy, Step::DefineCreate, Step::DefineClone, Step::CloneHold, Step::CloneRelease, Step::SnapshotTake] {
            if let Some(leftover) = life.record(&step).leftover.filter(|_| !is_anothers) {
                return Next::Take(step.repair(), Action::Repair { leftover }, Reason::Interrupted);
            }
        }
        match &life.standing {
            // Moved away, or taken away in part, by an attempt that failed after that: it has to come to its end.
            Standing::Quarantined(quarantine)
                if quarantine.reason == QuarantineReason::Gone && life.record(&Step::DownDestroy).past != Past::Untried =>
            {
                return self.step(ctid, Step::DownDestroy, Action::Destroy);
            }
            Standing::Quarantined(quarantine) if matches!(quarantine.reason, QuarantineReason::Gone | QuarantineReason::Foreign) => {
                let topic = Topic::Forgotten { seen: quarantine.evidence.clone() };
                return Next::Note(Finding { topic, state: State::Declared, standing: Standing::Active });
            }
            // Without proof that it is ours it is not destroyed.
            Standing::Quarantined(quarantine)
                if matches!(quarantine.reason, QuarantineReason::MarkMissing | QuarantineReason::JournalOlder) =>
            {
                return Next::Over;
            }
            Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } | Standing::Quarantined(_) => {}
        }
        let dependents = self.dependents.get(&ctid).into_iter().flatten().filter_map(|other| self.slots.get(other));
        let dependents_left = dependents.into_iter().any(|slot| {
            let Ok(other) = &slot.life else { return false };
            other.may_exist() && !matches!(slot.phase, Phase::Over)
        });
        if dependents_left {
            return Next::Rest;
        }
        if life.is_remark_asked() {
            return self.step(ctid, Step::DefineMark, Action::Mark);
        }
        let stopped = life.record(&Step::DownStop).done;
        if stopped {
            self.step(ctid, Step::DownDestroy, Action::Destroy)
        } else {
            let init = life.init().cloned();
            self.step(ctid, Step::DownStop, Action::Stop { init })
        }
    }

    /// The first container that keeps this one from its regular start.
    pub(super) fn blocker(&self, life: &Life) -> Option<Ctid> {
        let waits = !phoenix_journal::sabotaged("dependencies_are_not_waited_for");
        life.spec.depends_on.iter().copied().find(|&on| waits && !self.is_done(on))
    }

    fn is_done(&self, ctid: Ctid) -> bool {
        // `up` takes dependencies along, and `resume` leaves out what a person took down, in knowledge of who depends on it.
        let Some(slot) = self.slots.get(&ctid) else { return true };
        slot.is_at_rest()
            && slot.life.as_ref().is_ok_and(|life| {
                let up = life.held() != Some(HoldBy::Stop);
                life.state() == State::Done && life.standing == Standing::Active && life.open().is_none() && up
            })
    }

    fn step(&self, ctid: Ctid, step: Step, action: Action) -> Next {
        let Some(life) = self.life(ctid) else { return Next::Over };
        if step == Step::DefineMark && life.is_remark_asked() {
            // Whatever came of earlier attempts: it is a person's word that lets it be written again.
            return Next::Take(step.id(), action, Reason::Asked);
        }
        let reason = match life.record(&step).past {
            Past::Untried => Reason::First,
            Past::Failed(after) => Reason::Retry { after },
            Past::CutOff => Reason::Interrupted,
            Past::Lost => Reason::Lost,
            Past::Asked => Reason::Asked,
        };
        Next::Take(step.id(), action, reason)
    }

    fn take(&mut self, ctid: Ctid, step: StepId, action: Action, reason: Reason, now: &Now, out: &mut Outbox) {
        let token = self.orders.dice.token();
        let run = self.orders.run;
        let Some(life) = self.life(ctid) else { return };
        let record = life.record(&step.step);
        let attempt = if step.repair { record.repairs } else { record.intents } + 1;
        let deadline = now.moment.after(limits::timeout_of(&step, &action, &life.spec));
        let (incarnation, generation, state) = (life.incarnation(), life.generation, life.state());
        let intent = Intent { run, ctid, incarnation, generation, state, step, attempt, reason, deadline, token, action };
        let effect =
            Effect { intent: intent.clone(), spec: life.spec.clone(), mark: self.orders.mark(life), former: life.former().to_vec() };
        let shares = Share::of(&intent.action, life);
        self.shares.engage(ctid, shares);
        self.slot(ctid).phase = Phase::Beginning(Box::new(intent));
        self.in_flight += 1;
        out.put(Request::Begin(Box::new(effect)));
    }

    fn settle(&mut self, ctid: Ctid, out: &mut Outbox) {
        let Some(life) = self.life(ctid) else { return };
        let Some((seq, epoch, intent)) = life.open().cloned() else { return };
        let effect = Effect { intent, spec: life.spec.clone(), mark: self.orders.mark(life), former: life.former().to_vec() };
        self.slot(ctid).phase = Phase::Settling;
        self.in_flight += 1;
        out.put(Request::Settle(Box::new(Doubt { seq, epoch, effect })));
    }

    pub(super) fn note(&mut self, ctid: Ctid, finding: Finding, now: &Now, out: &mut Outbox) {
        let run = self.orders.run;
        let slot = self.slot(ctid);
        slot.phase = Phase::Recording;
        let Ok(life) = &slot.life else { return };
        let note = Note {
            run,
            ctid,
            incarnation: life.incarnation(),
            generation: life.generation,
            topic: finding.topic,
            state: finding.state,
            standing: finding.standing,
            at: now.wall,
        };
        self.pending += 1;
        out.put(Request::Record(Fact::Noted(Box::new(note))));
    }

    fn redeclare(&mut self, ctid: Ctid, now: &Now, out: &mut Outbox) {
        let incarnation = Incarnation::from_random(self.orders.dice.bytes());
        let run = self.orders.run;
        let slot = self.slot(ctid);
        slot.phase = Phase::Recording;
        let Ok(life) = &slot.life else { return };
        let declaration = Declaration {
            run,
            fleet: life.fleet.clone(),
            ctid,
            incarnation,
            generation: life.generation,
            spec: life.spec.clone(),
            template: life.template,
            repertoire: life.repertoire,
            state: State::Declared,
            standing: Standing::Active,
            at: now.wall,
        };
        self.pending += 1;
        out.put(Request::Record(Fact::Declared(Box::new(declaration))));
    }
}

/// What a step does, from the spec and from what earlier steps brought; `None` if what it rests on is missing.
pub(crate) fn action(life: &Life, step: &Step) -> Option<Action> {
    let idmap = || life.proofs().finalization().map(|finalization| finalization.idmap().clone());
    let init = || life.init().cloned();
    Some(match step {
        Step::TemplateFetch => Action::FetchTemplate,
        Step::DefineCreate => Action::Create { template: life.template },
        Step::DefineMark => Action::Mark,
        Step::ConfigureSet => Action::Configure,
        Step::FirewallSet => Action::SetFirewall,
        Step::SnapshotTake => Action::TakeSnapshot,
        Step::FinalizeStart => Action::Start { purpose: StartPurpose::Finalize, idmap: life.spec.idmap.clone(), sources: Vec::new() },
        Step::FinalizeIdmap => Action::ReadIdmap { init: init()? },
        Step::FinalizeStop | Step::DownStop => Action::Stop { init: init() },
        Step::VolumePrepare(name) => {
            let mount = life.spec.mounts.iter().find(|mount| mount.volume.name == *name)?;
            Action::Prepare { volume: mount.volume.clone(), idmap: idmap()? }
        }
        Step::VolumeAttach(target) => {
            let mount = life.spec.mounts.iter().find(|mount| mount.at == *target)?.clone();
            let source = life.sources().iter().find(|source| source.volume == mount.volume.name)?.clone();
            Action::Attach { mount, source, idmap: idmap()? }
        }
        Step::VolumeDetach(target) => Action::Detach { mount: life.spec.mounts.iter().find(|mount| mount.at == *target)?.clone() },
        Step::RunStart => Action::Start { purpose: StartPurpose::Run, idmap: idmap()?, sources: life.sources().to_vec() },
        Step::RunReady => Action::AwaitReady { init: init()? },
        Step::FeatureApply(_) | Step::ApplicationRun => Action::RunScript { init: init()? },
        Step::HealthCheck(_) => Action::AskHealth { init: init()? },
        Step::AutostartSet => Action::SetAutostart,
        Step::DownDestroy => Action::Destroy,
        Step::CloneRelease => Action::Release,
        // These need what only the engine knows: the source, and in which way it is held; see `next_clone` and `hold`.
        Step::DefineClone | Step::CloneHold => return None,
    })
}

fn is_drift(standing: &Standing) -> bool {
    matches!(standing, Standing::Quarantined(Quarantine { reason: QuarantineReason::Drift, .. }))
}

/// The note that the recorded init is gone; `None` if none was recorded.
fn init_lost(life: &Life) -> Option<Finding> {
    let recorded = life.init()?.clone();
    let state = if life.state() > State::Volumed { State::Volumed } else { life.state() };
    Some(Finding { topic: Topic::InitLost { recorded, found: None }, state, standing: life.standing.clone() })
}
