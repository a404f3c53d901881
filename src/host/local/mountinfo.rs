//! The kernel's list of a process's mounts (`proc_pid_mountinfo(5)`).
//!
//! Apart because whoever asks what a container has mounted, and what its storage has, reads the same lines. Not here: control
//! groups, whose options are read with them (`cgroup`).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount.
#[derive(Debug)]
pub(in crate::host) struct Mount {
    /// Its number.
    pub(in crate::host) id: u64,
    /// The file system, as `MAJOR:MINOR`.
    pub(in crate::host) device: String,
    /// Which directory of the file system is mounted.
    pub(in crate::host) root: PathBuf,
    /// Where.
    pub(in crate::host) point: PathBuf,
    /// The file system's kind.
    pub(in crate::host) kind: String,
}

impl Mount {
    /// All mounts of a list, in the order in which they were mounted; what is no mount is passed over.
    pub(in crate::host) fn all(list: &[u8]) -> impl Iterator<Item = Self> {
        list.split(|byte| *byte == b'\n').filter_map(Self::parse)
    }

    /// `36 35 98:0 /mnt1 /mnt/parent rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|byte| *byte == b' ');
        let text = |field: &[u8]| String::from_utf8(field.to_vec()).ok();
        let id = text(fields.next()?)?.parse().ok()?;
        let device = text(fields.nth(1)?)?;
        let (root, point) = (unescape(fields.next()?), unescape(fields.next()?));
        let kind = text(fields.skip_while(|field| *field != b"-").nth(1)?)?;
        Some(Self { id, device, root, point, kind })
    }
}

/// Spaces, line ends and backslashes are written as `\ooo`.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, tail)) = rest.split_first() {
        let octal = tail.get(..3).filter(|_| byte == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        if let Some(escaped) = octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            bytes.push(escaped);
            rest = &tail[3..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_optional_fields_it_has() {
        let list =
            b"36 35 98:0 /a\\040b /mnt/c\\134040 rw master:1 shared:2 - ext3 /dev/root rw\n\nno mount\n37 35 0:5 / /d rw - tmpfs none rw\n";
        let found: Vec<_> = Mount::all(list).collect();
        let told: Vec<_> = found.iter().map(|mount| (mount.id, mount.device.as_str(), mount.kind.as_str())).collect();
        assert_eq!(told, [(36, "98:0", "ext3"), (37, "0:5", "tmpfs")]);
        assert_eq!((&found[0].root, &found[0].point), (&PathBuf::from("/a b"), &PathBuf::from("/mnt/c\\040")));
    }
}
