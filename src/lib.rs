//! Phoenix brings fleets of LXC containers from a manifest to running services.

pub mod cli;
pub mod codec;
pub mod driver;
pub mod engine;
pub mod host;
pub mod ids;
pub mod journal;
pub mod machine;
pub mod manifest;
pub mod plan;
pub mod rehearse;
pub mod report;
pub mod shim;
