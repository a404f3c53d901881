//! The engine against a model of it: for each container the list of steps that it must take, and who waits for whom.
//!
//! The model knows no retries, budgets or events: it reads what was recorded, and says whether an engine in its right mind
//! could have had it recorded. Failures pass or are given a new budget by another `up`; nothing crashes and no init is lost
//! here, for then steps are taken again (see `rehearsal`).

mod fuzzed;

use std::collections::BTreeMap;

use fuzzed::bytes::Bytes;
use fuzzed::engine_history::fleet;
use fuzzed::fleets::{cloned, ctid, depending, mounted, spec, wanted, with_application};
use fuzzed::histories::all_steps;
use fuzzed::invariants::{entries, invariants};
use phoenix::driver::Silent;
use phoenix::host::sim::{Fault, Faults, What, When, Where, World, WorldOptions};
use phoenix::ids::{Ctid, State, Step, StepId};
use phoenix::machine::RunEnd;
use phoenix::manifest::{Origin, Spec};
use phoenix::plan::{Repertoire, steps_into};
use phoenix::rehearse::{Ended, Stage};
use phoenix_journal::{Body, DONE, Entry};
use proptest::prelude::*;

/// Each `up` gets every container past one failure at least; no fleet here can fail more often.
const UPS_MAX: usize = 24;

/// What the model knows of one container.
#[derive(Debug)]
struct Model {
    spec: Spec,
    /// The steps still to be taken, each with the state it begins in, last one first.
    left: Vec<(Step, State)>,
    /// What is under way.
    open: Option<StepId>,
    /// What was done last.
    last: Option<Step>,
    /// The state and standing that were recorded last.
    state: State,
    active: bool,
}

impl Model {
    fn new(spec: &Spec) -> Self {
        let below = |state: State| State::ALL[..].iter().copied().take_while(|&one| one != state).last().unwrap_or(State::Declared);
        let into = |state: State| steps_into(state, spec, Repertoire::Proxmox).into_iter().map(move |step| (step, below(state)));
        let mut left: Vec<(Step, State)> = State::ALL.into_iter().flat_map(into).collect();
        left.reverse();
        Self { spec: spec.clone(), left, open: None, last: None, state: State::Declared, active: true }
    }

    /// The step that may begin now, and in which state. One that is done may be held down while a clone is to be made.
    fn due(&mut self, is_wanted: bool) -> Option<(Step, State)> {
        // One whose storage can be copied from a snapshot goes on meanwhile, and is only let go.
        if self.left.is_empty() && is_wanted && self.is_live() {
            self.left.extend([(Step::CloneRelease, State::Done), (Step::CloneHold, State::Done)]);
        } else if self.left.is_empty() && is_wanted {
            let health = self.spec.health.iter().rev().map(|check| (Step::HealthCheck(check.name.clone()), State::Featured));
            self.left.extend(health);
            self.left.extend([(Step::RunReady, State::Volumed), (Step::RunStart, State::Volumed)]);
            self.left.extend([(Step::CloneRelease, State::Volumed), (Step::CloneHold, State::Done)]);
        }
        self.left.last().cloned()
    }

    fn is_live(&self) -> bool {
        self.spec.host_options.storage.as_deref() == Some("local-lvm") && self.spec.mounts.is_empty()
    }

    fn is_done(&self) -> bool {
        self.state == State::Done && self.active && self.open.is_none()
    }

    /// Whether it is still to be copied from `source`.
    fn wants(&self, source: Ctid) -> bool {
        matches!(self.spec.origin, Origin::Clone { source: from } if from == source)
            && self.left.iter().any(|(step, _)| *step == Step::DefineClone)
    }
}

