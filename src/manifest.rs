//! The manifest: from text to checked data.
//!
//! `Manifest<Parsed>` is what the text says, with positions; `Manifest<Checked>` is what planning takes, and only
//! `check` makes one. All problems are reported at once, each with file, line, column, what is wrong and what to write.
//! Not here: what the host looks like, and what has been done already.

mod check;
mod claims;
mod entries;
mod files;
mod json;
mod period;
mod problem;
mod proxmox;
mod read;
mod schema;
mod source;
mod spec;
mod surroundings;
mod table;
mod tables;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::ids::{Ctid, FleetName};

use files::{Files, Refusal};
use json::NotJson;
use source::{Findings, Source, Span};
use tables::FleetTable;

pub use claims::{HostOwner, VolumeClaim, volume_conflicts};
pub use json::{MANIFEST_BYTES_MAX, MANIFEST_DEPTH_MAX};
pub use problem::{Excerpt, PROBLEMS_SHOWN_MAX, Place, Problem, Problems, Warnings};
pub use schema::schema;
pub use spec::{
    Address, Autostart, Device, EnvValue, Feature, Firewall, FirewallPolicy, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin,
    Owner, Ownership, Ready, ReadyProbe, Resources, SCRIPT_BYTES_MAX, Script, Spec, Template, Volume,
};
pub use surroundings::{DEFAULT_IDMAP_COUNT, SYSTEM_DIRECTORIES, Surroundings, proxmox_idmap, subordinate_idmap};

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
pub struct Parsed {
    /// `None` if the top is no object, which is then among the findings.
    fleet: Option<FleetTable>,
    found: Findings,
}

/// The condition of a manifest without problems.
#[derive(Clone, Debug)]
pub struct Checked {
    fleet: FleetName,
    containers: BTreeMap<Ctid, Spec>,
    order: Vec<Ctid>,
    warnings: Warnings,
    source: Source,
    keys: BTreeMap<Ctid, Span>,
}

/// Reads the file, parses and checks it.
pub fn load(path: &Path, around: &Surroundings) -> Result<Manifest<Checked>, Problems> {
    let refuse = |Refusal { what, remedy }| whole_file(path, &format!("the manifest {what}"), &remedy);
    let place =
        std::path::absolute(path).map_err(|error| whole_file(path, &format!("the manifest cannot be named: {error}"), "check the path"))?;
    let bytes = Files::new(around).read(&place, MANIFEST_BYTES_MAX).map_err(refuse)?;
    parse(&bytes, path)?.check(around)
}

/// Takes the bytes of a manifest; `path` names it in messages, and paths in it are relative to its directory. Pure, and fails only where
/// there is no JSON to go on with.
pub fn parse(bytes: &[u8], path: &Path) -> Result<Manifest<Parsed>, Problems> {
    let not_json = |NotJson { found, what, remedy }| match found {
        Some(found) => problems(path, *found),
        None => whole_file(path, &what, &remedy),
    };
    let text = json::text(bytes).map_err(not_json)?;
    let tree = json::tree(text).map_err(not_json)?;
    let mut found = Findings::new(Source::new(text));
    let fleet = read::read_at(&tree, "the manifest", &mut found).map(|at| at.value);
    Ok(Manifest { path: path.to_owned(), condition: Parsed { fleet, found } })
}

fn whole_file(path: &Path, what: &str, remedy: &str) -> Problems {
    Problems::new(&path.to_string_lossy(), vec![Problem::new(None, what, remedy)])
}

/// What was found, with places; if that is nothing, then the manifest could not be placed in the file system.
fn problems(path: &Path, found: Findings) -> Problems {
    let (problems, _) = found.finish();
    if problems.is_empty() {
        return whole_file(path, "the manifest's directory is not known", "name it by an absolute path");
    }
    Problems::new(&path.to_string_lossy(), problems)
}

impl Manifest<Parsed> {
    /// Checks everything that can be known before the host is asked, and reads the scripts. Reports what [`parse`] found along with its own.
    pub fn check(self, around: &Surroundings) -> Result<Manifest<Checked>, Problems> {
        let Self { path, condition: Parsed { fleet, mut found } } = self;
        let checked = fleet.and_then(|fleet| {
            let base = std::path::absolute(&path).ok()?.parent()?.to_owned();
            check::check(&fleet, &base, around, Files::new(around), &mut found)
        });
        let Some(check::Fleet { name, containers, order, keys }) = checked else {
            return Err(problems(&path, found));
        };
        let source = found.source();
        let warnings = Warnings::new(&path.to_string_lossy(), found.finish().1);
        Ok(Manifest { path, condition: Checked { fleet: name, containers, order, warnings, source, keys } })
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

    /// What a host has against containers of this fleet, each as what is wrong and what to do, as problems of the manifest: with
    /// the places where the containers stand. `None` if there is nothing.
    pub fn refused(&self, objections: impl IntoIterator<Item = (Ctid, String, String)>) -> Option<Problems> {
        let mut found = Findings::new(self.condition.source.clone());
        for (ctid, what, remedy) in objections {
            let whole = 0..0;
            found.problem(self.condition.keys.get(&ctid).unwrap_or(&whole), format!("container {ctid}: {what}"), remedy);
        }
        let (problems, _) = found.finish();
        (!problems.is_empty()).then(|| Problems::new(&self.path.to_string_lossy(), problems))
    }

    /// What will not do what one might think.
    pub fn warnings(&self) -> &Warnings {
        &self.condition.warnings
    }
}

#[cfg(test)]
mod tests;
