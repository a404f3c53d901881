//! `phoenix rehearse` as a person meets it: whole outputs, exit codes, JSON that parses, and no journal touched.

mod support;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Ended, Stage};

/// A whole output, without how long it took.
macro_rules! shows {
    ($name:literal, $ended:expr) => {
        let mut settings = support::settings();
        settings.add_filter(r"\d+ a second", "[rate] a second");
        settings.bind(|| insta::assert_snapshot!($name, $ended.whole()));
    };
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.out).expect("JSON")
}

#[test]
fn a_rehearsal_prints_what_was_tried_and_touches_no_journal() {
    let stage = Stage::with_fleet();
    shows!("rehearse", stage.run(&["rehearse", "fleet.json", "--budget", "900"]).well());
    assert!(!stage.path().join("journal").exists(), "a rehearsal needs no journal");
}

#[test]
fn a_rehearsal_in_json_has_the_same_facts() {
    let told =
        json(&Stage::with_fleet().run(&["rehearse", "fleet.json", "--budget", "300", "--seed", "9", "--json", "--threads", "1"]).well());
    assert_eq!((&told["fleet"], &told["seed"], &told["tried"]), (&"homelab".into(), &9.into(), &300.into()));
    assert_eq!((&told["diverged"], &told["is_cut_short"]), (&0.into(), &false.into()));
}

#[test]
fn a_template_that_is_not_here_is_not_missed() {
    let stage = Stage::with_fleet();
    std::fs::remove_file(stage.path().join("t.tar")).expect("a file");
    stage.run(&["rehearse", "fleet.json", "--budget", "10"]).well();
}

#[test]
fn a_schedule_is_replayed_with_its_whole_history() {
    shows!("rehearse_replay", Stage::with_fleet().run(&["rehearse", "fleet.json", "-j1", "--replay", "1:12p,40h"]).well());
}

#[test]
fn a_fleet_that_does_not_come_up_by_itself_is_told_as_such() {
    let stage = Stage::with_fleet();
    let text = std::fs::read_to_string(stage.path().join("fleet.json")).expect("a file");
    stage.write("fleet.json", &text.replace(r#""s/app.sh""#, r#"{ "script": "s/app.sh", "timeout": "1s" }"#));
    shows!("rehearse_not_up", stage.run(&["rehearse", "fleet.json", "--budget", "900"]).ended(1));
    shows!("rehearse_not_up_replay", stage.run(&["rehearse", "fleet.json", "--replay", "1:"]).ended(1));
}

#[test]
fn a_bad_manifest_or_schedule_is_a_matter_of_usage() {
    let stage = Stage::with_fleet();
    for arguments in [
        &["rehearse", "/dev/null"][..],
        &["rehearse", "fleet.json", "--replay", "12p"],
        &["rehearse", "fleet.json", "--replay", "1:12x"],
        &["rehearse", "fleet.json", "--replay", "1:99999p"],
        &["rehearse", "fleet.json", "--replay", "1:12p", "--seed", "2"],
        &["rehearse", "fleet.json", "--budget", "-1"],
        &["rehearse", "fleet.json", "--threads", "0"],
    ] {
        let ended = stage.run(arguments);
        assert_eq!(ended.code, 2, "{}", ended.whole());
    }
    shows!("rehearse_unreached", stage.run(&["rehearse", "fleet.json", "--replay", "1:99999p"]));
}

#[test]
fn an_interrupted_rehearsal_prints_what_was_tried() {
    let stage = Stage::with_fleet();
    #[expect(clippy::disallowed_methods, reason = "the binary under test is a child of the test")]
    let mut child = Command::new(env!("CARGO_BIN_EXE_phoenix"))
        .args(["--host", "sim", "rehearse", "fleet.json", "--budget", "1000000000", "--json"])
        .current_dir(stage.path())
        .env_clear()
        .env("HOME", stage.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut said = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut said).expect("a first line");
    assert_eq!(said, "0 of 1000000000 schedules\n");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).expect("it lives");
    let mut out = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut out).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(130));
    let told: Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(told["is_cut_short"], true);
    assert!(told["tried"].as_u64().expect("a number") < 1_000_000_000);
}
