//! Manifests for the tests, and scripts that count their own starts.
//!
//! Not here: running anything.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Map, Value, json};

use super::ground::{Ground, Kind};
use super::proxmox::{PLAIN, TEMPLATE, WITH_SNAPSHOTS};

/// A manifest in the making.
pub(crate) struct Fleet<'a> {
    ground: &'a Ground,
    volumes: Map<String, Value>,
    containers: Map<String, Value>,
    storage: &'static str,
}

impl<'a> Fleet<'a> {
    pub(crate) fn new(ground: &'a Ground) -> Self {
        Self { ground, volumes: Map::new(), containers: Map::new(), storage: PLAIN }
    }

    /// On Proxmox, a storage that can take snapshots and copy from them: clone sources need not be stopped.
    pub(crate) fn with_snapshots(mut self) -> Self {
        self.storage = WITH_SNAPSHOTS;
        self
    }

    /// A directory below the ground's `srv`, as the manifest would name it.
    pub(crate) fn volume(mut self, name: &str, keys: Value) -> Self {
        let mut keys = keys;
        keys["source"] = json!(self.ground.path("srv").join(name));
        self.volumes.insert(name.to_owned(), keys);
        self
    }

    /// A container; `clone_from` and `depends_on` name places, as the tests do.
    pub(crate) fn container(mut self, place: u32, keys: Value) -> Self {
        let mut keys = keys;
        keys["hostname"] = json!(format!("ct{place}"));
        if let Some(source) = keys.get("clone_from").and_then(Value::as_u64) {
            keys["clone_from"] = self.named(source);
        }
        if let Some(on) = keys.get("depends_on").and_then(Value::as_array) {
            keys["depends_on"] = on.iter().filter_map(Value::as_u64).map(|place| self.named(place)).collect();
        }
        if keys.get("clone_from").is_none() && keys.get("template").is_none() {
            keys["template"] = match self.ground.kind() {
                Kind::Lxc => json!(self.ground.template()),
                Kind::Pct => json!(TEMPLATE),
            };
        }
        self.containers.insert(self.ground.ctid(place).to_string(), keys);
        self
    }

    /// Writes `fleet.json`.
    pub(crate) fn write(self) {
        let manifest = json!({
            "fleet": "real",
            "defaults": match self.ground.kind() {
                Kind::Lxc => json!({ "memory_mb": 64 }),
                Kind::Pct => json!({ "memory_mb": 64, "storage": self.storage }),
            },
            "volumes": self.volumes,
            "containers": self.containers,
        });
        let text = serde_json::to_string_pretty(&manifest).expect("JSON");
        fs::write(self.ground.path("fleet.json"), text).expect("written");
    }

    fn named(&self, place: u64) -> Value {
        json!(self.ground.ctid(u32::try_from(place).expect("a place")).to_string())
    }
}

impl Ground {
    /// A script of the host, run inside, that counts its start durably and then does `body`; its path in the manifest.
    pub(crate) fn script(&self, name: &str, body: &str) -> String {
        let path = self.path(&format!("scripts/{name}.sh"));
        let text = format!("#!/bin/sh\necho \"$PHOENIX_CTID {name}\" >>/starts\nsync /starts\n{body}\n");
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("a mode");
        format!("scripts/{name}.sh")
    }

    /// Lets go what waits for the file of this name in its container's root directory.
    pub(crate) fn open_gate(&self, place: u32, gate: &str) {
        fs::write(self.rootfs(place).join(gate), []).expect("the gate");
    }
}

/// The shell's part of [`Ground::open_gate`].
pub(crate) fn wait_for_gate(gate: &str) -> String {
    format!("while [ ! -e /{gate} ]; do sleep 0.02; done")
}

/// Five containers that use what a fleet can: a base, its clone, two that share a directory, and one with everything after.
pub(crate) fn five(ground: &Ground) {
    paced_five(ground, 0.0);
}

/// The same with scripts that take their time, so that crashes find them at work.
pub(crate) fn paced_five(ground: &Ground, script_seconds: f32) {
    let pace = format!("sleep {script_seconds}; ");
    let base = ground.script("base", &format!("{pace}echo installed >/etc/base"));
    let tool = ground.script("tool", &format!("{pace}echo \"$GREETING $1\" >/etc/tool; echo tool is in"));
    let write = ground.script(
        "write",
        &format!("{pace}echo from $PHOENIX_CTID >/srv/media/from-$PHOENIX_CTID && chmod 600 /srv/media/from-$PHOENIX_CTID"),
    );
    let app = ground.script("app", &format!("{pace}echo ready >/run/app"));
    Fleet::new(ground)
        .volume("media", json!({ "owner": { "uid": 1000, "gid": 1000 }, "mode": "0775" }))
        .container(0, json!({ "features": [base] }))
        .container(1, json!({ "clone_from": 0, "features": [tool] }))
        .container(2, json!({ "volumes": [{ "volume": "media", "at": "/srv/media" }], "features": [write] }))
        .container(3, json!({ "volumes": [{ "volume": "media", "at": "/mnt/media", "read_only": true }], "depends_on": [2] }))
        .container(
            4,
            json!({
                "depends_on": [2],
                "cores": 1,
                "swap_mb": 32,
                "startup": { "order": 7, "up_delay": "2s" },
                "features": [{ "script": tool, "env": { "GREETING": "hello" }, "args": ["world; $(reboot)"] }, base],
                "application": { "script": app, "timeout": "1m" },
                "health": [{ "name": "up", "command": ["test", "-f", "/run/app"], "retries": 2, "interval": "1s" }],
            }),
        )
        .write();
}

/// Every script step of [`five`]: container, script, step.
pub(crate) const FIVE_SCRIPTS: [(u32, &str, &str); 6] = [
    (0, "base", "feature.apply[base]"),
    (1, "tool", "feature.apply[tool]"),
    (2, "write", "feature.apply[write]"),
    (4, "tool", "feature.apply[tool]"),
    (4, "base", "feature.apply[base]"),
    (4, "app", "application.run"),
];
