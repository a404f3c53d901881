//! What the host has against a fleet, before anything is recorded.
//!
//! Apart because three commands ask it. Not here: what a host looks at, and the form of problems (`manifest`).

use std::sync::Arc;

use crate::driver::Wanted;
use crate::host::{Host, Objection};
use crate::ids::HostKind;
use crate::manifest::{Checked, Manifest, Problems, Spec};

use super::blame::CliError;
use super::setting::{Setting, machine_is};

/// Refuses what the host cannot do of what is wanted, all at once.
pub(super) fn vet<'a>(host: &dyn Host, manifest: &Manifest<Checked>, wanted: impl IntoIterator<Item = &'a Wanted>) -> Result<(), CliError> {
    let wanted: Vec<Arc<Spec>> = wanted.into_iter().map(|wanted| wanted.spec.clone()).collect();
    match problems(host, manifest, &wanted)? {
        Some(problems) => Err(CliError::Manifest(Box::new(problems))),
        None => Ok(()),
    }
}

/// What the host has against a manifest that is only checked: nothing where this machine is no such host, or does not answer.
pub(super) fn glance(setting: &Setting, kind: HostKind, manifest: &Manifest<Checked>) -> Option<Problems> {
    let here = match kind {
        HostKind::Pct => machine_is(kind),
        // Containers of plain LXC are mostly brought up elsewhere than they are checked, and the simulator has no objections.
        HostKind::Lxc | HostKind::Sim => false,
    };
    let host = here.then(|| setting.host().ok()).flatten()?;
    let wanted: Vec<Arc<Spec>> = manifest.containers().values().cloned().map(Arc::new).collect();
    problems(&*host, manifest, &wanted).ok().flatten()
}

fn problems(host: &dyn Host, manifest: &Manifest<Checked>, wanted: &[Arc<Spec>]) -> Result<Option<Problems>, CliError> {
    let objections = host.vet(wanted)?;
    Ok(manifest.refused(objections.into_iter().map(|Objection { ctid, what, remedy }| (ctid, what, remedy))))
}
