//! Storages and volumes: every volume is a directory, whatever its storage is; what differs is what may be done with it.
//!
//! Not here: who uses a volume.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::died::{Died, Outcome, die, out};
use crate::lock;
use crate::property::size_text;
use crate::root::{Root, Vmid};
use crate::task;

/// The kinds of storage that are known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageKind {
    /// A directory: no snapshots, no linked clones.
    Dir,
    /// BTRFS: snapshots, linked clones, full clones from everything.
    Btrfs,
    /// Thin LVM: snapshots, linked clones of templates and snapshots.
    LvmThin,
    /// ZFS: snapshots, linked clones of templates; no full clones from snapshots.
    ZfsPool,
    /// Thick LVM: nothing but full clones.
    Lvm,
    /// Ceph: as thin LVM, and snapshots freeze file systems (which is left out here).
    Rbd,
}

/// What can be done with a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feature {
    Snapshot,
    LinkedClone,
    FullClone,
    Template,
}

/// Where it is done from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Current,
    Snapshot,
    Template,
}

/// One storage of `storage.cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Storage {
    pub(crate) name: String,
    pub(crate) kind: StorageKind,
    /// Where its volumes are: a path of the host, or a directory of the fake's own.
    directory: PathBuf,
}

/// `STORAGE:NAME`, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Volume {
    pub(crate) storage: Storage,
    /// `100/vm-100-disk-0.raw`, or `vm-100-disk-0` where volumes have no files.
    pub(crate) name: String,
}

impl StorageKind {
    const ALL: [(&'static str, Self); 6] = [
        ("dir", Self::Dir),
        ("btrfs", Self::Btrfs),
        ("lvmthin", Self::LvmThin),
        ("zfspool", Self::ZfsPool),
        ("lvm", Self::Lvm),
        ("rbd", Self::Rbd),
    ];

    /// As `storage.cfg` calls it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, kind)| *kind == self).map_or("dir", |(name, _)| name)
    }

    /// Whether its volumes are files of a directory.
    pub fn has_path(self) -> bool {
        matches!(self, Self::Dir | Self::Btrfs)
    }

    fn can(self, feature: Feature, from: Source) -> bool {
        match (self, feature) {
            (Self::Dir, Feature::Snapshot | Feature::LinkedClone) => false,
            (Self::Dir, Feature::FullClone) => from != Source::Snapshot,
            (Self::Btrfs, _) => true,
            (Self::LvmThin | Self::Rbd, Feature::LinkedClone) => from != Source::Current,
            (Self::LvmThin | Self::Rbd, Feature::Snapshot | Feature::FullClone) => true,
            (Self::ZfsPool, Feature::LinkedClone) => from == Source::Template,
            (Self::ZfsPool, Feature::FullClone) => from != Source::Snapshot,
            (Self::ZfsPool, Feature::Snapshot) => true,
            (Self::Lvm, Feature::FullClone) => from == Source::Current,
            (Self::Lvm, Feature::Snapshot | Feature::LinkedClone | Feature::Template) => false,
            (Self::Dir | Self::LvmThin | Self::ZfsPool | Self::Rbd, Feature::Template) => from == Source::Current,
        }
    }
}

impl Storage {
    /// All storages, in the order of the file.
    pub(crate) fn all(root: &Root) -> Vec<Self> {
        let text = fs::read_to_string(root.join("etc/pve/storage.cfg")).unwrap_or_default();
        let mut found: Vec<Self> = Vec::new();
        for line in text.lines() {
            if let Some((kind, name)) = line.split_once(':').filter(|_| !line.starts_with(['\t', ' ', '#'])) {
                let name = name.trim().to_owned();
                let kind = StorageKind::ALL.iter().find(|(known, _)| *known == kind).map_or(StorageKind::Dir, |(_, kind)| *kind);
                found.push(Self { directory: root.test("volumes").join(&name), name, kind });
            } else if let (Some(path), Some(storage)) = (line.trim().strip_prefix("path "), found.last_mut()) {
                storage.directory = PathBuf::from(path.trim());
            }
        }
        found
    }

