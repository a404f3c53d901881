//! A small orchestrator for tests of the simulator: no journal, no engine, just steps in order and the table of verdicts.
//!
//! It stands in for what will be proved with the real engine: whatever a crash leaves, the described answer to each verdict
//! leads to the world of a run without a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenix::host::sim::{Progress, Survivors, World};
use phoenix::ids::{Ctid, Generation, Incarnation, RunId, State, Step, StepId, Token};
use phoenix::machine::{Evidence, FailureClass, Report, StepResult};
use phoenix::manifest::{EnvValue, Feature, Origin, Script, Spec};
use phoenix::plan::{Action, Effect, Init, Intent, Mark, Reason, Repertoire, steps_into};
use phoenix_journal::{Epoch, JournalId};

use super::fleets;
pub(crate) use super::fleets::{cloned, ctid, mounted};
use super::learned::Learned;

pub(crate) fn journal() -> JournalId {
    "0123456789abcdef0123456789abcdef".parse().expect("32 hex digits")
}

/// With a secret, which the engine's own fleets do not need.
pub(crate) fn script(name: &str) -> Script {
    let env = BTreeMap::from([("PGPASSWORD".to_owned(), EnvValue::SecretFile("/root/pg".into()))]);
    Script { env, ..fleets::script(name) }
}

pub(crate) fn spec(number: u32) -> Spec {
    Spec { features: vec![Feature { name: "base".parse().expect("a name"), script: script("base") }], ..fleets::spec(number) }
}

/// A source, a clone of it with a volume and an application, and a third that shares the volume.
pub(crate) fn fleet() -> Vec<Spec> {
    let mut clone = cloned(mounted(spec(101), "media"), 100);
    clone.application = Some(script("app"));
    vec![spec(100), clone, mounted(spec(102), "media")]
}

/// Where and how a run is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// The how-many-th operation, from 0.
    pub(crate) op: usize,
    /// After so many of its pieces.
    pub(crate) pieces: u8,
    pub(crate) crash: Crash,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    Process(Survivors),
    Host,
}

pub(crate) const CRASHES: [Crash; 4] =
    [Crash::Process(Survivors::Shims), Crash::Process(Survivors::Children), Crash::Process(Survivors::Nobody), Crash::Host];

#[derive(Clone, Debug)]
pub(crate) struct Rig {
    pub(crate) world: World,
    pub(crate) specs: BTreeMap<Ctid, Arc<Spec>>,
    pub(crate) verdicts: BTreeSet<&'static str>,
    pub(crate) ops: usize,
    /// Pieces of each operation, as they were begun.
    pub(crate) lengths: Vec<u8>,
    pub(crate) cuts: Vec<Cut>,
    done: BTreeSet<(Ctid, Step)>,
    attempts: BTreeMap<(Ctid, StepId), u32>,
    past: BTreeMap<(Ctid, Step), Reason>,
    learned: Learned,
    tokens: u128,
}

/// The run was cut.
struct Crashed;

fn is_of_clone(step: &Step) -> bool {
    matches!(step, Step::CloneHold | Step::DefineClone | Step::CloneRelease)
}

impl Rig {
    pub(crate) fn new(world: World, specs: Vec<Spec>) -> Self {
        Self {
            world,
            specs: specs.into_iter().map(|spec| (spec.ctid, Arc::new(spec))).collect(),
            verdicts: BTreeSet::new(),
            ops: 0,
            lengths: Vec::new(),
            cuts: Vec::new(),
            done: BTreeSet::new(),
            attempts: BTreeMap::new(),
            past: BTreeMap::new(),
            learned: Learned::default(),
            tokens: 0,
        }
    }

    /// Brings every container up, one after the other, through all the cuts.
    pub(crate) fn up(&mut self) {
        for _ in 0..1000 {
            match self.next() {
                None => return,
                Some((ctid, step)) => self.take(ctid, step),
            }
        }
        panic!("the run does not come to an end: {:?}", self.next());
    }

