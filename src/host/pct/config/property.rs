//! Property strings: `local:101/vm-101-disk-0.raw,mp=/srv/media,size=8G`.
//!
//! Apart from what the properties mean ([`super::values`]): whatever stands in one and is not known here comes through an edit
//! unharmed. The order of what is written is Proxmox's own, so that its next write of the file changes nothing.

use std::fmt;

/// What is common to all property strings of one key.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// The property whose value may stand without its name.
    bare: Option<&'static str>,
    /// The properties that are written first, in this order; the others follow by the alphabet.
    leading: &'static [&'static str],
}

/// Of `rootfs`.
pub const ROOTFS: Shape = Shape { bare: Some("volume"), leading: &["volume"] };
/// Of `mpN`.
pub const MOUNT: Shape = Shape { bare: Some("volume"), leading: &["volume", "mp"] };
/// Of `netN`.
pub const NET: Shape = Shape { bare: None, leading: &["name"] };
/// Of `devN`.
pub const DEVICE: Shape = Shape { bare: Some("path"), leading: &["path"] };
/// Of `features`.
pub const FEATURES: Shape = Shape { bare: None, leading: &[] };
/// Of `startup`.
pub const STARTUP: Shape = Shape { bare: Some("order"), leading: &["order", "up", "down"] };

/// A property string, property by property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PropertyString {
    shape: &'static Shape,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    name: String,
    value: String,
    bare: bool,
}

/// What is wrong with a property string, or with a value that was to be put into one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// A part that is no `name=value`, where none may stand alone.
    #[error("`{part}` is no `name=value`")]
    Nameless {
        /// The part, shortened.
        part: String,
    },
    /// A property that stands twice.
    #[error("the property `{name}` stands twice")]
    Twice {
        /// Its name.
        name: String,
    },
    /// A property that has to be there.
    #[error("the property `{name}` is missing")]
    Missing {
        /// Its name.
        name: &'static str,
    },
    /// A value that is none of its property.
    #[error("`{name}={value}` is not {wanted}")]
    Value {
        /// The property.
        name: String,
        /// The value, shortened.
        value: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A value that no property string can hold.
    #[error("{value:?} cannot be written as `{name}`: a comma, a control character, or a space at an end; `=` where the name is left out")]
    Unwritable {
        /// The property.
        name: String,
        /// The value, shortened.
        value: String,
    },
}

impl PropertyString {
    /// Reads a property string.
    pub fn parse(text: &str, shape: &'static Shape) -> Result<Self, PropertyError> {
        let mut found = Self::empty(shape);
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let part = match (part.split_once('='), shape.bare) {
                (Some((name, value)), _) if !name.is_empty() && !value.is_empty() => {
                    Part { name: name.to_owned(), value: value.to_owned(), bare: false }
                }
                (None, Some(name)) => Part { name: name.to_owned(), value: part.to_owned(), bare: true },
                (Some(_) | None, _) => return Err(PropertyError::Nameless { part: short(part) }),
            };
            if found.get(&part.name).is_some() {
                return Err(PropertyError::Twice { name: short(&part.name) });
            }
            found.parts.push(part);
        }
        Ok(found)
    }

    /// A property string without a property.
    pub fn empty(shape: &'static Shape) -> Self {
        Self { shape, parts: Vec::new() }
    }

    /// Whether nothing stands in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The value of a property.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parts.iter().find(|part| part.name == name).map(|part| part.value.as_str())
    }

    /// The value of a property that has to be there.
    pub fn demand(&self, name: &'static str) -> Result<&str, PropertyError> {
        self.get(name).ok_or(PropertyError::Missing { name })
    }

    /// The value of a property that is on or off.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, PropertyError> {
        self.read(name, "0 or 1", flag)
    }

    /// The value of a property as `read` takes it; `wanted` says what it takes.
    pub fn read<T>(&self, name: &str, wanted: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, PropertyError> {
        let wrong = |value: &str| PropertyError::Value { name: name.to_owned(), value: short(value), wanted };
        self.get(name).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }

    /// All properties in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.parts.iter().map(|part| (part.name.as_str(), part.value.as_str()))
    }

    /// Gives a property a value, or another one; the others stay as they are.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), PropertyError> {
        let bare = self.shape.bare == Some(name);
        let unwritable = value.is_empty() || value.trim() != value || value.contains(|c: char| c == ',' || c.is_control());
        if unwritable || (bare && value.contains('=')) {
            return Err(PropertyError::Unwritable { name: name.to_owned(), value: short(value) });
        }
        if let Some(part) = self.parts.iter_mut().find(|part| part.name == name) {
            value.clone_into(&mut part.value);
            return Ok(());
        }
        let new = Part { name: name.to_owned(), value: value.to_owned(), bare };
        let at = self.parts.iter().position(|part| self.place(&part.name) > self.place(name)).unwrap_or(self.parts.len());
        self.parts.insert(at, new);
        Ok(())
    }

    /// Gives a property a value, or takes it out.
    pub fn put(&mut self, name: &str, value: Option<&str>) -> Result<(), PropertyError> {
        if let Some(value) = value {
            return self.set(name, value);
        }
        self.remove(name);
        Ok(())
    }

    /// Takes a property out.
    pub fn remove(&mut self, name: &str) {
        self.parts.retain(|part| part.name != name);
    }

    fn place<'a>(&self, name: &'a str) -> (usize, &'a str) {
        let leading = self.shape.leading;
        (leading.iter().position(|first| *first == name).unwrap_or(leading.len()), name)
    }
}

