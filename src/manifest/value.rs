//! The kinds of single values: names, paths, addresses, permission bits.
//!
//! Apart so that each rule of form stands once, with its schema beside it. A value here is right in itself; whether it fits the others is
//! the affair of `check`.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};

use jsonc_parser::ast::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::json::span;
use super::read::{List, Name, Read, brief, read_at, text, wrong_type};
use super::source::Findings;
use super::spec::{Address, Template};
use crate::ids::{Ctid, CtidError, FeatureName, FleetName, HealthName, Hostname, IdMap, NameError, Target, VolumeName};

/// A kind of value written as a text: its example, its rule and its schema; the macro adds what all of them share.
macro_rules! written_as_text {
    ($($kind:ty, $name:literal, $example:literal, $schema:tt, $parse:expr;)*) => {
        $(
            impl Read for $kind {
                fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
                    let given = text(value, label, $example, found)?;
                    let parse: fn(&str) -> Result<$kind, (String, String)> = $parse;
                    parse(given).map_err(|(what, remedy)| found.problem(&span(value), format!("{label}: {what}"), remedy)).ok()
                }
            }

            impl JsonSchema for $kind {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

pub(super) use written_as_text;

/// A name with its rule as the remedy.
macro_rules! names {
    ($($kind:ty, $name:literal, $example:literal, $pattern:literal;)*) => {
        $(
            impl Read for $kind {
                fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
                    let given = text(value, label, $example, found)?;
                    let complain = |(what, remedy): (String, String)| found.problem(&span(value), what, remedy);
                    given.parse::<$kind>().map_err(|error| name_problem(&error)).map_err(complain).ok()
                }
            }

            impl JsonSchema for $kind {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "type": "string", "pattern": $pattern })
                }
            }
        )*
    };
}

names! {
    FleetName, "fleet name", "homelab", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    VolumeName, "volume name", "media", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    FeatureName, "feature name", "base", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    HealthName, "health check name", "http", "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$";
    Hostname, "host name", "db", "^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$";
    Target, "path inside", "/srv/media", "^(/[^/\\s,\\[\\]\\\\\"#]+)+$";
}

fn name_problem(error: &NameError) -> (String, String) {
    (format!("{:?} is no {}", brief(&error.given), error.kind), error.rule.to_owned())
}

impl Name for VolumeName {
    const NOUN: &'static str = "volume";

    fn from_key(text: &str) -> Result<Self, (String, String)> {
        text.parse().map_err(|error| name_problem(&error))
    }

    fn pattern() -> Schema {
        json_schema!({ "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" })
    }
}

impl Name for Ctid {
    const NOUN: &'static str = "container";

    fn from_key(text: &str) -> Result<Self, (String, String)> {
        text.parse().map_err(|error| ctid_problem(&error))
    }

    fn pattern() -> Schema {
        json_schema!({ "pattern": "^[1-9][0-9]{2,8}$" })
    }
}

fn ctid_problem(error: &CtidError) -> (String, String) {
    match error {
        CtidError::NotANumber { given } => {
            (format!("{:?} is no container id", brief(given)), "write a plain number in quotes, such as \"101\"".into())
        }
        CtidError::OutOfRange { given } => {
            (format!("container id {} is out of range", brief(given)), "ids go from 100 to 999999999, as on Proxmox".into())
        }
    }
}

impl Read for Ctid {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        if let Value::NumberLit(number) = value {
            let remedy = format!("write \"{}\", in quotes as the keys of `containers`", brief(number.value));
            wrong_type(value, label, "a container id in quotes", &remedy, found);
            return None;
        }
        let given = text(value, label, "101", found)?;
        Self::from_key(given).map_err(|(what, remedy)| found.problem(&span(value), what, remedy)).ok()
    }
}

impl JsonSchema for Ctid {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "container id".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[1-9][0-9]{2,8}$" })
    }
}

/// A text for a program: anything but NUL, of a length that the kernel takes as one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// The longest text handed to a program, in bytes; the kernel's limit for one argument is 128 KiB (`MAX_ARG_STRLEN`).
pub(super) const TEXT_BYTES_MAX: usize = 100_000;

