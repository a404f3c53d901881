//! Containers that mean harm: scripts that flood, hang, fork, kill and fill; names and output made for terminals; what others
//! may read.
//!
//! Not here: archives (`archive`), forged notes and marks (`lxc_host`), exchanged directories (`ownership::races`).

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use super::fleet::Fleet;
use super::ground::{Ground, Kind, Said, has, host_command, skip};
use super::judge::is_result;
use super::processes::until;

/// What a script keeps of a gigabyte, and something to spare.
const OUTPUT_KEPT_BYTES_MAX: u64 = 4 << 20;
/// Titles, colours, cleared screens, questions to the terminal, in all the ways there are to begin them.
const NASTY: &str = r"\033]0;owned\007\033[2J\033[31mred\b\b\r\177\302\233\062J\302\205\033Pq\033\\\233\000\016end";
/// The same for names.
const NASTY_NAME: &str = "na\u{1b}]0;owned\u{7}\u{9b}2J\u{7f}me";

fn state(ground: &Ground, place: u32) -> (String, String) {
    let status = ground.status();
    let one = status.iter().find(|one| one["ctid"] == ground.ctid(place)).expect("it is there");
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("state"), text("standing"))
}

fn hostile_scripts_end_and_hold_up_nobody(kind: Kind) {
    let Some(ground) = Ground::on(kind, 39) else { return };
    let decoy = ground.path("decoy");
    fs::create_dir(&decoy).expect("a directory");
    let feature = |name: &str, body: &str| json!({ "features": [{ "script": ground.script(name, body), "timeout": "1m" }] });
    let mut endless = feature("endless", "trap '' TERM INT HUP; while :; do sleep 1; done");
    endless["features"][0]["timeout"] = json!("2s");
    let daemon = "(setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' >/dev/null 2>&1 </dev/null &)";
    let killer = format!("kill -9 -1; kill -9 1; rm -rf /var/lib/phoenix; ln -s {} /var/lib/phoenix; true", decoy.display());
    Fleet::new(&ground)
        .container(0, feature("flood", "head -c 1000000000 /dev/zero; echo end"))
        .container(1, endless)
        .container(2, feature("daemons", &format!("for i in 1 2 3 4 5; do {daemon}; done; echo left")))
        .container(3, feature("killer", &killer))
        .container(4, feature("parent", "kill -9 $PPID; kill -9 0; sleep 60"))
        .write();
    let said = ground.up(1);
    let well = |place: u32| assert_eq!(state(&ground, place), ("done".to_owned(), "active".to_owned()), "{place}: {}", said.all());
    let failed = |place: u32| assert_eq!(state(&ground, place), ("running".to_owned(), "failed".to_owned()), "{place}: {}", said.all());
    well(0);
    failed(1);
    well(2);
    well(3);
    failed(4);
    assert!(fs::read_dir(&decoy).expect("the decoy").next().is_none(), "something was written through a link of the container");
    let kept: u64 = super::lifetime::files_of(&ground.path("journal")).iter().filter(|(name, ..)| is_result(name)).map(|file| file.1).sum();
    assert!(kept < OUTPUT_KEPT_BYTES_MAX, "{kept} bytes of output are kept");
    for (place, script) in ["flood", "endless", "daemons", "killer", "parent"].iter().enumerate() {
        assert_eq!(ground.starts(u32::try_from(place).expect("small"), script), 1, "{script}");
    }
    ground.down(0);
    until("the end of all processes", || ground.processes().is_empty().then_some(()));
    ground.invariant_journal_is_clean();
}

#[test]
fn hostile_scripts_that_fill_the_disk_are_told_and_not_repeated() {
    let Some(mut ground) = Ground::new(40) else { return };
    ground.mount_tmpfs("lxc", "size=24m");
    let fill = ground.script("fill", "dd if=/dev/zero of=/fill bs=65536 2>/dev/null; dd if=/dev/zero of=/rest bs=1 2>/dev/null; true");
    let after = ground.script("after", "true");
    Fleet::new(&ground).container(0, json!({ "features": [fill, after] })).write();
    let manifest = ground.path("fleet.json");
    let said = ground.run(&["up", manifest.to_str().expect("plain")]);
    assert!(said.code == 0 || said.all().contains("No space left"), "{}: {}", said.code, said.all());
    for name in ["fill", "rest"] {
        fs::remove_file(ground.rootfs(0).join(name)).expect("removed");
    }
    ground.up(0);
    assert_eq!(ground.starts(0, "fill"), 1, "it has a result, which does not lie on the disk that it filled");
    ground.invariant_journal_is_clean();
}

