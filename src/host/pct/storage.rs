//! `/etc/pve/storage.cfg`: the storages and what each can do with containers.
//!
//! What a storage can do depends on its type alone; so a plan that it cannot carry out is refused before anything is done. Not
//! here: what lies on a storage, and whether it can be reached: a dead NFS server holds up whoever looks.

use std::path::{Path, PathBuf};

use super::stanza::{self, Stanza};

/// One storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Its name.
    pub name: String,
    /// Its type, as written: `dir`, `zfspool`, `lvmthin`, ...
    pub kind: String,
    /// Where its files are, if it keeps files.
    pub path: Option<PathBuf>,
    /// What it may hold: `rootdir`, `vztmpl`, `snippets`, ...
    pub content: Vec<String>,
    /// The nodes that have it; all if none is named.
    pub nodes: Vec<String>,
    /// Whether it is switched off.
    pub disabled: bool,
    /// What it can do with containers; `None` if none can be on it. Of a type that is not known nothing is expected but that
    /// containers can be on it where it says so, which is what Proxmox goes by. From its source, not yet run.
    pub abilities: Option<Abilities>,
    /// Whether what is removed is overwritten first (`saferemove`), while `pct` waits. From the documentation, not yet run.
    pub overwrites: bool,
    /// Where templates are below [`Self::path`], if not where they are by default.
    templates: Option<String>,
    snippets: Option<String>,
    pool: Option<String>,
    mount_point: Option<PathBuf>,
}

/// What a storage can do with containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Snapshots can be taken.
    pub snapshots: bool,
    /// A snapshot can be copied in full, so that the source of a clone need not stop.
    pub copies_from_snapshot: bool,
    /// Containers can become templates, of which linked clones are made.
    pub templates: bool,
}

/// Where templates are below a storage's path.
const TEMPLATES: &str = "template/cache";

/// The types that are known to have containers on them. A subvolume of btrfs cannot be copied from a snapshot, only an image on it can.
const KINDS: [(&str, Abilities); 8] = {
    let files = can(false, false, true);
    [
        ("dir", files),
        ("nfs", files),
        ("cifs", files),
        ("btrfs", can(true, true, true)),
        ("zfspool", can(true, false, true)),
        ("lvm", can(false, false, false)),
        ("lvmthin", can(true, true, true)),
        ("rbd", can(true, true, true)),
    ]
};

const fn can(snapshots: bool, copies_from_snapshot: bool, templates: bool) -> Abilities {
    Abilities { snapshots, copies_from_snapshot, templates }
}

/// What a storage holds whose stanza does not say: all types may hold more, if they are told. From the documentation, not yet
/// run.
const CONTENT_DEFAULTS: [(&str, &[&str]); 9] = [
    ("dir", &["images", "rootdir"]),
    ("btrfs", &["images", "rootdir"]),
    ("zfspool", &["images", "rootdir"]),
    ("lvmthin", &["images", "rootdir"]),
    ("lvm", &["images"]),
    ("rbd", &["images"]),
    ("nfs", &["images"]),
    ("cifs", &["images"]),
    ("cephfs", &["backup"]),
];

impl Storage {
    /// Whether a node has it and it is on.
    pub fn is_on(&self, node: &str) -> bool {
        !self.disabled && (self.nodes.is_empty() || self.nodes.iter().any(|name| name == node))
    }

    /// Whether it may hold this kind of content.
    pub fn holds(&self, content: &str) -> bool {
        self.content.iter().any(|kind| kind == content)
    }

    /// Whether what its type can do is known.
    pub fn is_known(&self) -> bool {
        KINDS.iter().any(|(kind, _)| *kind == self.kind)
    }

    /// Whether a volume of it can be copied from a snapshot; `volume` is its name behind the colon.
    pub fn copies_from_snapshot(&self, volume: &str) -> bool {
        let subvolume = self.kind == "btrfs" && Path::new(volume).extension().is_some_and(|suffix| suffix == "subvol");
        self.abilities.is_some_and(|can| can.copies_from_snapshot) && !subvolume
    }

    /// Whether a snapshot of a container freezes the file systems that lie on it, beside the container.
    pub fn freezes(&self) -> bool {
        self.kind == "rbd"
    }

