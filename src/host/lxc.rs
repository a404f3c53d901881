//! The plain LXC host: containers in a directory, started and stopped by `lxc-start`, looked at through `/proc`.
//!
//! A container is a directory `PATH/CTID` of root's with `config`, `phoenix.mark` and `rootfs`. It is built complete under
//! another name and renamed into place, and destroyed by being renamed away first, so that what stands at the place is whole.
//! Every step looks at the mark under the container's lock before it acts. Not here: what every
//! backend of this kernel shares (`local`), the rules for shared directories (`ownership`), and what is done about a report
//! (`engine`).

mod config;
mod define;
mod destroy;
pub(super) mod doctor;
mod layout;
mod life;
mod mark;
mod mount_entry;
mod observe;
mod removal;
mod settle;

mod volume;
mod wanted;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{JournalId, Recorded};

pub use config::{Config, ConfigError};

use crate::ids::{Ctid, HostKind, IdMap, Now};
use crate::machine::{Evidence, FailureClass, Report, StepResult};
use crate::manifest::Spec;
use crate::plan::{Action, CopyFrom, Doubt, Effect, HoldBy, Intent, Mark, Observation, Presence, Traces};
use crate::shim::{JobResult, ShimBinary};

use super::local::act::{Act, Taken, drift, failed, io_failed};
use super::local::life::Up;
use super::local::vet::{self, SubordinateIds};
use super::local::{self, Backend, Local, PROGRAM_DIRECTORIES, Places, cgroup, durable, find_program, io_error, machine_id, unusable};
use super::{Host, HostError, Lease, LockError, Objection, Territory, Watch, ownership};

/// Where things are. [`LxcOptions::new`] fills in what a host has by default.
#[derive(Clone, Debug)]
pub struct LxcOptions {
    /// The container directory, absolute; `/var/lib/lxc` by default.
    pub path: PathBuf,
    /// Locks and results of this boot; `PHOENIX_RUNTIME_DIR`, else `/run/phoenix`.
    pub runtime: Option<PathBuf>,
    /// Results of scripts and notes about shared directories; beside the journal.
    pub state: PathBuf,
    /// What names the boot; `PHOENIX_BOOT_ID_FILE`, else the kernel's.
    pub boot_id_file: Option<PathBuf>,
    /// Which program becomes the shim.
    pub shim: ShimBinary,
    /// Where `lxc-start`, `lxc-stop` and `lxc-attach` are looked for, in order.
    pub programs: Vec<PathBuf>,
    /// Further directories that containers must not share, such as the journal's.
    pub protected: Vec<PathBuf>,
}

/// The container directory of LXC.
pub const LXC_PATH: &str = "/var/lib/lxc";
/// How long programs of the host get between `SIGTERM` and `SIGKILL`.
const GRACE: Duration = Duration::from_secs(5);

impl LxcOptions {
    /// The defaults, with `state` as the state directory.
    pub fn new(state: impl Into<PathBuf>) -> Self {
        Self {
            path: PathBuf::from(LXC_PATH),
            runtime: None,
            state: state.into(),
            boot_id_file: None,
            shim: ShimBinary::Own,
            programs: PROGRAM_DIRECTORIES.iter().map(PathBuf::from).collect(),
            protected: Vec::new(),
        }
    }
}

/// The plain LXC host.
///
/// Call [`Host::lock`] for the containers that [`crate::plan::Effect::locks`] names, record the effect, then
/// [`Host::carry_out`] with the lease; after a crash [`Host::settle`] for each doubt, without a lease: it takes the locks itself.
#[derive(Debug)]
pub struct Lxc {
    local: Local,
    layout: layout::Layout,
    programs: Programs,
    controllers: cgroup::Controllers,
    templates: local::template::Digests,
}

/// The programs that are run, each absolute.
#[derive(Clone, Debug)]
struct Programs {
    lxc_start: PathBuf,
    lxc_stop: PathBuf,
    cp: PathBuf,
}

