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

#[test]
fn a_template_that_aims_at_others_through_links_changes_nothing_outside() {
    let Some(ground) = Ground::new(18) else { return };
    let shared = json!({ "owner": { "uid": 1000, "gid": 1000 } });
    let victim = json!({ "volumes": [{ "volume": "shared", "at": "/shared" }] });
    Fleet::new(&ground).volume("shared", shared.clone()).container(0, victim.clone()).write();
    ground.up(0);
    fs::write(ground.path("srv/shared/precious"), "as it was").expect("written");
    let before = outside(&ground);

    let (rootfs, volume) = (ground.rootfs(0), ground.path("srv/shared"));
    let (rootfs, volume) = (rootfs.to_str().expect("plain"), volume.to_str().expect("plain"));
    let up = "../".repeat(24);
    let (far, passwd) = (format!("{up}{}", rootfs.trim_start_matches('/')), format!("{rootfs}/etc/passwd"));
    let own = ground.path("template.tar.gz");
    variant(
        &ground.path("hostile.tar"),
        &[
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
            Extra::Link("var/lib/phoenix", &format!("{rootfs}/srv")),
            Extra::Link("shared", volume),
        ],
    );
    ground.script("step", "true");
    let hostile = json!({ "template": ground.path("hostile.tar"), "features": ["scripts/step.sh"], "volumes": [{ "volume": "shared", "at": "/shared" }] });
    Fleet::new(&ground).volume("shared", shared).container(0, victim).container(1, hostile).write();
    let manifest = ground.path("fleet.json");
    let said = ground.run(&["up", manifest.to_str().expect("plain")]);
    check_same(&outside(&ground), &before, &format!("after up, which ended with {}: {}", said.code, said.stderr));
    assert!(own.exists(), "the template is still there");
    assert!([0, 1].contains(&said.code), "{}", said.stderr);
    let text = fs::read_to_string(ground.path("srv/shared/precious")).expect("kept");
    assert_eq!(text, "as it was");
    ground.down(0);
    assert_eq!(fs::read_to_string(ground.path("srv/shared/precious")).expect("kept"), "as it was", "down follows no link");
    assert_eq!(ground.standing(), Vec::<String>::new());
    ground.invariant_journal_is_clean();
}
