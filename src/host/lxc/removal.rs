//! Removing a tree that containers made.
//!
//! The container is down, but its tree is hostile: links are removed and never followed, nothing is left by `..`, other file
//! systems are not entered, and no depth of nesting exhausts descriptors.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::host::local::durable;

/// How deep the walk goes before it moves what lies deeper up to the top; each level holds a descriptor or two.
const DEPTH_MAX: usize = 64;

/// Removes the directory at `path` and everything below. Nothing there is no error.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(top) => File::from(top),
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return std::fs::remove_file(path),
        Err(errno) => return Err(errno.into()),
    };
    let mut removal = Removal { top: &top, moved: 0 };
    removal.empty(&top, 0)?;
    rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)?;
    Ok(())
}

/// How many names of a directory are held at once: a container can make millions in one.
const NAMES_MAX: usize = 10_000;

struct Removal<'a> {
    top: &'a File,
    moved: u64,
}

impl Removal<'_> {
    fn empty(&mut self, directory: &File, depth: usize) -> io::Result<()> {
        let mut before = None;
        loop {
            // Names that vanish while a directory is read may hide others: it is read anew after each batch, until it has none.
            // What was too deep lies at the top by then, and is met there.
            let names = first_names(directory)?;
            let first = names.first().map(|(name, _)| name.clone());
            // A name that is shown and cannot be removed is for whoever removes the directory to fail at.
            if first == before {
                return Ok(());
            }
            names.iter().try_for_each(|(name, kind)| self.remove(directory, name, *kind, depth))?;
            before = first;
        }
    }

    fn remove(&mut self, directory: &File, name: &CStr, kind: FileType, depth: usize) -> io::Result<()> {
        if !matches!(kind, FileType::Directory | FileType::Unknown) {
            return unlinked(rustix::fs::unlinkat(directory, name, AtFlags::empty()));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        match rustix::fs::openat2(directory, name, flags, Mode::empty(), resolve) {
            Ok(_) if depth >= DEPTH_MAX => return self.move_up(directory, name),
            Ok(below) => self.empty(&File::from(below), depth + 1)?,
            Err(Errno::NOTDIR | Errno::LOOP) => return unlinked(rustix::fs::unlinkat(directory, name, AtFlags::empty())),
            Err(Errno::XDEV) => {
                let name = name.to_string_lossy();
                return Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("another file system is mounted at `{name}`; unmount it")));
            }
            Err(errno) => return unlinked(Err(errno)),
        }
        unlinked(rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR))
    }

    fn move_up(&mut self, directory: &File, name: &CStr) -> io::Result<()> {
        loop {
            self.moved += 1;
            // The container may have made such names itself; they are as many as lie in one directory.
            let new = format!(".phoenix-deep-{}", self.moved);
            match durable::move_new(directory, name, self.top, new.as_str()) {
                Err(Errno::EXIST) => {}
                other => return Ok(other?),
            }
        }
    }
}

fn first_names(directory: &File) -> rustix::io::Result<Vec<(CString, FileType)>> {
    Dir::read_from(directory)?
        .map(|entry| entry.map(|entry| (entry.file_name().to_owned(), entry.file_type())))
        .filter(|entry| !entry.as_ref().is_ok_and(|(name, _)| matches!(name.to_bytes(), b"." | b"..")))
        .take(NAMES_MAX)
        .collect()
}

fn unlinked(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_removed_and_never_followed() {
        let place = tempfile::tempdir().expect("a directory");
        let (kept, tree) = (place.path().join("kept"), place.path().join("tree"));
        std::fs::create_dir_all(tree.join("a/b")).expect("a directory");
        std::fs::create_dir(&kept).expect("a directory");
        std::fs::write(kept.join("file"), "x").expect("a file");
        std::os::unix::fs::symlink(&kept, tree.join("a/link")).expect("a link");
        std::os::unix::fs::symlink(kept.join("file"), tree.join("a/b/link")).expect("a link");
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists() && kept.join("file").exists());
        remove_tree(&tree).expect("nothing there is no error");
    }

    #[test]
    fn no_number_of_names_is_too_many_and_few_are_held_at_once() {
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let tree = place.path().join("tree");
        std::fs::create_dir_all(tree.join("d")).expect("a directory");
        (0..=2 * NAMES_MAX).for_each(|number| drop(File::create(tree.join(format!("d/{number}"))).expect("a file")));
        let directory = File::open(tree.join("d")).expect("a directory");
        assert_eq!(first_names(&directory).expect("read").len(), NAMES_MAX);
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }

    #[test]
    fn no_depth_is_too_deep() {
        // In memory: twenty thousand directories take a disk most of a minute.
        let place = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a directory");
        let tree = place.path().join("tree");
        std::fs::create_dir(&tree).expect("a directory");
        let mut at = File::open(&tree).expect("a directory");
        // Deep enough for a stack as well.
        for _ in 0..20_000 {
            rustix::fs::mkdirat(&at, "d", Mode::from_raw_mode(0o700)).expect("a directory");
            let flags = OFlags::RDONLY | OFlags::DIRECTORY;
            at = File::from(rustix::fs::openat(&at, "d", flags, Mode::empty()).expect("a directory"));
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
    }
}
