//! `status`: where every container stands.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::driver::RunError;
use crate::ids::Ctid;
use crate::journal::Snapshot;
use crate::plan::Mark;
use crate::report::plain::path_text;
use crate::report::{SCHEMA, StatusReport, sight, status};

use super::args::StatusArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::Setting;
use super::signals;

/// How often `--watch` looks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(setting: &Setting, args: &StatusArgs) -> Result<Exit, CliError> {
    if !args.watch {
        show(setting, args)?;
        return Ok(Exit::Well);
    }
    let (sender, stop) = channel();
    signals::forward(sender, || ());
    loop {
        let text = if setting.globals.json { String::new() } else { clear(setting) };
        print(&text)?;
        show(setting, args)?;
        match stop.recv_timeout(WATCH_INTERVAL) {
            Ok(()) => return Ok(Exit::Interrupted),
            // Without handlers a signal ends the process by itself.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
        }
    }
}

/// Makes room: an empty screen on a terminal, an empty line elsewhere.
fn clear(setting: &Setting) -> String {
    if setting.screen.clears { "\u{1b}[H\u{1b}[2J".to_owned() } else { "\n".to_owned() }
}

fn show(setting: &Setting, args: &StatusArgs) -> Result<(), CliError> {
    // The reader first: it says which host the journal belongs to, and so whose clock counts.
    let reader = setting.reader()?;
    let now = setting.now();
    let mut report = match reader {
        None => StatusReport { schema: SCHEMA, verified: true, writer: None, fleets: Vec::new() },
        Some(reader) => {
            let holder = reader.writer()?;
            let snapshot = Snapshot::read(&reader)?;
            let mut report = status(&snapshot, holder.as_ref(), now.as_ref().map(|now| &now.moment.boot));
            if args.live {
                look_live(setting, &reader, &snapshot, &mut report)?;
            }
            report
        }
    };
    if let Some(ctid) = args.ctid {
        for fleet in &mut report.fleets {
            fleet.containers.retain(|container| container.ctid == ctid.get());
        }
        report.fleets.retain(|fleet| !fleet.containers.is_empty());
        if report.fleets.is_empty() {
            return Err(RunError::UnknownContainers { ctids: vec![ctid] }.into());
        }
    }
    if setting.globals.json {
        return print_json(&report);
    }
    let newest = report.fleets.iter().flat_map(|fleet| &fleet.containers).map(|container| container.since_wall).max();
    let now = now.map(|now| now.wall).or(newest).unwrap_or(crate::ids::Wall(0));
    let mut text = report.text(setting.screen.out, now);
    if report.fleets.is_empty() {
        let _ = writeln!(text, "The journal would be {}; `phoenix up FLEET` begins one.", path_text(&setting.journal));
    }
    print(&text)
}

/// Adds the host's own word.
fn look_live(setting: &Setting, reader: &phoenix_journal::Reader, snapshot: &Snapshot, report: &mut StatusReport) -> Result<(), CliError> {
    let host = setting.host()?;
    let ctids: Vec<Ctid> = snapshot.containers.keys().copied().collect();
    let seen = host.observe(Some(&reader.journal()), &ctids)?;
    let epoch = reader.epochs()?.last().map_or(phoenix_journal::Epoch::new(0), |row| row.epoch);
    let mut marks: BTreeMap<u32, Mark> = BTreeMap::new();
    for (&ctid, place) in &snapshot.containers {
        let Ok(incarnation) = place.glance.position.life.parse() else { continue };
        let Ok(declared) = &place.glance.declared else { continue };
        marks.insert(ctid.get(), Mark { journal: reader.journal(), fleet: declared.fleet.clone(), ctid, incarnation, epoch });
    }
    for container in report.fleets.iter_mut().flat_map(|fleet| &mut fleet.containers) {
        let Some(mark) = marks.get(&container.ctid) else { continue };
        container.live = Some(sight(mark, seen.containers.get(&mark.ctid)));
    }
    Ok(())
}
