//! Which schedules a budget is spent on, when there are more than it allows.
//!
//! Everything follows from the seed and from numbers of schedules, never from who plays them, so the number of threads changes
//! nothing. Not here: the playing.

use std::ops::Range;

use crate::engine::Dice;

/// A choice of `wanted` numbers out of `0..possible`: one from each of `wanted` equal parts, so that none comes twice and no
/// stretch is left out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    seed: u64,
    possible: u64,
    wanted: u64,
}

impl Sample {
    pub(super) fn new(seed: u64, possible: u64, budget: u64) -> Self {
        Self { seed, possible, wanted: budget.min(possible) }
    }

    /// How many are chosen.
    pub(super) fn len(self) -> u64 {
        self.wanted
    }

    /// The chosen numbers within a range, in order.
    pub(super) fn within(self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let all = self.wanted == self.possible;
        let first = if all || self.wanted == 0 { 0 } else { self.part_of(range.start) };
        let parts = if all { 0..0 } else { first..self.wanted };
        let chosen = parts.map(move |part| self.choose(part)).take_while(move |chosen| *chosen < range.end);
        let every = if all { range.start..range.end.min(self.possible) } else { 0..0 };
        every.chain(chosen.filter(move |chosen| *chosen >= range.start))
    }

    fn part_of(self, number: u64) -> u64 {
        // One part too early at most; the filter above takes away what lies before the range.
        scaled(number, self.wanted, self.possible).saturating_sub(1)
    }

    fn choose(self, part: u64) -> u64 {
        let start = scaled(part, self.possible, self.wanted);
        let end = scaled(part + 1, self.possible, self.wanted);
        start + Draw::new(self.seed, part).below(end - start)
    }
}

/// `number * to / from` without running over.
fn scaled(number: u64, to: u64, from: u64) -> u64 {
    let scaled = u128::from(number) * u128::from(to) / u128::from(from.max(1));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Random numbers that follow from a seed and the number of what they are for.
#[derive(Clone, Debug)]
pub(super) struct Draw(Dice);

impl Draw {
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut both = [0; 16];
        both[..8].copy_from_slice(&seed.to_be_bytes());
        both[8..].copy_from_slice(&number.to_be_bytes());
        let mixed = Dice::new(both).bytes();
        let (seed, number) = mixed.split_at(8);
        let mut state = [0; 16];
        for (place, (one, other)) in state.iter_mut().zip(seed.iter().zip(number)) {
            *place = one ^ other.rotate_left(3);
        }
        Self(Dice::new(state))
    }

    /// A number below `bound`; 0 if that is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0.number().checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(possible: u64, budget: u64, step: u64) {
        let sample = Sample::new(7, possible, budget);
        let whole: Vec<u64> = sample.within(0..possible).collect();
        let pieces: Vec<u64> = (0..possible)
            .step_by(usize::try_from(step).expect("small"))
            .flat_map(|start| sample.within(start..(start + step).min(possible)))
            .collect();
        assert_eq!(whole.len() as u64, budget.min(possible), "{possible} {budget}");
        assert!(whole.windows(2).all(|pair| pair[0] < pair[1]), "{whole:?}");
        assert_eq!(whole, pieces, "{possible} {budget} in pieces of {step}");
    }

    #[test]
    fn a_sample_has_the_budgets_size_and_no_number_twice() {
        for (possible, budget) in [(0, 0), (0, 5), (1, 0), (1, 1), (10, 3), (10, 10), (10, 100), (1000, 999), (1000, 501), (1003, 250)] {
            for step in [1, 4, 7] {
                check(possible, budget, step);
            }
        }
    }

    #[test]
    fn numbers_of_different_draws_differ() {
        let first: std::collections::BTreeSet<u64> = (0..1000).map(|number| Draw::new(1, number).below(u64::MAX)).collect();
        assert_eq!(first.len(), 1000);
    }
}
