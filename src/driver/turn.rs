//! One turn of the loop: events into the engine, what it wants recorded into the journal, what is recorded out to the host.
//!
//! Generic over the journal, and without threads, clocks or waiting, so that the real driver and the simulation share it:
//! what is rehearsed is what runs. Not here: who carries the work out, and when.

use std::sync::Arc;

use phoenix_journal::{Append, JournalError, Recorded, Refused};

use crate::engine::{Engine, Event, Outbox, Request};
use crate::host::{Host, HostError, Lease, LockError};
use crate::ids::{Ctid, Moment, Now};
use crate::machine::{Fact, Line, RunEnd, Wait, WaitKind};
use crate::plan::{Doubt, Effect};

use super::progress::{Observer, Progress};

/// Work for the host, or a wait.
#[derive(Debug)]
pub enum Work {
    /// Carry out an effect whose intent is durable.
    CarryOut {
        /// The container.
        ctid: Ctid,
        /// The effect.
        effect: Box<Recorded<Effect>>,
        /// Its locks.
        lease: Lease,
    },
    /// Find out what became of an intent.
    Settle(Box<Doubt>),
    /// Look at a container, as the run's first look did at all of them; send `Looked`.
    Look {
        /// The container.
        ctid: Ctid,
    },
    /// Send `Woke` at this moment.
    Wake {
        /// The container.
        ctid: Ctid,
        /// When.
        at: Moment,
    },
}

/// Why a run breaks off. Everything that was recorded stays; `phoenix resume` goes on from it.
#[derive(Debug, thiserror::Error)]
pub enum TurnError {
    /// The journal cannot be written.
    #[error("the journal could not be written; nothing was begun that it does not hold")]
    Journal(#[from] JournalError),
    /// The journal refused an entry, which means that the engine is wrong.
    #[error("the journal refused an entry of container {ctid}, which is a fault of phoenix; `phoenix history {ctid}` shows what led to it")]
    Refused {
        /// The container.
        ctid: Ctid,
        /// The journal's reason.
        #[source]
        why: Refused,
    },
    /// The host cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
}

/// Where the locks of containers are taken.
pub trait Locks {
    /// Takes the locks that an effect needs, without waiting, and allocates what it will have to write.
    fn lock(&self, effect: &Effect) -> Result<Lease, LockError>;
}

impl Locks for Arc<dyn Host> {
    fn lock(&self, effect: &Effect) -> Result<Lease, LockError> {
        let mut lease = self.as_ref().lock(&effect.locks())?;
        self.as_ref().allocate(effect, &mut lease)?;
        Ok(lease)
    }
}

/// The engine together with its journal.
pub struct Turner<'a, J, L> {
    /// The journal.
    pub journal: J,
    /// The engine.
    pub engine: Engine,
    locks: L,
    /// Who is told what happens.
    pub observer: &'a mut dyn Observer,
    outbox: Outbox,
    /// Why nothing more is begun; the run's error, once what is under way has ended.
    trouble: Option<TurnError>,
}

impl<'a, J: Append, L: Locks> Turner<'a, J, L> {
    /// Puts the parts together.
    pub fn new(journal: J, engine: Engine, locks: L, observer: &'a mut dyn Observer) -> Self {
        Self { journal, engine, locks, observer, outbox: Outbox::default(), trouble: None }
    }

    /// Takes in what happened; returns the work that follows. All that the engine wants recorded at one time goes into one
    /// transaction, and nothing is returned as work before that is durable. Where nothing more can be begun this is no error yet:
    /// what is under way comes to its end and is recorded first, see [`end`](Self::end).
    pub fn turn(&mut self, events: Vec<Event>, now: &Now) -> Result<Vec<Work>, TurnError> {
        let mut work = Vec::new();
        self.take_in(events, now);
        while self.commit(now, &mut work)? {}
        Ok(work)
    }

    /// Takes in what happened; [`commit`](Self::commit) does what follows.
    pub fn take_in(&mut self, events: Vec<Event>, now: &Now) {
        for event in events {
            self.engine.handle(event, now, &mut self.outbox);
        }
    }

    /// Makes durable, in one transaction, what the engine wants recorded now, and tells it; adds the work that follows to `work`.
    /// `false` once it wants nothing more. Apart from [`turn`](Self::turn) so that a rehearsal can crash between two of them.
    pub fn commit(&mut self, now: &Now, work: &mut Vec<Work>) -> Result<bool, TurnError> {
        if self.outbox.is_empty() {
            return Ok(false);
        }
        let events = self.serve(now, work)?;
        self.take_in(events, now);
        Ok(true)
    }

    /// How the run ended, if it has: with the error for which nothing more was begun, if there was one.
    pub fn end(&mut self) -> Result<Option<RunEnd>, TurnError> {
        match self.engine.end() {
            Some(end) => self.trouble.take().map_or(Ok(Some(end)), Err),
            None => Ok(None),
        }
    }

