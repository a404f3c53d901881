//! `rehearse`: a fleet under every crash that can come, on the simulator.
//!
//! No host, no journal, nothing on disk but the manifest and the files it needs to be read. Not here: the schedules (`rehearse`)
//! and the words (`report`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::host::sim::WorldOptions;
use crate::ids::HostKind;
use crate::rehearse::{Audience, Budget, Rehearsal, Script};
use crate::report::plain::path_text;
use crate::report::{RehearsalReport, ReplayReport};

use super::args::{HostChoice, RehearseArgs};
use super::blame::{CliError, Exit};
use super::screen::{Screen, print, print_json, say};
use super::setting::Setting;
use super::signals;
use super::templates::digest;

pub(super) fn run(setting: &Setting, args: &RehearseArgs) -> Result<Exit, CliError> {
    let manifest = setting.manifest(&args.manifest, checked_for(setting.globals.host))?;
    // As on the simulator: templates are names there, so no archive has to lie here.
    let wanted = digest(manifest.containers().values(), HostKind::Sim, None)?.wanted;
    let (containers, jobs) = (wanted.len(), args.jobs.jobs);
    let seed = args.replay.as_ref().map_or(args.seed, |script| script.seed);
    let rehearsal = Rehearsal::new(WorldOptions::seeded(seed), manifest.fleet().clone(), wanted, jobs);
    if let Some(script) = &args.replay {
        let report = ReplayReport::of(manifest.fleet(), script, &rehearsal.replay(&script.crashes)?);
        return show_replay(setting, &report);
    }
    let hall = Hall::open(setting.screen, args.budget);
    let begun = now();
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, std::num::NonZero::get));
    let findings = rehearsal.perform(Budget::of(args.budget), threads, &hall)?;
    let took = now().duration_since(begun);
    hall.close();
    let report = RehearsalReport::of(manifest.fleet(), containers, jobs, &findings, took);
    if setting.globals.json {
        print_json(&report)?;
    } else {
        print(&report.text(setting.screen.out, &again(args)))?;
    }
    // A divergence that was found stays found when the rest is not tried.
    Ok(match (report.diverged > 0, report.is_cut_short) {
        (true, _) => Exit::NotThere,
        (false, true) => Exit::Interrupted,
        (false, false) => Exit::Well,
    })
}

/// The kind of host that the manifest is checked for. It is played on the simulator, which needs less than others; who names
/// another is told what that would miss.
fn checked_for(host: HostChoice) -> HostKind {
    match host {
        HostChoice::Auto | HostChoice::Sim => HostKind::Sim,
        HostChoice::Lxc => HostKind::Lxc,
        HostChoice::Pct => HostKind::Pct,
    }
}

fn show_replay(setting: &Setting, report: &ReplayReport) -> Result<Exit, CliError> {
    if setting.globals.json {
        print_json(report)?;
    } else {
        print(&report.text(setting.screen.out))?;
    }
    Ok(if report.trouble.is_some() { Exit::NotThere } else { Exit::Well })
}

/// The command that plays a schedule again, but for the schedule. How many steps are taken at once decides which points there
/// are, so it has to be the same.
fn again(args: &RehearseArgs) -> String {
    format!("phoenix rehearse {} -j {} --replay", path_text(&args.manifest), args.jobs.jobs)
}

#[expect(clippy::disallowed_methods, reason = "how long it took is printed, and nothing is decided by it")]
fn now() -> Instant {
    Instant::now()
}

/// Shows how far a rehearsal is, and hears who wants to leave.
struct Hall {
    tried: AtomicU64,
    /// Lines are printed at multiples of this; none if 0.
    stretch: u64,
    budget: u64,
    bar: Option<ProgressBar>,
    is_leaving: Arc<AtomicBool>,
}

/// Budgets below this are spent before a person wonders.
const BUDGET_WITH_LINES_MIN: u64 = 100_000;
/// How many lines a budget is told in.
const LINES: u64 = 20;

impl Hall {
    fn open(screen: Screen, budget: u64) -> Self {
        let is_leaving = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = channel();
        signals::forward(sender, || ());
        let flag = Arc::clone(&is_leaving);
        std::thread::spawn(move || receiver.iter().for_each(|()| flag.store(true, Ordering::Relaxed)));
        let stretch = if screen.live || budget < BUDGET_WITH_LINES_MIN { 0 } else { budget / LINES };
        let hall = Self { tried: AtomicU64::new(0), stretch, budget, bar: screen.live.then(|| bar(budget)), is_leaving };
        hall.tell(0);
        hall
    }

    /// A line now and then, where there is nothing that shows in place.
    fn tell(&self, tried: u64) {
        if self.stretch > 0 && tried.is_multiple_of(self.stretch) {
            say(&format!("{tried} of {} schedules\n", self.budget));
        }
    }

    fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Audience for Hall {
    fn tried(&self) {
        let tried = self.tried.fetch_add(1, Ordering::Relaxed) + 1;
        match &self.bar {
            Some(bar) => bar.inc(1),
            None => self.tell(tried),
        }
    }

    fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}

fn bar(budget: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(budget), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} schedules, {per_sec}, {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

/// The seed, if the person names none: the same for everybody, so that two people see the same.
pub(super) const SEED_DEFAULT: u64 = 1;
/// How many schedules, if the person says nothing: a few seconds.
pub(super) const BUDGET_DEFAULT: u64 = 20_000;

/// Reads `--replay`.
pub(super) fn parse_script(text: &str) -> Result<Script, String> {
    text.parse::<Script>().map_err(|error| error.to_string())
}
