//! Histories of two containers, legal and not, and a witness who says what must hold of whatever the typed machine takes.
//!
//! They are recorded in a journal without guards, so that it is the types that are tried. The bytes decide: mostly the step
//! that is due, with the evidence it should bring; else anything. Not here: the journal's own rules (`order/sql`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phoenix::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, Step, StepId, Token, Wall};
use phoenix::journal::Account;
use phoenix::machine::{
    Declaration, Due, Evidence, Fact, Failure, FailureClass, Life, Line, Note, OutOfTurn, Outcome, Prepared, Quarantine, QuarantineReason,
    Standing, StepResult, Topic,
};
use phoenix::manifest::{Firewall, FirewallPolicy, Origin, Spec, Template};
use phoenix::plan::{Action, Attachment, HoldBy, Init, Intent, Reason, Repertoire, SNAPSHOT_BEFORE_VOLUMES, Source};
use phoenix_journal::{Append, Digest, JournalId, Memory, Recorded, Seq};

use super::bytes::Bytes;
use super::fleets::{cloned, ctid, mounted, spec, with_application};
use super::rows::PERMISSIVE;

/// More entries show nothing new and take the fuzzer's time.
const ENTRIES_MAX: usize = 160;

/// What a history came to.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The states that a container was brought to.
    pub(crate) reached: BTreeSet<State>,
    /// How many histories the machine broke off.
    pub(crate) refused: usize,
}

/// Tells the history that the bytes decide, and checks it at every entry.
pub(crate) fn tell(bytes: &[u8]) -> Told {
    let mut teller = Teller::new(Bytes::new(bytes));
    while !teller.bytes.is_empty() && teller.journal.len() < ENTRIES_MAX {
        let (fact, ctid) = teller.fact();
        teller.record(ctid, &fact);
    }
    teller.account_is_the_same();
    teller.told
}

struct Teller<'a> {
    bytes: Bytes<'a>,
    journal: Memory,
    lives: BTreeMap<Ctid, Result<Life, OutOfTurn>>,
    witnesses: BTreeMap<Ctid, Witness>,
    told: Told,
}

/// What is known of a container without the machine.
#[derive(Clone, Copy, Debug)]
struct Witness {
    incarnation: Incarnation,
    state: State,
    /// Whether the id map was shown since the container began.
    finalized: bool,
    /// Whether it was over.
    ended: bool,
}

