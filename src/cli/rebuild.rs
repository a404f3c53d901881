//! `journal rebuild`: a new journal in the place of one that is lost, after a person has seen what goes into it.
//!
//! Not here: what can be known (`driver::rebuild`).

use std::fmt::Write;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use phoenix_journal::set_aside;
use serde::Serialize;

use crate::driver::Site;
use crate::driver::rebuild::{Found, InPlace, Proof, RebuildError, Survey, place, survey, write};
use crate::ids::{Ctid, FleetName};
use crate::machine::Standing;
use crate::manifest::{Checked, Manifest};
use crate::report::plain::{Look, Tone, count, one_line, paragraph, path_text};
use crate::report::{Cell, Column, SCHEMA, Table, standing_text};

use super::args::RebuildArgs;
use super::blame::{CliError, Exit};
use super::screen::{asked, print, print_json, say};
use super::setting::Setting;
use super::templates::digest;

/// The answer in JSON.
#[derive(Serialize)]
struct Answer {
    schema: u32,
    journal: String,
    fleet: String,
    above_epoch: u64,
    moved: Vec<String>,
    containers: Vec<Container>,
    next: Vec<String>,
}

#[derive(Serialize)]
struct Container {
    ctid: u32,
    hostname: String,
    state: &'static str,
    standing: &'static str,
    because: String,
    why: Option<String>,
    scripts: Vec<ScriptAnswer>,
}

#[derive(Serialize)]
struct ScriptAnswer {
    step: String,
    proof: &'static str,
    done: bool,
}

pub(super) fn run(setting: &Setting, args: &RebuildArgs) -> Result<Exit, CliError> {
    let [main, _] = stamps(&setting.journal);
    let unusable = match place(&setting.journal)? {
        InPlace::Nothing => None,
        InPlace::Unusable(why) => Some(why),
    };
    // Reading it may have made a log beside it, or taken an empty one away.
    let judged = [main, stamps(&setting.journal)[1]];
    // What cannot be used says nothing about the host either.
    setting.look_past_the_journal();
    let kind = setting.kind()?;
    let manifest = setting.manifest(&args.manifest, kind)?;
    let site = setting.site()?;
    let wanted = digest(manifest.containers().values(), kind, None)?.wanted;
    let look = || survey(site.host.as_ref(), manifest.fleet(), &wanted, &mut || (site.entropy)());
    let mut survey = look()?;
    if !args.yes {
        say(&table(&survey, &manifest, unusable.as_deref(), setting.screen.err));
        let what = "there is no terminal to ask on, and a journal is not rebuilt without being sure";
        if !asked(setting.screen, "Write this as the new journal?", what)? {
            say("Nothing was done.\n");
            return Ok(Exit::Well);
        }
        let again = look()?;
        if again.found != survey.found || again.heritage.epoch != survey.heritage.epoch {
            return Err(RebuildError::Changed.into());
        }
        survey = again;
    }
    let moved = move_aside(&site, setting, judged)?;
    let exit = if survey.found.values().any(Found::is_set_aside) { Exit::NotThere } else { Exit::Well };
    let answer = answer(&survey, &manifest, moved, args);
    let text = table(&survey, &manifest, unusable.as_deref(), setting.screen.out);
    write(&site, survey)?;
    if setting.globals.json {
        print_json(&answer)?;
    } else {
        let shown = if args.yes { text } else { String::new() };
        print(&format!("{shown}{}", conclusion(&answer)))?;
    }
    Ok(exit)
}

/// What tells a file from one that was written to or put in its place: device, inode, bytes, and when it was changed last.
type Stamp = (u64, u64, u64, i64, i64);

/// The journal's file and its log, as they are.
fn stamps(journal: &Path) -> [Option<Stamp>; 2] {
    let mut log = journal.as_os_str().to_owned();
    log.push("-wal");
    let stamp = |file: Metadata| (file.dev(), file.ino(), file.len(), file.mtime(), file.mtime_nsec());
    [journal, Path::new(&log)].map(|path| std::fs::symlink_metadata(path).ok().map(stamp))
}

/// Moves what cannot be used out of the way, whatever there is of it.
fn move_aside(site: &Site, setting: &Setting, judged: [Option<Stamp>; 2]) -> Result<Vec<String>, CliError> {
    let there = setting.journal.parent().is_some_and(Path::exists);
    if !there {
        return Ok(Vec::new());
    }
    let suffix = format!("unusable-{}", site.writer.started_at_ms);
    // Whatever stood there when the person was asked: another may have been put there since.
    let check = || if stamps(&setting.journal) == judged { Ok(()) } else { Err(RebuildError::Changed) };
    let moved = set_aside(&setting.journal, &suffix, &site.writer, check)?;
    Ok(moved.iter().map(|path| path.display().to_string()).collect())
}

