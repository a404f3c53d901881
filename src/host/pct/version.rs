//! Which version of a package of Proxmox's is installed, without a process.
//!
//! From dpkg's own file: `pveversion` costs most of a second. Not here: what a version can do.

use std::fmt;

use super::super::local::durable;
use super::layout::Layout;

/// The first three numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

/// The largest list of packages read; a node's is some 2 MiB.
const PACKAGES_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The installed version of a package; `None` if it is not installed or that cannot be told.
pub(crate) fn of(layout: &Layout, package: &str) -> Option<Version> {
    find(&durable::read(&layout.packages(), PACKAGES_BYTES_MAX).ok().flatten()?, package)
}

fn find(packages: &str, package: &str) -> Option<Version> {
    let field = |stanza: &str, name: &str| stanza.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned()));
    let head = format!("Package: {package}\n");
    let mut stanzas = packages.split("\n\n").filter(|stanza| stanza.starts_with(&head));
    let installed = stanzas.find(|stanza| field(stanza, "Status").is_some_and(|status| status.ends_with(" installed")))?;
    Version::parse(&field(installed, "Version")?)
}

impl Version {
    /// Reads `8.4.1`, `1:6.1.6-1`, `9.2`; what is missing is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let upstream = text.split_once(':').map_or(text, |(_, rest)| rest);
        let mut numbers = upstream.split(|c: char| !c.is_ascii_digit());
        let first = numbers.next()?.parse().ok()?;
        let mut next = || numbers.next().and_then(|number| number.parse().ok()).unwrap_or(0);
        Some(Self([first, next(), next()]))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self([first, second, third]) = self;
        write!(f, "{first}.{second}.{third}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_installed_version_is_found() {
        let text = "Package: pve-container-extra\nStatus: install ok installed\nVersion: 1.0\n\n\
                    Package: pve-container\nStatus: install ok installed\nArchitecture: all\nVersion: 5.3.5\n\n\
                    Package: lxc-pve\nStatus: deinstall ok config-files\nVersion: 6.0.0-1\n";
        assert_eq!(find(text, "pve-container"), Some(Version([5, 3, 5])));
        assert_eq!((find(text, "lxc-pve"), find(text, "pve")), (None, None));
        assert_eq!(Version::parse("1:6.1.6-1+b2"), Some(Version([6, 1, 6])));
        assert!(Version([5, 3, 5]) < Version([6, 1, 6]) && Version([6, 1, 6]) < Version([6, 1, 10]));
        assert_eq!(Version::parse("x"), None);
    }
}
