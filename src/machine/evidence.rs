//! Evidence: what a transition needs, mintable from recorded outcomes alone.
//!
//! Every type here has private fields and one constructor, which takes a `&Recorded<Outcome>`. A `Recorded` comes from the
//! journal after its commit, so whoever holds a piece of evidence holds something that is durable. Not here: the reports that
//! hosts make (`outcome`), which anybody may invent.

use phoenix_journal::{Recorded, Seq};

use crate::ids::{Ctid, IdMap, Incarnation, Step, Target};
use crate::plan::{Attachment, Init};

use super::outcome::{Evidence, Outcome, StepResult};

/// Why an outcome is no evidence of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {seq} ({step}, {result}) is no evidence of {wanted}")]
pub struct NotEvidence {
    /// The outcome's place in the journal.
    pub seq: Seq,
    /// Its step.
    pub step: String,
    /// Its result.
    pub result: &'static str,
    /// What was to be shown by it.
    pub wanted: &'static str,
}

/// Which physical container a piece of evidence speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    ctid: Ctid,
    incarnation: Incarnation,
}

impl Subject {
    /// A container's number and incarnation.
    pub fn new(ctid: Ctid, incarnation: Incarnation) -> Self {
        Self { ctid, incarnation }
    }

    /// The number.
    pub fn ctid(&self) -> Ctid {
        self.ctid
    }

    /// The incarnation.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    fn of(outcome: &Outcome) -> Self {
        Self { ctid: outcome.ctid, incarnation: outcome.incarnation }
    }
}

macro_rules! evidence {
    ($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty),* }, $wanted:literal, $outcome:ident => $mint:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            subject: Subject,
            $($field: $type,)*
        }

        impl $name {
            /// Mints the evidence from a recorded outcome, if the outcome shows it.
            pub fn from_recorded(recorded: &Recorded<Outcome>) -> Result<Self, NotEvidence> {
                let $outcome = recorded.get();
                let minted: Option<Self> = if $outcome.step.repair { None } else { $mint(Subject::of($outcome), $outcome) };
                minted.ok_or_else(|| NotEvidence {
                    seq: recorded.seq(),
                    step: $outcome.step.to_string(),
                    result: $outcome.result.name(),
                    wanted: $wanted,
                })
            }

            /// Which physical container it speaks of.
            pub fn subject(&self) -> Subject {
                self.subject
            }
        }
    };
}

/// The evidence inside a successful outcome.
fn shown(outcome: &Outcome) -> Option<&Evidence> {
    match &outcome.result {
        StepResult::Done(evidence) => Some(evidence),
        StepResult::Failed(_)
        | StepResult::Absent
        | StepResult::Partial { .. }
        | StepResult::Foreign { .. }
        | StepResult::Gone
        | StepResult::Unknown { .. }
        | StepResult::Interrupted => None,
    }
}

evidence! {
    /// The container exists and bears our mark (`define.mark`).
    Identity {}, "the container's identity", outcome => |subject, outcome: &Outcome| {
        let marked = outcome.step.step == Step::DefineMark && shown(outcome) == Some(&Evidence::Marked);
        marked.then_some(Self { subject })
    }
}

evidence! {
    /// The parsed configuration equals the spec (`configure.set`).
    Configuration {}, "the container's configuration", outcome => |subject, outcome: &Outcome| {
        let set = outcome.step.step == Step::ConfigureSet && matches!(shown(outcome), Some(Evidence::Configured { .. }));
        set.then_some(Self { subject })
    }
}

evidence! {
    /// The host's firewall says of the container what the spec says (`firewall.set`).
    Firewalled {}, "the container's firewall", outcome => |subject, outcome: &Outcome| {
        let set = outcome.step.step == Step::FirewallSet && shown(outcome) == Some(&Evidence::FirewallSet);
        set.then_some(Self { subject })
    }
}

evidence! {
    /// The id map, read from the kernel while the container was up (`finalize.idmap`). The proof without which no volume can
    /// be attached.
    Finalization { idmap: IdMap, init: Init }, "the container's finalization", outcome => |subject, outcome: &Outcome| {
        match (&outcome.step.step, shown(outcome)) {
            (Step::FinalizeIdmap, Some(Evidence::Idmap { init, idmap })) => Some(Self { subject, idmap: idmap.clone(), init: init.clone() }),
            _ => None,
        }
    }
}

impl Finalization {
    /// The id map in force.
    pub fn idmap(&self) -> &IdMap {
        &self.idmap
    }

    /// The init it was read from.
    pub fn init(&self) -> &Init {
        &self.init
    }
}

evidence! {
    /// A snapshot to go back to, taken before the first volume is attached (`snapshot.take`).
    RestorePoint {}, "a snapshot before the volumes", outcome => |subject, outcome: &Outcome| {
        let taken = outcome.step.step == Step::SnapshotTake && matches!(shown(outcome), Some(Evidence::Snapshot { .. }));
        taken.then_some(Self { subject })
    }
}

evidence! {
    /// One volume attached (`volume.attach`).
    Attached { attachment: Attachment }, "an attached volume", outcome => |subject, outcome: &Outcome| {
        match (&outcome.step.step, shown(outcome)) {
            (Step::VolumeAttach(target), Some(Evidence::Attached(attachment))) if *target == attachment.at => {
                Some(Self { subject, attachment: attachment.clone() })
            }
            _ => None,
        }
    }
}

impl Attached {
    /// Where inside.
    pub fn target(&self) -> &Target {
        &self.attachment.at
    }

    /// How.
    pub fn attachment(&self) -> &Attachment {
        &self.attachment
    }
}

evidence! {
    /// Started for regular operation, and ready (`run.ready`).
    Up { init: Init }, "a running container", outcome => |subject, outcome: &Outcome| {
        match (&outcome.step.step, shown(outcome)) {
            (Step::RunReady, Some(Evidence::Ready { init, .. })) => Some(Self { subject, init: init.clone() }),
            _ => None,
        }
    }
}

impl Up {
    /// The init that runs.
    pub fn init(&self) -> &Init {
        &self.init
    }
}

evidence! {
    /// A script that ran to its end with success, or counts so by a person's word (`feature.apply`, `application.run`).
    Ran { step: Step }, "a script's success", outcome => |subject, outcome: &Outcome| {
        let ran = outcome.step.step.is_script() && matches!(shown(outcome), Some(Evidence::Ran { .. }));
        ran.then(|| Self { subject, step: outcome.step.step.clone() })
    }
}

impl Ran {
    /// The script's step.
    pub fn step(&self) -> &Step {
        &self.step
    }
}

evidence! {
    /// Autostart set, the last thing before `Done` (`autostart.set`).
    Armed {}, "autostart", outcome => |subject, outcome: &Outcome| {
        let set = outcome.step.step == Step::AutostartSet && matches!(shown(outcome), Some(Evidence::AutostartSet { .. }));
        set.then_some(Self { subject })
    }
}

evidence! {
    /// Nothing of the container is left (`down.destroy`).
    Destruction {}, "the container's destruction", outcome => |subject, outcome: &Outcome| {
        let gone = outcome.step.step == Step::DownDestroy && shown(outcome) == Some(&Evidence::Destroyed);
        gone.then_some(Self { subject })
    }
}
