//! Shared directories: giving them their owner, attaching them, and seeing whether they are still the ones prepared.
//!
//! Apart from the other pieces because ownership is where the order of steps is earned: here is what goes wrong without it.

use std::path::Path;
use std::sync::Arc;

use crate::ids::{Ctid, IdKind, IdMap};
use crate::machine::{FailureClass, StepResult, Wait, WaitKind};
use crate::manifest::{Ownership, Volume};
use crate::plan::{Action, Effect, Source};

use super::act::failure;
use super::damage::Damage;
use super::disk::{Attached, Directory, Place};
use super::world::World;

impl World {
    /// The first directory that is not the one that was prepared.
    pub(super) fn missing_source(&self, sources: &[Source]) -> Option<StepResult> {
        let same = |source: &&Source| {
            let seen = self.places.get(&source.path).and_then(Place::seen);
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

    fn wait_for_source(&self, path: &Path) -> StepResult {
        let name = path.display().to_string();
        let message = format!("{name} is not the directory that was prepared; mount its file system");
        failure(FailureClass::Wait(Wait { kind: WaitKind::Source, name, ctid: None, pid: None, since: self.wall() }), message)
    }

    pub(super) fn make_directory(&mut self, effect: &Effect) {
        let Action::Prepare { volume, .. } = &effect.intent.action else { return };
        if self.places.get(&volume.source).is_some_and(|place| place.seen().is_some()) {
            return;
        }
        let made = self.new_directory(0, 0, 0o755, false);
        Arc::make_mut(&mut self.places).entry(volume.source.clone()).or_default().change(made);
    }

    pub(super) fn give_owner(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Action::Prepare { volume, idmap } = &effect.intent.action else { return Ok(()) };
        let wanted = wanted_owner(volume, idmap);
        self.change_directory(volume, |seen| {
            if let Some((uid, gid)) = wanted {
                (seen.uid, seen.gid) = (uid, gid);
            }
        })
    }

    pub(super) fn give_mode(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Action::Prepare { volume, .. } = &effect.intent.action else { return Ok(()) };
        let wanted = volume.mode;
        self.change_directory(volume, |seen| seen.mode = wanted.unwrap_or(seen.mode))
    }

    fn change_directory(&mut self, volume: &Volume, change: impl FnOnce(&mut Directory)) -> Result<(), Box<StepResult>> {
        let Some(seen) = self.places.get(&volume.source).and_then(Place::seen).copied() else {
            return Err(Box::new(self.wait_for_source(&volume.source)));
        };
        let mut changed = seen;
        change(&mut changed);
        if changed != seen {
            changed.former = seen.former.or(Some((seen.uid, seen.gid, seen.mode)));
            Arc::make_mut(&mut self.places).entry(volume.source.clone()).or_default().change(changed);
        }
        Ok(())
    }

    pub(super) fn write_mount(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Action::Attach { mount, source, idmap } = &effect.intent.action else { return Ok(()) };
        if let Some(missing) = self.missing_source(std::slice::from_ref(source)) {
            return Err(Box::new(missing));
        }
        let ctid = effect.intent.ctid;
        let Some(guest) = self.guest(ctid).cloned() else { return Err(Box::new(StepResult::Gone)) };
        if !guest.idmap_on_file {
            self.note_damage(Damage::AttachedWithoutMap { ctid, at: mount.at.clone() });
        }
        let wanted = wanted_owner(&mount.volume, &guest.idmap);
        let seen = self.places.get(&source.path).and_then(Place::seen).map(|seen| (seen.uid, seen.gid));
        let owner_right = guest.idmap_on_file && wanted.is_some() && wanted == seen && *idmap == *guest.idmap;
        if !owner_right && let Some((uid, gid)) = seen {
            self.note_damage(Damage::WrongOwner { ctid, path: source.path.clone(), uid, gid });
        }
        let mapped = mount.volume.ownership == Ownership::Map;
        let attached = Attached { path: source.path.clone(), read_only: mount.read_only, mapped, owner_right };
        if guest.mounts.get(&mount.at) == Some(&attached) {
            return Ok(());
        }
        if let Some(up) = &mut self.slot_mut(ctid).up {
            up.lacks_mount = true;
        }
        self.change(ctid, |guest| {
            Arc::make_mut(&mut guest.mounts).insert(mount.at.clone(), attached);
        })
    }

    pub(super) fn drop_mount(&mut self, effect: &Effect) -> Result<(), Box<StepResult>> {
        let Action::Detach { mount } = &effect.intent.action else { return Ok(()) };
        self.change(effect.intent.ctid, |guest| {
            Arc::make_mut(&mut guest.mounts).remove(&mount.at);
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
