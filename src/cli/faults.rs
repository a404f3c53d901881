//! Faults for the simulator, from the environment: to see what a failure looks like before it happens.
//!
//! `PHOENIX_SIM_FAULTS` holds one fault per `;`: `CTID STEP WHAT`, as in `102 feature.apply[base] exit 3 no such package`. WHAT
//! is `exit STATUS TEXT` (of a script), `transient`, `permanent`, `disk_full`, `hang` or `init_dies`; `STEP#2` means the second
//! attempt alone, and `*` any container. Only `--host sim` reads it.

use crate::host::sim::{Fault, Faults, What, When, Where};
use crate::ids::{Ctid, StepId};

use super::blame::CliError;

const VARIABLE: &str = "PHOENIX_SIM_FAULTS";

/// The faults that the environment asks for.
pub(super) fn from_env() -> Result<Faults, CliError> {
    let text = std::env::var(VARIABLE).unwrap_or_default();
    let asked = text.split(';').map(str::trim).filter(|fault| !fault.is_empty());
    let planned = asked.map(|fault| parse(fault).ok_or_else(|| refused(fault))).collect::<Result<_, _>>()?;
    Ok(Faults { planned, ..Faults::default() })
}

fn refused(fault: &str) -> CliError {
    let what = format!("{VARIABLE} holds `{fault}`, which is no fault; write `CTID STEP WHAT`, as `102 feature.apply[base] exit 3 text`");
    CliError::Usage { what, next: None }
}

fn parse(fault: &str) -> Option<Fault> {
    let (ctid, rest) = fault.split_once(' ')?;
    let (step, what) = rest.trim_start().split_once(' ')?;
    let (step, attempt) = match step.split_once('#') {
        Some((step, attempt)) => (step, Some(attempt.parse().ok()?)),
        None => (step, None),
    };
    let ctid: Option<Ctid> = if ctid == "*" { None } else { Some(ctid.parse().ok()?) };
    let step = Where::Step(step.parse::<StepId>().ok()?);
    Some(Fault { ctid, step, attempt, when: When::Piece(1), what: parse_what(what.trim())? })
}

fn parse_what(what: &str) -> Option<What> {
    let (word, rest) = what.split_once(' ').unwrap_or((what, ""));
    match word {
        "transient" => Some(What::Transient),
        "permanent" => Some(What::Permanent),
        "disk_full" => Some(What::DiskFull),
        "hang" => Some(What::Hang),
        "init_dies" => Some(What::InitDies),
        "exit" => {
            let (status, output) = rest.split_once(' ').unwrap_or((rest, ""));
            Some(What::Exit { status: status.parse().ok()?, output: output.replace("\\n", "\n").replace("\\e", "\u{1b}") })
        }
        _ => None,
    }
}
