//! Shared directories: where they may lie, who they belong to, where they are mounted.
//!
//! Apart because a wrong directory here is the host's loss, not a container's. What lies on the disk is looked at once more, under locks, when
//! a volume is prepared; here is what can be known before. Not here: owners across fleets (`volume_conflicts`, asked by the plan).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::claims::{HostOwner, contradictions};
use super::super::read::{Key, List, brief};
use super::super::source::{At, Findings, Span};
use super::super::spec::{Mount, Owner, Ownership, Volume};
use super::super::surroundings::SYSTEM_DIRECTORIES;
use super::super::tables::{FleetTable, MountTable, VolumeTable};
use super::Context;
use super::container::Identity;
use crate::ids::HostKind;
use crate::ids::{Ctid, IdMap, Target, VolumeName};

/// The most shared volumes of one container; Proxmox has `mp0` to `mp255`.
const MOUNTS_MAX: usize = 256;

/// Directories inside that the kernel, init or Phoenix mount or write themselves.
const RESERVED_TARGETS: &[&str] = &["/dev", "/proc", "/run", "/sys", "/var/lib/phoenix"];

/// The volumes of a fleet by name; `None` for those that could not be resolved.
pub(super) struct Volumes {
    by_name: BTreeMap<VolumeName, (Span, Option<Volume>)>,
}

/// A volume in a container, for the question of owners.
pub(super) struct Mounted {
    ctid: Ctid,
    privileged: bool,
    volume: Volume,
    owner: HostOwner,
    span: Span,
}

impl Volumes {
    pub(super) fn new(context: &Context<'_>, fleet: &FleetTable, found: &mut Findings) -> Self {
        let entries = fleet.volumes.given().map(|given| given.value.entries.as_slice()).unwrap_or_default();
        apart(context, entries, found);
        let resolved = entries.iter().map(|(name, table)| {
            let volume = table.given().and_then(|table| volume(context, &name.value, &table.value, found));
            (name.value.clone(), (name.span.clone(), volume))
        });
        Self { by_name: resolved.collect() }
    }

    /// The mounts of a container.
    pub(super) fn mounts(&self, key: &Key<List<MountTable>>, who: &Identity, found: &mut Findings) -> Option<(Vec<Mount>, Vec<Mounted>)> {
        let list = match key {
            Key::Absent => return Some((Vec::new(), Vec::new())),
            Key::Bad => return None,
            Key::Given(list) => list,
        };
        if let Some(clone) = who.cloned_by {
            let what = format!("container {} is the clone source of {clone}, so it cannot have shared volumes", who.ctid);
            found.problem(&list.span, what, format!("give the volumes to the clones, or make {clone} from a template"));
        }
        if list.value.values.len() > MOUNTS_MAX {
            found.problem(
                &list.span,
                format!("there are more than {MOUNTS_MAX} shared volumes"),
                "mount a directory that holds several of them",
            );
        }
        side_by_side(&list.value, found);
        let (mut mounts, mut mounted) = (Vec::new(), Vec::new());
        for at in &list.value.values {
            let mount = self.mount(&at.value, found);
            if let (Some(volume), Some(map)) = (&mount.volume, &who.idmap) {
                mounted.extend(owned(volume, map, who, &at.value, found));
            }
            mounts.push(mount.whole());
        }
        let mounts = mounts.into_iter().collect::<Option<Vec<Mount>>>().filter(|_| list.value.whole)?;
        Some((mounts, mounted))
    }

    fn mount(&self, table: &MountTable, found: &mut Findings) -> PartialMount {
        let MountTable { volume, at, read_only } = table;
        let volume = volume.given().and_then(|name| {
            if let Some((_, volume)) = self.by_name.get(&name.value) {
                return volume.clone();
            }
            found.problem(&name.span, format!("volume `{}` is not in this fleet", name.value), self.suggestion(&name.value));
            None
        });
        let at = at.given().filter(|at| !reserved(at, found)).map(|at| at.value.clone());
        PartialMount { volume, at, read_only: read_only.value_or(false) }
    }

    fn suggestion(&self, name: &VolumeName) -> String {
        let distance = |known: &&VolumeName| strsim::damerau_levenshtein(known.as_str(), name.as_str());
        let near = self.by_name.keys().min_by_key(distance).filter(|known| distance(known) <= known.as_str().len().max(3) / 3);
        near.map_or_else(
            || format!("add it under `volumes`: \"{name}\": {{ \"source\": \"/srv/{name}\" }}"),
            |known| format!("did you mean `{known}`?"),
        )
    }

