//! What a look at the abstract host says: about one step, and about every container.
//!
//! Apart from `host` as a look changes nothing. It follows the table of `phoenix::host::sim` (`look`), so that what the engine
//! is told here is what a host would tell it. Not here: when one looks.

use std::collections::BTreeMap;

use phoenix::engine::limits::script;
use phoenix::ids::{Ctid, IdKind, IdMap, Incarnation, Step, Wall};
use phoenix::machine::{Evidence, Failure, FailureClass, Prepared, StepResult};
use phoenix::manifest::{Mount, Origin, Spec, Volume};
use phoenix::plan::{
    Action, Attachment, ConfigSeen, Effect, HoldBy, Init, Mark, MountSeen, Observation, Presence, Reason, SNAPSHOT_BEFORE_VOLUMES, Seen,
    Source,
};
use phoenix_journal::{Epoch, JournalId};

use super::host::{Extent, Guest, Host, Place};
use super::slips::Slip;

impl Host {
    /// One look at containers of the given specs; marks are those of `journal`.
    pub(crate) fn observe(&self, specs: &[Spec], journal: JournalId) -> Observation {
        let seen = |spec: &Spec| self.seen(spec, journal).map(|seen| (spec.ctid, seen));
        Observation { boot: self.boot_id(), containers: specs.iter().filter_map(seen).collect() }
    }

    pub(crate) fn seen(&self, spec: &Spec, journal: JournalId) -> Option<Seen> {
        let guest = self.place(spec.ctid).guest.as_ref()?;
        let presence = if guest.half { Presence::HalfMade("half of it".to_owned()) } else { Presence::Whole };
        let mark =
            |incarnation| Mark { journal, fleet: "fleet".parse().expect("a name"), ctid: spec.ctid, incarnation, epoch: Epoch::new(1) };
        let stranger = || Mark { journal: JournalId::from_bytes([0xee; 16]), ..mark(Incarnation::from_random([0xee; 16])) };
        let mark = guest.marked.then(|| guest.incarnation.map_or_else(stranger, mark));
        let claimed = |at| guest.attached.contains(at) || self.slip == Some(Slip::AttachesInWordsOnly);
        let mounts = spec.mounts.iter().filter(|mount| claimed(&mount.at));
        let mount = |mount: &Mount| (mount.at.clone(), MountSeen { source: mount.volume.source.clone(), read_only: mount.read_only });
        let config = ConfigSeen {
            hostname: guest.configured.then(|| spec.hostname.as_str().to_owned()),
            idmap: guest.mapped.then(|| spec.idmap.clone()),
            mounts: mounts.map(mount).collect::<BTreeMap<_, _>>(),
            autostart: guest.autostart,
        };
        Some(Seen {
            presence,
            mark,
            init: self.init(spec.ctid),
            config: Some(config),
            copies_live: self.copies_live && guest.attached.is_empty() && !guest.half,
        })
    }

    /// The verdict on a step in doubt: the result that its child left, else what a look says.
    pub(crate) fn settle(&self, effect: &Effect) -> StepResult {
        match &self.place(effect.intent.ctid).left {
            Some(left) if left.token == effect.intent.token && self.slip != Some(Slip::ForgetsResults) => {
                if left.success {
                    StepResult::Done(shown(effect, None))
                } else {
                    failed(FailureClass::Transient, "it ended with exit status 1")
                }
            }
            Some(_) | None => self.look(effect),
        }
    }

    /// What a look says about a step.
    pub(crate) fn look(&self, effect: &Effect) -> StepResult {
        let place = self.place(effect.intent.ctid);
        match &effect.intent.action {
            Action::Create { .. } | Action::Clone { .. } => self.look_defined(effect, place),
            Action::Destroy => match &place.guest {
                None => StepResult::Done(Evidence::Destroyed),
                Some(guest) if guest.half && is_own(guest, effect) => half(),
                Some(_) => self.not_ours(effect).unwrap_or(StepResult::Absent),
            },
            Action::Repair { .. } => self.look_repaired(effect, place),
            Action::Mark => match &place.guest {
                Some(guest) if !guest.half && !guest.marked && effect.intent.reason == Reason::Asked => StepResult::Absent,
                Some(_) | None => self.not_ours(effect).unwrap_or(StepResult::Done(Evidence::Marked)),
            },
            Action::FetchTemplate if self.fetched => StepResult::Done(Evidence::Fetched),
            Action::FetchTemplate => StepResult::Absent,
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
            | Action::SetAutostart => self.not_ours(effect).unwrap_or_else(|| self.look_inside(effect, place)),
        }
    }

