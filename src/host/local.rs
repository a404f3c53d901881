//! What every backend on this kernel shares, whoever defines its containers: processes, control groups, questions whether a
//! container is ready, scripts inside, shared directories, the way through the shim, and the shape of recovery.
//!
//! Apart from the backends because none of it depends on where a container's configuration lies. A backend supplies a
//! [`Backend`]: its layout, its mark, its own steps and how they are looked at. Not here: configuration files, creation,
//! attaching and destruction, which every backend does its own way.

pub(super) mod act;
pub(super) mod cgroup;
pub(super) mod durable;
pub(super) mod inside;
pub(super) mod life;
pub(super) mod monitor;
mod mounted;
pub(super) mod mountinfo;
pub(super) mod proc;
mod ready;
mod script;
pub(super) mod settle;
pub(super) mod template;
pub(super) mod traces;
pub(super) mod vet;
mod volume;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use phoenix_journal::Recorded;

use crate::ids::{Ctid, HostKind, IdMap};
use crate::machine::Report;
use crate::plan::{Effect, Intent};
use crate::shim::{self, Clock, JobResult, Lock, LockName, PrepareError, Prepared, RuntimeDir, ShimBinary};

use super::ownership::Grounds;
use super::{HostError, Lease, LockError};

use act::{Act, Taken};
use life::Up;

/// What a backend on this kernel adds to what is shared.
pub(super) trait Backend: Sized {
    /// What is shared.
    fn local(&self) -> &Local;

    /// Whether a step always has a child, so that space for its result is allocated before the intent. Others have one at most
    /// on some systems, or none.
    fn needs_a_shim(&self, intent: &Intent) -> bool;

    /// Takes hold of what runs of one container.
    fn up(&self, ctid: Ctid) -> io::Result<Up>;

    /// Where the host sees a container's root file system just now, without what the container mounts; nothing if it is out
    /// of reach. What lies there is the container's to forge.
    fn rootfs(&self, ctid: Ctid) -> Option<PathBuf>;

