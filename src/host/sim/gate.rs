//! The gate: what the host looks at before the first piece of an operation.
//!
//! A result ends the operation before anything has happened. Apart from `act` because these are the host's refusals, and
//! none of them changes the world.

use crate::ids::{Ctid, IdMap, Incarnation};
use crate::machine::{FailureClass, StepResult, Wait, WaitKind};
use crate::manifest::Volume;
use crate::plan::{Action, CopyFrom, Effect, HoldBy, Mark, SNAPSHOT_FOR_CLONES, StartPurpose};

use super::act::{failure, init_lost};
use super::disk::{ConfigLock, Made, Place, SnapshotStage};
use super::scripts::{missing_secret, script_of};
use super::storage::Stored;
use super::volumes::wanted_owner;
use super::world::World;

impl World {
    /// What the host looks at before it acts; a result ends the operation before anything has happened.
    pub(super) fn gate(&self, effect: &Effect) -> Option<StepResult> {
        let ctid = effect.intent.ctid;
        match &effect.intent.action {
            Action::FetchTemplate | Action::Mark | Action::Repair { .. } => unless_absent(self.look(effect)),
            Action::Create { .. } => unless_absent(self.look(effect)).or_else(|| {
                let part = self.stored(effect).is_some_and(|(_, what)| what == Some(Stored::Part));
                part.then(|| failure(FailureClass::Permanent, "the template is not there as a whole"))
            }),
            Action::Clone { source, incarnation, from } => {
                unless_absent(self.look(effect)).or_else(|| self.source_refuses(effect, *source, *incarnation, *from))
            }
            Action::TakeSnapshot | Action::Hold { by: HoldBy::Snapshot, .. } => {
                self.not_ours(effect).or_else(|| self.snapshot_refused(effect))
            }
            Action::Destroy => unless_absent(self.look(effect)).or_else(|| self.locked(ctid)).or_else(|| {
                let up = self.slot(ctid).is_some_and(|slot| slot.up.is_some());
                up.then(|| failure(FailureClass::Transient, "the container is running; it has to be stopped first"))
            }),
            Action::Start { purpose, sources, .. } => self.not_ours(effect).or_else(|| self.locked(ctid)).or_else(|| {
                // One that runs without its directories is stopped and started.
                if self.slot(ctid).is_some_and(|slot| slot.up.is_some())
                    && let Some(result) = unless_absent(self.look(effect))
                {
                    return Some(result);
                }
                let mounted = *purpose == StartPurpose::Run;
                mounted.then(|| self.missing_source(sources)).flatten().or_else(|| self.missing_mount(ctid))
            }),
            Action::ReadIdmap { init } | Action::AwaitReady { init } | Action::AskHealth { init } => {
                self.not_ours(effect).or_else(|| (!self.is_up_as(ctid, init)).then(init_lost))
            }
            Action::RunScript { init } => {
                self.not_ours(effect).or_else(|| (!self.is_up_as(ctid, init)).then(init_lost)).or_else(|| self.script_refused(effect))
            }
            Action::Release => self.not_ours(effect).or_else(|| {
                // What an attempt before left half-deleted is put right, not waited for.
                let half = Some(self.look(effect)).filter(|result| matches!(result, StepResult::Partial { .. }));
                let live = self.guest(ctid).is_some_and(|guest| guest.snapshots.contains_key(SNAPSHOT_FOR_CLONES));
                half.or_else(|| live.then(|| self.locked(ctid)).flatten())
            }),
            Action::Hold { by: HoldBy::Stop, .. } | Action::Stop { .. } => {
                let up = self.slot(ctid).is_some_and(|slot| slot.up.is_some());
                self.not_ours(effect).or_else(|| (!up).then(|| self.look(effect)))
            }
            Action::Prepare { volume, idmap } => self.not_ours(effect).or_else(|| self.preparation_refused(volume, idmap)),
            Action::Configure | Action::SetFirewall | Action::Attach { .. } | Action::Detach { .. } | Action::SetAutostart => {
                self.not_ours(effect).or_else(|| self.locked(ctid))
            }
        }
    }

