//! The text of an LXC configuration file: parsed strictly, written back without loss.
//!
//! Apart from what Phoenix wants in it ([`super::wanted`]) so that parser and writer can be fuzzed alone. Lines that we do
//! not know are kept, so an operator's own setting survives. Not here: what a key means. Format: `lxc.container.conf(5)`.

use std::fmt;

use crate::ids::{IdMap, IdMapError, Target};
use crate::plan::ConfigSeen;

use super::mount_entry::MountEntry;

/// The largest configuration file read; LXC's own are a few KiB.
pub(crate) const CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// A configuration file, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    lines: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    Setting { key: String, value: String },
    Remark(String),
}

/// Why a text is no configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line that is neither empty, nor a remark, nor `key = value`.
    #[error("line {line} is not `key = value`: {given:?}")]
    Syntax {
        /// Its number, from 1.
        line: usize,
        /// The line, cut to 120 characters.
        given: String,
    },
    /// A control character, which no key or value can hold.
    #[error("line {line} holds a control character: {given:?}")]
    Control {
        /// Its number, from 1.
        line: usize,
        /// The line, cut to 120 characters.
        given: String,
    },
    /// The `lxc.idmap` lines are no id map.
    #[error(transparent)]
    Idmap(#[from] IdMapError),
}

impl Config {
    /// Reads a configuration; included files are not followed.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let lines = text.lines().enumerate().map(|(index, line)| parse_line(index + 1, line)).collect::<Result<_, _>>()?;
        Ok(Self { lines })
    }

    /// Adds a setting at the end.
    pub(crate) fn push(&mut self, key: impl Into<String>, value: impl fmt::Display) {
        self.lines.push(Line::Setting { key: key.into(), value: value.to_string() });
    }

    /// Adds a remark at the end.
    pub(crate) fn remark(&mut self, text: &str) {
        self.lines.push(Line::Remark(format!("# {text}")));
    }

    /// The settings of `key` that are in force, in order. As LXC reads them: an empty value takes back those before it.
    pub fn values(&self, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (found, value) in self.settings() {
            if found == key && !value.is_empty() {
                values.push(value);
            } else if value.is_empty() && clears(found, key) {
                values.clear();
            }
        }
        values
    }

    /// The setting of `key` that is in force where only one can be.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.values(key).pop()
    }

    /// All settings in order.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| match line {
            Line::Setting { key, value } => Some((key.as_str(), value.as_str())),
            Line::Remark(_) => None,
        })
    }

    /// Drops the settings for which `keep` says no, and with them every remark that Phoenix writes itself.
    pub(crate) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.lines.retain(|line| match line {
            Line::Setting { key, value } => keep(key, value),
            Line::Remark(text) => !text.trim().is_empty() && !text.contains(OUR_REMARK),
        });
    }

    /// Appends all lines of `other`.
    pub(crate) fn extend(&mut self, other: Self) {
        self.lines.extend(other.lines);
    }

    /// The map that the configuration asks for; `None` if it asks for none.
    pub fn idmap(&self) -> Result<Option<IdMap>, ConfigError> {
        let values = self.values("lxc.idmap");
        if values.is_empty() { Ok(None) } else { Ok(Some(IdMap::from_lxc(values)?)) }
    }

    /// The bind mounts by target, the last of each; entries of other kinds and with unusual targets are not listed.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = (Target, MountEntry)> {
        self.values(MOUNT_KEY).into_iter().filter_map(MountEntry::parse).filter_map(|entry| Some((entry.target()?, entry)))
    }

    /// What the configuration says, as far as claims are made about it.
    pub fn seen(&self) -> Result<ConfigSeen, ConfigError> {
        Ok(ConfigSeen {
            hostname: self.value("lxc.uts.name").map(str::to_owned),
            idmap: self.idmap()?,
            mounts: self.mounts().map(|(target, entry)| (target, entry.seen())).collect(),
            autostart: self.value("lxc.start.auto") == Some("1"),
        })
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| match line {
            Line::Setting { key, value } if value.is_empty() => writeln!(f, "{key} ="),
            Line::Setting { key, value } => writeln!(f, "{key} = {value}"),
            Line::Remark(text) => writeln!(f, "{text}"),
        })
    }
}

/// The key of mount entries.
pub(crate) const MOUNT_KEY: &str = "lxc.mount.entry";
/// What every remark of ours holds, so that rewriting does not pile them up.
pub(crate) const OUR_REMARK: &str = "written by phoenix";