impl<'a> Teller<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        let mut journal = Memory::new(&PERMISSIVE, JournalId::from_bytes([9; 16])).expect("rows that make sense");
        journal.begin(Vec::<Line>::new()).expect("an epoch");
        Self { bytes, journal, lives: BTreeMap::new(), witnesses: BTreeMap::new(), told: Told::default() }
    }

    fn fact(&mut self) -> (Fact, Ctid) {
        let ctid = self.bytes.pick(&[ctid(101), ctid(101), ctid(102)]);
        let hostile = self.bytes.percent(20);
        let fact = match self.lives.get(&ctid) {
            Some(Ok(life)) if hostile => anything(&mut self.bytes, life),
            Some(Ok(life)) => due(&mut self.bytes, life),
            Some(Err(_)) | None => Fact::Declared(Box::new(declaration(ctid, incarnation(self.bytes.byte() % 3), State::Declared, 1))),
        };
        (fact, ctid)
    }

    /// Records a fact if it is part of any history, hands it to the machine, and asks the witness.
    fn record(&mut self, ctid: Ctid, fact: &Fact) {
        let verdict = self.journal.append_group(vec![Line::Fact(fact.clone())]).expect("a journal that takes entries").remove(0);
        let Ok(written) = verdict else { return };
        let recorded: Recorded<Fact> = written.part().unwrap_or_else(|_| unreachable!("a fact was recorded"));
        let next = match (self.lives.remove(&ctid), recorded.get()) {
            (None, Fact::Declared(declaration)) => Ok(Life::declared(declaration)),
            (None, _) => unreachable!("a stream begins with a declaration"),
            (Some(Ok(life)), _) => life.learn(recorded),
            (Some(Err(why)), _) => Err(why),
        };
        match &next {
            Ok(life) => self.witness(ctid, fact, life),
            Err(_) => self.told.refused += 1,
        }
        self.lives.insert(ctid, next);
    }

    fn witness(&mut self, ctid: Ctid, fact: &Fact, life: &Life) {
        let (state, incarnation) = (life.state(), life.incarnation());
        let fresh = Witness { incarnation, state: State::Declared, finalized: false, ended: false };
        let before = self.witnesses.get(&ctid).copied().unwrap_or(fresh);
        assert!(
            before.incarnation == incarnation || before.state == State::Declared,
            "a container begins while another goes on: {fact:#?}"
        );
        let before = if before.incarnation == incarnation { before } else { fresh };
        assert!(!before.ended || state == State::Declared, "a container that is over goes to {state}: {fact:#?}");
        assert!(before.state == state || before.state.leads_to(state), "{} to {state}: {fact:#?}", before.state);
        let finalized = before.finalized || shows_the_idmap(fact, incarnation);
        assert!(finalized || state < State::Volumed, "{state} without a finalization: {fact:#?}");
        let ended = before.ended || (before.state != State::Declared && state == State::Declared);
        self.told.reached.insert(state);
        self.witnesses.insert(ctid, Witness { incarnation, state, finalized: finalized && !ended, ended });
    }

    /// What is read back later is what was known at once.
    fn account_is_the_same(&self) {
        let account = Account::of(self.journal.replay(None).expect("a journal that can be read"));
        let states = |lives: &BTreeMap<Ctid, Result<Life, OutOfTurn>>| -> BTreeMap<Ctid, String> {
            let said = |life: &Result<Life, OutOfTurn>| match life {
                Ok(life) => format!("{} {:?} {:?} {:?}", life.state(), life.standing, life.records(), life.open()),
                Err(why) => why.to_string(),
            };
            lives.iter().map(|(&ctid, life)| (ctid, said(life))).collect()
        };
        assert_eq!(states(&account.lives), states(&self.lives));
    }
}

fn shows_the_idmap(fact: &Fact, of: Incarnation) -> bool {
    let Fact::Outcome(outcome) = fact else { return false };
    outcome.step == Step::FinalizeIdmap.id()
        && outcome.incarnation == of
        && matches!(outcome.result, StepResult::Done(Evidence::Idmap { .. }))
}

/// The fact that is due, as an engine would have it recorded.
fn due(bytes: &mut Bytes<'_>, life: &Life) -> Fact {
    match life.due() {
        Due::Settle => {
            let Some((seq, _, intent)) = life.open() else { unreachable!("what is settled is open") };
            let (result, state) = if bytes.percent(15) {
                (result(bytes, &intent.step), intent.state)
            } else {
                let shown = evidence(&intent.step);
                let state = life.after(&intent.step, &shown);
                (StepResult::Done(shown), state)
            };
            Fact::Outcome(Box::new(Outcome { state, ..Outcome::of(intent, *seq, result, Wall(3)) }))
        }
        Due::Take(step) => intended(life, step.id()),
        Due::Repair(step, _) => intended(life, step.repair()),
        Due::Pass(state) => noted(life, Topic::Passed, state),
        Due::Redeclare => {
            let next = incarnation(bytes.byte() % 3);
            Fact::Declared(Box::new(declaration(life.ctid(), next, State::Declared, life.generation.get())))
        }
        Due::Nothing => match bytes.below(3) {
            0 => intended(life, Step::DownDestroy.id()),
            1 => intended(life, Step::CloneHold.id()),
            _ => noted(life, Topic::InitLost { recorded: init(), found: None }, State::Volumed),
        },
    }
}

