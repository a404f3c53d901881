//! A stage: one fleet, one simulated host, one journal in memory, and runs on it.
//!
//! Apart from the simulator, which knows hosts and no journals. A run passes *points*, counted from 0: before each turn of the
//! loop, after each transaction in it, and after each piece of work of the host has been started or done. A crash can be asked
//! for at any of them. The points follow from the loop and from the operations, so a new step brings its own. Not here: the
//! playing (`show`).

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::{Append, JournalError, JournalId, Memory};

use crate::driver::rebuild::{Found, RebuildError, remember, survey};
use crate::driver::{Lives, Observer, PlanError, TurnError, Turner, Wanted, opening_up, run_opened};
use crate::engine::{Dice, Engine, Goal, Orders, Stand};
use crate::host::sim::{Flow, Sim, World};
use crate::ids::{Ctid, FleetName, Incarnation, RunId};
use crate::journal::{Account, SCHEMA, with_texts};
use crate::machine::{Fact, Line, RunClosed, RunCommand, RunEnd};
use crate::plan::Doubt;

use super::crash::{Crash, CrashKind};
use super::show::{FreeLocks, Guide, Played, Point, Show, crash};

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
    #[error("the run went on and on without an end")]
    Endless,
    /// Nothing is under way, nothing is waited for, and the run has not ended: a fault of the engine.
    #[error("the run stands still: nothing is under way, and it has not ended")]
    Stuck,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The simulated host, open to tampering between runs.
    pub world: World,
    /// The journal.
    pub journal: Memory,
    pub(super) cast: Arc<Cast>,
    pub(super) dice: Dice,
}

/// What is played, the same in every run.
#[derive(Debug)]
pub(super) struct Cast {
    fleet: FleetName,
    wanted: BTreeMap<Ctid, Wanted>,
    jobs: usize,
}

impl Stage {
    /// A stage on which nothing has happened.
    pub fn new(mut world: World, fleet: FleetName, wanted: BTreeMap<Ctid, Wanted>, jobs: usize, seed: u64) -> Result<Self, StageError> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let mut dice = Dice::new(bytes);
        let journal = Memory::new(&SCHEMA, JournalId::from_bytes(dice.bytes()))?;
        world.settle_in(journal.journal());
        Ok(Self { world, journal, cast: Arc::new(Cast { fleet, wanted, jobs }), dice })
    }

    /// What the journal says now.
    pub fn account(&self) -> Result<Account, StageError> {
        Ok(Account::of_memory(&self.journal))
    }

    /// `up`, with new budgets for what failed.
    pub fn up(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Up, &mut One(crash), observer)
    }

    /// `resume`.
    pub fn resume(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Resume, &mut One(crash), observer)
    }

    /// `down` of the whole fleet.
    pub fn down(&mut self, crash: Option<Crash>, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        self.run(RunCommand::Down, &mut One(crash), observer)
    }

    /// `journal rebuild`: the journal is thrown away and another begun from what the world shows. Where something is still at
    /// work nothing is thrown away.
    pub fn rebuild(&mut self) -> Result<BTreeMap<Ctid, Found>, RebuildError> {
        let host = Sim::new(self.world.clone(), Flow::Still);
        let survey = survey(&host, &self.cast.fleet, &self.cast.wanted, &mut || self.dice.bytes())?;
        let found = survey.found.clone();
        self.journal = remember(survey)?.reopened();
        self.world = host.world();
        self.world.forget_holds();
        Ok(found)
    }

    /// A run that asks `guide` at every point.
    pub fn run(&mut self, command: RunCommand, guide: &mut dyn Guide, observer: &mut dyn Observer) -> Result<Ended, StageError> {
        let id = RunId::from_random(self.dice.bytes());
        let engine = self.begin(id, command, observer)?;
        let mut turner = Turner::new(&mut self.journal, engine, FreeLocks, observer);
        let mut show = Show::new(&mut self.world, &self.cast, &self.dice, guide);
        let played = show.play(&mut turner);
        let points = show.point;
        if let Ok(Played::End(end)) = played {
            let at = self.world.now().wall;
            turner.journal.append_group(vec![Line::Fact(Fact::RunClosed(RunClosed { run: id, end, at }))])?;
        }
        turner.journal.close();
        match played? {
            Played::Crashed(kind) => {
                crash(&mut self.world, kind);
                Ok(Ended::Crashed)
            }
            Played::End(end) => {
                let stand = |(ctid, _)| Some((ctid, turner.engine.stand(ctid)?));
                Ok(Ended::Run { end, stands: turner.engine.lives().filter_map(stand).collect(), points })
            }
        }
    }

    /// Writes the opening and makes the engine.
    fn begin(&mut self, id: RunId, command: RunCommand, observer: &mut dyn Observer) -> Result<Engine, StageError> {
        let Cast { fleet, wanted, jobs } = &*self.cast;
        // Kept before anything is added: what crashes in this run leave has it in common.
        self.journal.keep_folded::<Account>();
        let now = self.world.now();
        let facts = match command {
            RunCommand::Up => {
                let dice = &mut self.dice;
                let lives = Account::of_memory(&self.journal).lives;
                let fresh = || Incarnation::from_random(dice.bytes());
                opening_up(id, fleet, wanted, &lives, fresh, now.wall).map_err(StageError::Plan)?
            }
            RunCommand::Resume | RunCommand::Down | RunCommand::Retry | RunCommand::Rebuild => Vec::new(),
        };
        let containers = wanted.keys().map(|&ctid| (ctid, fleet.clone())).collect();
        let mut first = vec![Line::Fact(run_opened(id, command, containers, *jobs, now.wall))];
        first.extend(facts.into_iter().map(Line::Fact));
        for line in self.journal.begin(first)? {
            if let Line::Fact(fact) = line.get() {
                observer.observe(crate::driver::Progress::Recorded { seq: line.seq(), fact });
            }
        }
        let mut lives = self.account()?.lives;
        lives.retain(|ctid, _| wanted.contains_key(ctid));
        self.fill(&mut lives);
        let ctids: Vec<Ctid> = lives.keys().copied().collect();
        let observation = self.world.observe(&ctids);
        let goal = if command == RunCommand::Down { Goal::Down } else { Goal::Up };
        let (epoch, _) = self.journal.epoch().expect("a journal that was begun has an epoch");
        let dice = Dice::new(self.dice.bytes());
        let orders = Orders { run: id, goal, journal: self.journal.journal(), epoch, jobs: *jobs, dice };
        Ok(Engine::new(orders, lives, observation))
    }

    fn fill(&self, lives: &mut Lives) {
        for life in lives.values_mut().flatten() {
            let filled = with_texts(&life.spec, |digest| self.journal.blob(digest).ok().flatten());
            life.spec = filled.map_or_else(|| Arc::clone(&life.spec), Arc::new);
        }
    }
}

/// At most one crash.
struct One(Option<Crash>);

impl Guide for One {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        self.0.filter(|crash| crash.point == point.number).map(|crash| crash.kind)
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}
