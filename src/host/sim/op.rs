//! One operation under way: when its next piece is due, what strikes it, and how it ends.
//!
//! Apart from what the pieces do (`act`): here is the machinery all operations share, deadlines and faults included.

use std::sync::Arc;

use crate::ids::{Ctid, Wall};
use crate::machine::{Failure, FailureClass, Report, StepResult};
use crate::plan::{Action, Effect, HoldBy, SNAPSHOT_FOR_CLONES};

use super::damage::{Damage, ScriptEnd};
use super::dice::step_key;
use super::faults::{Due, What};
use super::pieces::{Act, Carrier, Piece, carrier_of, changes_host, duration_ms, pieces_of};
use super::world::{End, OpId, Progress, World};

/// An operation under way.
#[derive(Clone, Debug)]
pub(super) struct Op {
    pub(super) effect: Arc<Effect>,
    pieces: &'static [Piece],
    /// How many pieces are done.
    pub(super) done: u8,
    pub(super) due_ms: u64,
    pub(super) deadline_ms: u64,
    pub(super) carrier: Carrier,
    /// Phoenix is gone; nobody will be told how this ends.
    pub(super) orphan: bool,
    stuck: Stuck,
    fault: Option<Due>,
    pub(super) exit: Option<(u8, String)>,
    pub(super) never_ready: bool,
    /// The gate was passed: what belongs to the operation is under way.
    let_in: bool,
    pub(super) started: Wall,
}

/// Whether an operation goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stuck {
    No,
    /// Until its deadline; then it is ended.
    Hangs,
    /// For ever: it cannot be ended.
    Undead,
}

impl Op {
    pub(super) fn pieces(&self) -> u8 {
        u8::try_from(self.pieces.len()).unwrap_or(u8::MAX)
    }

    /// Whether a container's lock is held for this.
    pub(super) fn touches(&self, ctid: Ctid) -> bool {
        let intent = &self.effect.intent;
        intent.ctid == ctid || matches!(&intent.action, Action::Clone { source, .. } if *source == ctid)
    }

    pub(super) fn is_undead(&self) -> bool {
        self.stuck == Stuck::Undead
    }

    /// What a death of Phoenix alone makes of this: `false` if it ends.
    pub(super) fn outlives_phoenix(&self) -> bool {
        match self.carrier {
            Carrier::Phoenix => false,
            Carrier::Shim | Carrier::Nobody => true,
        }
    }

    /// The shim is gone as well: whatever comes of this leaves no result.
    pub(super) fn lose_shim(&mut self) {
        self.carrier = match self.carrier {
            Carrier::Phoenix => Carrier::Phoenix,
            Carrier::Shim | Carrier::Nobody => Carrier::Nobody,
        };
    }

    fn act(&self) -> Option<Act> {
        self.pieces.get(usize::from(self.done)).map(|piece| piece.act)
    }

    /// Whether a script has been started by this and has not come to its end.
    pub(super) fn runs_script(&self) -> bool {
        matches!(self.effect.intent.action, Action::RunScript { .. }) && self.let_in && self.done > 0
    }
}

impl World {
    /// Carries out the next piece of an operation and moves the clock to when that is done.
    ///
    /// An operation that is not there (any more: a crash ended it) is reported as [`StepResult::Unknown`].
    pub fn advance(&mut self, op: OpId) -> Progress {
        let Some(due_ms) = self.ops.get(&op).map(|op| op.due_ms) else {
            return Progress::Finished(Report::bare(StepResult::Unknown { why: "the simulator knows no such operation".to_owned() }));
        };
        self.run_orphans(due_ms);
        self.step(op)
    }

    /// Lets what goes on without Phoenix go on until `end_ms`.
    pub(super) fn run_orphans(&mut self, end_ms: u64) {
        let next = |world: &Self| {
            let due = world
                .ops
                .iter()
                .filter(|(_, op)| op.orphan && op.due_ms <= end_ms && op.due_ms < u64::MAX)
                .map(|(id, op)| (op.due_ms, *id));
            due.min().map(|(_, id)| id)
        };
        while let Some(id) = next(self) {
            self.step(id);
        }
    }

    pub(super) fn plan_op(&mut self, effect: Arc<Effect>) -> Op {
        let ctid = effect.intent.ctid;
        let live = self.guest(ctid).is_some_and(|guest| guest.snapshots.contains_key(SNAPSHOT_FOR_CLONES));
        let pieces = pieces_of(&effect.intent, live);
        let fault = self.options.faults.choose(&effect, u8::try_from(pieces.len()).unwrap_or(u8::MAX), self.dice);
        let deadline = &effect.intent.deadline;
        let in_this_boot = deadline.boot == *self.clock.boot;
        let deadline_ms = if in_this_boot { self.clock.booted_ms + deadline.boottime_ms } else { self.clock.elapsed_ms };
        self.slot_mut(ctid).left = None;
        let carrier = carrier_of(&effect.intent.action, live);
        let mut op = Op {
            effect,
            pieces,
            done: 0,
            due_ms: 0,
            deadline_ms: deadline_ms.max(self.clock.elapsed_ms),
            carrier,
            orphan: false,
            stuck: Stuck::No,
            fault,
            exit: None,
            never_ready: false,
            let_in: false,
            started: self.wall(),
        };
        self.schedule(&mut op);
        op
    }