    /// What can only be said when all containers were seen: contradicting owners, volumes that nobody uses.
    pub(super) fn finish(&self, fleet: &FleetTable, mut mounted: Vec<Mounted>, found: &mut Findings) {
        mounted.sort_by_key(|mounted| mounted.span.start);
        for (first, second) in contradictions(&mounted, |mounted| (&mounted.volume.source, mounted.owner)) {
            let says = |mounted: &Mounted| {
                let privileged = if mounted.privileged { ", which is privileged" } else { "" };
                format!("{} for container {}{privileged}", mounted.owner, mounted.ctid)
            };
            let line = found.line(&first.span);
            let what = format!("{} would belong to {} (line {line}), and to {}", second.volume.source.display(), says(first), says(second));
            found.problem(&second.span, what, "give both containers the same id map, or each a volume of its own");
        }
        let used = used(fleet);
        for (name, (span, _)) in self.by_name.iter().filter(|(name, _)| !used.contains(name)) {
            found.warning(span, format!("no container uses volume `{name}`"), "mount it in one, or remove it");
        }
    }
}

struct PartialMount {
    volume: Option<Volume>,
    at: Option<Target>,
    read_only: Option<bool>,
}

impl PartialMount {
    fn whole(self) -> Option<Mount> {
        Some(Mount { volume: self.volume?, at: self.at?, read_only: self.read_only? })
    }
}

fn used(fleet: &FleetTable) -> BTreeSet<&VolumeName> {
    let containers = fleet.containers.given().into_iter().flat_map(|given| &given.value.entries);
    let mounts = containers.filter_map(|(_, table)| table.given()?.value.volumes.given()).flat_map(|list| &list.value.values);
    mounts.filter_map(|mount| mount.value.volume.given()).map(|name| &name.value).collect()
}

fn owned(volume: &Volume, map: &IdMap, who: &Identity, table: &MountTable, found: &mut Findings) -> Option<Mounted> {
    let name = table.volume.given()?;
    let Some(owner) = volume.host_owner(map) else {
        let Owner { uid, gid } = volume.owner;
        let what = format!(
            "the owner {uid}:{gid} of volume `{}` does not exist in container {}, whose id map is {}",
            volume.name,
            who.ctid,
            brief(&map.to_string())
        );
        found.problem(&name.span, what, "choose an owner within the map, or widen `idmap`");
        return None;
    };
    Some(Mounted { ctid: who.ctid, privileged: map.is_identity(), volume: volume.clone(), owner, span: name.span.clone() })
}

fn volume(context: &Context<'_>, name: &VolumeName, table: &VolumeTable, found: &mut Findings) -> Option<Volume> {
    let VolumeTable { source, owner, mode, ownership, take_ownership, recursive, nosuid_mount } = table;
    if context.around.host != HostKind::Sim
        && let Some(source) = source.given()
    {
        on_disk(&source.value.0, &source.span, found);
    }
    if context.around.host == HostKind::Pct
        && let Some(source) = source.given()
        && source.value.0.to_string_lossy().contains('=')
    {
        let what = format!("the source {} has an equals sign, by which Proxmox would take it for an option", source.value.0.display());
        found.problem(&source.span, what, "give the directory a name without it");
    }
    if let (Some(mount), Some(source)) = (nosuid_mount.given(), source.given())
        && !source.value.0.starts_with(&mount.value.0)
    {
        let what = format!("the source {} does not lie in {}", source.value.0.display(), mount.value.0.display());
        found.problem(&mount.span, what, "name the mount point that holds the source");
    }
    if let (Some(mount), Some(Ownership::Chown)) = (nosuid_mount.given(), ownership.value_or(Ownership::Chown)) {
        found.warning(&mount.span, "`nosuid_mount` has no effect without \"ownership\": \"map\"", "leave it out");
    }
    let owner = match owner {
        Key::Absent => Some(Owner { uid: 0, gid: 0 }),
        Key::Bad => None,
        Key::Given(owner) => {
            owner.value.uid.given().zip(owner.value.gid.given()).map(|(uid, gid)| Owner { uid: uid.value.0, gid: gid.value.0 })
        }
    };
    Some(Volume {
        name: name.clone(),
        source: source.given()?.value.0.clone(),
        owner: owner?,
        mode: mode.optional().ok()?.map(|mode| mode.0),
        ownership: ownership.value_or(Ownership::Chown)?,
        take_ownership: take_ownership.value_or(false)?,
        recursive: recursive.value_or(false)?,
        nosuid_mount: nosuid_mount.optional().ok()?.map(|path| path.0),
    })
}

