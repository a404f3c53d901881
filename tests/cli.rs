//! The command line as a person meets it: whole outputs on the simulator, exit codes, JSON that parses.
//!
//! Times, ids and places are blotted out of the snapshots; the simulator's clock and durations are the same in every run
//! except where steps of several containers interleave, so fleets here are carried out one step at a time (`-j 1`).

mod support;

use phoenix::host::sim::Tamper;
use phoenix::ids::Ctid;
use serde_json::Value;
use support::{Ended, Stage};

fn ctid(number: u32) -> Ctid {
    Ctid::new(number).expect("in range")
}

/// A whole output: what was asked, how it ended, what it said.
macro_rules! shows {
    ($name:literal, $ended:expr) => {
        support::settings().bind(|| insta::assert_snapshot!($name, $ended.whole()));
    };
}

#[test]
fn up_brings_a_fleet_to_done_and_says_so() {
    let stage = Stage::with_fleet();
    shows!("up", stage.run(&["up", "fleet.json", "-j1"]));
    shows!("status_wide", stage.run(&["status"]));
    shows!("status_narrow", stage.env("COLUMNS", "40").run(&["status"]));
}

#[test]
fn up_again_writes_nothing() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let before = stage.run(&["journal", "export"]).out;
    shows!("up_again", stage.run(&["up", "fleet.json", "-j1"]));
    assert_eq!(stage.run(&["journal", "export"]).out, before, "a finished fleet costs no entry");
}

#[test]
fn a_failing_script_is_told_with_what_it_wrote_and_what_to_do() {
    let stage = Stage::with_fleet();
    let failing = stage.env("PHOENIX_SIM_FAULTS", r"102 feature.apply[base] exit 3 fetching\nE: \e[31mno such package");
    shows!("up_failed", failing.run(&["up", "fleet.json", "-j1"]));
    shows!("status_failed", stage.run(&["status", "102"]));
    shows!("explain_failed", stage.run(&["explain", "102"]));
    shows!("retry", stage.run(&["retry", "102"]));
    shows!("resume_after_retry", stage.run(&["resume"]));
    shows!("history_of_one", stage.run(&["history", "102"]));
}

#[test]
fn resume_leaves_a_failed_script_alone_and_up_tries_it_again() {
    let stage = Stage::with_fleet();
    stage.env("PHOENIX_SIM_FAULTS", "102 feature.apply[base] exit 1").run(&["up", "fleet.json", "-j1"]).ended(1);
    let told = stage.run(&["history", "102"]).out;
    stage.run(&["resume"]).ended(1);
    assert_eq!(stage.run(&["history", "102"]).out, told, "nothing was begun");
    stage.run(&["up", "fleet.json"]).well();
}

#[test]
fn a_container_removed_by_hand_is_quarantined_until_somebody_decides() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.tamper(&Tamper::Remove(ctid(102)));
    shows!("up_quarantined", stage.run(&["up", "fleet.json", "-j1"]));
    shows!("status_quarantined", stage.run(&["status", "--live"]));
    shows!("status_quarantined_narrow", stage.env("COLUMNS", "48").run(&["status"]));
    shows!("explain_quarantined", stage.run(&["explain", "102"]));
    shows!("plan_quarantined", stage.run(&["plan", "fleet.json"]));
    shows!("retry_recreate", stage.run(&["retry", "102", "--recreate"]));
    stage.run(&["resume"]).well();
    stage.run(&["journal", "verify"]).well();
}

/// Its file system was not mounted, or it had been moved away for a while: what was seen then is no reason to forget it now.
#[test]
fn a_container_that_is_back_goes_down_and_is_not_forgotten() {
    let taken_away: [fn(Ctid) -> Tamper; 3] = [Tamper::Remove, Tamper::Stranger, Tamper::Unmark];
    for taken_away in taken_away {
        let stage = Stage::with_fleet();
        stage.run(&["up", "fleet.json", "-j1"]).well();
        let world = stage.path().join("journal/journal.db.sim");
        let as_it_was = std::fs::read(&world).expect("a world");
        stage.tamper(&taken_away(ctid(102)));
        stage.run(&["up", "fleet.json", "-j1"]).ended(1);
        std::fs::write(&world, &as_it_was).expect("put back");
        stage.run(&["down", "102", "--yes"]).well();
        assert_eq!(stage.running(), [101]);
        let told = stage.run(&["history", "102"]).out;
        assert!(told.contains("down.destroy") && !told.contains("forgotten"), "{told}");
        stage.run(&["up", "fleet.json"]).well();
        stage.run(&["journal", "verify"]).well();
    }
}

