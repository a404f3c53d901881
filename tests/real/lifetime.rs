//! A fleet from nothing to done, again, and down: with nothing in the way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::fleet::{FIVE_SCRIPTS, five};
use super::ground::{Ground, HOST_ROOT, Kind, has, skip};
use super::processes::{now, pause};

/// How long control groups may outlive their container's monitor.
const CGROUPS_STAY_MAX: Duration = Duration::from_secs(5);

#[track_caller]
fn check_all_done(ground: &Ground, places: u32) {
    let status = ground.status();
    assert_eq!(status.len(), places as usize, "{status:#?}");
    for one in &status {
        assert_eq!((one["state"].as_str(), one["standing"].as_str()), (Some("done"), Some("active")), "{one:#}");
        assert_eq!((&one["in_doubt"], &one["last_error"]), (&Value::Bool(false), &Value::Null), "{one:#}");
    }
}

#[track_caller]
fn check_owner(path: &Path, uid: u32, gid: u32) {
    let meta = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!((meta.uid(), meta.gid()), (uid, gid), "{}", path.display());
}

fn a_fleet_comes_up_with_its_owners_mounts_and_limits(kind: Kind) {
    let Some(ground) = Ground::on(kind, 0) else { return };
    five(&ground);
    ground.up(0);
    check_all_done(&ground, 5);
    for (place, script, step) in FIVE_SCRIPTS {
        assert_eq!(ground.starts(place, script), 1, "{step} of {place}");
    }

    // From outside the mapped ids, from inside those of the manifest.
    check_owner(&ground.path("srv/media"), HOST_ROOT + 1000, HOST_ROOT + 1000);
    for (place, at) in [(2, "/srv/media"), (3, "/mnt/media")] {
        assert_eq!(ground.inside(place, &["stat", "-c", "%u:%g %a", at]), (0, "1000:1000 775\n".to_owned()));
    }
    // What root inside makes is nobody's on the host, and both containers see it.
    let file = format!("from-{}", ground.ctid(2));
    check_owner(&ground.path("srv/media").join(&file), HOST_ROOT, HOST_ROOT);
    let seen = ground.inside(3, &["cat", &format!("/mnt/media/{file}")]);
    assert_eq!(seen, (0, format!("from {}\n", ground.ctid(2))));
    let (code, text) = ground.inside(3, &["touch", "/mnt/media/refused"]);
    assert!(code != 0 && text.contains("Read-only"), "{text}");
    assert_eq!(ground.inside(2, &["touch", "/srv/media/taken"]).0, 0);

    // The clone has what its source had been given, and none of what is the source's own.
    assert_eq!(ground.inside(1, &["cat", "/etc/base"]), (0, "installed\n".to_owned()));
    assert_eq!(ground.inside(1, &["hostname"]), (0, "ct1\n".to_owned()));
    assert_eq!(ground.inside(4, &["cat", "/etc/tool"]), (0, "hello world; $(reboot)\n".to_owned()));

    let config = fs::read_to_string(ground.config(4)).expect("a configuration");
    let map = format!("0 {HOST_ROOT} 65536");
    let lines = match ground.kind() {
        Kind::Lxc => vec!["lxc.start.auto = 1", "lxc.start.order = 7", "lxc.start.delay = 2"],
        Kind::Pct => vec!["onboot: 1", "startup: order=7,up=2", "unprivileged: 1"],
    };
    for line in lines {
        assert!(config.contains(line), "{line} is missing:\n{config}");
    }
    let written = fs::read_to_string(ground.container(4).join("config")).expect("a configuration of LXC");
    assert!(written.contains(&format!("lxc.idmap = u {map}")), "{written}");
    let init = ground.init(4).expect("an init");
    let kernel = fs::read_to_string(format!("/proc/{init}/uid_map")).expect("a map");
    assert_eq!(kernel.split_whitespace().collect::<Vec<_>>().join(" "), map);
    let lines = ground.ends(0, &["journal", "export"]).stdout;
    let seen = lines
        .lines()
        .find(|line| line.contains("finalize.idmap") && line.contains("outcome") && line.contains(&ground.ctid(4).to_string()));
    assert!(seen.is_some_and(|line| line.contains(&HOST_ROOT.to_string())), "the id map is evidence: {seen:?}");
    ground.invariant_journal_is_clean();
}

