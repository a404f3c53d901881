//! What scripts left behind, read when the journal that knew of them is lost.
//!
//! Apart from observations because it is asked for once in a journal's life, and because a part of it (notes) is the
//! container's to forge. Not here: what it proves.

use phoenix_journal::{Digest, Epoch};

use crate::ids::{Step, Wall};

/// All that is left of one incarnation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// The highest epoch in which a shim worked on it, as far as anything says; 0 if nothing does. Of steps that are no scripts
    /// that is known in the same boot alone.
    pub epoch: Epoch,
    /// Every trace of a script, the oldest first as far as that is known.
    pub scripts: Vec<Trace>,
    /// What of the configuration is not as the spec says, in the host's words; nothing if all of it is.
    pub unlike: Option<String>,
}

/// One trace of one script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The script's step.
    pub step: Step,
    /// The epoch in which it was left; 0 where the trace does not say.
    pub epoch: Epoch,
    /// What it is.
    pub trail: Trail,
}

/// The kinds of traces, from the strongest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trail {
    /// A result on the host's disk.
    Result {
        /// BLAKE3 of the script that was run.
        script: Digest,
        /// Whether it ended with exit status 0.
        succeeded: bool,
        /// Wall times of start and end.
        started: Wall,
        /// See `started`.
        ended: Wall,
    },
    /// A shim on the host began it and left no result.
    Begun {
        /// Whether processes of it are alive still.
        alive: bool,
    },
    /// A note inside, for this number and incarnation, says that it succeeded.
    Note {
        /// BLAKE3 of the script, by the note.
        script: Digest,
    },
}
