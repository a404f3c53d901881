//! What a ground on the `pct` for tests has beside a plain one: a root with storages and a template, and what must not be left in it.
//!
//! Not here: what both have (`ground`).

use std::fs;
use std::path::PathBuf;

use phoenix_test_pct::{Installed, StorageKind, Vmid};

use super::ground::Ground;
use super::template;

/// The storage that can take snapshots and copy from them.
pub(crate) const WITH_SNAPSHOTS: &str = "btr";
/// The one that cannot.
pub(crate) const PLAIN: &str = "local";
/// What manifests call the template; a test may put another into its place.
pub(crate) const TEMPLATE: &str = "local:vztmpl/template.tar.gz";

/// A root with both storages and the template.
pub(crate) fn install(directory: &std::path::Path) -> Installed {
    fs::create_dir(directory).expect("a directory");
    let pve = Installed::new(directory).expect("the pct for tests can be installed");
    pve.storage(WITH_SNAPSHOTS, StorageKind::Btrfs).expect("a storage");
    pve.template(template::busybox(), TEMPLATE.rsplit('/').next().expect("a name")).expect("a template");
    pve
}

impl Ground {
    /// The text of a container's configuration.
    pub(crate) fn conf(&self, place: u32) -> Option<String> {
        self.pve()?.conf(Vmid::new(self.ctid(place)))
    }

    /// Where the volume of a container's root file system is.
    pub(crate) fn volume_of_root(&self, place: u32) -> Option<PathBuf> {
        let conf = self.conf(place)?;
        let named = conf.lines().take_while(|line| !line.starts_with('[')).find_map(|line| line.strip_prefix("rootfs: "))?;
        self.volume(named.split(',').next()?)
    }

    /// Where a volume is: the directories that stand for images of BTRFS have no suffix.
    fn volume(&self, name: &str) -> Option<PathBuf> {
        let (storage, name) = name.split_once(':')?;
        let path = self.images(storage).join(name);
        Some(if storage == WITH_SNAPSHOTS { path.with_extension("") } else { path })
    }

    fn images(&self, storage: &str) -> PathBuf {
        let vz = self.path("pve/var/lib/vz");
        if storage == PLAIN { vz.join("images") } else { vz.join(storage).join("images") }
    }

    /// Every volume of every storage; snapshots are theirs.
    pub(crate) fn volumes(&self) -> Vec<PathBuf> {
        let below = |path: PathBuf| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        let all = [PLAIN, WITH_SNAPSHOTS].into_iter().flat_map(|storage| below(self.images(storage))).flat_map(below);
        all.filter(|path| !path.to_string_lossy().contains('@')).collect()
    }

    /// The configurations that are there, by name.
    pub(crate) fn confs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("pve/etc/pve/lxc")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Volumes that no configuration names, and snapshots of those.
    pub(crate) fn stray_volumes(&self) -> Vec<String> {
        let confs: Vec<String> = (0..5).filter_map(|place| self.conf(place)).collect();
        let is_named = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            confs.iter().any(|conf| conf.contains(&name))
        };
        self.volumes().iter().filter(|path| !is_named(path)).map(|path| format!("volume {}", path.display())).collect()
    }

    /// What a command of Proxmox left that was cut off: locks in configurations, half-made and left snapshots, frozen containers.
    pub(crate) fn left_by_commands(&self) -> Vec<String> {
        let mut left = self.stray_volumes();
        for place in 0..5 {
            let conf = self.conf(place).unwrap_or_default();
            let of_a_command =
                |line: &&str| ["lock: ", "snapstate: ", "[phoenix-clone]", "unused"].iter().any(|begin| line.starts_with(begin));
            left.extend(conf.lines().filter(of_a_command).map(|line| format!("{line} in the configuration of {place}")));
        }
        left.extend(self.control_groups().iter().filter(|group| is_frozen(group)).map(|group| format!("frozen {}", group.display())));
        left
    }
}

fn is_frozen(group: &std::path::Path) -> bool {
    let says = |file: &str, word: &str| fs::read_to_string(group.join(file)).is_ok_and(|text| text.trim() == word);
    says("freezer.state", "FROZEN") || says("cgroup.freeze", "1")
}

/// A configuration as far as it is the same for every incarnation: without description, and without the times of snapshots.
pub(crate) fn comparable(conf: &str) -> String {
    let same = |line: &&str| !line.starts_with('#') && !line.starts_with("snaptime: ");
    conf.lines().filter(same).collect::<Vec<_>>().join("\n")
}