/// Something that may well be out of turn.
fn anything(bytes: &mut Bytes<'_>, life: &Life) -> Fact {
    let state = bytes.pick(&State::ALL);
    let step = StepId { step: any_step(bytes, &life.spec), repair: bytes.percent(10) };
    match (bytes.below(6), life.open()) {
        (0 | 1, Some((seq, _, intent))) => {
            let result = result(bytes, &step);
            Fact::Outcome(Box::new(Outcome { state, standing: standing(bytes), ..Outcome::of(intent, *seq, result, Wall(3)) }))
        }
        (0, None) => {
            let Fact::Intended(intent, _) = intended(life, step) else { unreachable!("an intent") };
            Fact::Outcome(Box::new(Outcome::of(&intent, Seq::new(bytes.byte().into()), result(bytes, &intent.step), Wall(3))))
        }
        (1 | 2, _) => intended(life, step),
        (3, _) => {
            let generation = life.generation.get() + u64::from(bytes.byte() % 2);
            Fact::Declared(Box::new(declaration(
                life.ctid(),
                incarnation(bytes.byte() % 3),
                bytes.pick(&[life.state(), state]),
                generation,
            )))
        }
        (4, _) => noted(life, Topic::Forgotten { seen: "nothing".to_owned() }, bytes.pick(&[State::Declared, state])),
        (_, _) => noted(life, Topic::Passed, state),
    }
}

fn result(bytes: &mut Bytes<'_>, step: &StepId) -> StepResult {
    match bytes.below(8) {
        0 | 1 => StepResult::Done(evidence(step)),
        2 => StepResult::Done(evidence(&bytes.pick(&all_steps(&with_application(mounted(spec(101), "media")))).id())),
        3 => StepResult::Failed(Failure::new(FailureClass::Transient, "no")),
        4 => StepResult::Partial { leftover: "half".to_owned() },
        5 => StepResult::Interrupted,
        6 => StepResult::Gone,
        _ => StepResult::Absent,
    }
}

fn standing(bytes: &mut Bytes<'_>) -> Standing {
    if bytes.percent(80) {
        return Standing::Active;
    }
    Standing::Quarantined(Quarantine { reason: QuarantineReason::Drift, evidence: "odd".to_owned() })
}

fn any_step(bytes: &mut Bytes<'_>, spec: &Spec) -> Step {
    bytes.pick(&all_steps(spec))
}

/// Every step that the container can be taken through.
pub(crate) fn all_steps(spec: &Spec) -> Vec<Step> {
    let others = [
        Step::TemplateFetch,
        Step::FirewallSet,
        Step::SnapshotTake,
        Step::DefineCreate,
        Step::DefineClone,
        Step::CloneHold,
        Step::CloneRelease,
        Step::DownStop,
        Step::DownDestroy,
    ];
    State::ALL.into_iter().flat_map(|state| phoenix::plan::steps_into(state, spec, Repertoire::Proxmox)).chain(others).collect()
}

fn intended(life: &Life, step: StepId) -> Fact {
    let record = life.record(&step.step);
    let attempt = if step.repair { record.repairs } else { record.intents } + 1;
    let intent = intent((life.ctid(), life.incarnation(), life.generation), life.state(), step, attempt);
    Fact::Intended(Box::new(intent), Wall(2))
}

/// An intent; what it does is of no account here.
pub(crate) fn intent(whose: (Ctid, Incarnation, Generation), state: State, step: StepId, attempt: u32) -> Intent {
    let (ctid, incarnation, generation) = whose;
    let (deadline, token) = ("boot+1000".parse().expect("a moment"), Token::from_random([3; 16]));
    let holds = step == Step::CloneHold.id();
    let action = if holds { Action::Hold { init: None, by: HoldBy::Stop } } else { Action::Mark };
    Intent { run: run(), ctid, incarnation, generation, state, step, attempt, reason: Reason::First, deadline, token, action }
}

fn noted(life: &Life, topic: Topic, state: State) -> Fact {
    let (ctid, incarnation, generation, standing) = (life.ctid(), life.incarnation(), life.generation, Standing::Active);
    Fact::Noted(Box::new(Note { run: run(), ctid, incarnation, generation, topic, state, standing, at: Wall(4) }))
}

