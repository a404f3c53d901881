//! The description of one child: what it runs, for which intent, until when, and where its result goes.
//!
//! Apart from how it travels (`wire`) and how it is carried out (`supervise`). Values that must not be seen are [`Secret`]s
//! and do not print. Not here: anything that starts a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{Ctid, IdMap, Incarnation, Moment, StepId, Token};
use crate::plan::Init;

/// One child of one intent.
#[derive(Debug)]
pub struct Job {
    /// The container it is for.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// The step.
    pub step: StepId,
    /// The how-many-th intent of that step.
    pub attempt: u32,
    /// The recorded intent; the result names it again.
    pub intent: IntentRef,
    /// What its processes bear as `PHOENIX_TOKEN`.
    pub token: Token,
    /// When it is ended.
    pub deadline: Moment,
    /// How long its processes get between `SIGTERM` and `SIGKILL`.
    pub grace: Duration,
    /// Directories whose file systems are synced before the result is written.
    pub sync: Vec<PathBuf>,
    /// Values that must not reach the output file.
    pub secrets: Vec<Secret>,
    /// What is run.
    pub task: Task,
}

/// How a job, its result and the journal are told to belong together. Held as text: it goes into files that later versions
/// compare with what their journal says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentRef {
    /// The intent's place in the journal, in decimal; names the result file.
    pub seq: String,
    /// The epoch in which it was written.
    pub epoch: String,
    /// BLAKE3 of the intent as recorded.
    pub digest: String,
}

impl IntentRef {
    /// Takes sequence number, epoch and digest as they print.
    pub fn new(seq: impl fmt::Display, epoch: impl fmt::Display, digest: impl fmt::Display) -> Result<Self, JobError> {
        let this = Self { seq: seq.to_string(), epoch: epoch.to_string(), digest: digest.to_string() };
        let plain = (1..=40).contains(&this.seq.len()) && this.seq.bytes().all(|b| b.is_ascii_digit());
        if plain { Ok(this) } else { Err(JobError::Seq { given: this.seq.chars().take(80).collect() }) }
    }
}

/// What a job runs.
#[derive(Debug)]
pub enum Task {
    /// A program of the host.
    Run {
        /// Program (absolute) and arguments.
        argv: Vec<OsString>,
        /// The whole environment; `PHOENIX_TOKEN` is added where `kept` says so.
        env: Variables,
        /// Whether the program gets lock and token, and with it whether its descendants belong to the job.
        kept: Kept,
    },
    /// A script inside a container, by `lxc-attach`. It ends when the script ends; a service it leaves behind goes on, and
    /// gets `SIGPIPE` if it still writes to the script's output.
    Script {
        /// The container, running.
        container: ContainerRef,
        /// The script: with a `#!` line, or else for `/bin/sh`; or a program.
        text: Arc<[u8]>,
        /// Its arguments.
        args: Vec<String>,
        /// Its whole environment beside `PHOENIX_TOKEN` and the `container=lxc` of `lxc-attach`, values resolved.
        env: Variables,
    },
    /// A command inside a container, searched in the `PATH` of `env`. As [`Task::Script`] otherwise.
    Command {
        /// The container, running.
        container: ContainerRef,
        /// Command and arguments.
        argv: Vec<String>,
        /// Its whole environment beside `PHOENIX_TOKEN` and the `container=lxc` of `lxc-attach`, values resolved.
        env: Variables,
    },
    /// An archive unpacked into a new root file system, in namespaces whose root that is. Its file system is synced.
    Unpack {
        /// tar, plain or compressed by gzip, xz or zstd; told by its content. Read from its beginning.
        archive: File,
        /// An empty directory; made the container root's own.
        rootfs: PathBuf,
        /// The container's map; the identity map unpacks with the host's ids.
        idmap: IdMap,
    },
}

/// Environment variables; the values never print.
pub type Variables = BTreeMap<String, Secret>;

/// A running container as `lxc-attach` is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerRef {
    /// The program, absolute, as `/usr/bin/lxc-attach`.
    pub lxc_attach: PathBuf,
    /// The container directory (`-P`).
    pub lxc_path: PathBuf,
    /// The container's name (`-n`).
    pub name: String,
    /// The init that it runs on. A script that is cut off because this ends has not failed.
    pub init: Init,
}

/// Whether a host program gets the lock and the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// It and its descendants hold the lock and bear the token; the job lasts until the last descendant has ended.
    LockAndToken,
    /// It gets neither, as `lxc-start` must not: the container's monitor would hold the lock for ever. The job lasts until the
    /// program itself has ended; at the deadline the program alone is ended.
    Nothing,
}

/// A value that may be a secret: it does not print.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes of a value.
    pub fn new(value: impl Into<Vec<u8>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that hands it on.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a job cannot be described.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The sequence number is not decimal.
    #[error("`{given}` is no sequence number")]
    Seq {
        /// What was given.
        given: String,
    },
    /// A variable whose name no shell can export.
    #[error("`{name}` is no name of an environment variable; use A-Z, a-z, 0-9 and _, not beginning with a digit")]
    VariableName {
        /// The name.
        name: String,
    },
    /// A value, argument or script path with a zero byte in it, which ends strings everywhere.
    #[error("{what} contains a zero byte; remove it")]
    ZeroByte {
        /// Which one.
        what: String,
    },
    /// No command.
    #[error("the command is empty")]
    Empty,
    /// More locks than descriptors to pass them by.
    #[error("{count} locks were given for one job; at most {max} can be handed on")]
    Locks {
        /// How many.
        count: usize,
        /// How many can be.
        max: usize,
    },
}
