//! The simulator: a deterministic host with Proxmox's rules, virtual time and a fault schedule.
mod act;
mod backend;
mod crash;
mod damage;
mod dice;
mod disk;
mod faults;
mod fingerprint;
mod look;
mod op;
mod pieces;
mod saved;
mod world;

pub use backend::{Flow, Sim};
pub use crash::Survivors;
pub use damage::{Before, Damage, ScriptEnd, ScriptStart};
pub use faults::{Fault, Faults, Rates, Tamper, What, When, Where};
pub use fingerprint::{ContainerPrint, Fingerprint};
pub use world::{Behaviour, OpId, Progress, World, WorldOptions};
