//! Templates that try to write outside of their container.

use std::fs;

use serde_json::json;

use super::fingerprint::{Fingerprint, check_same};
use super::fleet::Fleet;
use super::ground::Ground;
use super::template::{Extra, variant};

fn outside(ground: &Ground) -> Fingerprint {
    let mut found = ground.fingerprint(&[0]);
    // The hostile container itself comes and goes.
    found.remove("container directory");
    found
}

/// The templates aim at the victim's files and at the shared directory, whose places on the host they know. Where they make those
/// places inside of themselves, they are taken to the end, and what they hit is their own.
#[test]
fn templates_that_aim_at_others_through_links_change_nothing_outside() {
    let Some(ground) = Ground::new(18) else { return };
    let shared = json!({ "owner": { "uid": 1000, "gid": 1000 } });
    let victim = json!({ "volumes": [{ "volume": "shared", "at": "/shared" }] });
    Fleet::new(&ground).volume("shared", shared.clone()).container(0, victim.clone()).write();
    ground.up(0);
    fs::write(ground.path("srv/shared/precious"), "as it was").expect("written");
    let before = outside(&ground);

    let (rootfs, volume) = (ground.rootfs(0), ground.path("srv/shared"));
    let (rootfs, volume) = (rootfs.to_str().expect("plain"), volume.to_str().expect("plain"));
    let (rootfs_inside, volume_inside) = (rootfs.trim_start_matches('/'), volume.trim_start_matches('/'));
    let far = "../".repeat(24) + rootfs_inside;
    let (passwd, passwd_inside) = (format!("{rootfs}/etc/passwd"), format!("{rootfs_inside}/etc/passwd"));
    let taken_to_the_end = [
        Extra::File(&passwd_inside, b"own"),
        Extra::File(&format!("{rootfs_inside}/srv/own"), b"own"),
        Extra::File(&format!("{volume_inside}/own"), b"own"),
        Extra::Link("srv/neighbour", rootfs),
        Extra::File("srv/neighbour/etc/owned", b"evil"),
        Extra::Link("srv/far", &far),
        Extra::File("srv/far/etc/owned-too", b"evil"),
        Extra::Link("srv/shared", volume),
        Extra::File("srv/shared/planted", b"evil"),
        Extra::Link("srv/passwd", &passwd),
        Extra::File("srv/passwd", b"evil"),
        Extra::HardLink("srv/hard", &passwd),
        Extra::Link("etc/hostname", &format!("{rootfs}/etc/owned-by-hostname")),
        Extra::Link("etc/hosts", &passwd),
        Extra::Link("var/lib/phoenix", &format!("{rootfs}/srv")),
    ];
    let dangling = [Extra::Link("srv/neighbour", rootfs), Extra::File("srv/neighbour/etc/owned", b"evil")];
    let hard = [Extra::HardLink("srv/hard", &passwd)];
    let mounted = [Extra::Link("shared", volume)];
    let step = ground.script("step", "true");
    let mut fleet = Fleet::new(&ground).volume("shared", shared).container(0, victim);
    for (place, extras) in [(1, &taken_to_the_end[..]), (2, &dangling), (3, &hard), (4, &mounted)] {
        let template = ground.path(&format!("hostile-{place}.tar"));
        variant(&template, extras);
        let volumes = if place == 4 { json!([{ "volume": "shared", "at": "/shared" }]) } else { json!([]) };
        fleet = fleet.container(place, json!({ "template": template, "features": [step], "volumes": volumes }));
    }
    fleet.write();
    let manifest = ground.path("fleet.json");
    let said = ground.ends(1, &["-v", "up", manifest.to_str().expect("plain")]);
    check_same(&outside(&ground), &before, &format!("after up: {}", said.stderr));
    check_ends(&ground, 1, None);
    let warned = |line: &&str| line.contains("the note inside could not be written") && line.contains(&ground.ctid(1).to_string());
    assert_eq!(said.stderr.lines().filter(warned).count(), 1, "{}", said.stderr);
    check_ends(&ground, 2, Some(("define.create", "cannot make directory srv/neighbour/etc: No such file or directory")));
    check_ends(&ground, 3, Some(("define.create", &format!("cannot link to {passwd_inside}: No such file or directory"))));
    check_ends(&ground, 4, Some(("run.start", "The container failed to start")));
    let log = ground.runtime().join(format!("log/lxc-{}.log", ground.ctid(4)));
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.lines().any(|line| line.contains("Too many levels of symbolic links - Failed to mount")), "{log}");

    let own = |path: &str| fs::read_to_string(ground.rootfs(1).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    for (place, name) in [(rootfs_inside, "etc/owned"), (rootfs_inside, "etc/owned-too"), (volume_inside, "planted"), ("srv", "passwd")] {
        assert_eq!(own(&format!("{place}/{name}")), "evil");
    }
    assert_eq!((own("srv/hard").as_str(), own(&passwd_inside).as_str(), own("etc/hostname").as_str()), ("own", "own", "ct1\n"));
    assert!(own("etc/hosts").ends_with("127.0.1.1\tct1\n"), "{}", own("etc/hosts"));
    assert_eq!(ground.starts(1, "step"), 1, "its script ran");
    for (place, left) in [(rootfs_inside.to_owned() + "/etc", 3), (rootfs_inside.to_owned() + "/srv", 1)] {
        let names: Vec<_> = fs::read_dir(ground.rootfs(1).join(place)).expect("there").flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(names.len(), left, "neither host name nor note went through a link: {names:?}");
    }

    ground.down(0);
    assert_eq!(fs::read_to_string(ground.path("srv/shared/precious")).expect("kept"), "as it was", "down follows no link");
    assert_eq!(ground.standing(), Vec::<String>::new());
    ground.invariant_journal_is_clean();
}

/// A container is done, or failed in this step with these words.
#[track_caller]
fn check_ends(ground: &Ground, place: u32, failed: Option<(&str, &str)>) {
    let status = ground.status();
    let one = status.iter().find(|one| one["ctid"] == ground.ctid(place)).expect("a row");
    let (step, tail) = (&one["last_error"]["step"], one["last_error"]["tail"].as_str().unwrap_or_default());
    match failed {
        None => assert_eq!((one["state"].as_str(), one["standing"].as_str()), (Some("done"), Some("active")), "{one:#}"),
        Some((at, said)) => assert!(one["standing"] == "failed" && step == at && tail.contains(said), "{one:#}"),
    }
}
