//! `pct snapshot`, `delsnapshot`, `rollback` and `listsnapshot`.
//!
//! The pieces of `snapshot`: `prepare` (`lock: snapshot`, the section with `snapstate: prepare`), `freeze` (a running container
//! is frozen), `volume`, `thaw`, `end`. Those of `delsnapshot`: `prepare` (`lock: snapshot-delete`, `snapstate: delete`),
//! `volume`, `end`. Those of `rollback`: `prepare` (`lock: rollback`), `stopped`, `volume`, `end`.

use std::fs;
use std::io;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::clock;
use crate::conf::{Conf, Section};
use crate::died::{Died, Outcome, die, out};
use crate::mounting::MountPoint;
use crate::root::Root;
use crate::storage::{Feature, Source, Volume, copy_tree};
use crate::{life, lock, lxc, task, tree};

const ID_AND_NAME: &[(&str, Kind)] = &[("vmid", Kind::Vmid), ("snapname", Kind::Name)];

pub(crate) const SNAPSHOT: Command = Command {
    name: "snapshot",
    takes: Takes::plain("snapshot <vmid> <snapname> [OPTIONS]", ID_AND_NAME, &[("description", Kind::Text)]),
    run: Run::Task { kind: "vzsnapshot", begin: begin_snapshot, work: snapshot },
};

pub(crate) const DELSNAPSHOT: Command = Command {
    name: "delsnapshot",
    takes: Takes::plain("delsnapshot <vmid> <snapname> [OPTIONS]", ID_AND_NAME, &[("force", Kind::Bool)]),
    run: Run::Task { kind: "vzdelsnapshot", begin: begin_other, work: delsnapshot },
};

pub(crate) const ROLLBACK: Command = Command {
    name: "rollback",
    takes: Takes::plain("rollback <vmid> <snapname> [OPTIONS]", ID_AND_NAME, &[("start", Kind::Bool)]),
    run: Run::Task { kind: "vzrollback", begin: begin_other, work: rollback },
};

pub(crate) const LISTSNAPSHOT: Command =
    Command { name: "listsnapshot", takes: Takes::plain("listsnapshot <vmid>", &[("vmid", Kind::Vmid)], &[]), run: Run::Here(list) };

/// Keys of a section that are about the snapshot, not about the container.
const OF_SNAPSHOTS: [&str; 3] = ["snaptime", "snapstate", "snapname"];

fn name(call: &Call) -> &str {
    call.given.positional.get(1).map(String::as_str).unwrap_or_default()
}

fn begin_snapshot(call: &Call) -> Outcome {
    if name(call) == "current" {
        return Err(Died::new("unable to use snapshot name 'current' (reserved name)").with_code(2));
    }
    begin_other(call)
}

fn begin_other(call: &Call) -> Outcome {
    Conf::load(&call.root, call.id()).map(drop)
}

/// The volumes of a section; a mount of a directory cannot be part of a snapshot.
fn volumes(root: &Root, section: &Section, feature: Feature, from: Source) -> Outcome<Vec<Volume>> {
    let not_available =
        || Died::new(format!("{} feature is not available", if feature == Feature::Snapshot { "snapshot" } else { "this" }));
    let mut found = Vec::new();
    for point in MountPoint::all(section)? {
        if point.is_bind() {
            return Err(not_available());
        }
        let volume = Volume::parse(root, point.source())?;
        if !volume.can(feature, from) {
            return Err(not_available());
        }
        found.push(volume);
    }
    Ok(found)
}

fn missing(call: &Call) -> Died {
    Died::new(format!("snapshot '{}' does not exist", name(call)))
}

fn snapshot(call: &Call) -> Outcome {
    let (root, id, name) = (&call.root, call.id(), name(call));
    let volumes = {
        let _held = lock::config(call, id)?;
        let mut conf = Conf::load(root, id)?;
        conf.check_lock()?;
        if conf.snapshots.contains_key(name) {
            return die(format!("snapshot name '{name}' already used"));
        }
        let volumes = volumes(root, &conf.main, Feature::Snapshot, Source::Current)?;
        let mut taken = conf.main.clone();
        taken.keys.retain(|key, _| key != "description" && !key.starts_with("unused"));
        if let Some(text) = call.given.get("description") {
            taken.set("description", text.lines().map(|line| line.to_owned() + "\n").collect::<String>());
        }
        taken.set("snaptime", clock::now_s().to_string());
        taken.set("snapstate", "prepare");
        conf.snapshots.insert(name.to_owned(), taken);
        conf.main.set("lock", "snapshot");
        conf.write(root, id)?;
        volumes
    };
    let done = call.piece("prepare").and_then(|()| take(call, &volumes));
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    if let Err(died) = done {
        out("snapshot create failed: starting cleanup");
        task::forget_interrupt();
        for volume in &volumes {
            // It may not have been made.
            let _ = fs::remove_dir_all(volume.snapshot_path(name));
        }
        conf.snapshots.remove(name);
        conf.main.remove("lock");
        conf.write(root, id)?;
        return Err(died);
    }
    if conf.main.get("lock") != Some("snapshot") {
        return die("missing snapshot lock");
    }
    conf.main.remove("lock");
    conf.main.set("parent", name);
    if let Some(taken) = conf.snapshots.get_mut(name) {
        taken.remove("snapstate");
    }
    conf.write(root, id)?;
    call.piece("end")
}

