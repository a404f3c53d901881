//! What became of a job, as its shim wrote it down.
//!
//! An on-disk format of its own: results of scripts lie on disk for as long as the container lives, and later versions read
//! them. Unknown keys are skipped, unknown versions refused. Not here: where results lie (`place`).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::job::IntentRef;
use crate::ids::Wall;

/// The version of the file.
///
/// 1: first.
pub(super) const RESULT_FORMAT: u32 = 1;
/// The space allocated for a result before the intent; every list in it is bounded so that it fits.
pub(super) const RESULT_BYTES_MAX: u64 = 16 * 1024;

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobResult {
    /// The intent it belongs to.
    pub intent: IntentRef,
    /// The step, as the journal names it; nothing in results of versions that did not say.
    pub step: Option<String>,
    /// BLAKE3 of the script that was run, if one was.
    pub script: Option<String>,
    /// How it ended.
    pub ending: Ending,
    /// When the child was started, for people.
    pub started: Wall,
    /// When it had ended, for people.
    pub ended: Wall,
    /// How many bytes it wrote in all, secrets counted as they were written.
    pub output_bytes: u64,
    /// Why not all is there that should have been kept of them, if so.
    pub output_lost: Option<String>,
    /// The file with what was kept of them.
    pub output_path: PathBuf,
    /// What an unpacked archive was.
    pub unpacked: Option<Unpacked>,
    /// Processes that outlived their killing.
    pub undead: Vec<u32>,
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The program or script exited with this status.
    Exited(i32),
    /// It was ended by this signal, not by the deadline.
    Signalled(i32),
    /// The script was cut off: the container that it ran in went down.
    ContainerEnded,
    /// The deadline passed and what belonged to the job was ended, but for [`JobResult::undead`].
    TimedOut,
    /// Nothing was run: the program could not be started, or `lxc-attach` never reached the script.
    NotStarted {
        /// Why not.
        why: String,
    },
    /// It exited with 0, but what it changed could not be synced.
    NotDurable {
        /// Why not.
        why: String,
    },
}

impl Ending {
    /// Whether it exited with status 0 and what it did is durable.
    pub fn is_success(&self) -> bool {
        *self == Self::Exited(0)
    }
}

/// What was unpacked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Files, directories and links made.
    pub entries: u64,
    /// Bytes of files written.
    pub bytes: u64,
    /// Device nodes, fifos and sockets left out.
    pub left_out: u32,
    /// Names that were absolute or led upwards (`..`), made relative to the new root.
    pub confined: u32,
    /// Extended attributes that the file system or the namespace refused.
    pub xattrs_refused: u32,
}

impl JobResult {
    /// What was kept of the output; the beginning and the end, with a line between them that says how much is missing, and one
    /// behind them if more is that should be there.
    pub fn output(&self) -> io::Result<Vec<u8>> {
        let mut kept = fs::read(&self.output_path)?;
        if let Some(why) = &self.output_lost {
            kept.extend_from_slice(format!("\n[the output could not be kept whole: {why}]\n").as_bytes());
        }
        Ok(kept)
    }
}

/// Why a result cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResultError {
    /// The shim was killed, or could not write: there is no result. Ask [`super::recover()`].
    #[error("the shim ended without a result at {}; look at what it did before it is done again", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// It belongs to another intent: another journal used the same place, or an older one was restored.
    #[error("{} belongs to intent {} of epoch {}, digest {}", path.display(), found.seq, found.epoch, found.digest)]
    OtherIntent {
        /// Where it is.
        path: PathBuf,
        /// What it says it belongs to.
        found: IntentRef,
    },
    /// It is not what a shim writes.
    #[error("{} is no result that this version can read: {why}", path.display())]
    Unreadable {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The operating system refused something.
    #[error("cannot read {}", path.display())]
    Io {
        /// Where it is.
        path: PathBuf,
        /// The operating system's word.
        #[source]
        source: io::Error,
    },
}

/// Reads the result at `path` if it belongs to `intent`; `None` if there is none.
pub(super) fn read(path: &Path, output_path: &Path, intent: &IntentRef) -> Result<Option<JobResult>, ResultError> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ResultError::Io { path: path.to_owned(), source }),
    };
    let result = decode(&text, output_path).map_err(|why| ResultError::Unreadable { path: path.to_owned(), why })?;
    let any = phoenix_journal::sabotaged("results_of_other_intents_count");
    if any || result.intent == *intent {
        Ok(Some(result))
    } else {
        Err(ResultError::OtherIntent { path: path.to_owned(), found: result.intent })
    }
}

