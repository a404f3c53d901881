//! Recorded effects for tests of hosts: through a journal in memory, because nobody but a journal can make one.

use std::collections::BTreeSet;

use phoenix::codec::CONTAINER;
use phoenix::ids::{State, Wall};
use phoenix::journal::SCHEMA;
use phoenix::machine::Line;
use phoenix::plan::Effect;
use phoenix_journal::{Append, Body, DONE, Digest, Draft, Epoch, Heritage, Memory, Record, Recorded, Seq, StreamKey, base_name};

/// The effect, recorded at `seq` in the epoch of its mark, in a journal that was brought to the state in which its step may
/// begin. `seq` leaves room for that: 100 and more.
pub(crate) fn recorded(mut effect: Effect, seq: Seq) -> Recorded<Effect> {
    let step = effect.intent.step.to_string();
    let machine = SCHEMA.machines.iter().find(|machine| machine.name == CONTAINER).expect("a container machine");
    let begins = machine.begins.iter().find(|(base, _)| *base == base_name(&step)).expect("a row for every step");
    effect.intent.state = begins.1.parse().expect("a state");
    let heritage = Heritage { id: effect.mark.journal, epoch: Epoch::new(effect.mark.epoch.get() - 1) };
    let mut walk = Walk { journal: Memory::new_as(&SCHEMA, heritage).expect("the schema"), effect };
    walk.walk_to_state(machine.needs);
    while walk.journal.replay(None).expect("a journal").len() as u64 + 1 < seq.get() {
        walk.append(Body::Note { topic: "padding".to_owned() }, walk.effect.intent.state);
    }
    let Walk { mut journal, effect } = walk;
    let mut lines = journal.append_group(vec![Line::Effect(Box::new(effect), Wall(0))]).expect("a group");
    let line = lines.remove(0).expect("the step may begin");
    assert_eq!(line.seq(), seq, "the walk took more entries than there was room for");
    line.part::<Effect>().unwrap_or_else(|_| panic!("an effect was recorded"))
}

struct Walk {
    journal: Memory,
    effect: Effect,
}

impl Walk {
    /// Declares the stream and goes through the states, with the outcomes that each needs.
    fn walk_to_state(&mut self, needs: &[(&str, &str)]) {
        self.journal.begin(vec![self.draft(Body::Declare, State::Declared)]).expect("an epoch");
        let target = self.effect.intent.state;
        let mut state = State::Declared;
        let mut done = BTreeSet::new();
        while state != target {
            let next = state.next().expect("a state before the target");
            for (_, step) in needs.iter().filter(|(of, _)| *of == next.name()) {
                if !done.insert(step) {
                    continue;
                }
                let digest = Digest::of(b"");
                let intent = Seq::new(self.journal.replay(None).expect("a journal").len() as u64 + 1);
                self.append(Body::Intent { step: (*step).to_owned(), attempt: 1, deadline: None, digest }, state);
                self.append(Body::Outcome { intent, step: (*step).to_owned(), attempt: 1, result: DONE.into() }, state);
            }
            self.append(Body::Note { topic: "walk".to_owned() }, next);
            state = next;
        }
    }

    fn append(&mut self, body: Body, state: State) {
        let draft = self.draft(body, state);
        let verdicts = self.journal.append_group(vec![draft]).expect("a group");
        for verdict in verdicts {
            drop(verdict.expect("the walk is legal"));
        }
    }

    fn draft(&self, body: Body, state: State) -> Draft {
        let line = Line::Effect(Box::new(self.effect.clone()), Wall(0)).draft();
        let StreamKey { machine, stream } = line.stream;
        Draft {
            stream: StreamKey { machine, stream },
            body,
            state: state.name().into(),
            payload: "{}".to_owned(),
            blobs: Vec::new(),
            ..line
        }
    }
}
