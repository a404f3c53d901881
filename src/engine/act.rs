//! What an event means for its container: bookkeeping, outcomes, standings.
//!
//! Not here: what is done next (`decide`).

use phoenix_journal::{Recorded, Seq};

use crate::ids::{Ctid, Moment, Now, State, Step, StepId};
use crate::machine::{
    Fact, Failure, FailureClass, Life, OutOfTurn, Outcome, Quarantine, QuarantineReason, Report, Standing, StepResult, Topic, Wait,
    WaitKind,
};
use crate::manifest::OnInterrupt;
use crate::plan::{Intent, Seen};

use super::reconcile::Finding;
use super::{Engine, Goal, Outbox, Phase, Request, Sight, limits};

impl Engine {
    pub(super) fn began(&mut self, ctid: Ctid, seq: Seq, now: &Now) {
        let epoch = self.orders.epoch;
        let slot = self.slot(ctid);
        slot.wait = None;
        slot.locked_since = None;
        if let Phase::Beginning(intent) = std::mem::replace(&mut slot.phase, Phase::Acting) {
            replace_life(&mut slot.life, |life| life.begun(seq, epoch, *intent, now.wall));
        }
    }

    /// A lock that is held is waited for; the intent was not recorded, so nothing is in doubt.
    pub(super) fn busy(&mut self, ctid: Ctid, wait: Wait, now: &Now, out: &mut Outbox) {
        self.in_flight -= 1;
        self.shares.disengage(ctid);
        self.hold_off(ctid, wait, now, out);
    }

    /// What was asked for will not come in this run, and nothing else is asked for that begins something.
    pub(super) fn not_begun(&mut self, ctid: Ctid) {
        self.interrupted = true;
        match std::mem::replace(&mut self.slot(ctid).phase, Phase::Idle) {
            Phase::Beginning(_) => {
                self.in_flight -= 1;
                self.shares.disengage(ctid);
            }
            Phase::Looking | Phase::Recording => self.pending -= 1,
            // Nothing was asked for that could not be begun.
            other @ (Phase::Idle | Phase::Resting | Phase::Acting | Phase::Settling | Phase::Pausing | Phase::Over) => {
                self.slot(ctid).phase = other;
            }
        }
    }

    /// Tries again when a moment has passed, or leaves it for this run when many have.
    fn hold_off(&mut self, ctid: Ctid, wait: Wait, now: &Now, out: &mut Outbox) {
        let slot = self.slot(ctid);
        let since = slot.locked_since.get_or_insert_with(|| now.moment.clone());
        let given_up = since.after(limits::LOCK_WAIT_MAX).remaining(&now.moment).is_none_or(|left| left.is_zero());
        let since = slot.wait.as_ref().map_or(now.wall, |wait| wait.since);
        let wait = Wait { since, ..wait };
        slot.wait = Some(wait.clone());
        slot.phase = Phase::Idle;
        if given_up {
            let waiting = |life: &Life| Finding { topic: Topic::Standing, state: life.state(), standing: Standing::Waiting(wait) };
            let finding = slot.life.as_ref().ok().map(waiting);
            if let Some(finding) = finding {
                self.note(ctid, finding, now, out);
            }
            return;
        }
        let wait = self.orders.dice.jitter(limits::LOCK_RETRY);
        self.pause(ctid, now.moment.after(wait), out);
    }

    pub(super) fn finished(&mut self, ctid: Ctid, report: Report, now: &Now, out: &mut Outbox) {
        self.in_flight -= 1;
        if matches!(report.result, StepResult::Unknown { .. }) {
            // The shim was killed and this process was not: the step is as much in doubt as after a crash, and its children
            // may still be at work.
            self.slot(ctid).phase = Phase::Idle;
            self.agenda.insert(ctid);
            return;
        }
        self.conclude(ctid, report, false, now, out);
    }

    pub(super) fn settled(&mut self, ctid: Ctid, report: Report, seen: Option<Box<Seen>>, now: &Now, out: &mut Outbox) {
        self.in_flight -= 1;
        if let StepResult::Failed(Failure { class: FailureClass::Wait(wait @ Wait { kind: WaitKind::Lock, .. }), .. }) = report.result {
            // It could not even be looked at: it stays in doubt. Its result may lie there already.
            self.hold_off(ctid, wait, now, out);
            return;
        }
        let slot = self.slot(ctid);
        slot.wait = None;
        slot.locked_since = None;
        slot.sight = Some(Sight { seen });
        if matches!(report.result, StepResult::Unknown { .. }) && slot.unknowns + 1 < limits::UNKNOWNS_MAX {
            slot.unknowns += 1;
            let wait = limits::backoff(slot.unknowns);
            let wait = self.orders.dice.jitter(wait);
            self.pause(ctid, now.moment.after(wait), out);
            return;
        }
        slot.unknowns = 0;
        let blind = phoenix_journal::sabotaged("doubts_are_not_looked_at");
        let report = if blind { Report::bare(StepResult::Absent) } else { report };
        self.conclude(ctid, report, true, now, out);
    }

