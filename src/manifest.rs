//! The manifest: from text to checked data.
//!
//! `Manifest<Parsed>` is what the text says, with positions; `Manifest<Checked>` is what planning takes, and only
//! `check` makes one. All problems are reported at once, each with file, line, column, what is wrong and what to write.
//! Not here: what the host looks like, and what has been done already.

mod spec;

pub use spec::{
    Address, Autostart, EnvValue, Feature, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin, Owner, Ownership, Ready, ReadyProbe,
    Resources, SCRIPT_BYTES_MAX, Script, Spec, Template, Volume,
};