#[test]
fn what_is_there_and_ours_is_not_forgotten() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    shows!("retry_recreate_refused", stage.run(&["retry", "101", "--recreate"]));
    shows!("retry_nothing", stage.run(&["retry", "101"]));
}

#[test]
fn a_failed_script_can_be_taken_as_done() {
    let stage = Stage::with_fleet();
    stage.env("PHOENIX_SIM_FAULTS", "102 feature.apply[base] exit 1").run(&["up", "fleet.json", "-j1"]).ended(1);
    shows!("retry_skip", stage.run(&["retry", "102", "--skip"]));
    stage.run(&["resume"]).well();
    stage.run(&["journal", "verify"]).well();
}

#[test]
fn a_plan_says_what_up_would_do() {
    let stage = Stage::with_fleet();
    shows!("plan", stage.run(&["plan", "fleet.json"]));
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.tamper(&Tamper::Stop(ctid(102)));
    shows!("plan_init_lost", stage.run(&["plan", "fleet.json", "--only", "102"]));
}

#[test]
fn down_lists_asks_and_destroys() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    shows!("down_without_terminal", stage.run(&["down", "101"]));
    shows!("down", stage.run(&["down", "101", "--yes"]));
    shows!("status_down", stage.run(&["status"]));
    stage.run(&["down", "--all", "--yes", "-j1"]).well();
    shows!("up_after_down", stage.run(&["up", "fleet.json", "-j1"]));
}

/// A clone goes on without its source, and a person may know better than the manifest.
#[test]
fn what_depends_on_a_container_that_was_taken_down_goes_on_after_a_boot() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let told = stage.run(&["down", "101", "--yes"]).well().whole();
    assert!(told.contains("warning: 102 web depends on 101 and stays"), "{told}");
    stage.reboot();
    stage.run(&["resume"]).well();
    assert_eq!(stage.running(), [102]);
}

#[test]
fn a_down_that_failed_is_not_resumed_once_an_up_has_followed() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.env("PHOENIX_SIM_FAULTS", "102 down.destroy permanent").run(&["down", "102", "--yes"]).ended(1);
    stage.run(&["up", "fleet.json"]).well();
    assert_eq!(stage.running(), [101, 102], "what was stopped is started again");
    let before = stage.run(&["journal", "export"]).out;
    stage.run(&["resume"]).well();
    assert_eq!(stage.run(&["journal", "export"]).out, before, "nothing is left to do");
}

#[test]
fn the_last_word_holds_even_if_nothing_was_to_be_done_for_it() {
    let stage = Stage::with_fleet();
    // An `up` that did not come to 102, then a `down` of what was never made.
    stage.interrupted_once().ended(130);
    stage.run(&["down", "102", "--yes"]).well();
    stage.run(&["resume"]).well();
    assert_eq!(stage.running(), [101]);
    // A `down` that did not come to 101, since 102 depends on it; then an `up` of 101, which is still there.
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.interrupted_at("down.stop", &["down", "--all", "--yes"]).ended(130);
    assert_eq!(stage.running(), [101]);
    stage.run(&["up", "fleet.json", "--only", "101"]).well();
    stage.run(&["resume"]).well();
    assert_eq!(stage.running(), [101]);
}

#[test]
fn check_reports_all_problems_at_once() {
    let stage = Stage::with_fleet();
    stage.write(
        "bad.json",
        r#"{
  "fleet": "home lab",
  "containers": {
    "101": { "hostname": "db", "template": "nowhere.tar", "memmory_mb": 5 },
    "99": { "hostname": "web", "template": "t.tar" },
    "102": { "hostname": "db", "template": "t.tar", "depends_on": ["105"] }
  }
}
"#,
    );
    shows!("check_bad", stage.run(&["check", "bad.json"]));
    shows!("check_good", stage.run(&["check", "fleet.json"]));
}