/// Refuses what belongs to the system or to Phoenix.
fn allowed(context: &Context<'_>, source: &Path, span: &Span, found: &mut Findings) -> bool {
    let remedy = "choose a directory of its own, such as /srv/media";
    if source == Path::new("/") {
        found.problem(span, "the source / is the whole host", remedy);
        return false;
    }
    let system = SYSTEM_DIRECTORIES.iter().map(|directory| (Path::new(directory), "the system"));
    let ours = context.around.protected.iter().map(|directory| (directory.as_path(), "Phoenix or LXC"));
    let touches = |(directory, _): &(&Path, &str)| source.starts_with(directory) || directory.starts_with(source);
    let Some((directory, whose)) = ours.chain(system).find(touches) else { return true };
    let (outer, inner) = (directory.display(), source.display());
    let relation = match (source.starts_with(directory), directory.starts_with(source)) {
        (true, true) => format!("the source {inner} belongs"),
        (true, false) => format!("the source {inner} lies in {outer}, which belongs"),
        (false, _) => format!("the source {inner} contains {outer}, which belongs"),
    };
    found.problem(span, format!("{relation} to {whose}"), remedy);
    false
}

/// Refuses sources that are not for volumes, that are equal, or one within the other.
fn apart(context: &Context<'_>, entries: &[(At<VolumeName>, Key<VolumeTable>)], found: &mut Findings) {
    let mut seen: BTreeMap<PathBuf, (VolumeName, Span)> = BTreeMap::new();
    let mut sources = Vec::new();
    for (name, table) in entries {
        let Some(source) = table.given().and_then(|table| table.value.source.given()) else { continue };
        if allowed(context, &source.value.0, &source.span, found) {
            sources.push((source.value.0.clone(), name.value.clone(), source.span.clone()));
        }
    }
    // Shorter paths first, so that a directory is met before what lies in it.
    sources.sort_by_key(|(path, _, span)| (path.components().count(), span.start));
    for (path, name, span) in sources {
        let outer = path.ancestors().find_map(|directory| seen.get_key_value(directory));
        if let Some((directory, (other, first))) = outer {
            let line = found.line(first);
            let (what, remedy) = if *directory == path {
                let what = format!("volume `{name}` has the same source as `{other}` in line {line}");
                (what, "use one volume in both places, or give each a directory of its own")
            } else {
                let what = format!("the source of volume `{name}` lies in {}, the source of `{other}` in line {line}", directory.display());
                (what, "put one directory beside the other")
            };
            found.problem(&span, what, remedy);
        } else {
            seen.insert(path, (name, span));
        }
    }
}

/// Looks at what is there already: links on the way, and something else than a directory.
fn on_disk(source: &Path, span: &Span, found: &mut Findings) {
    let mut parts: Vec<&Path> = source.ancestors().collect();
    parts.reverse();
    for part in parts {
        let Ok(metadata) = part.symlink_metadata() else { return };
        let shown = part.display();
        if metadata.is_symlink() {
            found.problem(
                span,
                format!("the source {} leads through the link {shown}", source.display()),
                "write the path that the link stands for",
            );
            return;
        }
        if !metadata.is_dir() {
            found.problem(span, format!("{shown} is not a directory"), "name a directory; it is made if it does not exist");
            return;
        }
    }
}

fn reserved(at: &At<Target>, found: &mut Findings) -> bool {
    let path = Path::new(at.value.as_str());
    let Some(directory) = RESERVED_TARGETS.iter().find(|directory| path.starts_with(directory)) else { return false };
    let what = format!("nothing can be mounted at {}, because {directory} is for the kernel, init or Phoenix", at.value);
    found.problem(&at.span, what, "choose another place, such as /srv/media");
    true
}

/// Refuses two mounts at one place, or one within the other: the inner one would need a directory in the outer volume.
fn side_by_side(list: &List<MountTable>, found: &mut Findings) {
    let mut targets: Vec<&At<Target>> = list.values.iter().filter_map(|mount| mount.value.at.given()).collect();
    targets.sort_by_key(|at| (at.value.as_str().matches('/').count(), at.span.start));
    let mut seen: BTreeMap<&Path, &Span> = BTreeMap::new();
    for at in targets {
        let path = Path::new(at.value.as_str());
        match path.ancestors().find_map(|outer| seen.get_key_value(outer)) {
            Some((outer, first)) if *outer == path => {
                let what = format!("two volumes are mounted at {}, the first in line {}", at.value, found.line(first));
                found.problem(&at.span, what, "mount one of them elsewhere");
            }
            Some((outer, first)) => {
                let what = format!("{} lies in {}, where line {} mounts another volume", at.value, outer.display(), found.line(first));
                found.problem(&at.span, what, "mount one beside the other");
            }
            None => {
                seen.insert(path, &at.span);
            }
        }
    }
}
