//! The loop of a real run: worker threads for the host, this thread for engine and journal, a channel between them.
//!
//! Host work blocks in processes and system calls, so each piece gets a thread; there are at most as many as the run has jobs.
//! Commits are grouped by themselves: whatever arrived while the last commit was being made durable goes into the next.
//! Not here: what a turn does (`turn`), how a run is opened and closed (`run`).

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use phoenix_journal::{Append, JournalId};

use crate::engine::Event;
use crate::host::{Host, HostError, Watch};
use crate::ids::{Ctid, Moment};
use crate::machine::{Failure, FailureClass, Report, RunEnd, StepResult, Wait, WaitKind};
use crate::plan::Doubt;
use crate::shim::Lock;

use super::progress::Progress;
use super::turn::{TurnError, Turner, Work};

/// What reaches the loop.
#[derive(Debug)]
pub enum Message {
    /// Something for the engine.
    Event(Event),
    /// A host call is still waiting.
    Waiting(Ctid, Wait),
    /// A person asks to stop: the first finishes what is in flight, the second leaves at once.
    Stop,
    /// A container could not be looked at.
    Unseen(Ctid, HostError),
    /// A worker broke down.
    Panicked(Ctid, String),
}

/// Why the loop ended without the run's end.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    /// Journal or host failed.
    #[error(transparent)]
    Turn(#[from] TurnError),
    /// A person asked twice to stop. Shims go on; the journal says which.
    #[error("stopped at once; steps in flight go on under their shims and are taken up by `phoenix resume`")]
    Abandoned {
        /// Containers whose steps go on.
        in_flight: Vec<Ctid>,
    },
    /// A host broke down.
    #[error("the host code broke down at container {ctid}: {what}")]
    Panicked {
        /// The container.
        ctid: Ctid,
        /// What it said.
        what: String,
    },
}

/// Runs the engine to its end.
pub fn drive<J: Append>(
    turner: &mut Turner<'_, J, Arc<dyn Host>>,
    host: &Arc<dyn Host>,
    (sender, inbox): (&Sender<Message>, &Receiver<Message>),
) -> Result<RunEnd, DriveError> {
    let mut pool = Pool {
        host: Arc::clone(host),
        journal: turner.journal.journal(),
        sender: sender.clone(),
        in_flight: BTreeSet::new(),
        timers: BTreeSet::new(),
    };
    let mut events = vec![Event::Started];
    let mut stops = 0;
    loop {
        let now = pool.host.now().map_err(TurnError::from)?;
        for work in turner.turn(std::mem::take(&mut events), &now)? {
            pool.start(work);
        }
        if let Some(end) = turner.end()? {
            return Ok(end);
        }
        if stops == 0 && turner.tell_trouble(pool.in_flight.len()) {
            stops = 1;
        }
        for message in pool.wait(inbox, &now.moment) {
            match message {
                Message::Event(event) => {
                    pool.ended(&event);
                    events.push(event);
                }
                Message::Waiting(ctid, wait) => turner.observer.observe(Progress::Waiting { ctid, wait: &wait }),
                Message::Unseen(ctid, error) => events.push(turner.give_up(ctid, error)),
                Message::Panicked(ctid, what) => return Err(DriveError::Panicked { ctid, what }),
                Message::Stop if stops == 0 => {
                    stops = 1;
                    turner.observer.observe(Progress::Stopping { in_flight: pool.in_flight.len(), why: None });
                    events.push(Event::Interrupted);
                }
                Message::Stop => return Err(DriveError::Abandoned { in_flight: pool.in_flight.into_iter().collect() }),
            }
        }
    }
}

/// The threads and waits of one run.
struct Pool {
    host: Arc<dyn Host>,
    journal: JournalId,
    sender: Sender<Message>,
    in_flight: BTreeSet<Ctid>,
    timers: BTreeSet<(u64, Ctid)>,
}

