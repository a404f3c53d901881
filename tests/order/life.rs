//! The fold alone: what each fact changes in a life, what it leaves, and which step is due then.
//!
//! The engine rests on these counts: whether a budget is used up, whether a script is started again, whether a repair comes
//! first. Not here: in which order states follow each other (`machine`).

use std::sync::Arc;

use phoenix::ids::{Generation, RunId, State, Step, StepId, Wall};
use phoenix::machine::{
    Decision, Declaration, Due, Evidence, Fact, Failure, FailureClass, Life, Line, Note, Outcome, Past, Prepared, Quarantine,
    QuarantineReason, Record, RunClosed, RunEnd, Standing, StepResult, Topic, Wait, WaitKind,
};
use phoenix::plan::{Effect, HoldBy, Init, Mark, Repertoire, Source, steps_into};
use phoenix_journal::{Append, Digest, Epoch, JournalId, Memory, Recorded};

use super::fuzzed::fleets::ctid;
use super::fuzzed::histories::{declaration, evidence, incarnation, intent};
use super::fuzzed::rows::PERMISSIVE;

/// A life, with a journal that tells it.
struct Tale {
    journal: Memory,
    life: Life,
}

impl Tale {
    fn new() -> Self {
        let first = first();
        let mut journal = Memory::new(&PERMISSIVE, JournalId::from_bytes([9; 16])).expect("rows that make sense");
        journal.begin(Vec::<Line>::new()).expect("an epoch");
        record(&mut journal, Fact::Declared(Box::new(first.clone())));
        Self { journal, life: Life::declared(&first) }
    }

    /// The tale up to this state, each step done at the first try.
    fn up_to(state: State) -> Self {
        let mut tale = Self::new();
        while tale.life.state() != state {
            tale = match tale.life.due() {
                Due::Take(step) => tale.done(step),
                Due::Pass(next) => tale.note(Topic::Passed, next),
                due @ (Due::Nothing | Due::Settle | Due::Repair(..) | Due::Redeclare) => panic!("{due:?} on the way"),
            };
        }
        tale
    }

    fn tell(mut self, fact: Fact) -> Self {
        let life = self.life.learn(record(&mut self.journal, fact)).expect("a fact in order");
        Self { life, ..self }
    }

    fn intend(self, step: StepId) -> Self {
        let record = self.life.record(&step.step);
        let attempt = if step.repair { record.repairs } else { record.intents } + 1;
        let whose = (self.life.ctid(), self.life.incarnation(), self.life.generation);
        let intent = intent(whose, self.life.state(), step, attempt);
        self.tell(Fact::Intended(Box::new(intent), Wall(2)))
    }

    /// Closes what is open; `change` says what is not as usual.
    fn close(self, result: StepResult, change: impl FnOnce(&mut Outcome)) -> Self {
        let outcome = self.outcome(result, change);
        self.tell(Fact::Outcome(Box::new(outcome)))
    }

    fn outcome(&self, result: StepResult, change: impl FnOnce(&mut Outcome)) -> Outcome {
        let (seq, _, intent) = self.life.open().expect("a step is open");
        let state = if let StepResult::Done(shown) = &result { self.life.after(&intent.step, shown) } else { self.life.state() };
        let mut outcome = Outcome { state, ..Outcome::of(intent, *seq, result, Wall(3)) };
        change(&mut outcome);
        outcome
    }

    fn take(self, step: Step, result: StepResult) -> Self {
        self.intend(step.id()).close(result, |_| ())
    }

    fn done(self, step: Step) -> Self {
        let shown = evidence(&step.clone().id());
        self.take(step, StepResult::Done(shown))
    }

    fn repair(self, step: Step, result: StepResult) -> Self {
        self.intend(step.repair()).close(result, |_| ())
    }

    fn note(self, topic: Topic, state: State) -> Self {
        let Declaration { run, ctid, incarnation, generation, .. } = first();
        self.tell(Fact::Noted(Box::new(Note { run, ctid, incarnation, generation, topic, state, standing: Standing::Active, at: Wall(4) })))
    }

    fn decide(self, decision: Decision) -> Self {
        let state = self.life.state();
        self.note(Topic::Decided(decision), state)
    }

