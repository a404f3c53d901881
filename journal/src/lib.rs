//! A crash-safe journal of state machines on `SQLite`.

mod append;
mod entry;
mod error;
mod ids;
mod ledger;
mod memory;
mod recorded;
mod schema;

pub use append::{Append, Refused};
pub use entry::{Body, DONE, Draft, Entry, Position, Row, StreamKey, base_name};
pub use error::JournalError;
pub use ids::{Digest, Epoch, EpochId, IdError, JournalId, Seq};
pub use memory::Memory;
pub use recorded::{Part, Record, Recorded, Replay};
pub use schema::{Machine, Schema};
