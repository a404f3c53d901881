//! What only so many effects may use at once: a clone source, a storage, a template that is being fetched.
//!
//! Limits as data: which effect uses what follows from its intent alone, so that a step in doubt, whose child may still be at
//! work, counts as one under way. The bound on all effects together is `Orders::jobs`. Not here: when a place becomes free,
//! which the engine's events say.

use std::collections::{BTreeMap, BTreeSet};

use crate::ids::Ctid;
use crate::machine::Life;
use crate::manifest::Origin;
use crate::plan::{Action, Repertoire, STORAGE_DEFAULT};

/// Something that only so many effects may use at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Share {
    /// A clone source, by those who copy it.
    Source(Ctid),
    /// A storage, by those who fill a root file system on it; that of its source for a clone whose spec names none.
    Storage(Option<String>),
    /// A template, by those who fetch it.
    Template(String),
}

/// Copies of one source at once. One: Proxmox locks the source for the whole of each.
pub const COPIES_PER_SOURCE: usize = 1;
/// Root file systems that are filled at once on one storage. Two: the second waits for the disk while the first unpacks, and
/// more only make each other slower and the locks of the storage (10 s, then an error) longer.
pub const CREATES_PER_STORAGE: usize = 2;
/// Downloads of one template at once. One: the others find it there.
pub const FETCHES_PER_TEMPLATE: usize = 1;

impl Share {
    /// How many may use it at once.
    pub fn most(&self) -> usize {
        match self {
            Self::Source(_) => COPIES_PER_SOURCE,
            Self::Storage(_) => CREATES_PER_STORAGE,
            Self::Template(_) => FETCHES_PER_TEMPLATE,
        }
    }

    /// What an effect on this container uses. Hosts without storages have no limit but the jobs.
    pub fn of(action: &Action, life: &Life) -> Vec<Self> {
        let storage = || match life.repertoire {
            Repertoire::Common => None,
            Repertoire::Proxmox => Some(Self::Storage(match (&life.spec.host_options.storage, &life.spec.origin) {
                (None, Origin::Template(_)) => Some(STORAGE_DEFAULT.to_owned()),
                (named, Origin::Template(_) | Origin::Clone { .. }) => named.clone(),
            })),
        };
        match action {
            Action::FetchTemplate => {
                life.repertoire.fetched_template(&life.spec).map(|name| Self::Template(name.to_owned())).into_iter().collect()
            }
            Action::Create { .. } => storage().into_iter().collect(),
            Action::Clone { source, .. } => storage().into_iter().chain([Self::Source(*source)]).collect(),
            Action::Mark
            | Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::SetFirewall
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::TakeSnapshot
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart
            | Action::Destroy
            | Action::Repair { .. } => Vec::new(),
        }
    }
}

/// Who uses what, and who waits for a place.
#[derive(Clone, Debug, Default)]
pub(super) struct Shares {
    used: BTreeMap<Share, BTreeSet<Ctid>>,
    wanted: BTreeMap<Share, BTreeSet<Ctid>>,
}

impl Shares {
    pub(super) fn engage(&mut self, ctid: Ctid, shares: Vec<Share>) {
        for share in shares {
            self.used.entry(share).or_default().insert(ctid);
        }
    }

    /// Whatever it used is free again.
    pub(super) fn disengage(&mut self, ctid: Ctid) {
        self.used.retain(|_, users| {
            users.remove(&ctid);
            !users.is_empty()
        });
    }

    /// The first of these that has no place left.
    pub(super) fn full<'a>(&self, ctid: Ctid, shares: &'a [Share]) -> Option<&'a Share> {
        shares.iter().find(|share| self.used.get(share).is_some_and(|users| !users.contains(&ctid) && users.len() >= share.most()))
    }

    pub(super) fn wait(&mut self, ctid: Ctid, share: &Share) {
        self.wanted.entry(share.clone()).or_default().insert(ctid);
    }

    /// Takes out somebody who waits for what has a place now.
    pub(super) fn invite(&mut self) -> Option<Ctid> {
        let used = &self.used;
        let has_room = |share: &Share| used.get(share).map_or(0, BTreeSet::len) < share.most();
        let (share, waiting) = self.wanted.iter_mut().find(|(share, _)| has_room(share))?;
        let (share, invited) = (share.clone(), waiting.pop_first());
        if waiting.is_empty() {
            self.wanted.remove(&share);
        }
        invited
    }

    /// Whether anybody waits.
    pub(super) fn is_waited_for(&self) -> bool {
        !self.wanted.is_empty()
    }
}
