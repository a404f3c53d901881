//! The Proxmox VE host: containers of `pct`, looked at through the cluster's files, LXC and `/proc`.
//!
//! Everything that only looks reads files and spawns nothing: a `pct` costs most of a second and can hang on a dead storage,
//! reading a file can not. Not here: what is done about what is seen (`engine`).

pub mod config;