    fn record(&self, step: &Step) -> Record {
        self.life.record(step)
    }

    /// Failures, waits and cut-offs.
    fn counts(&self, step: &Step) -> (u32, u32, u32) {
        let Record { failures, waits, cut_off, .. } = self.record(step);
        (failures, waits, cut_off)
    }
}

fn first() -> Declaration {
    declaration(ctid(101), incarnation(0), State::Declared, 1)
}

fn record(journal: &mut Memory, fact: Fact) -> Recorded<Fact> {
    let written = journal.append_group(vec![Line::Fact(fact)]).expect("a journal that takes entries").remove(0).expect("a history");
    written.part().unwrap_or_else(|_| unreachable!("a fact was recorded"))
}

fn failed(class: FailureClass) -> StepResult {
    StepResult::Failed(Failure::new(class, "no"))
}

fn waiting() -> FailureClass {
    FailureClass::Wait(Wait { kind: WaitKind::Lock, name: "x".to_owned(), ctid: None, pid: None, since: Wall(1) })
}

fn partial() -> StepResult {
    StepResult::Partial { leftover: "half".to_owned() }
}

#[test]
fn the_next_step_is_due_until_all_hold_and_the_last_one_brings_the_state() {
    let mut tale = Tale::new();
    for state in State::ALL.into_iter().skip(1) {
        let steps = steps_into(state, &first().spec, Repertoire::Proxmox);
        for (number, step) in steps.iter().enumerate() {
            let (before, shown) = (tale.life.state(), evidence(&step.clone().id()));
            let brings = if number + 1 == steps.len() { state } else { before };
            assert_eq!(tale.life.due(), Due::Take(step.clone()));
            assert_eq!(tale.life.after(&step.clone().id(), &shown), brings, "{}", step.base());
            assert_eq!(tale.life.after(&step.clone().repair(), &Evidence::Repaired), before, "a repair of {}", step.base());
            if let Some(next) = steps.get(number + 1) {
                assert_eq!(tale.life.after(&next.clone().id(), &evidence(&next.clone().id())), before, "{} is missing", step.base());
            }
            tale = tale.intend(step.clone().id());
            assert_eq!((tale.life.due(), tale.record(step).intents), (Due::Settle, 1));
            tale = tale.close(StepResult::Done(shown), |_| ());
            assert_eq!(tale.record(step), Record { intents: 1, done: true, ..Record::default() });
            assert_eq!(tale.life.state(), brings);
        }
        if steps.is_empty() {
            assert_eq!(tale.life.due(), Due::Pass(state));
            tale = tale.note(Topic::Passed, state);
        }
    }
    assert_eq!(tale.life.due(), Due::Nothing);
    let taken: usize = State::ALL.into_iter().map(|state| steps_into(state, &first().spec, Repertoire::Proxmox).len()).sum();
    assert_eq!(tale.life.records().values().filter(|record| record.intents == 1).count(), taken);
}

#[test]
fn a_state_whose_steps_hold_already_is_passed() {
    let steps = steps_into(State::Defined, &first().spec, Repertoire::Proxmox);
    let mut tale = Tale::new();
    for step in steps {
        let shown = StepResult::Done(evidence(&step.clone().id()));
        tale = tale.intend(step.id()).close(shown, |outcome| outcome.state = State::Declared);
    }
    assert_eq!((tale.life.state(), tale.life.due()), (State::Declared, Due::Pass(State::Defined)));
}