    /// Why a step on a container that should be ours finds none that is.
    pub(crate) fn not_ours(&self, effect: &Effect) -> Option<StepResult> {
        match &self.place(effect.intent.ctid).guest {
            None => Some(StepResult::Gone),
            Some(_) if self.slip == Some(Slip::BlindToMarks) => None,
            Some(guest) if guest.half && is_own(guest, effect) => Some(StepResult::Unknown { why: "half of it is there".to_owned() }),
            Some(guest) if guest.half || (guest.marked && !is_own(guest, effect)) => Some(foreign()),
            Some(guest) if !guest.marked => Some(failed(FailureClass::MarkMissing, "it bears no mark")),
            Some(_) => None,
        }
    }

    fn look_defined(&self, effect: &Effect, place: &Place) -> StepResult {
        match &place.guest {
            None if self.source_is_locked(effect) => half(),
            None => StepResult::Absent,
            Some(guest) if !is_own(guest, effect) || (!guest.half && !guest.marked) => foreign(),
            Some(guest) if guest.half => half(),
            Some(_) => StepResult::Done(shown(effect, None)),
        }
    }

    fn look_repaired(&self, effect: &Effect, place: &Place) -> StepResult {
        match &place.guest {
            Some(guest) if snapshot_of(effect).is_some() => {
                let left = if snapshot_of(effect) == Some(Which::Point) { guest.point } else { guest.copy };
                let repaired = if left == Some(Extent::Half) { StepResult::Absent } else { StepResult::Done(Evidence::Repaired) };
                self.not_ours(effect).unwrap_or(repaired)
            }
            None if self.source_is_locked(effect) => StepResult::Absent,
            None => StepResult::Done(Evidence::Repaired),
            Some(guest) if guest.half && is_own(guest, effect) => StepResult::Absent,
            Some(_) if self.not_ours(effect).is_some() => foreign(),
            Some(_) if self.source_is_locked(effect) => StepResult::Absent,
            Some(_) => StepResult::Done(Evidence::Repaired),
        }
    }

    fn source_is_locked(&self, effect: &Effect) -> bool {
        let locked = |source| self.place(source).guest.as_ref().is_some_and(|guest| guest.locked_for == Some(effect.intent.ctid));
        clone_source(effect).is_some_and(locked)
    }

    /// A step on a container that is whole and ours.
    fn look_inside(&self, effect: &Effect, place: &Place) -> StepResult {
        let Some(guest) = &place.guest else { return StepResult::Gone };
        let init = self.init(effect.intent.ctid);
        let lost = |wanted: &Init| init.as_ref() != Some(wanted);
        let holds = match &effect.intent.action {
            Action::Hold { by: HoldBy::Stop, .. } => place.up.is_none() || self.slip == Some(Slip::HoldsInWordsOnly),
            Action::Hold { by: HoldBy::Snapshot, .. } | Action::Release if guest.copy == Some(Extent::Half) => return half(),
            Action::TakeSnapshot if guest.point == Some(Extent::Half) => return half(),
            Action::Hold { by: HoldBy::Snapshot, .. } => guest.copy.is_some(),
            Action::TakeSnapshot => guest.point.is_some(),
            Action::SetFirewall => guest.walled,
            Action::Release if self.slip == Some(Slip::KeepsSnapshots) => true,
            Action::Stop { .. } => place.up.is_none(),
            Action::Start { .. } => place.up.is_some(),
            Action::Release => guest.locked_for.is_none() && guest.copy.is_none(),
            Action::Configure => guest.configured,
            Action::ReadIdmap { init } | Action::AwaitReady { init } if lost(init) => return init_lost(),
            Action::ReadIdmap { .. } | Action::AwaitReady { .. } => true,
            Action::Prepare { volume, .. } => self.prepared.contains(&volume.name),
            Action::Attach { mount, .. } => guest.attached.contains(&mount.at) || self.slip == Some(Slip::AttachesInWordsOnly),
            Action::Detach { mount } => !guest.attached.contains(&mount.at),
            Action::SetAutostart => guest.autostart == effect.spec.autostart.enabled,
            // Another boot keeps no record of what it began.
            Action::RunScript { .. } if place.begun == Some(effect.intent.token) || !self.is_of_this_boot(effect) => {
                return StepResult::Interrupted;
            }
            Action::FetchTemplate
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Destroy
            | Action::Repair { .. } => false,
        };
        if holds { StepResult::Done(shown(effect, init)) } else { StepResult::Absent }
    }
}

