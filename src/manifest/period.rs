//! Lengths of time, written as "500ms", "2s", "10m" or "1h".
//!
//! Apart because they are the one kind of value with units, bounds and a way to be said back. Not here: which key has which bounds.

use std::borrow::Cow;
use std::time::Duration;

use jsonc_parser::ast::Value;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::json::span;
use super::read::{Read, brief, text, wrong_type};
use super::source::Findings;

/// A length of time from `MIN` to `MAX` milliseconds, such as "10m".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period<const MIN_MS: u64, const MAX_MS: u64>(pub(super) Duration);

impl<const MIN_MS: u64, const MAX_MS: u64> Read for Period<MIN_MS, MAX_MS> {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        if let Value::NumberLit(number) = value {
            let remedy = format!("write it with its unit, such as \"{}s\"", brief(number.value));
            wrong_type(value, label, "a length of time in quotes", &remedy, found);
            return None;
        }
        let given = text(value, label, "10s", found)?;
        let Some(ms) = milliseconds(given) else {
            found.problem(
                &span(value),
                format!("{label}: {:?} is no length of time", brief(given)),
                "write a whole number and ms, s, m or h, such as \"90s\"",
            );
            return None;
        };
        if (MIN_MS..=MAX_MS).contains(&ms) {
            return Some(Self(Duration::from_millis(ms)));
        }
        let remedy = format!("write {} to {}", spoken(MIN_MS), spoken(MAX_MS));
        found.problem(&span(value), format!("{label}: {:?} is out of range", brief(given)), remedy);
        None
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> JsonSchema for Period<MIN_MS, MAX_MS> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{} to {}", spoken(MIN_MS), spoken(MAX_MS)).into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h)$", "examples": ["500ms", "2s", "10m", "1h"] })
    }
}

fn milliseconds(given: &str) -> Option<u64> {
    let digits = given.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = given.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    // A number too large for 64 bits is a length of time all the same, and out of every range.
    (digits > 0).then(|| number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(factor))
}

/// A delay that hosts keep in whole seconds, up to a day.
pub(super) type Delay = Period<0, 86_400_000>;

/// Milliseconds in the largest unit that has no rest.
pub(super) fn spoken(ms: u64) -> String {
    match ms {
        0 => "0s".to_owned(),
        ms if ms % 3_600_000 == 0 => format!("{}h", ms / 3_600_000),
        ms if ms % 60_000 == 0 => format!("{}m", ms / 60_000),
        ms if ms % 1000 == 0 => format!("{}s", ms / 1000),
        ms => format!("{ms}ms"),
    }
}
