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
mod same;
mod search;
mod slips;

use fleets::{cloned, depending, mounted, on_proxmox, spec, wanted, with_snapshot};
use host::Host;
use node::{Budget, Fleet, Node};
use phoenix::manifest::Spec;
use search::{Model, Step, Violation, explore};
use slips::Slip;

/// A fleet to be explored.
struct Exploration {
    fleet: Fleet,
    budget: Budget,
    /// Whether sources can be copied while they go on.
    copies_live: bool,
    slip: Option<Slip>,
    /// Whether each situation is compared with what the product itself makes of it.
    compares: bool,
}

impl Model for Exploration {
    type State = Node;

    fn beginning(&self) -> Node {
        let host = Host::new(self.fleet.wanted.keys().copied(), self.copies_live, self.slip);
        Node::first(&self.fleet, host, self.budget).unwrap_or_else(|violation| panic!("{violation:?}"))
    }

    fn follow(&self, node: &Node) -> Vec<Step<Node>> {
        moves::follow(&self.fleet, node)
    }

    fn check(&self, node: &Node) -> Result<(), Violation> {
        invariants::of_situation(&self.fleet, node, self.budget)?;
        if self.compares { same::as_in_the_product(node) } else { Ok(()) }
    }

    fn is_end(&self, node: &Node) -> bool {
        matches!(node.phase, node::Phase::Ended(..))
    }

    fn print(&self, node: &Node) -> String {
        print::print(node)
    }
}

fn exploration(specs: Vec<Spec>, budget: Budget) -> Exploration {
    Exploration { fleet: Fleet { wanted: wanted(specs.clone()), specs }, budget, copies_live: false, slip: None, compares: false }
}

fn budget(failures: u32, crashes: u32, meddlers: u32, jobs: usize) -> Budget {
    Budget { failures, crashes, meddlers, downs: 0, ups: 0, jobs }
}

/// With a person who says `down` once.
fn and_down(budget: Budget) -> Budget {
    Budget { downs: 1, ..budget }
}

/// With a person who says `down` once, and one who says `up` once more.
fn and_up_again(budget: Budget) -> Budget {
    Budget { ups: 1, ..and_down(budget) }
}

/// No script and no check: fewer steps, where others are of interest.
fn slim(mut spec: Spec) -> Spec {
    spec.features.clear();
    spec.health.clear();
    spec
}

/// A container, its clone, and one that waits for the clone.
fn trio() -> Vec<Spec> {
    vec![slim(spec(100)), slim(cloned(spec(101), 100)), slim(depending(spec(102), 101))]
}

fn is_full() -> bool {
    std::env::var("PHOENIX_TEST_EXPLORE").is_ok_and(|value| value == "full")
}

#[track_caller]
fn check(name: &str, specs: &[Spec], short: &[Budget], full: &[Budget]) {
    check_on(false, name, specs, short, full);
}

/// On a host whose containers can be copied while they go on.
#[track_caller]
fn check_live(name: &str, specs: &[Spec], short: &[Budget], full: &[Budget]) {
    check_on(true, name, specs, short, full);
}

#[track_caller]
#[expect(clippy::print_stdout, reason = "the numbers are what is published")]
fn check_on(copies_live: bool, name: &str, specs: &[Spec], short: &[Budget], full: &[Budget]) {
    for &budget in if is_full() { full } else { short } {
        let Budget { failures, crashes, meddlers, downs, ups, jobs } = budget;
        let exploration = Exploration { copies_live, ..exploration(specs.to_vec(), budget) };
        let explored = explore(&exploration).unwrap_or_else(|found| panic!("{name}: {found}"));
        println!(
            "explored: fleet={name} failures={failures} crashes={crashes} meddlers={meddlers} downs={downs} ups={ups} jobs={jobs} {explored}"
        );
    }
}

#[test]
fn one_container() {
    let specs = [mounted(spec(100), "media")];
    check("one", &specs, &[budget(0, 3, 0, 1), budget(1, 2, 0, 1)], &[budget(2, 3, 0, 1)]);
}

#[test]
fn one_container_and_people_at_the_host() {
    let specs = [mounted(spec(100), "media")];
    check("meddled", &specs, &[budget(1, 1, 1, 1)], &[budget(2, 2, 2, 1)]);
}

