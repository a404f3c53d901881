//! The driver on a host whose answers are meddled with: what is waited for, and for how long; what becomes of the rest of a run
//! that can begin nothing more.
//!
//! Apart from `rehearsal`, because the simulator never says that somebody else holds a lock beside the container's own, and always
//! has space.

mod fleets;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use fleets::{ctid, mounted, spec, wanted};
use phoenix::driver::{Channel, DriveError, Observer, Progress, RunError, Site, TurnError, resume, up};
use phoenix::engine::Stand;
use phoenix::host::sim::{Flow, Sim, World, WorldOptions};
use phoenix::host::{Host, HostError, Lease, LockError, Objection, Territory, Watch};
use phoenix::ids::{Ctid, HostKind, Now, Wall};
use phoenix::machine::{Fact, Failure, FailureClass, Report, RunEnd, Standing, StepResult, Wait, WaitKind};
use phoenix::manifest::Spec;
use phoenix::plan::{Doubt, Effect, Observation};
use phoenix::shim::{Lock, LockName, RuntimeDir};
use phoenix_journal::{JournalId, Recorded, WriterInfo};

/// What is said instead of the truth: the step, how often, and the answer.
struct Lie {
    step: &'static str,
    times: AtomicU32,
    answer: StepResult,
}

impl Lie {
    fn new(step: &'static str, times: u32, answer: StepResult) -> Self {
        Self { step, times: AtomicU32::new(times), answer }
    }

    fn about(&self, effect: &Effect) -> Option<Report> {
        let meant = effect.intent.step.to_string() == self.step;
        let left = self.times.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |times| times.checked_sub(u32::from(meant)));
        (meant && left.is_ok()).then(|| Report::bare(self.answer.clone()))
    }
}

struct Meddled {
    sim: Sim,
    /// Instead of carrying out.
    acting: Lie,
    /// Instead of what became of a step that was carried out.
    told: Lie,
    /// Instead of settling.
    settling: Lie,
    /// Before which steps the lock's file is removed, after it was locked.
    robbing: Lie,
    /// The step of a container for which there is no space, once.
    full: Option<(Ctid, Lie)>,
    /// Nothing of this container is carried out before that step has found no space.
    slow: Option<Ctid>,
    is_full: (Mutex<bool>, Condvar),
    runtime: RuntimeDir,
    settled: Mutex<Vec<String>>,
}

impl Meddled {
    fn honest(directory: &Path) -> Self {
        Self {
            sim: Sim::new(World::new(WorldOptions::seeded(1)), Flow::Real),
            acting: nothing(),
            told: nothing(),
            settling: nothing(),
            robbing: nothing(),
            full: None,
            slow: None,
            is_full: <(Mutex<bool>, Condvar)>::default(),
            runtime: RuntimeDir::at(directory.join("run")).expect("a directory"),
            settled: Mutex::default(),
        }
    }
}

impl Host for Meddled {
    fn kind(&self) -> HostKind {
        self.sim.kind()
    }

    fn territory(&self) -> Result<Territory, HostError> {
        self.sim.territory()
    }

    fn settle_in(&self, journal: &JournalId) -> Result<(), HostError> {
        self.sim.settle_in(journal)
    }

    fn now(&self) -> Result<Now, HostError> {
        self.sim.now()
    }

    fn observe(&self, journal: Option<&JournalId>, ctids: &[Ctid]) -> Result<Observation, HostError> {
        self.sim.observe(journal, ctids)
    }

    fn vet(&self, wanted: &[Arc<Spec>]) -> Result<Vec<Objection>, HostError> {
        self.sim.vet(wanted)
    }

    fn lock(&self, ctids: &[Ctid]) -> Result<Lease, LockError> {
        let mut lease = self.sim.lock(ctids)?;
        let name = |&ctid| LockName::Container { backend: "sim", ctid };
        lease.locks = ctids.iter().map(|ctid| Lock::take(&self.runtime, &name(ctid)).expect("free")).collect();
        Ok(lease)
    }

