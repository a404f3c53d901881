//! `pct create`.
//!
//! The pieces of the work: `locked` (the lock is held, the configuration says nothing but `lock: create`), `volume` (the
//! volumes are there), `mount` (they are mounted), `unpack` (the template is inside), `write` (the configuration is whole and not
//! locked any more, with the volumes mounted still), `unmount`, `end` (it is written again, with the defaults); `made` (what
//! goes wrong from now on, the pool included, takes nothing back).

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::conf::{Conf, Section};
use crate::died::{Died, Outcome, die, out};
use crate::mounting::{MountPoint, mount_all, unmount_all};
use crate::root::{Root, Vmid};
use crate::storage::{Storage, Volume};
use crate::{conf, guest_files, life, lock, lxc, pending, schema, task, vmlist};

pub(crate) const CREATE: Command = Command {
    name: "create",
    takes: Takes {
        usage: "create <vmid> <ostemplate> [OPTIONS]",
        positional: &[("vmid", Kind::Vmid), ("ostemplate", Kind::Text)],
        options: &[
            ("bwlimit", Kind::Number),
            ("force", Kind::Bool),
            ("ignore-unpack-errors", Kind::Bool),
            ("password", Kind::Text),
            ("pool", Kind::Text),
            ("restore", Kind::Bool),
            ("ssh-public-keys", Kind::Text),
            ("start", Kind::Bool),
            ("storage", Kind::Text),
            ("unique", Kind::Bool),
        ],
        settings: true,
        extra: false,
    },
    run: Run::Task { kind: "vzcreate", begin, work },
};

/// The size of a root file system that nobody gave one.
const DEFAULT_SIZE: &str = "4";

/// Fails if the id is a guest's, anywhere in the cluster.
pub(crate) fn must_be_free(root: &Root, id: Vmid, code: u8) -> Outcome {
    let guests = vmlist::guests(root);
    let Some((_, node, kind)) = guests.iter().find(|(found, ..)| *found == id) else { return Ok(()) };
    let kind = if *kind == "lxc" { "CT" } else { "VM" };
    Err(Died::new(format!("{kind} {id} already exists on node '{node}'")).with_code(code))
}

/// Makes a configuration of `lock: create` alone; of several at once, one succeeds.
pub(crate) fn reserve(root: &Root, id: Vmid, code: u8) -> Outcome {
    must_be_free(root, id, code)?;
    let path = root.conf(id);
    match conf::make(&path, "lock: create\n") {
        Ok(()) => vmlist::update(root),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => must_be_free(root, id, code),
        Err(error) => Err(Died::io("write", &path, &error)),
    }
}

/// Removes the configuration.
pub(crate) fn forget(root: &Root, id: Vmid) -> Outcome {
    let path = root.conf(id);
    fs::remove_file(&path).map_err(|error| Died::io("remove", &path, &error))?;
    guest_files::forget(root, id)?;
    vmlist::update(root)
}

fn begin(call: &Call) -> Outcome {
    let id = call.id();
    must_be_free(&call.root, id, if call.given.is_on("force") { 255 } else { 2 })?;
    let of_storage = |template: &&String| !template.starts_with('/');
    for value in call.given.positional.get(1).filter(of_storage).into_iter().chain(call.given.options.get("storage")) {
        Storage::named(&call.root, value.split(':').next().unwrap_or(value))?;
    }
    for (key, value) in call.given.options.iter().filter(|(key, _)| *key == "rootfs" || key.starts_with("mp")) {
        let point = MountPoint::parse(key, value)?;
        if !point.is_bind() {
            pending::wanted(&call.root, point.source())?;
        }
    }
    life::check_hookscript(&call.root, call.given.get("hookscript"))?;
    guest_files::check_pool(&call.root, call.given.get("pool"))?;
    reserve(&call.root, id, 2)
}

fn work(call: &Call) -> Outcome {
    let id = call.id();
    let _held = lock::config(call, id)?;
    let mut made = Vec::new();
    match make(call, &mut made) {
        Ok(()) => {}
        Err(died) => {
            task::forget_interrupt();
            unmount_all(&call.root, id)?;
            for volume in &made {
                volume.free(&call.root)?;
            }
            // Empty, unless something is still in it.
            let _ = fs::remove_dir(call.root.mounted(id)).and_then(|()| fs::remove_dir(call.root.lxc(id)));
            forget(&call.root, id)?;
            return die(format!("unable to create CT {id} - {}", died.text));
        }
    }
    call.piece("made")?;
    if let Some(pool) = call.given.get("pool") {
        guest_files::add_to_pool(&call.root, pool, id)?;
    }
    if call.given.is_on("start") {
        life::start_locked(call, id)?;
    }
    Ok(())
}

fn make(call: &Call, made: &mut Vec<Volume>) -> Outcome {
    let (root, id) = (&call.root, call.id());
    Conf::load(root, id)?;
    call.piece("locked")?;
    let archive = archive(call)?;
    let mut conf = Conf::default();
    let settings = call.given.options.iter().filter(|(key, _)| schema::kind(key).is_some());
    for (key, value) in settings.clone().filter(|(key, _)| *key == "unprivileged") {
        conf.main.set(key, value);
    }
    conf.main.set("rootfs", call.given.get("rootfs").map_or_else(|| default_rootfs(call), str::to_owned));
    settings.clone().for_each(|(key, value)| conf.main.set(key, value));
    let keys: Vec<(String, String)> = conf.main.keys.clone().into_iter().collect();
    let volumes_first = |key: &str| (key != "rootfs", !key.starts_with("mp"));
    let mut keys = keys;
    keys.sort_by_key(|(key, _)| volumes_first(key));
    for (key, value) in keys {
        let value = pending::normal(root, id, &conf, &key, &value, made)?;
        conf.main.set(&key, value);
    }
    call.piece("volume")?;
    if let Err(died) = mount_all(root, id, &conf.main) {
        out("mounting container failed");
        return Err(died);
    }
    call.piece("mount")?;
    unpack(&archive, &root.mounted(id), &conf.main)?;
    call.piece("unpack")?;
    finish(call, &mut conf)
}

