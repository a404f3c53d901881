//! Tasks: what Proxmox's workers do, and whether one still does it.
//!
//! A worker outlives the `pct` that asked for it, in a session of its own, and is named by process number and start time. So
//! whether a lock in a configuration is held by somebody can be told without asking. Not here: what is done about it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::super::local::proc;

/// The id of a task: `UPID:node:pid:pstart:starttime:type:id:user:`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upid {
    /// The node it runs on.
    pub node: String,
    /// Its process.
    pub pid: u32,
    /// When the process was started, in clock ticks since boot.
    pub start_ticks: u64,
    /// When the task was started, in seconds since 1970.
    pub started: u64,
    /// What it does: `vzcreate`, `vzclone`, `vzsnapshot`, ...
    pub kind: String,
    /// The guest it is about, if it is about one; of a clone, the *source*.
    pub id: String,
    /// Who asked for it.
    pub user: String,
}

/// A task in one of the lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub upid: Upid,
    /// How it ended (`OK`, or why not), if it has.
    pub status: Option<String>,
}

/// The text is no id of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no id of a task; expected `UPID:node:pid:pstart:starttime:type:id:user:`")]
pub struct UpidError;

impl Upid {
    /// Whether its process still is that of the task. To be asked on the task's own node.
    pub fn is_alive(&self) -> bool {
        proc::Held::open(self.pid).is_some_and(|held| held.start_ticks() == self.start_ticks)
    }

    /// Where its log is, below the tasks' directory.
    pub fn log(&self) -> PathBuf {
        let last = format!("{:X}", self.started & 15);
        Path::new(&last).join(self.to_string())
    }
}

impl FromStr for Upid {
    type Err = UpidError;

    fn from_str(text: &str) -> Result<Self, UpidError> {
        let plain = text.len() <= 512 && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '/');
        let parts: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, start_ticks, started, kind, id, user, ""] = parts[..] else { return Err(UpidError) };
        let number = |text: &str| {
            let digits = (8..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if digits { u64::from_str_radix(text, 16).map_err(|_| UpidError) } else { Err(UpidError) }
        };
        if !plain || node.is_empty() || kind.is_empty() || user.is_empty() {
            return Err(UpidError);
        }
        Ok(Self {
            node: node.to_owned(),
            pid: number(pid)?.try_into().map_err(|_| UpidError)?,
            start_ticks: number(start_ticks)?,
            started: number(started)?,
            kind: kind.to_owned(),
            id: id.to_owned(),
            user: user.to_owned(),
        })
    }
}

impl fmt::Display for Upid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, pid, start_ticks, started, kind, id, user } = self;
        write!(f, "UPID:{node}:{pid:08X}:{start_ticks:08X}:{started:08X}:{kind}:{id}:{user}:")
    }
}

/// Reads a list: `active` (id, whether it was saved, end, status) or `index` (id, end, status). Lines that are none are left out.
pub fn parse(text: &str) -> Vec<Task> {
    let task = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let upid: Upid = words.next()?.parse().ok()?;
        let rest: Vec<&str> = words.collect();
        // In `active`, a `0` or `1` comes before the end, and alone where the task has not ended.
        let ended = match rest.as_slice() {
            ["0" | "1", _, status @ ..] => Some(status),
            ["0" | "1"] | [] => None,
            [_, status @ ..] => Some(status),
        };
        Some(Task { upid, status: ended.map(|words| words.join(" ")) })
    };
    text.lines().filter_map(task).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "UPID:vm:00006557:000702B3:6B039B94:vzcreate:220:root@pam!tool:";

    #[test]
    fn an_id_says_process_start_and_guest() {
        let upid: Upid = TEXT.parse().expect("an id");
        assert_eq!((upid.pid, upid.start_ticks, upid.started), (0x6557, 0x0007_02B3, 0x6B03_9B94));
        assert_eq!((upid.kind.as_str(), upid.id.as_str(), upid.user.as_str()), ("vzcreate", "220", "root@pam!tool"));
        assert_eq!(upid.to_string(), TEXT);
        assert_eq!(upid.log(), Path::new("4").join(TEXT));
        for wrong in
            ["", "UPID:", &TEXT[..TEXT.len() - 1], &TEXT.replace("6557", "655x"), &TEXT.replace("vm", "../x"), &TEXT.replace("vm", "a b")]
        {
            assert_eq!(wrong.parse::<Upid>(), Err(UpidError), "{wrong}");
        }
    }

    #[test]
    fn both_lists_are_read() {
        let active = format!("{TEXT} 0\n{TEXT} 1 6B039B99 OK\nnoise\n{TEXT} 1 6B039B99 command 'x' failed: exit code 1\n");
        let statuses: Vec<_> = parse(&active).into_iter().map(|task| task.status).collect();
        assert_eq!(statuses, [None, Some("OK".to_owned()), Some("command 'x' failed: exit code 1".to_owned())]);
        let index = parse(&format!("{TEXT} 6B039B99 OK\n"));
        assert_eq!(index[0].status.as_deref(), Some("OK"));
    }

    #[test]
    fn a_process_of_another_start_is_not_the_tasks() {
        let own = proc::Held::open(std::process::id()).expect("this process");
        let mut upid: Upid = TEXT.parse().expect("an id");
        (upid.pid, upid.start_ticks) = (own.pid, own.start_ticks());
        assert!(upid.is_alive());
        upid.start_ticks += 1;
        assert!(!upid.is_alive());
    }
}
