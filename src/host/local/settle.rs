//! What became of an intent without outcome, as far as it is the same for every backend.
//!
//! First what is in flight: the shim is waited for within the old deadline, its result is read, orphans are ended ([`recover`]).
//! Then, with the locks held, the world is looked at ([`Backend::probe`]). Nothing is changed here; where a look cannot tell,
//! taking the step again must be safe. Not here: the verdict on a step that a backend has its own way with.

use crate::host::Watch;
use crate::ids::IdMap;
use crate::machine::{Evidence, FailureClass, Report, StepResult, Wait, WaitKind};
use crate::plan::{Doubt, Init, Source};
use crate::shim::{Ending, Holder, InFlight, Inquiry, JobResult, LockName, Settled, recover};

use super::act::{self, Act, Taken, chain, failed};
use super::{Backend, Local};

/// Settles one doubt.
pub(in crate::host) fn settle<B: Backend>(host: &B, doubt: &Doubt, watch: &dyn Watch) -> Report {
    let (local, intent) = (host.local(), &doubt.effect.intent);
    let intent_ref = act::intent_ref(doubt.seq, doubt.epoch, intent);
    let locks: Vec<LockName> = doubt.effect.locks().into_iter().map(|ctid| local.lock_name(ctid)).collect();
    let place = act::place(local, intent);
    let tasks = host.tasks(intent);
    let inquiry = Inquiry {
        intent: &intent_ref,
        token: intent.token,
        deadline: &intent.deadline,
        grace: act::grace(local, intent),
        place: &place,
        runtime: &local.runtime,
        locks: &locks,
        clock: &local.clock,
        tasks: &tasks,
    };
    let settlement = match recover(&inquiry, &|in_flight| watch.waiting(waited_for(local, in_flight))) {
        Ok(settlement) => settlement,
        Err(error) => return Report::bare(StepResult::Unknown { why: chain(&error) }),
    };
    let (settled, locks) = (settlement.settled, settlement.locks);
    let act = Act::new(host, doubt.seq, doubt.epoch, &doubt.effect, &locks, None);
    let result = match settled {
        Settled::Result(result) => B::probe(&act, Some(&result)),
        Settled::NoResult => B::probe(&act, None),
        Settled::Undead(bearers) => {
            let pids: Vec<u32> = bearers.iter().map(|bearer| bearer.pid).collect();
            Err(failed(FailureClass::Undead, format!("processes {pids:?} of {} cannot be ended", intent.step)))
        }
        Settled::HeldByOther(holders) => {
            let wait = lock_wait(local, &holders, format!("the lock of container {}", intent.ctid));
            Err(failed(FailureClass::Wait(wait), "another process holds the container's lock"))
        }
    };
    act.finish(result)
}

fn waited_for(local: &Local, in_flight: &InFlight) -> Wait {
    match in_flight {
        InFlight::OwnJob(holders) | InFlight::Other(holders) => lock_wait(local, holders, "a lock".to_owned()),
        InFlight::Orphans(bearers) => {
            let first = bearers.first();
            let name = first.map_or_else(|| "processes of the step".to_owned(), |bearer| bearer.command.clone());
            Wait { kind: WaitKind::Lock, name, ctid: None, pid: first.map(|bearer| bearer.pid), since: local.clock.now().wall }
        }
    }
}

fn lock_wait(local: &Local, holders: &[Holder], otherwise: String) -> Wait {
    let first = holders.first();
    let name = first.map_or(otherwise, |holder| holder.command.clone());
    Wait { kind: WaitKind::Lock, name, ctid: None, pid: first.map(|holder| holder.pid), since: local.clock.now().wall }
}

/// `Done` with this evidence, or `Absent`.
pub(in crate::host) fn done_if(holds: bool, evidence: Evidence) -> Taken {
    if holds { Ok(evidence) } else { Err(Box::new(StepResult::Absent)) }
}

/// A look that cannot tell is taken again by carrying the step out, which says what is wrong.
pub(in crate::host) fn or_absent<T>(taken: Taken<T>) -> Taken<T> {
    taken.map_err(|_| Box::new(StepResult::Absent))
}

impl<B: Backend> Act<'_, B> {
    /// Ready, where a look can tell; else it is asked again.
    pub(in crate::host) fn probe_ready(&self, init: &Init) -> Taken {
        let held = self.hold(init)?;
        let basis = if self.asks_inside(&held) { None } else { self.ask_ready(&held)? };
        basis
            .filter(|_| held.is_alive())
            .map(|basis| Evidence::Ready { init: init.clone(), basis })
            .ok_or_else(|| Box::new(StepResult::Absent))
    }

    /// What a script's result says; without one it was cut off.
    pub(in crate::host) fn probe_script(&self, init: &Init, result: Option<&JobResult>) -> Taken {
        match result {
            // Its container went down before it was begun: nothing was run, so nothing has failed.
            Some(JobResult { ending: Ending::NotStarted { .. }, .. }) if self.hold(init).is_err() => Err(Box::new(StepResult::Absent)),
            Some(result) => self.script_ended(self.script()?, result),
            None if phoenix_journal::sabotaged("scripts_in_doubt_count_as_done") => {
                let (script, now) = (self.script()?.digest, self.local.clock.now().wall);
                Ok(Evidence::Ran { script, started: now, ended: now, skipped: false })
            }
            None if self.never_began() => Err(Box::new(StepResult::Absent)),
            None => Err(Box::new(StepResult::Interrupted)),
        }
    }

    /// Whether no shim ever got as far as the script: it says who it is before it starts one, in a file that lasts until the
    /// container goes. What was written just before the host went down may be lost, so it has to be this boot's.
    fn never_began(&self) -> bool {
        self.intent().deadline.boot == *self.local.clock.boot() && self.place().has_no_shim(&self.intent_ref)
    }

    /// A health check that answered yes; else it is asked again.
    pub(in crate::host) fn probe_health(&self, init: &Init, result: Option<&JobResult>) -> Taken {
        if let Some(result) = result.filter(|result| result.ending.is_success()) {
            self.keep_output(result);
            return Ok(Evidence::Healthy { asked: 1 });
        }
        self.hold(init)?;
        Err(Box::new(StepResult::Absent))
    }

    /// Up, with the map wanted and its directories.
    pub(in crate::host) fn probe_started(&self, idmap: &IdMap, sources: &[Source]) -> Taken {
        let Some((held, found)) = self.look_started()? else { return Err(Box::new(StepResult::Absent)) };
        let holds = found == *idmap && self.has_mounted(&held, sources);
        done_if(holds, Evidence::Started { init: held.init(self.local.clock.boot()), idmap: found })
    }
}
