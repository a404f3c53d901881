//! Bytes to a JSON tree with positions, within named limits.
//!
//! Apart because it is the one place that meets text of any kind: too large, not UTF-8, nested without end, almost JSON. The tree
//! comes from a parser that knows positions and keeps doubled keys; `serde_json` has the last word on what JSON is. Not here: what
//! the tree means.

use jsonc_parser::ast::Value;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::source::{Findings, Source, Span};

/// The largest manifest, in bytes: 100,000 containers of 600 bytes each. Larger files are something else, and would be read into memory.
pub const MANIFEST_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How deep lists and objects may nest; a manifest needs 7, and the parser's stack is not to be the limit.
pub const MANIFEST_DEPTH_MAX: usize = 32;

/// What is wrong, with the text as far as there is one.
pub(super) struct NotJson {
    pub(super) found: Option<Box<Findings>>,
    pub(super) what: String,
    pub(super) remedy: String,
}

/// The text of a manifest.
pub(super) fn text(bytes: &[u8]) -> Result<&str, NotJson> {
    if bytes.len() > MANIFEST_BYTES_MAX {
        return Err(whole_file(
            format!("it is larger than {} MiB", MANIFEST_BYTES_MAX / (1024 * 1024)),
            "is this the right file? Split a fleet this large into several",
        ));
    }
    if let Some(name) = foreign_encoding(bytes) {
        return Err(whole_file(format!("it is written in {name}"), "save it as UTF-8 without a byte order mark"));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let valid = bytes.get(..error.valid_up_to()).map(String::from_utf8_lossy).unwrap_or_default();
        let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
        at(&valid, &(valid.len()..valid.len()), format!("the byte 0x{byte:02x} is not UTF-8"), "save the file as UTF-8")
    })?;
    if let Some(byte) = text.find('\0') {
        return Err(at(text, &(byte..byte + 1), "a NUL byte stands here".into(), "a manifest is plain text; is this the right file?"));
    }
    match too_deep(text) {
        Some(byte) => Err(at(
            text,
            &(byte..byte + 1),
            format!("lists and objects nest more than {MANIFEST_DEPTH_MAX} deep"),
            "a manifest needs no more than 7; is this the right file?",
        )),
        None => Ok(text),
    }
}

/// The tree of a text, if that is JSON and nothing but JSON.
pub(super) fn tree(text: &str) -> Result<Value<'_>, NotJson> {
    let parsed = parse_to_ast(text, &CollectOptions::default(), &PLAIN_JSON).map_err(|error| syntax(text, &error))?;
    let strict: Result<serde::de::IgnoredAny, _> = serde_json::from_str(text);
    match (parsed.value, strict) {
        (Some(value), Ok(_)) => Ok(value),
        (None, _) => {
            Err(at(text, &(text.len()..text.len()), "the file is empty".into(), "begin with { \"fleet\": \"NAME\", \"containers\": { } }"))
        }
        (Some(_), Err(error)) => {
            let byte = Source::new(text).byte(error.line(), error.column());
            let what = error.to_string();
            let what = what.rsplit_once(" at line ").map_or(what.as_str(), |(what, _)| what);
            if what.starts_with("control character") {
                let what = "a text goes over the end of the line, or holds a control character".into();
                return Err(at(text, &(byte..byte + 1), what, "close the text, or write \\n for a line break in it"));
            }
            Err(at(text, &(byte..byte + 1), format!("this is not JSON: {what}"), "mend the text here"))
        }
    }
}

/// Every extension off.
const PLAIN_JSON: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

fn at(text: &str, span: &Span, what: String, remedy: &str) -> NotJson {
    let mut found = Findings::new(Source::new(text));
    found.problem(span, what.clone(), remedy);
    NotJson { found: Some(Box::new(found)), what, remedy: remedy.to_owned() }
}

fn whole_file(what: String, remedy: &str) -> NotJson {
    NotJson { found: None, what, remedy: remedy.to_owned() }
}

