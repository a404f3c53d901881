//! Reading the manifest and its scripts, and refusing what others could have written.
//!
//! Apart because it is a matter of safety with rules of its own: run as root, a script is as powerful as root, so neither it nor any
//! directory or link on the way to it may be in the hands of anyone else. Not here: what the files say.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use super::surroundings::Surroundings;

/// Why a file is not taken: the end of a sentence that begins with its name, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// Whether every user of the host can read a file: it, and every directory on the way to it, lets others in. What cannot be
/// looked at is not said to be open.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let lets = |path: &Path, bit| path.metadata().is_ok_and(|metadata| metadata.mode() & bit != 0);
    lets(&path, 0o004) && path.ancestors().skip(1).all(|directory| lets(directory, 0o001))
}

/// Reads files under the rules of one check; directories are looked at once.
pub(super) struct Files {
    /// Whether owners and modes are looked at.
    guarded: bool,
    us: u32,
    directories: BTreeMap<PathBuf, Result<(), Refusal>>,
}

impl Files {
    pub(super) fn new(around: &Surroundings) -> Self {
        let us = rustix::process::geteuid().as_raw();
        Self { guarded: around.root && !around.trust_manifest, us, directories: BTreeMap::new() }
    }

    /// The content of a regular file of at most `limit` bytes. `path` is absolute.
    pub(super) fn read(&mut self, path: &Path, limit: usize) -> Result<Vec<u8>, Refusal> {
        if self.guarded {
            self.walk(path)?;
        }
        // Without `O_NONBLOCK`, opening a named pipe waits for a writer for ever.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| unreadable(&error))?;
        let metadata = file.metadata().map_err(|error| unreadable(&error))?;
        if metadata.is_dir() {
            return Err(Refusal { what: "is a directory".into(), remedy: "name the file in it".into() });
        }
        if !metadata.is_file() {
            return Err(Refusal { what: "is not a regular file".into(), remedy: "copy it to a file first".into() });
        }
        if self.guarded {
            self.owned(path, &metadata)?;
        }
        take(&file, limit)
    }

    /// Goes to the file as the kernel does, link by link, and looks at every directory on the way.
    fn walk(&mut self, path: &Path) -> Result<(), Refusal> {
        let mut current = PathBuf::from("/");
        let mut ahead: VecDeque<OsString> = names(path);
        let mut links = 0;
        while let Some(name) = ahead.pop_front() {
            self.directory(&current)?;
            if name == ".." {
                current.pop();
                continue;
            }
            let next = current.join(&name);
            let metadata = next.symlink_metadata().map_err(|error| unreadable(&error))?;
            if !metadata.is_symlink() {
                current = next;
                continue;
            }
            links += 1;
            if links > LINKS_MAX {
                return Err(Refusal { what: format!("leads through more than {LINKS_MAX} links"), remedy: "name the file itself".into() });
            }
            self.owner("is reached through the link", &next, &metadata)?;
            let target = next.read_link().map_err(|error| unreadable(&error))?;
            if target.is_absolute() {
                current = PathBuf::from("/");
            }
            for name in names(&target).into_iter().rev() {
                ahead.push_front(name);
            }
        }
        Ok(())
    }

    fn directory(&mut self, directory: &Path) -> Result<(), Refusal> {
        if let Some(known) = self.directories.get(directory) {
            return known.clone();
        }
        let judged = self.judge_directory(directory);
        self.directories.insert(directory.to_owned(), judged.clone());
        judged
    }

    fn judge_directory(&self, directory: &Path) -> Result<(), Refusal> {
        let metadata = directory.symlink_metadata().map_err(|error| unreadable(&error))?;
        if !metadata.is_dir() {
            return Err(Refusal {
                what: format!("does not exist: {} is not a directory", directory.display()),
                remedy: "check the path".into(),
            });
        }
        self.owner("lies in the directory", directory, &metadata)?;
        let mode = metadata.mode() & 0o7777;
        // In a sticky directory of root's nobody can rename or remove what root owns.
        let sticky = mode & 0o1000 != 0 && metadata.uid() == 0;
        if mode & 0o022 != 0 && !sticky {
            let shown = directory.display();
            return Err(Refusal {
                what: format!("lies in {shown}, which others can write to (mode {mode:04o})"),
                remedy: format!("run `chmod go-w {shown}`, or trust it with --trust-manifest"),
            });
        }
        Ok(())
    }

    fn owner(&self, relation: &str, path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
        let owner = metadata.uid();
        if owner == 0 || owner == self.us {
            return Ok(());
        }
        let shown = path.display();
        Err(Refusal {
            what: format!("{relation} {shown} of user {owner}, who could exchange it"),
            remedy: format!("run `chown -h root {shown}`, or trust it with --trust-manifest"),
        })
    }

    fn owned(&self, path: &Path, metadata: &Metadata) -> Result<(), Refusal> {
        let (owner, mode, shown) = (metadata.uid(), metadata.mode() & 0o7777, path.display());
        if owner != 0 && owner != self.us {
            return Err(Refusal {
                what: format!("belongs to user {owner}, who could change it"),
                remedy: format!("run `chown root {shown}`, or trust it with --trust-manifest"),
            });
        }
        if mode & 0o022 != 0 {
            return Err(Refusal {
                what: format!("can be written by others (mode {mode:04o})"),
                remedy: format!("run `chmod go-w {shown}`, or trust it with --trust-manifest"),
            });
        }
        Ok(())
    }
}

/// As many links as the kernel follows (`path_resolution(7)`).
const LINKS_MAX: u32 = 40;

fn names(path: &Path) -> VecDeque<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn take(file: &File, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    // One byte more than allowed shows that there is more.
    let ceiling = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(ceiling).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() > limit {
        let what = format!("is larger than {} MiB", limit / (1024 * 1024));
        return Err(Refusal { what, remedy: "is this the right file?".into() });
    }
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> Refusal {
    #[expect(clippy::wildcard_enum_match_arm, reason = "there are forty kinds and more to come; the rest say it in their own words")]
    match error.kind() {
        io::ErrorKind::NotFound => Refusal { what: "does not exist".into(), remedy: "check the path".into() },
        io::ErrorKind::PermissionDenied => {
            Refusal { what: "cannot be read by this user".into(), remedy: "run as a user who may read it".into() }
        }
        io::ErrorKind::NotADirectory => {
            Refusal { what: "does not exist: its path leads through a file".into(), remedy: "check the path".into() }
        }
        _ => Refusal { what: format!("cannot be read: {error}"), remedy: "check the path and the disk".into() },
    }
}
