//! What the journal of a ground says, read as any other program would read it: without its lock.
//!
//! Apart from `ground` because it goes round the command line, on purpose: what `status` and `history` print is held against
//! it. Not here: writing, which Phoenix alone does.

use std::collections::BTreeMap;

use phoenix::journal::SCHEMA;
use phoenix::machine::Fact;
use phoenix::plan::{Intent, Reason};
use phoenix_journal::{Body, Entry, Position, Reader};

use super::ground::Ground;

impl Ground {
    pub(crate) fn reader(&self) -> Reader {
        Reader::open(&self.journal(), &SCHEMA).expect("a journal")
    }

    /// Every entry; none if there is no journal yet.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        if self.journal().exists() { self.reader().entries(.., None).expect("entries") } else { Vec::new() }
    }

    pub(crate) fn positions(&self) -> Vec<Position> {
        self.reader().positions().expect("positions")
    }

    fn intents(&self) -> Vec<Intent> {
        let facts = self.entries().into_iter().filter_map(|entry| Some(entry.mint::<Fact>().ok()?.into_inner()));
        let intents = facts.filter_map(|fact| match fact {
            Fact::Intended(intent, _) => Some(*intent),
            Fact::Declared(_) | Fact::Outcome(_) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => None,
        });
        intents.collect()
    }

    /// The intents of a step of the container that is there now, in order.
    pub(crate) fn intents_of(&self, place: u32, step: &str) -> Vec<Intent> {
        let ctid = self.ctid(place);
        let mut intents: Vec<Intent> = self.intents().into_iter().filter(|intent| intent.ctid.get() == ctid).collect();
        let life = intents.last().map(|intent| intent.incarnation);
        intents.retain(|intent| Some(intent.incarnation) == life && intent.step.to_string() == step);
        intents
    }

    /// From when to when an intent was open, in milliseconds since 1970, by its token; to the end of time if it still is.
    pub(crate) fn open_times(&self) -> BTreeMap<String, (i64, i64)> {
        let (mut times, mut tokens) = (BTreeMap::new(), BTreeMap::new());
        for fact in self.entries().iter().filter_map(|entry| entry.mint::<Fact>().ok()) {
            let seq = fact.seq();
            match fact.into_inner() {
                Fact::Intended(intent, at) => {
                    let token = intent.token.to_string();
                    times.insert(token.clone(), (at.0, i64::MAX));
                    tokens.insert(seq, token);
                }
                Fact::Outcome(outcome) => {
                    if let Some(time) = tokens.get(&outcome.intent).and_then(|token| times.get_mut(token)) {
                        time.1 = outcome.at.0;
                    }
                }
                Fact::Declared(_) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => {}
            }
        }
        times
    }

    /// The step of a container that was begun and has no outcome.
    pub(crate) fn open_step(&self, place: u32) -> Option<String> {
        if !self.journal().exists() {
            return None;
        }
        let reader = Reader::open(&self.journal(), &SCHEMA).ok()?;
        let overview = reader.overview().ok()?;
        let stream = self.ctid(place).to_string();
        let open = overview.into_iter().find(|one| one.position.key.stream == stream)?.open?;
        match &open.body {
            Body::Intent { step, .. } => Some(step.clone()),
            Body::Declare | Body::Outcome { .. } | Body::Note { .. } => None,
        }
    }

    /// Every start of a script beyond the first is one that the journal gives a reason for, in the container that is there now.
    #[track_caller]
    pub(crate) fn invariant_starts_are_explained(&self, place: u32, script: &str, step: &str) {
        let reasons: Vec<Reason> = self.intents_of(place, step).into_iter().map(|intent| intent.reason).collect();
        check_explained(script, self.starts(place, script), &reasons);
    }

    /// The journal is whole, by its own word.
    #[track_caller]
    pub(crate) fn invariant_journal_is_clean(&self) {
        self.ends(0, &["journal", "verify"]);
    }
}

#[track_caller]
fn check_explained(script: &str, starts: usize, reasons: &[Reason]) {
    assert!(starts >= 1, "{script} was never started");
    assert!(starts <= reasons.len(), "{script} was started {starts} times, and these are the reasons: {reasons:?}");
    for (index, reason) in reasons.iter().enumerate() {
        assert_eq!(index == 0, *reason == Reason::First, "of {script}: {reasons:?}");
    }
}