/// A word of Proxmox: a storage, a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word(pub(super) String);

/// The name of a network device: at most 15 bytes (`IFNAMSIZ`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NetDevice(pub(super) String);

/// A path of this host, absolute or relative to the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AnyPath(pub(super) PathBuf);

/// An absolute and normal path of this host without characters that mean something in the configuration of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPath(pub(super) PathBuf);

/// A hardware address, lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mac(pub(super) String);

/// Permission bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mode(pub(super) u32);

/// An address with its prefix, or how to get one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cidr(pub(super) Address);

/// An address without prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gateway(pub(super) IpAddr);

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EnvName(pub(super) String);

written_as_text! {
    Text, "text", "--verbose", { "type": "string", "pattern": "^[^\\u0000]*$", "maxLength": 100_000 }, |given| {
        if given.contains('\0') {
            Err(("it contains a NUL character, which no program can be given".into(), "remove it".into()))
        } else if given.len() > TEXT_BYTES_MAX {
            Err((format!("it is longer than {TEXT_BYTES_MAX} bytes"), "put it into a file".into()))
        } else {
            Ok(Text(given.to_owned()))
        }
    };
    Word, "word", "local-lvm", { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" }, |given| {
        given.parse::<VolumeName>().map(|_| Word(given.to_owned())).map_err(|error| (format!("{:?} is no name", brief(given)), error.rule.into()))
    };
    NetDevice, "network device", "eth0", { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,14}$" }, |given| {
        let plain = given.parse::<VolumeName>().is_ok() && given.len() <= 15;
        let remedy = "use 1 to 15 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit";
        if plain { Ok(NetDevice(given.to_owned())) } else { Err((format!("{:?} is no name of a network device", brief(given)), remedy.into())) }
    };
    AnyPath, "path", "features/base.sh", { "type": "string", "minLength": 1, "maxLength": 4096 }, |given| any_path(given).map(AnyPath);
    HostPath, "directory", "/srv/media", { "type": "string", "pattern": "^(/[^/\\s,\\[\\]\\\\\"#]+)+$" }, |given| host_path(given).map(HostPath);
    Mac, "hardware address", "aa:bb:cc:00:11:22", { "type": "string", "pattern": "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$" }, |given| mac(given).map(Mac);
    Mode, "mode", "0750", { "type": "string", "pattern": "^[0-7]{3,4}$" }, |given| {
        let octal = (3..=4).contains(&given.len()) && given.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let wrong = || (format!("{:?} are no permission bits", brief(given)), "write three or four octal digits, such as \"0750\"".into());
        u32::from_str_radix(given, 8).ok().filter(|_| octal).map(Mode).ok_or_else(wrong)
    };
    Cidr, "address", "10.0.0.5/24", { "type": "string", "examples": ["10.0.0.5/24", "fd00::5/64", "dhcp", "manual"] }, |given| cidr(given).map(Cidr);
    Gateway, "gateway", "10.0.0.1", { "type": "string" }, |given| {
        let wrong = |_| (format!("{:?} is no IP address", brief(given)), "write one without prefix, such as \"10.0.0.1\"".into());
        given.parse().map(Gateway).map_err(wrong)
    };
    EnvName, "environment variable", "PGPASSWORD", { "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }, |given| {
        env_name(given).map(EnvName)
    };
    Template, "template", "templates/debian-12.tar.zst", { "type": "string", "minLength": 1 }, template;
}

impl Name for EnvName {
    const NOUN: &'static str = "variable";

    fn from_key(text: &str) -> Result<Self, (String, String)> {
        let name = env_name(text)?;
        match name.as_str() {
            reserved if reserved.starts_with("PHOENIX_") => Err((
                format!("the variable {reserved} is reserved"),
                "names that begin with PHOENIX_ are set by Phoenix; choose another".into(),
            )),
            loader if loader.starts_with("LD_") || matches!(loader, "BASH_ENV" | "ENV" | "IFS") => Err((
                format!("the variable {loader} would change how the script itself is started"),
                "set it inside the script, for the programs that need it".into(),
            )),
            _ => Ok(Self(name)),
        }
    }

