//! What is said of specs by a node that a test filled with files.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::ids::IdMap;
use crate::manifest::{Address, Autostart, HostOptions, Nic, Owner, Ready, ReadyProbe, Resources, Volume};

struct Node {
    directory: tempfile::TempDir,
}

const STORAGES: &str = "dir: local\n\tpath ROOT/vz\n\tcontent vztmpl,snippets,rootdir\n\n\
    zfspool: tank\n\tpool rpool\n\tcontent rootdir\n\ndir: off\n\tpath /off\n\tcontent rootdir\n\tdisable\n\n\
    nfs: far\n\tserver x\n\texport /x\n\tcontent rootdir\n\tnodes pve2\n\ndir: iso\n\tpath /iso\n\tcontent iso\n\n\
    pbs: backup\n\tserver x\n\tcontent backup\n\n";

impl Node {
    fn new() -> Self {
        let node = Self { directory: tempfile::tempdir().expect("a directory") };
        for name in ["etc/pve/lxc", "etc/pve/ha", "vz/template/cache", "vz/snippets", "sys/class/net/vmbr0/bridge"] {
            fs::create_dir_all(node.path(name)).expect("a directory");
        }
        node.write("etc/pve/.members", "{\"nodename\": \"vm\"}");
        node.write("etc/pve/.vmlist", "{\"ids\": {}}");
        node.write("etc/pve/storage.cfg", &STORAGES.replace("ROOT", &node.directory.path().display().to_string()));
        node.write("vz/template/cache/debian.tar.zst", "");
        node
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file");
    }

    /// What is said of these specs, ids apart: whether they may be mapped is the test machine's business.
    #[track_caller]
    fn says(&self, specs: &[Spec]) -> Vec<String> {
        let wanted: Vec<Arc<Spec>> = specs.iter().cloned().map(Arc::new).collect();
        let said = vet(&Layout::new(self.directory.path().to_owned()), &wanted).expect("an answer");
        let said = said.into_iter().filter(|objection| !objection.remedy.contains("/etc/sub"));
        said.map(|Objection { ctid, what, remedy }| format!("{ctid}: {what}; {remedy}")).collect()
    }
}

fn spec(number: u32) -> Spec {
    Spec {
        ctid: Ctid::new(number).expect("in range"),
        hostname: format!("c{number}").parse().expect("a host name"),
        origin: Origin::Template(Template::Stored("local:vztmpl/debian.tar.zst".to_owned())),
        unprivileged: true,
        idmap: IdMap::shifted(100_000, 65_536).expect("a map"),
        resources: Resources { memory_mb: 64, swap_mb: 0, cores: None, disk_gb: None },
        network: Vec::new(),
        mounts: Vec::new(),
        depends_on: std::collections::BTreeSet::new(),
        features: Vec::new(),
        application: None,
        health: Vec::new(),
        ready: Ready { probe: ReadyProbe::Init, timeout: Duration::ZERO },
        autostart: Autostart { enabled: false, order: None, up_delay_s: None, down_timeout_s: None },
        host_options: HostOptions::default(),
    }
}

fn clone_of(source: u32, number: u32) -> Spec {
    Spec { origin: Origin::Clone { source: Ctid::new(source).expect("in range") }, ..spec(number) }
}

fn on(storage: &str) -> Spec {
    let host_options = HostOptions { storage: Some(storage.to_owned()), ..HostOptions::default() };
    Spec { host_options, ..spec(900_101) }
}

fn mounted(source: &str) -> Mount {
    let volume = Volume {
        name: "media".parse().expect("a name"),
        source: source.into(),
        owner: Owner { uid: 0, gid: 0 },
        mode: None,
        ownership: Ownership::Chown,
        take_ownership: false,
        recursive: false,
        nosuid_mount: None,
    };
    Mount { volume, at: "/srv/media".parse().expect("a target"), read_only: false }
}

#[track_caller]
fn one(said: &[String], parts: &[&str]) {
    assert!(said.len() == 1 && parts.iter().all(|part| said[0].contains(part)), "{said:?} has not {parts:?} alone");
}

#[test]
fn a_fleet_that_the_node_can_bring_up_meets_no_objection() {
    let node = Node::new();
    assert_eq!(node.says(&[spec(900_101), clone_of(900_101, 900_102), on("tank")]), Vec::<String>::new());
}

