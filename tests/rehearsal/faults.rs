//! One fault at every piece of every operation, alone and with a crash at a later point: what is run again comes to the same world.
//!
//! Apart from the crashes, which come between pieces and leave the host as it is: a fault is an answer, the engine has to judge it,
//! and what was half done may be taken again in the same run. Which pieces there are is what a run that nothing disturbs passes.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use phoenix::engine::Dice;
use phoenix::host::sim::{Fault, Faults, Fingerprint, What, When, Where, World, WorldOptions};
use phoenix::ids::{Ctid, Step, StepId};
use phoenix::machine::{RunCommand, RunEnd};
use phoenix::plan::Doubt;
use phoenix::rehearse::{Crash, CrashKind, Ended, Guide, Place, Point, Stage};
use phoenix_journal::Digest;

use super::fleets::{proxmox_trio, trio, wanted};
use super::invariants::{history, invariant_snapshots_are_released, invariants};
use super::{Count, JOBS, Silent, Spec};

const SEED: u64 = 21;
/// How often a command is given until it finds nothing to do: once for what failed, once more for what that left, once to see.
const RUNS_MAX: usize = 4;

/// Whatever may pass by itself or be mended by the next `up`.
const KINDS: [(&str, What); 4] =
    [("transient", What::Transient), ("hang", What::Hang), ("disk_full", What::DiskFull), ("permanent", What::Permanent)];

/// Before which piece of which operation: with as many as it has, after all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Spot {
    ctid: Ctid,
    step: StepId,
    done: u8,
    of: u8,
}

impl Spot {
    fn fault(&self, what: What) -> Fault {
        let when = if self.done == self.of { When::After } else { When::Piece(self.done + 1) };
        Fault { ctid: Some(self.ctid), step: Where::Step(self.step.clone()), attempt: Some(1), when, what }
    }

    /// Whether the next thing to come is what lies at this spot.
    fn is_next(&self, (ctid, step, place): (Ctid, &StepId, Place)) -> bool {
        let done = self.done.min(self.of - 1);
        ctid == self.ctid && *step == self.step && place == Place::Inside { done, of: self.of }
    }
}

/// Every spot that a run passes.
#[derive(Default)]
struct Spots(BTreeSet<Spot>);

impl Guide for Spots {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        for (ctid, step, place) in point.places.iter() {
            if let Place::Inside { done, of } = place {
                self.0.insert(Spot { ctid, step: step.clone(), done, of });
                // What is found to be done already ends before its first piece.
                if done > 0 && done + 1 == of {
                    self.0.insert(Spot { ctid, step: step.clone(), done: of, of });
                }
            }
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// Takes along what a crash of each sort leaves at one of the points that come after the fault, each as likely as any other.
struct After<'a> {
    spot: &'a Spot,
    dice: Dice,
    passed: u64,
    wrecks: Vec<(Crash, Stage)>,
}

impl Guide for After<'_> {
    fn at_point(&mut self, point: &Point<'_>) -> Option<CrashKind> {
        if self.passed > 0 || point.places.iter().any(|place| self.spot.is_next(place)) {
            self.passed += 1;
            if self.dice.number().is_multiple_of(self.passed) {
                point.read_so_far();
                let [shims, children, nobody, host] = CrashKind::ALL;
                let process = [shims, children, nobody][usize::try_from(self.dice.number() % 3).expect("small")];
                self.wrecks = [process, host].map(|kind| (Crash { point: point.number, kind }, point.wreck(kind))).into();
            }
        }
        None
    }

    fn settled(&mut self, _: &Doubt, _: &'static str) {}
}

/// A fleet, what is done to it, and what that comes to if nothing disturbs it.
struct Case {
    name: &'static str,
    specs: Vec<Spec>,
    command: RunCommand,
    spots: BTreeSet<Spot>,
    wanted: Fingerprint,
}

impl Case {
    fn new(name: &'static str, specs: Vec<Spec>, command: RunCommand) -> Self {
        let wanted = World::new(WorldOptions::seeded(SEED)).fingerprint();
        let mut case = Self { name, specs, command, spots: BTreeSet::new(), wanted };
        let (mut stage, mut spots) = (case.stage(Faults::default()), Spots::default());
        let ended = stage.run(command, &mut spots, &mut Silent).expect("a run");
        assert!(matches!(ended, Ended::Run { end: RunEnd::Done, .. }), "{ended:?}");
        assert!(!history(&stage).iter().any(|line| line.contains(" failed")), "{:#?}", history(&stage));
        case.spots = spots.0;
        case.wanted = stage.world.fingerprint();
        case
    }

    /// Without the pieces that the other has as well; a source that runs is copied by the same ones, and is another case.
    fn beside(mut self, other: &Self) -> Self {
        self.spots.retain(|spot| spot.step.step == Step::DefineClone || !other.spots.contains(spot));
        self
    }