    pub(super) fn note_overlap(&mut self, effect: &Effect) {
        let intent = &effect.intent;
        if !changes_host(&intent.action) {
            return;
        }
        let clash = |op: &Op| {
            let there = &op.effect.intent;
            let shared = effect.locks().into_iter().find(|ctid| op.touches(*ctid))?;
            changes_host(&there.action).then(|| Damage::TwoMutators {
                ctid: shared,
                first: there.step.clone(),
                second: intent.step.clone(),
            })
        };
        if let Some(damage) = self.ops.values().find_map(clash) {
            self.note_damage(damage);
        }
    }

    /// What becomes of an operation that is killed where it is.
    pub(super) fn kill(&mut self, op: &Op) {
        if op.runs_script() {
            self.script_ended(&op.effect, ScriptEnd::Cut);
        }
    }

    fn step(&mut self, id: OpId) -> Progress {
        let Some(mut op) = self.ops.remove(&id) else {
            return Progress::More;
        };
        self.clock.elapsed_ms = self.clock.elapsed_ms.max(op.due_ms);
        let Some(report) = self.step_op(&mut op) else {
            self.ops.insert(id, op);
            return Progress::More;
        };
        if op.is_undead() {
            op.due_ms = u64::MAX;
            op.orphan = true;
            self.ops.insert(id, op);
        }
        Progress::Finished(report)
    }

    /// One piece, or what keeps it from being done; a report once the operation is over.
    fn step_op(&mut self, op: &mut Op) -> Option<Report> {
        match op.stuck {
            Stuck::No => {}
            Stuck::Hangs => return Some(self.time_out(op)),
            Stuck::Undead => return Some(failed(FailureClass::Undead, "processes of the step cannot be ended")),
        }
        if let Some(report) = self.strike(op, op.done) {
            return Some(report);
        }
        if op.stuck != Stuck::No {
            return None;
        }
        if op.done == 0 && !op.let_in {
            if let Some(result) = self.gate(&op.effect) {
                // An attempt before may have changed all there is to change, and failed before it was durable.
                if matches!(result, StepResult::Done(_)) {
                    self.sync(&op.effect);
                }
                self.note_held(&op.effect, &result);
                return Some(Report::bare(result));
            }
            op.let_in = true;
            if op.carrier != Carrier::Phoenix {
                let slot = self.slot_mut(op.effect.intent.ctid);
                slot.epoch = slot.epoch.max(op.effect.mark.epoch);
            }
        }
        if let Some(act) = op.act()
            && let Err(result) = self.act(op, act)
        {
            self.kill(op);
            return Some(Report::bare(*result));
        }
        op.done += 1;
        if op.done < op.pieces() {
            self.schedule(op);
            return None;
        }
        self.end(op)
    }

    /// All pieces are done.
    fn end(&mut self, op: &mut Op) -> Option<Report> {
        let dies_later = matches!(&op.fault, Some((_, What::InitDies)));
        if !dies_later && let Some(report) = self.strike(op, op.pieces()) {
            return Some(report);
        }
        if op.stuck != Stuck::No {
            return None;
        }
        let report = match op.effect.intent.action {
            Action::RunScript { .. } | Action::AskHealth { .. } => self.child_ended(op, End::Exit(0)),
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::SetAutostart
            | Action::Destroy
            | Action::Repair { .. } => Report::bare(self.look(&op.effect)),
        };
        self.note_held(&op.effect, &report.result);
        if dies_later {
            self.slot_mut(op.effect.intent.ctid).up = None;
        }
        Some(report)
    }

    /// Sets when the next piece is due: after its own time, or at the deadline if it will not be done before.
    fn schedule(&mut self, op: &mut Op) {
        let intent = &op.effect.intent;
        let mut due_ms = self.clock.elapsed_ms + duration_ms(intent, op.pieces, op.done, self.dice);
        match op.act() {
            Some(Act::Await) => due_ms = due_ms.max(self.slot(intent.ctid).and_then(|slot| slot.up).map_or(0, |up| up.ready_ms)),
            Some(Act::Halt) if self.stop_hangs(&op.effect) => due_ms = u64::MAX,
            Some(Act::Exec | Act::Ask | Act::WriteHalf | Act::WriteRest)
                if self.slot(intent.ctid).and_then(|slot| slot.up).is_some_and(|up| up.frozen) =>
            {
                due_ms = u64::MAX;
            }
            Some(
                Act::FetchHalf
                | Act::FetchRest
                | Act::WriteFirewall
                | Act::PrepareSnapshot
                | Act::KeepSnapshot
                | Act::UnmakeSnapshot
                | Act::DropSnapshot
                | Act::Claim
                | Act::Fill
                | Act::Complete
                | Act::LockSource
                | Act::WriteMark
                | Act::Signal
                | Act::Halt
                | Act::LetGo
                | Act::WriteSettings
                | Act::Spawn
                | Act::Confirm
                | Act::ReadMap
                | Act::MakeDirectory
                | Act::GiveOwner
                | Act::GiveMode
                | Act::WriteMount
                | Act::DropMount
                | Act::Exec
                | Act::WriteHalf
                | Act::WriteRest
                | Act::Reap
                | Act::Ask
                | Act::WriteAutostart
                | Act::MoveAway
                | Act::Delete
                | Act::ClearLeftover
                | Act::Sync,
            )
            | None => {}
        }
        if due_ms > op.deadline_ms {
            op.stuck = Stuck::Hangs;
            due_ms = op.deadline_ms;
        }
        op.due_ms = due_ms;
    }