#[test]
fn one_container_that_goes_down() {
    let specs = [slim(mounted(spec(100), "media"))];
    let short = [budget(0, 1, 1, 1), budget(0, 0, 2, 1), budget(1, 1, 0, 1)];
    check("down", &specs, &short.map(and_down), &[budget(0, 1, 2, 1), budget(1, 1, 1, 1), budget(1, 2, 0, 1)].map(and_down));
}

#[test]
fn one_container_that_goes_down_and_comes_up_again() {
    let specs = [slim(mounted(spec(100), "media"))];
    let (short, full) = ([budget(0, 1, 0, 1), budget(0, 0, 1, 1)], [budget(0, 1, 1, 1), budget(1, 1, 0, 1), budget(0, 0, 2, 1)]);
    check("again", &specs, &short.map(and_up_again), &full.map(and_up_again));
}

#[test]
fn a_container_and_one_that_waits_for_it_go_down() {
    let specs = [slim(spec(100)), slim(depending(spec(101), 100))];
    check("dependency down", &specs, &[and_down(budget(0, 1, 0, 2))], &[and_up_again(budget(0, 1, 0, 2)), and_down(budget(1, 0, 1, 1))]);
}

#[test]
fn a_container_and_its_clone_go_down() {
    let specs = [slim(spec(100)), slim(cloned(spec(101), 100))];
    let full = [and_down(budget(0, 1, 1, 1)), and_down(budget(1, 1, 0, 1)), and_up_again(budget(0, 1, 0, 1))];
    check("clone down", &specs, &[and_down(budget(0, 1, 0, 2))], &full);
}

#[test]
fn a_source_that_goes_on_running_and_its_clone_go_down() {
    let specs = [slim(spec(100)), slim(cloned(spec(101), 100))];
    let full = [and_down(budget(0, 1, 1, 1)), and_down(budget(1, 1, 0, 1)), and_up_again(budget(0, 1, 0, 1))];
    check_live("live down", &specs, &[and_down(budget(0, 1, 0, 1))], &full);
}

#[test]
fn a_container_with_everything_that_only_proxmox_has_goes_down() {
    let specs = [with_snapshot(on_proxmox(slim(mounted(spec(100), "media"))))];
    let full = [and_down(budget(1, 1, 1, 1)), and_up_again(budget(0, 1, 0, 1))];
    check_live("proxmox down", &specs, &[and_down(budget(0, 1, 0, 1))], &full);
}

#[test]
fn a_container_and_one_that_waits_for_it() {
    let specs = [spec(100), slim(depending(spec(101), 100))];
    check("dependency", &specs, &[budget(0, 1, 0, 2), budget(1, 1, 0, 1)], &[budget(1, 1, 0, 2), budget(0, 3, 0, 2)]);
}

#[test]
fn a_container_and_its_clone() {
    let specs = [spec(100), slim(cloned(spec(101), 100))];
    check("clone", &specs, &[budget(0, 2, 0, 2), budget(1, 1, 0, 1)], &[budget(1, 1, 0, 2), budget(0, 3, 0, 2)]);
}

#[test]
fn a_container_and_two_clones() {
    let specs = [slim(spec(100)), slim(cloned(spec(101), 100)), slim(cloned(spec(102), 100))];
    check("clones", &specs, &[budget(0, 1, 0, 1)], &[budget(1, 0, 0, 2), budget(0, 2, 0, 2)]);
}

#[test]
fn a_container_its_clone_and_one_that_waits() {
    check("trio", &trio(), &[budget(0, 1, 0, 2)], &[budget(1, 0, 0, 3), budget(0, 1, 0, 3)]);
}

#[test]
fn a_container_with_everything_that_only_proxmox_has() {
    let specs = [with_snapshot(on_proxmox(slim(mounted(spec(100), "media"))))];
    check_live("proxmox", &specs, &[budget(0, 2, 0, 1), budget(1, 1, 0, 1)], &[budget(1, 2, 1, 1)]);
}

#[test]
fn a_source_that_goes_on_running_and_its_clone() {
    let specs = [slim(spec(100)), slim(cloned(spec(101), 100))];
    check_live("live", &specs, &[budget(0, 1, 0, 2), budget(1, 1, 0, 1)], &[budget(1, 1, 0, 2), budget(0, 2, 0, 2), budget(1, 1, 1, 1)]);
}

