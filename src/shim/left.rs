//! All that shims left of one incarnation, read without knowing their intents.
//!
//! For whoever has lost the journal that knew them. Apart from `place`, where one intent's files are found by its number. Not
//! here: what follows from it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use phoenix_journal::Epoch;

use super::place::{ResultPlace, epoch_of, parse_begun};
use super::result::{self, JobResult, RESULT_BYTES_MAX};
use crate::ids::{StepId, Token};

/// The most files looked at in one directory; an incarnation has three for each start of a script.
pub const LEFT_FILES_MAX: usize = 10_000;

/// What shims left.
#[derive(Debug, Default)]
pub struct Left {
    /// Every result that can be read.
    pub results: Vec<JobResult>,
    /// Jobs whose shim said that it began and left no result.
    pub unfinished: Vec<Begun>,
}

/// A job that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// What its processes bear.
    pub token: Token,
    /// Its step.
    pub step: StepId,
    /// The epoch of its intent; 0 if the file's name does not say.
    pub epoch: Epoch,
}

impl ResultPlace {
    /// Reads all of it. What this version cannot read is passed over: it shows nothing.
    pub fn left(&self) -> io::Result<Left> {
        let entries = match fs::read_dir(self.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Left::default()),
            Err(error) => return Err(error),
        };
        let mut left = Left::default();
        for entry in entries.take(LEFT_FILES_MAX) {
            let path = entry?.path();
            // Under the name of its token a result is only being written: the shim may have been killed before it was durable.
            if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".")) {
                continue;
            }
            match path.extension().and_then(OsStr::to_str) {
                Some("json") => left.results.extend(read_result(&path)),
                Some("shim") if !path.with_extension("json").exists() => {
                    left.unfinished.extend(read_begun(&path));
                }
                Some(_) | None => {}
            }
        }
        left.results.sort_by_key(|result| (result.ended, result.started));
        Ok(left)
    }

    /// The highest epoch of any intent that has a file here, by the files' names; 0 if none has. Whether they can be read does
    /// not matter: the next intent of the same number must not find them.
    pub fn newest_epoch(&self) -> io::Result<Epoch> {
        let entries = match fs::read_dir(self.path()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Epoch::new(0)),
            Err(error) => return Err(error),
        };
        let mut newest = Epoch::new(0);
        for entry in entries {
            newest = newest.max(epoch_of(&entry?.path()));
        }
        Ok(newest)
    }
}

fn read_begun(path: &Path) -> Option<Begun> {
    let (token, step) = parse_begun(&String::from_utf8_lossy(&read_bounded(path)?))?;
    Some(Begun { token, step, epoch: epoch_of(path) })
}

fn read_result(path: &Path) -> Option<JobResult> {
    result::decode(&read_bounded(path)?, &path.with_extension("out")).ok()
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(RESULT_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Ctid, Incarnation};

    #[test]
    fn the_newest_epoch_is_that_of_any_name_and_no_unfinished_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let place = ResultPlace::lasting(dir.path(), Ctid::new(101).expect("in range"), Incarnation::from_random([1; 16]));
        assert_eq!(place.newest_epoch().expect("nothing is there"), Epoch::new(0));
        fs::create_dir_all(place.path()).expect("room");
        for (name, newest) in
            [("1-9.json", 1), ("7.json", 1), (".5-1.json", 1), ("3-2.shim", 3), ("x-2.out", 3), ("10-1.out", 10), ("9-1.json", 10)]
        {
            fs::write(place.path().join(name), "nothing that can be read").expect("room");
            assert_eq!(place.newest_epoch().expect("read"), Epoch::new(newest), "{name}");
        }
        fs::write(place.path().join("4-5.shim"), format!("1 2 boot {} application.run -\n", "a".repeat(32))).expect("room");
        let begun = place.left().expect("read").unfinished;
        assert_eq!(begun.iter().map(|begun| begun.epoch).collect::<Vec<_>>(), [Epoch::new(4)]);
    }
}
