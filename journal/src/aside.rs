//! Moving a journal out of the way, whole, so that another can be made in its place.
//!
//! Apart from making one because it works on what cannot be opened. Nothing is deleted and nothing is read. Not here: whether
//! the journal is past saving, which a person says.

use std::path::{Path, PathBuf};

use crate::lock::Lock;
use crate::place::{Place, look, rename_new, sync};
use crate::{JournalError, WriterInfo};

/// Renames the journal at `path` and what SQLite keeps beside it (`-wal`, `-shm`) to the same names with `.SUFFIX` behind the
/// journal's own; gives the new names. Under the journal's lock, which stays where it is. Nothing there is no error.
///
/// `check` is asked under that lock, when nobody can put another journal there by the ordinary way; nothing is moved if it fails.
pub fn set_aside<E: From<JournalError>>(
    path: &Path,
    suffix: &str,
    info: &WriterInfo,
    check: impl FnOnce() -> Result<(), E>,
) -> Result<Vec<PathBuf>, E> {
    let place = Place::of(path)?;
    let _lock = Lock::take(&place, info)?;
    check()?;
    let aside = place.beside(&format!(".{suffix}"));
    let mut moved = Vec::new();
    // The log last: nobody could tell a main file without its log from a whole one. What is left if this is cut off is a log
    // without a journal, which is named as that, and which no journal is made beside.
    for ending in ["", "-shm", "-wal"] {
        let (from, to) = (place.beside(ending), with_ending(&aside, ending));
        if look(&from)?.is_some() {
            rename_new(&from, &to)?;
            moved.push(to);
        }
    }
    sync(&place.dir)?;
    Ok(moved)
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
