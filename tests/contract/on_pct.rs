//! Proxmox VE as a site: real containers of the `pct` for tests, in a root of the case's own.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phoenix::codec::mark_to_json;
use phoenix::host::Host;
use phoenix::ids::Ctid;
use phoenix::manifest::{Firewall, FirewallPolicy, Mount, Origin, Spec, Template};

use phoenix::host::pct::Pct;

use super::machine::{end, left_below, make_filled, owner, print, swap};
use super::site::{Meddling, Site};
use super::{archive, fleets, hands};
use world::{TEMPLATE, World};

#[path = "../lxc_host/steps.rs"]
#[allow(dead_code, reason = "cases take their steps through the rig")]
mod steps;
#[path = "../pct_host/world.rs"]
mod world;

/// The storage that can take snapshots.
const SNAPSHOTS: &str = "btr";
/// A template that is not on the node yet.
const AVAILABLE: &str = "fetched.tar";

struct OnPct(World);

pub(crate) fn site() -> Option<Box<dyn Site>> {
    Some(Box::new(OnPct(World::new()?)))
}

impl OnPct {
    /// A person's `pct`.
    #[expect(clippy::disallowed_methods, reason = "a test runs `pct` as a person does")]
    fn by_hand(&self, words: &[&str]) {
        let output = std::process::Command::new(self.0.node.program("pct")).args(words).output().expect("pct starts");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn remove(&self, ctid: Ctid) {
        end(self.again().as_ref(), ctid);
        // Its monitor cleans up behind it, and `pct` takes the container for running until then.
        while self.0.node.is_running(world::vmid(ctid)) {
            std::thread::yield_now();
        }
        if !self.0.config(ctid).is_empty() {
            self.by_hand(&["destroy", &ctid.to_string()]);
        }
    }
}

impl Site for OnPct {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.0.host)
    }

    fn again(&self) -> Arc<dyn Host> {
        let options = world::options(self.0.node.root().path(), &self.0.path(""), self.0.runtime.path());
        Arc::new(Pct::new(options).expect("a host"))
    }

    fn spec(&self, ctid: Ctid) -> Spec {
        self.0.spec(ctid)
    }

    fn enrich(&self, spec: &mut Spec) {
        let template = self.0.path(AVAILABLE);
        archive::template(&template, &[]);
        self.0.node.available(&template, AVAILABLE).expect("offered");
        spec.origin = Origin::Template(Template::Stored(format!("local:vztmpl/{AVAILABLE}")));
        spec.host_options.fetch_template = true;
        spec.host_options.storage = Some(SNAPSHOTS.to_owned());
        spec.host_options.snapshot_before_volumes = true;
        let rules = vec!["IN ACCEPT -p tcp -dport 22".to_owned()];
        let (policy_in, policy_out) = (FirewallPolicy::Drop, FirewallPolicy::Accept);
        spec.host_options.firewall = Some(Firewall { enable: true, policy_in, policy_out, rules });
    }

    fn live_spec(&self, ctid: Ctid) -> Option<Spec> {
        let mut spec = self.0.spec(ctid);
        spec.host_options.storage = Some(SNAPSHOTS.to_owned());
        Some(spec)
    }

    fn mount(&self, name: &str) -> Mount {
        self.0.mount(name, &format!("/srv/{name}"))
    }

    fn meddle(&self, ctid: Ctid, meddling: &Meddling) {
        let id = ctid.to_string();
        match meddling {
            Meddling::Remove => self.remove(ctid),
            Meddling::Stranger => {
                self.remove(ctid);
                let options = ["--ostype", "unmanaged", "--arch", "amd64", "--unprivileged", "1", "--hostname", "stranger"];
                self.by_hand(&[&["create", &id, TEMPLATE], &options[..]].concat());
            }
            Meddling::Unmark => self.by_hand(&["set", &id, "--description", "a note of mine"]),
            Meddling::Mark(mark) => self.by_hand(&["set", &id, "--description", &format!("phoenix: {}", mark_to_json(mark).trim_end())]),
            Meddling::KillInit => end(self.again().as_ref(), ctid),
            Meddling::Start => self.by_hand(&["start", &id]),
        }
    }

    fn hold(&self, ctid: Ctid) -> Box<dyn Any> {
        Box::new(self.again().lock(&[ctid]).expect("free"))
    }

    /// As when the cluster's file system is not mounted, or another node's disk is.
    fn lose_proof(&self) {
        let members = self.0.node.root().join("etc/pve/.members");
        fs::write(members, "{\n\"nodename\": \"another\",\n\"version\": 0\n}\n").expect("written");
    }

    fn print(&self) -> String {
        let root = self.0.node.root();
        let places = ["etc/pve/nodes", "etc/pve/firewall", "var/lib/lxc", "var/lib/vz"].map(|name| root.join(name));
        print(&[&places[..], &[self.0.path("srv")]].concat())
    }

    fn left_of(&self, ctid: Ctid) -> Vec<String> {
        let root = self.0.node.root();
        let places =
            [root.join("etc/pve/lxc"), root.join("etc/pve/firewall"), self.0.path("state/results"), self.0.runtime.path().join("results")];
        [left_below(ctid, &places), self.0.volumes(ctid)].concat()
    }

    fn directory(&self, path: &Path) -> Option<(u32, u32, u32)> {
        owner(path)
    }

    fn make_filled_directory(&self, path: &Path, uid: u32, gid: u32, mode: u32) {
        make_filled(path, uid, gid, mode);
    }

    fn swap_directory(&self, path: &Path) {
        swap(path);
    }

    fn secret(&self) -> PathBuf {
        self.0.path("secret")
    }

    fn show_secret(&self, shown: bool) {
        if shown {
            fs::write(self.secret(), "hunter22\n").expect("written");
        } else {
            let _ = fs::remove_file(self.secret());
        }
    }

    fn runs_scripts(&self) -> bool {
        true
    }

    fn environment(&self) -> Vec<String> {
        // From the configuration that Proxmox makes for LXC.
        vec!["TERM=linux".to_owned()]
    }

    fn has_sentinels(&self) -> bool {
        false
    }
}