#[test]
fn a_missing_template_is_told_with_the_line_that_fetches_it() {
    let node = Node::new();
    fs::remove_file(node.path("vz/template/cache/debian.tar.zst")).expect("a file");
    one(
        &node.says(&[spec(900_101)]),
        &["900101: the template local:vztmpl/debian.tar.zst is not there", "pveam download local debian.tar.zst"],
    );
    let fetched = Spec { host_options: HostOptions { fetch_template: true, ..HostOptions::default() }, ..spec(900_101) };
    assert_eq!(node.says(&[fetched]), Vec::<String>::new());
    node.write("etc/pve/lxc/900101.conf", "rootfs: local:900101/x.raw\nunprivileged: 1\n");
    assert_eq!(node.says(&[spec(900_101)]), Vec::<String>::new(), "what was made needs no template");
}

#[test]
fn templates_come_from_storages_that_hold_templates() {
    let node = Node::new();
    let from = |volume: &str| Spec { origin: Origin::Template(Template::Stored(volume.to_owned())), ..spec(900_101) };
    one(&node.says(&[from("nowhere:vztmpl/x.tar")]), &["is on no storage that there is", "pvesm status --content vztmpl"]);
    one(&node.says(&[from("tank:vztmpl/x.tar")]), &["the storage tank holds no templates on this node"]);
}

#[test]
fn a_storage_that_cannot_hold_the_container_is_told_with_those_that_can() {
    let node = Node::new();
    for (storage, what) in [
        ("nowhere", "there is no storage nowhere"),
        ("off", "the storage off is not on this node, or switched off"),
        ("far", "the storage far is not on this node"),
        ("iso", "the storage iso is not for containers"),
        ("backup", "the storage backup is not for containers"),
    ] {
        one(&node.says(&[on(storage)]), &[what, "this node has local, tank"]);
    }
}

/// Proxmox goes by the content alone, and others bring types of their own.
#[test]
fn a_type_that_is_not_known_is_taken_for_containers_if_it_says_so() {
    let node = Node::new();
    let storages = fs::read_to_string(node.path("etc/pve/storage.cfg")).expect("storages");
    let others = "drbd: san\n\tcontent rootdir\n\ndrbd: images\n\tcontent images\n";
    node.write("etc/pve/storage.cfg", &format!("{storages}{others}"));
    assert_eq!(node.says(&[on("san")]), Vec::<String>::new());
    one(&node.says(&[on("images")]), &["the storage images is not for containers", "this node has local, tank, san"]);
    let host_options = HostOptions { snapshot_before_volumes: true, ..on("san").host_options };
    one(&node.says(&[Spec { host_options, ..spec(900_101) }]), &["the storage san (type drbd) is not known to take the snapshot"]);
}

#[test]
fn a_snapshot_needs_a_storage_that_takes_some() {
    let node = Node::new();
    let snapshot = |spec: Spec| {
        let host_options = HostOptions { snapshot_before_volumes: true, ..spec.host_options.clone() };
        Spec { host_options, ..spec }
    };
    let refused = ["the storage local (type dir) cannot take the snapshot"];
    one(&node.says(&[snapshot(spec(900_101))]), &refused);
    assert_eq!(node.says(&[snapshot(on("tank"))]), Vec::<String>::new());
    one(&node.says(&[spec(900_101), snapshot(clone_of(900_101, 900_102))]), &refused);
    node.write("etc/pve/lxc/900101.conf", "rootfs: tank:subvol-900101-disk-0\nunprivileged: 1\n");
    assert_eq!(node.says(&[spec(900_101), snapshot(clone_of(900_101, 900_102))]), Vec::<String>::new());
}

