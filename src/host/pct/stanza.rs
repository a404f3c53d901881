//! Files of stanzas, as `storage.cfg` and `ha/resources.cfg` are: `type: name`, then indented `key value` lines.
//!
//! Apart because two files have the form. Read as Proxmox does, which passes over what it does not understand; nothing is
//! written. Not here: what the keys mean.

use std::collections::BTreeMap;

/// One stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stanza {
    /// What stands before the colon.
    pub(super) kind: String,
    /// What stands behind it.
    pub(super) name: String,
    /// The lines below, by key; a key alone has an empty value.
    pub(super) values: BTreeMap<String, String>,
}

/// Reads the stanzas in order.
pub(super) fn parse(text: &str) -> Vec<Stanza> {
    let mut found: Vec<Stanza> = Vec::new();
    // A stanza ends with a blank line, or with what begins none: lines below belong to nobody.
    let mut open = false;
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        if line.trim().is_empty() {
            open = false;
        } else if line.starts_with(char::is_whitespace) {
            let (key, value) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
            if let Some(stanza) = found.last_mut().filter(|_| open) {
                stanza.values.insert(key.to_owned(), value.trim().to_owned());
            }
        } else {
            let head = line.split_once(':').map(|(kind, name)| (kind.trim(), name.trim()));
            let head = head.filter(|(kind, name)| !kind.is_empty() && !name.is_empty() && !name.contains(char::is_whitespace));
            open = head.is_some();
            found.extend(head.map(|(kind, name)| Stanza { kind: kind.to_owned(), name: name.to_owned(), values: BTreeMap::new() }));
        }
    }
    found
}

impl Stanza {
    /// The value of a key.
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// Whether a key is there and not said to be off.
    pub(super) fn is_on(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value != "0")
    }

    /// The words of a value that is a list.
    pub(super) fn list(&self, key: &str) -> impl Iterator<Item = &str> {
        self.get(key).unwrap_or_default().split([',', ';', ' ']).filter(|word| !word.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_are_read_as_proxmox_does() {
        let text = "# mine\ndir: local\n\tpath /var/lib/vz\n\tcontent iso, vztmpl\n\tshared\n\n\tlost 1\nno head\n\tlost 2\nct: 101\n    state started\n";
        let found = parse(text);
        assert_eq!(
            found.iter().map(|stanza| (stanza.kind.as_str(), stanza.name.as_str())).collect::<Vec<_>>(),
            [("dir", "local"), ("ct", "101")]
        );
        assert_eq!(found[0].list("content").collect::<Vec<_>>(), ["iso", "vztmpl"]);
        assert!(found[0].is_on("shared") && !found[0].is_on("disable"));
        assert_eq!((found[0].get("lost"), found[1].get("state")), (None, Some("started")));
    }
}