impl Lxc {
    /// Looks at this host. It must be root's, and LXC installed.
    pub fn new(options: LxcOptions) -> Result<Self, HostError> {
        let LxcOptions { path, runtime, state, boot_id_file, shim, programs, protected } = options;
        if !rustix::process::geteuid().is_root() {
            return Err(unusable("plain LXC needs root", "run phoenix as root, or with --host sim"));
        }
        let plain = path.is_absolute() && path.to_str().is_some_and(|path| !path.contains(|c: char| c.is_control() || c == '"'));
        if !plain {
            return Err(unusable(
                &format!("the container directory {} is no plain absolute path", path.display()),
                "name another with --lxc-path",
            ));
        }
        let find = |name: &str| find_program(name, &programs, HostKind::Lxc);
        let found = Programs { lxc_start: find("lxc-start")?, lxc_stop: find("lxc-stop")?, cp: find("cp")? };
        let (kind, lxc_path, container_mounts, grace) = (HostKind::Lxc, path.clone(), true, GRACE);
        let local =
            Local::new(Places { kind, lxc_path, runtime, state, boot_id_file, shim, programs, protected, container_mounts, grace })?;
        Ok(Self {
            local,
            layout: layout::Layout::new(path),
            programs: found,
            controllers: cgroup::Controllers::of_this_host(),
            templates: local::template::Digests::default(),
        })
    }

    /// The container directory, checked: whoever else can write there could exchange containers.
    fn directory(&self) -> Result<std::fs::Metadata, HostError> {
        let path = self.layout.path();
        let meta = std::fs::symlink_metadata(path).map_err(|source| io_error(&format!("look at {}", path.display()), source))?;
        if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o022 != 0 {
            let what = format!("the container directory {} is not a directory that root alone can write", path.display());
            return Err(unusable(&what, "`chown root` and `chmod go-w` it, or name another with --lxc-path"));
        }
        Ok(meta)
    }
}

impl Host for Lxc {
    fn kind(&self) -> HostKind {
        HostKind::Lxc
    }

    fn territory(&self) -> Result<Territory, HostError> {
        let node = machine_id()?;
        self.directory()?;
        let path = self.layout.path();
        let device = std::fs::File::open(path).and_then(|directory| ownership::FileSystem::of(&directory));
        let device = device.map_err(|source| io_error(&format!("look at {}", path.display()), source))?;
        Ok(Territory { kind: HostKind::Lxc, node, directory: self.layout.path().to_owned(), device: device.own_number() })
    }

    fn settle_in(&self, journal: &JournalId) -> Result<(), HostError> {
        self.directory()?;
        let sentinel = self.layout.sentinel(journal);
        self.local.settle_in()?;
        if sentinel.exists() {
            return Ok(());
        }
        durable::write(&sentinel, format!("{journal}\n").as_bytes(), 0o600)
            .map_err(|source| io_error(&format!("write {}", sentinel.display()), source))
    }

    fn now(&self) -> Result<Now, HostError> {
        Ok(self.local.clock.now())
    }

    fn observe(&self, journal: Option<&JournalId>, ctids: &[Ctid]) -> Result<Observation, HostError> {
        let directory = self.directory()?;
        if let Some(journal) = journal {
            let sentinel = self.layout.sentinel(journal);
            let there = std::fs::symlink_metadata(&sentinel).is_ok_and(|meta| meta.is_file() && meta.dev() == directory.dev());
            if !there && !phoenix_journal::sabotaged("unmounted_hosts_look_empty") {
                return Err(HostError::NotOurs {
                    what: format!("{} is not there", sentinel.display()),
                    remedy: "mount the file system that holds the containers, or name their directory with --lxc-path".to_owned(),
                });
            }
        }
        observe::observe(&self.layout, self.local.clock.boot(), ctids).map_err(|source| io_error("look at the containers", source))
    }