impl Pool {
    fn start(&mut self, work: Work) {
        match work {
            Work::Look { ctid } => {
                // Without a thread: it waits for nothing. A host that cannot be looked at is no host without the container.
                let message = match self.host.observe(Some(&self.journal), &[ctid]) {
                    Ok(mut found) => Message::Event(Event::Looked { ctid, seen: found.containers.remove(&ctid).map(Box::new) }),
                    Err(error) => Message::Unseen(ctid, error),
                };
                let _ = self.sender.send(message);
            }
            Work::Wake { ctid, at } => {
                self.timers.insert((at.boottime_ms, ctid));
            }
            Work::CarryOut { ctid, effect, lease } => {
                self.in_flight.insert(ctid);
                self.spawn(ctid, move |host, _| {
                    let report = match lease.displaced() {
                        Some(lock) => excludes_nobody(host, lock),
                        None => host.carry_out(*effect, lease),
                    };
                    Event::Finished { ctid, report }
                });
            }
            Work::Settle(doubt) => {
                let ctid = doubt.effect.intent.ctid;
                let journal = self.journal;
                self.in_flight.insert(ctid);
                self.spawn(ctid, move |host, sender| settle(host, journal, &doubt, sender));
            }
        }
    }

    fn spawn(&self, ctid: Ctid, job: impl FnOnce(&dyn Host, &Sender<Message>) -> Event + Send + 'static) {
        let (host, sender) = (Arc::clone(&self.host), self.sender.clone());
        std::thread::spawn(move || {
            let message = match catch_unwind(AssertUnwindSafe(|| job(&*host, &sender))) {
                Ok(event) => Message::Event(event),
                Err(panic) => Message::Panicked(ctid, panic_text(&*panic)),
            };
            // The loop is gone only if the run broke off; then nobody wants to know.
            let _ = sender.send(message);
        });
    }

    fn ended(&mut self, event: &Event) {
        match event {
            Event::Finished { ctid, .. } | Event::Settled { ctid, .. } => {
                self.in_flight.remove(ctid);
            }
            Event::Started
            | Event::Began { .. }
            | Event::Busy { .. }
            | Event::NotBegun { .. }
            | Event::Looked { .. }
            | Event::Recorded(_)
            | Event::Woke { .. }
            | Event::Interrupted => {}
        }
    }

    /// Waits for the first message or the next timer, then takes along whatever else is there.
    fn wait(&mut self, inbox: &Receiver<Message>, now: &Moment) -> Vec<Message> {
        let mut messages = Vec::new();
        let next = self.timers.first().copied();
        let left = next.map_or(IDLE_WAIT_MAX, |(at, _)| Duration::from_millis(at.saturating_sub(now.boottime_ms)));
        match inbox.recv_timeout(left) {
            Ok(message) => messages.push(message),
            // Waited for as long as was asked: the timer is due even where the host's clock only moves with its work.
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                if let Some(timer) = next {
                    self.timers.remove(&timer);
                    messages.push(Message::Event(Event::Woke { ctid: timer.1 }));
                }
            }
        }
        messages.extend(inbox.try_iter());
        messages
    }
}

/// How long the loop sleeps when there is no timer; it is woken by messages, so this only bounds a mistake.
const IDLE_WAIT_MAX: Duration = Duration::from_secs(3600);

fn settle(host: &dyn Host, journal: JournalId, doubt: &Doubt, sender: &Sender<Message>) -> Event {
    let ctid = doubt.effect.intent.ctid;
    let report = host.settle(doubt, &Tell { ctid, sender });
    match host.observe(Some(&journal), &[ctid]) {
        Ok(mut observation) => Event::Settled { ctid, report, seen: observation.containers.remove(&ctid).map(Box::new) },
        Err(error) => Event::Settled { ctid, report: Report::bare(StepResult::Unknown { why: host_text(&error) }), seen: None },
    }
}

/// The report of a step that was not begun because its lock is none any more. Whoever replaced it may be at work; the next
/// attempt takes the lock that is there now.
fn excludes_nobody(host: &dyn Host, lock: &Lock) -> Report {
    let since = match host.now() {
        Ok(now) => now.wall,
        Err(error) => return Report::bare(StepResult::Unknown { why: host_text(&error) }),
    };
    let path = lock.path().display();
    let wait = Wait { kind: WaitKind::Lock, name: format!("another file at {path}"), ctid: None, pid: None, since };
    let message = format!("the lock file {path} was removed or replaced after it had been locked; nothing was done");
    Report::bare(StepResult::Failed(Failure::new(FailureClass::Wait(wait), message)))
}

fn host_text(error: &HostError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "no message".to_owned())
}

struct Tell<'a> {
    ctid: Ctid,
    sender: &'a Sender<Message>,
}

impl Watch for Tell<'_> {
    fn waiting(&self, wait: Wait) {
        let _ = self.sender.send(Message::Waiting(self.ctid, wait));
    }
}
