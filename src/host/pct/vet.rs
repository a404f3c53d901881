//! What this node cannot do for a fleet, found by looking.
//!
//! Everything that would make a `pct` fail later, or succeed in what nobody wanted, as far as files tell: each with what to do.
//! What matters for creation alone is not asked of containers that exist. Not here: what another run is doing just now, which
//! is waited for.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ids::{Ctid, IdKind};
use crate::manifest::{Mount, Origin, Ownership, Spec, Template};

use super::super::local::unusable;
use super::super::local::vet::{self, SubordinateIds};
use super::super::{HostError, Objection};
use super::config::Config;
use super::ha;
use super::layout::Layout;
use super::members::Members;
use super::observe::{self, Found};
use super::pools::{self, Pool};
use super::storage::{self, Storage};
use super::version::{self, Version};
use super::vmlist::Guest;

/// The storage of a root file system for which the manifest names none; Proxmox's own default.
pub(crate) const DEFAULT_STORAGE: &str = "local";
/// From this version of `pve-container` on, a mount point can translate ids.
const MAPPED_MOUNTS_SINCE: Version = Version([6, 1, 6]);

/// What the node looks like.
struct Node<'a> {
    layout: &'a Layout,
    name: String,
    guests: BTreeMap<u32, Guest>,
    managed: BTreeMap<u32, String>,
    storages: Vec<Storage>,
    pools: Option<Vec<Pool>>,
    subordinate: SubordinateIds,
    /// The configurations of the wanted containers that exist.
    configs: BTreeMap<Ctid, Config>,
    wanted: BTreeMap<Ctid, &'a Spec>,
}

/// Where objections are gathered.
struct Objections<'a> {
    ctid: Ctid,
    all: &'a mut Vec<Objection>,
}

/// Everything that is in the way of what is wanted, in the order of the containers.
pub(crate) fn vet(layout: &Layout, wanted: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError> {
    let members = observe::members(layout)?;
    check_quorum(&members)?;
    let node = Node::look(layout, &members, wanted)?;
    let mut all = Vec::new();
    for (ctid, spec) in &node.wanted {
        let mut objections = Objections { ctid: *ctid, all: &mut all };
        node.vet(spec, &mut objections);
        all.extend(vet::bridges(spec, layout.root()));
        all.extend(vet::idmap(spec, &node.subordinate));
    }
    Ok(all)
}

/// `pct create` unpacks every template with the map of all unprivileged containers; the lines that give another can only be
/// written when its files are there already, and belong to nobody inside.
fn vet_idmap(spec: &Spec, objections: &mut Objections<'_>) {
    let root_is_proxmox_s = [IdKind::User, IdKind::Group].iter().all(|&kind| spec.idmap.to_host(kind, 0) == Some(FIRST_ID));
    if spec.unprivileged && matches!(spec.origin, Origin::Template(_)) && !root_is_proxmox_s {
        let what =
            format!("its id map gives root another id than {FIRST_ID}, and `pct create` gives the files of every template to that one");
        objections.push(what, format!("map 0 to {FIRST_ID} in `idmap`, or leave `idmap` out"));
    }
}

fn check_quorum(members: &Members) -> Result<(), HostError> {
    if members.is_writable() {
        return Ok(());
    }
    let what = "the cluster has no quorum: no configuration can be written";
    Err(unusable(what, "see `pvecm status`, and bring the other nodes back"))
}

/// The host's id of root in an unprivileged container, as Proxmox fixes it.
const FIRST_ID: u32 = 100_000;

impl Objections<'_> {
    fn push(&mut self, what: impl Into<String>, remedy: impl Into<String>) {
        self.all.push(Objection { ctid: self.ctid, what: what.into(), remedy: remedy.into() });
    }
}

impl<'a> Node<'a> {
    fn look(layout: &'a Layout, members: &Members, wanted: &'a [Arc<Spec>]) -> Result<Self, HostError> {
        let configured = observe::configured(layout)?;
        let mut configs = BTreeMap::new();
        for ctid in wanted.iter().map(|spec| spec.ctid).filter(|ctid| configured.contains(ctid)) {
            // What cannot be read is no reason to object: whoever needs it says so.
            configs.extend(Found::read(layout, ctid)?.and_then(|found| Some((ctid, found.config.ok()?))));
        }
        let users = observe::optional(&layout.users())?;
        Ok(Self {
            layout,
            name: members.node.clone(),
            guests: observe::guests(layout)?,
            managed: ha::parse(&observe::optional(&layout.ha_resources())?),
            storages: storage::parse(&observe::optional(&layout.storages())?),
            pools: (!users.is_empty()).then(|| pools::parse(&users)),
            subordinate: SubordinateIds::of_this_machine(),
            configs,
            wanted: wanted.iter().map(|spec| (spec.ctid, &**spec)).collect(),
        })
    }

