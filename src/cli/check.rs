//! `check`: is the manifest right?

use serde::Serialize;

use crate::ids::HostKind;
use crate::manifest::{Place, Problem, load};
use crate::report::SCHEMA;
use crate::report::plain::{count, path_text};

use super::args::{CheckArgs, HostChoice};
use super::blame::{CliError, Exit};
use super::screen::{print, print_json, say};
use super::setting::Setting;
use super::vet::glance;

/// The answer in JSON.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    manifest: String,
    fleet: Option<String>,
    containers: usize,
    problems: Vec<Complaint>,
    warnings: Vec<Complaint>,
}

#[derive(Serialize)]
struct Complaint {
    line: Option<usize>,
    column: Option<usize>,
    what: String,
    remedy: String,
}

pub(super) fn run(setting: &Setting, args: &CheckArgs) -> Result<Exit, CliError> {
    let kind = kind(setting);
    let around = setting.surroundings(kind)?;
    let manifest = args.manifest.display().to_string();
    let answer = |fleet, containers, problems, warnings| Answer { schema: SCHEMA, manifest, fleet, containers, problems, warnings };
    let checked = load(&args.manifest, &around).and_then(|checked| match glance(setting, kind, &checked) {
        Some(problems) => Err(problems),
        None => Ok(checked),
    });
    match checked {
        Err(problems) if setting.globals.json => {
            print_json(&answer(None, 0, problems.iter().map(complaint).collect(), Vec::new()))?;
            Ok(Exit::Usage)
        }
        Err(problems) => {
            say(&format!("{problems}\n"));
            Ok(Exit::Usage)
        }
        Ok(checked) if setting.globals.json => {
            let warnings = checked.warnings().iter().map(complaint).collect();
            print_json(&answer(Some(checked.fleet().to_string()), checked.containers().len(), Vec::new(), warnings))?;
            Ok(Exit::Well)
        }
        Ok(checked) => {
            if !checked.warnings().is_empty() {
                say(&format!("{}\n", checked.warnings()));
            }
            let containers = count(checked.containers().len(), "container");
            print(&format!("{}: fleet {}, {containers}, no problems\n", path_text(&args.manifest), checked.fleet()))?;
            Ok(Exit::Well)
        }
    }
}

/// The kind of host that the manifest is meant for. A check needs none: where there is none, it is checked for plain LXC.
fn kind(setting: &Setting) -> HostKind {
    match setting.globals.host {
        HostChoice::Auto => setting.kind().unwrap_or(HostKind::Lxc),
        HostChoice::Lxc => HostKind::Lxc,
        HostChoice::Pct => HostKind::Pct,
        HostChoice::Sim => HostKind::Sim,
    }
}

fn complaint(problem: &Problem) -> Complaint {
    let Problem { place, what, remedy } = problem;
    let (line, column) = place.as_ref().map(|Place { line, column, .. }| (*line, *column)).unzip();
    Complaint { line, column, what: what.clone(), remedy: remedy.clone() }
}
