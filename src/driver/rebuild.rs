//! A new journal in the place of one that is lost: from the manifest, and from what the host shows.
//!
//! [`survey`] looks and changes nothing; [`write()`] makes the journal, with the lost one's id and above every epoch that was seen,
//! in one transaction. Whatever is recorded goes through the same transitions as anything else, in a journal in memory first.
//! Not here: how far one container got (`recall`), and asking the person in between.

mod probe;
mod proof;
mod recall;
mod scribe;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use phoenix_journal::{Append, Epoch, Heritage, Journal, JournalError, JournalId, Memory, Reader, Refused, Writer, verify};

use crate::host::{Host, HostError, LockError};
use crate::ids::{Ctid, FleetName, Incarnation, RunId, State, Step, StepId};
use crate::journal::SCHEMA;
use crate::machine::{Line, OutOfTurn, RunEnd, Standing};
use crate::plan::{Mark, Observation, Seen, Traces};

use super::opening::Wanted;
use super::run::{RunError, Site, binding};
use scribe::Scribe;

pub use proof::Proof;

/// What a look at the host came to: what [`write()`] will record.
#[derive(Debug)]
pub struct Survey {
    /// Whose place the new journal takes.
    pub heritage: Heritage,
    /// Each container of the manifest.
    pub found: BTreeMap<Ctid, Found>,
    lines: Vec<Line>,
}

/// What was made of one container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The state that it gets.
    pub state: State,
    /// The standing that it gets.
    pub standing: Standing,
    /// On what evidence, in one line.
    pub because: String,
    /// Its scripts, in order, and what is known of each.
    pub scripts: Vec<(Step, Proof)>,
}

impl Found {
    /// Whether a person has to look at it.
    pub fn is_set_aside(&self) -> bool {
        matches!(self.standing, Standing::Quarantined(_))
    }
}

/// Why no journal was rebuilt. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Journal or host cannot be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// There is nothing to be rebuilt.
    #[error("the journal at {} can be used, so nothing is rebuilt; `phoenix status` shows what it says; if it is not this fleet's, move it away first, with its `-wal` and `-shm`", path.display())]
    Usable {
        /// The journal.
        path: PathBuf,
    },
    /// The marks of one fleet name two journals.
    #[error(
        "container {} bears the mark of journal {}, container {} that of journal {}: one fleet has one journal; find out which of them is lost, and move the other's containers out of the manifest",
        one.0, one.1, other.0, other.1
    )]
    TwoJournals {
        /// The first container, and the journal that its mark names.
        one: (Ctid, JournalId),
        /// Another.
        other: (Ctid, JournalId),
    },
    /// Something is at work on a container.
    #[error("container {ctid} is being worked on; wait for that to end")]
    Locked {
        /// The container.
        ctid: Ctid,
        /// By whom.
        #[source]
        why: LockError,
    },
    /// A script is still running, without a shim.
    #[error("{step} of container {ctid} is still running; wait for it to end, or end it")]
    Alive {
        /// The container.
        ctid: Ctid,
        /// The script's step.
        step: StepId,
    },
    /// The host, or the journal's place, is not what it was when it was looked at.
    #[error("the host or the journal's place has changed since it was looked at; look again")]
    Changed,
    /// The order of states was broken: a fault of ours.
    #[error("what was seen of container {ctid} cannot be recorded, which is a fault of phoenix")]
    OutOfTurn {
        /// The container.
        ctid: Ctid,
        /// What was refused.
        #[source]
        why: OutOfTurn,
    },
    /// A guard of the journal refused: a fault of ours.
    #[error("what was seen of a container was refused by the journal's guards, which is a fault of phoenix")]
    Refused {
        /// What was refused.
        #[source]
        why: Refused,
    },
}

impl From<HostError> for RebuildError {
    fn from(error: HostError) -> Self {
        Self::Run(error.into())
    }
}

impl From<JournalError> for RebuildError {
    fn from(error: JournalError) -> Self {
        Self::Run(error.into())
    }
}

/// What stands in the place where the journal is to be.
#[derive(Debug)]
pub enum InPlace {
    /// Nothing.
    Nothing,
    /// A journal that cannot be used, and why not.
    Unusable(String),
}

