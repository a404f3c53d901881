//! The states of a container, by name.
//!
//! Here is only the word, for journals, tables and messages; the typed machine that enforces the order is `machine`.

use std::fmt;
use std::str::FromStr;

/// Where a container stands on its way from the manifest to running services.
///
/// ```text
/// Declared -> Defined -> Configured -> Finalized -> Volumed -> Running -> Featured -> Done
///    ^                                                 ^          |          |         |
///    |                                                 +----------+----------+---------+  init gone, or clone.hold
///    +--- from any: destroyed, or seen to be absent on a person's command (a new incarnation follows)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// In the manifest; nothing on the host.
    Declared,
    /// Created and marked as ours.
    Defined,
    /// Configured as the spec says.
    Configured,
    /// Started and stopped once; its id map is known.
    Finalized,
    /// Shared volumes attached.
    Volumed,
    /// Started for regular operation, and ready.
    Running,
    /// Every feature applied.
    Featured,
    /// Application run, healthy, autostart set.
    Done,
}

impl State {
    /// All states, in order.
    pub const ALL: [Self; 8] =
        [Self::Declared, Self::Defined, Self::Configured, Self::Finalized, Self::Volumed, Self::Running, Self::Featured, Self::Done];

    /// The state's name in the journal, in JSON and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Defined => "defined",
            Self::Configured => "configured",
            Self::Finalized => "finalized",
            Self::Volumed => "volumed",
            Self::Running => "running",
            Self::Featured => "featured",
            Self::Done => "done",
        }
    }

    /// The state that the forward edge leads to; `None` from `Done`.
    pub fn next(self) -> Option<Self> {
        let place = Self::ALL.iter().position(|&state| state == self)?;
        Self::ALL.get(place + 1).copied()
    }

    /// Whether an edge leads from this state to `to`: the neighbour, a fall back to `Volumed`, or the way back to `Declared`.
    pub fn leads_to(self, to: Self) -> bool {
        let falls_back = to == Self::Volumed && matches!(self, Self::Running | Self::Featured | Self::Done);
        let starts_anew = to == Self::Declared && self != Self::Declared;
        self.next() == Some(to) || falls_back || starts_anew
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why a text is no [`State`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no state; states are declared, defined, configured, finalized, volumed, running, featured, done")]
pub struct StateError {
    given: String,
}

impl FromStr for State {
    type Err = StateError;

    fn from_str(text: &str) -> Result<Self, StateError> {
        Self::ALL.into_iter().find(|state| state.name() == text).ok_or_else(|| StateError { given: text.chars().take(64).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row: from; column: to; in the order of `State::ALL`. The same table stands in the journal's `machine_edges`.
    const EDGES: [&str; 8] = [
        ".x......", // Declared
        "x.x.....", // Defined
        "x..x....", // Configured
        "x...x...", // Finalized
        "x....x..", // Volumed
        "x...x.x.", // Running
        "x...x..x", // Featured
        "x...x...", // Done
    ];

    #[test]
    fn the_edges_are_those_of_the_diagram() {
        for (from, row) in State::ALL.into_iter().zip(EDGES) {
            for (to, cell) in State::ALL.into_iter().zip(row.chars()) {
                assert_eq!(from.leads_to(to), cell == 'x', "{from} -> {to}");
            }
        }
    }

    #[test]
    fn states_come_back_from_their_names() {
        for state in State::ALL {
            assert_eq!(state.name().parse(), Ok(state));
        }
        assert!("Done".parse::<State>().is_err());
    }
}
