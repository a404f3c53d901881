//! Faults and delays to order, in the files `ROOT/test/faults` and `ROOT/test/delays`.
//!
//! A line of `faults` is `COMMAND ID FAULT`; `*` stands for any command or id. The first line that fits a call is taken out of
//! the file and met once. The faults:
//!
//! | fault | what happens |
//! |---|---|
//! | `kill-after PIECE` | the worker (of a command without one: the process itself) is killed once this piece is done |
//! | `kill-parent-after PIECE` | the `pct` that waits for the worker is killed, the worker is not |
//! | `kill-both-after PIECE` | both are killed |
//! | `kill-worker-frozen` | the worker of a snapshot is killed while the container is frozen: `kill-after freeze` |
//! | `die TEXT`, `die-after PIECE TEXT` | the command fails with this text, and cleans up as it does for any mistake |
//! | `hang TIME`, `hang-after PIECE TIME` | nothing goes on for `500ms` or `30s` |
//! | `lock-timeout` | the lock of the configuration cannot be had, without waiting for it |
//! | `locked LOCK` | `CT is locked (LOCK)`, whatever the file says |
//! | `exit CODE TEXT` | nothing is done; the text is said on stderr, and this is the exit code |
//! | `exit0-but-not-started` | `exit 0` |
//!
//! A line of `delays` is `COMMAND MS` (before anything is done, as Perl's start-up), `COMMAND.PIECE MS` (before the piece
//! counts as done), or `lock-timeout MS` (instead of ten seconds); `*` stands for any command. Pieces are named where the
//! commands are: `call.piece("volume")`.

use std::fs::{self, File};

use rustix::fs::{FlockOperation, flock};

use crate::died::{Died, Outcome};
use crate::root::{Root, Vmid};

/// What is to go wrong in one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill { who: Whom, after: String },
    Die { after: String, text: String },
    Hang { after: String, ms: u64 },
    LockTimeout,
    Locked(String),
    Exit { code: u8, text: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Worker,
    Parent,
    Both,
}

/// The piece before all others.
pub(crate) const BEGIN: &str = "begin";

impl Fault {
    /// The fault that these words order.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let (name, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        let rest = rest.trim();
        let piece = || if rest.is_empty() { Err(format!("`{name}` needs a piece")) } else { Ok(rest.to_owned()) };
        let two = || rest.split_once(' ').ok_or_else(|| format!("`{name}` needs a piece and more"));
        Ok(match name {
            "kill-after" => Self::Kill { who: Whom::Worker, after: piece()? },
            "kill-parent-after" => Self::Kill { who: Whom::Parent, after: piece()? },
            "kill-both-after" => Self::Kill { who: Whom::Both, after: piece()? },
            "kill-worker-frozen" => Self::Kill { who: Whom::Worker, after: "freeze".to_owned() },
            "die" => Self::Die { after: BEGIN.to_owned(), text: unquoted(rest) },
            "die-after" => two().map(|(after, text)| Self::Die { after: after.to_owned(), text: unquoted(text) })?,
            "hang" => Self::Hang { after: BEGIN.to_owned(), ms: duration(rest)? },
            "hang-after" => {
                let (after, time) = two()?;
                Self::Hang { after: after.to_owned(), ms: duration(time)? }
            }
            "lock-timeout" => Self::LockTimeout,
            "locked" => Self::Locked(piece()?),
            "exit0-but-not-started" => Self::Exit { code: 0, text: String::new() },
            "exit" => {
                let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
                Self::Exit { code: code.parse().map_err(|_| format!("`{code}` is no exit code"))?, text: unquoted(text) }
            }
            _ => return Err(format!("there is no fault `{name}`")),
        })
    }

    /// Takes the first fault that is ordered for this call out of the file; the words, to be handed to a worker.
    pub(crate) fn take(root: &Root, command: &str, id: Option<Vmid>) -> Outcome<Option<String>> {
        let path = root.test("faults");
        if !path.exists() {
            return Ok(None);
        }
        let failed = |error: &std::io::Error| Died::io("take a fault from", &path, error);
        let lock = File::create(root.test("faults.lock")).map_err(|error| failed(&error))?;
        flock(&lock, FlockOperation::LockExclusive).map_err(|error| failed(&error.into()))?;
        let text = fs::read_to_string(&path).map_err(|error| failed(&error))?;
        let fits = |line: &&str| {
            let mut words = line.split(' ');
            let mut is = |wanted: &str| words.next().is_some_and(|word| word == "*" || word == wanted);
            is(command) && is(&id.map(|id| id.to_string()).unwrap_or_default())
        };
        let Some(found) = text.lines().find(fits) else { return Ok(None) };
        let mut taken = false;
        let rest = text.lines().filter(|line| taken || *line != found || std::mem::replace(&mut taken, true));
        let rest: String = rest.map(|line| format!("{line}\n")).collect();
        fs::write(&path, rest).map_err(|error| failed(&error))?;
        let words = found.splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
        Self::parse(&words).map_err(|why| Died::new(format!("{}: {why}", path.display())))?;
        Ok(Some(words))
    }
}

/// How long the file `delays` makes something take, in milliseconds.
pub(crate) fn delay(root: &Root, command: &str, piece: Option<&str>) -> Option<u64> {
    let text = fs::read_to_string(root.test("delays")).ok()?;
    let name = |command: &str| piece.map_or_else(|| command.to_owned(), |piece| format!("{command}.{piece}"));
    let names = [name(command), name("*")];
    let lines = || text.lines().filter_map(|line| line.split_once(' '));
    names.iter().find_map(|wanted| lines().find(|(name, _)| name == wanted)).and_then(|(_, ms)| ms.trim().parse().ok())
}

fn duration(text: &str) -> Result<u64, String> {
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(ms), _) => ms.parse().ok(),
        (None, Some(seconds)) => seconds.parse::<u64>().ok().map(|seconds| seconds * 1000),
        (None, None) => None,
    };
    parsed.ok_or_else(|| format!("`{text}` is no time"))
}

fn unquoted(text: &str) -> String {
    text.trim().trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_spelled_as_documented() {
        let kill = |who, after: &str| Ok(Fault::Kill { who, after: after.to_owned() });
        assert_eq!(Fault::parse("kill-after volume"), kill(Whom::Worker, "volume"));
        assert_eq!(Fault::parse("kill-worker-frozen"), kill(Whom::Worker, "freeze"));
        assert_eq!(Fault::parse("hang 30s"), Ok(Fault::Hang { after: BEGIN.to_owned(), ms: 30_000 }));
        assert_eq!(
            Fault::parse("die \"clone failed: no\""),
            Ok(Fault::Die { after: BEGIN.to_owned(), text: "clone failed: no".to_owned() })
        );
        assert_eq!(Fault::parse("exit 3 odd"), Ok(Fault::Exit { code: 3, text: "odd".to_owned() }));
        assert!(Fault::parse("kill-after").is_err() && Fault::parse("hang long").is_err() && Fault::parse("no").is_err());
    }
}
