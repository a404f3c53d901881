//! Which directories are watched, what happened in them, and what is to fail.
//!
//! Safe code: the C side asks here before it hands a call on. Not here: how a call arrives (`file`, `register`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Watches the files that SQLite opens below a directory from now on, until what is returned is dropped.
pub fn watch(directory: &Path) -> Watched {
    crate::register::once();
    let shared = Arc::new(Mutex::new(Shared::default()));
    all().insert(directory.to_owned(), Arc::clone(&shared));
    Watched { directory: directory.to_owned(), shared }
}

/// A directory that is watched.
#[derive(Debug)]
pub struct Watched {
    directory: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

/// What a call does. Only calls that reach the disk: locks and the index are memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A file is opened.
    Open,
    /// Bytes are read.
    Read,
    /// Bytes are written.
    Write,
    /// A file is cut or grown.
    Truncate,
    /// A file is made durable.
    Sync,
    /// A file's length is asked for.
    Size,
    /// A file is deleted.
    Delete,
}

/// What the disk says instead of doing what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO.
    Broken,
    /// ENOSPC, of writes; other calls go through.
    Full,
}

/// How long a fault lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// For one call.
    Once,
    /// From that call on.
    ForGood,
}

/// A call that changed something, or made it durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// These bytes were written at this place.
    Write {
        /// Which file.
        file: PathBuf,
        /// From which byte on.
        at: u64,
        /// What.
        bytes: Arc<[u8]>,
    },
    /// The file has this length now.
    Truncate {
        /// Which file.
        file: PathBuf,
        /// Its length.
        length: u64,
    },
    /// Everything written to the file so far is durable.
    Sync {
        /// Which file.
        file: PathBuf,
    },
    /// The file is gone.
    Delete {
        /// Which file.
        file: PathBuf,
    },
}

#[derive(Debug, Default)]
struct Shared {
    /// Calls that reached the disk so far.
    count: u64,
    planned: Option<Planned>,
    /// Whether syncs do nothing but say that they did.
    lying: bool,
    hit: Vec<Kind>,
    calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug)]
struct Planned {
    number: u64,
    fault: Fault,
    lasts: Lasts,
}

impl Watched {
    /// Makes the call with this number, from 0, fail.
    pub fn fail(&self, number: u64, fault: Fault, lasts: Lasts) {
        self.shared().planned = Some(Planned { number, fault, lasts });
    }

    /// Ends all faults.
    pub fn heal(&self) {
        self.shared().planned = None;
    }

    /// From now on syncs are not passed on and not written down, and say that they were: a disk that lies.
    pub fn lie(&self) {
        self.shared().lying = true;
    }

    /// How many calls reached the disk.
    pub fn count(&self) -> u64 {
        self.shared().count
    }

    /// What kinds of calls were made to fail.
    pub fn hit(&self) -> Vec<Kind> {
        self.shared().hit.clone()
    }

    /// Everything that changed something, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.shared().calls.clone()
    }

    /// How many of these calls there are.
    pub fn written(&self) -> usize {
        self.shared().calls.len()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        all().remove(&self.directory);
    }
}

/// One file, as the C side knows it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: PathBuf,
    shared: Arc<Mutex<Shared>>,
}

impl Seen {
    /// The file, if it lies in a directory that is watched.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let all = all();
        let (_, shared) = all.iter().find(|(directory, _)| path.starts_with(directory))?;
        Some(Self { path: path.to_owned(), shared: Arc::clone(shared) })
    }

    /// Counts a call; the fault that it is to meet instead of the disk.
    pub(crate) fn meets(&self, kind: Kind) -> Option<Fault> {
        let mut shared = self.shared();
        let number = shared.count;
        shared.count += 1;
        let planned = shared.planned?;
        let due = match planned.lasts {
            Lasts::Once => number == planned.number,
            Lasts::ForGood => number >= planned.number,
        };
        let passes = planned.fault == Fault::Full && kind != Kind::Write;
        if !due || passes {
            return None;
        }
        shared.hit.push(kind);
        Some(planned.fault)
    }

    /// Writes down what was done.
    pub(crate) fn done(&self, call: Call) {
        self.shared().calls.push(call);
    }

    /// Whether syncs only say that they did something.
    pub(crate) fn lies(&self) -> bool {
        self.shared().lying
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All directories that are watched in this process.
fn all() -> MutexGuard<'static, BTreeMap<PathBuf, Arc<Mutex<Shared>>>> {
    static ALL: Mutex<BTreeMap<PathBuf, Arc<Mutex<Shared>>>> = Mutex::new(BTreeMap::new());
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}
