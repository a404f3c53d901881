//! How a job travels to the shim: as JSON in a sealed memfd, never as arguments.
//!
//! Both ends are the same binary (an upgrade in between does not matter, the shim is the running one), so the form has no
//! version. Not here: what it means (`job`).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::attach::{self, Inside};
use super::job::{IntentRef, Job, JobError, Kept, Secret, Task, Variables};
use crate::ids::IdMap;

/// A job as the shim reads it.
#[derive(Serialize, Deserialize)]
pub(super) struct WireJob {
    pub(super) seq: String,
    pub(super) epoch: String,
    pub(super) digest: String,
    pub(super) token: String,
    pub(super) step: String,
    /// BLAKE3 of the script, if one is run.
    pub(super) script: Option<String>,
    pub(super) boot: String,
    pub(super) deadline_ms: u64,
    pub(super) grace_ms: u64,
    /// How many of the descriptors 0, 1 and 2 are locks.
    pub(super) locks: usize,
    pub(super) sync: Vec<Bytes>,
    pub(super) secrets: Vec<Bytes>,
    /// The allocated result file, its later name, the output file, the record of the shim.
    pub(super) result_allocated: Bytes,
    pub(super) result: Bytes,
    pub(super) output: Bytes,
    pub(super) shim: Bytes,
    pub(super) task: WireTask,
}

/// Paths and values are bytes, not always text.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Bytes(Vec<u8>);

/// What the shim runs.
#[derive(Serialize, Deserialize)]
pub(super) enum WireTask {
    /// A program of the host.
    Run { argv: Vec<Bytes>, env: Vec<(String, Bytes)>, keeps: bool },
    /// `lxc-attach`; the memfds come as the payload descriptors, one or two.
    /// `init` is process id and start time of what it runs on.
    Attach { argv: Vec<Bytes>, payloads: usize, init: (u32, u64) },
    /// The archive comes as the payload descriptor.
    Unpack { rootfs: Bytes, users: Vec<(u32, u32, u32)>, groups: Vec<(u32, u32, u32)> },
}

impl Bytes {
    pub(super) fn of(text: impl Into<OsString>) -> Self {
        Self(text.into().into_vec())
    }

    pub(super) fn path(&self) -> PathBuf {
        self.os().into()
    }

    pub(super) fn os(&self) -> OsString {
        OsString::from_vec(self.0.clone())
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        self.0
    }
}

impl WireJob {
    pub(super) fn intent(&self) -> IntentRef {
        IntentRef { seq: self.seq.clone(), epoch: self.epoch.clone(), digest: self.digest.clone() }
    }
}

/// What a task becomes, and the files that go along with it.
pub(super) fn task(task: &Task) -> Result<(WireTask, Payload), JobError> {
    match task {
        Task::Run { argv, env, kept } => {
            if argv.is_empty() {
                return Err(JobError::Empty);
            }
            let argv = argv.iter().map(Bytes::of).collect();
            Ok((WireTask::Run { argv, env: variables(env)?, keeps: *kept == Kept::LockAndToken }, Payload::Nothing))
        }
        Task::Script { container, text, args, env } => {
            let wrapper = attach::wrapper(env, &Inside::Script(args))?;
            Ok((attached(container, 2), Payload::Script { wrapper, text: text.clone() }))
        }
        Task::Command { container, argv, env } => {
            let wrapper = attach::wrapper(env, &Inside::Command(argv))?;
            Ok((attached(container, 1), Payload::Command { wrapper }))
        }
        Task::Unpack { archive: _, rootfs, idmap } => {
            let triples = |kind| idmap.ranges(kind).iter().map(|range| (range.inside, range.host, range.count)).collect();
            let (users, groups) = (triples(crate::ids::IdKind::User), triples(crate::ids::IdKind::Group));
            Ok((WireTask::Unpack { rootfs: Bytes::of(rootfs), users, groups }, Payload::Archive))
        }
    }
}

/// What goes along with a task by descriptor.
pub(super) enum Payload {
    /// Nothing.
    Nothing,
    /// The generated script and the script.
    Script { wrapper: Vec<u8>, text: std::sync::Arc<[u8]> },
    /// The generated script.
    Command { wrapper: Vec<u8> },
    /// The archive of the job.
    Archive,
}

fn attached(container: &super::job::ContainerRef, payloads: usize) -> WireTask {
    let init = (container.init.pid, container.init.start_ticks);
    WireTask::Attach { argv: attach::argv(container).into_iter().map(Bytes::of).collect(), payloads, init }
}

fn variables(env: &Variables) -> Result<Vec<(String, Bytes)>, JobError> {
    let one = |(name, value): (&String, &Secret)| {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(JobError::VariableName { name: name.clone() });
        }
        if value.reveal().contains(&0) {
            return Err(JobError::ZeroByte { what: format!("the value of {name}") });
        }
        Ok((name.clone(), Bytes(value.reveal().to_vec())))
    };
    env.iter().map(one).collect()
}

/// The map of an unpacking, read back.
pub(super) fn idmap(users: &[(u32, u32, u32)], groups: &[(u32, u32, u32)]) -> Option<IdMap> {
    let ranges =
        |triples: &[(u32, u32, u32)]| triples.iter().map(|&(inside, host, count)| crate::ids::IdRange { inside, host, count }).collect();
    IdMap::new(ranges(users), ranges(groups)).ok()
}

/// The whole job.
pub(super) fn job(job: &Job, locks: usize, prepared: &super::place::Prepared, task: WireTask) -> WireJob {
    let Job { ctid: _, incarnation: _, step, attempt: _, intent, token, deadline, grace, sync, secrets, task: what } = job;
    let script = match what {
        Task::Script { text, .. } => Some(phoenix_journal::Digest::of(text).to_string()),
        Task::Run { .. } | Task::Command { .. } | Task::Unpack { .. } => None,
    };
    WireJob {
        step: step.to_string(),
        script,
        seq: intent.seq.clone(),
        epoch: intent.epoch.clone(),
        digest: intent.digest.clone(),
        token: token.to_string(),
        boot: deadline.boot.to_string(),
        deadline_ms: deadline.boottime_ms,
        grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        locks,
        sync: sync.iter().map(Bytes::of).collect(),
        secrets: secrets.iter().map(|secret| Bytes(secret.reveal().to_vec())).collect(),
        result_allocated: Bytes::of(&prepared.result),
        result: Bytes::of(prepared.place.result_path(intent)),
        output: Bytes::of(prepared.place.output_path(intent)),
        shim: Bytes::of(prepared.place.shim_path(intent)),
        task,
    }
}

/// A zero byte ends a path everywhere; better refused than cut.
pub(super) fn check_path(what: &str, path: &std::path::Path) -> Result<(), JobError> {
    if path.as_os_str().as_bytes().contains(&0) { Err(JobError::ZeroByte { what: what.to_owned() }) } else { Ok(()) }
}