    pub(crate) fn named(root: &Root, name: &str) -> Outcome<Self> {
        let found = Self::all(root).into_iter().find(|storage| storage.name == name);
        found.ok_or_else(|| Died::new(format!("storage '{name}' does not exist")))
    }

    pub(crate) fn templates(&self) -> PathBuf {
        self.directory.join("template/cache")
    }

    pub(crate) fn snippet(&self, name: &str) -> PathBuf {
        self.directory.join("snippets").join(name)
    }

    fn images(&self) -> PathBuf {
        if self.kind.has_path() { self.directory.join("images") } else { self.directory.clone() }
    }

    /// Every volume, by name.
    pub(crate) fn volumes(&self) -> Vec<Volume> {
        let names = |directory: PathBuf| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| !name.contains('@')).collect::<Vec<_>>()
        };
        let images = self.images();
        let mut found: Vec<String> = if self.kind.has_path() {
            let within = |id: String| names(images.join(&id)).into_iter().map(move |name| format!("{id}/{name}"));
            names(images.clone()).into_iter().flat_map(within).collect()
        } else {
            names(images)
        };
        if self.kind == StorageKind::Btrfs {
            let suffix = |name: &String| if name.contains("vol-") { ".subvol" } else { ".raw" };
            found.iter_mut().for_each(|name| name.push_str(suffix(name)));
        }
        found.sort_unstable();
        found.into_iter().map(|name| Volume { storage: self.clone(), name }).collect()
    }

    /// The first name that no volume of this container has.
    fn free_name(&self, id: Vmid, kind: &str) -> String {
        let taken = self.volumes();
        let number = |volume: &Volume| volume.number_for(id);
        let numbers: Vec<u32> = taken.iter().filter_map(number).collect();
        let free = (0..=u32::MAX).find(|number| !numbers.contains(number)).unwrap_or(0);
        self.spelled(id, &format!("{kind}-{id}-disk-{free}"))
    }

    fn spelled(&self, id: Vmid, base: &str) -> String {
        let suffix = if base.contains("vol-") { "subvol" } else { "raw" };
        if self.kind.has_path() { format!("{id}/{base}.{suffix}") } else { base.to_owned() }
    }

    /// Makes an empty volume. `bytes` of 0 stands for a directory without a limit.
    pub(crate) fn allocate(&self, root: &Root, id: Vmid, bytes: u64, owner: u32) -> Outcome<Volume> {
        let _held = lock::storage(root, &self.name)?;
        let is_directory = self.kind == StorageKind::ZfsPool || (bytes == 0 && self.kind.has_path());
        let name = self.free_name(id, if is_directory { "subvol" } else { "vm" });
        let volume = Volume { storage: self.clone(), name };
        let path = volume.path();
        if self.kind == StorageKind::Dir && !is_directory {
            out(&format!("Formatting '{}', fmt=raw size={bytes} preallocation=off", path.display()));
        }
        let failed = |error: &io::Error| Died::io("make the volume", &path, error);
        if let Some(parent) = path.parent() {
            make_parent(parent).map_err(|error| failed(&error))?;
        }
        fs::create_dir(&path).map_err(|error| failed(&error))?;
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).map_err(|error| failed(&error))?;
        chown(&path, Some(owner), Some(owner)).map_err(|error| failed(&error))?;
        volume.set_size(root, bytes)?;
        if !is_directory {
            format_said(bytes);
        }
        Ok(volume)
    }
}

/// The directory of a container's volumes, which is closed to others.
fn make_parent(parent: &Path) -> io::Result<()> {
    if parent.is_dir() {
        return Ok(());
    }
    if let Some(images) = parent.parent() {
        fs::create_dir_all(images)?;
    }
    fs::DirBuilder::new().recursive(true).mode(0o740).create(parent)
}

