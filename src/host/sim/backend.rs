//! The simulator as a host: a world behind the [`Host`] trait, for the command line and for tests of everything above it.
//!
//! Apart from the world because of what a world must not know: threads, files, real time. Not here: any rule of the host.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phoenix_journal::{JournalId, Recorded};
use rustix::time::{ClockId, clock_gettime};

use crate::host::{Host, HostError, Lease, LockError, Objection, Territory, Watch};
use crate::ids::HostKind;
use crate::ids::{Ctid, Now};
use crate::machine::{Report, StepResult};
use crate::manifest::Spec;
use crate::plan::{Doubt, Effect, Mark, Observation, Traces};

use super::act::clone_source;
use super::faults::Tamper;
use super::saved;
use super::world::{Progress, World, WorldOptions};

/// How virtual time flows beside the operations that move it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Not at all: for tests, where [`Sim::change`] lets time [pass](World::pass).
    Still,
    /// With real time, operations taking none: for the command line, where timers have to end.
    Real,
    /// Slowly enough to watch: this many real milliseconds for each virtual second, operations included.
    Paced {
        /// Real milliseconds for each virtual second, at least 1.
        ms_per_second: u32,
    },
}

impl Flow {
    /// [`Flow::Paced`] as the environment variable `PHOENIX_SIM_PACE` asks for it, else [`Flow::Real`].
    pub fn from_env() -> Self {
        let asked = std::env::var("PHOENIX_SIM_PACE").ok().and_then(|text| text.parse().ok());
        asked.filter(|ms| *ms > 0).map_or(Self::Real, |ms_per_second| Self::Paced { ms_per_second })
    }

    /// The virtual time that corresponds to `real`.
    fn virtual_time(self, real: Duration) -> Duration {
        match self {
            Self::Still => Duration::ZERO,
            Self::Real => real,
            Self::Paced { ms_per_second } => real.saturating_mul(1000) / ms_per_second.max(1),
        }
    }

    /// The real time to be waited for `left` of virtual time; `None` where operations take none.
    fn real_wait(self, left: Duration) -> Option<Duration> {
        match self {
            Self::Still | Self::Real => None,
            Self::Paced { ms_per_second } => Some(left.saturating_mul(ms_per_second.max(1)) / 1000),
        }
    }
}

/// A simulated host. Cheap to share: clones are the same host.
#[derive(Clone, Debug)]
pub struct Sim {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    /// Told when a watched simulation is to hurry up.
    hurry: Condvar,
}

#[derive(Debug)]
struct Inner {
    world: World,
    flow: Flow,
    hurried: bool,
    /// When the world last caught up with real time, since an arbitrary moment.
    caught_up: Duration,
    locked: BTreeSet<Ctid>,
    file: Option<SavedFile>,
}

impl Sim {
    /// A host in memory.
    pub fn new(world: World, flow: Flow) -> Self {
        Self::with(world, flow, None)
    }

    /// The host kept in the file at `path` (`JOURNAL.sim`), or a new one from `options` if there is none; nothing is written
    /// until something changes. Saved after every change, so that a kill of this process leaves the world that a kill of
    /// Phoenix alone leaves. Seed and times come from the file, behaviour and faults from `options`.
    pub fn open(path: &Path, options: WorldOptions, flow: Flow) -> Result<Self, HostError> {
        let world = match fs::read_to_string(path) {
            Ok(text) => saved::load(&text, options).map_err(|why| unreadable(path, &why))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => World::new(options),
            Err(source) => return Err(HostError::Io { what: format!("read {}", path.display()), source }),
        };
        Ok(Self::with(world, flow, Some(SavedFile { path: path.to_owned(), appending: None, lines: 0 })))
    }

