//! Phoenix brings fleets of LXC containers from a manifest to running services.

pub mod host;
pub mod ids;
pub mod machine;
pub mod manifest;
pub mod plan;
pub mod shim;
