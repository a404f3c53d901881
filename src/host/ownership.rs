//! Shared directories: whether a path may be used, and giving it to the ids that a container's root stands for.
//!
//! Apart from any backend because the rules are the same wherever a host directory is bound into a container. What lies in
//! such a directory was made by containers and is hostile: nothing here follows a link or trusts a name twice. Not here: how
//! a directory is attached, and locks.

mod file_system;
mod reach;
mod record;
mod tree;

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, StatVfsMountFlags, Uid};

use crate::ids::{IdKind, IdMap};
use crate::machine::Prepared;
use crate::manifest::{Ownership, SYSTEM_DIRECTORIES, Volume};
use crate::plan::Source;

pub(crate) use file_system::{FileSystem, is_device_number};
pub(crate) use reach::Reached;

/// Where shared directories may lie, and where notes about them are kept.
#[derive(Clone, Debug)]
pub(crate) struct Grounds {
    /// Directories of Phoenix and of the backend, beside [`SYSTEM_DIRECTORIES`].
    pub(crate) own: Vec<PathBuf>,
    /// Whether the backend mounts as the container's root, so that every directory above must let it pass.
    pub(crate) container_mounts: bool,
    /// Where former owners are written down before the first change; a directory of root.
    pub(crate) records: PathBuf,
}

/// The permission bits of a directory that did not exist and for which the manifest gives none.
const NEW_DIRECTORY_MODE: u32 = 0o755;
/// The most names reported of files left alone.
const LEFT_ALONE_NAMES_MAX: usize = 20;

/// Why a directory cannot be shared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnershipError {
    /// It is, holds, or lies in a directory of the system or of Phoenix.
    #[error("{path} is, holds or lies in {protected}, which containers must not share; choose another directory")]
    Protected { path: PathBuf, protected: PathBuf },
    /// A component of the path is a link.
    #[error("{component} is a link, and could be turned to another place; write the path it leads to")]
    Link { component: PathBuf },
    /// A component of the path is no directory.
    #[error("{component} is not a directory")]
    NotADirectory { component: PathBuf },
    /// Somebody other than root could exchange a component of the path.
    #[error(
        "{component} {why}, so others could exchange what lies below it; `chown root` and `chmod go-w` it, or choose another directory"
    )]
    Exchangeable { component: PathBuf, why: &'static str },
    /// The container's root cannot go there.
    #[error(
        "{component} does not let the container's root pass (group {gid} on the host); `chgrp {gid}` and `chmod 710` it, or `chmod o+x` it"
    )]
    Impassable { component: PathBuf, gid: u32 },
    /// It, or a directory above it, is missing.
    #[error("{component} does not exist; create it, or mount what holds it")]
    Missing { component: PathBuf },
    /// Another directory lies there than the one prepared.
    #[error(
        "{path} is another directory than the one that was prepared; mount the right one, or, if this one is to be used from now on, make the container anew: `phoenix down` destroys it (shared directories stay), and `up` prepares what is there"
    )]
    Another { path: PathBuf },
    /// It belongs to somebody, and the manifest does not say to take it.
    #[error("{path} is not empty and belongs to {uid}:{gid} (wanted {}:{}); empty it, or set \"take_ownership\": true", wanted.uid, wanted.gid)]
    Taken { path: PathBuf, uid: u32, gid: u32, wanted: HostOwner },
    /// The wanted owner has no id on the host.
    #[error("{kind} {id} of volume {volume} lies outside the container's id map ({idmap}); choose an id that the map covers")]
    OutsideMap { kind: &'static str, id: u32, volume: String, idmap: Box<IdMap> },
    /// The map would give it to the host's root.
    #[error("the id map gives volume {volume} to the host's root; only a privileged container may own things as root")]
    HostRoot { volume: String },
    /// An id-mapped mount would let the container make set-user-id programs that others can reach.
    #[error(
        "{path} needs a directory above it that keeps other users out (mode 0710, group root or the container's root), or \"nosuid_mount\": what the container creates under an id-mapped mount belongs to host ids, set-user-id programs included"
    )]
    OpenToOthers { path: PathBuf },
    /// The tree below is deeper than will be walked.
    #[error("{path} is nested deeper than {max} directories; flatten it, or leave \"recursive\" out")]
    TooDeep { path: PathBuf, max: usize },
    /// The operating system refused something.
    #[error("cannot {what}: {source}")]
    Io { what: String, source: io::Error },
}

