//! From the JSON tree to typed values: what every kind of value has in common.
//!
//! Apart so that a value knows only its own rule. Readers go on after a problem: what could not be read is [`Key::Bad`], already reported,
//! and no check speaks of it again. Not here: which keys there are (`tables`), and rules that need more than the one value (`check`).

use jsonc_parser::ast::{Object, ObjectProp, Value};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::json;

use super::json::span;
use super::source::{At, Findings, Span};

/// A value of a manifest.
pub(super) trait Read: Sized + JsonSchema {
    /// Reads it, or reports why not. `label` names it in messages, such as "`memory_mb`".
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self>;
}

/// Something is wrong and was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reported;

/// What stands at a key.
#[derive(Clone, Debug, Default)]
pub(super) enum Key<T> {
    /// The key is not there.
    #[default]
    Absent,
    /// It is there, or must be, and is wrong: reported.
    Bad,
    /// A value.
    Given(At<T>),
}

impl<T> Key<T> {
    /// The value, if there is a good one.
    pub(super) fn given(&self) -> Option<&At<T>> {
        match self {
            Self::Given(at) => Some(at),
            Self::Absent | Self::Bad => None,
        }
    }

    /// This key, or the other where this one is absent.
    pub(super) fn or<'a>(&'a self, other: &'a Self) -> &'a Self {
        match self {
            Self::Absent => other,
            Self::Bad | Self::Given(_) => self,
        }
    }

    /// Whether nothing stands there.
    pub(super) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

impl<T: Clone> Key<T> {
    /// The value, or `default` where the key is absent; `None` if it is bad.
    pub(super) fn value_or(&self, default: T) -> Option<T> {
        match self {
            Self::Absent => Some(default),
            Self::Bad => None,
            Self::Given(at) => Some(at.value.clone()),
        }
    }

    /// The value, or none where the key is absent.
    pub(super) fn optional(&self) -> Result<Option<T>, Reported> {
        match self {
            Self::Absent => Ok(None),
            Self::Bad => Err(Reported),
            Self::Given(at) => Ok(Some(at.value.clone())),
        }
    }
}

/// The values of a list that could be read.
#[derive(Clone, Debug)]
pub(super) struct List<T> {
    pub(super) values: Vec<At<T>>,
    /// Whether that is all of them.
    pub(super) whole: bool,
}

impl<T: Read> Read for List<T> {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        let Value::Array(array) = value else {
            let remedy = match value {
                Value::StringLit(text) => format!("write [{:?}]", brief(&text.value)),
                Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) | Value::NullKeyword(_) => {
                    "write [ ... ] around it".to_owned()
                }
            };
            wrong_type(value, label, "a list", &remedy, found);
            return None;
        };
        let label = format!("an entry of {label}");
        let values: Vec<At<T>> = array.elements.iter().filter_map(|element| read_at(element, &label, found)).collect();
        Some(Self { whole: values.len() == array.elements.len(), values })
    }
}

impl<T: JsonSchema> JsonSchema for List<T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("list of {}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": generator.subschema_for::<T>() })
    }
}

/// An object whose keys are names that people chose, in the order of the text.
#[derive(Clone, Debug)]
pub(super) struct Entries<K, V> {
    pub(super) entries: Vec<(At<K>, Key<V>)>,
    /// Whether every key could be read.
    pub(super) whole: bool,
}

/// The name of an entry.
pub(super) trait Name: Sized + PartialEq {
    /// What it names, such as "container".
    const NOUN: &'static str;

    /// Takes the text of a key, or says what is wrong with it and what to write.
    fn from_key(text: &str) -> Result<Self, (String, String)>;

    /// The schema of the key.
    fn pattern() -> Schema;
}

