//! Templates: the one that `scripts/make-template` makes, built once, and variants with further entries.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

/// An entry that a variant has beside the busybox system.
pub(crate) enum Extra<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    HardLink(&'a str, &'a str),
    /// Bytes that do not compress, so that unpacking takes its time.
    Bulk(&'a str, usize),
}

/// The busybox template; made by the script that the README names.
pub(crate) fn busybox() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(make)
}

#[expect(clippy::disallowed_methods, reason = "the script under test is run as a person runs it")]
fn make() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("real-template.tar.gz");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/make-template");
    let made = Command::new(script).arg(&path).output().expect("the script is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    path
}

/// Writes the busybox template with further entries, in this order, as a plain tar at `path`.
pub(crate) fn variant(path: &Path, extras: &[Extra<'_>]) {
    let mut archive = tar::Builder::new(File::create(path).expect("a file"));
    let mut busybox = tar::Archive::new(GzDecoder::new(File::open(busybox()).expect("the template")));
    for entry in busybox.entries().expect("entries") {
        let entry = entry.expect("an entry");
        let header = entry.header().clone();
        archive.append(&header, entry).expect("appended");
    }
    for extra in extras {
        add(&mut archive, extra);
    }
    archive.finish().expect("an archive");
}

/// The same, compressed as hard as gzip can, so that it is slow to write and to read.
pub(crate) fn packed(path: &Path, extras: &[Extra<'_>]) {
    let plain = path.with_extension("plain");
    variant(&plain, extras);
    let mut encoder = GzEncoder::new(File::create(path).expect("a file"), Compression::fast());
    std::io::copy(&mut File::open(&plain).expect("the archive"), &mut encoder).expect("packed");
    encoder.finish().expect("packed");
    fs::remove_file(plain).expect("removed");
}

fn add(archive: &mut tar::Builder<File>, extra: &Extra<'_>) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    match extra {
        Extra::File(name, bytes) => {
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, name, *bytes).expect("appended");
        }
        Extra::Link(name, target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, name, target).expect("appended");
        }
        Extra::HardLink(name, target) => {
            header.set_entry_type(tar::EntryType::Link);
            archive.append_link(&mut header, name, target).expect("appended");
        }
        Extra::Bulk(name, length) => {
            header.set_size(*length as u64);
            archive.append_data(&mut header, name, noise(*length).as_slice()).expect("appended");
        }
    }
}

fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    });
    next.take(length).collect()
}
