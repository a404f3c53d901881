//! A person's decision about a container that does not go on by itself.
//!
//! Recorded as facts, in a run of its own that ends at once: all of it is one transaction under the journal's lock, so that a
//! crash leaves the decision whole or not at all. Acting on it is the affair of the next `up` or `resume`. Not here: what can
//! be decided about which quarantine, which people read in the documents.

use std::collections::BTreeMap;

use phoenix_journal::{Append, Epoch, Seq};

use crate::engine::limits;
use crate::host::LockError;
use crate::ids::{Ctid, Generation, Incarnation, Moment, RunId, State, StepId, Token, Wall};
use crate::journal::Account;
use crate::machine::{
    Decision, Declaration, Due, Evidence, Fact, Life, Line, Note, OutOfTurn, Outcome, QuarantineReason, RunClosed, RunCommand, RunEnd,
    Standing, StepResult, Topic,
};
use crate::plan::{Action, Intent, Mark, Reason, Seen};

use super::opening::run_opened;
use super::run::{RunError, Site, look, open};

/// What a person asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// A new budget, for everything that failed or for one step; a quarantined container is looked at again.
    NewBudget {
        /// The step, if only one is meant.
        step: Option<StepId>,
    },
    /// Start the script that was cut off again.
    Rerun {
        /// The script's step, where it is not plain which.
        step: Option<StepId>,
    },
    /// Take the script that was cut off as done.
    Skip {
        /// The script's step, where it is not plain which.
        step: Option<StepId>,
    },
    /// Write the identity mark again.
    Remark,
    /// Forget the container, which must be gone or not ours, and declare a new one.
    Recreate,
}

/// What was found and recorded.
#[derive(Clone, Debug)]
pub struct Decided {
    /// The run that holds the decision.
    pub run: RunId,
    /// The state before.
    pub state: State,
    /// The standing before.
    pub before: Standing,
    /// The container as the host showed it.
    pub seen: Option<Seen>,
    /// The mark that would be ours.
    pub mark: Mark,
    /// What was recorded, beside the run itself.
    pub facts: Vec<Fact>,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// Journal or host cannot be used, or the container is not known.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Nothing stands against going on.
    #[error(
        "container {ctid} neither failed nor is it quarantined or waiting, so there is nothing to decide; `phoenix explain {ctid}` says how it stands"
    )]
    NothingToDecide {
        /// The container.
        ctid: Ctid,
    },
    /// What became of a step is not known yet.
    #[error("{step} of container {ctid} is in doubt; `phoenix resume` finds out what became of it first")]
    InDoubt {
        /// The container.
        ctid: Ctid,
        /// The step.
        step: StepId,
    },
    /// No script of it was cut off.
    #[error("no script of container {ctid} was cut off and waits for a decision; `phoenix explain {ctid}` says how it stands")]
    NotInterrupted {
        /// The container.
        ctid: Ctid,
    },
    /// The step was never tried.
    #[error("container {ctid} has not tried a step {step} in this incarnation; `phoenix explain {ctid}` lists its steps")]
    NoSuchStep {
        /// The container.
        ctid: Ctid,
        /// The step.
        step: StepId,
    },
    /// It is there, and ours.
    #[error("container {ctid} is there and ours, so it is not forgotten; `phoenix down {ctid}` destroys it")]
    StillThere {
        /// The container.
        ctid: Ctid,
    },
    /// It is not its mark that is missing.
    #[error("container {ctid} is not quarantined because of its mark; `phoenix explain {ctid}` says how it stands")]
    NotMissing {
        /// The container.
        ctid: Ctid,
    },
    /// Its account cannot be read.
    #[error("the journal's account of container {ctid} cannot be read, so nothing can be decided about it")]
    Unreadable {
        /// The container.
        ctid: Ctid,
        /// Why not.
        #[source]
        why: OutOfTurn,
    },
    /// Its lock is held.
    #[error("container {ctid} is being worked on; wait for that to end")]
    Locked {
        /// The container.
        ctid: Ctid,
        /// By whom.
        #[source]
        why: LockError,
    },
}

