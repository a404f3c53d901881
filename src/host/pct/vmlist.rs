//! `/etc/pve/.vmlist`: every guest of the cluster, containers and virtual machines, with its node.
//!
//! Numbers are unique over all of them. Not here: configurations.

use std::collections::BTreeMap;

use serde::Deserialize;

/// One guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The node it belongs to.
    pub node: String,
    /// Container or virtual machine.
    pub kind: GuestKind,
}

/// What a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestKind {
    /// A container.
    Container,
    /// A virtual machine, or what else this version does not know.
    Other,
}

#[derive(Deserialize)]
struct Written {
    ids: BTreeMap<String, WrittenGuest>,
}

#[derive(Deserialize)]
struct WrittenGuest {
    node: String,
    r#type: String,
}

/// Reads the list, by number; `None` if it is none.
pub fn parse(text: &str) -> Option<BTreeMap<u32, Guest>> {
    let Written { ids } = serde_json::from_str(text).ok()?;
    let guest = |(number, WrittenGuest { node, r#type }): (String, WrittenGuest)| {
        let kind = if r#type == "lxc" { GuestKind::Container } else { GuestKind::Other };
        Some((number.parse().ok()?, Guest { node, kind }))
    };
    ids.into_iter().map(guest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_read_with_node_and_kind() {
        let text = "{\n\"version\": 12,\n\"ids\": {\n\"100\": { \"node\": \"vm\", \"type\": \"lxc\", \"version\": 5 },\n\
                    \"101\": { \"node\": \"pve2\", \"type\": \"qemu\", \"version\": 3 }}\n\n}\n";
        let guests = parse(text).expect("a list");
        assert_eq!(guests[&100], Guest { node: "vm".to_owned(), kind: GuestKind::Container });
        assert_eq!(guests[&101].kind, GuestKind::Other);
        assert_eq!(parse("{\n\"version\": 1,\n\"ids\": {\n}\n\n}\n"), Some(BTreeMap::new()));
        for wrong in ["", "{}", "{\"ids\": {\"x\": {\"node\": \"a\", \"type\": \"lxc\"}}}", "{\"ids\": {\"100\": {}}}"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
