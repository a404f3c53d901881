//! The simulated host as a value: containers, directories, operations under way, and a clock that moves only when told.
//!
//! Apart from [`super::Sim`], which puts a world behind the `Host` trait: crash tests hold the world itself, clone it before a
//! crash and go on from the clone. What pieces do is in `act`, what probes answer in `look`, crashes in `crash`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, JournalId};

use crate::ids::{BootId, Ctid, IdMap, Incarnation, Moment, Now, Step, Token, Wall};
use crate::machine::Report;
use crate::plan::{Effect, HoldBy, Init};

use super::crash::Survivors;
use super::damage::{Damage, ScriptStart};
use super::dice::Dice;
use super::disk::{Directory, Guest, OnDisk, Place};
use super::faults::Faults;
use super::op::Op;
use super::storage::{Storage, Templates};

/// What a world is made from.
#[derive(Clone, Debug)]
pub struct WorldOptions {
    /// Decides every duration and every choice; equal seeds give equal worlds.
    pub seed: u64,
    /// The id of the first boot; later ones get a number after it.
    pub boot: BootId,
    /// Wall time at the beginning.
    pub wall: Wall,
    /// How this host behaves.
    pub behaviour: Behaviour,
    /// What goes wrong.
    pub faults: Faults,
    /// The storages by name; [`Storage::usual`] by default. One that is not among them keeps snapshots and copies them.
    pub storages: BTreeMap<String, Storage>,
}

impl WorldOptions {
    /// A host without faults. The wall clock begins at 2025-01-01T00:00:00Z, so that two runs print the same times.
    #[expect(clippy::missing_panics_doc, reason = "the text is a boot id for every seed")]
    pub fn seeded(seed: u64) -> Self {
        let boot = format!("sim-{seed:016x}").parse().expect("letters, digits and a hyphen are a boot id");
        Self {
            seed,
            boot,
            wall: Wall(1_735_689_600_000),
            behaviour: Behaviour::default(),
            faults: Faults::default(),
            storages: Storage::usual(),
        }
    }
}

/// How a simulated host behaves where hosts differ, or where a test wants a bad one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// How often an orderly stop of a container that is not ready yet takes until its deadline, in percent.
    pub stop_hangs_percent: u8,
    /// Whether the stop of the finalize step is an orderly one too; hosts should use a hard one there.
    pub finalize_stops_orderly: bool,
    /// The shortest and longest time from start to ready, in milliseconds.
    pub boot_ms: (u32, u32),
    /// Whether a host that comes back starts the containers whose autostart is on.
    pub autostarts: bool,
    /// A bug that this host has; only to show that it is noticed.
    pub sabotage: Option<Sabotage>,
}

/// Bugs that a host could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Operations do not look at the identity mark before they act.
    BlindToMarks,
    /// A probe does not make durable what it reports as done.
    ForgetfulProbe,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self { stop_hangs_percent: 50, finalize_stops_orderly: false, boot_ms: (400, 2500), autostarts: true, sabotage: None }
    }
}

/// One operation of a world, from [`World::begin`] until it has finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub(super) u64);

/// What became of one piece of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "taken apart at once by whoever asked; a box would cost more than the copy")]
pub enum Progress {
    /// There is more to do.
    More,
    /// That was the last piece; the operation is gone from the world.
    Finished(Report),
}

