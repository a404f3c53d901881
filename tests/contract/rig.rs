//! A site with hands: steps are taken as an engine would have them taken, with what the earlier ones brought.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use phoenix::ids::{Ctid, State, Step};
use phoenix::machine::{Evidence, FailureClass, Report, StepResult};
use phoenix::manifest::{Feature, HealthCheck, Spec};
use phoenix::plan::{Effect, Init, Repertoire, Seen, steps_into};

use super::fleets::{self, ctid, script_of};
use super::hands::{Hands, incarnation, mark};
use super::learned::Learned;
use super::site::{Meddling, Site};

/// The first container number of this test binary.
const FIRST: u32 = 902_000;
/// Container numbers for each case.
const PLACES: u32 = 3;

/// Runs a case on a new site; passes where there is none to be had.
pub(crate) fn run(site: fn() -> Option<Box<dyn Site>>, case: fn(&mut Rig)) {
    static CASES: AtomicU32 = AtomicU32::new(0);
    let Some(site) = site() else { return };
    let host = site.host();
    let base = FIRST + PLACES * CASES.fetch_add(1, Ordering::Relaxed);
    host.settle_in(&mark(ctid(base)).journal).expect("the host can be made recognisable");
    case(&mut Rig { hands: Hands::new(host), site, learned: Learned::default(), base });
}

pub(crate) struct Rig {
    pub(crate) hands: Hands,
    pub(crate) site: Box<dyn Site>,
    pub(crate) learned: Learned,
    base: u32,
}

impl Rig {
    /// The container number with this place among the case's own.
    pub(crate) fn ctid(&self, place: u32) -> Ctid {
        assert!(place < PLACES, "each case has {PLACES}");
        ctid(self.base + place)
    }

    pub(crate) fn spec(&self, place: u32) -> Spec {
        self.site.spec(self.ctid(place))
    }

    /// A container with one of everything: a shared directory, a feature, an application, a health check.
    pub(crate) fn full(&self, place: u32) -> Spec {
        let mut spec = self.spec(place);
        self.site.enrich(&mut spec);
        spec.mounts = vec![self.site.mount("media")];
        spec.features = vec![Feature { name: "base".parse().expect("a name"), script: script_of("#!/bin/sh\necho base >/base\n") }];
        spec.application = Some(script_of("#!/bin/sh\necho application\n"));
        spec.health = vec![HealthCheck { command: vec!["true".to_owned()], ..fleets::spec(100).health.remove(0) }];
        spec
    }

    /// The next step as it would be recorded.
    pub(crate) fn effect(&self, spec: &Spec, step: &Step) -> Effect {
        self.hands.effect(spec, step.clone().id(), self.learned.action(spec, step, incarnation))
    }

    /// Carries out a step, and learns from it.
    pub(crate) fn take(&mut self, spec: &Spec, step: &Step) -> Report {
        let report = self.hands.carry_out(self.effect(spec, step));
        if let StepResult::Done(evidence) = &report.result {
            self.learned.learn(spec.ctid, evidence);
        }
        report
    }

    /// Carries out a step that must be `Done`.
    #[track_caller]
    pub(crate) fn done(&mut self, spec: &Spec, step: &Step) -> Evidence {
        let result = self.take(spec, step).result;
        evidence_of(step, result)
    }

    #[track_caller]
    pub(crate) fn through(&mut self, spec: &Spec, steps: &[Step]) {
        for step in steps {
            self.done(spec, step);
        }
    }

    /// Brings a container from nothing into a state.
    #[track_caller]
    pub(crate) fn bring(&mut self, spec: &Spec, state: State) {
        self.through(spec, &self.steps_up_to(state, spec));
    }

    /// The steps from the neighbour below into a state, on this host.
    pub(crate) fn steps_into(&self, state: State, spec: &Spec) -> Vec<Step> {
        steps_into(state, spec, Repertoire::of(self.hands.host.kind()))
    }

    /// The steps from nothing into a state, in order.
    pub(crate) fn steps_up_to(&self, state: State, spec: &Spec) -> Vec<Step> {
        State::ALL.into_iter().filter(|into| *into <= state).flat_map(|into| self.steps_into(into, spec)).collect()
    }

    /// From nothing to nothing.
    pub(crate) fn whole_life(&self, spec: &Spec) -> Vec<Step> {
        let detached = spec.mounts.iter().map(|mount| Step::VolumeDetach(mount.at.clone()));
        let end = [Step::DownStop].into_iter().chain(detached).chain([Step::DownDestroy]);
        self.steps_up_to(State::Done, spec).into_iter().chain(end).collect()
    }

    pub(crate) fn init(&self, spec: &Spec) -> Init {
        self.learned.init(spec.ctid).cloned().expect("it was started")
    }

    /// Asks what became of a step that was never carried out.
    pub(crate) fn settle(&self, spec: &Spec, step: &Step) -> StepResult {
        self.hands.settle(self.effect(spec, step))
    }

    #[track_caller]
    pub(crate) fn seen(&self, ctid: Ctid) -> Option<Seen> {
        let journal = mark(ctid).journal;
        self.hands.host.observe(Some(&journal), &[ctid]).expect("a look at the host").containers.remove(&ctid)
    }

    /// All that an effect may change: on disk, and which inits are up.
    pub(crate) fn print(&self) -> String {
        let ctids: Vec<Ctid> = (0..PLACES).map(|place| self.ctid(place)).collect();
        let seen = self.hands.host.observe(None, &ctids).expect("a look at the host");
        format!("{}{seen:#?}", self.site.print())
    }

    /// Others do something to a container, and the host shows it.
    pub(crate) fn meddle(&self, ctid: Ctid, meddling: &Meddling) {
        self.site.meddle(ctid, meddling);
    }

    /// The case's site as another process sees it.
    pub(crate) fn again(&self) -> Arc<dyn phoenix::host::Host> {
        self.site.again()
    }
}

/// The evidence of a step that is done; of the right kind for it.
#[track_caller]
pub(crate) fn evidence_of(step: &Step, result: StepResult) -> Evidence {
    let id = step.clone().id();
    match result {
        StepResult::Done(evidence) => {
            assert!(evidence.is_of(&id), "{evidence:?} is no evidence of {id}");
            evidence
        }
        other => panic!("{id}: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn class_of(result: StepResult) -> FailureClass {
    match result {
        StepResult::Failed(failure) => failure.class,
        other => panic!("not a failure: {other:?}"),
    }
}

/// Both prints must be the same; the first lines that are not are said.
#[track_caller]
pub(crate) fn check_same(found: &str, wanted: &str, why: &str) {
    let differing = found.lines().zip(wanted.lines()).filter(|(found, wanted)| found != wanted).take(5).collect::<Vec<_>>();
    assert!(found == wanted, "{why}: {} and {} lines, {differing:#?}", found.lines().count(), wanted.lines().count());
}
