//! What each kind of storage can and cannot do, and who is told of guests.

use phoenix_test_pct::{StorageKind, Vmid};

use crate::world::World;

/// Snapshot; linked clone from the present, a snapshot, a template; full clone from a snapshot; template.
const TABLE: [(StorageKind, [bool; 6]); 5] = [
    (StorageKind::Dir, [false, false, false, false, false, true]),
    (StorageKind::Btrfs, [true, true, true, true, true, true]),
    (StorageKind::LvmThin, [true, false, true, true, true, true]),
    (StorageKind::ZfsPool, [true, false, false, true, false, true]),
    (StorageKind::Lvm, [false, false, false, false, false, false]),
];

#[test]
fn storages_keep_their_rules_about_snapshots_and_clones() {
    let Some(world) = World::new() else { return };
    for (at, (kind, can)) in (0..).zip(TABLE) {
        let id = 910_050 + 5 * at;
        let name = format!("s{at}");
        world.pct.storage(&name, kind).expect("a storage");
        world.create(id, &format!("--rootfs {name}:1"));
        let [snapshot, from_current, from_snapshot, from_template, full_from_snapshot, template] = can;
        let new = id + 1;
        let try_it = |line: String, can: bool| {
            let said = world.run(&line);
            assert_eq!(said.code == 0, can, "{kind:?}: {line}: {said:?}");
            if !can {
                assert_eq!(world.pct.conf(Vmid::new(new)), None, "{kind:?}: {line}");
                assert!(!world.conf(id).contains("lock:"), "{kind:?}: {line}");
            } else if line.contains("clone") {
                world.does(&format!("pct start {new}"));
                world.does(&format!("pct destroy {new} --force 1"));
            }
        };
        try_it(format!("pct clone {id} {new}"), true);
        try_it(format!("pct clone {id} {new} --full 0"), from_current);
        try_it(format!("pct snapshot {id} s1"), snapshot);
        if snapshot {
            try_it(format!("pct clone {id} {new} --snapname s1 --full 0"), from_snapshot);
            try_it(format!("pct clone {id} {new} --snapname s1 --full 1"), full_from_snapshot);
            world.does(&format!("pct start {id}"));
            try_it(format!("pct clone {id} {new} --snapname s1 --full 1"), full_from_snapshot);
            world.fails(&format!("pct clone {id} {new}"), "Cannot do full clones on a running container without snapshots");
            world.does(&format!("pct stop {id}"));
            world.fails(&format!("pct template {id}"), "unable to create template, because CT contains snapshots");
            world.does(&format!("pct delsnapshot {id} s1"));
        }
        try_it(format!("pct template {id}"), template);
        if template {
            try_it(format!("pct clone {id} {new} --full 1"), true);
            try_it(format!("pct clone {id} {new}"), from_template);
            world.fails(&format!("pct start {id}"), "you can't start a CT if it's a template");
        }
    }
}

#[test]
fn a_snapshot_brings_back_what_was_there() {
    let Some(world) = World::new() else { return };
    let id = 910_080;
    world.create(id, "--rootfs btr:1");
    world.does(&format!("pct start {id}"));
    world.does(&format!("pct exec {id} -- touch /root/before"));
    world.does(&format!("pct snapshot {id} s1"));
    world.does(&format!("pct exec {id} -- rm /root/before"));
    world.does(&format!("pct set {id} --memory 64"));
    world.does(&format!("pct rollback {id} s1"));
    assert!(!world.pct.is_running(Vmid::new(id)), "a rollback stops it and leaves it stopped");
    assert!(world.conf(id).contains("\nmemory: 512\n"));
    world.does(&format!("pct start {id}"));
    assert_eq!(world.does(&format!("pct exec {id} -- ls /root")), "before\n");
}

#[test]
fn a_mounted_directory_refuses_snapshots_clones_and_templates() {
    let Some(world) = World::new() else { return };
    let id = 910_081;
    world.create(id, "--rootfs btr:1");
    world.does(&format!("pct set {id} --mp0 {},mp=/data", world.path().join("var/lib/vz").display()));
    world.fails(&format!("pct snapshot {id} s1"), "snapshot feature is not available");
    world.fails(&format!("pct clone {id} 910082"), "unable to clone mountpoint 'mp0' (type bind)");
    assert!(world.run(&format!("pct template {id}")).stderr.starts_with("Template feature is not available"));
    assert!(!world.conf(id).contains("lock:"));
}

#[test]
fn guests_are_listed_for_the_whole_cluster_and_ids_are_taken_by_all_of_them() {
    let Some(world) = World::new() else { return };
    let list = || std::fs::read_to_string(world.path().join("etc/pve/.vmlist")).expect("a list");
    assert_eq!(list(), "{\n\"version\": 1,\n\"ids\": {\n}\n\n}\n");
    let other = world.path().join("etc/pve/nodes/other/qemu-server");
    std::fs::create_dir_all(&other).expect("made");
    std::fs::write(other.join("910084.conf"), "name: vm\n").expect("written");
    world.create(910_083, "--rootfs local:0");
    let text = list();
    assert!(text.contains("\"910083\": { \"node\": \"vm\", \"type\": \"lxc\", \"version\": 2 },\n"), "{text}");
    assert!(text.contains("\"910084\": { \"node\": \"other\", \"type\": \"qemu\","), "{text}");
    let create = "pct create 910084 local:vztmpl/busybox-1.0_amd64.tar.gz --rootfs local:0";
    world.fails(create, "VM 910084 already exists on node 'other'");
    world.does("pct destroy 910083");
    assert!(!list().contains("910083"));
}

#[test]
fn templates_are_listed_and_downloaded() {
    let Some(world) = World::new() else { return };
    world.pct.available(crate::world::template(), "tiny_1_amd64.tar.gz").expect("there");
    assert_eq!(world.does("pveam available"), "system          tiny_1_amd64.tar.gz\n");
    assert!(!world.does("pveam list local").contains("tiny"));
    world.does("pveam download local tiny_1_amd64.tar.gz");
    assert!(world.does("pveam list local").contains("local:vztmpl/tiny_1_amd64.tar.gz"));
    assert!(world.does("pvesm status").lines().any(|line| line.starts_with("btr ") && line.contains("btrfs")));
    assert!(world.does("pveversion").starts_with("pve-manager/8.4"));
}
