//! Chance without state: every throw is a function of the world's seed and of what is decided.
//!
//! Apart because it is what makes runs comparable: a duration depends on container, step and attempt, not on how many throws
//! came before, so a crash in one container does not change what happens to another. Not here: what the throws decide.

use crate::ids::Step;

/// Throws that depend on nothing but the seed and the keys they are given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(mixed(seed ^ 0x5048_4f45_4e49_5821))
    }

    /// A number for `keys`, any of 2^64.
    pub(super) fn throw(self, keys: &[u64]) -> u64 {
        keys.iter().fold(self.0, |state, key| mixed(state ^ mixed(*key)))
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(self, keys: &[u64], low: u64, high: u64) -> u64 {
        low + self.throw(keys) % (high.saturating_sub(low) + 1)
    }

    /// True in `percent` of 100 cases.
    pub(super) fn happens(self, keys: &[u64], percent: u8) -> bool {
        percent > 0 && self.throw(keys) % 100 < u64::from(percent)
    }
}

/// A key for a step: equal steps have equal keys (FNV-1a over base and name).
pub(super) fn step_key(step: &Step) -> u64 {
    let name = step.name().unwrap_or_default();
    step.base()
        .bytes()
        .chain([b'['])
        .chain(name.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The finaliser of `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
fn mixed(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}
