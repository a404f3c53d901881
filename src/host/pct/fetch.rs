//! What the cluster keeps beside containers: templates in a storage, and the firewall's files.
//!
//! Apart because neither is about a container's configuration. Not here: which templates there are to be had, and whether a rule
//! is right, which Proxmox says.

use std::path::Path;

use crate::host::local::act::{Act, Taken, at, chain, drift, failed};
use crate::host::local::durable;
use crate::machine::{Evidence, FailureClass};
use crate::manifest::{Firewall, Origin, Template};
use crate::shim::Kept;

use super::firewall::FirewallFile;
use super::{Pct, edit, storage};

/// The largest firewall file read.
const BYTES_MAX: u64 = 1024 * 1024;
/// What `pveam` says of a name that its list does not have: the list is old, or the template has a newer version.
const UNLISTED: &str = "no such template";

impl Act<'_, Pct> {
    /// Downloads the template into its storage, unless it is there. `pveam` gives a download its name once it is whole.
    pub(super) fn fetch_template(&self) -> Taken {
        if let Ok(evidence) = self.fetched() {
            return self.make_durable().map(|()| evidence);
        }
        let (storage, file) = self.stored_template()?;
        let said = self.call("pveam", vec!["download".to_owned(), storage, file.clone()], Kept::LockAndToken)?;
        if said.text.contains(UNLISTED) {
            let message =
                format!("`pveam` has no template {file}: `pveam update`, then name one that `pveam available --section system` shows");
            return Err(failed(FailureClass::Permanent, message));
        }
        let evidence = self.fetched().map_err(|_| self.refused(&said, "the template was not downloaded"))?;
        self.make_durable_after(&said).map(|()| evidence)
    }

    /// `Fetched`, if the storage has the template.
    pub(super) fn fetched(&self) -> Taken {
        let (storage, file) = self.stored_template()?;
        let storages = self.host.storages();
        let found = storage::of_volume(&storages, &format!("{storage}:vztmpl/{file}")).and_then(|(storage, volume)| storage.file(volume));
        match found {
            Some(path) if path.is_file() => Ok(Evidence::Fetched),
            Some(path) => Err(failed(FailureClass::Transient, format!("{} is not there", path.display()))),
            None => Err(failed(FailureClass::Permanent, format!("storage {storage} keeps no templates as files; name another"))),
        }
    }

    /// Storage and file of the template that the spec names.
    fn stored_template(&self) -> Taken<(String, String)> {
        let name = match &self.effect.spec.origin {
            Origin::Template(Template::Stored(name)) => name,
            Origin::Template(Template::File(_)) | Origin::Clone { .. } => {
                return Err(failed(FailureClass::Permanent, "the spec names no template of a storage"));
            }
        };
        let parts = name.split_once(":vztmpl/").map(|(storage, file)| (storage.to_owned(), file.to_owned()));
        parts.ok_or_else(|| failed(FailureClass::Permanent, format!("{name} is no template; name one as STORAGE:vztmpl/FILE")))
    }

    /// Makes our part of the container's firewall file what the spec says.
    pub(super) fn set_firewall(&self) -> Taken {
        self.check_mark()?;
        self.remove_drafts()?;
        let path = self.host.layout.firewall(self.intent().ctid);
        let old = firewall_file(&path)?;
        let new = old.with(self.firewall()?).map_err(|error| failed(FailureClass::Permanent, chain(&error)))?;
        if new != old {
            let directory = path.parent().unwrap_or(Path::new("/"));
            std::fs::create_dir_all(directory).map_err(self.in_cluster("make", directory))?;
            let old = old.to_string();
            if !edit::replace_if(&path, new.to_string().as_bytes(), || Ok(firewall_file(&path).is_ok_and(|found| found.to_string() == old)))
                .map_err(self.in_cluster("write", &path))?
            {
                return Err(failed(FailureClass::Transient, format!("{} was changed by others just now", path.display())));
            }
        }
        // Also what an attempt before this one wrote.
        self.sync_cluster()?;
        self.firewall_set()
    }

    /// `FirewallSet`, if the file says what is wanted.
    pub(super) fn firewall_set(&self) -> Taken {
        let path = self.host.layout.firewall(self.intent().ctid);
        if firewall_file(&path)?.says(self.firewall()?) {
            return Ok(Evidence::FirewallSet);
        }
        Err(drift(format!("{} says what the spec says", path.display()), "it does not"))
    }

    fn firewall(&self) -> Taken<&Firewall> {
        let firewall = self.effect.spec.host_options.firewall.as_ref();
        firewall.ok_or_else(|| failed(FailureClass::Permanent, "the spec says nothing of a firewall"))
    }
}

fn firewall_file(path: &Path) -> Taken<FirewallFile> {
    let text = durable::read(path, BYTES_MAX).map_err(at("read", path))?.unwrap_or_default();
    Ok(FirewallFile::parse(&text))
}
