//! Breadth-first search over everything a model can come to, and what holds of all of it.
//!
//! A model says what it can begin as and what may happen next; states that look the same are one. Apart from the models,
//! which know nothing of searching. Not here: what a state is.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::collections::BTreeMap;
use std::fmt;

use phoenix_journal::Digest;

/// What can be searched.
pub(crate) trait Model {
    /// One situation. Kept only until what follows from it is known.
    type State;
    /// Where it begins.
    fn beginning(&self) -> Self::State;
    /// Everything that may happen next. A state with nothing to follow must be an end.
    fn follow(&self, state: &Self::State) -> Vec<Step<Self::State>>;
    /// What is wrong with the situation itself.
    fn check(&self, state: &Self::State) -> Result<(), Violation>;
    /// Whether it may stay like this for ever.
    fn is_end(&self, state: &Self::State) -> bool;
    /// All that decides what may follow, as text, in which names are of no account.
    fn print(&self, state: &Self::State) -> String;
}

/// One thing that may happen.
pub(crate) struct Step<S> {
    /// In words.
    pub(crate) what: String,
    /// Whether it happens by itself in the end, so that a fair host cannot keep it back: no failure, no crash, no meddling.
    pub(crate) is_sure: bool,
    /// What comes of it.
    pub(crate) next: Result<S, Violation>,
}

/// What must not be, with the name of the invariant that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) invariant: &'static str,
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Self { invariant, what: what.into() }
    }
}

/// A violation and the shortest way to it.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) violation: Violation,
    pub(crate) path: Vec<String>,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.violation.invariant, self.violation.what)?;
        self.path.iter().enumerate().try_for_each(|(number, step)| writeln!(f, "{number:4} {step}"))
    }
}

/// How much there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) depth: usize,
    pub(crate) ends: usize,
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, ends } = self;
        write!(f, "states={states} transitions={transitions} depth={depth} ends={ends}")
    }
}

/// The most states of one search: what a machine of a developer holds. A search that comes here has not been exhaustive, and
/// says so by failing.
pub(crate) const STATES_MAX: usize = 5_000_000;

/// Visits everything that can be reached; the first violation ends it.
pub(crate) fn explore<M: Model>(model: &M) -> Result<Explored, Found> {
    let mut atlas = Atlas::default();
    let beginning = model.beginning();
    let (root, _) = atlas.place(&model.print(&beginning), None);
    model.check(&beginning).map_err(|violation| atlas.found(root, None, violation))?;
    let mut frontier = vec![(root, beginning)];
    let mut explored = Explored::default();
    while !frontier.is_empty() {
        let mut beyond = Vec::new();
        for (here, state) in frontier {
            let is_end = model.is_end(&state);
            let steps = model.follow(&state);
            explored.transitions += steps.len();
            if is_end {
                explored.ends += 1;
                atlas.sites[here].is_end = true;
            } else if !steps.iter().any(|step| step.is_sure) {
                let why =
                    Violation::new(ALWAYS_ENDS, format!("nothing will happen any more, and it is not over:\n{}", model.print(&state)));
                return Err(atlas.found(here, None, why));
            }
            for Step { what, is_sure, next } in steps {
                let next = next.map_err(|violation| atlas.found(here, Some(&what), violation))?;
                let (there, is_new) = atlas.place(&model.print(&next), Some((here, &what)));
                if is_sure {
                    atlas.connect(here, there);
                }
                if is_new {
                    model.check(&next).map_err(|violation| atlas.found(there, None, violation))?;
                    beyond.push((there, next));
                }
            }
            assert!(atlas.sites.len() < STATES_MAX, "more than {STATES_MAX} states: the search is not exhaustive");
        }
        frontier = beyond;
        explored.depth += usize::from(!frontier.is_empty());
    }
    explored.states = atlas.sites.len();
    atlas.check_that_all_ends()?;
    Ok(explored)
}

/// The invariant that the search itself looks after: from each state, whatever the order in which things happen, once
/// nothing fails and nothing crashes any more it comes to an end.
pub(crate) const ALWAYS_ENDS: &str = "invariant_always_terminal_or_quarantined";

/// Where the search has been.
#[derive(Default)]
struct Atlas {
    by_print: BTreeMap<[u8; 16], usize>,
    sites: Vec<Site>,
}

#[derive(Default)]
struct Site {
    /// Whence it was reached first, and by what.
    from: Option<(usize, String)>,
    /// From which sites it is surely reached.
    before: Vec<usize>,
    /// How many sites surely follow.
    after: usize,
    is_end: bool,
}

impl Atlas {
    fn place(&mut self, print: &str, from: Option<(usize, &str)>) -> (usize, bool) {
        let mut key = [0; 16];
        key.copy_from_slice(&Digest::of(print.as_bytes()).as_bytes()[..16]);
        let next = self.sites.len();
        let site = *self.by_print.entry(key).or_insert(next);
        if site == next {
            self.sites.push(Site { from: from.map(|(here, what)| (here, what.to_owned())), ..Site::default() });
        }
        (site, site == next)
    }

    /// A step that changes nothing (a lock found held once more) is no way on and no danger: others go on meanwhile.
    fn connect(&mut self, here: usize, there: usize) {
        if here != there {
            self.sites[there].before.push(here);
            self.sites[here].after += 1;
        }
    }

    /// Takes away ends, then what leads only to what was taken away; what is left runs in circles or stands still.
    fn check_that_all_ends(&mut self) -> Result<(), Found> {
        let mut ended: Vec<usize> = (0..self.sites.len()).filter(|&site| self.sites[site].is_end).collect();
        let mut taken = vec![false; self.sites.len()];
        while let Some(site) = ended.pop() {
            if std::mem::replace(&mut taken[site], true) {
                continue;
            }
            for before in std::mem::take(&mut self.sites[site].before) {
                self.sites[before].after -= 1;
                if self.sites[before].after == 0 {
                    ended.push(before);
                }
            }
        }
        match taken.iter().position(|&taken| !taken) {
            Some(site) => Err(self.found(site, None, Violation::new(ALWAYS_ENDS, "from here it can go on for ever"))),
            None => Ok(()),
        }
    }

    fn found(&self, site: usize, last: Option<&str>, violation: Violation) -> Found {
        let mut path: Vec<String> = last.map(str::to_owned).into_iter().collect();
        let mut here = site;
        while let Some((from, what)) = &self.sites[here].from {
            path.push(what.clone());
            here = *from;
        }
        path.reverse();
        Found { violation, path }
    }
}

/// One of several things, for those who write it down.
pub(crate) fn listed<T: fmt::Display>(things: impl IntoIterator<Item = T>) -> String {
    things.into_iter().map(|thing| thing.to_string()).collect::<Vec<_>>().join(", ")
}
