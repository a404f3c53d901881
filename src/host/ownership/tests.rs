//! Tests of the rules for shared directories, on directories of the test's own. Those that change owners need root.

use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::manifest::Owner;

pub(super) const SHIFT: u32 = 100_000;

/// A directory of root that holds `srv`, where volumes lie.
pub(super) struct Ground {
    directory: tempfile::TempDir,
    grounds: Grounds,
}

impl Ground {
    pub(super) fn new() -> Option<Self> {
        #[expect(clippy::print_stderr, reason = "a test that skips says so")]
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: changing owners needs root");
            return None;
        }
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        std::fs::create_dir(directory.path().join("srv")).expect("a directory");
        let grounds =
            Grounds { own: vec![directory.path().join("lxc")], container_mounts: false, records: directory.path().join("records") };
        Some(Self { directory, grounds })
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn volume(&self, name: &str) -> Volume {
        Volume {
            name: "media".parse().expect("a name"),
            source: self.path(name),
            owner: Owner { uid: 1000, gid: 1001 },
            mode: None,
            ownership: Ownership::Chown,
            take_ownership: false,
            recursive: false,
            nosuid_mount: None,
        }
    }

    pub(super) fn prepare(&self, volume: &Volume) -> Result<Prepared, OwnershipError> {
        let (reached, owner) = reach(volume, &map(), &self.grounds)?;
        give(volume, &reached, owner, &self.grounds)
    }
}

fn map() -> IdMap {
    IdMap::shifted(SHIFT, 65536).expect("a map")
}

pub(super) fn owner_and_mode(path: &Path) -> (u32, u32, u32) {
    let meta = std::fs::symlink_metadata(path).expect("it is there");
    (meta.uid(), meta.gid(), meta.mode() & 0o7777)
}

pub(super) fn chown(path: &Path, uid: u32, gid: u32) {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).expect("chown");
}

#[test]
fn a_missing_directory_is_made_and_given_to_the_mapped_owner() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/media");
    let prepared = ground.prepare(&volume).expect("prepared");
    assert_eq!((prepared.host_uid, prepared.host_gid, prepared.former), (SHIFT + 1000, SHIFT + 1001, None));
    assert_eq!(owner_and_mode(&volume.source), (SHIFT + 1000, SHIFT + 1001, 0o755));
    volume.mode = Some(0o2770);
    ground.prepare(&volume).expect("prepared again");
    assert_eq!(owner_and_mode(&volume.source).2, 0o2770);
    volume.source = ground.path("srv/a/b");
    assert!(matches!(ground.prepare(&volume), Err(OwnershipError::Missing { .. })), "directories above are the operator's to make");
}

#[test]
fn what_belongs_to_somebody_is_taken_only_on_request_and_remembered_once() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/media");
    std::fs::create_dir(&volume.source).expect("a directory");
    std::fs::write(volume.source.join("file"), "x").expect("a file");
    chown(&volume.source, 33, 34);
    assert!(matches!(ground.prepare(&volume), Err(OwnershipError::Taken { uid: 33, gid: 34, .. })));
    assert_eq!(owner_and_mode(&volume.source).0, 33);
    volume.take_ownership = true;
    assert_eq!(ground.prepare(&volume).expect("taken").former, Some((33, 34, 0o755)));
    assert_eq!(ground.prepare(&volume).expect("again").former, Some((33, 34, 0o755)), "the first change is what counts");
    assert_eq!(owner_and_mode(&volume.source.join("file")).0, 0, "what lies in it is not touched");
}

/// Asks the rule alone: a test that prepared these paths would, with the rule broken, give the host's directories away.
#[test]
fn system_directories_are_not_shared() {
    let grounds = Grounds { own: vec!["/data/lxc".into()], container_mounts: false, records: "/data/records".into() };
    let refused = |path: &str| matches!(refuse_protected(Path::new(path), &grounds), Err(OwnershipError::Protected { .. }));
    for path in ["/", "/etc", "/etc/x", "/var", "/var/lib", "/var/lib/lxc/101", "/run", "/root/x", "/usr/share", "/data", "/data/lxc/101"] {
        assert!(refused(path), "{path}");
    }
    for path in ["/srv/media", "/data/media", "/etcetera", "/var/lib/media"] {
        assert!(!refused(path), "{path}");
    }
    let Some(ground) = Ground::new() else { return };
    let refused = ground.prepare(&ground.volume("lxc/101"));
    assert!(matches!(refused, Err(OwnershipError::Protected { .. })), "{refused:?}");
}

