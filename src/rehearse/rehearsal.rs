//! All crash schedules of one fleet, as far as a budget goes.
//!
//! First the run that nothing cuts: it says how many points there are and what the world has to be at the end. Then one crash of
//! every kind at every point, then a second at every point of the resume that follows each, then longer schedules at random.
//! The prefix that schedules have in common is played once: what a crash would leave is taken along at each point, and only
//! what comes after is played for each. Not here: one run (`stage`), and what has to hold at its end (`judge`).

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::Entry;

use crate::driver::{Silent, Wanted};
use crate::host::sim::{Fingerprint, World, WorldOptions};
use crate::ids::{Ctid, FleetName, StepId};
use crate::machine::RunCommand;
use crate::manifest::{Feature, OnInterrupt, Script as Program, Spec};
use crate::plan::Doubt;

use super::coverage::{Coverage, Place};
use super::crash::{Crash, CrashKind, Script};
use super::findings::{Divergence, Findings, Schedules, Tally, Trouble};
use super::judge::{NoCrash, bring_to_end, broke, look, play};
use super::sample::{Draw, Sample};
use super::show::{Guide, Point};
use super::stage::{Ended, Stage, StageError};
use super::workers::{Supply, share_out};

/// How much is played: first schedules of one crash, then of two, then longer ones, each sort until there are no more of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    schedules: u64,
    singles: bool,
    pairs: bool,
    longer: bool,
}

impl Budget {
    /// At most so many schedules, of all sorts; exactly so many, as there is no end of the longer ones.
    pub fn of(schedules: u64) -> Self {
        Self { schedules, singles: true, pairs: true, longer: true }
    }

    /// At most so many schedules of one crash.
    pub fn singles(schedules: u64) -> Self {
        Self { pairs: false, longer: false, ..Self::of(schedules) }
    }

    /// At most so many schedules of one and two crashes.
    pub fn pairs(schedules: u64) -> Self {
        Self { longer: false, ..Self::of(schedules) }
    }

    /// So many schedules of three crashes and more.
    pub fn longer(schedules: u64) -> Self {
        Self { singles: false, pairs: false, ..Self::of(schedules) }
    }
}

/// The most crashes in one schedule: beyond that every container has been cut off so often that nothing new comes.
const CRASHES_MAX: u64 = 6;
/// In how many lengths longer schedules come.
const LENGTHS: u64 = CRASHES_MAX - 2;

/// Who watches a rehearsal.
pub trait Audience: Sync {
    /// One more schedule was tried.
    fn tried(&self);

    /// Whether the rest is to be left.
    fn is_leaving(&self) -> bool;
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Audience for Nobody {
    fn tried(&self) {}

    fn is_leaving(&self) -> bool {
        false
    }
}

/// Why nothing could be rehearsed.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The stage could not be set.
    #[error(transparent)]
    Stage(#[from] StageError),
    /// A crash lies beyond the end of its run.
    #[error("the crash {crash} never comes: run {run} of the schedule has {points} points, from 0")]
    Unreached {
        /// The crash.
        crash: Crash,
        /// Which run, from 1.
        run: usize,
        /// How many points that run has.
        points: u64,
    },
}

/// One schedule, played again.
#[derive(Debug)]
pub struct Replayed {
    /// Each crash, and where each container was when it came.
    pub cuts: Vec<Cut>,
    /// Everything that the journal holds at the end.
    pub entries: Vec<Entry>,
    /// How many resumes it took after the last crash; what is wrong, if something is.
    pub judged: Result<u32, Trouble>,
}

/// One crash of a schedule that was played again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The crash.
    pub crash: Crash,
    /// How many entries the journal held.
    pub entries: usize,
    /// Each container that had begun a step in this run, and where in it.
    pub places: Vec<(Ctid, StepId, Place)>,
}

