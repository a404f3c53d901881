//! `pct` and its worker killed after each piece of what they do, one place after the other.
//!
//! The kills are ordered from the `pct` for tests, so that they come exactly there; what is killed at random is in
//! `random_kills`. Judged is what is left in the end: every container done, and nothing that a command left.

use phoenix_test_pct::Installed;
use serde_json::json;

use super::fleet::Fleet;
use super::ground::{Ground, Kind};
use super::processes::{Process, until};
use super::template::{Extra, packed};

/// How often a fleet is run again: a step whose `pct` is killed each time spends its budget.
const RUNS_MAX: usize = 5;
/// Who is killed: the worker, the `pct` that waits for it, both.
const WHO: [&str; 3] = ["kill-after", "kill-parent-after", "kill-both-after"];

fn order(pve: &Installed, command: &str, ctid: u32, fault: &str) {
    pve.fault(&format!("{command} {ctid} {fault}")).expect("ordered");
}

/// Runs Phoenix until all is well.
#[track_caller]
fn run_to_the_end(ground: &Ground, arguments: &[&str]) {
    let mut said = Vec::new();
    for _ in 0..RUNS_MAX {
        let one = ground.run(arguments);
        assert!([0, 1].contains(&one.code), "{}: {}", one.code, one.all());
        if one.code == 0 {
            return;
        }
        said.push(one.all());
    }
    panic!("it does not come to its end: {said:#?}\n{:#?}", ground.status());
}

/// Brings a fleet up through the faults that were ordered, judges it, and takes it down, through those that `for_down` orders.
#[track_caller]
fn check_up_and_down(ground: &Ground, why: &str, containers: usize, for_down: impl Fn(&Installed)) {
    let pve = ground.pve().expect("a node");
    let manifest = ground.path("fleet.json");
    run_to_the_end(ground, &["up", manifest.to_str().expect("plain")]);
    assert_eq!(pve.faults_left(), Vec::<String>::new(), "{why}: every kill came");
    let status = ground.status();
    assert!(status.iter().all(|one| one["state"] == "done" && one["standing"] == "active"), "{why}: {status:#?}");
    assert_eq!(ground.standing().len(), containers, "{why}: {:?}", ground.standing());
    assert_eq!(ground.left_by_commands(), Vec::<String>::new(), "{why}");
    for_down(pve);
    run_to_the_end(ground, &["down", "--all", "--yes"]);
    assert_eq!(pve.faults_left(), Vec::<String>::new(), "{why}: every kill came");
    assert_eq!((ground.standing(), ground.volumes()), (Vec::new(), Vec::new()), "{why}");
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(ground.lxc_path().to_str().expect("plain")), "{why}: {mounts}");
    ground.invariant_journal_is_clean();
}

#[test]
fn pct_killed_at_each_place_of_a_create_a_start_and_a_destroy_leaves_nothing_behind() {
    for who in WHO {
        let Some(ground) = Ground::on(Kind::Pct, 46) else { return };
        let pve = ground.pve().expect("a node");
        let mut fleet = Fleet::new(&ground);
        for (place, piece) in (0..).zip(["locked", "volume", "mount", "unpack", "write"]) {
            fleet = fleet.container(place, json!({}));
            order(pve, "create", ground.ctid(place), &format!("{who} {piece}"));
        }
        fleet.write();
        for (place, command, piece) in [(0, "start", "config"), (1, "start", "started"), (2, "stop", "locked"), (3, "stop", "stopped")] {
            order(pve, command, ground.ctid(place), &format!("{who} {piece}"));
        }
        check_up_and_down(&ground, who, 5, |pve| {
            for (place, piece) in [(0, "locked"), (1, "volumes"), (2, "destroyed")] {
                order(pve, "destroy", ground.ctid(place), &format!("{who} {piece}"));
            }
        });
    }
}