#[test]
fn a_link_on_the_way_is_refused() {
    let Some(ground) = Ground::new() else { return };
    std::fs::create_dir(ground.path("real")).expect("a directory");
    symlink(ground.path("real"), ground.path("srv/link")).expect("a link");
    for name in ["srv/link", "srv/link/x"] {
        let refused = ground.prepare(&ground.volume(name));
        assert!(
            matches!(&refused, Err(OwnershipError::Link { component }) if *component == ground.path("srv/link")),
            "{name}: {refused:?}"
        );
    }
    std::fs::write(ground.path("srv/file"), "x").expect("a file");
    assert!(matches!(ground.prepare(&ground.volume("srv/file")), Err(OwnershipError::NotADirectory { .. })));
}

#[test]
fn a_way_that_others_can_exchange_is_refused() {
    let Some(ground) = Ground::new() else { return };
    std::fs::create_dir_all(ground.path("srv/a/b")).expect("a directory");
    let check = |what: &str| {
        let refused = ground.prepare(&ground.volume("srv/a/b"));
        assert!(matches!(refused, Err(OwnershipError::Exchangeable { .. })), "{what}: {refused:?}");
    };
    let a = ground.path("srv/a");
    chown(&a, SHIFT, SHIFT);
    check("owned by a container");
    chown(&a, 0, 0);
    std::fs::set_permissions(&a, PermissionsExt::from_mode(0o775)).expect("a mode");
    check("writable for the group");
    std::fs::set_permissions(&a, PermissionsExt::from_mode(0o1777)).expect("a mode");
    check("directly in a sticky directory, and about to be somebody else's");
    std::fs::create_dir(a.join("b/c")).expect("a directory");
    ground.prepare(&ground.volume("srv/a/b/c")).expect("names of root in a sticky directory pass");
}

#[test]
fn no_id_is_guessed_and_none_is_the_hosts_root() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/media");
    volume.owner.gid = 70_000;
    assert!(matches!(ground.prepare(&volume), Err(OwnershipError::OutsideMap { kind: "group", id: 70_000, .. })));
    assert!(!volume.source.exists(), "refused before anything is made");
    volume.owner = Owner { uid: 0, gid: 0 };
    assert_eq!(host_owner(&volume, &map()).ok(), Some(HostOwner { uid: SHIFT, gid: SHIFT }));
    let to_root = IdMap::shifted(0, 65535).expect("a map");
    assert!(host_owner(&volume, &to_root).is_ok(), "a privileged container's ids are the host's");
    let range = |inside, host| crate::ids::IdRange { inside, host, count: 1 };
    let crossed = IdMap::new(vec![range(0, SHIFT), range(5, 0)], vec![range(0, SHIFT), range(5, SHIFT + 1)]).expect("a map");
    volume.owner = Owner { uid: 5, gid: 5 };
    assert!(matches!(host_owner(&volume, &crossed), Err(OwnershipError::HostRoot { .. })));
}

#[test]
fn an_id_mapped_mount_wants_a_closed_directory_above() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/closed/media");
    volume.ownership = Ownership::Map;
    let closed = ground.path("srv/closed");
    std::fs::create_dir(&closed).expect("a directory");
    for (mode, fits) in [(0o755, false), (0o711, false), (0o710, true), (0o700, true)] {
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(mode)).expect("a mode");
        let prepared = ground.prepare(&volume);
        assert_eq!(prepared.is_ok(), fits, "{mode:o}: {prepared:?}");
    }
    assert_eq!(owner_and_mode(&volume.source), (1000, 1001, 0o755), "the disk holds the ids as seen inside");
    chown(&closed, 0, SHIFT);
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o710)).expect("a mode");
    ground.prepare(&volume).expect("the container's own root passes, and nobody else");
    chown(&closed, 0, 33);
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o710)).expect("a mode");
    assert!(matches!(ground.prepare(&volume), Err(OwnershipError::OpenToOthers { .. })), "a group of others passes");
}

#[test]
fn everything_below_changes_owner_without_following_anything() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/media");
    (volume.take_ownership, volume.recursive) = (true, true);
    let (tree, outside) = (volume.source.clone(), ground.path("outside"));
    std::fs::create_dir_all(tree.join("a/b")).expect("a directory");
    std::fs::create_dir(&outside).expect("a directory");
    std::fs::write(outside.join("file"), "x").expect("a file");
    std::fs::write(outside.join("shared"), "x").expect("a file");
    std::fs::hard_link(outside.join("shared"), tree.join("a/shared")).expect("a link");
    std::fs::write(tree.join("a/b/file"), "x").expect("a file");
    symlink(&outside, tree.join("a/out")).expect("a link");
    symlink(outside.join("file"), tree.join("a/b/out")).expect("a link");
    let prepared = ground.prepare(&volume).expect("prepared");
    assert_eq!(prepared.left_alone, ["a/shared"]);
    for inside in ["", "a", "a/b", "a/b/file", "a/out", "a/b/out"] {
        assert_eq!(owner_and_mode(&tree.join(inside)).0, SHIFT + 1000, "{inside}");
    }
    for left in ["", "file", "shared"] {
        assert_eq!(owner_and_mode(&outside.join(left)).0, 0, "{left}");
    }
}

