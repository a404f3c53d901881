//! What became of an intent without outcome.
//!
//! First what is in flight: the shim is waited for within the old deadline, its result is read, orphans are ended ([`recover`]).
//! Then, with the locks held, the world is looked at. Nothing is changed here; where a look cannot tell, taking the step again
//! must be safe, and every step on this host is either renamed into place or the same when taken twice.
//!
//! | step in doubt | verdict |
//! |---|---|
//! | any | lock held by others past the deadline: waits for the lock; processes of the step that cannot be ended: undead |
//! | any but `define.*`, `volume.prepare`, `down.destroy`, repairs | container gone: `Gone`; no mark: mark missing; another's mark: `Foreign`; mark of a later epoch: journal older |
//! | `define.create`, `define.clone` | at its place with our mark: `Done`; something else there: `Foreign`; staging directory of our incarnation: `Partial`; else `Absent` |
//! | `define.mark` | mark ours: `Done`; missing, and a person asked for it to be written: `Absent`; else as above |
//! | `clone.hold`, `finalize.stop`, `down.stop` | neither init nor monitor: `Done`; else `Absent` |
//! | `clone.release` | `Done` (nothing is held on this host) |
//! | `configure.set`, `autostart.set` | the file says it: `Done`; else `Absent` |
//! | `finalize.start`, `run.start` | a starting `lxc-start` is waited for, past the deadline it is `Partial`; init up, its map and the sources as wanted: `Done`; else `Absent` (taken again, it finds the container up and judges it) |
//! | `finalize.idmap` | init lost: failed; map as planned: `Done`; else the drift it is |
//! | `volume.prepare` | owner and mode as wanted and not recursive: `Done`; else `Absent` |
//! | `volume.attach` | the entry is there and the source is the same: `Done`; else `Absent` |
//! | `volume.detach` | no entry: `Done`; else `Absent` |
//! | `run.ready` | init lost: failed; else `Absent` |
//! | `feature.apply`, `application.run` | a result: what it says; none: `Interrupted` |
//! | `health.check` | a result of 0: `Done`; init lost: failed; else `Absent` |
//! | `down.destroy` | at its place with our mark: `Absent`; renamed away or staging there: `Partial`; nothing: `Done` |
//! | a repair | what it was to take away is gone: `Done`; else `Absent` |

use crate::ids::Step;
use crate::machine::{Evidence, FailureClass, Report, StepResult, Wait, WaitKind};
use crate::plan::{Action, Doubt, Intent};
use crate::shim::{Ending, Holder, InFlight, Inquiry, JobResult, LockName, Settled, recover};

use super::super::Watch;
use super::super::ownership;
use super::act::{self, Act, Taken, chain, failed};
use super::{Lxc, observe, wanted};

/// Settles one doubt.
pub(super) fn settle(host: &Lxc, doubt: &Doubt, watch: &dyn Watch) -> Report {
    let intent = &doubt.effect.intent;
    let intent_ref = act::intent_ref(doubt.seq, doubt.epoch, intent);
    let locks: Vec<LockName> = doubt.effect.locks().into_iter().map(Lxc::lock_name).collect();
    let place = act::place(host, intent);
    let inquiry = Inquiry {
        intent: &intent_ref,
        token: intent.token,
        deadline: &intent.deadline,
        grace: act::GRACE,
        place: &place,
        runtime: &host.runtime,
        locks: &locks,
        clock: &host.clock,
    };
    let settlement = match recover(&inquiry, &|in_flight| watch.waiting(waited_for(host, in_flight))) {
        Ok(settlement) => settlement,
        Err(error) => return Report::bare(StepResult::Unknown { why: chain(&error) }),
    };
    let (settled, locks) = (settlement.settled, settlement.locks);
    let act = Act::new(host, doubt.seq, doubt.epoch, &doubt.effect, &locks, None);
    let result = match settled {
        Settled::Result(result) => act.probe(Some(&result)),
        Settled::NoResult => act.probe(None),
        Settled::Undead(bearers) => {
            let pids: Vec<u32> = bearers.iter().map(|bearer| bearer.pid).collect();
            Err(failed(FailureClass::Undead, format!("processes {pids:?} of {} cannot be ended", intent.step)))
        }
        Settled::HeldByOther(holders) => {
            let wait = lock_wait(host, &holders, format!("the lock of container {}", intent.ctid));
            Err(failed(FailureClass::Wait(wait), "another process holds the container's lock"))
        }
    };
    act.finish(result)
}