#[test]
fn a_source_that_goes_on_running_and_two_clones() {
    let specs = [slim(spec(100)), slim(cloned(spec(101), 100)), slim(cloned(spec(102), 100))];
    check_live("live clones", &specs, &[budget(0, 1, 0, 1), budget(1, 0, 0, 2)], &[budget(1, 1, 0, 1), budget(0, 1, 0, 2)]);
}

#[test]
fn what_is_explored_is_the_product() {
    let compared = |specs: Vec<Spec>, budget| Exploration { compares: true, ..exploration(specs, budget) };
    for exploration in [compared(vec![mounted(spec(100), "media")], budget(0, 1, 0, 1)), compared(trio(), budget(0, 0, 0, 3))] {
        explore(&exploration).unwrap_or_else(|found| panic!("{found}"));
    }
}

/// A mistake made on purpose is found, and by the invariant that is there for it.
#[track_caller]
fn check_fails(specs: Vec<Spec>, budget: Budget, slip: Slip, invariant: &str) {
    let slipped = Exploration { slip: Some(slip), ..exploration(specs, budget) };
    match explore(&slipped) {
        Ok(explored) => panic!("{slip:?} was not noticed in {explored}"),
        Err(found) => assert_eq!(found.violation.invariant, invariant, "{found}"),
    }
}

#[test]
fn a_result_that_is_forgotten_leads_to_a_start_that_nothing_explains() {
    check_fails(vec![spec(100)], budget(0, 1, 0, 1), Slip::ForgetsResults, "invariant_script_starts_are_explained");
}

#[test]
fn a_host_that_does_not_look_at_marks_touches_strangers() {
    check_fails(vec![spec(100)], budget(0, 1, 1, 1), Slip::BlindToMarks, "invariant_foreign_untouched");
}

#[test]
fn a_host_that_does_not_wait_for_a_child_lets_another_in() {
    check_fails(vec![spec(100)], budget(0, 1, 0, 1), Slip::IgnoresLocks, "invariant_no_two_mutators");
}

#[test]
fn a_probe_that_answers_too_soon_leaves_a_container_undone() {
    check_fails(vec![mounted(spec(100), "media")], budget(0, 1, 0, 1), Slip::AttachesInWordsOnly, "invariant_done_means_done");
}

#[test]
fn a_report_that_is_lost_is_waited_for_for_ever() {
    check_fails(vec![spec(100)], budget(0, 0, 0, 1), Slip::LosesReports, search::ALWAYS_ENDS);
}

#[test]
fn a_journal_that_loses_what_it_acknowledged_is_found_out() {
    check_fails(vec![spec(100)], budget(0, 1, 0, 1), Slip::LosesCommits, "invariant_acknowledged_is_durable");
}

#[test]
fn a_volume_is_not_attached_where_no_map_exists() {
    check_fails(vec![mounted(spec(100), "media")], budget(0, 0, 0, 1), Slip::MapsNothing, "invariant_volumes_follow_finalization");
}

#[track_caller]
fn check_live_fails(slip: Slip, invariant: &str) {
    let specs = vec![slim(spec(100)), slim(cloned(spec(101), 100))];
    let slipped = Exploration { copies_live: true, slip: Some(slip), ..exploration(specs, budget(0, 0, 0, 2)) };
    match explore(&slipped) {
        Ok(explored) => panic!("{slip:?} was not noticed in {explored}"),
        Err(found) => assert_eq!(found.violation.invariant, invariant, "{found}"),
    }
}

#[test]
fn a_source_that_is_stopped_for_its_snapshot_is_noticed() {
    check_live_fails(Slip::StopsForSnapshots, "invariant_a_live_source_keeps_running");
}

#[test]
fn a_snapshot_that_is_left_is_noticed() {
    check_live_fails(Slip::KeepsSnapshots, "invariant_snapshots_are_released");
}

#[test]
fn a_source_that_stays_up_is_not_copied() {
    check_fails(vec![spec(100), cloned(spec(101), 100)], budget(0, 0, 0, 2), Slip::HoldsInWordsOnly, "invariant_held_source_stays_down");
}
