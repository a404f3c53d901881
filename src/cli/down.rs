//! `down`: stops and destroys what is ours, after a person has said yes.

use std::collections::BTreeSet;
use std::fmt::Write;

use crate::driver::{Channel, Lives, Message, RunError, down, look};
use crate::ids::Ctid;
use crate::machine::RunCommand;
use crate::report::plain::count;

use super::args::DownArgs;
use super::blame::{CliError, Exit};
use super::progress::Display;
use super::screen::{asked, say};
use super::setting::Setting;
use super::signals;
use super::up::{conclude_run, ended};

pub(super) fn run(setting: &Setting, args: &DownArgs) -> Result<Exit, CliError> {
    let site = setting.site()?;
    let Some(lives) = look(&site)?.map(|known| known.account.lives) else {
        return Err(RunError::NoJournal { path: setting.journal.clone() }.into());
    };
    let chosen: BTreeSet<Ctid> = if args.all { lives.keys().copied().collect() } else { args.ctids.iter().copied().collect() };
    let unknown: Vec<Ctid> = chosen.iter().copied().filter(|ctid| !lives.contains_key(ctid)).collect();
    if !unknown.is_empty() {
        return Err(RunError::UnknownContainers { ctids: unknown }.into());
    }
    let there: Vec<Ctid> = chosen.iter().copied().filter(|ctid| may_exist(&lives, *ctid)).collect();
    say(&warnings(&lives, &chosen));
    if !there.is_empty() && !args.yes {
        say(&listing(&lives, &there));
        let what = "there is no terminal to ask on, and destroying containers is not done without being sure";
        if !asked(setting.screen, "Go on?", what)? {
            say("Nothing was done.\n");
            return Ok(Exit::Well);
        }
    }
    let channel = Channel::new();
    signals::forward(channel.sender.clone(), || Message::Stop);
    let mut display = Display::new(setting.screen, setting.globals.json, site.host.clone());
    let finished = down(&site, &chosen, args.jobs.jobs, &channel, &mut display);
    display.finish();
    conclude_run(setting, RunCommand::Down, &ended(setting, finished)?)
}

fn may_exist(lives: &Lives, ctid: Ctid) -> bool {
    // What cannot be read may well be there.
    lives.get(&ctid).is_some_and(|life| life.as_ref().map_or(true, crate::machine::Life::may_exist))
}

/// Who is left without what it depends on.
fn warnings(lives: &Lives, chosen: &BTreeSet<Ctid>) -> String {
    let mut text = String::new();
    for life in lives.values().flatten().filter(|life| !chosen.contains(&life.ctid()) && life.may_exist()) {
        for on in life.spec.depends_on.iter().filter(|on| chosen.contains(on)) {
            let _ = writeln!(text, "warning: {} {} depends on {on} and stays", life.ctid(), life.spec.hostname);
        }
    }
    text
}

fn listing(lives: &Lives, there: &[Ctid]) -> String {
    let mut text = format!("{} will be stopped and destroyed; shared directories stay:\n", count(there.len(), "container"));
    for ctid in there {
        let of = lives.get(ctid).and_then(|life| life.as_ref().ok());
        let of = of.map_or_else(String::new, |life| format!(" {} ({}, {})", life.spec.hostname, life.fleet, life.state()));
        let _ = writeln!(text, "  {ctid}{of}");
    }
    text
}
