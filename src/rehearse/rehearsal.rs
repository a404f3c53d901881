//! All crash schedules of one fleet, as far as a budget goes.
//!
//! First the run that nothing cuts: it says how many points there are and what the world has to be at the end. Then one crash of
//! every kind at every point, then a second at every point of the resume that follows each, then longer schedules at random.
//! The prefix that schedules have in common is played once: what a crash would leave is taken along at each point, and only
//! what comes after is played for each. Not here: how each sort of schedule is played (`tour`), one run
//! (`stage`), and what has to hold at its end (`judge`).

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::Entry;

use crate::driver::{Silent, Wanted};
use crate::host::sim::{World, WorldOptions};
use crate::ids::{Ctid, FleetName, StepId};
use crate::machine::RunCommand;
use crate::manifest::{Feature, OnInterrupt, Script as Program, Spec};
use crate::plan::Doubt;

use super::coverage::{Coverage, Place};
use super::crash::{Crash, CrashKind, Script};
use super::findings::{Divergence, Findings, Schedules, Tally, Trouble};
use super::judge::{NoCrash, bring_to_end, broke, look, play};
use super::sample::Sample;
use super::show::{Guide, Point};
use super::stage::{Ended, Stage, StageError};
use super::tour::{KINDS, Offsets, SECONDS, Tour, Uncut};

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

    pub(super) fn seed(&self) -> u64 {
        self.world.seed
    }

    pub(super) fn stage(&self) -> Result<Stage, StageError> {
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
        let schedules =
            [singles.schedules(Some(first_kinds)), pairs.schedules(all_firsts.then(|| offsets.total())), longer.schedules(None)];
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

/// Counts points.
struct Count(u64);

impl Guide for Count {
    fn at_point(&mut self, _: &Point<'_>) -> Option<CrashKind> {
        self.0 += 1;
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
