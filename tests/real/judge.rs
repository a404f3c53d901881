//! Whether a fleet that was struck came out as one that was not: what is lost, what was doubled, what leaked.
//!
//! Apart from who strikes (`random_kills`), so that no strike can excuse what it left. Scripts are judged by a log that they
//! keep themselves, each start and each end with the token of the intent that it belongs to; the journal is read beside it.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use phoenix::plan::{Intent, Reason};
use serde_json::json;

use super::fingerprint::Fingerprint;
use super::fleet::Fleet;
use super::ground::{Ground, Kind};
use super::processes::{Process, now, pause};

/// How long what is on its way out may take: the kernel with a killed namespace, a monitor with its control groups.
const LEAVING_MS_MAX: u128 = 5_000;
/// The containers of [`small`].
pub(crate) const PLACES: [u32; 3] = [0, 1, 2];
/// Every script step of [`small`]: container, script, step.
const SCRIPTS: [(u32, &str, &str); 5] = [
    (0, "first", "feature.apply[first]"),
    (0, "second", "feature.apply[second]"),
    (1, "write", "feature.apply[write]"),
    (1, "app", "application.run"),
    (2, "tool", "feature.apply[tool]"),
];

/// Three containers with nothing to spare: a base, one with a shared directory and an application that waits for it, a clone.
pub(crate) fn small(ground: &Ground) {
    let first = logged(ground, "first", "echo installed >/etc/first");
    let second = logged(ground, "second", "echo installed >/etc/second");
    let write = logged(ground, "write", "echo from $PHOENIX_CTID >/srv/media/from-$PHOENIX_CTID");
    let app = logged(ground, "app", "echo ready >/etc/app");
    let tool = logged(ground, "tool", "echo installed >/etc/tool");
    // Shorter than the shutdown of busybox: both ways down are met.
    let startup = json!({ "down_timeout": "1s" });
    let feature = |script: &str| json!({ "script": script, "retries": 1, "timeout": "20s" });
    Fleet::new(ground)
        .with_snapshots()
        .volume("media", json!({ "owner": { "uid": 1000, "gid": 1000 }, "mode": "0775" }))
        .container(0, json!({ "startup": startup, "features": [feature(&first), feature(&second)] }))
        .container(
            1,
            json!({
                "startup": startup,
                "depends_on": [0],
                "volumes": [{ "volume": "media", "at": "/srv/media" }],
                "snapshot_before_volumes": ground.kind() == Kind::Pct,
                "features": [feature(&write)],
                "application": feature(&app),
                "health": [{ "name": "up", "command": ["test", "-f", "/etc/app"], "retries": 2, "interval": "1s" }],
            }),
        )
        .container(2, json!({ "clone_from": 0, "features": [feature(&tool)] }))
        .write();
}

/// A script that writes down every start and every end with its token, and every older start of its own that still lives.
fn logged(ground: &Ground, name: &str, body: &str) -> String {
    let me = format!("$PHOENIX_CTID {name}");
    let text = format!(
        "#!/bin/sh\n\
         for old in $(sed -n \"s/^{me} //p\" /starts 2>/dev/null); do\n\
         grep -qsF \"PHOENIX_TOKEN=$old\" /proc/[0-9]*/environ && echo \"{me} $old $PHOENIX_TOKEN\" >>/overlaps\n\
         done\n\
         echo \"{me} $PHOENIX_TOKEN\" >>/starts\nsync /starts\nsleep 0.15\n{body}\necho \"{me} $PHOENIX_TOKEN\" >>/ends\nsync /ends\n"
    );
    ground.script(name, "");
    fs::write(ground.path(&format!("scripts/{name}.sh")), text).expect("written");
    format!("scripts/{name}.sh")
}

/// A kill of something else than Phoenix alone.
#[derive(Clone, Debug)]
pub(crate) struct Strike {
    /// From before it to after it, in milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// The container that was hit; `None` if any may have been.
    pub(crate) hit: Option<u32>,
    /// Whether it was the container's init, which takes its time to go.
    pub(crate) is_init: bool,
}