#[test]
fn at_most_twenty_names_are_reported() {
    let Some(ground) = Ground::new() else { return };
    let mut volume = ground.volume("srv/media");
    (volume.take_ownership, volume.recursive) = (true, true);
    std::fs::create_dir(&volume.source).expect("a directory");
    for index in 0..30 {
        let name = volume.source.join(format!("f{index}"));
        std::fs::write(&name, "x").expect("a file");
        std::fs::hard_link(&name, volume.source.join(format!("g{index}"))).expect("a link");
    }
    assert_eq!(ground.prepare(&volume).expect("prepared").left_alone.len(), LEFT_ALONE_NAMES_MAX);
}

#[test]
fn another_directory_at_the_path_is_noticed() {
    let Some(ground) = Ground::new() else { return };
    let volume = ground.volume("srv/media");
    let source = ground.prepare(&volume).expect("prepared").source;
    verify(&source, &ground.grounds).expect("the same");
    std::fs::rename(&volume.source, ground.path("srv/old")).expect("renamed");
    let missing = verify(&source, &ground.grounds).expect_err("gone");
    assert_eq!(missing.awaited(), Some(volume.source.as_path()));
    std::fs::create_dir(&volume.source).expect("a directory");
    let another = verify(&source, &ground.grounds).expect_err("another");
    assert_eq!(another.awaited(), Some(volume.source.as_path()));
    symlink("/etc", ground.path("srv/link")).expect("a link");
    let link = verify(&Source { path: ground.path("srv/link"), ..source }, &ground.grounds).expect_err("a link");
    assert_eq!(link.awaited(), None);
}

#[test]
fn a_way_that_the_containers_root_cannot_go_is_refused_where_it_mounts() {
    let Some(mut ground) = Ground::new() else { return };
    let volume = ground.volume("srv/closed/media");
    let closed = ground.path("srv/closed");
    std::fs::create_dir(&closed).expect("a directory");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o710)).expect("a mode");
    ground.prepare(&volume).expect("where the host mounts it does not matter");
    ground.grounds.container_mounts = true;
    let refused = ground.prepare(&volume);
    assert!(matches!(&refused, Err(OwnershipError::Impassable { component, gid: SHIFT }) if *component == closed), "{refused:?}");
    chown(&closed, 0, SHIFT);
    ground.prepare(&volume).expect("its group may pass");
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o701)).expect("a mode");
    assert!(ground.prepare(&volume).is_err(), "a member of the group is judged by the group's bits alone");
}

/// What was written down is found again by whatever number its file system had then, and never of another directory.
#[test]
fn a_former_owner_is_known_as_earlier_versions_wrote_it_down() {
    let Some(ground) = Ground::new() else { return };
    let record = |name: &str, path: &Path, uid: u32| {
        std::fs::create_dir_all(&ground.grounds.records).expect("a directory");
        let text = format!(r#"{{"path":"{}","uid":{uid},"gid":34,"mode":493}}"#, path.display());
        std::fs::write(ground.grounds.records.join(name), text).expect("written");
    };
    let volume = ground.volume("srv/media");
    std::fs::create_dir(&volume.source).expect("a directory");
    let reached = Reached::open(&volume.source).expect("reached");
    let (number, inode) = (reached.file_system.number(), reached.inode);
    record(&format!("{number}-{}.json", inode + 1), &volume.source, 31);
    record(&format!("{}-{inode}.json", number ^ 1 << 40), &volume.source, 32);
    assert_eq!(former(&reached, &ground.grounds), None, "of others");
    record(&format!("{number}-{inode}.json"), &ground.path("srv/other"), 33);
    assert_eq!(ground.prepare(&volume).expect("prepared").former, Some((0, 0, 0o755)));
    let kept = std::fs::read_to_string(ground.grounds.records.join(format!("{number}-{inode}.json"))).expect("it is there");
    assert!(kept.contains("srv/other"), "what is known of another path is kept: {kept}");
    assert_eq!(ground.prepare(&volume).expect("again").former, Some((0, 0, 0o755)));
    let other = ground.volume("srv/books");
    std::fs::create_dir(&other.source).expect("a directory");
    let reached = Reached::open(&other.source).expect("reached");
    record(&format!("{number}-{}.json", reached.inode), &other.source, 35);
    assert_eq!(ground.prepare(&other).expect("prepared").former, Some((35, 34, 0o755)));
}
