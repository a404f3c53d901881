//! What may happen next to two orchestrators: each goes a small step on, children end, clocks run out, and somebody kills,
//! stops, continues or removes a lock file.
//!
//! Not here: what is allowed (`rules`).

use std::rc::Rc;

use phoenix_journal::Seq;

use super::rules::{self, Broken, Next, Taken};
use super::search::{Step as Move, Violation};
use super::world::{At, Child, Doing, Holder, Step, Verdict, Who, World, draft, intent, outcome};

const BOTH: [Who; 2] = [Who::A, Who::B];

/// Everything that may happen next.
pub(crate) fn follow(world: &World, broken: Option<Broken>) -> Vec<Move<World>> {
    let mut moves = Vec::new();
    for who in BOTH.into_iter().filter(|who| !world.stopped.contains(who)) {
        moves.extend(steps_of(world, who, broken));
    }
    for (&seq, job) in &world.jobs {
        if job.shim && job.child == Child::NotStarted {
            moves.push(sure(format!("the shim of {seq} starts its child"), started(world, seq)));
        }
        if job.child == Child::AtWork {
            moves.push(sure(format!("the child of {seq} ends"), Ok(ended(world, seq))));
        }
        if job.shim && job.child == Child::AtWork && world.overdue.contains(&seq) {
            moves.push(sure(format!("the shim of {seq} ends its child"), Ok(timed_out(world, seq))));
        }
        if job.shim && matches!(job.child, Child::Ended | Child::Killed) {
            let success = job.child == Child::Ended;
            moves.push(sure(
                format!("the shim of {seq} leaves its result"),
                Ok(changed(world, |next| rules::leave_result(next, seq, success))),
            ));
        }
    }
    for seq in world.mattering(&world.entries).into_iter().filter(|seq| !world.overdue.contains(seq)) {
        moves.push(sure(format!("the deadline of {seq} passes"), Ok(changed(world, |next| next.overdue.extend([seq])))));
    }
    moves.extend(bad_luck(world));
    moves
}

fn sure(what: String, next: Result<World, Violation>) -> Move<World> {
    Move { what, is_sure: true, next }
}

fn changed(world: &World, change: impl FnOnce(&mut World)) -> World {
    let mut next = world.clone();
    change(&mut next);
    next
}

/// The next small steps of one orchestrator.
fn steps_of(world: &World, who: Who, broken: Option<Broken>) -> Vec<Move<World>> {
    let mut next = world.clone();
    match world.orchestrators[&who] {
        At::Out if world.left.starts == 0 => Vec::new(),
        At::Out => {
            next.left.starts -= 1;
            next.orchestrators.insert(who, At::Opened(world.file));
            vec![Move { what: format!("{who:?} is started"), is_sure: false, next: Ok(next) }]
        }
        At::Opened(file) => {
            let at = match rules::take_journal(&mut next, who, file) {
                Taken::Locked => At::Locked(file),
                Taken::Refused => At::Out,
                Taken::Replaced => At::Opened(next.file),
            };
            next.orchestrators.insert(who, at);
            vec![sure(format!("{who:?} locks the journal: {at:?}"), Ok(next))]
        }
        At::Locked(_) => {
            let epoch = rules::begin(&mut next);
            let known = next.entries.len();
            let waits = next.entries.last().is_some_and(|entry| entry.standing == "waiting");
            let at = At::Running { epoch, known, doing: Doing::Deciding };
            next.orchestrators.insert(who, at);
            // What waited is looked at again by each run.
            let next = if waits { noted(next, who, epoch, "active", broken) } else { Ok(next) };
            vec![sure(format!("{who:?} begins epoch {epoch}"), next)]
        }
        At::Running { epoch, known, doing } => {
            let run = Run { who, epoch, known, broken };
            run.steps(next, doing)
        }
    }
}

/// One run, while it goes on.
#[derive(Clone, Copy)]
struct Run {
    who: Who,
    epoch: u64,
    known: usize,
    broken: Option<Broken>,
}

