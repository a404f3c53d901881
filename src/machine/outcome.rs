//! What became of a step, and what the host showed for it.
//!
//! These are reports: plain data, freely made, proving nothing. Proof is what [`super::evidence`] mints from an outcome that
//! the journal has recorded.

use phoenix_journal::{Digest, Seq};

use crate::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, Step, StepId, Wall};
use crate::plan::{Attachment, HoldBy, Init, Intent, Source};

use super::standing::{Standing, Wait};

/// The record that closes an intent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The run that learned it.
    pub run: RunId,
    /// The container.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// Which spec.
    pub generation: Generation,
    /// The intent that this closes.
    pub intent: Seq,
    /// The intent's step.
    pub step: StepId,
    /// The intent's attempt.
    pub attempt: u32,
    /// What became of it.
    pub result: StepResult,
    /// Whether it was found by looking after a crash, rather than reported by whoever did it.
    pub recovered: bool,
    /// What the step's child wrote, if there was one.
    pub output: Option<Output>,
    /// The state after it.
    pub state: State,
    /// The standing after it.
    pub standing: Standing,
    /// When it was learned.
    pub at: Wall,
}

impl Outcome {
    /// The record for `intent`, which leaves state and standing as they were.
    pub fn of(intent: &Intent, seq: Seq, result: StepResult, at: Wall) -> Self {
        Self {
            run: intent.run,
            ctid: intent.ctid,
            incarnation: intent.incarnation,
            generation: intent.generation,
            intent: seq,
            step: intent.step.clone(),
            attempt: intent.attempt,
            result,
            recovered: false,
            output: None,
            state: intent.state,
            standing: Standing::Active,
            at,
        }
    }
}

/// What became of a step; also the verdict of a probe on a step in doubt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepResult {
    /// It holds.
    Done(Evidence),
    /// It was carried out and did not succeed.
    Failed(Failure),
    /// It did not happen; it can be taken again as if never begun.
    Absent,
    /// It happened in part; its repair comes first.
    Partial {
        /// What was found, in the host's words.
        leftover: String,
    },
    /// Something that is not ours lies where the step acts.
    Foreign {
        /// Whose it seems to be.
        owner: String,
    },
    /// The container was removed by others.
    Gone,
    /// The host could not tell.
    Unknown {
        /// Why not.
        why: String,
    },
    /// A script was started and has neither result nor living process.
    Interrupted,
}

impl StepResult {
    /// Whether a crash cut `step` off: found by looking (`recovered`), what it rested on went with the crash. Says nothing about the
    /// step, and so does not use up its budget. Of a script only its own result or its absence can tell that.
    pub fn lost_init_in_crash(&self, step: &StepId, recovered: bool) -> bool {
        let init_lost = matches!(self, Self::Failed(Failure { class: FailureClass::InitLost, .. }));
        recovered && init_lost && !step.step.is_script()
    }

    /// The result's name in the journal.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Done(_) => "done",
            Self::Failed(_) => "failed",
            Self::Absent => "absent",
            Self::Partial { .. } => "partial",
            Self::Foreign { .. } => "foreign",
            Self::Gone => "gone",
            Self::Unknown { .. } => "unknown",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a host reports when it has carried out or probed a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What became of it.
    pub result: StepResult,
    /// What the child wrote, if there was one.
    pub output: Option<Output>,
}

impl Report {
    /// A report without output.
    pub fn bare(result: StepResult) -> Self {
        Self { result, output: None }
    }
}

/// What a child wrote, bounded: the beginning and the end where it was too much. Secrets are blotted out already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// BLAKE3 of the kept bytes; the journal keeps them under it.
    pub digest: Digest,
    /// The kept bytes; `None` once read back from a journal.
    pub kept: Option<Vec<u8>>,
    /// How many bytes were written in all.
    pub bytes_written: u64,
}

/// What the world showed, by kind of step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// `template.fetch`: the host's store has the template, whole.
    Fetched,
    /// `define.create`: the container is there, marked and whole.
    Created {
        /// Device nodes and other entries of the archive that were left out.
        left_out: u32,
    },
    /// `define.clone`: the copy is there, marked and whole.
    Cloned {
        /// The container copied.
        source: Ctid,
        /// Which physical container that was.
        incarnation: Incarnation,
        /// Shared mounts of the source that came along; zero, or the journal refuses it.
        shared_mounts: u32,
    },
    /// `define.mark`: the mark was read and is ours.
    Marked,
    /// `clone.hold`: the source is down, or its snapshot is there, whole.
    Held {
        /// Which of the two.
        by: HoldBy,
    },
    /// `clone.release`: the source may be started, and nothing is left of a snapshot it was held by.
    Released,
    /// `configure.set`: the parsed configuration equals the spec.
    Configured {
        /// What the host cannot enforce, one phrase each (`disk_gb on a directory`).
        unenforced: Vec<String>,
    },
    /// `firewall.set`: the host's firewall says of the container what the spec says.
    FirewallSet,
    /// `finalize.start`, `run.start`: up, with this map read from the kernel.
    Started {
        /// The init.
        init: Init,
        /// `/proc/INIT/uid_map` and `gid_map`.
        idmap: IdMap,
    },
    /// `finalize.idmap`: the kernel's map, equal to the configured one.
    Idmap {
        /// The init it was read from.
        init: Init,
        /// The map.
        idmap: IdMap,
    },
    /// `finalize.stop`, `down.stop`: down.
    Stopped,
    /// `snapshot.take`: the snapshot is there, whole.
    Snapshot {
        /// Its name on the host.
        name: String,
    },
    /// `volume.prepare`: the directory is there with the right owner.
    Prepared(Prepared),
    /// `volume.attach`: the configuration attaches it.
    Attached(Attachment),
    /// `volume.detach`: the configuration does not attach it.
    Detached,
    /// `run.ready`: the question was answered yes.
    Ready {
        /// The init.
        init: Init,
        /// What the answer rested on, in one phrase.
        basis: String,
    },
    /// `feature.apply`, `application.run`: the script ended with exit status 0.
    Ran {
        /// BLAKE3 of the script.
        script: Digest,
        /// Wall times of start and end.
        started: Wall,
        /// See `started`.
        ended: Wall,
        /// Whether a person's word stands in for the exit status (`retry --skip`).
        skipped: bool,
    },
    /// `health.check`: healthy.
    Healthy {
        /// How often it was asked.
        asked: u32,
    },
    /// `autostart.set`: as the spec says.
    AutostartSet {
        /// Whether the host starts the container at boot.
        enabled: bool,
    },
    /// `down.destroy`: nothing of the container is left.
    Destroyed,
    /// `<step>.repair`: what was left is gone.
    Repaired,
}

