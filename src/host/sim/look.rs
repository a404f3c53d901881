//! What a look at the world says: about one step, and about the whole host.
//!
//! One function answers both the host that has just acted and the probe after a crash, so an outcome cannot claim what a probe
//! would not find. Nothing here changes the world.
//!
//! | step in doubt | verdict |
//! |---|---|
//! | `define.*` | nothing there: `Absent`; half-made by us, or the source still locked for it: `Partial`; whole and ours: `Done`; else `Foreign` |
//! | `define.mark` | ours: `Done`; no mark: `Failed(MarkMissing)`, or `Absent` if a person asked for it to be written |
//! | `template.fetch` | the store has it whole: `Done`; else `Absent` |
//! | `clone.hold` by stopping, `finalize.stop`, `down.stop` | down: `Done`; up: `Absent` |
//! | `clone.hold` by snapshot, `snapshot.take` | the snapshot is whole: `Done`; half-made: `Partial`; none: `Absent` |
//! | `clone.release` | no snapshot for clones, configuration free of locks: `Done`; half-deleted: `Partial`; else `Absent` |
//! | `firewall.set` | as wanted: `Done`; else `Absent` |
//! | `configure.set`, `volume.*`, `autostart.set` | as wanted: `Done`; another directory at the target: `Partial`; else `Absent` |
//! | `finalize.start`, `run.start` | up with the right map: `Done`; with another: `Failed(Drift)`; down, or without a directory that was attached since: `Absent` |
//! | `finalize.idmap`, `run.ready` | another init or none: `Failed(InitLost)`; ready: `Done`; else `Absent` |
//! | scripts | result: that; begun without a result, or begun perhaps in an earlier boot: `Interrupted`; else `Absent` |
//! | `health.check` | result: that; else `Absent` |
//! | `down.destroy` | nothing there: `Done`; on its way out: `Partial`; else `Absent` |
//! | repairs | what they clear is gone: `Done`; else `Absent` |
//! | all but `define.*` and `down.destroy` | container not there: `Gone`; half-made: `Unknown`; no mark: `Failed(MarkMissing)`; of an incarnation never declared, or of a newer epoch: `Failed(JournalOlder)`; of another: `Foreign` |

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{BootId, Ctid, IdMap};
use crate::machine::{Evidence, FailureClass, Prepared, Report, StepResult};
use crate::manifest::{Mount, Ownership, Volume};
use crate::plan::{
    Action, Attachment, ConfigSeen, Effect, HoldBy, Init, Mark, MountSeen, Observation, Presence, Reason, Seen, Source, StartPurpose,
};

use super::act::{clone_source, failure, init_lost, mount_of};
use super::disk::{ConfigLock, Guest, Made, Place, Stage};
use super::scripts::read_result;
use super::snapshots::{look_released, look_repaired, look_snapshot, snapshot_of};
use super::storage::Stored;
use super::volumes::wanted_owner;
use super::world::{Sabotage, World};

