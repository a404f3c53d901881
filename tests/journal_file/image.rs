//! The bytes of a journal, to be damaged and laid down again.
//!
//! Pages and frames are counted from 1, as SQLite's own documentation of the formats does ("WAL File Format", "Database File
//! Format"). Not here: what follows from the damage (`resume`).

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// Main file and log; no index, which a crash of the host makes worthless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) main: Vec<u8>,
    /// Nothing if there is no log.
    pub(crate) log: Option<Vec<u8>>,
}

impl Image {
    /// What lies at a path now.
    pub(crate) fn of(path: &Path) -> Self {
        Self { main: fs::read(path).expect("a main file"), log: fs::read(beside(path, "-wal")).ok() }
    }

    /// Lays it down in a directory of its own.
    pub(crate) fn lay(&self) -> Laid {
        let dir = directory();
        let path = dir.path().join("journal.db");
        fs::write(&path, &self.main).expect("room");
        if let Some(log) = &self.log {
            fs::write(beside(&path, "-wal"), log).expect("room");
        }
        Laid { path, _dir: dir }
    }

    /// The same with a log of so many bytes.
    pub(crate) fn cut(&self, bytes: usize) -> Self {
        Self { main: self.main.clone(), log: self.log.as_ref().map(|log| log[..bytes].to_vec()) }
    }

    /// The frames of the log.
    pub(crate) fn frames(&self) -> Vec<Frame> {
        let log = self.log.as_deref().unwrap_or_default();
        let mut frames = Vec::new();
        for (at, frame) in (LOG_HEADER..).step_by(FRAME).zip(log.get(LOG_HEADER..).unwrap_or_default().chunks_exact(FRAME)) {
            // Four bytes for the page, four for the length of the database after a commit.
            frames.push(Frame { at, commits: frame[4..8] != [0; 4] });
        }
        frames
    }
}

/// One frame of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Where it begins.
    pub(crate) at: usize,
    /// Whether it is the last of its transaction.
    pub(crate) commits: bool,
}

/// An image on disk, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Laid {
    pub(crate) path: PathBuf,
    _dir: TempDir,
}

/// A file beside a journal.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// A directory in memory where there is one: tens of thousands of images are synced here.
pub(crate) fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a temporary directory")
}

/// The header of a log.
pub(crate) const LOG_HEADER: usize = 32;

/// The header of a frame.
pub(crate) const FRAME_HEADER: usize = 24;

/// What a journal's pages are.
pub(crate) const PAGE: usize = 4096;

/// One frame.
pub(crate) const FRAME: usize = FRAME_HEADER + PAGE;