#[test]
fn each_result_is_counted_as_what_it_is() {
    let step = Step::TemplateFetch;
    let told = |result: StepResult| {
        let record = Tale::new().take(step.clone(), result).record(&step);
        assert_eq!((record.intents, record.repairs, record.done), (1, 0, false));
        ((record.failures, record.waits, record.cut_off), record.past, record.leftover)
    };
    let said = || Past::Failed("no".to_owned());
    assert_eq!(told(failed(FailureClass::Transient)), ((1, 0, 0), said(), None));
    assert_eq!(told(failed(FailureClass::InitLost)), ((1, 0, 0), said(), None), "nobody looked for it after a crash");
    assert_eq!(told(failed(waiting())), ((0, 1, 0), said(), None));
    assert_eq!(told(StepResult::Absent), ((0, 0, 1), Past::CutOff, None));
    assert_eq!(told(StepResult::Interrupted), ((0, 0, 1), Past::CutOff, None));
    assert_eq!(told(partial()), ((0, 0, 1), Past::CutOff, Some("half".to_owned())));
    for (result, name) in [
        (StepResult::Gone, "gone"),
        (StepResult::Foreign { owner: "x".to_owned() }, "foreign"),
        (StepResult::Unknown { why: "x".to_owned() }, "unknown"),
    ] {
        assert_eq!(told(result), ((0, 0, 0), Past::CutOff, None), "{name}");
    }
}

#[test]
fn an_init_that_a_crash_took_uses_up_no_budget_unless_a_script_rested_on_it() {
    let after = |step: Step| {
        let tale = Tale::new().intend(step.clone().id()).close(failed(FailureClass::InitLost), |outcome| outcome.recovered = true);
        (tale.counts(&step), tale.record(&step).past, tale.life.last_failure.is_some())
    };
    assert_eq!(after(Step::RunReady), ((0, 0, 1), Past::CutOff, false));
    assert_eq!(after(Step::ApplicationRun), ((1, 0, 0), Past::Failed("no".to_owned()), true));
    let recovered = Tale::new().intend(Step::RunReady.id()).close(failed(FailureClass::Transient), |outcome| outcome.recovered = true);
    assert_eq!(recovered.counts(&Step::RunReady), (1, 0, 0), "another failure was one before the crash as well");
}

#[test]
fn failures_add_up_and_a_success_begins_with_a_whole_budget() {
    let step = Step::TemplateFetch;
    let mut tale = Tale::new();
    for result in [failed(FailureClass::Transient), failed(FailureClass::Timeout), failed(waiting()), failed(waiting()), StepResult::Absent]
    {
        tale = tale.take(step.clone(), result);
    }
    assert_eq!((tale.counts(&step), tale.record(&step).intents), ((2, 2, 1), 5));
    assert_eq!(tale.life.due(), Due::Take(step.clone()));
    let (last, failure) = tale.life.last_failure.clone().expect("the last failure is kept");
    assert_eq!((last, failure.class), (step.clone().id(), waiting()));
    tale = tale.done(step.clone());
    assert_eq!(tale.counts(&step), (0, 0, 0));
    assert!(tale.life.last_failure.is_some(), "whether or not it still matters");
}

#[test]
fn what_is_left_is_repaired_before_the_next_try() {
    let (step, leftover) = (Step::DefineCreate, "half".to_owned());
    let create = |tale: Tale, result: StepResult| tale.take(step.clone(), result);
    let mut tale = create(Tale::new().done(Step::TemplateFetch), partial());
    assert_eq!(tale.life.due(), Due::Repair(step.clone(), leftover.clone()));
    tale = tale.repair(step.clone(), failed(FailureClass::Transient));
    assert_eq!((tale.life.due(), tale.record(&step).repairs), (Due::Repair(step.clone(), leftover), 1));
    tale = tale.repair(step.clone(), StepResult::Done(Evidence::Repaired));
    let record = tale.record(&step);
    assert_eq!((record.intents, record.repairs, record.done, record.past), (1, 2, false, Past::CutOff));
    assert_eq!((tale.life.due(), record.failures, record.cut_off), (Due::Take(step.clone()), 1, 1), "a repair is no success of the step");
    // What turns out to have happened whole leaves nothing to repair.
    tale = create(create(tale, partial()), StepResult::Done(evidence(&step.clone().id())));
    assert_eq!((tale.record(&step).leftover, tale.record(&step).done), (None, true));
}

