//! `retry`: records a person's decision about a container that does not go on by itself.

use std::fmt::Write;

use serde::Serialize;

use crate::driver::{Ask, Decided, decide};
use crate::machine::Fact;
use crate::report::plain::{one_line, paragraph};
use crate::report::{LiveSight, SCHEMA, fact_text, sight, standing_text};

use super::args::RetryArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::Setting;

/// The answer in JSON.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    ctid: u32,
    run: String,
    state: &'static str,
    standing: &'static str,
    found: LiveSight,
    decided: Vec<String>,
    next: Vec<String>,
}

pub(super) fn run(setting: &Setting, args: &RetryArgs) -> Result<Exit, CliError> {
    let site = setting.site()?;
    let Decided { run, state, before, seen, mark, facts } = decide(&site, args.ctid, &ask(args))?;
    let found = sight(&mark, seen.as_ref());
    // How a skipped step is written down need not be told to whoever skipped it.
    let decided: Vec<String> = facts.iter().filter(|fact| matches!(fact, Fact::Noted(_) | Fact::Declared(_))).map(fact_text).collect();
    let next = vec![format!("phoenix resume --fleet {}", mark.fleet)];
    if setting.globals.json {
        let (state, standing) = (state.name(), before.name());
        print_json(&Answer { schema: SCHEMA, ctid: args.ctid.get(), run: run.to_string(), state, standing, found, decided, next })?;
        return Ok(Exit::Well);
    }
    let (mut text, look) = (String::new(), setting.screen.out);
    let _ = paragraph(&mut text, look, &format!("{}: ", args.ctid), &format!("{}, {}", state, one_line(&standing_text(&before))));
    let _ = paragraph(&mut text, look, "  on the host: ", &found.phrase());
    for decided in &decided {
        let _ = paragraph(&mut text, look, "  decided: ", decided);
    }
    for next in &next {
        let _ = writeln!(text, "  next: {next}");
    }
    print(&text)?;
    Ok(Exit::Well)
}

fn ask(args: &RetryArgs) -> Ask {
    let RetryArgs { ctid: _, step, recreate, remark, rerun, skip } = args;
    match (recreate, remark, rerun, skip) {
        (true, _, _, _) => Ask::Recreate,
        (_, true, _, _) => Ask::Remark,
        (_, _, true, _) => Ask::Rerun { step: step.clone() },
        (_, _, _, true) => Ask::Skip { step: step.clone() },
        (false, false, false, false) => Ask::NewBudget { step: step.clone() },
    }
}
