//! The journal's account: entries in, lives and runs out.
//!
//! One bad stream never holds up another: what cannot be read about a container is an error of that container alone. Not
//! here: reading only what a status needs (`snapshot`).

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::{Digest, Entry, Fold, Memory, Recorded};

use crate::codec::{CodecError, RUN};
use crate::ids::{Ctid, RunId};
use crate::machine::{Fact, Life, OutOfTurn, RunClosed, RunCommand, RunEnd, RunOpened};
use crate::manifest::{Feature, Script, Spec};

/// All that a journal says.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Every container that was ever declared; an error where the entries say what cannot be.
    pub lives: BTreeMap<Ctid, Result<Life, OutOfTurn>>,
    /// Every run, in the order in which they began.
    pub runs: Vec<Arc<RunRecord>>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// How it began.
    pub opened: RunOpened,
    /// How it ended; nothing if it was killed, or is going on.
    pub end: Option<RunEnd>,
}

impl Account {
    /// Folds a journal's entries, in order.
    pub fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut account = Self::default();
        for entry in entries {
            account.take(&entry, entry.mint());
        }
        account
    }

    /// The same of a journal in memory, which may have kept a part of it.
    pub fn of_memory(journal: &Memory) -> Self {
        journal.folded()
    }

    /// The newest run that names a container; only it counts.
    pub fn newest_run(&self, ctid: Ctid) -> Option<&RunRecord> {
        let superseded = usize::from(phoenix_journal::sabotaged("superseded_runs_go_on"));
        let names_it = |run: &&RunRecord| run.opened.command != RunCommand::Retry && run.opened.containers.contains_key(&ctid);
        self.runs.iter().rev().map(|run| &**run).skip(superseded).find(names_it)
    }

    /// A run by its id.
    pub fn run(&self, id: RunId) -> Option<&RunRecord> {
        self.runs.iter().map(|run| &**run).find(|run| run.opened.run == id)
    }

    fn take(&mut self, entry: &Entry, fact: Result<Recorded<Fact>, CodecError>) {
        if entry.stream.machine == RUN {
            // A run that cannot be read names no containers; theirs are read all the same.
            if let Ok(recorded) = fact {
                self.take_run(recorded.into_inner());
            }
            return;
        }
        // A stream whose name is no container id cannot come from this program; `journal verify` reports it.
        let Ok(ctid) = entry.stream.stream.parse::<Ctid>() else { return };
        if phoenix_journal::sabotaged("undecodable_entries_are_skipped") && fact.is_err() {
            return;
        }
        let unread = |error| OutOfTurn::Order { what: format!("entry {} cannot be read: {error}", entry.seq) };
        match (self.lives.get_mut(&ctid), fact) {
            (Some(Err(_)), _) => {}
            (Some(life), Err(error)) => *life = Err(unread(error)),
            (Some(life), Ok(fact)) => {
                let so_far = std::mem::replace(life, Err(OutOfTurn::Order { what: String::new() }));
                *life = so_far.and_then(|so_far| so_far.learn(fact));
            }
            (None, Err(error)) => {
                self.lives.insert(ctid, Err(unread(error)));
            }
            (None, Ok(fact)) => {
                let life = match fact.into_inner() {
                    Fact::Declared(declaration) => Ok(Life::declared(&declaration)),
                    Fact::Intended(..) | Fact::Outcome(_) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => {
                        Err(OutOfTurn::Order { what: format!("entry {} speaks of a container that was never declared", entry.seq) })
                    }
                };
                self.lives.insert(ctid, life);
            }
        }
    }

    fn take_run(&mut self, fact: Fact) {
        match fact {
            Fact::RunOpened(opened) => self.runs.push(Arc::new(RunRecord { opened: *opened, end: None })),
            Fact::RunClosed(RunClosed { run, end, at: _ }) => {
                if let Some(known) = self.runs.iter_mut().find(|known| known.opened.run == run) {
                    Arc::make_mut(known).end = Some(end);
                }
            }
            Fact::Declared(_) | Fact::Intended(..) | Fact::Outcome(_) | Fact::Noted(_) => {}
        }
    }
}

impl Fold for Account {
    fn take(&mut self, entry: &Entry) {
        Self::take(self, entry, entry.mint());
    }
}

/// A spec with the texts of its scripts, which the journal keeps by digest; `None` if one is missing.
pub fn with_texts(spec: &Spec, mut text: impl FnMut(&Digest) -> Option<Vec<u8>>) -> Option<Spec> {
    let mut fill = |script: &Script| -> Option<Script> {
        let text = match &script.text {
            Some(text) => Arc::clone(text),
            None => Arc::from(text(&script.digest)?),
        };
        Some(Script { text: Some(text), ..script.clone() })
    };
    let features = spec.features.iter().map(|feature| Some(Feature { name: feature.name.clone(), script: fill(&feature.script)? }));
    let features = features.collect::<Option<Vec<_>>>()?;
    let application = match &spec.application {
        Some(script) => Some(fill(script)?),
        None => None,
    };
    Some(Spec { features, application, ..spec.clone() })
}