    fn pattern() -> Schema {
        json_schema!({ "pattern": "^(?!PHOENIX_|LD_|(?:BASH_ENV|ENV|IFS)$)[A-Za-z_][A-Za-z0-9_]{0,254}$" })
    }
}

fn env_name(given: &str) -> Result<String, (String, String)> {
    let plain = given.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && given.len() <= 255
        && given.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let remedy = "use a-z, A-Z, 0-9 and `_`, not beginning with a digit";
    if plain { Ok(given.to_owned()) } else { Err((format!("{:?} is no name of a variable", brief(given)), remedy.into())) }
}

pub(super) fn any_path(given: &str) -> Result<PathBuf, (String, String)> {
    if given.is_empty() {
        return Err(("the path is empty".into(), "write a path, absolute or relative to the manifest".into()));
    }
    if given.chars().any(char::is_control) {
        return Err((format!("the path {:?} contains control characters", brief(given)), "rename the file".into()));
    }
    if given.len() > PATH_BYTES_MAX {
        return Err((format!("the path is longer than {PATH_BYTES_MAX} bytes"), "move the file".into()));
    }
    Ok(PathBuf::from(given))
}

/// The longest path, in bytes; the kernel's `PATH_MAX` with its NUL.
const PATH_BYTES_MAX: usize = 4095;

fn host_path(given: &str) -> Result<PathBuf, (String, String)> {
    let quoted = format!("{:?}", brief(given));
    let path = if given.is_empty() { PathBuf::new() } else { any_path(given)? };
    if !path.is_absolute() {
        return Err((format!("{quoted} is not absolute"), format!("write the whole path, such as \"/srv/{}\"", suggested_name(&path))));
    }
    if path.components().any(|part| part == Component::ParentDir) {
        return Err((format!("{quoted} contains `..`"), "write the path without it".into()));
    }
    if given == "/" {
        return Ok(path);
    }
    // The rule of targets holds for sources too: both stand in the same line of a host's configuration.
    given.parse::<Target>().map(|_| path).map_err(|_| {
        (
            format!("{quoted} is not a path that every host can attach"),
            "write it without `.`, `//`, a slash at the end, spaces, commas, quotes, backslashes, `#` or brackets".into(),
        )
    })
}

fn suggested_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    name.filter(|name| name.parse::<VolumeName>().is_ok()).unwrap_or_else(|| "media".into())
}

