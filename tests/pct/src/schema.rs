//! Which options there are for `create` and `set`, what their values may be, and which change when.
//!
//! Not here: options of single commands (beside the commands), and the changes themselves (`set`).

use crate::arguments::Kind;
use crate::property;

/// The settings of a container that are one key each.
const SINGLE: &[(&str, Kind)] = &[
    ("arch", Kind::OneOf(&["amd64", "i386", "arm64", "armhf", "riscv32", "riscv64"])),
    ("cmode", Kind::OneOf(&["shell", "console", "tty"])),
    ("console", Kind::Bool),
    ("cores", Kind::Integer(1, 8192)),
    ("cpulimit", Kind::Number),
    ("cpuunits", Kind::Integer(0, 500_000)),
    ("debug", Kind::Bool),
    ("description", Kind::Text),
    ("entrypoint", Kind::Text),
    ("env", Kind::Text),
    ("features", Kind::Text),
    ("hookscript", Kind::Text),
    ("hostname", Kind::Dns),
    ("memory", Kind::Integer(16, u64::MAX)),
    ("nameserver", Kind::Text),
    ("onboot", Kind::Bool),
    (
        "ostype",
        Kind::OneOf(&["debian", "devuan", "ubuntu", "centos", "fedora", "opensuse", "archlinux", "alpine", "gentoo", "nixos", "unmanaged"]),
    ),
    ("protection", Kind::Bool),
    ("rootfs", Kind::Property(&property::ROOTFS)),
    ("searchdomain", Kind::Text),
    ("startup", Kind::Text),
    ("swap", Kind::Integer(0, u64::MAX)),
    ("tags", Kind::Text),
    ("template", Kind::Bool),
    ("timezone", Kind::Text),
    ("tty", Kind::Integer(0, 6)),
    ("unprivileged", Kind::Bool),
];
/// Keys that stand in the file and are set by no option of `set`.
const IN_FILES: [&str; 5] = ["parent", "snaptime", "snapstate", "snapname", "delete"];
/// Not to be changed once the container exists.
pub(crate) const READ_ONLY: [&str; 2] = ["unprivileged", "template"];
/// Take effect on a running container at once; networks and new mount points and devices as well.
const LIVE: [&str; 13] = [
    "cores",
    "cpulimit",
    "cpuunits",
    "description",
    "hookscript",
    "hostname",
    "lock",
    "memory",
    "onboot",
    "protection",
    "startup",
    "swap",
    "tags",
];

/// The kind of a setting of a container; nothing if there is no such setting.
pub(crate) fn kind(name: &str) -> Option<Kind> {
    let single = SINGLE.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind);
    let lock = (name == "lock").then_some(Kind::Text);
    single.or(lock).or_else(|| {
        let (stem, number) = name.split_at(name.find(|c: char| c.is_ascii_digit())?);
        let number: u16 = Some(number).filter(|text| *text == "0" || !text.starts_with('0'))?.parse().ok()?;
        let (kind, most) = match stem {
            "net" => (Kind::Property(&property::NET), 31),
            "mp" => (Kind::Property(&property::MOUNT_POINT), 255),
            "dev" => (Kind::Property(&property::DEVICE), 255),
            "unused" => (Kind::Text, 255),
            _ => return None,
        };
        (number <= most).then_some(kind)
    })
}

/// Whether a key may stand in a configuration file.
pub(crate) fn is_known(key: &str) -> bool {
    kind(key).is_some() || IN_FILES.contains(&key)
}

/// Whether a change of `key` takes effect while the container runs. `is_new`: it had no value.
pub(crate) fn is_live(key: &str, is_new: bool) -> bool {
    let numbered = |stem: &str| key.strip_prefix(stem).is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()) && !rest.is_empty());
    LIVE.contains(&key) || numbered("net") || (is_new && (numbered("mp") || numbered("dev"))) || numbered("unused")
}
