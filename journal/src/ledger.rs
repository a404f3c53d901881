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
    streams: BTreeMap<StreamKey, Arc<Stream>>,
}

#[derive(Clone, Debug)]
struct Stream {
    position: Position,
    /// All lives so far, the current one included.
    lives: BTreeSet<String>,
    /// Steps done in this life.
    done: BTreeSet<String>,
    /// Intents so far of each step in this life.
    attempts: BTreeMap<String, u32>,
    /// Step and attempt of the open intent.
    open: Option<(String, u32)>,
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
                self.streams.insert(draft.stream.clone(), Arc::new(Stream::first(seq, draft)));
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
    let (mut texts, mut counted) = (vec![&*stream.machine, &stream.stream, life, run, state, standing, payload], 1);
    match body {
        Body::Declare => {}
        Body::Intent { step, attempt, deadline, digest: _ } => {
            texts.extend([Some(step), deadline.as_ref()].into_iter().flatten().map(String::as_str));
            counted = *attempt;
        }
        Body::Outcome { intent: _, step, attempt, result } => {
            texts.extend([step, &**result]);
            counted = *attempt;
        }
        Body::Note { topic } => texts.push(topic),
    }
    if matches!(body, Body::Intent { step, .. } | Body::Outcome { step, .. } if step.is_empty()) {
        return malformed("the step is empty");
    }
    // SQLite's text functions stop at a NUL, so two names that differ after one would be the same to a guard.
    if texts.iter().any(|text| text.contains('\0')) {
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
        if !same_life && self.lives.contains(&draft.life) {
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
        if !machine.begins.contains(&(base_name(step).to_owned(), draft.state.to_string())) {
            return Err(Refused::Begins { key: key(), step: step.to_owned(), state: draft.state.to_string() });
        }
        let expected = self.attempts.get(step).copied().unwrap_or(0).saturating_add(1);
        if attempt != expected {
            return Err(Refused::Attempt { key: key(), step: step.to_owned(), expected, given: attempt });
        }
        Ok(())
    }

    fn admit_outcome(&self, draft: &Draft, intent: Seq, step: &str, attempt: u32) -> Result<(), Refused> {
        let key = draft.stream.clone();
        match (self.position.open_intent, &self.open) {
            (Some(open), Some((open_step, open_attempt))) if open == intent => {
                if open_step == step && *open_attempt == attempt {
                    return Ok(());
                }
                Err(Refused::OtherIntent { key, intent, step: open_step.clone(), attempt: *open_attempt })
            }
            (open, _) => Err(Refused::NoSuchIntent { key, intent, open }),
        }
    }

    /// `proof` is the step that this very entry shows to be done.
    fn admit_transition(&self, machine: &MachineRules, draft: &Draft, proof: Option<&String>) -> Result<(), Refused> {
        let (key, from, to) = (|| draft.stream.clone(), &self.position.state, &draft.state);
        if from == to {
            return Ok(());
        }
        if !machine.edges.contains(&(from.to_string(), to.to_string())) {
            return Err(Refused::Edge { key: key(), from: from.to_string(), to: to.to_string() });
        }
        let lacks = |step: &&String| !self.done.contains(*step) && proof != Some(*step);
        match machine.needs.iter().filter(|(state, _)| state == to).map(|(_, step)| step).find(lacks) {
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
        let lives = BTreeSet::from([draft.life.clone()]);
        Self { position, lives, done: BTreeSet::new(), attempts: BTreeMap::new(), open: None }
    }

    fn learn(&mut self, initial: &str, seq: Seq, draft: &Draft) {
        let position = &mut self.position;
        let reborn = position.life != draft.life;
        let moved = position.state != draft.state;
        if reborn {
            self.lives.insert(draft.life.clone());
            self.done.clear();
            self.attempts.clear();
        }
        match &draft.body {
            Body::Declare | Body::Note { .. } => {}
            Body::Intent { step, attempt, deadline: _, digest: _ } => {
                self.attempts.insert(step.clone(), *attempt);
                self.open = Some((step.clone(), *attempt));
                position.open_intent = Some(seq);
            }
            Body::Outcome { intent: _, step, attempt: _, result } => {
                if &**result == DONE {
                    self.done.insert(step.clone());
                }
                (self.open, position.open_intent) = (None, None);
            }
        }
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
        position.state.clone_from(&draft.state);
        position.standing.clone_from(&draft.standing);
        position.life.clone_from(&draft.life);
        position.generation = draft.generation;
    }
}