impl<K: Name + Ord + Clone, V: Read> Read for Entries<K, V> {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        let object = object(value, label, found)?;
        let mut seen = std::collections::BTreeMap::<K, Span>::new();
        let mut entries = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let at = span(&property.name);
            let text = property.name.as_str();
            let label = format!("{} `{}`", K::NOUN, brief(text));
            let value = read_at(&property.value, &label, found).map_or(Key::Bad, Key::Given);
            match K::from_key(text) {
                Err((what, remedy)) => found.problem(&at, what, remedy),
                Ok(name) => {
                    if let Some(first) = seen.get(&name) {
                        twice(&label, first, &at, found);
                        continue;
                    }
                    seen.insert(name.clone(), at.clone());
                    entries.push((At { value: name, span: at }, value));
                }
            }
        }
        Some(Self { whole: entries.len() == object.properties.len(), entries })
    }
}

impl<K: Name, V: JsonSchema> JsonSchema for Entries<K, V> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}s", K::NOUN).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "propertyNames": K::pattern(), "additionalProperties": generator.subschema_for::<V>() })
    }
}

/// One key that a table knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyRow {
    pub(super) name: &'static str,
    pub(super) required: bool,
}

/// The keys of one object, sorted out against a table.
pub(super) struct Fields<'t, 'v> {
    properties: Vec<&'t ObjectProp<'v>>,
    rows: &'static [KeyRow],
}

impl<'t, 'v> Fields<'t, 'v> {
    /// Reports keys that are unknown, doubled or missing.
    pub(super) fn new(value: &'t Value<'v>, label: &str, rows: &'static [KeyRow], found: &mut Findings) -> Option<Self> {
        let object = object(value, label, found)?;
        let mut properties: Vec<&ObjectProp<'_>> = Vec::with_capacity(object.properties.len());
        for property in &object.properties {
            let (name, at) = (property.name.as_str(), span(&property.name));
            if !rows.iter().any(|row| row.name == name) {
                found.problem(&at, format!("unknown key `{}` in {label}", brief(name)), suggestion(name, rows));
            } else if let Some(first) = properties.iter().find(|known| known.name.as_str() == name) {
                twice(&format!("key `{name}`"), &span(&first.name), &at, found);
            } else {
                properties.push(property);
            }
        }
        for row in rows.iter().filter(|row| row.required && !properties.iter().any(|known| known.name.as_str() == row.name)) {
            let brace = span(object).start;
            found.problem(&(brace..brace + 1), format!("{label} has no key `{}`", row.name), format!("add \"{}\"", row.name));
        }
        Some(Self { properties, rows })
    }

    /// Reads the value of one key.
    pub(super) fn take<T: Read>(&self, name: &'static str, found: &mut Findings) -> Key<T> {
        let required = self.rows.iter().any(|row| row.name == name && row.required);
        match self.properties.iter().find(|property| property.name.as_str() == name) {
            Some(property) => read_at(&property.value, &format!("`{name}`"), found).map_or(Key::Bad, Key::Given),
            None if required => Key::Bad,
            None => Key::Absent,
        }
    }
}