    /// Whether the container is there and bears our mark. To be asked under its lock, just before acting.
    fn check_mark(act: &Act<'_, Self>) -> Taken<()>;

    /// The map that the configuration asks for, if it asks for any.
    fn configured_idmap(act: &Act<'_, Self>) -> Taken<Option<IdMap>>;

    /// Carries the effect out.
    fn take(act: &Act<'_, Self>) -> Taken;

    /// What a worker of this intent is told by, if it leaves the shim's session; see [`shim::Inquiry::tasks`].
    fn tasks(&self, intent: &Intent) -> Vec<String>;

    /// The verdict on a step in doubt, with what its child left. Changes nothing.
    fn probe(act: &Act<'_, Self>, result: Option<&JobResult>) -> Taken;
}

/// This machine, as every backend on it needs it.
#[derive(Debug)]
pub(super) struct Local {
    /// The backend's kind, by which locks are named.
    pub(super) kind: HostKind,
    /// LXC's container directory (`-P`).
    pub(super) lxc_path: PathBuf,
    /// `lxc-attach`, absolute.
    pub(super) lxc_attach: PathBuf,
    /// Locks and results of this boot.
    pub(super) runtime: RuntimeDir,
    /// Results of scripts and notes about shared directories; beside the journal.
    pub(super) state: PathBuf,
    /// What time it is, in which boot.
    pub(super) clock: Clock,
    /// Which program becomes the shim.
    pub(super) shim: ShimBinary,
    /// Where shared directories may not lie, and what is known of those that were prepared.
    pub(super) grounds: Grounds,
    /// How long programs of the host get between `SIGTERM` and `SIGKILL`.
    pub(super) grace: Duration,
}

/// Where things are, as a backend's own options say.
#[derive(Clone, Debug)]
pub(super) struct Places {
    /// The backend's kind.
    pub(super) kind: HostKind,
    /// LXC's container directory.
    pub(super) lxc_path: PathBuf,
    /// Locks and results of this boot, if not where they are by default.
    pub(super) runtime: Option<PathBuf>,
    /// Results of scripts.
    pub(super) state: PathBuf,
    /// What names the boot, if not the kernel.
    pub(super) boot_id_file: Option<PathBuf>,
    /// Which program becomes the shim.
    pub(super) shim: ShimBinary,
    /// Where programs are looked for, in order.
    pub(super) programs: Vec<PathBuf>,
    /// Directories that containers must not share, beside LXC's, the runtime's and the state's.
    pub(super) protected: Vec<PathBuf>,
    /// Whether shared directories are mounted as the container's root.
    pub(super) container_mounts: bool,
    /// How long programs of the host get between `SIGTERM` and `SIGKILL`.
    pub(super) grace: Duration,
}

/// Where programs are looked for; the environment's `PATH` is not root's to trust.
pub(super) const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];
/// What names this node (`machine-id(5)`).
const MACHINE_ID: &str = "/etc/machine-id";

impl Local {
    /// Looks at this machine. Whoever asks must be root.
    pub(super) fn new(places: Places) -> Result<Self, HostError> {
        let Places { kind, lxc_path, runtime, state, boot_id_file, shim, programs, protected, container_mounts, grace } = places;
        let runtime = match runtime {
            Some(path) => RuntimeDir::at(path),
            None => RuntimeDir::from_env(),
        }
        .map_err(|error| unusable(&act::chain(&error), "name another with PHOENIX_RUNTIME_DIR"))?;
        let clock = match &boot_id_file {
            Some(file) => Clock::from_file(file),
            None => Clock::from_env(),
        }
        .map_err(|source| io_error("read the boot id", source))?;
        let lxc_attach = find_program("lxc-attach", &programs, kind)?;
        let own = [lxc_path.clone(), runtime.path().to_owned(), state.clone()].into_iter().chain(protected).collect();
        let grounds = Grounds { own, container_mounts, records: state.join("volumes") };
        Ok(Self { kind, lxc_path, lxc_attach, runtime, state, clock, shim, grounds, grace })
    }

    /// The lock of one container.
    pub(super) fn lock_name(&self, ctid: Ctid) -> LockName {
        LockName::Container { backend: self.kind.name(), ctid }
    }

    /// Takes the locks of the given containers, in the order given, without waiting.
    pub(super) fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError> {
        let locks = ctids.iter().map(|&ctid| self.take_lock(ctid)).collect::<Result<_, _>>()?;
        Ok(Lease { locks, keep: None })
    }

    fn take_lock(&self, ctid: Ctid) -> Result<Lock, LockError> {
        Lock::take(&self.runtime, &self.lock_name(ctid)).map_err(|error| match error {
            shim::LockError::Busy { holders, .. } => {
                let first = holders.first();
                LockError::Busy {
                    ctid,
                    holder_pid: first.map(|holder| holder.pid),
                    holder_command: first.map_or_else(|| "not to be seen from here".to_owned(), |holder| holder.command.clone()),
                }
            }
            shim::LockError::Io { path, source } => LockError::Host(io_error(&format!("take the lock {}", path.display()), source)),
        })
    }

    /// Makes the directories of our own.
    pub(super) fn settle_in(&self) -> Result<(), HostError> {
        [&self.state, &self.grounds.records]
            .into_iter()
            .try_for_each(|path| make_private_directory(path).map_err(|source| io_error(&format!("make {}", path.display()), source)))
    }
}

/// Allocates what the child of `effect` will have to write.
pub(super) fn allocate<B: Backend>(host: &B, effect: &Effect, lease: &mut Lease) -> Result<(), HostError> {
    if host.needs_a_shim(&effect.intent) {
        let prepared = shim::prepare(&act::place(host.local(), &effect.intent), effect.intent.token).map_err(|error| match error {
            PrepareError::Full { path } => HostError::Full { path },
            PrepareError::Io { path, source } => io_error(&format!("make result files at {}", path.display()), source),
        })?;
        lease.keep = Some(Box::new(prepared));
    }
    Ok(())
}

/// Carries out one recorded effect under its locks.
pub(super) fn carry_out<B: Backend>(host: &B, effect: &Recorded<Effect>, lease: Lease) -> Report {
    let prepared = lease.keep.and_then(|kept| kept.downcast::<Prepared>().ok()).map(|prepared| *prepared);
    Act::new(host, effect.seq(), effect.epoch(), effect.get(), &lease.locks, prepared).report()
}

/// What names this node.
pub(super) fn machine_id() -> Result<String, HostError> {
    let text = std::fs::read_to_string(MACHINE_ID).map_err(|source| io_error(&format!("read {MACHINE_ID}"), source))?;
    Ok(text.trim().to_owned())
}

/// A program of LXC, absolute.
pub(super) fn find_program(name: &str, directories: &[PathBuf], kind: HostKind) -> Result<PathBuf, HostError> {
    let found = directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file());
    let remedy = match kind {
        // Debian's package of that name would put Proxmox's aside.
        HostKind::Pct => "install the package lxc-pve again (not lxc)",
        HostKind::Lxc | HostKind::Sim => "install the package lxc (lxc-utils), or use --host sim",
    };
    found.ok_or_else(|| unusable(&format!("{name} is not installed"), remedy))
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    durable::sync_directory_of(path)
}

pub(super) fn unusable(what: &str, remedy: &str) -> HostError {
    HostError::Unusable { what: what.to_owned(), remedy: remedy.to_owned() }
}

pub(super) fn io_error(what: &str, source: io::Error) -> HostError {
    HostError::Io { what: what.to_owned(), source }
}
