//! The plain LXC host: containers in a directory, started and stopped by `lxc-start`, looked at through `/proc`.
//!
//! A container is a directory `PATH/CTID` of root's with `config`, `phoenix.mark` and `rootfs`. It is built complete under
//! another name and renamed into place, and destroyed by being renamed away first, so that what stands at the place is whole.
//! Every step looks at the mark under the container's lock before it acts. Not here: the shim's protocol (`shim`), the rules
//! for shared directories (`ownership`), and what is done about a report (`engine`).

mod act;
mod cgroup;
mod config;
mod define;
mod destroy;
mod durable;
mod inside;
mod layout;
mod life;
mod mark;
mod mount_entry;
mod observe;
mod proc;
mod ready;
mod removal;
mod script;
mod settle;
mod template;
mod traces;
mod volume;
mod wanted;

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use phoenix_journal::{JournalId, Recorded};

pub use config::{Config, ConfigError};

use crate::ids::{Ctid, Now};
use crate::machine::Report;
use crate::manifest::Spec;
use crate::plan::{Doubt, Effect, Mark, Observation, Traces};
use crate::shim::{self, Clock, Lock, LockName, PrepareError, Prepared, RuntimeDir, ShimBinary};

use super::ownership::Grounds;
use super::{Host, HostError, Lease, LockError, Territory, Watch};
use crate::ids::HostKind;

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
/// Where programs are looked for; the environment's `PATH` is not root's to trust.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];
/// What names this node (`machine-id(5)`).
const MACHINE_ID: &str = "/etc/machine-id";

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
    layout: layout::Layout,
    runtime: RuntimeDir,
    state: PathBuf,
    clock: Clock,
    shim: ShimBinary,
    programs: Programs,
    controllers: cgroup::Controllers,
    grounds: Grounds,
    templates: template::Digests,
}

/// The programs that are run, each absolute.
#[derive(Clone, Debug)]
struct Programs {
    lxc_start: PathBuf,
    lxc_stop: PathBuf,
    lxc_attach: PathBuf,
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
        let runtime = match runtime {
            Some(path) => RuntimeDir::at(path),
            None => RuntimeDir::from_env(),
        }
        .map_err(|error| unusable(&error.to_string(), "name another with PHOENIX_RUNTIME_DIR"))?;
        let clock = match &boot_id_file {
            Some(file) => Clock::from_file(file),
            None => Clock::from_env(),
        }
        .map_err(|source| io_error("read the boot id", source))?;
        let find = |name: &str| find_program(name, &programs);
        let programs =
            Programs { lxc_start: find("lxc-start")?, lxc_stop: find("lxc-stop")?, lxc_attach: find("lxc-attach")?, cp: find("cp")? };
        let own = [path.clone(), runtime.path().to_owned(), state.clone()].into_iter().chain(protected).collect();
        Ok(Self {
            layout: layout::Layout::new(path),
            grounds: Grounds { own, container_mounts: true, records: state.join("volumes") },
            runtime,
            state,
            clock,
            shim,
            programs,
            controllers: cgroup::Controllers::of_this_host(),
            templates: template::Digests::default(),
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

    fn lock_name(ctid: Ctid) -> LockName {
        LockName::Container { backend: HostKind::Lxc.name(), ctid }
    }
}

impl Host for Lxc {
    fn kind(&self) -> HostKind {
        HostKind::Lxc
    }

    fn territory(&self) -> Result<Territory, HostError> {
        let node = std::fs::read_to_string(MACHINE_ID).map_err(|source| io_error(&format!("read {MACHINE_ID}"), source))?;
        let device = self.directory()?.dev();
        Ok(Territory { kind: HostKind::Lxc, node: node.trim().to_owned(), directory: self.layout.path().to_owned(), device })
    }

    fn settle_in(&self, journal: &JournalId) -> Result<(), HostError> {
        self.directory()?;
        let sentinel = self.layout.sentinel(journal);
        let private = |path: &Path| make_private_directory(path).map_err(|source| io_error(&format!("make {}", path.display()), source));
        private(&self.state)?;
        private(&self.grounds.records)?;
        if sentinel.exists() {
            return Ok(());
        }
        durable::write(&sentinel, format!("{journal}\n").as_bytes(), 0o600)
            .map_err(|source| io_error(&format!("write {}", sentinel.display()), source))
    }

    fn now(&self) -> Result<Now, HostError> {
        Ok(self.clock.now())
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
        observe::observe(&self.layout, self.clock.boot(), ctids).map_err(|source| io_error("look at the containers", source))
    }

    fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError> {
        let locks = ctids.iter().map(|&ctid| take_lock(&self.runtime, ctid)).collect::<Result<Vec<Lock>, LockError>>()?;
        Ok(Lease { locks, keep: None })
    }

    fn allocate(&self, effect: &Effect, lease: &mut Lease) -> Result<(), HostError> {
        if act::needs_a_shim(&effect.intent) {
            let prepared = shim::prepare(&act::place(self, &effect.intent), effect.intent.token).map_err(|error| match error {
                PrepareError::Full { path } => HostError::Full { path },
                PrepareError::Io { path, source } => io_error(&format!("make result files at {}", path.display()), source),
            })?;
            lease.keep = Some(Box::new(prepared));
        }
        Ok(())
    }

    fn carry_out(&self, effect: Recorded<Effect>, lease: Lease) -> Report {
        let prepared = lease.keep.and_then(|kept| kept.downcast::<Prepared>().ok()).map(|prepared| *prepared);
        act::Act::new(self, effect.seq(), effect.epoch(), effect.get(), &lease.locks, prepared).report()
    }

    fn settle(&self, doubt: &Doubt, watch: &dyn Watch) -> Report {
        settle::settle(self, doubt, watch)
    }

    fn traces(&self, spec: &Spec, mark: &Mark) -> Result<Traces, HostError> {
        traces::traces(self, spec, mark)
    }
}

fn take_lock(runtime: &RuntimeDir, ctid: Ctid) -> Result<Lock, LockError> {
    Lock::take(runtime, &Lxc::lock_name(ctid)).map_err(|error| match error {
        crate::shim::LockError::Busy { holders, .. } => {
            let first = holders.first();
            LockError::Busy {
                ctid,
                holder_pid: first.map(|holder| holder.pid),
                holder_command: first.map_or_else(|| "not to be seen from here".to_owned(), |holder| holder.command.clone()),
            }
        }
        crate::shim::LockError::Io { path, source } => LockError::Host(io_error(&format!("take the lock {}", path.display()), source)),
    })
}

fn find_program(name: &str, directories: &[PathBuf]) -> Result<PathBuf, HostError> {
    let found = directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| unusable(&format!("{name} is not installed"), "install the package lxc (lxc-utils), or use --host sim"))
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    durable::sync_directory_of(path)
}

fn unusable(what: &str, remedy: &str) -> HostError {
    HostError::Unusable { what: what.to_owned(), remedy: remedy.to_owned() }
}

fn io_error(what: &str, source: io::Error) -> HostError {
    HostError::Io { what: what.to_owned(), source }
}
