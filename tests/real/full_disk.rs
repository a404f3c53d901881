//! Disks that fill up: what is said, and that it goes on once there is room.

use serde_json::json;

use super::fleet::Fleet;
use super::ground::{Ground, host};
use super::template::{Extra, packed};

#[track_caller]
fn make_room(ground: &Ground, name: &str) {
    let path = ground.path(name);
    host(&["mount", "-o", "remount,size=128m", path.to_str().expect("plain")]);
}

#[test]
fn a_full_container_directory_is_said_and_up_goes_on_once_there_is_room() {
    let Some(mut ground) = Ground::new(22) else { return };
    ground.mount_tmpfs("lxc", "size=4m");
    packed(&ground.template(), &[Extra::Bulk("srv/bulk", 6 << 20), Extra::File("srv/last", b"whole\n")]);
    Fleet::new(&ground).container(3, json!({})).container(4, json!({ "clone_from": 3 })).write();
    let said = ground.up(1);
    assert!(said.all().contains("No space left"), "{}", said.all());
    let status = ground.status();
    assert_eq!((status[0]["state"].as_str(), status[0]["standing"].as_str()), (Some("declared"), Some("failed")), "{status:#?}");
    assert_eq!(status[0]["last_error"]["step"], "define.create", "{status:#?}");
    assert!(!ground.container(3).exists(), "nothing half made stands at its place");
    ground.invariant_journal_is_clean();

    make_room(&ground, "lxc");
    ground.up(0);
    for place in [3, 4] {
        assert_eq!(ground.inside(place, &["cat", "/srv/last"]), (0, "whole\n".to_owned()));
    }
    assert!(ground.status().iter().all(|one| one["state"] == "done"));
    ground.invariant_journal_is_clean();
}

#[test]
fn a_full_journal_directory_begins_no_step_and_resume_goes_on_once_there_is_room() {
    let Some(mut ground) = Ground::new(23) else { return };
    ground.mount_tmpfs("journal", "size=24m");
    let once = ground.script("once", "true");
    Fleet::new(&ground).container(4, json!({ "features": [once] })).write();
    let filler = ground.path("journal/filler");
    // Leaves room for a journal and its reserve, and not for much of a run.
    for left_kb in [64, 6144, 8300, 8500, 8800, 9300, 10240] {
        let path = ground.path("journal");
        let free = free_kb(path.to_str().expect("plain"));
        let filler_kb = free.saturating_sub(left_kb);
        if filler_kb > 0 {
            host(&["fallocate", "-l", &format!("{filler_kb}K"), filler.to_str().expect("plain")]);
        }
        let manifest = ground.path("fleet.json");
        let command = if ground.journal().exists() && !ground.entries().is_empty() { "resume" } else { "up" };
        let said = if command == "up" { ground.run(&["up", manifest.to_str().expect("plain")]) } else { ground.run(&["resume"]) };
        super::ground::tell(&format!(
            "{left_kb} KiB left: {command} ended with {}: {}",
            said.code,
            said.stderr.lines().last().unwrap_or_default()
        ));
        if filler_kb > 0 {
            std::fs::remove_file(&filler).expect("removed");
        }
        if said.code == 0 {
            break;
        }
        assert!([1, 4].contains(&said.code), "{}", said.stderr);
        assert!(said.stderr.to_lowercase().contains("space") || said.stderr.contains("full"), "{}", said.stderr);
        if ground.journal().exists() {
            ground.invariant_journal_is_clean();
            begins_nothing_without_room(&ground);
        }
    }
    let manifest = ground.path("fleet.json");
    ground.ends(0, &["up", manifest.to_str().expect("plain")]);
    assert_eq!(ground.starts(4, "once"), 1);
    assert_eq!(ground.status()[0]["state"], "done");
    ground.invariant_journal_is_clean();
}

/// What was begun had room for its outcome as well.
#[track_caller]
fn begins_nothing_without_room(ground: &Ground) {
    let open: Vec<_> = ground.open_times().into_iter().filter(|(_, (_, until))| *until == i64::MAX).collect();
    assert!(open.is_empty(), "begun and without an outcome: {open:?}");
    let begun = ground.intents_of(4, "feature.apply[once]").len();
    assert_eq!(ground.starts(4, "once"), begun, "a script is started with its intent or not at all");
}

fn free_kb(path: &str) -> u64 {
    let text = host(&["df", "-k", "--output=avail", path]);
    text.lines().last().and_then(|line| line.trim().parse().ok()).expect("a number")
}
