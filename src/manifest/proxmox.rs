//! The kinds of single values that Proxmox alone knows: tags, pools, snippets, devices, firewall rules.
//!
//! Apart from the other values because their rules of form are Proxmox's: what is refused here `pct` would refuse at creation, or it would
//! break the line of a configuration that holds it. Not here: whether such a thing exists on the node; the host looks.

use std::borrow::Cow;
use std::net::IpAddr;
use std::path::PathBuf;

use jsonc_parser::ast::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::json::span;
use super::read::{List, Read, brief, read_at, text, wrong_type};
use super::source::{At, Findings};
use super::spec::FirewallPolicy;
use super::value::{any_path, one_of, written_as_text};
use crate::ids::{Hostname, VolumeName};

/// A tag, lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) String);

/// A resource pool; pools are nested with slashes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pool(pub(super) String);

/// A file among the snippets of a storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snippet(pub(super) String);

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Zone(pub(super) String);

/// Domains for short names, separated by single spaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Domains(pub(super) String);

/// A device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DevicePath(pub(super) PathBuf);

/// Permission bits of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DeviceMode(pub(super) u32);

/// A rule of a container's firewall, as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule(pub(super) String);

/// The address of a name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Resolver(pub(super) IpAddr);

written_as_text! {
    Tag, "tag", "web", { "type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_+.-]*$", "maxLength": 124 }, |given| tag(given).map(Tag);
    Pool, "pool", "homelab", { "type": "string", "pattern": "^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+){0,2}$" }, |given| pool(given).map(Pool);
    Snippet, "snippet", "local:snippets/guard.pl", { "type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*:snippets/[^/\\s,]+$" }, |given| {
        snippet(given).map(Snippet)
    };
    Zone, "time zone", "Europe/Vienna", { "type": "string", "pattern": "^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$" }, |given| zone(given).map(Zone);
    Domains, "search domain", "lan.example", { "type": "string", "pattern": "^[A-Za-z0-9.-]+( [A-Za-z0-9.-]+)*$" }, |given| domains(given).map(Domains);
    DevicePath, "device", "/dev/dri/renderD128", { "type": "string", "pattern": "^/dev(/[^/\\s,=\\[\\]\\\\\"#]+)+$" }, |given| {
        device_path(given).map(DevicePath)
    };
    DeviceMode, "mode of a device", "0660", { "type": "string", "pattern": "^0?[0-7]{3}$" }, |given| device_mode(given).map(DeviceMode);
    Rule, "firewall rule", "IN ACCEPT -p tcp -dport 22", { "type": "string", "examples": ["IN ACCEPT -p tcp -dport 22", "IN SSH(ACCEPT) -i net0", "GROUP webserver"] }, |given| {
        rule(given).map(Rule)
    };
    Resolver, "name server", "10.0.0.1", { "type": "string" }, |given| resolver(given).map(Resolver);
}

one_of! {
    FirewallPolicy, "firewall policy" {
        "ACCEPT" => FirewallPolicy::Accept, "REJECT" => FirewallPolicy::Reject, "DROP" => FirewallPolicy::Drop
    };
}

/// One name server, or several in the order in which they are asked.
#[derive(Clone, Debug)]
pub(super) struct Resolvers(pub(super) List<Resolver>);

impl Read for Resolvers {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        match value {
            Value::StringLit(_) => {
                let one: At<Resolver> = read_at(value, label, found)?;
                Some(Self(List { values: vec![one], whole: true }))
            }
            Value::Array(_) => List::read(value, label, found).map(Self),
            Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::NullKeyword(_) => {
                wrong_type(value, label, "an IP address or a list of them", "write \"10.0.0.1\" or [\"10.0.0.1\", \"10.0.0.2\"]", found);
                None
            }
        }
    }
}

impl JsonSchema for Resolvers {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "name servers".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<Resolver>(), generator.subschema_for::<List<Resolver>>()] })
    }
}

/// What is wrong and what to write.
type Wrong = (String, String);

/// The longest tag; Proxmox sets no limit, a line of its configuration and a screen do.
const TAG_BYTES_MAX: usize = 124;