    /// The first step that does not hold; a fall-back edge is taken where an init is gone.
    fn next(&mut self) -> Option<(Ctid, Step)> {
        let ctids: Vec<Ctid> = self.specs.keys().copied().collect();
        for ctid in ctids {
            if self.learned.init(ctid).is_some_and(|init| self.seen_init(ctid).as_ref() != Some(init)) {
                self.lose_init(ctid);
            }
            if let Some(step) = self.next_of(ctid).filter(|(whose, step)| !self.is_held(*whose) || is_of_clone(step)) {
                return Some(step);
            }
        }
        None
    }

    /// From its hold to its release a clone source is not started.
    fn is_held(&self, ctid: Ctid) -> bool {
        self.done.contains(&(ctid, Step::CloneHold)) && !self.done.contains(&(ctid, Step::CloneRelease))
    }

    fn next_of(&self, ctid: Ctid) -> Option<(Ctid, Step)> {
        let spec = &self.specs[&ctid];
        let holds = |step: &Step| self.done.contains(&(ctid, step.clone()));
        if let Origin::Clone { source } = spec.origin {
            if !holds(&Step::DefineClone) {
                let held = self.done.contains(&(source, Step::CloneHold)) && self.seen_init(source).is_none();
                return Some(if held { (ctid, Step::DefineClone) } else { (source, Step::CloneHold) });
            }
            if !self.done.contains(&(source, Step::CloneRelease)) {
                return Some((source, Step::CloneRelease));
            }
            if let Some(step) = self.missing_of(source) {
                return Some((source, step));
            }
        }
        self.missing_of(ctid).map(|step| (ctid, step))
    }

    fn missing_of(&self, ctid: Ctid) -> Option<Step> {
        State::ALL
            .into_iter()
            .flat_map(|state| steps_into(state, &self.specs[&ctid], Repertoire::Proxmox))
            .find(|step| !self.done.contains(&(ctid, step.clone())))
    }

    fn seen_init(&self, ctid: Ctid) -> Option<Init> {
        self.world.observe(&[ctid]).containers.remove(&ctid).and_then(|seen| seen.init)
    }

    fn lose_init(&mut self, ctid: Ctid) {
        self.learned.lose_init(ctid);
        let finalized = self.done.contains(&(ctid, Step::FinalizeStop));
        self.done.retain(|(whose, step)| {
            let lost = step.is_volatile() || matches!(step, Step::HealthCheck(_));
            *whose != ctid || !lost || (finalized && matches!(step, Step::FinalizeStart))
        });
    }

    /// Takes a step until it is done, recovering from whatever comes.
    fn take(&mut self, ctid: Ctid, step: Step) {
        let effect = self.effect(ctid, step.clone().id(), None);
        let report = match self.carry_out(&effect) {
            Ok(report) => report,
            Err(Crashed) => self.world.settle(&effect, &mut |_| {}),
        };
        self.verdicts.insert(report.result.name());
        match report.result {
            StepResult::Done(evidence) => self.learn(ctid, step, &evidence),
            StepResult::Absent | StepResult::Interrupted => {
                self.past.insert((ctid, step), Reason::Interrupted);
            }
            StepResult::Partial { leftover } => {
                self.past.insert((ctid, step.clone()), Reason::Interrupted);
                self.repair(ctid, &step, &leftover);
            }
            StepResult::Failed(failure) => match failure.class {
                FailureClass::Transient | FailureClass::Timeout => {
                    self.past.insert((ctid, step), Reason::Retry { after: failure.message });
                }
                FailureClass::InitLost => self.lose_init(ctid),
                // A clone source that the host started again at its boot.
                FailureClass::Drift { .. } if step == Step::DefineClone => {}
                other => panic!("{ctid} {}: {other:?}: {}", step.id(), failure.message),
            },
            other => panic!("{ctid} {}: {other:?}", step.id()),
        }
    }

