//! What a step does to the host, as data: decided before the intent is recorded, carried out exactly as recorded.
//!
//! Apart from the steps' names because an effect holds facts (an id map, an init, a device) that earlier steps brought.
//! Not here: how a host does it.

use std::sync::Arc;

use phoenix_journal::{Digest, Epoch, JournalId, Seq};

use crate::ids::{BootId, Ctid, FleetName, Generation, IdMap, Incarnation, Moment, RunId, State, Step, StepId, Token};
use crate::manifest::{Mount, Origin, Spec, Volume};

/// One attempt at one step, as the journal holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The run that asks for it.
    pub run: RunId,
    /// The container.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// Which spec.
    pub generation: Generation,
    /// The state the container is in while this is done; an intent never changes it.
    pub state: State,
    /// The step, or its repair.
    pub step: StepId,
    /// The how-many-th intent of this step in this incarnation, from 1; counted before acting.
    pub attempt: u32,
    /// Why this attempt is made.
    pub reason: Reason,
    /// When it must have ended.
    pub deadline: Moment,
    /// The mark its children bear.
    pub token: Token,
    /// What is done.
    pub action: Action,
}

/// An intent together with what it refers to: everything a host needs to carry it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// What is recorded before it is done.
    pub intent: Intent,
    /// What the container is to be; the journal keeps it once per generation.
    pub spec: Arc<Spec>,
    /// The mark that makes the container ours.
    pub mark: Mark,
    /// The incarnations of that container that the journal declared before.
    pub former: Vec<Incarnation>,
}

/// An intent without outcome, found in the journal after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// Where the intent stands in the journal; names the results that its shim may have left.
    pub seq: Seq,
    /// The epoch in which it was written.
    pub epoch: Epoch,
    /// What may or may not have been done.
    pub effect: Effect,
}

impl Effect {
    /// The containers whose locks must be held while this is carried out, in the order they are taken. A clone has its source's
    /// as well; the repair of one takes away what was begun of the copy, and leaves the source alone.
    pub fn locks(&self) -> Vec<Ctid> {
        let mut ctids = vec![self.intent.ctid];
        if let (Step::DefineClone, false, Origin::Clone { source }) = (&self.intent.step.step, self.intent.step.repair, &self.spec.origin) {
            ctids.push(*source);
        }
        ctids.sort_unstable();
        ctids
    }
}

/// What is done to the host. The spec in the [`Effect`] says what the container is to be; here is what the spec cannot know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Fetch the template that the spec names into the host's store.
    FetchTemplate,
    /// Build the container from its template; the archive must have this digest.
    Create {
        /// BLAKE3 of the archive as planned; `None` where the host names templates itself.
        template: Option<Digest>,
    },
    /// Build the container as a copy of `source`, which is held.
    Clone {
        /// The container copied.
        source: Ctid,
        /// Which physical container that is.
        incarnation: Incarnation,
        /// What of it is copied, as it is held.
        from: CopyFrom,
    },
    /// See, and where needed write, the identity mark.
    Mark,
    /// Keep a clone source as it is; it has been up as `init`, if it was.
    Hold {
        /// The init that was recorded: to be stopped, or to go on.
        init: Option<Init>,
        /// In which of the two ways.
        by: HoldBy,
    },
    /// Let a clone source go: the snapshot it was held by, if there is one, is deleted. Changes nothing on hosts that know
    /// neither snapshots nor source locks.
    Release,
    /// Bring the configuration to the spec, mounts and autostart apart.
    Configure,
    /// Make the container's own section of the host's firewall what the spec says.
    SetFirewall,
    /// Start the container.
    Start {
        /// First start, or regular operation.
        purpose: StartPurpose,
        /// The id map that must be found: the planned one at the first start, the recorded one later.
        idmap: IdMap,
        /// The directories that must still be the ones prepared.
        sources: Vec<Source>,
    },
    /// Read the id map of the running init and compare it with the plan.
    ReadIdmap {
        /// The init that was started.
        init: Init,
    },
    /// Stop the container.
    Stop {
        /// The init to be stopped, as far as it is known.
        init: Option<Init>,
    },
    /// Take the snapshot [`SNAPSHOT_BEFORE_VOLUMES`] of the container, which is down.
    TakeSnapshot,
    /// Give a directory to the owner that `idmap` says.
    Prepare {
        /// The volume.
        volume: Volume,
        /// The map taken as evidence by the finalize step.
        idmap: IdMap,
    },
    /// Attach a prepared directory.
    Attach {
        /// Volume and target.
        mount: Mount,
        /// The directory that was prepared.
        source: Source,
        /// The map taken as evidence by the finalize step.
        idmap: IdMap,
    },
    /// Take an attached directory off.
    Detach {
        /// What was attached.
        mount: Mount,
    },
    /// Wait until the container is ready.
    AwaitReady {
        /// The init that was started.
        init: Init,
    },
    /// Run the script that the step names.
    RunScript {
        /// The init that was started.
        init: Init,
    },
    /// Ask the health check that the step names.
    AskHealth {
        /// The init that was started.
        init: Init,
    },
    /// Set autostart as the spec says.
    SetAutostart,
    /// Destroy the container; shared directories stay.
    Destroy,
    /// Put right what a partial step left, so that the step can be taken again.
    Repair {
        /// What was found, in the host's words.
        leftover: String,
    },
}

