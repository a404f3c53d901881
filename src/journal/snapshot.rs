//! Where every container stands, without reading the history.
//!
//! Apart from [`super::Account`], which folds every entry: a status is asked for often and must cost the same in the hundredth
//! run as in the first. Read are the positions, of each declaration only what a status shows, and the last entry where there is
//! a tale to it. Not here: which step is due; that takes the whole account.

use std::collections::{BTreeMap, BTreeSet};

use phoenix_journal::{Glance, JournalError, Reader, StreamKey};

use crate::codec::{CONTAINER, Headline, RUN};
use crate::ids::{BootId, Ctid, RunId};
use crate::machine::{Fact, RunClosed, RunCommand, Standing};

use super::account::RunRecord;

/// What a journal says at one moment, as far as a status needs it.
#[derive(Debug)]
pub struct Snapshot {
    /// Every container that was ever declared.
    pub containers: BTreeMap<Ctid, Place>,
    /// The runs that count for these containers, newest first.
    pub runs: Vec<RunRecord>,
    /// The boot in which the journal was written last.
    pub boot: Option<BootId>,
}

/// Where one container stands.
#[derive(Debug)]
pub struct Place {
    /// Its position, with what tells about it; of its declaration the headline, or why that cannot be read.
    pub glance: Glance<Result<Headline, String>>,
    /// Its last entry, where that has something to say: a failure, a wait, a quarantine; the reason if it cannot be read.
    pub last: Option<Result<Fact, String>>,
}

impl Snapshot {
    /// Reads it.
    pub fn read(reader: &Reader) -> Result<Self, JournalError> {
        let mut containers = BTreeMap::new();
        for glance in reader.glance(CONTAINER, Headline::read)? {
            // A stream whose name is no container id cannot come from this program; `journal verify` reports it.
            let Ok(ctid) = glance.position.key.stream.parse::<Ctid>() else { continue };
            let last = if has_a_tale(&glance) { last(reader, &glance)? } else { None };
            containers.insert(ctid, Place { glance, last });
        }
        let mut runs = reader.glance(RUN, |_| ())?;
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.position.last_seq));
        let runs = newest_runs(reader, &runs, containers.keys().copied().collect())?;
        let boot = reader.epochs()?.last().and_then(|row| row.boot_id.parse().ok());
        Ok(Self { containers, runs, boot })
    }

    /// The newest run that names a container; only it counts.
    pub fn newest_run(&self, ctid: Ctid) -> Option<&RunRecord> {
        self.runs.iter().find(|run| run.opened.containers.contains_key(&ctid))
    }

    /// A run by its id.
    pub fn run(&self, id: RunId) -> Option<&RunRecord> {
        self.runs.iter().find(|run| run.opened.run == id)
    }
}

/// Whether the last entry says more than its columns.
fn has_a_tale<T>(glance: &Glance<T>) -> bool {
    let failed = glance.step.as_ref().and_then(|step| step.result.as_deref()).is_some_and(|result| result != phoenix_journal::DONE);
    failed || glance.position.standing != Standing::Active.name()
}

fn last<T>(reader: &Reader, glance: &Glance<T>) -> Result<Option<Result<Fact, String>>, JournalError> {
    let seq = glance.position.last_seq;
    let entries = reader.entries(seq..=seq, None)?;
    Ok(entries.first().map(|entry| entry.mint::<Fact>().map(phoenix_journal::Recorded::into_inner).map_err(|error| error.to_string())))
}

/// The runs that matter, newest first: until every container has been named by one, and no further. One writer at a time, so
/// the order of their last entries is the order of the runs.
fn newest_runs(reader: &Reader, runs: &[Glance<()>], mut unnamed: BTreeSet<Ctid>) -> Result<Vec<RunRecord>, JournalError> {
    let mut records = Vec::new();
    for run in runs {
        if unnamed.is_empty() {
            break;
        }
        let Some(record) = run_record(reader, &run.position.key)? else { continue };
        let named = record.opened.containers.keys().filter(|ctid| unnamed.remove(ctid)).count();
        if named > 0 {
            records.push(record);
        }
    }
    Ok(records)
}

/// What the journal says of a run; `None` of a decision, which supersedes no run, and of one that cannot be read.
fn run_record(reader: &Reader, run: &StreamKey) -> Result<Option<RunRecord>, JournalError> {
    let mut record = None;
    for entry in reader.entries(.., Some(run))? {
        match entry.mint::<Fact>().map(phoenix_journal::Recorded::into_inner) {
            Ok(Fact::RunOpened(opened)) if opened.command != RunCommand::Retry => record = Some(RunRecord { opened: *opened, end: None }),
            Ok(Fact::RunClosed(RunClosed { run: _, end, at: _ })) => record = record.map(|record| RunRecord { end: Some(end), ..record }),
            Ok(Fact::RunOpened(_) | Fact::Declared(_) | Fact::Intended(..) | Fact::Outcome(_) | Fact::Noted(_)) | Err(_) => {}
        }
    }
    Ok(record)
}
