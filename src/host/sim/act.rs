//! What each piece does to the world, and the gate before the first of them.
//!
//! These are the host's rules: what it refuses, what it changes, and what is damage. Apart from `op`, which knows when a piece
//! is due, and from `look`, which knows how the result is seen.

use std::sync::Arc;

use crate::ids::{Ctid, IdKind, IdMap};
use crate::machine::{Failure, FailureClass, StepResult, Wait, WaitKind};
use crate::manifest::{Autostart, Origin, Ownership, Volume};
use crate::plan::{Action, Effect, Source, StartPurpose};

use super::damage::Damage;
use super::disk::{Attached, ConfigLock, Guest, Made, Maker, Settings, Stage, Trace};
use super::op::{Op, missing_secret, script_of};
use super::pieces::Act;
use super::world::{Up, World};

impl World {
    /// What the host looks at before it acts; a result ends the operation before anything has happened.
    pub(super) fn gate(&mut self, effect: &Effect) -> Option<StepResult> {
        let ctid = effect.intent.ctid;
        match &effect.intent.action {
            Action::Create { .. } | Action::Repair { .. } => unless_absent(self.look(effect)),
            Action::Clone { source, incarnation } => {
                unless_absent(self.look(effect)).or_else(|| self.source_refuses(effect, *source, *incarnation))
            }
            Action::Destroy => unless_absent(self.look(effect)).or_else(|| self.locked(ctid)).or_else(|| {
                let up = self.slot(ctid).is_some_and(|slot| slot.up.is_some());
                up.then(|| failure(FailureClass::Transient, "the container is running; it has to be stopped first"))
            }),
            Action::Start { purpose, sources, .. } => self.not_ours(effect).or_else(|| self.locked(ctid)).or_else(|| {
                if self.slot(ctid).is_some_and(|slot| slot.up.is_some()) {
                    return Some(self.look(effect));
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
            Action::Release => self.not_ours(effect),
            Action::Hold { .. } | Action::Stop { .. } => {
                let up = self.slot(ctid).is_some_and(|slot| slot.up.is_some());
                self.not_ours(effect).or_else(|| (!up).then(|| self.look(effect)))
            }
            Action::Mark => unless_absent(self.look(effect)),
            Action::Prepare { volume, idmap } => self.not_ours(effect).or_else(|| self.preparation_refused(volume, idmap)),
            Action::Configure | Action::Attach { .. } | Action::Detach { .. } | Action::SetAutostart => {
                self.not_ours(effect).or_else(|| self.locked(ctid))
            }
        }
    }

    /// Carries out one piece; an error ends the operation with what it says.
    pub(super) fn act(&mut self, op: &Op, act: Act) -> Result<(), StepResult> {
        let effect = &*op.effect;
        let ctid = effect.intent.ctid;
        self.note_trespass(effect, act);
        match act {
            Act::Signal | Act::Await | Act::Reap => Ok(()),
            Act::Claim => self.claim(effect),
            Act::Fill => self.fill(effect),
            Act::Complete => self.complete(effect),
            Act::LockSource => self.lock_source(effect),
            Act::WriteMark => self.change(ctid, |guest| guest.mark = Some(Arc::new(effect.mark.clone()))),
            Act::Halt => {
                self.slot_mut(ctid).up = None;
                Ok(())
            }
            Act::LetGo => self.let_go(ctid),
            Act::WriteSettings => self.write_settings(effect),
            Act::Spawn => self.spawn(effect, op.never_ready),
            Act::Confirm => self.confirm(effect),
            Act::ReadMap => self.guest(ctid).map(|_| ()).ok_or(StepResult::Gone),
            Act::MakeDirectory => self.make_directory(effect),
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

    fn change(&mut self, ctid: Ctid, change: impl FnOnce(&mut Guest)) -> Result<(), StepResult> {
        if self.change_guest(ctid, change) { Ok(()) } else { Err(StepResult::Gone) }
    }

    /// A piece that changes a container which does not bear the mark: the gate was open too wide, or it was swapped since.
    fn note_trespass(&mut self, effect: &Effect, act: Act) {
        let harmless = matches!(act, Act::Signal | Act::Await | Act::Reap | Act::ReadMap | Act::Ask | Act::Sync);
        let written_now = matches!(act, Act::Claim | Act::Fill | Act::Complete | Act::LockSource | Act::WriteMark | Act::ClearLeftover);
        let Some(guest) = self.guest(effect.intent.ctid) else { return };
        let owned = guest.mark.as_ref().is_some_and(|mark| effect.mark.owns(mark)) || guest.made != Made::Whole;
        if !harmless && !written_now && !owned {
            self.note_damage(Damage::Trespass { ctid: effect.intent.ctid, step: effect.intent.step.clone() });
        }
    }
}

/// Making, copying and destroying.
impl World {
    fn source_refuses(&self, effect: &Effect, source: Ctid, incarnation: crate::ids::Incarnation) -> Option<StepResult> {
        let Some(guest) = self.guest(source) else {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} is not there")));
        };
        let ours = |mark: &crate::plan::Mark| mark.journal == effect.mark.journal && mark.ctid == source && mark.incarnation == incarnation;
        if guest.made != Made::Whole || !guest.mark.as_ref().is_some_and(|mark| ours(mark)) {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} is not the container that was planned")));
        }
        if self.slot(source).is_some_and(|slot| slot.up.is_some()) {
            let drift = FailureClass::Drift { claim: format!("{source} is down"), found: "it is running".to_owned() };
            return Some(failure(drift, format!("the clone source {source} is running; it has to be held first")));
        }
        if !guest.mounts.is_empty() {
            return Some(failure(FailureClass::Permanent, format!("the clone source {source} has shared mounts, which cannot be copied")));
        }
        self.locked(source)
    }

    /// `CT is locked`: a killed operation left it so, or one of somebody else is under way.
    fn locked(&self, ctid: Ctid) -> Option<StepResult> {
        let lock = self.guest(ctid)?.lock?;
        let name = match lock {
            ConfigLock::Create => "CT is locked (create)".to_owned(),
            ConfigLock::Disk { target } => format!("CT is locked (disk), for a clone to {target}"),
        };
        let wait = Wait { kind: WaitKind::Lock, name: name.clone(), ctid: Some(ctid), pid: None, since: self.wall() };
        Some(failure(FailureClass::Wait(wait), name))
    }

    fn claim(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let slot = self.slot_mut(effect.intent.ctid);
        if slot.guest.get().is_some() {
            return Err(StepResult::Foreign { owner: "somebody who came while it was being made".to_owned() });
        }
        let maker = Maker { journal: effect.mark.journal, incarnation: effect.intent.incarnation };
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
        })));
        Ok(())
    }

    fn fill(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let copied = clone_source(effect).map(|source| self.guest(source).cloned());
        let inside = match copied {
            Some(Some(source)) => Arc::clone(&source.inside),
            Some(None) => return Err(failure(FailureClass::Permanent, "the clone source vanished while it was copied")),
            None => Arc::default(),
        };
        self.change(effect.intent.ctid, |guest| {
            guest.inside = inside;
            if let Made::Half { stage, .. } = &mut guest.made {
                *stage = Stage::Filled;
            }
        })
    }

    fn complete(&mut self, effect: &Effect) -> Result<(), StepResult> {
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

    fn lock_source(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Some(source) = clone_source(effect) else { return Ok(()) };
        let target = effect.intent.ctid;
        self.change(source, |guest| guest.lock = Some(ConfigLock::Disk { target }))
    }

    fn unlock_source(&mut self, source: Ctid, target: Ctid) {
        if self.guest(source).is_some_and(|guest| guest.lock == Some(ConfigLock::Disk { target })) {
            self.change_guest(source, |guest| guest.lock = None);
        }
    }

    fn let_go(&mut self, ctid: Ctid) -> Result<(), StepResult> {
        if self.guest(ctid).is_some_and(|guest| guest.lock.is_some()) {
            return self.change(ctid, |guest| guest.lock = None);
        }
        Ok(())
    }

    fn move_away(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let maker = Maker { journal: effect.mark.journal, incarnation: effect.intent.incarnation };
        self.change(effect.intent.ctid, |guest| guest.made = Made::Half { stage: Stage::Dying, maker })
    }

    fn delete(&mut self, ctid: Ctid) {
        let slot = self.slot_mut(ctid);
        slot.up = None;
        slot.script_begun = None;
        if slot.guest.get().is_some() {
            slot.guest.set(None);
        }
    }

    fn clear_leftover(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let ctid = effect.intent.ctid;
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

/// Configuration, starting, volumes.
impl World {
    fn write_settings(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let same = self.guest(effect.intent.ctid).is_some_and(|guest| guest.settings.as_ref().is_some_and(|old| old.matches(&effect.spec)));
        if same {
            return Ok(());
        }
        self.change(effect.intent.ctid, |guest| guest.settings = Some(Arc::new(Settings::of(&effect.spec))))
    }

    fn write_autostart(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let ctid = effect.intent.ctid;
        let attached = |guest: &Guest| effect.spec.mounts.iter().all(|mount| guest.mounts.contains_key(&mount.at));
        if effect.spec.autostart.enabled && self.guest(ctid).is_some_and(|guest| !attached(guest)) {
            self.note_damage(Damage::AutostartTooEarly { ctid });
        }
        self.change(ctid, |guest| guest.autostart = effect.spec.autostart)
    }

    fn spawn(&mut self, effect: &Effect, never_ready: bool) -> Result<(), StepResult> {
        let ctid = effect.intent.ctid;
        if self.guest(ctid).is_none() {
            return Err(StepResult::Gone);
        }
        let copied = self.ops.values().any(|op| clone_source(&op.effect) == Some(ctid));
        if copied || self.slot(ctid).is_some_and(|slot| slot.held) {
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
        self.slot_mut(ctid).up = Some(Up { pid, start_ticks, ready_ms, frozen: false });
        if self.guest(ctid).is_some_and(|guest| !guest.idmap_on_file) {
            self.change_guest(ctid, |guest| guest.idmap_on_file = true);
        }
    }

    fn confirm(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let ctid = effect.intent.ctid;
        if self.slot(ctid).is_none_or(|slot| slot.up.is_none()) {
            return Err(failure(FailureClass::Transient, "the container's init ended right after its start"));
        }
        let result = self.look(effect);
        if matches!(&result, StepResult::Failed(Failure { class: FailureClass::Drift { .. }, .. })) {
            self.slot_mut(ctid).up = None;
            return Err(result);
        }
        self.slot_mut(ctid).guest.sync();
        Ok(())
    }

    /// The first directory that is not the one that was prepared.
    pub(super) fn missing_source(&self, sources: &[Source]) -> Option<StepResult> {
        let same = |source: &&Source| {
            let seen = self.places.get(&source.path).and_then(super::disk::Place::seen);
            seen.is_some_and(|seen| seen.device == source.device && seen.inode == source.inode)
        };
        sources.iter().find(|source| !same(source)).map(|source| self.wait_for_source(&source.path))
    }

    /// The first attached directory that is not there at all, which the host's own start would fail on.
    pub(super) fn missing_mount(&self, ctid: Ctid) -> Option<StepResult> {
        let there = |mount: &&Attached| self.places.get(&mount.path).is_some_and(|place| place.seen().is_some());
        let mounts = &self.guest(ctid)?.mounts;
        mounts.values().find(|mount| !there(mount)).map(|mount| self.wait_for_source(&mount.path))
    }

    fn wait_for_source(&self, path: &std::path::Path) -> StepResult {
        let name = path.display().to_string();
        let message = format!("{name} is not the directory that was prepared; mount its file system");
        failure(FailureClass::Wait(Wait { kind: WaitKind::Source, name, ctid: None, pid: None, since: self.wall() }), message)
    }

    fn preparation_refused(&self, volume: &Volume, idmap: &IdMap) -> Option<StepResult> {
        let Some(wanted) = wanted_owner(volume, idmap) else {
            let owner = volume.owner;
            let message = format!("{}:{} inside is outside every range of the id map ({idmap})", owner.uid, owner.gid);
            return Some(failure(FailureClass::Permanent, message));
        };
        let seen = self.places.get(&volume.source).and_then(super::disk::Place::seen)?;
        let taken = seen.filled && (seen.uid, seen.gid) != wanted && !volume.take_ownership;
        let message = || format!("{} belongs to {}:{} and is not empty; set take_ownership", volume.source.display(), seen.uid, seen.gid);
        taken.then(|| failure(FailureClass::Permanent, message()))
    }

    fn make_directory(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Action::Prepare { volume, .. } = &effect.intent.action else { return Ok(()) };
        if self.places.get(&volume.source).is_some_and(|place| place.seen().is_some()) {
            return Ok(());
        }
        let made = self.new_directory(0, 0, 0o755, false);
        Arc::make_mut(&mut self.places).entry(volume.source.clone()).or_default().change(made);
        Ok(())
    }

    fn give_owner(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Action::Prepare { volume, idmap } = &effect.intent.action else { return Ok(()) };
        let wanted = wanted_owner(volume, idmap);
        self.change_directory(volume, |seen| {
            if let Some((uid, gid)) = wanted {
                (seen.uid, seen.gid) = (uid, gid);
            }
        })
    }

    fn give_mode(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Action::Prepare { volume, .. } = &effect.intent.action else { return Ok(()) };
        let wanted = volume.mode;
        self.change_directory(volume, |seen| seen.mode = wanted.unwrap_or(seen.mode))
    }

    fn change_directory(&mut self, volume: &Volume, change: impl FnOnce(&mut super::disk::Directory)) -> Result<(), StepResult> {
        let Some(seen) = self.places.get(&volume.source).and_then(super::disk::Place::seen).copied() else {
            return Err(self.wait_for_source(&volume.source));
        };
        let mut changed = seen;
        change(&mut changed);
        if changed != seen {
            changed.former = seen.former.or(Some((seen.uid, seen.gid, seen.mode)));
            Arc::make_mut(&mut self.places).entry(volume.source.clone()).or_default().change(changed);
        }
        Ok(())
    }

    fn write_mount(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Action::Attach { mount, source, idmap } = &effect.intent.action else { return Ok(()) };
        if let Some(missing) = self.missing_source(std::slice::from_ref(source)) {
            return Err(missing);
        }
        let ctid = effect.intent.ctid;
        let Some(guest) = self.guest(ctid).cloned() else { return Err(StepResult::Gone) };
        if !guest.idmap_on_file {
            self.note_damage(Damage::AttachedWithoutMap { ctid, at: mount.at.clone() });
        }
        let wanted = wanted_owner(&mount.volume, &guest.idmap);
        let seen = self.places.get(&source.path).and_then(super::disk::Place::seen).map(|seen| (seen.uid, seen.gid));
        let owner_right = guest.idmap_on_file && wanted.is_some() && wanted == seen && *idmap == *guest.idmap;
        if !owner_right && let Some((uid, gid)) = seen {
            self.note_damage(Damage::WrongOwner { ctid, path: source.path.clone(), uid, gid });
        }
        let mapped = mount.volume.ownership == Ownership::Map;
        let attached = Attached { path: source.path.clone(), read_only: mount.read_only, mapped, owner_right };
        if guest.mounts.get(&mount.at) == Some(&attached) {
            return Ok(());
        }
        self.change(ctid, |guest| {
            Arc::make_mut(&mut guest.mounts).insert(mount.at.clone(), attached);
        })
    }

    fn drop_mount(&mut self, effect: &Effect) -> Result<(), StepResult> {
        let Action::Detach { mount } = &effect.intent.action else { return Ok(()) };
        self.change(effect.intent.ctid, |guest| {
            Arc::make_mut(&mut guest.mounts).remove(&mount.at);
        })
    }

    fn script_refused(&self, effect: &Effect) -> Option<StepResult> {
        let Some(script) = script_of(effect) else {
            return Some(failure(FailureClass::Permanent, "the spec has no such script"));
        };
        let name = missing_secret(script, |name| self.hidden_secrets.contains(name))?;
        let message = format!("the secret {name} cannot be read");
        let wait = Wait { kind: WaitKind::Secret, name, ctid: None, pid: None, since: self.wall() };
        Some(failure(FailureClass::Wait(wait), message))
    }

    /// A script writes; what it writes is the same each time, but counts as whole only once it got to its end.
    fn trace(&mut self, effect: &Effect, ended: bool) -> Result<(), StepResult> {
        let intent = &effect.intent;
        let Action::RunScript { init } = &intent.action else { return Ok(()) };
        if !self.is_up_as(intent.ctid, init) {
            return Err(init_lost());
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

/// The host's ids for a volume's owner; `None` if the map has none for them.
pub(super) fn wanted_owner(volume: &Volume, idmap: &IdMap) -> Option<(u32, u32)> {
    match volume.ownership {
        Ownership::Chown => Some((idmap.to_host(IdKind::User, volume.owner.uid)?, idmap.to_host(IdKind::Group, volume.owner.gid)?)),
        Ownership::Map => Some((volume.owner.uid, volume.owner.gid)),
    }
}

/// The container that an effect copies, or whose copy it puts right.
pub(super) fn clone_source(effect: &Effect) -> Option<Ctid> {
    let Origin::Clone { source } = effect.spec.origin else { return None };
    let defines = effect.intent.step.step.base() == "define.clone";
    defines.then_some(source)
}

/// The mount that a step about attaching is about.
pub(super) fn mount_of(effect: &Effect) -> Option<&crate::manifest::Mount> {
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

fn unless_absent(result: StepResult) -> Option<StepResult> {
    (result != StepResult::Absent).then_some(result)
}

/// `/proc/PID/stat` counts in hundredths of a second on every Linux.
const MS_PER_TICK: u64 = 10;
/// Sets the throw for the time to readiness apart from that for the duration of a start.
const READY_KEY: u64 = 0x7265_6164;
