//! `doctor`: is this machine fit to be a host?
//!
//! Not here: what is looked at (`host::doctor`).

use crate::host::doctor::{Patient, examine};
use crate::host::lxc::LXC_PATH;
use crate::ids::HostKind;
use crate::report::DoctorReport;

use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::{Setting, pve_root};

pub(super) fn run(setting: &Setting) -> Result<Exit, CliError> {
    // What cannot be told is what the doctor is asked about: a machine that is no host yet is looked at as plain LXC's.
    let kind = setting.kind().unwrap_or(HostKind::Lxc);
    let lxc_path = setting.globals.lxc_path.clone().unwrap_or_else(|| LXC_PATH.into());
    let patient = Patient { kind, journal: &setting.journal, lxc_path: &lxc_path, pve_root: &pve_root() };
    let report = DoctorReport::of(kind, examine(&patient));
    if setting.globals.json {
        print_json(&report)?;
    } else {
        print(&report.text(setting.screen.out))?;
    }
    Ok(if report.fit { Exit::Well } else { Exit::Host })
}