    /// Where its file systems are mounted: the files of a storage that keeps files, the datasets of a ZFS pool.
    pub fn file_system(&self) -> Option<PathBuf> {
        let datasets = self.mount_point.clone().or_else(|| Some(Path::new("/").join(self.pool.as_ref()?)));
        self.path.clone().or_else(|| datasets.filter(|_| self.kind == "zfspool"))
    }

    /// Whether its files are surely on this machine, so that looking at them cannot hang.
    pub fn is_local(&self) -> bool {
        matches!(self.kind.as_str(), "dir" | "btrfs")
    }

    /// Where its templates are; `None` if it keeps no files.
    pub fn template_directory(&self) -> Option<PathBuf> {
        Some(self.path.as_ref()?.join(self.templates.as_deref().unwrap_or(TEMPLATES).trim_start_matches('/')))
    }

    /// The file of a template or snippet, as `vztmpl/debian.tar.zst` behind the colon; `None` if it keeps no such files.
    pub fn file(&self, volume: &str) -> Option<PathBuf> {
        let (content, name) = volume.split_once('/')?;
        let below = match content {
            "vztmpl" => return plain_name(name).then_some(self.template_directory()?.join(name)),
            "snippets" => self.snippets.as_deref().unwrap_or("snippets"),
            _ => return None,
        };
        plain_name(name).then_some(self.path.as_ref()?.join(below.trim_start_matches('/')).join(name))
    }
}

/// Reads the storages in order. One that is named nowhere is there all the same: `local`, in `/var/lib/vz`.
pub fn parse(text: &str) -> Vec<Storage> {
    let mut found: Vec<Storage> = stanza::parse(text).iter().map(read).collect();
    if !found.iter().any(|storage| storage.name == "local") {
        let text = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,backup,rootdir,images,snippets,import\n";
        found.extend(stanza::parse(text).iter().map(read));
    }
    found
}

/// The storage and the rest of a volume's name: `local:vztmpl/debian.tar.zst`.
pub fn of_volume<'a, 'b>(storages: &'a [Storage], volume: &'b str) -> Option<(&'a Storage, &'b str)> {
    let (name, rest) = volume.split_once(':')?;
    Some((storages.iter().find(|storage| storage.name == name)?, rest))
}

fn plain_name(name: &str) -> bool {
    !name.is_empty() && !name.contains("..") && !name.starts_with('/')
}

