//! Two orchestrators, one journal, one container, explored to the last state: kills of either, of shims and of children
//! anywhere, `SIGSTOP` anywhere, the lock file removed, a second writer taking over, the first one continued.
//!
//! A model of `docs/protocol.md`; its rules stand in `rules`, each with the code that carries it out, and the journal's guards
//! are the real ones. Each test prints how much there was (`--nocapture`). `PHOENIX_TEST_EXPLORE=full` lifts the bounds. Not
//! here: real processes.

mod moves;
mod rules;
#[path = "../explore/search.rs"]
mod search;
mod world;

use phoenix_journal::{Body, DONE};
use rules::Broken;
use search::{Model, Step, Violation, explore};
use world::{At, Budget, Child, World};

struct Exploration {
    budget: Budget,
    broken: Option<Broken>,
}

impl Model for Exploration {
    type State = World;

    fn beginning(&self) -> World {
        World::new(self.budget)
    }

    fn follow(&self, world: &World) -> Vec<Step<World>> {
        moves::follow(world, self.broken)
    }

    fn check(&self, world: &World) -> Result<(), Violation> {
        invariant_no_two_mutators(world)?;
        invariant_epochs_never_go_back(world)?;
        invariant_what_is_called_done_is_done(world)
    }

    /// Nobody is at work: both are out, or stopped by somebody who has to say how it goes on.
    fn is_end(&self, world: &World) -> bool {
        let still = |(who, at): (&world::Who, &At)| *at == At::Out || world.stopped.contains(who);
        world.orchestrators.iter().all(still) && world.jobs.values().all(|job| !job.shim && job.child != Child::AtWork)
    }

    fn print(&self, world: &World) -> String {
        world.print()
    }
}

/// Never do two change the container at once, whoever they are.
fn invariant_no_two_mutators(world: &World) -> Result<(), Violation> {
    let mutators = world.mutators();
    if mutators.len() < 2 { Ok(()) } else { Err(Violation::new("invariant_no_two_mutators", search::listed(mutators))) }
}

/// No entry follows on one of a later epoch: who was overtaken writes nothing.
fn invariant_epochs_never_go_back(world: &World) -> Result<(), Violation> {
    if world.epochs.is_sorted() { Ok(()) } else { Err(Violation::new("invariant_epochs_never_go_back", format!("{:?}", world.epochs))) }
}

/// What the journal calls done was done, and stays so.
fn invariant_what_is_called_done_is_done(world: &World) -> Result<(), Violation> {
    for entry in world.entries.iter() {
        if let Body::Outcome { step, result, .. } = &entry.body
            && *result == DONE
            && !world.done.contains(&world::Step::of(step))
        {
            return Err(Violation::new("invariant_acknowledged_is_durable", format!("{step} is called done")));
        }
    }
    Ok(())
}

const SHORT: Budget = Budget { starts: 2, kills: 1, stops: 1, removals: 1 };
const FULL: Budget = Budget { starts: 3, kills: 1, stops: 1, removals: 1 };

#[test]
#[expect(clippy::print_stdout, reason = "the numbers are what is published")]
fn two_orchestrators_never_work_at_once_and_lose_nothing() {
    let is_full = std::env::var("PHOENIX_TEST_EXPLORE").is_ok_and(|value| value == "full");
    let budget = if is_full { FULL } else { SHORT };
    let Budget { starts, kills, stops, removals } = budget;
    match explore(&Exploration { budget, broken: None }) {
        Ok(explored) => {
            println!("explored: fleet=orchestrators starts={starts} kills={kills} stops={stops} removals={removals} {explored}");
        }
        Err(found) => panic!("{found}"),
    }
}

/// Without this rule, this invariant does not hold.
#[track_caller]
fn check_fails(broken: Broken, invariant: &str) {
    match explore(&Exploration { budget: SHORT, broken: Some(broken) }) {
        Ok(explored) => panic!("{broken:?} is not needed in {explored}"),
        Err(found) => assert_eq!(found.violation.invariant, invariant, "{found}"),
    }
}

#[test]
fn without_epochs_an_overtaken_writer_writes_on() {
    check_fails(Broken::Epochs, "invariant_epochs_never_go_back");
}

#[test]
fn without_the_containers_lock_a_verdict_is_overtaken() {
    check_fails(Broken::ContainerLock, "invariant_nothing_is_done_for_what_is_closed");
}

#[test]
fn without_tokens_a_script_is_started_beside_itself() {
    check_fails(Broken::Tokens, "invariant_no_two_mutators");
}

#[test]
fn without_results_a_script_that_succeeded_is_started_again() {
    check_fails(Broken::Results, "invariant_script_starts_are_explained");
}

#[test]
fn a_verdict_while_others_hold_the_lock_comes_too_soon() {
    check_fails(Broken::DoubtUnderLocks, "invariant_nothing_is_done_for_what_is_closed");
}
