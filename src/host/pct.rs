//! The Proxmox VE host: containers of `pct`, looked at through the cluster's files, LXC and `/proc`.
//!
//! Everything that only looks reads files and spawns nothing: a `pct` costs most of a second and can hang on a dead storage,
//! reading a file can not. What changes something goes through `pct`, under a shim, but for mount points and raw lines, which
//! are edited under Proxmox's own lock; and what a `pct` did is looked at before it is believed. What a crash in the middle of
//! each step leaves, and what is done about it, is the table of `settle`. Not here: what every backend of this kernel shares
//! (`local`), and what is done about what is seen (`engine`).

mod child;
pub mod config;
mod configure;
mod define;
mod destroy;
pub(super) mod doctor;
mod edit;
mod fetch;
pub mod firewall;
mod frozen;
pub mod ha;
mod layout;
mod leftover;
mod life;
mod mark;
pub mod members;
mod mounts;
mod observe;
mod pools;
mod quorum;
mod repair;
mod running;
mod settle;
mod snapshot;
mod stanza;
pub mod storage;
pub mod tasks;
pub mod version;
mod vet;
pub mod vmlist;
mod volume;
mod wanted;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{JournalId, Recorded};

use crate::ids::{Ctid, HostKind, IdMap, Now};
use crate::machine::{Evidence, Report};
use crate::manifest::Spec;
use crate::plan::{Action, Doubt, Effect, HoldBy, Intent, Mark, Observation, SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES, Traces};
use crate::shim::{JobResult, ShimBinary};

use super::local::act::{Act, Taken, drift};
use super::local::life::Up;
use super::local::template::Digests;
use super::local::{self, Backend, Local, PROGRAM_DIRECTORIES, Places, io_error, machine_id, unusable};
use super::{Host, HostError, Lease, LockError, Objection, Territory, Watch, ownership};
use layout::Layout;

/// Where things are. [`PctOptions::new`] fills in what a node has.
#[derive(Clone, Debug)]
pub struct PctOptions {
    /// What everything of Proxmox's lies under; `/` but for tests.
    pub root: PathBuf,
    /// Locks and results of this boot; `PHOENIX_RUNTIME_DIR`, else `/run/phoenix`.
    pub runtime: Option<PathBuf>,
    /// Results of scripts and notes about shared directories; beside the journal.
    pub state: PathBuf,
    /// What names the boot; `PHOENIX_BOOT_ID_FILE`, else the kernel's.
    pub boot_id_file: Option<PathBuf>,
    /// Which program becomes the shim.
    pub shim: ShimBinary,
    /// Where `lxc-attach` is looked for, in order.
    pub programs: Vec<PathBuf>,
    /// Further directories that containers must not share, such as the journal's.
    pub protected: Vec<PathBuf>,
}

/// How long `pct` and its worker get between `SIGTERM` and `SIGKILL`. They clean up when they are asked to end, and leave volume,
/// mount and lock behind when they are killed; removing a volume of some hundred gigabytes takes its time.
const GRACE: Duration = Duration::from_secs(60);

impl PctOptions {
    /// The defaults, with `state` as the state directory.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            root: PathBuf::from("/"),
            runtime: None,
            state: state.into(),
            boot_id_file: None,
            shim: ShimBinary::Own,
            programs: PROGRAM_DIRECTORIES.iter().map(PathBuf::from).collect(),
            protected: Vec::new(),
        }
    }
}

/// The Proxmox VE host.
///
/// Call [`Host::lock`] for the containers that [`crate::plan::Effect::locks`] names, record the effect, then
/// [`Host::carry_out`] with the lease; after a crash [`Host::settle`] for each doubt, without a lease: it takes the locks itself.
#[derive(Debug)]
pub struct Pct {
    local: Local,
    layout: Layout,
    /// This node's name in the cluster.
    node: String,
    templates: Digests,
}

