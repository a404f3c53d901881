//! The typed machine alone: a journal without guards tells it any history, and what it takes is in order.

use std::collections::BTreeSet;

use phoenix::ids::{Generation, State, Step, StepId, Wall};
use phoenix::machine::{
    AnyContainer, Decision, Declaration, Evidence, Fact, Life, Line, Note, Outcome, Standing, StepResult, Subject, Topic,
};
use phoenix_journal::{Append, Epoch, JournalId, Memory, Recorded, Seq};
use proptest::prelude::*;

use super::fuzzed::fleets::ctid;
use super::fuzzed::histories::{Told, all_steps, declaration, evidence, incarnation, intent, tell};
use super::fuzzed::rows::PERMISSIVE;

/// A fixed stream of bytes that looks like chance (an LCG of Knuth's).
fn noise(mut seed: u64, length: usize) -> Vec<u8> {
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.to_be_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_history_the_machine_takes_is_in_order(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        tell(&bytes);
    }

    #[test]
    fn whatever_is_restored_is_in_order(edits in prop::collection::vec(edit(), 0..6)) {
        check_restored(&edited(&edits));
    }
}

/// Else the property above would hold of nothing.
#[test]
fn these_histories_reach_every_state_and_break_off_as_well() {
    let told: Vec<Told> = (0..60).map(|seed| tell(&noise(seed, 600))).collect();
    let reached: BTreeSet<State> = told.iter().flat_map(|told| told.reached.iter().copied()).collect();
    assert_eq!(reached, State::ALL.into());
    let refused = told.iter().filter(|told| told.refused > 0).count();
    assert!((5..=told.len()).contains(&refused), "{refused}");
}

/// One step on the way of a container, or a stray one.
#[derive(Clone, Debug)]
struct Piece {
    /// 0 is the container that is restored, 1 the same number in another incarnation, 2 another one.
    whose: u8,
    step: Step,
    repair: bool,
    result: StepResult,
    entered: Option<State>,
}

/// A change of the whole way, at a share of its length.
#[derive(Clone, Debug)]
enum Edit {
    Insert(prop::sample::Index, Piece),
    Remove(prop::sample::Index),
    Repeat(prop::sample::Index),
    Swap(prop::sample::Index, prop::sample::Index),
    Enter(prop::sample::Index, Option<State>),
}

fn edit() -> impl Strategy<Value = Edit> {
    let place = any::<prop::sample::Index>;
    let entered = || prop::option::of(prop::sample::select(State::ALL.to_vec()));
    let steps = all_steps(&declaration(ctid(101), incarnation(0), State::Declared, 1).spec);
    let shown = prop::sample::select(steps.clone()).prop_map(|step| StepResult::Done(evidence(&step.id())));
    let result = prop_oneof![3 => shown, 1 => Just(StepResult::Absent)];
    let stray = (0_u8..3, prop::sample::select(steps), any::<bool>(), result, entered());
    let stray = stray.prop_map(|(whose, step, repair, result, entered)| Piece { whose, step, repair, result, entered });
    prop_oneof![
        (place(), stray).prop_map(|(at, piece)| Edit::Insert(at, piece)),
        place().prop_map(Edit::Remove),
        place().prop_map(Edit::Repeat),
        (place(), place()).prop_map(|(one, other)| Edit::Swap(one, other)),
        (place(), entered()).prop_map(|(at, state)| Edit::Enter(at, state)),
    ]
}

fn edited(edits: &[Edit]) -> Vec<Piece> {
    let mut told = way();
    for edit in edits {
        let end = told.len();
        match edit {
            Edit::Insert(at, piece) => told.insert(at.index(end), piece.clone()),
            Edit::Remove(at) => drop(told.remove(at.index(end))),
            Edit::Repeat(at) => told.push(told[at.index(end)].clone()),
            Edit::Swap(one, other) => told.swap(one.index(end), other.index(end)),
            Edit::Enter(at, state) => told[at.index(end)].entered = *state,
        }
    }
    told
}

/// The whole way of the container that is restored, with what each step shows.
fn way() -> Vec<Piece> {
    let Declaration { spec, repertoire, .. } = declaration(ctid(101), incarnation(0), State::Declared, 1);
    let into = |state: State| {
        let steps = phoenix::plan::steps_into(state, &spec, repertoire);
        let last = steps.len();
        let piece = move |(number, step): (usize, Step)| {
            let result = StepResult::Done(evidence(&step.clone().id()));
            Piece { whose: 0, step, repair: false, result, entered: (number + 1 == last).then_some(state) }
        };
        steps.into_iter().enumerate().map(piece).collect::<Vec<_>>()
    };
    State::ALL.into_iter().flat_map(into).collect()
}

fn subject(whose: u8) -> Subject {
    match whose {
        0 => Subject::new(ctid(101), incarnation(0)),
        1 => Subject::new(ctid(101), incarnation(1)),
        _ => Subject::new(ctid(102), incarnation(0)),
    }
}

