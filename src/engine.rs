//! The engine: what is to be done next, for a whole fleet, as a pure value.
//!
//! Calling contract: make it with [`Engine::new`] from the lives that the journal tells and one look at the host; hand it
//! every [`Event`] together with the time; carry out what it puts into the [`Outbox`] and report back. It never waits, reads
//! a clock, opens a file, starts a thread or logs, and it believes nothing that has not been committed: an outcome that it
//! asks to have recorded changes nothing until [`Event::Recorded`] brings it back. When nothing is under way and the outbox
//! is empty, [`Engine::end`] says how the run ended.
//!
//! Not here: the order of steps within a container (`machine`), the host, the journal.

mod act;
mod decide;
mod dice;
pub mod limits;
mod reconcile;
mod shares;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use phoenix_journal::{Epoch, JournalId, Recorded, Seq};

use crate::ids::{BootId, Ctid, Moment, Now, RunId, State};
use crate::machine::{Fact, Life, OutOfTurn, Quarantine, Report, RunEnd, Standing, Wait};
use crate::manifest::Origin;
use crate::plan::{Doubt, Effect, Intent, Mark, Observation, Seen};

pub(crate) use decide::action;
pub use dice::Dice;
use reconcile::outlives;
pub use reconcile::{Finding, reconcile};
use shares::Shares;
pub use shares::{COPIES_PER_SOURCE, CREATES_PER_STORAGE, FETCHES_PER_TEMPLATE, Share};

/// What the engine learns.
#[derive(Debug)]
pub enum Event {
    /// The run begins.
    Started,
    /// The intent of an effect is durable, and the host is at work.
    Began {
        /// The container.
        ctid: Ctid,
        /// The intent's place in the journal.
        seq: Seq,
    },
    /// The locks that an effect needs are not free; nothing was recorded.
    Busy {
        /// The container.
        ctid: Ctid,
        /// What holds them.
        wait: Wait,
    },
    /// The host has carried out an effect.
    Finished {
        /// The container.
        ctid: Ctid,
        /// What became of it.
        report: Report,
    },
    /// The host has found out what became of a step in doubt.
    Settled {
        /// The container.
        ctid: Ctid,
        /// The verdict.
        report: Report,
        /// The container as it was seen afterwards.
        seen: Option<Box<Seen>>,
    },
    /// What was asked for could not be begun, since the host cannot be used or the journal is full; nothing was recorded. Nothing
    /// new is begun after it, as after `Interrupted`.
    NotBegun {
        /// The container.
        ctid: Ctid,
    },
    /// The container as it is seen now.
    Looked {
        /// The container.
        ctid: Ctid,
        /// What is there.
        seen: Option<Box<Seen>>,
    },
    /// A fact is durable.
    Recorded(Recorded<Fact>),
    /// A wait that was asked for is over.
    Woke {
        /// The container.
        ctid: Ctid,
    },
    /// A person asks to stop: nothing new is begun.
    Interrupted,
}

/// What the engine wants done. `NotBegun` answers each but `Settle` and `Wake`, where it cannot be.
#[derive(Debug, PartialEq, Eq)]
pub enum Request {
    /// Take the effect's locks, record its intent, carry it out. Answered by `Began` and `Finished`, or by `Busy`.
    Begin(Box<Effect>),
    /// Find out what became of an intent without outcome. Answered by `Settled`.
    Settle(Box<Doubt>),
    /// Look at the container once more. Answered by `Looked`, at once.
    Look {
        /// The container.
        ctid: Ctid,
    },
    /// Record a fact. Answered by `Recorded`.
    Record(Fact),
    /// Report `Woke` at this moment.
    Wake {
        /// The container.
        ctid: Ctid,
        /// When.
        at: Moment,
    },
}

/// Where the engine puts what it wants done, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    requests: Vec<Request>,
}

