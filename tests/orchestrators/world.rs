//! One situation of two orchestrators, one journal, one container: who holds what, and what is under way.
//!
//! The journal is the real one, in memory, with rows of three steps: one that an orchestrator takes itself, one whose child
//! inherits the container's lock, one whose child does not (a script, behind `lxc-attach`). Not here: who may do what
//! (`rules`), and what may happen (`moves`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::rc::Rc;

use phoenix_journal::{Append, Body, DONE, Digest, Draft, Entry, JournalId, Machine, Memory, Schema, Seq, StreamKey};

/// The three kinds of steps, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    /// By the orchestrator itself, as edits of a configuration are.
    Edit,
    /// By a child that has the lock, as the unpacking of a template is.
    Make,
    /// By a child that has it not, as a script inside the container is.
    Script,
}

impl Step {
    pub(crate) const ALL: [Self; 3] = [Self::Edit, Self::Make, Self::Script];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Edit => "edit",
            Self::Make => "make",
            Self::Script => "script",
        }
    }

    fn leads_to(self) -> &'static str {
        match self {
            Self::Edit => "edited",
            Self::Make => "made",
            Self::Script => "done",
        }
    }

    pub(crate) fn of(name: &str) -> Self {
        Self::ALL.into_iter().find(|step| step.name() == name).expect("one of the three")
    }

    /// The step that is due in a state.
    pub(crate) fn due(state: &str) -> Option<Self> {
        match state {
            "todo" => Some(Self::Edit),
            "edited" => Some(Self::Make),
            "made" => Some(Self::Script),
            _ => None,
        }
    }
}

pub(crate) const SCHEMA: Schema = Schema { application_id: 1, version: 1, machines: &[CONTAINER] };

const CONTAINER: Machine = Machine {
    name: "container",
    states: &["todo", "edited", "made", "done"],
    initial: "todo",
    edges: &[("todo", "edited"), ("edited", "made"), ("made", "done")],
    needs: &[("edited", "edit"), ("made", "make"), ("done", "script")],
    begins: &[("edit", "todo"), ("make", "edited"), ("script", "made")],
    standings: &["active", "waiting", "failed"],
};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    A,
    B,
}

/// Where an orchestrator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    /// Not running.
    Out,
    /// It has opened this lock file.
    Opened(u32),
    /// It has locked it, and found it in its place.
    Locked(u32),
    /// It has begun this epoch, and knows that many entries.
    Running { epoch: u64, known: usize, doing: Doing },
}

/// What a run is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// It decides what is next.
    Deciding,
    /// It has the container's lock, and has recorded nothing.
    Holding(Step),
    /// Its intent is durable, and nothing has been done.
    Acting(Step, Seq),
    /// It is changing the container itself.
    Editing(Seq),
    /// A shim of its own is at work.
    Waiting(Step, Seq),
    /// It knows what became of an intent, and has not recorded it.
    Reporting(Step, Seq, Verdict),
    /// It is finding out what became of an intent of before.
    Settling(Step, Seq),
}

/// What became of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    Failed,
    /// Cut off, or never begun.
    Undone,
    /// Another process holds the lock, and held it beyond the deadline.
    HeldByOther,
}

/// Who has a descriptor of the container's lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    Orchestrator(Who),
    Shim(Seq),
    Child(Seq),
}

/// A shim and its child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) step: Step,
    pub(crate) shim: bool,
    pub(crate) child: Child,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    NotStarted,
    AtWork,
    Ended,
    Killed,
}

/// How many bad things may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Times that somebody types `resume`.
    pub(crate) starts: u32,
    pub(crate) kills: u32,
    pub(crate) stops: u32,
    /// Removals of the journal's lock file.
    pub(crate) removals: u32,
}

/// One situation.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) journal: Rc<Memory>,
    /// What it holds.
    pub(crate) entries: Rc<Vec<Entry>>,
    /// The epoch of each entry, which the journal in memory takes from whoever wrote last.
    pub(crate) epochs: Rc<Vec<u64>>,
    /// Which lock file lies at the path.
    pub(crate) file: u32,
    pub(crate) file_locks: BTreeMap<u32, Who>,
    pub(crate) orchestrators: BTreeMap<Who, At>,
    pub(crate) stopped: BTreeSet<Who>,
    pub(crate) lock: BTreeSet<Holder>,
    pub(crate) jobs: BTreeMap<Seq, Job>,
    /// What shims left, and whether it is a success.
    pub(crate) results: BTreeMap<Seq, bool>,
    /// The intents whose deadline has passed.
    pub(crate) overdue: BTreeSet<Seq>,
    /// What has been done to the container.
    pub(crate) done: BTreeSet<Step>,
    pub(crate) left: Budget,
}

impl World {
    pub(crate) fn new(left: Budget) -> Self {
        let mut journal = Memory::new(&SCHEMA, JournalId::from_bytes([1; 16])).expect("the rows make rules");
        journal.begin(vec![draft("todo", "active", Body::Declare)]).expect("a first entry");
        Self {
            entries: Rc::new(journal.replay(None).expect("memory can be read")),
            journal: Rc::new(journal),
            epochs: Rc::new(vec![1]),
            file: 1,
            file_locks: BTreeMap::new(),
            orchestrators: BTreeMap::from([(Who::A, At::Out), (Who::B, At::Out)]),
            stopped: BTreeSet::new(),
            lock: BTreeSet::new(),
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            overdue: BTreeSet::new(),
            done: BTreeSet::new(),
            left,
        }
    }

    /// The newest epoch.
    pub(crate) fn epoch(&self) -> u64 {
        self.journal.epochs().len() as u64
    }

