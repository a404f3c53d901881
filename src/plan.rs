//! Wanted against observed: which steps a container needs, in which order, and what each of them does.
//!
//! Everything here is a value computed from a checked spec; no choice is left to run time. Not here: which step is due
//! now (that follows from what the journal holds, see `machine` and `engine`) and how a step is carried out (`host`).

mod effect;
mod observed;
mod steps;
mod traces;

pub use effect::{
    Action, Attachment, CopyFrom, Doubt, Effect, HoldBy, Init, Intent, Mark, Reason, SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES,
    STORAGE_DEFAULT, Source, StartPurpose,
};
pub use observed::{ConfigSeen, MountSeen, Observation, Presence, Seen};
pub use steps::{Repertoire, steps_into};
pub use traces::{Trace, Traces, Trail};