    /// Tells why nothing more is begun; `false` if nothing is in the way.
    pub fn tell_trouble(&mut self, in_flight: usize) -> bool {
        if let Some(why) = &self.trouble {
            self.observer.observe(Progress::Stopping { in_flight, why: Some(why) });
        }
        self.trouble.is_some()
    }

    /// Begins nothing more from here on, because of the first such error; the event that says so of what was wanted for `ctid`.
    pub fn give_up(&mut self, ctid: Ctid, error: impl Into<TurnError>) -> Event {
        self.trouble.get_or_insert_with(|| error.into());
        Event::NotBegun { ctid }
    }

    /// Serves everything in the outbox; returns the events that come of it.
    fn serve(&mut self, now: &Now, work: &mut Vec<Work>) -> Result<Vec<Event>, TurnError> {
        let (mut events, mut lines, mut leases) = (Vec::new(), Vec::new(), Vec::new());
        for request in std::mem::take(&mut self.outbox).drain() {
            match request {
                Request::Begin(effect) if self.trouble.is_some() => events.push(Event::NotBegun { ctid: effect.intent.ctid }),
                Request::Begin(effect) => match self.locks.lock(&effect) {
                    Ok(lease) => {
                        leases.push(Some(lease));
                        lines.push(Line::Effect(effect, now.wall));
                    }
                    Err(LockError::Busy { ctid, holder_pid, holder_command }) => {
                        let wait = Wait { kind: WaitKind::Lock, name: holder_command, ctid: Some(ctid), pid: holder_pid, since: now.wall };
                        self.observer.observe(Progress::Waiting { ctid: effect.intent.ctid, wait: &wait });
                        events.push(Event::Busy { ctid: effect.intent.ctid, wait });
                    }
                    Err(LockError::Host(error)) => events.push(self.give_up(effect.intent.ctid, error)),
                },
                Request::Look { ctid } => work.push(Work::Look { ctid }),
                Request::Record(fact) => {
                    leases.push(None);
                    lines.push(Line::Fact(fact));
                }
                Request::Settle(doubt) => {
                    self.observer.observe(Progress::Settling { doubt: &doubt });
                    work.push(Work::Settle(doubt));
                }
                Request::Wake { ctid, at } => work.push(Work::Wake { ctid, at }),
            }
        }
        self.record(lines, leases, &mut events, work)?;
        Ok(events)
    }

    /// What a refusal means: a full journal begins nothing more. An entry of a run's stream has no container, so the smallest
    /// number stands in.
    fn refused(&mut self, ctid: Option<Ctid>, why: Refused) -> Result<Event, TurnError> {
        let ctid = ctid.unwrap_or_else(|| Ctid::new(crate::ids::CTID_MIN).expect("the smallest id is in range"));
        if matches!(why, Refused::Full { .. }) {
            return Ok(self.give_up(ctid, JournalError::Full { source: Some(Box::new(why)) }));
        }
        Err(TurnError::Refused { ctid, why })
    }

    fn record(
        &mut self,
        lines: Vec<Line>,
        leases: Vec<Option<Lease>>,
        events: &mut Vec<Event>,
        work: &mut Vec<Work>,
    ) -> Result<(), TurnError> {
        if lines.is_empty() {
            return Ok(());
        }
        let ctids: Vec<Option<Ctid>> = lines.iter().map(Line::ctid).collect();
        let begins_only = lines.iter().all(begins_something);
        let verdicts = match self.journal.append_group(lines) {
            Err(_) if phoenix_journal::sabotaged("failed_appends_are_passed_over") => return Ok(()),
            Err(full @ JournalError::Full { .. }) if begins_only => {
                events.extend(ctids.into_iter().flatten().map(|ctid| Event::NotBegun { ctid }));
                self.trouble.get_or_insert_with(|| full.into());
                return Ok(());
            }
            other => other?,
        };
        for ((verdict, lease), ctid) in verdicts.into_iter().zip(leases).zip(ctids) {
            let line = match verdict {
                Ok(line) => line,
                Err(why) => {
                    events.push(self.refused(ctid, why)?);
                    continue;
                }
            };
            match (line.part::<Effect>(), lease) {
                (Ok(effect), Some(lease)) => {
                    let (ctid, seq) = (effect.intent.ctid, effect.seq());
                    self.observer.observe(Progress::Intended { seq, intent: &effect.intent });
                    events.push(Event::Began { ctid, seq });
                    work.push(Work::CarryOut { ctid, effect: Box::new(effect), lease });
                }
                (Ok(_), None) | (Err(_), Some(_)) => unreachable!("leases are pushed together with the lines that need them"),
                (Err(line), None) => {
                    let Ok(fact) = line.part::<Fact>() else { unreachable!("a line is an effect or a fact") };
                    self.observer.observe(Progress::Recorded { seq: fact.seq(), fact: fact.get() });
                    events.push(Event::Recorded(fact));
                }
            }
        }
        Ok(())
    }
}

/// Whether a full journal refuses it without being unfit for what settles things.
fn begins_something(line: &Line) -> bool {
    matches!(line, Line::Effect(..) | Line::Fact(Fact::Declared(_)))
}
