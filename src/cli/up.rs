//! `up`: brings a fleet to done.

use std::collections::BTreeSet;

use crate::driver::{Channel, DriveError, Finished, Lives, Message, RunError, look, up};
use crate::ids::Ctid;
use crate::journal::Snapshot;
use crate::machine::{RunCommand, RunEnd};
use crate::manifest::{Checked, Manifest, Spec};
use crate::report::plain::count;
use crate::report::summary;

use super::args::UpArgs;
use super::blame::{CliError, Exit};
use super::progress::{Display, conclude};
use super::screen::say;
use super::setting::Setting;
use super::signals;
use super::templates::digest;
use super::vet::vet;

pub(super) fn run(setting: &Setting, args: &UpArgs) -> Result<Exit, CliError> {
    let kind = setting.kind()?;
    let manifest = setting.manifest(&args.manifest, kind)?;
    let site = setting.site()?;
    let known = look(&site)?;
    let chosen = chosen(&manifest, &args.only)?;
    let digested = digest(chosen, kind, known.as_ref().map(|known| &known.reader))?;
    let none = Lives::new();
    let lives = known.as_ref().map_or(&none, |known| &known.account.lives);
    vet(&*site.host, &manifest, digested.wanted.values())?;
    for ctid in left_alone(&manifest, lives) {
        say(&format!("note: {ctid} is no longer in the manifest and is left alone; `phoenix down {ctid}` destroys it\n"));
    }
    let channel = Channel::new();
    signals::forward(channel.sender.clone(), || Message::Stop);
    let mut display = Display::new(setting.screen, setting.globals.json, site.host.clone());
    let finished = up(&site, known, manifest.fleet(), &digested.wanted, args.jobs.jobs, &channel, &mut display);
    display.finish();
    let finished = ended(setting, finished)?;
    if finished.run.is_some() {
        digested.keep(&site);
    }
    conclude_run(setting, RunCommand::Up, &finished)
}

/// What a run came to. If it was left at once, what goes on without it is said first.
pub(super) fn ended(setting: &Setting, finished: Result<Finished, RunError>) -> Result<Finished, CliError> {
    if let Err(RunError::Drive(DriveError::Abandoned { in_flight })) = &finished
        && let Some(reader) = setting.reader()?
    {
        let snapshot = Snapshot::read(&reader)?;
        for ctid in in_flight {
            let step = snapshot.containers.get(ctid).and_then(|place| place.glance.step.as_ref());
            let step = step.map_or("a step", |step| step.name.as_str());
            say(&format!("{ctid}  {step} goes on without us\n"));
        }
    }
    Ok(finished?)
}

/// The summary of a run, and the exit code that its end means.
pub(super) fn conclude_run(setting: &Setting, command: RunCommand, finished: &Finished) -> Result<Exit, CliError> {
    conclude(setting.globals.json, &summary(command, finished).text(setting.screen.out))?;
    Ok(match finished.end {
        RunEnd::Done => Exit::Well,
        RunEnd::Failed => Exit::NotThere,
        RunEnd::Interrupted => Exit::Interrupted,
    })
}

/// The containers asked for, with everything they depend on; all of them if none is named.
pub(super) fn chosen<'a>(manifest: &'a Manifest<Checked>, only: &[Ctid]) -> Result<Vec<&'a Spec>, CliError> {
    let all = manifest.containers();
    if only.is_empty() {
        return Ok(all.values().collect());
    }
    let missing: Vec<String> = only.iter().filter(|ctid| !all.contains_key(ctid)).map(ToString::to_string).collect();
    if !missing.is_empty() {
        let what = format!("the manifest has no container {}; it has {}", missing.join(", "), count(all.len(), "container"));
        return Err(CliError::Usage { what, next: None });
    }
    let (mut wanted, mut open) = (BTreeSet::new(), only.to_vec());
    while let Some(ctid) = open.pop() {
        if wanted.insert(ctid) {
            open.extend(all.get(&ctid).into_iter().flat_map(|spec| spec.depends_on.iter().copied()));
        }
    }
    Ok(wanted.iter().filter_map(|ctid| all.get(ctid)).collect())
}

/// Containers of this fleet that may exist and that the manifest no longer has.
pub(super) fn left_alone(manifest: &Manifest<Checked>, lives: &Lives) -> Vec<Ctid> {
    let ours = lives.iter().filter_map(|(&ctid, life)| life.as_ref().ok().map(|life| (ctid, life)));
    ours.filter(|(ctid, life)| life.fleet == *manifest.fleet() && life.may_exist() && !manifest.containers().contains_key(ctid))
        .map(|(ctid, _)| ctid)
        .collect()
}