#[test]
fn containers_that_left_the_manifest_are_left_alone() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.write("fleet.json", r#"{ "fleet": "homelab", "containers": { "101": { "hostname": "db", "template": "t.tar", "features": ["s/base.sh"], "application": "s/app.sh", "health": [ { "name": "up", "command": ["true"] } ] } } }"#);
    shows!("up_left_alone", stage.run(&["up", "fleet.json", "-j1"]));
}

#[test]
fn help_names_every_command() {
    let stage = Stage::empty();
    shows!("help", stage.run(&["--help"]));
}

#[test]
fn what_can_be_generated_is_generated() {
    let stage = Stage::empty();
    let schema: Value = serde_json::from_str(&stage.run(&["schema"]).well().out).expect("a schema is JSON");
    assert!(schema.get("properties").is_some_and(|keys| keys.get("containers").is_some()), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        let completions = stage.run(&["completions", shell]).well().out;
        assert!(completions.contains("phoenix"), "{shell}");
    }
    assert!(stage.run(&["man"]).well().out.starts_with(".ie"), "a manual page is roff");
}

#[test]
fn whatever_has_data_has_it_as_json() {
    let stage = Stage::with_fleet();
    let one = |stage: &Stage, arguments: &[&str]| -> Value {
        let ended = stage.run(&[arguments, &["--json"]].concat());
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", ended.whole()))
    };
    assert_eq!(one(&stage, &["check", "fleet.json"])["problems"], Value::Array(Vec::new()));
    assert_eq!(one(&stage, &["plan", "fleet.json"])["containers"][0]["action"], "create");
    assert_eq!(one(&stage, &["status"])["fleets"], Value::Array(Vec::new()));
    let events = stage.env("PHOENIX_SIM_FAULTS", "102 feature.apply[base] exit 1").run(&["up", "fleet.json", "--json"]).ended(1);
    for line in events.out.lines() {
        let event: Value = serde_json::from_str(line).expect("each line is an event");
        for key in ["schema", "time", "ctid", "event", "step", "attempt", "state", "standing"] {
            assert!(event.get(key).is_some(), "{key} in {line}");
        }
    }
    let status = one(&stage, &["status"]);
    let container = &status["fleets"][0]["containers"][1];
    for key in ["ctid", "hostname", "state", "standing", "generation", "step", "in_doubt", "attempt", "since", "waiting_for", "quarantined"]
    {
        assert!(container.get(key).is_some(), "{key}");
    }
    assert_eq!(container["last_error"]["exit_status"], "exit 1");
    assert_eq!(status["verified"], true);
    assert_eq!(one(&stage, &["explain", "102"])["standing"], "failed");
    assert!(one(&stage, &["history"])["entries"].as_array().is_some_and(|entries| entries.len() > 20));
    assert_eq!(one(&stage, &["retry", "102"])["standing"], "failed");
    assert_eq!(one(&stage, &["journal", "verify"])["findings"], Value::Array(Vec::new()));
    for command in [&["resume", "--json"][..], &["down", "--all", "--yes", "--json"], &["journal", "export"]] {
        for line in stage.run(command).out.lines() {
            serde_json::from_str::<Value>(line).expect("one value a line");
        }
    }
}

#[test]
fn every_exit_code_can_be_met() {
    let stage = Stage::with_fleet();
    stage.env("PHOENIX_SIM_FAULTS", "102 feature.apply[base] exit 1").run(&["up", "fleet.json"]).ended(1);
    stage.run(&["up", "fleet.json"]).ended(0);
    stage.run(&["up"]).ended(2);
    stage.run(&["up", "absent.json"]).ended(2);
    stage.run(&["--host", "pct", "up", "fleet.json"]).ended(3);
    Stage::with_fleet().interrupted().ended(130);
    stage.write("journal/journal.db", "this is no journal");
    stage.run(&["status"]).ended(4);
}