fn read(stanza: &Stanza) -> Storage {
    let path = stanza.get("path").map(PathBuf::from);
    let mounted = matches!(stanza.kind.as_str(), "nfs" | "cifs" | "cephfs" | "glusterfs");
    let special = |content: &str| {
        let of = |word: &str| word.strip_prefix(content)?.strip_prefix('=').map(str::to_owned);
        stanza.list("content-dirs").find_map(of)
    };
    let of_kind = || CONTENT_DEFAULTS.iter().find(|(kind, _)| *kind == stanza.kind).map_or(&[][..], |(_, content)| content);
    let by_default = || of_kind().iter().map(|&content| content.to_owned()).collect();
    let content: Vec<String> = stanza.get("content").map_or_else(by_default, |_| stanza.list("content").map(str::to_owned).collect());
    let known = KINDS.iter().find(|(kind, _)| *kind == stanza.kind).map(|(_, abilities)| *abilities);
    let says_so = content.iter().any(|kind| kind == "rootdir");
    Storage {
        name: stanza.name.clone(),
        kind: stanza.kind.clone(),
        path: path.or_else(|| mounted.then(|| Path::new("/mnt/pve").join(&stanza.name))),
        content,
        nodes: stanza.list("nodes").map(str::to_owned).collect(),
        disabled: stanza.is_on("disable"),
        abilities: known.or_else(|| says_so.then_some(can(false, false, false))),
        overwrites: stanza.is_on("saferemove"),
        templates: special("vztmpl"),
        snippets: special("snippets"),
        pool: stanza.get("pool").map(str::to_owned),
        mount_point: stanza.get("mountpoint").map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "dir: local\n\tpath /var/lib/vz\n\tcontent iso,vztmpl,rootdir,snippets\n\n\
        zfspool: tank\n\tpool rpool/data\n\tcontent images,rootdir\n\tnodes pve1,pve2\n\n\
        lvmthin: thin\n\tthinpool data\n\tvgname pve\n\tcontent rootdir,images\n\tdisable\n\n\
        nfs: share\n\tserver 10.0.0.2\n\texport /srv\n\tcontent vztmpl\n\tcontent-dirs vztmpl=templates/ct\n\n\
        btrfs: btr\n\tpath /srv/btr\n\tcontent rootdir\n\npbs: backup\n\tserver 10.0.0.3\n\tcontent backup\n";

    fn storage(name: &str) -> Storage {
        parse(TEXT).into_iter().find(|storage| storage.name == name).expect("a storage")
    }

    #[test]
    fn a_storage_can_what_its_type_can() {
        let can = |name: &str| storage(name).abilities.map(|can| (can.snapshots, can.copies_from_snapshot, can.templates));
        assert_eq!(can("local"), Some((false, false, true)));
        assert_eq!(can("tank"), Some((true, false, true)));
        assert_eq!(can("thin"), Some((true, true, true)));
        assert_eq!(can("backup"), None);
        let other = &parse("drbd: san\n\tcontent images,rootdir\n")[0];
        assert_eq!(other.abilities, Some(super::can(false, false, false)));
        assert!(!other.is_known() && storage("tank").is_known());
        assert_eq!(parse("drbd: san\n\tcontent images\n")[0].abilities, None);
        let btr = storage("btr");
        assert!(btr.copies_from_snapshot("110/vm-110-disk-0.raw") && !btr.copies_from_snapshot("110/subvol-110-disk-0.subvol"));
    }

    #[test]
    fn a_storage_is_there_where_it_says_so() {
        assert!(storage("local").is_on("anywhere") && storage("local").holds("vztmpl"));
        assert!(storage("tank").is_on("pve2") && !storage("tank").is_on("pve3"));
        assert!(!storage("thin").is_on("pve1"));
        assert_eq!(parse("").iter().map(|storage| storage.name.as_str()).collect::<Vec<_>>(), ["local"]);
    }

    #[test]
    fn a_storage_that_does_not_say_what_it_holds_has_what_its_type_has() {
        let of = |text: &str| parse(text)[0].clone();
        for kind in ["dir", "btrfs", "zfspool", "lvmthin"] {
            let found = of(&format!("{kind}: a\n\tdisable 0\n"));
            assert!(found.holds("rootdir") && found.holds("images") && !found.holds("vztmpl"), "{kind}");
        }
        for kind in ["lvm", "rbd", "nfs", "cifs", "cephfs", "pbs"] {
            assert!(!of(&format!("{kind}: a\n\tdisable 0\n")).holds("rootdir"), "{kind}");
        }
        assert!(!of("lvmthin: a\n\tcontent images\n").holds("rootdir"), "it says");
    }

    #[test]
    fn files_are_found_where_the_storage_keeps_them() {
        let local = storage("local");
        assert_eq!(local.file("vztmpl/a.tar.zst"), Some("/var/lib/vz/template/cache/a.tar.zst".into()));
        assert_eq!(local.file("snippets/x.pl"), Some("/var/lib/vz/snippets/x.pl".into()));
        assert_eq!(storage("share").file("vztmpl/a"), Some("/mnt/pve/share/templates/ct/a".into()));
        for wrong in ["vztmpl", "vztmpl/", "vztmpl/../../etc/passwd", "vztmpl//etc/passwd", "iso/a.iso"] {
            assert_eq!(local.file(wrong), None, "{wrong}");
        }
        assert_eq!(storage("tank").file("vztmpl/a"), None);
        assert_eq!(storage("tank").file_system(), Some("/rpool/data".into()));
        assert_eq!(parse("zfspool: z\n\tpool a/b\n\tmountpoint /srv/z\n")[0].file_system(), Some("/srv/z".into()));
        assert_eq!(parse("rbd: ceph\n\tpool a\n")[0].file_system(), None);
        assert_eq!(local.file_system(), Some("/var/lib/vz".into()));
        let storages = parse(TEXT);
        assert_eq!(
            of_volume(&storages, "tank:subvol-1").map(|(storage, rest)| (storage.kind.as_str(), rest)),
            Some(("zfspool", "subvol-1"))
        );
        assert_eq!(of_volume(&storages, "nowhere:x"), None);
    }
}