/// Nothing in it that a terminal would act on.
#[track_caller]
fn check_clean(said: &Said, why: &str) {
    for (stream, text) in [("stdout", &said.stdout), ("stderr", &said.stderr)] {
        if let Some(at) = text.find(|c: char| c.is_control() && c != '\n') {
            let from = text[..at].char_indices().rev().nth(60).map_or(0, |(index, _)| index);
            panic!("{why}: {stream} has a control character: {:?}", text[from..].chars().take(140).collect::<String>());
        }
    }
}

/// Everything that shows what the journal and the host say.
#[track_caller]
fn check_all_clean(ground: &Ground) {
    let (ctid, manifest) = (ground.ctid(0).to_string(), ground.path("fleet.json"));
    let manifest = manifest.to_str().expect("plain");
    let commands: [&[&str]; 8] = [
        &["status"],
        &["history"],
        &["history", &ctid],
        &["explain", &ctid],
        &["plan", manifest],
        &["journal", "export"],
        &["journal", "verify"],
        &["resume"],
    ];
    for command in commands {
        for options in [&[][..], &["--json"], &["-v"]] {
            let arguments = [options, command].concat();
            check_clean(&ground.run(&arguments), &arguments.join(" "));
        }
    }
}

#[test]
fn hostile_output_never_reaches_a_terminal_raw() {
    let Some(ground) = Ground::new(41) else { return };
    let nasty = ground.script("nasty", &format!("printf '{NASTY}\\n'; printf '{NASTY}\\n' >&2; exit 7"));
    let health = json!([{ "name": "nasty", "command": ["sh", "-c", format!("printf '{NASTY}'; exit 1")], "retries": 0 }]);
    Fleet::new(&ground).container(0, json!({ "features": [nasty] })).container(1, json!({ "health": health })).write();
    for options in [&[][..], &["-v"], &["--json"]] {
        let manifest = ground.path("fleet.json");
        let said = ground.run(&[options, &["up", manifest.to_str().expect("plain")]].concat());
        assert_eq!(said.code, 1, "{}", said.all());
        assert!(said.all().contains("red") && said.all().contains("end"), "what it wrote is told: {}", said.all());
        check_clean(&said, &format!("up {options:?}"));
    }
    check_all_clean(&ground);
}

#[test]
fn hostile_names_never_reach_a_terminal_raw() {
    let Some(ground) = Ground::new(42) else { return };
    let whole = ground.script("whole", "true");
    // Every place of a manifest where a text may stand, one at a time.
    let volume = |source: &str| json!({ "owner": { "uid": 0, "gid": 0 }, "source": source });
    let container = json!({ "hostname": "ct0", "template": ground.template(), "features": [whole] });
    let manifests: Vec<Value> = vec![
        json!({ "fleet": NASTY_NAME, "containers": { "900510": container } }),
        json!({ "fleet": "real", NASTY_NAME: 1, "containers": { "900510": container } }),
        json!({ "fleet": "real", "containers": { NASTY_NAME: container } }),
        json!({ "fleet": "real", "volumes": { NASTY_NAME: volume("/srv/x") }, "containers": { "900510": container } }),
        json!({ "fleet": "real", "volumes": { "x": volume(&format!("/srv/{NASTY_NAME}")) }, "containers": { "900510": container } }),
        json!({ "fleet": "real", "containers": { "900510": { "hostname": NASTY_NAME, "template": ground.template() } } }),
        json!({ "fleet": "real", "containers": { "900510": { "hostname": "x", "template": format!("/tmp/{NASTY_NAME}") } } }),
        json!({ "fleet": "real", "containers": { "900510": { "hostname": "x", "template": ground.template(), "features": [NASTY_NAME] } } }),
    ];
    let manifest = ground.path("fleet.json");
    let path = manifest.to_str().expect("plain");
    for text in manifests.iter().map(Value::to_string) {
        fs::write(&manifest, &text).expect("written");
        for arguments in [vec!["check", path], vec!["--json", "check", path], vec!["up", path]] {
            let said = ground.run(&arguments);
            assert_ne!(said.code, 70, "{text}: {}", said.all());
            check_clean(&said, &format!("{arguments:?} of {text}"));
        }
    }
    let odd = ground.path(&format!("fleet-{NASTY_NAME}.json"));
    for arguments in [vec!["up", odd.to_str().expect("UTF-8")], vec!["history", NASTY_NAME], vec![NASTY_NAME], vec!["down", NASTY_NAME]] {
        check_clean(&ground.run(&arguments), &format!("{arguments:?}"));
    }
    // Of what goes well the names are told as well.
    fs::write(&odd, json!({ "fleet": "real", "containers": { "900510": container } }).to_string()).expect("written");
    let (odd, copy) = (odd.to_str().expect("UTF-8"), ground.path(&format!("copy-{NASTY_NAME}.db")));
    let copy = copy.to_str().expect("UTF-8");
    for arguments in [&["check", odd][..], &["plan", odd], &["journal", "rebuild", odd, "--yes"], &["journal", "backup", copy]] {
        let said = ground.run(arguments);
        assert_eq!(said.code, 0, "{arguments:?}: {}", said.all());
        check_clean(&said, &format!("{arguments:?}"));
    }
}

