//! Figures, not assertions: engine steps a second, simulated fleets, and `status` of a large journal.
//!
//! `cargo bench --bench fleet` (add `-- 1000` for the small fleets alone). Everything runs in this process but `status`, which is
//! the real command on a real journal.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a bench measures with the real clock and starts the real command")]

#[path = "../tests/fleets/mod.rs"]
mod fleets;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use phoenix::driver::{Channel, Observer, Progress, Site, Wanted, up};
use phoenix::host::sim::{Flow, Sim, World, WorldOptions};
use phoenix::ids::Ctid;
use phoenix::machine::RunEnd;
use phoenix::manifest::Spec;
use phoenix::rehearse::{Ended, Stage};
use phoenix_journal::WriterInfo;

const SMALL: [usize; 2] = [1_000, 10_000];
const STATUS_CONTAINERS: usize = 10_000;
/// Numbers of containers begin here.
const FIRST: u32 = 100_000;
/// How often `status` is timed; the fastest and the middle one are printed.
const STATUS_RUNS: usize = 15;

fn main() {
    let most = std::env::args().skip(1).find_map(|arg| arg.parse::<usize>().ok()).unwrap_or(usize::MAX);
    println!("simulated fleets: engine, journal guards and simulator in one thread, nothing on disk");
    for count in SMALL.into_iter().filter(|&count| count <= most) {
        simulate(count);
    }
    if most >= STATUS_CONTAINERS {
        status();
    }
}

/// A fleet in which every tenth container depends on the one before it, and every third has a volume.
fn fleet(count: usize) -> BTreeMap<Ctid, Wanted> {
    let spec = |(number, place): (u32, usize)| -> Spec {
        let spec = if place.is_multiple_of(3) { fleets::mounted(fleets::spec(number), "media") } else { fleets::spec(number) };
        if place % 10 == 9 { fleets::depending(spec, number - 1) } else { spec }
    };
    fleets::wanted((FIRST..).zip(0..count).map(spec).collect())
}

#[derive(Default)]
struct Count {
    intents: u64,
    entries: u64,
}

impl Observer for Count {
    fn observe(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Intended { .. } => {
                self.intents += 1;
                self.entries += 1;
            }
            Progress::Recorded { .. } => self.entries += 1,
            Progress::Upgraded { .. }
            | Progress::Settling { .. }
            | Progress::Waiting { .. }
            | Progress::Stopping { .. }
            | Progress::Ended { .. } => {}
        }
    }
}

fn simulate(count: usize) {
    let world = World::new(WorldOptions::seeded(1));
    let mut stage = Stage::new(world, "bench".parse().expect("a name"), fleet(count), 64, 1).expect("a stage");
    let mut seen = Count::default();
    let began = Instant::now();
    let ended = stage.up(None, &mut seen).expect("a run");
    let took = began.elapsed();
    assert!(matches!(ended, Ended::Run { end: RunEnd::Done, .. }), "the fleet comes up");
    let per_second = f64::from(u32::try_from(seen.intents).unwrap_or(u32::MAX)) / took.as_secs_f64();
    let each = took / u32::try_from(count).unwrap_or(u32::MAX);
    println!(
        "  {count:>6} containers: {:>6.2} s, {each:?} a container, {} steps, {per_second:.0} steps/s, {} entries",
        took.as_secs_f64(),
        seen.intents,
        seen.entries
    );
    let began = Instant::now();
    let account = stage.account().expect("an account");
    println!("  {count:>6} containers: history read and folded in {:.2} s ({} lives)", began.elapsed().as_secs_f64(), account.lives.len());
}

fn status() {
    let dir = tempfile::tempdir().expect("a directory");
    let journal = dir.path().join("journal").join("journal.db");
    std::fs::create_dir(dir.path().join("journal")).expect("a directory");
    let sim = Sim::open(&journal.with_extension("db.sim"), WorldOptions::seeded(1), Flow::Real).expect("a world");
    let writer = WriterInfo { pid: std::process::id(), command: "bench".to_owned(), started_at_ms: 0, boot_id: "bench".to_owned() };
    let site = Site { host: Arc::new(sim), journal: journal.clone(), writer, entropy };
    let began = Instant::now();
    let mut seen = Count::default();
    let finished =
        up(&site, None, &"bench".parse().expect("a name"), &fleet(STATUS_CONTAINERS), 64, &Channel::new(), &mut seen).expect("a run");
    assert_eq!(finished.end, RunEnd::Done);
    println!(
        "a real journal of {STATUS_CONTAINERS} containers: {} entries in {:.1} s through the driver, on the simulator",
        seen.entries,
        began.elapsed().as_secs_f64()
    );
    let mut times: Vec<Duration> = (0..STATUS_RUNS).map(|_| time_status(&journal)).collect();
    times.sort_unstable();
    println!("  `phoenix status --json`: fastest {:?}, median {:?} of {STATUS_RUNS}", times[0], times[STATUS_RUNS / 2]);
}

fn time_status(journal: &std::path::Path) -> Duration {
    let began = Instant::now();
    let output =
        Command::new(env!("CARGO_BIN_EXE_phoenix")).args(["--host", "sim", "--journal"]).arg(journal).args(["--json", "status"]).output();
    let took = began.elapsed();
    let output = output.expect("phoenix starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    took
}

fn entropy() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("random bytes");
    bytes
}