#[test]
fn what_was_asked_to_shut_down_may_do_so_until_it_is_down_or_gone() {
    let up = || Tale::up_to(State::Done);
    assert!(!up().life.may_go_down());
    assert!(!up().intend(Step::DownStop.id()).life.may_go_down(), "it is only being asked");
    for result in [failed(FailureClass::Timeout), StepResult::Absent, StepResult::Interrupted] {
        assert!(up().take(Step::DownStop, result).life.may_go_down());
    }
    assert!(!up().done(Step::DownStop).life.may_go_down(), "it is down");
    let asked = || up().take(Step::DownStop, StepResult::Absent);
    let lost = asked().note(Topic::InitLost { recorded: init(), found: None }, State::Volumed);
    assert!(!lost.life.may_go_down(), "whoever was asked is gone");
}

#[test]
fn what_brings_down_and_holds_says_where_it_leads() {
    let up = Tale::up_to(State::Done);
    let after = |step: Step, shown: Evidence| up.life.after(&step.id(), &shown);
    assert_eq!(after(Step::CloneHold, Evidence::Held { by: HoldBy::Stop }), State::Volumed);
    assert_eq!(after(Step::CloneHold, Evidence::Held { by: HoldBy::Snapshot }), State::Done);
    assert_eq!(after(Step::CloneRelease, Evidence::Released), State::Done);
    assert_eq!(after(Step::DownStop, Evidence::Stopped), State::Volumed);
    assert_eq!(after(Step::DownDestroy, Evidence::Destroyed), State::Declared);
    assert_eq!(after(Step::HealthCheck("x".parse().expect("a name")), Evidence::Healthy { asked: 1 }), State::Done);
    let early = Tale::up_to(State::Configured);
    assert_eq!(early.life.after(&Step::DownStop.id(), &Evidence::Stopped), State::Configured, "down does not bring it forward");
    assert_eq!(early.life.after(&Step::FinalizeStop.id(), &Evidence::Stopped), State::Configured, "its start is missing");
}

fn init() -> Init {
    Init { boot: "boot".parse().expect("a boot id"), pid: 10, start_ticks: 20 }
}

#[test]
fn what_rested_on_the_init_is_due_again_and_what_scripts_did_stays() {
    let up = || Tale::up_to(State::Done);
    let steps: Vec<Step> = up().life.records().keys().cloned().collect();
    let lost_of = |tale: &Tale| -> Vec<Step> {
        let lost = |step: &&Step| !tale.record(step).done && tale.record(step).past == Past::Lost;
        steps.iter().filter(lost).cloned().collect()
    };
    let volatile: Vec<Step> = steps.iter().filter(|step| step.is_volatile() || matches!(step, Step::HealthCheck(_))).cloned().collect();
    assert!(volatile.contains(&Step::RunStart) && !volatile.contains(&Step::ApplicationRun));
    let lost = up().note(Topic::InitLost { recorded: init(), found: None }, State::Volumed);
    let held = up().done(Step::CloneHold);
    let stopped = up().done(Step::DownStop);
    for (tale, name) in [(&lost, "lost"), (&held, "held"), (&stopped, "stopped")] {
        assert_eq!(lost_of(tale), volatile, "{name}");
        assert_eq!((tale.life.init(), tale.life.state()), (None, State::Volumed), "{name}");
        assert!(tale.record(&Step::ApplicationRun).done, "{name}");
        assert!(tale.life.proofs().finalization().is_some(), "{name}: the map stays");
    }
    assert_eq!(up().life.init(), Some(&init()));
    // What never held is not lost.
    let early = Tale::up_to(State::Configured).note(Topic::InitLost { recorded: init(), found: None }, State::Configured);
    assert_eq!(lost_of(&early), []);
    // Up again, it has to be stopped again.
    let again = stopped.done(Step::RunStart);
    assert!(!again.record(&Step::DownStop).done);
    assert_eq!(again.life.init(), Some(&init()));
}

#[test]
fn finalizing_leaves_no_init() {
    let started = Tale::up_to(State::Configured).done(Step::FinalizeStart);
    assert_eq!(started.life.init(), Some(&init()));
    assert_eq!(started.done(Step::FinalizeIdmap).done(Step::FinalizeStop).life.init(), None);
}

