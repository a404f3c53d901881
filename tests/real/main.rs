//! The real binary on real unprivileged LXC containers, as a person would use it: what comes up, what survives which kill, and
//! what is not touched.
//!
//! Needs root, LXC and a static busybox; without them each test says `skipped: ...`, or fails if `PHOENIX_TEST_LXC=require`.
//! `PHOENIX_TEST_KILLS` sets the number of random kills, `PHOENIX_TEST_SEED` repeats a schedule that a failure printed.
//!
//! What does not rest on plain LXC alone runs on Proxmox's `pct` as well, which the one of `tests/pct` stands in for; with
//! `PHOENIX_TEST_HOST` as `lxc` or `pct` on this one alone. Container numbers 900300 to 900599 and 901300 to 901599, five for
//! each test.

/// A test for each kind of host, of cases that are told the kind.
macro_rules! on_each_host {
    ($($case:ident)*) => {
        mod lxc {
            $(#[test] fn $case() { super::$case(crate::ground::Kind::Lxc); })*
        }
        mod pct {
            $(#[test] fn $case() { super::$case(crate::ground::Kind::Pct); })*
        }
    };
}

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
mod pct_fleets;
mod pct_kills;
mod processes;
mod proxmox;
mod random_kills;
mod rebuild;
mod results;
mod secrets;
mod shims;
mod synced;
mod template;
#[path = "../fleets/tree.rs"]
mod tree;
mod writers;
