//! The on-disk forms of what the journal holds and of the mark on a container.
//!
//! Apart so that a change to a type of the core cannot change what is on disk without this module saying so, and so that the
//! core knows no format. Every document is written out in full by one `#[serde(remote)]` mirror that both directions share;
//! a text that this program would not have written is refused with its reason, never skipped and never guessed at. Not here:
//! the columns' guards (`phoenix_journal`, with the rows of [`crate::journal`]) and the JSON that commands print (`report`).
//!
//! # Format
//!
//! The payload of an entry is `{"schema":N,"record":{KIND:{..}}}` with KIND one of `declaration`, `intent`, `outcome`,
//! `note`, `run_opened`, `run_closed`, and N the oldest schema that can say it: a journal that uses nothing new can be read by
//! the versions before. What a schema added is left out where it asks for nothing, and reads as that where it is absent. Names are in snake case, times end in `_ms`, ids and digests are hexadecimal text,
//! numbers of containers, entries, epochs and generations are numbers, an id map is its `lxc.idmap` lines, a path is text or,
//! where it is no UTF-8, `{"hex":".."}`. Scripts and output are blobs, named by their BLAKE3 digest.
//!
//! | schema | since | what changed |
//! |---|---|---|
//! | 1 | 0.1 | the first; a run may be a `rebuild` |
//! | 2 | 0.2 | `host_options` of a spec: `devices`, `hookscript`, `pool`, `tags`, `protection`, `nameservers`, `searchdomain`, `timezone`, `firewall`; `repertoire` of a declaration; steps `template.fetch`, `firewall.set`, `snapshot.take` with what they do and show; `by` of a hold, `from` of a clone |
//!
//! A payload bears the oldest schema that can say it, so that what said nothing new is spelled as it always was.

#[cfg(any(test, feature = "testing"))]
pub mod arbitrary;
mod entry;
mod headline;
mod intent;
mod mark;
mod note;
mod outcome;
mod since;
mod spec;
#[cfg(test)]
mod tests;
mod written;

pub use entry::{CONTAINER, CodecError, RUN, SCHEMA_VERSION};
pub use headline::Headline;
pub use mark::{MarkError, mark_from_json, mark_to_json};
