//! What a Proxmox node needs to be a host, beside what every host does.
//!
//! From files, as everything that only looks; one `pveversion` where dpkg does not say. Storages that may be on a network are
//! not looked into: a dead server would hold the doctor up. Not here: what all hosts need (`host::doctor`).

use std::path::{Path, PathBuf};

use crate::ids::HostKind;
use crate::manifest::proxmox_idmap;

use super::super::doctor::{Findings, Topic};
use super::super::local::vet::{self, SubordinateIds};
use super::ha;
use super::layout::Layout;
use super::members::Members;
use super::observe;
use super::storage::{self, Abilities, Storage};
use super::version::{self, Version};

/// Programs of Proxmox's that are called, and the package of each.
const PROGRAMS: [(&str, &str); 3] =
    [("pct", "pve-container; without it this is no Proxmox node"), ("pvesm", "libpve-storage-perl"), ("pveam", "pve-manager")];
/// The versions of Proxmox VE that the backend was written for; others may say and write other things.
const KNOWN: std::ops::RangeInclusive<u32> = 8..=9;
/// Room on a storage of files: below this a template may not fit; and below that nothing does.
const SCANT: u64 = 2 << 30;
const NONE: u64 = 128 << 20;

/// A bridge made by hand is gone when the node starts again.
pub(in crate::host) const MAKE_A_BRIDGE: &str =
    "make one in the node's network settings: System, Network in the web interface, or /etc/network/interfaces and `ifreload -a`";

/// Looks at all of it.
pub(in crate::host) fn examine(found: &mut Findings, root: &Path) {
    let layout = Layout::new(root.to_owned());
    for (program, package) in PROGRAMS {
        found.programs(&[layout.program(program)], package);
    }
    let attach = super::super::local::PROGRAM_DIRECTORIES.iter().map(|directory| Path::new(directory).join("lxc-attach"));
    found.programs(&[attach.into_iter().find(|path| path.is_file()).unwrap_or_else(|| PathBuf::from("/usr/bin/lxc-attach"))], "lxc-pve");
    versions(found, &layout);
    let map = proxmox_idmap();
    found.ids(&map, vet::unmappable(&map, &SubordinateIds::of_this_machine()));
    let members = match observe::members(&layout) {
        Ok(members) => members,
        Err(error) => {
            found.bad(Topic::Cluster, error.to_string(), "see `systemctl status pve-cluster`");
            return;
        }
    };
    cluster(found, &members, root);
    storages(found, &layout, &members.node);
    availability(found, &layout);
}

fn versions(found: &mut Findings, layout: &Layout) {
    let proxmox = version::of(layout, "pve-manager").or_else(|| asked(&layout.program("pveversion")));
    match proxmox {
        Some(version) if KNOWN.contains(&version.0[0]) => found.good(Topic::Versions, format!("Proxmox VE {version}")),
        Some(version) => found.warning(
            Topic::Versions,
            format!("Proxmox VE {version} is none that was tried ({} to {})", KNOWN.start(), KNOWN.end()),
            "try with a container that can be spared",
        ),
        None => found.warning(Topic::Versions, "the version of Proxmox VE cannot be told", "see `pveversion`"),
    }
    for package in ["pve-container", "lxc-pve"] {
        if let Some(version) = version::of(layout, package) {
            found.good(Topic::Versions, format!("{package} {version}"));
        }
    }
}

/// The version that `pveversion` says: `pve-manager/8.4.1/...`.
fn asked(program: &Path) -> Option<Version> {
    #[expect(clippy::disallowed_methods, reason = "it prints a line and ends; nothing on the host changes")]
    let output = std::process::Command::new(program).stdin(std::process::Stdio::null()).output().ok()?;
    Version::parse(String::from_utf8_lossy(&output.stdout).split('/').nth(1)?)
}

fn cluster(found: &mut Findings, Members { node, cluster }: &Members, root: &Path) {
    let host = rustix::system::uname().nodename().to_string_lossy().split('.').next().unwrap_or_default().to_owned();
    if root == Path::new("/") && host != *node {
        found.bad(
            Topic::Cluster,
            format!("the cluster's file system is that of node {node}, and this machine is called {host}"),
            "give the machine its old name, or see Proxmox's documentation on renaming a node",
        );
        return;
    }
    match cluster {
        None => found.good(Topic::Cluster, format!("node {node}, on its own")),
        Some(cluster) if cluster.quorate => {
            let online = cluster.nodes.values().filter(|online| **online).count();
            found
                .good(Topic::Cluster, format!("node {node} of cluster {}, {online} of {} nodes online", cluster.name, cluster.nodes.len()));
        }
        Some(cluster) => found.bad(
            Topic::Cluster,
            format!("the cluster {} has no quorum: no configuration can be written", cluster.name),
            "see `pvecm status`, and bring the other nodes back",
        ),
    }
}

