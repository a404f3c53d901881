//! One container on disk, and everything at its id.
//!
//! Apart from the other lines for its size. Each type is converted both ways field by field, so that a field that is added to
//! the world and forgotten here does not compile.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use phoenix_journal::Epoch;
use serde::{Deserialize, Serialize};

use crate::host::sim::damage::{Before, ScriptEnd, ScriptStart};
use crate::host::sim::disk::{Attached, ConfigLock, Guest, InsideNote, Made, Maker, OnDisk, Settings, Stage, Trace};
use crate::host::sim::world::{End, Kept, Left, Slot, Up};
use crate::ids::{Ctid, IdMap, Step, StepId, Target, Wall};
use crate::manifest::{Address, Autostart, Nic, Resources};
use crate::plan::{HoldBy, Mark, Reason};

use super::proxmox::{SavedFirewall, SavedSnapshot};

#[derive(Serialize, Deserialize)]
pub(super) struct SavedSlot {
    ctid: u32,
    guest: Option<SavedGuest>,
    up: Option<SavedUp>,
    held: bool,
    /// Whether it is held by a snapshot.
    #[serde(default)]
    held_live: bool,
    busy_until_ms: u64,
    left: Option<SavedLeft>,
    #[serde(default)]
    results: Vec<SavedKept>,
    script_begun: Option<String>,
    #[serde(default)]
    epoch: u64,
    starts: Vec<SavedStart>,
}