    fn vet(&self, spec: &Spec, objections: &mut Objections<'_>) {
        self.vet_number(spec, objections);
        if !self.configs.contains_key(&spec.ctid) {
            self.vet_origin(spec, objections);
            self.vet_storage(spec, objections);
            vet_idmap(spec, objections);
        }
        self.vet_snapshot(spec, objections);
        self.vet_options(spec, objections);
        for mount in &spec.mounts {
            self.vet_mount(mount, objections);
        }
    }

    /// Whose the number is.
    fn vet_number(&self, spec: &Spec, objections: &mut Objections<'_>) {
        let ctid = spec.ctid;
        if let Some(state) = self.managed.get(&ctid.get()) {
            objections.push(ha::objection(state), ha::remedy(ctid));
        }
        if let Some(what) = observe::elsewhere(self.guests.get(&ctid.get()), &self.name) {
            objections.push(what, "give the container a number that is free; `pvesh get /cluster/nextid` names one");
        }
    }

    /// What it is made from.
    fn vet_origin(&self, spec: &Spec, objections: &mut Objections<'_>) {
        match &spec.origin {
            Origin::Template(Template::Stored(volume)) => self.vet_template(spec, volume, objections),
            Origin::Template(Template::File(path)) => {
                if !path.is_file() {
                    objections.push(format!("there is no template {}", path.display()), "put it there, or name another");
                }
            }
            Origin::Clone { source } => {
                if self.wanted.get(source).is_some_and(|source| !source.mounts.is_empty()) {
                    objections.push(
                        format!("its source {source} has volumes attached, and Proxmox clones no container with directories of the host"),
                        "clone both from a container without volumes",
                    );
                }
                let config = self.configs.get(source).and_then(|config| config.main().unprivileged().ok());
                let planned = self.wanted.get(source).map(|source| source.unprivileged);
                if config.or(planned).is_some_and(|unprivileged| unprivileged != spec.unprivileged) {
                    objections.push(
                        format!(
                            "its source {source} is {}, which a clone inherits and which cannot be changed",
                            privilege(!spec.unprivileged)
                        ),
                        format!("make it {} too, or create it from a template", privilege(!spec.unprivileged)),
                    );
                }
            }
        }
    }

    fn vet_template(&self, spec: &Spec, volume: &str, objections: &mut Objections<'_>) {
        let Some((storage, rest)) = self.usable(volume, "vztmpl", "templates", objections) else { return };
        let missing = storage.file(rest).is_some_and(|file| !file.is_file());
        if missing && !spec.host_options.fetch_template {
            let name = rest.rsplit('/').next().unwrap_or(rest);
            objections.push(
                format!("the template {volume} is not there"),
                format!("`pveam update && pveam download {} {name}`, or set \"fetch_template\": true", storage.name),
            );
        }
    }

    /// Where its root file system is to be.
    fn vet_storage(&self, spec: &Spec, objections: &mut Objections<'_>) {
        let Some(name) = wanted_storage(spec) else { return };
        let remedy = || {
            let fit = self.storages.iter().filter(|storage| storage.is_on(&self.name) && storage.holds("rootdir"));
            let names: Vec<&str> = fit.map(|storage| storage.name.as_str()).collect();
            if names.is_empty() {
                return "give a storage the content \"rootdir\" with `pvesm set STORAGE --content rootdir,...`".to_owned();
            }
            format!("name another with \"storage\"; this node has {}", names.join(", "))
        };
        let what = match self.storages.iter().find(|storage| storage.name == name) {
            None => format!("there is no storage {name}"),
            Some(storage) if !storage.is_on(&self.name) => format!("the storage {name} is not on this node, or switched off"),
            Some(storage) if !storage.holds("rootdir") => format!("the storage {name} is not for containers (its content has no rootdir)"),
            Some(_) => return,
        };
        objections.push(what, remedy());
    }

    /// Whether the snapshot that it asks for can be taken.
    fn vet_snapshot(&self, spec: &Spec, objections: &mut Objections<'_>) {
        let Some(name) = self.storage_of(spec).filter(|_| spec.host_options.snapshot_before_volumes) else { return };
        let storage = self.storages.iter().find(|storage| storage.name == name);
        if let Some(storage) = storage.filter(|storage| !storage.abilities.is_some_and(|can| can.snapshots)) {
            let cannot = if storage.is_known() { "cannot" } else { "is not known to" };
            objections.push(
                format!("the storage {name} (type {}) {cannot} take the snapshot that \"snapshot_before_volumes\" asks for", storage.kind),
                "put the container on ZFS, LVM-thin, Ceph RBD or btrfs, or take \"snapshot_before_volumes\" out",
            );
        }
    }

