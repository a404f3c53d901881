//! What a cut-off `pct` leaves behind, and whose it is.
//!
//! Before its mark can be read, a half-made container is nobody's by its looks: a configuration that says `lock: create` and
//! nothing else. It is ours only if a shim of the intent began (which it does only once the number was found free), or a task of
//! the intent's own time names the process that made it, and if no other task of this kind came after. What was found goes into
//! the repair's intent as text, with the digest of the configuration, and the repair acts on that and on nothing else. Not here:
//! taking it away (`repair`).

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::engine::limits;
use crate::host::local::act::{Act, Taken, at, io_failed};
use crate::host::local::durable;
use crate::ids::{Ctid, Step};
use crate::manifest::Origin;
use crate::plan::{Effect, Intent, STORAGE_DEFAULT};

use super::config::{CONFIG_BYTES_MAX, Config};
use super::storage::Storage;
use super::tasks::{self, Upid};
use super::{Pct, mounts};

/// What lies there of one container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Leftover {
    /// The digest of its configuration, and what that is locked for.
    pub(super) config: Option<(String, Option<String>)>,
    /// Where its root file system is mounted on the host.
    pub(super) mounts: Vec<PathBuf>,
    /// Volumes of its number that no configuration names, as far as that can be seen without a process.
    pub(super) volumes: Vec<String>,
    /// A clone source that is locked, with the digest of its configuration.
    pub(super) source: Option<(Ctid, String)>,
    /// Results of scripts, or rules of the firewall, of a container that is destroyed.
    pub(super) results: bool,
    /// Whole by its configuration, but written in an earlier boot, and nobody said that it was synced.
    pub(super) is_unsynced: bool,
}

/// How the text of a leftover says that.
const UNSYNCED: &str = "made before the host went down, perhaps not all of it on the disk";

/// The clock ticks of `/proc`, per second; fixed on every Linux that Proxmox runs on (`proc_pid_stat(5)`).
const TICKS_PER_S: u64 = 100;
/// Clocks are rounded: to seconds in a task's id, to ticks in `/proc`.
const ROUNDING_S: u64 = 2;
/// See [`ROUNDING_S`].
const ROUNDING_MS: u64 = ROUNDING_S * 1000;
/// The largest list of tasks read, and the largest log of one.
const LIST_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Kinds of tasks that make a container of the number that they are about.
const MAKING: [&str; 2] = ["vzcreate", "vzrestore"];
/// What the log of a creation says when it begins to unpack an archive, and what tar says at its end (`--totals`).
const UNPACKING: &str = "extracting archive '";
const UNPACKED: &str = "Total bytes read: ";

impl Leftover {
    /// Whether nothing lies there.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The digest of the configuration that the text of a leftover names.
    pub(super) fn config_in(text: &str) -> Option<&str> {
        text.split("configuration ").nth(1).and_then(sha1)
    }

    /// The digest of the source's configuration that the text of a leftover names.
    pub(super) fn source_in(text: &str) -> Option<&str> {
        text.split("locked source ").nth(1)?.split_once(' ').and_then(|(_, rest)| sha1(rest))
    }

    /// The volumes that the text of a leftover names.
    pub(super) fn volumes_in(text: &str) -> Vec<String> {
        let list = text.split("volumes ").nth(1).and_then(|rest| rest.split(';').next()).unwrap_or_default();
        list.split(' ').filter(|volume| volume.contains(':')).map(str::to_owned).collect()
    }

    /// Whether the text of a leftover says that it is whole, but perhaps not on the disk.
    pub(super) fn is_unsynced_in(text: &str) -> bool {
        text.contains(UNSYNCED)
    }
}