fn parse_line(number: usize, line: &str) -> Result<Line, ConfigError> {
    let given = || line.chars().take(120).collect::<String>();
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(ConfigError::Control { line: number, given: given() });
    }
    let trimmed = line.trim();
    if trimmed.is_empty() || trimmed.starts_with('#') {
        return Ok(Line::Remark(line.to_owned()));
    }
    let (key, value) = trimmed.split_once('=').ok_or_else(|| ConfigError::Syntax { line: number, given: given() })?;
    let (key, value) = (key.trim(), unquoted(value.trim()));
    if key.is_empty() || key.contains(char::is_whitespace) {
        return Err(ConfigError::Syntax { line: number, given: given() });
    }
    Ok(Line::Setting { key: key.to_owned(), value: value.trim().to_owned() })
}

/// LXC takes off one pair of quotes around a value.
fn unquoted(value: &str) -> &str {
    let pair = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    // What is left is quoted again if it is quoted still: taking off a second pair on the next reading would change it.
    match pair('"').or_else(|| pair('\'')) {
        Some(inner) if pair_free(inner.trim()) => inner,
        Some(_) | None => value,
    }
}

fn pair_free(inner: &str) -> bool {
    !(inner.starts_with(['"', '\'']) && inner.ends_with(['"', '\'']))
}

/// Whether an empty setting of `cleared` takes back `key`: the key itself or a whole branch (`lxc.net`, `lxc.net.0`).
fn clears(cleared: &str, key: &str) -> bool {
    key.strip_prefix(cleared).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn unknown_lines_survive_a_round_trip() {
        let text = "# mine\n\nlxc.idmap = u 0 100000 65536\nlxc.apparmor.profile = generated\nlxc.cgroup.devices.deny =\n";
        let config = Config::parse(text).expect("a configuration");
        assert_eq!(config.to_string(), text);
    }

    #[test]
    fn an_empty_value_takes_back_what_came_before() {
        let text = "lxc.net.0.type = veth\nlxc.net.1.type = empty\nlxc.net =\nlxc.net.0.type = empty\nlxc.netx.0 =\n";
        let config = Config::parse(text).expect("a configuration");
        assert_eq!(config.values("lxc.net.0.type"), ["empty"]);
        assert_eq!(config.value("lxc.net.1.type"), None);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        let check = |text: &str, line: usize| match Config::parse(text) {
            Err(ConfigError::Syntax { line: found, .. } | ConfigError::Control { line: found, .. }) => assert_eq!(found, line, "{text:?}"),
            other => panic!("{text:?} gave {other:?}"),
        };
        check("lxc.uts.name", 1);
        check("\n= x", 2);
        check("a b = x", 1);
        check("# ok\nlxc.uts.name = a\u{1b}[31m", 2);
    }

    #[test]
    fn the_configured_map_is_parsed_strictly() {
        let parse = |text| Config::parse(text).and_then(|config| config.idmap());
        let whole = "lxc.idmap = u 0 100000 65536\nlxc.idmap = g 0 100000 65536\n";
        assert_eq!(parse(whole), Ok(IdMap::shifted(100_000, 65536).ok()));
        assert_eq!(parse("lxc.uts.name = a\n"), Ok(None));
        assert!(matches!(parse("lxc.idmap = u 0 100000 65536\n"), Err(ConfigError::Idmap(IdMapError::Empty { .. }))));
    }

    proptest! {
        #[test]
        fn whatever_parses_comes_back_equal(text in "([a-z. ='\"#\\\\/0-9\t]{0,30}\n){0,6}") {
            if let Ok(config) = Config::parse(&text) {
                prop_assert_eq!(Config::parse(&config.to_string()), Ok(config));
            }
        }

        #[test]
        fn quotes_come_back_equal(value in "['\" a]{0,7}") {
            let config = Config::parse(&format!("lxc.a = {value}\n"));
            prop_assert!(config.is_ok());
            prop_assert_eq!(Config::parse(&config.clone().unwrap_or_default().to_string()), config);
        }

        #[test]
        fn settings_come_back(settings in proptest::collection::vec(("lxc\\.[a-z]{1,9}(\\.[a-z0-9]{1,9}){0,3}", "[!-~]([ -~]{0,30}[!-~])?"), 0..12)) {
            let mut config = Config::default();
            for (key, value) in &settings {
                config.push(key.as_str(), value);
            }
            let text = config.to_string();
            let back = Config::parse(&text);
            prop_assert!(back.is_ok(), "{:?}", back);
            let back = back.unwrap_or_default();
            prop_assert_eq!(back.to_string().lines().count(), settings.len());
        }
    }
}