    fn allocate(&self, effect: &Effect, lease: &mut Lease) -> Result<(), HostError> {
        if self.robbing.about(effect).is_some() {
            std::fs::remove_file(lease.locks[0].path()).expect("removed");
        }
        if self.full.as_ref().is_some_and(|(ctid, lie)| *ctid == effect.intent.ctid && lie.about(effect).is_some()) {
            *self.is_full.0.lock().expect("no panic") = true;
            self.is_full.1.notify_all();
            return Err(HostError::Full { path: "/var/lib/phoenix/results".into() });
        }
        self.sim.allocate(effect, lease)
    }

    fn carry_out(&self, effect: Recorded<Effect>, lease: Lease) -> Report {
        if self.slow == Some(effect.intent.ctid) {
            let is_full = self.is_full.0.lock().expect("no panic");
            drop(self.is_full.1.wait_while(is_full, |is_full| !*is_full).expect("no panic"));
        }
        if let Some(report) = self.acting.about(effect.get()) {
            return report;
        }
        let told = self.told.about(effect.get());
        let report = self.sim.carry_out(effect, lease);
        told.unwrap_or(report)
    }

    fn settle(&self, doubt: &Doubt, watch: &dyn Watch) -> Report {
        self.settled.lock().expect("no panic").push(doubt.effect.intent.step.to_string());
        self.settling.about(&doubt.effect).unwrap_or_else(|| self.sim.settle(doubt, watch))
    }

    fn traces(&self, spec: &phoenix::manifest::Spec, mark: &phoenix::plan::Mark) -> Result<phoenix::plan::Traces, HostError> {
        self.sim.traces(spec, mark)
    }

    fn leftovers(&self, ctid: phoenix::ids::Ctid) -> Result<Vec<std::path::PathBuf>, HostError> {
        self.sim.leftovers(ctid)
    }
}

fn nothing() -> Lie {
    Lie::new("", 0, StepResult::Absent)
}

fn held() -> StepResult {
    let wait = Wait { kind: WaitKind::Lock, name: "another phoenix".to_owned(), ctid: None, pid: Some(1), since: Wall(0) };
    StepResult::Failed(Failure::new(FailureClass::Wait(wait), "another process holds the lock"))
}

/// The results of the outcomes of each step, in order.
#[derive(Default)]
struct Results(BTreeMap<String, Vec<StepResult>>);

impl Observer for Results {
    fn observe(&mut self, progress: Progress<'_>) {
        if let Progress::Recorded { fact: Fact::Outcome(outcome), .. } = progress {
            self.0.entry(outcome.step.to_string()).or_default().push(outcome.result.clone());
        }
    }
}

impl Results {
    fn of(&self, step: &str) -> &[StepResult] {
        self.0.get(step).map_or(&[], Vec::as_slice)
    }
}

struct Ran {
    end: RunEnd,
    stands: BTreeMap<Ctid, Stand>,
    results: Results,
    settled: Vec<String>,
}

fn run(spec: Spec, acting: Lie, told: Lie, settling: Lie) -> Ran {
    run_robbed(spec, acting, told, settling, nothing())
}

fn run_robbed(spec: Spec, acting: Lie, told: Lie, settling: Lie, robbing: Lie) -> Ran {
    let directory = tempfile::tempdir().expect("a directory");
    let host = Arc::new(Meddled { acting, told, settling, robbing, ..Meddled::honest(directory.path()) });
    let site = site(&host, directory.path());
    let fleet = "fleet".parse().expect("a name");
    let mut results = Results::default();
    let finished = up(&site, None, &fleet, &wanted(vec![spec]), 1, &Channel::new(), &mut results).expect("a run");
    let settled = host.settled.lock().expect("no panic").clone();
    Ran { end: finished.end, stands: finished.stands, results, settled }
}

fn site(host: &Arc<Meddled>, directory: &Path) -> Site {
    let writer = WriterInfo { pid: std::process::id(), command: "test".to_owned(), started_at_ms: 0, boot_id: "test".to_owned() };
    let entropy = || {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        [NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes(); 4].concat().try_into().expect("sixteen bytes")
    };
    Site { host: host.clone(), journal: directory.join("journal.db"), writer, entropy }
}

