//! What is written to the journal, and what can be learned from it.
//!
//! A [`Line`] is what the engine wants recorded: an effect to be carried out, or a [`Fact`]. A `Fact` is all that a journal
//! gives back: an effect read back is an [`Intent`], a thing of the past, and cannot be carried out.

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::{Digest, Part};

use crate::ids::{Ctid, FleetName, Generation, Incarnation, RunId, State, StepId, Wall};
use crate::manifest::Spec;
use crate::plan::{Effect, Init, Intent, Repertoire};

use super::outcome::Outcome;
use super::standing::Standing;

/// What the engine asks the journal to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An effect that is to be carried out once this is durable.
    Effect(Box<Effect>, Wall),
    /// Anything else.
    Fact(Fact),
}

/// What can be learned from the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A container's spec, incarnation or generation.
    Declared(Box<Declaration>),
    /// Something was about to be done.
    Intended(Box<Intent>, Wall),
    /// What became of it.
    Outcome(Box<Outcome>),
    /// Anything else about a container.
    Noted(Box<Note>),
    /// A run began.
    RunOpened(Box<RunOpened>),
    /// A run ended.
    RunClosed(RunClosed),
}

impl Part for Outcome {
    type Whole = Fact;

    fn part(fact: Fact) -> Result<Self, Fact> {
        match fact {
            Fact::Outcome(outcome) => Ok(*outcome),
            other @ (Fact::Declared(_) | Fact::Intended(..) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_)) => Err(other),
        }
    }
}

impl Part for Fact {
    type Whole = Line;

    fn part(line: Line) -> Result<Self, Line> {
        match line {
            Line::Fact(fact) => Ok(fact),
            Line::Effect(..) => Err(line),
        }
    }
}

impl Part for Effect {
    type Whole = Line;

    fn part(line: Line) -> Result<Self, Line> {
        match line {
            Line::Effect(effect, _) => Ok(*effect),
            Line::Fact(_) => Err(line),
        }
    }
}

impl Line {
    /// The container it speaks of, if it does not speak of a run.
    pub fn ctid(&self) -> Option<Ctid> {
        match self {
            Self::Effect(effect, _) => Some(effect.intent.ctid),
            Self::Fact(fact) => fact.ctid(),
        }
    }
}

impl Fact {
    /// The container it speaks of, if it does not speak of a run.
    pub fn ctid(&self) -> Option<Ctid> {
        match self {
            Self::Declared(declaration) => Some(declaration.ctid),
            Self::Intended(intent, _) => Some(intent.ctid),
            Self::Outcome(outcome) => Some(outcome.ctid),
            Self::Noted(note) => Some(note.ctid),
            Self::RunOpened(_) | Self::RunClosed(_) => None,
        }
    }
}

/// A container's spec: the first of it, of a new generation, or of a new incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declaration {
    /// The run that declares it.
    pub run: RunId,
    /// The fleet that the container belongs to.
    pub fleet: FleetName,
    /// The container.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// The number of this spec.
    pub generation: Generation,
    /// The spec.
    pub spec: Arc<Spec>,
    /// BLAKE3 of the template, where templates are files.
    pub template: Option<Digest>,
    /// Which steps its host has.
    pub repertoire: Repertoire,
    /// The state; `Declared` if the incarnation is new.
    pub state: State,
    /// The standing after it.
    pub standing: Standing,
    /// When.
    pub at: Wall,
}

/// A change of state or standing that no step's outcome brings, or a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The run that notes it.
    pub run: RunId,
    /// The container.
    pub ctid: Ctid,
    /// Which physical container.
    pub incarnation: Incarnation,
    /// Which spec.
    pub generation: Generation,
    /// What is noted.
    pub topic: Topic,
    /// The state after it.
    pub state: State,
    /// The standing after it.
    pub standing: Standing,
    /// When.
    pub at: Wall,
}

/// What a note is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topic {
    /// The next state asks for no step, or its steps hold already.
    Passed,
    /// The recorded init is gone; what rested on it is to be done again.
    InitLost {
        /// The init that was recorded.
        recorded: Init,
        /// The init that is there now, if one is.
        found: Option<Init>,
    },
    /// It is held down for a clone and was found running: it has to be stopped again.
    FoundRunning {
        /// The init that was found.
        init: Init,
    },
    /// The standing changed, for the reason the standing itself names.
    Standing,
    /// A person's decision.
    Decided(Decision),
    /// Seen under the lock to be absent or not ours, on a person's command; the incarnation is forgotten.
    Forgotten {
        /// What was seen.
        seen: String,
    },
}

/// What a person decided with `retry`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// A new budget for everything that failed, or for one step.
    NewBudget {
        /// The step, if only one is meant.
        step: Option<StepId>,
    },
    /// A script that was cut off is to be started again.
    Rerun {
        /// The script's step.
        step: StepId,
    },
    /// A script that was cut off counts as done.
    Skip {
        /// The script's step.
        step: StepId,
    },
    /// The mark is to be written again.
    Remark,
}

/// The beginning of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOpened {
    /// The run.
    pub run: RunId,
    /// What was asked for.
    pub command: RunCommand,
    /// The containers it names, each with its fleet. Per container only the newest run that names it counts.
    pub containers: BTreeMap<Ctid, FleetName>,
    /// How many effects at once.
    pub jobs: u32,
    /// When.
    pub at: Wall,
}

/// What a run is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunCommand {
    /// Bring the containers to `Done`.
    Up,
    /// Go on with what was interrupted.
    Resume,
    /// Destroy the containers.
    Down,
    /// Record a person's decision.
    Retry,
    /// Begin a journal in the place of one that is lost, with what the host shows.
    Rebuild,
}

impl RunCommand {
    /// All commands.
    pub const ALL: [Self; 5] = [Self::Up, Self::Resume, Self::Down, Self::Retry, Self::Rebuild];

    /// The command's name in the journal and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Resume => "resume",
            Self::Down => "down",
            Self::Retry => "retry",
            Self::Rebuild => "rebuild",
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunClosed {
    /// The run.
    pub run: RunId,
    /// How it ended.
    pub end: RunEnd,
    /// When.
    pub at: Wall,
}

/// The ends a run can come to. A run without one was killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Every container is where the run should have brought it.
    Done,
    /// At least one is not.
    Failed,
    /// It was asked to stop, and did so between steps.
    Interrupted,
}

impl RunEnd {
    /// All ends.
    pub const ALL: [Self; 3] = [Self::Done, Self::Failed, Self::Interrupted];

    /// The end's name: the state of the run in the journal.
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}
