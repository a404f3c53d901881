//! Names that people give: fleets, hostnames, volumes, features, health checks, mount targets.
//!
//! Apart from `ids` because they share one check: a name reaches terminals, file names and the journal, so its alphabet is
//! closed here, once.

use std::fmt;
use std::str::FromStr;

/// The longest name of a fleet, volume, feature or health check, in bytes; fits a file name with room for a suffix.
const NAME_LEN_MAX: usize = 64;
/// The longest host name, in bytes (RFC 1035, one label per dot-separated part of at most 63).
const HOSTNAME_LEN_MAX: usize = 253;
/// The longest mount target, in bytes; the kernel's `PATH_MAX` less room for a container's root.
const TARGET_LEN_MAX: usize = 1024;

/// Why a text is no name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {kind}; {rule}")]
pub struct NameError {
    /// What kind of name was wanted.
    pub kind: &'static str,
    /// What was written.
    pub given: String,
    /// What the alphabet is.
    pub rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $check:path, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { kind: $kind, given: text.to_owned(), rule: $rule })
                }
            }
        }
    };
}

name! {
    /// The name of a fleet.
    FleetName, "fleet name", is_plain, "use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit"
}
name! {
    /// The name of a shared volume.
    VolumeName, "volume name", is_plain, "use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit"
}
name! {
    /// The name of a feature; without one in the manifest, the script's file name without its extension.
    FeatureName, "feature name", is_plain, "use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit"
}
name! {
    /// The name of a health check.
    HealthName, "health check name", is_plain, "use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit"
}
name! {
    /// A container's host name.
    Hostname, "host name", is_hostname, "use labels of a-z, A-Z, 0-9 and inner `-`, up to 63 characters each, separated by dots"
}
name! {
    /// Where a volume is mounted, as seen inside: absolute, without `.`, `..`, doubled or trailing slashes, spaces or control characters.
    Target, "mount target", is_target, "use an absolute path such as /srv/media, without `.`, `..`, `//`, a slash at the end, spaces, commas or brackets"
}

fn is_plain(text: &str) -> bool {
    text.len() <= NAME_LEN_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_hostname(text: &str) -> bool {
    let label = |part: &str| {
        (1..=63).contains(&part.len())
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= HOSTNAME_LEN_MAX && text.split('.').all(label)
}

/// Spaces would need the octal escapes of fstab, commas and brackets end a property string or a step id: all are refused.
fn is_target(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.chars().all(|c| !c.is_control() && !c.is_whitespace() && !matches!(c, ',' | '[' | ']' | '\\' | '"' | '#'))
    };
    text.len() <= TARGET_LEN_MAX && text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_closed_alphabet() {
        for good in ["media", "a", "node-20.x", "9_lives"] {
            assert!(good.parse::<VolumeName>().is_ok(), "{good:?}");
        }
        for bad in ["", "-a", ".a", "a b", "a/b", "ä", "a\u{1b}[31m", &"x".repeat(65)] {
            assert!(bad.parse::<VolumeName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn targets_are_normal_absolute_paths() {
        for good in ["/srv", "/srv/media", "/srv/ümlaut"] {
            assert!(good.parse::<Target>().is_ok(), "{good:?}");
        }
        for bad in ["", "/", "srv", "/srv/", "/srv//x", "/srv/../etc", "/./a", "/a b", "/a,b", "/a]", "/a\n"] {
            assert!(bad.parse::<Target>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hostnames_are_dns_labels() {
        for good in ["db", "db-1.example", "DB"] {
            assert!(good.parse::<Hostname>().is_ok(), "{good:?}");
        }
        for bad in ["", "-db", "db-", "d_b", "a..b", &"x".repeat(64)] {
            assert!(bad.parse::<Hostname>().is_err(), "{bad:?}");
        }
    }
}
