//! Names in the container directory.
//!
//! The one place that knows them. Everything of ours that is not a container begins with `.phoenix-`, which `lxc-ls` skips
//! and no container number can be. Not here: reading or writing.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use phoenix_journal::JournalId;

use crate::ids::{Ctid, Incarnation};

/// The container directory (`/var/lib/lxc`) and what lies where in it.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    path: PathBuf,
}

/// The configuration's name in a container's directory; LXC's own.
pub(crate) const CONFIG_FILE: &str = "config";
/// The root file system's name in a container's directory; what `lxc-create` uses.
pub(crate) const ROOTFS: &str = "rootfs";

impl Layout {
    /// The layout of the container directory at `path`.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The container directory.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where a container is once it is whole.
    pub(crate) fn container(&self, ctid: Ctid) -> PathBuf {
        self.path.join(ctid.to_string())
    }

    /// Its root file system.
    pub(crate) fn rootfs(&self, ctid: Ctid) -> PathBuf {
        self.container(ctid).join(ROOTFS)
    }

    /// Where one is built.
    pub(crate) fn staging(&self, ctid: Ctid, incarnation: Incarnation) -> PathBuf {
        self.path.join(format!(".phoenix-{ctid}-{incarnation}"))
    }

    /// Where one lies that is being destroyed.
    pub(crate) fn gone(&self, ctid: Ctid, incarnation: Incarnation) -> PathBuf {
        self.path.join(format!(".phoenix-gone-{ctid}-{incarnation}"))
    }

    /// Whatever was being built or destroyed under this number, of any incarnation.
    pub(crate) fn leftovers(&self, ctid: Ctid) -> io::Result<Vec<PathBuf>> {
        let begins = [format!(".phoenix-{ctid}-"), format!(".phoenix-gone-{ctid}-")];
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            if begins.iter().any(|begin| name.as_bytes().starts_with(begin.as_bytes())) {
                found.push(entry.path());
            }
        }
        found.sort();
        Ok(found)
    }

    /// What makes the directory recognisable for a journal.
    pub(crate) fn sentinel(&self, journal: &JournalId) -> PathBuf {
        self.path.join(format!(".phoenix-{journal}"))
    }
}
