//! A place of their own for tests of the shim: runtime and state directory, jobs, and waiting with a bound.

#![allow(dead_code, reason = "each test binary uses what it needs")]
#![allow(unreachable_pub, reason = "a module of test binaries")]

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phoenix::ids::{Ctid, Incarnation, Step, Token};
use phoenix::shim::{
    Clock, IntentRef, Job, JobResult, Kept, Lock, LockName, ResultPlace, Running, RuntimeDir, Secret, ShimBinary, Task, Variables, prepare,
    spawn,
};

pub const DIGEST: &str = "d1";

pub struct Place {
    pub tmp: tempfile::TempDir,
    pub runtime: RuntimeDir,
    pub ctid: Ctid,
    pub clock: Clock,
}

impl Place {
    pub fn new(ctid: u32) -> Self {
        let tmp = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o755)).expect("open to mapped users");
        let runtime = RuntimeDir::at(tmp.path().join("run")).expect("a runtime directory");
        let clock = Clock::from_file(Path::new("/proc/sys/kernel/random/boot_id")).expect("a boot id");
        Self { tmp, runtime, ctid: Ctid::new(ctid).expect("in range"), clock }
    }

    pub fn at(dir: &Path, ctid: u32) -> (RuntimeDir, ResultPlace) {
        let runtime = RuntimeDir::at(dir.join("run")).expect("a runtime directory");
        let place = ResultPlace::lasting(&dir.join("state"), Ctid::new(ctid).expect("in range"), incarnation());
        (runtime, place)
    }

    pub fn results(&self) -> ResultPlace {
        ResultPlace::lasting(&self.tmp.path().join("state"), self.ctid, incarnation())
    }

    pub fn lock_name(&self) -> LockName {
        LockName::Container { backend: "lxc", ctid: self.ctid }
    }

    pub fn lock(&self) -> Lock {
        Lock::take(&self.runtime, &self.lock_name()).expect("the lock is free")
    }

    pub fn job(&self, seq: u64, within: Duration, task: Task) -> Job {
        job(self.ctid, &self.clock, seq, within, task)
    }

    pub fn start(&self, job: Job) -> Running {
        let lock = self.lock();
        let prepared = prepare(&self.results(), job.token).expect("space");
        spawn(prepared, job, &[lock], &binary()).expect("a shim")
    }

    pub fn run(&self, job: Job) -> JobResult {
        self.start(job).wait().expect("a result")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.tmp.path().join(name)
    }
}

pub fn binary() -> ShimBinary {
    ShimBinary::At(env!("CARGO_BIN_EXE_phoenix").into())
}

pub fn incarnation() -> Incarnation {
    Incarnation::from_random([7; 16])
}

pub fn intent(seq: u64) -> IntentRef {
    IntentRef::new(seq, 1, DIGEST).expect("plain")
}

pub fn token() -> Token {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("randomness");
    Token::from_random(bytes)
}

pub fn job(ctid: Ctid, clock: &Clock, seq: u64, within: Duration, task: Task) -> Job {
    Job {
        ctid,
        incarnation: incarnation(),
        step: Step::ApplicationRun.id(),
        attempt: 1,
        intent: intent(seq),
        token: token(),
        deadline: clock.moment().after(within),
        grace: Duration::from_millis(500),
        sync: Vec::new(),
        secrets: Vec::new(),
        task,
    }
}

/// A shell script of the host, with lock and token.
pub fn shell(text: &str) -> Task {
    run(text, Kept::LockAndToken)
}

pub fn run(text: &str, kept: Kept) -> Task {
    let env = variables(&[("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")]);
    Task::Run { argv: ["/bin/sh", "-c", text].map(Into::into).to_vec(), env, kept }
}

pub fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value))).collect()
}

pub fn output(result: &JobResult) -> String {
    String::from_utf8_lossy(&result.output().expect("an output")).into_owned()
}

/// Looks again and again until something is there, for ten seconds at most.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let from = now();
    while from.elapsed() < Duration::from_secs(10) {
        if let Some(found) = look() {
            return found;
        }
        pause(10);
    }
    panic!("{what} did not come about");
}

#[expect(clippy::disallowed_methods, reason = "a bound for waiting in tests")]
pub fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "waiting with a bound for what another process does")]
pub fn pause(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}

pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
}

/// The number that a process wrote into a file.
#[track_caller]
pub fn number_in(path: &Path) -> u32 {
    until(&format!("a number in {}", path.display()), || {
        fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok()
    })
}

pub fn is_root(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(test, "needs root");
    }
    root
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
pub fn skip(test: &str, why: &str) {
    eprintln!("skipped: {test} {why}");
}

pub fn open(path: &Path) -> File {
    File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
