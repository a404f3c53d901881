//! The rows at work: a life as the journal takes it and gives it back, and what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Append, JournalId, Memory, Refused, Seq, StreamKey};

use super::SCHEMA;
use crate::codec::CONTAINER;
use crate::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, StepId, Token, Wall};
use crate::machine::{
    Declaration, Evidence, Fact, Line, Note, Outcome, RunClosed, RunCommand, RunEnd, RunOpened, Standing, StepResult, Topic,
};
use crate::manifest::{Autostart, HostOptions, Origin, Ready, ReadyProbe, Resources, Spec, Template};
use crate::plan::{Action, Init, Intent, Reason, Repertoire};

const CTID: u32 = 101;

fn run() -> RunId {
    RunId::from_random([1; 16])
}

fn ctid() -> Ctid {
    Ctid::new(CTID).expect("a container's number")
}

fn life() -> Incarnation {
    Incarnation::from_random([2; 16])
}

fn declared() -> Declaration {
    let spec = Spec {
        ctid: ctid(),
        hostname: "db".parse().expect("a host name"),
        origin: Origin::Template(Template::Stored("debian".to_owned())),
        unprivileged: true,
        idmap: IdMap::shifted(100_000, 65_536).expect("a map"),
        resources: Resources { memory_mb: 64, swap_mb: 0, cores: None, disk_gb: None },
        network: Vec::new(),
        mounts: Vec::new(),
        depends_on: BTreeSet::new(),
        features: Vec::new(),
        application: None,
        health: Vec::new(),
        ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(1) },
        autostart: Autostart { enabled: false, order: None, up_delay_s: None, down_timeout_s: None },
        host_options: HostOptions::default(),
    };
    Declaration {
        run: run(),
        fleet: "fleet".parse().expect("a fleet's name"),
        ctid: ctid(),
        incarnation: life(),
        generation: Generation::FIRST,
        spec: Arc::new(spec),
        template: None,
        repertoire: Repertoire::Common,
        state: State::Declared,
        standing: Standing::Active,
        at: Wall(1),
    }
}

fn intent(step: &str, state: State, action: Action) -> Intent {
    Intent {
        run: run(),
        ctid: ctid(),
        incarnation: life(),
        generation: Generation::FIRST,
        state,
        step: step.parse::<StepId>().expect("a step"),
        attempt: 1,
        reason: Reason::First,
        deadline: "boot+1000".parse().expect("a moment"),
        token: Token::from_random([3; 16]),
        action,
    }
}

fn note(state: State) -> Fact {
    let (topic, standing) = (Topic::Passed, Standing::Active);
    let (run, ctid, incarnation, generation, at) = (run(), ctid(), life(), Generation::FIRST, Wall(4));
    Fact::Noted(Box::new(Note { run, ctid, incarnation, generation, topic, state, standing, at }))
}

/// A journal in memory, and what it was given and accepted.
struct History {
    journal: Memory,
    accepted: Vec<Fact>,
}

impl History {
    fn opened() -> Self {
        let mut journal = Memory::new(&SCHEMA, JournalId::from_bytes([9; 16])).expect("rows that make sense");
        let containers = BTreeMap::from([(ctid(), "fleet".parse().expect("a fleet's name"))]);
        let opened = Fact::RunOpened(Box::new(RunOpened { run: run(), command: RunCommand::Up, containers, jobs: 1, at: Wall(1) }));
        let declared = Fact::Declared(Box::new(declared()));
        let accepted = vec![opened, declared];
        journal.begin(accepted.iter().cloned().map(Line::Fact).collect()).expect("a run begins with these");
        Self { journal, accepted }
    }

    fn append(&mut self, fact: Fact) -> Result<Seq, Refused> {
        let verdict = self.journal.append_group(vec![Line::Fact(fact.clone())]).expect("a journal that takes entries").remove(0);
        let recorded = verdict?;
        self.accepted.push(fact);
        Ok(recorded.seq())
    }

