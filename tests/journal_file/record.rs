//! A fleet brought up on the real journal, one thread, virtual time, with the world of every moment kept.
//!
//! Like `phoenix::rehearse`, but on disk: whoever damages the file afterwards knows which world belongs to each prefix of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use phoenix::driver::{Locks, Silent, TurnError, Turner, Wanted, Work, opening_up, run_opened};
use phoenix::engine::{Dice, Engine, Event, Goal, Orders};
use phoenix::host::sim::{Fingerprint, Flow, OpId, Progress, Sim, World, WorldOptions};
use phoenix::host::{Host, Lease, LockError};
use phoenix::ids::{Ctid, FleetName, Incarnation, RunId};
use phoenix::journal::{Account, SCHEMA};
use phoenix::machine::{Fact, Line, RunClosed, RunCommand, RunEnd};
use phoenix::manifest::Spec;
use phoenix::plan::Effect;
use phoenix_journal::{Append, Binding, Journal, JournalError, Writer, WriterInfo};

use crate::fleets::{cloned, mounted, spec, wanted, with_application};
use crate::image::Image;

/// The world between two commits, and the entries that the later one brought.
#[derive(Clone, Debug)]
pub(crate) struct Moment {
    /// The last entry before.
    pub(crate) from: u64,
    /// The last entry of what was recorded at this moment.
    pub(crate) to: u64,
    pub(crate) world: World,
}

/// A run as far as it came.
#[derive(Debug)]
pub(crate) struct Played {
    pub(crate) moments: Vec<Moment>,
    /// What the marking function said at the end of each moment.
    pub(crate) marks: Vec<usize>,
    /// The world at the end.
    pub(crate) world: World,
    /// How it ended, and the writer, still open.
    pub(crate) end: Result<(RunEnd, Writer), JournalError>,
}

/// A whole bring-up, and the files as they were with the writer still open.
#[derive(Debug)]
pub(crate) struct History {
    pub(crate) moments: Vec<Moment>,
    pub(crate) world: World,
    pub(crate) image: Image,
    pub(crate) whole: Fingerprint,
}

impl History {
    /// The smallest fleet with a dependency, a clone, a shared directory, scripts and an application.
    pub(crate) fn of_the_pair() -> Self {
        let (history, end) = Self::of(WorldOptions::seeded(SEED));
        assert_eq!(end, RunEnd::Done);
        history
    }

    /// The same fleet on another host, however its run ends.
    pub(crate) fn of(options: WorldOptions) -> (Self, RunEnd) {
        Self::of_specs(options, pair())
    }

    /// Another fleet.
    pub(crate) fn of_specs(options: WorldOptions, specs: Vec<Spec>) -> (Self, RunEnd) {
        let dir = crate::image::directory();
        let path = dir.path().join("journal.db");
        let world = made(&path, World::new(options));
        let writer = Writer::open(&path, &SCHEMA, info()).expect("a new journal");
        Self::copied(&path, play(writer, world, &wanted(specs)))
    }

    /// `resume` or `down` after it, as a history of its own; `change` is done to the world before.
    pub(crate) fn then(self, command: RunCommand, change: impl FnOnce(&mut World)) -> (Self, RunEnd) {
        let laid = self.image.lay();
        let mut world = self.world;
        change(&mut world);
        // What is in the log goes into the main file first.
        drop(Writer::open(&laid.path, &SCHEMA, info()).expect("a journal"));
        let writer = Writer::open(&laid.path, &SCHEMA, info()).expect("a journal");
        Self::copied(&laid.path, play_on(writer, world, &wanted(pair()), command))
    }

    /// As after SIGKILL: copied while it is open.
    fn copied(path: &Path, played: Played) -> (Self, RunEnd) {
        let (end, _open) = played.end.expect("a run");
        let whole = played.world.fingerprint();
        (Self { moments: played.moments, world: played.world, image: Image::of(path), whole }, end)
    }

    /// The world as it was when the entry after `last` was being written.
    pub(crate) fn world_after(&self, last: u64) -> &World {
        let moment = self.moments.iter().find(|moment| (moment.from..moment.to).contains(&last));
        moment.map_or(&self.world, |moment| &moment.world)
    }

    /// The number of the last entry.
    pub(crate) fn last(&self) -> u64 {
        self.moments.last().map_or(0, |moment| moment.to)
    }
}

