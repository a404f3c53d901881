//! What a rehearsal came to, for people and for programs.
//!
//! Not here: the rehearsal (`rehearse`), and the clock that says how long it took.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};
use std::time::Duration;

use serde::Serialize;

use crate::ids::FleetName;
use crate::rehearse::{Cut, Divergence, Findings, Replayed, Schedules, Script};

use super::history::Timeline;
use super::plain::{Look, Tone, count, paragraph, wrap, written};
use super::status::SCHEMA;
use super::table::{Cell, Column, Table};

/// What a rehearsal came to.
#[derive(Clone, Debug, Serialize)]
pub struct RehearsalReport {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The fleet.
    pub fleet: String,
    /// How many containers it has.
    pub containers: usize,
    /// The seed.
    pub seed: u64,
    /// How many steps were taken at once.
    pub jobs: usize,
    /// Points of the run that nothing cuts.
    pub points: u64,
    /// Schedules of one crash.
    pub singles: SchedulesReport,
    /// Of two.
    pub pairs: SchedulesReport,
    /// Of three and more.
    pub longer: SchedulesReport,
    /// All schedules tried.
    pub tried: u64,
    /// Those that diverged.
    pub diverged: u64,
    /// The most resumes after a last crash.
    pub resumes_worst: u32,
    /// How many steps were cut.
    pub steps_cut: usize,
    /// At how many places in them.
    pub places_cut: usize,
    /// What recovery answered about steps in doubt.
    pub verdicts: BTreeSet<&'static str>,
    /// The shortest schedules that diverged.
    pub divergences: Vec<DivergenceReport>,
    /// Whether it was interrupted.
    pub is_cut_short: bool,
    /// How long it took.
    pub seconds: f64,
    /// Schedules a second.
    pub per_second: u64,
}

/// Schedules of one sort.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SchedulesReport {
    /// How many were tried.
    pub tried: u64,
    /// How many there are, where that is known.
    pub possible: Option<u64>,
    /// How many diverged.
    pub diverged: u64,
}

/// One schedule that diverged.
#[derive(Clone, Debug, Serialize)]
pub struct DivergenceReport {
    /// What `--replay` takes.
    pub replay: String,
    /// What is wrong.
    pub trouble: String,
    /// Whether it is the run that nothing cuts, with which all others would be compared.
    pub is_uncut: bool,
}

/// One schedule, played again.
#[derive(Clone, Debug, Serialize)]
pub struct ReplayReport {
    /// The fleet.
    pub fleet: String,
    /// The schedule.
    pub replay: String,
    /// Its crashes.
    pub crashes: Vec<CutReport>,
    /// What is wrong at the end, if something is.
    pub trouble: Option<String>,
    /// How many resumes it took after the last crash.
    pub resumes: Option<u32>,
    /// The journal at the end.
    #[serde(flatten)]
    pub timeline: Timeline,
}

/// One crash of a schedule.
#[derive(Clone, Debug, Serialize)]
pub struct CutReport {
    /// The point of its run.
    pub point: u64,
    /// What is killed.
    pub kills: &'static str,
    /// The last entry of the journal before it.
    pub after_seq: usize,
    /// Where each container was that had begun a step in that run, by number.
    pub places: BTreeMap<u32, String>,
}

impl RehearsalReport {
    /// The report of these findings.
    pub fn of(fleet: &FleetName, containers: usize, jobs: usize, findings: &Findings, took: Duration) -> Self {
        let seconds = took.as_secs_f64();
        let millis = took.as_millis().max(1);
        let per_second = u64::try_from(u128::from(findings.tried()) * 1000 / millis).unwrap_or(u64::MAX);
        let divergence = |divergence: &Divergence| DivergenceReport {
            replay: divergence.script.to_string(),
            trouble: divergence.trouble.to_string(),
            is_uncut: divergence.script.crashes.is_empty(),
        };
        Self {
            schema: SCHEMA,
            fleet: fleet.to_string(),
            containers,
            seed: findings.seed,
            jobs,
            points: findings.points,
            singles: schedules(findings.singles),
            pairs: schedules(findings.pairs),
            longer: schedules(findings.longer),
            tried: findings.tried(),
            diverged: findings.diverged(),
            resumes_worst: findings.resumes_worst,
            steps_cut: findings.coverage.steps().count(),
            places_cut: findings.coverage.steps().map(|(_, _, places)| places.len()).sum(),
            verdicts: findings.coverage.verdicts().values().flatten().copied().collect(),
            divergences: findings.divergences.iter().map(divergence).collect(),
            is_cut_short: findings.is_cut_short,
            seconds,
            per_second,
        }
    }

    /// The text for people. `again` is the command that a schedule is put behind to play it again.
    pub fn text(&self, look: Look, again: &str) -> String {
        written(|f| self.write(f, look, again))
    }

