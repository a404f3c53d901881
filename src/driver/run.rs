//! A run from beginning to end: look, decide whether there is anything to do, lock, look again, record, go, close.
//!
//! The first look is read-only and decides only whether to begin; everything that matters is read again under the journal's
//! lock. A fleet that is where it should be therefore costs no write. Not here: the loop (`work`) and what it does (`turn`).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use phoenix_journal::{Append, Binding, Digest, Epoch, Journal, JournalError, JournalId, Reader, Seq, Writer, WriterInfo, upgrade};

use crate::engine::{Dice, Engine, Event, Goal, Orders, Outbox, Stand};
use crate::host::{Host, HostError, Territory};
use crate::ids::HostKind;
use crate::ids::{Ctid, FleetName, Incarnation, Now, RunId};
use crate::journal::{Account, RunRecord, SCHEMA, with_texts};
use crate::machine::{Fact, Life, Line, RunClosed, RunCommand, RunEnd};
use crate::plan::Observation;

use super::opening::{Lives, PlanError, Wanted, opening_up, run_opened};
use super::progress::{Observer, Progress};
use super::turn::{TurnError, Turner};
use super::work::{DriveError, Message, drive};

/// Where runs take place, and who runs them.
pub struct Site {
    /// The host.
    pub host: Arc<dyn Host>,
    /// The journal's file.
    pub journal: PathBuf,
    /// This process, for those who find the journal locked.
    pub writer: WriterInfo,
    /// Sixteen fresh random bytes at each call.
    pub entropy: fn() -> [u8; 16],
}

/// How a run came out.
#[derive(Debug)]
pub struct Finished {
    /// The run; nothing if there was nothing to do, and then nothing was written.
    pub run: Option<RunId>,
    /// How it ended.
    pub end: RunEnd,
    /// How each container stands.
    pub stands: BTreeMap<Ctid, Stand>,
    /// What the journal says of them now.
    pub lives: Lives,
}

/// Why a run could not be brought to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The host cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The journal belongs to another host.
    #[error("the journal at {} belongs to {belongs}, and this is {here}; name another journal with --journal, or run phoenix there", path.display())]
    OtherTerritory {
        /// The journal.
        path: PathBuf,
        /// What it belongs to.
        belongs: String,
        /// What this is.
        here: String,
    },
    /// The manifest does not go with what was done already.
    #[error("the manifest does not go with what was done already")]
    Plan(Vec<PlanError>),
    /// There is no journal, so there is nothing to go on with.
    #[error("there is no journal at {}; `phoenix up FLEET` begins one", path.display())]
    NoJournal {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The journal holds nothing, so there is nothing to go on with.
    #[error(
        "the journal at {} holds no entry, so there is nothing to go on with; `phoenix up FLEET` begins a fleet, and `phoenix journal rebuild FLEET` makes the journal anew of one whose containers are there already",
        path.display()
    )]
    NothingRecorded {
        /// The journal.
        path: PathBuf,
    },
    /// The journal holds nothing, and containers bear marks of this fleet: it is another one, or what is left of it.
    #[error(
        "the journal at {} knows nothing yet, and what lies at {} bears the marks of fleet {fleet}: put the fleet's journal back, or make a new one from manifest and host with `phoenix journal rebuild FLEET`",
        path.display(), list(ctids)
    )]
    JournalLost {
        /// The journal.
        path: PathBuf,
        /// The fleet.
        fleet: FleetName,
        /// The numbers.
        ctids: Vec<Ctid>,
    },
    /// Containers that the journal does not know.
    #[error("the journal knows no container {}", list(ctids))]
    UnknownContainers {
        /// Their numbers.
        ctids: Vec<Ctid>,
    },
    /// The loop broke off.
    #[error(transparent)]
    Drive(#[from] DriveError),
}

/// Which containers a run is for, and what it writes first.
struct Selection {
    command: RunCommand,
    goal: Goal,
    containers: BTreeMap<Ctid, FleetName>,
    facts: Vec<Fact>,
}

/// The channel between workers, signals and the loop.
pub struct Channel {
    /// For workers and signal handlers.
    pub sender: Sender<Message>,
    /// For the loop.
    pub inbox: Receiver<Message>,
}

