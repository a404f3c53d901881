//! Plain text for people: what comes from outside is cleaned, what is too long is cut or wrapped.
//!
//! Apart because every renderer needs it and none may forget it: a container's output is a stranger's text, and a terminal
//! obeys what it is sent. Not here: what is said.

use std::fmt;
use std::path::Path;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How a text may look: how wide, and whether in colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// Columns that a line may have; `None` where nothing is cut, as in a pipe.
    pub width: Option<usize>,
    /// Whether colours are understood and wanted.
    pub colour: bool,
}

/// The narrowest screen that is laid out for; anything narrower gets lines of this width.
const WIDTH_MIN: usize = 24;

impl Look {
    /// For pipes and files.
    pub const PLAIN: Self = Self { width: None, colour: false };

    /// Columns to lay out for; `None` if lines may be of any length.
    pub fn columns(self) -> Option<usize> {
        self.width.map(|width| width.max(WIDTH_MIN))
    }

    /// The text in a tone, where colours are wanted.
    pub fn paint(self, tone: Tone, text: &str) -> String {
        match (self.colour, tone.code()) {
            (true, Some(code)) if !text.is_empty() => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            (true | false, Some(_) | None) => text.to_owned(),
        }
    }
}

/// What a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// Headings.
    Strong,
    /// What matters less.
    Faint,
    /// Where it should be.
    Good,
    /// On the way, or waiting.
    Busy,
    /// Failed or quarantined.
    Bad,
}

impl Tone {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Strong => Some("1"),
            Self::Faint => Some("2"),
            Self::Good => Some("32"),
            Self::Busy => Some("33"),
            Self::Bad => Some("31"),
        }
    }
}

/// One line without anything that a terminal would obey: escape sequences go, control characters and breaks become spaces,
/// characters that turn the direction of writing go.
pub fn one_line(text: &str) -> String {
    if phoenix_journal::sabotaged("terminals_get_what_was_said") {
        return text.to_owned();
    }
    let mut clean = String::with_capacity(text.len());
    for c in console::strip_ansi_codes(text).chars() {
        match c {
            c if c.is_control() || c == '\u{2028}' || c == '\u{2029}' => clean.push(' '),
            c if turns_direction(c) => {}
            c => clean.push(c),
        }
    }
    clean.trim_end().to_owned()
}

/// A path as one line: a file can have any name.
pub fn path_text(path: &Path) -> String {
    one_line(&path.display().to_string())
}

/// The lines of a text, each as [`one_line`]; a carriage return ends a line, as progress bars use it.
pub fn lines(text: &str) -> impl Iterator<Item = String> {
    text.split(['\n', '\r']).map(one_line).filter(|line| !line.is_empty())
}

/// The last of the lines of a text.
pub fn last_lines(text: &str, count_max: usize) -> Vec<String> {
    let all: Vec<String> = lines(text).collect();
    all[all.len().saturating_sub(count_max)..].to_vec()
}

fn turns_direction(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// What a writer of lines writes. A string takes everything, so there is no error to be told about.
pub(super) fn written(write: impl FnOnce(&mut String) -> fmt::Result) -> String {
    let mut text = String::new();
    let _ = write(&mut text);
    text
}

/// How many columns a text takes.
pub fn width(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text, cut to `columns` with an ellipsis where it is longer.
pub fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut taken = 1;
    for c in text.chars() {
        taken += c.width().unwrap_or(0);
        if taken > columns {
            break;
        }
        short.push(c);
    }
    format!("{}…", short.trim_end())
}

/// The text, broken between words into lines of at most `columns`; a longer word stands alone on its line.
pub fn wrap(text: &str, columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![text.to_owned()] };
    let (mut broken, mut line) = (Vec::new(), String::new());
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            broken.push(std::mem::take(&mut line));
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(word);
    }
    broken.push(line);
    broken
}

/// Writes `text` wrapped, the first line behind `head`, the others indented by as much.
pub fn paragraph(f: &mut dyn fmt::Write, look: Look, head: &str, text: &str) -> fmt::Result {
    let indent = width(head);
    let columns = look.columns().map(|columns| columns.saturating_sub(indent).max(WIDTH_MIN / 2));
    for (index, line) in wrap(&one_line(text), columns).iter().enumerate() {
        if index == 0 {
            writeln!(f, "{head}{line}")?;
        } else {
            writeln!(f, "{:indent$}{line}", "")?;
        }
    }
    Ok(())
}

/// `1 container`, `2 containers`.
pub fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_passes() {
        for (given, clean) in [
            ("plain", "plain"),
            ("\u{1b}[31mred\u{1b}[0m", "red"),
            ("\u{1b}]0;title\u{7}after", "after"),
            ("a\u{8}\u{8}b\tc\r\nd", "a  b c  d"),
            ("\u{9b}31mx", "31mx"),
            ("a\u{202e}b", "ab"),
        ] {
            let found = one_line(given);
            assert!(!found.chars().any(char::is_control), "{found:?}");
            if given != "\u{9b}31mx" {
                assert_eq!(found, clean);
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut_with_a_sign() {
        assert_eq!(cut("volume.attach[/srv/media]", 10), "volume.at…");
        assert_eq!(cut("short", 5), "short");
        assert_eq!(width(&cut("数字数字数字", 6)), 5);
    }

    #[test]
    fn words_are_not_broken() {
        assert_eq!(wrap("a bb ccc dddd", Some(6)), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrap("abcdefgh i", Some(3)), ["abcdefgh", "i"]);
        assert_eq!(wrap("any length", None), ["any length"]);
    }

    proptest::proptest! {
        #[test]
        fn cutting_keeps_to_the_width(text in ".{0,60}", columns in 1_usize..40) {
            let text = one_line(&text);
            proptest::prop_assert!(width(&cut(&text, columns)) <= columns.max(1));
        }
    }
}