/// Outcomes as recorded ones, each through a journal of its own.
fn recorded(piece: &Piece) -> Recorded<Outcome> {
    let subject = subject(piece.whose);
    let mut journal = Memory::new(&PERMISSIVE, JournalId::from_bytes([9; 16])).expect("rows that make sense");
    let first = declaration(subject.ctid(), subject.incarnation(), State::Declared, 1);
    let step = StepId { step: piece.step.clone(), repair: piece.repair };
    let intent = intent((subject.ctid(), subject.incarnation(), Generation::FIRST), State::Declared, step, 1);
    let outcome = Outcome::of(&intent, Seq::new(2), piece.result.clone(), Wall(2));
    let facts = [Fact::Declared(Box::new(first)), Fact::Intended(Box::new(intent), Wall(1)), Fact::Outcome(Box::new(outcome))];
    let mut lines = journal.begin(facts.into_iter().map(Line::Fact).collect()).expect("an outcome after its intent");
    let line = lines.pop().expect("three lines");
    let fact: Recorded<Fact> = line.part().unwrap_or_else(|_| unreachable!("a fact was recorded"));
    fact.part().unwrap_or_else(|_| unreachable!("an outcome was recorded"))
}

/// Restores the container; returns the state it came to, if it was not refused.
fn check_restored(told: &[Piece]) -> Option<State> {
    let Declaration { spec, repertoire, .. } = declaration(ctid(101), incarnation(0), State::Declared, 1);
    let outcomes: Vec<(Recorded<Outcome>, Option<State>)> = told.iter().map(|piece| (recorded(piece), piece.entered)).collect();
    let restored =
        AnyContainer::restore(subject(0), &spec, repertoire, outcomes.iter().map(|(outcome, entered)| (outcome, *entered))).ok()?;
    let (mut state, mut finalized) = (State::Declared, false);
    for piece in told {
        let shown = matches!(piece.result, StepResult::Done(Evidence::Idmap { .. }));
        finalized |= piece.whose == 0 && piece.step == Step::FinalizeIdmap && !piece.repair && shown;
        let Some(entered) = piece.entered else { continue };
        assert!(state.leads_to(entered), "{state} to {entered}");
        assert!(finalized || entered < State::Volumed, "{entered} without a finalization");
        state = entered;
        finalized &= state != State::Declared;
    }
    assert_eq!(restored.state(), state);
    Some(state)
}

#[test]
fn the_whole_way_is_restored() {
    assert_eq!(check_restored(&way()), Some(State::Done));
}

#[test]
fn without_any_one_piece_of_evidence_the_way_is_refused() {
    let way = way();
    let proofs = [
        "define.mark",
        "configure.set",
        "finalize.idmap",
        "volume.attach",
        "run.ready",
        "feature.apply",
        "application.run",
        "autostart.set",
    ];
    for (place, piece) in way.iter().enumerate().filter(|(_, piece)| proofs.contains(&piece.step.base())) {
        let spoilt = |change: fn(&mut Piece)| {
            let mut told = way.clone();
            change(&mut told[place]);
            check_restored(&told)
        };
        let step = piece.step.base();
        assert_eq!(spoilt(|piece| piece.result = StepResult::Absent), None, "{step} did not happen");
        assert_eq!(spoilt(|piece| piece.result = StepResult::Done(Evidence::Repaired)), None, "{step} showed something else");
        assert_eq!(spoilt(|piece| piece.repair = true), None, "{step} was a repair");
        assert_eq!(spoilt(|piece| piece.whose = 1), None, "{step} of another incarnation");
        assert_eq!(spoilt(|piece| piece.whose = 2), None, "{step} of another container");
    }
}

#[test]
fn evidence_does_not_outlive_its_container() {
    let mut told = way();
    let destroyed = Piece {
        whose: 0,
        step: Step::DownDestroy,
        repair: false,
        result: StepResult::Done(Evidence::Destroyed),
        entered: Some(State::Declared),
    };
    told.push(destroyed);
    assert_eq!(check_restored(&told), Some(State::Declared));
    for state in [State::Defined, State::Configured, State::Finalized, State::Volumed] {
        told.push(Piece {
            whose: 0,
            step: Step::DownStop,
            repair: false,
            result: StepResult::Done(Evidence::Stopped),
            entered: Some(state),
        });
    }
    assert_eq!(check_restored(&told), None, "the id map was that of a container that is gone");
}

/// An outcome of stopping, said to have led to this state.
fn stopped(into: State) -> Piece {
    let result = StepResult::Done(Evidence::Stopped);
    Piece { whose: 0, step: Step::DownStop, repair: false, result, entered: Some(into) }
}

#[test]
fn what_was_stopped_is_up_again_only_by_a_new_init_and_its_scripts_need_not_run_again() {
    let way = way();
    let up = way.iter().position(|piece| piece.entered == Some(State::Running)).expect("it came up");
    let started = way[..=up].iter().rposition(|piece| piece.entered == Some(State::Volumed)).expect("before that") + 1;
    let and = |rest: &[Piece]| check_restored(&[&way[..], &[stopped(State::Volumed)], rest].concat());
    assert_eq!(and(&[]), Some(State::Volumed));
    assert_eq!(and(&[stopped(State::Running)]), None, "the init that was ready is gone");
    assert_eq!(and(&way[started..=up]), Some(State::Running));
    assert_eq!(and(&[&way[started..=up], &[stopped(State::Featured)]].concat()), Some(State::Featured));
}

