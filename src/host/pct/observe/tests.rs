//! Observations of a root that a test filled with files. Running containers are looked at where the backend is tested.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::ids::{IdMap, Incarnation};

struct Node {
    directory: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let node = Self { directory: tempfile::tempdir().expect("a directory") };
        for name in ["etc/pve/nodes/vm/lxc", "var/lib/lxc"] {
            fs::create_dir_all(node.path(name)).expect("a directory");
        }
        std::os::unix::fs::symlink("nodes/vm/lxc", node.path("etc/pve/lxc")).expect("a link");
        node.write("etc/pve/.members", "{\"nodename\": \"vm\", \"version\": 0}\n");
        node.write("etc/pve/.vmlist", "{\"version\": 1, \"ids\": {}}\n");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    fn layout(&self) -> Layout {
        Layout::new(self.directory.path().to_owned())
    }

    #[track_caller]
    fn look(&self, ctids: &[u32]) -> BTreeMap<u32, Seen> {
        let ctids: Vec<Ctid> = ctids.iter().map(|&number| ctid(number)).collect();
        let found = observe(&self.layout(), &boot(), &ctids).expect("an observation");
        found.containers.into_iter().map(|(ctid, seen)| (ctid.get(), seen)).collect()
    }
}

fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("in range")
}

fn boot() -> BootId {
    "1b4e28ba-2fa1-11d2-883f-0016d3cca427".parse().expect("a boot id")
}

fn mark_of(number: u32) -> Mark {
    Mark {
        journal: "0102030405060708090a0b0c0d0e0f10".parse().expect("a journal id"),
        fleet: "homelab".parse().expect("a name"),
        ctid: ctid(number),
        incarnation: Incarnation::from_random([7; 16]),
        epoch: phoenix_journal::Epoch::new(1),
    }
}

fn marked(number: u32) -> String {
    let text =
        "hostname: db\nmp0: /srv/media,mp=/srv/media,ro=1\nonboot: 1\nrootfs: local:101/vm-101-disk-0.raw,size=1G\nunprivileged: 1\n";
    let mut config = Config::parse(text).expect("a configuration");
    config.set_description(&mark::with_mark("a note", &mark_of(number)));
    config.to_string()
}

#[test]
fn a_container_is_what_its_configuration_says() {
    let node = Node::new();
    node.write("etc/pve/lxc/900101.conf", &marked(900_101));
    let seen = node.look(&[900_101, 900_102]);
    assert_eq!(seen.len(), 1);
    let Seen { presence, mark, init, config, .. } = &seen[&900_101];
    assert_eq!((presence, mark, init), (&Presence::Whole, &Some(mark_of(900_101)), &None));
    let config = config.as_ref().expect("a configuration");
    assert_eq!((config.hostname.as_deref(), config.autostart), (Some("db"), true));
    assert_eq!(config.idmap, IdMap::shifted(100_000, 65_536).ok());
    assert!(config.mounts.values().all(|mount| mount.read_only) && config.mounts.len() == 1);
}

#[test]
fn a_container_is_copied_live_if_every_part_of_it_can_be() {
    let node = Node::new();
    node.write(
        "etc/pve/storage.cfg",
        "lvmthin: thin\n\tcontent rootdir\n\nzfspool: tank\n\tcontent rootdir\n\nbtrfs: btr\n\tpath /srv/btr\n",
    );
    for (number, text) in [
        (900_101, "rootfs: thin:vm-1-disk-0\nmp0: thin:vm-1-disk-1,mp=/a\n"),
        (900_102, "rootfs: thin:vm-2-disk-0\nmp0: /srv/a,mp=/a\n"),
        (900_103, "rootfs: tank:subvol-3-disk-0\n"),
        (900_104, "rootfs: btr:4/vm-4-disk-0.raw\n"),
        (900_105, "rootfs: btr:5/subvol-5-disk-0.subvol\n"),
        (900_106, "rootfs: thin:vm-6-disk-0\nmp0: tank:subvol-6-disk-1,mp=/a\n"),
    ] {
        node.write(&format!("etc/pve/lxc/{number}.conf"), text);
    }
    let seen = node.look(&[900_101, 900_102, 900_103, 900_104, 900_105, 900_106]);
    let live: Vec<u32> = seen.iter().filter(|(_, seen)| seen.copies_live).map(|(number, _)| *number).collect();
    assert_eq!(live, [900_101, 900_104]);
}

