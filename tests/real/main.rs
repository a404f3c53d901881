//! The real binary on real unprivileged LXC containers, as a person would use it: what comes up, what survives which kill, and
//! what is not touched.
//!
//! Needs root, LXC and a static busybox; without them each test says `skipped: ...`, or fails if `PHOENIX_TEST_LXC=require`.
//! `PHOENIX_TEST_KILLS` sets the number of random kills, `PHOENIX_TEST_SEED` repeats a schedule that a failure printed.
//! Container numbers 900300 to 900599, five for each test.

mod account;
mod archive;
mod dice;
mod failing;
mod fingerprint;
mod fleet;
mod foreign;
mod full_disk;
mod ground;
mod host_crash;
mod hostile;
mod interrupts;
mod judge;
mod kills;
mod lifetime;
mod network;
mod processes;
mod random_kills;
mod rebuild;
mod secrets;
mod shims;
mod template;
#[path = "../fleets/tree.rs"]
mod tree;
mod writers;
