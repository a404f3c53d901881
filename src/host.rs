//! What can be asked of a host that runs containers.
//!
//! A host carries out recorded effects and answers questions; it decides nothing. It never touches what does not bear the
//! effect's mark. No method has a default body: a host that cannot do something says so in the report. Not here: retries,
//! order, recovery (`engine`), and writing to the journal (`driver`).

pub mod doctor;
mod local;
pub mod lxc;
mod ownership;
pub mod pct;
pub mod sim;

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use phoenix_journal::{JournalId, Recorded};

use crate::ids::{Ctid, HostKind, Now};
use crate::machine::{Report, Wait};
use crate::manifest::Spec;
use crate::plan::{Doubt, Effect, Mark, Observation, Traces};
use crate::shim::Lock;

/// A backend. All methods may block; they are called from worker threads, several at once for different containers.
pub trait Host: Send + Sync {
    /// Which backend this is.
    fn kind(&self) -> HostKind;

    /// What a journal made here belongs to.
    fn territory(&self) -> Result<Territory, HostError>;

    /// Makes the host recognisable for `journal` (sentinel file, runtime directories). Called with the journal's lock held
    /// before a run's first effect; does nothing when it was done before.
    fn settle_in(&self, journal: &JournalId) -> Result<(), HostError>;

    /// What time it is: wall time, boot id and milliseconds since boot.
    fn now(&self) -> Result<Now, HostError>;

    /// Looks at the given containers in one pass, without changing anything and without a process per container. Fails if the
    /// host cannot prove that it is the one `journal` was made on (an unmounted directory must not look like an empty fleet).
    fn observe(&self, journal: Option<&JournalId>, ctids: &[Ctid]) -> Result<Observation, HostError>;

    /// Says what this host cannot do of what is wanted, all at once, by looking and without a process per container. An empty
    /// answer promises nothing. Asked before anything is recorded.
    fn vet(&self, wanted: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError>;

    /// Takes the locks of the given containers, in the order given, without waiting.
    fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError>;

    /// Allocates what carrying out `effect` will have to write, before its intent is recorded: a disk that is full must show
    /// now, when nothing has been begun ([`HostError::Full`]).
    fn allocate(&self, effect: &Effect, lease: &mut Lease) -> Result<(), HostError>;

    /// Carries out one recorded effect under its locks and reports after the effect is durable. Checks the mark first.
    /// Never panics on what it finds; what cannot be told is [`crate::machine::StepResult::Unknown`].
    fn carry_out(&self, effect: Recorded<Effect>, lease: Lease) -> Report;

    /// Finds out what became of an intent without outcome: waits for its shim and orphans within the old deadline, takes the
    /// result they left, else looks at the world. Changes nothing, except that it ends orphans whose deadline has passed.
    fn settle(&self, doubt: &Doubt, watch: &dyn Watch) -> Report;

    /// Reads what is left of the scripts of the container that `mark` means, and whether its configuration is what `spec` says:
    /// for whoever has lost the journal. Changes nothing. To be asked under the container's lock, once its mark has been seen.
    fn traces(&self, spec: &Spec, mark: &Mark) -> Result<Traces, HostError>;

    /// What lies beside the place of a container because making it or taking it away was cut off: for whoever has lost the
    /// journal, which alone knew whose it was. Nothing where such things lie at the container's own place, and are seen there.
    fn leftovers(&self, ctid: Ctid) -> Result<Vec<PathBuf>, HostError>;
}

/// Something that a host cannot do for a container as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Objection {
    /// The container.
    pub ctid: Ctid,
    /// What is in the way.
    pub what: String,
    /// What to do, a command where there is one.
    pub remedy: String,
}

/// Where a host says what it is waiting for.
pub trait Watch: Sync {
    /// The call is still waiting, for this.
    fn waiting(&self, wait: Wait);
}

/// What a journal belongs to: one kind of host, one node, one container directory on one file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Territory {
    /// The backend.
    pub kind: HostKind,
    /// `/etc/machine-id`, or the simulator's name.
    pub node: String,
    /// The container directory.
    pub directory: std::path::PathBuf,
    /// Which file system it is on; 0 if that has no number that survives a boot.
    pub device: u64,
}

impl Territory {
    /// Whether its file system may be the one that a journal names. Where it has no number of its own, earlier versions took its
    /// device's, which passes with the boot.
    pub fn is_on(&self, device: u64) -> bool {
        device == self.device || (self.device == 0 && ownership::is_device_number(device))
    }
}

/// The locks of one or two containers. Dropping it lets go of them, unless a shim holds them too.
#[derive(Debug)]
pub struct Lease {
    /// The locks, in the order they were taken; empty where locks are not files.
    pub locks: Vec<Lock>,
    /// Whatever else is to be kept until the effect is done.
    pub keep: Option<Box<dyn Any + Send>>,
}

impl Lease {
    /// The first lock whose file is not at its path any more, or cannot be looked at: it excludes nobody. To be asked just
    /// before acting: between locking and acting a process can be stopped for as long as it takes others to clear the
    /// directory and to take over.
    pub fn displaced(&self) -> Option<&Lock> {
        let believed = phoenix_journal::sabotaged("locks_are_not_looked_at_again");
        self.locks.iter().find(|lock| !believed && !lock.is_in_place().unwrap_or(false))
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody holds it.
    #[error("container {ctid} is locked by process {} ({})", holder_pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string()), holder_command)]
    Busy {
        /// The container.
        ctid: Ctid,
        /// The process, if it could be found.
        holder_pid: Option<u32>,
        /// Its command, or what is known of it.
        holder_command: String,
    },
    /// Locks cannot be taken here.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Why a host cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A program or file of the host is missing or does not work.
    #[error("{what}; {remedy}")]
    Unusable {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// The host is not the one the journal was made on.
    #[error("this is not the host the journal belongs to: {what}; {remedy}")]
    NotOurs {
        /// What differs.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// There is no space for the results of the step; it was not begun.
    #[error("no space left for {}; free some, then `phoenix resume`", path.display())]
    Full {
        /// The file that found none.
        path: std::path::PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot {what}")]
    Io {
        /// What was tried, as `read /etc/machine-id`.
        what: String,
        /// The operating system's word.
        #[source]
        source: std::io::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_that_names_a_devices_number_still_belongs_where_file_systems_have_no_other() {
        let on = |device| Territory { kind: HostKind::Lxc, node: "n".to_owned(), directory: "/var/lib/lxc".into(), device };
        assert!(on(0).is_on(0) && on(0).is_on(0xfd02) && !on(0).is_on(0x8f1d_22c4_9a01_0801));
        assert!(on(0x8f1d_22c4_9a01_0801).is_on(0x8f1d_22c4_9a01_0801));
        assert!(!on(0x8f1d_22c4_9a01_0801).is_on(0xfd02), "a file system that has a number is known by it");
    }
}
