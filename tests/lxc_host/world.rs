//! A container directory of a test's own, and a busybox template.
//!
//! Apart from the tests so that they read as facts. Containers are removed when the world is dropped, also by a panic.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::ops::Deref;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix::host::Host;
use phoenix::host::lxc::{Lxc, LxcOptions};
use phoenix::ids::{Ctid, IdMap};
use phoenix::manifest::{Autostart, Mount, Origin, Ready, ReadyProbe, Resources, Spec, Template, Volume};
use phoenix::shim::ShimBinary;

use crate::archive::template;
use crate::fleets;
use crate::hands::{Hands, mark};

/// The host ids of the test containers: root's own range in `/etc/subuid`.
pub(crate) const HOST_ROOT: u32 = 100_000;

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    /// In memory, as `/run` is.
    runtime: tempfile::TempDir,
    hands: Hands,
}

impl Deref for World {
    type Target = Hands;

    fn deref(&self) -> &Hands {
        &self.hands
    }
}

impl World {
    /// A world, or `None` with the reason printed where there is none to be had.
    pub(crate) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/lxc-start").exists() || !Path::new("/bin/busybox").exists() {
            let required = std::env::var_os("PHOENIX_TEST_LXC").is_some_and(|value| value == "require");
            assert!(!required, "LXC is required here: needs root, lxc and a static busybox");
            eprintln!("skipped: needs root, lxc and a static busybox");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        // The container's root has to get through to its own root file system.
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        for name in ["lxc", "srv"] {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        template(&directory.path().join("template.tar"), &[]);
        let runtime = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let host = Lxc::new(options(directory.path(), runtime.path())).expect("a host");
        host.settle_in(&mark(fleets::ctid(900_200)).journal).expect("settled in");
        Some(Self { directory, runtime, hands: Hands::new(Arc::new(host)) })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    /// The same host as a process started later would see it.
    pub(crate) fn again(&self) -> Lxc {
        Lxc::new(options(self.directory.path(), self.runtime.path())).expect("a host")
    }

    /// The same host, with another program as its shim.
    pub(crate) fn with_shim(&self, shim: &str) -> Hands {
        let shim = ShimBinary::At(shim.into());
        let host = Lxc::new(LxcOptions { shim, ..options(self.directory.path(), self.runtime.path()) }).expect("a host");
        Hands::new(Arc::new(host))
    }

    pub(crate) fn container(&self, ctid: Ctid) -> PathBuf {
        self.path("lxc").join(ctid.to_string())
    }

    pub(crate) fn spec(&self, ctid: Ctid) -> Spec {
        Spec {
            hostname: format!("ct{ctid}").parse().expect("a host name"),
            origin: Origin::Template(Template::File(self.path("template.tar"))),
            idmap: IdMap::shifted(HOST_ROOT, 65536).expect("a map"),
            resources: Resources { memory_mb: 128, swap_mb: 64, cores: Some(1), disk_gb: Some(1) },
            features: Vec::new(),
            health: Vec::new(),
            ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(10) },
            autostart: Autostart { enabled: true, order: Some(3), up_delay_s: None, down_timeout_s: None },
            ..fleets::spec(ctid.get())
        }
    }

    pub(crate) fn mount(&self, name: &str, at: &str) -> Mount {
        let volume = Volume { source: self.path("srv").join(name), ..fleets::volume(name) };
        Mount { volume, at: at.parse().expect("a target"), read_only: false }
    }
}

impl Drop for World {
    #[expect(clippy::disallowed_methods, reason = "a test ends its own containers, whatever state they are in")]
    fn drop(&mut self) {
        let path = self.path("lxc");
        for entry in std::fs::read_dir(&path).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let stop = std::process::Command::new("lxc-stop").args(["-k", "-P"]).arg(&path).arg("-n").arg(name).output();
            drop(stop);
        }
        // An init whose monitor was killed is not `lxc-stop`'s any more.
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let inside = std::fs::metadata(format!("/proc/{pid}/root")).is_ok_and(|root| self.is_rootfs(&root));
            if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| inside) {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

impl World {
    fn is_rootfs(&self, root: &std::fs::Metadata) -> bool {
        let containers = std::fs::read_dir(self.path("lxc")).into_iter().flatten().flatten();
        containers
            .filter_map(|entry| std::fs::metadata(entry.path().join("rootfs")).ok())
            .any(|ours| (ours.dev(), ours.ino()) == (root.dev(), root.ino()))
    }
}

pub(crate) fn options(directory: &Path, runtime: &Path) -> LxcOptions {
    let mut options = LxcOptions::new(directory.join("state"));
    options.path = directory.join("lxc");
    options.runtime = Some(runtime.to_owned());
    options.shim = ShimBinary::At(PathBuf::from(env!("CARGO_BIN_EXE_phoenix")));
    options
}
