//! What is no JSON, or no JSON that could be a manifest.
//!
//! Apart from the other tests by the kind of mistake; each test holds the whole message.

use super::check;

#[test]
fn a_file_that_is_not_json_is_named() {
    check(
        r##"fleet: homelab
"##,
        r##"
fleet.json:1:1: this word is not JSON; write texts in double quotes; only true, false and null stand without
  1 | fleet: homelab
    | ^^^^^
"##,
    );
}

#[test]
fn an_empty_file_is_named() {
    check(
        r##""##,
        r##"
fleet.json:1:1: the file is empty; begin with { "fleet": "NAME", "containers": { } }
  1 | 
    | ^
"##,
    );
}

#[test]
fn a_comment_is_not_json() {
    check(
        r##"{
  // my fleet
  "fleet": "f"
}"##,
        r##"
fleet.json:2:3: JSON has no comments; remove it
  2 | // my fleet
    | ^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_trailing_comma_is_pointed_at() {
    check(
        r##"{
  "fleet": "f",
}"##,
        r##"
fleet.json:2:15: a comma stands before the closing bracket; remove it
  2 | "fleet": "f",
    |             ^
"##,
    );
}

#[test]
fn a_missing_comma_is_pointed_at() {
    check(
        r##"{
  "fleet": "f"
  "containers": {}
}"##,
        r##"
fleet.json:2:15: a comma is missing; write `,` between two entries
  2 | "fleet": "f"
    |             ^
"##,
    );
}

#[test]
fn a_missing_comma_before_an_object_is_pointed_at() {
    check(
        r##"{ "a": [{} {}] }"##,
        r##"
fleet.json:1:11: a comma is missing; write `,` between two entries
  1 | { "a": [{} {}] }
    |           ^
"##,
    );
}

#[test]
fn a_missing_colon_is_pointed_at() {
    check(
        r##"{ "fleet" "f" }"##,
        r##"
fleet.json:1:11: a colon is missing; write "key": value
  1 | { "fleet" "f" }
    |           ^^^
"##,
    );
}

#[test]
fn a_missing_value_is_pointed_at() {
    check(
        r##"{ "fleet": }"##,
        r##"
fleet.json:1:12: a value is missing before this; write one, or remove what is too much
  1 | { "fleet": }
    |            ^
"##,
    );
}

#[test]
fn single_quotes_are_named() {
    check(
        r##"{ 'fleet': 'f' }"##,
        r##"
fleet.json:1:3: a text stands in single quotes; use double quotes
  1 | { 'fleet': 'f' }
    |   ^
"##,
    );
}

#[test]
fn a_key_without_quotes_is_named() {
    check(
        r##"{ fleet: "f" }"##,
        r##"
fleet.json:1:3: a key stands without quotes; write it in double quotes
  1 | { fleet: "f" }
    |   ^^^^^
"##,
    );
}