/// A fleet, and the host that it is played on.
///
/// ```
/// use std::collections::BTreeMap;
/// use phoenix::host::sim::WorldOptions;
/// use phoenix::rehearse::{Budget, Nobody, Rehearsal};
///
/// let nothing = Rehearsal::new(WorldOptions::seeded(7), "empty".parse()?, BTreeMap::new(), 4);
/// let findings = nothing.perform(Budget::pairs(100), 1, &Nobody)?;
/// assert_eq!(findings.diverged(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Rehearsal {
    world: WorldOptions,
    fleet: FleetName,
    wanted: BTreeMap<Ctid, Wanted>,
    jobs: usize,
}

/// The run that nothing cuts.
struct Uncut {
    points: u64,
    expected: Fingerprint,
}

const KINDS: u64 = CrashKind::ALL.len() as u64;

impl Rehearsal {
    /// The world's seed decides everything that is left to chance. `jobs` is how many steps are taken at once, as in `up`.
    /// Scripts that are to be asked about after an interruption are started again: a rehearsal has nobody to ask.
    pub fn new(world: WorldOptions, fleet: FleetName, wanted: BTreeMap<Ctid, Wanted>, jobs: usize) -> Self {
        let wanted = wanted.into_iter().map(|(ctid, wanted)| (ctid, Wanted { spec: Arc::new(unasked(&wanted.spec)), ..wanted }));
        Self { world, fleet, wanted: wanted.collect(), jobs }
    }

    /// Plays schedules until the budget is spent, on so many threads.
    pub fn perform(&self, budget: Budget, threads: usize, audience: &dyn Audience) -> Result<Findings, RehearsalError> {
        let uncut = match self.uncut()? {
            Ok(uncut) => uncut,
            Err(trouble) => return Ok(self.nothing_to_compare_with(trouble)),
        };
        let tour = Tour { rehearsal: self, uncut: &uncut, threads, audience };
        let seed = self.world.seed;
        let Budget { schedules, singles, pairs, longer } = budget;
        let firsts = Sample::new(seed, uncut.points * KINDS, if singles { schedules } else { 0 });
        let (singles, resumes) = tour.singles(firsts)?;
        let offsets = Offsets::of(&resumes);
        let left = schedules - firsts.len();
        let seconds = Sample::new(seed ^ SECONDS, offsets.total(), if pairs { left } else { 0 });
        let pairs = tour.pairs(&offsets, seconds)?;
        let left = left - seconds.len();
        let longer = tour.longer(if longer { left } else { 0 })?;
        Ok(self.findings(&uncut, &offsets, [singles, pairs, longer], audience.is_leaving()))
    }

    /// Plays one schedule.
    pub fn replay(&self, crashes: &[Crash]) -> Result<Replayed, RehearsalError> {
        let uncut = self.uncut()?;
        let mut stage = self.stage()?;
        let (mut cuts, mut command) = (Vec::new(), RunCommand::Up);
        for (number, &crash) in crashes.iter().enumerate() {
            let mut guide = Cutting { crash, cut: None };
            let played = stage.run(command, &mut guide, &mut Silent);
            let judged = match (played, guide.cut) {
                (_, Some(cut)) => {
                    cuts.push(cut);
                    command = RunCommand::Resume;
                    continue;
                }
                (Ok(Ended::Run { points, .. }), None) => return Err(RehearsalError::Unreached { crash, run: number + 1, points }),
                (Ok(Ended::Crashed), None) => unreachable!("a run is cut only where its guide says so"),
                (Err(error), None) => Err(broke(&error)),
            };
            return Ok(Replayed { cuts, entries: stage.journal.since(0).cloned().collect(), judged });
        }
        let judged = match uncut {
            Ok(uncut) if !crashes.is_empty() => bring_to_end(&mut stage, &mut NoCrash, &uncut.expected),
            // Played for its history: that it comes up, or why it does not, is known.
            uncut @ (Ok(_) | Err(_)) => play(&mut stage, command, &mut NoCrash).and(uncut).map(|_| 0),
        };
        Ok(Replayed { cuts, entries: stage.journal.since(0).cloned().collect(), judged })
    }

