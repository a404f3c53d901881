//! After a crash: what became of an intent without outcome, as far as its processes can tell.
//!
//! Whoever holds the lock is told apart: the recorded shim and what it started are waited for within the old deadline and
//! then ended; anybody else (another journal's Phoenix) is waited for and never touched. A result is believed once the lock
//! is ours. Not here: looking at the container itself (the host's probe).

use std::io;
use std::time::Duration;

use super::clock::Clock;
use super::job::IntentRef;
use super::lock::{Holder, Lock, LockError, LockName, RuntimeDir};
use super::place::ResultPlace;
use super::process::{self, Bearer, Identity};
use super::result::{JobResult, ResultError};
use crate::ids::{Moment, Token};

/// How often it is looked again who holds the lock and who bears the token, while nobody of them ends.
const LOOK_AGAIN_MS: u32 = 250;
/// How long a shim may take to sync file systems after its child ended; slow disks with much to write.
const SYNC_MS_MAX: u64 = 30_000;

/// What is asked about one intent in doubt.
#[derive(Clone, Copy, Debug)]
pub struct Inquiry<'a> {
    /// The intent.
    pub intent: &'a IntentRef,
    /// What its processes bear.
    pub token: Token,
    /// When they are ended. Of another boot: at once.
    pub deadline: &'a Moment,
    /// How long they get between `SIGTERM` and `SIGKILL`.
    pub grace: Duration,
    /// Where its result would be.
    pub place: &'a ResultPlace,
    /// The runtime directory.
    pub runtime: &'a RuntimeDir,
    /// The locks it was carried out under, in the order they are taken.
    pub locks: &'a [LockName],
    /// What time it is, in which boot.
    pub clock: &'a Clock,
    /// What a worker of this intent is told by, beside its hold on a lock: how its title goes on behind the process's own
    /// numbers, as `vzcreate:101:`. A worker of Proxmox's makes a session of its own and may overwrite its environment.
    pub tasks: &'a [String],
}

/// What is still going on while [`recover`] waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InFlight {
    /// The job's own shim or children hold the lock; its output grows at [`ResultPlace::output_path`].
    OwnJob(Vec<Holder>),
    /// Processes of the job without a shim.
    Orphans(Vec<Bearer>),
    /// Somebody else holds the lock: waited for, never ended.
    Other(Vec<Holder>),
}

/// What was found, and the locks under which it stays so.
#[derive(Debug)]
pub struct Settlement {
    /// What was found.
    pub settled: Settled,
    /// The locks asked for, all of them, if they could be taken; probe the world while they are held.
    pub locks: Vec<Lock>,
}

/// What became of a job.
#[derive(Debug)]
pub enum Settled {
    /// The shim left its result.
    Result(Box<JobResult>),
    /// No result, and no process of the job lives: it was never started, or cut off. The world has to be looked at.
    NoResult,
    /// No result, and these processes of the job cannot be ended.
    Undead(Vec<Bearer>),
    /// Somebody else still holds the lock after the deadline; no lock was taken.
    HeldByOther(Vec<Holder>),
}

/// Waits for what is in flight of one intent within its deadline, then ends it, and says what it left. `watch` is told each
/// time what is waited for changes.
pub fn recover(inquiry: &Inquiry<'_>, watch: &dyn Fn(&InFlight)) -> Result<Settlement, RecoverError> {
    let mut told: Option<InFlight> = None;
    let mut tell = |waiting: InFlight| {
        if told.as_ref() != Some(&waiting) {
            watch(&waiting);
            told = Some(waiting);
        }
    };
    loop {
        let holders = match take_all(inquiry)? {
            Ok(locks) => match inquiry.under_lock(&mut tell)? {
                Some(settled) => return Ok(Settlement { settled, locks }),
                None => continue,
            },
            Err(holders) => holders,
        };
        let belonging = inquiry.belonging().map_err(RecoverError::Processes)?;
        let ours: Vec<Bearer> = belonging.into_iter().filter(|one| holders.iter().any(|holder| holder.pid == one.pid)).collect();
        if ours.is_empty() {
            tell(InFlight::Other(holders.clone()));
            if inquiry.left_ms(Duration::ZERO) == 0 {
                return Ok(Settlement { settled: Settled::HeldByOther(holders), locks: Vec::new() });
            }
            wait_for(&identified(&holders), inquiry)?;
        } else if inquiry.left_ms(inquiry.shim_needs()) > 0 {
            tell(InFlight::OwnJob(holders));
            wait_for(&ours, inquiry)?;
        } else {
            // The shim is stuck, or gone and its children hold on.
            let undead = inquiry.end_belonging()?;
            if !undead.is_empty() {
                return Ok(Settlement { settled: Settled::Undead(undead), locks: Vec::new() });
            }
        }
    }
}

