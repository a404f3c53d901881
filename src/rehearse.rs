//! Rehearsals: the real engine, the real turn and the real journal guards on a simulated host, with crashes where one wants
//! them.
//!
//! One thread, virtual time, nothing on disk: the same fleet, seed and crashes give the same history. Not here: which crashes
//! to try, and a command line for it.

mod stage;

pub use stage::{Crash, CrashKind, Ended, Stage, StageError};
