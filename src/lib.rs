//! Phoenix brings fleets of LXC containers from a manifest to running services.

pub mod ids;
pub mod manifest;
