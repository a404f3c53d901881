//! The typed state machine of one container, and what is recorded about it.
//!
//! `Container<S>` goes from state to state by being consumed together with the evidence that the transition needs, and
//! evidence is minted from recorded outcomes alone. Not here: when a step is due (`engine`), how it is carried out (`host`),
//! how it is written down (`codec`).

mod any;
mod container;
mod evidence;
mod life;
mod line;
mod outcome;
mod standing;

pub use any::{AnyContainer, OutOfTurn, Proofs};
pub use container::{
    Configured, Container, Declared, Defined, Done, Featured, Features, Finalized, Live, Mounts, Running, Stage, Volumed, WrongEvidence,
};
pub use evidence::{
    Armed, Attached, Configuration, Destruction, Finalization, Firewalled, Identity, NotEvidence, Ran, RestorePoint, Subject, Up,
};
pub use life::{Due, Life, Past, Record};
pub use line::{Decision, Declaration, Fact, Line, Note, RunClosed, RunCommand, RunEnd, RunOpened, Topic};
pub use outcome::{Evidence, Failure, FailureClass, Outcome, Output, Prepared, Report, StepResult};
pub use standing::{Quarantine, QuarantineReason, Standing, Wait, WaitKind};