/// A simulated host.
///
/// # Calling contract
///
/// [`begin`](Self::begin) an effect, then [`advance`](Self::advance) the operation piece by piece until it has finished; of
/// several, the one with the smallest [`next_due`](Self::next_due) first. Between any two calls the world may be cloned,
/// [crashed](Self::crash_process) or [tampered with](Self::tamper). After a crash every effect that was begun and whose
/// report was not recorded is [settled](Self::settle). Nothing else moves the clock but [`pass`](Self::pass). A clone shares
/// what neither changes and costs well below a microsecond per container.
///
/// A world takes no locks: whoever begins two operations on one container at once finds it among the [damage](Self::damage).
#[derive(Clone, Debug)]
pub struct World {
    pub(super) options: Arc<WorldOptions>,
    pub(super) dice: Dice,
    pub(super) clock: Clock,
    pub(super) slots: BTreeMap<Ctid, Arc<Slot>>,
    pub(super) places: Arc<BTreeMap<PathBuf, Place>>,
    pub(super) hidden_secrets: Arc<BTreeSet<String>>,
    pub(super) templates: OnDisk<Templates>,
    /// The journals that this host was made recognisable for.
    pub(super) settled_in: Arc<BTreeSet<JournalId>>,
    pub(super) ops: BTreeMap<OpId, Op>,
    pub(super) damage: Arc<Vec<Damage>>,
    pub(super) next_op: u64,
    pub(super) next_pid: u32,
    pub(super) next_inode: u64,
    pub(super) boots: u32,
}

/// Virtual time: milliseconds since the world began.
#[derive(Clone, Debug)]
pub(super) struct Clock {
    pub(super) elapsed_ms: u64,
    pub(super) booted_ms: u64,
    pub(super) boot: Arc<BootId>,
}

/// Everything at one container id.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    pub(super) guest: OnDisk<Option<Arc<Guest>>>,
    pub(super) up: Option<Up>,
    /// Held as a clone source, and how; the world's own memory of what was asked, not the host's.
    pub(super) held: Option<HoldBy>,
    /// Until when another process has the lock, in milliseconds since the world began.
    pub(super) busy_until_ms: u64,
    /// What the shim of the newest operation left.
    pub(super) left: Option<Arc<Left>>,
    /// The results of scripts that lie on the host's disk, the oldest first; gone with the container.
    pub(super) results: Arc<Vec<Kept>>,
    /// The newest script that a shim said it started; gone with the boot.
    pub(super) script_begun: Option<Token>,
    /// The highest epoch in which a shim worked here, as the names of what it left say.
    pub(super) epoch: Epoch,
    pub(super) starts: Arc<Vec<ScriptStart>>,
}

/// A running container.
#[derive(Clone, Copy, Debug)]
pub(super) struct Up {
    pub(super) pid: u32,
    pub(super) start_ticks: u64,
    /// When it becomes ready; `u64::MAX` for never.
    pub(super) ready_ms: u64,
    pub(super) frozen: bool,
    /// A directory was attached since it was started: it runs without.
    pub(super) lacks_mount: bool,
}

/// The result that a shim wrote.
#[derive(Clone, Debug)]
pub(super) struct Left {
    pub(super) token: Token,
    /// Results of scripts lie on disk; the others go with the boot.
    pub(super) of_script: bool,
    pub(super) end: End,
    pub(super) started: Wall,
    pub(super) ended: Wall,
    pub(super) output: String,
}

/// The result of a script, as it lies on disk for as long as its container does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) incarnation: Incarnation,
    pub(super) step: Step,
    pub(super) script: Digest,
    pub(super) epoch: Epoch,
    pub(super) succeeded: bool,
    pub(super) started: Wall,
    pub(super) ended: Wall,
}

/// How a shim's child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Exit(u8),
    Timeout,
}

impl World {
    /// An empty host that has just booted.
    pub fn new(options: WorldOptions) -> Self {
        Self {
            dice: Dice::new(options.seed),
            clock: Clock { elapsed_ms: UPTIME_AT_BEGIN_MS, booted_ms: 0, boot: Arc::new(options.boot.clone()) },
            options: Arc::new(options),
            slots: BTreeMap::new(),
            places: Arc::default(),
            hidden_secrets: Arc::default(),
            templates: OnDisk::default(),
            settled_in: Arc::default(),
            ops: BTreeMap::new(),
            damage: Arc::default(),
            next_op: 1,
            next_pid: FIRST_PID,
            next_inode: FIRST_INODE,
            boots: 1,
        }
    }

    /// Makes the host recognisable for a journal; nothing if it is already.
    pub fn settle_in(&mut self, journal: JournalId) {
        if !self.settled_in.contains(&journal) {
            Arc::make_mut(&mut self.settled_in).insert(journal);
        }
    }

