//! What holds of every document: it comes back as it was, it has one spelling, and nothing else is taken for it.

mod golden;
mod refusal;
mod round_trip;

use phoenix_journal::{Digest, Draft, Epoch, Record, Row, Seq};

use crate::machine::{Fact, Line};

/// The row that a draft becomes.
fn row(draft: Draft) -> Row {
    let Draft { stream, life, generation, run, body, state, standing, payload, at_ms, blobs: _ } = draft;
    let (seq, epoch, prev_hash, hash) = (Seq::new(7), Epoch::new(2), Digest::ZERO, Digest::ZERO);
    Row { seq, epoch, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash, hash }
}

fn row_of(fact: &Fact) -> Row {
    row(Line::Fact(fact.clone()).draft())
}
