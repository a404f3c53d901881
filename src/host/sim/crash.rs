//! Crashes, meddling, and the probe afterwards.
//!
//! Apart because these come from outside of any operation. What a probe answers by looking is in `look`.

use std::sync::Arc;

use crate::ids::{BootId, Ctid};
use crate::machine::{Evidence, FailureClass, Report, StepResult, Wait, WaitKind};
use crate::manifest::Autostart;
use crate::plan::{Action, Effect};

use super::disk::{Attached, ConfigLock, Guest, Made};
use super::faults::{Edit, Tamper};
use super::op::failed;
use super::world::{FIRST_PID, OpId, Sabotage, World};

/// Who goes on when Phoenix is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Survivors {
    /// The shims and what they supervise: Phoenix alone was killed. Their results will be there.
    Shims,
    /// The children, but not their shims: they go on and leave no result.
    Children,
    /// Nobody: children were killed where they are.
    Nobody,
}

impl World {
    /// Kills Phoenix. What it did itself ends where it is, before the next piece; the rest ends or goes on as `survivors` says.
    pub fn crash_process(&mut self, survivors: Survivors) {
        for (id, mut op) in std::mem::take(&mut self.ops) {
            let goes_on = match survivors {
                Survivors::Shims => op.outlives_phoenix(),
                Survivors::Children => {
                    op.lose_shim();
                    op.outlives_phoenix()
                }
                Survivors::Nobody => false,
            };
            if goes_on || op.is_undead() {
                op.orphan = true;
                self.ops.insert(id, op);
            } else {
                self.kill(&op);
            }
        }
    }

    /// Cuts the host's power and lets it come back: everything that ran is gone, of what was not synced a seeded choice is
    /// lost, results outside of disks are gone, the boot id is another. Containers with autostart are started.
    pub fn crash_host(&mut self) {
        for (_, op) in std::mem::take(&mut self.ops) {
            self.kill(&op);
        }
        self.boots += 1;
        let boots = u64::from(self.boots);
        for (ctid, slot) in &mut self.slots {
            let slot = Arc::make_mut(slot);
            slot.guest.power_cut(self.dice.throw(&[u64::from(ctid.get()), boots, POWER_KEY]));
            slot.up = None;
            slot.script_begun = None;
            slot.busy_until_ms = 0;
            slot.left = slot.left.take().filter(|left| left.of_script);
            slot.epoch = slot.results.iter().map(|kept| kept.epoch).max().unwrap_or_default();
        }
        for (number, place) in (0_u64..).zip(Arc::make_mut(&mut self.places).values_mut()) {
            place.mounted_dir.power_cut(self.dice.throw(&[number, boots, POWER_KEY, 1]));
            place.bare_dir.power_cut(self.dice.throw(&[number, boots, POWER_KEY, 2]));
        }
        self.templates.power_cut(self.dice.throw(&[boots, POWER_KEY, 3]));
        self.clock.elapsed_ms += DOWN_MS;
        self.clock.booted_ms = self.clock.elapsed_ms - BOOT_MS;
        self.clock.boot = Arc::new(self.boot_id());
        self.next_pid = FIRST_PID;
        self.autostart();
    }

    /// Finds out what became of an effect after a crash, as a host does: waits for what still holds its locks, within its
    /// deadline; takes the result that was left; else looks. Tells `waiting` what it waits for.
    pub fn settle(&mut self, effect: &Effect, waiting: &mut dyn FnMut(Wait)) -> Report {
        if let Some(report) = self.wait_for_others(effect, waiting) {
            return report;
        }
        let report = self.verdict(effect);
        self.note_held(effect, &report.result);
        self.leave_note(effect, &report.result);
        if self.options.behaviour.sabotage != Some(Sabotage::ForgetfulProbe) && matches!(report.result, StepResult::Done(_)) {
            self.sync(effect);
        }
        report
    }