fn waited_for(host: &Lxc, in_flight: &InFlight) -> Wait {
    match in_flight {
        InFlight::OwnJob(holders) | InFlight::Other(holders) => lock_wait(host, holders, "a lock".to_owned()),
        InFlight::Orphans(bearers) => {
            let first = bearers.first();
            let name = first.map_or_else(|| "processes of the step".to_owned(), |bearer| bearer.command.clone());
            Wait { kind: WaitKind::Lock, name, ctid: None, pid: first.map(|bearer| bearer.pid), since: host.clock.now().wall }
        }
    }
}

fn lock_wait(host: &Lxc, holders: &[Holder], otherwise: String) -> Wait {
    let first = holders.first();
    let name = first.map_or(otherwise, |holder| holder.command.clone());
    Wait { kind: WaitKind::Lock, name, ctid: None, pid: first.map(|holder| holder.pid), since: host.clock.now().wall }
}

/// `Done` with this evidence, or `Absent`.
fn done_if(holds: bool, evidence: Evidence) -> Taken {
    if holds { Ok(evidence) } else { Err(Box::new(StepResult::Absent)) }
}

/// A look that cannot tell is taken again by carrying the step out, which says what is wrong.
fn or_absent<T>(taken: Taken<T>) -> Taken<T> {
    taken.map_err(|_| Box::new(StepResult::Absent))
}