/// Records a decision about one container.
pub fn decide(site: &Site, ctid: Ctid, ask: &Ask) -> Result<Decided, DecideError> {
    if look(site)?.is_none() {
        return Err(RunError::NoJournal { path: site.journal.clone() }.into());
    }
    let mut writer = open(site, &mut |_| {})?;
    let account = Account::of(writer.replay(None).map_err(RunError::from)?);
    let life = match account.lives.into_iter().find(|(known, _)| *known == ctid) {
        None => return Err(RunError::UnknownContainers { ctids: vec![ctid] }.into()),
        Some((_, Err(why))) => return Err(DecideError::Unreadable { ctid, why }),
        Some((_, Ok(life))) => life,
    };
    // Held until the decision is recorded: what was seen is what is decided about.
    let lease = site.host.lock(&[ctid]).map_err(|why| match why {
        LockError::Busy { .. } => DecideError::Locked { ctid, why },
        LockError::Host(error) => RunError::from(error).into(),
    })?;
    let mut seen = site.host.observe(Some(&writer.journal()), &[ctid]).map_err(RunError::from)?;
    let seen = seen.containers.remove(&ctid);
    let now = site.host.now().map_err(RunError::from)?;
    let last = writer.positions().map_err(RunError::from)?.iter().map(|position| position.last_seq).max();
    let run = RunId::from_random((site.entropy)());
    let desk = Desk { site, life: &life, run, at: now.wall, next: last.map_or(0, Seq::get) + 2 };
    let mark = Mark { journal: writer.journal(), fleet: life.fleet.clone(), ctid, incarnation: life.incarnation(), epoch: Epoch::new(0) };
    let facts = desk.facts(ask, &mark, seen.as_ref(), &now.moment)?;
    let named = BTreeMap::from([(ctid, life.fleet.clone())]);
    let opened = run_opened(run, RunCommand::Retry, named, 1, now.wall);
    let closed = Fact::RunClosed(RunClosed { run, end: RunEnd::Done, at: now.wall });
    let lines = std::iter::once(opened).chain(facts.iter().cloned()).chain([closed]).map(Line::Fact).collect();
    writer.begin(lines).map_err(RunError::from)?;
    drop(lease);
    Ok(Decided { run, state: life.state(), before: life.standing.clone(), seen, mark, facts })
}

/// Everything that a decision is made from.
struct Desk<'a> {
    site: &'a Site,
    life: &'a Life,
    run: RunId,
    at: Wall,
    /// The number that the first fact after the run's own entry gets: entries are numbered without gaps under the lock.
    next: u64,
}