fn sha1(text: &str) -> Option<&str> {
    text.get(..40).filter(|digest| digest.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { config, mounts, volumes, source, results, is_unsynced } = self;
        let mut parts = Vec::new();
        if let Some((digest, lock)) = config {
            parts.push(format!("configuration {digest} (lock: {})", lock.as_deref().unwrap_or("none")));
        }
        if let Some((ctid, digest)) = source {
            parts.push(format!("locked source {ctid} {digest}"));
        }
        if !volumes.is_empty() {
            parts.push(format!("volumes {}", volumes.join(" ")));
        }
        parts.extend(mounts.iter().map(|mount| format!("mount {}", mount.display())));
        if *results {
            parts.push("results of scripts or rules of the firewall".to_owned());
        }
        if *is_unsynced {
            parts.push(UNSYNCED.to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

impl Act<'_, Pct> {
    /// What lies there of this container: its configuration, mounts, and volumes that the configuration does not name.
    pub(super) fn leftover(&self) -> Taken<Leftover> {
        self.leftover_on(&BTreeSet::new())
    }

    /// As [`Self::leftover`], with storages on which the container is known to have had volumes.
    pub(super) fn leftover_on(&self, storages: &BTreeSet<String>) -> Taken<Leftover> {
        let ctid = self.intent().ctid;
        let config = self.found_config()?;
        let named = config.iter().flat_map(Config::volumes).collect::<Vec<_>>();
        let mut own = self.own_storages()?;
        own.extend(storages.iter().cloned());
        let volumes = self.volumes(ctid).into_iter().filter(|volume| !named.contains(volume) && own.contains(storage_of(volume))).collect();
        let config = config.map(|config| (config.digest(), config.main().lock().map(str::to_owned)));
        let mounts = self.mounts(ctid)?;
        Ok(Leftover { config, mounts, volumes, source: None, results: false, is_unsynced: false })
    }

    /// The container's configuration; nothing if there is none.
    pub(super) fn found_config(&self) -> Taken<Option<Config>> {
        self.config_of(self.intent().ctid)
    }

    pub(super) fn config_of(&self, ctid: Ctid) -> Taken<Option<Config>> {
        let path = self.host.layout.config(ctid);
        let text = durable::read(&path, CONFIG_BYTES_MAX).map_err(at("read", &path))?;
        let parsed = text.map(|text| Config::parse(&text)).transpose();
        parsed.map_err(|error| io_failed(&format!("read {}", path.display()), &std::io::Error::new(std::io::ErrorKind::InvalidData, error)))
    }

    /// Volumes of the container's number where it can have none of its own: somebody else's, as far as is known here.
    pub(super) fn strange_volumes(&self) -> Taken<Vec<String>> {
        let own = self.own_storages()?;
        Ok(self.volumes(self.intent().ctid).into_iter().filter(|volume| !own.contains(storage_of(volume))).collect())
    }

    /// The storages that its spec or its configuration names for the container; of a clone without either, its source's.
    fn own_storages(&self) -> Taken<BTreeSet<String>> {
        let mut own = self.found_config()?.as_ref().map(Config::storages).unwrap_or_default();
        let spec = &self.effect.spec;
        match (&spec.host_options.storage, &spec.origin) {
            (Some(named), _) => own.extend([named.clone()]),
            (None, Origin::Template(_)) => own.extend([STORAGE_DEFAULT.to_owned()]),
            (None, Origin::Clone { source }) => own.extend(self.config_of(*source)?.as_ref().map(Config::storages).unwrap_or_default()),
        }
        Ok(own)
    }

    /// Volumes that bear the container's number, on storages that keep them as files.
    pub(super) fn volumes(&self, ctid: Ctid) -> Vec<String> {
        let mut found = Vec::new();
        for storage in self.host.storages().into_iter().filter(|storage| storage.holds("rootdir") && storage.is_on(&self.host.node)) {
            let Some(images) = images(&storage, ctid) else { continue };
            let entries = std::fs::read_dir(&images).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            // `vm-101-disk-0.raw@before-volumes` is a snapshot and goes with its volume.
            let disks = names.filter(|name| name.contains(&format!("-{ctid}-disk-")) && !name.contains('@'));
            found.extend(disks.map(|name| format!("{}:{ctid}/{}", storage.name, volume_name(&storage, name))));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Where the container's root file system, or what is in it, is mounted as the host sees it; the innermost first.
    pub(super) fn mounts(&self, ctid: Ctid) -> Taken<Vec<PathBuf>> {
        let text = std::fs::read_to_string("/proc/self/mountinfo").map_err(at("read", Path::new("/proc/self/mountinfo")))?;
        let base = self.host.layout.rootfs(ctid);
        let mut found: Vec<PathBuf> = mounts::points(&text).filter(|point| point.starts_with(&base)).collect();
        found.reverse();
        Ok(found)
    }

    /// Whether this intent made the half-made container that lies at its number.
    ///
    /// In the boot of the intent: its shim began, which it does only once the number was found free, and at most one task of the
    /// kind was started since, which then is its own. In a later boot, when the shim's record is gone: the last task of the kind
    /// was started while the intent was carried out. In both, no task of another kind was started since that makes a container of
    /// this number; a clone of another source needs not be asked for, since its task begins with more than a lock written.
    pub(super) fn made_it(&self, kind: &str, task_of: Ctid) -> bool {
        let tasks = self.tasks_of(kind, task_of);
        let others = || MAKING.iter().filter(|other| **other != kind).flat_map(|other| self.tasks_of(other, self.intent().ctid));
        let now = self.local.clock.now();
        match self.place().began_at(&self.intent_ref, self.local.clock.boot()) {
            Some(ticks) => {
                let age_s = (now.moment.boottime_ms / 1000).saturating_sub(ticks / TICKS_PER_S);
                let since = u64::try_from(now.wall.0 / 1000).unwrap_or(0).saturating_sub(age_s + ROUNDING_S);
                // By ticks, which are finer; by seconds as well, since ticks of another boot mean nothing.
                let is_since = |task: &Upid| task.start_ticks >= ticks && task.started >= since;
                tasks.iter().filter(|task| is_since(task)).count() <= 1 && !others().any(|task| is_since(&task))
            }
            None if self.intent().deadline.boot == *self.local.clock.boot() => false,
            None => {
                let booted_s = self.booted_s();
                let last = tasks.last().filter(|last| in_time(self.effect, last, booted_s));
                last.is_some_and(|last| others().all(|task| task.started < last.started))
            }
        }
    }

    /// When this boot began, in seconds since 1970; unknown of a boot that is not the kernel's but a test's.
    fn booted_s(&self) -> Option<u64> {
        let kernels = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let now = self.local.clock.now();
        let is_kernels = self.local.clock.boot().to_string() == kernels.trim();
        is_kernels.then(|| u64::try_from(now.wall.0 / 1000).unwrap_or(0).saturating_sub(now.moment.boottime_ms / 1000))
    }

    /// Whether a creation was cut off although the configuration is whole and not locked. Proxmox writes it so when the template is
    /// inside, and goes on with what belongs to this container alone (passwords, keys of its own, fixes of the template); it takes
    /// the mounts off last.
    pub(super) fn is_unfinished(&self) -> Taken<bool> {
        let of_create = self.intent().step.step == Step::DefineCreate;
        Ok(of_create && (self.is_torn() || !self.mounts(self.intent().ctid)?.is_empty()))
    }

    /// Whether the container is what was unpacked of its template when tar was killed. Proxmox takes it for whole then: tar runs
    /// below `lxc-usernsexec`, which ends with 0 although a signal ended its child (seen). The task's log tells.
    fn is_torn(&self) -> bool {
        let Some(last) = self.tasks_of("vzcreate", self.intent().ctid).pop() else { return false };
        let log = durable::read(&self.host.layout.tasks().join(last.log()), LIST_BYTES_MAX).ok().flatten().unwrap_or_default();
        log.contains(UNPACKING) && !log.contains(UNPACKED)
    }

    /// All tasks of a kind about a container that Proxmox still lists.
    fn tasks_of(&self, kind: &str, ctid: Ctid) -> Vec<Upid> {
        let directory = self.host.layout.tasks();
        let read = |name: &str| durable::read(&directory.join(name), LIST_BYTES_MAX).ok().flatten().unwrap_or_default();
        let all = ["active", "index"].into_iter().flat_map(|name| tasks::parse(&read(name))).map(|task| task.upid);
        let mut found: Vec<Upid> = all.filter(|upid| upid.kind == kind && upid.id == ctid.to_string()).collect();
        found.sort_by_key(|upid| (upid.started, upid.pid, upid.start_ticks));
        found.dedup();
        found
    }
}

/// Where a storage keeps the volumes of a container as files, if it does.
fn images(storage: &Storage, ctid: Ctid) -> Option<PathBuf> {
    let path = storage.path.as_ref()?;
    Some(path.join("images").join(ctid.to_string()))
}

/// How a volume is called whose file or directory has this name. An image on btrfs lies in a directory without its suffix.
fn volume_name(storage: &Storage, name: String) -> String {
    if storage.kind != "btrfs" || Path::new(&name).extension().is_some() {
        return name;
    }
    let suffix = if name.starts_with("subvol") || name.starts_with("basevol") { "subvol" } else { "raw" };
    format!("{name}.{suffix}")
}

/// Whether a task was started while the intent was being carried out, by the time since boot that both name; and before this boot,
/// in which others' tasks may have the same.
fn in_time(effect: &Effect, task: &Upid, booted_s: Option<u64>) -> bool {
    let Intent { deadline, step, .. } = &effect.intent;
    let until = deadline.boottime_ms.saturating_add(ROUNDING_MS);
    let from = deadline.boottime_ms.saturating_sub(ms(limits::timeout(step, &effect.spec))).saturating_sub(ROUNDING_MS);
    let started = task.start_ticks * 1000 / TICKS_PER_S;
    (from..=until).contains(&started) && is_before(task, booted_s)
}

/// Whether a task was started before a boot began.
fn is_before(task: &Upid, booted_s: Option<u64>) -> bool {
    booted_s.is_none_or(|booted| task.started < booted + ROUNDING_S)
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn storage_of(volume: &str) -> &str {
    volume.split(':').next().unwrap_or_default()
}

impl Config {
    /// The volumes and directories that it names, in every section.
    fn volumes(&self) -> Vec<String> {
        let sections = std::iter::once(self.main()).chain(self.snapshots().map(|(_, section)| section)).chain(self.pending());
        let values = sections.flat_map(|section| section.settings().collect::<Vec<_>>());
        let of_disk = |key: &str| key == "rootfs" || key.starts_with("mp") || key.starts_with("unused");
        values.filter(|(key, _)| of_disk(key)).map(|(_, value)| value.split(',').next().unwrap_or_default().to_owned()).collect()
    }

    /// The storages of its volumes.
    pub(super) fn storages(&self) -> BTreeSet<String> {
        let volumes = self.volumes().into_iter().filter(|volume| !volume.starts_with('/'));
        volumes.filter_map(|volume| Some(volume.split_once(':')?.0.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_of_this_boot_is_not_one_of_the_boot_before() {
        let task: Upid = "UPID:vm:00006557:000702B3:6B039B94:vzcreate:220:root@pam:".parse().expect("an id");
        assert!(is_before(&task, Some(task.started + 1)) && is_before(&task, Some(task.started - 1)), "clocks are rounded");
        assert!(!is_before(&task, Some(task.started - ROUNDING_S)));
        assert!(is_before(&task, None), "nothing is known");
    }

    #[test]
    fn what_was_found_is_read_back_from_its_text() {
        let digest = "da39a3ee5e6b4b0d3255bfef95601890afd80709".to_owned();
        let source = "0123456789012345678901234567890123456789".to_owned();
        let left = Leftover {
            config: Some((digest.clone(), Some("create".to_owned()))),
            mounts: vec!["/var/lib/lxc/101/rootfs".into()],
            volumes: vec!["local:101/vm-101-disk-0.raw".to_owned(), "local:101/vm-101-disk-1.raw".to_owned()],
            source: Some((Ctid::new(100).expect("in range"), source.clone())),
            results: false,
            is_unsynced: true,
        };
        let text = left.to_string();
        assert_eq!(Leftover::config_in(&text), Some(digest.as_str()), "{text}");
        assert_eq!(Leftover::source_in(&text), Some(source.as_str()));
        assert_eq!(Leftover::volumes_in(&text), left.volumes);
        assert_eq!(Leftover::config_in("mount /x"), None);
        assert_eq!(Leftover::volumes_in("mount /x"), Vec::<String>::new());
    }
}
