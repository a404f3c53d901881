//! Processes as `/proc` shows them: who they are, what they hold, what they bear; and ending them for certain.
//!
//! A process is never signalled by number: it is opened as a pidfd, its start time is compared, then the pidfd is signalled.
//! Format of the files: `proc_pid_stat(5)`, `proc_pid_environ(5)`, `proc_pid_fdinfo(5)`. Not here: which processes may be
//! ended (`recover`, `supervise`).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::clock::boottime_ms;
use super::freezer;
use super::lock::Holder;
use crate::ids::Token;

/// The variable that every process of an intent bears.
pub(super) const TOKEN_VARIABLE: &str = "PHOENIX_TOKEN";
/// How long death may take after `SIGKILL` before a process counts as undead: it is then stuck in the kernel, most often in
/// input or output that does not come back.
pub(super) const DEATH_MS_MAX: u64 = 10_000;
/// How often the search is repeated while processes end: children of the dying appear in between.
const SEARCH_MS: u32 = 50;
/// How much of an environment is searched: all that the kernel gives a program, arguments and environment together
/// (`execve(2)`). A shell between us and the bearer puts the token where it likes, behind large values too.
const ENVIRON_BYTES_MAX: u64 = 6 * 1024 * 1024;
/// How much of a command line is read: enough for what is shown of it.
const COMMAND_BYTES_MAX: u64 = 4096;
/// How much of a command line is shown.
const COMMAND_CHARS_MAX: usize = 160;

/// A process that bears a token, or otherwise belongs to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Its command line, cut and without control characters.
    pub command: String,
}

/// Every living process that bears `token` in its environment, but this one.
pub fn living_bearers(token: Token) -> io::Result<Vec<Bearer>> {
    let wanted = format!("{TOKEN_VARIABLE}={token}").into_bytes();
    let own = std::process::id();
    let bears = |stat: &&Stat| stat.pid != own && environ(stat.pid).split(|byte| *byte == 0).any(|variable| variable == wanted);
    if phoenix_journal::sabotaged("orphans_are_not_looked_for") {
        return Ok(Vec::new());
    }
    Ok(all()?.iter().filter(bears).map(Stat::bearer).collect())
}

/// Ends everything that bears `token` by pidfd (`SIGTERM`, `grace`, `SIGKILL`, death confirmed; frozen containers are thawed)
/// and returns what could not be ended. To be called before a script runs again.
pub fn end_bearers(token: Token, grace: Duration) -> io::Result<Vec<Bearer>> {
    end(grace, &|_| living_bearers(token))
}

/// How far the ending of processes has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// They are asked to end.
    Asked,
    /// They are killed.
    Killed,
}

/// Ends what `find` finds, again and again until it finds nothing; returns what is left when killing does not help.
pub(super) fn end(grace: Duration, find: &dyn Fn(Stage) -> io::Result<Vec<Bearer>>) -> io::Result<Vec<Bearer>> {
    let mut asked: Vec<Identity> = Vec::new();
    let kill_at = boottime_ms().saturating_add(u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    while boottime_ms() < kill_at {
        let found = find(Stage::Asked)?;
        if found.is_empty() {
            break;
        }
        for bearer in &found {
            freezer::thaw(bearer.pid);
            let identity = bearer.identity();
            if !asked.contains(&identity) {
                signal(&identity, Signal::TERM);
                asked.push(identity);
            }
        }
        wait_for_any(&found, SEARCH_MS)?;
    }
    let give_up_at = boottime_ms() + DEATH_MS_MAX;
    loop {
        let found = find(Stage::Killed)?;
        if found.is_empty() || boottime_ms() >= give_up_at {
            return Ok(found);
        }
        for bearer in &found {
            signal(&bearer.identity(), Signal::KILL);
            freezer::thaw(bearer.pid);
        }
        wait_for_any(&found, SEARCH_MS)?;
    }
}

/// A process told apart from all others of this boot that ever bore its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
}

impl Bearer {
    pub(super) fn identity(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks }
    }
}

/// This process.
pub(super) fn myself() -> io::Result<Identity> {
    stat_of(std::process::id()).map(|stat| stat.identity()).ok_or_else(|| io::Error::other("/proc is not mounted"))
}

