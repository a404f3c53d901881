//! What scripts and shims left of a container whose journal is lost: results on the host's disk, and notes inside.
//!
//! Apart from the steps because it is not about any of them. Notes are the container's to forge, so they are read without
//! following anything, bounded, and only if they name this container and incarnation. Not here: what any of it proves.

use std::path::{Path, PathBuf};

use phoenix_journal::{Digest, Epoch};
use serde::Deserialize;

use crate::host::HostError;
use crate::ids::{Ctid, Incarnation, Step, StepId};
use crate::manifest::Spec;
use crate::plan::{Mark, Trace, Trail};
use crate::shim::{JobResult, ResultPlace, living_bearers};

use super::inside::Inside;
use super::{Local, io_error};

/// A note's text, as `script` writes it.
#[derive(Deserialize)]
struct Note {
    schema: u32,
    step: String,
    digest: String,
    ctid: u32,
    incarnation: String,
    epoch: u64,
}

/// The version of notes that is read.
const NOTE_SCHEMA: u32 = 1;

/// Every trace of a script of the container that `mark` means. `rootfs` is where its files can be seen.
pub(in crate::host) fn scripts(local: &Local, rootfs: Option<&Path>, spec: &Spec, mark: &Mark) -> Result<Vec<Trace>, HostError> {
    let failed = |what: &str| {
        let what = format!("{what} of container {}", mark.ctid);
        move |source| io_error(&what, source)
    };
    let left = ResultPlace::lasting(&local.state, mark.ctid, mark.incarnation).left().map_err(failed("read the results"))?;
    let mut scripts: Vec<Trace> = left.results.iter().filter_map(of_result).collect();
    for begun in left.unfinished.iter().filter(|begun| begun.step.step.is_script()) {
        let alive = living_bearers(begun.token).map_err(failed("look for processes"))?;
        let trail = Trail::Begun { alive: !alive.is_empty() };
        scripts.push(Trace { step: begun.step.step.clone(), epoch: begun.epoch, trail });
    }
    scripts.extend(rootfs.map(|rootfs| notes(rootfs, spec, mark.ctid, mark.incarnation)).unwrap_or_default());
    Ok(scripts)
}

/// The highest epoch in which a shim worked on the container that `mark` means: by what lasts, and by what is left of this boot.
pub(in crate::host) fn newest_epoch(local: &Local, mark: &Mark) -> Result<Epoch, HostError> {
    let lasting = ResultPlace::lasting(&local.state, mark.ctid, mark.incarnation);
    let of_this_boot = ResultPlace::of_this_boot(&local.runtime, mark.ctid, mark.incarnation);
    let newest = |place: ResultPlace| {
        let what = format!("read the results in {}", place.path().display());
        place.newest_epoch().map_err(|source| io_error(&what, source))
    };
    Ok(newest(lasting)?.max(newest(of_this_boot)?))
}

fn of_result(result: &JobResult) -> Option<Trace> {
    let step: StepId = result.step.as_ref()?.parse().ok()?;
    let script: Digest = result.script.as_ref()?.parse().ok()?;
    let epoch = Epoch::new(result.intent.epoch.parse().ok()?);
    let trail = Trail::Result { script, succeeded: result.ending.is_success(), started: result.started, ended: result.ended };
    step.step.is_script().then_some(Trace { step: step.step, epoch, trail })
}

/// Unreadable, misplaced or forged in a way that can be seen: such a note is none.
fn notes(rootfs: &Path, spec: &Spec, ctid: Ctid, incarnation: Incarnation) -> Vec<Trace> {
    let Ok(inside) = Inside::open(rootfs, &spec.idmap) else { return Vec::new() };
    let features = spec.features.iter().map(|feature| Step::FeatureApply(feature.name.clone()));
    let application = spec.application.iter().map(|_| Step::ApplicationRun);
    let of = |step: Step| {
        let path = PathBuf::from(format!("var/lib/phoenix/{}.json", step.clone().id()));
        let note: Note = serde_json::from_slice(&inside.read(&path).ok()??).ok()?;
        let ours = note.schema == NOTE_SCHEMA && note.ctid == ctid.get() && note.incarnation == incarnation.to_string();
        let named = note.step == step.clone().id().to_string();
        let script = note.digest.parse().ok()?;
        (ours && named).then_some(Trace { step, epoch: Epoch::new(note.epoch), trail: Trail::Note { script } })
    };
    features.chain(application).filter_map(of).collect()
}
