//! Chance with a seed that is told, so that a schedule can be drawn again.

use super::ground::tell;

/// Numbers from a seed (`SplitMix64`).
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    /// From `PHOENIX_TEST_SEED`, or from a seed of its own; it is printed.
    pub(crate) fn new() -> Self {
        let given = std::env::var("PHOENIX_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| getrandom::u64().expect("randomness"));
        tell(&format!("PHOENIX_TEST_SEED={seed}"));
        Self { seed, state: seed }
    }

    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// A number from 0 up to, and without, `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit.max(1)
    }

    /// One of these, if there is one.
    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = usize::try_from(self.below(from.len() as u64)).expect("an index");
        from.get(index)
    }
}