    /// What time it is in the world kept at `path`, without reading all of it; nothing if there is none.
    pub fn glance(path: &Path) -> Option<Now> {
        let mut file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len();
        let read_from = |from: u64, file: &mut File| {
            let mut tail = Vec::new();
            file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut tail)).ok()?;
            saved::glance(&String::from_utf8_lossy(&tail))
        };
        read_from(length.saturating_sub(GLANCE_BYTES), &mut file).or_else(|| read_from(0, &mut file))
    }

    /// The world as it is now.
    pub fn world(&self) -> World {
        self.inner().world.clone()
    }

    /// Changes the world from outside: lets time pass, plants directories, crashes it.
    pub fn change<R>(&self, change: impl FnOnce(&mut World) -> R) -> Result<R, HostError> {
        let mut inner = self.inner();
        let result = change(&mut inner.world);
        inner.save_all()?;
        Ok(result)
    }

    /// Meddles with the host; see [`World::tamper`].
    pub fn tamper(&self, tamper: &Tamper) -> Result<(), HostError> {
        self.change(|world| world.tamper(tamper))
    }

    /// Ends the slow motion of [`Flow::Paced`] for good.
    pub fn hurry(&self) {
        self.inner().hurried = true;
        self.shared.hurry.notify_all();
    }

    fn with(world: World, flow: Flow, file: Option<SavedFile>) -> Self {
        let inner = Inner { world, flow, hurried: false, caught_up: real_time(), locked: BTreeSet::new(), file };
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner), hurry: Condvar::new() }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A panic in another thread happened between two whole changes of the world: a world is never left half changed.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries out an effect; other effects go on between its pieces.
    fn run(&self, effect: &Effect) -> Result<Report, HostError> {
        let touched: BTreeSet<Ctid> = effect.locks().into_iter().chain(clone_source(effect)).collect();
        let op = {
            let mut inner = self.inner();
            inner.catch_up();
            let op = inner.world.begin(effect);
            inner.save(&touched)?;
            op
        };
        loop {
            let mut inner = self.inner();
            inner.catch_up();
            let left = inner.world.next_due(op).and_then(|due| due.remaining(&inner.world.now().moment)).unwrap_or_default();
            if let Some(wait) = inner.flow.real_wait(left).filter(|wait| !wait.is_zero() && !inner.hurried) {
                // Not a sleep: the simulated host is at work for that long, and `hurry` ends it.
                drop(self.shared.hurry.wait_timeout(inner, wait).unwrap_or_else(PoisonError::into_inner));
                continue;
            }
            let progress = inner.world.advance(op);
            inner.save(&touched)?;
            if let Progress::Finished(report) = progress {
                return Ok(report);
            }
        }
    }
}

impl Host for Sim {
    fn kind(&self) -> HostKind {
        HostKind::Sim
    }

    fn territory(&self) -> Result<Territory, HostError> {
        Ok(Territory { kind: HostKind::Sim, node: "sim".to_owned(), directory: PathBuf::from("/sim"), device: 0 })
    }

    fn settle_in(&self, journal: &JournalId) -> Result<(), HostError> {
        let mut inner = self.inner();
        if inner.world.settled_in.contains(journal) {
            return Ok(());
        }
        inner.world.settle_in(*journal);
        inner.save(&BTreeSet::new())
    }

    fn now(&self) -> Result<Now, HostError> {
        let mut inner = self.inner();
        inner.catch_up();
        Ok(inner.world.now())
    }

    fn observe(&self, journal: Option<&JournalId>, ctids: &[Ctid]) -> Result<Observation, HostError> {
        let inner = self.inner();
        match journal {
            Some(journal) if !inner.world.settled_in.contains(journal) => Err(HostError::NotOurs {
                what: "the simulated world does not know this journal".to_owned(),
                remedy: "put the `.sim` file back that belongs beside the journal".to_owned(),
            }),
            Some(_) | None => Ok(inner.world.observe(ctids)),
        }
    }

