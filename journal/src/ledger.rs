//! The guards in Rust: which draft is accepted, from what came before.
//!
//! The same rules stand in the schema's triggers, which decide for journals on disk. This copy decides for journals in memory
//! and re-evaluates whole histories for `verify`; that there are two, and a model test between them, is what finds a mistake
//! in either. The order of the checks is part of the rules: it decides which of several reasons is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::entry::base_name;
use crate::schema::{MachineRules, Rules};
use crate::{Body, DONE, Draft, Position, Refused, Seq, StreamKey};

/// What the guards need to know of the history. Cheap to clone: simulations do it at every crash point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    streams: BTreeMap<Arc<StreamKey>, Arc<Stream>>,
}

/// Names are shared among clones: most of a stream's are the same before and after an entry.
#[derive(Clone, Debug)]
struct Stream {
    position: Position,
    /// All lives so far, the current one included.
    lives: BTreeSet<Arc<str>>,
    /// The steps of this life.
    steps: BTreeMap<Arc<str>, Tried>,
    /// Step and attempt of the open intent.
    open: Option<(Arc<str>, u32)>,
}

/// What was tried of a step in one life.
#[derive(Clone, Copy, Debug, Default)]
struct Tried {
    /// Intents so far.
    attempts: u32,
    done: bool,
}

impl Ledger {
    pub(crate) fn positions(&self) -> impl Iterator<Item = &Position> {
        self.streams.values().map(|stream| &stream.position)
    }

    /// Whether the draft is accepted.
    pub(crate) fn admit(&self, rules: &Rules, draft: &Draft) -> Result<(), Refused> {
        let Draft { stream: key, life: _, generation: _, run: _, body: _, state, standing, payload: _, at_ms: _, blobs: _ } = draft;
        well_formed(draft)?;
        let Some(machine) = rules.machines.get(&*key.machine) else {
            return Err(Refused::UnknownMachine { machine: key.machine.to_string() });
        };
        if !machine.states.contains(&**state) {
            return Err(Refused::UnknownState { key: key.clone(), state: state.to_string() });
        }
        if !machine.standings.contains(&**standing) {
            return Err(Refused::UnknownStanding { key: key.clone(), standing: standing.to_string() });
        }
        match self.streams.get(key) {
            None => admit_first(machine, draft),
            Some(stream) => stream.admit(machine, draft),
        }
    }

    /// Takes an accepted draft into account.
    pub(crate) fn learn(&mut self, rules: &Rules, seq: Seq, draft: &Draft) {
        let initial = rules.machines.get(&*draft.stream.machine).map_or("", |machine| machine.initial.as_str());
        match self.streams.get_mut(&draft.stream) {
            Some(stream) => Arc::make_mut(stream).learn(initial, seq, draft),
            None => {
                self.streams.insert(Arc::new(draft.stream.clone()), Arc::new(Stream::first(seq, draft)));
            }
        }
    }
}

/// What needs no history: asked for by both kinds of journals before anything else.
pub(crate) fn well_formed(draft: &Draft) -> Result<(), Refused> {
    let malformed = |what| Err(Refused::Malformed { what });
    let Draft { stream, life, generation, run, body, state, standing, payload, at_ms: _, blobs: _ } = draft;
    if stream.stream.is_empty() || life.is_empty() {
        return malformed("stream or life is empty");
    }
    let common = [&*stream.machine, &stream.stream, life, run, state, standing, payload];
    let (own, counted): ([&str; 2], u32) = match body {
        Body::Declare => (["", ""], 1),
        Body::Intent { step, attempt, deadline, digest: _ } => ([step, deadline.as_deref().unwrap_or_default()], *attempt),
        Body::Outcome { intent: _, step, attempt, result } => ([step, result], *attempt),
        Body::Note { topic } => ([topic, ""], 1),
    };
    if matches!(body, Body::Intent { step, .. } | Body::Outcome { step, .. } if step.is_empty()) {
        return malformed("the step is empty");
    }
    // SQLite's text functions stop at a NUL, so two names that differ after one would be the same to a guard.
    if common.iter().chain(&own).any(|text| text.contains('\0')) {
        return malformed("a text holds a NUL");
    }
    if *generation == 0 || counted == 0 || i64::try_from(*generation).is_err() {
        return malformed("generation or attempt is out of range");
    }
    Ok(())
}

