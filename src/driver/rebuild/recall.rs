//! How far one container got, step by step, each seen by the host's own probe.
//!
//! A step counts as done because `settle` says so of a doubt made up for the purpose; what the probe cannot see (that a container
//! was stopped once, that a script ended) is recorded only where something seen implies it. Where scripts have run in a container
//! and its readiness cannot be seen, its init is recorded as unknown: `up` then takes over the one that is there, by the ordinary
//! way. Not here: what is known of a script (`proof`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::host::Host;
use crate::ids::{BootId, Ctid, FleetName, Incarnation, State, Step};
use crate::machine::{Due, Evidence, Failure, FailureClass, QuarantineReason, Standing, StepResult};
use crate::manifest::{OnInterrupt, Origin, Script};
use crate::plan::{Action, HoldBy, Init, Mark, Presence, SNAPSHOT_BEFORE_VOLUMES, Seen, Traces};

use super::super::opening::Wanted;
use super::probe::{in_words, quarantine};
use super::proof::Proof;
use super::scribe::Scribe;
use super::{Found, RebuildError};

/// One container as it was seen.
pub(super) struct Sight {
    pub(super) wanted: Wanted,
    pub(super) seen: Option<Seen>,
    /// Its mark, if that makes it ours.
    pub(super) mark: Option<Mark>,
    pub(super) traces: Traces,
    /// The incarnation that it gets: its own, or a new one.
    pub(super) incarnation: Incarnation,
}

/// Records what can be seen of one container; returns what that came to.
pub(super) fn recall(
    host: &dyn Host,
    scribe: &mut Scribe,
    fleet: &FleetName,
    sights: &BTreeMap<Ctid, Sight>,
    ctid: Ctid,
    entropy: &mut dyn FnMut() -> [u8; 16],
) -> Result<Found, RebuildError> {
    let sight = sights.get(&ctid).expect("every container was looked at");
    let proofs = weigh(sight);
    if let Some((step, ..)) = proofs.iter().find(|(_, _, proof)| *proof == Proof::Begun { alive: true }) {
        return Err(RebuildError::Alive { ctid, step: step.clone().id() });
    }
    let mut memory = Recollection { host, scribe, fleet, sights, sight, ctid, proofs, entropy };
    let because = match &sight.seen {
        None => nothing_there(&host.leftovers(ctid)?),
        Some(seen) => {
            memory.go(seen)?;
            memory.seen_in_words(seen)
        }
    };
    let Recollection { scribe, proofs, .. } = memory;
    let life = scribe.life(ctid);
    let scripts = proofs.into_iter().map(|(step, _, proof)| (step, proof)).collect();
    Ok(Found { state: life.state(), standing: life.standing.clone(), because, scripts })
}

/// What is half-made or half destroyed nobody can take for this fleet's any more, and nothing of ours will come across it again.
fn nothing_there(left: &[PathBuf]) -> String {
    let left: Vec<String> = left.iter().map(|path| path.display().to_string()).collect();
    if left.is_empty() {
        return "it does not exist".to_owned();
    }
    format!("it does not exist; left of one that was being made or destroyed, to be removed by hand: {}", left.join(", "))
}

fn weigh(sight: &Sight) -> Vec<(Step, Script, Proof)> {
    let spec = &sight.wanted.spec;
    let features = spec.features.iter().map(|feature| (Step::FeatureApply(feature.name.clone()), &feature.script));
    let application = spec.application.iter().map(|script| (Step::ApplicationRun, script));
    let weighed = |(step, script): (Step, &Script)| {
        let proof = Proof::of(&step, script, &sight.traces.scripts);
        (step, script.clone(), proof)
    };
    features.chain(application).map(weighed).collect()
}

/// One container being recalled.
pub(super) struct Recollection<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) scribe: &'a mut Scribe,
    pub(super) fleet: &'a FleetName,
    pub(super) sights: &'a BTreeMap<Ctid, Sight>,
    pub(super) sight: &'a Sight,
    pub(super) ctid: Ctid,
    pub(super) proofs: Vec<(Step, Script, Proof)>,
    pub(super) entropy: &'a mut dyn FnMut() -> [u8; 16],
}

/// Whether the next step can be looked at.
pub(super) type Goes = Result<bool, RebuildError>;