#[test]
fn a_hold_lasts_from_its_intent_to_its_release_and_the_next_is_a_step_of_its_own() {
    let held = Tale::up_to(State::Done).intend(Step::CloneHold.id());
    assert_eq!(held.life.held(), Some(HoldBy::Stop));
    let held = held.close(StepResult::Done(Evidence::Held { by: HoldBy::Stop }), |_| ());
    assert_eq!((held.life.held(), held.record(&Step::CloneHold).done), (Some(HoldBy::Stop), true));
    let released = held.done(Step::CloneRelease);
    assert_eq!(released.life.held(), None);
    assert!(!released.record(&Step::CloneHold).done && !released.record(&Step::CloneRelease).done);
    let held = Tale::up_to(State::Done).done(Step::CloneHold).note(Topic::FoundRunning { init: init() }, State::Volumed);
    let record = held.record(&Step::CloneHold);
    assert_eq!((held.life.held(), record.done, record.past), (Some(HoldBy::Stop), false, Past::Lost), "it has to be stopped again");
}

#[test]
fn a_directory_that_is_prepared_again_is_known_once() {
    let step = steps_into(State::Volumed, &first().spec, Repertoire::Proxmox).into_iter();
    let step = step.into_iter().find(|step| matches!(step, Step::VolumePrepare(_))).expect("the container has a volume");
    let tale = Tale::up_to(State::Volumed);
    assert_eq!(tale.life.sources().len(), 1);
    let shown = |volume: &str, inode: u64| {
        let source = Source { volume: volume.parse().expect("a name"), path: "/srv/media".into(), device: 1, inode };
        StepResult::Done(Evidence::Prepared(Prepared { source, host_uid: 0, host_gid: 0, former: None, left_alone: Vec::new() }))
    };
    let tale = tale.take(step, shown("media", 77)).take(Step::VolumePrepare("other".parse().expect("a name")), shown("other", 5));
    let known: Vec<u64> = tale.life.sources().iter().map(|source| source.inode).collect();
    assert_eq!(known, [77, 5]);
}

#[test]
fn a_destruction_that_did_not_succeed_stops_again_first() {
    let stopped = || Tale::up_to(State::Done).done(Step::DownStop);
    assert!(stopped().record(&Step::DownStop).done);
    assert!(!stopped().take(Step::DownDestroy, StepResult::Absent).record(&Step::DownStop).done, "it may have been started since");
    assert!(stopped().take(Step::DownStop, StepResult::Done(Evidence::Stopped)).record(&Step::DownStop).done);
    let gone = stopped().done(Step::DownDestroy);
    assert!(gone.record(&Step::DownStop).done && gone.record(&Step::DownDestroy).done);
    assert_eq!((gone.life.state(), gone.life.is_ended(), gone.life.due()), (State::Declared, true, Due::Redeclare));
    assert_eq!((gone.life.may_exist(), gone.life.init()), (false, None));
    let held = Tale::up_to(State::Done).done(Step::CloneHold).done(Step::DownDestroy);
    assert_eq!((held.life.held(), held.life.init()), (None, None));
}

#[test]
fn a_new_budget_is_for_the_step_that_is_named_or_for_all() {
    let spent = || {
        let mut tale = Tale::new();
        for step in [Step::TemplateFetch, Step::RunReady] {
            for result in [failed(FailureClass::Transient), failed(waiting()), StepResult::Absent] {
                tale = tale.take(step.clone(), result);
            }
        }
        tale
    };
    let left = |tale: &Tale| (tale.counts(&Step::TemplateFetch), tale.counts(&Step::RunReady));
    assert_eq!(left(&spent()), ((1, 1, 1), (1, 1, 1)));
    assert_eq!(left(&spent().decide(Decision::NewBudget { step: Some(Step::RunReady.id()) })), ((1, 1, 1), (0, 0, 0)));
    assert_eq!(left(&spent().decide(Decision::NewBudget { step: None })), ((0, 0, 0), (0, 0, 0)));
    let rerun = spent().decide(Decision::Rerun { step: Step::RunReady.id() });
    assert_eq!(left(&rerun), ((1, 1, 1), (0, 0, 0)));
    let record = rerun.record(&Step::RunReady);
    assert_eq!((record.intents, record.past), (3, Past::Asked), "how often it was tried is not forgotten");
    assert_eq!(left(&spent().decide(Decision::Skip { step: Step::RunReady.id() })), ((1, 1, 1), (1, 1, 1)));
}