impl Outbox {
    /// Takes out everything.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Request> {
        self.requests.drain(..)
    }

    /// Whether nothing is wanted.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn put(&mut self, request: Request) {
        self.requests.push(request);
    }
}

/// Where a run brings its containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// To `Done`.
    Up,
    /// Off the host.
    Down,
}

/// What a run is told at its beginning.
#[derive(Clone, Debug)]
pub struct Orders {
    /// The run.
    pub run: RunId,
    /// Where the containers are to be brought.
    pub goal: Goal,
    /// The journal, for marks.
    pub journal: JournalId,
    /// The run's epoch.
    pub epoch: Epoch,
    /// How many effects at once, at least 1.
    pub jobs: usize,
    /// Chance.
    pub dice: Dice,
}

impl Orders {
    /// The mark that makes a container ours.
    fn mark(&self, life: &Life) -> Mark {
        Mark { journal: self.journal, fleet: life.fleet.clone(), ctid: life.ctid(), incarnation: life.incarnation(), epoch: self.epoch }
    }
}

/// See the module. A clone goes on by itself: those who explore take each of several next events on a clone.
#[derive(Clone, Debug)]
pub struct Engine {
    orders: Orders,
    /// The host's boot.
    boot: BootId,
    slots: BTreeMap<Ctid, Slot>,
    /// For each container, those that depend on it, its clones among them.
    dependents: BTreeMap<Ctid, BTreeSet<Ctid>>,
    /// Containers to be looked at, and those that have work but no place among the jobs.
    agenda: BTreeSet<Ctid>,
    queue: BTreeSet<Ctid>,
    /// Who uses what only so many may use, and who waits for that.
    shares: Shares,
    in_flight: usize,
    /// Records asked for and waits begun, not yet answered.
    pending: usize,
    interrupted: bool,
}

/// One container in the engine.
#[derive(Clone, Debug)]
struct Slot {
    /// What the journal says; nothing, once it said what cannot be.
    life: Result<Life, OutOfTurn>,
    phase: Phase,
    /// How it was seen last; taken when its claims have been compared.
    sight: Option<Sight>,
    /// What it waits for at the moment, for people.
    wait: Option<Wait>,
    /// Since when a lock has been found held.
    locked_since: Option<Moment>,
    /// How often a probe could not tell.
    unknowns: u32,
    /// How long to wait once the outcome that is being recorded is durable.
    pause: Option<Duration>,
    /// An init that was reported lost, still to be noted.
    init_lost: bool,
    /// The clone that is being copied from it.
    cloning: Option<Ctid>,
    /// Why it does not count as gone, seen at the beginning.
    outlived: Option<Quarantine>,
    /// Whether it can be copied while it goes on, as it was seen since it came to stand where it stands.
    copies_live: Option<bool>,
}

/// One look at one container.
#[derive(Clone, Debug)]
struct Sight {
    seen: Option<Box<Seen>>,
}

/// What is going on with a container.
#[derive(Clone, Debug)]
enum Phase {
    /// To be looked at.
    Idle,
    /// Looked at, and nothing to do until something it depends on changes.
    Resting,
    /// Its locks and its intent are being taken care of.
    Beginning(Box<Intent>),
    /// The host is at work on an intent.
    Acting,
    /// The host is finding out about a step in doubt.
    Settling,
    /// It is being looked at.
    Looking,
    /// A fact of it is being recorded.
    Recording,
    /// A wait has been asked for.
    Pausing,
    /// Nothing more in this run.
    Over,
}

/// How a container stands in the run, for people and for the run's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stand {
    /// Where the run should bring it.
    There,
    /// On the way.
    UnderWay,
    /// Not going on in this run; the standing says why.
    Stuck(Standing),
    /// Waiting for another container.
    Blocked(Ctid),
    /// The journal's account of it cannot be read.
    Undecodable(String),
}