fn take(call: &Call, volumes: &[Volume]) -> Outcome {
    let (root, id) = (&call.root, call.id());
    let running = lxc::is_running(root, id);
    if running {
        lxc::freeze(root, id, true)?;
    }
    let taken = call.piece("freeze").and_then(|()| {
        volumes.iter().try_for_each(|volume| copy_tree(&volume.path(), &volume.snapshot_path(name(call))))?;
        call.piece("volume")
    });
    if running {
        lxc::freeze(root, id, false)?;
    }
    taken.and_then(|()| call.piece("thaw"))
}

fn delsnapshot(call: &Call) -> Outcome {
    let (root, id, name) = (&call.root, call.id(), name(call));
    let section = {
        let _held = lock::config(call, id)?;
        let mut conf = Conf::load(root, id)?;
        let Some(section) = conf.snapshots.get_mut(name) else { return Err(missing(call)) };
        if let Some(lock) = conf.main.get("lock") {
            return die(format!("CT is locked ({lock})"));
        }
        section.set("snapstate", "delete");
        let section = section.clone();
        conf.main.set("lock", "snapshot-delete");
        conf.write(root, id)?;
        section
    };
    call.piece("prepare")?;
    for point in MountPoint::all(&section)?.iter().filter(|point| !point.is_bind()) {
        if let Err(died) = remove(&Volume::parse(root, point.source())?, name) {
            if !call.given.is_on("force") {
                return Err(died);
            }
            out(&died.text);
        }
    }
    call.piece("volume")?;
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    let parent = conf.snapshots.remove(name).and_then(|mut section| section.remove("parent"));
    for section in [&mut conf.main].into_iter().chain(conf.snapshots.values_mut()) {
        if section.get("parent") == Some(name) {
            match &parent {
                Some(parent) => section.set("parent", parent.clone()),
                None => drop(section.remove("parent")),
            }
        }
    }
    conf.main.remove("lock");
    conf.write(root, id)?;
    call.piece("end")
}

fn remove(volume: &Volume, name: &str) -> Outcome {
    let path = volume.snapshot_path(name);
    let why = match fs::remove_dir_all(&path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        Err(error) => error.to_string(),
    };
    die(format!("command 'btrfs subvolume delete -- {}' failed: ERROR: Could not statfs: {why}", path.display()))
}

fn rollback(call: &Call) -> Outcome {
    let (root, id, name) = (&call.root, call.id(), name(call));
    let held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    let Some(section) = conf.snapshots.get(name).cloned() else { return Err(missing(call)) };
    if let Some(state) = section.get("snapstate") {
        return die(format!("unable to rollback to incomplete snapshot (snapstate = {state})"));
    }
    conf.check_lock()?;
    conf.main.set("lock", "rollback");
    conf.write(root, id)?;
    call.piece("prepare")?;
    if lxc::is_running(root, id) {
        lxc::stop(root, id, &["--kill"])?;
    }
    call.piece("stopped")?;
    for point in MountPoint::all(&section)?.iter().filter(|point| !point.is_bind()) {
        let volume = Volume::parse(root, point.source())?;
        let failed = |error: &io::Error| Died::io("remove", &volume.path(), error);
        fs::remove_dir_all(volume.path()).map_err(|error| failed(&error))?;
        copy_tree(&volume.snapshot_path(name), &volume.path())?;
    }
    call.piece("volume")?;
    // Stopping gave what waited its effect.
    conf = Conf::load(root, id)?;
    let description = conf.main.remove("description");
    let unused: Vec<(String, String)> = conf.main.numbered("unused").map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    conf.main = section;
    conf.main.keys.retain(|key, _| !OF_SNAPSHOTS.contains(&key.as_str()) && key != "description");
    conf.main.keys.extend(unused.into_iter().chain(description.map(|text| ("description".to_owned(), text))));
    conf.main.set("parent", name);
    conf.pending = Section::default();
    conf.write(root, id)?;
    call.piece("end")?;
    let _held = held;
    if call.given.is_on("start") { life::start_locked(call, id) } else { Ok(()) }
}

fn list(call: &Call) -> Outcome<u8> {
    let conf = Conf::load(&call.root, call.id())?;
    tree::lines(&conf).iter().for_each(|line| out(line));
    Ok(0)
}