/// Whose a container is.
enum Whose<'a> {
    Nothing,
    /// Half-made or half-destroyed by the incarnation in question.
    HalfOurs(Stage),
    HalfOthers,
    Ours(&'a Arc<Guest>),
    /// Of a journal of which this one is an older copy; what shows it.
    Newer(String),
    Unmarked,
    Others(&'a Arc<Mark>),
}

impl World {
    /// Looks at the given containers without changing anything.
    pub fn observe(&self, ctids: &[Ctid]) -> Observation {
        let seen = |ctid: &Ctid| Some((*ctid, self.seen(*ctid)?));
        Observation { boot: BootId::clone(&self.clock.boot), containers: ctids.iter().filter_map(seen).collect() }
    }

    /// Every id at which there is something.
    pub fn ctids(&self) -> Vec<Ctid> {
        self.slots.iter().filter(|(_, slot)| slot.guest.get().is_some()).map(|(ctid, _)| *ctid).collect()
    }

    fn seen(&self, ctid: Ctid) -> Option<Seen> {
        let guest = self.guest(ctid)?;
        let presence = match &guest.made {
            Made::Whole => Presence::Whole,
            Made::Half { stage, .. } => Presence::HalfMade(leftover(*stage)),
        };
        let mount = |attached: &super::disk::Attached| MountSeen { source: attached.path.clone(), read_only: attached.read_only };
        let config = ConfigSeen {
            hostname: guest.settings.as_ref().map(|settings| settings.hostname.as_str().to_owned()),
            idmap: (guest.idmap_on_file && guest.unprivileged).then(|| IdMap::clone(&guest.idmap)),
            mounts: guest.mounts.iter().map(|(at, attached)| (at.clone(), mount(attached))).collect::<BTreeMap<_, _>>(),
            autostart: guest.autostart.enabled,
        };
        Some(Seen {
            presence,
            mark: guest.mark.as_deref().cloned(),
            init: self.init(ctid),
            config: Some(config),
            copies_live: self.copies_live(ctid),
        })
    }

    /// What the world says about a step, results of shims included.
    pub(super) fn verdict(&self, effect: &Effect) -> Report {
        let intent = &effect.intent;
        let slot = self.slot(intent.ctid);
        if let Some(left) = slot.and_then(|slot| slot.left.as_ref()).filter(|left| left.token == intent.token) {
            return read_result(left, effect);
        }
        Report::bare(self.look(effect))
    }

    /// What a look says about a step.
    pub(super) fn look(&self, effect: &Effect) -> StepResult {
        match &effect.intent.action {
            Action::Create { .. } => self.look_defined(effect, None),
            Action::Clone { source, .. } => self.look_defined(effect, Some(*source)),
            Action::Destroy => self.look_destroyed(effect),
            Action::Repair { .. } => self.look_repaired(effect),
            Action::Mark => match self.whose(effect) {
                Whose::Unmarked if effect.intent.reason == Reason::Asked => StepResult::Absent,
                Whose::Nothing
                | Whose::HalfOurs(_)
                | Whose::HalfOthers
                | Whose::Ours(_)
                | Whose::Newer(_)
                | Whose::Unmarked
                | Whose::Others(_) => self.not_ours(effect).unwrap_or(StepResult::Done(Evidence::Marked)),
            },
            // No container is there yet, and none is needed.
            Action::FetchTemplate => done_if(self.stored(effect).is_some_and(|(_, what)| what == Some(Stored::Whole)), Evidence::Fetched),
            Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart => match self.ours(effect) {
                Ok(guest) => self.look_inside(effect, guest),
                Err(result) => *result,
            },
        }
    }

    /// Why a step on a container that should be ours finds none that is.
    pub(super) fn not_ours(&self, effect: &Effect) -> Option<StepResult> {
        if self.options.behaviour.sabotage == Some(Sabotage::BlindToMarks) && self.guest(effect.intent.ctid).is_some() {
            return None;
        }
        self.ours(effect).err().map(|result| *result)
    }

    fn ours(&self, effect: &Effect) -> Result<&Arc<Guest>, Box<StepResult>> {
        let why = match self.whose(effect) {
            Whose::Ours(guest) => return Ok(guest),
            Whose::Nothing => StepResult::Gone,
            Whose::HalfOurs(stage) => StepResult::Unknown { why: leftover(stage) },
            Whose::HalfOthers => StepResult::Foreign { owner: "somebody whose container is half-made".to_owned() },
            Whose::Unmarked => failure(FailureClass::MarkMissing, "the container bears no mark"),
            Whose::Newer(why) => failure(FailureClass::JournalOlder, why),
            Whose::Others(mark) => StepResult::Foreign { owner: owner(mark) },
        };
        Err(Box::new(why))
    }

    fn whose(&self, effect: &Effect) -> Whose<'_> {
        let Some(guest) = self.guest(effect.intent.ctid) else { return Whose::Nothing };
        match (&guest.made, &guest.mark) {
            (Made::Half { stage, maker }, _) => {
                let ours = maker.journal == effect.mark.journal && maker.incarnation == effect.mark.incarnation;
                if ours { Whose::HalfOurs(*stage) } else { Whose::HalfOthers }
            }
            (Made::Whole, None) => Whose::Unmarked,
            // A clone brings its source's mark: a mark for another container counts as none.
            (Made::Whole, Some(mark)) if mark.ctid != effect.mark.ctid => Whose::Unmarked,
            (Made::Whole, Some(mark)) => match effect.mark.outlived_by(mark, &effect.former) {
                Some(why) => Whose::Newer(why),
                None if !effect.mark.owns(mark) => Whose::Others(mark),
                None => Whose::Ours(guest),
            },
        }
    }

    fn look_defined(&self, effect: &Effect, source: Option<Ctid>) -> StepResult {
        match self.whose(effect) {
            Whose::Nothing => match source {
                Some(source) if self.is_locked_for(source, effect.intent.ctid) => {
                    StepResult::Partial { leftover: format!("the clone source {source} is still locked (disk)") }
                }
                Some(_) | None => StepResult::Absent,
            },
            Whose::HalfOurs(stage) => StepResult::Partial { leftover: leftover(stage) },
            // Unlocked while the clone is in doubt, or never: later nobody could tell what the lock was for.
            Whose::Ours(_) if source.is_some_and(|source| self.is_locked_for(source, effect.intent.ctid)) => {
                StepResult::Partial { leftover: "the copy is whole, and its source is still locked (disk)".to_owned() }
            }
            Whose::Ours(guest) => match &effect.intent.action {
                Action::Clone { source, incarnation, from: _ } => StepResult::Done(Evidence::Cloned {
                    source: *source,
                    incarnation: *incarnation,
                    shared_mounts: u32::try_from(guest.mounts.len()).unwrap_or(u32::MAX),
                }),
                Action::FetchTemplate
                | Action::SetFirewall
                | Action::TakeSnapshot
                | Action::Create { .. }
                | Action::Mark
                | Action::Hold { .. }
                | Action::Release
                | Action::Configure
                | Action::Start { .. }
                | Action::ReadIdmap { .. }
                | Action::Stop { .. }
                | Action::Prepare { .. }
                | Action::Attach { .. }
                | Action::Detach { .. }
                | Action::AwaitReady { .. }
                | Action::RunScript { .. }
                | Action::AskHealth { .. }
                | Action::SetAutostart
                | Action::Destroy
                | Action::Repair { .. } => StepResult::Done(Evidence::Created { left_out: 0 }),
            },
            Whose::HalfOthers => StepResult::Foreign { owner: "somebody whose container is half-made".to_owned() },
            Whose::Unmarked => StepResult::Foreign { owner: "somebody who leaves no mark".to_owned() },
            Whose::Newer(_) | Whose::Others(_) => self.not_ours(effect).unwrap_or(StepResult::Absent),
        }
    }

    fn look_destroyed(&self, effect: &Effect) -> StepResult {
        match self.whose(effect) {
            Whose::Nothing => StepResult::Done(Evidence::Destroyed),
            Whose::HalfOurs(stage) => StepResult::Partial { leftover: leftover(stage) },
            Whose::Ours(_) => StepResult::Absent,
            Whose::HalfOthers | Whose::Unmarked | Whose::Newer(_) | Whose::Others(_) => match self.not_ours(effect) {
                Some(result) => result,
                None => StepResult::Absent,
            },
        }
    }

    fn look_repaired(&self, effect: &Effect) -> StepResult {
        let ctid = effect.intent.ctid;
        let source_locked = clone_source(effect).is_some_and(|source| self.is_locked_for(source, ctid));
        let repaired = StepResult::Done(Evidence::Repaired);
        let undone = if source_locked { StepResult::Absent } else { repaired.clone() };
        match self.whose(effect) {
            Whose::Nothing => undone,
            Whose::HalfOurs(_) => StepResult::Absent,
            Whose::Ours(guest) if snapshot_of(effect).is_some() => snapshot_of(effect).map_or(repaired, |name| look_repaired(name, guest)),
            Whose::Ours(guest) => match mount_of(effect) {
                Some(mount) if guest.mounts.get(&mount.at).is_some_and(|attached| attached.path != mount.volume.source) => {
                    StepResult::Absent
                }
                Some(_) => repaired,
                None => undone,
            },
            Whose::HalfOthers | Whose::Unmarked | Whose::Newer(_) | Whose::Others(_) => self.not_ours(effect).unwrap_or(repaired),
        }
    }

    fn is_locked_for(&self, source: Ctid, target: Ctid) -> bool {
        self.guest(source).is_some_and(|guest| guest.lock == Some(ConfigLock::Disk { target }))
    }

    /// Steps on a container that is whole and ours.
    fn look_inside(&self, effect: &Effect, guest: &Arc<Guest>) -> StepResult {
        let ctid = effect.intent.ctid;
        let spec = &effect.spec;
        let up = self.slot(ctid).and_then(|slot| slot.up);
        match &effect.intent.action {
            Action::Hold { by: HoldBy::Stop, .. } => done_if(up.is_none(), Evidence::Held { by: HoldBy::Stop }),
            Action::Hold { by: HoldBy::Snapshot, .. } | Action::TakeSnapshot => look_snapshot(effect, guest),
            Action::Release => look_released(guest),
            Action::SetFirewall => {
                let wanted = spec.host_options.firewall.as_ref();
                done_if(guest.firewall.as_deref() == wanted, Evidence::FirewallSet)
            }
            Action::Stop { .. } => done_if(up.is_none(), Evidence::Stopped),
            Action::Configure => {
                let same = guest.settings.as_ref().is_some_and(|settings| settings.matches(spec));
                done_if(same, Evidence::Configured { unenforced: Vec::new() })
            }
            Action::Start { purpose, idmap, sources } => self.look_started(ctid, guest, *purpose, idmap, sources),
            Action::ReadIdmap { init } => self.look_mapped(effect, guest, init),
            Action::Prepare { volume, idmap } => self.look_prepared(volume, idmap),
            Action::Attach { mount, source, .. } => look_attached(guest, mount, source),
            Action::Detach { mount } => done_if(!guest.mounts.contains_key(&mount.at), Evidence::Detached),
            Action::AwaitReady { init } if !self.is_up_as(ctid, init) => init_lost(),
            Action::AwaitReady { init } => {
                let ready = up.is_some_and(|up| up.ready_ms <= self.clock.elapsed_ms && !up.frozen);
                done_if(ready, Evidence::Ready { init: init.clone(), basis: "simulated".to_owned() })
            }
            Action::RunScript { .. } => self.look_run(effect),
            Action::SetAutostart => done_if(guest.autostart == spec.autostart, Evidence::AutostartSet { enabled: spec.autostart.enabled }),
            Action::AskHealth { .. } => StepResult::Absent,
            Action::FetchTemplate
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Destroy
            | Action::Repair { .. } => StepResult::Unknown { why: "this step is not about a container that is whole".to_owned() },
        }
    }

    fn look_started(&self, ctid: Ctid, guest: &Guest, purpose: StartPurpose, wanted: &IdMap, sources: &[Source]) -> StepResult {
        let Some(init) = self.init(ctid) else { return StepResult::Absent };
        if *wanted != *guest.idmap {
            let (claim, found) = (wanted.to_string(), guest.idmap.to_string());
            return failure(FailureClass::Drift { claim, found }, "the kernel's id map is not the one wanted");
        }
        let missing = match purpose {
            StartPurpose::Finalize => None,
            StartPurpose::Run => self.missing_source(sources),
        };
        if purpose == StartPurpose::Run && missing.is_none() && self.slot(ctid).and_then(|slot| slot.up).is_some_and(|up| up.lacks_mount) {
            return StepResult::Absent;
        }
        missing.unwrap_or_else(|| StepResult::Done(Evidence::Started { init, idmap: IdMap::clone(&guest.idmap) }))
    }

    fn look_mapped(&self, effect: &Effect, guest: &Guest, init: &Init) -> StepResult {
        if !self.is_up_as(effect.intent.ctid, init) {
            return init_lost();
        }
        if effect.spec.idmap != *guest.idmap {
            let (claim, found) = (effect.spec.idmap.to_string(), guest.idmap.to_string());
            return failure(FailureClass::Drift { claim, found }, "the kernel's id map is not the one planned");
        }
        StepResult::Done(Evidence::Idmap { init: init.clone(), idmap: IdMap::clone(&guest.idmap) })
    }

    fn look_prepared(&self, volume: &Volume, idmap: &IdMap) -> StepResult {
        let Some(seen) = self.places.get(&volume.source).and_then(Place::seen) else { return StepResult::Absent };
        let right = wanted_owner(volume, idmap) == Some((seen.uid, seen.gid)) && volume.mode.is_none_or(|mode| mode == seen.mode);
        let source = Source { volume: volume.name.clone(), path: volume.source.clone(), device: seen.device, inode: seen.inode };
        let prepared = Prepared { source, host_uid: seen.uid, host_gid: seen.gid, former: seen.former, left_alone: Vec::new() };
        done_if(right, Evidence::Prepared(prepared))
    }

    fn look_run(&self, effect: &Effect) -> StepResult {
        let begun = self.slot(effect.intent.ctid).is_some_and(|slot| slot.script_begun == Some(effect.intent.token));
        let earlier_boot = effect.intent.deadline.boot != *self.clock.boot;
        if begun || earlier_boot { StepResult::Interrupted } else { StepResult::Absent }
    }
}