fn finish(call: &Call, conf: &mut Conf) -> Outcome {
    let (root, id) = (&call.root, call.id());
    let inside = root.mounted(id);
    if conf.main.get("ostype").is_none() {
        conf.main.set("ostype", os_type(&inside));
    }
    if conf.main.get("arch").is_none() {
        say_architecture(conf.main.get("ostype"));
        conf.main.set("arch", "amd64");
    }
    conf.write(root, id)?;
    call.piece("write")?;
    for (key, value) in [("hostname", format!("CT{id}")), ("memory", "512".to_owned()), ("swap", "512".to_owned())] {
        if conf.main.get(key).is_none() {
            conf.main.set(key, value);
        }
    }
    name_host(&inside, &conf.main)?;
    unmount_all(root, id)?;
    call.piece("unmount")?;
    conf.write(root, id)?;
    call.piece("end")
}

fn default_rootfs(call: &Call) -> String {
    format!("{}:{DEFAULT_SIZE}", call.given.get("storage").unwrap_or("local"))
}

/// The template's file: `STORAGE:vztmpl/FILE`, or a path.
fn archive(call: &Call) -> Outcome<PathBuf> {
    let given = call.given.positional.get(1).map(String::as_str).unwrap_or_default();
    let path = match given.split_once(":vztmpl/") {
        Some((storage, file)) => Storage::named(&call.root, storage)?.templates().join(file),
        None => PathBuf::from(given),
    };
    if path.is_file() { Ok(path) } else { die(format!("volume '{given}' does not exist")) }
}

/// Unpacks as the container's root would.
fn unpack(archive: &Path, to: &Path, section: &Section) -> Outcome {
    out(&format!("extracting archive '{}'", archive.display()));
    let maps = lxc::id_maps(section);
    let mut tar = if maps.is_empty() { task::program("tar") } else { task::program("lxc-usernsexec") };
    for map in &maps {
        tar.args(["-m", &map.replace(' ', ":")]);
    }
    if !maps.is_empty() {
        tar.args(["--", "tar"]);
    }
    let mut file = File::open(archive).map_err(|error| Died::io("open", archive, &error))?;
    let packed = packing(&mut file).map_err(|error| Died::io("read", archive, &error))?;
    tar.args(["-x", packed, "--totals", "--one-file-system", "-p", "--sparse", "--numeric-owner", "--skip-old-files", "--anchored"]);
    tar.args(["--exclude", "./dev/*", "-f", "-", "-C"]).arg(to);
    tar.stdin(Stdio::from(file));
    task::must(&mut tar, &format!("lxc-usernsexec -- tar xpf - -C {}", to.display()))
}

/// How an archive is packed, as tar is told; by its first bytes, whatever its name is.
fn packing(file: &mut File) -> io::Result<&'static str> {
    let mut first = [0; 4];
    let count = file.read(&mut first)?;
    file.rewind()?;
    Ok(match &first[..count] {
        [0x1f, 0x8b, ..] => "-z",
        [0x28, 0xb5, 0x2f, 0xfd] => "--zstd",
        [0xfd, b'7', b'z', b'X'] => "-J",
        _ => "--no-auto-compress",
    })
}

fn os_type(inside: &Path) -> String {
    let known = |name: &str| ["debian", "ubuntu", "alpine", "fedora", "centos", "archlinux"].contains(&name).then(|| name.to_owned());
    let release = fs::read_to_string(inside.join("etc/os-release")).ok();
    let id = release.as_deref().and_then(|text| text.lines().find_map(|line| line.strip_prefix("ID="))).map(|id| id.trim_matches('"'));
    id.and_then(known).unwrap_or_else(|| {
        out("/etc/os-release file not found and autodetection failed, falling back to 'unmanaged'");
        "unmanaged".to_owned()
    })
}

fn say_architecture(os_type: Option<&str>) {
    if os_type != Some("unmanaged") {
        out("Detected container architecture: amd64");
        return;
    }
    let lines = [
        "implement me in sub-class",
        " at /usr/share/perl5/PVE/LXC/Setup.pm line 146.",
        "Architecture detection failed: error in setup task (eval)",
        "Falling back to amd64.",
        "Use `pct set VMID --arch ARCH` to change.",
    ];
    lines.iter().for_each(|line| out(line));
}

/// Systems that Proxmox knows get their name.
fn name_host(inside: &Path, section: &Section) -> Outcome {
    let path = inside.join("etc/hostname");
    let Some(name) = section.get("hostname").filter(|_| section.get("ostype") != Some("unmanaged")) else { return Ok(()) };
    let owner = lxc::owner(section);
    let written = fs::write(&path, format!("{name}\n")).and_then(|()| chown(&path, Some(owner), Some(owner)));
    written.map_err(|error| Died::io("write", &path, &error))
}
