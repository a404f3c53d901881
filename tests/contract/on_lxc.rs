//! Plain LXC as a site: real containers in a directory of the case's own.

use std::any::Any;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phoenix::host::Host;
use phoenix::ids::Ctid;
use phoenix::manifest::{Mount, Spec};

use super::hands::mark;
use super::lxc_world::World;
use super::machine::{end, left_below, make_filled, owner, print, swap};
use super::site::{Meddling, Site};

struct OnLxc(World);

/// A person's `lxc-start`.
#[expect(clippy::disallowed_methods, reason = "a test starts a container as a person does")]
fn start(path: &Path, ctid: Ctid) {
    let mut command = std::process::Command::new("lxc-start");
    let status = command.arg("-P").arg(path).args(["-n", &ctid.to_string(), "-d"]).status().expect("lxc-start runs");
    assert!(status.success(), "{ctid}: {status}");
}

pub(crate) fn site() -> Option<Box<dyn Site>> {
    Some(Box::new(OnLxc(World::new()?)))
}

impl Site for OnLxc {
    fn host(&self) -> Arc<dyn Host> {
        Arc::clone(&self.0.host)
    }

    fn again(&self) -> Arc<dyn Host> {
        Arc::new(self.0.again())
    }

    fn spec(&self, ctid: Ctid) -> Spec {
        self.0.spec(ctid)
    }

    fn enrich(&self, _: &mut Spec) {}

    fn live_spec(&self, _: Ctid) -> Option<Spec> {
        None
    }

    fn mount(&self, name: &str) -> Mount {
        self.0.mount(name, &format!("/srv/{name}"))
    }

    fn meddle(&self, ctid: Ctid, meddling: &Meddling) {
        let container = self.0.container(ctid);
        let file = container.join("phoenix.mark");
        match meddling {
            Meddling::Remove => {
                end(self.again().as_ref(), ctid);
                fs::remove_dir_all(container).expect("removed");
            }
            Meddling::Stranger => {
                end(self.again().as_ref(), ctid);
                let _ = fs::remove_dir_all(&container);
                fs::create_dir_all(container.join("rootfs/bin")).expect("a directory");
                fs::write(container.join("config"), format!("lxc.rootfs.path = dir:{}/rootfs\n", container.display())).expect("written");
            }
            Meddling::Unmark => fs::remove_file(file).expect("removed"),
            Meddling::Mark(mark) => {
                let text = format!(
                    r#"{{"schema":1,"journal":"{}","fleet":"{}","ctid":{},"incarnation":"{}","epoch":{},"left_out":1}}"#,
                    mark.journal, mark.fleet, mark.ctid, mark.incarnation, mark.epoch
                );
                fs::write(file, text + "\n").expect("written");
            }
            Meddling::KillInit => end(self.again().as_ref(), ctid),
            Meddling::Start => start(&self.0.path("lxc"), ctid),
        }
    }

    fn hold(&self, ctid: Ctid) -> Box<dyn Any> {
        Box::new(self.again().lock(&[ctid]).expect("free"))
    }

    /// As an unmounted file system looks.
    fn lose_proof(&self) {
        let journal = mark(super::fleets::ctid(100)).journal;
        fs::remove_file(self.0.path("lxc").join(format!(".phoenix-{journal}"))).expect("removed");
    }

    fn print(&self) -> String {
        print(&[self.0.path("lxc"), self.0.path("srv")])
    }

    fn left_of(&self, ctid: Ctid) -> Vec<String> {
        left_below(ctid, &[self.0.path("lxc"), self.0.path("state/results"), self.0.runtime().join("results")])
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
        Vec::new()
    }

    fn has_sentinels(&self) -> bool {
        true
    }
}
