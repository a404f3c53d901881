//! What became of an intent without outcome.
//!
//! The world is looked at with the locks held and nothing in flight any more ([`super::super::local::settle`]). Nothing is changed here; where a look cannot tell, taking the step again
//! must be safe, and every step on this host is either renamed into place or the same when taken twice.
//!
//! | step in doubt | verdict |
//! |---|---|
//! | any | lock held by others past the deadline: waits for the lock; processes of the step that cannot be ended: undead |
//! | any but `define.*`, `volume.prepare`, `down.destroy`, repairs | container gone: `Gone`; no mark: mark missing; another's mark: `Foreign`; mark of an incarnation never declared, or of a later epoch: journal older |
//! | `define.create`, `define.clone` | at its place with our mark: `Done`; something else there: `Foreign`; staging directory of our incarnation: `Partial`; else `Absent` |
//! | `define.mark` | mark ours: `Done`; missing, and a person asked for it to be written: `Absent`; else as above |
//! | `clone.hold`, `finalize.stop`, `down.stop` | neither init nor monitor: `Done`; else `Absent` |
//! | `clone.release` | `Done` (nothing is held on this host) |
//! | `configure.set`, `autostart.set` | the file says it: `Done`; else `Absent` |
//! | `finalize.start`, `run.start` | a starting `lxc-start` is waited for, past the deadline it is `Partial`; init up, its map and the sources as wanted and mounted in it: `Done`; else `Absent` (taken again, it finds the container up and judges it; one without its directories is stopped and started) |
//! | `finalize.idmap` | init lost: failed; map as planned: `Done`; else the drift it is |
//! | `volume.prepare` | owner and mode as wanted and not recursive: `Done`; else `Absent` |
//! | `volume.attach` | the entry is there and the source is the same: `Done`; else `Absent` |
//! | `volume.detach` | no entry: `Done`; else `Absent` |
//! | `run.ready` | init lost: failed; ready, where a look can tell: `Done`; else `Absent` |
//! | `feature.apply`, `application.run` | a result: what it says; none: `Interrupted` |
//! | `health.check` | a result of 0: `Done`; init lost: failed; else `Absent` |
//! | `down.destroy` | at its place with our mark: `Absent`; renamed away or staging there: `Partial`; nothing: `Done`; anything else at its place: as above |
//! | a repair | what it was to take away is gone: `Done`; else `Absent` |

use crate::ids::Step;
use crate::machine::{Evidence, StepResult};
use crate::plan::{Action, CopyFrom, HoldBy, Intent, Reason};
use crate::shim::JobResult;

use super::super::local::act::{Act, Taken};
use super::super::local::settle::{done_if, or_absent};
use super::super::ownership;
use super::{Lxc, observe, wanted};

impl Act<'_, Lxc> {
    /// The verdict on the step, with what its child left.
    pub(super) fn probe(&self, result: Option<&JobResult>) -> Taken {
        let Intent { ctid, incarnation, .. } = self.intent();
        match &self.intent().action {
            Action::Create { .. } => self.probe_define().map(|left_out| Evidence::Created { left_out }),
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Hold { by: HoldBy::Snapshot, .. }
            | Action::Clone { from: CopyFrom::Snapshot, .. } => Err(Box::new(StepResult::Absent)),
            Action::Clone { source, incarnation, from: CopyFrom::Current } => {
                self.probe_define().and_then(|_| self.cloned(*source, *incarnation))
            }
            Action::Destroy => {
                let left = [self.host.layout.gone(*ctid, *incarnation), self.host.layout.staging(*ctid, *incarnation)];
                match (self.check_mark(), left.iter().find(|left| left.exists())) {
                    (Ok(()), _) => Err(Box::new(StepResult::Absent)),
                    (Err(_), Some(left)) => Err(Box::new(StepResult::Partial { leftover: left.display().to_string() })),
                    (Err(result), None) if *result == StepResult::Gone => Ok(Evidence::Destroyed),
                    (Err(result), None) => Err(result),
                }
            }
            Action::Prepare { volume, idmap } => self.probe_prepared(volume, idmap),
            Action::Repair { .. } => self.probe_repair(),
            Action::Mark => match self.check_mark() {
                Err(_) if self.intent().reason == Reason::Asked => Err(Box::new(StepResult::Absent)),
                other => other.map(|()| Evidence::Marked),
            },
            Action::Hold { by: HoldBy::Stop, .. }
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
            Action::Hold { by: HoldBy::Stop, .. } => done_if(self.up()?.is_down(), Evidence::Held { by: HoldBy::Stop }),
            Action::Stop { .. } => done_if(self.up()?.is_down(), Evidence::Stopped),
            Action::Release => Ok(Evidence::Released),
            Action::Configure => or_absent(self.configured(&self.wanted())),
            Action::Start { idmap, sources, .. } => self.probe_started(idmap, sources),
            Action::ReadIdmap { init } => self.read_idmap(init),
            Action::Attach { mount, source, idmap } => {
                let sound = ownership::verify_for(&mount.volume, source, idmap, &self.local.grounds).is_ok();
                or_absent(self.attached(mount, source)).and_then(|evidence| done_if(sound, evidence))
            }
            Action::Detach { mount } => done_if(!self.config()?.mounts().any(|(at, _)| at == mount.at), Evidence::Detached),
            Action::AwaitReady { init } => self.probe_ready(init),
            Action::RunScript { init } => self.probe_script(init, result),
            Action::AskHealth { init } => self.probe_health(init, result),
            Action::SetAutostart => {
                let autostart = self.effect.spec.autostart;
                let config = self.config()?;
                let set = wanted::with_autostart(config.clone(), autostart).settings().eq(config.settings());
                done_if(set, Evidence::AutostartSet { enabled: autostart.enabled })
            }
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Hold { by: HoldBy::Snapshot, .. }
            | Action::Create { .. }
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
            Step::TemplateFetch
            | Step::FirewallSet
            | Step::SnapshotTake
            | Step::DefineMark
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
