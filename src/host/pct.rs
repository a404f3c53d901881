//! The Proxmox VE host: containers of `pct`, looked at through the cluster's files, LXC and `/proc`.
//!
//! Everything that only looks reads files and spawns nothing: a `pct` costs most of a second and can hang on a dead storage,
//! reading a file can not. Not here: what is done about what is seen (`engine`).

#![allow(dead_code, reason = "the backend that asks follows")]

pub mod config;
pub(super) mod doctor;
pub mod firewall;
pub mod ha;
mod layout;
mod mark;
pub mod members;
mod observe;
mod stanza;
pub mod storage;
pub mod tasks;
pub mod version;
mod vet;
pub mod vmlist;
