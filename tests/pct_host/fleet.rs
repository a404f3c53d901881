//! Whole fleets by the real binary: up, up again, resume after a kill, down; and how often `pct` is called for it.

use std::path::PathBuf;
use std::process::{Command, Output};

use phoenix::ids::Ctid;
use serde_json::json;

use crate::fleets::ctid;
use crate::world::{TEMPLATE, World};

struct Fleet<'a> {
    world: &'a World,
    manifest: PathBuf,
    /// The first of its three numbers. Each test has its own: Proxmox names control groups by the number alone.
    base: u32,
}

impl<'a> Fleet<'a> {
    fn new(world: &'a World, storage: &str, base: u32) -> Self {
        let script = world.path("app.sh");
        std::fs::write(&script, "#!/bin/sh\ntest -n \"$PHOENIX_CTID\"\n").expect("a script");
        let volume = |name: &str| json!({ "source": world.path("srv").join(name), "owner": { "uid": 1000, "gid": 1000 } });
        let at = |name: &str| json!({ "volume": name, "at": format!("/srv/{name}") });
        let manifest = json!({
            "fleet": "node",
            "defaults": { "memory_mb": 64, "cores": 1, "disk_gb": 1, "storage": storage },
            "volumes": { "media": volume("media"), "data": volume("data") },
            "containers": {
                base.to_string(): { "hostname": "base", "template": TEMPLATE, "application": { "script": "app.sh" } },
                (base + 1).to_string(): {
                    "hostname": "copy", "clone_from": base.to_string(), "application": { "script": "app.sh" },
                    "volumes": [at("data")], "autostart": true,
                },
                (base + 2).to_string(): {
                    "hostname": "web", "template": TEMPLATE, "volumes": [at("media"), at("data")],
                    "health": [{ "name": "up", "command": ["true"] }], "autostart": true,
                },
            },
        });
        let path = world.path("fleet.json");
        std::fs::write(&path, manifest.to_string()).expect("a manifest");
        Self { world, manifest: path, base }
    }

    fn ctids(&self) -> [Ctid; 3] {
        [0, 1, 2].map(|place| ctid(self.base + place))
    }

    fn command(&self, words: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "a test runs the real binary")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenix"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("PHOENIX_PVE_ROOT", self.world.node.root().path());
        command.env("PHOENIX_RUNTIME_DIR", self.world.path("run")).arg("--journal").arg(self.world.path("journal/journal.db"));
        command.args(["--host", "pct", "--trust-manifest"]).args(words);
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Output {
        let output = self.command(words).output().expect("a phoenix");
        let said = || format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words:?}: {}\n{}", output.status, said());
        output
    }

    #[track_caller]
    fn up(&self) {
        self.run(&["up", self.manifest.to_str().expect("plain")]);
    }

    /// The calls of `pct` about a container, in order; of a clone, the calls about its source that the clone alone brought.
    fn calls(&self, of: Ctid) -> Vec<String> {
        let about = |argv: &[String]| {
            let id = if argv.get(1).is_some_and(|verb| verb == "clone") { argv.get(3) } else { argv.get(2) };
            id.is_some_and(|id| *id == of.to_string())
        };
        let calls = self.world.node.calls().into_iter().map(|call| call.argv);
        calls.filter(|argv| argv.first().is_some_and(|program| program == "pct") && about(argv)).map(|argv| argv[1].clone()).collect()
    }
}

#[test]
fn a_fleet_comes_up_goes_on_and_goes_down_with_few_calls_of_pct() {
    let Some(world) = World::new() else { return };
    let fleet = Fleet::new(&world, "local", 900_800);
    fleet.up();
    let [source, clone, created] = fleet.ctids().map(|id| fleet.calls(id));
    // Stopped to be copied, and started again.
    let own = ["create", "start", "stop", "start"];
    assert_eq!(source, [&own[..], &["shutdown", "start"]].concat());
    assert_eq!(clone, ["clone", "set", "start", "stop", "start"]);
    assert_eq!(created, own);
    let [_, copy, web] = fleet.ctids();
    assert!(world.config(web).contains("onboot: 1") && world.config(copy).contains("/srv/data"));
    world.node.forget_calls().expect("forgotten");
    fleet.up();
    fleet.run(&["resume"]);
    assert_eq!(world.node.calls().len(), 0, "a finished fleet needs no process");
    fleet.run(&["down", "--all", "--yes"]);
    fleet.ctids().into_iter().for_each(|id| world.is_clean(id));
}

#[test]
fn a_source_on_a_storage_with_snapshots_goes_on_running() {
    let Some(world) = World::new() else { return };
    let fleet = Fleet::new(&world, "btr", 900_805);
    // All that a clone can cost at once.
    let mut manifest: serde_json::Value = serde_json::from_slice(&std::fs::read(&fleet.manifest).expect("there")).expect("JSON");
    manifest["containers"]["900806"]["disk_gb"] = 2.into();
    manifest["containers"]["900806"]["snapshot_before_volumes"] = true.into();
    std::fs::write(&fleet.manifest, manifest.to_string()).expect("a manifest");
    fleet.up();
    let [source, clone, _] = fleet.ctids().map(|id| fleet.calls(id));
    assert_eq!(clone, ["clone", "set", "resize", "start", "stop", "snapshot", "start"]);
    assert!(source.contains(&"snapshot".to_owned()) && source.contains(&"delsnapshot".to_owned()), "{source:?}");
    assert_eq!(source.iter().filter(|verb| *verb == "start").count(), 2, "it was not stopped for the clone: {source:?}");
    fleet.run(&["down", "--all", "--yes"]);
}

#[test]
fn a_killed_up_is_resumed_whatever_pct_was_doing() {
    let Some(world) = World::new() else { return };
    let fleet = Fleet::new(&world, "local", 900_810);
    for (fault, kill_at) in [("create 900812 hang-after volume 1s", "create"), ("clone 900810 hang-after volume 1s", "clone")] {
        world.node.fault(fault).expect("a fault");
        let mut up = fleet.command(&["up", fleet.manifest.to_str().expect("plain")]).spawn().expect("a phoenix");
        crate::settle::wait_until(|| world.node.calls().iter().any(|call| call.argv.get(1).is_some_and(|verb| verb == kill_at)));
        up.kill().expect("killed");
        up.wait().expect("ended");
        let resumed = fleet.run(&["resume"]);
        drop(resumed);
    }
    fleet.up();
    for id in fleet.ctids() {
        assert_eq!(world.volumes(id).len(), 1, "{id}");
        assert!(!world.config(id).contains("lock:"), "{id}");
    }
    fleet.run(&["down", "--all", "--yes"]);
}
