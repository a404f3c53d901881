//! Every configuration that a real `pct` was recorded to have written, read, written back and changed.

use std::path::Path;

use proptest::prelude::*;

use super::values::{MountSource, Size};
use super::*;
use crate::ids::{IdMap, Target};

fn recorded() -> Vec<(String, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/pct/config/recorded");
    let entries = std::fs::read_dir(directory).expect("the recorded configurations");
    let texts = entries.map(|entry| {
        let path = entry.expect("an entry").path();
        (path.display().to_string(), std::fs::read_to_string(&path).expect("a text"))
    });
    texts.collect()
}

#[track_caller]
fn config(text: &str) -> Config {
    Config::parse(text).expect("a configuration")
}

#[track_caller]
fn one(name: &str) -> Config {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/host/pct/config/recorded").join(name);
    config(&std::fs::read_to_string(path).expect("a recorded configuration"))
}

#[track_caller]
fn target(text: &str) -> Target {
    text.parse().expect("a target")
}

#[test]
fn what_pct_wrote_is_written_back_byte_by_byte() {
    let all = recorded();
    assert!(all.len() >= 32);
    for (name, text) in all {
        let config = Config::parse(&text).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert_eq!(config.to_string(), text, "{name}");
        assert_eq!(config.main().odd_lines().count(), 0, "{name}");
        let sections = config.snapshots().map(|(_, section)| section).chain(config.pending()).chain([config.main()]);
        for section in sections {
            section.nets().and_then(|_| section.mounts()).unwrap_or_else(|why| panic!("{name}: {why}"));
            section.rootfs().and_then(|_| section.features()).unwrap_or_else(|why| panic!("{name}: {why}"));
            section.startup().and_then(|_| section.description()).unwrap_or_else(|why| panic!("{name}: {why}"));
        }
        config.main().seen().unwrap_or_else(|why| panic!("{name}: {why}"));
    }
}

#[test]
fn setting_what_stands_there_already_changes_no_byte() {
    for (name, text) in recorded() {
        let mut config = config(&text);
        let settings: Vec<(String, String)> = config.main().settings().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        for (key, value) in &settings {
            config.set(key, value).expect("what was read can be written");
        }
        assert_eq!(config.to_string(), text, "{name}");
        for (key, value) in settings {
            config.remove(&key);
            config.set(&key, &value).expect("what was read can be written");
        }
        assert_eq!(config.to_string(), text, "{name}: taken out and put back");
        if let Some(description) = config.main().description().expect("a description") {
            config.set_description(&description);
        }
        assert_eq!(config.to_string(), text, "{name}: the description");
    }
}

#[test]
fn the_digest_is_the_one_that_proxmox_tells() {
    let text = "arch: amd64\nhostname: CT202\nmemory: 101\nostype: unmanaged\nrootfs: local:202/subvol-202-disk-0.subvol,size=0T\nswap: 512\ntags: x;y\nunprivileged: 1\n";
    assert_eq!(config(text).digest(), "d981e1aa18483bb4e3a7fbfed085e0a90483b3c6");
}

#[test]
fn a_snapshots_values_are_not_those_in_force() {
    let config = one("110-7.conf");
    assert_eq!(config.main().lock(), Some("snapshot"));
    let snapshot = config.snapshot("k1").expect("a snapshot");
    assert_eq!((snapshot.lock(), snapshot.value("snapstate")), (None, Some("prepare")));
    assert_eq!(config.main().value("snapstate"), None);
    let described = one("110-2.conf");
    assert_eq!(described.main().description(), Ok(None));
    let snapshot = described.snapshot("s1").expect("a snapshot");
    assert_eq!(snapshot.description(), Ok(Some("first snap\n".to_owned())));
    assert_eq!(snapshot.number("snaptime"), Ok(Some(1_795_395_948)));
}

#[test]
fn what_is_pending_is_not_in_force() {
    let config = one("100-5.conf");
    let pending = config.pending().expect("something pending");
    assert_eq!(pending.deleted().collect::<Vec<_>>(), ["arch", "mp0", "mp1"]);
    let (now, then) = (config.main().mounts().expect("mounts"), pending.mounts().expect("mounts"));
    assert_eq!((now[&0].read_only, then[&0].read_only), (false, true));
    assert_eq!(now[&1].source, MountSource::Volume("local:100/subvol-100-disk-1.subvol".to_owned()));
    assert_eq!((now[&3].target(), config.snapshots().count()), ("/relative".to_owned(), 0));
    assert_eq!(config.main().description(), Ok(Some("line one\nline: two #x%\nüml\n".to_owned())));
}

#[test]
fn an_observation_takes_directories_alone() {
    let seen = one("100-5.conf").main().seen().expect("a configuration");
    assert_eq!(seen.hostname.as_deref(), Some("newname"));
    assert_eq!(seen.idmap, IdMap::shifted(100_000, 65_536).ok());
    assert!(seen.autostart);
    let mounts: Vec<&str> = seen.mounts.keys().map(Target::as_str).collect();
    assert_eq!(mounts, ["/data", "/relative"]);
}