impl Strike {
    /// Whether it can have cut off what was under way in a container in that time.
    fn may_cut(&self, place: u32, (from, to): (i64, i64)) -> bool {
        let leaving_ms = if self.is_init { 2_000 } else { 100 };
        self.hit.is_none_or(|hit| hit == place) && self.from <= to && from <= self.to + leaving_ms
    }
}

/// What is wrong, by the word that it is counted under.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) leaked: Vec<String>,
}

impl Faults {
    pub(crate) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.leaked.is_empty()
    }
}

impl Ground {
    /// The world as far as it must not differ: without the scripts' logs, which tell of the way.
    pub(crate) fn world(&self) -> Fingerprint {
        let mut found = self.fingerprint(&PLACES);
        found.retain(|name, _| !["/starts", "/ends"].iter().any(|log| name.ends_with(log)));
        found
    }

    /// Judges a fleet that is up, after these strikes at anybody but Phoenix itself.
    pub(crate) fn judge_up(&self, wanted: &Fingerprint, strikes: &[Strike]) -> Faults {
        let mut faults = Faults::default();
        for one in self.status() {
            if one["state"] != "done" || one["standing"] != "active" {
                faults.lost.push(format!("{one}"));
            }
        }
        let found = self.world();
        let keys: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
        let differing = keys.into_iter().filter(|key| found.get(*key) != wanted.get(*key));
        faults.lost.extend(differing.map(|key| format!("{key}: found {:?}, wanted {:?}", found.get(key), wanted.get(key))));
        for (place, script, step) in SCRIPTS {
            self.judge_script(place, script, step, strikes, &mut faults);
        }
        self.judge_leaks(PLACES.len(), &mut faults);
        faults
    }

    /// Judges a fleet that was taken down: nothing of it is left but the shared directory.
    pub(crate) fn judge_down(&self) -> Faults {
        let mut faults = Faults::default();
        self.judge_leaks(0, &mut faults);
        faults.leaked.extend(self.standing());
        let kept = [self.path("journal"), self.runtime().to_owned()];
        faults
            .leaked
            .extend(kept.iter().flat_map(|path| super::lifetime::files_of(path)).map(|(name, ..)| name).filter(|name| is_result(name)));
        if !self.path("srv/media").is_dir() {
            faults.lost.push("the shared directory".to_owned());
        }
        faults
    }

    /// Every start has an intent of its own with a reason, none ran beside another or after one that succeeded, each that was not
    /// the last was struck, and the last one came to its end.
    fn judge_script(&self, place: u32, script: &str, step: &str, strikes: &[Strike], faults: &mut Faults) {
        let (starts, ends) = (self.log(place, "starts", script), self.log(place, "ends", script));
        let intents = self.intents_of(place, step);
        let told = |fact: &str| format!("{script} of {place} {fact}: starts {starts:?}, ends {ends:?}, intents {:#?}", short(&intents));
        let tokens: Vec<String> = intents.iter().map(|intent| intent.token.to_string()).collect();
        let distinct: BTreeSet<&String> = starts.iter().collect();
        if distinct.len() != starts.len() {
            faults.doubled.push(told("was started twice for one intent"));
        }
        if starts.iter().any(|start| !tokens.contains(start)) {
            faults.doubled.push(told("was started without an intent"));
        }
        let has_reason = |(index, intent): (usize, &Intent)| match &intent.reason {
            Reason::First => index == 0,
            Reason::Interrupted | Reason::Retry { .. } => index > 0,
            // Nothing that a script achieved is ever lost, and nobody asked.
            Reason::Lost | Reason::Asked => false,
        };
        if !intents.iter().enumerate().all(has_reason) {
            faults.doubled.push(told("was started again for no good reason"));
        }
        let times = self.open_times();
        let cut_off = |start: &String| times.get(start).is_some_and(|time| strikes.iter().any(|strike| strike.may_cut(place, *time)));
        if let Some(start) = starts.iter().rev().skip(1).find(|start| !cut_off(start)) {
            let when = times.get(start);
            faults.doubled.push(told(&format!("was started again after {start} ({when:?}), which nothing cut off ({strikes:?})")));
        }
        if fs::read_to_string(self.rootfs(place).join("overlaps")).is_ok_and(|text| text.contains(&format!(" {script} "))) {
            faults.doubled.push(told("was started beside itself"));
        }
        if tokens.last().is_none_or(|last| !ends.contains(last)) {
            faults.lost.push(told("is done and did not end"));
        }
        faults.doubled.extend(self.wrong_results(place, step, &intents).map(|fact| told(&fact)));
    }