    fn vet_options(&self, spec: &Spec, objections: &mut Objections<'_>) {
        let options = &spec.host_options;
        if let Some(volume) = &options.hookscript
            && let Some((storage, rest)) = self.usable(volume, "snippets", "hook scripts", objections)
        {
            let file = storage.file(rest);
            if let Some(file) = file.filter(|file| !file.is_file()) {
                objections
                    .push(format!("the hook script {volume} is not there"), format!("put it at {} and `chmod +x` it", file.display()));
            }
        }
        if let (Some(pool), Some(pools)) = (&options.pool, &self.pools)
            && !pools.iter().any(|found| found.name == *pool)
        {
            objections.push(format!("there is no pool {pool}"), format!("make it with `pvesh create /pools --poolid {pool}`"));
        }
        for device in options.devices.iter().filter(|device| !device.path.exists()) {
            objections.push(
                format!("there is no device {} on this host", device.path.display()),
                "load its driver or plug it in, or take it out of \"devices\"",
            );
        }
    }

    fn vet_mount(&self, Mount { volume, at, .. }: &Mount, objections: &mut Objections<'_>) {
        let unwritable = |text: &str| text.contains([',', '=']) || text.trim() != text || text.chars().any(char::is_control);
        let source = volume.source.to_string_lossy();
        for text in [source.as_ref(), at.as_str()].into_iter().filter(|text| unwritable(text)) {
            objections.push(
                format!("a configuration of Proxmox cannot hold the path {text:?}: it has a comma, `=`, or a space at an end"),
                "rename the directory",
            );
        }
        let version = match volume.ownership {
            Ownership::Chown => return,
            Ownership::Map => version::of(self.layout, "pve-container"),
        };
        if let Some(version) = version.filter(|version| *version < MAPPED_MOUNTS_SINCE) {
            objections.push(
                format!("the volume {} asks for a mapped mount, which pve-container {version} does not know", volume.name),
                format!("upgrade to Proxmox VE 9.2 (pve-container {MAPPED_MOUNTS_SINCE}), or set its ownership to \"chown\""),
            );
        }
    }

    /// The storage of a volume that holds a kind of content here; objects if there is none.
    fn usable<'b>(&self, volume: &'b str, content: &str, what: &str, objections: &mut Objections<'_>) -> Option<(&Storage, &'b str)> {
        let Some((storage, rest)) = storage::of_volume(&self.storages, volume) else {
            objections.push(
                format!("{volume} is on no storage that there is"),
                format!("name it as STORAGE:{content}/FILE; `pvesm status --content {content}` lists the storages"),
            );
            return None;
        };
        if !storage.is_on(&self.name) || !storage.holds(content) {
            objections.push(
                format!("the storage {} holds no {what} on this node", storage.name),
                format!("switch it on, or give it the content with `pvesm set {} --content {content},...`", storage.name),
            );
            return None;
        }
        Some((storage, rest))
    }

    /// The storage where its root file system is, or will be.
    fn storage_of(&self, spec: &Spec) -> Option<String> {
        let mut spec = spec;
        // Sources form no circle: the manifest was checked.
        for _ in 0..=self.wanted.len() {
            if let Some(config) = self.configs.get(&spec.ctid) {
                let rootfs = config.main().rootfs().ok().flatten()?;
                return Some(rootfs.volume.split_once(':')?.0.to_owned());
            }
            match (wanted_storage(spec), &spec.origin) {
                (Some(name), _) => return Some(name.to_owned()),
                (None, Origin::Clone { source }) => spec = self.wanted.get(source)?,
                (None, Origin::Template(_)) => return None,
            }
        }
        None
    }
}

/// The storage where a container that is still to be made is put; `None` if that follows from its source alone.
fn wanted_storage(spec: &Spec) -> Option<&str> {
    let named = spec.host_options.storage.as_deref();
    match &spec.origin {
        Origin::Template(_) => Some(named.unwrap_or(DEFAULT_STORAGE)),
        Origin::Clone { .. } => named,
    }
}

fn privilege(unprivileged: bool) -> &'static str {
    if unprivileged { "unprivileged" } else { "privileged" }
}

#[cfg(test)]
mod tests;
