//! `pct clone` and `pct template`.
//!
//! The pieces of a clone: `locks` (in the waiting process: the source says `lock: disk`, the target is a whole configuration
//! with `lock: create` and without volumes), `volume` (a volume is copied), `config` (it stands in the target's
//! configuration), `unlocked` (the target's lock is gone), `end` (the source's too). Those of `template`: `locked`, `volume`,
//! `end`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::arguments::{Kind, Takes, parameter};
use crate::call::{Call, Command, Run};
use crate::conf::{Conf, Section};
use crate::died::{Died, Outcome, die, out};
use crate::mounting::MountPoint;
use crate::property::{NET, Property};
use crate::root::Vmid;
use crate::storage::{Feature, Source, Storage, Volume, format_said};
use crate::{create, guest_files, lock, lxc, pending, task};

pub(crate) const CLONE: Command = Command {
    name: "clone",
    takes: Takes::plain(
        USAGE,
        &[("vmid", Kind::Vmid), ("newid", Kind::Vmid)],
        &[
            ("bwlimit", Kind::Number),
            ("description", Kind::Text),
            ("full", Kind::Bool),
            ("hostname", Kind::Dns),
            ("pool", Kind::Text),
            ("snapname", Kind::Name),
            ("storage", Kind::Text),
            ("target", Kind::Text),
        ],
    ),
    run: Run::Task { kind: "vzclone", begin, work },
};

pub(crate) const TEMPLATE: Command = Command {
    name: "template",
    takes: Takes::plain("template <vmid>", &[("vmid", Kind::Vmid)], &[]),
    run: Run::Task { kind: "vztemplate", begin: begin_template, work: template },
};

const USAGE: &str = "clone <vmid> <newid> [OPTIONS]";

/// What is cloned: the section, and the volumes' owners.
struct Original {
    section: Section,
    full: bool,
    from: Source,
}

fn target(call: &Call) -> Vmid {
    call.given.vmid(1)
}

fn original(call: &Call, conf: &Conf) -> Outcome<Original> {
    let name = call.given.get("snapname");
    let missing = |name: &str| Died::new(format!("snapshot '{name}' does not exist")).with_code(2);
    let section = name.map_or(Ok(&conf.main), |name| conf.snapshots.get(name).ok_or_else(|| missing(name)))?;
    let from = match (name, conf.is_template()) {
        (Some(_), _) => Source::Snapshot,
        (None, true) => Source::Template,
        (None, false) => Source::Current,
    };
    let full = call.given.get("full").map_or(!conf.is_template(), |full| full == "1");
    Ok(Original { section: section.clone(), full, from })
}

fn begin(call: &Call) -> Outcome {
    let (root, id, new) = (&call.root, call.id(), target(call));
    Conf::load(root, id)?;
    create::must_be_free(root, new, 255)?;
    if let Some(storage) = call.given.get("storage") {
        Storage::named(root, storage)?;
    }
    let _held = lock::config(call, id).map_err(|died| died.with_code(4))?;
    let mut conf = Conf::load(root, id)?;
    conf.check_lock()?;
    let original = original(call, &conf)?;
    if !original.full && call.given.get("storage").is_some() {
        return Err(parameter("storage", "parameter 'storage' not allowed for linked clones.", &format!("pct {USAGE}")));
    }
    for point in MountPoint::all(&original.section)? {
        if point.is_bind() {
            return die(format!("unable to clone mountpoint '{}' (type bind)", point.key));
        }
        let volume = Volume::parse(root, point.source())?;
        if original.full && original.from == Source::Current && lxc::is_running(root, id) {
            return Err(Died::new("Cannot do full clones on a running container without snapshots").with_code(2));
        }
        if !original.full && !volume.can(Feature::LinkedClone, original.from) {
            return die(format!("Linked clone feature for '{}' is not available", volume.id()));
        }
        if original.full && !volume.can(Feature::FullClone, original.from) {
            return die(format!("Full clone feature for '{}' is not available", volume.id()));
        }
    }
    guest_files::check_pool(root, call.given.get("pool"))?;
    create::reserve(root, new, 255)?;
    conf.main.set("lock", "disk");
    conf.write(root, id)?;
    let mut copy = Conf { main: new_section(call, original.section)?, ..Conf::default() };
    copy.write(root, new)?;
    call.piece("locks")
}