fn mac(given: &str) -> Result<String, (String, String)> {
    let bytes: Option<Vec<u8>> = given
        .split(':')
        .map(|pair| if pair.len() == 2 { u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+')) } else { None })
        .collect();
    match bytes.as_deref() {
        Some([first, _, _, _, _, _]) if first & 1 == 1 => {
            Err((format!("{given} is an address of many"), "the second digit must be even, as in 02:00:00:00:00:01".into()))
        }
        Some([_, _, _, _, _, _]) => Ok(given.to_ascii_lowercase()),
        Some(_) | None => Err((
            format!("{:?} is no hardware address", brief(given)),
            "write six pairs of hex digits, such as \"02:00:00:00:00:01\"".into(),
        )),
    }
}

fn cidr(given: &str) -> Result<Address, (String, String)> {
    match given {
        "dhcp" => return Ok(Address::Dhcp),
        "manual" => return Ok(Address::Manual),
        _ => {}
    }
    let remedy = "write an address with its prefix, such as \"10.0.0.5/24\", or \"dhcp\" or \"manual\"";
    let Some((ip, prefix)) = given.split_once('/') else {
        let what =
            if given.parse::<IpAddr>().is_ok() { format!("{given} has no prefix") } else { format!("{:?} is no address", brief(given)) };
        return Err((what, remedy.into()));
    };
    let ip: IpAddr = ip.parse().map_err(|_| (format!("{:?} is no address", brief(given)), remedy.to_owned()))?;
    let bits = if ip.is_ipv4() { 32 } else { 128 };
    let digits = !prefix.is_empty() && prefix.bytes().all(|b| b.is_ascii_digit());
    match prefix.parse::<u8>().ok().filter(|prefix| digits && (1..=bits).contains(prefix)) {
        Some(prefix) => Ok(Address::Static { ip, prefix }),
        None => Err((format!("the prefix of {:?} is out of range", brief(given)), format!("write 1 to {bits} after the slash"))),
    }
}

/// `STORAGE:vztmpl/NAME` is a template of a Proxmox storage; a colon after the first slash belongs to a path.
fn template(given: &str) -> Result<Template, (String, String)> {
    let path = any_path(given)?;
    let storage = given.split_once(':').filter(|(storage, _)| !storage.contains('/'));
    let Some((storage, volume)) = storage else {
        return Ok(Template::File(path));
    };
    let name = volume.strip_prefix("vztmpl/").unwrap_or_default();
    if storage.parse::<VolumeName>().is_ok()
        && name.parse::<Target>().is_err()
        && format!("/{name}").parse::<Target>().is_ok()
        && !name.contains('/')
    {
        return Ok(Template::Stored(given.to_owned()));
    }
    Err((
        format!("{:?} is no template of a storage", brief(given)),
        "write STORAGE:vztmpl/NAME, such as \"local:vztmpl/debian-12.tar.zst\", or ./ before the path of a file with a colon in its name"
            .into(),
    ))
}

/// One line of an id map.
struct MapLine(String);

written_as_text! {
    MapLine, "id map line", "u 0 100000 65536", { "type": "string", "pattern": "^[ug] +[0-9]+ +[0-9]+ +[0-9]+$" }, |given| Ok(MapLine(given.to_owned()));
}

/// An id map as lines of `lxc.idmap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MapLines(pub(super) IdMap);

impl Read for MapLines {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        let lines: List<MapLine> = read_at(value, label, found)?.value;
        if !lines.whole {
            return None;
        }
        let map = IdMap::from_lxc(lines.values.iter().map(|line| line.value.0.as_str()));
        let complain = |error| {
            found.problem(&span(value), format!("{label}: {error}"), "write for example [\"u 0 100000 65536\", \"g 0 100000 65536\"]");
        };
        map.map_err(complain).ok().map(Self)
    }
}

impl JsonSchema for MapLines {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "id map".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "minItems": 2, "items": generator.subschema_for::<MapLine>() })
    }
}

/// One of a few words.
macro_rules! one_of {
    ($($kind:ty, $name:literal { $($word:literal => $value:expr),* $(,)? };)*) => {
        $(
            impl Read for $kind {
                fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
                    let words = [$($word),*].map(|word| format!("\"{word}\"")).join(" or ");
                    let Value::StringLit(given) = value else {
                        wrong_type(value, label, &words, "write one of them", found);
                        return None;
                    };
                    match given.value.as_ref() {
                        $($word => Some($value),)*
                        _ => {
                            wrong_type(value, label, &words, "write one of them", found);
                            None
                        }
                    }
                }
            }

            impl JsonSchema for $kind {
                fn inline_schema() -> bool {
                    true
                }

                fn schema_name() -> Cow<'static, str> {
                    $name.into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!({ "enum": [$($word),*] })
                }
            }
        )*
    };
}

pub(super) use one_of;

/// A kind of file system that a container may mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FsType(pub(super) &'static str);

one_of! {
    super::spec::OnInterrupt, "on_interrupt" { "rerun" => super::spec::OnInterrupt::Rerun, "ask" => super::spec::OnInterrupt::Ask };
    super::spec::Ownership, "ownership" { "chown" => super::spec::Ownership::Chown, "map" => super::spec::Ownership::Map };
    FsType, "file system" { "nfs" => FsType("nfs"), "cifs" => FsType("cifs"), "ext4" => FsType("ext4"), "xfs" => FsType("xfs"), "btrfs" => FsType("btrfs"), "zfs" => FsType("zfs") };
}