    fn vet(&self, _: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError> {
        // A world made for the fleet has whatever the fleet names.
        Ok(Vec::new())
    }

    fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError> {
        let mut inner = self.inner();
        inner.catch_up();
        let busy = |ctid: &&Ctid| inner.locked.contains(ctid) || inner.world.locked_until(**ctid).is_some();
        if let Some(ctid) = ctids.iter().find(busy) {
            let ours = inner.locked.contains(ctid);
            let holder_command = if ours { "phoenix" } else { "a simulated process" }.to_owned();
            return Err(LockError::Busy { ctid: *ctid, holder_pid: None, holder_command });
        }
        inner.locked.extend(ctids);
        Ok(Lease { locks: Vec::new(), keep: Some(Box::new(Locks { sim: self.clone(), ctids: ctids.to_vec() })) })
    }

    /// Nothing is written that could find no space.
    fn allocate(&self, _: &Effect, _: &mut Lease) -> Result<(), HostError> {
        Ok(())
    }

    fn carry_out(&self, effect: Recorded<Effect>, lease: Lease) -> Report {
        let report = self.run(effect.get()).unwrap_or_else(|error| not_saved(&error));
        drop(lease);
        report
    }

    fn settle(&self, doubt: &Doubt, watch: &dyn Watch) -> Report {
        let mut waits = Vec::new();
        let (report, saved) = {
            let mut inner = self.inner();
            inner.catch_up();
            (inner.world.settle(&doubt.effect, &mut |wait| waits.push(wait)), inner.save_all())
        };
        // Told without the lock: whoever is told may ask this host for the time.
        for wait in waits {
            watch.waiting(wait);
        }
        match saved {
            Ok(()) => report,
            Err(error) => not_saved(&error),
        }
    }

    fn traces(&self, spec: &Spec, mark: &Mark) -> Result<Traces, HostError> {
        Ok(self.inner().world.traces(spec, mark))
    }

    fn leftovers(&self, _: Ctid) -> Result<Vec<PathBuf>, HostError> {
        Ok(Vec::new())
    }
}

impl Inner {
    /// Lets the virtual time pass that corresponds to the real time since the last call.
    fn catch_up(&mut self) {
        let real = real_time();
        let passed = self.flow.virtual_time(real.saturating_sub(self.caught_up));
        // Below a millisecond nothing would pass, and it would be forgotten.
        if passed >= Duration::from_millis(1) {
            self.caught_up = real;
            self.world.pass(passed);
        }
    }

    fn save(&mut self, ctids: &BTreeSet<Ctid>) -> Result<(), HostError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        if file.lines > COMPACT_AFTER_LINES_MIN && file.lines > 4 * self.world.slots.len() {
            return self.save_all();
        }
        if file.appending.is_none() {
            return self.save_all();
        }
        file.append(&saved::whole(&self.world.left_behind(ctids)))
    }

    fn save_all(&mut self) -> Result<(), HostError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let all = self.world.slots.keys().copied().collect();
        file.replace(&saved::whole(&self.world.left_behind(&all)))
    }
}

/// How much of the end of a world's file is looked at for the time; every change appends the host's line.
const GLANCE_BYTES: u64 = 64 * 1024;

/// The locks of a lease on a simulated host.
struct Locks {
    sim: Sim,
    ctids: Vec<Ctid>,
}

impl Drop for Locks {
    fn drop(&mut self) {
        let mut inner = self.sim.inner();
        for ctid in &self.ctids {
            inner.locked.remove(ctid);
        }
    }
}

/// The file that holds a world. Changes are appended, each in one write; now and then it is written afresh.
#[derive(Debug)]
struct SavedFile {
    path: PathBuf,
    appending: Option<File>,
    lines: usize,
}

impl SavedFile {
    fn append(&mut self, text: &str) -> Result<(), HostError> {
        let Some(file) = &mut self.appending else { return self.replace(text) };
        self.lines += text.lines().count();
        file.write_all(text.as_bytes()).map_err(|source| cannot_write(&self.path, source))
    }

    /// Not synced: it has to outlive this process, and a power cut takes the simulated host away with it.
    fn replace(&mut self, text: &str) -> Result<(), HostError> {
        let mut name = self.path.clone().into_os_string();
        name.push(".tmp");
        let renamed = fs::write(&name, text).and_then(|()| fs::rename(&name, &self.path));
        let opened = renamed.and_then(|()| OpenOptions::new().append(true).open(&self.path));
        self.appending = Some(opened.map_err(|source| cannot_write(&self.path, source))?);
        self.lines = text.lines().count();
        Ok(())
    }
}

fn cannot_write(path: &Path, source: io::Error) -> HostError {
    HostError::Io { what: format!("write the simulated world to {}", path.display()), source }
}

fn unreadable(path: &Path, why: &saved::LoadError) -> HostError {
    HostError::Unusable {
        what: format!("the simulated world in {} cannot be used: {why}", path.display()),
        remedy: "put back the file, or move journal and file away to begin afresh".to_owned(),
    }
}

fn not_saved(error: &HostError) -> Report {
    Report::bare(StepResult::Unknown { why: error.to_string() })
}

