//! Claims of the journal about a configuration, which do not pass by themselves: compared with the host after every boot.

mod fleets;
mod support;

use fleets::ctid;
use phoenix::host::sim::{Edit, Tamper};
use phoenix::ids::IdMap;
use support::Stage;

/// What somebody changes, what changes it back, and what is said of it.
fn edits() -> [(Edit, Edit, &'static str); 6] {
    let at = || "/srv/media".parse().expect("a target");
    let name = |name: &str| Edit::Hostname(name.parse().expect("a host name"));
    let map = |host| Edit::Idmap(IdMap::shifted(host, 65_536).expect("a map"));
    let mount = |path: &str, read_only| Edit::Mount(at(), Some((path.into(), read_only)));
    [
        (Edit::Mount(at(), None), mount("/srv/media", false), "/srv/media attached at /srv/media; found: nothing attached there"),
        (mount("/srv/other", false), mount("/srv/media", false), "found: /srv/other attached there, writable"),
        (mount("/srv/media", true), mount("/srv/media", false), "found: /srv/media attached there, read-only"),
        (name("other"), name("web"), "claim: host name web; found: host name other"),
        (map(200_000), map(100_000), "found: id map u 0 200000 65536"),
        (Edit::Autostart(true), Edit::Autostart(false), "claim: autostart false; found: autostart true"),
    ]
}

/// Whose host starts none of them.
fn stage() -> Stage {
    let stage = Stage::with_fleet();
    let fleet = std::fs::read_to_string(stage.path().join("fleet.json")).expect("there");
    stage.write(
        "fleet.json",
        &fleet.replace(r#""volumes": { "media": {"#, r#""defaults": { "autostart": false }, "volumes": { "media": {"#),
    );
    stage.run(&["up", "fleet.json", "-j1"]).well();
    stage
}

#[test]
fn after_a_boot_a_claim_that_does_not_hold_keeps_its_container_down_until_it_does() {
    for (edit, back, said) in edits() {
        let stage = stage();
        stage.reboot();
        stage.tamper(&Tamper::Edit(ctid(102), edit));
        // However often it is tried, and whatever was cut off in between.
        stage.interrupted_at("run.start", &["resume", "-j1"]).ended(130);
        for _ in 0..2 {
            let told = stage.run(&["resume"]).ended(1).whole();
            assert!(told.contains("quarantined: drift") && told.contains(said), "{said}: {told}");
            assert_eq!(stage.running(), [101], "{said}");
        }
        stage.tamper(&Tamper::Edit(ctid(102), back));
        stage.run(&["retry", "102"]).well();
        stage.run(&["resume"]).well();
        assert_eq!(stage.running(), [101, 102], "{said}");
        stage.run(&["journal", "verify"]).well();
    }
}

#[test]
fn what_was_not_up_before_the_boot_is_compared_as_well() {
    let stage = Stage::with_fleet();
    stage.env("PHOENIX_SIM_FAULTS", "102 run.start permanent").run(&["up", "fleet.json", "-j1"]).ended(1);
    stage.run(&["down", "101", "--yes"]).well();
    stage.tamper(&Tamper::Edit(ctid(102), Edit::Mount("/srv/media".parse().expect("a target"), None)));
    stage.reboot();
    let told = stage.run(&["up", "fleet.json"]).ended(1).whole();
    assert!(told.contains("quarantined: drift"), "{told}");
    assert_eq!(stage.running(), [101]);
}

#[test]
fn what_drifted_goes_down() {
    let stage = stage();
    stage.tamper(&Tamper::Edit(ctid(102), Edit::Autostart(true)));
    stage.reboot();
    stage.run(&["down", "102", "--yes"]).well();
    assert!(stage.running().is_empty());
    assert!(stage.run(&["history", "102"]).out.contains("down.destroy"));
}
