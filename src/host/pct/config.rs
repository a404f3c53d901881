//! The text of `/etc/pve/lxc/ID.conf`: parsed strictly, written back without loss, changed in its main section alone.
//!
//! Apart from what Phoenix wants in it so that parser and writer can be fuzzed alone. Lines nobody changes come back byte by
//! byte, those included that are not known here. The same keys stand in the main section, in `[pve:pending]` and in every
//! snapshot; whoever asks names the section. Not here: reading and replacing the file.

mod edit;
mod line;
pub mod property;
mod section;
pub mod text;
pub mod values;

use std::fmt;

pub use edit::EditError;
pub use section::Section;

use crate::ids::IdMapError;

use line::Line;
use property::PropertyError;

/// The largest configuration file read; the cluster's file system takes 1 MiB at most.
pub const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// The section of what waits for the next start.
const PENDING: &str = "pve:pending";

/// A container's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    main: Vec<Line>,
    others: Vec<Other>,
    /// Whether the last line ends as lines do.
    closed: bool,
}

/// A section behind the main one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Other {
    header: Line,
    lines: Vec<Line>,
}

/// Why a text is no configuration, or one of its values none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A control character, which no line can hold.
    #[error("line {line} holds a control character: `{given}`; take it out with an editor")]
    Control {
        /// Its number, from 1.
        line: usize,
        /// The line, shortened.
        given: String,
    },
    /// A line that begins like a section and is none.
    #[error("line {line} is no section `[name]`: `{given}`; take it out with an editor, what follows may belong to the section before")]
    Section {
        /// Its number, from 1.
        line: usize,
        /// The line, shortened.
        given: String,
    },
    /// A value that its key does not allow.
    #[error("line {line}: `{key}: {given}` is not {wanted}; set it right with `pct set`")]
    Value {
        /// Its number, from 1.
        line: usize,
        /// The key.
        key: String,
        /// The value, shortened.
        given: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A property string that its key does not allow.
    #[error("line {line}: `{key}`: {error}; set it right with `pct set`")]
    Property {
        /// Its number, from 1.
        line: usize,
        /// The key.
        key: String,
        /// What is wrong.
        error: PropertyError,
    },
    /// The `lxc.idmap` lines are no id map.
    #[error("the `lxc.idmap` lines of the main section: {0}; set them right with an editor")]
    Idmap(#[source] IdMapError),
    /// A description that is no text.
    #[error("line {line} of the description is no UTF-8 behind its `%` codes; write the description anew with `pct set --description`")]
    Description {
        /// Its number, from 1.
        line: usize,
    },
}

impl Config {
    /// Reads a configuration.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let closed = text.is_empty() || text.ends_with('\n');
        let mut config = Self { main: Vec::new(), others: Vec::new(), closed };
        if text.is_empty() {
            return Ok(config);
        }
        for (index, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
            let line = Line::parse(index + 1, line)?;
            match config.others.last_mut() {
                _ if line.as_header().is_some() => config.others.push(Other { header: line, lines: Vec::new() }),
                Some(section) => section.lines.push(line),
                None => config.main.push(line),
            }
        }
        Ok(config)
    }

    /// What is in force.
    pub fn main(&self) -> Section<'_> {
        Section::new(1, &self.main)
    }

    /// What waits for the next start, if anything does.
    pub fn pending(&self) -> Option<Section<'_>> {
        self.sections().find(|(name, _)| name.eq_ignore_ascii_case(PENDING)).map(|(_, section)| section)
    }

    /// The snapshots by name.
    pub fn snapshots(&self) -> impl Iterator<Item = (&str, Section<'_>)> {
        self.sections().filter(|(name, _)| !name.eq_ignore_ascii_case(PENDING))
    }

    /// One snapshot.
    pub fn snapshot(&self, name: &str) -> Option<Section<'_>> {
        self.snapshots().find(|(found, _)| *found == name).map(|(_, section)| section)
    }

    /// What `pct set --digest` compares: SHA-1 of the file, in hexadecimal digits.
    pub fn digest(&self) -> String {
        digest(self.to_string().as_bytes())
    }

    fn sections(&self) -> impl Iterator<Item = (&str, Section<'_>)> {
        self.others.iter().scan(self.main.len() + 1, |header, Other { header: line, lines }| {
            let section = Section::new(*header + 1, lines);
            *header += lines.len() + 1;
            Some((line.as_header().unwrap_or_default(), section))
        })
    }
}

/// SHA-1 of a file's bytes, in hexadecimal digits.
pub fn digest(bytes: &[u8]) -> String {
    use sha1::Digest as _;
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    sha1::Sha1::digest(bytes).iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let others = self.others.iter().flat_map(|other| std::iter::once(&other.header).chain(&other.lines));
        let mut lines = self.main.iter().chain(others).peekable();
        while let Some(line) = lines.next() {
            let end = if self.closed || lines.peek().is_some() { "\n" } else { "" };
            write!(f, "{}{end}", line.text())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
