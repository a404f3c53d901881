//! Which version of Proxmox VE this is, read from its own files: `pveversion` would cost a second.
//!
//! Not here: what a version can do.

use super::layout::Layout;

/// The largest file read.
const BYTES_MAX: u64 = 64 * 1024;

/// Major and minor number, if they can be told.
pub(super) fn of(layout: &Layout) -> Option<(u32, u32)> {
    let path = layout.root().join("usr/share/perl5/PVE/pvecfg.pm");
    parse(&crate::host::local::durable::read(&path, BYTES_MAX).ok()??)
}

/// `sub version { return '8.4.1'; }`
fn parse(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().skip_while(|line| !line.trim_start().starts_with("sub version")).find(|line| line.contains("return"))?;
    let version = line.split(['\'', '"']).nth(1)?;
    let mut numbers = version.split(['.', '-', '/', '~']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_told_from_its_perl_module() {
        let text = "package PVE::pvecfg;\nsub package {\n  return 'pve-manager';\n}\nsub version {\n  return '9.2.1';\n}\n";
        assert_eq!(parse(text), Some((9, 2)));
        assert_eq!(parse("sub version { return '8.4.1'; }"), Some((8, 4)));
        assert_eq!(parse("sub version { return 'x'; }"), None);
        assert_eq!(parse(""), None);
    }
}
