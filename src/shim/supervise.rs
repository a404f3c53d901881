//! The shim process: one child, its output, its deadline, its result.
//!
//! It is single-threaded but for the ending of processes, waits with `poll(2)` alone, and knows no journal: everything it
//! does follows from the job. Not here: what the result means.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitOptions, WaitStatus, wait};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime};
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::blot::Blotter;
use super::child::{self, Started};
use super::clock::{boottime_ms, wall};
use super::output::OutputFile;
use super::place;
use super::process::{self, Bearer, Identity, Stage};
use super::result::{self, Ending, JobResult};
use super::spawn::{BEGUN_FD, JOB_FD, LOCKS_MAX, PAYLOAD_FD, PAYLOADS_MAX};
use super::unpack;
use super::wire::{WireJob, WireTask};
use crate::ids::Token;

/// How much is read at once; the size of a pipe.
const READ_BYTES: usize = 64 * 1024;
/// How much is still read once the job is over: what its processes can have left in the pipe, and no more, since a service
/// left behind may write for ever.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;
/// The most undead processes a result names; it has a fixed space.
const UNDEAD_NAMED_MAX: usize = 64;
/// The longest reason a result gives.
const WHY_CHARS_MAX: usize = 1000;
/// How long an init goes on after it has killed everything else; busybox takes two seconds.
const SHUTDOWN_MS_MAX: u32 = 10_000;
/// What `lxc-attach` exits with when the script was ended by SIGHUP, SIGINT, SIGKILL or SIGTERM.
const KILLED_STATUSES: [i32; 4] = [129, 130, 137, 143];
/// What the shim ends with if it cannot write a result.
const NO_RESULT: u8 = 70;

/// The entry point of `phoenix __shim`.
pub(super) fn main() -> ExitCode {
    match shim() {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads a shim's words; that there is no result says it.
        Err(_) => ExitCode::from(NO_RESULT),
    }
}

fn shim() -> io::Result<()> {
    close_strangers()?;
    let signals = Signals::catch()?;
    let mut locks = [rustix::stdio::stdin().try_clone_to_owned(), rustix::stdio::stdout().try_clone_to_owned()].into_iter();
    let mut locks = locks.by_ref().chain([rustix::stdio::stderr().try_clone_to_owned()]).collect::<io::Result<Vec<_>>>()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    // Out of Phoenix's session, so that neither its terminal nor its process group ends us.
    rustix::process::setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut text = Vec::new();
    take_over(JOB_FD, false)?.read_to_end(&mut text)?;
    let job: WireJob = serde_json::from_slice(&text)?;
    locks.truncate(job.locks.min(LOCKS_MAX));
    let mut begun = take_over(BEGUN_FD, true)?;
    let given = (PAYLOAD_FD..).take(usize::try_from(PAYLOADS_MAX).unwrap_or_default());
    let mut payloads = given.map(|fd| take_over(fd, false)).collect::<io::Result<Vec<_>>>()?;
    payloads.truncate(job.task.payloads());
    let boot = job.boot.parse().map_err(io::Error::other)?;
    // Not truncated, which would give the space back that was allocated for it.
    let mut record = File::options().write(true).open(job.shim.path())?;
    record.write_all(place::record(&boot, &process::myself()?, &job.token, &job.step, job.script.as_deref()).as_bytes())?;
    // If Phoenix is gone already, the job is done all the same: its intent stands in the journal.
    let _ = begun.write_all(b"!");
    drop(begun);
    supervise(&job, locks, payloads, signals)
}

