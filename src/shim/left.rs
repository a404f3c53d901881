//! All that shims left of one incarnation, read without knowing their intents.
//!
//! For whoever has lost the journal that knew them. Apart from `place`, where one intent's files are found by its number. Not
//! here: what follows from it.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use super::place::{ResultPlace, parse_begun};
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
                    left.unfinished.extend(read_bounded(&path).and_then(|text| parse_begun(&String::from_utf8_lossy(&text))));
                }
                Some(_) | None => {}
            }
        }
        left.results.sort_by_key(|result| (result.ended, result.started));
        Ok(left)
    }
}

fn read_result(path: &Path) -> Option<JobResult> {
    result::decode(&read_bounded(path)?, &path.with_extension("out")).ok()
}

fn read_bounded(path: &Path) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(RESULT_BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}