/// A template with a feature, and a clone of it with a directory, a feature and an application.
pub(crate) fn pair() -> Vec<Spec> {
    vec![spec(100), with_application(cloned(mounted(spec(101), "media"), 100))]
}

pub(crate) fn fleet() -> FleetName {
    "fleet".parse().expect("a fleet name")
}

/// This process, as a writer.
pub(crate) fn info() -> WriterInfo {
    WriterInfo { pid: std::process::id(), command: "test".to_owned(), started_at_ms: 0, boot_id: "boot".to_owned() }
}

/// Makes a journal, and a world that knows it.
pub(crate) fn made(path: &Path, world: World) -> World {
    let sim = Sim::new(world, Flow::Still);
    let binding = Binding { host: "sim".to_owned(), node: "sim".to_owned(), directory: "/sim".to_owned(), device: 0 };
    let id = Journal::create(path, &SCHEMA, &binding, &info()).expect("room for a journal");
    sim.settle_in(&id).expect("a world without a file");
    sim.world()
}

/// `up` from wherever the journal is, until the end or until the journal fails.
pub(crate) fn play(writer: Writer, world: World, wanted: &BTreeMap<Ctid, Wanted>) -> Played {
    play_marking(writer, world, wanted, &|| 0)
}

/// `resume` or `down` of what the journal knows.
pub(crate) fn play_on(writer: Writer, world: World, wanted: &BTreeMap<Ctid, Wanted>, command: RunCommand) -> Played {
    let mut show = Show::new(world, &|| 0);
    let end = show.run(writer, wanted, command);
    show.played(end)
}

/// The same, with a mark for the end of each moment.
pub(crate) fn play_marking(writer: Writer, world: World, wanted: &BTreeMap<Ctid, Wanted>, mark: &dyn Fn() -> usize) -> Played {
    let mut show = Show::new(world, mark);
    let end = show.run(writer, wanted, RunCommand::Up);
    show.played(end)
}

struct Show<'a> {
    world: World,
    moments: Vec<Moment>,
    mark: &'a dyn Fn() -> usize,
    marks: Vec<usize>,
    ops: BTreeMap<OpId, Ctid>,
    timers: BTreeSet<(u64, Ctid)>,
}

impl<'a> Show<'a> {
    fn new(world: World, mark: &'a dyn Fn() -> usize) -> Self {
        Self { world, moments: Vec::new(), mark, marks: Vec::new(), ops: BTreeMap::new(), timers: BTreeSet::new() }
    }

    fn played(self, end: Result<(RunEnd, Writer), JournalError>) -> Played {
        Played { moments: self.moments, marks: self.marks, world: self.world, end }
    }

    fn run(&mut self, mut writer: Writer, wanted: &BTreeMap<Ctid, Wanted>, command: RunCommand) -> Result<(RunEnd, Writer), JournalError> {
        let mut seed = *b"journal under te";
        // A second run of one journal has other ids than the first.
        seed[..8].copy_from_slice(&last(&writer)?.to_be_bytes());
        let mut dice = Dice::new(seed);
        let run = RunId::from_random(dice.bytes());
        let now = self.world.now();
        let account = Account::of(writer.replay(None)?);
        let facts = match command {
            RunCommand::Up => opening_up(run, &fleet(), wanted, &account.lives, || Incarnation::from_random(dice.bytes()), now.wall)
                .expect("a fleet that goes with its journal"),
            RunCommand::Resume | RunCommand::Down | RunCommand::Retry | RunCommand::Rebuild => Vec::new(),
        };
        let containers = wanted.keys().map(|&ctid| (ctid, fleet())).collect();
        let opened = run_opened(run, command, containers, JOBS, now.wall);
        let first: Vec<Line> = std::iter::once(opened).chain(facts).map(Line::Fact).collect();
        let from = last(&writer)?;
        let before = self.world.clone();
        writer.begin(first)?;
        self.moment(from, last(&writer)?, before);
        let lives = Account::of(writer.replay(None)?).lives;
        let observation = self.world.observe(&wanted.keys().copied().collect::<Vec<_>>());
        let (epoch, _) = writer.epoch().expect("it has begun");
        let goal = if command == RunCommand::Down { Goal::Down } else { Goal::Up };
        let orders = Orders { run, goal, journal: writer.journal(), epoch, jobs: JOBS, dice: Dice::new(dice.bytes()) };
        let lives = lives.into_iter().map(|(ctid, life)| (ctid, life.map(|life| with_texts(life, wanted)))).collect();
        let engine = Engine::new(orders, lives, observation);
        let (end, mut writer) = self.turns(writer, engine)?;
        let (from, world) = (last(&writer)?, self.world.clone());
        let closed = Fact::RunClosed(RunClosed { run, end, at: self.world.now().wall });
        writer.append_group(vec![Line::Fact(closed)])?;
        self.moment(from, last(&writer)?, world);
        Ok((end, writer))
    }