#[test]
fn an_object_never_closed_is_pointed_at() {
    check(
        r##"{
  "fleet": "f",
  "containers": {"##,
        r##"
fleet.json:3:17: this `{` is never closed; write the missing `}`
  3 | "containers": {
    |               ^
"##,
    );
}

#[test]
fn a_text_never_closed_is_pointed_at() {
    check(
        r##"{ "fleet": "f }
"##,
        r##"
fleet.json:1:12: this text is never closed; write the missing double quote, and \n for a line break in a text
  1 | { "fleet": "f }
    |            ^^^^
"##,
    );
}

#[test]
fn a_line_break_in_a_text_is_no_json() {
    check(
        r##"{ "fleet": "a
b" }"##,
        r##"
fleet.json:1:13: a text goes over the end of the line, or holds a control character; close the text, or write \n for a line break in it
  1 | { "fleet": "a
    |             ^
"##,
    );
}

#[test]
fn a_lone_surrogate_is_no_text() {
    check(
        r##"{ "fleet": "\ud800" }"##,
        r##"
fleet.json:1:13: this escape stands for no character; write the character itself
  1 | { "fleet": "\ud800" }
    |             ^^^^^^^
"##,
    );
}

#[test]
fn a_number_with_a_leading_zero_is_no_number() {
    check(
        r##"{ "fleet": 012 }"##,
        r##"
fleet.json:1:13: a number begins with 0; write it without, such as 12
  1 | { "fleet": 012 }
    |             ^
"##,
    );
}

#[test]
fn something_after_the_end_is_named() {
    check(
        r##"{} {}"##,
        r##"
fleet.json:1:4: something stands after the end of the manifest; remove it; a manifest is one object
  1 | {} {}
    |    ^
"##,
    );
}

#[test]
fn a_nul_byte_is_named() {
    check(
        b"{ \"fleet\": \"a\0b\" }",
        r##"
fleet.json:1:14: a NUL byte stands here; a manifest is plain text; is this the right file?
  1 | { "fleet": "a�b" }
    |              ^
"##,
    );
}

#[test]
fn a_byte_that_is_not_utf8_is_named() {
    check(
        b"{\n  \"fleet\": \"caf\xe9\" }",
        r##"
fleet.json:2:16: the byte 0xe9 is not UTF-8; save the file as UTF-8
  2 | "fleet": "caf
    |              ^
"##,
    );
}

#[test]
fn a_byte_order_mark_is_named() {
    check(
        "\u{feff}{}",
        r##"
fleet.json: it is written in UTF-8 with a byte order mark; save it as UTF-8 without a byte order mark
"##,
    );
}

#[test]
fn utf16_is_named() {
    check(
        b"\xff\xfe{\0}\0",
        r##"
fleet.json: it is written in UTF-16, low byte first; save it as UTF-8 without a byte order mark
"##,
    );
}

#[test]
fn deep_nesting_is_refused_before_it_hurts() {
    check(
        "[".repeat(100_000),
        r##"
fleet.json:1:33: lists and objects nest more than 32 deep; a manifest needs no more than 7; is this the right file?
  1 | [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
    |                                 ^
"##,
    );
}

#[test]
fn deep_nesting_of_objects_is_refused() {
    check(
        "{\"a\":".repeat(33),
        r##"
fleet.json:1:161: lists and objects nest more than 32 deep; a manifest needs no more than 7; is this the right file?
  1 | …{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":{"a":
    |                                          ^
"##,
    );
}

#[test]
fn ten_megabytes_of_brackets_in_a_text_are_one_text() {
    check(
        format!("{{ \"fleet\": \"{}\", \"containers\": {{}} }}", "[".repeat(10_000_000)),
        r##"
fleet.json:1:12: "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…" is no fleet name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  1 | { "fleet": "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[…
    |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:1:10000030: the fleet has no containers; add one, such as "101": { "hostname": "db", "template": "debian-12.tar.zst" }
  1 | …[[[[[[[[[[[[[[[[[[[[[[[", "containers": {} }
    |                                          ^^
"##,
    );
}

#[test]
fn ten_megabytes_of_something_else_are_one_message() {
    check(
        vec![b'x'; 10_000_000],
        r##"
fleet.json:1:1: this word is not JSON; write texts in double quotes; only true, false and null stand without
  1 | xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
    | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_file_over_the_limit_is_named() {
    check(
        vec![b' '; crate::manifest::MANIFEST_BYTES_MAX + 1],
        r##"
fleet.json: it is larger than 64 MiB; is this the right file? Split a fleet this large into several
"##,
    );
}

#[test]
fn control_characters_never_reach_the_output() {
    check(
        "{ \"fl\\u001b[2Jeet\": 1, \"fleet\": \"f\u{202e}\", \"containers\": { \"\\u0007\": {} } }",
        r##"
fleet.json:1:3: unknown key `fl\u{1b}[2Jeet` in the manifest; it can have fleet, defaults, volumes, containers
  1 | { "fl\u001b[2Jeet": 1, "fleet": "f�", "containers": …
    |   ^^^^^^^^^^^^^^^^
fleet.json:1:33: "f\u{202e}" is no fleet name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  1 | { "fl\u001b[2Jeet": 1, "fleet": "f�", "containers": { "\u0007": {} } }
    |                                 ^^^^
fleet.json:1:55: "\u{7}" is no container id; write a plain number in quotes, such as "101"
  1 | …eet": 1, "fleet": "f�", "containers": { "\u0007": {} } }
    |                                          ^^^^^^^^
fleet.json:1:65: container `\u{7}` has no key `hostname`; add "hostname"
  1 | …fleet": "f�", "containers": { "\u0007": {} } }
    |                                          ^
"##,
    );
}

#[test]
fn the_top_must_be_an_object() {
    check(
        r##"[]"##,
        r##"
fleet.json:1:1: the manifest must be an object, not a list; write { "key": value }
  1 | []
    | ^^
"##,
    );
}
