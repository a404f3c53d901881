//! A change of a configuration in this process: under Proxmox's own lock, of the file that was read and no other.
//!
//! Apart because it is the one door past `pct` to a file of Proxmox's: the lock, the comparison, a new file put in place of the
//! old one, and a look at what came of it. Not here: what is changed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::host::local::act::{Act, Taken, at, failed, io_failed};
use crate::host::local::durable;
use crate::machine::FailureClass;

use super::config::{CONFIG_BYTES_MAX, Config, EditError};
use super::firewall::FirewallFile;
use super::{Pct, mark};

/// How long Proxmox itself waits for a lock of a configuration.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// How long one try is apart from the next.
const TRY_AGAIN: Duration = Duration::from_millis(20);
/// How long ago a draft of the firewall's file has to have been written; a living one is there for a moment.
const FIREWALL_DRAFT_AGE_S_MIN: i64 = 5 * 60;
/// What Proxmox gives its configurations.
const FILE_MODE: u32 = 0o640;

impl Act<'_, Pct> {
    /// Changes the container's configuration durably, if it changes.
    pub(super) fn edit<T>(&self, change: impl Fn(&mut Config) -> Result<T, EditError>) -> Taken<T> {
        let path = self.host.layout.config(self.intent().ctid);
        let _held = self.lock_config()?;
        // Under the lock: what was read before it may have changed since.
        self.check_mark()?;
        self.remove_drafts()?;
        let old = self.config()?;
        let mut new = old.clone();
        let changed = change(&mut new).map_err(|error| failed(FailureClass::Permanent, error))?;
        if new == old {
            // An attempt before this one may have written it.
            self.sync_cluster()?;
            return Ok(changed);
        }
        if let Some(lock) = old.main().lock() {
            return Err(self.locked(lock));
        }
        if old.main().mounts().ok() != new.main().mounts().ok() {
            self.check_protection("phoenix up")?;
        }
        let text = new.to_string();
        replace(&path, text.as_bytes()).map_err(self.in_cluster("write", &path))?;
        let found = durable::read(&path, CONFIG_BYTES_MAX).map_err(at("read", &path))?;
        if found.as_deref() != Some(&text) {
            return Err(failed(FailureClass::Transient, format!("{} was changed by others while it was written", path.display())));
        }
        self.sync_cluster()?;
        Ok(changed)
    }

    /// Waits until what was written below `/etc/pve` survives a power cut.
    pub(super) fn sync_cluster(&self) -> Taken<()> {
        self.host.sync_cluster().map_err(|error| io_failed("make the cluster's database durable", &error))
    }

    /// Proxmox's lock on the container's configuration.
    fn lock_config(&self) -> Taken<File> {
        let path = self.host.layout.config_lock(self.intent().ctid);
        let open = || {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            OpenOptions::new().append(true).create(true).mode(0o644).open(&path)
        };
        let file = open().map_err(at("open", &path))?;
        let until = self.local.clock.moment().after(self.remaining_at_most(LOCK_WAIT));
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(file),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(io_failed(&format!("lock {}", path.display()), &errno.into())),
            }
            if until.remaining(&self.local.clock.moment()).is_none_or(|left| left.is_zero()) {
                return Err(self.lock_file_held(&path, "the lock of the configuration could not be had in time"));
            }
            pause(TRY_AGAIN).map_err(|error| io_failed("wait", &error))?;
        }
    }
}

fn pause(time: Duration) -> io::Result<()> {
    let nanos = rustix::event::Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) };
    match rustix::event::poll(&mut [], Some(&nanos)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

impl Act<'_, Pct> {
    /// Removes what a killed `pct` left beside the configuration, which it writes as `CTID.conf.tmp.PID` and renames: if its
    /// writer has ended, and the container or the file itself bears our mark. Anything else is left alone.
    pub(super) fn remove_drafts(&self) -> Taken<()> {
        let ctid = self.intent().ctid;
        let of_config = |text: &str, _: &Path| self.judge_found(mark::of_config(text).as_ref()).is_ok() || self.check_mark().is_ok();
        self.remove_drafts_of(&self.host.layout.config(ctid), of_config)?;
        // Proxmox writes that one under such a name as well, without a lock, and on any node of the cluster: its process may live there.
        let of_firewall = |text: &str, draft: &Path| {
            let is_ours = self.effect.spec.host_options.firewall.is_some() && FirewallFile::parse(text).is_signed();
            is_ours && self.is_older(draft, FIREWALL_DRAFT_AGE_S_MIN)
        };
        self.remove_drafts_of(&self.host.layout.firewall(ctid), of_firewall)
    }

    fn is_older(&self, path: &Path, seconds: i64) -> bool {
        let now_s = self.local.clock.now().wall.0 / 1000;
        std::fs::metadata(path).is_ok_and(|metadata| now_s.saturating_sub(metadata.mtime()) > seconds)
    }

    /// Removes what processes that are gone left of writing a file, if it is ours by what it says.
    fn remove_drafts_of(&self, path: &Path, is_ours: impl Fn(&str, &Path) -> bool) -> Taken<()> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else { return Ok(()) };
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let begin = format!("{name}.tmp.");
        let writer = |name: &std::ffi::OsStr| name.to_str()?.strip_prefix(&begin)?.parse::<u32>().ok();
        let drafts = entries.filter_map(|entry| Some((writer(&entry.file_name())?, entry.path())));
        for (pid, draft) in drafts.filter(|(pid, _)| !Path::new("/proc").join(pid.to_string()).exists()) {
            let text = durable::read(&draft, CONFIG_BYTES_MAX).ok().flatten().unwrap_or_default();
            if is_ours(&text, &draft) {
                tracing::info!(file = %draft.display(), pid, "removed what was being written by a process that is gone");
                std::fs::remove_file(&draft).map_err(self.in_cluster("remove", &draft))?;
            }
        }
        Ok(())
    }
}

/// Puts a file in place of the old one. Its name until then is one that Proxmox gives as well: the cluster's file system takes
/// no others beside a configuration.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_if(path, bytes, || Ok(true)).map(drop)
}

/// As [`replace`], unless `still`, asked at the last moment, says that the old file is another by now.
pub(super) fn replace_if(path: &Path, bytes: &[u8], still: impl Fn() -> io::Result<bool>) -> io::Result<bool> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".tmp.{}", std::process::id()));
    let temporary = Path::new(&name);
    match std::fs::remove_file(temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    if !still()? {
        std::fs::remove_file(temporary)?;
        return Ok(false);
    }
    std::fs::rename(temporary, path)?;
    durable::sync_directory_of(path)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_has_written_in_between_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("101.fw");
        std::fs::write(&path, "theirs").expect("written");
        assert!(!replace_if(&path, b"ours", || Ok(false)).expect("compared"));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "theirs");
        assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 1, "no draft is left");
        assert!(replace_if(&path, b"ours", || Ok(true)).expect("written"));
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "ours");
    }
}
