//! The manifest: from text to checked data.
//!
//! `Manifest<Parsed>` is what the text says, with positions; `Manifest<Checked>` is what planning takes, and only
//! `check` makes one. All problems are reported at once, each with file, line, column, what is wrong and what to write.
//! Not here: what the host looks like, and what has been done already.

mod problem;
mod spec;
mod surroundings;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ids::{Ctid, FleetName};

pub use problem::{Excerpt, PROBLEMS_SHOWN_MAX, Place, Problem, Problems, Warnings};
pub use spec::{
    Address, Autostart, EnvValue, Feature, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin, Owner, Ownership, Ready, ReadyProbe,
    Resources, SCRIPT_BYTES_MAX, Script, Spec, Template, Volume,
};
pub use surroundings::{DEFAULT_IDMAP_COUNT, HostKind, HostKindError, SYSTEM_DIRECTORIES, Surroundings, proxmox_idmap, subordinate_idmap};

/// A fleet as written down, in one of two conditions: [`Parsed`] or [`Checked`].
///
/// Calling contract: [`load`] does all of it. In parts: [`parse`] turns bytes into a `Manifest<Parsed>` and fails only where there
/// is no JSON to go on with; [`Manifest::check`] then reports everything else at once.
#[derive(Clone, Debug)]
pub struct Manifest<C> {
    path: PathBuf,
    condition: C,
}

/// The condition of a manifest that is JSON; what it says may still be wrong.
#[derive(Clone, Debug)]
pub struct Parsed {}

/// The condition of a manifest without problems.
#[derive(Clone, Debug)]
pub struct Checked {
    fleet: FleetName,
    containers: BTreeMap<Ctid, Spec>,
    order: Vec<Ctid>,
    warnings: Warnings,
}

/// Reads the file, parses and checks it.
pub fn load(path: &Path, around: &Surroundings) -> Result<Manifest<Checked>, Problems> {
    let _ = around;
    Err(Problems::new(&path.to_string_lossy(), vec![Problem::new(None, "manifests are not read yet", "wait")]))
}

/// Takes the bytes of a manifest; `path` names it in messages, and paths in it are relative to its directory. Pure.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Manifest<Parsed>, Problems> {
    let _ = bytes;
    Ok(Manifest { path: path.to_owned(), condition: Parsed {} })
}

impl Manifest<Parsed> {
    /// Checks everything that can be known before the host is asked, and reads the scripts.
    pub fn check(self, around: &Surroundings) -> Result<Manifest<Checked>, Problems> {
        load(&self.path, around)
    }
}

impl<C> Manifest<C> {
    /// Where it was read from, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Manifest<Checked> {
    /// The fleet's name.
    pub fn fleet(&self) -> &FleetName {
        &self.condition.fleet
    }

    /// Every container, resolved.
    pub fn containers(&self) -> &BTreeMap<Ctid, Spec> {
        &self.condition.containers
    }

    /// The containers with every one after those it depends on; the order is the same for the same manifest.
    pub fn order(&self) -> &[Ctid] {
        &self.condition.order
    }

    /// What will not do what one might think.
    pub fn warnings(&self) -> &Warnings {
        &self.condition.warnings
    }
}
