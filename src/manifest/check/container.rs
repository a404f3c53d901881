//! One container after another: defaults applied, what a clone has from its source, and the spec.
//!
//! Apart because it is where all parts of a container meet. Containers come in the order of their dependencies, so a clone finds its source
//! resolved. Not here: rules about several containers, but for clone and source.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::super::read::{Key, Reported, Whole};
use super::super::source::{At, Findings, Span};
use super::super::spec::{Origin, Resources, Spec, Template};
use super::super::tables::{ContainerTable, MEMORY_MB};
use super::Context;
use super::network::nics;
use super::options::{autostart, host_options};
use super::proxmox::{proxmox_only, unguarded};
use super::scripts::{Scripts, health, ready};
use super::volumes::{Mounted, Volumes};
use crate::ids::HostKind;
use crate::ids::{Ctid, IdKind, IdMap};

/// What Proxmox takes for a template by its name.
const TEMPLATE_ENDINGS: [&str; 5] = [".tar", ".tar.gz", ".tar.xz", ".tar.zst", ".tar.bz2"];

/// The containers resolved so far.
pub(super) struct Containers<'a> {
    context: &'a Context<'a>,
    volumes: &'a Volumes,
    /// For each clone source, the smallest of its clones.
    clones: BTreeMap<Ctid, Ctid>,
    identities: BTreeMap<Ctid, Identity>,
    /// Templates looked for on the disk, and what is wrong with them.
    templates: BTreeMap<PathBuf, Option<String>>,
    /// Whether it was said that the machine gives no id map.
    without_map_said: bool,
    mounted: Vec<Mounted>,
    specs: BTreeMap<Ctid, Spec>,
}

/// What a clone has from its source, and who it is; `None` for what could not be resolved.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) ctid: Ctid,
    pub(super) cloned_by: Option<Ctid>,
    pub(super) idmap: Option<IdMap>,
    unprivileged: Option<bool>,
    disk_gb: Result<Option<u32>, Reported>,
}

impl<'a> Containers<'a> {
    pub(super) fn new(context: &'a Context<'a>, volumes: &'a Volumes) -> Self {
        let mut clones = BTreeMap::new();
        for (ctid, entry) in &context.containers {
            if let Some(source) = entry.table.and_then(|table| table.clone_from.given()) {
                clones.entry(source.value).or_insert(*ctid);
            }
        }
        Self {
            context,
            volumes,
            clones,
            identities: BTreeMap::new(),
            templates: BTreeMap::new(),
            without_map_said: false,
            mounted: Vec::new(),
            specs: BTreeMap::new(),
        }
    }

    /// Resolves one container; those it depends on come before.
    pub(super) fn add(&mut self, ctid: Ctid, scripts: &mut Scripts<'_>, found: &mut Findings) {
        let Some(entry) = self.context.containers.get(&ctid) else { return };
        let Some(table) = entry.table else { return };
        let who = self.identity(ctid, table, entry.key, found);
        let spec = self.spec(&who, table, entry.key, scripts, found);
        self.identities.insert(ctid, who);
        self.specs.extend(spec.map(|spec| (ctid, spec)));
    }

    /// The specs, and every volume in every container.
    pub(super) fn finish(self) -> (BTreeMap<Ctid, Spec>, Vec<Mounted>) {
        (self.specs, self.mounted)
    }

    fn identity(&mut self, ctid: Ctid, table: &ContainerTable, key: &Span, found: &mut Findings) -> Identity {
        let source = table.clone_from.given().and_then(|source| self.identities.get(&source.value)).cloned();
        let is_clone = !table.clone_from.is_absent();
        let unprivileged = self.unprivileged(table, is_clone, source.as_ref(), found);
        let idmap = self.idmap(ctid, table, key, (is_clone, source.as_ref(), unprivileged), found);
        let disk_gb = self.disk(table, is_clone, source.as_ref(), found);
        Identity { ctid, cloned_by: self.clones.get(&ctid).copied(), idmap, unprivileged, disk_gb }
    }

    fn unprivileged(&self, table: &ContainerTable, is_clone: bool, source: Option<&Identity>, found: &mut Findings) -> Option<bool> {
        match &table.unprivileged {
            Key::Absent if is_clone => source?.unprivileged,
            own @ (Key::Absent | Key::Bad | Key::Given(_)) => {
                let value = own.or(&self.context.defaults.unprivileged).value_or(true)?;
                if let (Some(source), Some(at)) = (source, own.given())
                    && source.unprivileged.is_some_and(|theirs| theirs != value)
                {
                    let (is, was) = if value { ("unprivileged", "privileged") } else { ("privileged", "unprivileged") };
                    let what = format!("this clone is {is}, but its source {} is {was}", source.ctid);
                    found.problem(&at.span, what, "leave `unprivileged` out; a clone is as its source");
                    return None;
                }
                Some(value)
            }
        }
    }

