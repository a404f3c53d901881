//! The simulated host: its rules one by one, and crashes at every piece of every operation.

mod crashes;
mod rig;
mod rules;
