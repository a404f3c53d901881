//! A crash-safe journal of state machines on `SQLite`.

mod append;
mod chain;
mod copies;
mod create;
mod entry;
mod error;
mod ids;
mod ledger;
mod lock;
mod memory;
mod open;
mod place;
mod reader;
mod recorded;
mod reserve;
mod schema;
mod sql;
mod tables;
mod verdict;
mod verify;
mod writer;

pub use append::{Append, Refused};
pub use copies::{backup, export, upgrade};
pub use create::Journal;
pub use entry::{Body, DONE, Draft, Entry, Position, Row, StreamKey, base_name};
pub use error::JournalError;
pub use ids::{Digest, Epoch, EpochId, IdError, JournalId, Seq};
pub use lock::Holder;
pub use memory::Memory;
pub use open::{Binding, WriterInfo};
pub use reader::{EpochRow, Overview, Reader};
pub use recorded::{Part, Record, Recorded, Replay};
pub use schema::{Machine, Schema};
pub use verify::{Finding, Report, verify};
pub use writer::Writer;
