//! Recording a rebuilt history in memory, before the journal that is to hold it is made.
//!
//! Apart so that everything that is recorded passes here: the guards are those of the real journal, and each container's life
//! learns each fact as it would when the journal is read. Not here: what is recorded.

use std::collections::BTreeMap;

use phoenix_journal::{Append, Epoch, Heritage, JournalId, Memory, Recorded, Seq};

use crate::ids::{Ctid, FleetName, Generation, Now, RunId, State};
use crate::journal::SCHEMA;
use crate::machine::{Declaration, Fact, Life, Line, RunClosed, RunCommand, RunEnd, Standing};

use super::super::opening::run_opened;
use super::RebuildError;
use super::recall::Sight;

/// Writes into a journal in memory, whose guards are those of the real one, and keeps what it wrote.
pub(super) struct Scribe {
    memory: Memory,
    pub(super) lines: Vec<Line>,
    lives: BTreeMap<Ctid, Life>,
    pub(super) run: RunId,
    pub(super) now: Now,
}

impl Scribe {
    /// Opens the run and declares every container.
    pub(super) fn begin(
        heritage: Heritage,
        fleet: &FleetName,
        sites: &BTreeMap<Ctid, Sight>,
        run: RunId,
        now: &Now,
    ) -> Result<Self, RebuildError> {
        let named = sites.keys().map(|&ctid| (ctid, fleet.clone())).collect();
        let declare = |(&ctid, sight): (&Ctid, &Sight)| Declaration {
            run,
            fleet: fleet.clone(),
            ctid,
            incarnation: sight.incarnation,
            generation: Generation::FIRST,
            spec: sight.wanted.spec.clone(),
            template: sight.wanted.template,
            repertoire: sight.wanted.repertoire,
            state: State::Declared,
            standing: Standing::Active,
            at: now.wall,
        };
        let declarations: Vec<Declaration> = sites.iter().map(declare).collect();
        let lives = declarations.iter().map(|declaration| (declaration.ctid, Life::declared(declaration))).collect();
        let facts = declarations.into_iter().map(|declaration| Fact::Declared(Box::new(declaration)));
        let opened = run_opened(run, RunCommand::Rebuild, named, 1, now.wall);
        let opening: Vec<Line> = std::iter::once(opened).chain(facts).map(Line::Fact).collect();
        let mut memory = Memory::new_as(&SCHEMA, heritage)?;
        memory.begin(opening.clone())?;
        Ok(Self { memory, lines: opening, lives, run, now: now.clone() })
    }

    pub(super) fn life(&self, ctid: Ctid) -> &Life {
        self.lives.get(&ctid).expect("every container was declared")
    }

    /// The number that the next entry gets.
    pub(super) fn next(&self) -> Seq {
        Seq::new(self.memory.len() as u64 + 1)
    }

    /// The id of the journal.
    pub(super) fn journal(&self) -> JournalId {
        self.memory.journal()
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.memory.epoch().expect("a journal that was begun has an epoch").0
    }

    /// Records one fact and has its container's life learn it.
    pub(super) fn record(&mut self, ctid: Ctid, fact: Fact) -> Result<(), RebuildError> {
        let recorded = self.append(fact)?;
        let life = self.lives.remove(&ctid).expect("every container was declared");
        let life = life.learn(recorded).map_err(|why| RebuildError::OutOfTurn { ctid, why })?;
        self.lives.insert(ctid, life);
        Ok(())
    }

    pub(super) fn close(&mut self, end: RunEnd) -> Result<(), RebuildError> {
        let closed = Fact::RunClosed(RunClosed { run: self.run, end, at: self.now.wall });
        self.append(closed).map(drop)
    }

    fn append(&mut self, fact: Fact) -> Result<Recorded<Fact>, RebuildError> {
        let line = Line::Fact(fact);
        self.lines.push(line.clone());
        let verdict = self.memory.append_group(vec![line])?.into_iter().next();
        let recorded = verdict.expect("a group of one has one verdict").map_err(|why| RebuildError::Refused { why })?;
        Ok(recorded.part::<Fact>().unwrap_or_else(|_| unreachable!("a fact was recorded")))
    }
}