impl fmt::Display for PropertyString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Part { name, value, bare }) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            if *bare { write!(f, "{comma}{value}")? } else { write!(f, "{comma}{name}={value}")? }
        }
        Ok(())
    }
}

/// On or off, in every spelling that Proxmox takes.
pub fn flag(value: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
    if is(["1", "on", "yes", "true"]) {
        Some(true)
    } else if is(["0", "off", "no", "false"]) {
        Some(false)
    } else {
        None
    }
}

/// A number in digits alone; no sign, no blank.
pub fn digits<T: std::str::FromStr>(value: &str) -> Option<T> {
    Some(value).filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

/// As much of a text as belongs into a message.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(120).collect::<String>().escape_debug().to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn parsed(text: &str, shape: &'static Shape) -> PropertyString {
        PropertyString::parse(text, shape).expect("a property string")
    }

    #[test]
    fn what_is_not_known_survives_an_edit() {
        let mut mount = parsed("/srv/a,mp=/data,novelty=x y,ro=1", &MOUNT);
        mount.set("backup", "0").expect("a plain value");
        mount.set("volume", "/srv/b").expect("a plain value");
        mount.remove("ro");
        assert_eq!(mount.to_string(), "/srv/b,mp=/data,backup=0,novelty=x y");
    }

    #[test]
    fn new_properties_stand_where_proxmox_writes_them() {
        let mut net = PropertyString::empty(&NET);
        for (name, value) in [("type", "veth"), ("ip", "10.99.0.110/24"), ("name", "eth0"), ("gw", "10.99.0.1"), ("bridge", "vmbr0")] {
            net.set(name, value).expect("a plain value");
        }
        assert_eq!(net.to_string(), "name=eth0,bridge=vmbr0,gw=10.99.0.1,ip=10.99.0.110/24,type=veth");
    }

    #[test]
    fn a_value_may_stand_without_its_name_where_the_key_allows_it() {
        assert_eq!(parsed("volume=local:1,size=1G", &ROOTFS).get("volume"), Some("local:1"));
        assert_eq!(parsed("local:1,size=1G", &ROOTFS).get("volume"), Some("local:1"));
        let nameless = |part: &str| Err(PropertyError::Nameless { part: part.to_owned() });
        assert_eq!(PropertyString::parse("eth0,bridge=a", &NET), nameless("eth0"));
        assert_eq!(PropertyString::parse("name=,bridge=a", &NET), nameless("name="));
        assert_eq!(PropertyString::parse("a,b", &ROOTFS), Err(PropertyError::Twice { name: "volume".to_owned() }));
    }

    #[test]
    fn a_value_that_would_read_as_something_else_is_not_written() {
        let mut mount = parsed("/srv/a,mp=/data", &MOUNT);
        for (name, value) in [("volume", "/srv/a,ro=1"), ("volume", "/srv/a=b"), ("mp", " /x"), ("mp", ""), ("mp", "/a\n/b")] {
            assert!(matches!(mount.set(name, value), Err(PropertyError::Unwritable { .. })), "{name} {value:?}");
        }
        assert_eq!(mount.to_string(), "/srv/a,mp=/data");
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_the_same(parts in proptest::collection::btree_map("[a-z-]{1,8}", "[!-+./-~]{1,9}", 1..6)) {
            let text = parts.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",");
            prop_assert_eq!(PropertyString::parse(&text, &NET).map(|found| found.to_string()), Ok(text));
        }

        #[test]
        fn what_was_set_is_read_again(base in "([a-z]{1,4}=[a-z0-9]{1,4},){0,4}x=1", name in "[a-z]{1,4}", value in "\\PC{1,12}") {
            if let Ok(mut found) = PropertyString::parse(&base, &MOUNT) {
                let others: Vec<_> = found.iter().filter(|(other, _)| *other != name).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                if found.set(&name, &value).is_ok() {
                    let again = PropertyString::parse(&found.to_string(), &MOUNT);
                    prop_assert_eq!(again.as_ref(), Ok(&found));
                    prop_assert_eq!(found.get(&name), Some(value.as_str()));
                    for (other, value) in others {
                        prop_assert_eq!(found.get(&other), Some(value.as_str()));
                    }
                }
            }
        }
    }
}