/// Closes every descriptor that Phoenix had inherited itself and did not mean for us (a shell's pipe, a service manager's
/// socket): it would reach the script, and the services that the script leaves behind. Nothing of our own is open yet.
fn close_strangers() -> io::Result<()> {
    let numbers = |entry: io::Result<fs::DirEntry>| entry.ok()?.file_name().to_str()?.parse::<i32>().ok();
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")?.filter_map(numbers).collect();
    for fd in open.into_iter().filter(|fd| *fd >= PAYLOAD_FD + PAYLOADS_MAX) {
        // The one that the list was read from is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Makes an inherited descriptor our own: opened anew, so that it closes on exec, then closed where it was. For files in
/// memory and pipes only; a lock would be lost by it.
fn take_over(fd: i32, write: bool) -> io::Result<File> {
    let file = File::options().read(!write).write(write).open(format!("/proc/self/fd/{fd}"))?;
    nix::unistd::close(fd)?;
    Ok(file)
}

impl WireTask {
    fn payloads(&self) -> usize {
        match self {
            Self::Run { .. } => 0,
            Self::Attach { payloads, .. } => *payloads,
            Self::Unpack { .. } => 1,
        }
    }

    fn extent(&self) -> Extent {
        match self {
            Self::Run { keeps: false, .. } => Extent::Child,
            Self::Run { keeps: true, .. } | Self::Unpack { .. } => Extent::Descendants,
            Self::Attach { .. } => Extent::Script,
        }
    }
}

/// What belongs to a job: what it lasts for, and what is ended at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extent {
    /// The child alone.
    Child,
    /// Child and descendants.
    Descendants,
    /// The script. `lxc-attach` is its messenger: its status counts if it exits, else the script's own.
    Script,
}

/// Signals, turned into something to poll. Those that end a process are caught and nothing is done: what is not ignored is
/// reset in children.
struct Signals {
    child: UnixStream,
}

impl Signals {
    fn catch() -> io::Result<Self> {
        for signal in [SIGINT, SIGHUP, SIGTERM, SIGQUIT] {
            signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
        }
        let (child, write) = UnixStream::pair()?;
        child.set_nonblocking(true)?;
        signal_hook::low_level::pipe::register(SIGCHLD, write)?;
        Ok(Self { child })
    }

    fn forget(&mut self) {
        let mut bytes = [0; 256];
        while matches!(self.child.read(&mut bytes), Ok(count) if count > 0) {}
    }
}

fn supervise(job: &WireJob, locks: Vec<OwnedFd>, payloads: Vec<File>, signals: Signals) -> io::Result<()> {
    let secrets = job.secrets.iter().map(|secret| secret.clone().into_vec());
    let output = OutputFile::open(&job.output.path(), Blotter::new(secrets))?;
    let started = wall();
    let mut watch = Watch { signals, output, extent: job.task.extent(), deadline: timer_at(job.deadline_ms)?, main: None, last: None };
    let (mut ending, undead, mut begun) = match child::start(job, &locks, payloads) {
        Ok(child) => watch.until_over(job, child)?,
        Err(error) => (Ending::NotStarted { why: format!("the program could not be started: {error}") }, Vec::new(), None),
    };
    if let WireTask::Attach { init: (pid, start_ticks), .. } = job.task
        && went_down_with(&ending, Identity { pid, start_ticks })
    {
        ending = Ending::ContainerEnded;
    }
    let unpacked = begun.as_mut().and_then(unpack::read_report);
    let (output_bytes, kept) = watch.output.finish();
    if ending.is_success()
        && !phoenix_journal::sabotaged("effects_are_not_synced")
        && let Err(why) = sync_all(job)
    {
        ending = Ending::NotDurable { why };
    }
    write_result(
        job,
        &JobResult {
            intent: job.intent(),
            step: Some(job.step.clone()),
            script: job.script.clone(),
            ending,
            started,
            ended: wall(),
            output_bytes,
            // The result says so: without one, what has been done would be done again.
            output_lost: kept.err().map(|error| error.to_string().chars().take(WHY_CHARS_MAX).collect()),
            output_path: job.output.path(),
            unpacked,
            undead: undead.iter().map(|bearer| bearer.pid).take(UNDEAD_NAMED_MAX).collect(),
        },
    )
    // The locks are closed after the result is durable: whoever takes one next finds it.
    .inspect(|()| drop(locks))
}

fn timer_at(deadline_ms: u64) -> io::Result<OwnedFd> {
    let timer = timerfd_create(TimerfdClockId::Boottime, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    // Zero would disarm it.
    let at_ms = i64::try_from(deadline_ms.max(1)).unwrap_or(i64::MAX);
    let it_value = Timespec { tv_sec: at_ms / 1000, tv_nsec: at_ms % 1000 * 1_000_000 };
    let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
    timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &Itimerspec { it_interval, it_value })?;
    Ok(timer)
}

/// One child being watched.
struct Watch {
    signals: Signals,
    output: OutputFile,
    extent: Extent,
    deadline: OwnedFd,
    /// How the child itself ended.
    main: Option<WaitStatus>,
    /// How the last of those that fell to us ended.
    last: Option<WaitStatus>,
}

/// The thread that ends what belongs to the job; the stream closes when it is through.
struct Ender {
    done: UnixStream,
    thread: JoinHandle<io::Result<Vec<Bearer>>>,
}

/// How it ended, what could not be ended, and what else the child was given to speak through.
type Over = (Ending, Vec<Bearer>, Option<UnixStream>);

impl Watch {
    fn until_over(&mut self, job: &WireJob, child: Started) -> io::Result<Over> {
        let Started { identity, output, begun, report } = child;
        let mut output = Some(output);
        let mut ender: Option<Ender> = None;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            self.signals.forget();
            let alone = self.reap(identity.pid)?;
            let through = ender.as_ref().is_some_and(|ender| ender.thread.is_finished());
            if through || (ender.is_none() && self.is_over(alone)) {
                break;
            }
            if self.wait(output.as_ref(), ender.as_ref())? {
                ender = Some(self.begin_ending(job, identity)?);
            }
            if let Some(pipe) = &output
                && !self.copy(pipe, &mut buffer)
            {
                output = None;
            }
        }
        self.drain(output)?;
        let undead = match ender {
            Some(ender) => Some(ender.thread.join().map_err(|_| io::Error::other("the ending of processes failed"))??),
            None => None,
        };
        self.reap(identity.pid)?;
        Ok((self.ending(undead.is_some(), begun), undead.unwrap_or_default(), report))
    }

    /// Waits for something to happen; whether it was the deadline.
    fn wait(&self, output: Option<&File>, ender: Option<&Ender>) -> io::Result<bool> {
        let mut fds = vec![PollFd::new(&self.signals.child, PollFlags::IN)];
        match ender {
            Some(ender) => fds.push(PollFd::new(&ender.done, PollFlags::IN)),
            None => fds.push(PollFd::new(&self.deadline, PollFlags::IN)),
        }
        fds.extend(output.map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) => Ok(ender.is_none() && !fds[1].revents().is_empty()),
            Err(Errno::INTR) => Ok(false),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Collects who has ended; whether no child is left.
    fn reap(&mut self, main: u32) -> io::Result<bool> {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get().unsigned_abs() == main => self.main = Some(status),
                Ok(Some((_, status))) => self.last = Some(status),
                Ok(None) => return Ok(false),
                Err(Errno::CHILD) => return Ok(true),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn is_over(&self, alone: bool) -> bool {
        let Some(main) = self.main else { return false };
        match self.extent {
            Extent::Child => true,
            Extent::Descendants => alone,
            // A messenger that was killed leaves the script to us.
            Extent::Script => main.exited() || alone,
        }
    }

    /// Copies what is there; whether there can be more.
    fn copy(&mut self, mut pipe: &File, buffer: &mut [u8]) -> bool {
        match pipe.read(buffer) {
            Ok(0) => false,
            Ok(count) => {
                self.output.take(&buffer[..count]);
                true
            }
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        }
    }

    fn drain(&mut self, pipe: Option<File>) -> io::Result<()> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let mut buffer = vec![0; READ_BYTES];
        let mut drained = 0;
        while drained < DRAIN_BYTES_MAX {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    drained += count;
                    self.output.take(&buffer[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn begin_ending(&self, job: &WireJob, child: Identity) -> io::Result<Ender> {
        let token: Token = job.token.parse().map_err(io::Error::other)?;
        let (extent, grace) = (self.extent, Duration::from_millis(job.grace_ms));
        let (done, through) = UnixStream::pair()?;
        let thread = std::thread::Builder::new().spawn(move || {
            let _closes_at_the_end = through;
            process::end(grace, &|stage| belonging(extent, child, token, stage))
        })?;
        Ok(Ender { done, thread })
    }

    fn ending(&self, timed_out: bool, begun: Option<File>) -> Ending {
        if timed_out {
            return Ending::TimedOut;
        }
        let main = self.main.map(ending_of);
        match self.extent {
            Extent::Child | Extent::Descendants => main.unwrap_or(Ending::Exited(0)),
            Extent::Script => {
                let ending = match main {
                    Some(Ending::Signalled(signal)) => self.last.map_or(Ending::Signalled(signal), ending_of),
                    other => other.unwrap_or(Ending::Exited(0)),
                };
                if begun.is_some_and(|pipe| has_byte(&pipe)) {
                    return ending;
                }
                let why = "lxc-attach ended before the script was begun; is the container running, and does it have /bin/sh?";
                Ending::NotStarted { why: why.to_owned() }
            }
        }
    }
}

/// Whether a script came to this end because its container went down: the init is gone, or it goes within moments of the kill
/// that ended the script, as in an orderly shutdown, where init ends everything else first.
fn went_down_with(ending: &Ending, init: Identity) -> bool {
    let killed = match ending {
        Ending::Exited(status) => KILLED_STATUSES.contains(status),
        Ending::Signalled(_) => true,
        Ending::ContainerEnded | Ending::TimedOut | Ending::NotStarted { .. } | Ending::NotDurable { .. } => return false,
    };
    if ending.is_success() {
        return false;
    }
    let Some(pidfd) = process::open(&init) else { return true };
    let wait = if killed { SHUTDOWN_MS_MAX } else { 0 };
    process::ends_within(&pidfd, wait)
}

fn ending_of(status: WaitStatus) -> Ending {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Exited(code),
        (None, Some(signal)) => Ending::Signalled(signal),
        (None, None) => Ending::Signalled(0),
    }
}

fn has_byte(mut pipe: &File) -> bool {
    matches!(pipe.read(&mut [0]), Ok(1))
}

/// Who is to be ended.
fn belonging(extent: Extent, child: Identity, token: Token, stage: Stage) -> io::Result<Vec<Bearer>> {
    let own = std::process::id();
    let mut found = process::descendants(own)?;
    if extent == Extent::Child {
        found.retain(|bearer| bearer.identity() == child);
        return Ok(found);
    }
    for bearer in process::living_bearers(token)? {
        if !found.contains(&bearer) {
            found.push(bearer);
        }
    }
    // The script is asked to end, its messenger tells how it did.
    if extent == Extent::Script && stage == Stage::Asked && found.len() > 1 {
        found.retain(|bearer| bearer.identity() != child);
    }
    Ok(found)
}

fn sync_all(job: &WireJob) -> Result<(), String> {
    let rootfs = match &job.task {
        WireTask::Unpack { rootfs, .. } => Some(rootfs),
        WireTask::Run { .. } | WireTask::Attach { .. } => None,
    };
    job.sync.iter().chain(rootfs).map(super::wire::Bytes::path).try_for_each(|path| {
        sync(&path).map_err(|error| format!("{} could not be synced: {error}", path.display()).chars().take(WHY_CHARS_MAX).collect())
    })
}

fn sync(path: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(File::open(path)?.as_fd())?)
}

/// Writes the result into its allocated space and gives it its name, durably.
fn write_result(job: &WireJob, result: &JobResult) -> io::Result<()> {
    let bytes = result::encode(result)?;
    let (allocated, path) = (job.result_allocated.path(), job.result.path());
    let mut file = File::options().write(true).open(&allocated)?;
    file.write_all(&bytes)?;
    file.set_len(bytes.len() as u64)?;
    if !phoenix_journal::sabotaged("results_are_not_synced") {
        file.sync_all()?;
    }
    fs::rename(&allocated, &path)?;
    File::open(path.parent().expect("a result has a directory"))?.sync_all()
}

/// Milliseconds until `deadline_ms`, at least one: a zero timeout means none at all to sockets.
pub(super) fn remaining(deadline_ms: u64) -> Duration {
    Duration::from_millis(deadline_ms.saturating_sub(boottime_ms()).max(1))
}
