//! A container that is not ours, where the manifest wants one of ours.

use std::fs;
use std::os::unix::fs::{MetadataExt, lchown};
use std::path::Path;

use serde_json::{Value, json};

use super::fleet::Fleet;
use super::ground::{Ground, HOST_ROOT, Kind, host};
use super::processes::until;
use super::proxmox::{PLAIN, TEMPLATE};

/// All that would show that somebody laid hands on it.
fn traces(ground: &Ground, place: u32) -> (Vec<u8>, i64, i64, u64, Option<u32>, Vec<String>) {
    let config = ground.config(place);
    let meta = fs::metadata(&config).expect("a configuration");
    let names = fs::read_dir(ground.container(place)).expect("a directory").flatten();
    let mut names: Vec<String> = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    (fs::read(&config).expect("a configuration"), meta.mtime(), meta.mtime_nsec(), meta.ino(), ground.init(place), names)
}

/// A running container made by hand.
fn make_stranger(ground: &Ground, place: u32) {
    if let Some(pve) = ground.pve() {
        let (pct, id) = (pve.program("pct"), ground.ctid(place).to_string());
        let pct = pct.to_str().expect("plain");
        let options = ["--ostype", "unmanaged", "--arch", "amd64", "--unprivileged", "1", "--hostname", "stranger", "--storage", PLAIN];
        host(&[&[pct, "create", &id, TEMPLATE], &options[..]].concat());
        host(&[pct, "start", &id]);
    } else {
        make_by_hand(ground, place);
    }
    until("the stranger's init", || ground.init(place));
}

fn make_by_hand(ground: &Ground, place: u32) {
    let (container, rootfs) = (ground.container(place), ground.rootfs(place));
    fs::create_dir_all(&rootfs).expect("a directory");
    host(&["tar", "-xzf", ground.template().to_str().expect("plain"), "-C", rootfs.to_str().expect("plain")]);
    give(&rootfs);
    let config = format!(
        "# Made by hand; leave it alone.\nlxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/userns.conf\n\
         lxc.rootfs.path = dir:{}\nlxc.uts.name = stranger\nlxc.net.0.type = empty\nlxc.idmap = u 0 {HOST_ROOT} 65536\nlxc.idmap = g 0 {HOST_ROOT} 65536\n",
        rootfs.display()
    );
    fs::write(container.join("config"), config).expect("written");
    host(&["lxc-start", "-P", ground.lxc_path().to_str().expect("plain"), "-n", &ground.ctid(place).to_string(), "-d"]);
}

fn give(path: &Path) {
    lchown(path, Some(HOST_ROOT), Some(HOST_ROOT)).expect("given");
    if path.symlink_metadata().expect("there").is_dir() {
        fs::read_dir(path).expect("a directory").flatten().for_each(|entry| give(&entry.path()));
    }
}

#[track_caller]
fn check_aside(ground: &Ground) {
    let status = ground.status();
    let by = |place: u32| status.iter().find(|one| one["ctid"] == ground.ctid(place)).unwrap_or_else(|| panic!("{place}: {status:#?}"));
    for place in [0, 3] {
        assert_eq!((by(place)["state"].as_str(), by(place)["standing"].as_str()), (Some("done"), Some("active")), "{:#}", by(place));
    }
    let stranger = by(1);
    assert_eq!(stranger["standing"], "quarantined", "{stranger:#}");
    assert_eq!(stranger["quarantined"]["reason"], "foreign", "{stranger:#}");
    assert!(stranger["quarantined"]["next"].as_array().is_some_and(|next| !next.is_empty()), "{stranger:#}");
    for place in [2, 4] {
        let waits = by(place);
        assert_ne!(waits["state"], "done", "{waits:#}");
        assert_eq!(
            (waits["waiting_for"]["kind"].as_str(), &waits["waiting_for"]["ctid"]),
            (Some("dependency"), &json!(ground.ctid(1))),
            "{waits:#}"
        );
    }
}

fn a_strangers_container_is_not_touched_and_holds_up_only_who_needs_it(kind: Kind) {
    let Some(ground) = Ground::on(kind, 3) else { return };
    make_stranger(&ground, 1);
    let before = traces(&ground, 1);
    Fleet::new(&ground)
        .container(0, json!({}))
        .container(1, json!({}))
        .container(2, json!({ "depends_on": [1] }))
        .container(3, json!({ "depends_on": [0] }))
        .container(4, json!({ "clone_from": 1 }))
        .write();
    let said = ground.up(1);
    assert!(said.all().contains("foreign"), "{}", said.all());
    check_aside(&ground);
    assert_eq!(traces(&ground, 1), before, "after up");
    ground.resume(1);
    check_aside(&ground);
    assert_eq!(traces(&ground, 1), before, "after resume");
    let rows = ground.entries().len();
    ground.up(1);
    assert_eq!(ground.entries().len(), rows, "what is known to be a stranger's is not found out again");
    let explained = ground.ends(0, &["explain", &ground.ctid(1).to_string()]);
    assert!(explained.stdout.contains(&format!("phoenix retry {} --recreate", ground.ctid(1))), "{}", explained.stdout);
    assert_eq!(traces(&ground, 1), before, "after up again");

    ground.down(0);
    assert_eq!(traces(&ground, 1), before, "after down");
    for place in [0, 2, 3, 4] {
        assert!(!ground.config(place).exists(), "{place} was taken down");
    }
    assert_eq!(ground.inside(1, &["hostname"]), (0, "stranger\n".to_owned()));
    let status = ground.status();
    assert!(status.iter().all(|one| one["state"] == "declared" && one["quarantined"] == Value::Null), "{status:#?}");
    ground.invariant_journal_is_clean();
}

on_each_host! {
    a_strangers_container_is_not_touched_and_holds_up_only_who_needs_it
}