/// What is wrong with a history, in the order in which it was recorded.
fn faults_of(entries: &[Entry], specs: &[Spec], jobs: usize) -> Vec<String> {
    let mut models: BTreeMap<Ctid, Model> = specs.iter().map(|spec| (spec.ctid, Model::new(spec))).collect();
    let mut wrong = Vec::new();
    for entry in entries.iter().filter(|entry| entry.stream.machine == "container") {
        let ctid: Ctid = entry.stream.stream.parse().expect("a container's number");
        if let Body::Intent { step, .. } = &entry.body {
            let step: StepId = step.parse().expect("a step");
            wrong.extend(begins(&mut models, ctid, &step, entry));
            let under_way = models.values().filter(|model| model.open.is_some()).count();
            if under_way > jobs {
                wrong.push(format!("{}: {under_way} effects at once, and {jobs} jobs", entry.seq));
            }
        }
        let model = models.get_mut(&ctid).expect("a container of the fleet");
        if let (Body::Outcome { result, .. }, Some(step)) = (&entry.body, model.open.take()) {
            if *result == DONE && !step.repair {
                model.left.pop();
                model.last = Some(step.step);
            }
        } else if let Body::Intent { step, .. } = &entry.body {
            model.open = Some(step.parse().expect("a step"));
        }
        model.state = entry.state.parse().expect("a state");
        model.active = entry.standing == "active";
    }
    let unfinished = models.iter().filter(|(_, model)| !(model.is_done() && model.left.is_empty()));
    wrong.extend(unfinished.map(|(ctid, model)| format!("{ctid} is not at its end: {model:#?}")));
    wrong
}

/// What is wrong with a step that begins.
fn begins(models: &mut BTreeMap<Ctid, Model>, ctid: Ctid, step: &StepId, entry: &Entry) -> Vec<String> {
    let is_wanted = models.values().any(|other| other.wants(ctid));
    let model = models.get_mut(&ctid).expect("a container of the fleet");
    let mut wrong = Vec::new();
    let due = model.due(is_wanted);
    if due.as_ref().is_none_or(|(wanted, state)| step.step != *wanted || *state != model.state) {
        wrong.push(format!("{}: {ctid} begins {step} in {}, and due is {due:?}", entry.seq, model.state));
    }
    if model.open.is_some() {
        wrong.push(format!("{}: {ctid} begins {step} while {:?} is under way", entry.seq, model.open));
    }
    let (depends_on, origin) = (model.spec.depends_on.clone(), model.spec.origin.clone());
    let waits_for = |models: &BTreeMap<Ctid, Model>, others: &mut dyn Iterator<Item = Ctid>| {
        others
            .filter(|on| !models[on].is_done())
            .map(|on| format!("{}: {ctid} begins {step} before {on} is done", entry.seq))
            .collect::<Vec<_>>()
    };
    match (&step.step, origin) {
        (Step::RunStart, _) => wrong.extend(waits_for(models, &mut depends_on.into_iter())),
        (Step::DefineClone, Origin::Clone { source }) => {
            let held = &models[&source];
            if held.last != Some(Step::CloneHold) || held.open.is_some() {
                wrong.push(format!("{}: {ctid} is copied while {source} is not held: {held:#?}", entry.seq));
            }
        }
        _ => {}
    }
    wrong
}

#[track_caller]
fn check(specs: &[Spec], faults: Faults, jobs: usize, seed: u64) -> usize {
    let options = WorldOptions { faults, ..WorldOptions::seeded(seed) };
    let fleet = "fleet".parse().expect("a name");
    let mut stage = Stage::new(World::new(options), fleet, wanted(specs.to_vec()), jobs, seed).expect("a stage");
    for ups in 1..=UPS_MAX {
        let Ended::Run { end, .. } = stage.up(None, &mut Silent).expect("a run") else { panic!("nothing cuts it") };
        invariants(&stage);
        if end == RunEnd::Done {
            let wrong = faults_of(&entries(&stage), specs, jobs);
            assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), brief(&stage));
            return ups;
        }
    }
    panic!("not done after {UPS_MAX} times `up`:\n{}", brief(&stage));
}

/// The history without the payloads, which the model does not look at.
fn brief(stage: &Stage) -> String {
    let line = |entry: &Entry| format!("{} {} {:?} {} {}\n", entry.seq, entry.stream.stream, entry.body, entry.state, entry.standing);
    entries(stage).iter().map(line).collect()
}

