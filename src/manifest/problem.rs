//! Problems and warnings: what is wrong, where, and what to write instead, as data and as text for a terminal or a log.
//!
//! Apart from the checks so that every message has one form: `FILE:LINE:COLUMN: WHAT; REMEDY`, whole in its first line, so that
//! a log that keeps one line keeps the message, and below it the line of the manifest with the spot marked. What came from
//! the manifest never reaches the output raw: control characters are escaped here, once. Not here: what is a problem.

use std::fmt;
use std::ops::Range;

/// A spot in a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// Bytes of the manifest.
    pub span: Range<usize>,
    /// The line it lies in, cut to a width that fits a terminal.
    pub excerpt: Excerpt,
}

/// A line of the manifest with a spot marked in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excerpt {
    /// The line or the part of it around the spot, free of control characters.
    pub text: String,
    /// How many characters of `text` stand before the spot.
    pub before: usize,
    /// How many characters of `text` are the spot; at least 1.
    pub marked: usize,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where; `None` if it is about the file as a whole.
    pub place: Option<Place>,
    /// What is wrong; one line, no control characters.
    pub what: String,
    /// What to write or do; one line, no control characters.
    pub remedy: String,
}

impl Problem {
    /// Takes texts that may quote the manifest; control characters in them are escaped.
    pub fn new(place: Option<Place>, what: &str, remedy: &str) -> Self {
        Self { place, what: printable(what), remedy: printable(remedy) }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, file: &str, severity: &str) -> fmt::Result {
        let Self { place, what, remedy } = self;
        let Some(Place { line, column, excerpt, .. }) = place else {
            return write!(f, "{file}: {severity}{what}; {remedy}");
        };
        let margin = line.to_string().len();
        write!(f, "{file}:{line}:{column}: {severity}{what}; {remedy}")?;
        write!(f, "\n  {line} | {}", excerpt.text)?;
        write!(f, "\n  {:margin$} | {:before$}{}", "", "", "^".repeat(excerpt.marked), before = excerpt.before)
    }
}

/// All that is wrong with a manifest, in the order of the text; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems {
    file: String,
    list: Vec<Problem>,
}

/// What a manifest says that will not do what one might think, in the order of the text; may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warnings {
    file: String,
    list: Vec<Problem>,
}

/// How many problems are written out; a file of another kind has thousands, and the first few say so.
pub const PROBLEMS_SHOWN_MAX: usize = 50;

impl Problems {
    /// Takes them in the order of the text.
    pub(super) fn new(file: &str, list: Vec<Problem>) -> Self {
        debug_assert!(!list.is_empty(), "no problems is no error");
        Self { file: printable(file), list }
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// The manifest they are about, as it was named.
    pub fn file(&self) -> &str {
        &self.file
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(f, &self.file, "", &self.list, "problem")
    }
}

impl Warnings {
    pub(super) fn new(file: &str, list: Vec<Problem>) -> Self {
        Self { file: printable(file), list }
    }

    /// One by one.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.list.iter()
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

impl<'a> IntoIterator for &'a Warnings {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Warnings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_all(f, &self.file, "warning: ", &self.list, "warning")
    }
}

fn write_all(f: &mut fmt::Formatter<'_>, file: &str, severity: &str, list: &[Problem], noun: &str) -> fmt::Result {
    for (index, problem) in list.iter().take(PROBLEMS_SHOWN_MAX).enumerate() {
        if index > 0 {
            f.write_str("\n")?;
        }
        problem.write(f, file, severity)?;
    }
    match list.len().saturating_sub(PROBLEMS_SHOWN_MAX) {
        0 => Ok(()),
        1 => write!(f, "\n{file}: and one more {noun}"),
        more => write!(f, "\n{file}: and {more} more {noun}s"),
    }
}

/// The text with control characters, line separators and marks that reorder text written as escapes.
pub(super) fn printable(text: &str) -> String {
    if !text.chars().any(is_unprintable) {
        return text.to_owned();
    }
    text.chars().flat_map(|c| if is_unprintable(c) { c.escape_unicode().collect::<Vec<_>>() } else { vec![c] }).collect()
}

/// What could move the cursor, end the line or show the rest of the line in another order (the marks of Unicode's UAX 9).
pub(super) fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}
