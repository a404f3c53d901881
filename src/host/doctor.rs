//! Is this machine fit to be a host? Each finding with what to do about it.
//!
//! Apart from the backends because it has to answer where none can be made: nothing is assumed, everything is looked at, and one
//! part that cannot be looked at keeps no other from being. Changes nothing. What each kind of host needs beside what all do
//! stands with its backend. Not here: tables and exit codes.

mod machine;
mod place;

use std::path::{Path, PathBuf};

use crate::ids::{HostKind, IdMap};

use super::{lxc, pct};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// The kind of host that the machine is to be.
    pub kind: HostKind,
    /// The journal's file, whether or not it is there.
    pub journal: &'a Path,
    /// The container directory of plain LXC.
    pub lxc_path: &'a Path,
    /// Below what Proxmox's files and programs are.
    pub pve_root: &'a Path,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is about.
    pub topic: Topic,
    /// Whether it is in the way.
    pub level: Level,
    /// What was found.
    pub what: String,
    /// What to do; nothing where all is well.
    pub remedy: Option<String>,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// Who runs Phoenix.
    User,
    /// The cluster that the node belongs to.
    Cluster,
    /// Programs that are called.
    Programs,
    /// Which versions are installed.
    Versions,
    /// What the kernel can.
    Kernel,
    /// Limits of memory and processor time.
    Cgroups,
    /// Ids that may be mapped.
    Ids,
    /// Time and boot.
    Clock,
    /// Bridges.
    Network,
    /// Where containers lie.
    Storages,
    /// What containers are made from.
    Templates,
    /// Who else starts and stops containers.
    Availability,
    /// Where the journal lies.
    Journal,
}

/// Whether a finding is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Good,
    /// Some fleets will not do, or soon.
    Warning,
    /// No fleet will do.
    Bad,
}

impl Topic {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Cluster => "cluster",
            Self::Programs => "programs",
            Self::Versions => "versions",
            Self::Kernel => "kernel",
            Self::Cgroups => "cgroups",
            Self::Ids => "ids",
            Self::Clock => "clock",
            Self::Network => "network",
            Self::Storages => "storages",
            Self::Templates => "templates",
            Self::Availability => "availability",
            Self::Journal => "journal",
        }
    }
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// Looks at this machine; findings of one topic stand together.
pub fn examine(patient: &Patient<'_>) -> Vec<Finding> {
    let mut found = Findings::default();
    match patient.kind {
        HostKind::Sim => found.good(Topic::Programs, "the simulator needs nothing of this machine"),
        HostKind::Lxc => {
            machine::examine(&mut found, Path::new("/"), "make one, as `ip link add vmbr0 type bridge`");
            machine::default_ids(&mut found);
            lxc::doctor::examine(&mut found, patient.lxc_path);
        }
        HostKind::Pct => {
            machine::examine(&mut found, patient.pve_root, pct::doctor::MAKE_A_BRIDGE);
            pct::doctor::examine(&mut found, patient.pve_root);
        }
    }
    place::journal(&mut found, patient.journal);
    let Findings(mut found) = found;
    found.sort_by_key(|finding| finding.topic);
    found
}

/// Where findings are gathered.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// As it should be.
    pub(super) fn good(&mut self, topic: Topic, what: impl Into<String>) {
        self.0.push(Finding { topic, level: Level::Good, what: what.into(), remedy: None });
    }

    /// In the way of some fleets.
    pub(super) fn warning(&mut self, topic: Topic, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { topic, level: Level::Warning, what: what.into(), remedy: Some(remedy.into()) });
    }

    /// In the way of all.
    pub(super) fn bad(&mut self, topic: Topic, what: impl Into<String>, remedy: impl Into<String>) {
        self.0.push(Finding { topic, level: Level::Bad, what: what.into(), remedy: Some(remedy.into()) });
    }

    /// Whether programs are there, each absolute; `package` brings them.
    pub(super) fn programs(&mut self, programs: &[PathBuf], package: &str) {
        let missing: Vec<String> = programs.iter().filter(|path| !path.is_file()).map(|path| path.display().to_string()).collect();
        if missing.is_empty() {
            let names: Vec<_> = programs.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
            self.good(Topic::Programs, format!("found {}", names.join(", ")));
        } else {
            self.bad(Topic::Programs, format!("missing: {}", missing.join(", ")), format!("install the package {package}"));
        }
    }

    /// A map that every container gets; `missing` says what of it root may not give.
    pub(super) fn ids(&mut self, map: &IdMap, missing: Option<String>) {
        match missing {
            None => self.good(Topic::Ids, format!("unprivileged containers get {map}")),
            Some(what) => self.bad(Topic::Ids, what, machine::ADD_IDS),
        }
    }

    /// How much room there is at a place.
    pub(super) fn room(&mut self, topic: Topic, what: &str, path: &Path, scant: u64, none: u64) {
        place::room(self, topic, what, path, scant, none);
    }
}
