//! Chance that comes in as an argument: a seeded generator for tokens and jitter.
//!
//! `SplitMix64` (Steele, Lea, Flood 2014). Tokens need to be unlikely to repeat, not unpredictable. Not here: where the seed
//! comes from.

use std::time::Duration;

use crate::ids::Token;

/// A generator; the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct Dice {
    state: [u64; 2],
}

impl Dice {
    /// A generator from 16 bytes.
    pub fn new(seed: [u8; 16]) -> Self {
        let half = |range: std::ops::Range<usize>| seed[range].iter().fold(0, |sum, &byte| (sum << 8) | u64::from(byte));
        Self { state: [half(0..8), half(8..16)] }
    }

    /// A token for one intent.
    pub fn token(&mut self) -> Token {
        Token::from_random(self.bytes())
    }

    /// Sixteen bytes.
    pub fn bytes(&mut self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.roll(0).to_be_bytes());
        bytes[8..].copy_from_slice(&self.roll(1).to_be_bytes());
        bytes
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.roll(0)
    }

    /// Between three quarters and five quarters of `wait`.
    pub fn jitter(&mut self, wait: Duration) -> Duration {
        let percent = 75 + self.roll(0) % 51;
        wait.saturating_mul(u32::try_from(percent).unwrap_or(100)) / 100
    }

    fn roll(&mut self, stream: usize) -> u64 {
        self.state[stream] = self.state[stream].wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state[stream];
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
