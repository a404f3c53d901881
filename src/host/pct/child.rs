//! Programs of Proxmox's, run under a shim, and what their words mean.
//!
//! `pct` exits with 0 on some failures, and its other codes classify nothing (the same mistake gave 1, 2, 39 and 255). So the
//! steps look at what it did; only of a call that did not do it are the words read here: whether it waits for a lock that
//! others hold, whether trying again can help. Not here: looking.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::host::LockError;
use crate::host::local::act::{Act, Taken, at, chain, failed, tail};
use crate::host::local::durable;
use crate::host::local::life::host_environment;
use crate::host::local::proc;
use crate::ids::Ctid;
use crate::machine::{Failure, FailureClass, StepResult, Wait, WaitKind};
use crate::plan::Action;
use crate::shim::{Ending, JobResult, Kept, Task};

use super::Pct;
use super::life::MOUNTED;

/// What a program said, and how it ended.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) result: JobResult,
    /// The last of what it wrote.
    pub(super) text: String,
    /// As an operator could type it.
    command: String,
}

/// What a failure waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Weather<'a> {
    /// The configuration says `lock: NAME`.
    Locked(&'a str),
    /// Somebody holds a lock file.
    File(&'a Path),
    /// Somebody in the cluster holds the lock of this name.
    Cluster(&'a str),
}

/// Words of mistakes that trying again does not mend.
const LASTING: [&str; 9] = [
    "Parameter verification failed",
    "Unknown option",
    "does not exist",
    "feature is not available",
    "protection mode enabled",
    "read-only option",
    "unable to parse",
    "unable to shrink",
    "not allowed",
];

/// Tasks that live as long as somebody looks at the container's console, and change nothing. From the documentation, not yet run.
const CONSOLES: [&str; 2] = ["vncproxy", "spiceproxy"];

impl Act<'_, Pct> {
    /// Runs `pct` with lock and token.
    pub(super) fn pct(&self, words: Vec<String>) -> Taken<Said> {
        self.remove_drafts()?;
        self.call("pct", words, Kept::LockAndToken)
    }

    /// Runs a program of Proxmox's. Whatever file systems it may have changed are synced before its result is written.
    pub(super) fn call(&self, program: &str, words: Vec<String>, kept: Kept) -> Taken<Said> {
        let command = std::iter::once(program).chain(words.iter().map(String::as_str)).map(quoted).collect::<Vec<_>>().join(" ");
        let path = self.host.layout.program(program);
        let argv = std::iter::once(path.into_os_string()).chain(words.into_iter().map(OsString::from)).collect();
        let task = Task::Run { argv, env: host_environment(), kept };
        let places = self.changed_places();
        let result = self.run(task, places.clone(), Vec::new())?;
        if matches!(result.ending, Ending::NotDurable { .. }) {
            // Whatever is there, it may not stay: the kernel tells of a failed write once.
            self.expect_success(&result, &format!("`{command}`"), Some(command.clone()))?;
        }
        if result.ending.is_success() {
            // What it has mounted only now its shim could not be told of.
            sync(self.changed_places().iter().filter(|place| !places.contains(place)))?;
        }
        let text = tail(&result.output().unwrap_or_default());
        Ok(Said { result, text, command })
    }

    /// To be asked when what a call was for is there: the shim syncs after a success alone, and it may have come about all the
    /// same.
    pub(super) fn make_durable_after(&self, said: &Said) -> Taken<()> {
        if said.result.ending.is_success() { Ok(()) } else { self.make_durable() }
    }

    /// Syncs all that a program of Proxmox's may have changed.
    pub(super) fn make_durable(&self) -> Taken<()> {
        sync(self.changed_places().iter())
    }

    fn changed_places(&self) -> Vec<PathBuf> {
        self.host.changed_places(self.intent().ctid)
    }

    /// What it means that `what` is not the case after the call.
    pub(super) fn refused(&self, said: &Said, what: &str) -> Box<StepResult> {
        let Said { result, text, command } = said;
        let status = match &result.ending {
            Ending::Exited(status) => format!("exit {status}"),
            Ending::Signalled(_) | Ending::ContainerEnded | Ending::TimedOut | Ending::NotStarted { .. } | Ending::NotDurable { .. } => {
                let judged = self.expect_success(result, &format!("`{command}`"), Some(command.clone()));
                return judged.err().unwrap_or_else(|| Box::new(StepResult::Unknown { why: what.to_owned() }));
            }
        };
        if let Err(waits) = self.check_said_quorum(text, &format!("{what}: {}", last_line(text))) {
            return waits;
        }
        if let Some(weather) = weather(text) {
            // Of a clone's two containers the source is the one that others may be at.
            let ctid = if let Action::Clone { source, .. } = self.intent().action { source } else { self.intent().ctid };
            return self.waits(ctid, &weather, text);
        }
        let lasting = LASTING.iter().any(|words| text.contains(words));
        let class = if lasting { FailureClass::Permanent } else { FailureClass::Transient };
        let message = match last_line(text) {
            "" => what.to_owned(),
            line => format!("{what}: {line}"),
        };
        Box::new(StepResult::Failed(Failure { class, message, command: Some(command.clone()), status: Some(status), tail: text.clone() }))
    }

    /// A configuration that says `lock: NAME`.
    pub(super) fn locked(&self, name: &str) -> Box<StepResult> {
        self.locked_of(self.intent().ctid, name)
    }

    /// As [`Self::locked`], of another container.
    pub(super) fn locked_of(&self, ctid: Ctid, name: &str) -> Box<StepResult> {
        self.waits(ctid, &Weather::Locked(name), &format!("container {ctid} is locked ({name})"))
    }

    /// A lock file that others hold.
    pub(super) fn lock_file_held(&self, path: &Path, message: &str) -> Box<StepResult> {
        self.waits(self.intent().ctid, &Weather::File(path), message)
    }

    /// Another container whose lock Phoenix itself holds elsewhere.
    pub(super) fn busy(&self, ctid: Ctid, error: &LockError) -> Box<StepResult> {
        let (pid, command) = match error {
            LockError::Busy { holder_pid, holder_command, .. } => (*holder_pid, holder_command.clone()),
            LockError::Host(error) => return failed(FailureClass::Transient, chain(error)),
        };
        let wait = Wait { kind: WaitKind::Lock, name: command, ctid: Some(ctid), pid, since: self.local.clock.now().wall };
        failed(FailureClass::Wait(wait), error)
    }

    /// A worker that has to end first.
    pub(super) fn waits_for(&self, pid: u32, title: String) -> Box<StepResult> {
        let message = format!("process {pid} is at work on it ({title})");
        let wait = Wait { kind: WaitKind::Lock, name: title, ctid: None, pid: Some(pid), since: self.local.clock.now().wall };
        failed(FailureClass::Wait(wait), message)
    }

    fn waits(&self, ctid: Ctid, weather: &Weather<'_>, message: &str) -> Box<StepResult> {
        let (holder, otherwise) = match weather {
            Weather::Locked(name) => (worker_of(ctid), format!("`lock: {name}` of container {ctid}")),
            Weather::File(path) => (holder_of(path), path.display().to_string()),
            Weather::Cluster(name) => (None, format!("the cluster's lock {name}")),
        };
        let remedy = match weather {
            // Whoever put it there may have been killed, or the node have crashed; nothing takes such a lock off by itself.
            Weather::Locked(name) if holder.is_none() => left_behind(ctid, name),
            Weather::Locked(_) | Weather::File(_) | Weather::Cluster(_) => String::new(),
        };
        let (pid, name) = holder.map_or((None, otherwise), |(pid, command)| (Some(pid), command));
        let wait = Wait { kind: WaitKind::Lock, name, ctid: None, pid, since: self.local.clock.now().wall };
        failed(FailureClass::Wait(wait), format!("{}{remedy}", message.lines().last().unwrap_or_default()))
    }
}

fn sync<'a>(mut places: impl Iterator<Item = &'a PathBuf>) -> Taken<()> {
    places.try_for_each(|path| durable::sync_file_system(path).map_err(at("sync the file system of", path)))
}

