//! The driver: event, engine, record, carry out, event. The only loop.
//!
//! Whoever calls [`up`], [`resume`] or [`down`] needs nothing else. [`Turner`] is the same loop without threads and clocks,
//! for those who bring their own (the simulation does). Not here: what is done next (`engine`) and how (`host`).

mod decide;
mod opening;
mod progress;
pub mod rebuild;
mod run;
mod turn;
mod work;

pub use decide::{Ask, DecideError, Decided, decide};
pub use opening::{Lives, PlanError, Wanted, opening_up, run_opened};
pub use progress::{Observer, Progress, Silent};
pub use run::{Channel, Finished, Known, RunError, Site, down, look, resume, up};
pub use turn::{Locks, TurnError, Turner, Work};
pub use work::{DriveError, Message, drive};
