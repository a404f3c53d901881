//! Command lines as Proxmox reads them, and what it says about wrong ones.
//!
//! Not here: which options a command has.

use std::collections::BTreeMap;

use crate::died::{Died, Outcome};
use crate::property::{Property, Shape};
use crate::root::Vmid;

/// What the value of an option may be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bool,
    Integer(u64, u64),
    Number,
    Text,
    Dns,
    /// A name of a snapshot: a configuration id.
    Name,
    Vmid,
    OneOf(&'static [&'static str]),
    Property(&'static Shape),
    /// `512M`, `+1G`.
    Size,
    Keys,
}

/// What a command takes.
#[derive(Clone, Copy)]
pub(crate) struct Takes {
    /// After the program's name: `set <vmid> [OPTIONS]`.
    pub(crate) usage: &'static str,
    pub(crate) positional: &'static [(&'static str, Kind)],
    pub(crate) options: &'static [(&'static str, Kind)],
    /// Whether the settings of a container are options as well.
    pub(crate) settings: bool,
    /// Whether everything after the positional arguments is handed on.
    pub(crate) extra: bool,
}

/// A command line, read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) positional: Vec<String>,
    pub(crate) options: BTreeMap<String, String>,
    pub(crate) extra: Vec<String>,
}

impl Takes {
    /// These arguments and options, and nothing else.
    pub(crate) const fn plain(
        usage: &'static str,
        positional: &'static [(&'static str, Kind)],
        options: &'static [(&'static str, Kind)],
    ) -> Self {
        Self { usage, positional, options, settings: false, extra: false }
    }

    fn kind(&self, name: &str) -> Option<Kind> {
        let own = self.options.iter().find(|(found, _)| *found == name).map(|(_, kind)| *kind);
        own.or_else(|| crate::schema::kind(name).filter(|_| self.settings && name != "lock" && name != "template"))
    }

    /// Reads `args`; fails with everything that is wrong about them, and the usage.
    pub(crate) fn read(&self, program: &str, args: &[String]) -> Outcome<Given> {
        let usage = format!("{program} {}", self.usage);
        let wrong = |text: String| Died::new(format!("{text}\n{usage}")).with_code(2);
        let mut given = Given::default();
        let mut unknown = Vec::new();
        let mut rest = args.iter().peekable();
        while let Some(arg) = rest.next() {
            if arg == "--" {
                given.positional.extend(rest.by_ref().cloned());
                break;
            }
            let Some(name) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|name| !name.is_empty()) else {
                given.positional.push(arg.clone());
                continue;
            };
            let (name, joined) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
            let Some(kind) = self.kind(name) else {
                unknown.push(format!("Unknown option: {name}"));
                continue;
            };
            let next =
                |take: bool, rest: &mut std::iter::Peekable<std::slice::Iter<'_, String>>| if take { rest.next().cloned() } else { None };
            let value = match (joined, kind) {
                (Some(value), _) => Some(value),
                (None, Kind::Bool) => {
                    let is_value = rest.peek().is_some_and(|next| !next.starts_with('-'));
                    Some(next(is_value, &mut rest).unwrap_or_else(|| "1".to_owned()))
                }
                (None, _) => next(true, &mut rest),
            };
            match value {
                Some(value) => drop(given.options.insert(name.to_owned(), value)),
                None => unknown.push(format!("Option {name} requires an argument")),
            }
        }
        if !unknown.is_empty() {
            return Err(wrong(format!("{}\n400 unable to parse option", unknown.join("\n"))));
        }
        if given.positional.len() < self.positional.len() {
            return Err(wrong("400 not enough arguments".to_owned()));
        }
        let extra = given.positional.split_off(self.positional.len());
        if !extra.is_empty() && !self.extra {
            return Err(wrong("400 too many arguments".to_owned()));
        }
        given.extra = extra;
        self.verify(&mut given).map_err(|errors| parameters(&errors, &usage))?;
        Ok(given)
    }

    fn verify(&self, given: &mut Given) -> Result<(), BTreeMap<String, String>> {
        let mut errors = BTreeMap::new();
        let positional = self.positional.iter().zip(&mut given.positional).map(|((name, kind), value)| (*name, *kind, value));
        let options = given.options.iter_mut().filter_map(|(name, value)| Some((name.as_str(), self.kind(name)?, value)));
        for (name, kind, value) in positional.chain(options) {
            match kind.check(value) {
                Ok(normal) => *value = normal,
                Err(why) => drop(errors.insert(name.to_owned(), why.replace("{}", name))),
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl Given {
    /// The id that the positional argument at this place is.
    pub(crate) fn vmid(&self, at: usize) -> Vmid {
        // Checked when the command line was read.
        self.positional.get(at).and_then(|text| text.parse().ok()).unwrap_or(Vmid::new(0))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(String::as_str)
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.get(name) == Some("1")
    }
}

impl Kind {
    /// The value as it is taken, or what is wrong with it; `{}` stands for the option's name.
    fn check(self, value: &str) -> Result<String, String> {
        let plain = || Ok(value.to_owned());
        match self {
            Self::Text => plain(),
            Self::Bool => match value {
                "1" | "on" | "yes" | "true" => Ok("1".to_owned()),
                "0" | "off" | "no" | "false" => Ok("0".to_owned()),
                _ => Err(format!("type check ('boolean') failed - got '{value}'")),
            },
            Self::Integer(least, most) => match value.parse::<u64>() {
                Err(_) if value.strip_prefix('-').is_none_or(|rest| rest.parse::<u64>().is_err()) => {
                    Err(format!("type check ('integer') failed - got '{value}'"))
                }
                Ok(number) if number > most => Err(format!("value must have a maximum value of {most}")),
                Ok(number) if number >= least => plain(),
                Ok(_) | Err(_) => Err(format!("value must have a minimum value of {least}")),
            },
            Self::Number => {
                let wrong = || format!("type check ('number') failed - got '{value}'");
                value.parse::<f64>().map(|_| value.to_owned()).map_err(|_| wrong())
            }
            Self::Dns => {
                let good = |label: &str| {
                    let inside = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
                    inside && !label.is_empty() && label.len() < 64 && !label.starts_with('-') && !label.ends_with('-')
                };
                let wrong = "invalid format - value does not look like a valid DNS name\n";
                if value.split('.').all(good) { plain() } else { Err(wrong.to_owned()) }
            }
            Self::Name => {
                if is_key(value) {
                    plain()
                } else {
                    Err(format!("invalid format - invalid configuration ID '{value}'\n"))
                }
            }
            Self::Keys => match value.split([',', ';', ' ']).filter(|key| !key.is_empty()).find(|key| !is_key(key)) {
                Some(key) => Err(format!("invalid format - invalid configuration ID '{key}'\n")),
                None => plain(),
            },
            Self::Vmid => value.parse::<Vmid>().map(|id| id.to_string()),
            Self::OneOf(values) => {
                let wrong = || format!("value '{value}' does not have a value in the enumeration '{}'", values.join(", "));
                if values.contains(&value) { plain() } else { Err(wrong()) }
            }
            Self::Property(shape) => check_property(shape, value).map(|()| value.to_owned()),
            Self::Size => {
                let number = value.strip_prefix('+').unwrap_or(value);
                let good = number.starts_with(|c: char| c.is_ascii_digit()) && crate::property::parse_size(number).is_some();
                if good { plain() } else { Err("value does not match the regex pattern".to_owned()) }
            }
        }
    }
}

fn check_property(shape: &Shape, value: &str) -> Result<(), String> {
    let wrong = match Property::parse(shape, value) {
        Ok(property) => match property.get("mp").filter(|path| path.split('/').any(|part| part == "." || part == "..")) {
            Some(path) => vec![format!(".mp: invalid format - {path} contains illegal character sequences\n")],
            None => return Ok(()),
        },
        Err(wrong) => wrong,
    };
    let lines: String = wrong.iter().map(|line| format!("{{}}{line}\n")).collect();
    Err(format!("invalid format - format error\n{lines}"))
}

/// `pve-configid`: a letter and then letters, digits, `_` or `-`.
fn is_key(text: &str) -> bool {
    let rest = text.strip_prefix(|c: char| c.is_ascii_alphabetic());
    rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-'))
}

/// What is said about parameters that are wrong.
pub(crate) fn parameters(errors: &BTreeMap<String, String>, usage: &str) -> Died {
    let lines: String = errors.iter().map(|(name, why)| format!("{name}: {why}\n")).collect();
    Died::new(format!("400 Parameter verification failed.\n{lines}{usage}")).with_code(2)
}

/// The same for one parameter.
pub(crate) fn parameter(name: &str, why: &str, usage: &str) -> Died {
    parameters(&BTreeMap::from([(name.to_owned(), why.to_owned())]), usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: Takes = Takes {
        usage: "set <vmid> [OPTIONS]",
        positional: &[("vmid", Kind::Vmid)],
        options: &[("delete", Kind::Keys)],
        settings: true,
        extra: false,
    };

    fn said(line: &str) -> String {
        let args: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        SET.read("pct", &args).map_or_else(|died| died.text, |given| format!("{:?}", given.options))
    }

    #[test]
    fn options_are_read_as_perl_s_getopt_reads_them() {
        assert_eq!(said("100 --memory 64 -tags=a --onboot"), r#"{"memory": "64", "onboot": "1", "tags": "a"}"#);
        assert_eq!(said("100 --bogus 1"), "Unknown option: bogus\n400 unable to parse option\npct set <vmid> [OPTIONS]");
        assert_eq!(said("").lines().next(), Some("400 not enough arguments"));
        assert_eq!(said("100 200").lines().next(), Some("400 too many arguments"));
    }

    #[test]
    fn wrong_values_are_named_with_a_line_of_their_own_for_formats() {
        let second = |line: &str| said(line).lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(second("100 --memory 1"), ["memory: value must have a minimum value of 16", "pct set <vmid> [OPTIONS]"]);
        assert_eq!(second("99")[..2], ["vmid: invalid format - value does not look like a valid VM ID", ""]);
        assert_eq!(second("abc")[0], "vmid: type check ('integer') failed - got 'abc'");
        let mount = second("100 --mp3 /srv,mp=/a/../b");
        let lines = [
            "mp3: invalid format - format error",
            "mp3.mp: invalid format - /a/../b contains illegal character sequences",
            "",
            "",
            "pct set <vmid> [OPTIONS]",
        ];
        assert_eq!(mount, lines);
        let missing = ["mp3.mp: property is missing and it is not optional", "", "pct set <vmid> [OPTIONS]"];
        assert_eq!(second("100 --mp3 /srv")[1..], missing);
    }
}