/// Real time since an arbitrary moment; what the world may not know and a person who watches needs.
fn real_time() -> Duration {
    let now = clock_gettime(ClockId::Monotonic);
    let whole = u64::try_from(now.tv_sec).unwrap_or_default();
    Duration::new(whole, u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// A file below this many lines is not worth writing afresh.
const COMPACT_AFTER_LINES_MIN: usize = 10_000;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use phoenix_journal::Epoch;

    use crate::ids::{Generation, IdMap, Incarnation, Moment, RunId, State, Step, Token};
    use crate::manifest::{Autostart, HostOptions, Origin, Ready, ReadyProbe, Resources, Spec, Template};
    use crate::plan::{Action, Intent, Mark, Reason};

    use super::*;

    fn create(number: u32, moment: &Moment) -> Effect {
        let ctid = Ctid::new(number).expect("a number in range");
        let incarnation = Incarnation::from_random([1; 16]);
        let spec = Spec {
            ctid,
            hostname: "db".parse().expect("a host name"),
            origin: Origin::Template(Template::Stored("local:vztmpl/debian.tar.zst".to_owned())),
            unprivileged: true,
            idmap: IdMap::shifted(100_000, 65_536).expect("a map"),
            resources: Resources { memory_mb: 512, swap_mb: 0, cores: None, disk_gb: None },
            network: Vec::new(),
            mounts: Vec::new(),
            depends_on: BTreeSet::new(),
            features: Vec::new(),
            application: None,
            health: Vec::new(),
            ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(30) },
            autostart: Autostart { enabled: false, order: None, up_delay_s: None, down_timeout_s: None },
            host_options: HostOptions { lxc_features: BTreeMap::new(), ..HostOptions::default() },
        };
        let intent = Intent {
            run: RunId::from_random([2; 16]),
            ctid,
            incarnation,
            generation: Generation::FIRST,
            state: State::Declared,
            step: Step::DefineCreate.id(),
            attempt: 1,
            reason: Reason::First,
            deadline: moment.after(Duration::from_secs(60)),
            token: Token::from_random([3; 16]),
            action: Action::Create { template: None },
        };
        let journal = "00112233445566778899aabbccddeeff".parse().expect("32 hex digits");
        let fleet = "test".parse().expect("a name");
        Effect { intent, spec: Arc::new(spec), mark: Mark { journal, fleet, ctid, incarnation, epoch: Epoch::new(1) }, former: Vec::new() }
    }

    #[track_caller]
    fn check_created(sim: &Sim, number: u32) {
        let effect = create(number, &sim.now().expect("a clock").moment);
        let report = sim.run(&effect).expect("a world that can be saved");
        assert!(matches!(report.result, StepResult::Done(_)), "{report:?}");
    }

    #[test]
    fn a_change_costs_lines_of_its_own_container_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("sim");
        let open = || Sim::open(&path, WorldOptions::seeded(1), Flow::Still).expect("a world");
        let sim = open();
        let lines = |sim: &Sim| sim.inner().file.as_ref().map_or(0, |file| file.lines);
        (100..110).for_each(|number| check_created(&sim, number));
        let before = lines(&sim);
        check_created(&sim, 110);
        assert_eq!(lines(&sim) - before, 2 * 5, "host and container, at its beginning and after each of four pieces");
        assert_eq!(open().world().fingerprint(), sim.world().fingerprint());
    }

    #[test]
    fn a_paced_operation_takes_real_time_until_it_is_hurried() {
        let sim = Sim::new(World::new(WorldOptions::seeded(1)), Flow::Paced { ms_per_second: 50 });
        let begun = real_time();
        check_created(&sim, 100);
        let took = real_time().saturating_sub(begun);
        assert!(took >= Duration::from_millis(70), "two virtual seconds in {took:?}");
        let sim = Sim::new(World::new(WorldOptions::seeded(1)), Flow::Paced { ms_per_second: u32::MAX });
        std::thread::scope(|scope| {
            let run = scope.spawn(|| check_created(&sim, 100));
            sim.hurry();
            run.join().expect("a container is made");
        });
    }

    #[test]
    fn effects_on_several_containers_overlap() {
        let sim = Sim::new(World::new(WorldOptions::seeded(1)), Flow::Still);
        std::thread::scope(|scope| {
            for number in 100..108 {
                let sim = &sim;
                scope.spawn(move || check_created(sim, number));
            }
        });
        assert_eq!(sim.world().ctids().len(), 8);
        assert_eq!(sim.world().damage(), []);
    }
}