/// Proxmox keeps tags in lower case, so that is how they are compared.
fn tag(given: &str) -> Result<String, Wrong> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'.');
    let begins = given.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    if begins && given.len() <= TAG_BYTES_MAX && given.bytes().all(rest) {
        return Ok(given.to_ascii_lowercase());
    }
    let remedy = format!("use 1 to {TAG_BYTES_MAX} of a-z, 0-9, `_`, `-`, `+`, `.`, beginning with a letter, a digit or `_`");
    Err((format!("{:?} is no tag", brief(given)), remedy))
}

/// The deepest nesting of pools.
const POOL_LEVELS_MAX: usize = 3;

fn pool(given: &str) -> Result<String, Wrong> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    if given.split('/').all(plain) && given.split('/').count() <= POOL_LEVELS_MAX {
        return Ok(given.to_owned());
    }
    let remedy = format!("use a-z, A-Z, 0-9, `.`, `_`, `-`, and a slash between at most {POOL_LEVELS_MAX} levels");
    Err((format!("{:?} is no resource pool", brief(given)), remedy))
}

fn snippet(given: &str) -> Result<String, Wrong> {
    let name = |name: &str| {
        !name.is_empty() && name.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | ',' | '\\' | '"' | '#'))
    };
    let parts = given.split_once(":snippets/").filter(|(storage, file)| storage.parse::<VolumeName>().is_ok() && name(file));
    if parts.is_some() {
        return Ok(given.to_owned());
    }
    let remedy = if given.starts_with('/') {
        "put the script into the snippets of a storage, and write STORAGE:snippets/NAME, such as \"local:snippets/guard.pl\""
    } else {
        "write STORAGE:snippets/NAME, such as \"local:snippets/guard.pl\""
    };
    Err((format!("{:?} is no script of a storage", brief(given)), remedy.to_owned()))
}

fn zone(given: &str) -> Result<String, Wrong> {
    let part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+'));
    if given.starts_with(|c: char| c.is_ascii_alphabetic()) && given.len() <= 64 && given.split('/').all(part) {
        return Ok(given.to_owned());
    }
    let remedy = "write a name of the time zone database, such as \"Europe/Vienna\" or \"UTC\", or \"host\" for the host's";
    Err((format!("{:?} is no time zone", brief(given)), remedy.into()))
}

fn domains(given: &str) -> Result<String, Wrong> {
    if given.split(' ').all(|domain| domain.parse::<Hostname>().is_ok()) {
        return Ok(given.to_owned());
    }
    let remedy = "write a domain such as \"lan.example\", or several with one space between them";
    Err((format!("{:?} is no search domain", brief(given)), remedy.into()))
}

/// A path with a comma or an equals sign would end or rename its part of the line `dev0: PATH,uid=..`.
fn device_path(given: &str) -> Result<PathBuf, Wrong> {
    let path = any_path(given)?;
    let below = given.strip_prefix("/dev/");
    let normal = |part: &str| !matches!(part, "" | "." | "..");
    let plain = |c: char| !c.is_whitespace() && !matches!(c, ',' | '=' | '[' | ']' | '\\' | '"' | '#');
    match below {
        Some(below) if below.split('/').all(normal) && given.chars().all(plain) => Ok(path),
        Some(_) => Err((
            format!("{:?} is not a device that Proxmox can pass on", brief(given)),
            "write it without `.`, `..`, `//`, a slash at the end, spaces, commas, equals signs, quotes, backslashes, `#` or brackets"
                .into(),
        )),
        None => Err((
            format!("{:?} is not below /dev", brief(given)),
            "write the device node, such as \"/dev/dri/renderD128\"; directories are shared as volumes".into(),
        )),
    }
}

