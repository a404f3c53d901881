//! What lies in a directory of the host, as lines to be compared.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Every file of a tree, without following links. Notes bear incarnation and epoch, so only their names count, and what the
/// kernel mounts while the container runs is not on the disk.
pub(crate) fn tree(path: &Path, name: &str, found: &mut BTreeMap<String, String>) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    let content = if meta.is_symlink() {
        fs::read_link(path).map(|target| target.display().to_string()).unwrap_or_default()
    } else if meta.is_file() && meta.len() < 4096 && !name.contains("/var/lib/phoenix/") {
        fs::read_to_string(path).unwrap_or_else(|_| "not text".to_owned())
    } else {
        String::new()
    };
    found.insert(name.to_owned(), format!("{}:{} {:o} {content:?}", meta.uid(), meta.gid(), meta.mode()));
    if meta.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            tree(&entry.path(), &format!("{name}/{}", entry.file_name().to_string_lossy()), found);
        }
    }
}
