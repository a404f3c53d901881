//! What good manifests come to: defaults, clones, order, warnings.
//!
//! Apart from the mistakes; here the specs are looked at.

use std::time::Duration;

use super::super::{Address, Autostart, EnvValue, Ownership, ReadyProbe, Spec};
use super::{Bench, check, check_on, many, one};
use crate::ids::Ctid;
use crate::ids::HostKind;
use crate::manifest::{Checked, Manifest, OnInterrupt, Origin, Template};

fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("an id")
}

#[track_caller]
fn checked(bench: &Bench, json: &str) -> Manifest<Checked> {
    bench.check(json).unwrap_or_else(|problems| panic!("{problems}"))
}

#[track_caller]
fn spec(bench: &Bench, json: &str) -> Spec {
    checked(bench, json).containers()[&ctid(101)].clone()
}

#[test]
fn a_container_that_says_little_gets_the_documented_defaults() {
    let bench = Bench::new();
    let spec = spec(
        &bench,
        &one(
            "\"network\": [{ \"name\": \"eth0\", \"bridge\": \"br0\" }], \"application\": \"base.sh\", \"health\": [{ \"name\": \"h\", \"command\": [\"true\"] }]",
        ),
    );
    assert_eq!(spec.origin, Origin::Template(Template::File(bench.path("t.tar"))));
    assert_eq!((spec.resources.memory_mb, spec.resources.swap_mb, spec.resources.cores, spec.resources.disk_gb), (512, 0, None, None));
    assert!(spec.unprivileged);
    assert_eq!(spec.idmap.to_string(), "u 0 100000 65536, g 0 100000 65536");
    assert_eq!((&spec.ready.probe, spec.ready.timeout), (&ReadyProbe::Init, Duration::from_secs(60)));
    assert_eq!(spec.autostart, Autostart { enabled: true, order: None, up_delay_s: None, down_timeout_s: None });
    assert_eq!((&spec.network[0].address, spec.network[0].firewall), (&Address::Dhcp, false));
    let script = spec.application.expect("a script");
    assert_eq!((script.timeout, script.retries, script.on_interrupt), (Duration::from_secs(600), 0, OnInterrupt::Rerun));
    assert_eq!(script.text.as_deref(), Some(b"#!/bin/sh\ntrue\n".as_slice()));
    let health = &spec.health[0];
    assert_eq!((health.retries, health.interval, health.timeout), (3, Duration::from_secs(2), Duration::from_secs(10)));
}

#[test]
fn defaults_hold_where_a_container_does_not_say_otherwise() {
    let json = r##"{ "fleet": "f",
        "defaults": { "template": "t.tar", "memory_mb": 1024, "swap_mb": 64, "cores": 2, "autostart": false, "ready": { "port": 22 },
            "idmap": ["u 0 200000 65536", "g 0 200000 65536"] },
        "containers": {
            "101": { "hostname": "a" },
            "102": { "hostname": "b", "memory_mb": 16, "autostart": true, "ready": {} },
            "103": { "hostname": "c", "unprivileged": false } } }"##;
    let manifest = checked(&Bench::new(), json);
    let [a, b, c] = [101, 102, 103].map(|number| manifest.containers()[&ctid(number)].clone());
    assert_eq!((a.resources.memory_mb, a.resources.swap_mb, a.resources.cores, a.autostart.enabled), (1024, 64, Some(2), false));
    assert_eq!((b.resources.memory_mb, b.resources.swap_mb, b.autostart.enabled), (16, 64, true));
    assert_eq!((&a.ready.probe, &b.ready.probe), (&ReadyProbe::Port(22), &ReadyProbe::Init));
    assert_eq!(a.idmap.to_string(), "u 0 200000 65536, g 0 200000 65536");
    assert!(c.idmap.is_identity(), "the default map is for unprivileged containers alone");
}

#[test]
fn a_clone_has_map_and_disk_of_its_source_and_waits_for_it() {
    let json = many(&[
        r##""101": { "hostname": "a", "clone_from": "102" }"##,
        r##""102": { "hostname": "b", "clone_from": "103", "disk_gb": 9 }"##,
        r##""103": { "hostname": "c", "template": "t.tar", "disk_gb": 8, "idmap": ["u 0 200000 70000", "g 0 200000 70000"] }"##,
        r##""104": { "hostname": "d", "template": "t.tar", "unprivileged": false }"##,
        r##""105": { "hostname": "e", "clone_from": "104" }"##,
    ]);
    let manifest = checked(&Bench::on(HostKind::Pct), &json);
    let spec = &manifest.containers()[&ctid(101)];
    assert_eq!(spec.idmap.to_string(), "u 0 200000 70000, g 0 200000 70000");
    assert_eq!(spec.resources.disk_gb, Some(9));
    assert_eq!(spec.depends_on, [ctid(102)].into());
    assert!(!manifest.containers()[&ctid(105)].unprivileged);
    assert_eq!(manifest.order(), [103, 102, 101, 104, 105].map(ctid));
}