impl Pct {
    /// Looks at this node. It must be root's.
    pub fn new(options: PctOptions) -> Result<Self, HostError> {
        let PctOptions { root, runtime, state, boot_id_file, shim, programs, protected } = options;
        if !rustix::process::geteuid().is_root() {
            return Err(unusable("pct needs root", "run phoenix as root, or with --host sim"));
        }
        let layout = Layout::new(root);
        let node = observe::members(&layout)?.node;
        // A hook of Proxmox's mounts before the start, as the host's root.
        let (kind, lxc_path, container_mounts, grace) = (HostKind::Pct, layout.lxc_path().to_owned(), false, GRACE);
        let protected = protected.into_iter().chain([layout.cluster()]).collect();
        let local =
            Local::new(Places { kind, lxc_path, runtime, state, boot_id_file, shim, programs, protected, container_mounts, grace })?;
        Ok(Self { local, layout, node, templates: Digests::default() })
    }

    /// The storages of the cluster; what cannot be read is none.
    fn storages(&self) -> Vec<storage::Storage> {
        storage::parse(&observe::optional(&self.layout.storages()).unwrap_or_default())
    }

    /// Whether this version can translate the ids of a mount.
    fn maps_mounts(&self) -> bool {
        version::of(&self.layout, "pve-container").is_some_and(|version| version >= version::Version([6, 1, 6]))
    }

    /// What a program of Proxmox's that is about a container may have changed, to be synced: the cluster's database, the storages,
    /// the container's volumes that are mounted there, and LXC's directory.
    fn changed_places(&self, ctid: Ctid) -> Vec<PathBuf> {
        let storages = self
            .storages()
            .into_iter()
            .filter(|storage| ["rootdir", "vztmpl"].iter().any(|what| storage.holds(what)) && storage.is_on(&self.node));
        let places = [self.layout.database(), self.layout.cluster(), self.layout.lxc_path().to_owned()];
        // A network storage that is gone would hold up everything; what its server keeps is not ours to sync.
        let local = storages.filter(|storage| ["dir", "btrfs", "zfspool"].contains(&storage.kind.as_str()));
        let local: Vec<PathBuf> = local.filter_map(|storage| storage.file_system()).collect();
        let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let volumes: Vec<PathBuf> = local.iter().flat_map(|storage| mounts::of_volumes(&mountinfo, storage, ctid)).collect();
        places.into_iter().chain(local).chain(volumes).filter(|path| path.exists()).collect()
    }
}

impl Pct {
    /// Makes durable what this process wrote below `/etc/pve`. The cluster's file system cannot be synced itself: it keeps its
    /// files in a database that is written without waiting for the disk.
    fn sync_cluster(&self) -> io::Result<()> {
        let database = self.layout.database();
        let place = if database.exists() { database } else { self.layout.cluster() };
        local::durable::sync_file_system(&place)
    }
}

impl Host for Pct {
    fn kind(&self) -> HostKind {
        HostKind::Pct
    }

    fn territory(&self) -> Result<Territory, HostError> {
        let directory = self.layout.configs();
        let device = std::fs::File::open(&directory).and_then(|directory| ownership::FileSystem::of(&directory));
        let device = device.map_err(|source| io_error(&format!("look at {}", directory.display()), source))?;
        let node = format!("{} {}", self.node, machine_id()?);
        Ok(Territory { kind: HostKind::Pct, node, directory, device: device.own_number() })
    }

    fn settle_in(&self, _journal: &JournalId) -> Result<(), HostError> {
        self.local.settle_in()
    }

    fn now(&self) -> Result<Now, HostError> {
        Ok(self.local.clock.now())
    }

    fn observe(&self, _journal: Option<&JournalId>, ctids: &[Ctid]) -> Result<Observation, HostError> {
        let node = observe::members(&self.layout)?.node;
        if node != self.node {
            let what = format!("this node calls itself {node}, and was {}", self.node);
            return Err(HostError::NotOurs { what, remedy: "see /etc/pve/.members".to_owned() });
        }
        observe::observe(&self.layout, self.local.clock.boot(), ctids)
    }