/// Looks at the journal's place; refuses if a journal that can be used stands there. One without an entry is what a rebuild
/// that was cut off leaves, and as good as none.
pub fn place(path: &Path) -> Result<InPlace, RebuildError> {
    match flaw(path) {
        Ok(Some(what)) => Ok(InPlace::Unusable(what)),
        Ok(None) => Err(RebuildError::Usable { path: path.to_owned() }),
        Err(JournalError::Missing { .. }) => Ok(InPlace::Nothing),
        Err(
            error @ (JournalError::Damaged { .. }
            | JournalError::NotAJournal { .. }
            | JournalError::WalBesideEmpty { .. }
            | JournalError::WalWithoutMain { .. }
            | JournalError::WrongSchema { .. }),
        ) => Ok(InPlace::Unusable(error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Why a journal cannot be used, if all of it can be read; nothing if it can be used.
fn flaw(path: &Path) -> Result<Option<String>, JournalError> {
    if Reader::open(path, &SCHEMA)?.entries(.., None)?.is_empty() {
        return Ok(Some("it holds no entry".to_owned()));
    }
    Ok(verify(path)?.findings.first().map(ToString::to_string))
}

/// Looks at every container of the manifest and works out what can be recorded of it. Changes nothing on the host.
pub fn survey(
    host: &dyn Host,
    fleet: &FleetName,
    wanted: &BTreeMap<Ctid, Wanted>,
    entropy: &mut dyn FnMut() -> [u8; 16],
) -> Result<Survey, RebuildError> {
    let ctids: Vec<Ctid> = wanted.keys().copied().collect();
    let journal = journal_of(&host.observe(None, &ctids)?, fleet)?;
    is_quiet(host, &ctids)?;
    // Once more, now that the host can be asked to prove that it is the one of that journal.
    let observation = host.observe(journal.as_ref(), &ctids)?;
    let id = journal.unwrap_or_else(|| JournalId::from_bytes(entropy()));
    let ours = |seen: &Seen, ctid: Ctid| is_ours(seen, ctid, fleet).filter(|mark| mark.journal == id).cloned();
    let mut sites = BTreeMap::new();
    for (&ctid, wanted) in wanted {
        let seen = observation.containers.get(&ctid).cloned();
        let mark = seen.as_ref().and_then(|seen| ours(seen, ctid));
        let traces = mark.as_ref().map_or_else(|| Ok(Traces::default()), |mark| host.traces(&wanted.spec, mark))?;
        let incarnation = mark.as_ref().map_or_else(|| Incarnation::from_random(entropy()), |mark| mark.incarnation);
        sites.insert(ctid, recall::Sight { wanted: wanted.clone(), seen, mark, traces, incarnation });
    }
    let epoch = sites.values().flat_map(epochs).max().unwrap_or(Epoch::new(0));
    let heritage = Heritage { id, epoch };
    let mut scribe = Scribe::begin(heritage, fleet, &sites, RunId::from_random(entropy()), &host.now()?)?;
    let mut found = BTreeMap::new();
    for &ctid in sites.keys() {
        found.insert(ctid, recall::recall(host, &mut scribe, fleet, &sites, ctid, entropy)?);
    }
    let end = if found.values().any(Found::is_set_aside) { RunEnd::Failed } else { RunEnd::Done };
    scribe.close(end)?;
    Ok(Survey { heritage, found, lines: scribe.lines })
}

/// Makes the journal that a survey calls for. Nothing may stand in its place.
pub fn write(site: &Site, survey: Survey) -> Result<(), RebuildError> {
    let Survey { heritage, found: _, lines } = survey;
    site.host.settle_in(&heritage.id)?;
    Journal::create_as(&site.journal, &SCHEMA, &binding(site)?, &site.writer, heritage)?;
    let mut writer = Writer::open(&site.journal, &SCHEMA, site.writer.clone())?;
    writer.begin(lines)?;
    Ok(())
}

/// As [`write()`], in memory.
pub fn remember(survey: Survey) -> Result<Memory, RebuildError> {
    let mut memory = Memory::new_as(&SCHEMA, survey.heritage)?;
    memory.begin(survey.lines)?;
    Ok(memory)
}

/// The one journal that the marks of the fleet name; none if there is no mark.
fn journal_of(observation: &Observation, fleet: &FleetName) -> Result<Option<JournalId>, RebuildError> {
    let marks = observation.containers.iter().filter_map(|(&ctid, seen)| is_ours(seen, ctid, fleet).map(|mark| (ctid, mark.journal)));
    let mut marks = marks.collect::<Vec<_>>().into_iter();
    let Some(one) = marks.next() else { return Ok(None) };
    match marks.find(|(_, journal)| *journal != one.1) {
        Some(other) => Err(RebuildError::TwoJournals { one, other }),
        None => Ok(Some(one.1)),
    }
}

/// The mark of a container if it is one of this fleet's: a mark for another number (a copy by hand) counts as none.
fn is_ours<'a>(seen: &'a Seen, ctid: Ctid, fleet: &FleetName) -> Option<&'a Mark> {
    seen.mark.as_ref().filter(|mark| mark.ctid == ctid && mark.fleet == *fleet)
}

/// Whether nothing is at work on any of the containers: a shim that outlived Phoenix holds its container's lock.
fn is_quiet(host: &dyn Host, ctids: &[Ctid]) -> Result<(), RebuildError> {
    for &ctid in ctids {
        host.lock(&[ctid]).map(drop).map_err(|why| match why {
            LockError::Busy { .. } => RebuildError::Locked { ctid, why },
            LockError::Host(error) => error.into(),
        })?;
    }
    Ok(())
}

/// Every epoch that a container shows. Notes are the container's to forge: from an absurd one nothing follows.
fn epochs(sight: &recall::Sight) -> impl Iterator<Item = Epoch> {
    let mark = sight.mark.as_ref().map(|mark| mark.epoch);
    let traces = sight.traces.scripts.iter().map(|trace| trace.epoch);
    let names = Some(sight.traces.epoch).filter(|_| !phoenix_journal::sabotaged("names_of_results_are_not_read"));
    traces.chain(mark).chain(names).filter(|epoch| epoch.get() <= EPOCH_MAX)
}

/// No journal has had as many writers: one a second for thirty thousand years.
const EPOCH_MAX: u64 = 1 << 40;