    /// Does at once what others, or the world at large, do to the host.
    pub fn tamper(&mut self, tamper: &Tamper) {
        match tamper {
            Tamper::Stranger(ctid) => self.plant_stranger(*ctid),
            Tamper::Remove(ctid) => {
                let slot = self.slot_mut(*ctid);
                slot.up = None;
                slot.guest.set(None);
                slot.guest.sync();
            }
            Tamper::Unmark(ctid) => self.remark(*ctid, None),
            Tamper::Mark(ctid, mark) => self.remark(*ctid, Some(mark.as_ref().clone())),
            Tamper::Stop(ctid) => self.slot_mut(*ctid).up = None,
            Tamper::Start(ctid) => {
                if self.guest(*ctid).is_some_and(|guest| guest.made == Made::Whole) {
                    self.bring_up(*ctid, false, self.clock.elapsed_ms);
                }
            }
            Tamper::Freeze(ctid) => {
                if let Some(up) = &mut self.slot_mut(*ctid).up {
                    up.frozen = true;
                }
            }
            Tamper::Lock { ctid, during } => {
                let until_ms = self.clock.elapsed_ms.saturating_add(u64::try_from(during.as_millis()).unwrap_or(u64::MAX));
                self.slot_mut(*ctid).busy_until_ms = until_ms;
            }
            Tamper::Backup { ctid, during } => {
                let until_ms = self.clock.elapsed_ms.saturating_add(u64::try_from(during.as_millis()).unwrap_or(u64::MAX));
                self.change_guest(*ctid, |guest| guest.lock = guest.lock.or(Some(ConfigLock::Backup { until_ms })));
            }
            Tamper::Edit(ctid, edit) => self.edit(*ctid, edit),
            Tamper::Unmount(path) => Arc::make_mut(&mut self.places).entry(path.clone()).or_default().unmounted = true,
            Tamper::Mount(path) => Arc::make_mut(&mut self.places).entry(path.clone()).or_default().unmounted = false,
            Tamper::Chown { path, uid, gid, mode } => {
                let seen = self.places.get(path).and_then(super::disk::Place::seen).copied();
                let mut directory = seen.unwrap_or_else(|| self.new_directory(*uid, *gid, *mode, true));
                (directory.uid, directory.gid, directory.mode, directory.filled) = (*uid, *gid, *mode, true);
                let place = Arc::make_mut(&mut self.places).entry(path.clone()).or_default();
                place.change(directory);
                place.sync();
            }
            Tamper::HideSecret(name) => {
                Arc::make_mut(&mut self.hidden_secrets).insert(name.clone());
            }
            Tamper::ShowSecret(name) => {
                Arc::make_mut(&mut self.hidden_secrets).remove(name);
            }
        }
    }

    fn edit(&mut self, ctid: Ctid, edit: &Edit) {
        self.change_guest(ctid, |guest| match edit {
            Edit::Hostname(hostname) => {
                if let Some(settings) = &mut guest.settings {
                    Arc::make_mut(settings).hostname = hostname.clone();
                }
            }
            Edit::Idmap(idmap) => guest.idmap = Arc::new(idmap.clone()),
            Edit::Mount(at, None) => drop(Arc::make_mut(&mut guest.mounts).remove(at)),
            Edit::Mount(at, Some((path, read_only))) => {
                let attached = Attached { path: path.clone(), read_only: *read_only, mapped: false, owner_right: true };
                Arc::make_mut(&mut guest.mounts).insert(at.clone(), attached);
            }
            Edit::Autostart(enabled) => guest.autostart.enabled = *enabled,
        });
        self.slot_mut(ctid).guest.sync();
    }

    /// A clone source counts as held from when its hold is known to be done until its release is.
    pub(super) fn note_held(&mut self, effect: &Effect, result: &StepResult) {
        match result {
            StepResult::Done(Evidence::Held { by }) => self.slot_mut(effect.intent.ctid).held = Some(*by),
            StepResult::Done(Evidence::Released) => self.slot_mut(effect.intent.ctid).held = None,
            // It was held, nobody was told, and it is not any more: the host that came back has started it.
            StepResult::Absent if matches!(effect.intent.action, Action::Hold { .. }) => self.slot_mut(effect.intent.ctid).held = None,
            StepResult::Done(_)
            | StepResult::Failed(_)
            | StepResult::Absent
            | StepResult::Partial { .. }
            | StepResult::Foreign { .. }
            | StepResult::Gone
            | StepResult::Unknown { .. }
            | StepResult::Interrupted => {}
        }
    }

