//! Where a command takes place: which journal, which host, which clock.
//!
//! The only place that looks at the machine and the environment for these. Not here: what is done there.

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phoenix_journal::{Binding, JournalError, Reader, WriterInfo};
use tracing::{debug, info};

use crate::driver::Site;
use crate::host::lxc::{LXC_PATH, Lxc, LxcOptions};
use crate::host::pct::{Pct, PctOptions};
use crate::host::sim::{Flow, Sim, WorldOptions};
use crate::host::{Host, HostError};
use crate::ids::HostKind;
use crate::ids::{IdMap, Now};
use crate::journal::SCHEMA;
use crate::manifest::{Checked, Manifest, Surroundings, load, proxmox_idmap, subordinate_idmap};
use crate::report::plain::one_line;
use crate::shim::{Clock, RuntimeDir};

use super::args::{Globals, HostChoice};
use super::blame::CliError;
use super::faults;
use super::screen::{Screen, say};

/// See the module.
#[derive(Debug)]
pub(super) struct Setting {
    /// The arguments that every command takes.
    pub(super) globals: Globals,
    /// Where text goes.
    pub(super) screen: Screen,
    /// The journal's file.
    pub(super) journal: PathBuf,
    /// What the journal belongs to, once somebody has asked; nothing inside if there is no journal.
    bound: OnceCell<Option<Binding>>,
}

/// The seed of a simulated host that is made by the command line: the same world for everybody who tries it.
const SIM_SEED: u64 = 1;
/// Where LXC's programs are; the environment's `PATH` is not root's to trust.
const PROGRAM_DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

impl Setting {
    /// Finds the journal's place.
    pub(super) fn new(globals: Globals, screen: Screen) -> Result<Self, CliError> {
        let journal = match &globals.journal {
            Some(path) if path.as_os_str().is_empty() => {
                return Err(CliError::Usage {
                    what: "--journal and PHOENIX_JOURNAL name a file; an empty name is none".to_owned(),
                    next: None,
                });
            }
            Some(path) => path.clone(),
            None => default_journal()?,
        };
        if let Some(path) = globals.lxc_path.as_ref().filter(|path| !path.is_absolute()) {
            let what = format!("--lxc-path {} is not absolute; write the whole path", path.display());
            return Err(CliError::Usage { what, next: None });
        }
        debug!(journal = %journal.display(), "journal");
        Ok(Self { globals, screen, journal, bound: OnceCell::new() })
    }