#[test]
fn half_made_containers_are_told_from_whole_ones() {
    let node = Node::new();
    for (number, text) in [
        (900_101, "lock: create\n"),
        (900_102, "hostname: a\nlock: create\nrootfs: local:1/x.raw\n"),
        (900_103, "hostname: a\n"),
        (900_104, "lock: destroyed\nrootfs: local:1/x.raw\n"),
        (900_105, "lock: disk\nrootfs: local:1/x.raw\n"),
        (900_106, "hostname: a\n\n[s1]\nrootfs: local:1/x.raw\n"),
    ] {
        node.write(&format!("etc/pve/lxc/{number}.conf"), text);
    }
    let seen = node.look(&[900_101, 900_102, 900_103, 900_104, 900_105, 900_106]);
    let half: Vec<u32> = seen.iter().filter(|(_, seen)| seen.presence != Presence::Whole).map(|(number, _)| *number).collect();
    assert_eq!(half, [900_101, 900_102, 900_103, 900_104, 900_106]);
}

#[test]
fn whose_a_container_is_can_be_told_though_its_configuration_cannot_be_read() {
    let node = Node::new();
    let broken = marked(900_101).replace("onboot: 1", "[broken");
    node.write("etc/pve/lxc/900101.conf", &broken);
    let seen = node.look(&[900_101]);
    assert_eq!((&seen[&900_101].presence, &seen[&900_101].mark), (&Presence::Whole, &Some(mark_of(900_101))));
    assert_eq!(seen[&900_101].config, None);
}

#[test]
fn a_number_that_is_taken_elsewhere_is_not_free() {
    let node = Node::new();
    let ids = r#"{"version": 3, "ids": {
        "900101": { "node": "pve2", "type": "lxc", "version": 1 },
        "900102": { "node": "vm", "type": "qemu", "version": 1 },
        "900103": { "node": "vm", "type": "lxc", "version": 1 }}}"#;
    node.write("etc/pve/.vmlist", ids);
    let seen = node.look(&[900_101, 900_102, 900_103]);
    let half = |what: &str| Presence::HalfMade(what.to_owned());
    assert_eq!(seen[&900_101].presence, half("the container is on node pve2"));
    assert_eq!(seen[&900_102].presence, half("the number belongs to a virtual machine on node vm"));
    assert!(!seen.contains_key(&900_103));
}

#[test]
fn where_the_clusters_file_system_is_not_mounted_nothing_is_absent() {
    let node = Node::new();
    fs::remove_file(node.path("etc/pve/.members")).expect("a file");
    let found = observe(&node.layout(), &boot(), &[ctid(900_101)]);
    assert!(matches!(found, Err(HostError::Unusable { .. })), "{found:?}");
    node.write("etc/pve/.members", "{\"nodename\": \"vm\"}");
    fs::remove_file(node.path("etc/pve/.vmlist")).expect("a file");
    assert!(observe(&node.layout(), &boot(), &[ctid(900_101)]).is_err());
}

#[test]
fn only_what_is_asked_for_is_read_and_what_cannot_be_read_is_its_containers_affair() {
    let node = Node::new();
    node.write("etc/pve/lxc/900101.conf", &marked(900_101));
    // Reading a directory as a file would fail.
    fs::create_dir(node.path("etc/pve/lxc/900102.conf")).expect("a directory");
    assert_eq!(node.look(&[900_101]).len(), 1);
    let seen = node.look(&[900_101, 900_102]);
    assert_eq!(seen[&900_101].presence, Presence::Whole);
    assert!(matches!(&seen[&900_102].presence, Presence::HalfMade(what) if what.contains("900102.conf")), "{:?}", seen[&900_102]);
}

#[test]
#[expect(clippy::print_stdout, reason = "what it took is for people to read, not to be asserted")]
fn a_hundred_containers_are_looked_at_without_a_process() {
    let node = Node::new();
    let numbers: Vec<u32> = (900_101..900_201).collect();
    for number in &numbers {
        node.write(&format!("etc/pve/lxc/{number}.conf"), &marked(*number));
    }
    let children = || fs::read_to_string(format!("/proc/self/task/{}/children", std::process::id())).unwrap_or_default();
    let before = children();
    let clock = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let begun = clock();
    assert_eq!(node.look(&numbers).len(), 100);
    let ended = clock();
    let us = (ended.tv_sec - begun.tv_sec) * 1_000_000 + (ended.tv_nsec - begun.tv_nsec) / 1000;
    assert_eq!(children(), before);
    println!("one look at 100 containers: {us} us of processor time");
}
