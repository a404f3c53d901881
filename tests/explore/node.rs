//! One situation of a fleet: the real engine, the real guards of the journal, the abstract host, and what is under way.
//!
//! The loop is `phoenix::driver::Turner`'s, taken apart so that a crash can come between two of its transactions; that it
//! does the same is checked in `main`. Time stands still and chance is a counter, so that nothing but what happened tells two
//! situations apart. Not here: which things may happen (`moves`).

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use phoenix::driver::{Lives, Wanted, opening_up, run_opened};
use phoenix::engine::{Dice, Engine, Event, Goal, Orders, Outbox, Request};
use phoenix::ids::{Ctid, FleetName, Incarnation, Moment, Now, RunId, Wall};
use phoenix::journal::{Account, SCHEMA, with_texts};
use phoenix::machine::{Fact, Line, Report, RunCommand, RunEnd, StepResult, Wait, WaitKind};
use phoenix::manifest::Spec;
use phoenix::plan::{Doubt, Effect};
use phoenix_journal::{Append, Digest, JournalId, Memory};

use super::host::Host;
use super::invariants;
use super::look::shown;
use super::search::Violation;

/// How many bad things may still happen on the way from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Steps that fail, probes that cannot tell, inits that die.
    pub(crate) failures: u32,
    /// Kills of Phoenix, with or without its children, and of the host.
    pub(crate) crashes: u32,
    /// People who remove, replace, unmark or put back a container.
    pub(crate) meddlers: u32,
    /// People who say `down`, at any time when nobody is at work.
    pub(crate) downs: u32,
    /// People who say `up` again, at any such time.
    pub(crate) ups: u32,
    /// Effects at once.
    pub(crate) jobs: usize,
}

/// One situation.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) phase: Phase,
    /// Where the last run was to lead.
    pub(crate) goal: Goal,
    pub(crate) journal: Rc<Memory>,
    pub(crate) host: Host,
    /// Effects that the host has been handed and has not reported on.
    pub(crate) ops: BTreeMap<Ctid, Op>,
    /// Steps in doubt that the host was asked about.
    pub(crate) settles: BTreeMap<Ctid, Rc<Doubt>>,
    /// Waits that were asked for.
    pub(crate) wakes: BTreeSet<Ctid>,
    pub(crate) left: Budget,
    /// How many entries somebody was told of.
    pub(crate) told: usize,
    /// Whether the host changed in a way that no run has looked for since.
    pub(crate) surprised: bool,
    /// Where a host that loses the last transaction goes back to.
    pub(crate) before: Option<Cut>,
}

/// Who is at work.
#[derive(Clone)]
pub(crate) enum Phase {
    /// A run.
    Running(Engine),
    /// Nobody: the run ended.
    Ended(Engine, RunEnd),
    /// Nobody: the run was killed. This is what the journal tells.
    Down(Rc<Lives>),
}

/// An effect under way.
#[derive(Clone)]
pub(crate) struct Op {
    pub(crate) effect: Rc<Effect>,
    /// Whether its shim went on when Phoenix was killed: it holds the locks, and nobody waits for its report.
    pub(crate) orphan: bool,
}

/// What a crash between two transactions leaves.
#[derive(Clone)]
pub(crate) struct Cut {
    pub(crate) journal: Rc<Memory>,
    pub(crate) lives: Rc<Lives>,
}

/// What does not change.
pub(crate) struct Fleet {
    pub(crate) specs: Vec<Spec>,
    pub(crate) wanted: BTreeMap<Ctid, Wanted>,
}

impl Fleet {
    fn name() -> FleetName {
        "fleet".parse().expect("a name")
    }

    pub(crate) fn spec(&self, ctid: Ctid) -> &Spec {
        &self.wanted[&ctid].spec
    }
}

impl Node {
    /// The situation after `up` on an empty host.
    pub(crate) fn first(fleet: &Fleet, host: Host, left: Budget) -> Result<Self, Violation> {
        let journal = Memory::new(&SCHEMA, JournalId::from_bytes([1; 16])).expect("the rows make rules");
        let phase = Phase::Down(Rc::default());
        let (ops, settles, wakes) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let goal = Goal::Up;
        let node =
            Self { phase, goal, journal: Rc::new(journal), host, ops, settles, wakes, left, told: 0, surprised: false, before: None };
        let mut fresh = 0;
        let incarnation = || {
            fresh += 1;
            Incarnation::from_random([fresh; 16])
        };
        let first = opening_up(RunId::from_random([1; 16]), &Fleet::name(), &fleet.wanted, &Lives::new(), incarnation, Wall(0));
        let first = first.expect("a new fleet can be declared");
        node.begin(fleet, RunCommand::Up, Lives::new(), first)
    }

