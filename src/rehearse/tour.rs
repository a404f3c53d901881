//! The stages of a rehearsal after the run that nothing cuts: single crashes, pairs, longer schedules.
//!
//! Each plays the first run once and shares what first crashes leave out among the workers. Apart from what a rehearsal is
//! asked for and answers (`rehearsal`). Not here: what has to hold at the end of a schedule (`judge`).

use std::collections::BTreeMap;

use crate::host::sim::Fingerprint;
use crate::machine::RunCommand;
use crate::plan::Doubt;

use super::coverage::Coverage;
use super::crash::{Crash, CrashKind};
use super::findings::Tally;
use super::judge::{bring_to_end, play};
use super::rehearsal::{Audience, Rehearsal};
use super::sample::{Draw, Sample};
use super::show::{Guide, Point};
use super::stage::{Stage, StageError};
use super::workers::{Supply, share_out};

/// The stages of a rehearsal after the run that nothing cuts.
pub(super) struct Tour<'a> {
    pub(super) rehearsal: &'a Rehearsal,
    pub(super) uncut: &'a Uncut,
    pub(super) threads: usize,
    pub(super) audience: &'a dyn Audience,
}

/// The run that nothing cuts.
pub(super) struct Uncut {
    pub(super) points: u64,
    /// What the world has to be at the end of every schedule.
    pub(super) expected: Fingerprint,
}

pub(super) const KINDS: u64 = CrashKind::ALL.len() as u64;

/// What the first crash of a schedule left.
struct Wreck {
    crash: Crash,
    /// Which first crash of all.
    number: u64,
    stage: Stage,
}

impl Tour<'_> {
    /// One crash; also how many points the resume after each has.
    pub(super) fn singles(&self, sample: Sample) -> Result<(Tally, BTreeMap<u64, u64>), StageError> {
        let points = self.uncut.points;
        let mut chosen = sample.within(0..points * KINDS).peekable();
        let wanted = |number: u64| chosen.next_if_eq(&number).is_some();
        let (done, hit) = self.share_wrecks(wanted, |(tally, resumes): &mut (Tally, BTreeMap<u64, u64>), mut wreck| {
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
    pub(super) fn pairs(&self, offsets: &Offsets, sample: Sample) -> Result<Tally, StageError> {
        let range = |number: u64| offsets.range(number);
        let wanted = |number: u64| sample.within(range(number)).next().is_some();
        let (tallies, _) = self.share_wrecks(wanted, |tally: &mut Tally, mut wreck| {
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
    pub(super) fn longer(&self, budget: u64) -> Result<Tally, StageError> {
        let firsts = (self.uncut.points * KINDS).max(1);
        let chains = budget.div_ceil(LENGTHS);
        // Chains are spread evenly over the first crashes; the points after that are drawn.
        let starting = |number: u64| chains / firsts + u64::from(number < chains % firsts);
        let wanted = |number: u64| starting(number) > 0;
        let (tallies, _) = self.share_wrecks(wanted, |tally: &mut Tally, wreck| {
            for round in 0..starting(wreck.number) {
                let chain = round * firsts + wreck.number;
                let left = (budget - chain * LENGTHS).min(LENGTHS);
                self.chain(&wreck, chain, left, tally);
            }
        })?;
        Ok(merged(tallies))
    }

    fn chain(&self, wreck: &Wreck, chain: u64, mut left: u64, tally: &mut Tally) {
        let draw = Draw::new(self.rehearsal.seed() ^ LONGER, chain);
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
    fn share_wrecks<T: Default + Send>(
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
    for tally in tallies {
        whole.merge(tally);
    }
    whole
}

/// Where the pairs of each first crash stand among all pairs.
pub(super) struct Offsets {
    /// For each first crash that was played: before it, and its own.
    pairs: BTreeMap<u64, (u64, u64)>,
    total: u64,
}

impl Offsets {
    pub(super) fn of(resumes: &BTreeMap<u64, u64>) -> Self {
        let (mut pairs, mut total) = (BTreeMap::new(), 0);
        for (&number, &points) in resumes {
            pairs.insert(number, (total, points * KINDS));
            total += points * KINDS;
        }
        Self { pairs, total }
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    fn range(&self, number: u64) -> std::ops::Range<u64> {
        self.pairs.get(&number).map_or(0..0, |&(start, count)| start..start + count)
    }
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
                point.read_so_far();
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
            point.read_so_far();
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

/// Sets what is drawn for pairs and longer schedules apart from what is drawn for singles.
pub(super) const SECONDS: u64 = 0x7365_636f_6e64;
const LONGER: u64 = 0x6c6f_6e67_6572;
/// The most crashes in one schedule: beyond that every container has been cut off so often that nothing new comes.
const CRASHES_MAX: u64 = 6;
/// In how many lengths longer schedules come.
const LENGTHS: u64 = CRASHES_MAX - 2;