#[test]
fn volumes_features_and_environments_arrive_as_written() {
    let json = r##"{ "fleet": "f",
        "volumes": { "v": { "source": "/srv/v", "owner": { "uid": 1000, "gid": 100 }, "mode": "2750", "ownership": "map", "nosuid_mount": "/srv", "recursive": true } },
        "containers": { "101": { "hostname": "a", "template": "t.tar",
            "volumes": [{ "volume": "v", "at": "/data", "read_only": true }],
            "features": ["base.sh", { "name": "other", "script": "./web.sh", "args": ["--a", "b c"], "timeout": "90s", "retries": 2, "on_interrupt": "ask",
                "env": { "A": "1", "PATH": "/opt/bin", "S": { "secret_file": "/root/s" }, "T": { "secret_env": "TOKEN" } } }],
            "startup": { "order": 3, "up_delay": "1m", "down_timeout": "90s" },
            "lxc_features": { "nesting": true, "keyctl": false, "mount": ["nfs", "cifs"] } } } }"##;
    let bench = Bench::on(HostKind::Pct);
    let spec = spec(&bench, json);
    let mount = &spec.mounts[0];
    assert_eq!((mount.at.as_str(), mount.read_only, mount.volume.mode), ("/data", true, Some(0o2750)));
    assert_eq!((mount.volume.ownership, mount.volume.recursive, mount.volume.take_ownership), (Ownership::Map, true, false));
    assert_eq!(mount.volume.host_owner(&spec.idmap).map(|owner| owner.to_string()).as_deref(), Some("1000:100"));
    let names: Vec<&str> = spec.features.iter().map(|feature| feature.name.as_str()).collect();
    assert_eq!(names, ["base", "other"]);
    let script = &spec.features[1].script;
    assert_eq!((script.path.as_path(), script.timeout, script.retries), (bench.path("web.sh").as_path(), Duration::from_secs(90), 2));
    assert_eq!(script.args, ["--a", "b c"]);
    let env: Vec<(&str, &EnvValue)> = script.env.iter().map(|(name, value)| (name.as_str(), value)).collect();
    let expected = [
        ("A", &EnvValue::Plain("1".into())),
        ("PATH", &EnvValue::Plain("/opt/bin".into())),
        ("S", &EnvValue::SecretFile("/root/s".into())),
        ("T", &EnvValue::SecretEnv("TOKEN".into())),
    ];
    assert_eq!(env, expected);
    assert_eq!(spec.autostart, Autostart { enabled: true, order: Some(3), up_delay_s: Some(60), down_timeout_s: Some(90) });
    let features: Vec<(&str, &str)> = spec.host_options.lxc_features.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(features, [("keyctl", "0"), ("mount", "nfs;cifs"), ("nesting", "1")]);
}

#[test]
fn one_script_is_one_text_however_often_it_is_used() {
    let json = many(&[
        r##""101": { "hostname": "a", "template": "t.tar", "application": "base.sh" }"##,
        r##""102": { "hostname": "b", "template": "t.tar", "features": ["./base.sh"] }"##,
    ]);
    let manifest = checked(&Bench::new(), &json);
    let application = manifest.containers()[&ctid(101)].application.clone().and_then(|script| script.text);
    let feature = manifest.containers()[&ctid(102)].features[0].script.text.clone();
    assert!(std::sync::Arc::ptr_eq(&application.expect("a text"), &feature.expect("a text")));
}

#[test]
fn the_smallest_container_comes_first_where_there_is_a_choice() {
    let json = many(&[
        r##""105": { "hostname": "e", "template": "t.tar" }"##,
        r##""101": { "hostname": "a", "template": "t.tar", "depends_on": ["104", "104"] }"##,
        r##""104": { "hostname": "d", "template": "t.tar" }"##,
        r##""102": { "hostname": "b", "template": "t.tar" }"##,
    ]);
    assert_eq!(checked(&Bench::new(), &json).order(), [102, 104, 101, 105].map(ctid));
}