fn admit_first(machine: &MachineRules, draft: &Draft) -> Result<(), Refused> {
    let key = || draft.stream.clone();
    if draft.body != Body::Declare {
        return Err(Refused::Undeclared { key: key() });
    }
    if draft.generation != 1 {
        return Err(Refused::Generation { key: key(), expected: 1, given: draft.generation });
    }
    if draft.state != *machine.initial {
        return Err(Refused::NotInitial { key: key(), state: draft.state.to_string(), initial: machine.initial.clone() });
    }
    Ok(())
}

impl Stream {
    fn admit(&self, machine: &MachineRules, draft: &Draft) -> Result<(), Refused> {
        let (key, position) = (|| draft.stream.clone(), &self.position);
        match &draft.body {
            Body::Declare => return self.admit_declaration(machine, draft),
            Body::Intent { .. } | Body::Outcome { .. } | Body::Note { .. } => {}
        }
        if position.ended {
            return Err(Refused::Ended { key: key() });
        }
        if draft.life != position.life {
            return Err(Refused::Life { key: key(), expected: position.life.clone(), given: draft.life.clone() });
        }
        if draft.generation != position.generation {
            return Err(Refused::Generation { key: key(), expected: position.generation, given: draft.generation });
        }
        match &draft.body {
            Body::Intent { step, attempt, deadline: _, digest: _ } => self.admit_intent(machine, draft, step, *attempt),
            Body::Outcome { intent, step, attempt, result } => {
                self.admit_outcome(draft, *intent, step, *attempt)?;
                self.admit_transition(machine, draft, (&**result == DONE).then_some(step))
            }
            Body::Declare | Body::Note { .. } => self.admit_transition(machine, draft, None),
        }
    }

    fn admit_declaration(&self, machine: &MachineRules, draft: &Draft) -> Result<(), Refused> {
        let (key, position) = (|| draft.stream.clone(), &self.position);
        if let Some(open) = position.open_intent {
            return Err(Refused::OpenIntent { key: key(), open });
        }
        let same_life = draft.life == position.life;
        if same_life && position.ended {
            return Err(Refused::Ended { key: key() });
        }
        if !same_life && position.state != *machine.initial {
            return Err(Refused::LifeGoesOn { key: key(), state: position.state.to_string(), initial: machine.initial.clone() });
        }
        if !same_life && self.lives.contains(&*draft.life) {
            return Err(Refused::LifeReused { key: key(), life: draft.life.clone() });
        }
        let expected = position.generation + 1;
        let kept = !same_life && draft.generation == position.generation;
        if draft.generation != expected && !kept {
            return Err(Refused::Generation { key: key(), expected, given: draft.generation });
        }
        self.admit_standstill(draft)
    }

    fn admit_standstill(&self, draft: &Draft) -> Result<(), Refused> {
        if draft.state == self.position.state {
            return Ok(());
        }
        Err(Refused::Moves {
            key: draft.stream.clone(),
            kind: draft.body.kind(),
            from: self.position.state.to_string(),
            to: draft.state.to_string(),
        })
    }

    fn admit_intent(&self, machine: &MachineRules, draft: &Draft, step: &str, attempt: u32) -> Result<(), Refused> {
        let key = || draft.stream.clone();
        if let Some(open) = self.position.open_intent {
            return Err(Refused::OpenIntent { key: key(), open });
        }
        self.admit_standstill(draft)?;
        if !machine.begins(base_name(step), &draft.state) {
            return Err(Refused::Begins { key: key(), step: step.to_owned(), state: draft.state.to_string() });
        }
        let expected = self.tried(step).attempts.saturating_add(1);
        if attempt != expected {
            return Err(Refused::Attempt { key: key(), step: step.to_owned(), expected, given: attempt });
        }
        Ok(())
    }

