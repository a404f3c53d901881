//! Whether a running container has its shared directories: what was started before they were attached runs without them.
//!
//! Read from the kernel's list of the init's mounts (`proc_pid_mountinfo(5)`). A path inside is the container's to turn
//! elsewhere, and a file system of its own on the way could keep whoever looks there waiting for ever; the list is the
//! kernel's. A directory that a program inside has mounted something over is in it still: it was attached, and what became of
//! that is the container's affair. Not here: whether a directory is the one that was prepared (`ownership`).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::host::ownership;
use crate::plan::Source;
use crate::shim::beginning_of;

use super::Backend;
use super::act::Act;
use super::mountinfo::Mount;
use super::proc::Held;

/// How long a list may be. A container makes as many mounts as it likes, up to a hundred thousand with names of their own.
const MOUNTINFO_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl<B: Backend> Act<'_, B> {
    /// Whether `init` has each of these directories at each of its targets, and they are the ones that were prepared. If that
    /// cannot be seen, it has not.
    pub(in crate::host) fn has_mounted(&self, init: &Held, sources: &[Source]) -> bool {
        if sources.is_empty() {
            return true;
        }
        let (Ok(own), Ok(inside)) = (Mounts::of("self"), Mounts::of(&init.pid.to_string())) else { return false };
        sources.iter().all(|source| {
            let reached = ownership::verify(source, &self.local.grounds);
            let place = reached.ok().and_then(|reached| own.place_of(&reached.directory, &reached.path));
            let targets = self.effect.spec.mounts.iter().filter(|mount| mount.volume.name == source.volume).map(|mount| mount.at.as_str());
            place.is_some_and(|place| targets.into_iter().all(|at| inside.have(&place, Path::new(at))))
        }) || phoenix_journal::sabotaged("containers_may_run_without_volumes")
    }
}

/// The mounts of one process, in its own words for paths.
#[derive(Debug)]
struct Mounts(Vec<Mount>);

/// A directory, as the kernel tells it from all others: of which file system, and where in that.
#[derive(Debug)]
struct Place {
    device: String,
    kind: String,
    path: PathBuf,
}

impl Mounts {
    fn of(pid: &str) -> io::Result<Self> {
        Self::read(&format!("/proc/{pid}/mountinfo"))
    }

    fn read(path: &str) -> io::Result<Self> {
        let text = beginning_of(path, MOUNTINFO_BYTES_MAX)?;
        if text.len() as u64 == MOUNTINFO_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more mounts than are looked at"));
        }
        Ok(Self::parse(&text))
    }

    fn parse(text: &[u8]) -> Self {
        Self(Mount::all(text).collect())
    }

    /// The place of a directory that is open, and that is at `path` for the process whose mounts these are.
    fn place_of(&self, directory: &File, path: &Path) -> Option<Place> {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
        let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
        self.place_on(id, path)
    }

    fn place_on(&self, id: u64, path: &Path) -> Option<Place> {
        let mount = self.0.iter().find(|mount| mount.id == id)?;
        let place = Place::of(mount);
        Some(Place { path: place.path.join(path.strip_prefix(&mount.point).ok()?), ..place })
    }

    fn have(&self, place: &Place, at: &Path) -> bool {
        self.0.iter().any(|mount| mount.point == at && Place::of(mount).is(place))
    }
}

impl Place {
    fn of(Mount { id: _, device, root, point: _, kind }: &Mount) -> Self {
        Self { device: device.clone(), kind: kind.clone(), path: root.clone() }
    }

    fn is(&self, other: &Self) -> bool {
        // Of NFS the kernel shows `/` for whatever directory is mounted.
        let shown = !self.kind.starts_with("nfs");
        self.device == other.device && (self.path == other.path || !shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &[u8] = b"21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 21 0:44 / /tank rw shared:7 master:2 - zfs tank rw
31 21 0:50 / /net rw - nfs4 server:/export rw
";

    #[track_caller]
    fn check(id: u64, path: &str, inside: &str, expected: bool) {
        let place = Mounts::parse(HOST).place_on(id, Path::new(path)).expect("a place");
        let inside = Mounts::parse(inside.as_bytes());
        assert_eq!(inside.have(&place, Path::new("/srv/media")), expected, "{place:?} in {inside:?}");
    }

    #[test]
    fn a_directory_is_found_at_its_target_and_nowhere_else() {
        check(21, "/srv/my media", "70 60 8:1 /srv/my\\040media /srv/media rw - ext4 /dev/sda1 rw\n", true);
        check(21, "/srv/my media", "70 60 8:1 /srv/my\\040media /srv/other rw - ext4 /dev/sda1 rw\n", false);
        check(21, "/srv/my media", "70 60 8:2 /srv/my\\040media /srv/media rw - ext4 /dev/sda1 rw\n", false);
        check(21, "/srv/my media", "70 60 8:1 /srv/my\\040media//deleted /srv/media rw - ext4 /dev/sda1 rw\n", false);
        check(21, "/srv/my media", "60 50 8:1 /var/lib/lxc/101/rootfs / rw - ext4 /dev/sda1 rw\n", false);
        check(30, "/tank", "70 60 0:44 / /srv/media rw shared:9 - zfs tank rw\n", true);
        check(30, "/tank/a", "70 60 0:44 / /srv/media rw - zfs tank rw\n", false);
    }

    #[test]
    fn what_is_mounted_over_it_does_not_hide_it() {
        let covered = "70 60 8:1 /srv/media /srv/media rw - ext4 /dev/sda1 rw\n71 70 0:61 / /srv/media rw - tmpfs none rw\n";
        check(21, "/srv/media", covered, true);
    }

    #[test]
    fn of_a_network_directory_the_file_system_has_to_do() {
        check(31, "/net/media", "70 60 0:50 / /srv/media rw - nfs4 server:/export rw\n", true);
        check(31, "/net/media", "70 60 0:51 / /srv/media rw - nfs4 server:/export rw\n", false);
    }

    #[test]
    fn a_list_without_end_cannot_be_seen() {
        assert!(Mounts::read("/dev/zero").is_err());
    }

    #[test]
    fn an_open_directory_is_found_among_our_own_mounts() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = File::open(directory.path()).expect("open");
        let path = directory.path().canonicalize().expect("a path");
        let place = Mounts::of("self").expect("mounts").place_of(&file, &path).expect("a place");
        assert!(place.path.ends_with(path.file_name().expect("a name")), "{place:?}");
    }
}