    /// The situation after `resume` has looked and begun.
    pub(crate) fn recovered(&self, fleet: &Fleet, lives: &Lives) -> Result<Self, Violation> {
        Self { surprised: false, ..self.clone() }.begin(fleet, RunCommand::Resume, lives.clone(), Vec::new())
    }

    /// The situation after a person said `down`.
    pub(crate) fn taken_down(&self, fleet: &Fleet, lives: &Lives) -> Result<Self, Violation> {
        let mut node = Self { surprised: false, goal: Goal::Down, ..self.clone() };
        node.left.downs -= 1;
        node.begin(fleet, RunCommand::Down, lives.clone(), Vec::new())
    }

    /// The situation after a person said `up` once more.
    pub(crate) fn brought_up(&self, fleet: &Fleet, lives: &Lives) -> Result<Self, Violation> {
        let mut node = Self { surprised: false, goal: Goal::Up, ..self.clone() };
        node.left.ups -= 1;
        let run = node.next_run();
        let mut fresh = 0;
        let incarnation = || {
            fresh += 1;
            Incarnation::from_random([0x80 + 8 * u8::try_from(node.journal.epochs().len()).expect("few runs") + fresh; 16])
        };
        match opening_up(run, &Fleet::name(), &fleet.wanted, lives, incarnation, Wall(0)) {
            Ok(facts) => node.begin(fleet, RunCommand::Up, lives.clone(), facts),
            Err(refused) => Err(Violation::new("invariant_the_same_manifest_is_never_refused", format!("{refused:?}"))),
        }
    }

    fn next_run(&self) -> RunId {
        RunId::from_random([u8::try_from(self.journal.epochs().len() + 1).expect("few runs"); 16])
    }

    fn begin(mut self, fleet: &Fleet, command: RunCommand, mut lives: Lives, facts: Vec<Fact>) -> Result<Self, Violation> {
        let run = self.next_run();
        let mut journal = self.journal.reopened();
        let named = fleet.wanted.keys().map(|&ctid| (ctid, Fleet::name())).collect();
        let mut first = vec![Line::Fact(run_opened(run, command, named, self.left.jobs, Wall(0)))];
        let declares = !facts.is_empty();
        first.extend(facts.into_iter().map(Line::Fact));
        journal.begin(first).map_err(|why| Violation::new("invariant_journal_accepts_everything", format!("{why:?}")))?;
        if declares {
            lives = told_by(&journal);
        }
        let observation = self.host.observe(&fleet.specs, journal.journal());
        let (epoch, _) = journal.epoch().expect("a journal that was begun has an epoch");
        let mut seed = [0; 16];
        seed[0] = u8::try_from(epoch.get()).expect("few runs");
        let (journal_id, jobs) = (journal.journal(), self.left.jobs);
        let orders = Orders { run, goal: self.goal, journal: journal_id, epoch, jobs, dice: Dice::new(seed) };
        self.told = journal.len();
        self.journal = Rc::new(journal);
        self.phase = Phase::Running(Engine::new(orders, lives, observation));
        self.turn(Event::Started, &mut Vec::new())?;
        Ok(self)
    }

    /// What the journal tells now, as the engine has it.
    pub(crate) fn lives(&self) -> Rc<Lives> {
        match &self.phase {
            Phase::Running(engine) | Phase::Ended(engine, _) => lives_of(engine),
            Phase::Down(lives) => Rc::clone(lives),
        }
    }

    /// One turn of the loop: everything that follows from an event. Puts what a crash would leave after each of its
    /// transactions but the last into `cuts`.
    pub(crate) fn turn(&mut self, event: Event, cuts: &mut Vec<Cut>) -> Result<(), Violation> {
        self.turn_at(event, &self.now(), cuts)
    }

    /// As [`Self::turn`], at a time of its own.
    pub(crate) fn turn_at(&mut self, event: Event, now: &Now, cuts: &mut Vec<Cut>) -> Result<(), Violation> {
        let Phase::Running(mut engine) = std::mem::replace(&mut self.phase, Phase::Down(Rc::default())) else {
            unreachable!("only a run has turns")
        };
        if self.host.slip == Some(super::slips::Slip::LosesCommits) {
            self.before = Some(Cut { journal: Rc::clone(&self.journal), lives: lives_of(&engine) });
        }
        let (mut outbox, mut begun) = (Outbox::default(), BTreeMap::new());
        engine.handle(event, now, &mut outbox);
        while !outbox.is_empty() {
            let before = self.journal.len();
            for event in self.serve(&engine, &mut outbox, &mut begun)? {
                engine.handle(event, now, &mut outbox);
            }
            if self.journal.len() > before && !outbox.is_empty() {
                cuts.push(Cut { journal: Rc::clone(&self.journal), lives: lives_of(&engine) });
            }
        }
        // Work is handed out only at the end of a turn.
        self.ops.append(&mut begun);
        self.phase = match engine.end() {
            Some(end) => Phase::Ended(engine, end),
            None => Phase::Running(engine),
        };
        Ok(())
    }

