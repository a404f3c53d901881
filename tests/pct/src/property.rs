//! Property strings: `name=eth0,bridge=vmbr0` and `local:8,mp=/data`, in the order that Proxmox prints them.
//!
//! Not here: which properties exist and what they may be (`schema`).

use std::collections::BTreeMap;

/// One property string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Property {
    /// The value without a name: a volume, or a device's path.
    pub(crate) first: Option<String>,
    pub(crate) named: BTreeMap<String, String>,
}

/// What a kind of property string calls its nameless value, and what comes first of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) nameless: Option<&'static str>,
    pub(crate) required: &'static [&'static str],
    pub(crate) optional: &'static [&'static str],
}

pub(crate) const NET: Shape = Shape {
    nameless: None,
    required: &["name"],
    optional: &[
        "bridge",
        "firewall",
        "gw",
        "gw6",
        "hwaddr",
        "ip",
        "ip6",
        "link_down",
        "mtu",
        "rate",
        "tag",
        "trunks",
        "type",
        "host-managed",
    ],
};
pub(crate) const ROOTFS: Shape =
    Shape { nameless: Some("volume"), required: &[], optional: &["acl", "mountoptions", "quota", "replicate", "ro", "shared", "size"] };
pub(crate) const MOUNT_POINT: Shape = Shape {
    nameless: Some("volume"),
    required: &["mp"],
    optional: &["acl", "backup", "mountoptions", "quota", "replicate", "ro", "shared", "size"],
};
pub(crate) const DEVICE: Shape = Shape { nameless: Some("path"), required: &[], optional: &["deny-write", "gid", "mode", "uid"] };

impl Property {
    /// Parses `text`; each mistake as a line `.PROPERTY: what` or `: what`.
    pub(crate) fn parse(shape: &Shape, text: &str) -> Result<Self, Vec<String>> {
        let mut property = Self::default();
        let mut wrong = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((key, value)) if shape.nameless == Some(key) => property.first = Some(value.to_owned()),
                Some((key, value)) if shape.required.contains(&key) || shape.optional.contains(&key) => {
                    property.named.insert(key.to_owned(), value.to_owned());
                }
                Some((key, _)) => {
                    wrong.push(format!(".{key}: property is not defined in schema and the schema does not allow additional properties"));
                }
                None if shape.nameless.is_some() && property.first.is_none() => property.first = Some(part.to_owned()),
                None => wrong.push(": value without key, but schema does not define a default key".to_owned()),
            }
        }
        let absent = |name: &str| format!(".{name}: property is missing and it is not optional");
        if let Some(name) = shape.nameless.filter(|_| property.first.is_none()) {
            wrong.push(absent(name));
        }
        wrong.extend(shape.required.iter().filter(|name| !property.named.contains_key(**name)).map(|name| absent(name)));
        if wrong.is_empty() { Ok(property) } else { Err(wrong) }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.named.get(name).map(String::as_str)
    }

    pub(crate) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.named.insert(name.to_owned(), value.into());
    }

    /// The nameless value, what the shape requires, the rest by name.
    pub(crate) fn print(&self, shape: &Shape) -> String {
        let required = shape.required.iter().filter_map(|name| Some((*name, self.get(name)?)));
        let others = self.named.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let others = others.filter(|(name, _)| !shape.required.contains(name));
        let named = required.chain(others).map(|(name, value)| format!("{name}={value}"));
        self.first.iter().cloned().chain(named).collect::<Vec<_>>().join(",")
    }
}

/// Bytes as Proxmox writes them: in the largest unit that divides them.
pub(crate) fn size_text(bytes: u64) -> String {
    let mut size = bytes;
    for unit in ["", "K", "M", "G"] {
        if !size.is_multiple_of(1024) {
            return format!("{size}{unit}");
        }
        size /= 1024;
    }
    format!("{size}T")
}

/// A size with a unit, in bytes.
pub(crate) fn parse_size(text: &str) -> Option<u64> {
    let shift = |unit: char| "KMGT".find(unit).map(|at| 10 * (at + 1));
    let last = text.chars().last()?;
    let (number, shift) = shift(last).map_or((text, 0), |shift| (&text[..text.len() - 1], shift));
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().ok()?;
    let mut bytes = whole.checked_mul(1 << shift)?;
    if !part.is_empty() {
        let digits: u64 = part.parse().ok()?;
        bytes += digits.checked_mul(1 << shift)? / 10_u64.checked_pow(u32::try_from(part.len()).ok()?)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_comes_first_and_the_rest_by_name() {
        let net = Property::parse(&NET, "type=veth,bridge=vmbr0,name=eth0,gw=10.0.0.1").expect("a network");
        assert_eq!(net.print(&NET), "name=eth0,bridge=vmbr0,gw=10.0.0.1,type=veth");
        let mount = Property::parse(&MOUNT_POINT, "/srv,ro=1,mp=/data,backup=0").expect("a mount point");
        assert_eq!(mount.print(&MOUNT_POINT), "/srv,mp=/data,backup=0,ro=1");
    }

    #[test]
    fn what_is_missing_is_named() {
        let wrong = Property::parse(&MOUNT_POINT, "").expect_err("nothing given");
        assert_eq!(wrong, [".volume: property is missing and it is not optional", ".mp: property is missing and it is not optional"]);
    }

    #[test]
    fn sizes_are_written_in_the_largest_unit() {
        for (bytes, text) in [(0, "0T"), (1 << 30, "1G"), (1536 << 20, "1536M"), (5 << 40, "5T"), (3, "3")] {
            assert_eq!(size_text(bytes), text);
        }
        for (text, bytes) in [("512M", 512 << 20), ("1.5G", 1536 << 20), ("0T", 0), ("7", 7)] {
            assert_eq!(parse_size(text), Some(bytes));
        }
        assert_eq!(parse_size("x"), None);
    }
}
