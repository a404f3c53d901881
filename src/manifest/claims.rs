//! Who wants a directory to belong to whom, and which of these wishes contradict each other.
//!
//! Apart because the question is asked twice: within a manifest when it is checked, and between fleets when a run is planned. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::spec::{Ownership, Spec, Volume};
use crate::ids::{Ctid, FleetName, IdKind, IdMap, VolumeName};

/// A user and a group as the host sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl fmt::Display for HostOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl Volume {
    /// Who owns the directory on the host if a container with this map uses it; `None` if the map has no id for the owner.
    pub fn host_owner(&self, idmap: &IdMap) -> Option<HostOwner> {
        let uid = idmap.to_host(IdKind::User, self.owner.uid)?;
        let gid = idmap.to_host(IdKind::Group, self.owner.gid)?;
        match self.ownership {
            Ownership::Chown => Some(HostOwner { uid, gid }),
            // An id-mapped mount shows the ids of the disk unchanged inside.
            Ownership::Map => Some(HostOwner { uid: self.owner.uid, gid: self.owner.gid }),
        }
    }
}

/// One container's wish for one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeClaim {
    /// The container's fleet.
    pub fleet: FleetName,
    /// The container.
    pub ctid: Ctid,
    /// The volume by which it uses the directory.
    pub volume: VolumeName,
    /// The directory, absolute and normal.
    pub source: PathBuf,
    /// Whom it must belong to.
    pub owner: HostOwner,
}

impl Spec {
    /// What this container wants of the host's directories.
    pub fn volume_claims(&self, fleet: &FleetName) -> Vec<VolumeClaim> {
        let claim = |volume: &Volume| {
            let owner = volume.host_owner(&self.idmap)?;
            Some(VolumeClaim { fleet: fleet.clone(), ctid: self.ctid, volume: volume.name.clone(), source: volume.source.clone(), owner })
        };
        self.mounts.iter().filter_map(|mount| claim(&mount.volume)).collect()
    }
}

/// Pairs of claims on one directory, or on one within the other, that name different owners: for each claim in the order given, the
/// first one before it that it contradicts. Nearly linear in the number of claims.
pub fn volume_conflicts(claims: &[VolumeClaim]) -> Vec<(&VolumeClaim, &VolumeClaim)> {
    contradictions(claims, |claim| (&claim.source, claim.owner))
}

/// [`volume_conflicts`] over anything that names a directory and an owner.
pub(super) fn contradictions<T>(claims: &[T], wish: impl Fn(&T) -> (&Path, HostOwner)) -> Vec<(&T, &T)> {
    let mut conflicts = Vec::new();
    // Within one directory the first claim speaks for all that agree with it.
    let mut owners: BTreeMap<&Path, (&T, HostOwner)> = BTreeMap::new();
    for claim in claims {
        let (source, owner) = wish(claim);
        if owners.get(source).is_some_and(|(_, first)| *first == owner) {
            continue;
        }
        let above = source.ancestors().filter_map(|directory| owners.get(directory));
        let below = owners.range(source..).take_while(|(directory, _)| directory.starts_with(source)).map(|(_, first)| first);
        if let Some((first, _)) = above.chain(below).find(|(_, theirs)| *theirs != owner) {
            conflicts.push((*first, claim));
        }
        owners.entry(source).or_insert((claim, owner));
    }
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claims: &[(u32, &str, u32)], expected: &[(u32, u32)]) {
        let claim = |(ctid, source, uid): &(u32, &str, u32)| VolumeClaim {
            fleet: "f".parse().expect("a name"),
            ctid: Ctid::new(*ctid).expect("an id"),
            volume: "v".parse().expect("a name"),
            source: source.into(),
            owner: HostOwner { uid: *uid, gid: 0 },
        };
        let claims: Vec<VolumeClaim> = claims.iter().map(claim).collect();
        let found: Vec<(u32, u32)> = volume_conflicts(&claims).iter().map(|(a, b)| (a.ctid.get(), b.ctid.get())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_directory_has_one_owner() {
        check(&[(101, "/srv/a", 1), (102, "/srv/a", 1), (103, "/srv/a", 2)], &[(101, 103)]);
        check(&[(101, "/srv/a", 1), (102, "/srv/b", 2)], &[]);
    }

    #[test]
    fn a_directory_within_another_is_part_of_it() {
        check(&[(101, "/srv/a", 1), (102, "/srv/a/b/c", 2)], &[(101, 102)]);
        check(&[(101, "/srv/a/b/c", 1), (102, "/srv/a", 2)], &[(101, 102)]);
        check(&[(101, "/srv/a", 1), (102, "/srv/ab", 2), (103, "/srv/a-b", 3)], &[]);
    }
}
