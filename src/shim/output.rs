//! The file with a child's output: its beginning and its end, however much there was in between.
//!
//! Written as it comes, so that people can follow it; the end is a ring in the file until it is put in order. A script that
//! prints a gigabyte neither fills the disk nor blocks. Not here: reading from the child (`supervise`).

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::blot::Blotter;

/// How much of the beginning of an output is kept: enough for what went wrong first.
pub const OUTPUT_HEAD_BYTES_MAX: u64 = 64 * 1024;
/// How much of the end of an output is kept: enough for what went wrong last.
pub const OUTPUT_TAIL_BYTES_MAX: u64 = 192 * 1024;
/// What an output file takes at most: head, tail, and the line between them.
pub(super) const OUTPUT_BYTES_MAX: u64 = OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX + 4096;

/// An output file being written.
#[derive(Debug)]
pub(super) struct OutputFile {
    file: File,
    blotter: Blotter,
    /// Bytes as they came, for the report.
    received: u64,
    /// Bytes after blotting, kept or not.
    written: u64,
    /// What went wrong first.
    lost: Option<io::Error>,
    scratch: Vec<u8>,
}

impl OutputFile {
    /// Opens an allocated file.
    pub(super) fn open(path: &Path, blotter: Blotter) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { file, blotter, received: 0, written: 0, lost: None, scratch: Vec::new() })
    }

    /// Takes the next piece. An output that cannot be written is no reason to stop what prints it.
    pub(super) fn take(&mut self, piece: &[u8]) {
        self.received += piece.len() as u64;
        let mut clean = std::mem::take(&mut self.scratch);
        self.blotter.push(piece, &mut clean);
        self.keep(&clean);
        clean.clear();
        self.scratch = clean;
    }

    /// Puts the end in order, cuts the file to its length, syncs it; returns how many bytes came in all, and whether those that
    /// should be are kept.
    pub(super) fn finish(mut self) -> (u64, io::Result<()>) {
        let mut rest = Vec::new();
        self.blotter.finish(&mut rest);
        self.keep(&rest);
        let settled = self.settle();
        (self.received, self.lost.map_or(settled, Err))
    }

    fn settle(&self) -> io::Result<()> {
        let kept = OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX;
        let length = if self.written > kept { self.put_in_order(self.written - kept) } else { Ok(self.written) };
        // Allocated space beyond the end is given back.
        self.file.set_len(*length.as_ref().unwrap_or(&kept))?;
        self.file.sync_all()?;
        length.map(drop)
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Err(error) = self.put(bytes) {
            self.lost.get_or_insert(error);
        }
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (offset, room) = place_of(self.written);
            let count = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            self.file.write_all_at(&bytes[..count], offset)?;
            self.written += count as u64;
            bytes = &bytes[count..];
        }
        Ok(())
    }

    fn put_in_order(&self, left_out: u64) -> io::Result<u64> {
        let mut ring = vec![0; usize::try_from(OUTPUT_TAIL_BYTES_MAX).expect("a constant that fits")];
        self.file.read_exact_at(&mut ring, OUTPUT_HEAD_BYTES_MAX)?;
        let (oldest, _) = place_of(self.written);
        ring.rotate_left(usize::try_from(oldest - OUTPUT_HEAD_BYTES_MAX).expect("within the ring"));
        let mut tail = format!("\n[... {left_out} bytes left out ...]\n").into_bytes();
        tail.extend_from_slice(&ring);
        self.file.write_all_at(&tail, OUTPUT_HEAD_BYTES_MAX)?;
        Ok(OUTPUT_HEAD_BYTES_MAX + tail.len() as u64)
    }
}

/// Where in the file the byte number `at` goes, and how many fit there in one piece.
fn place_of(at: u64) -> (u64, u64) {
    match at.checked_sub(OUTPUT_HEAD_BYTES_MAX) {
        None => (at, OUTPUT_HEAD_BYTES_MAX - at),
        Some(past) => {
            let in_ring = past % OUTPUT_TAIL_BYTES_MAX;
            (OUTPUT_HEAD_BYTES_MAX + in_ring, OUTPUT_TAIL_BYTES_MAX - in_ring)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8], piece: usize) -> Vec<u8> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        std::fs::write(&path, b"").expect("a file");
        let mut file = OutputFile::open(&path, Blotter::new([])).expect("opens");
        text.chunks(piece).for_each(|piece| file.take(piece));
        let (received, kept) = file.finish();
        kept.expect("finishes");
        assert_eq!(received, text.len() as u64);
        std::fs::read(&path).expect("reads")
    }

    #[test]
    fn short_outputs_are_kept_whole() {
        let text = vec![b'x'; usize::try_from(OUTPUT_HEAD_BYTES_MAX + OUTPUT_TAIL_BYTES_MAX).expect("fits")];
        for length in [0, 1, 65_535, 65_536, 65_537, text.len()] {
            assert_eq!(written(&text[..length], 1000).len(), length);
        }
    }

    #[test]
    fn what_a_full_disk_did_not_take_is_counted_and_said() {
        let mut file = OutputFile::open(Path::new("/dev/full"), Blotter::new([])).expect("opens");
        file.take(b"abc");
        let (received, kept) = file.finish();
        assert_eq!((received, kept.expect_err("full").kind()), (3, io::ErrorKind::StorageFull));
    }

    #[test]
    fn long_outputs_keep_their_beginning_and_their_end_in_order() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n:06}\n").into_bytes()).collect();
        for piece in [777, 65_536, 1_000_000] {
            let kept = written(&text, piece);
            let (head, tail) = (65_536, 196_608);
            assert_eq!(kept[..head], text[..head]);
            assert_eq!(kept[kept.len() - tail..], text[text.len() - tail..]);
            let between = String::from_utf8_lossy(&kept[head..kept.len() - tail]).into_owned();
            assert_eq!(between, format!("\n[... {} bytes left out ...]\n", text.len() - head - tail));
        }
    }
}
