//! `pveam`, `pvesh`, `pvesm` and `pveversion`, as far as Phoenix asks them.

use std::fs;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::died::{Died, Outcome, die, out};
use crate::root::Root;
use crate::storage::{Storage, Volume};
use crate::{guest_files, lxc};

static DOWNLOAD: Command = Command {
    name: "download",
    takes: Takes::plain("download <storage> <template>", &[("storage", Kind::Text), ("template", Kind::Text)], &[]),
    run: Run::Here(download),
};

/// `list STORAGE`, `available`, `download STORAGE TEMPLATE`. What can be downloaded lies in `ROOT/test/available`.
pub(crate) fn pveam(root: Root, args: &[String]) -> Outcome<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["update"] => out("update successful"),
        ["available", ..] => {
            for name in names(&root.test("available")) {
                out(&format!("{:<15} {name}", "system"));
            }
        }
        ["list", storage, ..] => {
            let storage = Storage::named(&root, storage)?;
            out(&format!("{:<60} {}", "NAME", "SIZE"));
            for name in names(&storage.templates()) {
                #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
                let mib = fs::metadata(storage.templates().join(&name)).map_or(0, |data| data.len()) as f64 / f64::from(1 << 20);
                out(&format!("{:<60} {mib:.2}MB", format!("{}:vztmpl/{name}", storage.name)));
            }
        }
        ["download", rest @ ..] => {
            let rest = rest.iter().map(|&word| word.to_owned()).collect();
            return Call::new(root, &DOWNLOAD, rest)?.go();
        }
        _ => return Err(Died::new("ERROR: no command specified\nUSAGE: pveam <COMMAND> [ARGS] [OPTIONS]")),
    }
    Ok(0)
}

/// Under another name until it is whole; a download that is killed leaves that one.
fn download(call: &Call) -> Outcome<u8> {
    let (storage, name) = (Storage::named(&call.root, &call.given.positional[0])?, &call.given.positional[1]);
    let from = call.root.test("available").join(name);
    if !from.is_file() {
        return Err(Died::new("400 Parameter verification failed.\ntemplate: no such template\npveam download <storage> <template>"));
    }
    let to = storage.templates().join(name);
    let part = storage.templates().join(format!("{name}.tmp_dwnl.{}", std::process::id()));
    out(&format!("downloading http://download.proxmox.com/images/system/{name} to {}", to.display()));
    let copied = fs::create_dir_all(storage.templates()).and_then(|()| fs::copy(&from, &part));
    copied.map_err(|error| Died::io("write", &part, &error))?;
    call.piece("copy")?;
    fs::rename(&part, &to).map_err(|error| Died::io("rename to", &to, &error))?;
    call.piece("rename")?;
    out(&format!("download of 'http://download.proxmox.com/images/system/{name}' to '{}' finished", to.display()));
    Ok(0)
}

fn names(directory: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// `set /pools/POOL --vms ID`, `set /pools --poolid POOL --vms ID`. From the documentation.
pub(crate) fn pvesh(root: &Root, args: &[String]) -> Outcome<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let (pool, id) = match words.as_slice() {
        ["set", "/pools", "--poolid", pool, "--vms", id] => (*pool, id),
        ["set", path, "--vms", id] if path.strip_prefix("/pools/").is_some_and(|pool| !pool.contains('/')) => {
            (&path["/pools/".len()..], id)
        }
        _ => return die("no such resource"),
    };
    guest_files::check_pool(root, Some(pool))?;
    guest_files::add_to_pool(root, pool, id.parse().map_err(|why: String| Died::new(why))?)?;
    Ok(0)
}

/// `list STORAGE`, `free VOLUME`, `status`.
pub(crate) fn pvesm(root: &Root, args: &[String]) -> Outcome<u8> {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list", name, ..] => list(root, &Storage::named(root, name)?),
        ["free", volume, ..] => {
            let volume = Volume::parse(root, volume)?;
            if !volume.path().exists() {
                return die(format!("volume '{}' does not exist", volume.id()));
            }
            volume.free(root)?;
            out(&format!("Removed volume '{}'", volume.id()));
        }
        ["status", ..] => status(root),
        _ => return Err(Died::new("ERROR: no command specified\nUSAGE: pvesm <COMMAND> [ARGS] [OPTIONS]")),
    }
    Ok(0)
}

fn list(root: &Root, storage: &Storage) {
    let mut lines = Vec::new();
    for volume in storage.volumes() {
        let owner = volume.owner();
        let text = owner.and_then(|id| fs::read_to_string(root.conf(id)).ok()).unwrap_or_default();
        let content = if text.contains(&volume.id()) { "rootdir" } else { "images" };
        let format = if volume.is_directory() { "subvol" } else { "raw" };
        let owner = owner.map(|id| id.to_string()).unwrap_or_default();
        lines.push((volume.id(), format, content, volume.size(root).to_string(), owner));
    }
    let width = lines.iter().map(|(id, ..)| id.len()).max().unwrap_or(0).max(5);
    out(&format!("{:<width$} {:<7} {:<9} {:>10} {}", "Volid", "Format", "Type", "Size", "VMID"));
    for (id, format, content, size, owner) in lines {
        out(&format!("{id:<width$} {format:<7} {content:<9} {size:>10} {owner}"));
    }
}

fn status(root: &Root) {
    out("Name             Type     Status           Total            Used       Available        %");
    for storage in Storage::all(root) {
        let path = root.path();
        let found = rustix::fs::statvfs(path).ok();
        let kib = |blocks: u64| found.as_ref().map_or(0, |found| blocks * found.f_frsize / 1024);
        let (total, available) = found.as_ref().map_or((0, 0), |found| (kib(found.f_blocks), kib(found.f_bavail)));
        let used = total.saturating_sub(available);
        #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
        let share = if total == 0 { 0.0 } else { used as f64 * 100.0 / total as f64 };
        let (name, kind) = (&storage.name, storage.kind.name());
        out(&format!("{name:<12} {kind:>8} {:>10} {total:>15} {used:>15} {available:>15} {share:>7.2}%", "active"));
    }
}

/// `pveversion [--verbose]`; the versions are those of `ROOT/test/version`, if it is there.
pub(crate) fn pveversion(root: &Root, args: &[String]) -> u8 {
    let version = fs::read_to_string(root.test("version")).unwrap_or_default();
    let version = Some(version.trim()).filter(|text| !text.is_empty()).unwrap_or("8.4.0");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.trim();
    if !args.iter().any(|arg| arg == "-v" || arg == "--verbose") {
        out(&format!("pve-manager/{version}/0123456789abcdef (running kernel: {kernel})"));
        return 0;
    }
    out(&format!("proxmox-ve: {version} (running kernel: {kernel})"));
    out(&format!("pve-manager: {version} (running version: {version}/0123456789abcdef)"));
    let container = if version.starts_with('8') { "5.3.5" } else { "6.1.6" };
    out(&format!("lxc-pve: {}", lxc::version()));
    out(&format!("pve-container: {container}"));
    0
}
