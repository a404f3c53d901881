//! A node of a test's own: the `pct` for tests in a root of its own, storages of several kinds, and a busybox template.
//!
//! Apart from the tests so that they read as facts. Containers are removed when the world is dropped, also by a panic.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix::host::Host;
use phoenix::host::pct::{Pct, PctOptions};
use phoenix::ids::{Ctid, IdMap, Step};
use phoenix::machine::{Evidence, StepResult};
use phoenix::manifest::{Autostart, Mount, Origin, Ready, ReadyProbe, Resources, Spec, Template, Volume};
use phoenix::plan::{Action, StartPurpose};
use phoenix::shim::ShimBinary;
use phoenix_test_pct::{Installed, StorageKind, Vmid};

use crate::hands::{Hands, mark};
use crate::{archive, fleets};

/// The host id of the containers' root, which Proxmox takes for granted.
pub(crate) const HOST_ROOT: u32 = 100_000;

pub(crate) struct World {
    // In the order they are dropped: what runs first, the directories last.
    pub(crate) node: Installed,
    hands: Hands,
    pub(crate) runtime: tempfile::TempDir,
    directory: tempfile::TempDir,
}

/// The template that the storage `local` has.
pub(crate) const TEMPLATE: &str = "local:vztmpl/busybox.tar";

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
        let node = Installed::new(&directory.path().join("node")).expect("the programs");
        node.storage("btr", StorageKind::Btrfs).expect("a storage");
        node.storage("thin", StorageKind::LvmThin).expect("a storage");
        let template = directory.path().join("busybox.tar");
        archive::template(&template, &[]);
        node.template(&template, "busybox.tar").expect("a template");
        std::fs::create_dir(directory.path().join("srv")).expect("a directory");
        let runtime = tempfile::tempdir_in("/dev/shm").expect("a directory in memory");
        let host = Pct::new(options(node.root().path(), directory.path(), runtime.path())).expect("a host");
        host.settle_in(&mark(fleets::ctid(900_700)).journal).expect("settled in");
        Some(Self { node, hands: Hands::new(Arc::new(host)), runtime, directory })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The host after a crash of the machine: another boot, and nothing in the runtime directory.
    pub(crate) fn after_a_host_crash(&self) -> Hands {
        let runtime = self.path("runtime-of-the-next-boot");
        std::fs::create_dir(&runtime).expect("a directory");
        std::fs::write(self.path("boot"), "the-next-boot\n").expect("written");
        let mut options = options(self.node.root().path(), self.directory.path(), &runtime);
        options.boot_id_file = Some(self.path("boot"));
        Hands::new(Arc::new(Pct::new(options).expect("a host")))
    }

    #[expect(clippy::unused_self, reason = "called as on every other world")]
    pub(crate) fn spec(&self, ctid: Ctid) -> Spec {
        Spec {
            hostname: format!("ct{ctid}").parse().expect("a host name"),
            origin: Origin::Template(Template::Stored(TEMPLATE.to_owned())),
            idmap: IdMap::shifted(HOST_ROOT, 65_536).expect("a map"),
            resources: Resources { memory_mb: 128, swap_mb: 64, cores: Some(1), disk_gb: Some(1) },
            features: Vec::new(),
            health: Vec::new(),
            ready: Ready { probe: ReadyProbe::Init, timeout: Duration::from_secs(10) },
            autostart: Autostart { enabled: true, order: Some(3), up_delay_s: None, down_timeout_s: None },
            ..fleets::spec(ctid.get())
        }
    }

    pub(crate) fn clone_of(&self, source: Ctid, ctid: Ctid) -> Spec {
        Spec { origin: Origin::Clone { source }, ..self.spec(ctid) }
    }

    pub(crate) fn mount(&self, name: &str, at: &str) -> Mount {
        let volume = Volume { source: self.path("srv").join(name), ..fleets::volume(name) };
        Mount { volume, at: at.parse().expect("a target"), read_only: false }
    }

    pub(crate) fn config(&self, ctid: Ctid) -> String {
        self.node.conf(vmid(ctid)).unwrap_or_default()
    }

    /// The verbs of `pct` that were called, in order, since the calls were last forgotten.
    pub(crate) fn verbs(&self) -> Vec<String> {
        self.node.calls().into_iter().filter_map(|call| call.argv.get(1).cloned()).collect()
    }

    /// A person's `pct`.
    #[track_caller]
    #[expect(clippy::disallowed_methods, reason = "a test runs `pct` as a person does")]
    pub(crate) fn pct(&self, words: &[&str]) {
        let output = std::process::Command::new(self.node.program("pct")).args(words).output().expect("pct starts");
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// As far as the first start goes.
    pub(crate) fn finalized(&self, spec: &Spec) {
        let first = Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
        let Evidence::Started { init, .. } = self.done(spec, Step::FinalizeStart, first) else { panic!("not started") };
        let read = self.done(spec, Step::FinalizeIdmap, Action::ReadIdmap { init: init.clone() });
        assert_eq!(read, Evidence::Idmap { init: init.clone(), idmap: spec.idmap.clone() });
        assert_eq!(self.done(spec, Step::FinalizeStop, Action::Stop { init: Some(init) }), Evidence::Stopped);
    }

    /// Whether nothing is left of a container: no configuration, volume, mount.
    #[track_caller]
    pub(crate) fn is_clean(&self, ctid: Ctid) {
        assert_eq!(self.node.conf(vmid(ctid)), None);
        assert_eq!(self.node.mounts(vmid(ctid)), Vec::<PathBuf>::new());
        assert_eq!(self.volumes(ctid), Vec::<String>::new());
    }

    /// Every volume of a container's number, on any storage.
    pub(crate) fn volumes(&self, ctid: Ctid) -> Vec<String> {
        let places = ["var/lib/vz", "var/lib/vz/btr"].map(|place| self.node.root().join(place).join("images").join(ctid.to_string()));
        let places = places.into_iter().chain([self.node.root().join("test/volumes/thin")]);
        let entries = places.flat_map(|place| std::fs::read_dir(place).into_iter().flatten().flatten());
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name.contains(&format!("-{ctid}-disk-"))).collect()
    }
}

impl std::ops::Deref for World {
    type Target = Hands;

    fn deref(&self) -> &Hands {
        &self.hands
    }
}

pub(crate) fn vmid(ctid: Ctid) -> Vmid {
    Vmid::new(ctid.get())
}

/// The words of a leftover.
#[track_caller]
pub(crate) fn partial(result: StepResult) -> String {
    match result {
        StepResult::Partial { leftover } => leftover,
        StepResult::Done(_)
        | StepResult::Failed(_)
        | StepResult::Absent
        | StepResult::Foreign { .. }
        | StepResult::Gone
        | StepResult::Unknown { .. }
        | StepResult::Interrupted => panic!("{result:?}"),
    }
}

pub(crate) fn options(root: &Path, directory: &Path, runtime: &Path) -> PctOptions {
    let mut options = PctOptions::new(directory.join("state"));
    root.clone_into(&mut options.root);
    options.runtime = Some(runtime.to_owned());
    options.shim = ShimBinary::At(PathBuf::from(env!("CARGO_BIN_EXE_phoenix")));
    options
}
