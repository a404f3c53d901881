//! `schema`, `completions`, `man`: what editors, shells and manuals want.

use crate::manifest;

use super::args::{CompletionsArgs, command};
use super::blame::{CliError, Exit};
use super::screen::print;
use super::setting::Setting;

pub(super) fn schema(_: &Setting) -> Result<Exit, CliError> {
    let text = serde_json::to_string_pretty(&manifest::schema()).map_err(|error| CliError::Output(error.into()))?;
    print(&format!("{text}\n"))?;
    Ok(Exit::Well)
}

pub(super) fn completions(_: &Setting, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command(), "phoenix", &mut text);
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Well)
}

pub(super) fn man(_: &Setting) -> Result<Exit, CliError> {
    let mut text = Vec::new();
    clap_mangen::Man::new(command()).render(&mut text).map_err(CliError::Output)?;
    print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Well)
}