fn hostile_commands_of_others_never_reach_a_terminal_raw(kind: Kind) {
    let Some(ground) = Ground::on(kind, 43) else { return };
    if !has("flock") {
        return skip("needs flock");
    }
    Fleet::new(&ground).container(0, json!({})).write();
    let locks = ground.runtime().join("ct");
    fs::create_dir_all(&locks).expect("a directory");
    fs::set_permissions(&locks, PermissionsExt::from_mode(0o700)).expect("a mode");
    let mut holder = host_command(Path::new("flock"));
    // It alone holds the lock, and its command has the words of what it runs.
    holder.arg("-o").arg(locks.join(format!("{}-{}", ground.kind().name(), ground.ctid(0)))).args(["sh", "-c", "read waiting", NASTY_NAME]);
    let mut holder = holder.stdin(Stdio::piped()).spawn().expect("flock starts");
    let manifest = ground.path("fleet.json");
    let phoenix = ground.start(&["-v", "up", manifest.to_str().expect("plain")]);
    until("its wait", || phoenix.stderr().contains("read waiting").then_some(()));
    check_all_clean(&ground);
    super::processes::end_children(holder.id());
    holder.kill().expect("killed");
    holder.wait().expect("it ends");
    let said = phoenix.wait();
    assert_eq!(said.code, 0, "{}", said.all());
    check_clean(&said, "up");
    check_all_clean(&ground);
}

/// Whether somebody else may read it, going through every directory down to it.
fn readable(path: &Path, open: bool, found: &mut Vec<String>) {
    let meta = fs::symlink_metadata(path).expect("it is there");
    let open = open && meta.mode() & if meta.is_dir() { 0o011 } else { 0o044 } != 0;
    if !open {
        return;
    }
    if meta.is_dir() {
        fs::read_dir(path).expect("a directory").flatten().for_each(|entry| readable(&entry.path(), open, found));
    } else {
        found.push(format!("{} {:o}", path.display(), meta.mode() & 0o7777));
    }
}

#[test]
fn hostile_neighbours_read_neither_journal_nor_copies_nor_results() {
    let Some(ground) = Ground::new(44) else { return };
    let talks = ground.script("talks", "echo confidential");
    Fleet::new(&ground).container(0, json!({ "features": [talks] })).write();
    let directory = ground.path("copies");
    fs::create_dir(&directory).expect("a directory");
    let (manifest, copy) = (ground.path("fleet.json"), directory.join("copy.db"));
    // A journal's directory that Phoenix makes itself.
    fs::remove_dir(ground.path("journal")).expect("removed");
    for arguments in [vec!["up", manifest.to_str().expect("plain")], vec!["journal", "backup", copy.to_str().expect("plain")]] {
        let careless = ground.command_of(Path::new("/bin/sh"), &["-c", "umask 0; exec \"$@\"", "sh"], &arguments);
        let said = ground.start_command(careless).wait();
        assert_eq!(said.code, 0, "{}", said.all());
    }
    let mut found = Vec::new();
    for path in [ground.path("journal"), ground.runtime().to_owned(), directory] {
        readable(&path, true, &mut found);
    }
    assert_eq!(found, Vec::<String>::new(), "others can read these");
}

#[test]
fn hostile_scripts_do_not_get_their_secret_into_an_error() {
    let Some(ground) = Ground::new(45) else { return };
    let (secret, file) = ("tr0ub4dor-and-three", ground.path("secret"));
    fs::write(&file, secret).expect("written");
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).expect("a mode");
    ground.script("leaks", "echo \"cannot log in with $PW\" >&2; printf '%s\\n' \"$PW\"; exit 9");
    let feature = json!({ "script": "scripts/leaks.sh", "env": { "PW": { "secret_file": file } } });
    Fleet::new(&ground).container(0, json!({ "features": [feature] })).write();
    let (ctid, manifest) = (ground.ctid(0).to_string(), ground.path("fleet.json"));
    let manifest = manifest.to_str().expect("plain");
    let commands: [&[&str]; 6] =
        [&["up", manifest], &["status"], &["history"], &["explain", &ctid], &["plan", manifest], &["journal", "export"]];
    for command in commands {
        for options in [&[][..], &["-v"], &["--json"]] {
            let said = ground.run(&[options, command].concat());
            assert!(!said.all().contains(secret), "{command:?} tells it: {}", said.all());
        }
    }
    assert!(ground.run(&["explain", &ctid]).all().contains("cannot log in"), "the rest of its words is told");
}

on_each_host! {
    hostile_scripts_end_and_hold_up_nobody
    hostile_commands_of_others_never_reach_a_terminal_raw
}
