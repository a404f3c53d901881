//! `pct destroy` and `pct unlock`.
//!
//! The pieces of `destroy`: `locked`, `volumes` (the volumes are gone), `destroyed` (the configuration says `lock: destroyed`
//! and nothing else), `end`.

use std::fs;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::conf::Conf;
use crate::died::{Outcome, die, out};
use crate::mounting::MountPoint;
use crate::storage::{Storage, Volume};
use crate::{create, lock, lxc};

pub(crate) const DESTROY: Command = Command {
    name: "destroy",
    takes: Takes::plain(
        "destroy <vmid> [OPTIONS]",
        &[("vmid", Kind::Vmid)],
        &[("destroy-unreferenced-disks", Kind::Bool), ("force", Kind::Bool), ("purge", Kind::Bool)],
    ),
    run: Run::Task { kind: "vzdestroy", begin, work },
};

pub(crate) const UNLOCK: Command =
    Command { name: "unlock", takes: Takes::plain("unlock <vmid>", &[("vmid", Kind::Vmid)], &[]), run: Run::Here(unlock) };

fn check(call: &Call, conf: &Conf) -> Outcome {
    let id = call.id();
    conf.check_lock()?;
    if conf.main.is_on("protection") {
        return die(format!("can't remove CT {id} - protection mode enabled"));
    }
    if lxc::is_running(&call.root, id) && !call.given.is_on("force") {
        return die(format!("unable to destroy CT {id} - container is running"));
    }
    Ok(())
}

fn begin(call: &Call) -> Outcome {
    check(call, &Conf::load(&call.root, call.id())?)
}

fn work(call: &Call) -> Outcome {
    let (root, id) = (&call.root, call.id());
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    check(call, &conf)?;
    call.piece("locked")?;
    if lxc::is_running(root, id) {
        out(&format!("forced to stop CT {id} before destroying!"));
        lxc::stop(root, id, &["--kill"])?;
        conf = Conf::load(root, id)?;
    }
    let mut volumes = named(call, &conf)?;
    if call.given.is_on("destroy-unreferenced-disks") {
        for volume in Storage::all(root).iter().flat_map(Storage::volumes).filter(|volume| volume.owner() == Some(id)) {
            if !volumes.contains(&volume) {
                volumes.push(volume);
            }
        }
    }
    for volume in &volumes {
        volume.free(root)?;
    }
    call.piece("volumes")?;
    let mut left = Conf::default();
    left.main.set("lock", "destroyed");
    left.write(root, id)?;
    call.piece("destroyed")?;
    // What is still mounted there, and other files, stay.
    let _ = fs::remove_dir(root.mounted(id));
    let _ = fs::remove_file(root.lxc(id).join("config"));
    let _ = fs::remove_dir(root.lxc(id));
    if call.given.is_on("purge") {
        out(&format!("purging CT {id} from related configurations.."));
    }
    create::forget(root, id)?;
    call.piece("end")
}

/// The volumes that the configuration and its snapshots name, each once, if they are the container's own.
fn named(call: &Call, conf: &Conf) -> Outcome<Vec<Volume>> {
    let mut volumes: Vec<Volume> = Vec::new();
    for section in [&conf.main, &conf.pending].into_iter().chain(conf.snapshots.values()) {
        let points = MountPoint::all(section)?.into_iter().filter(|point| !point.is_bind()).map(|point| point.source().to_owned());
        for id in points.chain(section.numbered("unused").map(|(_, id)| id.to_owned())) {
            let volume = Volume::parse(&call.root, &id)?;
            if volume.owner() == Some(call.id()) && !volumes.contains(&volume) {
                volumes.push(volume);
            }
        }
    }
    Ok(volumes)
}

fn unlock(call: &Call) -> Outcome<u8> {
    let (root, id) = (&call.root, call.id());
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    if conf.main.remove("lock").is_none() {
        return die("no lock found trying to remove any lock");
    }
    conf.write(root, id)?;
    Ok(0)
}