    fn stage(&self) -> Result<Stage, StageError> {
        let world = World::new(self.world.clone());
        Stage::new(world, self.fleet.clone(), self.wanted.clone(), self.jobs, self.world.seed)
    }

    fn uncut(&self) -> Result<Result<Uncut, Trouble>, StageError> {
        let mut stage = self.stage()?;
        let mut count = Count(0);
        let stands = match play(&mut stage, RunCommand::Up, &mut count) {
            Ok(stands) => stands,
            Err(trouble) => return Ok(Err(trouble)),
        };
        if !stands.is_empty() {
            return Ok(Err(Trouble::NotDone { stands }));
        }
        let expected = stage.world.fingerprint();
        Ok(look(&stage, &expected).map(|()| Uncut { points: count.0, expected }))
    }

    fn nothing_to_compare_with(&self, trouble: Trouble) -> Findings {
        let divergence = Divergence { script: Script { seed: self.world.seed, crashes: Vec::new() }, trouble };
        Findings {
            seed: self.world.seed,
            points: 0,
            singles: Schedules::default(),
            pairs: Schedules::default(),
            longer: Schedules::default(),
            resumes_worst: 0,
            divergences: vec![divergence],
            coverage: Coverage::default(),
            is_cut_short: false,
        }
    }

    fn findings(&self, uncut: &Uncut, offsets: &Offsets, [singles, pairs, longer]: [Tally; 3], is_cut_short: bool) -> Findings {
        let first_kinds = uncut.points * KINDS;
        let all_firsts = singles.tried == first_kinds;
        let schedules = [
            singles.schedules(Some(first_kinds)),
            pairs.schedules(all_firsts.then(|| offsets.total())),
            longer.schedules(None),
        ];
        let mut whole = singles;
        whole.merge(pairs);
        whole.merge(longer);
        let [singles, pairs, longer] = schedules;
        Findings {
            seed: self.world.seed,
            points: uncut.points,
            singles,
            pairs,
            longer,
            resumes_worst: whole.resumes_worst,
            divergences: whole.divergences(self.world.seed).collect(),
            coverage: whole.coverage,
            is_cut_short,
        }
    }
}

/// The stages of a rehearsal after the run that nothing cuts.
struct Tour<'a> {
    rehearsal: &'a Rehearsal,
    uncut: &'a Uncut,
    threads: usize,
    audience: &'a dyn Audience,
}

/// What the first crash of a schedule left.
struct Wreck {
    crash: Crash,
    /// Which first crash of all.
    number: u64,
    stage: Stage,
}

