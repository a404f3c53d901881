//! A container's life: all that the journal says of it, folded into one value, and the step that is due.
//!
//! The one fold for history and for what is being recorded now: a resumed run knows exactly what an uninterrupted one would
//! know. Nothing is learned here that is not committed. Not here: scheduling, time, and what the host looks like.

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::{Digest, Epoch, Recorded, Seq};

use crate::ids::{BootId, Ctid, FleetName, Generation, Incarnation, RunId, State, Step, StepId, Wall};
use crate::manifest::Spec;
use crate::plan::{Action, HoldBy, Init, Intent, Repertoire, Source, steps_into};

use super::any::{AnyContainer, OutOfTurn, Proofs};
use super::evidence::Subject;
use super::line::{Decision, Declaration, Fact, Note, Topic};
use super::outcome::{Evidence, Failure, FailureClass, Outcome, Prepared, StepResult};
use super::standing::Standing;

/// All that the journal says of one container. Made by [`Life::declared`] from a declaration, carried on by
/// [`Life::learn`] with each fact that follows, in the order of the journal. A clone is what the same journal would tell
/// again; explorations of the engine begin many futures from one.
#[derive(Clone, Debug)]
pub struct Life {
    /// The fleet that it belongs to.
    pub fleet: FleetName,
    /// What it is to be.
    pub spec: Arc<Spec>,
    /// The number of that spec.
    pub generation: Generation,
    /// BLAKE3 of the template as it was when this spec was declared, where templates are files.
    pub template: Option<Digest>,
    /// Which steps its host had when this spec was declared.
    pub repertoire: Repertoire,
    /// The run that touched it last.
    pub run: RunId,
    /// Whether it goes on.
    pub standing: Standing,
    /// Since when state and standing are what they are.
    pub since: Wall,
    /// The last failure, whether or not it still matters.
    pub last_failure: Option<(StepId, Failure)>,
    container: AnyContainer,
    former: Vec<Incarnation>,
    proofs: Proofs,
    steps: BTreeMap<Step, Record>,
    sources: Vec<Source>,
    init: Option<Init>,
    open: Option<(Seq, Epoch, Intent)>,
    boot: Option<BootId>,
    held: Option<HoldBy>,
    remark: bool,
    ended: bool,
}

/// What became of one step so far, in this incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Intents of it, counted before acting.
    pub intents: u32,
    /// Intents of its repair.
    pub repairs: u32,
    /// Failures since the last new budget.
    pub failures: u32,
    /// Attempts since then that found something missing or held, or a script that could not be begun, which is no failure of the
    /// step.
    pub waits: u32,
    /// Attempts cut off by a crash since the last new budget; they have a limit of their own.
    pub cut_off: u32,
    /// Whether what it achieves holds.
    pub done: bool,
    /// What it left when it happened in part.
    pub leftover: Option<String>,
    /// Why the next attempt would not be the first.
    pub past: Past,
}

/// What the last attempt of a step came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Past {
    /// There was none.
    #[default]
    Untried,
    /// It failed, with this message.
    Failed(String),
    /// It was cut off.
    CutOff,
    /// It was a success that no longer holds.
    Lost,
    /// A person asked for another.
    Asked,
}

/// What is due for a container that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: it is `Done`.
    Nothing,
    /// An intent has no outcome: find out what became of it.
    Settle,
    /// Take this step.
    Take(Step),
    /// Put right what this step left, then take it again.
    Repair(Step, String),
    /// All steps of this state hold: note it.
    Pass(State),
    /// The incarnation is over: a new one has to be declared.
    Redeclare,
}

