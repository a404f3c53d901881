//! What a fleet looks like from outside, without what differs from one run to the next: the oracle of the crash tests.
//!
//! Configuration, every file's owner, mode and content in every root file system, mounts inside, shared directories, leftovers
//! in the container directory. Not here: the journal, which tells of the way and not of the end.

use std::collections::BTreeMap;
use std::fs;

use super::ground::{Ground, Kind};
use super::processes::{Process, all};
use super::proxmox::comparable;
use super::tree::tree;

/// Lines by what they speak of.
pub(crate) type Fingerprint = BTreeMap<String, String>;

impl Ground {
    /// The containers at these places, the shared directories and the container directory.
    pub(crate) fn fingerprint(&self, places: &[u32]) -> Fingerprint {
        let mut found = Fingerprint::new();
        for &place in places {
            self.container_into(place, &mut found);
        }
        tree(&self.path("srv"), "srv", &mut found);
        found.insert("container directory".to_owned(), self.standing().join(" "));
        found
    }

    /// The process id of a container's init, as its monitor's child.
    pub(crate) fn init(&self, place: u32) -> Option<u32> {
        let (path, name) = (self.lxc_path(), self.ctid(place).to_string());
        let wanted = format!("[lxc monitor] {} {name}", path.display());
        let all = all();
        let monitor = all.iter().find(|one| one.argv.first().is_some_and(|title| title.trim_end() == wanted))?;
        all.iter().find(|one| one.parent == monitor.pid).map(|init| init.pid)
    }

    pub(crate) fn is_running(&self, place: u32) -> bool {
        self.init(place).and_then(Process::of).is_some()
    }

    fn container_into(&self, place: u32, found: &mut Fingerprint) {
        let name = format!("ct{place}");
        let config = fs::read_to_string(self.config(place)).unwrap_or_else(|error| error.to_string());
        found.insert(format!("{name} config"), if self.pve().is_some() { comparable(&config) } else { config });
        tree(&self.rootfs(place), &name, found);
        if self.kind() == Kind::Pct {
            // A container that is down has no root directory there; a result that is found then leaves no note.
            found.retain(|path, _| !path.contains("/var/lib/phoenix"));
        }
        let Some(init) = self.init(place) else {
            found.insert(format!("{name} init"), "none".to_owned());
            return;
        };
        let map = fs::read_to_string(format!("/proc/{init}/uid_map")).unwrap_or_default();
        found.insert(format!("{name} id map"), map.split_whitespace().collect::<Vec<_>>().join(" "));
        let mounts = fs::read_to_string(format!("/proc/{init}/mounts")).unwrap_or_default();
        let mounts: Vec<&str> = mounts.lines().filter(|line| line.split(' ').nth(1).is_some_and(|at| at.contains("media"))).collect();
        found.insert(format!("{name} mounts"), mounts.join("\n"));
    }
}

/// How many differences are said; of a container that is missing every file is one.
const DIFFERENCES_SAID_MAX: usize = 20;

/// Both must be the same; what is not is said.
#[track_caller]
pub(crate) fn check_same(found: &Fingerprint, wanted: &Fingerprint, why: &str) {
    let keys = found.keys().chain(wanted.keys());
    let mut differences: Vec<String> = keys
        .filter(|key| found.get(*key) != wanted.get(*key))
        .map(|key| format!("{key}: found {:?}, wanted {:?}", found.get(key), wanted.get(key)))
        .collect();
    differences.dedup();
    let all = differences.len();
    differences.truncate(DIFFERENCES_SAID_MAX);
    assert!(differences.is_empty(), "{why}: {all} differences:\n{}", differences.join("\n"));
}
