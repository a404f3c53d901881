//! Fleets for tests, as specs: no manifest, no files.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use phoenix::driver::Wanted;
use phoenix::ids::{Ctid, IdMap};
use phoenix::manifest::{
    Autostart, Feature, Firewall, FirewallPolicy, HealthCheck, HostOptions, Mount, OnInterrupt, Origin, Owner, Ownership, Ready,
    ReadyProbe, Resources, Script, Spec, Template, Volume,
};
use phoenix::plan::Repertoire;
use phoenix_journal::Digest;

pub(crate) fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("a number in range")
}

pub(crate) fn script(name: &str) -> Script {
    Script { path: format!("{name}.sh").into(), ..script_of(&format!("#!/bin/sh\necho {name}\n")) }
}

/// A script with this text.
pub(crate) fn script_of(text: &str) -> Script {
    Script {
        path: "apps/test.sh".into(),
        digest: Digest::of(text.as_bytes()),
        text: Some(Arc::from(text.as_bytes())),
        env: BTreeMap::new(),
        args: Vec::new(),
        timeout: Duration::from_secs(60),
        retries: 0,
        on_interrupt: OnInterrupt::Rerun,
    }
}

/// One feature, one health check, no volume.
pub(crate) fn spec(number: u32) -> Spec {
    Spec {
        ctid: ctid(number),
        hostname: format!("c{number}").parse().expect("a host name"),
        origin: Origin::Template(Template::File("/templates/debian.tar".into())),
        unprivileged: true,
        idmap: IdMap::shifted(100_000, 65_536).expect("a map"),
        resources: Resources { memory_mb: 512, swap_mb: 0, cores: Some(1), disk_gb: Some(4) },
        network: Vec::new(),
        mounts: Vec::new(),
        depends_on: BTreeSet::new(),
        features: vec![Feature { name: "base".parse().expect("a name"), script: script("base") }],
        application: None,
        health: vec![HealthCheck {
            name: "up".parse().expect("a name"),
            command: vec!["true".to_owned()],
            retries: 0,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
        }],
        ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(30) },
        autostart: Autostart { enabled: true, order: None, up_delay_s: None, down_timeout_s: None },
        host_options: HostOptions::default(),
    }
}

pub(crate) fn volume(name: &str) -> Volume {
    Volume {
        name: name.parse().expect("a name"),
        source: format!("/srv/{name}").into(),
        owner: Owner { uid: 1000, gid: 1000 },
        mode: Some(0o750),
        ownership: Ownership::Chown,
        take_ownership: false,
        recursive: false,
        nosuid_mount: None,
    }
}

pub(crate) fn mounted(mut spec: Spec, name: &str) -> Spec {
    let at = format!("/srv/{name}").parse().expect("a target");
    spec.mounts.push(Mount { volume: volume(name), at, read_only: false });
    spec
}

pub(crate) fn cloned(mut spec: Spec, source: u32) -> Spec {
    spec.origin = Origin::Clone { source: ctid(source) };
    spec.depends_on.insert(ctid(source));
    spec
}

pub(crate) fn depending(mut spec: Spec, on: u32) -> Spec {
    spec.depends_on.insert(ctid(on));
    spec
}

pub(crate) fn with_application(mut spec: Spec) -> Spec {
    spec.application = Some(script("app"));
    spec
}

/// On a storage of which a container can be copied while it runs, with the host's firewall and a template that is fetched.
pub(crate) fn on_proxmox(mut spec: Spec) -> Spec {
    if matches!(spec.origin, Origin::Template(_)) {
        spec.origin = Origin::Template(Template::Stored("local:vztmpl/debian-12.tar.zst".to_owned()));
    }
    let (policy_in, policy_out) = (FirewallPolicy::Drop, FirewallPolicy::Accept);
    spec.host_options = HostOptions {
        storage: Some("local-lvm".to_owned()),
        fetch_template: true,
        firewall: Some(Firewall { enable: true, policy_in, policy_out, rules: vec!["IN ACCEPT -p tcp -dport 22".to_owned()] }),
        ..HostOptions::default()
    };
    spec
}

/// With a snapshot before its volumes.
pub(crate) fn with_snapshot(mut spec: Spec) -> Spec {
    spec.host_options.snapshot_before_volumes = true;
    spec
}

/// As [`trio`], with everything that only Proxmox has: the source goes on running while it is copied.
pub(crate) fn proxmox_trio() -> Vec<Spec> {
    let [source, clone, third] = <[Spec; 3]>::try_from(trio()).expect("three");
    vec![on_proxmox(source), with_snapshot(on_proxmox(clone)), with_snapshot(on_proxmox(third))]
}

/// A source, a clone of it with a volume and an application, and a third that shares the volume and depends on the clone.
pub(crate) fn trio() -> Vec<Spec> {
    let clone = with_application(cloned(mounted(spec(101), "media"), 100));
    vec![spec(100), clone, depending(mounted(spec(102), "media"), 101)]
}

pub(crate) fn wanted(specs: Vec<Spec>) -> BTreeMap<Ctid, Wanted> {
    let template = Some(Digest::of(b"template"));
    specs.into_iter().map(|spec| (spec.ctid, Wanted { template, spec: Arc::new(spec), repertoire: Repertoire::Proxmox })).collect()
}