    /// Waits for the processes that hold an effect's locks; a report if one of them cannot be ended, or is not ours and holds its
    /// lock past the deadline.
    fn wait_for_others(&mut self, effect: &Effect, waiting: &mut dyn FnMut(Wait)) -> Option<Report> {
        let locks = effect.locks();
        for ctid in &locks {
            let busy_until_ms = self.slot(*ctid).map_or(0, |slot| slot.busy_until_ms);
            if busy_until_ms > self.clock.elapsed_ms {
                let wait = self.wait_for(*ctid, "a process that is not ours");
                waiting(wait.clone());
                let left = effect.intent.deadline.remaining(&self.now().moment).unwrap_or_default();
                let deadline_ms = self.clock.elapsed_ms.saturating_add(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                let until_ms = busy_until_ms.min(deadline_ms);
                self.run_orphans(until_ms);
                self.clock.elapsed_ms = self.clock.elapsed_ms.max(until_ms);
                if until_ms < busy_until_ms {
                    return Some(failed(FailureClass::Wait(wait), "another process holds the container's lock"));
                }
            }
        }
        while let Some((id, ctid)) = self.orphan_on(&locks) {
            let due_ms = self.ops.get(&id).map_or(u64::MAX, |op| op.due_ms);
            waiting(self.wait_for(ctid, "the shim of a step that was begun before"));
            if due_ms == u64::MAX {
                return Some(failed(FailureClass::Undead, "processes of the step cannot be ended"));
            }
            self.run_orphans(due_ms);
        }
        None
    }

    fn orphan_on(&self, locks: &[Ctid]) -> Option<(OpId, Ctid)> {
        let touched = |op: &super::op::Op| locks.iter().copied().find(|ctid| op.touches(*ctid));
        let orphans = self.ops.iter().filter(|(_, op)| op.orphan);
        orphans.filter_map(|(id, op)| Some((op.due_ms, *id, touched(op)?))).min().map(|(_, id, ctid)| (id, ctid))
    }

    fn wait_for(&self, ctid: Ctid, name: &str) -> Wait {
        Wait { kind: WaitKind::Lock, name: name.to_owned(), ctid: Some(ctid), pid: Some(SHIM_PID), since: self.wall() }
    }

    fn boot_id(&self) -> BootId {
        let boot = format!("{:.48}-{}", self.options.boot.as_str(), self.boots);
        boot.parse().unwrap_or_else(|_| BootId::clone(&self.options.boot))
    }

    /// The host starts what it was told to; a container whose directories are missing stays down.
    fn autostart(&mut self) {
        if !self.options.behaviour.autostarts {
            return;
        }
        // `CT is locked` is said at boot as well.
        let wanted = |guest: &Guest| guest.made == Made::Whole && guest.autostart.enabled && guest.lock.is_none();
        let ctids: Vec<Ctid> =
            self.slots.iter().filter(|(_, slot)| slot.guest.get().as_deref().is_some_and(wanted)).map(|(id, _)| *id).collect();
        for ctid in ctids {
            if self.missing_mount(ctid).is_none() {
                self.bring_up(ctid, false, u64::from(self.boots));
            }
        }
    }

    fn remark(&mut self, ctid: Ctid, mark: Option<crate::plan::Mark>) {
        self.change_guest(ctid, |guest| guest.mark = mark.map(Arc::new));
        self.slot_mut(ctid).guest.sync();
    }

    fn plant_stranger(&mut self, ctid: Ctid) {
        let stranger = Guest {
            made: Made::Whole,
            lock: None,
            mark: None,
            settings: None,
            unprivileged: false,
            idmap: Arc::new(crate::ids::IdMap::identity()),
            idmap_on_file: true,
            mounts: Arc::default(),
            autostart: Autostart { enabled: true, order: None, up_delay_s: None, down_timeout_s: None },
            inside: Arc::default(),
            notes: Arc::default(),
            storage: None,
            snapshots: Arc::default(),
            firewall: None,
        };
        let slot = self.slot_mut(ctid);
        slot.guest.set(Some(Arc::new(stranger)));
        slot.guest.sync();
        self.bring_up(ctid, false, self.clock.elapsed_ms);
        self.slot_mut(ctid).guest.sync();
    }
}

/// Any process will do where only one can be meant.
const SHIM_PID: u32 = 4242;
/// How long a host is away, and how long it has been up when Phoenix comes again.
const DOWN_MS: u64 = 45_000;
const BOOT_MS: u64 = 15_000;
/// Sets the throw for a power cut apart from all others.
const POWER_KEY: u64 = 0x0070_6f77_6572;