/// What a success of the step shows; `init` where one runs.
pub(crate) fn shown(effect: &Effect, init: Option<Init>) -> Evidence {
    let step = &effect.intent.step.step;
    match &effect.intent.action {
        Action::Create { .. } => Evidence::Created { left_out: 0 },
        Action::Clone { source, incarnation, .. } => Evidence::Cloned { source: *source, incarnation: *incarnation, shared_mounts: 0 },
        Action::Mark => Evidence::Marked,
        Action::FetchTemplate => Evidence::Fetched,
        Action::SetFirewall => Evidence::FirewallSet,
        Action::TakeSnapshot => Evidence::Snapshot { name: SNAPSHOT_BEFORE_VOLUMES.to_owned() },
        Action::Hold { by, .. } => Evidence::Held { by: *by },
        Action::Release => Evidence::Released,
        Action::Configure => Evidence::Configured { unenforced: Vec::new() },
        Action::Start { idmap, .. } => Evidence::Started { init: init.expect("what was started is up"), idmap: idmap.clone() },
        Action::ReadIdmap { init } => Evidence::Idmap { init: init.clone(), idmap: effect.spec.idmap.clone() },
        Action::Stop { .. } => Evidence::Stopped,
        Action::Prepare { volume, idmap } => Evidence::Prepared(prepared(volume, idmap)),
        Action::Attach { mount, source, .. } => {
            let (source, at, read_only) = (source.clone(), mount.at.clone(), mount.read_only);
            Evidence::Attached(Attachment { source, at, mechanism: "bind".to_owned(), read_only })
        }
        Action::Detach { .. } => Evidence::Detached,
        Action::AwaitReady { init } => Evidence::Ready { init: init.clone(), basis: "it is up".to_owned() },
        Action::RunScript { .. } => {
            let digest = script(step, &effect.spec).expect("a script of the spec").digest;
            Evidence::Ran { script: digest, started: Wall(0), ended: Wall(0), skipped: false }
        }
        Action::AskHealth { .. } => Evidence::Healthy { asked: 1 },
        Action::SetAutostart => Evidence::AutostartSet { enabled: effect.spec.autostart.enabled },
        Action::Destroy => Evidence::Destroyed,
        Action::Repair { .. } => Evidence::Repaired,
    }
}

fn prepared(volume: &Volume, idmap: &IdMap) -> Prepared {
    let source = Source { volume: volume.name.clone(), path: volume.source.clone(), device: 1, inode: 1 };
    let mapped = |kind, inside| idmap.to_host(kind, inside).expect("an owner within the map");
    Prepared {
        source,
        host_uid: mapped(IdKind::User, volume.owner.uid),
        host_gid: mapped(IdKind::Group, volume.owner.gid),
        former: None,
        left_alone: Vec::new(),
    }
}

/// The container that an effect copies, or whose copy it puts right.
pub(crate) fn clone_source(effect: &Effect) -> Option<Ctid> {
    let Origin::Clone { source } = effect.spec.origin else { return None };
    (effect.intent.step.step == Step::DefineClone).then_some(source)
}

/// Which of its snapshots a step, or the repair of one, is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    Point,
    Copy,
}

pub(crate) fn snapshot_of(effect: &Effect) -> Option<Which> {
    match effect.intent.step.step {
        Step::SnapshotTake => Some(Which::Point),
        Step::CloneHold | Step::CloneRelease => Some(Which::Copy),
        Step::TemplateFetch
        | Step::DefineCreate
        | Step::DefineClone
        | Step::DefineMark
        | Step::ConfigureSet
        | Step::FirewallSet
        | Step::FinalizeStart
        | Step::FinalizeIdmap
        | Step::FinalizeStop
        | Step::VolumePrepare(_)
        | Step::VolumeAttach(_)
        | Step::VolumeDetach(_)
        | Step::RunStart
        | Step::RunReady
        | Step::FeatureApply(_)
        | Step::ApplicationRun
        | Step::HealthCheck(_)
        | Step::AutostartSet
        | Step::DownStop
        | Step::DownDestroy => None,
    }
}

pub(crate) fn failed(class: FailureClass, message: &str) -> StepResult {
    StepResult::Failed(Failure::new(class, message))
}

pub(crate) fn init_lost() -> StepResult {
    failed(FailureClass::InitLost, "the init that was recorded is gone")
}

fn is_own(guest: &Guest, effect: &Effect) -> bool {
    guest.incarnation == Some(effect.intent.incarnation)
}

fn half() -> StepResult {
    StepResult::Partial { leftover: "half of it".to_owned() }
}

fn foreign() -> StepResult {
    StepResult::Foreign { owner: "others".to_owned() }
}