/// What `mkfs.ext4` says; there is no such file system here.
pub(crate) fn format_said(bytes: u64) {
    let blocks = bytes / 4096;
    out(&format!("Creating filesystem with {blocks} 4k blocks and {} inodes", blocks / 4));
    let mut random = [0_u8; 16];
    // All zeros would do as well.
    let _ = getrandom::fill(&mut random);
    let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    out(&format!("Filesystem UUID: {}", parts.join("-")));
    out("Superblock backups stored on blocks: ");
    let powers = |base: u64| std::iter::successors(Some(base), move |power| power.checked_mul(base));
    let mut groups = vec![1];
    for base in [3, 5, 7] {
        groups.extend(powers(base).take_while(|group| group * 32768 < blocks));
    }
    groups.sort_unstable();
    let backups = groups.iter().map(|group| group * 32768).filter(|block| *block < blocks);
    out(&format!("\t{}", backups.map(|block| block.to_string()).collect::<Vec<_>>().join(", ")));
}

impl Volume {
    pub(crate) fn parse(root: &Root, id: &str) -> Outcome<Self> {
        let Some((storage, name)) = id.split_once(':') else { return die(format!("unable to parse volume ID '{id}'")) };
        Ok(Self { storage: Storage::named(root, storage)?, name: name.to_owned() })
    }

    pub(crate) fn id(&self) -> String {
        format!("{}:{}", self.storage.name, self.name)
    }

    /// The last part, without a suffix.
    fn base(&self) -> &str {
        let last = self.name.rsplit('/').next().unwrap_or(&self.name);
        last.strip_suffix(".raw").or_else(|| last.strip_suffix(".subvol")).unwrap_or(last)
    }

    /// Whether it is a plain directory also in the real thing.
    pub(crate) fn is_directory(&self) -> bool {
        self.base().starts_with("subvol") || self.base().starts_with("basevol")
    }

    /// Its number, if it is a disk of this container.
    fn number_for(&self, id: Vmid) -> Option<u32> {
        let rest = ["vm", "subvol", "base", "basevol"].iter().find_map(|kind| self.base().strip_prefix(&format!("{kind}-{id}-disk-")))?;
        rest.parse().ok()
    }

    pub(crate) fn owner(&self) -> Option<Vmid> {
        self.base().split('-').nth(1)?.parse().ok()
    }

    /// Where its files are.
    pub(crate) fn path(&self) -> PathBuf {
        let images = self.storage.images();
        match (self.storage.kind, self.name.split_once('/')) {
            (StorageKind::Btrfs, Some((id, _))) => images.join(id).join(self.base()),
            (
                StorageKind::Btrfs | StorageKind::Dir | StorageKind::LvmThin | StorageKind::ZfsPool | StorageKind::Lvm | StorageKind::Rbd,
                _,
            ) => images.join(&self.name),
        }
    }

    /// Where the files of a snapshot are.
    pub(crate) fn snapshot_path(&self, name: &str) -> PathBuf {
        let mut path = self.path().into_os_string();
        path.push(format!("@{name}"));
        PathBuf::from(path)
    }

    fn size_file(&self, root: &Root) -> PathBuf {
        root.test("sizes").join(self.id().replace('/', "_"))
    }

    pub(crate) fn set_size(&self, root: &Root, bytes: u64) -> Outcome {
        write_size(&self.size_file(root), bytes)
    }

    /// Its file system gets as large as it is. There is none here; what is kept is its size, from its first growth on.
    pub(crate) fn grow_file_system(&self, root: &Root) -> Outcome {
        write_size(&root.test("grown").join(self.id().replace('/', "_")), self.size(root))
    }

