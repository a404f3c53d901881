//! The typed state machine of one container, and what is recorded about it.
//!
//! `Container<S>` goes from state to state by being consumed together with the evidence that the transition needs, and
//! evidence is minted from recorded outcomes alone. Not here: when a step is due (`engine`), how it is carried out (`host`),
//! how it is written down (`codec`).

mod line;
mod outcome;
mod standing;

pub use line::{Decision, Declaration, Fact, Line, Note, Placed, RunClosed, RunCommand, RunEnd, RunOpened, Topic};
pub use outcome::{Evidence, Failure, FailureClass, Outcome, Output, Prepared, Report, StepResult};
pub use standing::{Quarantine, QuarantineReason, Standing, Wait, WaitKind};
