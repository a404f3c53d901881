//! What must never happen, noticed by the world itself while it happens.
//!
//! Apart from the rules that refuse: a refusal is an answer, damage is a fact that stays. A crash test asks for it at the end
//! and wants none. Not here: what the final world should look like (`fingerprint`).

use std::fmt;
use std::path::PathBuf;

use crate::ids::{Ctid, Incarnation, Step, StepId, Target};
use crate::plan::Reason;

/// Something that broke the rules and that no later step puts right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A volume was attached before the container's id map existed.
    AttachedWithoutMap {
        /// The container.
        ctid: Ctid,
        /// Where inside.
        at: Target,
    },
    /// A directory was attached whose owner is not the one wanted, as seen from inside.
    WrongOwner {
        /// The container.
        ctid: Ctid,
        /// The directory of the host.
        path: PathBuf,
        /// Its owner on the host.
        uid: u32,
        /// Its group on the host.
        gid: u32,
    },
    /// Two operations that change one container were under way at once.
    TwoMutators {
        /// The container.
        ctid: Ctid,
        /// The one that was there.
        first: StepId,
        /// The one that came.
        second: StepId,
    },
    /// A clone source was started between its hold and its release, or while it was copied.
    StartedWhileHeld {
        /// The source.
        ctid: Ctid,
    },
    /// A clone source that was held by a snapshot, so as to go on running, was stopped.
    StoppedWhileHeld {
        /// The source.
        ctid: Ctid,
    },
    /// A container without our mark was changed.
    Trespass {
        /// The container.
        ctid: Ctid,
        /// By what.
        step: StepId,
    },
    /// Autostart was switched on before every volume was attached: a host that comes back starts half of a container.
    AutostartTooEarly {
        /// The container.
        ctid: Ctid,
    },
    /// A script was started while another start of it was still running.
    ScriptTwiceAtOnce {
        /// The container.
        ctid: Ctid,
        /// The script's step.
        step: Step,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AttachedWithoutMap { ctid, at } => write!(f, "{ctid}: {at} was attached before the id map existed"),
            Self::WrongOwner { ctid, path, uid, gid } => {
                write!(f, "{ctid}: {} was attached while it belonged to {uid}:{gid}", path.display())
            }
            Self::TwoMutators { ctid, first, second } => write!(f, "{ctid}: {second} began while {first} was under way"),
            Self::StartedWhileHeld { ctid } => write!(f, "{ctid}: started while it was held as a clone source"),
            Self::StoppedWhileHeld { ctid } => write!(f, "{ctid}: stopped while it was held by a snapshot"),
            Self::Trespass { ctid, step } => write!(f, "{ctid}: {step} changed a container that is not ours"),
            Self::AutostartTooEarly { ctid } => write!(f, "{ctid}: autostart was switched on before its volumes were attached"),
            Self::ScriptTwiceAtOnce { ctid, step } => write!(f, "{ctid}: {} was started while it was running", step.clone().id()),
        }
    }
}

/// One start of a script inside a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptStart {
    /// The container.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// The script's step.
    pub step: Step,
    /// The how-many-th intent.
    pub attempt: u32,
    /// The reason that the intent gives.
    pub reason: Reason,
    /// What had become of the start before, in this incarnation.
    pub before: Before,
    /// What became of this one.
    pub end: ScriptEnd,
}

impl ScriptStart {
    /// Whether the promise about scripts explains this start: the first one, or one after a start that left no result, or
    /// a failure, or one that a person asked for.
    pub fn is_explained(&self) -> bool {
        match self.before {
            Before::Never => true,
            Before::Ended(ScriptEnd::Failed | ScriptEnd::Cut) => self.reason != Reason::First,
            Before::Ended(ScriptEnd::Succeeded) => self.reason == Reason::Asked,
            Before::Ended(ScriptEnd::Running) => false,
        }
    }
}

/// What had become of a script before it was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// It had not been started.
    Never,
    /// Its last start came to this.
    Ended(ScriptEnd),
}

/// What became of one start of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// It is under way.
    Running,
    /// It left a result: exit status 0.
    Succeeded,
    /// It left a result: another exit status, or its deadline.
    Failed,
    /// It was killed and left no result.
    Cut,
}