/// Whether a process lives; a zombie does not.
pub(super) fn living(identity: &Identity) -> bool {
    stat_of(identity.pid).is_some_and(|stat| stat.identity() == *identity)
}

/// Signals a process if it is still the one meant. That it ended meanwhile is what was wanted.
fn signal(identity: &Identity, signal: Signal) {
    if let Some(pidfd) = open(identity) {
        let _ = pidfd_send_signal(&pidfd, signal);
    }
}

/// A descriptor of a process, if it still is the one meant.
pub(super) fn open(identity: &Identity) -> Option<OwnedFd> {
    let pid = i32::try_from(identity.pid).ok().and_then(Pid::from_raw)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    living(identity).then_some(pidfd)
}

/// Waits until one of the processes ends, at most for `ms`.
pub(super) fn wait_for_any(bearers: &[Bearer], ms: u32) -> io::Result<()> {
    let pidfds: Vec<OwnedFd> = bearers.iter().filter_map(|bearer| open(&bearer.identity())).collect();
    if pidfds.len() < bearers.len() {
        return Ok(());
    }
    let mut fds: Vec<PollFd<'_>> = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    poll_for(&mut fds, ms)
}

/// Whether a process ends within `ms`.
pub(super) fn ends_within(pidfd: &OwnedFd, ms: u32) -> bool {
    let until = boottime_ms() + u64::from(ms);
    loop {
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        let left = u32::try_from(until.saturating_sub(boottime_ms())).unwrap_or(ms);
        if poll_for(&mut fds, left).is_err() {
            return false;
        }
        if !fds[0].revents().is_empty() {
            return true;
        }
        if left == 0 {
            return false;
        }
    }
}

/// Lets time pass where there is no descriptor to wait on.
pub(super) fn pause_ms(ms: u32) -> io::Result<()> {
    poll_for(&mut [], ms)
}