    fn vet(&self, wanted: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError> {
        vet::vet(&self.layout, wanted)
    }

    fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError> {
        self.local.lock(ctids)
    }

    fn allocate(&self, effect: &Effect, lease: &mut Lease) -> Result<(), HostError> {
        local::allocate(self, effect, lease)
    }

    fn carry_out(&self, effect: Recorded<Effect>, lease: Lease) -> Report {
        local::carry_out(self, &effect, lease)
    }

    fn settle(&self, doubt: &Doubt, watch: &dyn Watch) -> Report {
        local::settle::settle(self, doubt, watch)
    }

    fn traces(&self, spec: &Spec, mark: &Mark) -> Result<Traces, HostError> {
        let scripts = local::traces::scripts(&self.local, self.rootfs(mark.ctid).as_deref(), spec, mark)?;
        let unlike = match observe::Found::read(&self.layout, mark.ctid)?.map(|found| found.config) {
            None => Some("there is none".to_owned()),
            Some(Err(error)) => Some(error.to_string()),
            Some(Ok(config)) => {
                let change = wanted::Wanted::of(spec).change(&config);
                (!change.is_empty()).then(|| change.named())
            }
        };
        Ok(Traces { epoch: local::traces::newest_epoch(&self.local, mark)?, scripts, unlike })
    }

    fn leftovers(&self, _: Ctid) -> Result<Vec<PathBuf>, HostError> {
        Ok(Vec::new())
    }
}

impl Backend for Pct {
    fn local(&self) -> &Local {
        &self.local
    }

    fn needs_a_shim(&self, intent: &Intent) -> bool {
        match &intent.action {
            Action::FetchTemplate
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Hold { .. }
            | Action::Start { .. }
            | Action::Stop { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart
            | Action::Destroy => true,
            // Most often there is nothing to do for these.
            Action::Mark
            | Action::Release
            | Action::Configure
            | Action::SetFirewall
            | Action::ReadIdmap { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::Repair { .. } => false,
        }
    }

    fn up(&self, ctid: Ctid) -> io::Result<Up> {
        running::up(&self.layout, ctid)
    }

    /// Through its init: the host sees the root file system of a running container nowhere else, and none of one that is down.
    fn rootfs(&self, ctid: Ctid) -> Option<PathBuf> {
        let init = self.up(ctid).ok()?.init?;
        Some(PathBuf::from(format!("/proc/{}/root/.", init.pid)))
    }

    fn check_mark(act: &Act<'_, Self>) -> Taken<()> {
        act.config().and_then(|config| act.judge_found(mark::of_config(&config.to_string()).as_ref()))
    }

    fn configured_idmap(act: &Act<'_, Self>) -> Taken<Option<IdMap>> {
        act.config()?.main().idmap().map_err(|error| drift("the configuration has an id map", error))
    }

    fn take(act: &Act<'_, Self>) -> Taken {
        act.check_unmanaged()?;
        match &act.intent().action {
            Action::Create { template } => act.create(*template),
            Action::Clone { source, incarnation, from } => act.clone_from(*source, *incarnation, *from),
            Action::Mark => act.mark(),
            Action::Hold { init, by: by @ HoldBy::Stop } => act.stop(init.as_ref()).map(|()| Evidence::Held { by: *by }),
            Action::Hold { init: _, by: by @ HoldBy::Snapshot } => act.snapshot(SNAPSHOT_FOR_CLONES).map(|()| Evidence::Held { by: *by }),
            Action::FetchTemplate => act.fetch_template(),
            Action::SetFirewall => act.set_firewall(),
            Action::TakeSnapshot => act.snapshot(SNAPSHOT_BEFORE_VOLUMES).map(|()| snapshot::taken()),
            Action::Release => act.release(),
            Action::Configure => act.configure(),
            Action::Start { purpose: _, idmap, sources } => act.start(idmap, sources),
            Action::ReadIdmap { init } => act.read_idmap(init),
            Action::Stop { init } => act.stop(init.as_ref()).map(|()| Evidence::Stopped),
            Action::Prepare { volume, idmap } => act.prepare(volume, idmap),
            Action::Attach { mount, source, idmap } => act.attach(mount, source, idmap),
            Action::Detach { mount } => act.detach(mount),
            Action::AwaitReady { init } => act.await_ready(init),
            Action::RunScript { init } => act.run_script(init),
            Action::AskHealth { init } => act.ask_health(init),
            Action::SetAutostart => act.set_autostart(),
            Action::Destroy => act.destroy(),
            Action::Repair { leftover } => act.repair(leftover),
        }
    }

    fn tasks(&self, intent: &Intent) -> Vec<String> {
        settle::tasks(intent)
    }

    fn probe(act: &Act<'_, Self>, result: Option<&JobResult>) -> Taken {
        act.probe(result)
    }
}
