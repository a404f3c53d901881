//! What of the recording is not replayed, each with its reason. Nothing else may be missing.

use crate::recording::Entry;

/// Which recorded commands are meant.
#[derive(Clone, Copy, Debug)]
enum Which {
    /// The one at this line.
    At(usize),
    /// Those that begin so.
    Begins(&'static str),
    /// Those that said this.
    Said(&'static str),
}

/// What is done instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Instead {
    Nothing,
    /// It is run, because what follows depends on it, and not compared.
    Run,
}

const LIST: &[(Which, Instead, &str)] = &[
    (Which::Begins("pveum "), Instead::Nothing, "users and tokens are not claimed"),
    (Which::At(2272), Instead::Nothing, "users and tokens are not claimed"),
    (Which::Begins("pct fsck "), Instead::Nothing, "there is no file system to check"),
    (Which::Begins("pct fstrim "), Instead::Nothing, "there is no file system to trim"),
    (Which::Begins("pct df "), Instead::Nothing, "there is no file system with a size"),
    (Which::Begins("pct cpusets"), Instead::Nothing, "not claimed"),
    (Which::Begins("pct suspend "), Instead::Nothing, "not claimed"),
    (Which::Begins("pct resume "), Instead::Nothing, "not claimed"),
    (Which::Said("failed to change apparmor profile"), Instead::Nothing, "the recording machine had no AppArmor yet"),
    (Which::Said("lxc-device"), Instead::Nothing, "the recording machine could not enter the container's network yet"),
    (Which::Said("resize2fs"), Instead::Run, "there is no file system to grow"),
    (Which::Said("(the whole environment of the calling process"), Instead::Nothing, "recorded as a description; a test of its own"),
    (Which::At(626), Instead::Nothing, "a network is not plugged into a running container"),
    (Which::Begins("pct exec 110 -- systemctl"), Instead::Nothing, "the template here is busybox with Debian's name"),
    (Which::Begins("pct exec 110 -- ip "), Instead::Nothing, "the template here is busybox with Debian's name"),
    (Which::Begins("pct exec 110 -- cat /etc/hostname"), Instead::Nothing, "the template here is busybox with Debian's name"),
    (Which::At(2022), Instead::Nothing, "the template here is busybox with Debian's name"),
    (Which::At(515), Instead::Nothing, "about what the recording machine's template held"),
    (Which::Said("Filesystem  "), Instead::Nothing, "about the recording machine's file systems"),
    (Which::Said("/dev/vda "), Instead::Nothing, "about the recording machine's file systems"),
    (Which::At(2173), Instead::Nothing, "stands in the recording twice"),
    (Which::At(2179), Instead::Nothing, "stands in the recording twice"),
];

/// The lines of commands that ran at the same time, which a test of their own repeats (`parallel`).
pub(crate) const LOOSE: std::ops::RangeInclusive<usize> = 2183..=2247;

/// What is done instead of replaying a command.
pub(crate) fn left_out(entry: &Entry) -> Option<Instead> {
    find(entry).map(|at| LIST[at].1)
}

fn find(entry: &Entry) -> Option<usize> {
    let said = || entry.stdout.iter().chain(&entry.stderr);
    LIST.iter().position(|(which, ..)| match which {
        Which::At(line) => entry.line == *line,
        Which::Begins(start) => entry.command.starts_with(start),
        Which::Said(text) => said().any(|line| line.contains(text)),
    })
}

#[test]
fn the_list_is_short_and_every_line_of_it_is_needed() {
    let items = crate::recording::items(crate::recording::TEXT);
    let entries: Vec<&Entry> =
        items.iter().filter_map(|item| if let crate::recording::Item::Entry(entry) = item { Some(entry) } else { None }).collect();
    let found: Vec<usize> = entries.iter().filter_map(|entry| find(entry)).collect();
    for (at, (which, _, why)) in LIST.iter().enumerate() {
        assert!(found.contains(&at), "{which:?} ({why}) leaves nothing out");
    }
    assert!(found.len() * 8 < entries.len(), "{} of {} are left out", found.len(), entries.len());
}
