//! The engine explored to the last state: small fleets, every order in which things can come out, every failure, every crash,
//! every recovery, against named invariants.
//!
//! The engine, the machine and the journal's guards are the real ones; the host is abstract. Each test prints how much there
//! was (`--nocapture`). `PHOENIX_TEST_EXPLORE=full` lifts the bounds that keep this short. Not here: real time, disks and
//! processes (`rehearsal`, `real`).

#[path = "../fleets/mod.rs"]
mod fleets;
mod host;
mod invariants;
mod look;
mod moves;
mod node;
mod print;
mod search;
mod slips;

use fleets::{cloned, depending, mounted, spec, wanted};
use host::Host;
use node::{Budget, Fleet, Node};
use phoenix::manifest::Spec;
use search::{Explored, Found, Model, Step, Violation, explore};
use slips::Slip;

/// A fleet to be explored.
struct Exploration {
    fleet: Fleet,
    budget: Budget,
    slip: Option<Slip>,
}

impl Model for Exploration {
    type State = Node;

    fn beginning(&self) -> Node {
        let host = Host::new(self.fleet.wanted.keys().copied(), self.slip);
        Node::first(&self.fleet, host, self.budget).unwrap_or_else(|violation| panic!("{violation:?}"))
    }

    fn follow(&self, node: &Node) -> Vec<Step<Node>> {
        moves::follow(&self.fleet, node)
    }

    fn check(&self, node: &Node) -> Result<(), Violation> {
        invariants::of_situation(&self.fleet, node)
    }

    fn is_end(&self, node: &Node) -> bool {
        matches!(node.phase, node::Phase::Ended(..))
    }

    fn print(&self, node: &Node) -> String {
        print::print(node)
    }
}

fn exploration(specs: Vec<Spec>, budget: Budget, slip: Option<Slip>) -> Exploration {
    Exploration { fleet: Fleet { wanted: wanted(specs.clone()), specs }, budget, slip }
}

fn is_full() -> bool {
    std::env::var("PHOENIX_TEST_EXPLORE").is_ok_and(|value| value == "full")
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the numbers are what is published")]
fn check(name: &str, specs: Vec<Spec>, short: Budget, full: Budget) -> Explored {
    let budget = if is_full() { full } else { short };
    let Budget { failures, crashes, meddlers, jobs } = budget;
    match explore(&exploration(specs, budget, None)) {
        Ok(explored) => {
            println!("explored: fleet={name} failures={failures} crashes={crashes} meddlers={meddlers} jobs={jobs} {explored}");
            explored
        }
        Err(found) => panic!("{name}: {found}"),
    }
}

fn budget(failures: u32, crashes: u32, meddlers: u32, jobs: usize) -> Budget {
    Budget { failures, crashes, meddlers, jobs }
}

#[test]
fn one_container() {
    check("one", vec![mounted(spec(100), "media")], budget(1, 1, 0, 1), budget(3, 2, 0, 1));
}

#[test]
fn a_container_and_one_that_waits_for_it() {
    check("dependency", vec![spec(100), depending(spec(101), 100)], budget(1, 1, 0, 2), budget(2, 2, 0, 2));
}

#[test]
fn a_container_and_its_clone() {
    check("clone", vec![spec(100), cloned(spec(101), 100)], budget(1, 1, 0, 2), budget(2, 2, 0, 2));
}

#[test]
fn a_container_its_clone_and_one_that_waits() {
    let specs = vec![spec(100), cloned(spec(101), 100), depending(spec(102), 100)];
    check("trio", specs, budget(0, 1, 0, 3), budget(1, 1, 0, 3));
}

#[test]
fn one_container_and_people_at_the_host() {
    check("meddled", vec![mounted(spec(100), "media")], budget(0, 1, 1, 1), budget(1, 2, 2, 1));
}