    /// The tokens that a script wrote to one of its logs.
    fn log(&self, place: u32, log: &str, script: &str) -> Vec<String> {
        let text = fs::read_to_string(self.rootfs(place).join(log)).unwrap_or_default();
        let mine = format!("{} {script} ", self.ctid(place));
        text.lines().filter_map(|line| line.strip_prefix(&mine)).map(str::to_owned).collect()
    }

    /// What is there beside this many running containers, once what is leaving has had its time.
    fn judge_leaks(&self, running: usize, faults: &mut Faults) {
        let from = now();
        loop {
            let leaks = self.leaks(running);
            if leaks.is_empty() || from.elapsed().as_millis() > LEAVING_MS_MAX {
                faults.leaked.extend(leaks);
                return;
            }
            pause(10);
        }
    }

    fn leaks(&self, running: usize) -> Vec<String> {
        let processes = self.processes();
        let monitors: BTreeSet<u32> = processes.iter().filter(|one| one.is_monitor()).map(|one| one.pid).collect();
        let (known, strays): (Vec<_>, Vec<_>) =
            processes.iter().partition(|one| monitors.contains(&one.pid) || monitors.contains(&one.parent));
        let mut leaks: Vec<String> = strays.iter().map(|stray| format!("process {stray:?}")).collect();
        if known.len() != 2 * running {
            leaks.push(format!("{running} containers, and their monitors and inits are {known:#?}"));
        }
        leaks.extend(known.iter().flat_map(|one| self.held_by(one)));
        let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
        let ours = |line: &&str| self.directories().iter().any(|directory| line.contains(directory.to_str().expect("plain")));
        leaks.extend(mounts.lines().filter(ours).map(|line| format!("mount {line}")));
        leaks.extend(self.stray_control_groups(running));
        leaks.extend(self.left_by_commands());
        leaks
    }

    /// Locks and journal files that a container's process keeps open.
    fn held_by(&self, process: &Process) -> Vec<String> {
        let forbidden = [self.runtime().join("ct"), self.runtime().join("vol"), self.path("journal"), self.path("pve/run/lock")];
        let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
        let targets = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        let held = targets.filter(|target| forbidden.iter().any(|directory| target.starts_with(directory)));
        held.map(|target| format!("{} held by {process:?}", target.display())).collect()
    }

    /// Control groups of containers that are down, and of those that got a second name because the first was taken.
    fn stray_control_groups(&self, running: usize) -> Vec<String> {
        let groups = self.control_groups();
        let is_second = |group: &&PathBuf| group.file_name().is_some_and(|name| name.to_string_lossy().contains('-'));
        let told = |group: &PathBuf| {
            let within = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            format!("control group {} with [{}]", group.display(), within.split_whitespace().collect::<Vec<_>>().join(" "))
        };
        if running == 0 || groups.iter().any(|group| is_second(&group)) { groups.iter().map(told).collect() } else { Vec::new() }
    }
}

pub(crate) fn is_result(name: &str) -> bool {
    [".json", ".out", ".shim"].iter().any(|end| name.ends_with(end))
}

fn short(intents: &[Intent]) -> Vec<(String, u32, &Reason)> {
    intents.iter().map(|intent| (intent.token.to_string(), intent.attempt, &intent.reason)).collect()
}