#[test]
fn who_manages_the_container_and_whose_number_it_is() {
    let node = Node::new();
    node.write("etc/pve/ha/resources.cfg", "ct: 900101\n\tstate started\n");
    one(&node.says(&[spec(900_101)]), &["high availability manages it (state started)", "ha-manager remove ct:900101"]);
    node.write("etc/pve/.vmlist", r#"{"ids": {"900102": {"node": "vm", "type": "qemu"}}}"#);
    one(&node.says(&[spec(900_102)]), &["the number belongs to a virtual machine on node vm", "pvesh get /cluster/nextid"]);
}

#[test]
fn a_clone_is_what_its_source_is() {
    let node = Node::new();
    let privileged = Spec { unprivileged: false, ..spec(900_101) };
    one(&node.says(&[privileged, clone_of(900_101, 900_102)]), &["900102: its source 900101 is privileged", "make it privileged too"]);
    let with_volumes = Spec { mounts: vec![mounted("/srv/media")], ..spec(900_101) };
    one(&node.says(&[with_volumes.clone(), clone_of(900_101, 900_102)]), &["900102: its source 900101 has volumes attached"]);
    node.write("etc/pve/lxc/900102.conf", "rootfs: local:900102/x.raw\nunprivileged: 1\n");
    assert_eq!(node.says(&[with_volumes, clone_of(900_101, 900_102)]), Vec::<String>::new(), "what was cloned needs no source");
}

#[test]
fn bridges_scripts_pools_and_devices_have_to_be_there() {
    let node = Node::new();
    node.write("etc/pve/user.cfg", "user:root@pam:1:0::::::\npool:web::900101:local:\n");
    let nic = |bridge: &str| Nic {
        name: "eth0".to_owned(),
        bridge: bridge.to_owned(),
        address: Address::Dhcp,
        gateway: None,
        hwaddr: None,
        mtu: None,
        vlan: None,
        firewall: false,
    };
    one(
        &node.says(&[Spec { network: vec![nic("vmbr0"), nic("vmbr9")], ..spec(900_101) }]),
        &["there is no bridge vmbr9", "one that there is: vmbr0"],
    );
    let with = |host_options: HostOptions| node.says(&[Spec { host_options, ..spec(900_101) }]);
    let hookscript = Some("local:snippets/x.pl".to_owned());
    one(
        &with(HostOptions { hookscript, ..HostOptions::default() }),
        &["the hook script local:snippets/x.pl is not there", "vz/snippets/x.pl"],
    );
    one(&with(HostOptions { pool: Some("db".to_owned()), ..HostOptions::default() }), &["there is no pool db", "--poolid db"]);
    assert_eq!(with(HostOptions { pool: Some("web".to_owned()), ..HostOptions::default() }), Vec::<String>::new());
    let device =
        crate::manifest::Device { path: "/dev/phoenix-none".into(), owner: Owner { uid: 0, gid: 0 }, mode: 0o660, deny_write: false };
    one(&with(HostOptions { devices: vec![device], ..HostOptions::default() }), &["there is no device /dev/phoenix-none"]);
}

#[test]
fn a_path_that_no_configuration_can_hold_is_told_before_it_is_written() {
    let node = Node::new();
    one(&node.says(&[Spec { mounts: vec![mounted("/srv/a,b")], ..spec(900_101) }]), &["cannot hold the path \"/srv/a,b\""]);
    let mapped = |spec: Spec| Spec {
        mounts: spec
            .mounts
            .into_iter()
            .map(|mut mount| {
                mount.volume.ownership = Ownership::Map;
                mount
            })
            .collect(),
        ..spec
    };
    let spec = mapped(Spec { mounts: vec![mounted("/srv/a")], ..spec(900_101) });
    assert_eq!(node.says(std::slice::from_ref(&spec)), Vec::<String>::new(), "where the version is not known, Proxmox says it");
    fs::create_dir_all(node.path("var/lib/dpkg")).expect("a directory");
    node.write("var/lib/dpkg/status", "Package: pve-container\nStatus: install ok installed\nVersion: 5.3.5\n");
    one(&node.says(&[spec]), &["asks for a mapped mount, which pve-container 5.3.5 does not know"]);
}

#[test]
fn a_cluster_without_quorum_cannot_be_written_to() {
    let node = Node::new();
    node.write("etc/pve/.members", r#"{"nodename": "vm", "cluster": {"name": "c", "quorate": 0}}"#);
    let said = vet(&Layout::new(node.directory.path().to_owned()), &[Arc::new(spec(900_101))]);
    assert!(matches!(&said, Err(HostError::Unusable { what, .. }) if what.contains("no quorum")), "{said:?}");
}

#[test]
fn a_template_is_unpacked_for_proxmox_s_own_map_alone() {
    let node = Node::new();
    let other = IdMap::shifted(200_000, 65_536).expect("a map");
    let said = node.says(&[Spec { idmap: other.clone(), ..spec(900_101) }]);
    assert!(said.iter().any(|said| said.contains("gives root another id than 100000")), "{said:?}");
    for fine in
        [Spec { idmap: other, ..clone_of(900_100, 900_101) }, Spec { unprivileged: false, idmap: IdMap::identity(), ..spec(900_101) }]
    {
        let said = node.says(&[fine]);
        assert!(!said.iter().any(|said| said.contains("another id than")), "{said:?}");
    }
}
