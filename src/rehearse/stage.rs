//! A stage: one fleet, one simulated host, one journal in memory, and runs on it.
//!
//! Apart from the simulator, which knows hosts and no journals. A run passes *points*, counted from 0: before and after each
//! turn of the loop, and before and after each piece of work of the host. A crash can be asked for at any of them. The
//! points follow from the loop and from the operations, so a new step brings its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Append, JournalError, JournalId, Memory};

use crate::driver::rebuild::{Found, RebuildError, remember, survey};
use crate::driver::{Lives, Locks, Observer, PlanError, TurnError, Turner, Wanted, Work, opening_up, run_opened};
use crate::engine::{Dice, Engine, Event, Goal, Orders, Stand};
use crate::host::sim::{Flow, OpId, Progress, Sim, Survivors, World};
use crate::host::{Lease, LockError};
use crate::ids::{Ctid, FleetName, Incarnation, Moment, RunId};
use crate::journal::{Account, SCHEMA, with_texts};
use crate::machine::{Fact, Line, RunClosed, RunCommand, RunEnd};
use crate::plan::Effect;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashKind {
    /// Phoenix, and what else the survivors leave out.
    Process(Survivors),
    /// The host: everything that ran is gone, and what was not synced may be.
    Host,
}

/// One crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At which point of the run, from 0.
    pub point: u64,
    /// What is killed.
    pub kind: CrashKind,
}

/// How a run on a stage ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Run {
        /// How.
        end: RunEnd,
        /// How each container stands.
        stands: BTreeMap<Ctid, Stand>,
        /// How many points were passed.
        points: u64,
    },
    /// By the crash that was asked for.
    Crashed,
}

/// Why a rehearsal broke off.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The manifest does not go with what was done already.
    #[error("the fleet does not go with what was done already")]
    Plan(Vec<PlanError>),
    /// The journal refused something, or the engine asked for something that cannot be.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// The journal could not be begun.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The run did not end: a fault of the engine.
    #[error("the run went on for more than {POINTS_MAX} points without an end")]
    Endless,
    /// Nothing is under way, nothing is waited for, and the run has not ended: a fault of the engine.
    #[error("the run stands still: nothing is under way, and it has not ended")]
    Stuck,
}

/// The most points one run may pass; far beyond any fleet that can be rehearsed.
const POINTS_MAX: u64 = 10_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The simulated host, open to tampering between runs.
    pub world: World,
    /// The journal.
    pub journal: Memory,
    fleet: FleetName,
    wanted: Arc<BTreeMap<Ctid, Wanted>>,
    jobs: usize,
    dice: Dice,
}

impl Stage {
    /// A stage on which nothing has happened.
    pub fn new(mut world: World, fleet: FleetName, wanted: BTreeMap<Ctid, Wanted>, jobs: usize, seed: u64) -> Result<Self, StageError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut dice = Dice::new(bytes);
        let journal = Memory::new(&SCHEMA, JournalId::from_bytes(dice.bytes()))?;
        world.settle_in(journal.journal());
        Ok(Self { world, journal, fleet, wanted: Arc::new(wanted), jobs, dice })
    }

    /// What the journal says now.
    pub fn account(&self) -> Result<Account, StageError> {
        Ok(Account::of(self.journal.replay(None)?))
    }

    /// `up`, with new budgets for what failed.
    pub fn up(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Up, crash, observer)
    }

    /// `resume`.
    pub fn resume(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Resume, crash, observer)
    }

    /// `down` of the whole fleet.
    pub fn down(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Down, crash, observer)
    }

    /// `journal rebuild`: the journal is thrown away and another begun from what the world shows. Where something is still at
    /// work nothing is thrown away.
    pub fn rebuild(&mut self) -> Result<BTreeMap<Ctid, Found>, RebuildError> {
        let host = Sim::new(self.world.clone(), Flow::Still);
        let survey = survey(&host, &self.fleet, &self.wanted, &mut || self.dice.bytes())?;
        let found = survey.found.clone();
        self.journal = remember(survey)?.reopened();
        self.world = host.world();
        self.world.forget_holds();
        Ok(found)
    }

    fn run(&mut self, command: RunCommand, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        let id = RunId::from_random(self.dice.bytes());
        let engine = self.begin(id, command, observer)?;
        let journal = std::mem::replace(&mut self.journal, Memory::new(&SCHEMA, JournalId::from_bytes([0; 16]))?);
        let mut turner = Turner::new(journal, engine, FreeLocks, observer);
        let mut show = Show { world: &mut self.world, crash, point: 0, ops: BTreeMap::new(), timers: BTreeSet::new() };
        let ended = show.play(&mut turner);
        let crashed = matches!(ended, Ok(Played::Crashed));
        if let Ok(Played::End(end)) = ended {
            let at = show.world.now().wall;
            turner.journal.append_group(vec![Line::Fact(Fact::RunClosed(RunClosed { run: id, end, at }))])?;
        }
        let points = show.point;
        let stands = turner.engine.lives().filter_map(|(ctid, _)| turner.engine.stand(ctid).map(|stand| (ctid, stand))).collect();
        self.journal = turner.journal.reopened();
        if crashed {
            match crash.map(|crash| crash.kind) {
                Some(CrashKind::Process(survivors)) => self.world.crash_process(survivors),
                Some(CrashKind::Host) | None => self.world.crash_host(),
            }
        }
        Ok(match ended? {
            Played::Crashed => Ended::Crashed,
            Played::End(end) => Ended::Run { end, stands, points },
        })
    }

    /// Writes the opening and makes the engine.
    fn begin(&mut self, id: RunId, command: RunCommand, observer: &mut dyn Observer) -> Result<Engine, StageError> {
        let now = self.world.now();
        let account = self.account()?;
        let mut dice = self.dice.clone();
        let facts = match command {
            RunCommand::Up => {
                let fresh = || Incarnation::from_random(dice.bytes());
                opening_up(id, &self.fleet, &self.wanted, &account.lives, fresh, now.wall).map_err(StageError::Plan)?
            }
            RunCommand::Resume | RunCommand::Down | RunCommand::Retry | RunCommand::Rebuild => Vec::new(),
        };
        self.dice = dice;
        let containers = self.wanted.keys().map(|&ctid| (ctid, self.fleet.clone())).collect();
        let mut first = vec![Line::Fact(run_opened(id, command, containers, self.jobs, now.wall))];
        first.extend(facts.into_iter().map(Line::Fact));
        for line in self.journal.begin(first)? {
            if let Line::Fact(fact) = line.get() {
                observer.observe(crate::driver::Progress::Recorded { seq: line.seq(), fact });
            }
        }
        let mut lives = self.account()?.lives;
        lives.retain(|ctid, _| self.wanted.contains_key(ctid));
        self.fill(&mut lives);
        let ctids: Vec<Ctid> = lives.keys().copied().collect();
        let observation = self.world.observe(&ctids);
        let verify = lives.values().flatten().filter_map(|life| life.init()).any(|init| init.boot != observation.boot);
        let goal = if command == RunCommand::Down { Goal::Down } else { Goal::Up };
        let (epoch, _) = self.journal.epoch().expect("a journal that was begun has an epoch");
        let dice = Dice::new(self.dice.bytes());
        let orders = Orders { run: id, goal, journal: self.journal.journal(), epoch, jobs: self.jobs, verify, dice };
        Ok(Engine::new(orders, lives, observation))
    }

    fn fill(&self, lives: &mut Lives) {
        for life in lives.values_mut().flatten() {
            let filled = with_texts(&life.spec, |digest| self.journal.blob(digest).ok().flatten());
            life.spec = filled.map_or_else(|| Arc::clone(&life.spec), Arc::new);
        }
    }
}