fn storages(found: &mut Findings, layout: &Layout, node: &str) {
    let storages = match observe::optional(&layout.storages()) {
        Ok(text) => storage::parse(&text),
        Err(error) => return found.bad(Topic::Storages, error.to_string(), "see `pvesm status`"),
    };
    let here: Vec<&Storage> = storages.iter().filter(|storage| storage.is_on(node)).collect();
    let mut for_containers = 0;
    let for_them = here.iter().filter(|storage| storage.holds("rootdir"));
    for (storage, abilities) in for_them.filter_map(|storage| Some((storage, storage.abilities?))) {
        let Storage { name, kind, path, .. } = storage;
        for_containers += 1;
        if storage.is_known() {
            found.good(Topic::Storages, format!("{name} ({kind}): {}", can(abilities)));
        } else {
            let what = format!("{name} ({kind}): a type that Phoenix does not know; containers can be on it, and no more is asked of it");
            found.warning(Topic::Storages, what, "try with a container that can be spared");
        }
        if storage.overwrites {
            let what = format!(
                "{name}: every disk that is removed is overwritten first (saferemove); what takes `down` more than 15 minutes may stay"
            );
            let remedy =
                format!("`pvesm set {name} --saferemove 0`, or look for del-vm-ID-disk-N with `lvs` after the `down` of a large disk");
            found.warning(Topic::Storages, what, remedy);
        }
        match path.as_deref().filter(|_| storage.is_local()) {
            Some(path) if !path.is_dir() => {
                found.warning(
                    Topic::Storages,
                    format!("{name}: {} is not there", path.display()),
                    "mount it, or switch the storage off with `pvesm set`",
                );
            }
            Some(path) => found.room(Topic::Storages, name, path, SCANT, NONE),
            None => {}
        }
    }
    if for_containers == 0 {
        found.bad(
            Topic::Storages,
            "no storage of this node is for containers",
            "give one the content rootdir: `pvesm set STORAGE --content rootdir,...`",
        );
    }
    templates(found, &here);
}

fn templates(found: &mut Findings, here: &[&Storage]) {
    let with: Vec<&&Storage> = here.iter().filter(|storage| storage.holds("vztmpl")).collect();
    if with.is_empty() {
        found.warning(Topic::Templates, "no storage of this node holds templates", "`pvesm set local --content vztmpl,...`");
    }
    for storage in with {
        let name = &storage.name;
        let Some(directory) = storage.template_directory().filter(|_| storage.is_local()) else {
            found.good(Topic::Templates, format!("{name} holds templates (not looked into: it may be on a network)"));
            continue;
        };
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let count = entries.filter(|entry| entry.file_name().to_string_lossy().contains(".tar")).count();
        if count == 0 {
            found.warning(
                Topic::Templates,
                format!("{name} holds no template yet"),
                format!("`pveam update`, `pveam available --section system`, then `pveam download {name} FILE`"),
            );
        } else {
            found.good(Topic::Templates, format!("{name}: {count} in {}", directory.display()));
        }
    }
}

fn availability(found: &mut Findings, layout: &Layout) {
    let managed = observe::optional(&layout.ha_resources()).map(|text| ha::parse(&text)).unwrap_or_default();
    if managed.is_empty() {
        return found.good(Topic::Availability, "no container is managed by high availability");
    }
    let ids: Vec<String> = managed.keys().map(ToString::to_string).collect();
    found.warning(
        Topic::Availability,
        format!("managed by high availability: {}", ids.join(", ")),
        format!("`phoenix --host {}` refuses these; take one out with `ha-manager remove ct:ID`", HostKind::Pct),
    );
}

fn can(Abilities { snapshots, copies_from_snapshot, templates }: Abilities) -> String {
    let mut can = vec!["containers"];
    can.extend(snapshots.then_some("snapshots"));
    can.extend(copies_from_snapshot.then_some("clones while the source runs"));
    can.extend(templates.then_some("linked clones"));
    can.join(", ")
}