    /// What time it is.
    pub fn now(&self) -> Now {
        let boottime_ms = self.clock.elapsed_ms - self.clock.booted_ms;
        Now { wall: self.wall(), moment: Moment { boot: BootId::clone(&self.clock.boot), boottime_ms } }
    }

    /// Lets time pass; operations that go on without Phoenix go on.
    pub fn pass(&mut self, time: Duration) {
        let end_ms = self.clock.elapsed_ms.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        self.run_orphans(end_ms);
        self.clock.elapsed_ms = self.clock.elapsed_ms.max(end_ms);
    }

    /// Begins to carry out an effect; nothing has happened yet.
    ///
    /// Does not look whether the container is locked: beside another operation that changes the same container this is
    /// [`Damage::TwoMutators`].
    pub fn begin(&mut self, effect: &Effect) -> OpId {
        self.begin_shared(Arc::new(effect.clone()))
    }

    /// As [`begin`](Self::begin), for those who have no more use for the effect.
    pub(crate) fn begin_shared(&mut self, effect: Arc<Effect>) -> OpId {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.note_overlap(&effect);
        let op = self.plan_op(effect);
        self.ops.insert(id, op);
        id
    }

    /// When the next piece of an operation will have been done; `None` if there is no such operation (any more).
    pub fn next_due(&self, op: OpId) -> Option<Moment> {
        let boottime_ms = self.due_ms(op)?;
        Some(Moment { boot: BootId::clone(&self.clock.boot), boottime_ms })
    }

    /// As [`next_due`](Self::next_due), in milliseconds since boot.
    pub fn due_ms(&self, op: OpId) -> Option<u64> {
        Some(self.ops.get(&op)?.due_ms.max(self.clock.elapsed_ms) - self.clock.booted_ms)
    }

    /// How many pieces an operation has in all, and how many of them are done.
    pub fn pieces(&self, op: OpId) -> Option<(u8, u8)> {
        self.ops.get(&op).map(|op| (op.done, op.pieces()))
    }

    /// The operations under way, those that go on without Phoenix included, each with its container.
    pub fn under_way(&self) -> impl Iterator<Item = (OpId, Ctid)> + '_ {
        self.ops.iter().map(|(id, op)| (*id, op.effect.intent.ctid))
    }

    /// Whether a process other than this Phoenix has a container's lock, and until when at most.
    pub fn locked_until(&self, ctid: Ctid) -> Option<Moment> {
        let orphans = self.ops.values().filter(|op| op.orphan && op.touches(ctid)).map(|op| op.deadline_ms);
        let busy = self.slots.get(&ctid).map(|slot| slot.busy_until_ms).filter(|until| *until > self.clock.elapsed_ms);
        let until_ms = orphans.chain(busy).max()?.max(self.clock.elapsed_ms);
        Some(Moment { boot: BootId::clone(&self.clock.boot), boottime_ms: until_ms - self.clock.booted_ms })
    }

    /// Everything that broke the rules so far.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Every start of a script so far, by container.
    pub fn starts(&self) -> impl Iterator<Item = &ScriptStart> {
        self.slots.values().flat_map(|slot| slot.starts.iter())
    }

    /// Puts a directory on the host, with files in it if `filled`.
    pub fn plant_directory(&mut self, path: &Path, uid: u32, gid: u32, mode: u32, filled: bool) {
        let directory = self.new_directory(uid, gid, mode, filled);
        let place = Arc::make_mut(&mut self.places).entry(path.to_owned()).or_default();
        place.change(directory);
        place.sync();
    }

    /// The owner, group and mode of a directory of the host, as seen now.
    pub fn directory(&self, path: &Path) -> Option<(u32, u32, u32)> {
        self.places.get(path).and_then(Place::seen).map(|seen| (seen.uid, seen.gid, seen.mode))
    }

    /// The id map that a running container has.
    pub fn running_idmap(&self, ctid: Ctid) -> Option<&IdMap> {
        let slot = self.slots.get(&ctid)?;
        slot.up.and(slot.guest.get().as_ref()).map(|guest| &*guest.idmap)
    }
}