#[test]
fn a_mark_that_a_person_asked_for_comes_before_all_else() {
    let asked = Tale::up_to(State::Configured)
        .take(Step::DefineMark, failed(FailureClass::Transient))
        .take(Step::DefineMark, failed(waiting()))
        .take(Step::DefineMark, StepResult::Absent)
        .decide(Decision::Remark);
    let Record { intents, done, .. } = asked.record(&Step::DefineMark);
    assert_eq!((asked.life.is_remark_asked(), intents, done, asked.counts(&Step::DefineMark)), (true, 4, false, (0, 0, 0)));
    assert_eq!(asked.life.due(), Due::Take(Step::DefineMark));
    let marked = asked.done(Step::DefineMark);
    assert!(!marked.life.is_remark_asked());
    assert_ne!(marked.life.due(), Due::Take(Step::DefineMark));
    // Before there is a container, its creation writes the mark.
    assert_eq!(Tale::new().decide(Decision::Remark).life.due(), Due::Take(Step::TemplateFetch));
}

#[test]
fn a_declaration_changes_what_a_container_is_to_be() {
    let tale = Tale::up_to(State::Configured);
    let other = declaration(ctid(102), incarnation(0), State::Configured, 1);
    let changed = Declaration {
        fleet: "other".parse().expect("a name"),
        run: RunId::from_random([7; 16]),
        generation: Generation::new(2),
        template: Some(Digest::of(b"template")),
        repertoire: Repertoire::Common,
        spec: Arc::clone(&other.spec),
        state: State::Configured,
        at: Wall(9),
        ..first()
    };
    let before = tale.life.since;
    let tale = tale.tell(Fact::Declared(Box::new(changed.clone())));
    let Life { fleet, run, generation, template, repertoire, spec, since, .. } = &tale.life;
    assert_eq!((fleet, run, generation), (&changed.fleet, &changed.run, &changed.generation));
    assert_eq!((template, *repertoire, spec, *since), (&changed.template, changed.repertoire, &changed.spec, before));
    assert_eq!((tale.life.state(), tale.record(&Step::DefineMark).done), (State::Configured, true), "what was done holds");
    let quarantine = Quarantine { reason: QuarantineReason::Drift, evidence: "odd".to_owned() };
    let standing = Standing::Quarantined(quarantine);
    let tale = tale.tell(Fact::Declared(Box::new(Declaration { standing: standing.clone(), generation: Generation::new(3), ..changed })));
    assert_eq!((&tale.life.standing, tale.life.since), (&standing, Wall(9)));
}

#[test]
fn a_new_incarnation_begins_from_nothing_once_the_old_one_is_over() {
    let next = || Fact::Declared(Box::new(declaration(ctid(101), incarnation(1), State::Declared, 1)));
    let tale = Tale::up_to(State::Configured).take(Step::FinalizeStart, failed(FailureClass::Transient));
    let of_another = record(&mut Tale::new().journal, next());
    assert!(tale.life.clone().learn(of_another).is_err(), "the old one still stands");
    let first_life = tale.life.clone();
    let tale = tale.done(Step::DownStop).done(Step::DownDestroy).tell(next());
    assert_eq!((tale.life.incarnation(), tale.life.state(), tale.life.is_ended()), (incarnation(1), State::Declared, false));
    assert_eq!((first_life.former(), tale.life.former()), (&[][..], &[incarnation(0)][..]));
    assert!(tale.life.records().is_empty());
    assert!(tale.life.last_failure.is_some(), "a person may still ask what went wrong");
}

#[test]
fn an_outcome_closes_the_intent_that_is_open() {
    let open = Tale::new().intend(Step::TemplateFetch.id());
    let told = |change: fn(&mut Outcome)| {
        let outcome = open.outcome(StepResult::Absent, change);
        // A journal that knows nothing of what is open.
        let mut journal = Tale::new().intend(outcome.step.clone()).journal;
        open.life.clone().learn(record(&mut journal, Fact::Outcome(Box::new(outcome)))).is_ok()
    };
    assert!(told(|_| ()));
    assert!(!told(|outcome| outcome.step = Step::DefineCreate.id()));
    assert!(!told(|outcome| outcome.step = Step::TemplateFetch.repair()));
    let closed = Tale::new().take(Step::TemplateFetch, StepResult::Absent);
    let again = open.outcome(StepResult::Absent, |_| ());
    let mut journal = Tale::new().intend(Step::TemplateFetch.id()).journal;
    assert!(closed.life.learn(record(&mut journal, Fact::Outcome(Box::new(again)))).is_err(), "nothing is open");
}