/// Failures that leave the init alone, at the first attempts of some steps.
fn failures(bytes: &mut Bytes<'_>, specs: &[Spec]) -> Faults {
    let one = |bytes: &mut Bytes<'_>| {
        let spec = bytes.pick(specs);
        let step = bytes.pick(&all_steps(&spec));
        let what = match bytes.below(4) {
            0 => What::Transient,
            1 => What::Permanent,
            2 => What::Exit { status: 3, output: "no".to_owned() },
            _ => What::DiskFull,
        };
        // A stop that fails half-way has ended the init all the same.
        let stops = matches!(step, Step::FinalizeStop | Step::CloneHold);
        let when = if bytes.percent(50) && !stops { When::Piece(1 + bytes.byte() % 4) } else { When::Before };
        Fault { ctid: Some(spec.ctid), step: Where::Step(step.id()), attempt: Some(1 + u32::from(bytes.byte() % 3)), when, what }
    };
    Faults { planned: (0..bytes.below(7)).map(|_| one(bytes)).collect(), ..Faults::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_fleet_takes_the_steps_of_its_model(choices in prop::collection::vec(any::<u8>(), 0..60), jobs in 1_usize..4, seed in any::<u64>()) {
        let mut bytes = Bytes::new(&choices);
        let specs = fleet(&mut bytes);
        let faults = failures(&mut bytes, &specs);
        check(&specs, faults, jobs, seed);
    }
}

/// Two clones of one source, one of which another waits for; a dependent of the source besides.
fn family() -> Vec<Spec> {
    let clone = |number| with_application(cloned(mounted(spec(number), "media"), 100));
    vec![spec(100), clone(101), clone(102), depending(spec(103), 101), depending(mounted(spec(104), "media"), 100)]
}

#[test]
fn a_family_takes_the_steps_of_its_model_however_many_jobs_there_are() {
    for jobs in 1..=5 {
        for seed in 0..20 {
            assert_eq!(check(&family(), Faults::default(), jobs, seed), 1);
        }
    }
}

/// The model notices: each change of a good history breaks one of its rules.
/// Each source is what the other's clone depends on: neither may wait for the other to be up before it is held.
#[test]
fn clones_whose_sources_depend_on_each_other_are_made() {
    let crossed = |number, source, on| {
        let mut spec = cloned(spec(number), source);
        spec.depends_on.insert(ctid(on));
        spec
    };
    for jobs in 1..=4 {
        check(&[spec(100), spec(101), crossed(102, 100, 101), crossed(103, 101, 100)], Faults::default(), jobs, 5);
    }
}

/// The first clone fails for good and leaves the source locked, so that the second one waits; another `up` mends both.
#[test]
fn a_clone_that_waited_for_its_source_is_made_by_the_next_up() {
    let step = Where::Step(Step::DefineClone.id());
    let fault = Fault { ctid: Some(ctid(101)), step, attempt: Some(1), when: When::Piece(2), what: What::Permanent };
    let faults = Faults { planned: vec![fault], ..Faults::default() };
    assert_eq!(check(&[spec(100), cloned(spec(101), 100), cloned(spec(102), 100)], faults, 2, 5), 2);
}

#[test]
fn the_model_finds_what_is_wrong() {
    let specs = [spec(100), cloned(spec(101), 100), depending(spec(102), 100)];
    let good = recorded(&specs);
    assert_eq!(faults_of(&good, &specs, 3), Vec::<String>::new());
    let swapped = |one: &str, other: &str| {
        let place = |wanted: &str| good.iter().position(|entry| describes(entry, wanted)).unwrap_or_else(|| panic!("no {wanted}"));
        let mut bad = good.clone();
        bad.swap(place(one), place(other));
        faults_of(&bad, &specs, 3)
    };
    assert!(!swapped("100 finalize.idmap", "100 finalize.start").is_empty(), "steps in another order");
    assert!(swapped("102 run.start", "100 run.start").iter().any(|wrong| wrong.contains("before 100 is done")), "a dependent first");
    assert!(swapped("101 define.clone", "100 clone.hold").iter().any(|wrong| wrong.contains("not held")), "a copy of what is up");
    assert!(faults_of(&good, &specs, 0).iter().any(|wrong| wrong.contains("effects at once")), "too many at once");
    assert!(!faults_of(&good[..good.len() - 4], &specs, 3).is_empty(), "an end that is none");
}

fn recorded(specs: &[Spec]) -> Vec<Entry> {
    let (world, fleet) = (World::new(WorldOptions::seeded(1)), "fleet".parse().expect("a name"));
    let mut stage = Stage::new(world, fleet, wanted(specs.to_vec()), 3, 1).expect("a stage");
    stage.up(None, &mut Silent).expect("a run");
    entries(&stage)
}

fn describes(entry: &Entry, wanted: &str) -> bool {
    matches!(&entry.body, Body::Intent { step, .. } if wanted == format!("{} {step}", entry.stream.stream))
}
