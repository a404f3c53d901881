//! What Phoenix and its shims make durable, in the order in which the kernel saw it.
//!
//! No test on a healthy disk notices a missing sync. So the system calls are watched (`strace`), and two rules are asked of
//! every rename: what gets a name was synced after it was last written, and the name itself is synced before the journal is,
//! which then says that the step is done. Not here: the journal's own files, for which a disk is simulated (`journal_file`).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;

use super::fleet::Fleet;
use super::ground::{Ground, has, skip};
use super::processes::until;

/// Where results of scripts lie.
const RESULTS: &str = "journal.db.d/results/";
/// The calls that matter here.
const CALLS: &str = "trace=write,pwrite64,writev,fsync,fdatasync,syncfs,rename,renameat,renameat2";

#[test]
fn what_gets_a_name_is_durable_and_so_is_the_name_before_the_journal_says_done() {
    let Some(mut ground) = Ground::new(46) else { return };
    if !has("strace") {
        assert!(std::env::var_os("PHOENIX_TEST_LXC").is_none_or(|value| value != "require"), "strace is required here");
        return skip("needs strace");
    }
    // The volume on a file system of its own, so that a sync of the container's is none of it.
    ground.mount_tmpfs("srv", "size=4m");
    let script = ground.script("hello", "echo hello >/srv/media/hello");
    Fleet::new(&ground)
        .volume("media", json!({ "owner": { "uid": 1000, "gid": 1000 } }))
        .container(0, json!({ "volumes": [{ "volume": "media", "at": "/srv/media" }], "features": [script] }))
        .write();
    let manifest = ground.path("fleet.json");
    let up = watched(&ground, "up", &["up", manifest.to_str().expect("plain")]);
    let down = watched(&ground, "down", &["down", "--all", "--yes"]);
    let mut named = Vec::new();
    for log in [up, down] {
        let text = until("the end of strace", || written(&ground, &log));
        let calls = calls(&text, &ground);
        assert!(calls.iter().any(|call| matches!(call, Call::Commit)), "the journal was written");
        named.extend(check(&calls, &ground));
    }
    let ctid = ground.ctid(0).to_string();
    let container = format!("lxc/{ctid}");
    for what in [container.clone(), format!("{container}/config"), format!("lxc/.phoenix-gone-{ctid}-"), RESULTS.to_owned()] {
        assert!(named.iter().any(|path| path.contains(&what)), "nothing like {what} was renamed: {named:#?}");
    }
}

/// Runs Phoenix to a good end with its calls written down; where.
fn watched(ground: &Ground, name: &str, arguments: &[&str]) -> std::path::PathBuf {
    let log = ground.path(&format!("{name}.strace"));
    let before = ["-D", "-f", "-y", "-s", "0", "-e", "signal=none", "-e", CALLS, "-o", log.to_str().expect("plain")];
    let said = ground.start_command(ground.command_of(Path::new("strace"), &before, arguments)).wait();
    assert_eq!(said.code, 0, "{}", said.all());
    log
}

/// What was written down, once nobody writes any more: the container's processes are watched as well, as long as they live.
fn written(ground: &Ground, log: &Path) -> Option<String> {
    let watching = ground.processes().iter().any(|one| one.argv.first().is_some_and(|program| program.ends_with("strace")));
    (!watching).then(|| fs::read_to_string(log).expect("what strace wrote"))
}

/// A call of Phoenix or a shim that succeeded, in the order of their ends.
#[derive(Debug)]
enum Call {
    Write(String),
    Sync(String),
    /// A whole file system, by something on it.
    SyncAll(String),
    Rename(String, String),
    /// The journal's log was synced.
    Commit,
}

fn calls(text: &str, ground: &Ground) -> Vec<Call> {
    let mut unfinished: BTreeMap<&str, &str> = BTreeMap::new();
    let mut calls = Vec::new();
    let journal = format!("{}-wal", ground.journal().display());
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        let whole = if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            unfinished.insert(pid, begun);
            continue;
        } else if rest.starts_with("<... ") {
            let Some((_, end)) = rest.split_once(" resumed>") else { continue };
            format!("{}{end}", unfinished.remove(pid).unwrap_or_default())
        } else {
            rest.to_owned()
        };
        calls.extend(call(&whole, &journal));
    }
    calls
}

fn call(text: &str, journal: &str) -> Option<Call> {
    let (name, rest) = text.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with('-') {
        return None;
    }
    let file = || Some(arguments.split_once('<')?.1.split_once('>')?.0.to_owned());
    Some(match name {
        "write" | "pwrite64" | "writev" => Call::Write(file()?),
        "fsync" | "fdatasync" if file()? == journal => Call::Commit,
        "fsync" | "fdatasync" => Call::Sync(file()?),
        "syncfs" => Call::SyncAll(file()?),
        _ => {
            let parts: Vec<&str> = arguments.split('"').collect();
            let [before, from, between, to, ..] = parts[..] else { return None };
            Call::Rename(named(before, from), named(between, to))
        }
    })
}

/// A name, in the directory that the descriptor before it stands for.
fn named(before: &str, name: &str) -> String {
    let directory = before.rsplit_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(directory, _)| directory);
    Path::new(directory).join(name).to_str().expect("plain").to_owned()
}

/// Asks both rules of every rename; the new names.
#[track_caller]
fn check(calls: &[Call], ground: &Ground) -> Vec<String> {
    let apart = [ground.path("srv"), ground.runtime().to_owned()];
    let file_system = |path: &str| apart.iter().position(|root| Path::new(path).starts_with(root));
    let synced = |calls: &[Call], what: &str| {
        let of = |call: &Call| match call {
            Call::SyncAll(path) => file_system(path) == file_system(what),
            Call::Sync(path) => path == what,
            Call::Write(_) | Call::Rename(..) | Call::Commit => false,
        };
        calls.iter().any(of)
    };
    let volume = ground.path("srv/media").display().to_string();
    let mut named = Vec::new();
    for (at, call) in calls.iter().enumerate() {
        let Call::Rename(from, to) = call else { continue };
        for (written, call) in calls[..at].iter().enumerate() {
            let Call::Write(path) = call else { continue };
            let is_of = Path::new(path).starts_with(from);
            assert!(!is_of || synced(&calls[written..at], path), "{to} was given its name before {path} was synced");
        }
        let parent = Path::new(to).parent().expect("a directory").to_str().expect("plain");
        let committed = calls[at..].iter().position(|call| matches!(call, Call::Commit)).map_or(calls.len(), |more| at + more);
        assert!(synced(&calls[at..committed], parent), "the name {to} was not synced before the journal was");
        // What the script did is durable before it counts as done.
        let is_result = to.contains(RESULTS) && Path::new(to).extension().is_some_and(|end| end == "json");
        let begun = calls[..at].iter().rposition(|call| matches!(call, Call::Commit)).unwrap_or_default();
        for whole in [ground.rootfs(0).display().to_string(), volume.clone()] {
            let is_whole = |call: &Call| matches!(call, Call::SyncAll(path) if *path == whole);
            assert!(!is_result || calls[begun..at].iter().any(is_whole), "{to} was given its name before {whole} was synced");
        }
        named.push(to.clone());
    }
    named
}
