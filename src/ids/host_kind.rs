//! The kinds of hosts, by name.
//!
//! Here is only the word, for manifests, journals and the command line; what a kind can do is `host`.

use std::fmt;
use std::str::FromStr;

/// A backend: what runs the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HostKind {
    /// Plain LXC.
    Lxc,
    /// Proxmox VE.
    Pct,
    /// The simulator.
    Sim,
}

impl HostKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Lxc, Self::Pct, Self::Sim];

    /// Its name on the command line and in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Pct => "pct",
            Self::Sim => "sim",
        }
    }
}

impl fmt::Display for HostKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for HostKind {
    type Err = HostKindError;

    fn from_str(text: &str) -> Result<Self, HostKindError> {
        let known = Self::ALL.into_iter().find(|kind| kind.name() == text);
        known.ok_or_else(|| HostKindError { given: text.chars().take(40).collect() })
    }
}

/// Why a text is no [`HostKind`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no kind of host; write lxc, pct or sim")]
pub struct HostKindError {
    given: String,
}