impl Life {
    /// The life that a declaration begins.
    pub fn declared(declaration: &Declaration) -> Self {
        let subject = Subject::new(declaration.ctid, declaration.incarnation);
        Self {
            fleet: declaration.fleet.clone(),
            spec: Arc::clone(&declaration.spec),
            generation: declaration.generation,
            template: declaration.template,
            repertoire: declaration.repertoire,
            run: declaration.run,
            standing: declaration.standing.clone(),
            since: declaration.at,
            last_failure: None,
            container: AnyContainer::declare(subject),
            former: Vec::new(),
            proofs: Proofs::default(),
            steps: BTreeMap::new(),
            sources: Vec::new(),
            init: None,
            open: None,
            boot: None,
            held: None,
            remark: false,
            ended: false,
        }
    }

    /// Takes in the next fact of this container. An error means that the journal says something that cannot be; the life is
    /// lost with it, because nothing can be built on it.
    pub fn learn(self, recorded: Recorded<Fact>) -> Result<Self, OutOfTurn> {
        let (seq, epoch) = (recorded.seq(), recorded.epoch());
        if self.ended && !matches!(recorded.get(), Fact::Declared(_)) {
            return Err(order(format!("entry {seq} speaks of a container that is over; only a new declaration can follow")));
        }
        match recorded.part::<Outcome>() {
            Ok(outcome) => self.learn_outcome(&outcome),
            Err(fact) => match fact.into_inner() {
                Fact::Declared(declaration) => self.learn_declaration(*declaration),
                Fact::Intended(intent, at) => self.begun(seq, epoch, *intent, at),
                Fact::Noted(note) => self.learn_note(*note),
                Fact::Outcome(_) => Err(order("an outcome is proof only as a recorded outcome".to_owned())),
                Fact::RunOpened(_) | Fact::RunClosed(_) => Err(order("a run's entry stands in a container's stream".to_owned())),
            },
        }
    }

    /// Takes in that an intent was recorded: as it was read back, or as it was just written.
    pub fn begun(mut self, seq: Seq, epoch: Epoch, intent: Intent, at: Wall) -> Result<Self, OutOfTurn> {
        if self.open.is_some() || intent.incarnation != self.incarnation() {
            return Err(order(format!("entry {seq} begins {} while another step is open or in another incarnation", intent.step)));
        }
        let record = self.steps.entry(intent.step.step.clone()).or_default();
        let count = if intent.step.repair { &mut record.repairs } else { &mut record.intents };
        *count = intent.attempt;
        if let Action::Hold { by, .. } = intent.action {
            self.held = Some(by);
        }
        self.run = intent.run;
        self.boot = Some(intent.deadline.boot.clone());
        self.open = Some((seq, epoch, intent));
        self.turn(Standing::Active, at, None);
        Ok(self)
    }

    /// The container's number.
    pub fn ctid(&self) -> Ctid {
        self.container.subject().ctid()
    }

    /// Which physical container.
    pub fn incarnation(&self) -> Incarnation {
        self.container.subject().incarnation()
    }

    /// The physical containers of this number that were declared before it, the oldest first.
    pub fn former(&self) -> &[Incarnation] {
        &self.former
    }

    /// Its state.
    pub fn state(&self) -> State {
        self.container.state()
    }

    /// The intent without outcome, with its place in the journal.
    pub fn open(&self) -> Option<&(Seq, Epoch, Intent)> {
        self.open.as_ref()
    }

    /// Whether it is held as a clone source, and in which way: from the intent of `clone.hold` to the outcome of
    /// `clone.release`. No other step of it is taken meanwhile.
    pub fn held(&self) -> Option<HoldBy> {
        self.held
    }

    /// Whether a person said that the mark is to be written again, and it has not been yet.
    pub fn is_remark_asked(&self) -> bool {
        self.remark
    }

    /// Whether the incarnation is over.
    pub fn is_ended(&self) -> bool {
        self.ended
    }

    /// Whether anything of this incarnation may lie on the host.
    pub fn may_exist(&self) -> bool {
        !self.ended
            && (self.state() != State::Declared || self.steps.keys().any(|step| matches!(step, Step::DefineCreate | Step::DefineClone)))
    }

    /// The init that was recorded and, as far as the journal knows, lives.
    pub fn init(&self) -> Option<&Init> {
        self.init.as_ref()
    }