#[test]
fn wrong_input_is_refused_and_nothing_panics() {
    let stage = Stage::with_fleet();
    let long = "9".repeat(4000);
    for arguments in [
        &["up", "/dev/null"][..],
        &["up", "."],
        &["up", "fleet.json", "-j", "0"],
        &["up", "fleet.json", "-j", "99999999999999999999"],
        &["up", "fleet.json", "--only", "105"],
        &["status", "12"],
        &["status", &long],
        &["explain", "\u{1b}[31m"],
        &["history", "999"],
        &["down"],
        &["down", "101", "--all"],
        &["down", "101"],
        &["retry", "101", "--skip", "--rerun"],
        &["retry", "101", "--step", "no.such.step"],
        &["resume"],
        &["resume", "--fleet", "no fleet"],
        &["--lxc-path", "relative", "status"],
        &["--journal", "", "status"],
        &["--host", "vmware", "status"],
        &["journal", "verify"],
        &["journal", "backup", "copy.db"],
        &["completions", "tcsh2"],
        &["nonsense"],
        &[],
    ] {
        let ended = stage.run(arguments);
        assert!(matches!(ended.code, 2), "{arguments:?}\n{}", ended.whole());
        assert!(!ended.err.contains("broke down"), "{arguments:?}\n{}", ended.whole());
        assert!(!ended.err.contains('\u{1b}'), "{arguments:?}\n{}", ended.whole());
    }
}

#[test]
fn a_closed_stdout_ends_quietly() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json"]).well();
    for arguments in [&["history"][..], &["status", "--json"], &["journal", "export"], &["schema"]] {
        let ended: Ended = stage.run_closed(arguments);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{arguments:?}");
    }
}

#[test]
fn a_killed_run_is_seen_as_interrupted_and_resumed() {
    let stage = Stage::with_fleet();
    stage.killed_in_the_middle();
    let status: Value = serde_json::from_str(&stage.run(&["status", "--json"]).well().out).expect("JSON");
    assert_eq!(status["fleets"][0]["run"]["state"], "interrupted");
    let containers = status["fleets"][0]["containers"].as_array().expect("a list").clone();
    assert!(containers.iter().any(|container| container["in_doubt"] == true), "{status}");
    stage.run(&["resume"]).well();
    stage.run(&["journal", "verify"]).well();
}

#[test]
fn what_is_in_doubt_is_settled_before_its_manifest_changes() {
    let stage = Stage::with_fleet();
    stage.killed_in_the_middle();
    stage.write("s/app.sh", "#!/bin/sh\necho mended\n");
    shows!("up_changed_in_doubt", stage.run(&["up", "fleet.json"]).ended(2));
    stage.run(&["resume"]).ended(0);
}

#[test]
fn a_manifest_that_asks_for_something_else_than_was_done_is_refused_key_by_key() {
    let stage = Stage::with_fleet();
    let fleet = std::fs::read_to_string(stage.path().join("fleet.json")).expect("a manifest");
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let more = r#""hostname": "web", "storage": "tank", "lxc_features": { "fuse": true }, "snapshot_before_volumes": true, "devices": ["/dev/fuse"],
        "hookscript": "local:snippets/x", "pool": "p", "tags": ["t"], "protection": true, "nameserver": "10.0.0.1", "searchdomain": "lan",
        "timezone": "UTC", "firewall": { "enable": false },"#;
    stage.write("fleet.json", &fleet.replace(r#""hostname": "web","#, more));
    shows!("up_changed", stage.run(&["up", "fleet.json", "-j1"]).ended(2));
    // What says nothing about a container that is made is no change.
    stage.write("fleet.json", &fleet.replace(r#""hostname": "web","#, r#""hostname": "web", "fetch_template": true,"#));
    stage.run(&["up", "fleet.json", "-j1"]).ended(0);
}

#[test]
fn a_first_signal_finishes_what_is_in_flight() {
    let stage = Stage::with_fleet();
    shows!("up_interrupted", stage.interrupted_once().ended(130));
    let status: Value = serde_json::from_str(&stage.run(&["status", "--json"]).well().out).expect("JSON");
    assert_eq!(status["fleets"][0]["run"]["state"], "interrupted");
    let containers = status["fleets"][0]["containers"].as_array().expect("a list").clone();
    assert!(containers.iter().all(|container| container["in_doubt"] == false), "{status}");
    stage.run(&["resume"]).well();
}

#[test]
fn a_second_signal_leaves_at_once_and_says_what_goes_on() {
    let stage = Stage::with_fleet();
    shows!("up_interrupted_twice", stage.interrupted().ended(130));
}

#[test]
fn a_second_writer_is_told_who_writes() {
    let stage = Stage::with_fleet();
    let ended = stage.while_up_is_running(|stage| stage.run(&["resume"]));
    shows!("locked", ended.ended(4));
}

#[test]
fn after_a_boot_a_status_says_that_it_is_not_verified() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.reboot();
    shows!("status_unverified", stage.run(&["status"]));
    stage.run(&["resume"]).well();
    let status: Value = serde_json::from_str(&stage.run(&["status", "--json"]).well().out).expect("JSON");
    assert_eq!(status["verified"], true);
}

#[test]
fn a_failure_at_each_boot_of_the_host_never_uses_up_what_a_step_may_fail() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    for attempt in [2, 4, 6, 8] {
        stage.reboot();
        stage.env("PHOENIX_SIM_FAULTS", &format!("101 run.start#{attempt} transient")).run(&["resume"]).well();
    }
    let told = stage.run(&["journal", "export"]).out;
    assert_eq!(told.matches("transient").count(), 4, "each was met");
}

#[test]
fn a_missing_mark_waits_for_a_person() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.tamper(&Tamper::Unmark(ctid(102)));
    shows!("up_mark_missing", stage.run(&["up", "fleet.json", "-j1"]));
    shows!("retry_remark", stage.run(&["retry", "102", "--remark"]));
    shows!("resume_remark", stage.run(&["resume"]).well());
    stage.run(&["up", "fleet.json"]).well();
}

#[test]
fn a_container_that_lost_its_mark_goes_down_once_a_person_has_looked() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage.tamper(&Tamper::Unmark(ctid(102)));
    stage.run(&["down", "102", "--yes"]).ended(1);
    stage.run(&["retry", "102", "--remark"]).well();
    stage.run(&["down", "102", "--yes"]).well();
}