impl Evidence {
    /// Whether this is what a success of `step` shows.
    pub fn is_of(&self, step: &StepId) -> bool {
        if step.repair || *self == Self::Repaired {
            return step.repair && *self == Self::Repaired;
        }
        match &step.step {
            Step::TemplateFetch => matches!(self, Self::Fetched),
            Step::DefineCreate => matches!(self, Self::Created { .. }),
            Step::DefineClone => matches!(self, Self::Cloned { .. }),
            Step::DefineMark => matches!(self, Self::Marked),
            Step::CloneHold => matches!(self, Self::Held { .. }),
            Step::CloneRelease => matches!(self, Self::Released),
            Step::ConfigureSet => matches!(self, Self::Configured { .. }),
            Step::FirewallSet => matches!(self, Self::FirewallSet),
            Step::FinalizeStart | Step::RunStart => matches!(self, Self::Started { .. }),
            Step::FinalizeIdmap => matches!(self, Self::Idmap { .. }),
            Step::FinalizeStop | Step::DownStop => matches!(self, Self::Stopped),
            Step::SnapshotTake => matches!(self, Self::Snapshot { .. }),
            Step::VolumePrepare(name) => matches!(self, Self::Prepared(prepared) if prepared.source.volume == *name),
            Step::VolumeAttach(target) => matches!(self, Self::Attached(attachment) if attachment.at == *target),
            Step::VolumeDetach(_) => matches!(self, Self::Detached),
            Step::RunReady => matches!(self, Self::Ready { .. }),
            Step::FeatureApply(_) | Step::ApplicationRun => matches!(self, Self::Ran { .. }),
            Step::HealthCheck(_) => matches!(self, Self::Healthy { .. }),
            Step::AutostartSet => matches!(self, Self::AutostartSet { .. }),
            Step::DownDestroy => matches!(self, Self::Destroyed),
        }
    }
}

/// A directory that was given its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The directory.
    pub source: Source,
    /// Its owner on the host.
    pub host_uid: u32,
    /// Its group on the host.
    pub host_gid: u32,
    /// Owner, group and mode as they were before the first change.
    pub former: Option<(u32, u32, u32)>,
    /// Files left alone by a recursive change because they have several links, at most 20 names.
    pub left_alone: Vec<String>,
}

/// Why a step did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What it means for the next attempt.
    pub class: FailureClass,
    /// What happened and what to do, in one or two sentences.
    pub message: String,
    /// The command that failed, as an operator could type it; no secrets.
    pub command: Option<String>,
    /// Its exit status, `exit 3` or `signal 9`.
    pub status: Option<String>,
    /// The last lines it wrote.
    pub tail: String,
}

impl Failure {
    /// A failure that no command stands behind.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), command: None, status: None, tail: String::new() }
    }

    /// Whether the script of `step` was not even begun: one that ran has an exit status, a signal, or a deadline that passed. Says
    /// nothing about the script, and so does not use up its budget.
    pub fn is_of_no_start(&self, step: &StepId) -> bool {
        let unaware = phoenix_journal::sabotaged("scripts_pay_for_what_was_not_begun");
        !unaware && step.step.is_script() && self.class == FailureClass::Transient && self.status.is_none()
    }
}

/// What a failure means for the next attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// May pass by itself: tried again after a wait.
    Transient,
    /// The deadline passed and everything that belonged to the step was ended.
    Timeout,
    /// Trying again as things are would fail again.
    Permanent,
    /// The recorded init is no longer there: the step that started it comes first.
    InitLost,
    /// A claim of the journal does not hold.
    Drift {
        /// What the journal says.
        claim: String,
        /// What was found.
        found: String,
    },
    /// Something this run cannot bring is missing.
    Wait(Wait),
    /// The container bears no mark of ours.
    MarkMissing,
    /// Processes of the step could not be ended.
    Undead,
    /// The host shows work that the journal does not know: it is an older copy.
    JournalOlder,
}
