//! Standing: a second fact beside the state, independent of it.
//!
//! A container that failed is still `Volumed` or whatever it had reached; keeping the two apart is what lets a resumed run
//! go on from there.

use crate::ids::{Ctid, StepId, Wall};

use super::outcome::Failure;

/// Whether a container goes on, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It goes on, or is where it should be.
    Active,
    /// Something outside of it is missing.
    Waiting(Wait),
    /// A step used up its budget.
    Failed {
        /// The step.
        step: StepId,
        /// Its last failure.
        failure: Box<Failure>,
    },
    /// Not touched until a person decides.
    Quarantined(Quarantine),
}

impl Standing {
    /// The standing's name in the journal and in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Waiting(_) => "waiting",
            Self::Failed { .. } => "failed",
            Self::Quarantined(_) => "quarantined",
        }
    }

    /// All names, for the journal's table.
    pub const NAMES: [&'static str; 4] = ["active", "waiting", "failed", "quarantined"];
}

/// What a container waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// The kind of thing.
    pub kind: WaitKind,
    /// Its name: a path, a variable, a command.
    pub name: String,
    /// The container waited for, if it is one.
    pub ctid: Option<Ctid>,
    /// The process waited for, if it is one.
    pub pid: Option<u32>,
    /// Since when.
    pub since: Wall,
}

/// The kinds of things a container can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitKind {
    /// Another container of the fleet.
    Dependency,
    /// A lock that another process holds.
    Lock,
    /// A shared directory that is not there, or is another one (not mounted).
    Source,
    /// A secret that cannot be read.
    Secret,
}

impl WaitKind {
    /// The kind's name in the journal and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dependency => "dependency",
            Self::Lock => "lock",
            Self::Source => "source",
            Self::Secret => "secret",
        }
    }

    /// All kinds.
    pub const ALL: [Self; 4] = [Self::Dependency, Self::Lock, Self::Source, Self::Secret];
}

/// Why a container is not touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// The kind of reason; each has its ways out.
    pub reason: QuarantineReason,
    /// What was seen.
    pub evidence: String,
}

/// The kinds of reasons for which a container is not touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum QuarantineReason {
    /// Something that is not ours lies there.
    Foreign,
    /// It was removed by others.
    Gone,
    /// It bears no mark of ours.
    MarkMissing,
    /// Processes of a step could not be ended.
    Undead,
    /// A script was cut off, and the manifest asks for a person's decision.
    Interrupted,
    /// The host shows epochs the journal does not know: the journal is a restored copy.
    JournalOlder,
    /// A claim of the journal does not hold.
    Drift,
    /// Recovery was tried as often as it may be.
    Budget,
    /// The journal holds something this version cannot read.
    Undecodable,
}

impl QuarantineReason {
    /// The reason's name in the journal, in JSON and in the documents.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Gone => "gone",
            Self::MarkMissing => "mark_missing",
            Self::Undead => "undead",
            Self::Interrupted => "interrupted",
            Self::JournalOlder => "journal_older",
            Self::Drift => "drift",
            Self::Budget => "budget",
            Self::Undecodable => "undecodable",
        }
    }

    /// All reasons.
    pub const ALL: [Self; 9] = [
        Self::Foreign,
        Self::Gone,
        Self::MarkMissing,
        Self::Undead,
        Self::Interrupted,
        Self::JournalOlder,
        Self::Drift,
        Self::Budget,
        Self::Undecodable,
    ];
}