    /// The step is taken, succeeds, and leads to `to`.
    #[track_caller]
    fn take(&mut self, step: &str, from: State, to: State, action: Action, evidence: Evidence) {
        let intent = intent(step, from, action);
        let seq = self.append(Fact::Intended(Box::new(intent.clone()), Wall(2))).expect("an intent in its state");
        let outcome = Outcome { state: to, ..Outcome::of(&intent, seq, StepResult::Done(evidence), Wall(3)) };
        self.append(Fact::Outcome(Box::new(outcome))).expect("an outcome with its evidence");
    }
}

fn init() -> Init {
    Init { boot: "boot".parse().expect("a boot id"), pid: 10, start_ticks: 20 }
}

/// A life from its declaration to `Done`, a fall back, a new start, and its end.
fn whole_life() -> History {
    use State::{Configured, Declared, Defined, Done, Featured, Finalized, Running, Volumed};
    let mut history = History::opened();
    let (init, idmap) = (init(), IdMap::shifted(100_000, 65_536).expect("a map"));
    let configured = Evidence::Configured { unenforced: Vec::new() };
    let mapped = Evidence::Idmap { init: init.clone(), idmap };
    let ready = || Evidence::Ready { init: init.clone(), basis: "init".to_owned() };
    history.take("define.create", Declared, Declared, Action::Create { template: None }, Evidence::Created { left_out: 0 });
    history.take("define.mark", Declared, Defined, Action::Mark, Evidence::Marked);
    history.take("configure.set", Defined, Configured, Action::Configure, configured);
    history.take("finalize.idmap", Configured, Configured, Action::ReadIdmap { init: init.clone() }, mapped);
    history.take("finalize.stop", Configured, Finalized, Action::Stop { init: None }, Evidence::Stopped);
    history.append(note(Volumed)).expect("a container without volumes passes");
    history.take("run.ready", Volumed, Running, Action::AwaitReady { init: init.clone() }, ready());
    history.append(note(Featured)).expect("a container without features passes");
    history.take("autostart.set", Featured, Done, Action::SetAutostart, Evidence::AutostartSet { enabled: false });
    history.append(note(Volumed)).expect("a fall back");
    history.take("down.destroy", Volumed, Declared, Action::Destroy, Evidence::Destroyed);
    let closed = RunClosed { run: run(), end: RunEnd::Done, at: Wall(9) };
    history.append(Fact::RunClosed(closed)).expect("the end of the run");
    history
}

#[test]
fn a_whole_life_is_accepted_and_comes_back_as_it_was() {
    let history = whole_life();
    let entries = history.journal.replay(None).expect("a journal that can be read");
    let back: Vec<Fact> = entries.iter().map(|entry| entry.mint::<Fact>().expect("an entry of ours").into_inner()).collect();
    assert_eq!(back, history.accepted);
}

#[test]
fn a_life_that_has_ended_takes_a_new_declaration_alone() {
    let mut history = whole_life();
    assert!(history.append(Fact::Intended(Box::new(intent("define.create", State::Declared, Action::Mark)), Wall(5))).is_err());
    let again = Declaration { incarnation: Incarnation::from_random([7; 16]), ..declared() };
    history.append(Fact::Declared(Box::new(again))).expect("a new incarnation");
    let position = history.journal.positions().expect("positions").into_iter().find(|position| position.key.machine == CONTAINER);
    assert_eq!(position.expect("the container's").key, StreamKey::new(CONTAINER, CTID.to_string()));
}

#[test]
fn no_state_is_entered_without_its_evidence() {
    let mut history = History::opened();
    assert!(matches!(history.append(note(State::Defined)), Err(Refused::NeedsEvidence { .. })));
    assert!(matches!(history.append(note(State::Volumed)), Err(Refused::Edge { .. })));
}

#[test]
fn no_step_begins_out_of_its_state() {
    let mut history = History::opened();
    let early = intent("volume.attach[/srv]", State::Declared, Action::Mark);
    assert!(matches!(history.append(Fact::Intended(Box::new(early), Wall(2))), Err(Refused::Begins { .. })));
}