impl Inquiry<'_> {
    /// What can be said once nobody else holds the locks; `None` if it is to be asked again.
    fn under_lock(&self, tell: &mut dyn FnMut(InFlight)) -> Result<Option<Settled>, RecoverError> {
        // First the result: with one, who still bears the token is a service that the script left behind.
        if let Some(result) = self.place.result_of(self.intent)? {
            return Ok(Some(Settled::Result(Box::new(result))));
        }
        let orphans = self.belonging().map_err(RecoverError::Processes)?;
        if orphans.is_empty() {
            return Ok(Some(Settled::NoResult));
        }
        if self.left_ms(Duration::ZERO) == 0 {
            let undead = self.end_belonging()?;
            return Ok(if undead.is_empty() { None } else { Some(Settled::Undead(undead)) });
        }
        wait_for(&orphans, self)?;
        tell(InFlight::Orphans(orphans));
        Ok(None)
    }

    /// Every living process of the job: bearers of the token; and the recorded shim, its descendants and its session, if they
    /// hold a lock. A program that overwrites its environment (as Perl's may) is found that way; a container's monitor, which
    /// `lxc-start` left behind, is not. A worker that left the shim's session is one by its hold on a lock and its title.
    fn belonging(&self) -> io::Result<Vec<Bearer>> {
        let mut found = process::living_bearers(self.token)?;
        if let Some(shim) = self.place.recorded_shim(self.intent, self.clock.boot()) {
            let holders = self.holders()?;
            let below = if process::living(&shim) { process::descendants(shim.pid)? } else { Vec::new() };
            let session = process::session_of(&shim)?;
            let holds = |one: &Bearer| holders.iter().any(|holder| holder.pid == one.pid);
            found.extend(below.into_iter().chain(session).filter(holds));
            found.extend(identified(&holders).into_iter().filter(|holder| self.is_worker(holder)));
        }
        found.sort_by_key(Bearer::identity);
        found.dedup_by_key(|bearer| bearer.identity());
        Ok(found)
    }

    /// Whether a process bears the title of a worker of this intent. Its own number in it: a title is not handed on to children.
    fn is_worker(&self, process: &Bearer) -> bool {
        let mut title = process.command.split(':');
        let is_task = title.next() == Some("task UPID");
        let is_own = title.nth(1).and_then(|pid| u32::from_str_radix(pid, 16).ok()) == Some(process.pid);
        // Start of the process, and of the task.
        let rest = title.skip(2).collect::<Vec<_>>().join(":");
        is_task && is_own && self.tasks.iter().any(|task| rest.starts_with(task.as_str()))
    }

    /// Everybody but us who holds one of the locks.
    fn holders(&self) -> io::Result<Vec<Holder>> {
        let mut holders = Vec::new();
        for name in self.locks {
            holders.extend(Lock::holders(self.runtime, name)?);
        }
        holders.retain(|holder| holder.pid != std::process::id());
        Ok(holders)
    }

    fn end_belonging(&self) -> Result<Vec<Bearer>, RecoverError> {
        process::end(self.grace, &|_| self.belonging()).map_err(RecoverError::Processes)
    }

    /// Milliseconds until the deadline and `more`; none if the deadline is of another boot.
    fn left_ms(&self, more: Duration) -> u64 {
        let left = self.deadline.after(more).remaining(&self.clock.moment()).unwrap_or_default();
        u64::try_from(left.as_millis()).unwrap_or(u64::MAX)
    }

    /// How long a living shim may take after the deadline to end everything and to write that down; a dead one takes none.
    fn shim_needs(&self) -> Duration {
        match self.place.recorded_shim(self.intent, self.clock.boot()) {
            Some(shim) if process::living(&shim) => self.grace + Duration::from_millis(process::DEATH_MS_MAX + SYNC_MS_MAX),
            Some(_) | None => Duration::ZERO,
        }
    }
}

/// Takes all locks or none; who holds the first that is held.
fn take_all(inquiry: &Inquiry<'_>) -> Result<Result<Vec<Lock>, Vec<Holder>>, LockError> {
    let mut locks = Vec::new();
    for name in inquiry.locks {
        match Lock::take(inquiry.runtime, name) {
            Ok(lock) => locks.push(lock),
            Err(LockError::Busy { holders, .. }) => return Ok(Err(holders)),
            Err(error @ LockError::Io { .. }) => return Err(error),
        }
    }
    Ok(Ok(locks))
}

fn identified(holders: &[Holder]) -> Vec<Bearer> {
    let bearer = |holder: &Holder| {
        let Identity { pid, start_ticks } = process::stat_of(holder.pid)?.identity();
        Some(Bearer { pid, start_ticks, command: holder.command.clone() })
    };
    holders.iter().filter_map(bearer).collect()
}

/// Waits until one of them ends; not for long, since others may take their place.
fn wait_for(some: &[Bearer], inquiry: &Inquiry<'_>) -> Result<(), RecoverError> {
    let left = inquiry.left_ms(inquiry.shim_needs()).max(1);
    let ms = u32::try_from(left).unwrap_or(u32::MAX).min(LOOK_AGAIN_MS);
    let waited = if some.is_empty() { process::pause_ms(ms) } else { process::wait_for_any(some, ms) };
    waited.map_err(RecoverError::Processes)
}

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The locks cannot be taken or asked for.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// There is a result that cannot be used.
    #[error(transparent)]
    Result(#[from] ResultError),
    /// Processes cannot be looked at.
    #[error("cannot look for processes of the step")]
    Processes(#[source] io::Error),
}
