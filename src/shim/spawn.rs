//! Phoenix's side of a shim: handing over, and waiting.
//!
//! STUB while bodies are written; signatures stand.
#![allow(unused_variables, dead_code, clippy::todo, clippy::unused_self, reason = "signatures first")]

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::job::{Job, JobError};
use super::place::Prepared;
use super::result::{JobResult, ResultError};

/// Which program becomes the shim; it must call [`super::entry`] first thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShimBinary {
    /// This very program, even if its file was replaced meanwhile (`/proc/self/exe`).
    Own,
    /// A `phoenix` binary elsewhere, for users of the library.
    At(PathBuf),
}

/// A job under its shim. Dropping this ends nothing.
#[derive(Debug)]
pub struct Running {}

/// Starts the shim of a job and hands it the locked descriptors (at most three). Returns once the shim is in a session of its
/// own; from then on the job runs to its end whatever happens to Phoenix. An error means that nothing was run.
pub fn spawn(prepared: Prepared, job: Job, locks: &[File], binary: &ShimBinary) -> Result<Running, SpawnError> {
    todo!()
}

impl Running {
    /// Waits until the shim has ended, and reads its result.
    pub fn wait(self) -> Result<JobResult, ResultError> {
        todo!()
    }

    /// The shim's process id.
    pub fn pid(&self) -> u32 {
        todo!()
    }
}

/// Why no shim was started. Nothing was run.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The job cannot be described.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The shim ended before it began.
    #[error("the shim ended before it began ({status}); is {} a phoenix binary of this version?", binary.display())]
    EndedEarly {
        /// How it ended.
        status: String,
        /// The program that was to be the shim.
        binary: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: String,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
}
