//! What is mounted, by the text of `/proc/self/mountinfo`.
//!
//! Apart because two ask it: who takes off what a cut-off `pct` left mounted, and who syncs volumes that are file systems of their
//! own. Not here: control groups, and what a container sees mounted.

use std::path::{Path, PathBuf};

use crate::host::local::mountinfo::Mount;
use crate::ids::Ctid;

/// Where the volumes of a ZFS pool are mounted, and those of a template.
const PREFIXES: [&str; 2] = ["subvol", "basevol"];

/// The mount points, in the order in which they were mounted.
pub(super) fn points(mountinfo: &str) -> impl Iterator<Item = PathBuf> {
    Mount::all(mountinfo.as_bytes()).map(|mount| mount.point)
}

/// The volumes of a container that are mounted below the directory of a storage. What is synced through that directory is not
/// theirs: every dataset of ZFS is a file system of its own.
pub(super) fn of_volumes(mountinfo: &str, storage: &Path, ctid: Ctid) -> Vec<PathBuf> {
    let is_volume = |point: &PathBuf| {
        let name = point.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        point.starts_with(storage) && PREFIXES.iter().any(|prefix| name.starts_with(&format!("{prefix}-{ctid}-")))
    };
    points(mountinfo).filter(is_volume).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "24 1 0:22 / / rw,relatime shared:1 - zfs rpool/ROOT/pve-1 rw,xattr,noacl\n\
        60 24 0:50 / /rpool/data rw,noatime shared:29 - zfs rpool/data rw,xattr,noacl\n\
        61 60 0:51 / /rpool/data/subvol-101-disk-0 rw,noatime shared:30 - zfs rpool/data/subvol-101-disk-0 rw,xattr,posixacl\n\
        62 60 0:52 / /rpool/data/subvol-1010-disk-0 rw,noatime shared:31 - zfs rpool/data/subvol-1010-disk-0 rw,xattr,posixacl\n\
        63 60 0:53 / /rpool/data/basevol-101-disk-1 rw,noatime shared:32 - zfs rpool/data/basevol-101-disk-1 rw,xattr,posixacl\n\
        64 24 0:54 / /srv/a\\040pool/subvol-101-disk-2 rw,noatime shared:33 - zfs tank/subvol-101-disk-2 rw\n\
        65 24 0:55 / /mnt/subvol-101-disk-3 rw,noatime shared:34 - ext4 /dev/sdb rw\n";

    #[test]
    fn volumes_that_are_file_systems_of_their_own_are_found_by_their_mounts() {
        let of = |storage: &str, number: u32| of_volumes(TEXT, Path::new(storage), Ctid::new(number).expect("in range"));
        assert_eq!(of("/rpool/data", 101), [Path::new("/rpool/data/subvol-101-disk-0"), Path::new("/rpool/data/basevol-101-disk-1")]);
        assert_eq!(of("/rpool/data", 1010), [Path::new("/rpool/data/subvol-1010-disk-0")]);
        assert_eq!(of("/srv/a pool", 101), [Path::new("/srv/a pool/subvol-101-disk-2")]);
        assert_eq!(of("/rpool/data", 102), Vec::<PathBuf>::new());
    }
}