fn foreign_encoding(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xef, 0xbb, 0xbf, ..] => Some("UTF-8 with a byte order mark"),
        [0xff, 0xfe, ..] | [b'{', 0, ..] => Some("UTF-16, low byte first"),
        [0xfe, 0xff, ..] | [0, b'{', ..] => Some("UTF-16, high byte first"),
        [0x1f, 0x8b, ..] => Some("gzip"),
        _ => None,
    }
}

/// The byte of the first bracket that opens one level too many.
fn too_deep(text: &str) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MANIFEST_DEPTH_MAX {
            return Some(at);
        }
    }
    None
}

fn syntax(text: &str, error: &ParseError) -> NotJson {
    use ParseErrorKind as Kind;
    let (what, remedy): (String, &str) = match error.kind() {
        Kind::CommentsNotAllowed => ("JSON has no comments".into(), "remove it"),
        Kind::TrailingCommasNotAllowed => ("a comma stands before the closing bracket".into(), "remove it"),
        Kind::ExpectedComma if leading_zero(text, error.range().start) => ("a number begins with 0".into(), "write it without, such as 12"),
        Kind::ExpectedComma => ("a comma is missing".into(), "write `,` between two entries"),
        Kind::ExpectedColonAfterObjectKey => ("a colon is missing".into(), "write \"key\": value"),
        Kind::ExpectedObjectValue => ("a value is missing".into(), "write one after the colon"),
        Kind::ExpectedStringObjectProperty => ("a key stands without quotes".into(), "write it in double quotes"),
        Kind::SingleQuotedStringsNotAllowed => ("a text stands in single quotes".into(), "use double quotes"),
        Kind::UnterminatedObject => ("this `{` is never closed".into(), "write the missing `}`"),
        Kind::UnterminatedArray => ("this `[` is never closed".into(), "write the missing `]`"),
        Kind::String(jsonc_parser::ParseStringErrorKind::UnterminatedStringLiteral) => {
            ("this text is never closed".into(), "write the missing double quote, and \\n for a line break in a text")
        }
        Kind::MultipleRootJsonValues => ("something stands after the end of the manifest".into(), "remove it; a manifest is one object"),
        Kind::NestingDepthExceeded => ("lists and objects nest too deep".into(), "is this the right file?"),
        Kind::HexadecimalNumbersNotAllowed
        | Kind::UnaryPlusNumbersNotAllowed
        | Kind::BareDecimalPointNumbersNotAllowed
        | Kind::NonFiniteNumbersNotAllowed
        | Kind::ExpectedDigit
        | Kind::ExpectedDigitFollowingNegativeSign
        | Kind::ExpectedPlusMinusOrDigitInNumberLiteral => {
            ("this is not a number of JSON".into(), "write it with plain digits, such as 512")
        }
        Kind::UnexpectedWord => ("this word is not JSON".into(), "write texts in double quotes; only true, false and null stand without"),
        Kind::String(jsonc_parser::ParseStringErrorKind::InvalidUnicodeEscapeSequence(_)) => {
            ("this escape stands for no character".into(), "write the character itself")
        }
        Kind::UnexpectedCloseBrace | Kind::UnexpectedCloseBracket | Kind::UnexpectedColon | Kind::UnexpectedComma => {
            ("a value is missing before this".into(), "write one, or remove what is too much")
        }
        kind @ (Kind::String(_) | Kind::UnexpectedToken | Kind::UnexpectedTokenInObject | Kind::UnterminatedCommentBlock) => {
            (format!("this is not JSON: {}", lower_first(&kind.to_string())), "mend the text here")
        }
    };
    // An opening bracket that is never closed is pointed at itself; its range goes to the end of the file.
    let range = error.range().start..error.range().end;
    at(text, &range, what, remedy)
}

fn leading_zero(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    at.checked_sub(1).and_then(|before| bytes.get(before)) == Some(&b'0') && bytes.get(at).is_some_and(u8::is_ascii_digit)
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// The span of a value or key.
pub(super) fn span(node: &impl Ranged) -> Span {
    let range = node.range();
    range.start..range.end
}