    /// Time stands still within a boot: what is waited for comes when `moves` says so.
    pub(crate) fn now(&self) -> Now {
        let boot = format!("boot-{}", self.host.boot).parse().expect("a boot id");
        Now { wall: Wall(0), moment: Moment { boot, boottime_ms: 0 } }
    }

    /// Serves everything in the outbox, in one transaction; the events that come of it.
    fn serve(&mut self, engine: &Engine, outbox: &mut Outbox, begun: &mut BTreeMap<Ctid, Op>) -> Result<Vec<Event>, Violation> {
        let (mut events, mut lines) = (Vec::new(), Vec::new());
        for request in outbox.drain() {
            match request {
                Request::Begin(effect) => {
                    if let Some(holder) = self.holder(&effect) {
                        let wait = Wait { kind: WaitKind::Lock, name: "shim".to_owned(), ctid: Some(holder), pid: None, since: Wall(0) };
                        events.push(Event::Busy { ctid: effect.intent.ctid, wait });
                    } else {
                        invariants::of_beginning(self, engine, &effect, begun)?;
                        lines.push(Line::Effect(effect, Wall(0)));
                    }
                }
                Request::Look { ctid } => events.push(self.look(engine, ctid)),
                Request::Record(fact) => lines.push(Line::Fact(fact)),
                Request::Settle(doubt) => drop(self.settles.insert(doubt.effect.intent.ctid, Rc::new(*doubt))),
                Request::Wake { ctid, at: _ } => drop(self.wakes.insert(ctid)),
            }
        }
        if lines.is_empty() {
            return Ok(events);
        }
        let verdicts = Rc::make_mut(&mut self.journal).append_group(lines).expect("memory does not fail");
        for verdict in verdicts {
            let line = verdict.map_err(|why| Violation::new("invariant_journal_accepts_everything", format!("{why:?}")))?;
            match line.part::<Effect>() {
                Ok(effect) => {
                    events.push(Event::Began { ctid: effect.intent.ctid, seq: effect.seq() });
                    begun.insert(effect.intent.ctid, Op { effect: Rc::new(effect.into_inner()), orphan: false });
                }
                Err(line) => match line.part::<Fact>() {
                    Ok(fact) => events.push(Event::Recorded(fact)),
                    Err(_) => unreachable!("a line is an effect or a fact"),
                },
            }
        }
        self.told = self.journal.len();
        Ok(events)
    }

    /// The answer to a container that the engine wants looked at once more.
    pub(crate) fn look(&self, engine: &Engine, ctid: Ctid) -> Event {
        let life = engine.lives().find(|(of, _)| *of == ctid).and_then(|(_, life)| life.as_ref().ok());
        let seen = life.and_then(|life| self.host.seen(&life.spec, self.journal.journal())).map(Box::new);
        Event::Looked { ctid, seen }
    }

    /// The container whose orphan holds a lock that an effect needs.
    fn holder(&self, effect: &Effect) -> Option<Ctid> {
        let locks = effect.locks();
        let holds = |op: &Op| op.orphan && op.effect.locks().iter().any(|ctid| locks.contains(ctid));
        let blind = self.host.slip == Some(super::slips::Slip::IgnoresLocks);
        self.ops.iter().find(|(_, op)| holds(op) && !blind).map(|(&ctid, _)| ctid)
    }

    /// The report of an effect that the host carried out to its end.
    pub(crate) fn report(&mut self, effect: &Effect, refused: Option<StepResult>) -> Report {
        let init = self.host.init(effect.intent.ctid);
        let result = refused.unwrap_or_else(|| StepResult::Done(shown(effect, init)));
        self.host.note_held(effect, &result);
        Report::bare(result)
    }
}

fn lives_of(engine: &Engine) -> Rc<Lives> {
    Rc::new(engine.lives().map(|(ctid, life)| (ctid, life.as_ref().map_err(Clone::clone).cloned())).collect())
}

/// What a journal tells, scripts with their texts.
pub(crate) fn told_by(journal: &Memory) -> Lives {
    let mut told = Account::of(journal.replay(None).expect("memory can be read")).lives;
    for life in told.values_mut().flatten() {
        let filled = with_texts(&life.spec, |digest: &Digest| journal.blob(digest).ok().flatten());
        life.spec = filled.expect("the journal keeps every script").into();
    }
    told
}
