//! Plain LXC as a site: real containers in a directory of the case's own.

use std::any::Any;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix::host::Host;
use phoenix::ids::Ctid;
use phoenix::manifest::{Mount, Spec};
use rustix::process::{Pid, Signal, kill_process};

use super::hands::mark;
use super::site::{Meddling, Site};
use super::tree::tree;
use super::world::World;

/// How long the kernel and a monitor may take to be done with a container.
const ENDING: Duration = Duration::from_secs(20);

struct OnLxc(World);

pub(crate) fn site() -> Option<Box<dyn Site>> {
    Some(Box::new(OnLxc(World::new()?)))
}

impl OnLxc {
    /// Kills the init, if one is up, and waits until nothing of the container runs.
    fn end(&self, ctid: Ctid) {
        let host = self.again();
        let seen = |host: &dyn Host| host.observe(None, &[ctid]).expect("a look").containers.remove(&ctid).and_then(|seen| seen.init);
        let Some(init) = seen(host.as_ref()) else { return };
        let pid = i32::try_from(init.pid).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, Signal::KILL).expect("killed");
        let until = host.now().expect("a time").moment.after(ENDING);
        while seen(host.as_ref()).is_some() {
            assert!(until.remaining(&host.now().expect("a time").moment).is_some_and(|left| !left.is_zero()), "{ctid} does not end");
            std::thread::yield_now();
        }
    }
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

    fn mount(&self, name: &str) -> Mount {
        self.0.mount(name, &format!("/srv/{name}"))
    }

    fn meddle(&self, ctid: Ctid, meddling: &Meddling) {
        let container = self.0.container(ctid);
        let file = container.join("phoenix.mark");
        match meddling {
            Meddling::Remove => {
                self.end(ctid);
                fs::remove_dir_all(container).expect("removed");
            }
            Meddling::Stranger => {
                self.end(ctid);
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
            Meddling::KillInit => self.end(ctid),
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
        let mut found = std::collections::BTreeMap::new();
        for name in ["lxc", "srv"] {
            tree(&self.0.path(name), name, &mut found);
        }
        let lines: Vec<String> = found.into_iter().map(|(name, what)| format!("{name}: {what}")).collect();
        lines.join("\n")
    }

    fn left_of(&self, ctid: Ctid) -> Vec<String> {
        let number = ctid.to_string();
        let mut left = Vec::new();
        for place in [self.0.path("lxc"), self.0.path("state/results"), self.0.runtime().join("results")] {
            for entry in fs::read_dir(&place).into_iter().flatten().flatten() {
                // A directory of results stays, empty.
                let is_empty = fs::read_dir(entry.path()).is_ok_and(|mut within| within.next().is_none());
                if entry.file_name().to_string_lossy().contains(&number) && !is_empty {
                    left.push(entry.path().display().to_string());
                }
            }
        }
        left
    }

    fn directory(&self, path: &Path) -> Option<(u32, u32, u32)> {
        let meta = fs::symlink_metadata(path).ok()?;
        Some((meta.uid(), meta.gid(), meta.mode() & 0o7777))
    }

    fn make_filled_directory(&self, path: &Path, uid: u32, gid: u32, mode: u32) {
        fs::create_dir(path).expect("a directory");
        fs::write(path.join("file"), "theirs").expect("written");
        chown(path, Some(uid), Some(gid)).expect("given");
        fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("a mode");
    }

    fn swap_directory(&self, path: &Path) {
        let aside = path.with_extension("aside");
        fs::rename(path, aside).expect("renamed");
        fs::create_dir(path).expect("a directory");
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
}