impl OwnershipError {
    /// What is missing, if that may come by itself: a file system that is not mounted yet.
    pub(crate) fn awaited(&self) -> Option<&Path> {
        match self {
            Self::Missing { component } => Some(component),
            Self::Another { path } => Some(path),
            Self::Protected { .. }
            | Self::Link { .. }
            | Self::NotADirectory { .. }
            | Self::Exchangeable { .. }
            | Self::Impassable { .. }
            | Self::Taken { .. }
            | Self::OutsideMap { .. }
            | Self::HostRoot { .. }
            | Self::OpenToOthers { .. }
            | Self::TooDeep { .. }
            | Self::Io { .. } => None,
        }
    }
}

/// The host ids that own a volume's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HostOwner {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The owner on the host. With [`Ownership::Map`] the disk holds the ids as seen inside, which must still be ids the map has.
fn host_owner(volume: &Volume, idmap: &IdMap) -> Result<HostOwner, OwnershipError> {
    let mapped = |kind: IdKind, id: u32| {
        let name = match kind {
            IdKind::User => "user",
            IdKind::Group => "group",
        };
        let outside = || OwnershipError::OutsideMap { kind: name, id, volume: volume.name.to_string(), idmap: Box::new(idmap.clone()) };
        idmap.to_host(kind, id).ok_or_else(outside)
    };
    let owner = HostOwner { uid: mapped(IdKind::User, volume.owner.uid)?, gid: mapped(IdKind::Group, volume.owner.gid)? };
    match volume.ownership {
        Ownership::Map => Ok(HostOwner { uid: volume.owner.uid, gid: volume.owner.gid }),
        Ownership::Chown if !idmap.is_identity() && (owner.uid == 0 || owner.gid == 0) => {
            Err(OwnershipError::HostRoot { volume: volume.name.to_string() })
        }
        Ownership::Chown => Ok(owner),
    }
}

/// The directory that `volume` names, made if only its last component is missing; checked from the root down. With it the owner
/// that it is to have. Its lock is to be taken before [`give`].
pub(crate) fn reach(volume: &Volume, idmap: &IdMap, grounds: &Grounds) -> Result<(Reached, HostOwner), OwnershipError> {
    let owner = host_owner(volume, idmap)?;
    refuse_protected(&volume.source, grounds)?;
    let reached = match Reached::open(&volume.source) {
        Err(OwnershipError::Missing { component }) if component == volume.source => {
            reach::make(&volume.source)?;
            Reached::open(&volume.source)?
        }
        other => other?,
    };
    reached.refuse_exchangeable_last(owner.uid)?;
    refuse_unfit(volume, &reached, idmap, grounds)?;
    Ok((reached, owner))
}

/// Refuses a directory that cannot be attached the way its volume says: out of the container's reach, or within others'.
fn refuse_unfit(volume: &Volume, reached: &Reached, idmap: &IdMap, grounds: &Grounds) -> Result<(), OwnershipError> {
    let root = |kind| idmap.to_host(kind, 0).unwrap_or(u32::MAX);
    let container_root = HostOwner { uid: root(IdKind::User), gid: root(IdKind::Group) };
    if volume.ownership == Ownership::Map && !keeps_others_out(volume, reached, container_root)? {
        return Err(OwnershipError::OpenToOthers { path: volume.source.clone() });
    }
    if grounds.container_mounts { reached.refuse_impassable(container_root) } else { Ok(()) }
}

/// Gives a directory to `owner`, durably.
pub(crate) fn give(volume: &Volume, reached: &Reached, owner: HostOwner, grounds: &Grounds) -> Result<Prepared, OwnershipError> {
    let directory = &reached.directory;
    let meta = directory.metadata().map_err(io_error("look at", &volume.source))?;
    let other = (meta.uid(), meta.gid()) != (owner.uid, owner.gid);
    let fresh = reached.is_empty()?;
    if other && !fresh && !volume.take_ownership {
        return Err(OwnershipError::Taken { path: volume.source.clone(), uid: meta.uid(), gid: meta.gid(), wanted: owner });
    }
    let mode = meta.mode() & 0o7777;
    let just_made = fresh && reach::was_just_made(meta.uid(), mode);
    let wanted_mode = volume.mode.unwrap_or(if just_made { NEW_DIRECTORY_MODE } else { mode });
    let changes = !just_made && (other || wanted_mode != mode);
    let former = record::keep_first(grounds, reached, (meta.uid(), meta.gid(), mode), changes)?;
    let left_alone = if volume.recursive { tree::give(reached, owner)? } else { Vec::new() };
    change(directory, owner, wanted_mode).map_err(io_error("change the owner of", &volume.source))?;
    rustix::fs::syncfs(directory).map_err(|errno| io_error("sync", &volume.source)(errno.into()))?;
    Ok(Prepared { source: reached.source(volume), host_uid: owner.uid, host_gid: owner.gid, former, left_alone })
}

