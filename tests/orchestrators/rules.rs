//! The rules of the protocol, a function each, with the code that carries them out.
//!
//! Apart so that they can be held against that code one by one. Each can be broken (`Broken`) to see what it is there for.
//! Not here: when they are asked (`moves`).

use std::rc::Rc;

use phoenix_journal::{Append, Body, Draft, Entry, Refused, Seq};

use super::search::Violation;
use super::world::{Child, Doing, Holder, Step, Verdict, Who, World, open_of};

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Epochs,
    ContainerLock,
    Tokens,
    Results,
    DoubtUnderLocks,
}

/// Whoever locks the lock file at its path is the writer; a lock on a file that was removed meanwhile is let go, and the new
/// file is opened (`phoenix_journal`, `lock::Lock::take`). The file's lock vanishes with its holder.
pub(crate) fn take_journal(world: &mut World, who: Who, file: u32) -> Taken {
    if world.file_locks.contains_key(&file) {
        return Taken::Refused;
    }
    if file != world.file {
        return Taken::Replaced;
    }
    world.file_locks.insert(file, who);
    Taken::Locked
}

/// What comes of an attempt to be the writer.
pub(crate) enum Taken {
    Locked,
    Refused,
    Replaced,
}

/// A run's first transaction raises the epoch (`phoenix_journal`, `writer::raise_epoch`); what the journal told is read after
/// that (`driver::run`).
pub(crate) fn begin(world: &mut World) -> u64 {
    let journal = Rc::make_mut(&mut world.journal);
    *journal = journal.reopened();
    journal.begin(Vec::<Draft>::new()).expect("memory can be begun");
    world.epoch()
}

/// An append with an epoch that is not the newest is refused (`phoenix_journal`, `sql/guards.sql`), and the run that made it
/// ends (`driver::turn`). What the other guards refuse is a fault of this model, or of the protocol.
pub(crate) fn append(world: &mut World, epoch: u64, draft: Draft, broken: Option<Broken>) -> Result<Option<Seq>, Violation> {
    if epoch != world.epoch() && broken != Some(Broken::Epochs) {
        return Ok(None);
    }
    let verdicts = Rc::make_mut(&mut world.journal).append_group(vec![draft]).expect("memory does not fail");
    let verdict: Result<_, Refused> = verdicts.into_iter().next().expect("one verdict an entry");
    let recorded = verdict.map_err(|why| Violation::new("invariant_the_writer_is_never_refused", why.to_string()))?;
    Rc::make_mut(&mut world.epochs).push(epoch);
    world.entries = Rc::new(world.journal.replay(None).expect("memory can be read"));
    Ok(Some(recorded.seq()))
}

/// The container's lock is free if nobody has a descriptor of it (`shim::lock::Lock::take`); it is never waited for while
/// something is decided (`driver::turn`, `Locks`).
pub(crate) fn take_container(world: &mut World, who: Who, broken: Option<Broken>) -> bool {
    let free = world.lock.is_empty() || broken == Some(Broken::ContainerLock);
    if free {
        world.lock.insert(Holder::Orchestrator(who));
    }
    free
}

/// A descriptor that is closed is one less; the lock is free with the last (`shim::lock`).
pub(crate) fn let_go(world: &mut World, who: Who) {
    world.lock.remove(&Holder::Orchestrator(who));
}

/// What is due by the entries that a run knows: an intent without outcome comes first, and nothing follows on a standing that
/// this run recorded (`engine::decide`).
pub(crate) fn next(known: &[Entry]) -> Next {
    let last = known.last().expect("a declared container");
    if let Some((step, seq)) = open_of(known) {
        return Next::Settle(step, seq);
    }
    match Step::due(&last.state) {
        Some(step) if last.standing == "active" => Next::Take(step),
        Some(_) | None => Next::End,
    }
}

/// What a run does next.
pub(crate) enum Next {
    Settle(Step, Seq),
    Take(Step),
    End,
}

/// How often a step was intended already (`machine::life`, counted before acting).
pub(crate) fn attempts(known: &[Entry], step: Step) -> u32 {
    let intended = |entry: &&Entry| matches!(&entry.body, Body::Intent { step: name, .. } if name == step.name());
    u32::try_from(known.iter().filter(intended).count()).expect("few attempts")
}

