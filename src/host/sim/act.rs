//! What each piece of an operation does to the world.
//!
//! Apart from `op`, which knows when a piece is due, from `gate`, which knows what is refused, and from `look`, which knows how
//! the result is seen. Shared directories are in `volumes`.

use std::sync::Arc;

use phoenix_journal::Epoch;

use crate::ids::Ctid;
use crate::machine::{Failure, FailureClass, StepResult};
use crate::manifest::{Autostart, Mount, Origin};
use crate::plan::{Action, CopyFrom, Effect, SNAPSHOT_FOR_CLONES};

use super::damage::Damage;
use super::disk::{ConfigLock, Guest, Made, Maker, Settings, Stage, Trace};
use super::op::Op;
use super::pieces::Act;
use super::scripts::script_of;
use super::snapshots::snapshot_of;
use super::storage::Stored;
use super::world::{Up, World};

impl World {
    /// Carries out one piece; an error ends the operation with what it says.
    pub(super) fn act(&mut self, op: &Op, act: Act) -> Result<(), Box<StepResult>> {
        let effect = &*op.effect;
        let ctid = effect.intent.ctid;
        self.note_trespass(effect, act);
        match act {
            Act::Signal | Act::Await | Act::Reap => Ok(()),
            Act::FetchHalf | Act::FetchRest => {
                self.store(effect, if act == Act::FetchHalf { Stored::Part } else { Stored::Whole });
                Ok(())
            }
            Act::Claim => self.claim(effect),
            Act::Fill => self.fill(effect),
            Act::Complete => self.complete(effect),
            Act::LockSource => self.lock_source(effect),
            Act::WriteMark => self.change(ctid, |guest| guest.mark = Some(Arc::new(effect.mark.clone()))),
            Act::Halt => {
                self.note_stopped(effect);
                self.slot_mut(ctid).up = None;
                Ok(())
            }
            Act::LetGo => self.let_go(ctid),
            Act::WriteSettings => self.write_settings(effect),
            Act::WriteFirewall => self.change(ctid, |guest| guest.firewall = effect.spec.host_options.firewall.clone().map(Arc::new)),
            Act::PrepareSnapshot => self.prepare_snapshot(effect),
            Act::KeepSnapshot => self.keep_snapshot(effect),
            Act::UnmakeSnapshot => self.begin_deleting_snapshot(effect),
            Act::DropSnapshot => self.drop_snapshot(effect),
            Act::Spawn => self.spawn(effect, op.never_ready),
            Act::Confirm => self.confirm(effect),
            Act::ReadMap => self.guest(ctid).map(|_| ()).ok_or(Box::new(StepResult::Gone)),
            Act::MakeDirectory => {
                self.make_directory(effect);
                Ok(())
            }
            Act::GiveOwner => self.give_owner(effect),
            Act::GiveMode => self.give_mode(effect),
            Act::WriteMount => self.write_mount(effect),
            Act::DropMount => self.drop_mount(effect),
            Act::Exec | Act::Ask => {
                if act == Act::Exec {
                    self.script_started(effect);
                }
                Ok(())
            }
            Act::WriteHalf => self.trace(effect, false),
            Act::WriteRest => self.trace(effect, true),
            Act::WriteAutostart => self.write_autostart(effect),
            Act::MoveAway => self.move_away(effect),
            Act::Delete => {
                self.delete(ctid);
                Ok(())
            }
            Act::ClearLeftover => self.clear_leftover(effect),
            Act::Sync => {
                self.sync(effect);
                Ok(())
            }
        }
    }

    /// Makes durable what an effect may have changed.
    pub(super) fn sync(&mut self, effect: &Effect) {
        if effect.intent.action == Action::FetchTemplate {
            self.templates.sync();
        }
        let both = [Some(effect.intent.ctid), clone_source(effect)];
        for ctid in both.into_iter().flatten() {
            if self.slots.contains_key(&ctid) {
                self.slot_mut(ctid).guest.sync();
            }
        }
        if let Action::Prepare { volume, .. } = &effect.intent.action
            && let Some(place) = Arc::make_mut(&mut self.places).get_mut(&volume.source)
        {
            place.sync();
        }
    }

    pub(super) fn change(&mut self, ctid: Ctid, change: impl FnOnce(&mut Guest)) -> Result<(), Box<StepResult>> {
        if self.change_guest(ctid, change) { Ok(()) } else { Err(Box::new(StepResult::Gone)) }
    }

    /// A piece that changes a container which does not bear the mark: the gate was open too wide, or it was swapped since.
    fn note_trespass(&mut self, effect: &Effect, act: Act) {
        let harmless = matches!(act, Act::Signal | Act::Await | Act::Reap | Act::ReadMap | Act::Ask | Act::Sync);
        let written_now = matches!(act, Act::Claim | Act::Fill | Act::Complete | Act::LockSource | Act::WriteMark | Act::ClearLeftover);
        let Some(guest) = self.guest(effect.intent.ctid) else { return };
        let owned = guest.mark.as_ref().is_some_and(|mark| effect.mark.owns(mark)) || guest.made != Made::Whole;
        // A template is the host's: whoever has the number, nothing of theirs is touched.
        let elsewhere = effect.intent.action == Action::FetchTemplate;
        if !harmless && !written_now && !elsewhere && !owned {
            self.note_damage(Damage::Trespass { ctid: effect.intent.ctid, step: effect.intent.step.clone() });
        }
    }
}

