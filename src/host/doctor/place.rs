//! Where things are written: is the place a journal's, and is there room?
//!
//! Not here: what lies there.

use std::path::Path;

use phoenix_journal::check_place;

use super::{Findings, Topic};

/// Below this the journal will soon be in the way; and below that it cannot be begun.
const JOURNAL_SCANT: u64 = 512 << 20;
const JOURNAL_NONE: u64 = 32 << 20;
/// File systems that end with the boot.
const TMPFS: u32 = 0x0102_1994;

/// Looks at the place of the journal.
pub(super) fn journal(found: &mut Findings, path: &Path) {
    let shown = path.display();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = absolute.parent().unwrap_or(Path::new("/"));
    let there = nearest(directory);
    if there != directory && Some(there) != directory.parent() {
        found.bad(
            Topic::Journal,
            format!(
                "the directory of the journal, {}, cannot be made: {} is not there",
                directory.display(),
                directory.parent().unwrap_or(there).display()
            ),
            format!("`mkdir -p {}`, or name another place with --journal", directory.display()),
        );
        return;
    }
    // As if it were there already: what it will be made in is what counts.
    match check_place(&there.join(absolute.file_name().unwrap_or_default())) {
        Err(error) => found.bad(Topic::Journal, error.to_string(), "or name another place with --journal"),
        Ok(()) if kind_of(there) == Some(TMPFS) => found.warning(
            Topic::Journal,
            format!("{} is in memory: the journal at {shown} would be lost with the boot", there.display()),
            "keep it on a disk; name another place with --journal",
        ),
        Ok(()) => found.good(Topic::Journal, format!("{shown} is on a local disk, and nobody else can write there")),
    }
    room(found, Topic::Journal, "the journal", there, JOURNAL_SCANT, JOURNAL_NONE);
}

/// Says how much room there is at a place.
pub(super) fn room(found: &mut Findings, topic: Topic, what: &str, path: &Path, scant: u64, none: u64) {
    let there = nearest(path);
    let free = match rustix::fs::statvfs(there) {
        Ok(found) => found.f_bavail.saturating_mul(found.f_frsize),
        Err(error) => {
            found.warning(topic, format!("how much room there is at {} cannot be told: {error}", there.display()), "see `df`");
            return;
        }
    };
    let text = format!("{} free for {what} at {}", amount(free), there.display());
    match free {
        free if free < none => found.bad(topic, text, "make room"),
        free if free < scant => found.warning(topic, text, "make room soon"),
        _ => found.good(topic, text),
    }
}

/// The place itself, or the nearest directory above it that is there.
fn nearest(path: &Path) -> &Path {
    path.ancestors().find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast, reason = "f_type differs by architecture")]
fn kind_of(path: &Path) -> Option<u32> {
    Some(rustix::fs::statfs(path).ok()?.f_type as u32)
}

fn amount(bytes: u64) -> String {
    const GIB: u64 = 1 << 30;
    if bytes >= GIB { format!("{}.{} GiB", bytes / GIB, bytes % GIB * 10 / GIB) } else { format!("{} MiB", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use super::super::{Finding, Level};
    use super::*;

    fn levels(path: &Path) -> Vec<Level> {
        let mut found = Findings::default();
        journal(&mut found, path);
        found.0.iter().map(|Finding { level, .. }| *level).collect()
    }

    #[test]
    fn a_journal_needs_a_directory_that_nobody_else_can_write() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().expect("a directory");
        let own = directory.path().join("own");
        std::fs::create_dir(&own).expect("a directory");
        assert!(!levels(&own.join("journal.db")).contains(&Level::Bad));
        assert!(!levels(&own.join("new/journal.db")).contains(&Level::Bad));
        assert!(levels(&own.join("a/b/journal.db")).contains(&Level::Bad));
        std::fs::set_permissions(&own, PermissionsExt::from_mode(0o777)).expect("a mode");
        assert!(levels(&own.join("journal.db")).contains(&Level::Bad));
    }

    #[test]
    fn room_is_told_in_three_levels() {
        let level = |scant, none| {
            let mut found = Findings::default();
            room(&mut found, Topic::Journal, "x", Path::new("/"), scant, none);
            found.0.pop().map(|finding| finding.level)
        };
        assert_eq!(level(0, 0), Some(Level::Good));
        assert_eq!(level(u64::MAX, 0), Some(Level::Warning));
        assert_eq!(level(u64::MAX, u64::MAX), Some(Level::Bad));
        assert_eq!((amount(1536 << 20), amount(5 << 20)), ("1.5 GiB".to_owned(), "5 MiB".to_owned()));
    }
}
