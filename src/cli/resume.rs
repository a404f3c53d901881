//! `resume`: goes on with every interrupted run, from the journal alone.

use crate::driver::{Channel, Message, resume};
use crate::machine::RunCommand;

use super::args::ResumeArgs;
use super::blame::{CliError, Exit};
use super::progress::Display;
use super::setting::Setting;
use super::signals;
use super::up::{conclude_run, ended};

pub(super) fn run(setting: &Setting, args: &ResumeArgs) -> Result<Exit, CliError> {
    let site = setting.site()?;
    let channel = Channel::new();
    signals::forward(channel.sender.clone(), || Message::Stop);
    let mut display = Display::new(setting.screen, setting.globals.json, site.host.clone());
    let finished = resume(&site, args.fleet.as_ref(), args.jobs.jobs, &channel, &mut display);
    display.finish();
    conclude_run(setting, RunCommand::Resume, &ended(setting, finished)?)
}