impl Run {
    fn steps(self, world: World, doing: Doing) -> Vec<Move<World>> {
        let Self { who, broken, .. } = self;
        let one = |what: &str, next: Result<World, Violation>| vec![sure(format!("{who:?} {what}"), next)];
        match doing {
            Doing::Deciding => self.decide(world),
            Doing::Holding(step) => one(&format!("records its intent to {}", step.name()), self.intend(world, step)),
            Doing::Acting(step @ Step::Edit, seq) => one("begins to edit", begin_effect(self.to(world, Doing::Editing(seq)), step, seq)),
            Doing::Acting(step @ (Step::Make | Step::Script), seq) => {
                let mut next = self.to(world, Doing::Waiting(step, seq));
                rules::spawn(&mut next, step, seq);
                one("starts a shim", Ok(next))
            }
            Doing::Editing(seq) => {
                let mut next = world;
                next.done.insert(Step::Edit);
                one("has edited", Ok(self.report(next, Step::Edit, seq, Verdict::Done)))
            }
            Doing::Waiting(_, seq) if world.jobs[&seq].shim => Vec::new(),
            Doing::Waiting(step, seq) => {
                if let Some(success) = world.results.get(&seq).copied() {
                    let verdict = if success { Verdict::Done } else { Verdict::Failed };
                    return one(&format!("is told {verdict:?}"), Ok(self.report(world, step, seq, verdict)));
                }
                let mut next = self.to(world, Doing::Deciding);
                rules::let_go(&mut next, who);
                one("finds its shim gone", Ok(next))
            }
            Doing::Reporting(step, seq, verdict) => one(&format!("records {verdict:?}"), self.conclude(world, step, seq, verdict)),
            Doing::Settling(step, seq) => {
                let mut next = world;
                let verdict = rules::recover(&mut next, who, step, seq, broken);
                let next = match verdict {
                    Some(verdict) => self.to(next, Doing::Reporting(step, seq, verdict)),
                    None => next,
                };
                one(&format!("looks what became of {seq}: {verdict:?}"), Ok(next))
            }
        }
    }

    fn decide(self, world: World) -> Vec<Move<World>> {
        let entries = Rc::clone(&world.entries);
        let what = format!("{:?} decides", self.who);
        match rules::next(&entries[..self.known]) {
            Next::End => vec![sure(format!("{what} that nothing is left"), Ok(self.out(world)))],
            Next::Settle(step, seq) => vec![sure(what, Ok(self.to(world, Doing::Settling(step, seq))))],
            Next::Take(step) => {
                let mut next = world.clone();
                if rules::take_container(&mut next, self.who, self.broken) {
                    return vec![sure(format!("{what} to {}", step.name()), Ok(self.to(next, Doing::Holding(step))))];
                }
                let waiting = noted(world, self.who, self.epoch, "waiting", self.broken);
                vec![sure(format!("{what}, and has waited for the lock long enough"), waiting)]
            }
        }
    }

    fn intend(self, mut world: World, step: Step) -> Result<World, Violation> {
        let entries = Rc::clone(&world.entries);
        let known = &entries[..self.known];
        let state = &known.last().expect("a declared container").state;
        let draft = intent(step, rules::attempts(known, step) + 1, state);
        Ok(match rules::append(&mut world, self.epoch, draft, self.broken)? {
            Some(seq) => self.knows(world, Doing::Acting(step, seq)),
            None => self.out(world),
        })
    }

    fn conclude(self, mut world: World, step: Step, seq: Seq, verdict: Verdict) -> Result<World, Violation> {
        if !rules::closes(verdict, self.broken) {
            return noted(world, self.who, self.epoch, "waiting", self.broken);
        }
        let entries = Rc::clone(&world.entries);
        let known = &entries[..self.known];
        let state = &known.last().expect("a declared container").state;
        let draft = outcome(step, seq, rules::attempts(known, step), state, verdict);
        Ok(match rules::append(&mut world, self.epoch, draft, self.broken)? {
            Some(_) => self.knows(world, Doing::Deciding),
            None => self.out(world),
        })
    }

    fn to(self, mut world: World, doing: Doing) -> World {
        let Self { who, epoch, known, .. } = self;
        world.orchestrators.insert(who, At::Running { epoch, known, doing });
        world
    }

    /// It knows what it has just recorded.
    fn knows(self, world: World, doing: Doing) -> World {
        Self { known: world.entries.len(), ..self }.to(world, doing)
    }

    fn report(self, mut world: World, step: Step, seq: Seq, verdict: Verdict) -> World {
        let doing = rules::reported(&mut world, self.who, step, seq, verdict);
        self.to(world, doing)
    }

    fn out(self, mut world: World) -> World {
        gone(&mut world, self.who);
        world
    }
}

