//! Which file system a directory is on, known again in the next boot where there is anything to know it by.
//!
//! Apart because numbers of devices are no such thing: they are given in the order in which disks are found and volumes are
//! activated, and some file systems pass them on as their own. Not here: which directory it is there.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use phoenix_journal::Digest;

/// Where udev names block devices by the UUIDs of the file systems on them.
const BY_UUID: &str = "/dev/disk/by-uuid";

/// A file system as it is recorded, and as it is recognised.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileSystem {
    number: u64,
    /// Whether its own number is its device's, so that earlier versions recorded that.
    by_device: bool,
}

impl FileSystem {
    /// The file system of an open directory.
    pub(crate) fn of(directory: &File) -> io::Result<Self> {
        let (fsid, device) = (rustix::fs::fstatvfs(directory)?.f_fsid, directory.metadata()?.dev());
        Ok(Self::told_by(fsid, device, Path::new(BY_UUID)))
    }

    /// `f_fsid` of `statfs(2)`, where that says something: ext4, btrfs and ZFS make it of their UUID. XFS, F2FS and others put
    /// their device's number there; they are known by the UUID that udev names the device by.
    fn told_by(fsid: u64, device: u64, links: &Path) -> Self {
        let by_device = is_number_of(fsid, device);
        Self { number: if by_device { uuid_of(device, links).unwrap_or(0) } else { fsid }, by_device }
    }

    /// The number to be recorded; 0 if it has none that survives a boot.
    pub(crate) fn number(self) -> u64 {
        self.number
    }

    /// The number to be recorded of it where its UUID is not asked for.
    pub(crate) fn own_number(self) -> u64 {
        if self.by_device { 0 } else { self.number }
    }

    /// Whether it may be the one that was recorded: where its own number is its device's, it may also have been recorded by that
    /// number of then, or at a time when udev had no name for it. Then the inode alone tells one directory from another.
    pub(crate) fn is(self, recorded: u64) -> bool {
        recorded == self.number || (self.by_device && (self.number == 0 || is_device_number(recorded)))
    }
}

/// Whether a recorded number may be a device's, or says nothing: half of it is zero, which of a UUID's number it is not.
pub(crate) fn is_device_number(number: u64) -> bool {
    number >> 32 == 0 || number << 32 == 0
}

/// Whether `fsid` is the device's number, as the kernel writes it (`huge_encode_dev`), with its words in either order.
fn is_number_of(fsid: u64, device: u64) -> bool {
    let (major, minor) = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    let encoded = (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12);
    fsid == encoded || fsid.rotate_left(32) == encoded
}

/// The UUID that a block device is named by, as a number.
fn uuid_of(device: u64, links: &Path) -> Option<u64> {
    let entries = std::fs::read_dir(links).ok()?.flatten();
    let names = entries.filter(|entry| std::fs::metadata(entry.path()).is_ok_and(|meta| meta.rdev() == device));
    let uuid = names.map(|entry| entry.file_name()).min()?;
    u64::from_str_radix(Digest::of(uuid.as_bytes()).to_string().get(..16)?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOWHERE: &str = "/nowhere";

    #[track_caller]
    fn device(major: u32, minor: u32) -> u64 {
        rustix::fs::makedev(major, minor)
    }

    fn told_by(fsid: u64, device: u64) -> FileSystem {
        FileSystem::told_by(fsid, device, Path::new(NOWHERE))
    }

    #[test]
    fn a_devices_number_is_no_number_of_its_file_system() {
        for (major, minor, fsid) in [(8, 1, 0x801), (253, 7, 0xfd07), (259, 300, 0x0011_032c)] {
            for fsid in [fsid, fsid << 32] {
                assert_eq!(told_by(fsid, device(major, minor)).number(), 0, "{major}:{minor} {fsid:x}");
            }
            let uuid = 0x8f1d_22c4_0000_0801;
            assert_eq!(told_by(uuid, device(major, minor)).number(), uuid);
        }
        assert_eq!(told_by(0xfd07, device(253, 8)).number(), 0xfd07, "it is another device's");
    }

    #[test]
    fn its_device_may_have_another_number_in_the_next_boot() {
        let before = told_by(0xfd02, device(253, 2));
        let after = told_by(0xfd05, device(253, 5));
        assert!(after.is(before.number()));
        assert!(after.is(0xfd02) && after.is(0xfd02 << 32), "as earlier versions recorded it");
        let other = told_by(0x8f1d_22c4_9a01_0801, device(8, 1));
        assert!(!other.is(before.number()) && !other.is(0xfd02), "a file system that has a number is known by it");
        assert!(!other.is(0x8f1d_22c4_9a01_0802));
    }

    #[test]
    fn where_its_device_is_named_by_a_uuid_it_is_known_by_that() {
        let links = tempfile::tempdir().expect("a directory");
        let name = |uuid: &str, device: &str| {
            let _ = std::fs::remove_file(links.path().join(uuid));
            std::os::unix::fs::symlink(device, links.path().join(uuid)).expect("a link");
        };
        let (null, zero) = (device(1, 3), device(1, 5));
        name("5f1c", "/dev/null");
        name("77aa", "/dev/zero");
        let told_by = |device| FileSystem::told_by(device, device, links.path());
        let first = told_by(null);
        assert!(first.number() != 0 && !is_device_number(first.number()));
        assert_ne!(first.number(), told_by(zero).number());
        assert!(!told_by(zero).is(first.number()), "another disk at the same place");
        assert!(told_by(null).is(0x103) && told_by(null).is(0), "as earlier versions recorded it, or without a name");
        name("5f1c", "/dev/zero");
        name("77aa", "/dev/null");
        assert_eq!(told_by(zero).number(), first.number(), "the disks were found in another order");
        assert_eq!(told_by(zero).own_number(), 0);
        assert!(super::tests::told_by(0x103, null).is(first.number()), "udev has no name for it yet");
    }
}