#[test]
fn a_lock_that_is_held_within_a_step_is_waited_for() {
    let ran = run(mounted(spec(101), "media"), Lie::new("volume.prepare[media]", 4, held()), nothing(), nothing());
    assert_eq!(ran.end, RunEnd::Done);
    let results = ran.results.of("volume.prepare[media]");
    assert_eq!(results.len(), 5, "more often than a step may fail: {results:?}");
}

/// As by a process that was stopped between its intent and its effect, while others cleared the directory of locks.
#[test]
fn a_step_whose_lock_was_removed_is_not_begun_and_taken_again_under_the_new_one() {
    let step = "feature.apply[base]";
    let ran = run_robbed(spec(101), nothing(), nothing(), nothing(), Lie::new(step, 2, StepResult::Absent));
    assert_eq!(ran.end, RunEnd::Done);
    let results = ran.results.of(step);
    let [StepResult::Failed(first), StepResult::Failed(_), StepResult::Done(_)] = results else { panic!("{results:?}") };
    assert!(matches!(&first.class, FailureClass::Wait(wait) if wait.kind == WaitKind::Lock), "it costs no attempt: {first:?}");
    assert!(first.message.ends_with("was removed or replaced after it had been locked; nothing was done"), "{}", first.message);
}

#[test]
fn a_missing_source_is_not_waited_for_in_this_run() {
    let wait = Wait { kind: WaitKind::Source, name: "/srv/media".to_owned(), ctid: None, pid: None, since: Wall(0) };
    let missing = StepResult::Failed(Failure::new(FailureClass::Wait(wait), "not mounted"));
    let ran = run(mounted(spec(101), "media"), Lie::new("volume.prepare[media]", 1, missing), nothing(), nothing());
    assert_eq!(ran.end, RunEnd::Failed);
    assert!(matches!(&ran.stands[&ctid(101)], Stand::Stuck(Standing::Waiting(_))), "{:?}", ran.stands);
}

#[test]
fn a_step_that_cannot_be_looked_at_stays_in_doubt() {
    let cut_off = StepResult::Unknown { why: "the shim was killed".to_owned() };
    let step = "feature.apply[base]";
    let ran = run(spec(101), nothing(), Lie::new(step, 1, cut_off), Lie::new(step, 3, held()));
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(ran.settled, [step; 4]);
    let results = ran.results.of(step);
    assert!(matches!(results, [StepResult::Done(_)]), "the script has a result, and is not run again: {results:?}");
}

#[test]
fn a_script_whose_container_is_lost_has_not_used_its_one_attempt() {
    let lost = StepResult::Failed(Failure::new(FailureClass::InitLost, "the init is gone"));
    let ran = run(spec(101), Lie::new("feature.apply[base]", 1, lost), nothing(), nothing());
    assert_eq!(ran.end, RunEnd::Done);
    assert_eq!(ran.results.of("run.start").len(), 2, "it was started again");
}

#[test]
fn a_step_that_fails_again_and_again_is_tried_as_often_as_it_may_be_and_no_more() {
    let step = "configure.set";
    let fails = StepResult::Failed(Failure::new(FailureClass::Transient, "it is busy"));
    let ran = run(spec(101), Lie::new(step, 4, fails), nothing(), nothing());
    assert_eq!((ran.end, ran.results.of(step).len()), (RunEnd::Failed, 3));
    assert!(matches!(&ran.stands[&ctid(101)], Stand::Stuck(Standing::Failed { .. })), "{:?}", ran.stands);
}

/// A crash says nothing about a step, but one that brings the host down each time would do so for ever.
#[test]
fn a_step_that_is_cut_off_for_ever_is_given_up() {
    let step = "configure.set";
    let cut_off = StepResult::Unknown { why: "the shim was killed".to_owned() };
    let ran = run(spec(101), nothing(), Lie::new(step, 40, cut_off), Lie::new(step, 40, StepResult::Absent));
    assert_eq!(ran.end, RunEnd::Failed);
    assert!(matches!(&ran.stands[&ctid(101)], Stand::Stuck(Standing::Quarantined(_))), "{:?}", ran.stands);
}

/// What was begun and what became of it, in order.
#[derive(Default)]
struct Told {
    begun: Vec<String>,
    ended: Vec<String>,
    stopping: Vec<bool>,
}

