//! The simulator: a deterministic host with Proxmox's rules, virtual time and a fault schedule.
mod act;
mod crash;
mod damage;
mod dice;
mod disk;
mod faults;
mod look;
mod op;
mod pieces;
mod world;

pub use crash::Survivors;
pub use damage::{Before, Damage, ScriptEnd, ScriptStart};
pub use faults::{Fault, Faults, Rates, Tamper, What, When, Where};
pub use world::{Behaviour, OpId, Progress, World, WorldOptions};