/// Whether a directory has the owner and mode wanted, without changing anything.
pub(crate) fn is_given(volume: &Volume, reached: &Reached, owner: HostOwner) -> Result<bool, OwnershipError> {
    let meta = reached.directory.metadata().map_err(io_error("look at", &volume.source))?;
    let mode = meta.mode() & 0o7777;
    let mode_fits = volume.mode.map_or(!reach::was_just_made(meta.uid(), mode), |wanted| mode == wanted);
    Ok((meta.uid(), meta.gid()) == (owner.uid, owner.gid) && mode_fits)
}

/// The former owner written down for a directory, if there was a change.
pub(crate) fn former(reached: &Reached, grounds: &Grounds) -> Option<(u32, u32, u32)> {
    record::read(grounds, reached)
}

/// Checks that a prepared directory can still be attached the way its volume says.
pub(crate) fn verify_for(volume: &Volume, source: &Source, idmap: &IdMap, grounds: &Grounds) -> Result<(), OwnershipError> {
    host_owner(volume, idmap)?;
    refuse_unfit(volume, &verify(source, grounds)?, idmap, grounds)
}

/// Checks that a prepared directory is still there, the same, and cannot be exchanged by others.
pub(crate) fn verify(source: &Source, grounds: &Grounds) -> Result<Reached, OwnershipError> {
    refuse_protected(&source.path, grounds)?;
    let reached = Reached::open(&source.path)?;
    if !reached.file_system.is(source.device) || reached.inode != source.inode {
        return Err(OwnershipError::Another { path: source.path.clone() });
    }
    let meta = reached.directory.metadata().map_err(io_error("look at", &source.path))?;
    reached.refuse_exchangeable_last(meta.uid())?;
    Ok(reached)
}

fn refuse_protected(path: &Path, grounds: &Grounds) -> Result<(), OwnershipError> {
    let protected = SYSTEM_DIRECTORIES.iter().map(Path::new).chain(grounds.own.iter().map(PathBuf::as_path));
    match protected.into_iter().find(|protected| path.starts_with(protected) || protected.starts_with(path)) {
        Some(protected) => Err(OwnershipError::Protected { path: path.to_owned(), protected: protected.to_owned() }),
        None => Ok(()),
    }
}

/// A directory above that lets nobody but root through, or a mount without set-user-id that the manifest names.
fn keeps_others_out(volume: &Volume, reached: &Reached, container_root: HostOwner) -> Result<bool, OwnershipError> {
    if reached.is_closed_above(container_root) {
        return Ok(true);
    }
    let Some(mount) = volume.nosuid_mount.as_deref().filter(|mount| volume.source.starts_with(mount)) else { return Ok(false) };
    let point = Reached::open(mount)?;
    let nosuid = |file: &File| rustix::fs::fstatvfs(file).is_ok_and(|vfs| vfs.f_flag.contains(StatVfsMountFlags::NOSUID));
    Ok(point.device == reached.device && nosuid(&point.directory) && nosuid(&reached.directory))
}

fn change(directory: &File, owner: HostOwner, mode: u32) -> io::Result<()> {
    rustix::fs::fchown(directory, Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(owner.gid)))?;
    // After the owner: changing it takes set-user-id bits away.
    rustix::fs::fchmod(directory, Mode::from_raw_mode(mode))?;
    Ok(())
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OwnershipError {
    let what = format!("{what} {}", path.display());
    move |source| OwnershipError::Io { what, source }
}

/// Opens a directory below `at` without following anything.
fn open_below(at: &File, name: &std::ffi::CStr) -> rustix::io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(at, name, flags, Mode::empty(), resolve).map(File::from)
}

#[cfg(test)]
mod races;
#[cfg(test)]
mod tests;