/// What to do about a lock of a configuration that nobody holds any more.
fn left_behind(ctid: Ctid, name: &str) -> String {
    let verb = if name == MOUNTED { "unmount" } else { "unlock" };
    format!("; should it stay so with no task at work on it (see the task list of the web interface), `pct {verb} {ctid}`")
}

/// What the words of a failure wait for, if they wait.
fn weather(text: &str) -> Option<Weather<'_>> {
    let between = |start: &str, end: char| text.split(start).nth(1)?.split(end).next().filter(|name| !name.is_empty());
    if let Some(name) = between("CT is locked (", ')') {
        return Some(Weather::Locked(name));
    }
    if text.contains("got timeout") || text.contains("got lock request timeout") {
        let file = between("can't lock file '", '\'').map(|path| Weather::File(Path::new(path)));
        return file.or_else(|| between("cfs-lock '", '\'').map(Weather::Cluster));
    }
    None
}

/// The worker of a task about a container, if one lives.
pub(super) fn worker_of(ctid: Ctid) -> Option<(u32, String)> {
    processes().find_map(|pid| {
        let title = String::from_utf8(proc::command_line(pid)?).ok()?;
        let title = title.trim_end_matches(['\0', ' ']);
        (is_worker(title, pid, ctid) && proc::is_of_this_root(pid)).then(|| (pid, title.to_owned()))
    })
}