    /// Whether something was begun in this boot. Its claims were compared with the host before that.
    pub fn was_worked_on_in(&self, boot: &BootId) -> bool {
        self.boot.as_ref() == Some(boot)
    }

    /// The evidence of this incarnation.
    pub fn proofs(&self) -> &Proofs {
        &self.proofs
    }

    /// The directories that were prepared.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// What became of a step so far.
    pub fn record(&self, step: &Step) -> Record {
        self.steps.get(step).cloned().unwrap_or_default()
    }

    /// All steps that were ever intended in this incarnation.
    pub fn records(&self) -> &BTreeMap<Step, Record> {
        &self.steps
    }

    /// What is due next on the way to `Done`, standing apart.
    pub fn due(&self) -> Due {
        if self.open.is_some() {
            return Due::Settle;
        }
        if self.ended {
            return Due::Redeclare;
        }
        if self.remark && self.state() != State::Declared {
            // Every other step asks for the mark first.
            return Due::Take(Step::DefineMark);
        }
        let Some(next) = self.state().next() else { return Due::Nothing };
        for step in steps_into(next, &self.spec, self.repertoire) {
            match self.steps.get(&step) {
                Some(Record { leftover: Some(leftover), .. }) => return Due::Repair(step, leftover.clone()),
                Some(Record { done: true, .. }) => {}
                None if phoenix_journal::sabotaged("unknown_steps_count_as_done") => {}
                Some(_) | None => return Due::Take(step),
            }
        }
        Due::Pass(next)
    }

    /// Whether the container was asked to shut down and may still do so: its stop on the way down was begun and did not come to
    /// its end.
    pub fn may_go_down(&self) -> bool {
        let stop = self.record(&Step::DownStop);
        !stop.done && matches!(stop.past, Past::CutOff | Past::Failed(_))
    }

    /// The state after `step` succeeds with this evidence: the next one if it was the last that was missing.
    pub fn after(&self, step: &StepId, evidence: &Evidence) -> State {
        if step.repair {
            return self.state();
        }
        match (evidence, self.state().next()) {
            (Evidence::Held { by: HoldBy::Stop }, _) => State::Volumed,
            (Evidence::Held { by: HoldBy::Snapshot } | Evidence::Released, _) => self.state(),
            (Evidence::Destroyed, _) => State::Declared,
            (Evidence::Stopped, _) if step.step == Step::DownStop => self.state().min(State::Volumed),
            (_, Some(next)) => {
                let mut missing = steps_into(next, &self.spec, self.repertoire).into_iter().filter(|wanted| !self.record(wanted).done);
                if missing.next().as_ref() == Some(&step.step) && missing.next().is_none() { next } else { self.state() }
            }
            (_, None) => self.state(),
        }
    }

    fn learn_declaration(mut self, declaration: Declaration) -> Result<Self, OutOfTurn> {
        if declaration.incarnation != self.incarnation() {
            if self.state() != State::Declared {
                return Err(order(format!("a new incarnation is declared while the old one is {}", self.state())));
            }
            let last_failure = self.last_failure.take();
            let ended = self.incarnation();
            self.former.push(ended);
            let former = self.former;
            let steps = if phoenix_journal::sabotaged("steps_are_inherited") { self.steps } else { BTreeMap::new() };
            return Ok(Self { last_failure, former, steps, ..Self::declared(&declaration) });
        }
        self.fleet = declaration.fleet;
        self.spec = declaration.spec;
        self.generation = declaration.generation;
        self.template = declaration.template;
        self.repertoire = declaration.repertoire;
        self.run = declaration.run;
        self.turn(declaration.standing, declaration.at, None);
        Ok(self)
    }