/// With everything that only Proxmox has.
fn on_proxmox(mut spec: Spec) -> Spec {
    let (policy_in, policy_out) = (FirewallPolicy::Drop, FirewallPolicy::Accept);
    spec.origin = Origin::Template(Template::Stored("local:vztmpl/debian.tar.zst".to_owned()));
    spec.host_options.fetch_template = true;
    spec.host_options.snapshot_before_volumes = true;
    spec.host_options.firewall = Some(Firewall { enable: true, policy_in, policy_out, rules: Vec::new() });
    spec
}

/// A declaration: 101 is made of everything, 102 is a clone with nothing besides.
pub(crate) fn declaration(of: Ctid, incarnation: Incarnation, state: State, generation: u64) -> Declaration {
    let spec = if of == ctid(101) { on_proxmox(with_application(mounted(spec(101), "media"))) } else { cloned(spec(102), 100) };
    Declaration {
        run: run(),
        fleet: "fleet".parse().expect("a fleet's name"),
        ctid: of,
        incarnation,
        generation: Generation::new(generation),
        spec: Arc::new(spec),
        template: None,
        repertoire: Repertoire::Proxmox,
        state,
        standing: Standing::Active,
        at: Wall(1),
    }
}

/// What a success of this step should show.
pub(crate) fn evidence(step: &StepId) -> Evidence {
    let idmap = || IdMap::shifted(100_000, 65_536).expect("a map");
    let source = |volume: &str| Source { volume: volume.parse().expect("a name"), path: "/srv/media".into(), device: 1, inode: 2 };
    if step.repair {
        return Evidence::Repaired;
    }
    match &step.step {
        Step::TemplateFetch => Evidence::Fetched,
        Step::FirewallSet => Evidence::FirewallSet,
        Step::SnapshotTake => Evidence::Snapshot { name: SNAPSHOT_BEFORE_VOLUMES.to_owned() },
        Step::DefineCreate => Evidence::Created { left_out: 0 },
        Step::DefineClone => Evidence::Cloned { source: ctid(100), incarnation: incarnation(0), shared_mounts: 0 },
        Step::DefineMark => Evidence::Marked,
        Step::CloneHold => Evidence::Held { by: HoldBy::Stop },
        Step::CloneRelease => Evidence::Released,
        Step::ConfigureSet => Evidence::Configured { unenforced: Vec::new() },
        Step::FinalizeStart | Step::RunStart => Evidence::Started { init: init(), idmap: idmap() },
        Step::FinalizeIdmap => Evidence::Idmap { init: init(), idmap: idmap() },
        Step::FinalizeStop | Step::DownStop => Evidence::Stopped,
        Step::VolumePrepare(name) => {
            let source = source(name.as_str());
            Evidence::Prepared(Prepared { source, host_uid: 101_000, host_gid: 101_000, former: None, left_alone: Vec::new() })
        }
        Step::VolumeAttach(at) => {
            Evidence::Attached(Attachment { source: source("media"), at: at.clone(), mechanism: "bind".to_owned(), read_only: false })
        }
        Step::VolumeDetach(_) => Evidence::Detached,
        Step::RunReady => Evidence::Ready { init: init(), basis: "init".to_owned() },
        Step::FeatureApply(_) | Step::ApplicationRun => {
            Evidence::Ran { script: Digest::of(b"script"), started: Wall(1), ended: Wall(2), skipped: false }
        }
        Step::HealthCheck(_) => Evidence::Healthy { asked: 1 },
        Step::AutostartSet => Evidence::AutostartSet { enabled: true },
        Step::DownDestroy => Evidence::Destroyed,
    }
}

fn init() -> Init {
    Init { boot: "boot".parse().expect("a boot id"), pid: 10, start_ticks: 20 }
}

pub(crate) fn incarnation(number: u8) -> Incarnation {
    Incarnation::from_random([number; 16])
}

fn run() -> RunId {
    RunId::from_random([1; 16])
}