impl Channel {
    /// A new one.
    pub fn new() -> Self {
        let (sender, inbox) = std::sync::mpsc::channel();
        Self { sender, inbox }
    }
}

impl Default for Channel {
    fn default() -> Self {
        Self::new()
    }
}

/// Brings the wanted containers to `Done`. `known` is what [`look`] said a moment ago: if that and the host have it that nothing is
/// to be done, the journal is not read again.
pub fn up(
    site: &Site,
    known: Option<Known>,
    fleet: &FleetName,
    wanted: &BTreeMap<Ctid, Wanted>,
    jobs: usize,
    channel: &Channel,
    observer: &mut dyn Observer,
) -> Result<Finished, RunError> {
    let select = |account: &Account, run: RunId, now: &Now| {
        let fresh = || Incarnation::from_random((site.entropy)());
        let facts = opening_up(run, fleet, wanted, &account.lives, fresh, now.wall).map_err(RunError::Plan)?;
        let containers = wanted.keys().map(|&ctid| (ctid, fleet.clone())).collect();
        Ok(Selection { command: RunCommand::Up, goal: Goal::Up, containers, facts })
    };
    let known = match known {
        Some(known) if known.is_current()? => Some(known),
        Some(_) | None => look(site)?,
    };
    run(site, known, jobs, channel, observer, true, select)
}

/// Goes on with what was interrupted, from the journal alone; downs first.
pub fn resume(
    site: &Site,
    fleet: Option<&FleetName>,
    jobs: usize,
    channel: &Channel,
    observer: &mut dyn Observer,
) -> Result<Finished, RunError> {
    let of = |goal: Goal| {
        move |account: &Account, _: RunId, _: &Now| {
            let command = match goal {
                Goal::Up => RunCommand::Resume,
                Goal::Down => RunCommand::Down,
            };
            Ok(Selection { command, goal, containers: to_go_on_with(account, fleet, goal), facts: Vec::new() })
        }
    };
    let down = run(site, look(site)?, jobs, channel, observer, false, of(Goal::Down))?;
    if down.end == RunEnd::Interrupted {
        return Ok(down);
    }
    let mut up = run(site, look(site)?, jobs, channel, observer, false, of(Goal::Up))?;
    up.run = up.run.or(down.run);
    up.end = if down.end == RunEnd::Failed { RunEnd::Failed } else { up.end };
    up.stands.extend(down.stands);
    up.lives.extend(down.lives);
    Ok(up)
}

/// Stops and destroys containers that are ours.
pub fn down(
    site: &Site,
    ctids: &BTreeSet<Ctid>,
    jobs: usize,
    channel: &Channel,
    observer: &mut dyn Observer,
) -> Result<Finished, RunError> {
    let select = |account: &Account, _: RunId, _: &Now| {
        let fleet = |ctid: &Ctid| account.lives.get(ctid).map(|life| (*ctid, fleet_of(account, *ctid, life)));
        let unknown: Vec<Ctid> = ctids.iter().copied().filter(|ctid| !account.lives.contains_key(ctid)).collect();
        if !unknown.is_empty() {
            return Err(RunError::UnknownContainers { ctids: unknown });
        }
        let containers = ctids.iter().filter_map(fleet).collect();
        Ok(Selection { command: RunCommand::Down, goal: Goal::Down, containers, facts: Vec::new() })
    };
    run(site, look(site)?, jobs, channel, observer, false, select)
}

/// A journal as it was when somebody looked, without its lock. While it lives, this process cannot write to that journal.
#[derive(Debug)]
pub struct Known {
    /// The journal.
    pub reader: Reader,
    /// What it said.
    pub account: Account,
    /// Its last entry; 0 if there was none.
    last: Seq,
}

impl Known {
    /// Whether nothing was appended since.
    fn is_current(&self) -> Result<bool, JournalError> {
        Ok(self.reader.entries((Bound::Excluded(self.last), Bound::Unbounded), None)?.is_empty())
    }
}

