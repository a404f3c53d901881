//! One run being played, point by point.
//!
//! Apart from the stage, which outlives it: a show has the engine, the operations under way and the timers, and all of that is
//! gone after a crash. At every point a guide is asked whether to crash; it may also take along what a crash would leave, so
//! that the run itself need not be played again for each. Not here: opening and closing a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Body, Memory};

use crate::driver::{Locks, Turner, Work};
use crate::engine::{Dice, Event};
use crate::host::sim::{OpId, Progress, World};
use crate::host::{Lease, LockError};
use crate::ids::{Ctid, Moment};
use crate::journal::Account;
use crate::machine::RunEnd;
use crate::plan::{Doubt, Effect};

use super::coverage::{Place, Places};
use super::crash::CrashKind;
use super::stage::{Cast, Stage, StageError};

/// One point of a run: whatever a crash here would find.
#[derive(Debug)]
pub struct Point<'a> {
    /// Which, from 0.
    pub number: u64,
    /// Where each container is.
    pub places: &'a Places,
    pub(super) world: &'a World,
    pub(super) journal: &'a Memory,
    pub(super) cast: &'a Arc<Cast>,
    pub(super) dice: &'a Dice,
}

impl Point<'_> {
    /// Reads what the journal says so far. Wrecks that are taken from here on, and from clones of them, have that in common, and
    /// read only what comes after.
    pub fn read_so_far(&self) {
        self.journal.keep_folded::<Account>();
    }

    /// The stage as a crash here leaves it.
    #[must_use]
    pub fn wreck(&self, kind: CrashKind) -> Stage {
        let mut world = self.world.clone();
        crash(&mut world, kind);
        Stage { world, journal: self.journal.reopened(), cast: Arc::clone(self.cast), dice: self.dice.clone() }
    }
}

/// Who is asked at every point, and told what recovery finds.
pub trait Guide {
    /// What is to be killed here; nothing to go on.
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind>;

    /// What became of a step in doubt has been found out.
    fn settled(&mut self, doubt: &Doubt, verdict: &'static str);
}

/// How a show ended.
pub(super) enum Played {
    End(RunEnd),
    Crashed(CrashKind),
}

/// See the module.
pub(super) struct Show<'a> {
    pub(super) world: &'a mut World,
    pub(super) cast: &'a Arc<Cast>,
    pub(super) dice: &'a Dice,
    pub(super) guide: &'a mut dyn Guide,
    pub(super) point: u64,
    places: Places,
    ops: BTreeMap<OpId, Ctid>,
    timers: BTreeSet<(u64, Ctid)>,
}

/// The most points one run may pass; far beyond any fleet that can be rehearsed.
const POINTS_MAX: u64 = 10_000_000;

pub(super) fn crash(world: &mut World, kind: CrashKind) {
    match kind {
        CrashKind::Process(survivors) => world.crash_process(survivors),
        CrashKind::Host => world.crash_host(),
    }
}

impl<'a> Show<'a> {
    pub(super) fn new(world: &'a mut World, cast: &'a Arc<Cast>, dice: &'a Dice, guide: &'a mut dyn Guide) -> Self {
        Self { world, cast, dice, guide, point: 0, places: Places::default(), ops: BTreeMap::new(), timers: BTreeSet::new() }
    }

    pub(super) fn play(&mut self, turner: &mut Turner<'_, &mut Memory, FreeLocks>) -> Result<Played, StageError> {
        let mut events = vec![Event::Started];
        loop {
            if let Some(kind) = self.pass_point(turner.journal)? {
                return Ok(Played::Crashed(kind));
            }
            let (crashed, work) = self.turn(turner, std::mem::take(&mut events))?;
            if let Some(kind) = crashed {
                return Ok(Played::Crashed(kind));
            }
            for piece in work {
                let changes_host = !matches!(piece, Work::Look { .. } | Work::Wake { .. });
                events.extend(self.start(piece));
                if changes_host && let Some(kind) = self.pass_point(turner.journal)? {
                    return Ok(Played::Crashed(kind));
                }
            }
            if let Some(end) = turner.end()? {
                return Ok(Played::End(end));
            }
            while events.is_empty() {
                match self.advance()? {
                    Some(event) => events.push(event),
                    None => {
                        if let Some(kind) = self.pass_point(turner.journal)? {
                            return Ok(Played::Crashed(kind));
                        }
                    }
                }
            }
        }
    }