impl Act<'_> {
    /// The verdict on the step, with what its child left.
    fn probe(&self, result: Option<&JobResult>) -> Taken {
        let Intent { ctid, incarnation, .. } = self.intent();
        match &self.intent().action {
            Action::Create { .. } => self.probe_define().map(|left_out| Evidence::Created { left_out }),
            Action::Clone { source, incarnation } => self.probe_define().and_then(|_| self.cloned(*source, *incarnation)),
            Action::Destroy => {
                let owned = self.check_mark().is_ok();
                let left = [self.host.layout.gone(*ctid, *incarnation), self.host.layout.staging(*ctid, *incarnation)];
                match left.iter().find(|left| left.exists()) {
                    _ if owned => Err(Box::new(StepResult::Absent)),
                    Some(left) => Err(Box::new(StepResult::Partial { leftover: left.display().to_string() })),
                    None => Ok(Evidence::Destroyed),
                }
            }
            Action::Prepare { volume, idmap } => {
                let refused = |error: ownership::OwnershipError| self.ownership_failed(&error);
                // Only `reach` makes what is missing; a doubt changes nothing, so a missing directory is told before.
                if std::fs::symlink_metadata(&volume.source).is_err() {
                    return Err(Box::new(StepResult::Absent));
                }
                let (reached, owner) = or_absent(ownership::reach(volume, idmap, &self.host.grounds).map_err(refused))?;
                let given = or_absent(ownership::is_given(volume, &reached, owner).map_err(refused))?;
                let former = ownership::former(&reached, &self.host.grounds);
                let source = reached.source(volume);
                let prepared =
                    crate::machine::Prepared { source, host_uid: owner.uid, host_gid: owner.gid, former, left_alone: Vec::new() };
                done_if(given && !volume.recursive, Evidence::Prepared(prepared))
            }
            Action::Repair { .. } => self.probe_repair(),
            Action::Mark => match self.check_mark() {
                Err(_) if self.intent().reason == crate::plan::Reason::Asked => Err(Box::new(StepResult::Absent)),
                other => other.map(|()| Evidence::Marked),
            },
            Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart => {
                self.check_mark()?;
                self.probe_marked(result)
            }
        }
    }

    /// The verdict on a step of a container that is there and ours.
    fn probe_marked(&self, result: Option<&JobResult>) -> Taken {
        match &self.intent().action {
            Action::Hold { .. } => done_if(self.up()?.is_down(), Evidence::Held),
            Action::Stop { .. } => done_if(self.up()?.is_down(), Evidence::Stopped),
            Action::Release => Ok(Evidence::Released),
            Action::Configure => or_absent(self.configured(&self.wanted())),
            Action::Start { idmap, sources, .. } => {
                let sound = sources.iter().all(|source| ownership::verify(source, &self.host.grounds).is_ok());
                match self.look_started()? {
                    Some((init, found)) => done_if(sound && found == *idmap, Evidence::Started { init, idmap: found }),
                    None => Err(Box::new(StepResult::Absent)),
                }
            }
            Action::ReadIdmap { init } => self.read_idmap(init),
            Action::Attach { mount, source, idmap } => {
                let sound = ownership::verify_for(&mount.volume, source, idmap, &self.host.grounds).is_ok();
                or_absent(self.attached(mount, source)).and_then(|evidence| done_if(sound, evidence))
            }
            Action::Detach { mount } => done_if(!self.config()?.mounts().any(|(at, _)| at == mount.at), Evidence::Detached),
            Action::AwaitReady { init } => {
                self.hold(init)?;
                Err(Box::new(StepResult::Absent))
            }
            Action::RunScript { init } => match result {
                // Its container went down before it was begun: nothing was run, so nothing has failed.
                Some(JobResult { ending: Ending::NotStarted { .. }, .. }) if self.hold(init).is_err() => Err(Box::new(StepResult::Absent)),
                Some(result) => self.script_ended(self.script()?, result),
                None if phoenix_journal::sabotaged("scripts_in_doubt_count_as_done") => {
                    let (script, now) = (self.script()?.digest, self.host.clock.now().wall);
                    Ok(Evidence::Ran { script, started: now, ended: now, skipped: false })
                }
                None => Err(Box::new(StepResult::Interrupted)),
            },
            Action::AskHealth { init } => {
                if let Some(result) = result.filter(|result| result.ending.is_success()) {
                    self.keep_output(result);
                    return Ok(Evidence::Healthy { asked: 1 });
                }
                self.hold(init)?;
                Err(Box::new(StepResult::Absent))
            }
            Action::SetAutostart => {
                let autostart = self.effect.spec.autostart;
                let config = self.config()?;
                let set = wanted::with_autostart(config.clone(), autostart).settings().eq(config.settings());
                done_if(set, Evidence::AutostartSet { enabled: autostart.enabled })
            }
            Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Prepare { .. }
            | Action::Destroy
            | Action::Repair { .. } => Err(Box::new(StepResult::Unknown { why: "a step that is looked at elsewhere".to_owned() })),
        }
    }

    fn probe_define(&self) -> Taken<u32> {
        if let Some(left_out) = self.found_at_place()? {
            return Ok(left_out);
        }
        let staging = self.host.layout.staging(self.intent().ctid, self.intent().incarnation);
        let partial = || StepResult::Partial { leftover: staging.display().to_string() };
        Err(Box::new(if staging.exists() { partial() } else { StepResult::Absent }))
    }

    fn probe_repair(&self) -> Taken {
        let Intent { ctid, incarnation, .. } = self.intent();
        let (layout, step) = (&self.host.layout, &self.intent().step.step);
        let gone = match step {
            Step::DefineCreate | Step::DefineClone => !layout.staging(*ctid, *incarnation).exists(),
            Step::DownDestroy => !layout.gone(*ctid, *incarnation).exists() && !layout.staging(*ctid, *incarnation).exists(),
            Step::FinalizeStart | Step::RunStart => observe::up(layout, *ctid).is_ok_and(|up| up.is_down()),
            Step::DefineMark
            | Step::CloneHold
            | Step::CloneRelease
            | Step::ConfigureSet
            | Step::FinalizeIdmap
            | Step::FinalizeStop
            | Step::VolumePrepare(_)
            | Step::VolumeAttach(_)
            | Step::VolumeDetach(_)
            | Step::RunReady
            | Step::FeatureApply(_)
            | Step::ApplicationRun
            | Step::HealthCheck(_)
            | Step::AutostartSet
            | Step::DownStop => true,
        };
        done_if(gone, Evidence::Repaired)
    }
}
