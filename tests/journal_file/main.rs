//! The journal's file under every fault, and the orchestrator resumed from what is left.
//!
//! Each image of the file is taken up by the driver itself, on the world that belongs to it: either the fleet comes up as if
//! nothing had happened, or the file is refused with what is wrong and what to do, and left as it was. Not here: what the
//! journal crate promises without an orchestrator (`journal/tests`).

#![allow(clippy::doc_markdown, reason = "SQLite is a name, not code")]

#[path = "../fleets/mod.rs"]
mod fleets;
mod image;
mod record;
mod resume;

mod creation;
mod cuts;
mod faults;
mod flips;
mod golden;
mod lies;
mod place;
mod power;
