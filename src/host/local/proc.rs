//! What `/proc` says of containers: inits, monitors, id maps.
//!
//! Read in process: an `lxc-info` per container would cost milliseconds each. An init is recognised by its root directory
//! (device and inode of the container's root file system) and by being process 1 of a pid namespace one below ours, which no
//! process can fake; the monitor's title is only a hint for what is still starting. Not here: decisions.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags};

use crate::ids::{BootId, Ctid, IdMap};
use crate::plan::Init;
use crate::shim::beginning_of;

/// How much of a command line is read: what is looked for is short and stands at its beginning, but for the words of an
/// `lxc-start`, which are a few paths long. A process can show gigabytes.
const COMMAND_BYTES_MAX: u64 = 64 * 1024;

/// Where a process's root directory is, as device and inode.
pub(crate) type Root = (u64, u64);

/// What one pass over `/proc` showed.
#[derive(Debug, Default)]
pub(crate) struct Processes {
    /// Inits by container: those whose root is one asked for.
    pub(crate) inits: BTreeMap<Ctid, u32>,
    /// `lxc-start` processes and monitors by container; for those that run, the init's parent among them.
    pub(crate) starters: BTreeMap<Ctid, Vec<u32>>,
}

/// A process held so that its number cannot be taken over by another unnoticed.
#[derive(Debug)]
pub(crate) struct Held {
    /// Its number.
    pub(crate) pid: u32,
    pidfd: OwnedFd,
    start_ticks: u64,
}

impl Processes {
    /// Looks for the given containers of the container directory `path`.
    pub(crate) fn look(path: &Path, roots: &BTreeMap<Root, Ctid>, ctids: &[Ctid]) -> io::Result<Self> {
        let mut found = Self::default();
        for entry in std::fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            found.note(pid, path, roots, ctids);
        }
        Ok(found)
    }

    fn note(&mut self, pid: u32, path: &Path, roots: &BTreeMap<Root, Ctid>, ctids: &[Ctid]) {
        // A process that ends while it is looked at, and a kernel thread, has no root.
        let Ok(root) = std::fs::metadata(format!("/proc/{pid}/root")) else { return };
        match roots.get(&(root.dev(), root.ino())) {
            Some(&ctid) if is_init(pid) => {
                self.inits.insert(ctid, pid);
            }
            Some(_) => {}
            None => {
                if let Some(ctid) = starter_of(pid, path).filter(|ctid| ctids.contains(ctid)) {
                    self.starters.entry(ctid).or_default().push(pid);
                }
            }
        }
    }
}

impl Held {
    /// Takes hold of a living process; `None` if there is none of this number.
    pub(crate) fn open(pid: u32) -> Option<Self> {
        let pidfd = rustix::process::pidfd_open(i32::try_from(pid).ok().and_then(Pid::from_raw)?, PidfdFlags::empty()).ok()?;
        // Read after the descriptor was opened: if it is still alive then, both are of the same process.
        let start_ticks = start_ticks(pid)?;
        let held = Self { pid, pidfd, start_ticks };
        held.is_alive().then_some(held)
    }

    /// Takes hold of the process that `init` names, if it lives.
    pub(crate) fn of_init(init: &Init, boot: &BootId) -> Option<Self> {
        Self::open(init.pid).filter(|held| init.boot == *boot && held.start_ticks == init.start_ticks)
    }

    /// When it was started, in clock ticks since boot.
    pub(crate) fn start_ticks(&self) -> u64 {
        self.start_ticks
    }

    /// The process as evidence.
    pub(crate) fn init(&self, boot: &BootId) -> Init {
        Init { boot: boot.clone(), pid: self.pid, start_ticks: self.start_ticks }
    }

    /// Whether it lives and is no zombie; a pidfd is readable from the end of its process on.
    pub(crate) fn is_alive(&self) -> bool {
        !self.ends_within(Duration::ZERO)
    }