#[derive(Serialize, Deserialize)]
struct OnDisk {
    format: u32,
    seq: String,
    epoch: String,
    intent: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    script: Option<String>,
    ending: OnDiskEnding,
    started_ms: i64,
    ended_ms: i64,
    output_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    output_lost: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unpacked: Option<Unpacked>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    undead: Vec<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OnDiskEnding {
    Exit(i32),
    Signal(i32),
    ContainerEnded,
    Timeout,
    NotStarted(String),
    NotDurable(String),
}

/// The bytes of a result.
pub(super) fn encode(result: &JobResult) -> serde_json::Result<Vec<u8>> {
    let JobResult {
        intent: IntentRef { seq, epoch, digest },
        step,
        script,
        ending,
        started,
        ended,
        output_bytes,
        output_lost,
        output_path: _,
        unpacked,
        undead,
    } = result.clone();
    serde_json::to_vec(&OnDisk {
        format: RESULT_FORMAT,
        seq,
        epoch,
        intent: digest,
        step,
        script,
        ending: match ending {
            Ending::Exited(status) => OnDiskEnding::Exit(status),
            Ending::Signalled(signal) => OnDiskEnding::Signal(signal),
            Ending::ContainerEnded => OnDiskEnding::ContainerEnded,
            Ending::TimedOut => OnDiskEnding::Timeout,
            Ending::NotStarted { why } => OnDiskEnding::NotStarted(why),
            Ending::NotDurable { why } => OnDiskEnding::NotDurable(why),
        },
        started_ms: started.0,
        ended_ms: ended.0,
        output_bytes,
        output_lost,
        unpacked,
        undead,
    })
}

pub(super) fn decode(text: &[u8], output_path: &Path) -> Result<JobResult, String> {
    let OnDisk {
        format,
        seq,
        epoch,
        intent: digest,
        step,
        script,
        ending,
        started_ms,
        ended_ms,
        output_bytes,
        output_lost,
        unpacked,
        undead,
    } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if format != RESULT_FORMAT {
        return Err(format!("format {format}, where {RESULT_FORMAT} is known"));
    }
    Ok(JobResult {
        intent: IntentRef { seq, epoch, digest },
        step,
        script,
        ending: match ending {
            OnDiskEnding::Exit(status) => Ending::Exited(status),
            OnDiskEnding::Signal(signal) => Ending::Signalled(signal),
            OnDiskEnding::ContainerEnded => Ending::ContainerEnded,
            OnDiskEnding::Timeout => Ending::TimedOut,
            OnDiskEnding::NotStarted(why) => Ending::NotStarted { why },
            OnDiskEnding::NotDurable(why) => Ending::NotDurable { why },
        },
        started: Wall(started_ms),
        ended: Wall(ended_ms),
        output_bytes,
        output_lost,
        output_path: output_path.to_owned(),
        unpacked,
        undead,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(ending: Ending) -> JobResult {
        JobResult {
            intent: IntentRef::new(7, 2, "abc").expect("plain"),
            step: None,
            script: None,
            ending,
            started: Wall(1),
            ended: Wall(2),
            output_bytes: 3,
            output_lost: None,
            output_path: "/x/7.out".into(),
            unpacked: Some(Unpacked { entries: 1, bytes: 2, left_out: 3, confined: 4, xattrs_refused: 5 }),
            undead: vec![9],
        }
    }

    #[test]
    fn results_come_back_from_their_bytes() {
        let why = || "x".to_owned();
        for ending in [
            Ending::Exited(3),
            Ending::Signalled(9),
            Ending::ContainerEnded,
            Ending::TimedOut,
            Ending::NotStarted { why: why() },
            Ending::NotDurable { why: why() },
        ] {
            let named = JobResult { step: Some("application.run".to_owned()), script: Some("aa".to_owned()), ..result(ending) };
            let result = named;
            let bytes = encode(&result).expect("plain data");
            assert_eq!(decode(&bytes, Path::new("/x/7.out")), Ok(result));
        }
    }

    #[test]
    fn an_output_that_is_not_whole_says_so() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("out");
        fs::write(&path, "begun").expect("written");
        let lost = JobResult { output_lost: Some("disk full".to_owned()), output_path: path.clone(), ..result(Ending::Exited(0)) };
        let read = decode(&encode(&lost).expect("plain data"), &path).expect("decodes");
        assert_eq!(read, lost);
        assert_eq!(read.output().expect("reads"), b"begun\n[the output could not be kept whole: disk full]\n");
    }

    #[test]
    fn the_first_format_is_still_read() {
        let golden = br#"{"format":1,"seq":"7","epoch":"2","intent":"abc","ending":{"exit":3},"started_ms":1,"ended_ms":2,"output_bytes":3,"unpacked":{"entries":1,"bytes":2,"left_out":3,"confined":4,"xattrs_refused":5},"undead":[9]}"#;
        assert_eq!(decode(golden, Path::new("/x/7.out")), Ok(result(Ending::Exited(3))));
        let newer = br#"{"format":2,"seq":"7","epoch":"2","intent":"abc","ending":"timeout","started_ms":1,"ended_ms":2,"output_bytes":3}"#;
        assert!(decode(newer, Path::new("/x/7.out")).is_err_and(|why| why.contains("format 2")));
    }
}
