//! One line of a container's configuration.
//!
//! Apart from the file because a line knows nothing of sections. A line keeps its text, so that what nobody changes is written
//! back byte by byte. Not here: which keys there are.

use super::ConfigError;
use super::property::short;

/// A line and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    text: String,
    meaning: Meaning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Meaning {
    /// A line of the description.
    Remark,
    /// `key: value`.
    Setting(Pair),
    /// `lxc.key: value`, or with `=`.
    Raw(Pair),
    /// `[name]`.
    Header(String),
    /// An empty line, or one that Proxmox would warn of and leave out.
    Other,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pair {
    key: String,
    value: String,
}

impl Line {
    /// Reads a line, which has the given number.
    pub(super) fn parse(number: usize, text: &str) -> Result<Self, ConfigError> {
        // Files that went through other systems have `\r` at line ends, which Proxmox passes over like a blank.
        if text.strip_suffix('\r').unwrap_or(text).contains(|c: char| c.is_control() && c != '\t') {
            return Err(ConfigError::Control { line: number, given: short(text) });
        }
        let meaning = match text.trim_end() {
            remark if remark.starts_with('#') => Meaning::Remark,
            bracket if bracket.starts_with('[') => match header(bracket) {
                Some(name) => Meaning::Header(name.to_owned()),
                // What follows would count as part of the section before, and edits would go astray.
                None => return Err(ConfigError::Section { line: number, given: short(text) }),
            },
            other => raw(other).map(Meaning::Raw).or_else(|| setting(other).map(Meaning::Setting)).unwrap_or(Meaning::Other),
        };
        Ok(Self { text: text.to_owned(), meaning })
    }

    /// The line of a setting.
    pub(super) fn setting(key: &str, value: &str) -> Self {
        let pair = Pair { key: key.to_owned(), value: value.to_owned() };
        Self { text: format!("{key}: {value}"), meaning: Meaning::Setting(pair) }
    }

    /// The line of a raw setting.
    pub(super) fn raw(key: &str, value: &str) -> Self {
        let pair = Pair { key: key.to_owned(), value: value.to_owned() };
        Self { text: format!("{key}: {value}"), meaning: Meaning::Raw(pair) }
    }

    /// A line of a description, encoded already.
    pub(super) fn remark(encoded: &str) -> Self {
        Self { text: format!("#{encoded}"), meaning: Meaning::Remark }
    }

    /// The line as it stands in the file.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Key and value, if it is a setting of Proxmox.
    pub(super) fn as_setting(&self) -> Option<(&str, &str)> {
        if let Meaning::Setting(Pair { key, value }) = &self.meaning { Some((key, value)) } else { None }
    }

    /// Key and value, if it is one handed on to LXC.
    pub(super) fn as_raw(&self) -> Option<(&str, &str)> {
        if let Meaning::Raw(Pair { key, value }) = &self.meaning { Some((key, value)) } else { None }
    }

    /// The text behind `#`.
    pub(super) fn as_remark(&self) -> Option<&str> {
        if self.meaning == Meaning::Remark { self.text.strip_prefix('#').map(|text| text.strip_suffix('\r').unwrap_or(text)) } else { None }
    }

    /// The name, if a section begins here.
    pub(super) fn as_header(&self) -> Option<&str> {
        if let Meaning::Header(name) = &self.meaning { Some(name) } else { None }
    }

    /// Whether nothing stands in it.
    pub(super) fn is_blank(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// Whether Proxmox would warn of it and leave it out.
    pub(super) fn is_odd(&self) -> bool {
        self.meaning == Meaning::Other && !self.is_blank()
    }
}

/// `[pve:pending]`, or a snapshot's name.
fn header(text: &str) -> Option<&str> {
    let name = text.strip_prefix('[')?.strip_suffix(']')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let snapshot = name.len() >= 2 && name.starts_with(|c: char| c.is_ascii_alphabetic()) && name.bytes().all(plain);
    (snapshot || name.eq_ignore_ascii_case(super::PENDING)).then_some(name)
}

fn raw(text: &str) -> Option<Pair> {
    let end = text.find([':', '='])?;
    let (key, value) = (text[..end].trim_end(), text[end + 1..].trim());
    let name = key.strip_prefix("lxc.")?;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-' | b'.');
    (!name.is_empty() && name.bytes().all(plain)).then(|| Pair { key: key.to_owned(), value: value.to_owned() })
}

fn setting(text: &str) -> Option<Pair> {
    let (key, value) = text.split_once(':')?;
    let value = value.trim();
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = stem.starts_with(|c: char| c.is_ascii_lowercase()) && stem.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (plain && !value.is_empty()).then(|| Pair { key: key.to_owned(), value: value.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn line(text: &str) -> Line {
        Line::parse(1, text).expect("a line")
    }

    #[test]
    fn both_spellings_of_raw_lines_are_read() {
        for text in ["lxc.idmap: u 0 100000 65536", "lxc.idmap = u 0 100000 65536 ", "lxc.idmap=u 0 100000 65536"] {
            assert_eq!(line(text).as_raw(), Some(("lxc.idmap", "u 0 100000 65536")), "{text}");
        }
        assert_eq!(line("lxc.environment: A=b:c").as_raw(), Some(("lxc.environment", "A=b:c")));
        assert_eq!(line("lxc.cap.drop:").as_raw(), Some(("lxc.cap.drop", "")));
        assert!(line("lxc.: x").is_odd());
    }

    #[test]
    fn settings_are_told_from_what_proxmox_leaves_out() {
        assert_eq!(line("net0:  name=eth0 ").as_setting(), Some(("net0", "name=eth0")));
        assert_eq!(line("bogus: 1").as_setting(), Some(("bogus", "1")));
        for text in ["Memory: 1", " memory: 1", "memory:", "memory 1", "memory = 1", "9a: 1"] {
            assert!(line(text).is_odd(), "{text:?}");
        }
        assert!(!line("  ").is_odd());
    }

    #[test]
    fn a_bracket_that_begins_no_section_is_refused() {
        assert_eq!(line("[before-volumes]").as_header(), Some("before-volumes"));
        assert_eq!(line("[pve:pending]\r").as_header(), Some("pve:pending"));
        for text in ["[", "[s1", "[1s]", "[a b]", "[x]", "[]"] {
            assert_eq!(Line::parse(3, text), Err(ConfigError::Section { line: 3, given: text.to_owned() }));
        }
        assert!(matches!(Line::parse(4, "hostname: a\u{1b}[31m"), Err(ConfigError::Control { line: 4, .. })));
    }
}