#[test]
fn a_declared_container_is_not_declared_by_an_outcome() {
    assert_eq!(check_restored(&[stopped(State::Declared)]), None);
}

/// A fact as a recorded one, in a journal where these were before it.
fn told(before: &[Fact], fact: Fact) -> Recorded<Fact> {
    let mut journal = Memory::new(&PERMISSIVE, JournalId::from_bytes([9; 16])).expect("rows that make sense");
    let lines = before.iter().cloned().chain([fact]).map(Line::Fact).collect();
    let line = journal.begin(lines).expect("a history").pop().expect("the last line");
    line.part().unwrap_or_else(|_| unreachable!("a fact was recorded"))
}

#[test]
fn a_container_that_is_over_takes_a_new_declaration_alone() {
    let first = declaration(ctid(101), incarnation(0), State::Declared, 1);
    let before = [Fact::Declared(Box::new(first.clone()))];
    let note = |topic: Topic, state: State| {
        let Declaration { run, ctid, incarnation, generation, .. } = first.clone();
        Fact::Noted(Box::new(Note { run, ctid, incarnation, generation, topic, state, standing: Standing::Active, at: Wall(2) }))
    };
    let over = || {
        let forgotten = told(&before, note(Topic::Forgotten { seen: "nothing".to_owned() }, State::Declared));
        Life::declared(&first).learn(forgotten).expect("it is forgotten")
    };
    let intent = intent((first.ctid, first.incarnation, Generation::FIRST), State::Declared, Step::DefineCreate.id(), 1);
    // Each of these is from a journal that knows nothing of the end: the guards there are not asked.
    assert!(over().learn(told(&before, Fact::Intended(Box::new(intent), Wall(3)))).is_err());
    assert!(over().learn(told(&before, note(Topic::Standing, State::Declared))).is_err());
    let next = declaration(ctid(101), incarnation(1), State::Declared, 1);
    assert!(over().learn(told(&before, Fact::Declared(Box::new(next)))).is_ok());
}

#[test]
fn a_life_tells_whether_it_may_exist_is_over_and_is_to_be_marked_again() {
    let first = declaration(ctid(101), incarnation(0), State::Declared, 1);
    let before = [Fact::Declared(Box::new(first.clone()))];
    let note = |topic: Topic| {
        let Declaration { run, ctid, incarnation, generation, .. } = first.clone();
        let (state, standing) = (State::Declared, Standing::Active);
        told(&before, Fact::Noted(Box::new(Note { run, ctid, incarnation, generation, topic, state, standing, at: Wall(2) })))
    };
    let begun = |life: Life, whose: u8, step: Step| {
        let intent = intent((first.ctid, incarnation(whose), Generation::FIRST), State::Declared, step.id(), 1);
        life.begun(Seq::new(2), Epoch::new(1), intent, Wall(2))
    };
    let says = |life: &Life| (life.may_exist(), life.is_ended(), life.is_remark_asked());
    let fresh = || Life::declared(&first);
    assert_eq!(says(&fresh()), (false, false, false));
    assert_eq!(says(&begun(fresh(), 0, Step::TemplateFetch).expect("nothing is open")), (false, false, false));
    for step in [Step::DefineCreate, Step::DefineClone] {
        let creating = begun(fresh(), 0, step).expect("nothing is open");
        assert_eq!(says(&creating), (true, false, false));
        assert!(begun(creating.clone(), 0, Step::DefineMark).is_err(), "one step is open");
        let over = creating.learn(note(Topic::Forgotten { seen: "nothing".to_owned() })).expect("it is forgotten");
        assert_eq!(says(&over), (false, true, false));
    }
    assert!(begun(fresh(), 1, Step::DefineCreate).is_err(), "another incarnation");
    let asked = fresh().learn(note(Topic::Decided(Decision::Remark))).expect("a person may ask");
    assert_eq!(says(&asked), (false, false, true));
}

#[test]
fn an_outcome_shows_what_its_step_brings() {
    let first = declaration(ctid(101), incarnation(0), State::Declared, 1);
    for of in all_steps(&first.spec) {
        for shown in all_steps(&first.spec) {
            let intent = intent((first.ctid, first.incarnation, Generation::FIRST), State::Declared, of.clone().id(), 1);
            let outcome = Outcome::of(&intent, Seq::new(2), StepResult::Done(evidence(&shown.clone().id())), Wall(3));
            let before = [Fact::Declared(Box::new(first.clone())), Fact::Intended(Box::new(intent.clone()), Wall(2))];
            let begun = Life::declared(&first).begun(Seq::new(2), Epoch::new(1), intent, Wall(2)).expect("nothing is open");
            let learnt = begun.learn(told(&before, Fact::Outcome(Box::new(outcome))));
            let same = std::mem::discriminant(&evidence(&of.clone().id())) == std::mem::discriminant(&evidence(&shown.clone().id()));
            assert_eq!(learnt.is_ok(), same, "{} by what {} shows", of.base(), shown.base());
        }
    }
}