    fn idmap(
        &mut self,
        ctid: Ctid,
        table: &ContainerTable,
        key: &Span,
        (is_clone, source, unprivileged): (bool, Option<&Identity>, Option<bool>),
        found: &mut Findings,
    ) -> Option<IdMap> {
        match (&table.idmap, unprivileged?) {
            (Key::Bad, _) => None,
            (Key::Absent, false) => Some(IdMap::identity()),
            (Key::Given(own), false) => {
                found.problem(&own.span, "a privileged container has no id map", "leave `idmap` out, or make the container unprivileged");
                None
            }
            (Key::Absent, true) if is_clone => source?.idmap.clone(),
            (Key::Absent, true) => match &self.context.defaults.idmap {
                Key::Bad => None,
                Key::Given(at) => sound(&at.value.0, &at.span, found),
                Key::Absent => self.machine_map(ctid, key, found),
            },
            (Key::Given(own), true) => {
                if let Some(source) = source
                    && source.idmap.as_ref().is_some_and(|theirs| *theirs != own.value.0)
                {
                    let what = format!("this clone has another id map than its source {}", source.ctid);
                    found.problem(&own.span, what, "leave `idmap` out; a clone has its source's");
                    return None;
                }
                sound(&own.value.0, &own.span, found)
            }
        }
    }

    fn machine_map(&mut self, ctid: Ctid, key: &Span, found: &mut Findings) -> Option<IdMap> {
        let map = self.context.around.default_idmap.clone();
        if map.is_none() && !std::mem::replace(&mut self.without_map_said, true) {
            let what = format!("container {ctid} is unprivileged and has no `idmap`, and root has no range of 65536 ids on this machine");
            found.problem(key, what, "add the line root:100000:65536 to /etc/subuid and /etc/subgid, or write `idmap`");
        }
        map
    }

    fn disk(
        &self,
        table: &ContainerTable,
        is_clone: bool,
        source: Option<&Identity>,
        found: &mut Findings,
    ) -> Result<Option<u32>, Reported> {
        let own = &table.disk_gb;
        if is_clone && own.is_absent() {
            return source.ok_or(Reported)?.disk_gb;
        }
        let size = own.or(&self.context.defaults.disk_gb).optional()?.map(|Whole(size)| size);
        if let (Some(source), Some(size), Some(at)) = (source, size, own.given())
            && let Ok(Some(theirs)) = source.disk_gb
            && size < theirs
        {
            let what = format!("this clone's disk of {size} GiB is smaller than the {theirs} GiB of its source {}", source.ctid);
            found.problem(&at.span, what, format!("write {theirs} or more; disks only grow"));
            return Err(Reported);
        }
        Ok(size)
    }

    fn spec(
        &mut self,
        who: &Identity,
        table: &ContainerTable,
        key: &Span,
        scripts: &mut Scripts<'_>,
        found: &mut Findings,
    ) -> Option<Spec> {
        let defaults = &self.context.defaults;
        proxmox_only(self.context, table, found);
        // Every part is looked at before the first `?`, so that a problem in one hides none in another.
        let origin = self.origin(who.ctid, table, key, found);
        let network = nics(self.context, &table.network, found);
        let mounts = self.volumes.mounts(&table.volumes, who, found);
        let features = scripts.features(&table.features, found);
        let application = match &table.application {
            Key::Absent => Some(None),
            Key::Bad => None,
            Key::Given(script) => scripts.script(&script.value.0, found).map(Some),
        };
        let health = health(&table.health, found);
        let ready = ready(table.ready.or(&defaults.ready), found);
        let resources = self.resources(who, table);
        let autostart = autostart(self.context, table, found);
        let host_options = host_options(self.context, table, who.idmap.as_ref(), found);
        unguarded(self.context, table, network.as_deref(), found);
        let mounts = mounts.map(|(mounts, mounted)| {
            self.mounted.extend(mounted);
            mounts
        });
        Some(Spec {
            ctid: who.ctid,
            hostname: table.hostname.given()?.value.clone(),
            origin: origin?,
            unprivileged: who.unprivileged?,
            idmap: who.idmap.clone()?,
            resources: resources?,
            network: network?,
            mounts: mounts?,
            depends_on: dependencies(table)?,
            features: features?,
            application: application?,
            health: health?,
            ready: ready?,
            autostart: autostart?,
            host_options: host_options?,
        })
    }