#[test]
fn the_map_is_the_raw_lines_else_that_of_proxmox_else_none() {
    let map = |text: &str| config(text).main().idmap();
    assert_eq!(map("unprivileged: 1\n"), Ok(IdMap::shifted(100_000, 65_536).ok()));
    assert_eq!(map("hostname: a\n"), Ok(None));
    let lines = "lxc.idmap: u 0 200000 1000\nlxc.idmap = g 0 200000 1000\n";
    assert_eq!(map(&format!("unprivileged: 1\n{lines}")), Ok(IdMap::shifted(200_000, 1000).ok()));
    let in_a_snapshot = format!("unprivileged: 1\n\n[s1]\n{lines}");
    assert_eq!(map(&in_a_snapshot), Ok(IdMap::shifted(100_000, 65_536).ok()));
    assert!(matches!(map("unprivileged: 1\nlxc.idmap: u 0 100000\n"), Err(ConfigError::Idmap(_))));
    assert!(matches!(map("unprivileged: maybe\n"), Err(ConfigError::Value { line: 1, .. })));
}

#[test]
fn an_edit_lands_in_the_main_section() {
    let mut config = one("110-3.conf");
    config.set("onboot", "1").expect("a plain value");
    config.set("tags", "a;b").expect("a plain value");
    config.set_raw("lxc.idmap", ["u 0 100000 65536", "g 0 100000 65536"]).expect("plain values");
    let (before, after) = (one("110-3.conf").to_string(), config.to_string());
    let at = before.find("\n[s1]").expect("a snapshot");
    assert!(after.ends_with(&before[at..]));
    let main = "ostype: debian\nparent: s1\nrootfs: btr:110/vm-110-disk-0.raw,size=1G\nswap: 512\ntags: a;b\nunprivileged: 1\nlxc.idmap: u 0 100000 65536\nlxc.idmap: g 0 100000 65536\n";
    assert_eq!(after[..after.len() - before[at..].len()].split_once("onboot: 1\n").map(|(_, rest)| rest), Some(main));
    config.set_raw("lxc.idmap", []).expect("nothing");
    config.remove("onboot");
    config.remove("tags");
    assert_eq!(config.to_string(), before);
}

#[test]
fn a_target_keeps_its_mount_point_and_a_new_one_takes_the_lowest_free() {
    let mut config = one("100-6.conf");
    let (data, other) = (target("/data"), target("/srv/other"));
    assert_eq!(config.attach(Path::new("/srv/a"), &data, &[]), Ok(0));
    assert_eq!(config.attach(Path::new("/srv/b"), &other, &[("ro", Some("1"))]), Ok(1));
    assert_eq!(config.main().value("mp0"), Some("/srv/a,mp=/data,ro=1"));
    assert_eq!(config.main().value("mp1"), Some("/srv/b,mp=/srv/other,ro=1"));
    assert_eq!(config.attach(Path::new("/srv/a"), &data, &[("ro", None), ("backup", Some("0"))]), Ok(0));
    assert_eq!(config.main().value("mp0"), Some("/srv/a,mp=/data,backup=0"));
    assert_eq!(config.attach(Path::new("/srv/c"), &target("/relative"), &[]), Ok(3));
    assert_eq!((config.detach(&data), config.detach(&data)), (Ok(Some(0)), Ok(None)));
    assert_eq!(config.attach(Path::new("/srv/d"), &target("/srv/d"), &[]), Ok(0));
}

#[test]
fn volumes_and_what_is_pending_are_left_alone() {
    let mut config = one("100-5.conf");
    let before = config.clone();
    assert!(matches!(config.attach(Path::new("/srv/a"), &target("/vol"), &[]), Err(EditError::Occupied { .. })));
    assert!(matches!(config.detach(&target("/vol")), Err(EditError::Occupied { .. })));
    assert_eq!(config.attach(Path::new("/srv/a"), &target("/data"), &[]), Err(EditError::Pending { key: "mp0".to_owned() }));
    assert_eq!(config, before);
    let mut waiting = self::config("rootfs: a:1\n\n[pve:pending]\nmp0: /srv/x,mp=/x\n");
    assert_eq!(waiting.attach(Path::new("/srv/a"), &target("/a"), &[]), Ok(1));
    let taken = (0..=255).map(|number| format!("mp{number}: /srv/{number},mp=/{number}\n")).collect::<Vec<_>>().concat();
    assert_eq!(self::config(&taken).attach(Path::new("/srv/a"), &target("/a"), &[]), Err(EditError::Full));
}

#[test]
fn what_no_line_can_hold_is_not_written() {
    let mut config = one("110-1.conf");
    let before = config.clone();
    for (key, value) in [("memory", "1\nlock: create"), ("memory", ""), ("lxc.idmap", "x"), ("[s1]", "x"), ("a b", "x"), ("memory", " 1")] {
        assert!(matches!(config.set(key, value), Err(EditError::Unwritable { .. })), "{key}: {value:?}");
    }
    assert!(config.set_raw("lxc.idmap", ["u 0 1 2\nlock: x"]).is_err());
    assert!(config.set_raw("hostname", ["x"]).is_err());
    for source in ["/srv/a,ro=1", "/srv/a=b", "/srv/a\nb"] {
        assert!(config.attach(Path::new(source), &target("/a"), &[]).is_err(), "{source:?}");
    }
    assert_eq!(config, before);
}

