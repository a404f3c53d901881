//! What a rehearsal came to, as data.
//!
//! Apart from the playing so that it can be printed, compared and asserted on. The same fleet, seed and budget give equal
//! findings whatever the number of threads. Not here: how they are shown.

use std::collections::BTreeSet;
use std::fmt;

use super::coverage::Coverage;
use super::crash::{Crash, Script};

/// What a rehearsal came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// The seed.
    pub seed: u64,
    /// How many points the run has that nothing cuts.
    pub points: u64,
    /// Schedules of one crash.
    pub singles: Schedules,
    /// Schedules of two: the second lies in the resume after the first.
    pub pairs: Schedules,
    /// Schedules of three and more, drawn at random.
    pub longer: Schedules,
    /// How many resumes the slowest schedule needed after its last crash.
    pub resumes_worst: u32,
    /// The shortest divergences, in order; the counts are in `singles`, `pairs` and `longer`.
    pub divergences: Vec<Divergence>,
    /// What was hit, and what recovery found.
    pub coverage: Coverage,
    /// Somebody asked to leave before the budget was spent.
    pub is_cut_short: bool,
}

impl Findings {
    /// How many schedules were tried.
    pub fn tried(&self) -> u64 {
        self.singles.tried + self.pairs.tried + self.longer.tried
    }

    /// How many did not come to what the run comes to that nothing cuts; that run itself counts if it does not come up.
    pub fn diverged(&self) -> u64 {
        let uncut = self.divergences.iter().filter(|divergence| divergence.script.crashes.is_empty()).count();
        self.singles.diverged + self.pairs.diverged + self.longer.diverged + uncut as u64
    }
}

/// Schedules of one sort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Schedules {
    /// How many were tried.
    pub tried: u64,
    /// How many there are, where that is known.
    pub possible: Option<u64>,
    /// How many diverged.
    pub diverged: u64,
}

/// A schedule that did not come to what it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// What to replay.
    pub script: Script,
    /// What is wrong.
    pub trouble: Trouble,
}

/// What is wrong at the end of a schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A run broke off.
    Broke {
        /// Why, causes included.
        why: String,
    },
    /// The fleet is not done, and further resumes do not bring it there.
    NotDone {
        /// How each container stands that is not done.
        stands: Vec<String>,
    },
    /// The world is another than without crashes.
    Differs {
        /// What differs.
        differences: Vec<String>,
    },
    /// Something happened to the world that must never happen.
    Damaged {
        /// What.
        damage: Vec<String>,
    },
    /// A script was started although the promise about scripts does not explain it.
    Unexplained {
        /// The starts.
        starts: Vec<String>,
    },
    /// A volume step, or a state that rests on one, came before the id map was recorded.
    OutOfOrder {
        /// The entry.
        entry: String,
    },
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broke { why } => write!(f, "a run broke off: {why}"),
            Self::NotDone { stands } => write!(f, "the fleet does not come up: {}", stands.join("; ")),
            Self::Differs { differences } => write!(f, "the end is not that of a run without crashes: {}", differences.join("; ")),
            Self::Damaged { damage } => write!(f, "damage was done: {}", damage.join("; ")),
            Self::Unexplained { starts } => write!(f, "a script was started without a reason: {}", starts.join("; ")),
            Self::OutOfOrder { entry } => write!(f, "a volume came before finalization: {entry}"),
        }
    }
}

/// What one worker has counted; workers' tallies add up to the same whatever was done by whom.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    pub(super) tried: u64,
    pub(super) diverged: u64,
    pub(super) resumes_worst: u32,
    pub(super) coverage: Coverage,
    divergences: BTreeSet<Found>,
}

/// Ordered so that the shortest schedules come first: these are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    crashes: Vec<Crash>,
    trouble: Trouble,
}

impl Ord for Found {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |found: &Self| (found.crashes.len(), found.crashes.iter().map(|crash| (crash.point, crash.kind)).collect::<Vec<_>>());
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Found {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// How many divergences are kept with their reasons; one fault shows in thousands of schedules.
const DIVERGENCES_MAX: usize = 100;

impl Tally {
    /// One schedule was played to its end.
    pub(super) fn count(&mut self, crashes: impl FnOnce() -> Vec<Crash>, judged: Result<u32, Trouble>) {
        self.tried += 1;
        match judged {
            Ok(resumes) => self.resumes_worst = self.resumes_worst.max(resumes),
            Err(trouble) => {
                self.diverged += 1;
                self.keep(Found { crashes: crashes(), trouble });
            }
        }
    }

    fn keep(&mut self, found: Found) {
        self.divergences.insert(found);
        if self.divergences.len() > DIVERGENCES_MAX {
            self.divergences.pop_last();
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        let Self { tried, diverged, resumes_worst, coverage, divergences } = other;
        self.tried += tried;
        self.diverged += diverged;
        self.resumes_worst = self.resumes_worst.max(resumes_worst);
        self.coverage.merge(coverage);
        for found in divergences {
            self.keep(found);
        }
    }

    pub(super) fn schedules(&self, possible: Option<u64>) -> Schedules {
        Schedules { tried: self.tried, possible, diverged: self.diverged }
    }

    pub(super) fn divergences(&self, seed: u64) -> impl Iterator<Item = Divergence> {
        self.divergences.iter().map(move |found| {
            let script = Script { seed, crashes: found.crashes.clone() };
            Divergence { script, trouble: found.trouble.clone() }
        })
    }
}
