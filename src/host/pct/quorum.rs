//! A cluster that lost its quorum while something was done.
//!
//! Nothing below `/etc/pve` can be written then, neither by `pct` nor by this process, until enough nodes are back: what is
//! refused for that reason is waited for, as a lock is. Not here: a cluster without quorum before anything is begun (`vet`).

use std::io;
use std::path::Path;

use crate::host::local::act::{Act, Taken, at};
use crate::machine::{StepResult, WaitKind};

use super::{Pct, observe};

/// What Proxmox says of a call that was to write into the cluster's file system.
const NO_QUORUM: &str = "no quorum";
/// What a program says that tried it itself.
const DENIED: &str = "Permission denied";
/// What is waited for, and where to look.
const AWAITED: &str = "the cluster's quorum; see `pvecm status`";

impl Act<'_, Pct> {
    /// As [`at`], of a path below `/etc/pve`.
    pub(super) fn in_cluster<'a>(&'a self, what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Box<StepResult> + use<'a> {
        move |error| {
            let refused =
                matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotConnected);
            let message = format!("cannot {what} {}: {error}", path.display());
            if refused && let Err(waits) = self.check_quorum(&message) { waits } else { at(what, path)(error) }
        }
    }

    /// Fails with a wait if a call failed with these words for want of a quorum.
    pub(super) fn check_said_quorum(&self, text: &str, message: &str) -> Taken<()> {
        if text.contains(NO_QUORUM) {
            return Err(self.awaits_quorum(message));
        }
        if text.contains(DENIED) { self.check_quorum(message) } else { Ok(()) }
    }

    fn check_quorum(&self, message: &str) -> Taken<()> {
        // Where nobody says so, it is something else that is in the way.
        match observe::members(&self.host.layout) {
            Ok(members) if !members.is_writable() => Err(self.awaits_quorum(message)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn awaits_quorum(&self, message: &str) -> Box<StepResult> {
        self.wait(
            WaitKind::Lock,
            AWAITED,
            format!("{message}; the cluster has no quorum: see `pvecm status`, and bring the other nodes back"),
        )
    }
}