/// What can be said of an intent in doubt (`shim::recover`): once the lock can be taken, the result that was left; while
/// somebody bears its token, nothing before its deadline, and after it they are ended; else what a look at the container
/// says. While the lock is held, its own processes are waited for, and ended after the deadline; others are never touched.
pub(crate) fn recover(world: &mut World, who: Who, step: Step, seq: Seq, broken: Option<Broken>) -> Option<Verdict> {
    let overdue = world.overdue.contains(&seq);
    let others = world.lock.iter().any(|holder| *holder != Holder::Orchestrator(who));
    if !others || broken == Some(Broken::ContainerLock) {
        if let Some(success) = world.results.get(&seq).filter(|_| broken != Some(Broken::Results)) {
            return Some(if *success { Verdict::Done } else { Verdict::Failed });
        }
        return match (bears(world, seq, broken), overdue) {
            (false, _) => Some(look(world, step)),
            (true, true) => {
                end(world, seq);
                None
            }
            (true, false) => None,
        };
    }
    let own = world.lock.contains(&Holder::Shim(seq)) || world.lock.contains(&Holder::Child(seq));
    match (own, overdue) {
        (_, false) => None,
        (true, true) => {
            end(world, seq);
            None
        }
        (false, true) => Some(Verdict::HeldByOther),
    }
}

/// Whether a living process bears the token of an intent (`shim::process::living_bearers`).
fn bears(world: &World, seq: Seq, broken: Option<Broken>) -> bool {
    broken != Some(Broken::Tokens) && world.jobs.get(&seq).is_some_and(|job| job.shim || job.child == Child::AtWork)
}

/// Ends everything that belongs to an intent, its shim included (`shim::process::end`).
fn end(world: &mut World, seq: Seq) {
    if let Some(job) = world.jobs.get_mut(&seq) {
        job.shim = false;
        job.child = if job.child == Child::AtWork { Child::Killed } else { job.child };
    }
    world.lock.remove(&Holder::Shim(seq));
    world.lock.remove(&Holder::Child(seq));
}

/// What a look says where no result is (`host::lxc::settle`): what can be seen is done or not, and a script without a result
/// counts as cut off.
fn look(world: &World, step: Step) -> Verdict {
    match step {
        Step::Edit | Step::Make if world.done.contains(&step) => Verdict::Done,
        Step::Edit | Step::Make | Step::Script => Verdict::Undone,
    }
}

/// What is recorded of a verdict: while others hold the lock the step stays in doubt, and the container waits
/// (`engine::act::settled`); everything else closes the intent.
pub(crate) fn closes(verdict: Verdict, broken: Option<Broken>) -> bool {
    verdict != Verdict::HeldByOther || broken == Some(Broken::DoubtUnderLocks)
}

/// A shim gets the lock before it is let go of (`shim::spawn`), and starts its child, which gets it too unless it goes into
/// the container (`shim::supervise`, `shim::child`).
pub(crate) fn spawn(world: &mut World, step: Step, seq: Seq) {
    world.jobs.insert(seq, super::world::Job { step, shim: true, child: Child::NotStarted });
    world.lock.insert(Holder::Shim(seq));
}

/// See [`spawn`].
pub(crate) fn start_child(world: &mut World, seq: Seq) {
    let job = world.jobs.get_mut(&seq).expect("a job");
    job.child = Child::AtWork;
    if job.step == Step::Make {
        world.lock.insert(Holder::Child(seq));
    }
}

/// A shim's result is durable before its descriptors are closed (`shim::supervise`).
pub(crate) fn leave_result(world: &mut World, seq: Seq, success: bool) {
    world.results.insert(seq, success);
    let job = world.jobs.get_mut(&seq).expect("a job");
    job.shim = false;
    world.lock.remove(&Holder::Shim(seq));
    world.lock.remove(&Holder::Child(seq));
}

/// What a run that goes on with `doing` still has to report once the host is through with it: locks are let go before the
/// outcome is recorded (`host::Host::carry_out` takes the lease by value).
pub(crate) fn reported(world: &mut World, who: Who, step: Step, seq: Seq, verdict: Verdict) -> Doing {
    let_go(world, who);
    Doing::Reporting(step, seq, verdict)
}
