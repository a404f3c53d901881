//! Rehearsals: the real engine, the real turn and the real journal guards on a simulated host, with crashes wherever they can
//! come.
//!
//! One run is one thread in virtual time, nothing on disk: the same fleet, seed and crashes give the same history. Three things,
//! from the inside out: a [`Stage`] plays one run, with a crash where one wants it; a [`Script`] is a schedule of crashes that can
//! be typed and played again; a [`Rehearsal`] plays all of them, as far as its budget goes, and compares what they come to. Not
//! here: a command line for it.

mod coverage;
mod crash;
mod findings;
mod judge;
mod rehearsal;
mod sample;
mod show;
mod stage;
mod tour;
mod workers;

pub use coverage::{Coverage, Place, Places};
pub use crash::{Crash, CrashKind, Script, ScriptParseError};
pub use findings::{Divergence, Findings, Schedules, Trouble};
pub use rehearsal::{Audience, Budget, Cut, Nobody, Rehearsal, RehearsalError, Replayed};
pub use show::{Guide, Point};
pub use stage::{Ended, Stage, StageError};
