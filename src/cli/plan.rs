//! `plan`: what `up` would do, and why.

use crate::driver::{RunError, look, opening_up};
use crate::ids::{Ctid, Incarnation, RunId};
use crate::report;

use super::args::PlanArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::Setting;
use super::templates::digest;
use super::up::{chosen, left_alone};
use super::vet::vet;

pub(super) fn run(setting: &Setting, args: &PlanArgs) -> Result<Exit, CliError> {
    let kind = setting.kind()?;
    let manifest = setting.manifest(&args.manifest, kind)?;
    let site = setting.site()?;
    let (reader, lives) = look(&site)?.map(|known| (known.reader, known.account.lives)).unzip();
    let lives = lives.unwrap_or_default();
    let wanted = digest(chosen(&manifest, &args.only)?, kind, reader.as_ref())?;
    vet(&*site.host, &manifest, wanted.wanted.values())?;
    let wanted = wanted.wanted;
    let now = site.host.now()?;
    // The ids are thrown away: what counts is whether `up` would be refused.
    let (run, fresh) = (RunId::from_random((site.entropy)()), || Incarnation::from_random((site.entropy)()));
    opening_up(run, manifest.fleet(), &wanted, &lives, fresh, now.wall).map_err(RunError::Plan)?;
    let journal = reader.as_ref().map(|reader| reader.epochs().map(|epochs| (reader.journal(), epochs))).transpose()?;
    let journal = journal.and_then(|(id, epochs)| epochs.last().map(|row| (id, row.epoch)));
    let ctids: Vec<Ctid> = wanted.keys().copied().collect();
    let seen = site.host.observe(journal.as_ref().map(|(id, _)| id), &ctids)?;
    let plan = report::plan(manifest.fleet(), &wanted, &lives, journal, &seen, &left_alone(&manifest, &lives));
    if setting.globals.json {
        print_json(&plan)?;
    } else {
        print(&plan.text(setting.screen.out))?;
    }
    Ok(Exit::Well)
}