    fn repair(&mut self, ctid: Ctid, step: &Step, leftover: &str) {
        for _ in 0..10 {
            let effect = self.effect(ctid, step.clone().repair(), Some(leftover));
            let report = match self.carry_out(&effect) {
                Ok(report) => report,
                Err(Crashed) => self.world.settle(&effect, &mut |_| {}),
            };
            match report.result {
                StepResult::Done(Evidence::Repaired) => return,
                StepResult::Absent => {}
                StepResult::Failed(failure) if matches!(failure.class, FailureClass::Transient | FailureClass::Timeout) => {}
                other => panic!("{ctid} {}: {other:?}", step.clone().repair()),
            }
        }
        panic!("{ctid} {} cannot be repaired", step.clone().id());
    }

    fn carry_out(&mut self, effect: &Effect) -> Result<Report, Crashed> {
        let number = self.ops;
        self.ops += 1;
        let op = self.world.begin(effect);
        self.lengths.push(self.world.pieces(op).map_or(0, |(_, all)| all));
        let cut = self.cuts.iter().find(|cut| cut.op == number).copied();
        let mut pieces = 0;
        loop {
            if cut.is_some_and(|cut| cut.pieces == pieces) {
                break;
            }
            pieces += 1;
            if let Progress::Finished(report) = self.world.advance(op) {
                if cut.is_some() {
                    // Finished, but Phoenix dies before it is recorded.
                    break;
                }
                return Ok(report);
            }
        }
        match cut.map(|cut| cut.crash) {
            Some(Crash::Process(survivors)) => self.world.crash_process(survivors),
            Some(Crash::Host) => self.world.crash_host(),
            None => {}
        }
        Err(Crashed)
    }

    /// Carries out one step without a cut, and learns from it.
    pub(crate) fn take_one(&mut self, ctid: Ctid, step: Step) -> Report {
        let effect = self.effect(ctid, step.clone().id(), None);
        let Ok(report) = self.carry_out(&effect) else { unreachable!("nothing cuts this run") };
        if let StepResult::Done(evidence) = &report.result {
            self.learn(ctid, step, evidence);
        }
        report
    }

    fn learn(&mut self, ctid: Ctid, step: Step, evidence: &Evidence) {
        self.learned.learn(ctid, evidence);
        if matches!(evidence, Evidence::Held { .. }) {
            self.done.remove(&(ctid, Step::CloneRelease));
            self.lose_init(ctid);
        }
        self.done.insert((ctid, step));
    }

    pub(crate) fn effect(&mut self, ctid: Ctid, step: StepId, leftover: Option<&str>) -> Effect {
        let attempt = self.attempts.entry((ctid, step.clone())).or_default();
        *attempt += 1;
        let attempt = *attempt;
        self.tokens += 1;
        let spec = Arc::clone(&self.specs[&ctid]);
        let action = leftover.map_or_else(
            || self.learned.action(&spec, &step.step, incarnation),
            |leftover| Action::Repair { leftover: leftover.to_owned() },
        );
        let incarnation = incarnation(ctid);
        let reason = self.past.get(&(ctid, step.step.clone())).cloned().unwrap_or(Reason::First);
        let intent = Intent {
            run: RunId::from_random([7; 16]),
            ctid,
            incarnation,
            generation: Generation::FIRST,
            state: State::Declared,
            step,
            attempt,
            reason,
            deadline: self.world.now().moment.after(Duration::from_secs(120)),
            token: Token::from_random(self.tokens.to_be_bytes()),
            action,
        };
        Effect { intent, spec, mark: mark(ctid), former: Vec::new() }
    }
}

pub(crate) fn incarnation(ctid: Ctid) -> Incarnation {
    Incarnation::from_random(u128::from(ctid.get()).to_be_bytes())
}

pub(crate) fn mark(ctid: Ctid) -> Mark {
    Mark { journal: journal(), fleet: "test".parse().expect("a name"), ctid, incarnation: incarnation(ctid), epoch: Epoch::new(3) }
}
