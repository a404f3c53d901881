//! One `lxc.mount.entry`: a line of fstab with its escapes.
//!
//! Apart from [`super::config`] because the escapes have rules of their own. Not here: which directory may be attached.

use std::path::{Path, PathBuf};

use crate::ids::Target;
use crate::plan::MountSeen;

/// A bind mount of a host directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    source: String,
    /// Relative to the root file system, as LXC wants it.
    inside: String,
    options: Vec<String>,
}

/// Options of every entry: shared data has no business bringing device nodes or set-user-id programs into a container, and
/// the target is made where it is missing.
const OPTIONS: [&str; 4] = ["bind", "create=dir", "nosuid", "nodev"];

impl MountEntry {
    /// The entry that attaches `source` at `at`; `mapped` asks for an id-mapped mount with the container's own map. `None` if
    /// the path cannot be written down: it is not UTF-8, or holds control characters other than tab and line feed.
    pub(crate) fn new(source: &Path, at: &Target, read_only: bool, mapped: bool) -> Option<Self> {
        let source = source.to_str().filter(|path| !path.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n')))?;
        let mut options: Vec<String> = OPTIONS.iter().map(|&option| option.to_owned()).collect();
        if read_only {
            options.push("ro".to_owned());
        }
        if mapped {
            options.push("idmap=container".to_owned());
        }
        let inside = at.as_str().trim_start_matches('/');
        Some(Self { source: source.to_owned(), inside: inside.to_owned(), options })
    }

    /// Reads a bind mount; `None` for what is none (`proc`, `tmpfs`) and for what is no line of fstab.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let (source, inside, _kind, options) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let options: Vec<String> = options.split(',').map(str::to_owned).collect();
        let bind = options.iter().any(|option| option == "bind" || option == "rbind");
        if bind { Some(Self { source: unescaped(source)?, inside: unescaped(inside)?, options }) } else { None }
    }

    /// Where it is attached, as seen inside; `None` if that is not a plain path.
    pub(crate) fn target(&self) -> Option<Target> {
        format!("/{}", self.inside.trim_start_matches('/')).parse().ok()
    }

    /// What an observation says of it.
    pub(crate) fn seen(&self) -> MountSeen {
        MountSeen { source: PathBuf::from(&self.source), read_only: self.options.iter().any(|option| option == "ro") }
    }

    /// How it is attached, in one word.
    pub(crate) fn mechanism(&self) -> &'static str {
        if self.options.iter().any(|option| option.starts_with("idmap=")) { "bind+idmap" } else { "bind" }
    }
}

impl std::fmt::Display for MountEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (source, inside) = (escaped(&self.source), escaped(&self.inside));
        write!(f, "{source} {inside} none {} 0 0", self.options.join(","))
    }
}

/// The four escapes that glibc's `getmntent(3)` undoes, and no others.
fn escaped(field: &str) -> String {
    field.replace('\\', "\\134").replace(' ', "\\040").replace('\t', "\\011").replace('\n', "\\012")
}

fn unescaped(field: &str) -> Option<String> {
    let mut rest = field.as_bytes();
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&first, tail)) = rest.split_first() {
        let octal = (first == b'\\').then(|| tail.get(..3)).flatten().and_then(octal);
        bytes.push(octal.unwrap_or(first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8(bytes).ok()
}

fn octal(digits: &[u8]) -> Option<u8> {
    digits.iter().try_fold(0u16, |value, digit| matches!(digit, b'0'..=b'7').then(|| value * 8 + u16::from(digit - b'0')))?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn target(text: &str) -> Target {
        text.parse().expect("a target")
    }

    #[test]
    fn an_entry_reads_as_lxc_wants_it() {
        let entry = MountEntry::new(Path::new("/srv/my media"), &target("/srv/media"), true, false).expect("a plain path");
        assert_eq!(entry.to_string(), "/srv/my\\040media srv/media none bind,create=dir,nosuid,nodev,ro 0 0");
        let mapped = MountEntry::new(Path::new("/srv/m"), &target("/m"), false, true).expect("a plain path");
        assert_eq!(mapped.to_string(), "/srv/m m none bind,create=dir,nosuid,nodev,idmap=container 0 0");
    }

    #[test]
    fn other_mounts_are_not_ours_to_list() {
        assert_eq!(MountEntry::parse("proc proc proc nodev 0 0"), None);
        assert_eq!(MountEntry::parse("/srv srv"), None);
        let odd = MountEntry::parse("/sys/fs/fuse a/../b none bind,optional 0 0").expect("a bind mount");
        assert_eq!(odd.target(), None);
    }

    proptest! {
        #[test]
        fn every_source_comes_back(source in "/[^\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f]{1,40}", read_only: bool, mapped: bool) {
            let entry = MountEntry::new(Path::new(&source), &target("/srv/ümlaut"), read_only, mapped);
            prop_assert!(entry.is_some());
            prop_assert_eq!(MountEntry::parse(&entry.clone().map(|entry| entry.to_string()).unwrap_or_default()), entry);
        }
    }
}