#[test]
fn a_hold_is_the_one_that_was_begun() {
    let held = Tale::up_to(State::Done).intend(Step::CloneHold.id());
    let by = |by: HoldBy| {
        let outcome = held.outcome(StepResult::Done(Evidence::Held { by }), |_| ());
        let mut journal = Tale::up_to(State::Done).intend(Step::CloneHold.id()).journal;
        held.life.clone().learn(record(&mut journal, Fact::Outcome(Box::new(outcome)))).is_ok()
    };
    assert!(by(HoldBy::Stop));
    assert!(!by(HoldBy::Snapshot));
}

#[test]
fn since_says_when_state_or_standing_changed() {
    let tale = Tale::new();
    let step = Step::TemplateFetch;
    let failure = Failure::new(FailureClass::Permanent, "no");
    let standing = Standing::Failed { step: step.clone().id(), failure: Box::new(failure.clone()) };
    let begun = tale.life.since;
    let tale = tale.take(step.clone(), StepResult::Absent);
    assert_eq!(tale.life.since, begun, "neither changed");
    let tale = tale.intend(step.clone().id()).close(StepResult::Failed(failure), |outcome| {
        (outcome.standing, outcome.at) = (standing.clone(), Wall(30));
    });
    assert_eq!((&tale.life.standing, tale.life.since), (&standing, Wall(30)));
    let tale = tale.intend(step.id());
    assert_eq!((&tale.life.standing, tale.life.since), (&Standing::Active, Wall(2)), "what is tried again goes on");
    let entered = Tale::up_to(State::Defined);
    assert_eq!(entered.life.since, Wall(3));
}

#[test]
fn only_a_repair_shows_that_something_was_repaired() {
    let shown = |step: StepId, shown: Evidence| shown.is_of(&step);
    assert!(shown(Step::DefineCreate.repair(), Evidence::Repaired));
    assert!(!shown(Step::DefineCreate.id(), Evidence::Repaired));
    assert!(!shown(Step::DefineCreate.repair(), Evidence::Created { left_out: 0 }));
    assert!(shown(Step::DefineCreate.id(), Evidence::Created { left_out: 0 }));
}

#[test]
fn whatever_speaks_of_a_container_says_of_which() {
    let tale = Tale::up_to(State::Defined).intend(Step::DefineMark.id());
    let outcome = Box::new(tale.outcome(StepResult::Absent, |_| ()));
    let (_, _, intent) = tale.life.open().cloned().expect("a step is open");
    let Declaration { run, ctid, incarnation, generation, spec, .. } = first();
    let note =
        Note { run, ctid, incarnation, generation, topic: Topic::Standing, state: State::Defined, standing: Standing::Active, at: Wall(4) };
    let facts = [
        Fact::Declared(Box::new(first())),
        Fact::Intended(Box::new(intent.clone()), Wall(2)),
        Fact::Outcome(outcome),
        Fact::Noted(Box::new(note)),
    ];
    for fact in facts {
        assert_eq!(fact.ctid(), Some(ctid));
        assert_eq!(Line::Fact(fact).ctid(), Some(ctid));
    }
    let mark = Mark { journal: JournalId::from_bytes([9; 16]), fleet: first().fleet, ctid, incarnation, epoch: Epoch::new(1) };
    assert_eq!(Line::Effect(Box::new(Effect { intent, spec, mark, former: Vec::new() }), Wall(2)).ctid(), Some(ctid));
    let closed = Fact::RunClosed(RunClosed { run, end: RunEnd::Done, at: Wall(5) });
    assert_eq!((closed.ctid(), Line::Fact(closed).ctid()), (None, None));
}
