//! Where results, outputs and the records of shims lie, and how their space is taken before the intent.
//!
//! Scripts' results lie below the state directory until the container is destroyed; all others below the runtime directory,
//! and vanish with the boot that made them. Not here: what is in a result (`result`).

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use phoenix_journal::Epoch;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::job::IntentRef;
use super::lock::{RuntimeDir, make_private_dir};
use super::output::OUTPUT_BYTES_MAX;
use super::process::Identity;
use super::result::{self, JobResult, RESULT_BYTES_MAX, ResultError};
use crate::ids::{BootId, Ctid, Incarnation, StepId, Token};

/// The directory of the results of one incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultPlace(PathBuf);

impl ResultPlace {
    /// Where results of scripts lie: `<state dir>/results/<ctid>/<incarnation>/`, on a disk.
    pub fn lasting(state_dir: &Path, ctid: Ctid, incarnation: Incarnation) -> Self {
        Self(below(state_dir, ctid, incarnation))
    }

    /// Where all others lie: `<runtime dir>/results/<ctid>/<incarnation>/`.
    pub fn of_this_boot(runtime: &RuntimeDir, ctid: Ctid, incarnation: Incarnation) -> Self {
        Self(below(runtime.path(), ctid, incarnation))
    }

    /// The directory itself; it may not be there yet.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The result of an intent, if its shim wrote one.
    pub fn result_of(&self, intent: &IntentRef) -> Result<Option<JobResult>, ResultError> {
        result::read(&self.result_path(intent), &self.output_path(intent), intent)
    }

    /// Where the output of an intent's child is, also while it runs.
    pub fn output_path(&self, intent: &IntentRef) -> PathBuf {
        self.0.join(name(intent, "out"))
    }

    /// Deletes the results of this incarnation, once its container is destroyed. Nothing there is no error.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// When the shim of this intent was started, in clock ticks since boot, if one began in this boot.
    pub fn began_at(&self, intent: &IntentRef, boot: &BootId) -> Option<u64> {
        self.recorded_shim(intent, boot).map(|shim| shim.start_ticks)
    }

    /// Whether no shim of this intent said who it is, in whichever boot. A file that cannot be looked at counts as said.
    pub fn has_no_shim(&self, intent: &IntentRef) -> bool {
        match fs::symlink_metadata(self.shim_path(intent)) {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        }
    }

    pub(super) fn result_path(&self, intent: &IntentRef) -> PathBuf {
        self.0.join(name(intent, "json"))
    }

    pub(super) fn shim_path(&self, intent: &IntentRef) -> PathBuf {
        self.0.join(name(intent, "shim"))
    }

    /// The shim that an intent had in this boot, living or not.
    pub(super) fn recorded_shim(&self, intent: &IntentRef, boot: &BootId) -> Option<Identity> {
        let text = fs::read_to_string(self.shim_path(intent)).ok()?;
        parse_record(&text).filter(|(recorded, _)| recorded == boot).map(|(_, identity)| identity)
    }
}

/// With the epoch in it: a journal that was rebuilt counts its entries afresh.
fn name(intent: &IntentRef, ending: &str) -> String {
    format!("{}-{}.{ending}", intent.epoch, intent.seq)
}

/// The epoch that a file's name says; 0 for a name that says none.
pub(super) fn epoch_of(path: &Path) -> Epoch {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let number = name.split_once('-').and_then(|(epoch, _)| epoch.parse().ok());
    Epoch::new(number.unwrap_or(0))
}

fn below(dir: &Path, ctid: Ctid, incarnation: Incarnation) -> PathBuf {
    dir.join("results").join(ctid.to_string()).join(incarnation.to_string())
}

/// The line in which a shim says who it is, and what it is about to run: token, step, and the script's digest or `-`.
pub(super) fn record(boot: &BootId, identity: &Identity, token: &str, step: &str, script: Option<&str>) -> String {
    format!("{} {} {boot} {token} {step} {}\n", identity.pid, identity.start_ticks, script.unwrap_or("-"))
}

/// What a shim was about to run, from its line.
pub(super) fn parse_begun(text: &str) -> Option<(Token, StepId)> {
    let mut words = text.split_ascii_whitespace().skip(3);
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

fn parse_record(text: &str) -> Option<(BootId, Identity)> {
    let mut words = text.split_ascii_whitespace();
    let identity = Identity { pid: words.next()?.parse().ok()?, start_ticks: words.next()?.parse().ok()? };
    Some((words.next()?.parse().ok()?, identity))
}

/// More than the line in which a shim says who it is.
const RECORD_BYTES_MAX: u64 = 4096;

/// Space for one result, one output and the line in which the shim says who it is. Dropped without being spawned, it is given back.
#[derive(Debug)]
pub struct Prepared {
    pub(super) place: ResultPlace,
    pub(super) result: PathBuf,
    pub(super) output: PathBuf,
    pub(super) shim: PathBuf,
    pub(super) handed_on: bool,
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if !self.handed_on {
            // What stays behind is found and removed with the incarnation.
            let _ = fs::remove_file(&self.result);
            let _ = fs::remove_file(&self.output);
            let _ = fs::remove_file(&self.shim);
        }
    }
}

/// Allocates the files of a job. To be called before its intent is recorded, hence by token: the sequence number is not
/// known yet. A disk that is full afterwards takes neither result nor output away.
pub fn prepare(place: &ResultPlace, token: Token) -> Result<Prepared, PrepareError> {
    let io = |source| PrepareError::Io { path: place.0.clone(), source };
    make_lasting_dir(&place.0).map_err(io)?;
    let prepared = Prepared {
        place: place.clone(),
        result: place.0.join(format!(".{token}.json")),
        output: place.0.join(format!(".{token}.out")),
        shim: place.0.join(format!(".{token}.shim")),
        handed_on: false,
    };
    allocate(&prepared.result, RESULT_BYTES_MAX)?;
    allocate(&prepared.output, OUTPUT_BYTES_MAX)?;
    allocate(&prepared.shim, RECORD_BYTES_MAX)?;
    Ok(prepared)
}

/// Makes a directory with its parents and syncs each directory that got a new name: a result whose directory vanishes in a
/// power cut was never written.
fn make_lasting_dir(path: &Path) -> io::Result<()> {
    let missing = path.ancestors().take_while(|dir| !dir.exists()).count();
    make_private_dir(path)?;
    path.ancestors().skip(1).take(missing).try_for_each(|dir| File::open(dir)?.sync_all())
}

fn allocate(path: &Path, bytes: u64) -> Result<(), PrepareError> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let allocated = file.and_then(|file| match fallocate(&file, FallocateFlags::KEEP_SIZE, 0, bytes) {
        // A file system that cannot allocate is not made better by refusing to work on it.
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(errno) => Err(errno.into()),
    });
    let path = path.to_owned();
    allocated.map_err(|source| {
        if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
            PrepareError::Full { path }
        } else {
            PrepareError::Io { path, source }
        }
    })
}

/// Why no space was taken; nothing has been begun.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The disk is full.
    #[error("no space for {}; free some, then run again", path.display())]
    Full {
        /// The file that found none.
        path: PathBuf,
    },
    /// The operating system refused something.
    #[error("cannot make the result files at {}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
}
