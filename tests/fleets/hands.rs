//! A host under a test's hands: effects recorded as the engine would record them, carried out, and asked about.
//!
//! Not here: which host, and what the effects are.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use phoenix::host::{Host, Lease, LockError, Watch};
use phoenix::ids::{Ctid, Generation, Incarnation, RunId, State, StepId, Token};
use phoenix::machine::{Report, StepResult, Wait};
use phoenix::manifest::Spec;
use phoenix::plan::{Action, Doubt, Effect, Intent, Mark, Reason};
use phoenix_journal::{Epoch, Seq};

use crate::recorded::recorded;

/// How long a step has, unless a test says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);
/// How often a lock is tried that should be free.
const LOCK_TRIES: u32 = 1000;
/// The pause between two tries.
const LOCK_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Hands {
    pub(crate) host: Arc<dyn Host>,
    seq: AtomicU64,
}

/// Says nothing.
pub(crate) struct Quiet;

impl Watch for Quiet {
    fn waiting(&self, _: Wait) {}
}

impl Hands {
    pub(crate) fn new(host: Arc<dyn Host>) -> Self {
        Self { host, seq: AtomicU64::new(100) }
    }

    pub(crate) fn effect(&self, spec: &Spec, step: StepId, action: Action) -> Effect {
        let seq = self.next_seq();
        let mut token = [7; 16];
        token[..8].copy_from_slice(&seq.to_le_bytes());
        token[8..12].copy_from_slice(&std::process::id().to_le_bytes());
        token[12..].copy_from_slice(&spec.ctid.get().to_le_bytes());
        let intent = Intent {
            run: RunId::from_random([1; 16]),
            ctid: spec.ctid,
            incarnation: incarnation(spec.ctid),
            generation: Generation::FIRST,
            state: State::Declared,
            step,
            attempt: 1,
            reason: Reason::First,
            deadline: self.host.now().expect("a time").moment.after(DEADLINE),
            token: Token::from_random(token),
            action,
        };
        Effect { intent, spec: Arc::new(spec.clone()), mark: mark(spec.ctid), former: vec![former()] }
    }

    pub(crate) fn carry_out(&self, effect: Effect) -> Report {
        let lease = self.lease(&effect);
        let seq = Seq::new(self.seq.fetch_add(1, Ordering::Relaxed));
        self.host.carry_out(recorded(effect, seq), lease)
    }

    /// The locks of an effect. A child that another test has just begun holds every descriptor of this process until it becomes
    /// the program that it is to run: a lock that was let go of may be held for a moment still.
    #[expect(clippy::disallowed_methods, reason = "nothing tells when a child of another thread has been executed")]
    pub(crate) fn lease(&self, effect: &Effect) -> Lease {
        for _ in 0..LOCK_TRIES {
            match self.host.lock(&effect.locks()) {
                Ok(lease) => return lease,
                Err(LockError::Busy { holder_pid, .. }) if holder_pid.is_some() => std::thread::sleep(LOCK_PAUSE),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("the locks of {} are never free", effect.intent.step)
    }

    /// Asks what became of an effect that was never carried out.
    pub(crate) fn settle(&self, effect: Effect) -> StepResult {
        self.settle_as(effect, self.seq.fetch_add(1, Ordering::Relaxed))
    }

    /// Settles an effect that was carried out under this sequence number.
    pub(crate) fn settle_as(&self, effect: Effect, seq: u64) -> StepResult {
        self.host.settle(&Doubt { seq: Seq::new(seq), epoch: Epoch::new(1), effect }, &Quiet).result
    }

    /// The sequence number that the next effect gets.
    pub(crate) fn next_seq(&self) -> u64 {
        self.seq.load(Ordering::Relaxed)
    }
}

pub(crate) fn incarnation(ctid: Ctid) -> Incarnation {
    let mut bytes = [0xa5; 16];
    bytes[..4].copy_from_slice(&ctid.get().to_le_bytes());
    Incarnation::from_random(bytes)
}

/// What every container of these tests was before.
pub(crate) fn former() -> Incarnation {
    Incarnation::from_random([8; 16])
}

pub(crate) fn mark(ctid: Ctid) -> Mark {
    Mark {
        journal: "0102030405060708090a0b0c0d0e0f10".parse().expect("a journal id"),
        fleet: "homelab".parse().expect("a name"),
        ctid,
        incarnation: incarnation(ctid),
        epoch: Epoch::new(1),
    }
}
