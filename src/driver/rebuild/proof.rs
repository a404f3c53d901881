//! What is known of one script whose journal is lost.
//!
//! Pure. A result on the host outweighs every note inside, and a success stays one whatever came after. Not here: what is done
//! about it.

use phoenix_journal::Digest;

use crate::ids::{Step, Wall};
use crate::manifest::Script;
use crate::plan::{Trace, Trail};

/// What is known of one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A result on the host says that this very script succeeded.
    Result {
        /// Wall times of start and end.
        started: Wall,
        /// See `started`.
        ended: Wall,
    },
    /// A note inside says so.
    Note,
    /// A script with another text succeeded.
    Other {
        /// Its digest.
        script: Digest,
    },
    /// It was begun and left no result.
    Begun {
        /// Whether processes of it are alive.
        alive: bool,
    },
    /// Every result of it is a failure.
    Failed,
    /// Nothing.
    Unknown,
}

impl Proof {
    /// Weighs the traces of one step.
    pub(super) fn of(step: &Step, script: &Script, traces: &[Trace]) -> Self {
        let trails = || traces.iter().filter(|trace| trace.step == *step).map(|trace| &trace.trail);
        let by_result = trails().filter_map(|trail| match trail {
            Trail::Result { script: found, succeeded: true, started, ended } if *found == script.digest => {
                Some(Self::Result { started: *started, ended: *ended })
            }
            Trail::Result { script, succeeded: true, .. } => Some(Self::Other { script: *script }),
            Trail::Result { succeeded: false, .. } => Some(Self::Failed),
            Trail::Begun { .. } | Trail::Note { .. } => None,
        });
        let begun = trails().find_map(|trail| match trail {
            Trail::Begun { alive } => Some(Self::Begun { alive: *alive }),
            Trail::Result { .. } | Trail::Note { .. } => None,
        });
        let by_note = trails().find_map(|trail| match trail {
            Trail::Note { script: found } if *found == script.digest => Some(Self::Note),
            Trail::Note { script } => Some(Self::Other { script: *script }),
            Trail::Result { .. } | Trail::Begun { .. } => None,
        });
        // The strongest result, the newest where two are alike. A success stays one, whatever was begun after it; after a
        // failure, what was begun since is the news.
        match (by_result.reduce(|best, next| if next.weight() >= best.weight() { next } else { best }), begun, by_note) {
            (Some(success @ (Self::Result { .. } | Self::Other { .. })), _, _) => success,
            (_, Some(begun), None) | (Some(_), Some(begun), _) => begun,
            (Some(failure), None, _) => failure,
            (None, _, Some(note)) => note,
            (None, None, None) => Self::Unknown,
        }
    }

    /// Whether it counts as done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Result { .. } | Self::Note)
    }

    /// The word for it, in tables and in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Result { .. } => "result",
            Self::Note => "note",
            Self::Other { .. } => "another script",
            Self::Begun { .. } => "begun",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    fn weight(&self) -> u8 {
        match self {
            Self::Result { .. } => 2,
            Self::Other { .. } => 1,
            Self::Note | Self::Begun { .. } | Self::Failed | Self::Unknown => 0,
        }
    }
}
