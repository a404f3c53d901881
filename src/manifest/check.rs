//! From tables to specs: everything that can be known before the host is asked.
//!
//! Apart from reading because these rules need more than one value: defaults, references, the machine, the scripts' files. Each part goes
//! on after a problem and leaves `None` for what it could not resolve, so that all problems come at once and none twice. Not here: the
//! form of single values (`value`), and what the host says.

mod container;
mod graph;
mod network;
mod options;
mod proxmox;
mod scripts;
mod volumes;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::files::Files;
use super::read::Key;
use super::source::{Findings, Span};
use super::spec::Spec;
use super::surroundings::Surroundings;
use super::tables::{ContainerTable, DefaultsTable, FleetTable};
use crate::ids::{Ctid, FleetName};

/// What a manifest without problems comes to.
pub(super) struct Fleet {
    pub(super) name: FleetName,
    pub(super) containers: BTreeMap<Ctid, Spec>,
    pub(super) order: Vec<Ctid>,
    /// Where each container's id stands.
    pub(super) keys: BTreeMap<Ctid, Span>,
}

/// What every part of the check looks at.
struct Context<'a> {
    around: &'a Surroundings,
    /// The directory of the manifest, absolute.
    base: &'a Path,
    defaults: DefaultsTable,
    containers: BTreeMap<Ctid, Entry<'a>>,
}

/// A container of the manifest.
struct Entry<'a> {
    /// Where its id stands.
    key: &'a Span,
    /// What it says; `None` if it could not be read.
    table: Option<&'a ContainerTable>,
}

impl Context<'_> {
    /// A path of the manifest as an absolute one, without `.`.
    fn resolve(&self, path: &Path) -> PathBuf {
        self.base.join(path).components().collect()
    }
}

/// Checks a fleet. `None` if there are problems, here or in what was found before.
pub(super) fn check(fleet: &FleetTable, base: &Path, around: &Surroundings, files: Files, found: &mut Findings) -> Option<Fleet> {
    let context = context(fleet, base, around, found);
    let order = graph::order(&context, found);
    network::unique(&context, found);
    proxmox::nowhere(&context, found);
    let volumes = volumes::Volumes::new(&context, fleet, found);
    let mut scripts = scripts::Scripts::new(&context, files);
    let mut containers = container::Containers::new(&context, &volumes);
    for ctid in &order {
        containers.add(*ctid, &mut scripts, found);
    }
    let (specs, mounted) = containers.finish();
    volumes.finish(fleet, mounted, found);
    if found.count() > 0 {
        return None;
    }
    // A container left out in silence would be the worst of answers, so this is no assertion that a release drops.
    for (ctid, entry) in context.containers.iter().filter(|(ctid, _)| !specs.contains_key(ctid)) {
        found.problem(
            entry.key,
            format!("container {ctid} could not be resolved"),
            "this is a fault of Phoenix; please report it with this manifest",
        );
    }
    if found.count() > 0 {
        return None;
    }
    let name = fleet.fleet.given()?.value.clone();
    let keys = context.containers.iter().map(|(ctid, entry)| (*ctid, entry.key.clone())).collect();
    Some(Fleet { name, containers: specs, order, keys })
}

fn context<'a>(fleet: &'a FleetTable, base: &'a Path, around: &'a Surroundings, found: &mut Findings) -> Context<'a> {
    let mut containers = BTreeMap::new();
    if let Key::Given(given) = &fleet.containers {
        if given.value.whole && given.value.entries.is_empty() {
            found.problem(
                &given.span,
                "the fleet has no containers",
                "add one, such as \"101\": { \"hostname\": \"db\", \"template\": \"debian-12.tar.zst\" }",
            );
        }
        for (name, table) in &given.value.entries {
            containers.insert(name.value, Entry { key: &name.span, table: table.given().map(|at| &at.value) });
        }
    }
    let defaults = fleet.defaults.given().map(|at| at.value.clone()).unwrap_or_default();
    Context { around, base, defaults, containers }
}