    /// Waits until it ends, at most for `wait`; whether it has ended.
    pub(crate) fn ends_within(&self, wait: Duration) -> bool {
        let mut polled = [PollFd::new(&self.pidfd, PollFlags::IN)];
        let timeout = Timespec { tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(wait.subsec_nanos()) };
        loop {
            match rustix::event::poll(&mut polled, Some(&timeout)) {
                Ok(count) => return count > 0,
                // A signal cut the wait short; waiting the whole time again errs on the long side, which every caller bounds.
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Sends it a signal; one that has ended is no error.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.pidfd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// The id map that the kernel applies to it. Whoever wants it as evidence asks [`Self::is_alive`] afterwards.
    pub(crate) fn idmap(&self) -> io::Result<IdMap> {
        let read = |kind: &str| std::fs::read_to_string(format!("/proc/{}/{kind}", self.pid));
        IdMap::from_proc(&read("uid_map")?, &read("gid_map")?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Its root directory.
    pub(crate) fn root(&self) -> Option<Root> {
        std::fs::metadata(format!("/proc/{}/root", self.pid)).ok().map(|root| (root.dev(), root.ino()))
    }

    /// Its parent, as of now.
    pub(crate) fn parent(&self) -> Option<u32> {
        parent_of(self.pid)
    }

    /// Whether its program is another than its parent's: before `exec`, an init is still `lxc-start`.
    pub(crate) fn has_executed(&self, parent: u32) -> bool {
        match (std::fs::metadata(format!("/proc/{}/exe", self.pid)), std::fs::metadata(format!("/proc/{parent}/exe"))) {
            (Ok(own), Ok(parent)) => (own.dev(), own.ino()) != (parent.dev(), parent.ino()),
            _ => false,
        }
    }

    /// The name of its program, at most 15 bytes.
    pub(crate) fn comm(&self) -> Option<String> {
        Some(std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).ok()?.trim_end().to_owned())
    }

    /// Whether it waits for the signal that systemd takes as "power off" (SIGRTMIN+3), as LXC itself asks.
    pub(crate) fn blocks_systemd_halt(&self) -> bool {
        const SYSTEMD_HALT_BIT: u32 = 34 + 3 - 1;
        let mask = status_field(self.pid, "SigBlk").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
        mask >> SYSTEMD_HALT_BIT & 1 == 1
    }
}

/// `/proc/PID/stat`, field 22, counted from behind the command, which may hold spaces and brackets (`proc_pid_stat(5)`).
fn start_ticks(pid: u32) -> Option<u64> {
    parse_start_ticks(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_start_ticks(stat: &str) -> Option<u64> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// A process's parent, as of now.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    status_field(pid, "PPid")?.trim().parse().ok()
}

/// Whether a process has a child that lives.
pub(crate) fn has_child(pid: u32) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.any(|child| parent_of(child) == Some(pid) && Held::open(child).is_some())
}

fn status_field(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::to_owned)
}

/// Process 1 of a pid namespace directly below ours; the init of a container within a container is deeper.
pub(crate) fn is_init(pid: u32) -> bool {
    status_field(pid, "NSpid").is_some_and(|pids| pids.split_ascii_whitespace().skip(1).eq(["1"]))
}

/// The container that this process starts or monitors, if it is an `lxc-start` of ours on `path`.
fn starter_of(pid: u32, path: &Path) -> Option<Ctid> {
    let command = command_line(pid)?;
    let (_, ctid) = parse_starter(&command).filter(|(found, _)| *found == path)?;
    is_of_this_root(pid).then_some(ctid)
}

/// The command line or title of a process; `None` for a kernel thread and for one that has ended.
pub(crate) fn command_line(pid: u32) -> Option<Vec<u8>> {
    beginning_of(format!("/proc/{pid}/cmdline"), COMMAND_BYTES_MAX).ok().filter(|command| !command.is_empty())
}

/// Whether a process is root's in our own pid namespace. A title can be forged by anyone; this root is not anyone.
pub(crate) fn is_of_this_root(pid: u32) -> bool {
    std::fs::metadata(format!("/proc/{pid}")).is_ok_and(|meta| meta.uid() == 0)
        && std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == std::fs::read_link("/proc/self/ns/pid").ok()
}

/// Whether a container of this number is being started, or monitored, on any path. Titles can be forged; this errs on the side
/// of yes.
pub(crate) fn is_started_anywhere(ctid: Ctid) -> bool {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut commands = entries.filter_map(|entry| command_line(entry.file_name().to_str()?.parse().ok()?));
    commands.any(|command| parse_starter(&command).is_some_and(|(_, found)| found == ctid))
}

/// Container directory and container of a monitor or an `lxc-start`.
pub(crate) fn parse_starter(command: &[u8]) -> Option<(&Path, Ctid)> {
    parse_monitor(command).or_else(|| parse_lxc_start(command))
}

/// The title of a monitor: `[lxc monitor] PATH NAME`, padded with zeros where the old command line was longer.
fn parse_monitor(command: &[u8]) -> Option<(&Path, Ctid)> {
    let title = std::str::from_utf8(command).ok()?.trim_end_matches(['\0', ' ']).strip_prefix("[lxc monitor] ")?;
    let (path, name) = title.rsplit_once(' ')?;
    Some((Path::new(path), name.parse().ok()?))
}

/// `lxc-start` in the forms that Phoenix and people use: `-P PATH`, `-n NAME`, `--name=NAME`, or the bare name.
fn parse_lxc_start(command: &[u8]) -> Option<(&Path, Ctid)> {
    let mut words = std::str::from_utf8(command).ok()?.trim_end_matches('\0').split('\0');
    if Path::new(words.next()?).file_name()? != "lxc-start" {
        return None;
    }
    let words: Vec<&str> = words.collect();
    let option = |short: &str, long: &str| {
        words.iter().enumerate().find_map(|(index, word)| {
            if *word == short || *word == long {
                return words.get(index + 1).copied();
            }
            word.strip_prefix(long)
                .and_then(|rest| rest.strip_prefix('='))
                .or_else(|| word.strip_prefix(short).filter(|rest| !rest.is_empty()))
        })
    };
    let path = option("-P", "--lxcpath").unwrap_or("/var/lib/lxc");
    let name = option("-n", "--name").or_else(|| words.last().copied())?;
    Some((Path::new(path), name.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_any_command_name() {
        let rest = (3..=52).map(|field| if field == 3 { "S".to_owned() } else { field.to_string() }).collect::<Vec<_>>().join(" ");
        for command in ["init", "a b", ") S 1 (", "((sd-pam)"] {
            assert_eq!(parse_start_ticks(&format!("12 ({command}) {rest}\n")), Some(22), "{command:?}");
        }
        assert_eq!(parse_start_ticks("12 (init) S 1"), None);
    }

    #[test]
    fn monitors_and_starters_are_told_by_path_and_name() {
        let told = |command: &'static [u8]| parse_starter(command).map(|(path, ctid)| (path.display().to_string(), ctid.get()));
        let found = |path: &str| Some((path.to_owned(), 101));
        assert_eq!(told(b"[lxc monitor] /var/lib/lxc 101\0\0\0"), found("/var/lib/lxc"));
        assert_eq!(told(b"[lxc monitor] /srv/lxc 101"), found("/srv/lxc"));
        assert_eq!(told(b"[lxc monitor] /var/lib/lxc web"), None);
        assert_eq!(told(b"/usr/bin/lxc-start\0-P\0/var/lib/lxc\0-n\x00101\0-d\0"), found("/var/lib/lxc"));
        assert_eq!(told(b"lxc-start\0--name=101\0-F\0"), found("/var/lib/lxc"));
        assert_eq!(told(b"lxc-start\0-F\x00101\0"), found("/var/lib/lxc"));
        assert_eq!(told(b"lxc-start\0-P/srv\0-n101\0"), found("/srv"));
        assert_eq!(told(b"less\0lxc-start\x00101\0"), None);
    }
}