    fn learn_outcome(mut self, recorded: &Recorded<Outcome>) -> Result<Self, OutOfTurn> {
        let outcome = recorded.get();
        match self.open.take() {
            Some((seq, _, intent)) if seq == outcome.intent && intent.step == outcome.step => {}
            Some(_) | None => return Err(order(format!("entry {} closes an intent that is not open", recorded.seq()))),
        }
        if let StepResult::Done(evidence) = &outcome.result
            && !evidence.is_of(&outcome.step)
        {
            return Err(order(format!("entry {} shows for {} what another step brings", recorded.seq(), outcome.step)));
        }
        if let StepResult::Done(Evidence::Held { by }) = &outcome.result
            && self.held != Some(*by)
        {
            return Err(order(format!("entry {} shows a hold by {}, which is not the one that was begun", recorded.seq(), by.name())));
        }
        self.run = outcome.run;
        self.proofs.take(recorded);
        self.count(outcome);
        let entered = (outcome.state != self.state()).then_some(outcome.state);
        self.enter(entered)?;
        self.turn(outcome.standing.clone(), outcome.at, entered);
        Ok(self)
    }

    /// Books the result on the step.
    fn count(&mut self, outcome: &Outcome) {
        let step = outcome.step.step.clone();
        let repair = outcome.step.repair;
        let done = matches!(outcome.result, StepResult::Done(_));
        if step == Step::DownDestroy && !done {
            // It may have been started since it was stopped, by the host at boot for one.
            self.steps.entry(Step::DownStop).or_default().done = false;
        }
        let record = self.steps.entry(step.clone()).or_default();
        match &outcome.result {
            StepResult::Done(evidence) => {
                record.leftover = None;
                if repair {
                    record.past = Past::CutOff;
                } else {
                    record.done = true;
                    // Whatever it took this time: the next time, after a restart of the host say, begins with a whole budget.
                    (record.failures, record.waits, record.cut_off) = (0, 0, 0);
                    self.hold_true(evidence);
                    if step == Step::DownStop && !phoenix_journal::sabotaged("what_was_stopped_counts_as_up") {
                        self.lose_live();
                    }
                }
            }
            StepResult::Failed(_) if outcome.result.lost_init_in_crash(&outcome.step, outcome.recovered) => {
                record.cut_off += 1;
                record.past = Past::CutOff;
            }
            StepResult::Failed(failure) => {
                let waits = matches!(failure.class, FailureClass::Wait(_)) || failure.is_of_no_start(&outcome.step);
                let counts = u32::from(!phoenix_journal::sabotaged("failures_are_not_counted"));
                *(if waits { &mut record.waits } else { &mut record.failures }) += counts;
                record.past = Past::Failed(failure.message.clone());
                self.last_failure = Some((outcome.step.clone(), failure.clone()));
            }
            StepResult::Partial { leftover } => {
                record.cut_off += 1;
                record.past = Past::CutOff;
                record.leftover = Some(leftover.clone());
            }
            StepResult::Absent | StepResult::Interrupted => {
                record.cut_off += 1;
                record.past = Past::CutOff;
            }
            // The standing that comes with these says what happens; the step itself is where it was.
            StepResult::Foreign { .. } | StepResult::Gone | StepResult::Unknown { .. } => record.past = Past::CutOff,
        }
    }

    /// What a success means for the container as a whole.
    fn hold_true(&mut self, evidence: &Evidence) {
        match evidence {
            Evidence::Started { init, .. } => {
                self.init = Some(init.clone());
                self.steps.entry(Step::DownStop).or_default().done = false;
            }
            Evidence::Stopped => self.init = None,
            Evidence::Held { by: HoldBy::Stop } => self.lose_live(),
            Evidence::Released => {
                self.held = None;
                // Each hold is a step of its own: the next clone holds and releases again.
                for step in [Step::CloneHold, Step::CloneRelease] {
                    self.steps.entry(step).or_default().done = false;
                }
            }
            Evidence::Prepared(Prepared { source, .. }) => {
                self.sources.retain(|known| known.volume != source.volume);
                self.sources.push(source.clone());
            }
            Evidence::Destroyed => {
                self.ended = true;
                self.held = None;
                self.init = None;
            }
            Evidence::Marked => self.remark = false,
            // Its snapshot is what is copied; the container goes on.
            Evidence::Held { by: HoldBy::Snapshot }
            | Evidence::Fetched
            | Evidence::FirewallSet
            | Evidence::Snapshot { .. }
            | Evidence::Created { .. }
            | Evidence::Cloned { .. }
            | Evidence::Configured { .. }
            | Evidence::Idmap { .. }
            | Evidence::Attached(_)
            | Evidence::Detached
            | Evidence::Ready { .. }
            | Evidence::Ran { .. }
            | Evidence::Healthy { .. }
            | Evidence::AutostartSet { .. }
            | Evidence::Repaired => {}
        }
    }

