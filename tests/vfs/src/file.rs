//! One open file: our part first, the file of the VFS below behind it.
//!
//! Every method looks at what is to happen, then calls the same method of the file below. Not here: which call fails
//! (`watched`).

use std::ffi::{c_int, c_void};
use std::sync::Arc;

use rusqlite::ffi::{self, sqlite3_file, sqlite3_int64, sqlite3_io_methods};

use crate::watched::{Call, Fault, Kind, Seen};

/// What SQLite holds for each open file of ours. The file below begins right after it.
#[repr(C)]
struct Ours {
    base: sqlite3_file,
    /// Nothing for files that are not watched.
    seen: Option<Box<Seen>>,
}

/// The size of our part: two pointers, so what follows is aligned as SQLite aligns its files (eight bytes).
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a few dozen bytes")]
pub(crate) const SIZE: c_int = size_of::<Ours>() as c_int;

/// Opens the file below, and puts our part before it.
///
/// # Safety
///
/// `into` is SQLite's, with room for our part and a file of `below`; the other arguments are those of `xOpen`.
pub(crate) unsafe fn open(
    below: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    into: *mut sqlite3_file,
    flags: c_int,
    out: *mut c_int,
    seen: Option<Seen>,
) -> c_int {
    // SAFETY: by this function's contract there is room behind our part, and `below` is a VFS.
    unsafe {
        let inner = inner(into);
        (*inner).pMethods = std::ptr::null();
        (*into).pMethods = std::ptr::null();
        let Some(open) = (*below).xOpen else { return ffi::SQLITE_CANTOPEN };
        let code = open(below, name, inner, flags, out);
        // SQLite closes a file that has methods, even if opening it failed.
        if !(*inner).pMethods.is_null() {
            let ours = into.cast::<Ours>();
            std::ptr::write(ours, Ours { base: sqlite3_file { pMethods: &raw const METHODS }, seen: seen.map(Box::new) });
        }
        code
    }
}

/// The file below.
///
/// # Safety
///
/// `file` has room for one behind our part.
unsafe fn inner(file: *mut sqlite3_file) -> *mut sqlite3_file {
    // SAFETY: by this function's contract.
    unsafe { file.cast::<Ours>().add(1).cast() }
}

/// Who watches this file.
///
/// # Safety
///
/// `file` was opened by [`open`] and is not closed yet.
unsafe fn seen<'a>(file: *mut sqlite3_file) -> Option<&'a Seen> {
    // SAFETY: by this function's contract our part is written, and SQLite uses a file from one thread at a time.
    unsafe { (*file.cast::<Ours>()).seen.as_deref() }
}

/// Calls a method of the file below; what stands after `else` is returned if it has no such method.
macro_rules! below {
    ($file:expr, $method:ident ( $($argument:expr),* ) else $missing:expr) => {{
        // SAFETY: SQLite calls our methods only on files that `open` has opened, so the file below is open as well, and the
        // arguments are those that SQLite gave for this very method.
        unsafe {
            let inner = inner($file);
            match (*(*inner).pMethods).$method {
                Some(method) => method(inner $(, $argument)*),
                None => $missing,
            }
        }
    }};
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    let code = below!(file, xClose() else ffi::SQLITE_OK);
    // SAFETY: our part was written by `open`, and SQLite does not use the file any more.
    unsafe { (*file.cast::<Ours>()).seen = None };
    code
}

unsafe extern "C" fn read(file: *mut sqlite3_file, into: *mut c_void, amount: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    match unsafe { seen(file) }.and_then(|seen| seen.meets(Kind::Read)) {
        Some(_) => ffi::SQLITE_IOERR_READ,
        None => below!(file, xRead(into, amount, at) else ffi::SQLITE_IOERR_READ),
    }
}

unsafe extern "C" fn write(file: *mut sqlite3_file, from: *const c_void, amount: c_int, at: sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let seen = unsafe { seen(file) };
    match seen.and_then(|seen| seen.meets(Kind::Write)) {
        Some(Fault::Broken) => return ffi::SQLITE_IOERR_WRITE,
        Some(Fault::Full) => return ffi::SQLITE_FULL,
        None => {}
    }
    let code = below!(file, xWrite(from, amount, at) else ffi::SQLITE_IOERR_WRITE);
    if let (ffi::SQLITE_OK, Some(seen)) = (code, seen) {
        // SAFETY: SQLite hands in so many bytes.
        let bytes = unsafe { std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(amount).unwrap_or(0)) };
        seen.done(Call::Write { file: seen.path.clone(), at: at.cast_unsigned(), bytes: Arc::from(bytes) });
    }
    code
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let seen = unsafe { seen(file) };
    if seen.and_then(|seen| seen.meets(Kind::Truncate)).is_some() {
        return ffi::SQLITE_IOERR_TRUNCATE;
    }
    let code = below!(file, xTruncate(length) else ffi::SQLITE_IOERR_TRUNCATE);
    if let (ffi::SQLITE_OK, Some(seen)) = (code, seen) {
        seen.done(Call::Truncate { file: seen.path.clone(), length: length.cast_unsigned() });
    }
    code
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let seen = unsafe { seen(file) };
    if seen.and_then(|seen| seen.meets(Kind::Sync)).is_some() {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    if seen.is_some_and(Seen::lies) {
        return ffi::SQLITE_OK;
    }
    let code = below!(file, xSync(flags) else ffi::SQLITE_IOERR_FSYNC);
    if let (ffi::SQLITE_OK, Some(seen)) = (code, seen) {
        seen.done(Call::Sync { file: seen.path.clone() });
    }
    code
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, size: *mut sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    match unsafe { seen(file) }.and_then(|seen| seen.meets(Kind::Size)) {
        Some(_) => ffi::SQLITE_IOERR_FSTAT,
        None => below!(file, xFileSize(size) else ffi::SQLITE_IOERR_FSTAT),
    }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    below!(file, xLock(level) else ffi::SQLITE_IOERR_LOCK)
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    below!(file, xUnlock(level) else ffi::SQLITE_IOERR_UNLOCK)
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    below!(file, xCheckReservedLock(out) else ffi::SQLITE_IOERR_CHECKRESERVEDLOCK)
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, what: c_int, argument: *mut c_void) -> c_int {
    below!(file, xFileControl(what, argument) else ffi::SQLITE_NOTFOUND)
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    below!(file, xSectorSize() else 0)
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    below!(file, xDeviceCharacteristics() else 0)
}

unsafe extern "C" fn shm_map(file: *mut sqlite3_file, page: c_int, size: c_int, extend: c_int, out: *mut *mut c_void) -> c_int {
    below!(file, xShmMap(page, size, extend, out) else ffi::SQLITE_IOERR_SHMMAP)
}

unsafe extern "C" fn shm_lock(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    below!(file, xShmLock(offset, count, flags) else ffi::SQLITE_IOERR_SHMLOCK)
}

unsafe extern "C" fn shm_barrier(file: *mut sqlite3_file) {
    below!(file, xShmBarrier() else ());
}

unsafe extern "C" fn shm_unmap(file: *mut sqlite3_file, delete: c_int) -> c_int {
    below!(file, xShmUnmap(delete) else ffi::SQLITE_OK)
}

/// Version 2: with shared memory, which the log needs, and without memory maps of the file, which would be read past us.
static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};