impl Observer for Told {
    fn observe(&mut self, progress: Progress<'_>) {
        match progress {
            Progress::Intended { intent, .. } => self.begun.push(format!("{} {}", intent.ctid, intent.step)),
            Progress::Recorded { fact: Fact::Outcome(outcome), .. } => {
                self.ended.push(format!("{} {} {}", outcome.ctid, outcome.step, outcome.result.name()));
            }
            Progress::Stopping { why, .. } => self.stopping.push(why.is_some()),
            Progress::Upgraded { .. }
            | Progress::Recorded { .. }
            | Progress::Settling { .. }
            | Progress::Waiting { .. }
            | Progress::Ended { .. } => {}
        }
    }
}

/// An `up` of 101 and 102 that once finds no space for `step` of 102, and the `resume` after it.
fn run_full(step: &'static str, slow: Option<Ctid>, jobs: usize) -> [Told; 2] {
    let directory = tempfile::tempdir().expect("a directory");
    let full = Some((ctid(102), Lie::new(step, 1, StepResult::Absent)));
    let host = Arc::new(Meddled { full, slow, ..Meddled::honest(directory.path()) });
    let (site, fleet) = (site(&host, directory.path()), "fleet".parse().expect("a name"));
    let (mut first, mut second) = (Told::default(), Told::default());
    let error = up(&site, None, &fleet, &wanted(vec![spec(101), spec(102)]), jobs, &Channel::new(), &mut first).expect_err("no space");
    assert!(matches!(error, RunError::Drive(DriveError::Turn(TurnError::Host(HostError::Full { .. })))), "{error:?}");
    let finished = resume(&site, None, jobs, &Channel::new(), &mut second).expect("a run");
    assert_eq!(finished.end, RunEnd::Done);
    [first, second]
}

/// One at a time, so that the first outcome goes into the journal together with the second container's intent.
#[test]
fn an_outcome_is_recorded_although_there_is_no_space_for_the_next_step() {
    let [first, second] = run_full("define.create", None, 1);
    assert_eq!(first.begun, ["101 define.create"]);
    assert_eq!(first.ended, ["101 define.create done"]);
    assert!(first.stopping.is_empty(), "nothing is in flight: {:?}", first.stopping);
    assert!(!second.begun.contains(&first.begun[0]), "it is done: {:?}", second.begun);
}

#[test]
fn what_is_under_way_ends_and_is_recorded_once_there_is_no_space_and_nothing_more_is_begun() {
    let [first, second] = run_full("define.mark", Some(ctid(101)), 2);
    assert_eq!(first.begun, ["101 define.create", "102 define.create"]);
    assert_eq!(first.ended, ["102 define.create done", "101 define.create done"]);
    assert_eq!(first.stopping, [true], "why it does not end at once is told");
    assert!(second.ended.iter().all(|ended| !ended.contains("define.create")), "nothing was left in doubt: {:?}", second.ended);
}

/// As where the shim is killed before it has begun, or the machine has no process to spare.
fn not_begun(times: u32) -> Lie {
    let why = "the shim ended before it began (signal: 9 (SIGKILL))";
    Lie::new("feature.apply[base]", times, StepResult::Failed(Failure::new(FailureClass::Transient, why)))
}

#[test]
fn a_script_that_was_not_begun_has_not_used_its_one_attempt() {
    let ran = run(spec(101), not_begun(2), nothing(), nothing());
    assert_eq!(ran.end, RunEnd::Done);
    let results = ran.results.of("feature.apply[base]");
    assert!(matches!(results, [StepResult::Failed(_), StepResult::Failed(_), StepResult::Done(_)]), "{results:?}");
}

#[test]
fn a_script_that_can_never_be_begun_is_given_up_with_the_reason() {
    let ran = run(spec(101), not_begun(40), nothing(), nothing());
    assert_eq!((ran.end, ran.results.of("feature.apply[base]").len()), (RunEnd::Failed, 3));
    let Stand::Stuck(Standing::Failed { failure, .. }) = &ran.stands[&ctid(101)] else { panic!("{:?}", ran.stands) };
    assert!(failure.message.contains("before it began"), "{failure:?}");
}
