//! Crashes, and schedules of crashes as a person types them.
//!
//! A schedule says at which point of each run what is killed: `12p,40h` kills Phoenix at point 12 of the first run, then the
//! host at point 40 of the resume that follows. With the seed before it (`7:12p,40h`) it is a [`Script`], which is all that is
//! needed to play it again. Not here: the playing (`stage`), and which schedules are tried (`rehearsal`).

use std::fmt;
use std::str::FromStr;

use crate::host::sim::Survivors;

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashKind {
    /// Phoenix, and what else the survivors leave out.
    Process(Survivors),
    /// The host: everything that ran is gone, and what was not synced may be.
    Host,
}

impl CrashKind {
    /// All kinds, from the least to the most that is killed.
    pub const ALL: [Self; 4] =
        [Self::Process(Survivors::Shims), Self::Process(Survivors::Children), Self::Process(Survivors::Nobody), Self::Host];

    /// Its letter in a schedule: the outermost that is killed. `p` Phoenix, `s` its shims too, `c` their children too, `h` the host.
    pub fn letter(self) -> char {
        match self {
            Self::Process(Survivors::Shims) => 'p',
            Self::Process(Survivors::Children) => 's',
            Self::Process(Survivors::Nobody) => 'c',
            Self::Host => 'h',
        }
    }

    /// What is killed, in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Process(Survivors::Shims) => "phoenix is killed",
            Self::Process(Survivors::Children) => "phoenix and its shims are killed",
            Self::Process(Survivors::Nobody) => "phoenix, its shims and their children are killed",
            Self::Host => "the host goes down",
        }
    }
}

/// One crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crash {
    /// At which point of the run, from 0.
    pub point: u64,
    /// What is killed.
    pub kind: CrashKind,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.point, self.kind.letter())
    }
}

/// A schedule that can be played again: the seed of everything that is left to chance, and one crash for each run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// The seed.
    pub seed: u64,
    /// The first crash lies in `up`, each further one in the resume that follows the one before it. May be empty.
    pub crashes: Vec<Crash>,
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.seed)?;
        for (number, crash) in self.crashes.iter().enumerate() {
            write!(f, "{}{crash}", if number == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Why a text is no [`Script`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no schedule; write SEED:POINTS, each point a number and one of p, s, c or h, as 7:12p,40h")]
pub struct ScriptParseError {
    /// What was read.
    pub given: String,
}

impl FromStr for Script {
    type Err = ScriptParseError;

    fn from_str(text: &str) -> Result<Self, ScriptParseError> {
        let wrong = || ScriptParseError { given: text.to_owned() };
        let (seed, points) = text.split_once(':').ok_or_else(wrong)?;
        let seed = number(seed).ok_or_else(wrong)?;
        if points.is_empty() {
            return Ok(Self { seed, crashes: Vec::new() });
        }
        let crashes = points.split(',').map(crash).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        Ok(Self { seed, crashes })
    }
}

fn crash(text: &str) -> Option<Crash> {
    let kind = CrashKind::ALL.into_iter().find(|kind| text.ends_with(kind.letter()))?;
    let point = number(text.strip_suffix(kind.letter())?)?;
    Some(Crash { point, kind })
}

/// Digits alone: `+7` is a number to the standard library and none here.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_comes_back_from_its_text() {
        for text in ["7:12p,40h", "0:", "18446744073709551615:0s,0c"] {
            assert_eq!(text.parse::<Script>().map(|script| script.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn what_is_no_script_is_refused() {
        for text in ["", "7", "7:12", "7:p", ":12p", "7:12p,", "7:12P", "+7:12p", "7:+1p", "7:12p 40h", "18446744073709551616:", "7:1é"] {
            assert!(text.parse::<Script>().is_err(), "{text:?}");
        }
    }
}