/// Reads a value and keeps its place.
pub(super) fn read_at<T: Read>(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<At<T>> {
    T::read(value, label, found).map(|read| At { value: read, span: span(value) })
}

/// The text of a value.
pub(super) fn text<'v>(value: &'v Value<'_>, label: &str, example: &str, found: &mut Findings) -> Option<&'v str> {
    let Value::StringLit(text) = value else {
        wrong_type(value, label, "a text", &format!("write for example \"{example}\""), found);
        return None;
    };
    Some(text.value.as_ref())
}

fn object<'t, 'v>(value: &'t Value<'v>, label: &str, found: &mut Findings) -> Option<&'t Object<'v>> {
    let Value::Object(object) = value else {
        wrong_type(value, label, "an object", "write { \"key\": value }", found);
        return None;
    };
    Some(object)
}

/// Reports a value of another type than the one wanted.
pub(super) fn wrong_type(value: &Value<'_>, label: &str, wanted: &str, remedy: &str, found: &mut Findings) {
    let remedy = match value {
        Value::NullKeyword(_) => "write a value, or leave the key out",
        Value::StringLit(_) | Value::NumberLit(_) | Value::BooleanLit(_) | Value::Object(_) | Value::Array(_) => remedy,
    };
    found.problem(&span(value), format!("{label} must be {wanted}, not {}", described(value)), remedy);
}

fn described(value: &Value<'_>) -> String {
    match value {
        Value::StringLit(text) => format!("the text {:?}", brief(&text.value)),
        Value::NumberLit(number) => format!("the number {}", brief(number.value)),
        Value::BooleanLit(boolean) => boolean.value.to_string(),
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::NullKeyword(_) => "null".to_owned(),
    }
}

fn twice(label: &str, first: &Span, second: &Span, found: &mut Findings) {
    let line = found.line(first);
    found.problem(second, format!("{label} stands twice, first in line {line}"), "keep one of them");
}

/// The known key that was most likely meant, else all of them.
fn suggestion(given: &str, rows: &[KeyRow]) -> String {
    let plain = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let given = plain(given);
    let distance = |row: &&KeyRow| strsim::damerau_levenshtein(&given, &plain(row.name));
    let near = rows.iter().map(|row| (distance(&row), row)).min_by_key(|(distance, _)| *distance);
    let near = near.filter(|(distance, row)| *distance <= row.name.len().max(given.len()) / 3).map(|(_, row)| row);
    // `memory` for `memory_mb`, `depends` for `depends_on`: too far for a slip of the finger, near for a slip of memory.
    let begun = |row: &&KeyRow| given.len() >= 3 && row.name.starts_with(given.as_str());
    if let Some(row) = near.or_else(|| rows.iter().find(begun)) {
        return format!("did you mean `{}`?", row.name);
    }
    let names: Vec<&str> = rows.iter().map(|row| row.name).filter(|name| *name != "$schema").collect();
    format!("it can have {}", names.join(", "))
}

/// A text short enough for a message.
pub(super) fn brief(text: &str) -> String {
    let mut brief: String = text.chars().take(QUOTED_CHARS_MAX).collect();
    if brief.len() < text.len() {
        brief.push('…');
    }
    brief
}

/// How much of a text of the manifest a message repeats; names are at most 64 long, and the place shows the rest.
const QUOTED_CHARS_MAX: usize = 64;

impl Read for bool {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        let Value::BooleanLit(boolean) = value else {
            wrong_type(value, label, "true or false", "write it without quotes", found);
            return None;
        };
        Some(boolean.value)
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole<const MIN: u32, const MAX: u32>(pub(super) u32);

impl<const MIN: u32, const MAX: u32> Read for Whole<MIN, MAX> {
    fn read(value: &Value<'_>, label: &str, found: &mut Findings) -> Option<Self> {
        let wanted = format!("a whole number from {MIN} to {MAX}");
        let Value::NumberLit(number) = value else {
            let remedy = match value {
                Value::StringLit(text) if text.value.parse::<u32>().is_ok() => format!("write {} without quotes", text.value),
                Value::StringLit(_)
                | Value::NumberLit(_)
                | Value::BooleanLit(_)
                | Value::Object(_)
                | Value::Array(_)
                | Value::NullKeyword(_) => {
                    format!("write for example {}", MIN.max(1))
                }
            };
            wrong_type(value, label, &wanted, &remedy, found);
            return None;
        };
        if let Some(good) = number.value.parse::<u32>().ok().filter(|number| (MIN..=MAX).contains(number)) {
            return Some(Self(good));
        }
        let remedy = match number.value {
            text if text.contains(['.', 'e', 'E']) => "write it with digits alone".to_owned(),
            text if text.starts_with('-') => format!("write {MIN} or more"),
            text if text.parse::<u32>().is_ok_and(|number| number < MIN) => format!("write {MIN} or more"),
            _ => format!("write {MAX} or less"),
        };
        wrong_type(value, label, &wanted, &remedy, found);
        None
    }
}

impl<const MIN: u32, const MAX: u32> JsonSchema for Whole<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("whole number from {MIN} to {MAX}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": json!(MIN), "maximum": json!(MAX) })
    }
}