    /// The journal for reading; nothing if there is none.
    pub(super) fn reader(&self) -> Result<Option<Reader>, CliError> {
        match Reader::open(&self.journal, &SCHEMA) {
            Ok(reader) => {
                let binding = reader.binding()?;
                self.bound.get_or_init(|| Some(binding));
                Ok(Some(reader))
            }
            Err(JournalError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// From here on as if there were no journal: one that cannot be used is bound to nothing.
    pub(super) fn look_past_the_journal(&self) {
        self.bound.get_or_init(|| None);
    }

    /// The kind of host: as asked for, else what the journal belongs to, else what this machine is.
    pub(super) fn kind(&self) -> Result<HostKind, CliError> {
        let kind = match self.globals.host {
            HostChoice::Lxc => HostKind::Lxc,
            HostChoice::Pct => HostKind::Pct,
            HostChoice::Sim => HostKind::Sim,
            HostChoice::Auto => match self.bound_kind()? {
                Some(kind) => kind,
                None => kind_of_machine()?,
            },
        };
        info!(host = kind.name(), "host");
        Ok(kind)
    }

    fn bound_kind(&self) -> Result<Option<HostKind>, CliError> {
        Ok(self.binding()?.and_then(|binding| HostKind::ALL.into_iter().find(|kind| kind.name() == binding.host)))
    }

    fn binding(&self) -> Result<Option<&Binding>, CliError> {
        if self.bound.get().is_none() {
            let binding = self.reader()?.map(|reader| reader.binding()).transpose()?;
            self.bound.get_or_init(|| binding);
        }
        Ok(self.bound.get().and_then(Option::as_ref))
    }

    /// The host.
    pub(super) fn host(&self) -> Result<Arc<dyn Host>, CliError> {
        match self.kind()? {
            HostKind::Sim => Ok(Arc::new(self.sim()?)),
            HostKind::Lxc => Ok(Arc::new(self.lxc()?)),
            HostKind::Pct => Ok(Arc::new(self.pct()?)),
        }
    }

    /// The simulator, with its world beside the journal.
    fn sim(&self) -> Result<Sim, CliError> {
        let mut options = WorldOptions::seeded(SIM_SEED);
        options.faults = faults::from_env()?;
        Ok(Sim::open(&beside(&self.journal, ".sim"), options, Flow::from_env())?)
    }

    fn lxc(&self) -> Result<Lxc, CliError> {
        let state = beside(&self.journal, ".d");
        let mut options = LxcOptions::new(state);
        options.path = self.lxc_path()?;
        options.protected = self.journal.parent().map(Path::to_owned).into_iter().collect();
        Ok(Lxc::new(options)?)
    }

    fn pct(&self) -> Result<Pct, CliError> {
        let mut options = PctOptions::new(beside(&self.journal, ".d"));
        options.root = pve_root();
        options.protected = self.journal.parent().map(Path::to_owned).into_iter().collect();
        Ok(Pct::new(options)?)
    }

    fn lxc_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.globals.lxc_path {
            return Ok(path.clone());
        }
        let bound = self.binding()?.filter(|binding| binding.host == HostKind::Lxc.name());
        let bound = bound.map(|binding| PathBuf::from(&binding.directory));
        Ok(bound.unwrap_or_else(|| PathBuf::from(LXC_PATH)))
    }

    /// Everything a run needs.
    pub(super) fn site(&self) -> Result<Site, CliError> {
        let host = self.host()?;
        let now = host.now()?;
        let words: Vec<String> = std::env::args_os().map(|word| one_line(&word.to_string_lossy())).collect();
        let writer = WriterInfo {
            pid: std::process::id(),
            command: words.join(" "),
            started_at_ms: now.wall.0,
            boot_id: now.moment.boot.as_str().to_owned(),
        };
        Ok(Site { host, journal: self.journal.clone(), writer, entropy })
    }

    /// What time it is and in which boot, where the journal's host is not to be bothered: nothing if that cannot be told.
    pub(super) fn now(&self) -> Option<Now> {
        match self.kind() {
            Ok(HostKind::Sim) => Sim::glance(&beside(&self.journal, ".sim")),
            Ok(HostKind::Lxc | HostKind::Pct) | Err(_) => Clock::from_env().ok().map(|clock| clock.now()),
        }
    }

    /// Reads, parses and checks a manifest; what will not do what one might think is said on stderr.
    pub(super) fn manifest(&self, path: &Path, kind: HostKind) -> Result<Manifest<Checked>, CliError> {
        let manifest = load(path, &self.surroundings(kind)?).map_err(|problems| CliError::Manifest(Box::new(problems)))?;
        if !manifest.warnings().is_empty() {
            say(&format!("{}\n", manifest.warnings()));
        }
        Ok(manifest)
    }

    /// What a check needs to know of this machine.
    pub(super) fn surroundings(&self, kind: HostKind) -> Result<Surroundings, CliError> {
        let directory = |path: &Path| std::path::absolute(path).ok().and_then(|path| path.parent().map(Path::to_owned));
        let runtime = RuntimeDir::from_env().ok().map(|runtime| runtime.path().to_owned());
        let lxc = (kind == HostKind::Lxc).then(|| self.lxc_path()).transpose()?;
        Ok(Surroundings {
            host: kind,
            root: rustix::process::geteuid().is_root(),
            trust_manifest: self.globals.trust_manifest,
            default_idmap: default_idmap(kind),
            protected: directory(&self.journal).into_iter().chain(runtime).chain(lxc).collect(),
        })
    }
}

/// The map of unprivileged containers for which the manifest names none.
fn default_idmap(kind: HostKind) -> Option<IdMap> {
    match kind {
        HostKind::Pct | HostKind::Sim => Some(proxmox_idmap()),
        HostKind::Lxc => {
            let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
            subordinate_idmap(&read("/etc/subuid"), &read("/etc/subgid"))
        }
    }
}

fn default_journal() -> Result<PathBuf, CliError> {
    if rustix::process::geteuid().is_root() {
        return Ok(PathBuf::from("/var/lib/phoenix/journal.db"));
    }
    let variable = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let state = variable("XDG_STATE_HOME").or_else(|| variable("HOME").map(|home| home.join(".local/state")));
    let nowhere = || CliError::Usage {
        what: "neither XDG_STATE_HOME nor HOME says where the journal is to be; name a file with --journal".to_owned(),
        next: None,
    };
    Ok(state.ok_or_else(nowhere)?.join("phoenix/journal.db"))
}

/// Below what Proxmox's files and programs are: the root, or a test's own.
pub(super) fn pve_root() -> PathBuf {
    std::env::var_os("PHOENIX_PVE_ROOT").filter(|root| !root.is_empty()).map_or_else(|| PathBuf::from("/"), PathBuf::from)
}

/// Whether this machine is a host of the kind.
pub(super) fn machine_is(kind: HostKind) -> bool {
    kind_of_machine().is_ok_and(|found| found == kind)
}

fn kind_of_machine() -> Result<HostKind, CliError> {
    let installed = |name: &str| PROGRAM_DIRECTORIES.iter().any(|directory| Path::new(directory).join(name).exists());
    let pve = pve_root();
    if pve.join("usr/sbin/pct").exists() && pve.join("etc/pve").is_dir() {
        return Ok(HostKind::Pct);
    }
    match (installed("lxc-start"), rustix::process::geteuid().is_root()) {
        (true, true) => Ok(HostKind::Lxc),
        (true, false) => Err(unusable("plain LXC needs root", "run phoenix as root, or try things out with --host sim")),
        (false, _) => Err(unusable("LXC is not installed here", "install the package lxc, or try things out with --host sim")),
    }
}

fn unusable(what: &str, remedy: &str) -> CliError {
    HostError::Unusable { what: what.to_owned(), remedy: remedy.to_owned() }.into()
}

/// `JOURNAL` with a suffix.
fn beside(journal: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(journal);
    name.push(suffix);
    PathBuf::from(name)
}

/// Sixteen fresh random bytes.
fn entropy() -> [u8; 16] {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
    bytes
}
