//! After a crash: what became of an intent without outcome, as far as its processes can tell.
//!
//! STUB while bodies are written; signatures stand.
#![allow(unused_variables, dead_code, clippy::todo, reason = "signatures first")]

use std::io;
use std::time::Duration;

use super::clock::Clock;
use super::job::IntentRef;
use super::lock::{Holder, Lock, LockError, LockName, RuntimeDir};
use super::place::ResultPlace;
use super::process::Bearer;
use super::result::{JobResult, ResultError};
use crate::ids::{Moment, Token};

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
    Result(JobResult),
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
    todo!()
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