#[test]
fn plain_lxc_warns_of_what_it_cannot_do() {
    let json = r##"{ "fleet": "f",
"defaults": { "disk_gb": 8, "fetch_template": false },
"volumes": { "idle": { "source": "/srv/idle" } },
"containers": {
"101": { "hostname": "a", "template": "t.tar", "storage": "local-lvm", "lxc_features": {}, "fetch_template": true, "snapshot_before_volumes": true },
"102": { "hostname": "b", "clone_from": "101", "network": [{ "name": "eth0", "bridge": "br0", "firewall": true }] },
"103": { "hostname": "c", "clone_from": "101", "autostart": false, "startup": { "order": 1 } }
} }"##;
    check(
        json,
        r##"
fleet.json:2:26: warning: `disk_gb` cannot be enforced on plain LXC, whose containers are directories; give the containers a file system with quotas if it matters
  2 | "defaults": { "disk_gb": 8, "fetch_template": false },
    |                          ^
fleet.json:3:14: warning: no container uses volume `idle`; mount it in one, or remove it
  3 | "volumes": { "idle": { "source": "/srv/idle" } },
    |              ^^^^^^
fleet.json:5:59: warning: `storage` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  5 | …": "a", "template": "t.tar", "storage": "local-lvm", "lxc_features": {}, "fetch_template":…
    |                                          ^^^^^^^^^^^
fleet.json:5:88: warning: `lxc_features` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  5 | …"storage": "local-lvm", "lxc_features": {}, "fetch_template": true, "snapshot_before_volum…
    |                                          ^^
fleet.json:5:110: warning: `fetch_template` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  5 | …, "lxc_features": {}, "fetch_template": true, "snapshot_before_volumes": true },
    |                                          ^^^^
fleet.json:5:143: warning: `snapshot_before_volumes` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  5 | …late": true, "snapshot_before_volumes": true },
    |                                          ^^^^
fleet.json:6:107: warning: `firewall` has no effect on plain LXC; guard the container by other means
  6 | …": "eth0", "bridge": "br0", "firewall": true }] },
    |                                          ^^^^
fleet.json:7:79: warning: `startup` has no effect while `autostart` is false; leave one of them out
  7 | …: "101", "autostart": false, "startup": { "order": 1 } }
    |                                          ^^^^^^^^^^^^^^
"##,
    );
    check_on(
        &Bench::on(HostKind::Pct),
        json,
        r##"
fleet.json:3:14: warning: no container uses volume `idle`; mount it in one, or remove it
  3 | "volumes": { "idle": { "source": "/srv/idle" } },
    |              ^^^^^^
fleet.json:7:79: warning: `startup` has no effect while `autostart` is false; leave one of them out
  7 | …: "101", "autostart": false, "startup": { "order": 1 } }
    |                                          ^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn the_simulator_needs_no_template() {
    check_on(
        &Bench::on(HostKind::Sim),
        many(&[r##""101": { "hostname": "a", "template": "gone.tar" }"##]),
        r##"
fleet.json:2:39: warning: the template DIR/gone.tar does not exist; the simulator does not need it, every other host does
  2 | "101": { "hostname": "a", "template": "gone.tar" }
    |                                       ^^^^^^^^^^
"##,
    );
}

#[test]
fn a_machine_without_ids_for_root_is_named_once() {
    let mut bench = Bench::new();
    bench.around.default_idmap = None;
    let json = many(&[
        r##""101": { "hostname": "a", "template": "t.tar" }"##,
        r##""102": { "hostname": "b", "template": "t.tar" }"##,
        r##""103": { "hostname": "c", "template": "t.tar", "unprivileged": false }"##,
    ]);
    check_on(
        &bench,
        json,
        r##"
fleet.json:2:1: container 101 is unprivileged and has no `idmap`, and root has no range of 65536 ids on this machine; add the line root:100000:65536 to /etc/subuid and /etc/subgid, or write `idmap`
  2 | "101": { "hostname": "a", "template": "t.tar" },
    | ^^^^^
"##,
    );
}

#[test]
fn a_router_may_be_link_local_and_a_network_of_two_has_no_broadcast() {
    let nics = r##""network": [{ "name": "eth0", "bridge": "br0", "ip": "fd00::5/64", "gw": "fe80::1" }, { "name": "eth1", "bridge": "br0", "ip": "10.9.0.1/31", "gw": "10.9.0.0" }]"##;
    check(one(nics), "fine");
}