    /// One turn, with a point after each transaction.
    fn turn(
        &mut self,
        turner: &mut Turner<'_, &mut Memory, FreeLocks>,
        events: Vec<Event>,
    ) -> Result<(Option<CrashKind>, Vec<Work>), StageError> {
        let now = self.world.now();
        let mut work = Vec::new();
        turner.take_in(events, &now);
        let (mut recorded, mut given) = (turner.journal.len(), 0);
        while turner.commit(&now, &mut work)? {
            self.note_recorded(turner.journal, recorded);
            self.note_work(&work[given..]);
            given = work.len();
            if turner.journal.len() > recorded {
                recorded = turner.journal.len();
                if let Some(kind) = self.pass_point(turner.journal)? {
                    return Ok((Some(kind), Vec::new()));
                }
            }
        }
        Ok((None, work))
    }

    fn note_recorded(&mut self, journal: &Memory, since: usize) {
        for entry in journal.since(since) {
            let is_outcome = matches!(entry.body, Body::Outcome { .. });
            if let Some(ctid) = is_outcome.then(|| entry.stream.stream.parse::<Ctid>().ok()).flatten() {
                self.places.go_on(ctid, Place::Recorded);
            }
        }
    }

    fn note_work(&mut self, work: &[Work]) {
        for piece in work {
            match piece {
                Work::CarryOut { ctid, effect, lease: _ } => self.places.enter(*ctid, effect.intent.step.clone(), Place::Intended),
                Work::Settle(doubt) => {
                    let intent = &doubt.effect.intent;
                    self.places.enter(intent.ctid, intent.step.clone(), Place::InDoubt);
                }
                Work::Look { .. } | Work::Wake { .. } => {}
            }
        }
    }

    /// Counts a point; what is to be killed there.
    fn pass_point(&mut self, journal: &Memory) -> Result<Option<CrashKind>, StageError> {
        if self.point > POINTS_MAX {
            return Err(StageError::Endless);
        }
        let Self { world, cast, dice, guide, point, places, ops: _, timers: _ } = self;
        let crash = guide.at_point(&Point { number: *point, places, world, journal, cast, dice });
        *point += 1;
        Ok(crash)
    }

    fn start(&mut self, work: Work) -> Option<Event> {
        match work {
            Work::CarryOut { ctid, effect, lease: _ } => {
                let op = self.world.begin_shared(Arc::new(effect.into_inner()));
                self.ops.insert(op, ctid);
                self.note_pieces(op, ctid);
                None
            }
            Work::Settle(doubt) => {
                let ctid = doubt.effect.intent.ctid;
                let report = self.world.settle(&doubt.effect, &mut |_| {});
                self.places.go_on(ctid, Place::Settled);
                self.guide.settled(&doubt, report.result.name());
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

    fn note_pieces(&mut self, op: OpId, ctid: Ctid) {
        if let Some((done, of)) = self.world.pieces(op) {
            self.places.go_on(ctid, Place::Inside { done, of });
        }
    }

    /// Does the next piece of work, or lets time pass to the next timer; the event that comes of it, if one does.
    fn advance(&mut self) -> Result<Option<Event>, StageError> {
        let due = |op: &OpId| self.world.due_ms(*op);
        let op = self.ops.keys().map(|op| (due(op).unwrap_or(0), *op)).min();
        let timer = self.timers.first().copied();
        match (op, timer) {
            (Some((at, op)), timer) if timer.is_none_or(|(wake, _)| at <= wake) => Ok(self.advance_op(op)),
            (_, Some((wake, ctid))) => {
                self.timers.remove(&(wake, ctid));
                let Moment { boottime_ms, .. } = self.world.now().moment;
                self.world.pass(Duration::from_millis(wake.saturating_sub(boottime_ms)));
                Ok(Some(Event::Woke { ctid }))
            }
            (Some(_) | None, None) => Err(StageError::Stuck),
        }
    }

    fn advance_op(&mut self, op: OpId) -> Option<Event> {
        let ctid = self.ops.get(&op).copied()?;
        match self.world.advance(op) {
            Progress::More => {
                self.note_pieces(op, ctid);
                None
            }
            Progress::Finished(report) => {
                self.ops.remove(&op);
                self.places.go_on(ctid, Place::Effected);
                Some(Event::Finished { ctid, report })
            }
        }
    }
}

/// The engine never begins two effects on one container, and the simulator notices if it does.
pub(super) struct FreeLocks;

impl Locks for FreeLocks {
    fn lock(&self, _: &Effect) -> Result<Lease, LockError> {
        Ok(Lease { locks: Vec::new(), keep: None })
    }
}