fn poll_for(fds: &mut [PollFd<'_>], ms: u32) -> io::Result<()> {
    let timeout = Timespec { tv_sec: i64::from(ms / 1000), tv_nsec: i64::from(ms % 1000) * 1_000_000 };
    match poll(fds, Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Every living process below `root` in the tree of parents.
pub(super) fn descendants(root: u32) -> io::Result<Vec<Bearer>> {
    let all = all()?;
    let mut by_parent: BTreeMap<u32, Vec<&Stat>> = BTreeMap::new();
    for stat in &all {
        by_parent.entry(stat.parent).or_default().push(stat);
    }
    let (mut found, mut open) = (Vec::new(), vec![root]);
    while let Some(parent) = open.pop() {
        for child in by_parent.remove(&parent).unwrap_or_default() {
            open.push(child.pid);
            found.push(child.bearer());
        }
    }
    Ok(found)
}

/// Every living process in the session that `leader` founded, whether or not `leader` still lives.
pub(super) fn session_of(leader: &Identity) -> io::Result<Vec<Bearer>> {
    let belongs = |stat: &&Stat| stat.session == leader.pid && stat.start_ticks >= leader.start_ticks;
    Ok(all()?.iter().filter(belongs).map(Stat::bearer).collect())
}

/// Every process with a descriptor of the very file description that holds `file`'s lock.
pub(super) fn holders_of(file: &File) -> io::Result<Vec<Holder>> {
    let meta = file.metadata()?;
    // The path tells most descriptors apart without asking the file system behind them, which may be a dead network mount.
    let path = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let holds = |pid: u32, fd: &str| {
        let link = PathBuf::from(format!("/proc/{pid}/fd/{fd}"));
        fs::read_link(&link).is_ok_and(|target| target == path)
            && fs::metadata(&link).is_ok_and(|there| (there.dev(), there.ino()) == (meta.dev(), meta.ino()))
            && fs::read_to_string(format!("/proc/{pid}/fdinfo/{fd}")).is_ok_and(|info| info.contains("FLOCK"))
    };
    let mut holders = Vec::new();
    for stat in all()? {
        let fds = fs::read_dir(format!("/proc/{}/fd", stat.pid)).into_iter().flatten().flatten();
        if fds.filter_map(|entry| entry.file_name().into_string().ok()).any(|fd| holds(stat.pid, &fd)) {
            holders.push(Holder { pid: stat.pid, command: command_of(&stat) });
        }
    }
    Ok(holders)
}

/// The parts of `/proc/PID/stat` that matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) pid: u32,
    pub(super) name: String,
    pub(super) parent: u32,
    pub(super) session: u32,
    pub(super) start_ticks: u64,
}

impl Stat {
    pub(super) fn identity(&self) -> Identity {
        Identity { pid: self.pid, start_ticks: self.start_ticks }
    }

    fn bearer(&self) -> Bearer {
        Bearer { pid: self.pid, start_ticks: self.start_ticks, command: command_of(self) }
    }
}

/// One living process; `None` if there is none, or only what is left of it until its parent looks.
pub(super) fn stat_of(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

fn all() -> io::Result<Vec<Stat>> {
    let entries = fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter_map(stat_of).collect())
}

fn parse_stat(text: &[u8]) -> Option<Stat> {
    let text = String::from_utf8_lossy(text);
    // The name is the process's own choice, parentheses and spaces included: it ends at the last closing one.
    let (head, tail) = text.rsplit_once(')')?;
    let (pid, name) = head.split_once(" (")?;
    let mut words = tail.split_ascii_whitespace();
    if matches!(words.next()?, "Z" | "X") {
        return None;
    }
    let parent = words.next()?.parse().ok()?;
    let session = words.nth(1)?.parse().ok()?;
    let start_ticks = words.nth(15)?.parse().ok()?;
    Some(Stat { pid: pid.parse().ok()?, name: name.to_owned(), parent, session, start_ticks })
}

/// Reads the first `limit` bytes of a file. A process can lay its command line and its environment over any mapping
/// (`PR_SET_MM_MAP`), gigabytes that it never touched; whoever reads of all processes reads no further than it has to.
pub(crate) fn beginning_of(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn environ(pid: u32) -> Vec<u8> {
    beginning_of(format!("/proc/{pid}/environ"), ENVIRON_BYTES_MAX).unwrap_or_default()
}

fn command_of(stat: &Stat) -> String {
    let line = beginning_of(format!("/proc/{}/cmdline", stat.pid), COMMAND_BYTES_MAX).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    let shown = line.trim_end().chars().map(|c| if c.is_control() { '?' } else { c }).take(COMMAND_CHARS_MAX).collect::<String>();
    if shown.is_empty() { format!("[{}]", stat.name) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_process_cannot_forge_its_parent() {
        let text = b"42 (a) S 1 (x) R 7 9 11 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1 18446744073709551615\n";
        let stat = parse_stat(text).expect("parses");
        assert_eq!((stat.pid, stat.parent, stat.session, stat.start_ticks), (42, 7, 11, 123_456));
        assert_eq!(stat.name, "a) S 1 (x");
    }

    #[test]
    fn of_an_endless_file_the_beginning_is_read() {
        assert_eq!(beginning_of("/dev/zero", 4096).expect("readable"), [0; 4096]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a process with a large environment is what the test is about")]
    fn a_token_behind_large_values_is_found() {
        let token = Token::from_random([0x5e; 16]);
        let large = "x".repeat(100_000);
        let mut command = std::process::Command::new("/bin/sleep");
        command.arg("60").env_clear().envs((0..4).map(|number| (format!("A{number}"), large.clone())));
        let mut child = command.env(TOKEN_VARIABLE, token.to_string()).spawn().expect("a child");
        let found = living_bearers(token).expect("looks");
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert_eq!(found.iter().map(|bearer| bearer.pid).collect::<Vec<_>>(), [child.id()]);
    }

    #[test]
    fn zombies_do_not_live() {
        let text = b"42 (a) Z 7 9 11 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1\n";
        assert_eq!(parse_stat(text), None);
        let me = myself().expect("/proc");
        assert!(living(&me));
        assert!(!living(&Identity { start_ticks: me.start_ticks + 1, ..me }));
    }
}