fn look_attached(guest: &Guest, mount: &Mount, source: &Source) -> StepResult {
    let Some(attached) = guest.mounts.get(&mount.at) else { return StepResult::Absent };
    let mapped = mount.volume.ownership == Ownership::Map;
    if attached.path != source.path {
        return StepResult::Partial { leftover: format!("{} is attached at {}", attached.path.display(), mount.at) };
    }
    let mechanism = if mapped { "bind+idmap" } else { "bind" };
    let attachment =
        Attachment { source: source.clone(), at: mount.at.clone(), mechanism: mechanism.to_owned(), read_only: mount.read_only };
    done_if(attached.read_only == mount.read_only && attached.mapped == mapped, Evidence::Attached(attachment))
}

fn done_if(holds: bool, evidence: Evidence) -> StepResult {
    if holds { StepResult::Done(evidence) } else { StepResult::Absent }
}

fn leftover(stage: Stage) -> String {
    match stage {
        Stage::Claimed => "a configuration with `lock: create` alone".to_owned(),
        Stage::Filled => "a configuration with `lock: create` and a root file system".to_owned(),
        Stage::Dying => "a root file system without a configuration".to_owned(),
    }
}

fn owner(mark: &Mark) -> String {
    format!("journal {}, fleet {}, container {}", mark.journal, mark.fleet, mark.ctid)
}