    fn stop_hangs(&self, effect: &Effect) -> bool {
        let intent = &effect.intent;
        let behaviour = self.options.behaviour;
        let orderly = match &intent.action {
            Action::Stop { .. } => intent.step.step.base() != "finalize.stop" || behaviour.finalize_stops_orderly,
            Action::Hold { by, .. } => *by == HoldBy::Stop,
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Release
            | Action::Configure
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart
            | Action::Destroy
            | Action::Repair { .. } => false,
        };
        let Some(up) = self.slot(intent.ctid).and_then(|slot| slot.up) else { return false };
        let keys = [u64::from(intent.ctid.get()), step_key(&intent.step.step), u64::from(intent.attempt), HANG_KEY];
        let deaf = up.ready_ms > self.clock.elapsed_ms && self.dice.happens(&keys, behaviour.stop_hangs_percent);
        orderly && (up.frozen || deaf)
    }

    /// The chosen fault, if its place has come.
    fn strike(&mut self, op: &mut Op, place: u8) -> Option<Report> {
        let (_, what) = op.fault.take_if(|(at, _)| *at == place)?;
        let ctid = op.effect.intent.ctid;
        match what {
            What::Transient => Some(self.fail(op, FailureClass::Transient, "the simulator was told to fail here")),
            What::Permanent => Some(self.fail(op, FailureClass::Permanent, "the simulator was told to fail here, each time")),
            What::DiskFull => Some(self.fail(op, FailureClass::Transient, "no space left on device; free some and try again")),
            What::Hang | What::Undead => {
                op.stuck = if matches!(what, What::Undead) { Stuck::Undead } else { Stuck::Hangs };
                op.due_ms = op.deadline_ms;
                None
            }
            What::InitDies => {
                self.slot_mut(ctid).up = None;
                None
            }
            What::NeverReady => {
                op.never_ready = true;
                if let Some(up) = &mut self.slot_mut(ctid).up {
                    up.ready_ms = u64::MAX;
                }
                None
            }
            What::Exit { status, output } => {
                op.exit = Some((status, output));
                Some(self.child_ended(op, End::Exit(status)))
            }
            What::Tamper(tamper) => {
                self.tamper(&tamper);
                None
            }
        }
    }

    fn fail(&mut self, op: &Op, class: FailureClass, message: &str) -> Report {
        self.kill(op);
        // One that was begun ends as a script does; before that there is no script whose status could be told.
        let status = op.runs_script().then(|| "exit 1".to_owned());
        let failed = || Report::bare(StepResult::Failed(Failure { status, ..Failure::new(class, message) }));
        self.half_destroyed(&op.effect).unwrap_or_else(failed)
    }

    /// What a destruction that breaks off reports, if something of the container is gone.
    fn half_destroyed(&self, effect: &Effect) -> Option<Report> {
        let is_destroy = matches!(effect.intent.action, Action::Destroy);
        let found = is_destroy.then(|| self.look(effect)).filter(|found| matches!(found, StepResult::Partial { .. }))?;
        Some(Report::bare(found))
    }

    /// The deadline has come: what belongs to the operation is ended, a frozen container thawed first.
    fn time_out(&mut self, op: &mut Op) -> Report {
        if let Some(up) = &mut self.slot_mut(op.effect.intent.ctid).up {
            up.frozen = false;
        }
        let is_child = matches!(op.effect.intent.action, Action::RunScript { .. } | Action::AskHealth { .. });
        if is_child && op.let_in {
            return self.child_ended(op, End::Timeout);
        }
        self.half_destroyed(&op.effect)
            .unwrap_or_else(|| failed(FailureClass::Timeout, "it was not done before its deadline, and was ended"))
    }
}

pub(super) fn failed(class: FailureClass, message: impl Into<String>) -> Report {
    Report::bare(StepResult::Failed(Failure::new(class, message)))
}

/// Sets the throw for a stop that hangs apart from the one for its duration.
const HANG_KEY: u64 = 0x6861_6e67;
