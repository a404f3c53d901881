//! The journal of a healthy fleet is lost, rebuilt from the host, and nothing on the host notices.

use std::fs;

use serde_json::json;

use super::fingerprint::check_same;
use super::fleet::{FIVE_SCRIPTS, Fleet, five};
use super::ground::{Ground, Kind};

const ALL: [u32; 5] = [0, 1, 2, 3, 4];

fn lose_the_journal(ground: &Ground) {
    for entry in fs::read_dir(ground.path("journal")).expect("a directory").flatten() {
        if entry.file_name() != "journal.db.d" {
            fs::remove_file(entry.path()).expect("removed");
        }
    }
}

#[track_caller]
fn rebuilds(ground: &Ground, proof: &str) {
    let manifest = ground.path("fleet.json");
    let manifest = manifest.to_str().expect("plain");
    let inits = ALL.map(|place| ground.init(place));
    let before = ground.fingerprint(&ALL);
    let answer = ground.json(&["journal", "rebuild", manifest, "--yes"]);
    let scripts = answer["containers"].as_array().into_iter().flatten().flat_map(|one| one["scripts"].as_array().into_iter().flatten());
    let proofs: Vec<_> = scripts.map(|script| script["proof"].as_str().unwrap_or_default()).collect();
    assert_eq!(proofs, [proof; FIVE_SCRIPTS.len()], "{answer:#}");
    ground.up(0);
    assert_eq!(ALL.map(|place| ground.init(place)), inits, "nothing was restarted");
    check_same(&ground.fingerprint(&ALL), &before, "up after a rebuild");
    for (place, script, _) in FIVE_SCRIPTS {
        assert_eq!(ground.starts(place, script), 1, "{script} of {place}");
    }
    let status = ground.status();
    assert!(status.iter().all(|one| one["state"] == "done" && one["standing"] == "active"), "{status:#?}");
    ground.invariant_journal_is_clean();
    let entries = ground.entries().len();
    ground.up(0);
    assert_eq!(ground.entries().len(), entries, "a finished fleet costs no entry");
}

fn a_healthy_fleet_whose_journal_is_lost_is_taken_over_untouched(kind: Kind) {
    let Some(ground) = Ground::on(kind, GROUND) else { return };
    five(&ground);
    ground.up(0);
    lose_the_journal(&ground);
    rebuilds(&ground, "result");
    // Again, and now the results are gone with it: the notes inside are enough.
    lose_the_journal(&ground);
    fs::remove_dir_all(ground.path("journal/journal.db.d/results")).expect("removed");
    rebuilds(&ground, "note");
    ground.down(0);
}

#[test]
fn what_was_being_made_when_the_journal_was_lost_is_named() {
    let Some(ground) = Ground::on(Kind::Lxc, 53) else { return };
    five(&ground);
    let ctid = ground.ctid(0);
    let half = ground.lxc_path().join(format!(".phoenix-gone-{ctid}-00000000000000000000000000000001"));
    fs::create_dir(&half).expect("a directory");
    let manifest = ground.path("fleet.json");
    let answer = ground.json(&["journal", "rebuild", manifest.to_str().expect("plain"), "--yes"]);
    let because = |place: usize| answer["containers"][place]["because"].as_str().unwrap_or_default().to_owned();
    assert!(because(0).contains(half.to_str().expect("plain")), "{answer:#}");
    assert_eq!(because(1), "it does not exist");
    fs::remove_dir(&half).expect("nobody touched it");
}

/// A container of any age can look as if its creation had been cut off: a person has mounted it, say. It is not for `up` to clear away.
#[test]
fn what_looks_half_made_is_set_aside_and_not_cleared_away() {
    let Some(mut ground) = Ground::on(Kind::Pct, 54) else { return };
    Fleet::new(&ground).container(0, json!({})).write();
    ground.up(0);
    ground.crash_host(1);
    let conf = ground.conf(0).expect("it is there");
    let mounted = ground.pve().expect("a node").root().join("var/lib/lxc").join(ground.ctid(0).to_string()).join("rootfs");
    let mounted = mounted.strip_prefix(ground.path("")).expect("below it").to_str().expect("plain").to_owned();
    fs::create_dir_all(ground.path(&mounted)).expect("a directory");
    ground.mount_tmpfs(&mounted, "size=1m");
    lose_the_journal(&ground);
    let manifest = ground.path("fleet.json");
    let manifest = manifest.to_str().expect("plain");
    ground.ends(1, &["journal", "rebuild", manifest, "--yes"]);
    ground.ends(1, &["up", manifest]);
    assert_eq!(ground.conf(0).as_deref(), Some(conf.as_str()), "nobody touched it");
    assert_eq!(ground.status()[0]["standing"], "quarantined");
}

const GROUND: u32 = 20;

on_each_host! {
    a_healthy_fleet_whose_journal_is_lost_is_taken_over_untouched
}