/// Making, copying and destroying.
impl World {
    fn claim(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let slot = self.slot_mut(effect.intent.ctid);
        if slot.guest.get().is_some() {
            return Err(Box::new(StepResult::Foreign { owner: "somebody who came while it was being made".to_owned() }));
        }
        let maker = Maker { journal: effect.mark.journal, incarnation: effect.intent.incarnation };
        // Whatever was held here was another container.
        slot.held = None;
        slot.guest.set(Some(Arc::new(Guest {
            made: Made::Half { stage: Stage::Claimed, maker },
            lock: Some(ConfigLock::Create),
            mark: None,
            settings: None,
            unprivileged: effect.spec.unprivileged,
            idmap: Arc::new(effect.spec.idmap.clone()),
            idmap_on_file: false,
            mounts: Arc::default(),
            autostart: Autostart { enabled: false, order: None, up_delay_s: None, down_timeout_s: None },
            inside: Arc::default(),
            notes: Arc::default(),
            storage: effect.spec.host_options.storage.as_deref().map(Arc::from),
            snapshots: Arc::default(),
            firewall: None,
        })));
        Ok(())
    }

    fn fill(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let copied: Option<Option<Arc<Guest>>> = clone_source(effect).map(|source| self.guest(source).cloned());
        let snapshot = |source: &Guest| source.snapshots.get(SNAPSHOT_FOR_CLONES).map(|snapshot| Arc::clone(&snapshot.inside));
        let live = matches!(effect.intent.action, Action::Clone { from: CopyFrom::Snapshot, .. });
        let inside = match copied {
            Some(Some(source)) if live => match snapshot(&source) {
                Some(inside) => inside,
                None => return Err(Box::new(failure(FailureClass::Permanent, "the snapshot vanished while it was copied"))),
            },
            Some(Some(source)) => Arc::clone(&source.inside),
            Some(None) => return Err(Box::new(failure(FailureClass::Permanent, "the clone source vanished while it was copied"))),
            None => Arc::default(),
        };
        self.change(effect.intent.ctid, |guest| {
            guest.inside = inside;
            if let Made::Half { stage, .. } = &mut guest.made {
                *stage = Stage::Filled;
            }
        })
    }

    fn complete(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        if let Some(source) = clone_source(effect) {
            self.unlock_source(source, effect.intent.ctid);
        }
        self.change(effect.intent.ctid, |guest| {
            if guest.made != Made::Whole {
                guest.made = Made::Whole;
                guest.lock = None;
                guest.mark = Some(Arc::new(effect.mark.clone()));
            }
        })
    }

    fn lock_source(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Some(source) = clone_source(effect) else { return Ok(()) };
        let target = effect.intent.ctid;
        self.change(source, |guest| guest.lock = Some(ConfigLock::Disk { target }))
    }

    fn unlock_source(&mut self, source: Ctid, target: Ctid) {
        if self.guest(source).is_some_and(|guest| guest.lock == Some(ConfigLock::Disk { target })) {
            self.change_guest(source, |guest| guest.lock = None);
        }
    }

    fn let_go(&mut self, ctid: Ctid) -> Result<(), Box<StepResult>> {
        if self.guest(ctid).is_some_and(|guest| guest.lock.is_some()) {
            return self.change(ctid, |guest| guest.lock = None);
        }
        Ok(())
    }

    fn move_away(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let maker = Maker { journal: effect.mark.journal, incarnation: effect.intent.incarnation };
        self.change(effect.intent.ctid, |guest| guest.made = Made::Half { stage: Stage::Dying, maker })
    }

    fn delete(&mut self, ctid: Ctid) {
        let slot = self.slot_mut(ctid);
        slot.up = None;
        slot.script_begun = None;
        slot.results = Arc::default();
        slot.epoch = Epoch::default();
        if slot.guest.get().is_some() {
            slot.guest.set(None);
        }
    }

    fn clear_leftover(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let ctid = effect.intent.ctid;
        if snapshot_of(effect).is_some() {
            return self.drop_snapshot(effect);
        }
        if let Some(source) = clone_source(effect) {
            self.unlock_source(source, ctid);
        }
        if self.guest(ctid).is_some_and(|guest| guest.made != Made::Whole) {
            self.delete(ctid);
        } else if let Some(mount) = mount_of(effect) {
            let at = mount.at.clone();
            return self.change(ctid, |guest| {
                Arc::make_mut(&mut guest.mounts).remove(&at);
            });
        }
        Ok(())
    }
}

/// Configuration, starting, what scripts write.
impl World {
    fn write_settings(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let same = self.guest(effect.intent.ctid).is_some_and(|guest| guest.settings.as_ref().is_some_and(|old| old.matches(&effect.spec)));
        if same {
            return Ok(());
        }
        self.change(effect.intent.ctid, |guest| guest.settings = Some(Arc::new(Settings::of(&effect.spec))))
    }