    fn origin(&mut self, ctid: Ctid, table: &ContainerTable, key: &Span, found: &mut Findings) -> Option<Origin> {
        match (&table.template, &table.clone_from) {
            (Key::Bad, _) | (_, Key::Bad) => None,
            (Key::Given(template), Key::Given(_)) => {
                found.problem(
                    &template.span,
                    format!("container {ctid} has both `template` and `clone_from`"),
                    "keep the one it is made from",
                );
                None
            }
            (Key::Absent, Key::Given(source)) => Some(Origin::Clone { source: source.value }),
            (template, Key::Absent) => match template.or(&self.context.defaults.template) {
                Key::Bad => None,
                Key::Given(at) => self.template(at, found).map(Origin::Template),
                Key::Absent => {
                    let remedy = "add \"template\": \"FILE\" or \"clone_from\": \"CTID\"";
                    found.problem(key, format!("container {ctid} has neither `template` nor `clone_from`"), remedy);
                    None
                }
            },
        }
    }

    fn template(&mut self, at: &At<Template>, found: &mut Findings) -> Option<Template> {
        let host = self.context.around.host;
        let file = match (&at.value, host) {
            (Template::Stored(name), HostKind::Lxc) => {
                let what = format!("{name} is a template of a Proxmox storage, and this host is plain LXC");
                found.problem(&at.span, what, "write the path of an archive, such as \"templates/debian-12.tar.zst\"");
                return None;
            }
            (Template::Stored(name), HostKind::Pct | HostKind::Sim) => {
                if !TEMPLATE_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                    let what = format!("{name} does not end like a template of Proxmox");
                    let remedy = format!("write the name that `pveam list` shows; it ends in {}", TEMPLATE_ENDINGS.join(", "));
                    found.problem(&at.span, what, remedy);
                    return None;
                }
                return Some(Template::Stored(name.clone()));
            }
            (Template::File(file), HostKind::Lxc | HostKind::Pct | HostKind::Sim) => self.context.resolve(file),
        };
        let looked_for = self.templates.entry(file.clone()).or_insert_with(|| match file.metadata() {
            Ok(metadata) if metadata.is_file() => None,
            Ok(_) => Some("is not a file".to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some("does not exist".to_owned()),
            Err(error) => Some(format!("cannot be looked at: {error}")),
        });
        let Some(wrong) = looked_for else { return Some(Template::File(file)) };
        let what = format!("the template {} {wrong}", file.display());
        if host == HostKind::Sim {
            found.warning(&at.span, what, "the simulator does not need it, every other host does");
            return Some(Template::File(file));
        }
        found.problem(&at.span, what, "put the archive there, or write its path, relative to the manifest");
        None
    }

    fn resources(&self, who: &Identity, table: &ContainerTable) -> Option<Resources> {
        let defaults = &self.context.defaults;
        Some(Resources {
            memory_mb: table.memory_mb.or(&defaults.memory_mb).value_or(Whole(MEMORY_MB))?.0,
            swap_mb: table.swap_mb.or(&defaults.swap_mb).value_or(Whole(0))?.0,
            cores: table.cores.or(&defaults.cores).optional().ok()?.map(|cores| cores.0),
            disk_gb: who.disk_gb.ok()?,
        })
    }
}

/// A map under which a container can start without being the host's root.
fn sound(map: &IdMap, span: &Span, found: &mut Findings) -> Option<IdMap> {
    let kinds = [IdKind::User, IdKind::Group];
    if kinds.iter().any(|kind| map.to_inside(*kind, 0).is_some()) {
        found.problem(
            span,
            "`idmap` gives the container the host's root",
            "let every range begin at 1 or above on the host (the second number)",
        );
        return None;
    }
    if kinds.iter().any(|kind| map.to_host(*kind, 0).is_none()) {
        found.problem(span, "`idmap` has no root inside", "let a range of users and one of groups begin at 0 inside (the first number)");
        return None;
    }
    Some(map.clone())
}

fn dependencies(table: &ContainerTable) -> Option<std::collections::BTreeSet<Ctid>> {
    let listed = match &table.depends_on {
        Key::Absent => Some(Vec::new()),
        Key::Bad => None,
        Key::Given(list) => list.value.whole.then(|| list.value.values.iter().map(|at| at.value).collect()),
    };
    Some(listed?.into_iter().chain(table.clone_from.given().map(|source| source.value)).collect())
}
