//! The simulated host: its rules one by one, its face as a host, and crashes at every piece of every operation.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test names what it expects; everything else fails it")]

mod crashes;
#[path = "../fleets/mod.rs"]
mod fleets;
mod host;
#[path = "../fleets/learned.rs"]
mod learned;
mod proxmox;
mod rig;
mod rules;