impl Tour<'_> {
    /// One crash; also how many points the resume after each has.
    fn singles(&self, sample: Sample) -> Result<(Tally, BTreeMap<u64, u64>), StageError> {
        let points = self.uncut.points;
        let mut chosen = sample.within(0..points * KINDS).peekable();
        let wanted = |number: u64| chosen.next_if_eq(&number).is_some();
        let (done, hit) = self.from_wrecks(wanted, |(tally, resumes): &mut (Tally, BTreeMap<u64, u64>), mut wreck| {
            let mut following = Following { count: 0, tally };
            let judged = bring_to_end(&mut wreck.stage, &mut following, &self.uncut.expected);
            resumes.insert(wreck.number, following.count);
            tally.count(|| vec![wreck.crash], judged);
            self.audience.tried();
        })?;
        let mut whole = (Tally::default(), BTreeMap::new());
        for (tally, resumes) in done {
            whole.0.merge(tally);
            whole.1.extend(resumes);
        }
        whole.0.coverage.merge(hit);
        Ok(whole)
    }

    /// A second crash in the resume that follows the first.
    fn pairs(&self, offsets: &Offsets, sample: Sample) -> Result<Tally, StageError> {
        let range = |number: u64| offsets.range(number);
        let wanted = |number: u64| sample.within(range(number)).next().is_some();
        let (tallies, _) = self.from_wrecks(wanted, |tally: &mut Tally, mut wreck| {
            let range = range(wreck.number);
            let chosen = sample.within(range.clone()).map(|number| number - range.start).collect();
            let mut second = Second { tour: self, first: wreck.crash, chosen, next: 0, tally };
            // What the resume itself comes to was judged as a schedule of one crash.
            let _ = play(&mut wreck.stage, RunCommand::Resume, &mut second);
        })?;
        Ok(merged(tallies))
    }

    /// Three crashes and more: each chain goes on from a first crash, with one crash at a random point of each resume, and is
    /// a schedule at each length.
    fn longer(&self, budget: u64) -> Result<Tally, StageError> {
        let firsts = (self.uncut.points * KINDS).max(1);
        let chains = budget.div_ceil(LENGTHS);
        // Chains are spread evenly over the first crashes; the points after that are drawn.
        let starting = |number: u64| chains / firsts + u64::from(number < chains % firsts);
        let wanted = |number: u64| starting(number) > 0;
        let (tallies, _) = self.from_wrecks(wanted, |tally: &mut Tally, wreck| {
            for round in 0..starting(wreck.number) {
                let chain = round * firsts + wreck.number;
                let left = (budget - chain * LENGTHS).min(LENGTHS);
                self.chain(&wreck, chain, left, tally);
            }
        })?;
        Ok(merged(tallies))
    }

    fn chain(&self, wreck: &Wreck, chain: u64, mut left: u64, tally: &mut Tally) {
        let draw = Draw::new(self.rehearsal.world.seed ^ LONGER, chain);
        let mut drawn = Drawn { draw, kept: None };
        let mut crashes = vec![wreck.crash];
        let mut stage = wreck.stage.clone();
        while left > 0 && !self.audience.is_leaving() {
            let judged = bring_to_end(&mut stage, &mut drawn, &self.uncut.expected);
            if crashes.len() > 2 {
                tally.count(|| crashes.clone(), judged);
                self.audience.tried();
                left -= 1;
            }
            // A run has a point at least, but for one that broke off before the first.
            let Some((crash, next)) = drawn.kept.take() else { return };
            crashes.push(crash);
            stage = next;
        }
    }

    /// Plays the first run once more and hands what each wanted first crash leaves to the workers.
    fn from_wrecks<T: Default + Send>(
        &self,
        wanted: impl FnMut(u64) -> bool,
        work: impl Fn(&mut T, Wreck) + Sync,
    ) -> Result<(Vec<T>, Coverage), StageError> {
        let mut stage = self.rehearsal.stage()?;
        let mut coverage = Coverage::default();
        let is_leaving = || self.audience.is_leaving();
        let made = share_out(self.threads, is_leaving, work, |supply| {
            // It ended well before, and nothing has changed since.
            let _ = play(&mut stage, RunCommand::Up, &mut First { wanted, supply, coverage: &mut coverage });
        });
        Ok((made, coverage))
    }
}

fn merged(tallies: Vec<Tally>) -> Tally {
    let mut whole = Tally::default();
    tallies.into_iter().for_each(|tally| whole.merge(tally));
    whole
}

/// Where the pairs of each first crash stand among all pairs.
struct Offsets {
    /// For each first crash that was played: before it, and its own.
    pairs: BTreeMap<u64, (u64, u64)>,
    total: u64,
}

impl Offsets {
    fn of(resumes: &BTreeMap<u64, u64>) -> Self {
        let (mut pairs, mut total) = (BTreeMap::new(), 0);
        for (&number, &points) in resumes {
            pairs.insert(number, (total, points * KINDS));
            total += points * KINDS;
        }
        Self { pairs, total }
    }

    fn total(&self) -> u64 {
        self.total
    }

    fn range(&self, number: u64) -> std::ops::Range<u64> {
        self.pairs.get(&number).map_or(0..0, |&(start, count)| start..start + count)
    }
}

