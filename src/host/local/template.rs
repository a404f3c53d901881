//! Digests of template archives, remembered as long as the file is the same.
//!
//! Apart because hashing some hundred megabytes for each of twenty containers would cost more than unpacking them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use phoenix_journal::Digest;

/// Device, inode, size, and times of the last change to content and to inode, in nanoseconds.
type Stamp = (u64, u64, u64, i128, i128);

/// The most archives remembered; a fleet has a handful.
const DIGESTS_MAX: usize = 1024;

#[derive(Debug, Default)]
pub(crate) struct Digests {
    known: Mutex<BTreeMap<Stamp, Digest>>,
}

impl Digests {
    /// The digest of what `archive` holds.
    pub(crate) fn of(&self, archive: &File) -> io::Result<Digest> {
        let stamp = stamp(archive)?;
        if let Some(digest) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&stamp) {
            return Ok(*digest);
        }
        let digest = crate::shim::digest_of(archive)?;
        let digest: Digest = digest.to_string().parse().map_err(|_| io::Error::other("a BLAKE3 digest is a digest"))?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= DIGESTS_MAX {
            known.clear();
        }
        known.insert(stamp, digest);
        Ok(digest)
    }
}

fn stamp(file: &File) -> io::Result<Stamp> {
    let meta = file.metadata()?;
    let time = |seconds: i64, nanoseconds: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds);
    Ok((meta.dev(), meta.ino(), meta.size(), time(meta.mtime(), meta.mtime_nsec()), time(meta.ctime(), meta.ctime_nsec())))
}
