//! The orchestrator's use of the journal: the rows of its two machines.
//!
//! Apart from the crate `phoenix_journal`, which knows nothing of containers. Not here: what an entry's payload says (`codec`).

mod account;
mod schema;
mod snapshot;
#[cfg(test)]
mod tests;

pub use account::{Account, RunRecord, with_texts};
pub use schema::SCHEMA;
pub use snapshot::{Place, Snapshot};
