//! What the host looks like, gathered in one pass and without changing anything.
//!
//! Apart from evidence: an observation is free to be wrong a moment later, evidence stands in the journal. Not here: how it
//! is gathered.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ids::{BootId, Ctid, IdMap, Target};

use super::effect::{Init, Mark};

/// One look at the whole host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observation {
    /// The boot in which it was made.
    pub boot: BootId,
    /// What is there; a container that was asked for and does not stand here is absent.
    pub containers: BTreeMap<Ctid, Seen>,
}

/// One container as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Whole, or what a cut-off operation left.
    pub presence: Presence,
    /// Its identity mark, if it bears one that can be read.
    pub mark: Option<Mark>,
    /// Its init, if it is up.
    pub init: Option<Init>,
    /// What its configuration says, if it can be read.
    pub config: Option<ConfigSeen>,
    /// Whether a snapshot of it can be taken and copied while it goes on running: as a clone source it need not be stopped then.
    pub copies_live: bool,
}

/// Whether a container is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Configuration and root file system are there.
    Whole,
    /// Something is there that is not a whole container; in the host's words.
    HalfMade(String),
}

/// What a configuration says, as far as claims are made about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSeen {
    /// Host name.
    pub hostname: Option<String>,
    /// The id map it asks for; `None` for a privileged container or where the host keeps it elsewhere.
    pub idmap: Option<IdMap>,
    /// Attached directories by target.
    pub mounts: BTreeMap<Target, MountSeen>,
    /// Whether the host starts it at boot.
    pub autostart: bool,
}

/// One attached directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountSeen {
    /// The directory of the host.
    pub source: PathBuf,
    /// Whether the container may only read.
    pub read_only: bool,
}