impl Engine {
    /// An engine for the given lives; `observation` was made after the journal's lock was taken.
    pub fn new(orders: Orders, lives: BTreeMap<Ctid, Result<Life, OutOfTurn>>, mut observation: Observation) -> Self {
        let mut dependents: BTreeMap<Ctid, BTreeSet<Ctid>> = BTreeMap::new();
        for (&ctid, life) in &lives {
            for &on in life.iter().flat_map(|life| &life.spec.depends_on) {
                dependents.entry(on).or_default().insert(ctid);
            }
        }
        let slots: BTreeMap<Ctid, Slot> = lives
            .into_iter()
            .map(|(ctid, life)| {
                let seen = observation.containers.remove(&ctid).map(Box::new);
                let outlived = life.as_ref().ok().and_then(|life| outlives(life, &orders.mark(life), seen.as_deref()));
                (ctid, Slot { outlived, ..Slot::new(life, Some(Sight { seen })) })
            })
            .collect();
        let agenda = slots.keys().copied().collect();
        let mut shares = Shares::default();
        for (&ctid, life) in slots.iter().filter_map(|(ctid, slot)| Some((ctid, slot.life.as_ref().ok()?))) {
            if let Some((_, _, intent)) = life.open() {
                // Its child may still be at work.
                shares.engage(ctid, Share::of(&intent.action, life));
            }
        }
        let boot = observation.boot;
        Self { orders, boot, slots, dependents, agenda, queue: BTreeSet::new(), shares, in_flight: 0, pending: 0, interrupted: false }
    }

    /// Takes in an event and puts what follows from it into `out`.
    pub fn handle(&mut self, event: Event, now: &Now, out: &mut Outbox) {
        match event {
            Event::Started => {}
            Event::Began { ctid, seq } => self.began(ctid, seq, now),
            Event::Busy { ctid, wait } => self.busy(ctid, wait, now, out),
            Event::Finished { ctid, report } => self.finished(ctid, report, now, out),
            Event::Settled { ctid, report, seen } => self.settled(ctid, report, seen, now, out),
            Event::NotBegun { ctid } => self.not_begun(ctid),
            Event::Looked { ctid, seen } => self.looked(ctid, seen),
            Event::Recorded(fact) => self.recorded(fact, now, out),
            Event::Woke { ctid } => self.woke(ctid),
            Event::Interrupted => self.interrupted = true,
        }
        self.pump(now, out);
    }

    /// How the run ended; `None` while something is under way.
    pub fn end(&self) -> Option<RunEnd> {
        let waits = !self.queue.is_empty() || self.shares.is_waited_for();
        let under_way = self.in_flight > 0 || self.pending > 0 || !self.agenda.is_empty() || (waits && !self.interrupted);
        if under_way {
            return None;
        }
        let there = self.slots.keys().all(|&ctid| self.stand(ctid) == Some(Stand::There));
        Some(match (there, self.interrupted) {
            (true, _) => RunEnd::Done,
            (false, true) => RunEnd::Interrupted,
            (false, false) => RunEnd::Failed,
        })
    }

    /// How a container stands.
    pub fn stand(&self, ctid: Ctid) -> Option<Stand> {
        let slot = self.slots.get(&ctid)?;
        let life = match &slot.life {
            Ok(life) => life,
            Err(why) => return Some(Stand::Undecodable(why.to_string())),
        };
        let there = match self.orders.goal {
            Goal::Up => life.state() == State::Done && life.standing == Standing::Active && life.open().is_none() && life.held().is_none(),
            Goal::Down => !life.may_exist() && life.open().is_none() && slot.outlived.is_none(),
        };
        if there && matches!(slot.phase, Phase::Resting | Phase::Over | Phase::Idle) {
            return Some(Stand::There);
        }
        Some(match &slot.phase {
            Phase::Over => Stand::Stuck(match (&slot.outlived, self.orders.goal) {
                (Some(quarantine), Goal::Down) => Standing::Quarantined(quarantine.clone()),
                (Some(_) | None, Goal::Up | Goal::Down) => life.standing.clone(),
            }),
            Phase::Resting => self.blocker(life).or_else(|| self.held_for(ctid)).map_or(Stand::UnderWay, Stand::Blocked),
            Phase::Idle | Phase::Beginning(_) | Phase::Acting | Phase::Settling | Phase::Looking | Phase::Recording | Phase::Pausing => {
                Stand::UnderWay
            }
        })
    }