/// The standing alone changes; a run that waits is over.
fn noted(mut world: World, who: Who, epoch: u64, standing: &str, broken: Option<Broken>) -> Result<World, Violation> {
    let state = world.entries.last().expect("a declared container").state.to_string();
    let note = draft(&state, standing, phoenix_journal::Body::Note { topic: "standing".to_owned() });
    let recorded = rules::append(&mut world, epoch, note, broken)?;
    if recorded.is_none() || standing == "waiting" {
        gone(&mut world, who);
    } else {
        let known = world.entries.len();
        world.orchestrators.insert(who, At::Running { epoch, known, doing: Doing::Deciding });
    }
    Ok(world)
}

/// A process that ends closes its descriptors.
fn gone(world: &mut World, who: Who) {
    world.orchestrators.insert(who, At::Out);
    world.stopped.remove(&who);
    world.file_locks.retain(|_, holder| *holder != who);
    world.lock.remove(&Holder::Orchestrator(who));
}

/// What must hold as an effect begins.
fn begin_effect(world: World, step: Step, seq: Seq) -> Result<World, Violation> {
    let finished = |other: &Seq| world.results.get(other) == Some(&true) && world.jobs.get(other).is_some_and(|job| job.step == step);
    if step == Step::Script && world.jobs.keys().any(finished) {
        let what = format!("{seq} starts a script that has left its result");
        return Err(Violation::new("invariant_script_starts_are_explained", what));
    }
    if world.is_closed(seq) {
        let what = format!("{seq} begins to {} after the journal said what became of it", step.name());
        return Err(Violation::new("invariant_nothing_is_done_for_what_is_closed", what));
    }
    Ok(world)
}

fn started(world: &World, seq: Seq) -> Result<World, Violation> {
    let next = changed(world, |next| rules::start_child(next, seq));
    begin_effect(next, world.jobs[&seq].step, seq)
}

fn ended(world: &World, seq: Seq) -> World {
    changed(world, |next| {
        let job = next.jobs.get_mut(&seq).expect("a job");
        job.child = Child::Ended;
        next.done.insert(job.step);
        next.lock.remove(&Holder::Child(seq));
    })
}

fn timed_out(world: &World, seq: Seq) -> World {
    changed(world, |next| {
        next.jobs.get_mut(&seq).expect("a job").child = Child::Killed;
        next.lock.remove(&Holder::Child(seq));
    })
}

/// Kills, stops, and a person who removes the lock file.
fn bad_luck(world: &World) -> Vec<Move<World>> {
    let mut moves = Vec::new();
    let mut add = |what: String, next: World| moves.push(Move { what, is_sure: false, next: Ok(next) });
    for who in BOTH.into_iter().filter(|who| world.orchestrators[who] != At::Out) {
        if world.left.kills > 0 {
            add(format!("{who:?} is killed"), killed(world, |next| gone(next, who)));
        }
        if world.stopped.contains(&who) {
            add(format!("{who:?} is continued"), changed(world, |next| next.stopped.retain(|other| *other != who)));
        } else if world.left.stops > 0 {
            let stop = |next: &mut World| {
                next.left.stops -= 1;
                next.stopped.insert(who);
            };
            add(format!("{who:?} is stopped"), changed(world, stop));
        }
    }
    for (&seq, job) in world.jobs.iter().filter(|_| world.left.kills > 0) {
        if job.shim {
            let kill = |next: &mut World| {
                next.jobs.get_mut(&seq).expect("a job").shim = false;
                next.lock.remove(&Holder::Shim(seq));
            };
            add(format!("the shim of {seq} is killed"), killed(world, kill));
        }
        if job.child == Child::AtWork {
            let kill = |next: &mut World| {
                next.jobs.get_mut(&seq).expect("a job").child = Child::Killed;
                next.lock.remove(&Holder::Child(seq));
            };
            add(format!("the child of {seq} is killed"), killed(world, kill));
        }
    }
    if world.left.removals > 0 {
        let remove = |next: &mut World| {
            next.left.removals -= 1;
            next.file += 1;
        };
        add("the lock file is removed".to_owned(), changed(world, remove));
    }
    moves
}

fn killed(world: &World, kill: impl FnOnce(&mut World)) -> World {
    changed(world, |next| {
        next.left.kills -= 1;
        kill(next);
    })
}