    fn vet(&self, wanted: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError> {
        let ids = SubordinateIds::of_this_machine();
        let each = |spec: &Arc<Spec>| vet::bridges(spec, Path::new("/")).into_iter().chain(vet::idmap(spec, &ids)).collect::<Vec<_>>();
        Ok(wanted.iter().flat_map(each).collect())
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
        let rootfs = self.layout.rootfs(mark.ctid);
        let scripts = local::traces::scripts(&self.local, Some(&rootfs), spec, mark)?;
        let read = observe::read_config(&self.layout, mark.ctid);
        let config = read.map_err(|source| io_error(&format!("read the configuration of container {}", mark.ctid), source))?;
        let wanted = wanted::Wanted::of(spec, mark, &rootfs, self.controllers);
        let unlike = config.map_or_else(|| Some("there is none".to_owned()), |config| wanted.difference(&config));
        Ok(Traces { epoch: local::traces::newest_epoch(&self.local, mark)?, scripts, unlike })
    }

    fn leftovers(&self, ctid: Ctid) -> Result<Vec<PathBuf>, HostError> {
        self.layout.leftovers(ctid).map_err(|source| io_error(&format!("look through {}", self.layout.path().display()), source))
    }
}

impl Backend for Lxc {
    fn local(&self) -> &Local {
        &self.local
    }

    fn needs_a_shim(&self, intent: &Intent) -> bool {
        match &intent.action {
            Action::Create { .. } | Action::Clone { .. } | Action::Start { .. } | Action::RunScript { .. } | Action::AskHealth { .. } => {
                true
            }
            Action::FetchTemplate
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Mark
            | Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::SetAutostart
            | Action::Destroy
            | Action::Repair { .. } => false,
        }
    }

    fn up(&self, ctid: Ctid) -> io::Result<Up> {
        observe::up(&self.layout, ctid)
    }

    fn rootfs(&self, ctid: Ctid) -> Option<PathBuf> {
        Some(self.layout.rootfs(ctid))
    }

    fn check_mark(act: &Act<'_, Self>) -> Taken<()> {
        let ctid = act.intent().ctid;
        match observe::presence(&act.host.layout, ctid).map_err(|error| io_failed("look at the container", &error))? {
            None => return Err(Box::new(StepResult::Gone)),
            Some(Presence::Whole | Presence::HalfMade(_)) => {}
        }
        let found = observe::read_mark(&act.host.layout, ctid).map_err(|error| io_failed("read the mark", &error))?;
        act.judge_found(found.as_ref())
    }

    fn configured_idmap(act: &Act<'_, Self>) -> Taken<Option<IdMap>> {
        act.config()?.idmap().map_err(|error| drift("the configuration has an id map", error))
    }

    fn take(act: &Act<'_, Self>) -> Taken {
        match &act.intent().action {
            Action::Create { template } => act.create(*template),
            Action::FetchTemplate => Err(not_here("store that templates are fetched into")),
            Action::SetFirewall => Err(not_here("firewall")),
            Action::TakeSnapshot | Action::Hold { by: HoldBy::Snapshot, .. } | Action::Clone { from: CopyFrom::Snapshot, .. } => {
                Err(not_here("snapshots"))
            }
            Action::Clone { source, incarnation, from: CopyFrom::Current } => act.clone_from(*source, *incarnation),
            Action::Mark => act.mark(),
            Action::Hold { init, by: HoldBy::Stop } => act.stop(init.as_ref()).map(|()| Evidence::Held { by: HoldBy::Stop }),
            Action::Release => act.check_mark().map(|()| Evidence::Released),
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
            Action::Repair { leftover: _ } => act.repair(),
        }
    }

    fn tasks(&self, _intent: &Intent) -> Vec<String> {
        Vec::new()
    }

    fn probe(act: &Act<'_, Self>, result: Option<&JobResult>) -> Taken {
        act.probe(result)
    }
}

/// The answer to an action that only other hosts know. Nothing that is declared for this kind of host asks for one.
fn not_here(what: &str) -> Box<StepResult> {
    failed(FailureClass::Permanent, format!("this host has no {what}; the step was meant for another kind of host"))
}
