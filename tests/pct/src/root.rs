//! Where everything is: Proxmox's paths under a root of the test's own.
//!
//! Not here: what stands in the files.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::died::{Died, Outcome};

/// The id of a container or of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vmid(u32);

impl Vmid {
    /// Any number; whether it is an id is for [`FromStr`] to say.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }
}

impl fmt::Display for Vmid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Vmid {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number: u64 = text.parse().map_err(|_| format!("type check ('integer') failed - got '{text}'"))?;
        let found = u32::try_from(number).ok().filter(|number| (100..=999_999_999).contains(number));
        found.map(Self).ok_or_else(|| "invalid format - value does not look like a valid VM ID\n".to_owned())
    }
}

/// A test's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root(PathBuf);

/// Where the programs are under the root, and the hooks of LXC's configuration.
pub(crate) const PROGRAMS: &str = "usr/sbin";
pub(crate) const MANAGER_PROGRAMS: &str = "usr/bin";
pub(crate) const HOOKS: &str = "usr/share/lxc/hooks";

impl Root {
    /// The root at this path, which need not exist yet.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The root that this program stands in. Installed as a file of its own, so that the kernel's word for it is not a link's.
    pub(crate) fn of_this_program() -> Outcome<Self> {
        let program = std::env::current_exe().map_err(|error| Died::new(format!("cannot find this program: {error}")))?;
        let directory = program.parent().unwrap_or(Path::new("/"));
        let found = [PROGRAMS, MANAGER_PROGRAMS, HOOKS].iter().find(|place| directory.ends_with(place));
        let up = found.map(|place| Path::new(place).components().count());
        let root = up.and_then(|up| directory.ancestors().nth(up));
        let text = "the pct for tests has to be installed into a root, as ROOT/usr/sbin/pct";
        root.map(|root| Self(root.to_owned())).ok_or_else(|| Died::new(format!("{text}; it is {}", program.display())))
    }

    /// The root itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A path under it.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// `/etc/pve/lxc/ID.conf`.
    pub fn conf(&self, id: Vmid) -> PathBuf {
        self.join(format!("etc/pve/lxc/{id}.conf"))
    }

    /// LXC's own directory, its `-P`.
    pub fn lxc_path(&self) -> PathBuf {
        self.join("var/lib/lxc")
    }

    /// `/var/lib/lxc/ID`.
    pub fn lxc(&self, id: Vmid) -> PathBuf {
        self.lxc_path().join(id.to_string())
    }

    /// Where the volumes of a container that is being worked on are mounted.
    pub fn mounted(&self, id: Vmid) -> PathBuf {
        self.lxc(id).join("rootfs")
    }

    /// The lock that a change of a configuration holds.
    pub fn config_lock(&self, id: Vmid) -> PathBuf {
        self.join(format!("run/lock/lxc/pve-config-{id}.lock"))
    }

    /// A file of the fake's own: faults, delays, calls.
    pub fn test(&self, name: &str) -> PathBuf {
        self.join("test").join(name)
    }

    /// The name of this node.
    pub fn node(&self) -> String {
        let members = fs::read_to_string(self.join("etc/pve/.members")).unwrap_or_default();
        let named = members.split("\"nodename\"").nth(1).and_then(|rest| rest.split('"').nth(1));
        named.unwrap_or("localhost").to_owned()
    }

    /// Every container with a configuration, in order.
    pub fn containers(&self) -> Vec<Vmid> {
        ids_in(&self.join("etc/pve/lxc"))
    }
}

/// The ids that configuration files in a directory are named by.
pub(crate) fn ids_in(directory: &Path) -> Vec<Vmid> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".conf")?.parse().ok());
    let mut ids: Vec<Vmid> = ids.collect();
    ids.sort_unstable();
    ids
}
