//! An SQLite VFS for tests, registered as the process's default, so that what is tested needs no hook.
//!
//! It hands every call on to the VFS that was the default before. For files under a directory that is [`watch`]ed, each call
//! that reaches the disk is counted and can be made to [fail](Watched::fail), and each that changes something is written down
//! ([`Call`]), so that [`Disk`] can say afterwards what a power cut at any moment might have left. Everything else, and
//! everything under other directories, passes unchanged.
//!
//! Not here: opinions about what should survive (the tests), and files that SQLite does not open (locks, reserves).

#![allow(clippy::doc_markdown, reason = "SQLite is a name, not code")]

mod disk;
mod file;
mod register;
mod watched;

pub use disk::{Disk, Kept};
pub use watched::{Call, Fault, Kind, Lasts, Watched, watch};
