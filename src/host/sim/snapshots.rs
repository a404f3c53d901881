//! Snapshots: taking one, deleting one, and what is left where that was cut off.
//!
//! As on real hosts a snapshot is a section of the configuration that says how far it is made, a lock beside it, and, while it
//! is made, a frozen container. Not here: which steps take which (`pieces`), and who asks (`gate`).

use std::sync::Arc;

use crate::ids::Ctid;
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::plan::{Action, Effect, HoldBy, SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES};

use super::act::failure;
use super::damage::Damage;
use super::disk::{ConfigLock, Guest, Snapshot, SnapshotStage};
use super::world::World;

/// The name of the snapshot that an effect, or what it puts right, is about.
pub(super) fn snapshot_of(effect: &Effect) -> Option<&'static str> {
    match effect.intent.step.step.base() {
        "snapshot.take" => Some(SNAPSHOT_BEFORE_VOLUMES),
        "clone.hold" | "clone.release" => Some(SNAPSHOT_FOR_CLONES),
        _ => None,
    }
}

impl World {
    /// What keeps a snapshot from being taken; nothing if nothing does.
    pub(super) fn snapshot_refused(&self, effect: &Effect) -> Option<StepResult> {
        let unless_absent = |result: StepResult| (result != StepResult::Absent).then_some(result);
        let guest = self.guest(effect.intent.ctid)?;
        unless_absent(look_snapshot(effect, guest)).or_else(|| self.locked(effect.intent.ctid)).or_else(|| {
            let able = self.storage_of(guest).keeps_snapshots() && guest.mounts.is_empty();
            (!able).then(|| failure(FailureClass::Permanent, "snapshot feature is not available"))
        })
    }

    /// The section appears, with its lock; what runs is frozen.
    pub(super) fn prepare_snapshot(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Some(name) = snapshot_of(effect) else { return Ok(()) };
        let ctid = effect.intent.ctid;
        self.freeze(ctid, true);
        self.change(ctid, |guest| {
            let snapshot = Snapshot { stage: SnapshotStage::Prepare, inside: Arc::default() };
            Arc::make_mut(&mut guest.snapshots).insert(name.to_owned(), snapshot);
            guest.lock = Some(ConfigLock::Snapshot);
        })
    }

    /// The storage has it; lock and frost are gone.
    pub(super) fn keep_snapshot(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Some(name) = snapshot_of(effect) else { return Ok(()) };
        let ctid = effect.intent.ctid;
        self.freeze(ctid, false);
        self.change(ctid, |guest| {
            let snapshot = Snapshot { stage: SnapshotStage::Whole, inside: Arc::clone(&guest.inside) };
            Arc::make_mut(&mut guest.snapshots).insert(name.to_owned(), snapshot);
            guest.lock = None;
        })
    }

    pub(super) fn begin_deleting_snapshot(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Some(name) = snapshot_of(effect) else { return Ok(()) };
        self.change(effect.intent.ctid, |guest| {
            if let Some(snapshot) = Arc::make_mut(&mut guest.snapshots).get_mut(name) {
                snapshot.stage = SnapshotStage::Delete;
                guest.lock = Some(ConfigLock::SnapshotDelete);
            }
        })
    }

    /// Section, lock and frost are gone: the end of a deletion, and what a repair comes to.
    pub(super) fn drop_snapshot(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Some(name) = snapshot_of(effect) else { return Ok(()) };
        let ctid = effect.intent.ctid;
        self.freeze(ctid, false);
        self.change(ctid, |guest| {
            Arc::make_mut(&mut guest.snapshots).remove(name);
            if matches!(guest.lock, Some(ConfigLock::Snapshot | ConfigLock::SnapshotDelete)) {
                guest.lock = None;
            }
        })
    }

    fn freeze(&mut self, ctid: Ctid, frozen: bool) {
        if let Some(up) = &mut self.slot_mut(ctid).up {
            up.frozen = frozen;
        }
    }

    /// A source that is held by a snapshot is to go on running; only what destroys it stops it.
    pub(super) fn note_stopped(&mut self, effect: &Effect) {
        let ctid = effect.intent.ctid;
        let live = self.slot(ctid).is_some_and(|slot| slot.held == Some(HoldBy::Snapshot) && slot.up.is_some());
        if live && effect.intent.step.step.base() != "down.stop" {
            self.note_damage(Damage::StoppedWhileHeld { ctid });
        }
    }
}

/// What a look says of a snapshot that is to be taken.
pub(super) fn look_snapshot(effect: &Effect, guest: &Guest) -> StepResult {
    let Some(name) = snapshot_of(effect) else { return StepResult::Absent };
    match guest.snapshots.get(name).map(|snapshot| snapshot.stage) {
        Some(SnapshotStage::Whole) => StepResult::Done(match effect.intent.action {
            Action::Hold { by, .. } => Evidence::Held { by },
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
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
            | Action::Repair { .. } => Evidence::Snapshot { name: name.to_owned() },
        }),
        Some(stage @ (SnapshotStage::Prepare | SnapshotStage::Delete)) => StepResult::Partial { leftover: half(name, stage) },
        None => StepResult::Absent,
    }
}

/// What a look says of a source that is to be let go.
pub(super) fn look_released(guest: &Guest) -> StepResult {
    match guest.snapshots.get(SNAPSHOT_FOR_CLONES).map(|snapshot| snapshot.stage) {
        Some(SnapshotStage::Whole) => StepResult::Absent,
        Some(stage @ (SnapshotStage::Prepare | SnapshotStage::Delete)) => {
            StepResult::Partial { leftover: half(SNAPSHOT_FOR_CLONES, stage) }
        }
        None if guest.lock.is_some_and(|lock| !matches!(lock, ConfigLock::Backup { .. })) => StepResult::Absent,
        None => StepResult::Done(Evidence::Released),
    }
}

/// What a look says of the repair of a snapshot.
pub(super) fn look_repaired(name: &str, guest: &Guest) -> StepResult {
    let half = guest.snapshots.get(name).is_some_and(|snapshot| snapshot.stage != SnapshotStage::Whole);
    let locked = matches!(guest.lock, Some(ConfigLock::Snapshot | ConfigLock::SnapshotDelete));
    if half || locked { StepResult::Absent } else { StepResult::Done(Evidence::Repaired) }
}

fn half(name: &str, stage: SnapshotStage) -> String {
    match stage {
        SnapshotStage::Prepare => format!("`lock: snapshot` and snapshot {name} with `snapstate: prepare`"),
        SnapshotStage::Delete => format!("`lock: snapshot-delete` and snapshot {name} with `snapstate: delete`"),
        SnapshotStage::Whole => format!("snapshot {name}"),
    }
}