    fn learn_note(mut self, note: Note) -> Result<Self, OutOfTurn> {
        self.run = note.run;
        match &note.topic {
            Topic::Passed | Topic::Standing => {}
            Topic::InitLost { .. } => self.lose_live(),
            Topic::FoundRunning { .. } => {
                let record = self.steps.entry(Step::CloneHold).or_default();
                (record.done, record.past) = (false, Past::Lost);
            }
            Topic::Decided(decision) => self.decide(decision),
            Topic::Forgotten { .. } => {
                self.ended = true;
                self.held = None;
                self.init = None;
                self.open = None;
            }
        }
        let entered = (note.state != self.state()).then_some(note.state);
        self.enter(entered)?;
        self.turn(note.standing, note.at, entered);
        Ok(self)
    }

    fn decide(&mut self, decision: &Decision) {
        match decision {
            Decision::NewBudget { step } => {
                let meant = |known: &Step| step.as_ref().is_none_or(|wanted| wanted.step == *known);
                for (_, record) in self.steps.iter_mut().filter(|(known, _)| meant(known)) {
                    (record.failures, record.waits, record.cut_off) = (0, 0, 0);
                }
            }
            Decision::Rerun { step } => {
                let record = self.steps.entry(step.step.clone()).or_default();
                *record = Record { failures: 0, waits: 0, cut_off: 0, past: Past::Asked, ..record.clone() };
            }
            // Recorded as an outcome of its own.
            Decision::Skip { .. } => {}
            Decision::Remark => {
                self.remark = true;
                let record = self.steps.entry(Step::DefineMark).or_default();
                *record = Record { failures: 0, waits: 0, cut_off: 0, done: false, ..record.clone() };
            }
        }
    }

    /// What rested on the living init is to be done again; what scripts achieved stays. Whoever was asked to shut down is gone.
    fn lose_live(&mut self) {
        self.steps.entry(Step::DownStop).or_default().past = Past::Untried;
        if phoenix_journal::sabotaged("lost_inits_are_believed") {
            return;
        }
        self.init = None;
        self.proofs.drop_live();
        for (step, record) in &mut self.steps {
            let again = phoenix_journal::sabotaged("scripts_run_again_after_a_restart") && step.is_script();
            if record.done && (again || step.is_volatile() || matches!(step, Step::HealthCheck(_))) {
                record.done = false;
                record.past = Past::Lost;
            }
        }
    }

    fn enter(&mut self, entered: Option<State>) -> Result<(), OutOfTurn> {
        let Some(state) = entered else { return Ok(()) };
        let subject = self.container.subject();
        let container = std::mem::replace(&mut self.container, AnyContainer::declare(subject));
        self.container = container.enter(state, &self.proofs, &self.spec, self.repertoire)?;
        if state == State::Declared {
            // Whatever it was called: what was shown of a container says nothing of the next one.
            self.proofs = Proofs::default();
            self.ended = true;
        }
        Ok(())
    }

    fn turn(&mut self, standing: Standing, at: Wall, entered: Option<State>) {
        if entered.is_some() || self.standing.name() != standing.name() {
            self.since = at;
        }
        self.standing = standing;
    }
}

fn order(what: String) -> OutOfTurn {
    OutOfTurn::Order { what }
}