/// How a show ended.
enum Played {
    End(RunEnd),
    Crashed,
}

/// One run being played.
struct Show<'a> {
    world: &'a mut World,
    crash: Option<Crash>,
    point: u64,
    ops: BTreeMap<OpId, Ctid>,
    timers: BTreeSet<(u64, Ctid)>,
}

impl Show<'_> {
    fn play(&mut self, turner: &mut Turner<'_, Memory, FreeLocks>) -> Result<Played, StageError> {
        let mut events = vec![Event::Started];
        loop {
            if self.pass_point() {
                return Ok(Played::Crashed);
            }
            let now = self.world.now();
            let work = turner.turn(std::mem::take(&mut events), &now)?;
            if self.pass_point() {
                return Ok(Played::Crashed);
            }
            for piece in work {
                events.extend(self.start(piece));
            }
            if let Some(end) = turner.end() {
                return Ok(Played::End(end));
            }
            while events.is_empty() {
                match self.advance()? {
                    Some(event) => events.push(event),
                    None if self.pass_point() => return Ok(Played::Crashed),
                    None => {}
                }
            }
        }
    }

    /// Counts a point; whether the crash is due.
    fn pass_point(&mut self) -> bool {
        let due = self.crash.is_some_and(|crash| crash.point == self.point);
        self.point += 1;
        due
    }

    fn start(&mut self, work: Work) -> Option<Event> {
        match work {
            Work::CarryOut { ctid, effect, lease: _ } => {
                let op = self.world.begin(effect.get());
                self.ops.insert(op, ctid);
                None
            }
            Work::Settle(doubt) => {
                let ctid = doubt.effect.intent.ctid;
                let report = self.world.settle(&doubt.effect, &mut |_| {});
                let seen = self.world.observe(&[ctid]).containers.remove(&ctid).map(Box::new);
                Some(Event::Settled { ctid, report, seen })
            }
            Work::Wake { ctid, at } => {
                self.timers.insert((at.boottime_ms, ctid));
                None
            }
        }
    }

    /// Does the next piece of work, or lets time pass to the next timer; the event that comes of it, if one does.
    fn advance(&mut self) -> Result<Option<Event>, StageError> {
        if self.point > POINTS_MAX {
            return Err(StageError::Endless);
        }
        let due = |op: &OpId| self.world.next_due(*op).map(|moment| moment.boottime_ms);
        let op = self.ops.keys().map(|op| (due(op).unwrap_or(0), *op)).min();
        let timer = self.timers.first().copied();
        match (op, timer) {
            (Some((at, op)), timer) if timer.is_none_or(|(wake, _)| at <= wake) => Ok(match self.world.advance(op) {
                Progress::More => None,
                Progress::Finished(report) => self.ops.remove(&op).map(|ctid| Event::Finished { ctid, report }),
            }),
            (_, Some((wake, ctid))) => {
                self.timers.remove(&(wake, ctid));
                let Moment { boottime_ms, .. } = self.world.now().moment;
                self.world.pass(Duration::from_millis(wake.saturating_sub(boottime_ms)));
                Ok(Some(Event::Woke { ctid }))
            }
            (Some(_) | None, None) => Err(StageError::Stuck),
        }
    }
}

/// The engine never begins two effects on one container, and the simulator notices if it does.
struct FreeLocks;

impl Locks for FreeLocks {
    fn lock(&self, _: &Effect) -> Result<Lease, LockError> {
        Ok(Lease { files: Vec::new(), keep: None })
    }
}