    fn source_refuses(&self, effect: &Effect, source: Ctid, incarnation: Incarnation, from: CopyFrom) -> Option<StepResult> {
        let Some(guest) = self.guest(source) else {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} is not there")));
        };
        let ours = |mark: &Mark| mark.journal == effect.mark.journal && mark.ctid == source && mark.incarnation == incarnation;
        if guest.made != Made::Whole || !guest.mark.as_ref().is_some_and(|mark| ours(mark)) {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} is not the container that was planned")));
        }
        if from == CopyFrom::Snapshot {
            let whole = guest.snapshots.get(SNAPSHOT_FOR_CLONES).is_some_and(|snapshot| snapshot.stage == SnapshotStage::Whole);
            if !whole {
                return Some(failure(FailureClass::Permanent, format!("the clone source {source} has no snapshot {SNAPSHOT_FOR_CLONES}")));
            }
        } else if self.slot(source).is_some_and(|slot| slot.up.is_some()) {
            let drift = FailureClass::Drift { claim: format!("{source} is down"), found: "it is running".to_owned() };
            return Some(failure(drift, format!("the clone source {source} is running; it has to be held first")));
        }
        if !guest.mounts.is_empty() {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} has shared mounts, which cannot be copied")));
        }
        self.locked(source)
    }

    /// `CT is locked`: a killed operation left it so, or one of somebody else is under way.
    pub(super) fn locked(&self, ctid: Ctid) -> Option<StepResult> {
        let lock = self.guest(ctid)?.lock?;
        let name = match lock {
            ConfigLock::Create => "CT is locked (create)".to_owned(),
            ConfigLock::Disk { target } => format!("CT is locked (disk), for a clone to {target}"),
            ConfigLock::Snapshot => "CT is locked (snapshot)".to_owned(),
            ConfigLock::SnapshotDelete => "CT is locked (snapshot-delete)".to_owned(),
            ConfigLock::Backup { until_ms } if until_ms <= self.clock.elapsed_ms => return None,
            ConfigLock::Backup { .. } => "CT is locked (backup)".to_owned(),
        };
        let wait = Wait { kind: WaitKind::Lock, name: name.clone(), ctid: Some(ctid), pid: None, since: self.wall() };
        Some(failure(FailureClass::Wait(wait), name))
    }

    fn preparation_refused(&self, volume: &Volume, idmap: &IdMap) -> Option<StepResult> {
        let Some(wanted) = wanted_owner(volume, idmap) else {
            let owner = volume.owner;
            let message = format!("{}:{} inside is outside every range of the id map ({idmap})", owner.uid, owner.gid);
            return Some(failure(FailureClass::Permanent, message));
        };
        let seen = self.places.get(&volume.source).and_then(Place::seen)?;
        let taken = seen.filled && (seen.uid, seen.gid) != wanted && !volume.take_ownership;
        let message = || format!("{} belongs to {}:{} and is not empty; set take_ownership", volume.source.display(), seen.uid, seen.gid);
        taken.then(|| failure(FailureClass::Permanent, message()))
    }

    fn script_refused(&self, effect: &Effect) -> Option<StepResult> {
        let Some(script) = script_of(effect) else {
            return Some(failure(FailureClass::Permanent, "the spec has no such script"));
        };
        let intent = &effect.intent;
        let results = self.slot(intent.ctid).into_iter().flat_map(|slot| slot.results.iter());
        let unknown = results.filter(|kept| kept.incarnation == intent.incarnation).find(|kept| {
            let same = kept.step == intent.step.step && kept.script == script.digest;
            kept.epoch > effect.mark.epoch || (same && kept.succeeded)
        });
        if let Some(kept) = unknown.filter(|_| !phoenix_journal::sabotaged("results_are_not_compared")) {
            let message = format!(
                "{} was run in epoch {}, as its result says, and this journal knows nothing of it",
                kept.step.clone().id(),
                kept.epoch
            );
            return Some(failure(FailureClass::JournalOlder, message));
        }
        let name = missing_secret(script, |name| self.hidden_secrets.contains(name))?;
        let message = format!("the secret {name} cannot be read");
        let wait = Wait { kind: WaitKind::Secret, name, ctid: None, pid: None, since: self.wall() };
        Some(failure(FailureClass::Wait(wait), message))
    }
}

fn unless_absent(result: StepResult) -> Option<StepResult> {
    (result != StepResult::Absent).then_some(result)
}