/// Whether a title is that of the process's own task, and the task is one about the container that changes it.
fn is_worker(title: &str, pid: u32, ctid: Ctid) -> bool {
    let Some(upid) = title.strip_prefix("task UPID:") else { return false };
    let fields: Vec<&str> = upid.split(':').collect();
    let own = fields.get(1).and_then(|own| u32::from_str_radix(own, 16).ok()) == Some(pid);
    let changes = fields.get(4).is_some_and(|kind| !CONSOLES.contains(kind));
    // Who frees a volume names the storage with it: `101@local`. From Proxmox's source, not yet run.
    let guest = fields.get(5).and_then(|id| id.split('@').next());
    own && changes && guest.and_then(|id| id.parse().ok()) == Some(ctid)
}

/// Who holds a lock file, as the kernel lists it (`proc_locks(5)`).
fn holder_of(path: &Path) -> Option<(u32, String)> {
    let inode = std::fs::metadata(path).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    let pid = locks.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let holds = words.nth(1)? == "FLOCK" && words.clone().nth(3)?.rsplit(':').next()?.parse() == Ok(inode);
        holds.then(|| words.nth(2)?.parse().ok())?
    })?;
    let command = String::from_utf8_lossy(&proc::command_line(pid).unwrap_or_default()).replace('\0', " ");
    let command = if command.trim().is_empty() { path.display().to_string() } else { command.trim().to_owned() };
    Some((pid, command))
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn last_line(text: &str) -> &str {
    let is_usage = |line: &&str| !line.trim().is_empty() && !line.starts_with("pct ");
    text.lines().rev().find(is_usage).unwrap_or_default().trim()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_told_from_mistakes() {
        assert_eq!(weather("CT is locked (backup)"), Some(Weather::Locked("backup")));
        let file = "trying to acquire lock...\ncan't lock file '/run/lock/lxc/pve-config-110.lock' - got timeout";
        assert_eq!(weather(file), Some(Weather::File(Path::new("/run/lock/lxc/pve-config-110.lock"))));
        assert_eq!(weather("cfs-lock 'storage-ceph' error: got lock request timeout"), Some(Weather::Cluster("storage-ceph")));
        for text in ["", "storage 'nostore' does not exist", "got timeout", "container did not stop", "CT is locked ("] {
            assert_eq!(weather(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_console_that_somebody_looks_at_is_no_worker() {
        let is = |kind: &str, pid: u32| {
            let title = format!("task UPID:vm:00001234:0007:6B03:{kind}:101:root@pam:");
            is_worker(&title, pid, Ctid::new(101).expect("in range"))
        };
        assert!(is("vzdump", 0x1234) && is("vzsnapshot", 0x1234));
        assert!(!is("vzdump", 0x1235), "a title with another's number");
        let free = "task UPID:vm:00001234:0007:6B03:imgdel:101@local:root@pam:";
        assert!(is_worker(free, 0x1234, Ctid::new(101).expect("in range")));
        assert!(!is("vncproxy", 0x1234) && !is("spiceproxy", 0x1234));
    }

    #[test]
    fn a_lock_that_nobody_holds_is_said_with_what_takes_it_off() {
        let ctid = Ctid::new(101).expect("in range");
        assert!(left_behind(ctid, "backup").ends_with("`pct unlock 101`"));
        assert!(left_behind(ctid, "mounted").ends_with("`pct unmount 101`"));
    }

    #[test]
    fn the_word_that_counts_is_the_last_that_is_no_usage() {
        assert_eq!(last_line("400 Parameter verification failed.\nmemory: too small\npct set <vmid> [OPTIONS]\n"), "memory: too small");
        assert_eq!(last_line("\n"), "");
    }
}