    pub(crate) fn size(&self, root: &Root) -> u64 {
        fs::read_to_string(self.size_file(root)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// As it stands in a configuration: `size=8G`.
    pub(crate) fn size_text(&self, root: &Root) -> String {
        size_text(self.size(root))
    }

    pub(crate) fn can(&self, feature: Feature, from: Source) -> bool {
        let thin_copy = feature == Feature::LinkedClone && from != Source::Template && self.is_directory();
        !thin_copy && self.storage.kind.can(feature, from)
    }

    /// Copies everything in `from` to a new volume of `to` in `storage`.
    pub(crate) fn copy(
        &self,
        root: &Root,
        from: &PathBuf,
        storage: &Storage,
        to: Vmid,
        linked: bool,
        made: &mut Vec<Self>,
    ) -> Outcome<Self> {
        let _held = if linked { Some(lock::storage(root, &storage.name)?) } else { None };
        let name = storage.free_name(to, if self.is_directory() { "subvol" } else { "vm" });
        let volume = Self { storage: storage.clone(), name };
        made.push(volume.clone());
        copy_tree(from, &volume.path())?;
        volume.set_size(root, self.size(root))?;
        Ok(volume)
    }

    /// Turns it into a template's; it may get another name.
    pub(crate) fn make_base(&self, root: &Root) -> Outcome<Self> {
        if self.storage.kind == StorageKind::Dir && self.is_directory() {
            // The real one makes the directory immutable, and cannot remove it any more.
            let marks = root.test("immutable");
            let marked = fs::create_dir_all(&marks).and_then(|()| fs::write(marks.join(self.id().replace('/', "_")), ""));
            marked.map_err(|error| Died::io("mark", &marks, &error))?;
            return Ok(self.clone());
        }
        let base = self.base().replacen("vm-", "base-", 1).replacen("subvol-", "basevol-", 1);
        let name = self.owner().map_or(base.clone(), |id| self.storage.spelled(id, &base));
        let renamed = Self { storage: self.storage.clone(), name };
        fs::rename(self.path(), renamed.path()).map_err(|error| Died::io("rename", &self.path(), &error))?;
        renamed.set_size(root, self.size(root))?;
        Ok(renamed)
    }

    /// Whether removing it fails, as for templates on directories.
    pub(crate) fn is_immutable(&self, root: &Root) -> bool {
        root.test("immutable").join(self.id().replace('/', "_")).exists()
    }

    /// Removes it and its snapshots.
    pub(crate) fn free(&self, root: &Root) -> Outcome {
        let _held = lock::storage(root, &self.storage.name)?;
        let path = self.path();
        if self.is_immutable(root) {
            let place = "at /usr/share/perl5/PVE/Storage/Plugin.pm line 1005.";
            out(&format!("cannot make directory read+writeable for {}: Operation not permitted {place}", path.display()));
            for entry in fs::read_dir(&path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
                out(&format!("cannot remove directory for {}: Operation not permitted {place}", entry.path().display()));
            }
            out(&format!("cannot remove directory for {}: Operation not permitted {place}", path.display()));
            return Ok(());
        }
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let siblings = path.parent().and_then(|parent| fs::read_dir(parent).ok()).into_iter().flatten().flatten();
        let snapshots = siblings.filter(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}@")));
        for path in snapshots.map(|entry| entry.path()).chain([path.clone()]) {
            match fs::remove_dir_all(&path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(Died::io("remove the volume", &path, &error)),
            }
        }
        if let Some(parent) = path.parent().filter(|_| self.storage.kind.has_path()) {
            // Not empty while there are others.
            let _ = fs::remove_dir(parent);
        }
        let _ = fs::remove_file(self.size_file(root));
        Ok(())
    }
}

fn write_size(path: &Path, bytes: u64) -> Outcome {
    let made = path.parent().map_or(Ok(()), fs::create_dir_all);
    made.and_then(|()| fs::write(path, bytes.to_string())).map_err(|error| Died::io("write", path, &error))
}

/// Copies a tree with owners, times and links.
pub(crate) fn copy_tree(from: &PathBuf, to: &PathBuf) -> Outcome {
    if let Some(parent) = to.parent() {
        make_parent(parent).map_err(|error| Died::io("make", parent, &error))?;
    }
    let text = format!("cp -a {} {}", from.display(), to.display());
    task::must(task::program("cp").arg("-a").arg("--").arg(from).arg(to), &text)
}