#[test]
fn of_a_key_that_stands_twice_the_last_counts() {
    let mut config = config("memory: 1\nhostname: a\nmemory: 2\n");
    assert_eq!(config.main().number("memory"), Ok(Some(2)));
    config.set("memory", "2").expect("a plain value");
    assert_eq!(config.to_string(), "hostname: a\nmemory: 2\n");
}

#[test]
fn what_is_not_known_is_kept() {
    let text = "#mine\nbogus: 1\nMemory: x\nnet0: name=eth0,novelty=1\nlxc.cap.drop = sys_admin\n\n\n[pve:pending]\nnovelty: 1\n[s1]\nsnaptime: 1\n";
    let mut config = config(text);
    assert_eq!(config.to_string(), text);
    assert_eq!(config.main().odd_lines().collect::<Vec<_>>(), [(3, "Memory: x")]);
    config.set("cores", "2").expect("a plain value");
    assert_eq!(config.to_string(), text.replace("net0", "cores: 2\nnet0"));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let wrong = config("rootfs: local:1,size=huge\n\n[s1]\nnet0: name=eth0,tag=9999\nmemory: much\n");
    assert!(matches!(wrong.main().rootfs(), Err(ConfigError::Property { line: 1, .. })));
    let snapshot = wrong.snapshot("s1").expect("a snapshot");
    assert!(matches!(snapshot.nets(), Err(ConfigError::Property { line: 4, .. })));
    assert!(matches!(snapshot.number("memory"), Err(ConfigError::Value { line: 5, .. })));
    assert!(matches!(config("\n#%ff\n").main().description(), Err(ConfigError::Description { line: 2 })));
}

#[test]
fn a_file_without_an_end_of_line_gets_one_when_it_is_changed() {
    for text in ["", "lock: create", "\n", "memory: 1\n[s1]"] {
        assert_eq!(config(text).to_string(), text, "{text:?}");
    }
    let mut open = config("lock: create");
    open.set("memory", "1").expect("a plain value");
    assert_eq!(open.to_string(), "lock: create\nmemory: 1\n");
    let mut empty = config("");
    empty.set_description("a: b\nc");
    empty.set("memory", "1").expect("a plain value");
    assert_eq!(empty.to_string(), "#a%3A b\n#c\nmemory: 1\n");
}

#[test]
fn devices_and_sizes_are_numbers_and_nothing_like_them() {
    let text = "dev0: /dev/dri/renderD128,gid=104,mode=0660\ndev1: path=/dev/ttyUSB0,deny-write=1\nmp00: /a,mp=/a\nmp256: /a,mp=/a\n";
    let config = config(text);
    let devices = config.main().devices().expect("devices");
    assert_eq!((devices.len(), devices[&0].gid, devices[&1].deny_write), (2, 104, true));
    assert_eq!(config.main().mounts(), Ok(std::collections::BTreeMap::new()));
    assert_eq!(one("110-1.conf").main().rootfs().ok().flatten().and_then(|rootfs| rootfs.size), Some(Size(1 << 30)));
}

proptest! {
    #[test]
    fn every_text_that_parses_comes_back(text in "([a-z.:= \\[\\]#%0-9,/\t]{0,24}\n?){0,8}") {
        if let Ok(config) = Config::parse(&text) {
            prop_assert_eq!(config.to_string(), text);
        }
    }

    #[test]
    fn an_edit_changes_its_key_alone(
        keys in proptest::collection::vec("[a-z]{1,5}[0-9]?", 0..6),
        sections in proptest::collection::vec("[a-z]{2,5}", 0..3),
        key in "[a-z]{1,5}[0-9]?",
        value in "[!-~]([ -~]{0,9}[!-~])?",
    ) {
        let body = keys.iter().map(|key| format!("{key}: old\n")).collect::<Vec<_>>().concat();
        let others = sections.iter().map(|name| format!("\n[{name}]\n{body}")).collect::<Vec<_>>().concat();
        let mut config = config(&format!("{body}{others}"));
        config.set(&key, &value).expect("a plain value");
        let text = config.to_string();
        prop_assert!(text.ends_with(&others));
        let back = Config::parse(&text);
        prop_assert_eq!(back.as_ref(), Ok(&config));
        prop_assert_eq!(config.main().value(&key), Some(value.as_str()));
        for other in keys.iter().filter(|other| **other != key) {
            prop_assert_eq!(config.main().value(other), Some("old"));
        }
        config.remove(&key);
        prop_assert_eq!(config.main().value(&key), None);
    }

    #[test]
    fn descriptions_come_back(description in "(\\PC{0,20}\n){0,4}\\PC{1,20}\n") {
        let mut config = one("110-3.conf");
        config.set_description(&description);
        prop_assert_eq!(config.main().description(), Ok(Some(description)));
        config.set_description("");
        prop_assert_eq!(config, one("110-3.conf"));
    }
}
