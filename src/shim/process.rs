//! Processes as `/proc` shows them: who they are, what they hold, what they bear; and ending them for certain.
//!
//! STUB while bodies are written; signatures stand.
#![allow(unused_variables, dead_code, clippy::todo, clippy::unnecessary_wraps, reason = "signatures first")]

use std::fs::File;
use std::io;
use std::time::Duration;

use super::lock::Holder;
use crate::ids::Token;

/// A process that bears a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// Its process id.
    pub pid: u32,
    /// Its start time in clock ticks since boot.
    pub start_ticks: u64,
    /// Its command line, cut and without control characters.
    pub command: String,
}

/// Every living process that bears `token` in its environment, but this one.
pub fn living_bearers(token: Token) -> io::Result<Vec<Bearer>> {
    todo!()
}

/// Ends everything that bears `token` by pidfd (`SIGTERM`, `grace`, `SIGKILL`, death confirmed; frozen containers are thawed)
/// and returns what could not be ended. To be called before a script runs again.
pub fn end_bearers(token: Token, grace: Duration) -> io::Result<Vec<Bearer>> {
    todo!()
}

/// A process told apart from all others of this boot that ever bore its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
}

pub(super) fn living(identity: &Identity) -> bool {
    todo!()
}

pub(super) fn holders_of(file: &File) -> io::Result<Vec<Holder>> {
    todo!()
}

pub(super) fn pause_ms(ms: u32) -> io::Result<()> {
    todo!()
}
