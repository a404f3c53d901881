//! What plain LXC needs of a machine beside what every host does.
//!
//! Not here: what all hosts need (`host::doctor`).

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::ids::HostKind;

use super::super::doctor::{Findings, Topic};
use super::super::local::{PROGRAM_DIRECTORIES, find_program};

/// Room for containers: below this a template may not fit; and below that nothing does.
const SCANT: u64 = 2 << 30;
const NONE: u64 = 128 << 20;
/// What LXC's own settings for all containers are in; without it a container has no devices to speak of.
const INCLUDE: &str = "/usr/share/lxc/config/common.conf";

/// Looks at all of it.
pub(in crate::host) fn examine(found: &mut Findings, path: &Path) {
    let directories: Vec<PathBuf> = PROGRAM_DIRECTORIES.iter().map(PathBuf::from).collect();
    let program = |name: &str| find_program(name, &directories, HostKind::Lxc).unwrap_or_else(|_| Path::new("/usr/bin").join(name));
    let start = program("lxc-start");
    found.programs(&[start.clone(), program("lxc-stop"), program("lxc-attach"), program("cp")], "lxc");
    let mappers = [program("newuidmap"), program("newgidmap")];
    if mappers.iter().all(|path| path.is_file()) {
        found.programs(&mappers, "uidmap");
    } else {
        found.warning(
            Topic::Programs,
            "newuidmap and newgidmap are missing: nothing keeps ids of containers apart from those of other users",
            "install the package uidmap",
        );
    }
    if start.is_file() {
        version(found, &start);
    }
    if !Path::new(INCLUDE).is_file() {
        found.warning(Topic::Programs, format!("{INCLUDE} is missing: containers get LXC's bare defaults"), "install the package lxc anew");
    }
    match std::fs::symlink_metadata(path) {
        Err(error) => found.bad(
            Topic::Storages,
            format!("the container directory {} cannot be looked at: {error}", path.display()),
            format!("`mkdir -m 0711 {}`, or name another with --lxc-path", path.display()),
        ),
        Ok(meta) if !meta.is_dir() || meta.uid() != 0 || meta.mode() & 0o022 != 0 => found.bad(
            Topic::Storages,
            format!("the container directory {} is not a directory that root alone can write", path.display()),
            "`chown root` and `chmod go-w` it, or name another with --lxc-path",
        ),
        Ok(_) => found.room(Topic::Storages, "containers", path, SCANT, NONE),
    }
}

fn version(found: &mut Findings, start: &Path) {
    #[expect(clippy::disallowed_methods, reason = "it prints a number and ends; nothing on the host changes")]
    let output = std::process::Command::new(start).arg("--version").env_clear().stdin(std::process::Stdio::null()).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    let major = text.split('.').next().and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= 4 => found.good(Topic::Versions, format!("LXC {text}")),
        Some(_) => found.warning(Topic::Versions, format!("LXC {text} is older than any that was tried (5.0)"), "upgrade LXC"),
        None => found.bad(Topic::Versions, format!("{} does not say its version", start.display()), "install the package lxc anew"),
    }
}
