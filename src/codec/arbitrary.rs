//! Strategies for arbitrary records, for property tests and fuzzing.
//!
//! They draw every variant and the whole range of each field, whether or not a run would ever bring it about: what can be held
//! must survive being written. Values are plain data and prove nothing. Not here: histories that obey the machine.

mod names;
mod records;
mod specs;

pub use names::{ctid, generation, idmap, incarnation, moment, path, run_id, seq, state, step_id, target, text, wall};
pub use records::{declaration, effect, evidence, fact, failure, intent, line, mark, note, outcome, run_closed, run_opened, standing};
pub use specs::{script, spec, volume};

use proptest::prelude::*;

/// A choice of the members of a list, as `T::ALL`.
pub(super) fn one_of<T: Clone + std::fmt::Debug + 'static>(all: impl Into<Vec<T>>) -> BoxedStrategy<T> {
    prop::sample::select(all.into()).boxed()
}

/// Nothing, or one of these.
pub(super) fn maybe<T: std::fmt::Debug + 'static>(strategy: BoxedStrategy<T>) -> BoxedStrategy<Option<T>> {
    prop::option::of(strategy).boxed()
}

/// Up to three of these.
pub(super) fn some<T: std::fmt::Debug + 'static>(strategy: BoxedStrategy<T>) -> BoxedStrategy<Vec<T>> {
    prop::collection::vec(strategy, 0..=3).boxed()
}
