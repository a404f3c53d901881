//! Starting the child of a shim: what it inherits, and what not.
//!
//! Apart from watching it (`supervise`) because every line here decides who can reach a lock, a token or a secret.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::pipe::{PipeFlags, pipe_with};

use super::UNPACK_WORD;
use super::attach;
use super::process::{self, Identity, TOKEN_VARIABLE};
use super::spawn::OWN_BINARY;
use super::supervise::remaining;
use super::unpack;
use super::wire::{Bytes, WireJob, WireTask, idmap};

/// The first descriptor of the locks in a host program; far from those that programs use themselves.
const LOCK_FD: i32 = 20;

/// A child that was started.
pub(super) struct Started {
    pub(super) identity: Identity,
    /// What it writes; non-blocking.
    pub(super) output: File,
    /// Where a script inside says that it has begun; non-blocking.
    pub(super) begun: Option<File>,
    /// Where an unpacking says what it unpacked.
    pub(super) report: Option<UnixStream>,
}

/// Starts what the job runs.
pub(super) fn start(job: &WireJob, locks: &[OwnedFd], payloads: Vec<File>) -> io::Result<Started> {
    match &job.task {
        WireTask::Run { argv, env, keeps } => {
            let mut command = program(argv)?;
            command.envs(env.iter().map(|(name, value)| (name, value.os())));
            if *keeps {
                command.env(TOKEN_VARIABLE, &job.token).fd_mappings(lock_mappings(locks)?).map_err(io::Error::other)?;
            }
            go(command, None, None)
        }
        WireTask::Attach { argv, payloads: _, init: _ } => {
            let mut command = program(argv)?;
            let (begun, write) = pipe_with(PipeFlags::CLOEXEC)?;
            let files = (attach::WRAPPER_FD..).zip(payloads.into_iter().map(OwnedFd::from)).chain([(attach::BEGUN_FD, write)]);
            command.env(TOKEN_VARIABLE, &job.token);
            command
                .fd_mappings(files.map(|(child_fd, parent_fd)| FdMapping { parent_fd, child_fd }).collect())
                .map_err(io::Error::other)?;
            go(command, Some(nonblocking(begun)?), None)
        }
        WireTask::Unpack { rootfs, users, groups } => {
            let map = idmap(users, groups).ok_or_else(|| io::Error::other("the id map did not survive the way"))?;
            let (ours, theirs) = UnixStream::pair()?;
            let mut command = program(&[Bytes::of(OWN_BINARY), Bytes::of(UNPACK_WORD)])?;
            command.env(TOKEN_VARIABLE, &job.token).stdin(Stdio::from(OwnedFd::from(theirs)));
            let archive = payloads.into_iter().map(|file| FdMapping { parent_fd: file.into(), child_fd: unpack::ARCHIVE_FD });
            command.fd_mappings(archive.chain(lock_mappings(locks)?).collect()).map_err(io::Error::other)?;
            let started = go(command, None, Some(ours))?;
            if let Some(report) = &started.report {
                report.set_read_timeout(Some(remaining(job.deadline_ms)))?;
                // If it fails the child has ended or will be ended, and says why.
                let _ = unpack::guide(report, started.identity.pid, &rootfs.path(), &map);
                report.set_nonblocking(true)?;
            }
            Ok(started)
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the shim: its child is started here")]
fn program(argv: &[Bytes]) -> io::Result<Command> {
    let (first, rest) = argv.split_first().ok_or_else(|| io::Error::other("the command is empty"))?;
    let mut command = Command::new(first.os());
    command.args(rest.iter().map(Bytes::os)).env_clear().stdin(Stdio::null());
    Ok(command)
}

fn lock_mappings(locks: &[OwnedFd]) -> io::Result<Vec<FdMapping>> {
    let mapping = |(child_fd, lock): (i32, &OwnedFd)| Ok(FdMapping { parent_fd: lock.as_fd().try_clone_to_owned()?, child_fd });
    let locks = if phoenix_journal::sabotaged("locks_are_not_handed_on") { &[] } else { locks };
    (LOCK_FD..).zip(locks).map(mapping).collect()
}

/// The command is dropped on return: our sides of what it was given are closed.
fn go(mut command: Command, begun: Option<File>, report: Option<UnixStream>) -> io::Result<Started> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    command.stdout(Stdio::from(write.try_clone()?)).stderr(Stdio::from(write));
    let pid = command.spawn()?.id();
    // Not reaped yet, whatever it does: we are its parent. A zombie has no start time to read, and is nobody to end.
    let start_ticks = process::stat_of(pid).map_or(0, |stat| stat.start_ticks);
    Ok(Started { identity: Identity { pid, start_ticks }, output: nonblocking(read)?, begun, report })
}

fn nonblocking(fd: OwnedFd) -> io::Result<File> {
    rustix::io::ioctl_fionbio(&fd, true)?;
    Ok(fd.into())
}