/// The clone's settings: other addresses, no volumes yet, nothing of snapshots.
fn new_section(call: &Call, mut section: Section) -> Outcome<Section> {
    let networks: Vec<(String, String)> = section.numbered("net").map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    for (key, value) in networks {
        let mut net = Property::parse(&NET, &value).map_err(|wrong| Died::new(wrong.join("\n")))?;
        net.set("hwaddr", pending::hwaddr()?);
        section.set(&key, net.print(&NET));
    }
    let gone = |key: &str| {
        ["rootfs", "parent", "snaptime", "snapstate", "template"].contains(&key) || key.starts_with("mp") || key.starts_with("unused")
    };
    section.keys.retain(|key, _| !gone(key));
    if let Some(name) = call.given.get("hostname") {
        section.set("hostname", name);
    }
    if let Some(text) = call.given.get("description") {
        section.set("description", text.lines().map(|line| line.to_owned() + "\n").collect::<String>());
    }
    section.set("lock", "create");
    Ok(section)
}

fn work(call: &Call) -> Outcome {
    let (root, id, new) = (&call.root, call.id(), target(call));
    let mut made = Vec::new();
    let copied = copy(call, &mut made);
    task::forget_interrupt();
    // In any case.
    let mut source = Conf::load(root, id)?;
    if source.main.get("lock") == Some("disk") {
        source.main.remove("lock");
        source.write(root, id)?;
    }
    let Err(died) = copied else { return call.piece("end") };
    for volume in &made {
        volume.free(root)?;
    }
    // Empty.
    let _ = fs::remove_dir(root.mounted(new)).and_then(|()| fs::remove_dir(root.lxc(new)));
    create::forget(root, new)?;
    let text = if died.text.contains("received interrupt") { "interrupted by signal" } else { &died.text };
    die(format!("clone failed: {text}"))
}

fn copy(call: &Call, made: &mut Vec<Volume>) -> Outcome {
    let (root, id, new) = (&call.root, call.id(), target(call));
    let original = original(call, &Conf::load(root, id)?)?;
    lxc::make_directory(root, new)?;
    for mut point in MountPoint::all(&original.section)? {
        let volume = Volume::parse(root, point.source())?;
        let storage = call.given.get("storage").map_or(Ok(volume.storage.clone()), |name| Storage::named(root, name))?;
        let linked = !original.full;
        let from = match call.given.get("snapname") {
            Some(name) => volume.snapshot_path(name),
            None => volume.path(),
        };
        if !from.exists() {
            return die(format!("volume '{}' does not exist", volume.id()));
        }
        let kind = if linked { "linked clone of mount point" } else { "full clone of mountpoint" };
        out(&format!("create {kind} {} ({})", point.key, volume.id()));
        if original.from == Source::Snapshot && !linked && volume.is_directory() && volume.storage.kind.has_path() {
            out(&format!("Specified filename {} does not exist.", root.lxc(new).join(".copy-volume-1").display()));
            return die(format!("cannot mount subvol snapshots for storage type '{}'", volume.storage.kind.name()));
        }
        if !linked && !volume.is_directory() {
            format_said(volume.size(root));
        }
        let copy = volume.copy(root, &from, &storage, new, linked, made)?;
        if !linked {
            say_statistics(&from);
        }
        call.piece("volume")?;
        point.property.first = Some(copy.id());
        let _held = lock::config(call, new)?;
        let mut conf = Conf::load(root, new)?;
        if conf.main.get("lock") != Some("create") {
            return die("Lost 'create' config lock, aborting.");
        }
        conf.main.set(&point.key, point.print());
        conf.write(root, new)?;
        call.piece("config")?;
    }
    if let Some(pool) = call.given.get("pool") {
        guest_files::add_to_pool(root, pool, new)?;
    }
    guest_files::clone_firewall(root, id, new)?;
    let mut conf = Conf::load(root, new)?;
    conf.main.remove("lock");
    conf.write(root, new)?;
    call.piece("unlocked")
}