    fn write_autostart(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let ctid = effect.intent.ctid;
        let attached = |guest: &Guest| effect.spec.mounts.iter().all(|mount| guest.mounts.contains_key(&mount.at));
        if effect.spec.autostart.enabled && self.guest(ctid).is_some_and(|guest| !attached(guest)) {
            self.note_damage(Damage::AutostartTooEarly { ctid });
        }
        self.change(ctid, |guest| guest.autostart = effect.spec.autostart)
    }

    fn spawn(&mut self, effect: &Effect, never_ready: bool) -> Result<(), Box<StepResult>> {
        let ctid = effect.intent.ctid;
        if self.guest(ctid).is_none() {
            return Err(Box::new(StepResult::Gone));
        }
        // The repair of a copy that was cut off takes away the copy; its source may go up meanwhile.
        let copied = self.ops.values().any(|op| matches!(op.effect.intent.action, Action::Clone { source, .. } if source == ctid));
        if copied || self.slot(ctid).is_some_and(|slot| slot.held.is_some()) {
            self.note_damage(Damage::StartedWhileHeld { ctid });
        }
        self.bring_up(ctid, never_ready, u64::from(effect.intent.attempt));
        Ok(())
    }

    /// An init appears, and the host writes down which map it gave it.
    pub(super) fn bring_up(&mut self, ctid: Ctid, never_ready: bool, key: u64) {
        let (low, high) = self.options.behaviour.boot_ms;
        let boot_ms = self.dice.between(&[u64::from(ctid.get()), key, READY_KEY], u64::from(low), u64::from(high.max(low)));
        let ready_ms = if never_ready { u64::MAX } else { self.clock.elapsed_ms + boot_ms };
        let start_ticks = (self.clock.elapsed_ms - self.clock.booted_ms) / MS_PER_TICK;
        let pid = self.new_pid();
        self.slot_mut(ctid).up = Some(Up { pid, start_ticks, ready_ms, frozen: false, lacks_mount: false });
        if self.guest(ctid).is_some_and(|guest| !guest.idmap_on_file) {
            self.change_guest(ctid, |guest| guest.idmap_on_file = true);
        }
    }

    fn confirm(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let ctid = effect.intent.ctid;
        if self.slot(ctid).is_none_or(|slot| slot.up.is_none()) {
            return Err(Box::new(failure(FailureClass::Transient, "the container's init ended right after its start")));
        }
        let result = self.look(effect);
        if matches!(&result, StepResult::Failed(Failure { class: FailureClass::Drift { .. }, .. })) {
            self.slot_mut(ctid).up = None;
            return Err(Box::new(result));
        }
        self.slot_mut(ctid).guest.sync();
        Ok(())
    }

    /// A script writes; what it writes is the same each time, but counts as whole only once it got to its end.
    fn trace(&mut self, effect: &Effect, ended: bool) -> Result<(), Box<StepResult>> {
        let intent = &effect.intent;
        let Action::RunScript { init } = &intent.action else { return Ok(()) };
        if !self.is_up_as(intent.ctid, init) {
            return Err(Box::new(StepResult::Interrupted));
        }
        let Some(script) = script_of(effect).map(|script| script.digest) else { return Ok(()) };
        let same =
            |trace: &&mut Trace| trace.by == intent.ctid && trace.incarnation == intent.incarnation && trace.step == intent.step.step;
        self.change(intent.ctid, |guest| {
            let inside = Arc::make_mut(&mut guest.inside);
            let fresh = || Trace {
                by: intent.ctid,
                incarnation: intent.incarnation,
                step: intent.step.step.clone(),
                script,
                completed: 0,
                torn: true,
            };
            match inside.iter_mut().find(same) {
                Some(trace) => {
                    trace.script = script;
                    trace.completed += u32::from(ended);
                    trace.torn = !ended;
                }
                None => inside.push(fresh()),
            }
        })
    }
}

/// The container that an effect copies, or whose copy it puts right.
pub(super) fn clone_source(effect: &Effect) -> Option<Ctid> {
    let Origin::Clone { source } = effect.spec.origin else { return None };
    let defines = effect.intent.step.step.base() == "define.clone";
    defines.then_some(source)
}

/// The mount that a step about attaching is about.
pub(super) fn mount_of(effect: &Effect) -> Option<&Mount> {
    let step = &effect.intent.step.step;
    let target = (step.base() == "volume.attach").then(|| step.name()).flatten()?;
    effect.spec.mounts.iter().find(|mount| mount.at.as_str() == target)
}

pub(super) fn failure(class: FailureClass, message: impl Into<String>) -> StepResult {
    StepResult::Failed(Failure::new(class, message))
}

pub(super) fn init_lost() -> StepResult {
    failure(FailureClass::InitLost, "the init that was recorded is not there any more")
}

/// `/proc/PID/stat` counts in hundredths of a second on every Linux.
const MS_PER_TICK: u64 = 10;
/// Sets the throw for the time to readiness apart from that for the duration of a start.
const READY_KEY: u64 = 0x7265_6164;