    fn turns(&mut self, writer: Writer, engine: Engine) -> Result<(RunEnd, Writer), JournalError> {
        let mut silent = Silent;
        let mut turner = Turner::new(writer, engine, FreeLocks, &mut silent);
        let mut events = vec![Event::Started];
        loop {
            let from = last(&turner.journal)?;
            let world = self.world.clone();
            let work = match turner.turn(std::mem::take(&mut events), &self.world.now()) {
                Ok(work) => work,
                Err(TurnError::Journal(error)) => return Err(error),
                Err(other @ (TurnError::Refused { .. } | TurnError::Host(_))) => panic!("{other:?}"),
            };
            let to = last(&turner.journal)?;
            if to > from {
                self.moment(from, to, world);
            }
            for piece in work {
                events.extend(self.start(piece));
            }
            match turner.end() {
                Ok(None) => {}
                Ok(Some(end)) => return Ok((end, turner.journal)),
                Err(TurnError::Journal(error)) => return Err(error),
                Err(other @ (TurnError::Refused { .. } | TurnError::Host(_))) => panic!("{other:?}"),
            }
            while events.is_empty() {
                events.extend(self.advance());
            }
        }
    }

    fn moment(&mut self, from: u64, to: u64, world: World) {
        self.moments.push(Moment { from, to, world });
        self.marks.push((self.mark)());
    }

    fn start(&mut self, work: Work) -> Option<Event> {
        match work {
            Work::CarryOut { ctid, effect, lease: _ } => {
                self.ops.insert(self.world.begin(effect.get()), ctid);
                None
            }
            Work::Settle(doubt) => {
                let ctid = doubt.effect.intent.ctid;
                let report = self.world.settle(&doubt.effect, &mut |_| {});
                let seen = self.world.observe(&[ctid]).containers.remove(&ctid).map(Box::new);
                Some(Event::Settled { ctid, report, seen })
            }
            Work::Look { ctid } => {
                let seen = self.world.observe(&[ctid]).containers.remove(&ctid).map(Box::new);
                Some(Event::Looked { ctid, seen })
            }
            Work::Wake { ctid, at } => {
                self.timers.insert((at.boottime_ms, ctid));
                None
            }
        }
    }

    fn advance(&mut self) -> Option<Event> {
        let due = |op: &OpId| self.world.next_due(*op).map_or(0, |moment| moment.boottime_ms);
        let op = self.ops.keys().map(|op| (due(op), *op)).min();
        let timer = self.timers.first().copied();
        match op {
            Some((at, op)) if timer.is_none_or(|(wake, _)| at <= wake) => match self.world.advance(op) {
                Progress::More => None,
                Progress::Finished(report) => self.ops.remove(&op).map(|ctid| Event::Finished { ctid, report }),
            },
            Some(_) | None => {
                let (wake, ctid) = timer.expect("something is under way");
                self.timers.remove(&(wake, ctid));
                self.world.pass(Duration::from_millis(wake.saturating_sub(self.world.now().moment.boottime_ms)));
                Some(Event::Woke { ctid })
            }
        }
    }
}

fn last(writer: &Writer) -> Result<u64, JournalError> {
    Ok(writer.positions()?.iter().map(|position| position.last_seq.get()).max().unwrap_or(0))
}

/// Scripts are kept by their digest; the run has them from the manifest.
fn with_texts(mut life: phoenix::machine::Life, wanted: &BTreeMap<Ctid, Wanted>) -> phoenix::machine::Life {
    if let Some(wanted) = wanted.get(&life.ctid()) {
        life.spec = std::sync::Arc::clone(&wanted.spec);
    }
    life
}

/// One run at a time: the engine never begins two effects on one container.
struct FreeLocks;

impl Locks for FreeLocks {
    fn lock(&self, _: &Effect) -> Result<Lease, LockError> {
        Ok(Lease { locks: Vec::new(), keep: None })
    }
}

const JOBS: usize = 4;

/// The world's seed.
const SEED: u64 = 7;
