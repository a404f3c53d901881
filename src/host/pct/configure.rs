//! The configuration of a container that is there: the difference alone, in one `pct set`.
//!
//! What takes effect at once and touches nothing but the file, autostart and protection, needs no `pct`: it is written in this
//! process, as shared directories are.
//!
//! With the digest of the file that the difference was taken from, so that nobody's change in between is lost. What can only take
//! effect at the next start waits there, and is named in the evidence; the next step starts the container anyway. Not here: what
//! is wanted (`wanted`).

use crate::host::local::act::{Act, Taken, drift, failed};
use crate::machine::{Evidence, FailureClass, StepResult};

use super::Pct;
use super::child::Said;
use super::config::Config;
use super::wanted::{self, Change, Wanted};

/// What `pct resize` says, and exits with 0, when the volume has grown and its file system has not.
const NOT_GROWN: &str = "Failed to update the container's filesystem";
/// What `pct resize` says where the volume is that large already: it goes by the storage, not by the configuration. From Proxmox's
/// source, and the second recorded.
const LARGE_ALREADY: [&str; 2] = ["disk is already at specified size", "unable to shrink disk size"];
/// The least growth, which any storage can round as it likes.
const A_LITTLE: &str = "+1M";

impl Act<'_, Pct> {
    pub(super) fn configure(&self) -> Taken {
        self.check_mark()?;
        let config = self.config()?;
        if config.main().unprivileged().map_err(|error| drift("the configuration can be read", error))? != self.effect.spec.unprivileged {
            let message = "`unprivileged` is not what the manifest says and cannot be changed; destroy the container and create it anew";
            return Err(failed(FailureClass::Permanent, message));
        }
        let lines = wanted::idmap_lines(&self.effect.spec.idmap);
        self.edit(|config| config.set_raw("lxc.idmap", lines.iter().map(String::as_str)))?;
        let change = Wanted::of(&self.effect.spec).change(&self.config()?);
        if !change.is_empty() {
            self.set(&change)?;
        }
        self.grow()?;
        self.join_pool()?;
        self.configured()
    }

    /// `Configured`, if the file says what is wanted.
    pub(super) fn configured(&self) -> Taken {
        let config = self.config()?;
        let change = Wanted::of(&self.effect.spec).change(&config);
        if !change.is_empty() {
            return Err(drift("the configuration equals the spec", change.named()));
        }
        if let Some(disk_gb) = self.growth(&config)? {
            return Err(drift(format!("the root file system has {disk_gb} GiB"), "it is smaller"));
        }
        let lines = wanted::idmap_lines(&self.effect.spec.idmap);
        let found: Vec<&str> = config.main().raw().filter(|(key, _)| *key == "lxc.idmap").map(|(_, value)| value).collect();
        if found != lines {
            return Err(drift(format!("the configuration asks for the id map {lines:?}"), format!("it asks for {found:?}")));
        }
        if let Some(pool) = self.missing_pool()? {
            return Err(drift(format!("the container is in the pool {pool}"), "it is not"));
        }
        let waits = wanted::waiting(&config).into_iter().map(|key| format!("{key} before the next start"));
        Ok(Evidence::Configured { unenforced: waits.chain(self.unsized_disk(&config)?).collect() })
    }

    pub(super) fn set_autostart(&self) -> Taken {
        self.check_mark()?;
        let wanted = Wanted::at_last(&self.effect.spec);
        let config = self.config()?;
        let change = wanted.change_at_once(&config);
        if wanted::waiting(&config).iter().any(|key| change.set.contains_key(key)) {
            // What waits would undo it at the next start; Proxmox alone takes that back.
            self.set(&change)?;
        } else {
            self.edit(|config| wanted.change_at_once(config).set.iter().try_for_each(|(key, value)| config.set(key, value)))?;
        }
        self.autostart_set()
    }

    /// `AutostartSet`, if the file says what is wanted.
    pub(super) fn autostart_set(&self) -> Taken {
        let change = Wanted::at_last(&self.effect.spec).change_at_once(&self.config()?);
        if !change.is_empty() {
            return Err(drift("the container is started at boot as the spec says", change.named()));
        }
        Ok(Evidence::AutostartSet { enabled: self.effect.spec.autostart.enabled })
    }

    /// Says a change to `pct set`, and sees that it took it.
    pub(super) fn set(&self, change: &Change) -> Taken<()> {
        let config = self.config()?;
        let mut words = self.words(["set"], []);
        words.extend(change.words());
        words.extend(["--digest".to_owned(), config.digest()]);
        let said = self.pct(words)?;
        self.check_mark()?;
        let found = wanted::effective(&self.config()?);
        let left =
            change.set.keys().find(|key| !found.contains_key(*key)).or_else(|| change.delete.iter().find(|key| found.contains_key(*key)));
        match left {
            Some(key) => Err(self.refused(&said, &format!("`pct set` did not change {key}"))),
            None if said.result.ending.is_success() => Ok(()),
            None => Err(self.refused(&said, "`pct set` failed")),
        }
    }

    /// The container's configuration; gone if there is none.
    pub(super) fn config(&self) -> Taken<Config> {
        self.found_config()?.ok_or_else(|| Box::new(StepResult::Gone))
    }

    fn grow(&self) -> Taken<()> {
        let Some(disk_gb) = self.growth(&self.config()?)? else { return Ok(()) };
        let said = self.resize(&format!("{disk_gb}G"))?;
        if self.growth(&self.config()?)?.is_none() {
            return Ok(());
        }
        if !LARGE_ALREADY.iter().any(|words| said.text.contains(words)) {
            return Err(self.refused(&said, "the root file system did not grow"));
        }
        // A `pct resize` was cut off between volume and configuration. One that is not refused writes the configuration and grows the
        // file system to all of the volume; a `pct rescan` would only do the first.
        let said = self.resize(A_LITTLE)?;
        if self.growth(&self.config()?)?.is_none() {
            return Ok(());
        }
        let ctid = self.intent().ctid;
        let what = format!("the volume has grown and its configuration has not, and `pct resize {ctid} rootfs {A_LITTLE}` did not help");
        Err(self.refused(&said, &what))
    }

    fn resize(&self, size: &str) -> Taken<Said> {
        let said = self.pct(self.words(["resize"], ["rootfs", size]))?;
        if said.text.contains(NOT_GROWN) {
            let message = format!("the volume has grown ({size}), its file system has not; see the output, and run `resize2fs` on it");
            return Err(failed(FailureClass::Permanent, message));
        }
        Ok(said)
    }

    fn growth(&self, config: &Config) -> Taken<Option<u32>> {
        let rootfs = config.main().rootfs().map_err(|error| drift("the root file system can be read", error))?;
        Ok(wanted::growth(self.effect.spec.resources.disk_gb, rootfs.and_then(|rootfs| rootfs.size)))
    }

    /// What of the disk's size is not kept: a directory has none.
    fn unsized_disk(&self, config: &Config) -> Taken<Option<String>> {
        let rootfs = config.main().rootfs().map_err(|error| drift("the root file system can be read", error))?;
        let has_size = rootfs.and_then(|rootfs| rootfs.size).is_some_and(|size| size.0 > 0);
        Ok(self.effect.spec.resources.disk_gb.filter(|_| !has_size).map(|_| "disk_gb on a directory".to_owned()))
    }
}