    /// Everyone who is changing the container at this moment.
    pub(crate) fn mutators(&self) -> Vec<String> {
        let edits = |at: &At| matches!(at, At::Running { doing: Doing::Editing(_), .. });
        let own = self.orchestrators.iter().filter(|(_, at)| edits(at)).map(|(who, _)| format!("{who:?} itself"));
        let children = self.jobs.iter().filter(|(_, job)| job.child == Child::AtWork).map(|(seq, _)| format!("the child of {seq}"));
        own.chain(children).collect()
    }

    /// Whether the journal says what became of an intent.
    pub(crate) fn is_closed(&self, seq: Seq) -> bool {
        self.entries.iter().any(|entry| matches!(&entry.body, Body::Outcome { intent, .. } if *intent == seq))
    }

    /// All that decides what follows. Of the history that is where it has come to, in the eyes of each; intents bear the
    /// number of their turn among those that still matter.
    pub(crate) fn print(&self) -> String {
        let entries = &self.entries;
        let mut text = String::new();
        let view = |known: &[Entry]| {
            let last = known.last().expect("a declared container");
            format!("{} {} {:?}", last.state, last.standing, open_of(known))
        };
        writeln!(text, "{}", view(entries)).expect("memory");
        for (who, at) in &self.orchestrators {
            let place = |file: u32| (file == self.file, self.file_locks.get(&file));
            let at = match *at {
                At::Out => "out".to_owned(),
                At::Opened(file) => format!("opened {:?}", place(file)),
                At::Locked(file) => format!("locked {:?}", place(file)),
                At::Running { epoch, known, doing } => format!("{} {} {doing:?}", epoch == self.epoch(), view(&entries[..known])),
            };
            writeln!(text, "{at} {}", self.stopped.contains(who)).expect("memory");
        }
        let is_writer = |(file, who): (&u32, &Who)| (*who, *file == self.file);
        let writers: BTreeSet<_> = self.file_locks.iter().map(is_writer).collect();
        let World { lock, done, left, .. } = self;
        let ordered = self.epochs.is_sorted();
        writeln!(text, "{writers:?} {lock:?} {done:?} {left:?} {ordered} {}", self.has_succeeded()).expect("memory");
        for seq in self.mattering(entries) {
            let (job, result, overdue) = (self.jobs.get(&seq), self.results.get(&seq), self.overdue.contains(&seq));
            writeln!(text, "{seq}: {job:?} {result:?} {overdue} {}", self.is_closed(seq)).expect("memory");
        }
        self.renamed(&text, entries)
    }

    /// Whether a script has left a result that is a success.
    fn has_succeeded(&self) -> bool {
        self.results.iter().any(|(seq, success)| *success && self.jobs.get(seq).is_some_and(|job| job.step == Step::Script))
    }

    /// The intents that anybody still has to do with.
    pub(crate) fn mattering(&self, entries: &[Entry]) -> BTreeSet<Seq> {
        let alive = self.jobs.iter().filter(|(_, job)| job.shim || job.child == Child::AtWork).map(|(&seq, _)| seq);
        let mut all: BTreeSet<Seq> = alive.chain(open_of(entries).map(|(_, seq)| seq)).collect();
        for at in self.orchestrators.values() {
            let At::Running { known, doing, .. } = at else { continue };
            all.extend(open_of(&entries[..*known]).map(|(_, seq)| seq));
            match doing {
                Doing::Acting(_, seq)
                | Doing::Editing(seq)
                | Doing::Waiting(_, seq)
                | Doing::Reporting(_, seq, _)
                | Doing::Settling(_, seq) => drop(all.replace(*seq)),
                Doing::Deciding | Doing::Holding(_) => {}
            }
        }
        all
    }

    /// Sequence numbers only count up: what matters is which of those in use it is.
    fn renamed(&self, text: &str, entries: &[Entry]) -> String {
        let mut text = text.to_owned();
        for (place, seq) in self.mattering(entries).into_iter().enumerate() {
            text =
                text.replace(&format!("Seq({})", seq.get()), &format!("#{place}")).replace(&format!("\n{seq}: "), &format!("\n#{place}: "));
        }
        text
    }
}

/// The intent that has no outcome, as far as these entries go.
pub(crate) fn open_of(known: &[Entry]) -> Option<(Step, Seq)> {
    let last = known.iter().rev().find(|entry| matches!(entry.body, Body::Intent { .. } | Body::Outcome { .. }))?;
    match &last.body {
        Body::Intent { step, .. } => Some((Step::of(step), last.seq)),
        Body::Outcome { .. } | Body::Declare | Body::Note { .. } => None,
    }
}

/// An entry of the one container.
pub(crate) fn draft(state: &str, standing: &str, body: Body) -> Draft {
    Draft {
        stream: StreamKey::new("container", "100"),
        life: "one".to_owned(),
        generation: 1,
        run: String::new(),
        body,
        state: Cow::Owned(state.to_owned()),
        standing: Cow::Owned(standing.to_owned()),
        payload: "{}".to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    }
}

/// The intent of a step.
pub(crate) fn intent(step: Step, attempt: u32, state: &str) -> Draft {
    draft(state, "active", Body::Intent { step: step.name().to_owned(), attempt, deadline: None, digest: Digest::ZERO })
}

/// The outcome of a step.
pub(crate) fn outcome(step: Step, seq: Seq, attempt: u32, state: &str, verdict: Verdict) -> Draft {
    let (result, state, standing) = match verdict {
        Verdict::Done => (DONE, step.leads_to(), "active"),
        Verdict::Failed => ("failed", state, "failed"),
        Verdict::Undone => ("absent", state, "active"),
        Verdict::HeldByOther => ("failed", state, "waiting"),
    };
    draft(state, standing, Body::Outcome { intent: seq, step: step.name().to_owned(), attempt, result: Cow::Borrowed(result) })
}
