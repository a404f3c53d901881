//! What crashes have hit: which steps, where in them, and what recovery found.
//!
//! Apart because a rehearsal proves nothing about a place that no crash came to; a test asks for all of them. The places follow
//! from the run itself, so a new step or piece brings its own. Not here: which crashes are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::ids::{Ctid, StepId};

/// Where in a step a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// Its intent is durable, and nobody has begun.
    Intended,
    /// The host is at work, and this many of its pieces are done.
    Inside {
        /// How many, from 0.
        done: u8,
        /// How many there are.
        of: u8,
    },
    /// The host is done, and the outcome is not recorded.
    Effected,
    /// Its outcome is durable, and nothing that follows from it.
    Recorded,
    /// It is in doubt, and has not been looked at.
    InDoubt,
    /// What became of it has been found out, and is not recorded.
    Settled,
}

impl Place {
    /// How many pieces the step has, where one of them is done; 0 elsewhere.
    fn pieces_in_use(self) -> u8 {
        match self {
            Self::Inside { done: 1.., of } => of,
            Self::Inside { done: 0, of: _ } | Self::Intended | Self::Effected | Self::Recorded | Self::InDoubt | Self::Settled => 0,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Intended => f.write_str("after its intent"),
            Self::Inside { done, of } => write!(f, "inside, after {done} of {of} pieces"),
            Self::Effected => f.write_str("after its effect"),
            Self::Recorded => f.write_str("after its outcome"),
            Self::InDoubt => f.write_str("in doubt"),
            Self::Settled => f.write_str("settled"),
        }
    }
}

/// Where each container is that has begun a step.
#[derive(Clone, Debug, Default)]
pub struct Places {
    at: BTreeMap<Ctid, (StepId, Place)>,
}

impl Places {
    pub(super) fn enter(&mut self, ctid: Ctid, step: StepId, place: Place) {
        self.at.insert(ctid, (step, place));
    }

    pub(super) fn go_on(&mut self, ctid: Ctid, place: Place) {
        if let Some((_, at)) = self.at.get_mut(&ctid) {
            *at = place;
        }
    }

    /// Each container that has begun a step, the step, and where in it.
    pub fn iter(&self) -> impl Iterator<Item = (Ctid, &StepId, Place)> {
        self.at.iter().map(|(&ctid, (step, place))| (ctid, step, *place))
    }
}

/// Everything that crashes have hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    hit: BTreeMap<Ctid, BTreeMap<StepId, BTreeSet<Place>>>,
    verdicts: BTreeMap<StepId, BTreeSet<&'static str>>,
}

impl Coverage {
    /// A crash came while the containers were at these places.
    pub(super) fn crashed(&mut self, places: &Places) {
        for (ctid, step, place) in places.iter() {
            let steps = self.hit.entry(ctid).or_default();
            match steps.get_mut(step) {
                Some(hit) => {
                    hit.insert(place);
                }
                None => {
                    steps.insert(step.clone(), BTreeSet::from([place]));
                }
            }
        }
    }

    /// Recovery found out about a step in doubt.
    pub(super) fn settled(&mut self, step: &StepId, verdict: &'static str) {
        match self.verdicts.get_mut(step) {
            Some(seen) => {
                seen.insert(verdict);
            }
            None => {
                self.verdicts.insert(step.clone(), BTreeSet::from([verdict]));
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        let Self { hit, verdicts } = other;
        for (ctid, steps) in hit {
            let known = self.hit.entry(ctid).or_default();
            for (step, places) in steps {
                known.entry(step).or_default().extend(places);
            }
        }
        for (step, seen) in verdicts {
            self.verdicts.entry(step).or_default().extend(seen);
        }
    }

    /// The steps that were cut somewhere, by container, with the places where they were.
    pub fn steps(&self) -> impl Iterator<Item = (Ctid, &StepId, &BTreeSet<Place>)> {
        self.hit.iter().flat_map(|(&ctid, steps)| steps.iter().map(move |(step, places)| (ctid, step, places)))
    }

    /// What recovery answered about each step, as the journal names it (`done`, `absent`, ...).
    pub fn verdicts(&self) -> &BTreeMap<StepId, BTreeSet<&'static str>> {
        &self.verdicts
    }

    /// Places of the steps hit so far where no crash came: after the intent, before and between the pieces, after the effect,
    /// after the outcome. A step that was never seen with a piece done is one that the host found done already: it had none.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for (ctid, step, places) in self.steps() {
            let of = places.iter().map(|place| place.pieces_in_use()).max().unwrap_or_default();
            let inside = (0..of).map(|done| Place::Inside { done, of });
            let wanted = [Place::Intended, Place::Effected, Place::Recorded].into_iter().chain(inside);
            missing.extend(wanted.filter(|place| !places.contains(place)).map(|place| format!("{ctid} {step}: {place}")));
        }
        missing
    }
}
