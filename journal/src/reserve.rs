//! The reserve: space kept for the outcomes of what is in flight when the disk fills up.
//!
//! A file beside the journal, its blocks allocated. The rule is simple: nothing is begun (no declaration, no intent) unless
//! the reserve is whole; and when an append finds the disk full, the reserve is given up and what settles things (outcomes,
//! notes) is tried again. So an effect in flight had [`RESERVE_BYTES`] set aside for it when it was begun.
//!
//! What this does not promise: once given up, the space is everybody's, and another program may take it first. On file
//! systems that copy on write (btrfs, ZFS) or have snapshots, freed space may not come back at once. Then the outcome is not
//! recorded, the writer is poisoned, and after a restart the step is in doubt and gets probed: slower, not wrong.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use nix::libc;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use crate::place::Place;

/// How much is set aside: some 60 outcomes in flight, each with a payload of 64 KiB and a dozen pages of log.
pub(crate) const RESERVE_BYTES: u64 = 8 << 20;

#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
    whole: bool,
}

impl Reserve {
    /// The reserve of a journal, filled if the disk has room. That it has none is no error: outcomes can still be written.
    pub(crate) fn of(place: &Place) -> Self {
        let mut reserve = Self { path: place.beside(".reserve"), whole: false };
        reserve.fill();
        reserve
    }

    /// Whether all of it is set aside; tries to fill it if not.
    pub(crate) fn fill(&mut self) -> bool {
        self.whole = self.whole || allocate(&self.path).is_ok();
        self.whole
    }

    /// Gives the space back to the file system.
    pub(crate) fn give_up(&mut self) {
        self.whole = false;
        // If even this fails there is nothing to be given; the append that follows says so.
        let _ = open(&self.path).and_then(|file| file.set_len(0).and_then(|()| file.sync_all()));
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(libc::O_NOFOLLOW).open(path)
}

fn allocate(path: &PathBuf) -> io::Result<()> {
    let mut file = open(path)?;
    let found = file.metadata()?;
    if is_whole(found.len(), found.blocks()) {
        return Ok(());
    }
    let filled = match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Err(Errno::OPNOTSUPP) => write_all(&mut file),
        other => other.map_err(io::Error::from),
    };
    if filled.is_err() {
        file.set_len(0)?;
    }
    filled?;
    file.sync_all()
}

/// Whether a file of this length has all its space. `blocks` are of 512 bytes, whatever the file system's own are.
fn is_whole(len: u64, blocks: u64) -> bool {
    len >= RESERVE_BYTES && blocks * 512 >= RESERVE_BYTES
}

/// Where space cannot be allocated it is written; not zeros, which some file systems do not store.
fn write_all(file: &mut File) -> io::Result<()> {
    let mut block = [0_u8; 4096];
    for number in 0..RESERVE_BYTES / 4096 {
        block.fill(u8::try_from(number % 251 + 1).unwrap_or(1));
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_holes_is_no_reserve() {
        let blocks = RESERVE_BYTES / 512;
        assert!(is_whole(RESERVE_BYTES, blocks) && is_whole(RESERVE_BYTES, blocks + 8));
        assert!(!is_whole(RESERVE_BYTES, blocks - 1) && !is_whole(RESERVE_BYTES - 1, blocks) && !is_whole(0, 0));

        let dir = tempfile::tempdir().expect("room");
        let place = Place { main: dir.path().join("journal"), dir: dir.path().to_owned() };
        open(&place.beside(".reserve")).and_then(|file| file.set_len(RESERVE_BYTES)).expect("a hole");
        assert!(Reserve::of(&place).whole);
        let found = std::fs::metadata(place.beside(".reserve")).expect("a file");
        assert!(is_whole(found.len(), found.blocks()));
    }

    #[test]
    fn where_nothing_can_be_allocated_every_block_is_written_with_something() {
        let dir = tempfile::tempdir().expect("room");
        let path = dir.path().join("reserve");
        write_all(&mut open(&path).expect("a file")).expect("room");
        let written = std::fs::read(&path).expect("a file");
        assert_eq!(written.len() as u64, RESERVE_BYTES);
        for (number, block) in (0_u64..).zip(written.chunks_exact(4096)) {
            assert_eq!(block[..8], number.to_le_bytes());
            let filling = u8::try_from(number % 251).expect("below 251") + 1;
            assert!(block[8..].iter().all(|byte| *byte == filling), "{number}");
        }
    }
}