    fn write(&self, f: &mut String, look: Look, again: &str) -> fmt::Result {
        let Self { fleet, containers, seed, points, .. } = self;
        let head = look.paint(Tone::Strong, &format!("fleet {fleet}"));
        if let Some(DivergenceReport { trouble, .. }) = self.divergences.first().filter(|first| first.is_uncut) {
            writeln!(f, "{head}: {}, seed {seed}", count(*containers, "container"))?;
            paragraph(f, look, "  ", &format!("even without a crash: {trouble}"))?;
            return writeln!(f, "  next: {again} {seed}:");
        }
        writeln!(f, "{head}: {}, seed {seed}", count(*containers, "container"))?;
        writeln!(f, "{points} points where a crash can come")?;
        let mut table = Table::new(&COLUMNS);
        for (name, schedules) in [("one", self.singles), ("two", self.pairs), ("three and more", self.longer)] {
            let SchedulesReport { tried, possible, diverged } = schedules;
            let tone = if diverged > 0 { Tone::Bad } else { Tone::Plain };
            let possible = possible.map_or_else(String::new, |possible| possible.to_string());
            let cells =
                [Cell::plain(name), Cell::plain(&tried.to_string()), Cell::plain(&possible), Cell::new(&diverged.to_string(), tone)];
            table.row(cells.into());
        }
        table.write(f, look)?;
        let verdicts: Vec<&str> = self.verdicts.iter().copied().collect();
        let (places, steps) = (self.places_cut, count(self.steps_cut, "step"));
        paragraph(f, look, "", &format!("cut at {places} places in {steps}; found afterwards: {}", verdicts.join(", ")))?;
        writeln!(f, "{} in {:.1} s, {} a second", schedules_text(self.tried), self.seconds, self.per_second)?;
        self.write_end(f, look, again)
    }

    fn write_end(&self, f: &mut String, look: Look, again: &str) -> fmt::Result {
        if self.is_cut_short {
            writeln!(f, "{}", look.paint(Tone::Busy, "interrupted before the budget was spent"))?;
        }
        if self.diverged == 0 {
            let resumes = count(usize::try_from(self.resumes_worst).unwrap_or(usize::MAX), "resume");
            let end = format!("every schedule came to the same end, after at most {resumes}");
            return wrap(&end, look.columns()).iter().try_for_each(|line| writeln!(f, "{}", look.paint(Tone::Good, line)));
        }
        writeln!(f, "{}; the shortest:", look.paint(Tone::Bad, &format!("{} diverged", schedules_text(self.diverged))))?;
        for DivergenceReport { replay, trouble, is_uncut: _ } in self.divergences.iter().take(DIVERGENCES_SHOWN_MAX) {
            paragraph(f, look, "  - ", &format!("{replay}  {trouble}"))?;
        }
        match self.divergences.first() {
            Some(first) => writeln!(f, "  next: {again} {}", first.replay),
            None => Ok(()),
        }
    }
}

impl ReplayReport {
    /// The report of one schedule.
    pub fn of(fleet: &FleetName, script: &Script, replayed: &Replayed) -> Self {
        let Replayed { cuts, entries, judged } = replayed;
        Self {
            fleet: fleet.to_string(),
            replay: script.to_string(),
            crashes: cuts.iter().map(cut).collect(),
            trouble: judged.as_ref().err().map(ToString::to_string),
            resumes: judged.as_ref().ok().copied(),
            timeline: Timeline::of(entries),
        }
    }

    /// The text for people.
    pub fn text(&self, look: Look) -> String {
        written(|f| self.write(f, look))
    }

    fn write(&self, f: &mut String, look: Look) -> fmt::Result {
        writeln!(f, "{}: schedule {}", look.paint(Tone::Strong, &format!("fleet {}", self.fleet)), self.replay)?;
        for (number, CutReport { point, kills, after_seq, places }) in self.crashes.iter().enumerate() {
            let run = if number == 0 { "up".to_owned() } else { format!("resume {number}") };
            let text = format!("at point {point} of {run}, after entry {after_seq}, {kills}");
            writeln!(f, "  {}", look.paint(Tone::Busy, &text))?;
            for (ctid, place) in places {
                writeln!(f, "    {ctid}  {place}")?;
            }
        }
        f.write_str(&self.timeline.text(look))?;
        match &self.trouble {
            Some(trouble) => paragraph(f, look, "", &look.paint(Tone::Bad, trouble)),
            None if self.crashes.is_empty() => writeln!(f, "{}", look.paint(Tone::Good, "the fleet is up")),
            None => writeln!(f, "{}", look.paint(Tone::Good, "the end is that of a run without crashes")),
        }
    }
}

fn cut(cut: &Cut) -> CutReport {
    let Cut { crash, entries, places } = cut;
    let places = places.iter().map(|(ctid, step, place)| (ctid.get(), format!("{step} {place}")));
    CutReport { point: crash.point, kills: crash.kind.words(), after_seq: *entries, places: places.collect() }
}

fn schedules(schedules: Schedules) -> SchedulesReport {
    let Schedules { tried, possible, diverged } = schedules;
    SchedulesReport { tried, possible, diverged }
}

fn schedules_text(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "schedule")
}

const COLUMNS: [Column; 4] = [
    Column { title: "CRASHES", gives_way: 0, narrow: 7 },
    Column { title: "TRIED", gives_way: 0, narrow: 5 },
    Column { title: "OF", gives_way: 1, narrow: 2 },
    Column { title: "DIVERGED", gives_way: 0, narrow: 8 },
];

/// How many divergences a person is shown; one fault shows in thousands.
const DIVERGENCES_SHOWN_MAX: usize = 5;
