//! Names of Proxmox's files and programs.
//!
//! The one place that knows them, all below one root, so that a test can have a node of its own. Not here: reading or writing.

use std::path::{Path, PathBuf};

use crate::ids::Ctid;

/// Where programs are, in the order looked: `pct` and `pvesm` in the first, `pveam`, `pvesh` and `pveversion` in the second.
const PROGRAM_PLACES: [&str; 2] = ["usr/sbin", "usr/bin"];

/// A root (`/`) and what lies where below it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    lxc_path: PathBuf,
}

impl Layout {
    /// The layout below `root`.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { lxc_path: root.join("var/lib/lxc"), root }
    }

    /// The root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The cluster's file system.
    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.join("etc/pve")
    }

    /// Where the cluster's file system keeps its database.
    pub(crate) fn database(&self) -> PathBuf {
        self.root.join("var/lib/pve-cluster")
    }

    /// Who is in the cluster; made up by its file system, so that it is missing where that is not mounted.
    pub(crate) fn members(&self) -> PathBuf {
        self.root.join("etc/pve/.members")
    }

    /// Every guest of the cluster.
    pub(crate) fn vmlist(&self) -> PathBuf {
        self.root.join("etc/pve/.vmlist")
    }

    /// Where the configurations of this node's containers are.
    pub(crate) fn configs(&self) -> PathBuf {
        self.root.join("etc/pve/lxc")
    }

    /// One container's configuration.
    pub(crate) fn config(&self, ctid: Ctid) -> PathBuf {
        self.configs().join(format!("{ctid}.conf"))
    }

    /// The lock that every change of a configuration holds.
    pub(crate) fn config_lock(&self, ctid: Ctid) -> PathBuf {
        self.root.join(format!("run/lock/lxc/pve-config-{ctid}.lock"))
    }

    /// The storages.
    pub(crate) fn storages(&self) -> PathBuf {
        self.root.join("etc/pve/storage.cfg")
    }

    /// What high availability manages.
    pub(crate) fn ha_resources(&self) -> PathBuf {
        self.root.join("etc/pve/ha/resources.cfg")
    }

    /// One container's firewall.
    pub(crate) fn firewall(&self, ctid: Ctid) -> PathBuf {
        self.root.join(format!("etc/pve/firewall/{ctid}.fw"))
    }

    /// Where the tasks' lists and logs are.
    pub(crate) fn tasks(&self) -> PathBuf {
        self.root.join("var/log/pve/tasks")
    }

    /// LXC's container directory (`-P`).
    pub(crate) fn lxc_path(&self) -> &Path {
        &self.lxc_path
    }

    /// LXC's directory of one container. Proves nothing: it outlives the container.
    pub(crate) fn lxc(&self, ctid: Ctid) -> PathBuf {
        self.lxc_path.join(ctid.to_string())
    }

    /// Where Proxmox mounts a container's root file system while it works on it.
    pub(crate) fn rootfs(&self, ctid: Ctid) -> PathBuf {
        self.lxc(ctid).join("rootfs")
    }

    /// Users, groups and pools.
    pub(crate) fn users(&self) -> PathBuf {
        self.root.join("etc/pve/user.cfg")
    }

    /// What is installed.
    pub(crate) fn packages(&self) -> PathBuf {
        self.root.join("var/lib/dpkg/status")
    }

    /// A program of Proxmox's; where there is none, the place that it is missed at.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        let places = PROGRAM_PLACES.map(|place| self.root.join(place).join(name));
        let found = places.iter().find(|path| path.is_file()).or(places.first());
        found.cloned().unwrap_or_default()
    }
}