/// What the journal says now, read without its lock; nothing if there is no journal.
pub fn look(site: &Site) -> Result<Option<Known>, RunError> {
    let reader = match Reader::open(&site.journal, &SCHEMA) {
        Ok(reader) => reader,
        Err(JournalError::Missing { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    check_territory(site, &reader.binding()?)?;
    let entries = reader.entries(.., None)?;
    let last = entries.last().map_or(Seq::new(0), |entry| entry.seq);
    Ok(Some(Known { reader, account: Account::of(entries), last }))
}

fn run(
    site: &Site,
    known: Option<Known>,
    jobs: usize,
    channel: &Channel,
    observer: &mut dyn Observer,
    may_create: bool,
    select: impl Fn(&Account, RunId, &Now) -> Result<Selection, RunError>,
) -> Result<Finished, RunError> {
    let id = RunId::from_random((site.entropy)());
    match &known {
        None if !may_create => return Err(RunError::NoJournal { path: site.journal.clone() }),
        // What a lost journal leaves behind is not to look like one in use.
        Some(known) if !may_create && known.account.runs.is_empty() => {
            return Err(RunError::NothingRecorded { path: site.journal.clone() });
        }
        Some(_) | None => {}
    }
    let is_new = known.as_ref().is_none_or(|known| known.account.lives.is_empty());
    if let Some(idle) = idle(site, known, id, jobs, &select)? {
        return Ok(idle);
    }
    if is_new {
        check_unmarked(site, &select(&Account::default(), id, &site.host.now()?)?)?;
    }
    let mut writer = open(site, &mut |copy| observer.observe(Progress::Upgraded { copy }))?;
    let account = Account::of(writer.replay(None)?);
    if account.runs.is_empty() {
        // Made before the journal's first entry: from then on its absence means that this is another host.
        site.host.settle_in(&writer.journal())?;
    }
    let now = site.host.now()?;
    let selection = select(&account, id, &now)?;
    let observation = observe(site, Some(writer.journal()), &selection)?;
    let mut first = vec![run_opened(id, selection.command, selection.containers.clone(), jobs, now.wall)];
    first.extend(selection.facts.iter().cloned());
    let recorded = writer.begin(first.into_iter().map(Line::Fact).collect())?;
    for line in &recorded {
        if let Line::Fact(fact) = line.get() {
            observer.observe(Progress::Recorded { seq: line.seq(), fact });
        }
    }
    let account = Account::of(writer.replay(None)?);
    let engine = engine(site, &writer, account, &selection, observation, id, jobs)?;
    let mut turner = Turner::new(writer, engine, Arc::clone(&site.host), observer);
    let end = drive(&mut turner, &site.host, (&channel.sender, &channel.inbox))?;
    close(&mut turner, id, end, site)?;
    Ok(finished(Some(id), end, turner.engine))
}

/// Whether there is nothing to do, by the read-only look; then how everything stands.
fn idle(
    site: &Site,
    known: Option<Known>,
    id: RunId,
    jobs: usize,
    select: &impl Fn(&Account, RunId, &Now) -> Result<Selection, RunError>,
) -> Result<Option<Finished>, RunError> {
    let now = site.host.now()?;
    let Some(Known { reader, account, last: _ }) = known else {
        // Problems are told before a journal is made for nothing.
        select(&Account::default(), id, &now)?;
        return Ok(None);
    };
    let selection = select(&account, id, &now)?;
    let settled_in = !account.runs.is_empty();
    let unfinished =
        selection.containers.keys().any(|&ctid| account.newest_run(ctid).is_none_or(|run| is_outstanding(run, selection.goal)));
    if !selection.facts.is_empty() || (unfinished && !selection.containers.is_empty()) || !settled_in {
        return Ok(None);
    }
    let observation = observe(site, Some(reader.journal()), &selection)?;
    let epoch = reader.epochs()?.last().map_or(Epoch::new(0), |row| row.epoch);
    let orders = orders(site, reader.journal(), epoch, selection.goal, id, jobs);
    let lives = pick(account.lives, &selection);
    let mut engine = Engine::new(orders, lives, observation);
    let mut outbox = Outbox::default();
    engine.handle(Event::Started, &now, &mut outbox);
    match engine.end() {
        Some(end) if outbox.is_empty() && !phoenix_journal::sabotaged("a_finished_fleet_is_written_again") => {
            Ok(Some(finished(None, end, engine)))
        }
        Some(_) | None => Ok(None),
    }
}

/// Whether a container whose newest run this is needs another one on record, even if nothing is to be done: a run that did not
/// come to its end; or one that led elsewhere and could still be gone on with, so that a later `resume` follows the last word.
fn is_outstanding(run: &RunRecord, goal: Goal) -> bool {
    let elsewhere = match run.opened.command {
        RunCommand::Up | RunCommand::Resume | RunCommand::Rebuild => goal != Goal::Up,
        RunCommand::Down => goal != Goal::Down,
        RunCommand::Retry => false,
    };
    let forgotten = phoenix_journal::sabotaged("the_last_word_is_forgotten");
    run.end.is_none() || (elsewhere && !forgotten && run.end != Some(RunEnd::Done))
}

/// Opens the journal for writing: makes it where there is none, brings it to this version where it is older; `upgraded` is told
/// where the copy lies.
pub(super) fn open(site: &Site, upgraded: &mut dyn FnMut(&Path)) -> Result<Writer, RunError> {
    match Writer::open(&site.journal, &SCHEMA, site.writer.clone()) {
        Err(JournalError::Older { .. }) => {
            // Whose it is is looked at before anything is changed.
            check_territory(site, &Reader::open(&site.journal, &SCHEMA)?.binding()?)?;
            upgraded(&upgrade(&site.journal, &SCHEMA, &site.writer)?);
            Ok(Writer::open(&site.journal, &SCHEMA, site.writer.clone())?)
        }
        Ok(writer) => {
            check_territory(site, &writer.binding()?)?;
            Ok(writer)
        }
        Err(JournalError::Missing { .. }) => {
            Journal::create(&site.journal, &SCHEMA, &binding(site)?, &site.writer)?;
            Ok(Writer::open(&site.journal, &SCHEMA, site.writer.clone())?)
        }
        Err(error) => Err(error.into()),
    }
}

/// What a journal made here belongs to.
pub(super) fn binding(site: &Site) -> Result<Binding, RunError> {
    site.host.territory().map(bound_to).map_err(RunError::from)
}

fn bound_to(Territory { kind, node, directory, device }: Territory) -> Binding {
    Binding { host: kind.name().to_owned(), node, directory: directory.display().to_string(), device }
}

fn check_territory(site: &Site, binding: &Binding) -> Result<(), RunError> {
    let territory = site.host.territory()?;
    let same_device = territory.is_on(binding.device);
    let here = bound_to(territory);
    // The simulator's world lies beside its journal wherever that is moved.
    if (same_device && here == Binding { device: here.device, ..binding.clone() })
        || (site.host.kind() == HostKind::Sim && binding.host == here.host)
    {
        return Ok(());
    }
    let text =
        |binding: &Binding| format!("host {} on node {}, {} (device {})", binding.host, binding.node, binding.directory, binding.device);
    Err(RunError::OtherTerritory { path: site.journal.clone(), belongs: text(binding), here: text(&here) })
}

/// Refuses to begin a fleet whose containers are there already, by the marks of a journal that is not at its place any more.
/// Taken for a stranger's, they would have to be given up.
fn check_unmarked(site: &Site, selection: &Selection) -> Result<(), RunError> {
    let observation = observe(site, None, selection)?;
    let is_marked = |ctid: Ctid, fleet: &FleetName| {
        let mark = observation.containers.get(&ctid).and_then(|seen| seen.mark.as_ref());
        mark.is_some_and(|mark| mark.ctid == ctid && mark.fleet == *fleet)
    };
    let marked: Vec<_> = selection.containers.iter().filter(|(ctid, fleet)| is_marked(**ctid, fleet)).collect();
    match marked.first() {
        Some((_, fleet)) => Err(RunError::JournalLost {
            path: site.journal.clone(),
            fleet: (*fleet).clone(),
            ctids: marked.iter().map(|(ctid, _)| **ctid).collect(),
        }),
        None => Ok(()),
    }
}

fn observe(site: &Site, journal: Option<JournalId>, selection: &Selection) -> Result<Observation, RunError> {
    let ctids: Vec<Ctid> = selection.containers.keys().copied().collect();
    Ok(site.host.observe(journal.as_ref(), &ctids)?)
}

fn engine(
    site: &Site,
    writer: &Writer,
    account: Account,
    selection: &Selection,
    observation: Observation,
    id: RunId,
    jobs: usize,
) -> Result<Engine, RunError> {
    let (epoch, _) = writer.epoch().expect("a writer that has begun has an epoch");
    let orders = orders(site, writer.journal(), epoch, selection.goal, id, jobs);
    let mut lives = pick(account.lives, selection);
    for life in lives.values_mut().flatten() {
        let mut broken = None;
        let text = |digest: &Digest| {
            writer.blob(digest).unwrap_or_else(|error| {
                broken = Some(error);
                None
            })
        };
        let filled = with_texts(&life.spec, text);
        if let Some(error) = broken {
            return Err(error.into());
        }
        // A script whose text is missing fails when it is due, by name.
        life.spec = filled.map_or_else(|| Arc::clone(&life.spec), Arc::new);
    }
    Ok(Engine::new(orders, lives, observation))
}

fn orders(site: &Site, journal: JournalId, epoch: Epoch, goal: Goal, run: RunId, jobs: usize) -> Orders {
    Orders { run, goal, journal, epoch, jobs: jobs.max(1), dice: Dice::new((site.entropy)()) }
}

fn pick(mut lives: Lives, selection: &Selection) -> Lives {
    lives.retain(|ctid, _| selection.containers.contains_key(ctid));
    lives
}

fn close<J: Append>(turner: &mut Turner<'_, J, Arc<dyn Host>>, run: RunId, end: RunEnd, site: &Site) -> Result<(), RunError> {
    let at = site.host.now()?.wall;
    let verdicts = turner.journal.append_group(vec![Line::Fact(Fact::RunClosed(RunClosed { run, end, at }))])?;
    for verdict in verdicts {
        let smallest = Ctid::new(crate::ids::CTID_MIN).expect("the smallest id is in range");
        verdict.map_err(|why| DriveError::Turn(TurnError::Refused { ctid: smallest, why }))?;
    }
    turner.observer.observe(Progress::Ended { end });
    Ok(())
}

fn finished(run: Option<RunId>, end: RunEnd, engine: Engine) -> Finished {
    let stands = engine.lives().filter_map(|(ctid, _)| engine.stand(ctid).map(|stand| (ctid, stand))).collect();
    Finished { run, end, stands, lives: engine.into_lives() }
}

/// The containers whose newest run leads to `goal` and may have something left to do.
fn to_go_on_with(account: &Account, fleet: Option<&FleetName>, goal: Goal) -> BTreeMap<Ctid, FleetName> {
    let wanted = |ctid: Ctid| {
        let run = account.newest_run(ctid)?;
        let goes_on = match (run.opened.command, goal) {
            // A host crash takes down what had been brought up, however the run had ended.
            (RunCommand::Up | RunCommand::Resume | RunCommand::Rebuild, Goal::Up) => true,
            (RunCommand::Down, Goal::Down) => run.end != Some(RunEnd::Done),
            (RunCommand::Up | RunCommand::Resume | RunCommand::Rebuild, Goal::Down)
            | (RunCommand::Down, Goal::Up)
            | (RunCommand::Retry, _) => false,
        };
        let name = run.opened.containers.get(&ctid)?;
        (goes_on && fleet.is_none_or(|fleet| fleet == name)).then(|| (ctid, name.clone()))
    };
    account.lives.keys().filter_map(|&ctid| wanted(ctid)).collect()
}

fn fleet_of(account: &Account, ctid: Ctid, life: &Result<Life, crate::machine::OutOfTurn>) -> FleetName {
    let named = || account.newest_run(ctid).and_then(|run| run.opened.containers.get(&ctid)).cloned();
    life.as_ref()
        .ok()
        .map(|life| life.fleet.clone())
        .or_else(named)
        .unwrap_or_else(|| "unknown".parse().expect("a plain word is a fleet name"))
}

fn list(ctids: &[Ctid]) -> String {
    ctids.iter().map(Ctid::to_string).collect::<Vec<_>>().join(", ")
}
