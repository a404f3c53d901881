//! No volume before the id map: the order, tried on the types, on the tables, and with the `sqlite3` shell.
//!
//! Each module says of one guard alone what it lets through when everything else is switched off. Not here: the whole
//! program on the simulator (`rehearsal`).

mod drafts;
#[path = "../fuzzed/mod.rs"]
mod fuzzed;
mod life;
mod machine;
mod shell;
mod sql;