#[test]
fn two_fleets_cannot_want_one_directory_for_two_owners() {
    let stage = Stage::with_fleet();
    stage.run(&["up", "fleet.json", "-j1"]).well();
    let other = std::fs::read_to_string(stage.path().join("fleet.json")).expect("a manifest");
    let other = other.replace("homelab", "other").replace("\"101\"", "\"201\"").replace("\"102\"", "\"202\"");
    stage.write("other.json", &other.replace("\"uid\": 1000", "\"uid\": 5"));
    for asked in ["up", "plan"] {
        let told = stage.run(&[asked, "other.json"]).ended(2).err;
        let wishes = "volume media of container 202 (fleet other) wants /srv/media to belong to 100005:101000 on the host";
        assert!(told.contains(wishes) && told.contains("of container 102 (fleet homelab)"), "{asked}: {told}");
    }
}

#[test]
fn the_doctor_looks_where_no_host_can_be_made() {
    let stage = Stage::with_fleet();
    let said = stage.run(&["doctor", "--json"]).well();
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&report["schema"], &report["host"], &report["fit"]), (&1.into(), &"sim".into(), &true.into()));
    let node = stage.env("PHOENIX_PVE_ROOT", "/nonexistent").run(&["doctor", "--host", "pct", "--json"]).ended(3);
    let report: Value = serde_json::from_str(&node.out).expect("JSON");
    let bad = |topic: &str| {
        let findings = report["findings"].as_array().expect("findings");
        let found = findings.iter().find(|finding| finding["topic"] == topic && finding["level"] == "bad");
        found.map(|finding| finding["what"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
    };
    assert!(bad("programs").contains("/nonexistent/usr/sbin/pct"), "{report:#}");
    assert!(bad("cluster").contains("the cluster's file system is not mounted"), "{report:#}");
}

#[test]
fn the_doctor_says_what_to_do_about_what_is_in_the_way() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::with_fleet();
    std::fs::create_dir(stage.path().join("journal")).expect("a directory");
    std::fs::set_permissions(stage.path().join("journal"), PermissionsExt::from_mode(0o777)).expect("a mode");
    support::settings().bind(|| {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"(?m)^.*free for the journal.*$\n", "");
        settings.add_filter(r"/[^ `]*/journal ", "[dir]/journal ");
        settings.bind(|| insta::assert_snapshot!("doctor", stage.run(&["doctor"]).whole()));
    });
}
