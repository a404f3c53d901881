//! `pct resize`, `mount`, `unmount` and `rescan`.
//!
//! The pieces of `resize`: `volume` (the volume has grown), `written` (the configuration says so), `end` (the file system has grown as
//! well). In this order and with these words from Proxmox's source.

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::conf::Conf;
use crate::died::{Died, Outcome, die, out};
use crate::mounting::{MountPoint, mount_all, unmount_all};
use crate::property::{parse_size, size_text};
use crate::storage::{Storage, Volume};
use crate::{lock, lxc};

const ID: &[(&str, Kind)] = &[("vmid", Kind::Vmid)];

pub(crate) const RESIZE: Command = Command {
    name: "resize",
    takes: Takes::plain(
        "resize <vmid> <disk> <size> [OPTIONS]",
        &[("vmid", Kind::Vmid), ("disk", Kind::Text), ("size", Kind::Size)],
        &[("digest", Kind::Text)],
    ),
    run: Run::Task { kind: "resize", begin: begin_resize, work: resize },
};
pub(crate) const MOUNT: Command = Command { name: "mount", takes: Takes::plain("mount <vmid>", ID, &[]), run: Run::Here(mount) };
pub(crate) const UNMOUNT: Command = Command { name: "unmount", takes: Takes::plain("unmount <vmid>", ID, &[]), run: Run::Here(unmount) };
pub(crate) const RESCAN: Command = Command {
    name: "rescan",
    takes: Takes::plain("rescan  [OPTIONS]", &[], &[("dryrun", Kind::Bool), ("vmid", Kind::Vmid)]),
    run: Run::Here(rescan),
};

/// The disk, its volume, and the size that it is to have.
fn wanted(call: &Call) -> Outcome<(Conf, MountPoint, Volume, u64)> {
    let (disk, size) = (&call.given.positional[1], &call.given.positional[2]);
    let conf = Conf::load(&call.root, call.id())?;
    conf.check_lock()?;
    conf.check_digest(call.given.get("digest"))?;
    let Some(value) = conf.main.get(disk) else {
        let missing = ["volume", "mp"].map(|name| format!("{name}: property is missing and it is not optional"));
        return die(format!("format error\n{}", missing.join("\n")));
    };
    let point = MountPoint::parse(disk, value)?;
    if point.is_bind() {
        return die(format!("can't resize mount point owned by another container ({})", call.id()));
    }
    let volume = Volume::parse(&call.root, point.source())?;
    let (old, text) = (volume.size(&call.root), size.strip_prefix('+'));
    let number = parse_size(text.unwrap_or(size)).ok_or_else(|| Died::new("invalid size string"))?;
    let new = if text.is_some() { old + number } else { number };
    if new < old {
        return die("unable to shrink disk size");
    }
    if new == old {
        return die("disk is already at specified size");
    }
    Ok((conf, point, volume, new))
}

fn begin_resize(call: &Call) -> Outcome {
    wanted(call).map(drop)
}

fn resize(call: &Call) -> Outcome {
    let _held = lock::config(call, call.id())?;
    let (mut conf, mut point, volume, size) = wanted(call)?;
    if !volume.is_directory() {
        out("Image resized.");
    }
    volume.set_size(&call.root, size)?;
    call.piece("volume")?;
    point.property.set("size", size_text(size));
    conf.main.set(&point.key, point.print());
    conf.write(&call.root, call.id())?;
    call.piece("written")?;
    volume.grow_file_system(&call.root)?;
    call.piece("end")
}

fn mount(call: &Call) -> Outcome<u8> {
    let (root, id) = (&call.root, call.id());
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    conf.check_lock()?;
    conf.main.set("lock", "mounted");
    conf.write(root, id)?;
    call.piece("locked")?;
    mount_all(root, id, &conf.main)?;
    out(&format!("mounted CT {id} in '{}'", root.mounted(id).display()));
    Ok(0)
}

fn unmount(call: &Call) -> Outcome<u8> {
    let (root, id) = (&call.root, call.id());
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    if conf.main.get("lock") != Some("mounted") {
        return die("no lock found trying to remove 'mounted'  lock");
    }
    unmount_all(root, id)?;
    conf.main.remove("lock");
    conf.write(root, id)?;
    Ok(0)
}

/// Volumes that their container's configuration does not name become `unusedN`.
fn rescan(call: &Call) -> Outcome<u8> {
    let root = &call.root;
    out("rescan volumes...");
    let volumes: Vec<Volume> = Storage::all(root).iter().flat_map(Storage::volumes).collect();
    for id in root.containers() {
        let _held = lock::config(call, id)?;
        let mut conf = Conf::load(root, id)?;
        let text = std::fs::read_to_string(root.conf(id)).unwrap_or_default();
        let mut changed = false;
        for volume in volumes.iter().filter(|volume| volume.owner() == Some(id) && !text.contains(&volume.id())) {
            let free = (0..256).map(|number| format!("unused{number}")).find(|key| conf.main.get(key).is_none());
            out(&format!("CT {id} add unreferenced volume '{}' as '{}' to config", volume.id(), free.as_deref().unwrap_or_default()));
            conf.main.set(&free.unwrap_or_default(), volume.id());
            changed = true;
        }
        if changed && !call.given.is_on("dryrun") {
            conf.write(root, id)?;
            let _ = lxc::write_config(root, id, &conf);
        }
    }
    Ok(0)
}