    /// The stage on which the command is given.
    fn stage(&self, faults: Faults) -> Stage {
        let world = World::new(WorldOptions { faults, ..WorldOptions::seeded(SEED) });
        let mut stage = Stage::new(world, "fleet".parse().expect("a name"), wanted(self.specs.clone()), JOBS, SEED).expect("a stage");
        if self.command == RunCommand::Down {
            stage.up(None, &mut Silent).expect("a run");
        }
        stage
    }

    /// With this fault, alone and with each crash after it.
    fn play(&self, spot: &Spot, what: &What, tally: &mut Tally) {
        let fault = spot.fault(what.clone());
        let mut stage = self.stage(Faults { planned: vec![fault.clone()], ..Faults::default() });
        // Of the fault itself: what else is played has no say in where the crash comes.
        let dice = Dice::new(Digest::of(format!("{fault:?}").as_bytes()).as_bytes()[..16].try_into().expect("sixteen"));
        let mut after = After { spot, dice, passed: 0, wrecks: Vec::new() };
        let told = Told(format!("{} {:?} seed={SEED} {fault:?}", self.name, self.command));
        stage.run(self.command, &mut after, &mut Silent).expect("a run");
        // Half-done, it says so instead: that leads to a repair.
        let came = ["failed", "partial"].map(|result| format!("container {}: outcome {} {result}", spot.ctid, spot.step));
        if !history(&stage).iter().any(|line| came.iter().any(|came| line.contains(came))) {
            tally.wrong.push(format!("{}: it never came", told.0));
        }
        tally.alone += 1;
        tally.wrong.extend(self.wrong(&mut stage).map(|why| format!("{}: {why}", told.0)));
        for (crash, mut wreck) in after.wrecks {
            let told = Told(format!("{} then {crash}", told.0));
            if self.command == RunCommand::Up {
                wreck.resume(None, &mut Silent).expect("a run");
            }
            tally.crashed += 1;
            tally.wrong.extend(self.wrong(&mut wreck).map(|why| format!("{}: {why}", told.0)));
        }
    }

    /// What is wrong once the command was given until it finds nothing to do.
    fn wrong(&self, stage: &mut Stage) -> Option<String> {
        let mut run = |observer: &mut Count| match self.command {
            RunCommand::Down => stage.down(None, observer).expect("a run"),
            RunCommand::Up | RunCommand::Resume | RunCommand::Retry | RunCommand::Rebuild => stage.up(None, observer).expect("a run"),
        };
        let mut last = None;
        for _ in 0..RUNS_MAX {
            let mut count = Count::default();
            let ended = run(&mut count);
            let rests = count.intents == 0 && matches!(ended, Ended::Run { end: RunEnd::Done, .. });
            last = (!rests).then_some(ended);
            if rests {
                break;
            }
        }
        invariants(stage);
        invariant_snapshots_are_released(stage);
        let differences = stage.world.fingerprint().differences(&self.wanted);
        let well = last.is_none() && differences.is_empty();
        (!well).then(|| format!("it goes on ({last:?}), and {differences:#?}\n{:#?}", history(stage)))
    }
}

/// Says what was being played if an invariant does not hold.
struct Told(String);

impl Drop for Told {
    #[expect(clippy::print_stderr, reason = "it belongs to the panic")]
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("while playing {}", self.0);
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    alone: usize,
    crashed: usize,
    wrong: Vec<String>,
}

#[test]
fn a_fault_at_any_piece_alone_or_with_a_crash_after_it_changes_nothing_in_the_end() {
    let plain = Case::new("trio", trio(), RunCommand::Up);
    let live = Case::new("proxmox_trio", proxmox_trio(), RunCommand::Up).beside(&plain);
    let cases = [plain, live, Case::new("proxmox_trio", proxmox_trio(), RunCommand::Down)];
    let play = |what: &What| {
        let mut tally = Tally::default();
        for case in &cases {
            case.spots.iter().for_each(|spot| case.play(spot, what, &mut tally));
        }
        tally
    };
    let played: BTreeMap<&str, Tally> = thread::scope(|scope| {
        let threads = KINDS.map(|(name, what)| (name, scope.spawn(move || play(&what))));
        threads.into_iter().map(|(name, thread)| (name, thread.join().expect("every invariant holds"))).collect()
    });
    for (kind, Tally { alone, crashed, wrong }) in &played {
        tell(&format!("kind={kind} alone={alone} with_crash={crashed} diverged={}", wrong.len()));
        assert!(*alone > 0 && *crashed > 0, "no {kind} was tried");
    }
    let wrong: Vec<&String> = played.values().flat_map(|tally| &tally.wrong).collect();
    if let Some(first) = wrong.iter().min_by_key(|told| told.len()) {
        panic!("{} diverged, the shortest is {first}", wrong.len());
    }
}

#[expect(clippy::print_stdout, reason = "counts are published from the test's output")]
fn tell(figures: &str) {
    println!("rehearsed: faults {figures}");
}
