//! The simulator: a deterministic host with Proxmox's rules, virtual time, crashes and a schedule of faults.
//!
//! Two things in one module. [`World`] is the host as a value: it is cloned before a crash, cut between any two pieces of an
//! operation, and compared with another by its [`Fingerprint`]. [`Sim`] puts a world behind [`crate::host::Host`], so that
//! everything above runs on it as on a real one; the command line keeps it in a file beside the journal.
//!
//! What the world insists on is what real hosts were seen to do:
//!
//! - there is no id map on file before the first start, and a volume attached without one has the wrong owner;
//! - an orderly stop of a container that is not ready may take until its deadline;
//! - a killed snapshot leaves a lock, half a section and a frozen container; not every storage has snapshots;
//! - a killed create leaves a locked half of a container, a killed clone a lock on its source as well;
//! - a clone refuses a source that is running, unless it copies a snapshot, or has shared mounts; a start waits for directories that are missing;
//! - what was not synced may be lost at a power cut, and so may every result that is not a script's;
//! - a host that comes back starts what has autostart;
//! - children under a shim outlive Phoenix, and what Phoenix does itself does not.
//!
//! What must never happen is noted as [`Damage`], and every start of a script is counted with its reason ([`ScriptStart`]).
//! Everything that is left to chance follows from the seed, the container, the step and the attempt: the same schedule gives
//! the same world on every machine, and a crash in one container does not change how long another takes.
//!
//! # Example
//!
//! A fleet wants container 101, but somebody else has put one there. It is seen to bear no mark, and survives a power cut.
//!
//! ```
//! use phoenix::host::Host;
//! use phoenix::host::sim::{Flow, Sim, Tamper, World, WorldOptions};
//! use phoenix::ids::Ctid;
//!
//! let ctid: Ctid = "101".parse()?;
//! let mut world = World::new(WorldOptions::seeded(42));
//! world.tamper(&Tamper::Stranger(ctid));
//!
//! let before = world.fingerprint();
//! world.crash_host();
//! assert_eq!(world.fingerprint(), before, "the stranger's container has autostart");
//!
//! let sim = Sim::new(world, Flow::Still);
//! let seen = sim.observe(None, &[ctid])?;
//! assert!(seen.containers[&ctid].init.is_some() && seen.containers[&ctid].mark.is_none());
//! assert!(sim.world().damage().is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Not here: any decision. A world answers and changes; what follows from an answer is the engine's affair.

mod act;
mod backend;
mod crash;
mod damage;
mod dice;
mod disk;
mod faults;
mod fingerprint;
mod gate;
mod look;
mod op;
mod pieces;
mod saved;
mod scripts;
mod snapshots;
mod storage;
mod traces;
mod volumes;
mod world;

pub use backend::{Flow, Sim};
pub use crash::Survivors;
pub use damage::{Before, Damage, ScriptEnd, ScriptStart};
pub use faults::{Edit, Fault, Faults, Rates, Tamper, What, When, Where};
pub use fingerprint::{ContainerPrint, Fingerprint, SettingsPrint};
pub use storage::Storage;
pub use world::{Behaviour, OpId, Progress, Sabotage, World, WorldOptions};