    pub(super) fn looked(&mut self, ctid: Ctid, seen: Option<Box<Seen>>) {
        self.pending -= 1;
        let slot = self.slot(ctid);
        slot.sight = Some(Sight { seen });
        slot.phase = Phase::Idle;
        self.agenda.insert(ctid);
    }

    pub(super) fn recorded(&mut self, fact: Recorded<Fact>, now: &Now, out: &mut Outbox) {
        let goal = self.orders.goal;
        let (ctid, stops, cloned) = match fact.get() {
            Fact::Outcome(outcome) => (outcome.ctid, stops(&outcome.standing, goal), outcome.step.step == Step::DefineClone),
            Fact::Noted(note) => (note.ctid, stops(&note.standing, goal), false),
            Fact::Declared(declaration) => (declaration.ctid, false, false),
            Fact::Intended(intent, _) => (intent.ctid, false, false),
            Fact::RunOpened(_) | Fact::RunClosed(_) => return,
        };
        self.pending -= 1;
        let slot = self.slot(ctid);
        slot.copies_live = None;
        replace_life(&mut slot.life, |life| life.learn(fact));
        let pause = slot.pause.take();
        // One that waits for a lock says so while it does, and goes on by itself.
        let stops = stops && pause.is_none();
        if let Some(wait) = pause {
            self.pause(ctid, now.moment.after(wait), out);
        } else {
            slot.phase = Phase::Idle;
            self.agenda.insert(ctid);
        }
        if stops {
            self.agenda.remove(&ctid);
            self.over(ctid);
            return;
        }
        if cloned && self.slots[&ctid].life.as_ref().is_ok_and(|life| life.record(&Step::DefineClone).done) {
            self.leave_source(ctid);
        }
        if cloned {
            self.wake_siblings(ctid);
            self.wake_source(ctid);
        }
        self.wake_dependents(ctid);
    }

    pub(super) fn woke(&mut self, ctid: Ctid) {
        self.pending -= 1;
        let slot = self.slot(ctid);
        if matches!(slot.phase, Phase::Pausing) {
            slot.phase = Phase::Idle;
            self.agenda.insert(ctid);
        }
    }

    fn pause(&mut self, ctid: Ctid, at: Moment, out: &mut Outbox) {
        self.slot(ctid).phase = Phase::Pausing;
        self.pending += 1;
        out.put(Request::Wake { ctid, at });
    }

    /// Has the outcome of the open intent recorded.
    fn conclude(&mut self, ctid: Ctid, report: Report, recovered: bool, now: &Now, out: &mut Outbox) {
        let run = self.orders.run;
        self.shares.disengage(ctid);
        let slot = self.slot(ctid);
        slot.phase = Phase::Recording;
        let Ok(life) = &slot.life else { return };
        let Some((seq, _, intent)) = life.open() else { return };
        let verdict = judge(life, intent, &report.result, recovered);
        let mut outcome = Outcome::of(intent, *seq, report.result, now.wall);
        outcome.run = run;
        outcome.recovered = recovered;
        outcome.output = report.output;
        outcome.state = verdict.state.unwrap_or(intent.state);
        outcome.standing = verdict.standing;
        slot.init_lost |= verdict.init_lost;
        self.pending += 1;
        out.put(Request::Record(Fact::Outcome(Box::new(outcome))));
        let wait = verdict.pause.map(|wait| self.orders.dice.jitter(wait));
        self.slot(ctid).pause = wait;
    }
}

/// What a result means for its container.
struct Judgement {
    state: Option<State>,
    standing: Standing,
    pause: Option<std::time::Duration>,
    init_lost: bool,
}

impl Judgement {
    fn goes_on() -> Self {
        Self { state: None, standing: Standing::Active, pause: None, init_lost: false }
    }

    fn stops(standing: Standing) -> Self {
        Self { standing, ..Self::goes_on() }
    }

    fn quarantined(reason: QuarantineReason, evidence: String) -> Self {
        Self::stops(Standing::Quarantined(Quarantine { reason, evidence }))
    }
}

