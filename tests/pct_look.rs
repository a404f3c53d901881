//! What the command line says of a Proxmox node before anything is done: objections to a fleet, and the doctor's findings.
//!
//! On the node that the `pct` for tests makes up, and without a single call of it. Not here: what is done there (`pct_host`).

mod support;

use std::path::Path;

use phoenix_test_pct::{Installed, StorageKind};
use serde_json::Value;
use support::Stage;

const FLEET: &str = r#"{
  "fleet": "node",
  "defaults": { "storage": "local" },
  "containers": {
    "900801": {
      "hostname": "missing",
      "template": "local:vztmpl/none.tar.zst",
      "network": [{ "name": "eth0", "bridge": "vmbr9", "ip": "dhcp" }]
    },
    "900802": { "hostname": "cannot", "template": "local:vztmpl/here.tar", "snapshot_before_volumes": true },
    "900803": { "hostname": "managed", "template": "local:vztmpl/here.tar" }
  }
}
"#;

/// A stage on a node of its own, or nothing where no node can be a host.
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
fn stage() -> Option<(Installed, Stage)> {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/lxc-attach").exists() {
        eprintln!("skipped: needs root and lxc");
        return None;
    }
    let stage = Stage::empty();
    let root = stage.path().join("node");
    let node = Installed::new(&root).expect("the programs");
    for (name, kind) in [("thin", StorageKind::LvmThin), ("tank", StorageKind::ZfsPool)] {
        node.storage(name, kind).expect("a storage");
    }
    node.bridge("vmbr0").expect("a bridge");
    stage.write("here.tar", "");
    node.template(&stage.path().join("here.tar"), "here.tar").expect("a template");
    std::fs::write(root.join("etc/pve/ha/resources.cfg"), "ct: 900803\n\tstate started\n").expect("a file");
    stage.write("fleet.json", FLEET);
    let runtime = stage.path().join("run").display().to_string();
    let stage = stage.env("PHOENIX_PVE_ROOT", &root.display().to_string()).env("PHOENIX_RUNTIME_DIR", &runtime);
    Some((node, stage))
}

#[test]
fn what_the_node_cannot_do_is_said_all_at_once_and_before_anything_is_recorded() {
    let Some((node, stage)) = stage() else { return };
    node.forget_calls().expect("forgotten");
    let said = stage.run(&["plan", "fleet.json", "--host", "pct"]).ended(2);
    support::settings().bind(|| insta::assert_snapshot!("pct_plan_refused", said.whole()));
    for command in ["up", "check"] {
        assert_eq!(stage.run(&[command, "fleet.json", "--host", "pct"]).ended(2).err, said.err);
    }
    let answer = stage.run(&["check", "fleet.json", "--host", "pct", "--json"]).ended(2);
    let answer: Value = serde_json::from_str(&answer.out).expect("JSON");
    assert_eq!(answer["problems"].as_array().map(Vec::len), Some(4), "{answer:#}");
    assert!(!stage.path().join("journal/journal.db").exists());
    assert_eq!(node.calls(), [], "no program of Proxmox's is run to look");
}

#[test]
fn a_node_is_examined_by_its_files() {
    let Some((node, stage)) = stage() else { return };
    node.forget_calls().expect("forgotten");
    let file = node.root().join("etc/pve/storage.cfg");
    let more = "lvm: thick\n\tvgname vg\n\tcontent rootdir\n\tsaferemove 1\n\ndrbd: san\n\tresourcegroup a\n\tcontent rootdir\n\n";
    std::fs::write(&file, std::fs::read_to_string(&file).expect("storages") + more).expect("written");
    let said = stage.run(&["doctor", "--host", "pct", "--json"]);
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    let has = |topic: &str, level: &str, what: &str| {
        let found = findings.iter().any(|finding| {
            finding["topic"] == topic && finding["level"] == level && finding["what"].as_str().is_some_and(|text| text.contains(what))
        });
        assert!(found, "{topic} {level} {what}: {report:#}");
    };
    has("cluster", "good", "node vm, on its own");
    for program in ["pct", "pvesm", "pveam"] {
        has("programs", "good", &format!("found {program}"));
    }
    has("network", "good", "bridges: vmbr0");
    has("storages", "good", "local (dir): containers, linked clones");
    has("storages", "good", "thin (lvmthin): containers, snapshots, clones while the source runs, linked clones");
    has("storages", "good", "tank (zfspool): containers, snapshots, linked clones");
    has("storages", "good", "thick (lvm): containers");
    has("storages", "warning", "thick: every disk that is removed is overwritten");
    has("storages", "warning", "san (drbd): a type that Phoenix does not know");
    has("templates", "good", "local: 1 in ");
    has("availability", "warning", "managed by high availability: 900803");
    let verbs: Vec<_> = node.calls().into_iter().map(|call| call.argv).collect();
    assert!(verbs.len() <= 1 && verbs.iter().all(|words| words[0].contains("pveversion")), "{verbs:?}");
}

#[test]
fn what_a_node_lacks_is_named_with_where_it_comes_from() {
    let Some((node, stage)) = stage() else { return };
    assert!(node.root().join("usr/bin/pveam").exists(), "as on a node: not beside pct");
    std::fs::remove_file(node.program("pveam")).expect("removed");
    std::fs::remove_dir_all(node.root().join("sys/class/net")).expect("removed");
    let said = stage.run(&["doctor", "--host", "pct", "--json"]);
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let findings = report["findings"].as_array().expect("findings");
    for (topic, level, what, remedy) in
        [("programs", "bad", "pveam", "pve-manager"), ("network", "warning", "no bridge", "/etc/network/interfaces")]
    {
        let found = findings.iter().find(|finding| finding["topic"] == topic && finding["level"] == level).expect("one");
        assert!(found["what"].as_str().is_some_and(|text| text.contains(what)), "{found:#}");
        assert!(found["remedy"].as_str().is_some_and(|text| text.contains(remedy)), "{found:#}");
    }
}