/// The storage that Proxmox takes for a template's root file system if none is named.
pub const STORAGE_DEFAULT: &str = "local";

/// The name of the snapshot that `snapshot.take` takes.
pub const SNAPSHOT_BEFORE_VOLUMES: &str = "before-volumes";

/// The name of the snapshot that a clone source is held by.
pub const SNAPSHOT_FOR_CLONES: &str = "phoenix-clone";

/// How a clone source is kept as it is while it is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HoldBy {
    /// It is stopped, and started again by its own steps once it is let go.
    #[default]
    Stop,
    /// A snapshot of it is copied, [`SNAPSHOT_FOR_CLONES`]; it goes on running.
    Snapshot,
}

impl HoldBy {
    /// Its name in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Snapshot => "snapshot",
        }
    }

    /// What is copied of a source that is held in this way.
    pub fn copied(self) -> CopyFrom {
        match self {
            Self::Stop => CopyFrom::Current,
            Self::Snapshot => CopyFrom::Snapshot,
        }
    }
}

/// What of a clone source is copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CopyFrom {
    /// The container as it lies there; it is down.
    #[default]
    Current,
    /// Its snapshot [`SNAPSHOT_FOR_CLONES`].
    Snapshot,
}

/// What a container is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPurpose {
    /// So that the id map exists.
    Finalize,
    /// To run.
    Run,
}

/// The first process of a running container, told apart from all others that ever bore its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Init {
    /// The boot it belongs to.
    pub boot: BootId,
    /// Its process id on the host.
    pub pid: u32,
    /// Its start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start_ticks: u64,
}

/// A directory of the host, told apart from another at the same path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The volume it belongs to.
    pub volume: crate::ids::VolumeName,
    /// Where it is.
    pub path: std::path::PathBuf,
    /// Which file system it is on; 0 if that has no number that survives a boot.
    pub device: u64,
    /// Its inode number.
    pub inode: u64,
}

/// How a volume was attached, as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Volume and directory.
    pub source: Source,
    /// Where inside.
    pub at: crate::ids::Target,
    /// Bind mount or id-mapped mount, in the host's words (`bind`, `bind+idmap`).
    pub mechanism: String,
    /// Whether the container may only read.
    pub read_only: bool,
}

/// What Phoenix leaves on a container so that it can tell its own from a stranger's. Written once per incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The journal that owns it.
    pub journal: JournalId,
    /// The fleet.
    pub fleet: FleetName,
    /// The container; a mark for another one (a clone brings its source's) counts as none.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// The epoch in which it was written.
    pub epoch: Epoch,
}

impl Mark {
    /// Whether a container that bears `found` is the one that this mark means; the epoch of writing does not matter.
    pub fn owns(&self, found: &Self) -> bool {
        self.journal == found.journal && self.ctid == found.ctid && self.incarnation == found.incarnation
    }

    /// What shows that `found` was written for the same container by a journal of which ours is an older copy, so that it is no
    /// stranger's: an incarnation that ours never declared (neither this mark's nor one of the `former`), or an epoch that comes
    /// after this mark's. The epoch alone would not do: an older copy counts on from where it was, and comes to the same numbers.
    pub fn outlived_by(&self, found: &Self, former: &[Incarnation]) -> Option<String> {
        let Self { journal, fleet: _, ctid, incarnation, epoch } = found;
        if self.journal != *journal || self.ctid != *ctid || phoenix_journal::sabotaged("older_journals_are_not_noticed") {
            return None;
        }
        if self.incarnation != *incarnation && !former.contains(incarnation) {
            return Some(format!("the mark of container {ctid} names incarnation {incarnation}, which this journal never declared"));
        }
        (self.epoch < *epoch)
            .then(|| format!("the mark of container {ctid} was written in epoch {epoch}, and this journal only knows up to {}", self.epoch))
    }
}

/// Why an attempt is made; each start of a script is journaled with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The step has not been taken in this incarnation.
    First,
    /// The attempt before failed, and the budget allows another.
    Retry {
        /// What failed, in one line.
        after: String,
    },
    /// The attempt before was cut off and found not to have happened, or to have been put right.
    Interrupted,
    /// What the step achieved is gone (its init ended, or a claim no longer holds).
    Lost,
    /// A person asked for it.
    Asked,
}