fn up_on_a_finished_fleet_writes_nothing_and_starts_no_process(kind: Kind) {
    let Some(ground) = Ground::on(kind, 1) else { return };
    let feature = ground.script("once", "true");
    super::fleet::Fleet::new(&ground)
        .volume("data", serde_json::json!({ "owner": { "uid": 0, "gid": 0 } }))
        .container(0, serde_json::json!({ "features": [feature], "volumes": [{ "volume": "data", "at": "/data" }] }))
        .container(1, serde_json::json!({ "clone_from": 2, "health": [{ "name": "yes", "command": ["true"] }] }))
        .container(2, serde_json::json!({}))
        .write();
    ground.up(0);
    let rows = ground.entries().len();
    let files = files_of(&ground.path("journal"));
    let inits: Vec<_> = (0..3).map(|place| ground.init(place)).collect();
    let manifest = ground.path("fleet.json");
    let arguments = ["up", manifest.to_str().expect("plain")];

    let mut command = ground.command(&arguments);
    command.env("PATH", "");
    let said = ground.start_command(command).wait();
    assert_eq!(said.code, 0, "{}", said.stderr);
    ground.resume(0);
    if has("strace") {
        let trace = ground.path("trace");
        let options = ["-f", "-qq", "-e", "trace=execve,fork,vfork,clone,clone3", "-o", trace.to_str().expect("plain")];
        let said = ground.start_command(ground.command_of(Path::new("/usr/bin/strace"), &options, &arguments)).wait();
        assert_eq!(said.code, 0, "{}", said.stderr);
        let calls = fs::read_to_string(&trace).expect("a trace");
        let executed = calls.lines().filter(|line| line.contains("execve(")).count();
        let forked: Vec<&str> = calls
            .lines()
            .filter(|line| ["fork(", "clone(", "clone3("].iter().any(|call| line.contains(call)) && !line.contains("CLONE_THREAD"))
            .collect();
        assert_eq!((executed, forked), (1, Vec::new()), "phoenix itself and nothing else:\n{calls}");
    } else {
        skip("counts no processes without strace");
    }

    assert_eq!(ground.entries().len(), rows, "no row was added");
    assert_eq!(files_of(&ground.path("journal")), files, "no file was written");
    assert_eq!((0..3).map(|place| ground.init(place)).collect::<Vec<_>>(), inits);
}

/// Every file below: its length, when it was changed, and which it is.
pub(crate) fn files_of(path: &Path) -> Vec<(String, u64, i64, i64, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("a directory").flatten() {
        let meta = entry.metadata().expect("a file");
        // The shared index is memory, which readers mark themselves in.
        let name = entry.file_name().to_string_lossy().into_owned();
        if meta.is_dir() {
            found.extend(files_of(&entry.path()));
        } else if !name.ends_with("-shm") {
            found.push((name, meta.len(), meta.mtime(), meta.mtime_nsec(), meta.ino()));
        }
    }
    found.sort();
    found
}

fn down_takes_away_what_is_ours_and_nothing_else(kind: Kind) {
    let Some(ground) = Ground::on(kind, 2) else { return };
    five(&ground);
    ground.up(0);
    fs::write(ground.path("srv/media/precious"), "kept").expect("written");
    assert_ne!(ground.control_groups(), Vec::<PathBuf>::new(), "running containers have control groups");
    ground.down(0);

    assert_eq!(ground.standing(), Vec::<String>::new());
    assert_eq!(fs::read_to_string(ground.path("srv/media/precious")).expect("kept"), "kept");
    assert!(ground.path("srv/media").join(format!("from-{}", ground.ctid(2))).exists());
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    assert!(!mounts.contains(ground.lxc_path().to_str().expect("plain")), "{mounts}");
    assert_eq!(ground.processes(), []);
    // Whoever removes them last may be a moment behind; who is still in them tells why they stay.
    let from = now();
    while !ground.control_groups().is_empty() && from.elapsed() < CGROUPS_STAY_MAX {
        pause(50);
    }
    let within = |group: &PathBuf| format!("{}: {:?}", group.display(), fs::read_to_string(group.join("cgroup.procs")));
    let left: Vec<String> = ground.control_groups().iter().map(within).collect();
    assert!(left.is_empty(), "{left:#?}");
    let kept: Vec<_> = [ground.path("journal"), ground.runtime().to_owned()].iter().flat_map(|path| files_of(path)).collect();
    let kept: Vec<_> = kept.iter().filter(|(name, ..)| [".json", ".out", ".shim"].iter().any(|end| name.ends_with(end))).collect();
    assert!(kept.is_empty(), "results are kept: {kept:?}");
    ground.down(0);
    ground.invariant_journal_is_clean();

    // And up again, as new containers with their shared directory as it was.
    ground.up(0);
    check_all_done(&ground, 5);
    assert_eq!(ground.inside(3, &["cat", "/mnt/media/precious"]), (0, "kept".to_owned()));
}

on_each_host! {
    a_fleet_comes_up_with_its_owners_mounts_and_limits
    up_on_a_finished_fleet_writes_nothing_and_starts_no_process
    down_takes_away_what_is_ours_and_nothing_else
}