#[derive(Serialize, Deserialize)]
struct SavedGuest {
    half: Option<(SavedStage, String, String)>,
    lock: Option<SavedLock>,
    mark: Option<SavedMark>,
    settings: Option<SavedSettings>,
    unprivileged: bool,
    idmap: Vec<String>,
    idmap_on_file: bool,
    mounts: Vec<SavedMount>,
    autostart: (bool, Option<u32>, Option<u32>, Option<u32>),
    inside: Vec<SavedTrace>,
    #[serde(default)]
    notes: Vec<SavedNote>,
    #[serde(default)]
    storage: Option<String>,
    #[serde(default)]
    snapshots: Vec<SavedSnapshot>,
    #[serde(default)]
    firewall: Option<SavedFirewall>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedStage {
    Claimed,
    Filled,
    Dying,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedLock {
    Create,
    Disk(u32),
    Snapshot,
    SnapshotDelete,
    Backup(u64),
}

#[derive(Serialize, Deserialize)]
struct SavedMark {
    journal: String,
    fleet: String,
    ctid: u32,
    incarnation: String,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedSettings {
    hostname: String,
    memory_mb: u32,
    swap_mb: u32,
    cores: Option<u32>,
    disk_gb: Option<u32>,
    network: Vec<SavedNic>,
}

#[derive(Serialize, Deserialize)]
struct SavedNic {
    name: String,
    bridge: String,
    address: SavedAddress,
    gateway: Option<IpAddr>,
    hwaddr: Option<String>,
    mtu: Option<u32>,
    vlan: Option<u16>,
    firewall: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedAddress {
    Static(IpAddr, u8),
    Dhcp,
    Manual,
}

#[derive(Serialize, Deserialize)]
struct SavedMount {
    at: String,
    path: PathBuf,
    read_only: bool,
    mapped: bool,
    owner_right: bool,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedTrace {
    by: u32,
    incarnation: String,
    step: String,
    script: String,
    completed: u32,
    torn: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedUp {
    pid: u32,
    start_ticks: u64,
    ready_ms: Option<u64>,
    frozen: bool,
    #[serde(default)]
    lacks_mount: bool,
}

#[derive(Serialize, Deserialize)]
struct SavedLeft {
    token: String,
    of_script: bool,
    exit: Option<u8>,
    started_ms: i64,
    ended_ms: i64,
    output: String,
}

#[derive(Serialize, Deserialize)]
struct SavedKept {
    incarnation: String,
    step: String,
    script: String,
    epoch: u64,
    succeeded: bool,
    started_ms: i64,
    ended_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct SavedNote {
    step: String,
    ctid: u32,
    incarnation: String,
    script: String,
    epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct SavedStart {
    incarnation: String,
    step: String,
    attempt: u32,
    reason: SavedReason,
    before: Option<SavedEnd>,
    end: SavedEnd,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedReason {
    First,
    Retry(String),
    Interrupted,
    Lost,
    Asked,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedEnd {
    Running,
    Succeeded,
    Failed,
    Cut,
}

impl SavedSlot {
    pub(super) fn of(ctid: Ctid, slot: &Slot) -> Self {
        let Slot { guest, up, held, busy_until_ms, left, results, script_begun, epoch, starts } = slot;
        Self {
            ctid: ctid.get(),
            guest: guest.get().as_deref().map(SavedGuest::of),
            up: up.map(|Up { pid, start_ticks, ready_ms, frozen, lacks_mount }| SavedUp {
                pid,
                start_ticks,
                ready_ms: (ready_ms < u64::MAX).then_some(ready_ms),
                frozen,
                lacks_mount,
            }),
            held: held.is_some(),
            held_live: *held == Some(HoldBy::Snapshot),
            busy_until_ms: *busy_until_ms,
            left: left.as_deref().map(SavedLeft::of),
            results: results.iter().map(SavedKept::of).collect(),
            script_begun: script_begun.map(|token| token.to_string()),
            epoch: epoch.get(),
            starts: starts.iter().map(SavedStart::of).collect(),
        }
    }

    pub(super) fn restore(self) -> Option<(Ctid, Slot)> {
        let ctid = Ctid::new(self.ctid).ok()?;
        let guest = self.guest.map(|guest| guest.restore().map(Arc::new).ok_or(())).transpose().ok()?;
        let left = self.left.map(|left| left.restore().map(Arc::new).ok_or(())).transpose().ok()?;
        let starts: Option<Vec<_>> = self.starts.into_iter().map(|start| start.restore(ctid)).collect();
        let slot = Slot {
            guest: OnDisk::safe(guest),
            up: self.up.map(|SavedUp { pid, start_ticks, ready_ms, frozen, lacks_mount }| Up {
                pid,
                start_ticks,
                ready_ms: ready_ms.unwrap_or(u64::MAX),
                frozen,
                lacks_mount,
            }),
            held: self.held.then_some(if self.held_live { HoldBy::Snapshot } else { HoldBy::Stop }),
            busy_until_ms: self.busy_until_ms,
            left,
            results: Arc::new(self.results.into_iter().map(SavedKept::restore).collect::<Option<_>>()?),
            script_begun: self.script_begun.map(|token| token.parse()).transpose().ok()?,
            epoch: Epoch::new(self.epoch),
            starts: Arc::new(starts?),
        };
        Some((ctid, slot))
    }
}

impl SavedGuest {
    fn of(guest: &Guest) -> Self {
        let Guest {
            made,
            lock,
            mark,
            settings,
            unprivileged,
            idmap,
            idmap_on_file,
            mounts,
            autostart,
            inside,
            notes,
            storage,
            snapshots,
            firewall,
        } = guest;
        let half = match made {
            Made::Whole => None,
            Made::Half { stage, maker } => {
                let stage = match stage {
                    Stage::Claimed => SavedStage::Claimed,
                    Stage::Filled => SavedStage::Filled,
                    Stage::Dying => SavedStage::Dying,
                };
                Some((stage, maker.journal.to_string(), maker.incarnation.to_string()))
            }
        };
        let lock = lock.map(|lock| match lock {
            ConfigLock::Create => SavedLock::Create,
            ConfigLock::Disk { target } => SavedLock::Disk(target.get()),
            ConfigLock::Snapshot => SavedLock::Snapshot,
            ConfigLock::SnapshotDelete => SavedLock::SnapshotDelete,
            ConfigLock::Backup { until_ms } => SavedLock::Backup(until_ms),
        });
        let mount = |(at, attached): (&Target, &Attached)| {
            let Attached { path, read_only, mapped, owner_right } = attached.clone();
            SavedMount { at: at.to_string(), path, read_only, mapped, owner_right }
        };
        let Autostart { enabled, order, up_delay_s, down_timeout_s } = *autostart;
        Self {
            half,
            lock,
            mark: mark.as_deref().map(SavedMark::of),
            settings: settings.as_deref().map(SavedSettings::of),
            unprivileged: *unprivileged,
            idmap: idmap.to_lxc(),
            idmap_on_file: *idmap_on_file,
            mounts: mounts.iter().map(mount).collect(),
            autostart: (enabled, order, up_delay_s, down_timeout_s),
            inside: inside.iter().map(SavedTrace::of).collect(),
            notes: notes.iter().map(SavedNote::of).collect(),
            storage: storage.as_deref().map(str::to_owned),
            snapshots: snapshots.iter().map(SavedSnapshot::of).collect(),
            firewall: firewall.as_deref().map(SavedFirewall::of),
        }
    }

    fn restore(self) -> Option<Guest> {
        let made = match self.half {
            None => Made::Whole,
            Some((stage, journal, incarnation)) => {
                let stage = match stage {
                    SavedStage::Claimed => Stage::Claimed,
                    SavedStage::Filled => Stage::Filled,
                    SavedStage::Dying => Stage::Dying,
                };
                Made::Half { stage, maker: Maker { journal: journal.parse().ok()?, incarnation: incarnation.parse().ok()? } }
            }
        };
        let lock = match self.lock {
            None => None,
            Some(SavedLock::Create) => Some(ConfigLock::Create),
            Some(SavedLock::Disk(target)) => Some(ConfigLock::Disk { target: Ctid::new(target).ok()? }),
            Some(SavedLock::Snapshot) => Some(ConfigLock::Snapshot),
            Some(SavedLock::SnapshotDelete) => Some(ConfigLock::SnapshotDelete),
            Some(SavedLock::Backup(until_ms)) => Some(ConfigLock::Backup { until_ms }),
        };
        let mount = |saved: SavedMount| {
            let SavedMount { at, path, read_only, mapped, owner_right } = saved;
            Some((at.parse().ok()?, Attached { path, read_only, mapped, owner_right }))
        };
        let mark = self.mark.map(|mark| mark.restore().ok_or(())).transpose().ok()?;
        let settings = self.settings.map(|settings| settings.restore().ok_or(())).transpose().ok()?;
        let (enabled, order, up_delay_s, down_timeout_s) = self.autostart;
        Some(Guest {
            made,
            lock,
            mark: mark.map(Arc::new),
            settings: settings.map(Arc::new),
            unprivileged: self.unprivileged,
            idmap: Arc::new(IdMap::from_lxc(self.idmap.iter().map(String::as_str)).ok()?),
            idmap_on_file: self.idmap_on_file,
            mounts: Arc::new(self.mounts.into_iter().map(mount).collect::<Option<_>>()?),
            autostart: Autostart { enabled, order, up_delay_s, down_timeout_s },
            inside: Arc::new(self.inside.into_iter().map(SavedTrace::restore).collect::<Option<_>>()?),
            notes: Arc::new(self.notes.into_iter().map(SavedNote::restore).collect::<Option<_>>()?),
            storage: self.storage.map(Arc::from),
            snapshots: Arc::new(self.snapshots.into_iter().map(SavedSnapshot::restore).collect::<Option<_>>()?),
            firewall: self.firewall.map(|firewall| firewall.restore().ok_or(())).transpose().ok()?.map(Arc::new),
        })
    }
}

impl SavedMark {
    fn of(mark: &Mark) -> Self {
        let Mark { journal, fleet, ctid, incarnation, epoch } = mark;
        Self {
            journal: journal.to_string(),
            fleet: fleet.to_string(),
            ctid: ctid.get(),
            incarnation: incarnation.to_string(),
            epoch: epoch.get(),
        }
    }

    fn restore(self) -> Option<Mark> {
        Some(Mark {
            journal: self.journal.parse().ok()?,
            fleet: self.fleet.parse().ok()?,
            ctid: Ctid::new(self.ctid).ok()?,
            incarnation: self.incarnation.parse().ok()?,
            epoch: Epoch::new(self.epoch),
        })
    }
}

impl SavedSettings {
    fn of(settings: &Settings) -> Self {
        let Settings { hostname, resources: Resources { memory_mb, swap_mb, cores, disk_gb }, network } = settings;
        let network = network.iter().map(SavedNic::of).collect();
        Self { hostname: hostname.to_string(), memory_mb: *memory_mb, swap_mb: *swap_mb, cores: *cores, disk_gb: *disk_gb, network }
    }

    fn restore(self) -> Option<Settings> {
        let Self { hostname, memory_mb, swap_mb, cores, disk_gb, network } = self;
        let network = network.into_iter().map(SavedNic::restore).collect();
        Some(Settings { hostname: hostname.parse().ok()?, resources: Resources { memory_mb, swap_mb, cores, disk_gb }, network })
    }
}

impl SavedNic {
    fn of(nic: &Nic) -> Self {
        let Nic { name, bridge, address, gateway, hwaddr, mtu, vlan, firewall } = nic.clone();
        let address = match address {
            Address::Static { ip, prefix } => SavedAddress::Static(ip, prefix),
            Address::Dhcp => SavedAddress::Dhcp,
            Address::Manual => SavedAddress::Manual,
        };
        Self { name, bridge, address, gateway, hwaddr, mtu, vlan, firewall }
    }

    fn restore(self) -> Nic {
        let Self { name, bridge, address, gateway, hwaddr, mtu, vlan, firewall } = self;
        let address = match address {
            SavedAddress::Static(ip, prefix) => Address::Static { ip, prefix },
            SavedAddress::Dhcp => Address::Dhcp,
            SavedAddress::Manual => Address::Manual,
        };
        Nic { name, bridge, address, gateway, hwaddr, mtu, vlan, firewall }
    }
}

impl SavedTrace {
    pub(super) fn of(trace: &Trace) -> Self {
        let Trace { by, incarnation, step, script, completed, torn } = trace;
        Self {
            by: by.get(),
            incarnation: incarnation.to_string(),
            step: step.clone().id().to_string(),
            script: script.to_string(),
            completed: *completed,
            torn: *torn,
        }
    }

    pub(super) fn restore(self) -> Option<Trace> {
        let step: StepId = self.step.parse().ok()?;
        Some(Trace {
            by: Ctid::new(self.by).ok()?,
            incarnation: self.incarnation.parse().ok()?,
            step: step.step,
            script: self.script.parse().ok()?,
            completed: self.completed,
            torn: self.torn,
        })
    }
}

impl SavedKept {
    fn of(kept: &Kept) -> Self {
        let Kept { incarnation, step, script, epoch, succeeded, started, ended } = kept;
        Self {
            incarnation: incarnation.to_string(),
            step: step.clone().id().to_string(),
            script: script.to_string(),
            epoch: epoch.get(),
            succeeded: *succeeded,
            started_ms: started.0,
            ended_ms: ended.0,
        }
    }

    fn restore(self) -> Option<Kept> {
        let step: StepId = self.step.parse().ok()?;
        Some(Kept {
            incarnation: self.incarnation.parse().ok()?,
            step: step.step,
            script: self.script.parse().ok()?,
            epoch: Epoch::new(self.epoch),
            succeeded: self.succeeded,
            started: Wall(self.started_ms),
            ended: Wall(self.ended_ms),
        })
    }
}

impl SavedNote {
    fn of((step, note): (&Step, &InsideNote)) -> Self {
        let InsideNote { ctid, incarnation, script, epoch } = note;
        Self {
            step: step.clone().id().to_string(),
            ctid: ctid.get(),
            incarnation: incarnation.to_string(),
            script: script.to_string(),
            epoch: epoch.get(),
        }
    }

    fn restore(self) -> Option<(Step, InsideNote)> {
        let step: StepId = self.step.parse().ok()?;
        let note = InsideNote {
            ctid: Ctid::new(self.ctid).ok()?,
            incarnation: self.incarnation.parse().ok()?,
            script: self.script.parse().ok()?,
            epoch: Epoch::new(self.epoch),
        };
        Some((step.step, note))
    }
}

impl SavedLeft {
    fn of(left: &Left) -> Self {
        let Left { token, of_script, end, started, ended, output } = left;
        let exit = match end {
            End::Exit(status) => Some(*status),
            End::Timeout => None,
        };
        let (started_ms, ended_ms) = (started.0, ended.0);
        Self { token: token.to_string(), of_script: *of_script, exit, started_ms, ended_ms, output: output.clone() }
    }

    fn restore(self) -> Option<Left> {
        Some(Left {
            token: self.token.parse().ok()?,
            of_script: self.of_script,
            end: self.exit.map_or(End::Timeout, End::Exit),
            started: Wall(self.started_ms),
            ended: Wall(self.ended_ms),
            output: self.output,
        })
    }
}

impl SavedStart {
    fn of(start: &ScriptStart) -> Self {
        let ScriptStart { ctid: _, incarnation, step, attempt, reason, before, end } = start;
        let reason = match reason {
            Reason::First => SavedReason::First,
            Reason::Retry { after } => SavedReason::Retry(after.clone()),
            Reason::Interrupted => SavedReason::Interrupted,
            Reason::Lost => SavedReason::Lost,
            Reason::Asked => SavedReason::Asked,
        };
        let before = match before {
            Before::Never => None,
            Before::Ended(end) => Some(SavedEnd::of(*end)),
        };
        let (incarnation, step) = (incarnation.to_string(), step.clone().id().to_string());
        Self { incarnation, step, attempt: *attempt, reason, before, end: SavedEnd::of(*end) }
    }

    fn restore(self, ctid: Ctid) -> Option<ScriptStart> {
        let reason = match self.reason {
            SavedReason::First => Reason::First,
            SavedReason::Retry(after) => Reason::Retry { after },
            SavedReason::Interrupted => Reason::Interrupted,
            SavedReason::Lost => Reason::Lost,
            SavedReason::Asked => Reason::Asked,
        };
        let step: StepId = self.step.parse().ok()?;
        Some(ScriptStart {
            ctid,
            incarnation: self.incarnation.parse().ok()?,
            step: step.step,
            attempt: self.attempt,
            reason,
            before: self.before.map_or(Before::Never, |end| Before::Ended(end.restore())),
            end: self.end.restore(),
        })
    }
}

impl SavedEnd {
    fn of(end: ScriptEnd) -> Self {
        match end {
            ScriptEnd::Running => Self::Running,
            ScriptEnd::Succeeded => Self::Succeeded,
            ScriptEnd::Failed => Self::Failed,
            ScriptEnd::Cut => Self::Cut,
        }
    }

    fn restore(&self) -> ScriptEnd {
        match self {
            Self::Running => ScriptEnd::Running,
            Self::Succeeded => ScriptEnd::Succeeded,
            Self::Failed => ScriptEnd::Failed,
            Self::Cut => ScriptEnd::Cut,
        }
    }
}