    /// The containers and what the journal says of them.
    pub fn lives(&self) -> impl Iterator<Item = (Ctid, &Result<Life, OutOfTurn>)> {
        self.slots.iter().map(|(&ctid, slot)| (ctid, &slot.life))
    }

    /// The same, once nothing is left to decide.
    pub fn into_lives(self) -> BTreeMap<Ctid, Result<Life, OutOfTurn>> {
        self.slots.into_iter().map(|(ctid, slot)| (ctid, slot.life)).collect()
    }

    /// What a container waits for at the moment, other than another container.
    pub fn waiting_for(&self, ctid: Ctid) -> Option<&Wait> {
        self.slots.get(&ctid)?.wait.as_ref()
    }

    /// Looks at every container on the agenda until none is left.
    fn pump(&mut self, now: &Now, out: &mut Outbox) {
        loop {
            while self.in_flight < self.orders.jobs
                && let Some(ctid) = self.queue.pop_first()
            {
                self.agenda.insert(ctid);
                self.look(now, out);
            }
            while let Some(ctid) = self.shares.invite() {
                self.agenda.insert(ctid);
                self.look(now, out);
            }
            if self.agenda.is_empty() {
                return;
            }
            self.look(now, out);
        }
    }

    fn look(&mut self, now: &Now, out: &mut Outbox) {
        while let Some(ctid) = self.agenda.pop_first() {
            self.decide(ctid, now, out);
        }
    }

    fn slot(&mut self, ctid: Ctid) -> &mut Slot {
        self.slots.get_mut(&ctid).expect("an engine is only told of containers it was made with")
    }

    /// Puts a container back on the agenda, if it is one that only waits for a change.
    fn wake(&mut self, ctid: Ctid) {
        if let Some(slot) = self.slots.get_mut(&ctid)
            && matches!(slot.phase, Phase::Resting)
        {
            slot.phase = Phase::Idle;
            self.agenda.insert(ctid);
        }
    }

    /// Lets everyone who waits for `ctid` look again: going up its dependents, going down those it depends on.
    fn wake_dependents(&mut self, ctid: Ctid) {
        let others = match self.orders.goal {
            Goal::Up => self.dependents.get(&ctid).cloned(),
            Goal::Down => self.slots.get(&ctid).and_then(|slot| slot.life.as_ref().ok()).map(|life| life.spec.depends_on.clone()),
        };
        for other in others.into_iter().flatten() {
            self.wake(other);
        }
    }

    /// The source of a clone, if `life` is one that has yet to be made and the source belongs to this run.
    fn source_of(&self, life: &Life) -> Option<Ctid> {
        match life.spec.origin {
            Origin::Clone { source } if life.state() == State::Declared => Some(source).filter(|source| self.slots.contains_key(source)),
            Origin::Clone { .. } | Origin::Template(_) => None,
        }
    }
}

impl Slot {
    fn new(life: Result<Life, OutOfTurn>, sight: Option<Sight>) -> Self {
        Self {
            life,
            phase: Phase::Idle,
            sight,
            wait: None,
            locked_since: None,
            unknowns: 0,
            pause: None,
            init_lost: false,
            cloning: None,
            outlived: None,
            copies_live: None,
        }
    }

    /// Whether others can rely on what the journal says of it: it was looked at, and nothing that may change it (a hold for a
    /// clone, the note that its init is gone) is on its way to the journal.
    fn is_at_rest(&self) -> bool {
        self.sight.is_none() && matches!(self.phase, Phase::Idle | Phase::Resting)
    }
}
