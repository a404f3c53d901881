//! Ctrl-C once, Ctrl-C twice, and a second terminal.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use super::fleet::{Fleet, wait_for_gate};
use super::ground::{Ground, Kind, Working};
use super::processes::{Process, now, pause, until};

/// Phoenix at work on a container whose script waits for its gate, with another script to come.
fn at_work(ground: &Ground) -> Working {
    ground.script("gated", &wait_for_gate("go"));
    ground.script("after", "true");
    Fleet::new(ground).container(0, json!({ "features": ["scripts/gated.sh", "scripts/after.sh"] })).write();
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["up", manifest.to_str().expect("plain")]);
    until("the script's start", || (ground.starts(0, "gated") == 1).then_some(()));
    phoenix
}

#[track_caller]
fn check_finished(ground: &Ground) {
    assert_eq!((ground.starts(0, "gated"), ground.starts(0, "after")), (1, 1));
    assert_eq!(ground.intents_of(0, "feature.apply[gated]").len(), 1, "it was not begun again");
    assert_eq!(ground.status()[0]["state"], "done");
    ground.invariant_journal_is_clean();
}

fn ctrl_c_once_finishes_the_steps_in_flight_and_begins_no_other(kind: Kind) {
    let Some(ground) = Ground::on(kind, 14) else { return };
    for signal in [Signal::INT, Signal::TERM] {
        let mut phoenix = at_work(&ground);
        phoenix.signal(signal);
        until("its word", || phoenix.stderr().contains("stopping").then_some(()));
        pause(300);
        assert!(!phoenix.has_ended(), "the step in flight is waited for: {}", phoenix.stderr());
        ground.open_gate(0, "go");
        let said = phoenix.wait();
        assert_eq!(said.code, 130, "{}", said.stderr);
        assert_eq!(ground.starts(0, "after"), 0, "no other was begun");
        let status = ground.json(&["status"]);
        assert_eq!(status["fleets"][0]["run"]["state"], "interrupted", "{status:#}");
        assert_eq!(status["fleets"][0]["containers"][0]["in_doubt"], false, "{status:#}");
        ground.resume(0);
        check_finished(&ground);
        ground.down(0);
    }
}

fn ctrl_c_twice_leaves_at_once_and_the_shim_goes_on(kind: Kind) {
    let Some(ground) = Ground::on(kind, 16) else { return };
    let phoenix = at_work(&ground);
    phoenix.signal(Signal::INT);
    pause(100);
    let from = now();
    phoenix.signal(Signal::INT);
    let said = phoenix.wait();
    assert!(from.elapsed() < Duration::from_secs(5), "it left after {:?}", from.elapsed());
    assert_eq!(said.code, 130, "{}", said.stderr);
    assert!(said.stderr.contains(&ground.ctid(0).to_string()), "it says what goes on: {}", said.stderr);
    assert!(ground.processes().iter().any(Process::is_shim), "the shim goes on");
    ground.open_gate(0, "go");
    ground.resume(0);
    check_finished(&ground);
}

#[test]
fn a_second_terminal_is_told_who_is_at_work_and_may_look() {
    let Some(ground) = Ground::new(17) else { return };
    let mut phoenix = at_work(&ground);
    let manifest = ground.path("fleet.json");
    for arguments in [vec!["up", manifest.to_str().expect("plain")], vec!["resume"], vec!["down", "--all", "--yes"]] {
        let refused = ground.ends(4, &arguments);
        assert!(refused.stderr.contains(&phoenix.pid().to_string()), "who is at work is named: {}", refused.stderr);
        assert!(refused.stderr.contains("phoenix") && refused.stderr.contains("up"), "its command is named: {}", refused.stderr);
    }
    let status = ground.json(&["status"]);
    assert_eq!(status["writer"]["pid"], json!(phoenix.pid()), "{status:#}");
    assert_eq!(status["fleets"][0]["run"]["state"], "running", "{status:#}");
    let container = &status["fleets"][0]["containers"][0];
    assert_eq!((container["step"].as_str(), container["in_doubt"].as_bool()), (Some("feature.apply[gated]"), Some(false)), "{container:#}");
    for arguments in [vec!["history"], vec!["explain", &ground.ctid(0).to_string()], vec!["journal", "verify"]] {
        ground.ends(0, &arguments);
    }
    assert!(!phoenix.has_ended());
    ground.open_gate(0, "go");
    assert_eq!(phoenix.wait().code, 0);
    check_finished(&ground);
}

on_each_host! {
    ctrl_c_once_finishes_the_steps_in_flight_and_begins_no_other
    ctrl_c_twice_leaves_at_once_and_the_shim_goes_on
}
