//! `pct push` and `pct pull`, which end with 0 also when they failed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{PermissionsExt, fchown};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::conf::Conf;
use crate::died::{Died, Outcome, die, err};
use crate::lxc;

const OPTIONS: &[(&str, Kind)] = &[("group", Kind::Text), ("perms", Kind::Text), ("user", Kind::Text)];

pub(crate) const PUSH: Command = Command {
    name: "push",
    takes: Takes::plain(
        "push <vmid> <file> <destination> [OPTIONS]",
        &[("vmid", Kind::Vmid), ("file", Kind::Text), ("destination", Kind::Text)],
        OPTIONS,
    ),
    run: Run::Here(push),
};
pub(crate) const PULL: Command = Command {
    name: "pull",
    takes: Takes::plain(
        "pull <vmid> <path> <destination> [OPTIONS]",
        &[("vmid", Kind::Vmid), ("path", Kind::Text), ("destination", Kind::Text)],
        OPTIONS,
    ),
    run: Run::Here(pull),
};

fn word(call: &Call, at: usize) -> &str {
    call.given.positional.get(at).map(String::as_str).unwrap_or_default()
}

/// Opens a path as it is inside the container.
fn open_inside(call: &Call, path: &str, flags: OFlags) -> io::Result<File> {
    let init = lxc::init(&call.root, call.id()).ok_or(io::ErrorKind::NotFound)?;
    let root = File::open(format!("/proc/{init}/root"))?;
    let path = path.trim_start_matches('/');
    // A mode without a file to make is a mistake.
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o644) } else { Mode::empty() };
    let opened = openat2(&root, path, flags | OFlags::CLOEXEC, mode, ResolveFlags::IN_ROOT);
    opened.map(File::from).map_err(|error| io::Error::from_raw_os_error(error.raw_os_error()))
}

/// As Perl says it.
fn why(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

fn push(call: &Call) -> Outcome<u8> {
    let conf = Conf::load(&call.root, call.id())?;
    if !lxc::is_running(&call.root, call.id()) {
        return die("can only push files to a running CT");
    }
    let (from, to) = (word(call, 1), word(call, 2));
    let Ok(mut source) = File::open(from) else {
        err(&format!("failed to open {from} for reading"));
        return Ok(0);
    };
    let ids = (host_id(call, &conf, "user", "etc/passwd")?, host_id(call, &conf, "group", "etc/group")?);
    let mut target = match open_inside(call, to, OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC) {
        Ok(target) => target,
        Err(error) => {
            err(&format!("failed to create file: {to}: {}", why(&error)));
            return Ok(0);
        }
    };
    let mode = call.given.get("perms").and_then(|text| u32::from_str_radix(text, 8).ok()).unwrap_or(0o644);
    let done = fchown(&target, Some(ids.0), Some(ids.1)).and_then(|()| target.set_permissions(PermissionsExt::from_mode(mode)));
    done.map_err(|error| Died::new(format!("{to}: {error}")))?;
    // A directory cannot be read, and leaves an empty file.
    let _ = io::copy(&mut source, &mut target);
    Ok(0)
}

/// The host's id of a user or group of the container, given by number or name; root without one.
fn host_id(call: &Call, conf: &Conf, option: &str, file: &str) -> Outcome<u32> {
    let number = match call.given.get(option) {
        None => 0,
        Some(text) => match text.parse() {
            Ok(number) => number,
            Err(_) => named(call, text, file).ok_or_else(|| Died::new(format!("could not find {option} '{text}'")))?,
        },
    };
    Ok(lxc::owner(&conf.main) + number)
}

fn named(call: &Call, name: &str, file: &str) -> Option<u32> {
    let text = io::read_to_string(open_inside(call, file, OFlags::RDONLY).ok()?).ok()?;
    text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|words| words.first() == Some(&name))?.get(2)?.parse().ok()
}

fn pull(call: &Call) -> Outcome<u8> {
    Conf::load(&call.root, call.id())?;
    if !lxc::is_running(&call.root, call.id()) {
        return die("can only pull files from a running VM at /usr/share/perl5/PVE/CLI/pct.pm line 657.");
    }
    let (from, to) = (word(call, 1), word(call, 2));
    let mut source = match open_inside(call, from, OFlags::RDONLY) {
        Ok(source) => source,
        Err(error) => {
            err(&format!("failed to open {from}: {}", why(&error)));
            return Ok(0);
        }
    };
    match fs::File::create(to) {
        Ok(mut target) => drop(io::copy(&mut source, &mut target)),
        Err(error) => err(&format!("failed to open {to} for writing: {}", why(&error))),
    }
    Ok(0)
}