impl Recollection<'_> {
    /// As far as it can be seen.
    fn go(&mut self, seen: &Seen) -> Result<(), RebuildError> {
        let _ = self.defined(seen)?
            && self.configured(seen)?
            && self.finalized(seen)?
            && self.volumed(seen)?
            && self.running(seen)?
            && self.featured()?
            && self.applied()?
            && self.armed()?;
        self.held()
    }

    /// A source that was held by a snapshot when the journal was lost still has it: recorded as held, it is let go by the next `up`.
    fn held(&mut self) -> Result<(), RebuildError> {
        if self.state() < State::Volumed || self.scribe.life(self.ctid).standing != Standing::Active {
            return Ok(());
        }
        let init = self.scribe.life(self.ctid).init().cloned();
        let (intent, result) = self.probe_action(&Step::CloneHold, Action::Hold { init, by: HoldBy::Snapshot })?;
        match result {
            StepResult::Done(_) | StepResult::Partial { .. } => self.keep(intent, result, None),
            StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Foreign { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted => Ok(()),
        }
    }

    fn defined(&mut self, seen: &Seen) -> Goes {
        let define = match self.sight.wanted.spec.origin {
            Origin::Template(_) => Step::DefineCreate,
            Origin::Clone { .. } => Step::DefineClone,
        };
        let (intent, mut result) = self.probe(&define)?;
        if let StepResult::Done(Evidence::Cloned { shared_mounts, .. }) = &mut result {
            // Those that it has now were attached since.
            *shared_mounts = 0;
        }
        if let (Action::Clone { source, incarnation, .. }, StepResult::Absent) = (&intent.action, &result)
            && self.has_gone_on(seen)
        {
            // What a clone must not bring along it has by steps of its own.
            result = StepResult::Done(Evidence::Cloned { source: *source, incarnation: *incarnation, shared_mounts: 0 });
        }
        match &result {
            StepResult::Done(_) => {
                let life = self.scribe.life(self.ctid);
                if life.repertoire.fetched_template(&life.spec).is_some() {
                    // It was made from it.
                    self.claim(&Step::TemplateFetch, Evidence::Fetched)?;
                }
                self.keep(intent, result, None)?;
            }
            // A copy that is whole, whose source is still locked for it: `up` unlocks it. What was created in part long ago, as far
            // as can be told now, is not for `up` to clear away.
            StepResult::Partial { .. } if define == Step::DefineClone && seen.presence == Presence::Whole && !self.has_run() => {
                self.keep(intent, result, None)?;
                return Ok(false);
            }
            StepResult::Foreign { owner } => {
                let aside = quarantine(QuarantineReason::Foreign, owner.clone());
                self.keep(intent, result, Some(aside))?;
                return Ok(false);
            }
            // Of another fleet of that journal: nothing of it was asked for here.
            StepResult::Failed(Failure { class: FailureClass::JournalOlder, message, .. }) if self.sight.mark.is_none() => {
                let aside = quarantine(QuarantineReason::Foreign, message.clone());
                self.keep(intent, result, Some(aside))?;
                return Ok(false);
            }
            StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Partial { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted => return self.set_aside(&define, &result),
        }
        self.take_or_set_aside(&Step::DefineMark)
    }

    fn configured(&mut self, seen: &Seen) -> Goes {
        let (intent, result) = self.probe(&Step::ConfigureSet)?;
        if matches!(result, StepResult::Done(_)) {
            self.keep(intent, result, None)?;
            return self.walled();
        }
        let never_set = seen.config.as_ref().is_some_and(|config| config.hostname.is_none());
        if never_set && !self.has_run() && seen.init.is_none() {
            return Ok(false);
        }
        let found = self.sight.traces.unlike.clone().unwrap_or_else(|| in_words(&result));
        self.drift(&format!("claim: the configuration equals the spec; found: {found}"))
    }

    /// The host's firewall, where the spec asks for it: `up` sets what was never set.
    fn walled(&mut self) -> Goes {
        if self.state() != State::Defined {
            return Ok(true);
        }
        let (intent, result) = self.probe(&Step::FirewallSet)?;
        match (&result, self.has_run()) {
            (StepResult::Done(_), _) => self.keep(intent, result, None).map(|()| true),
            (_, false) => Ok(false),
            (_, true) => self.set_aside(&Step::FirewallSet, &result),
        }
    }

    /// By the map of the living init; by the configured one where only what was done later shows that it was proved.
    fn finalized(&mut self, seen: &Seen) -> Goes {
        let map = self.sight.wanted.spec.idmap.clone();
        let attached = self.is_attached(seen);
        match (&seen.init, self.has_run()) {
            // Never started, or stopped since: it is started once more.
            (None, false) => return Ok(false),
            (None, true) => {
                let init = unknown_init();
                self.claim(&Step::FinalizeStart, Evidence::Started { init: init.clone(), idmap: map.clone() })?;
                self.claim(&Step::FinalizeIdmap, Evidence::Idmap { init, idmap: map })?;
            }
            (Some(_), ran) => {
                if ran && !attached {
                    return self.drift("claim: every shared directory is attached, since scripts have run; found: one is not");
                }
                if !self.take_or_set_aside(&Step::FinalizeStart)? || !self.take_or_set_aside(&Step::FinalizeIdmap)? {
                    return Ok(false);
                }
                if !attached {
                    // It is up for the first time: `up` stops it.
                    return Ok(false);
                }
            }
        }
        self.claim(&Step::FinalizeStop, Evidence::Stopped)?;
        Ok(true)
    }

    fn volumed(&mut self, seen: &Seen) -> Goes {
        let attached = seen.config.as_ref().is_some_and(|config| !config.mounts.is_empty());
        while self.state() == State::Finalized {
            match self.scribe.life(self.ctid).due() {
                Due::Pass(State::Volumed) => self.pass(State::Volumed)?,
                Due::Take(step) => {
                    let (intent, result) = self.probe(&step)?;
                    match (&result, self.has_run()) {
                        (StepResult::Done(_), _) => self.keep(intent, result, None)?,
                        // It was taken, since what comes after it was done; it may have been deleted since.
                        (StepResult::Absent, ran) if step == Step::SnapshotTake && (ran || attached) => {
                            self.claim(&step, Evidence::Snapshot { name: SNAPSHOT_BEFORE_VOLUMES.to_owned() })?;
                        }
                        (_, false) => return Ok(false),
                        (_, true) => return self.set_aside(&step, &result),
                    }
                }
                Due::Nothing | Due::Settle | Due::Repair(..) | Due::Pass(_) | Due::Redeclare => return Ok(false),
            }
        }
        Ok(true)
    }

    fn running(&mut self, seen: &Seen) -> Goes {
        if seen.init.is_some() {
            let (intent, result) = self.probe(&Step::RunStart)?;
            if let StepResult::Done(Evidence::Started { init, .. }) = &result {
                let action = Action::AwaitReady { init: init.clone() };
                let (ready, readiness) = self.probe_action(&Step::RunReady, action)?;
                if matches!(readiness, StepResult::Done(_)) || !self.has_scripts_to_judge() {
                    self.keep(intent, result, None)?;
                    if !matches!(readiness, StepResult::Done(_)) {
                        return Ok(false);
                    }
                    self.keep(ready, readiness, None)?;
                    return Ok(true);
                }
            } else if self.has_run() {
                return self.set_aside(&Step::RunStart, &result);
            } else {
                return Ok(false);
            }
        }
        // Scripts have run, so it was up and ready once, as an init of which nothing is known.
        let (init, idmap) = (unknown_init(), self.sight.wanted.spec.idmap.clone());
        self.claim(&Step::RunStart, Evidence::Started { init: init.clone(), idmap })?;
        self.claim(&Step::RunReady, Evidence::Ready { init, basis: "scripts have run in it".to_owned() })?;
        Ok(true)
    }

    fn featured(&mut self) -> Goes {
        if self.scribe.life(self.ctid).due() == Due::Pass(State::Featured) {
            self.pass(State::Featured)?;
            return Ok(true);
        }
        for place in 0..self.proofs.len() {
            if self.proofs[place].0 != Step::ApplicationRun {
                self.take_script(place)?;
            }
        }
        // The last of them led to the next state.
        if self.state() == State::Featured { Ok(true) } else { self.open_script() }
    }

    fn applied(&mut self) -> Goes {
        match self.proofs.iter().position(|(step, ..)| *step == Step::ApplicationRun) {
            Some(place) if self.proofs[place].2.is_done() => self.take_script(place).map(|()| true),
            Some(_) => self.open_script(),
            None => Ok(true),
        }
    }

    /// Autostart, also where health is to be asked before it: what is set need not be set again.
    fn armed(&mut self) -> Goes {
        let (intent, result) = self.probe(&Step::AutostartSet)?;
        if matches!(result, StepResult::Done(_)) {
            self.keep(intent, result, None)?;
        }
        Ok(true)
    }

    fn take_script(&mut self, place: usize) -> Result<(), RebuildError> {
        let (step, script, proof) = self.proofs[place].clone();
        let (started, ended) = match proof {
            Proof::Result { started, ended } => (started, ended),
            Proof::Note => (self.scribe.now.wall, self.scribe.now.wall),
            Proof::Other { .. } | Proof::Begun { .. } | Proof::Failed | Proof::Unknown => return Ok(()),
        };
        self.claim(&step, Evidence::Ran { script: script.digest, started, ended, skipped: false })
    }

    /// The first script that is not known to be done. `up` takes it, unless that would be a guess.
    fn open_script(&mut self) -> Goes {
        let Some(place) = self.proofs.iter().position(|(_, _, proof)| !proof.is_done()) else { return Ok(true) };
        let (step, script, proof) = self.proofs[place].clone();
        let later = self.proofs[place + 1..].iter().any(|(_, _, proof)| proof.is_done());
        match proof {
            Proof::Other { script: found } => {
                let (step, wanted) = (step.id(), script.digest);
                self.drift(&format!("claim: {step} ran the script of the manifest ({wanted}); found: it ran another ({found})"))
            }
            _ if later => self.interrupted(&format!("{} has neither result nor note, and a later script has one", step.id())),
            Proof::Begun { .. } | Proof::Unknown if script.on_interrupt == OnInterrupt::Ask => {
                self.interrupted(&format!("{} has neither result nor note, and the manifest says to ask", step.id()))
            }
            Proof::Result { .. } | Proof::Note | Proof::Begun { .. } | Proof::Failed | Proof::Unknown => Ok(false),
        }
    }
}

/// An init of which nothing is known but that it was; it is no living process of any boot.
fn unknown_init() -> Init {
    Init { boot: "unknown".parse::<BootId>().expect("a plain word is a boot id"), pid: 0, start_ticks: 0 }
}