impl Desk<'_> {
    fn facts(&self, ask: &Ask, mark: &Mark, seen: Option<&Seen>, now: &Moment) -> Result<Vec<Fact>, DecideError> {
        let ctid = self.life.ctid();
        if let Some((_, _, intent)) = self.life.open()
            && !(matches!(ask, Ask::Recreate) && self.life.state() > State::Declared)
        {
            return Err(DecideError::InDoubt { ctid, step: intent.step.clone() });
        }
        if self.life.standing == Standing::Active && !matches!(ask, Ask::Recreate) {
            return Err(DecideError::NothingToDecide { ctid });
        }
        match ask {
            Ask::NewBudget { step } => self.new_budget(step.clone()),
            Ask::Rerun { step } => {
                let step = self.cut_off(step.as_ref())?;
                Ok(vec![self.note(Topic::Decided(Decision::Rerun { step }), self.life.state(), Standing::Active)])
            }
            Ask::Skip { step } => self.skip(self.cut_off(step.as_ref())?, now),
            Ask::Remark => match &self.life.standing {
                Standing::Quarantined(found) if found.reason == QuarantineReason::MarkMissing => {
                    Ok(vec![self.note(Topic::Decided(Decision::Remark), self.life.state(), Standing::Active)])
                }
                Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } | Standing::Quarantined(_) => {
                    Err(DecideError::NotMissing { ctid })
                }
            },
            Ask::Recreate => self.recreate(mark, seen),
        }
    }

    fn new_budget(&self, step: Option<StepId>) -> Result<Vec<Fact>, DecideError> {
        if let Some(step) = step.as_ref().filter(|step| !self.life.records().contains_key(&step.step)) {
            return Err(DecideError::NoSuchStep { ctid: self.life.ctid(), step: step.clone() });
        }
        Ok(vec![self.note(Topic::Decided(Decision::NewBudget { step }), self.life.state(), Standing::Active)])
    }

    /// The script that waits for a decision: the one named, or the only one that is due.
    fn cut_off(&self, named: Option<&StepId>) -> Result<StepId, DecideError> {
        let not_interrupted = || DecideError::NotInterrupted { ctid: self.life.ctid() };
        let stopped = matches!(&self.life.standing, Standing::Quarantined(found) if found.reason == QuarantineReason::Interrupted)
            || matches!(&self.life.standing, Standing::Failed { step, .. } if step.step.is_script());
        let due = match self.life.due() {
            Due::Take(step) if step.is_script() && stopped => step.id(),
            Due::Nothing | Due::Settle | Due::Take(_) | Due::Repair(..) | Due::Pass(_) | Due::Redeclare => return Err(not_interrupted()),
        };
        match named {
            Some(named) if *named != due => Err(not_interrupted()),
            Some(_) | None => Ok(due),
        }
    }

    /// The script counts as done: an intent and an outcome, as if it had been run, that say by whose word.
    fn skip(&self, step: StepId, now: &Moment) -> Result<Vec<Fact>, DecideError> {
        let life = self.life;
        let ctid = life.ctid();
        let (Some(init), Some(script)) = (life.init().cloned(), limits::script(&step.step, &life.spec)) else {
            return Err(DecideError::NotInterrupted { ctid });
        };
        let intent = Intent {
            run: self.run,
            ctid,
            incarnation: life.incarnation(),
            generation: life.generation,
            state: life.state(),
            step: step.clone(),
            attempt: life.record(&step.step).intents + 1,
            reason: Reason::Asked,
            deadline: now.clone(),
            token: Token::from_random((self.site.entropy)()),
            action: Action::RunScript { init },
        };
        let evidence = Evidence::Ran { script: script.digest, started: self.at, ended: self.at, skipped: true };
        // After the run's entry and the decision.
        let seq = Seq::new(self.next + 1);
        let state = life.after(&step, &evidence);
        let mut outcome = Outcome::of(&intent, seq, StepResult::Done(evidence), self.at);
        outcome.state = state;
        let decision = Topic::Decided(Decision::Skip { step });
        Ok(vec![
            self.note(decision, life.state(), Standing::Active),
            Fact::Intended(Box::new(intent), self.at),
            Fact::Outcome(Box::new(outcome)),
        ])
    }

    /// What is not there, or not ours, is forgotten; the same spec begins a new life.
    fn recreate(&self, mark: &Mark, seen: Option<&Seen>) -> Result<Vec<Fact>, DecideError> {
        let life = self.life;
        let ctid = life.ctid();
        if !life.may_exist() {
            return Err(DecideError::NothingToDecide { ctid });
        }
        let found = match seen {
            None => format!("container {ctid} does not exist on the host"),
            Some(seen) => match &seen.mark {
                Some(found) if mark.owns(found) => return Err(DecideError::StillThere { ctid }),
                Some(found) => format!("container {ctid} bears the mark of journal {}, fleet {}", found.journal, found.fleet),
                None => format!("container {ctid} bears no mark"),
            },
        };
        let declaration = Declaration {
            run: self.run,
            fleet: life.fleet.clone(),
            ctid,
            incarnation: Incarnation::from_random((self.site.entropy)()),
            generation: life.generation,
            spec: life.spec.clone(),
            template: life.template,
            repertoire: life.repertoire,
            state: State::Declared,
            standing: Standing::Active,
            at: self.at,
        };
        Ok(vec![self.note(Topic::Forgotten { seen: found }, State::Declared, Standing::Active), Fact::Declared(Box::new(declaration))])
    }

    fn note(&self, topic: Topic, state: State, standing: Standing) -> Fact {
        let (ctid, incarnation, generation): (Ctid, Incarnation, Generation) =
            (self.life.ctid(), self.life.incarnation(), self.life.generation);
        Fact::Noted(Box::new(Note { run: self.run, ctid, incarnation, generation, topic, state, standing, at: self.at }))
    }
}