impl World {
    pub(super) fn wall(&self) -> Wall {
        Wall(self.options.wall.0.saturating_add(i64::try_from(self.clock.elapsed_ms).unwrap_or(i64::MAX)))
    }

    pub(super) fn slot(&self, ctid: Ctid) -> Option<&Slot> {
        self.slots.get(&ctid).map(|slot| &**slot)
    }

    pub(super) fn slot_mut(&mut self, ctid: Ctid) -> &mut Slot {
        Arc::make_mut(self.slots.entry(ctid).or_default())
    }

    pub(super) fn guest(&self, ctid: Ctid) -> Option<&Arc<Guest>> {
        self.slots.get(&ctid).and_then(|slot| slot.guest.get().as_ref())
    }

    /// Changes the disk of a container that is there; `false` if none is.
    pub(super) fn change_guest(&mut self, ctid: Ctid, change: impl FnOnce(&mut Guest)) -> bool {
        let slot = self.slot_mut(ctid);
        let Some(mut guest) = slot.guest.get().as_deref().cloned() else { return false };
        change(&mut guest);
        slot.guest.set(Some(Arc::new(guest)));
        true
    }

    pub(super) fn init(&self, ctid: Ctid) -> Option<Init> {
        let up = self.slot(ctid)?.up?;
        Some(Init { boot: BootId::clone(&self.clock.boot), pid: up.pid, start_ticks: up.start_ticks })
    }

    /// Whether the init that is up is `recorded`.
    pub(super) fn is_up_as(&self, ctid: Ctid, recorded: &Init) -> bool {
        let same = |up: Up| up.pid == recorded.pid && up.start_ticks == recorded.start_ticks;
        *self.clock.boot == recorded.boot && self.slot(ctid).and_then(|slot| slot.up).is_some_and(same)
    }

    /// The world as the next process would find it if Phoenix were killed now, with these containers alone.
    pub(super) fn left_behind(&self, ctids: &BTreeSet<Ctid>) -> Self {
        let of_interest = |op: &Op| ctids.iter().any(|ctid| op.touches(*ctid));
        let slots = ctids.iter().filter_map(|ctid| Some((*ctid, Arc::clone(self.slots.get(ctid)?))));
        let ops = self.ops.iter().filter(|(_, op)| of_interest(op)).map(|(id, op)| (*id, op.clone()));
        let mut part = Self {
            options: Arc::clone(&self.options),
            clock: self.clock.clone(),
            slots: slots.collect(),
            places: Arc::clone(&self.places),
            hidden_secrets: Arc::clone(&self.hidden_secrets),
            templates: self.templates.clone(),
            settled_in: Arc::clone(&self.settled_in),
            ops: ops.collect(),
            damage: Arc::clone(&self.damage),
            ..*self
        };
        part.crash_process(Survivors::Shims);
        part.run_orphans(u64::MAX);
        part
    }

    pub(super) fn new_pid(&mut self) -> u32 {
        self.next_pid += 3;
        self.next_pid
    }

    pub(super) fn new_directory(&mut self, uid: u32, gid: u32, mode: u32, filled: bool) -> Directory {
        self.next_inode += 1;
        Directory { device: DEVICE, inode: self.next_inode, uid, gid, mode, former: None, filled }
    }

    pub(super) fn note_damage(&mut self, damage: Damage) {
        if !self.damage.contains(&damage) {
            Arc::make_mut(&mut self.damage).push(damage);
        }
    }
}

/// A host has been up for a while when Phoenix comes, so that times since boot are no small numbers by accident.
const UPTIME_AT_BEGIN_MS: u64 = 60_000;
/// Low numbers belong to the host's own services.
pub(super) const FIRST_PID: u32 = 1000;
const FIRST_INODE: u64 = 131_072;
/// Every shared directory is on one device (253:1).
const DEVICE: u64 = 64_769;