/// Counts points.
struct Count(u64);

impl Guide for Count {
    fn at_point(&mut self, _: &Point<'_>) -> Option<CrashKind> {
        self.0 += 1;
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// Hands out what first crashes leave.
struct First<'a, W> {
    wanted: W,
    supply: &'a Supply<Wreck>,
    coverage: &'a mut Coverage,
}

impl<W: FnMut(u64) -> bool> Guide for First<'_, W> {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        for (kind, number) in CrashKind::ALL.into_iter().zip(point.number * KINDS..) {
            if (self.wanted)(number) {
                let crash = Crash { point: point.number, kind };
                self.coverage.crashed(point.places);
                self.supply.give(Wreck { crash, number, stage: point.wreck(kind) });
            }
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// Goes along with the resume after a first crash.
struct Following<'a> {
    count: u64,
    tally: &'a mut Tally,
}

impl Guide for Following<'_> {
    fn at_point(&mut self, _: &Point<'_>) -> Option<CrashKind> {
        self.count += 1;
        None
    }

    fn settled(&mut self, doubt: &Doubt, verdict: &'static str) {
        self.tally.coverage.settled(&doubt.effect.intent.step, verdict);
    }
}

/// Plays what second crashes leave to their ends.
struct Second<'a> {
    tour: &'a Tour<'a>,
    first: Crash,
    /// Numbers of point and kind, in order.
    chosen: Vec<u64>,
    next: usize,
    tally: &'a mut Tally,
}

impl Guide for Second<'_> {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        for (kind, number) in CrashKind::ALL.into_iter().zip(point.number * KINDS..) {
            if self.chosen.get(self.next) != Some(&number) || self.tour.audience.is_leaving() {
                continue;
            }
            self.next += 1;
            self.tally.coverage.crashed(point.places);
            let mut stage = point.wreck(kind);
            let mut following = Following { count: 0, tally: self.tally };
            let judged = bring_to_end(&mut stage, &mut following, &self.tour.uncut.expected);
            let crashes = || vec![self.first, Crash { point: point.number, kind }];
            self.tally.count(crashes, judged);
            self.tour.audience.tried();
        }
        None
    }

    fn settled(&mut self, doubt: &Doubt, verdict: &'static str) {
        self.tally.coverage.settled(&doubt.effect.intent.step, verdict);
    }
}

/// Keeps what a crash at one point of the run leaves, each point being as likely, without knowing how many will come.
struct Drawn {
    draw: Draw,
    kept: Option<(Crash, Stage)>,
}

impl Guide for Drawn {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        if self.draw.below(point.number + 1) == 0 {
            let kind = usize::try_from(self.draw.below(KINDS)).ok().and_then(|index| CrashKind::ALL.get(index).copied());
            self.kept = kind.map(|kind| (Crash { point: point.number, kind }, point.wreck(kind)));
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// Crashes once, and remembers where everybody was.
struct Cutting {
    crash: Crash,
    cut: Option<Cut>,
}

impl Guide for Cutting {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        if point.number != self.crash.point {
            return None;
        }
        let places = point.places.iter().map(|(ctid, step, place)| (ctid, step.clone(), place)).collect();
        self.cut = Some(Cut { crash: self.crash, entries: point.journal.len(), places });
        Some(self.crash.kind)
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// The spec, with scripts that are started again without asking.
fn unasked(spec: &Spec) -> Spec {
    let rerun = |script: &Program| Program { on_interrupt: OnInterrupt::Rerun, ..script.clone() };
    Spec {
        features: spec.features.iter().map(|feature| Feature { name: feature.name.clone(), script: rerun(&feature.script) }).collect(),
        application: spec.application.as_ref().map(rerun),
        ..spec.clone()
    }
}

/// Sets what is drawn for pairs and longer schedules apart from what is drawn for singles.
const SECONDS: u64 = 0x7365_636f_6e64;
const LONGER: u64 = 0x006c_6f6e_6765_72;
