//! The text of a manifest with its lines, and what is found in it.
//!
//! Apart so that readers and checks deal in spans of bytes alone; lines, columns and excerpts are worked out once, in one walk over
//! the text when all is found, so that a file of one long line with thousands of problems costs no more than its length.

use std::ops::Range;
use std::sync::Arc;

use super::problem::{Excerpt, Place, Problem, is_unprintable};

/// Bytes of the manifest.
pub(super) type Span = Range<usize>;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) span: Span,
}

/// The text of a manifest.
#[derive(Clone, Debug)]
pub(super) struct Source {
    text: Arc<str>,
    /// The byte at which each line begins.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(text: &str) -> Self {
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text: text.into(), lines }
    }

    /// The line of a byte, from 1.
    pub(super) fn line(&self, byte: usize) -> usize {
        self.lines.partition_point(|start| *start <= byte)
    }

    /// The byte of a line and a column of bytes, both from 1, as `serde_json` counts; the nearest character if there is none.
    pub(super) fn byte(&self, line: usize, column: usize) -> usize {
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        self.floor(start.saturating_add(column.saturating_sub(1)))
    }

    /// Places for findings, in the order of the text.
    pub(super) fn place(&self, mut found: Vec<Finding>) -> Vec<Problem> {
        found.sort_by(|a, b| a.order().cmp(&b.order()));
        found.dedup();
        let mut walk = Walk { source: self, line: 1, column: 1, byte: 0 };
        let placed = found.into_iter().map(|finding| {
            let place = finding.span.map(|span| walk.place(&span));
            Problem::new(place, &finding.what, &finding.remedy)
        });
        placed.collect()
    }

    fn floor(&self, byte: usize) -> usize {
        let mut byte = byte.min(self.text.len());
        while !self.text.is_char_boundary(byte) {
            byte -= 1;
        }
        byte
    }

    /// The part of the line around a span. Only the neighbourhood of the span is looked at, however long the line is.
    fn excerpt(&self, span: &Span) -> Excerpt {
        let ends_line = |c: &char| *c == '\n' || *c == '\r';
        let (head, tail) = self.text.split_at(span.start);
        let mut before: Vec<char> = head.chars().rev().take_while(|c| *c != '\n').take(EXCERPT_BEFORE_MAX + 1).collect();
        before.reverse();
        if before.len() > EXCERPT_BEFORE_MAX {
            before[0] = '…';
        }
        let mut after: Vec<char> = tail.chars().take_while(|c| !ends_line(c)).take(EXCERPT_AFTER_MAX + 1).collect();
        if after.len() > EXCERPT_AFTER_MAX {
            after[EXCERPT_AFTER_MAX] = '…';
        }
        let spot = &self.text[span.start..self.floor(span.end.max(span.start))];
        let marked = spot.chars().take_while(|c| !ends_line(c)).take(after.len()).count().max(1);
        let text: String = before.iter().chain(&after).map(|c| shown(*c)).collect();
        // The part cut off on the left may be nothing but indentation, which no one misses.
        let indent = text.chars().take_while(|c| *c == ' ').count().min(before.len());
        Excerpt { text: text.chars().skip(indent).collect::<String>().trim_end().to_owned(), before: before.len() - indent, marked }
    }
}

/// Something wrong or worth a warning, at a span of the text or about the whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    span: Option<Span>,
    what: String,
    remedy: String,
}

impl Finding {
    fn order(&self) -> (Option<(usize, usize)>, &str, &str) {
        (self.span.as_ref().map(|span| (span.start, span.end)), &self.what, &self.remedy)
    }
}

/// Where readers and checks put what they find.
#[derive(Clone, Debug)]
pub(super) struct Findings {
    source: Source,
    problems: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Findings {
    pub(super) fn new(source: Source) -> Self {
        Self { source, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Something that must be mended.
    pub(super) fn problem(&mut self, span: &Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.problems.push(Finding { span: Some(span.clone()), what: what.into(), remedy: remedy.into() });
    }

    /// Something that will not do what one might think.
    pub(super) fn warning(&mut self, span: &Span, what: impl Into<String>, remedy: impl Into<String>) {
        self.warnings.push(Finding { span: Some(span.clone()), what: what.into(), remedy: remedy.into() });
    }

    /// The line a span begins in, for messages that point to a second spot.
    pub(super) fn line(&self, span: &Span) -> usize {
        self.source.line(span.start)
    }

    /// The text they are about.
    pub(super) fn source(&self) -> Source {
        self.source.clone()
    }

    /// How many problems there are so far.
    pub(super) fn count(&self) -> usize {
        self.problems.len()
    }

    /// Problems and warnings with their places.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>) {
        let Self { source, problems, warnings } = self;
        (source.place(problems), source.place(warnings))
    }
}

/// A position that only goes forward.
struct Walk<'a> {
    source: &'a Source,
    line: usize,
    column: usize,
    byte: usize,
}

impl Walk<'_> {
    fn place(&mut self, span: &Span) -> Place {
        let start = self.source.floor(span.start);
        let line = self.source.line(start);
        if line != self.line {
            (self.line, self.column, self.byte) = (line, 1, self.source.lines[line - 1]);
        }
        self.column += self.source.text[self.byte..start].chars().count();
        self.byte = start;
        let span = start..self.source.floor(span.end.max(start));
        Place { line, column: self.column, excerpt: self.source.excerpt(&span), span }
    }
}

/// One character as it is shown, one column wide.
fn shown(c: char) -> char {
    match c {
        '\t' => ' ',
        c if is_unprintable(c) => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

/// How much of a line is shown before and after the beginning of a spot, in characters; together they fit a terminal of 100 columns.
const EXCERPT_BEFORE_MAX: usize = 40;
const EXCERPT_AFTER_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, span: Span, expected: &str) {
        let mut found = Findings::new(Source::new(text));
        found.problem(&span, "what", "remedy");
        let (problems, _) = found.finish();
        assert_eq!(super::super::Problems::new("f.json", problems).to_string(), expected);
    }

    #[test]
    fn a_place_is_a_line_a_column_in_characters_and_a_mark() {
        check("{\n  \"ä\": 1\n}", 10..11, "f.json:2:8: what; remedy\n  2 | \"ä\": 1\n    |      ^");
    }

    #[test]
    fn control_characters_are_shown_as_one_replacement() {
        check("\t\"a\u{1b}[31m\u{202e}b\"\r\n", 1..13, "f.json:1:2: what; remedy\n  1 | \"a\u{fffd}[31m\u{fffd}b\"\n    | ^^^^^^^^^^");
    }

    #[test]
    fn long_lines_are_cut_around_the_spot() {
        let text = format!("{}X{}", "a".repeat(5000), "b".repeat(5000));
        let expected = format!("f.json:1:5001: what; remedy\n  1 | …{}X{}…\n    | {}^", "a".repeat(40), "b".repeat(49), " ".repeat(41));
        check(&text, 5000..5001, &expected);
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        check("{", 1..1, "f.json:1:2: what; remedy\n  1 | {\n    |  ^");
        check("", 0..0, "f.json:1:1: what; remedy\n  1 | \n    | ^");
    }
}
