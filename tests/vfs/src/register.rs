//! The VFS itself: opening and deleting are looked at, everything else is the old default's.
//!
//! Not here: what an open file does (`file`).

use std::ffi::{CStr, OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::OnceLock;

use rusqlite::ffi;

use crate::file;
use crate::watched::{Call, Fault, Kind, Seen};

/// The VFS that was the default before.
#[derive(Clone, Copy)]
pub(crate) struct Below(*mut ffi::sqlite3_vfs);

// SAFETY: SQLite's own VFS is made once, never freed, and its functions are safe to call from any thread (sqlite3.h).
unsafe impl Send for Below {}
// SAFETY: as above; nothing here writes to it.
unsafe impl Sync for Below {}

static BELOW: OnceLock<Below> = OnceLock::new();

/// Makes this the default VFS of the process, once.
pub(crate) fn once() {
    BELOW.get_or_init(|| {
        // SAFETY: both may be called at any time; a null name asks for the default VFS, of which there is one on unix.
        let below = unsafe {
            ffi::sqlite3_initialize();
            ffi::sqlite3_vfs_find(std::ptr::null())
        };
        // SAFETY: the pointer is that of SQLite's default VFS, which is plain data.
        let mut ours = unsafe { *below };
        ours.zName = c"watched".as_ptr();
        ours.pNext = std::ptr::null_mut();
        // Room for our part, and behind it for the file of the VFS below.
        ours.szOsFile += file::SIZE;
        ours.xOpen = Some(open);
        ours.xDelete = Some(delete);
        // All other functions stay those of the VFS below; they are called with our table, of which they use what is copied
        // (`pAppData`, `mxPathname`).
        let ours = Box::into_raw(Box::new(ours));
        // SAFETY: the table was leaked just now, so it lives for ever, and its functions are of the types that SQLite asks for.
        unsafe { ffi::sqlite3_vfs_register(ours, 1) };
        Below(below)
    });
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    into: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let Some(Below(below)) = BELOW.get().copied() else { return ffi::SQLITE_CANTOPEN };
    let _ = vfs;
    // SAFETY: SQLite hands in a name that lives as long as the file (sqlite3.h, `xOpen`), or none for temporary files.
    let seen = unsafe { path(name) }.and_then(Seen::of);
    let follows = flags & (ffi::SQLITE_OPEN_MAIN_DB | ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
    let seen = seen.filter(|_| follows);
    if let Some(seen) = &seen
        && seen.meets(Kind::Open).is_some()
    {
        // SAFETY: `into` has room for a file; without methods SQLite does not close it.
        unsafe { (*into).pMethods = std::ptr::null() };
        return ffi::SQLITE_CANTOPEN;
    }
    // SAFETY: `into` has the room that the table asked for, our part and the file below.
    unsafe { file::open(below, name, into, flags, out, seen) }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    let Some(Below(below)) = BELOW.get().copied() else { return ffi::SQLITE_IOERR_DELETE };
    // SAFETY: SQLite hands in a name that lives as long as the call.
    let seen = unsafe { path(name) }.and_then(Seen::of);
    if let Some(Fault::Broken) = seen.as_ref().and_then(|seen| seen.meets(Kind::Delete)) {
        return ffi::SQLITE_IOERR_DELETE;
    }
    // SAFETY: the VFS below has this function, and the arguments are SQLite's own.
    let code = unsafe { (*below).xDelete.map_or(ffi::SQLITE_IOERR_DELETE, |delete| delete(below, name, sync_directory)) };
    if let (ffi::SQLITE_OK, Some(seen)) = (code, seen) {
        seen.done(Call::Delete { file: seen.path.clone() });
    }
    code
}

/// # Safety
///
/// `name` is null or a text that ends with NUL and lives for `'a`.
unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    if name.is_null() {
        return None;
    }
    // SAFETY: by this function's contract.
    let name = unsafe { CStr::from_ptr(name) };
    Some(Path::new(OsStr::from_bytes(name.to_bytes())))
}
