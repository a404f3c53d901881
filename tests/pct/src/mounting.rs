//! A container's volumes under `/var/lib/lxc/ID/rootfs`: while it is made, on request, and as its monitor sees them.
//!
//! Bind mounts stand for the loop mounts of images. Not here: the configuration.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use rustix::mount::{MountFlags, UnmountFlags};

use crate::conf::{Conf, Section};
use crate::died::{Died, Outcome, die, err};
use crate::lxc;
use crate::property::{MOUNT_POINT, Property, ROOTFS};
use crate::root::{Root, Vmid};
use crate::storage::Volume;

/// A mount point of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountPoint {
    pub(crate) key: String,
    pub(crate) property: Property,
}

impl MountPoint {
    pub(crate) fn parse(key: &str, value: &str) -> Outcome<Self> {
        let shape = if key == "rootfs" { &ROOTFS } else { &MOUNT_POINT };
        let property = Property::parse(shape, value).map_err(|wrong| Died::new(format!("{key}: {}", wrong.join("\n"))))?;
        Ok(Self { key: key.to_owned(), property })
    }

    pub(crate) fn all(section: &Section) -> Outcome<Vec<Self>> {
        section.mount_points().map(|(key, value)| Self::parse(key, value)).collect()
    }

    pub(crate) fn source(&self) -> &str {
        self.property.first.as_deref().unwrap_or_default()
    }

    /// Whether it is a path of the host, not a volume of a storage.
    pub(crate) fn is_bind(&self) -> bool {
        self.source().starts_with('/')
    }

    pub(crate) fn print(&self) -> String {
        self.property.print(if self.key == "rootfs" { &ROOTFS } else { &MOUNT_POINT })
    }

    /// The directory of the host that is mounted.
    pub(crate) fn directory(&self, root: &Root) -> Outcome<PathBuf> {
        if !self.is_bind() {
            return Volume::parse(root, self.source()).map(|volume| volume.path());
        }
        let path = PathBuf::from(self.source());
        if path.exists() { Ok(path) } else { die(format!("directory '{}' does not exist", path.display())) }
    }

    /// Where it is mounted, below `/`.
    pub(crate) fn target(&self) -> &str {
        self.property.get("mp").unwrap_or("/").trim_matches('/')
    }
}

/// Mounts everything of a container, the root file system first.
pub(crate) fn mount_all(root: &Root, id: Vmid, section: &Section) -> Outcome {
    lxc::make_directory(root, id)?;
    let owner = lxc::owner(section);
    for point in MountPoint::all(section)? {
        let (from, to) = (point.directory(root)?, root.mounted(id).join(point.target()));
        if point.key != "rootfs" {
            make_target(&root.mounted(id), point.target(), owner, from.is_file())?;
        }
        bind(&from, &to, point.property.get("ro") == Some("1"))?;
    }
    Ok(())
}

/// Missing directories on the way to a mount point belong to the container's root.
pub(crate) fn make_target(base: &Path, target: &str, owner: u32, is_file: bool) -> Outcome {
    let mut path = base.to_owned();
    let mut parts = target.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        path.push(part);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        let made = if is_file && parts.peek().is_none() { fs::write(&path, "") } else { fs::create_dir(&path) };
        made.and_then(|()| chown(&path, Some(owner), Some(owner))).map_err(|error| Died::io("make", &path, &error))?;
    }
    Ok(())
}

fn bind(from: &Path, to: &Path, read_only: bool) -> Outcome {
    let failed = |error: rustix::io::Errno| Died::io("mount at", to, &error.into());
    rustix::mount::mount_bind(from, to).map_err(failed)?;
    if read_only {
        rustix::mount::mount_remount(to, MountFlags::BIND | MountFlags::RDONLY, "").map_err(failed)?;
    }
    Ok(())
}

/// Takes off everything that is mounted under a container's directory.
pub(crate) fn unmount_all(root: &Root, id: Vmid) -> Outcome {
    let base = root.mounted(id);
    for point in mounts_below(&base).into_iter().rev() {
        rustix::mount::unmount(&point, UnmountFlags::DETACH).map_err(|error| Died::io("unmount", &point, &error.into()))?;
    }
    Ok(())
}

/// The mount points at and below a path, outer ones first.
pub(crate) fn mounts_below(base: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = text.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(point.replace("\\040", " ")));
    points.filter(|point| point.starts_with(base)).collect()
}

/// LXC's hooks: `pre-start` mounts in the monitor's own namespace, `post-stop` lets changes that waited take effect.
pub(crate) fn hook(root: &Root, name: &str) -> ExitCode {
    let id: Option<Vmid> = std::env::var("LXC_NAME").ok().and_then(|name| name.parse().ok());
    let done = id.ok_or_else(|| Died::new("missing LXC_NAME")).and_then(|id| {
        let mut conf = Conf::load(root, id)?;
        if name == lxc::PRE_START {
            // A reboot from inside comes here again.
            unmount_all(root, id)?;
            return mount_all(root, id, &conf.main);
        }
        unmount_all(root, id)?;
        if !conf.pending.keys.is_empty() {
            crate::pending::apply(root, id, &mut conf)?;
            // What is wrong with it is said by the next start.
            let _ = lxc::write_config(root, id, &conf);
        }
        Ok(())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(died) => {
            err(&died.text);
            ExitCode::from(2)
        }
    }
}
