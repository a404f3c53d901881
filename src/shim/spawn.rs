//! Phoenix's side of a shim: handing over, and waiting.
//!
//! What a shim gets, by descriptor: the locks as 0, 1 and 2 (or `/dev/null`), the job as 3, a pipe on which it says that it
//! has begun as 4, payloads from 5 on. Locks come as standard descriptors because those alone can be taken over in a new
//! process without `unsafe`. Not here: the shim itself (`supervise`).

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::pipe::{PipeFlags, pipe_with};

use super::SHIM_WORD;
use super::attach::sealed;
use super::job::{IntentRef, Job, JobError, Task};
use super::lock::Lock;
use super::place::{Prepared, ResultPlace};
use super::process::TOKEN_VARIABLE;
use super::result::{JobResult, ResultError};
use super::wire::{self, Payload};

/// The most locks one job can be given: source, target and a directory.
pub(super) const LOCKS_MAX: usize = 3;
/// The descriptor of the job.
pub(super) const JOB_FD: i32 = 3;
/// The descriptor on which the shim says that it has begun.
pub(super) const BEGUN_FD: i32 = 4;
/// The first descriptor of what goes along with the job.
pub(super) const PAYLOAD_FD: i32 = 5;
/// The most payloads of one job: generated script and script.
pub(super) const PAYLOADS_MAX: i32 = 2;
/// How many descriptors from [`JOB_FD`] on a shim is always given.
const GIVEN_FDS: usize = 4;
/// The running program itself, even if its file was replaced meanwhile.
pub(super) const OWN_BINARY: &str = "/proc/self/exe";

/// Which program becomes the shim; it must call [`super::entry`] first thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShimBinary {
    /// This very program, even if its file was replaced meanwhile (`/proc/self/exe`).
    Own,
    /// A `phoenix` binary elsewhere, for users of the library.
    At(PathBuf),
}

impl ShimBinary {
    fn path(&self) -> PathBuf {
        match self {
            Self::Own => OWN_BINARY.into(),
            Self::At(path) => path.clone(),
        }
    }
}

/// A job under its shim. Dropping this ends nothing.
#[derive(Debug)]
pub struct Running {
    shim: Child,
    place: ResultPlace,
    intent: IntentRef,
}

/// Starts the shim of a job and hands it the locked descriptors (at most three). Returns once the shim is in a session of its
/// own; from then on the job runs to its end whatever happens to Phoenix. An error means that nothing was run.
pub fn spawn(mut prepared: Prepared, job: Job, locks: &[Lock], binary: &ShimBinary) -> Result<Running, SpawnError> {
    if locks.len() > LOCKS_MAX {
        return Err(JobError::Locks { count: locks.len(), max: LOCKS_MAX }.into());
    }
    job.sync.iter().try_for_each(|path| wire::check_path("a directory to sync", path))?;
    let (task, payload) = wire::task(&job.task)?;
    let wire = wire::job(&job, locks.len(), &prepared, task);
    let io = |what: &'static str| move |source| SpawnError::Io { what: what.to_owned(), source };
    let text = serde_json::to_vec(&wire).map_err(|error| io("describe the job to its shim")(error.into()))?;
    let (begun, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|errno| io("make a pipe")(errno.into()))?;
    let mut files: Vec<OwnedFd> = vec![sealed("phoenix-job", &text).map_err(io("make a file in memory"))?.into(), write];
    let IntentRef { seq, .. } = &job.intent;
    let named = [SHIM_WORD.to_owned(), job.ctid.to_string(), job.step.to_string(), seq.clone()];
    files.extend(payload_files(job.task, payload).map_err(io("hand the script or archive over"))?);
    // What is not given would be whatever Phoenix was started with under that number.
    while files.len() < GIVEN_FDS {
        files.push(File::open("/dev/null").map_err(io("open /dev/null"))?.into());
    }
    // From here on the output has its name: people can follow it while the job runs.
    let output = prepared.place.output_path(&job.intent);
    std::fs::rename(&prepared.output, &output).map_err(io("name the output file"))?;
    prepared.output = output;
    let record = prepared.place.shim_path(&job.intent);
    std::fs::rename(&prepared.shim, &record).map_err(io("name the shim's file"))?;
    prepared.shim = record;
    let shim = start(binary, &named, &job.token.to_string(), locks, files).map_err(io("start the shim"))?;
    let mut running = Running { shim, place: prepared.place.clone(), intent: job.intent };
    if has_begun(begun).map_err(io("read from the shim"))? {
        prepared.handed_on = true;
        return Ok(running);
    }
    let status = running.shim.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    Err(SpawnError::EndedEarly { status, binary: binary.path() })
}

fn payload_files(task: Task, payload: Payload) -> io::Result<Vec<OwnedFd>> {
    match (payload, task) {
        (Payload::Script { wrapper, text }, _) => {
            Ok(vec![sealed("phoenix-wrapper", &wrapper)?.into(), sealed("phoenix-script", &text)?.into()])
        }
        (Payload::Command { wrapper }, _) => Ok(vec![sealed("phoenix-wrapper", &wrapper)?.into()]),
        (Payload::Archive, Task::Unpack { archive, .. }) => Ok(vec![archive.into()]),
        (Payload::Archive | Payload::Nothing, _) => Ok(Vec::new()),
    }
}

#[expect(clippy::disallowed_methods, reason = "this is where shims are started")]
fn start(binary: &ShimBinary, named: &[String], token: &str, locks: &[Lock], files: Vec<OwnedFd>) -> io::Result<Child> {
    let stdio = |index: usize| locks.get(index).map_or_else(|| Ok(Stdio::null()), |lock| lock.file().try_clone().map(Stdio::from));
    let mut command = Command::new(binary.path());
    // Arguments are for people who look at processes; the shim reads none of them but the first.
    command.arg0("phoenix").args(named).env_clear().env(TOKEN_VARIABLE, token).current_dir("/");
    #[cfg(sabotage)]
    command.envs(std::env::var("PHOENIX_SABOTAGE").map(|wanted| ("PHOENIX_SABOTAGE", wanted)));
    command.stdin(stdio(0)?).stdout(stdio(1)?).stderr(stdio(2)?);
    let mappings = (JOB_FD..).zip(files).map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect();
    command.fd_mappings(mappings).map_err(io::Error::other)?;
    // The command is dropped on return, and with it this side of the pipe that tells the shim's death.
    command.spawn()
}

fn has_begun(pipe: OwnedFd) -> io::Result<bool> {
    let mut byte = [0];
    Ok(File::from(pipe).read(&mut byte)? == 1)
}

impl Running {
    /// Waits until the shim has ended, and reads its result.
    pub fn wait(mut self) -> Result<JobResult, ResultError> {
        let path = self.place.result_path(&self.intent);
        self.shim.wait().map_err(|source| ResultError::Io { path: path.clone(), source })?;
        self.place.result_of(&self.intent)?.ok_or(ResultError::Missing { path })
    }

    /// The shim's process id.
    pub fn pid(&self) -> u32 {
        self.shim.id()
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