    fn admit_outcome(&self, draft: &Draft, intent: Seq, step: &str, attempt: u32) -> Result<(), Refused> {
        let key = || draft.stream.clone();
        match (self.position.open_intent, &self.open) {
            (Some(open), Some((open_step, open_attempt))) if open == intent => {
                if **open_step == *step && *open_attempt == attempt {
                    return Ok(());
                }
                Err(Refused::OtherIntent { key: key(), intent, step: open_step.to_string(), attempt: *open_attempt })
            }
            (open, _) => Err(Refused::NoSuchIntent { key: key(), intent, open }),
        }
    }

    /// What was tried of a step in this life.
    fn tried(&self, step: &str) -> Tried {
        self.steps.get(step).copied().unwrap_or_default()
    }

    /// The step's account, and its name as it is shared.
    fn step(&mut self, step: &str) -> (Arc<str>, &mut Tried) {
        let name = self.steps.get_key_value(step).map_or_else(|| Arc::from(step), |(name, _)| Arc::clone(name));
        let tried = self.steps.entry(Arc::clone(&name)).or_default();
        (name, tried)
    }

    /// `proof` is the step that this very entry shows to be done.
    fn admit_transition(&self, machine: &MachineRules, draft: &Draft, proof: Option<&String>) -> Result<(), Refused> {
        let (key, from, to) = (|| draft.stream.clone(), &self.position.state, &draft.state);
        if from == to {
            return Ok(());
        }
        if !machine.has_edge(from, to) {
            return Err(Refused::Edge { key: key(), from: from.to_string(), to: to.to_string() });
        }
        let lacks = |step: &&String| !self.tried(step).done && proof != Some(*step);
        match machine.needed_for(to).find(lacks) {
            Some(step) => Err(Refused::NeedsEvidence { key: key(), state: to.to_string(), step: step.clone() }),
            None => Ok(()),
        }
    }

    fn first(seq: Seq, draft: &Draft) -> Self {
        let position = Position {
            key: draft.stream.clone(),
            state: draft.state.clone(),
            standing: draft.standing.clone(),
            life: draft.life.clone(),
            generation: draft.generation,
            last_seq: seq,
            open_intent: None,
            standing_seq: seq,
            state_seq: seq,
            ended: false,
        };
        let lives = BTreeSet::from([Arc::from(&*draft.life)]);
        Self { position, lives, steps: BTreeMap::new(), open: None }
    }

    fn learn(&mut self, initial: &str, seq: Seq, draft: &Draft) {
        let reborn = self.position.life != draft.life;
        let moved = self.position.state != draft.state;
        if reborn {
            self.lives.insert(Arc::from(&*draft.life));
            self.steps.clear();
        }
        match &draft.body {
            Body::Declare | Body::Note { .. } => {}
            Body::Intent { step, attempt, deadline: _, digest: _ } => {
                let (name, tried) = self.step(step);
                tried.attempts = *attempt;
                (self.open, self.position.open_intent) = (Some((name, *attempt)), Some(seq));
            }
            Body::Outcome { intent: _, step, attempt: _, result } => {
                if &**result == DONE {
                    self.step(step).1.done = true;
                }
                (self.open, self.position.open_intent) = (None, None);
            }
        }
        let position = &mut self.position;
        position.ended = moved && draft.state == *initial;
        // An intent that the end of a life leaves open never gets an outcome: there is nothing left that it could be about.
        if position.ended {
            (self.open, position.open_intent) = (None, None);
        }
        if reborn || moved {
            position.state_seq = seq;
        }
        if reborn || position.standing != draft.standing {
            position.standing_seq = seq;
        }
        position.last_seq = seq;
        // Most entries leave a stream where it was.
        if moved {
            position.state.clone_from(&draft.state);
        }
        if position.standing != draft.standing {
            position.standing.clone_from(&draft.standing);
        }
        if reborn {
            position.life.clone_from(&draft.life);
        }
        position.generation = draft.generation;
    }
}
