//! What fuzzing tries, as ordinary functions of bytes: one module for each target.
//!
//! Apart from the targets in `fuzz/`, which belong to a workspace of their own: so the seeds are replayed by plain `cargo
//! test`, and property tests use the same histories. Each `run` panics if something does not hold. Not here: the seeds.

#![allow(dead_code, reason = "each target and test uses the part it needs")]

pub(crate) mod bytes;
pub(crate) mod engine_history;
#[path = "../fleets/mod.rs"]
pub(crate) mod fleets;
pub(crate) mod histories;
pub(crate) mod idmap;
#[path = "../fleets/invariants.rs"]
pub(crate) mod invariants;
pub(crate) mod journal_replay;
pub(crate) mod lxc_config;
pub(crate) mod manifest;
pub(crate) mod pct_config;
pub(crate) mod pct_properties;
pub(crate) mod rows;