fn answer(survey: &Survey, manifest: &Manifest<Checked>, moved: Vec<String>, args: &RebuildArgs) -> Answer {
    let containers = survey.found.iter().map(|(&ctid, found)| container(ctid, found, manifest)).collect();
    Answer {
        schema: SCHEMA,
        journal: survey.heritage.id.to_string(),
        fleet: manifest.fleet().to_string(),
        above_epoch: survey.heritage.epoch.get(),
        moved,
        containers,
        next: vec![format!("phoenix up {}", path_text(&args.manifest))],
    }
}

fn container(ctid: Ctid, found: &Found, manifest: &Manifest<Checked>) -> Container {
    let script = |(step, proof): &(crate::ids::Step, Proof)| ScriptAnswer {
        step: step.clone().id().to_string(),
        proof: proof.name(),
        done: proof.is_done(),
    };
    Container {
        ctid: ctid.get(),
        hostname: hostname(ctid, manifest),
        state: found.state.name(),
        standing: found.standing.name(),
        because: one_line(&found.because),
        why: (found.standing != Standing::Active).then(|| one_line(&standing_text(&found.standing))),
        scripts: found.scripts.iter().map(script).collect(),
    }
}

fn hostname(ctid: Ctid, manifest: &Manifest<Checked>) -> String {
    manifest.containers().get(&ctid).map_or_else(String::new, |spec| spec.hostname.to_string())
}

const COLUMNS: [Column; 5] = [
    Column { title: "ct", gives_way: 0, narrow: 4 },
    Column { title: "name", gives_way: 1, narrow: 6 },
    Column { title: "state", gives_way: 0, narrow: 10 },
    Column { title: "scripts", gives_way: 0, narrow: 12 },
    Column { title: "found", gives_way: 0, narrow: 16 },
];

/// What would be written, for a person to look through.
fn table(survey: &Survey, manifest: &Manifest<Checked>, unusable: Option<&str>, look: Look) -> String {
    let mut text = heading(survey, manifest.fleet(), unusable);
    let mut table = Table::new(&COLUMNS);
    for (&ctid, found) in &survey.found {
        let tone = if found.is_set_aside() { Tone::Bad } else { Tone::Plain };
        let state = if found.is_set_aside() { found.standing.name() } else { found.state.name() };
        let scripts: Vec<String> = found.scripts.iter().map(|(step, proof)| format!("{} {}", short(step), proof.name())).collect();
        table.row(vec![
            Cell::plain(&ctid.to_string()),
            Cell::plain(&hostname(ctid, manifest)),
            Cell::new(state, tone),
            Cell::plain(&scripts.join(", ")),
            Cell::plain(&found.because),
        ]);
    }
    let _ = table.write(&mut text, look);
    for (ctid, found) in survey.found.iter().filter(|(_, found)| found.is_set_aside()) {
        let _ = paragraph(&mut text, look, &format!("  {ctid}: "), &one_line(&standing_text(&found.standing)));
    }
    text
}

fn heading(survey: &Survey, fleet: &FleetName, unusable: Option<&str>) -> String {
    let mut text = String::new();
    if let Some(why) = unusable {
        let _ = writeln!(text, "The journal that is there cannot be used and is moved aside: {}", one_line(why));
    }
    let known = count(survey.found.len(), "container");
    let _ = writeln!(text, "fleet {fleet}: {known}, journal {}, above epoch {}", survey.heritage.id, survey.heritage.epoch);
    text
}

/// A script as a person knows it.
fn short(step: &crate::ids::Step) -> String {
    step.name().map_or_else(|| "application".to_owned(), str::to_owned)
}

fn conclusion(answer: &Answer) -> String {
    let mut text = String::new();
    for moved in &answer.moved {
        let _ = writeln!(text, "moved to {}", one_line(moved));
    }
    let set_aside = answer.containers.iter().filter(|container| container.standing == "quarantined").count();
    let _ = writeln!(text, "journal {} rebuilt, {} set aside", answer.journal, count(set_aside, "container"));
    for next in &answer.next {
        let _ = writeln!(text, "  next: {next}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_journal_in_the_place_is_noticed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, log) = (dir.path().join("journal.db"), dir.path().join("journal.db-wal"));
        let nothing = stamps(&path);
        assert_eq!(nothing, stamps(&path));
        std::fs::write(&path, "damaged").expect("room");
        let damaged = stamps(&path);
        assert_ne!(nothing, damaged);
        std::fs::write(&log, "").expect("room");
        assert_ne!(damaged, stamps(&path), "a log was begun");
        std::fs::remove_file(&log).expect("ours");
        std::fs::write(dir.path().join("backup"), "damaged").expect("room");
        std::fs::rename(dir.path().join("backup"), &path).expect("ours");
        assert_ne!(damaged, stamps(&path), "a file like it is another");
    }
}