fn judge(life: &Life, intent: &Intent, result: &StepResult, recovered: bool) -> Judgement {
    match result {
        StepResult::Done(evidence) => Judgement { state: Some(life.after(&intent.step, evidence)), ..Judgement::goes_on() },
        StepResult::Failed(_) if result.lost_init_in_crash(&intent.step, recovered) => {
            Judgement { init_lost: true, ..judge_cut_off(life, intent) }
        }
        StepResult::Failed(failure) => judge_failure(life, &intent.step, failure),
        StepResult::Absent => judge_cut_off(life, intent),
        StepResult::Partial { leftover } if intent.step.repair => {
            Judgement::quarantined(QuarantineReason::Budget, format!("the repair left: {leftover}"))
        }
        StepResult::Partial { .. } => judge_cut_off(life, intent),
        StepResult::Foreign { owner } => Judgement::quarantined(QuarantineReason::Foreign, owner.clone()),
        StepResult::Gone => Judgement::quarantined(QuarantineReason::Gone, format!("container {} does not exist on the host", intent.ctid)),
        StepResult::Unknown { why } => {
            Judgement::quarantined(QuarantineReason::Budget, format!("it could not be found out what became of {}: {why}", intent.step))
        }
        StepResult::Interrupted => {
            let ask = limits::script(&intent.step.step, &life.spec).is_some_and(|script| script.on_interrupt == OnInterrupt::Ask);
            if ask {
                let evidence = format!("{} was started (attempt {}) and left no result", intent.step, intent.attempt);
                Judgement::quarantined(QuarantineReason::Interrupted, evidence)
            } else {
                judge_cut_off(life, intent)
            }
        }
    }
}

fn judge_cut_off(life: &Life, intent: &Intent) -> Judgement {
    let cut_off = life.record(&intent.step.step).cut_off + 1;
    if cut_off < limits::CUT_OFFS_MAX || phoenix_journal::sabotaged("cut_off_attempts_are_not_counted") {
        return Judgement::goes_on();
    }
    Judgement::quarantined(QuarantineReason::Budget, format!("{} was cut off {cut_off} times", intent.step))
}

fn judge_failure(life: &Life, step: &StepId, failure: &Failure) -> Judgement {
    let record = life.record(&step.step);
    let (failures, waits) = (record.failures + 1, record.waits + 1);
    let failed = || Judgement::stops(Standing::Failed { step: step.clone(), failure: Box::new(failure.clone()) });
    let (times, times_max) = if failure.is_of_no_start(step) {
        (waits, limits::FAILURES_MAX)
    } else {
        (failures, limits::failures_max(step, &failure.class, &life.spec))
    };
    let exhausted = times >= times_max;
    match &failure.class {
        FailureClass::Drift { claim, found } => Judgement::quarantined(QuarantineReason::Drift, format!("claim: {claim}; found: {found}")),
        FailureClass::Wait(wait @ Wait { kind: WaitKind::Lock, .. }) if waits < limits::LOCK_WAITS_MAX => {
            // Said while it lasts, so that a status names who holds it.
            Judgement { pause: Some(limits::backoff(waits)), ..Judgement::stops(Standing::Waiting(wait.clone())) }
        }
        FailureClass::Wait(wait) => Judgement::stops(Standing::Waiting(wait.clone())),
        FailureClass::MarkMissing => Judgement::quarantined(QuarantineReason::MarkMissing, failure.message.clone()),
        FailureClass::Undead => Judgement::quarantined(QuarantineReason::Undead, failure.message.clone()),
        FailureClass::JournalOlder => Judgement::quarantined(QuarantineReason::JournalOlder, failure.message.clone()),
        FailureClass::InitLost if !exhausted => Judgement { init_lost: true, ..Judgement::goes_on() },
        FailureClass::Transient | FailureClass::Timeout | FailureClass::Permanent if !exhausted => {
            Judgement { pause: Some(limits::backoff(times)), ..Judgement::goes_on() }
        }
        FailureClass::InitLost | FailureClass::Transient | FailureClass::Timeout | FailureClass::Permanent => failed(),
    }
}

/// Whether a standing that was recorded in this run ends the container's part in it.
fn stops(standing: &Standing, goal: Goal) -> bool {
    match (standing, goal) {
        (Standing::Active, _) => false,
        // What is not there, or not ours, is forgotten rather than destroyed.
        (Standing::Quarantined(Quarantine { reason: QuarantineReason::Gone | QuarantineReason::Foreign, .. }), Goal::Down) => false,
        (Standing::Waiting(_) | Standing::Failed { .. } | Standing::Quarantined(_), Goal::Up | Goal::Down) => true,
    }
}

fn replace_life(place: &mut Result<Life, OutOfTurn>, next: impl FnOnce(Life) -> Result<Life, OutOfTurn>) {
    let taken = std::mem::replace(place, Err(OutOfTurn::Order { what: "the container's account is being written".to_owned() }));
    *place = taken.and_then(next);
}