fn device_mode(given: &str) -> Result<u32, Wrong> {
    let digits = if given.len() == 4 { given.strip_prefix('0') } else { Some(given) };
    let octal = digits.filter(|digits| digits.len() == 3 && digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
    octal.and_then(|digits| u32::from_str_radix(digits, 8).ok()).ok_or_else(|| {
        (format!("{:?} are no permission bits of a device", brief(given)), "write three octal digits, such as \"0660\"".into())
    })
}

fn resolver(given: &str) -> Result<IpAddr, Wrong> {
    let ip: IpAddr =
        given.parse().map_err(|_| (format!("{:?} is no IP address", brief(given)), "write for example \"10.0.0.1\"".to_owned()))?;
    if ip.is_unspecified() || ip.is_multicast() {
        return Err((format!("{ip} is no address of a name server"), "write the address of one host".into()));
    }
    Ok(ip)
}

/// The options of a rule, by the names that Proxmox writes; each takes one value.
const RULE_OPTIONS: [&str; 8] = ["-i", "-p", "-dport", "-sport", "-source", "-dest", "-log", "-icmp-type"];

/// Log levels of a rule.
const LOG_LEVELS: [&str; 9] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug", "nolog"];

/// `[|]DIRECTION ACTION [OPTION VALUE]... [# COMMENT]`, one space between words. A newline would begin another rule, and a bracket could begin
/// another section or end in the sign by which Phoenix knows its rules.
fn rule(given: &str) -> Result<String, Wrong> {
    let wrong = |what: String, remedy: &str| Err((format!("the rule {:?} {what}", brief(given)), remedy.to_owned()));
    if given.chars().any(|c| c.is_control() || matches!(c, '[' | ']')) {
        return wrong("has a control character, `[` or `]`".into(), "write one rule to a text");
    }
    let (rule, comment) = given.split_once('#').map_or((given, None), |(rule, comment)| (rule, Some(comment.trim())));
    let mut words = rule.split_whitespace();
    let (Some(first), Some(action)) = (words.next(), words.next()) else {
        return wrong("is not whole".into(), "write a direction and an action, such as \"IN ACCEPT -p tcp -dport 22\"");
    };
    let (off, direction) = first.strip_prefix('|').map_or(("", first), |direction| ("|", direction));
    let direction = direction.to_ascii_uppercase();
    let group = match direction.as_str() {
        "IN" | "OUT" => false,
        "GROUP" => true,
        other => return wrong(format!("begins with {:?}", brief(other)), "begin it with IN, OUT or GROUP"),
    };
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    let verdict = |word: &str| matches!(word, "ACCEPT" | "DROP" | "REJECT");
    let called = action.strip_suffix(')').and_then(|action| action.split_once('('));
    let good = if group { word(action) } else { verdict(action) || called.is_some_and(|(name, what)| word(name) && verdict(what)) };
    if !good && group {
        return wrong(format!("names the group {:?}", brief(action)), "write the name of a security group, such as \"GROUP webserver\"");
    }
    if !good {
        return wrong(format!("has the action {:?}", brief(action)), "write ACCEPT, DROP, REJECT or a macro, such as SSH(ACCEPT)");
    }
    let mut line = format!("{off}{direction} {action}");
    let (mut seen, mut ports) = (Vec::new(), false);
    while let Some(option) = words.next() {
        let short = rule_option(option).filter(|short| !group || *short == "-i");
        let Some(short) = short else {
            let known = if group { "-i".to_owned() } else { RULE_OPTIONS.join(", ") };
            return wrong(format!("has the option {:?}", brief(option)), &format!("it can have {known}"));
        };
        let Some(value) = words.next() else {
            return wrong(format!("has nothing after {option}"), "write its value");
        };
        if seen.contains(&short) {
            return wrong(format!("has {short} twice"), "keep one of them");
        }
        if short == "-i"
            && !value.strip_prefix("net").is_some_and(|n| !n.is_empty() && n.len() <= 2 && n.bytes().all(|b| b.is_ascii_digit()))
        {
            return wrong(
                format!("names the interface {:?}", brief(value)),
                "write net0 for the first entry of `network`, net1 for the second",
            );
        }
        if short == "-log" && !LOG_LEVELS.contains(&value) {
            return wrong(format!("has the log level {:?}", brief(value)), &format!("write one of {}", LOG_LEVELS.join(", ")));
        }
        ports |= matches!(short, "-dport" | "-sport");
        seen.push(short);
        line.extend([" ", short, " ", value]);
    }
    if ports && called.is_none() && !seen.contains(&"-p") {
        return wrong("has a port but no protocol".into(), "add -p tcp or -p udp");
    }
    if let Some(comment) = comment.filter(|comment| !comment.is_empty()) {
        line.extend([" # ", comment]);
    }
    Ok(line)
}

/// The name that Proxmox writes for an option that it reads.
fn rule_option(given: &str) -> Option<&'static str> {
    let plain = given.strip_prefix('-')?;
    let plain = plain.strip_prefix('-').unwrap_or(plain);
    match plain {
        "i" if given == "-i" => Some("-i"),
        "p" if given == "-p" => Some("-p"),
        "proto" => Some("-p"),
        name => RULE_OPTIONS.into_iter().find(|known| known.len() > 2 && known.strip_prefix('-') == Some(name)),
    }
}
