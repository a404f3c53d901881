//! File systems that a snapshot froze.
//!
//! Of a volume on Ceph RBD Proxmox's snapshot freezes the file system too, beside the container, through the root directory of
//! its init; a worker that is killed leaves both frozen. Apart because there is no call for it that this program may make, so that
//! `fsfreeze` of util-linux makes it. Not here: the container itself (`shim::thaw`).

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::host::local::act::{Act, Taken, drift};
use crate::shim::Kept;

use super::config::values::MountSource;
use super::{Pct, storage};

/// What `fsfreeze` says of a file system that is not frozen, and of one that cannot be.
const NOT_FROZEN: [&str; 3] = ["Invalid argument", "not supported", "Inappropriate ioctl"];

impl Act<'_, Pct> {
    /// Lets the container's volumes be written to again. It is ours, and no worker lives that froze them: that was asked. From the
    /// documentation, not yet run.
    pub(super) fn unfreeze_volumes(&self, init: u32) -> Taken<()> {
        for target in self.freezable()? {
            let directory = match open(init, &target) {
                Ok(directory) => directory,
                Err(error) => {
                    tracing::warn!(target = %target.display(), %error, "cannot be looked at inside; if it is frozen, it stays so");
                    continue;
                }
            };
            // Opened here, and named by its descriptor: inside, its path may be another at any moment.
            let path = format!("/proc/{}/fd/{}", std::process::id(), directory.as_raw_fd());
            let said = self.call("fsfreeze", vec!["--unfreeze".to_owned(), path], Kept::LockAndToken)?;
            if !said.result.ending.is_success() && !NOT_FROZEN.iter().any(|words| said.text.contains(words)) {
                let inside = format!("/proc/{init}/root{}", target.display());
                let what = format!("a file system of the container stays frozen; see `fsfreeze --unfreeze {inside}`");
                return Err(self.refused(&said, &what));
            }
        }
        Ok(())
    }

    /// Where the volumes are that a snapshot freezes, as the container sees them.
    fn freezable(&self) -> Taken<Vec<PathBuf>> {
        let (config, storages) = (self.config()?, self.host.storages());
        let freezes = |volume: &str| storage::of_volume(&storages, volume).is_some_and(|(storage, _)| storage.freezes());
        let rootfs = config.main().rootfs().map_err(|error| drift("the root file system can be read", error))?;
        let mounts = config.main().mounts().map_err(|error| drift("the mount points can be read", error))?;
        let root = rootfs.filter(|rootfs| freezes(&rootfs.volume)).map(|_| PathBuf::from("/"));
        let others = mounts.values().filter(|mount| matches!(&mount.source, MountSource::Volume(volume) if freezes(volume)));
        Ok(root.into_iter().chain(others.map(|mount| Path::new("/").join(mount.target()))).collect())
    }
}

/// Opens a directory as the container sees it, without links on the way.
fn open(init: u32, target: &Path) -> std::io::Result<File> {
    let root = File::open(format!("/proc/{init}/root/."))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(File::from(rustix::fs::openat2(&root, target, flags, Mode::empty(), resolve)?))
}
