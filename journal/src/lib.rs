#![doc = include_str!("../README.md")]
//!
//! # Where to start
//!
//! [`Schema`] is what you supply; [`Draft`] is what you write and [`Entry`] what you read; [`Append`] is how, with two
//! implementors, [`Writer`] on disk and [`Memory`] without one. [`Reader`] looks without a lock. [`Recorded`] is the proof that
//! something was written, with [`Record`], [`Replay`] and [`Part`] saying what can be. [`JournalError`] is what is wrong with a
//! journal, [`Refused`] what is wrong with one entry. [`verify()`], [`backup()`], [`export()`] and [`upgrade()`] work on whole journals.
//!
//! Times are wall times in milliseconds since 1970, come from the caller, and decide nothing. Texts are UTF-8 without NUL.
//! Sequence numbers, epochs and generations begin at 1.

#![allow(clippy::doc_markdown, reason = "SQLite is a name, not code")]

mod append;
mod aside;
mod chain;
mod copies;
mod create;
mod entry;
mod error;
mod ids;
mod ledger;
mod lock;
mod log;
mod memory;
mod open;
mod place;
mod reader;
mod recorded;
mod reserve;
mod sabotage;
mod schema;
mod sql;
mod tables;
mod verdict;
mod verify;
mod writer;

pub use append::{Append, Refused};
pub use aside::set_aside;
pub use copies::{backup, export, upgrade, visible_json};
pub use create::{Heritage, Journal};
pub use entry::{Body, DONE, Draft, Entry, Position, Row, StreamKey, base_name};
pub use error::JournalError;
pub use ids::{Digest, Epoch, EpochId, IdError, JournalId, Seq};
pub use lock::Holder;
pub use memory::{Fold, Memory};
pub use open::{Binding, WriterInfo};
pub use place::check_place;
pub use reader::{EpochRow, Glance, GlanceStep, Overview, Reader};
pub use recorded::{Part, Record, Recorded, Replay};
#[doc(hidden)]
pub use sabotage::sabotaged;
pub use schema::{Machine, Schema};
pub use verify::{Finding, Report, verify};
pub use writer::Writer;