/// What `rsync --stats` says of a tree.
#[derive(Default)]
struct Counts {
    files: u64,
    directories: u64,
    links: u64,
    bytes: u64,
}

impl Counts {
    fn add(&mut self, path: &Path) {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                self.directories += 1;
                self.add(&entry.path());
            } else if data.is_symlink() {
                self.links += 1;
            } else {
                self.files += 1;
                self.bytes += data.size();
            }
        }
    }
}

fn say_statistics(from: &Path) {
    let mut counts = Counts { directories: 1, ..Counts::default() };
    counts.add(from);
    let Counts { files, directories, links, bytes } = counts;
    let sum = files + directories + links;
    let total = thousands(bytes);
    let lines = [
        String::new(),
        format!(
            "Number of files: {} (reg: {}, dir: {}, link: {})",
            thousands(sum),
            thousands(files),
            thousands(directories),
            thousands(links)
        ),
        format!(
            "Number of created files: {} (reg: {}, dir: {}, link: {})",
            thousands(sum - 1),
            thousands(files),
            thousands(directories - 1),
            thousands(links)
        ),
        "Number of deleted files: 0".to_owned(),
        format!("Number of regular files transferred: {}", thousands(files)),
        format!("Total file size: {total} bytes"),
        format!("Total transferred file size: {total} bytes"),
        format!("Literal data: {total} bytes"),
        "Matched data: 0 bytes".to_owned(),
        "File list size: 0".to_owned(),
        "File list generation time: 0.001 seconds".to_owned(),
        "File list transfer time: 0.000 seconds".to_owned(),
        format!("Total bytes sent: {total}"),
        "Total bytes received: 978".to_owned(),
        String::new(),
        format!("sent {total} bytes  received 978 bytes  {total}.00 bytes/sec"),
        format!("total size is {total}  speedup is 1.00"),
    ];
    lines.iter().for_each(|line| out(line));
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let head = digits.len() % 3;
    let groups = digits.as_bytes().chunks(1).enumerate().map(|(at, digit)| {
        let comma = if at > 0 && (at + 3 - head).is_multiple_of(3) { "," } else { "" };
        format!("{comma}{}", char::from(digit[0]))
    });
    groups.collect()
}

fn begin_template(call: &Call) -> Outcome {
    let conf = Conf::load(&call.root, call.id())?;
    if conf.is_template() {
        return die("you can't convert a template to a template");
    }
    if !conf.snapshots.is_empty() {
        return die("unable to create template, because CT contains snapshots");
    }
    if lxc::is_running(&call.root, call.id()) {
        return die("you can't convert a CT to template if the CT is running");
    }
    Ok(())
}

fn template(call: &Call) -> Outcome {
    let (root, id) = (&call.root, call.id());
    let _held = lock::config(call, id)?;
    let mut conf = Conf::load(root, id)?;
    conf.check_lock()?;
    call.piece("locked")?;
    let mut points = MountPoint::all(&conf.main)?;
    for point in &points {
        let can = !point.is_bind() && Volume::parse(root, point.source())?.can(Feature::Template, Source::Current);
        if !can {
            return die(format!("Template feature is not available for '{}'", point.source()));
        }
    }
    for point in &mut points {
        let base = Volume::parse(root, point.source())?.make_base(root)?;
        point.property.first = Some(base.id());
        conf.main.set(&point.key, point.print());
    }
    call.piece("volume")?;
    conf.main.set("template", "1");
    conf.write(root, id)?;
    let _ = fs::remove_file(root.lxc(id).join("config"));
    call.piece("end")
}

#[cfg(test)]
mod tests {
    use super::thousands;

    #[test]
    fn numbers_have_commas() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (254_941_757, "254,941,757")] {
            assert_eq!(thousands(number), text);
        }
    }
}
