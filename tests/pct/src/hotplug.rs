//! A mount point that a running container gets at once.
//!
//! The mount is taken here as a detached one and put in place in the container's mount namespace.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::conf::Section;
use crate::died::{Died, Outcome};
use crate::lxc;
use crate::mounting::{MountPoint, make_target};
use crate::root::{Root, Vmid};

/// Mounts it in the running container.
pub(crate) fn mount(root: &Root, id: Vmid, section: &Section, point: &MountPoint) -> Outcome {
    let from = point.directory(root)?;
    let failed = |what: &str, error: std::io::Error| Died::new(format!("{what}: {error}"));
    let Some(init) = lxc::init(root, id) else { return Err(Died::new(format!("container {id} has no init"))) };
    let space = |pid: &str| File::open(format!("/proc/{pid}/ns/mnt")).map_err(|error| failed("open a namespace", error));
    let (own, theirs) = (space("self")?, space(&init.to_string())?);
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, &from, flags).map_err(|error| failed("open_tree", error.into()))?;
    let enter = |space: &File| {
        let entered = move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Mount));
        entered.map_err(|error| failed("enter a namespace", error.into()))
    };
    enter(&theirs)?;
    let target = Path::new("/").join(point.target());
    let made = make_target(Path::new("/"), point.target(), lxc::owner(section), from.is_file());
    let moved = made.and_then(|()| {
        let moved = move_mount(&tree, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
        moved.map_err(|error| failed("move_mount", error.into()))
    });
    enter(&own)?;
    moved
}