#[test]
fn pct_killed_at_each_place_of_a_clone_and_a_snapshot_leaves_nothing_behind() {
    for (storage, who) in WHO.into_iter().enumerate() {
        let Some(ground) = Ground::on(Kind::Pct, 47) else { return };
        let pve = ground.pve().expect("a node");
        let once = ground.script("once", "true");
        let mut fleet = Fleet::new(&ground);
        if storage != 1 {
            fleet = fleet.with_snapshots();
        }
        let with_snapshots = storage != 1;
        fleet
            .volume("data", json!({ "owner": { "uid": 0, "gid": 0 } }))
            .container(0, json!({ "features": [once] }))
            .container(1, json!({ "clone_from": 0 }))
            .container(2, json!({ "clone_from": 0 }))
            .container(3, json!({ "snapshot_before_volumes": with_snapshots, "volumes": [{ "volume": "data", "at": "/data" }] }))
            .write();
        for piece in ["locks", "volume", "config"] {
            order(pve, "clone", ground.ctid(0), &format!("{who} {piece}"));
        }
        if with_snapshots {
            // The source is running, and frozen for a moment.
            order(pve, "snapshot", ground.ctid(0), &format!("{who} freeze"));
            order(pve, "snapshot", ground.ctid(3), &format!("{who} prepare"));
            order(pve, "snapshot", ground.ctid(3), &format!("{who} volume"));
            order(pve, "delsnapshot", ground.ctid(0), &format!("{who} prepare"));
        }
        check_up_and_down(&ground, who, 4, |_| {});
    }
}

/// The repair of a create that was cut off unlocks and destroys; here it is cut off itself, with Phoenix, at each place.
#[test]
fn a_repair_that_is_cut_off_with_phoenix_is_taken_again() {
    let Some(ground) = Ground::on(Kind::Pct, 51) else { return };
    let pve = ground.pve().expect("a node");
    let mut fleet = Fleet::new(&ground);
    for (place, (command, fault)) in (0..).zip([
        ("unlock", "kill-after begin"),
        ("destroy", "hang 20s"),
        ("destroy", "hang-after volumes 20s"),
        ("destroy", "hang-after destroyed 20s"),
    ]) {
        fleet = fleet.container(place, json!({}));
        order(pve, "create", ground.ctid(place), "kill-both-after unpack");
        order(pve, command, ground.ctid(place), fault);
    }
    fleet.write();
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the faults", || pve.faults_left().is_empty().then_some(()));
    super::processes::pause(500);
    phoenix.kill();
    // What has no result after that is what a power cut leaves.
    ground.crash_host(0);
    check_up_and_down(&ground, "cut off", 4, |_| {});
}

/// Of a killed `tar` `lxc-usernsexec` says nothing, and so `pct create` ends well.
#[test]
fn a_create_whose_unpacking_was_killed_is_not_taken_for_whole() {
    let Some(ground) = Ground::on(Kind::Pct, 50) else { return };
    packed(&ground.template(), &[Extra::Bulk("srv/bulk", 24 << 20), Extra::File("srv/last", b"whole\n")]);
    Fleet::new(&ground).container(0, json!({})).write();
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    let unpacks = |one: &Process| one.argv.first().is_some_and(|name| name == "tar") && one.argv.iter().any(|word| word == "--totals");
    until("the unpacking", || ground.processes().into_iter().find(unpacks)).kill();
    let said = phoenix.wait();
    assert_eq!(said.code, 0, "{}", said.all());
    let steps: Vec<String> = ["define.create", "define.create.repair"]
        .iter()
        .flat_map(|step| ground.intents_of(0, step))
        .map(|intent| intent.step.to_string())
        .collect();
    assert_eq!(steps, ["define.create", "define.create", "define.create.repair"], "{}", said.all());
    assert_eq!(ground.inside(0, &["cat", "/srv/last"]), (0, "whole\n".to_owned()));
    assert_eq!((ground.standing().len(), ground.left_by_commands()), (1, Vec::new()));
    ground.invariant_journal_is_clean();
}
