//! Where every container stands, without reading the history.
//!
//! Apart from [`super::Account`], which folds every entry: a status is asked for often and must cost the same in the hundredth
//! run as in the first. Read are the positions, the few entries they name, and of each declaration only what a status shows.
//! Not here: which step is due; that takes the whole account.

use std::collections::{BTreeMap, BTreeSet};

use phoenix_journal::{JournalError, Overview, Reader};

use crate::codec::{CONTAINER, Headline, RUN};
use crate::ids::{BootId, Ctid, RunId};
use crate::machine::{Fact, RunClosed, RunCommand};

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
    /// Its position, with the entries that tell about it.
    pub overview: Overview,
    /// What was declared of it; the reason if that cannot be read.
    pub declared: Result<Headline, String>,
}

impl Snapshot {
    /// Reads it.
    pub fn read(reader: &Reader) -> Result<Self, JournalError> {
        let (mut containers, mut runs) = (BTreeMap::new(), Vec::new());
        for overview in reader.overview()? {
            if overview.position.key.machine == RUN {
                runs.push(overview);
            } else if overview.position.key.machine == CONTAINER {
                // A stream whose name is no container id cannot come from this program; `journal verify` reports it.
                let Ok(ctid) = overview.position.key.stream.parse::<Ctid>() else { continue };
                let declared = Headline::read(&overview.declared.payload);
                containers.insert(ctid, Place { overview, declared });
            }
        }
        runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.position.last_seq));
        let runs = newest_runs(&runs, containers.keys().copied().collect());
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

/// The runs that matter, newest first: until every container has been named by one, and no further. One writer at a time, so
/// the order of their last entries is the order of the runs.
fn newest_runs(runs: &[Overview], mut unnamed: BTreeSet<Ctid>) -> Vec<RunRecord> {
    let mut records = Vec::new();
    for run in runs {
        if unnamed.is_empty() {
            break;
        }
        let Some(record) = run_record(run) else { continue };
        let named = record.opened.containers.keys().fold(false, |any, ctid| unnamed.remove(ctid) || any);
        if named {
            records.push(record);
        }
    }
    records
}

/// What the journal says of a run; `None` of a decision, which supersedes no run, and of one that cannot be read.
fn run_record(run: &Overview) -> Option<RunRecord> {
    let opened = match run.declared.mint::<Fact>().map(phoenix_journal::Recorded::into_inner) {
        Ok(Fact::RunOpened(opened)) if opened.command != RunCommand::Retry => *opened,
        Ok(_) | Err(_) => return None,
    };
    let end = match run.last.mint::<Fact>().map(phoenix_journal::Recorded::into_inner) {
        Ok(Fact::RunClosed(RunClosed { run: _, end, at: _ })) => Some(end),
        Ok(_) | Err(_) => None,
    };
    Some(RunRecord { opened, end })
}
