//! Unpacking an archive where it can reach nothing but the new root file system.
//!
//! The shim re-executes the binary as `__unpack`. That process first makes the new root file system its whole world (mount
//! namespace, `pivot_root`), then becomes root of a user namespace with the container's id map, then opens the archive's
//! content for the first time. A user namespace alone let an archive write into another container of the same map. Here is
//! the entering; what is done with the entries is in `extract`.

mod extract;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rustix::process::Signal;
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use serde::{Deserialize, Serialize};

use super::result::{Ending, Unpacked};
use super::wire::{Bytes, idmap};
use crate::ids::{IdKind, IdMap};

use extract::UnpackError;

/// The descriptor of the archive in the unpacking process.
pub(super) const ARCHIVE_FD: i32 = 3;
/// How much is hashed or copied at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// What an unpacking may take of memory, the program itself included: a small archive can ask for any amount.
pub const UNPACK_MEMORY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// What the unpacking process exits with if that was not enough.
const OUT_OF_MEMORY: u8 = 12;

/// Whether an unpacking ended because its memory was not enough; the same archive ends the same way again.
pub fn ran_out_of_memory(ending: &Ending) -> bool {
    // Where memory cannot be refused in an orderly way, the program aborts.
    matches!(ending, Ending::Exited(status) if *status == i32::from(OUT_OF_MEMORY))
        || matches!(ending, Ending::Signalled(signal) if *signal == Signal::ABORT.as_raw())
}

/// BLAKE3 of a file's whole content, from its beginning, through the descriptor that will be unpacked.
pub fn digest_of(archive: &File) -> io::Result<blake3::Hash> {
    let mut archive = archive;
    archive.seek(SeekFrom::Start(0))?;
    let (mut hasher, mut block) = (blake3::Hasher::new(), vec![0; BLOCK_BYTES]);
    loop {
        match archive.read(&mut block)? {
            0 => break,
            count => hasher.update(&block[..count]),
        };
    }
    archive.seek(SeekFrom::Start(0))?;
    Ok(hasher.finalize())
}

/// What the shim tells the unpacking process.
#[derive(Serialize, Deserialize)]
struct Order {
    rootfs: Bytes,
    users: Vec<(u32, u32, u32)>,
    groups: Vec<(u32, u32, u32)>,
}

/// What the unpacking process tells the shim, one line each.
#[derive(Serialize, Deserialize)]
enum Word {
    /// It has a user namespace without a map; the shim writes the map, as only a process outside may.
    Unmapped,
    /// It is through.
    Done(Unpacked),
}

/// The shim's side: gives the order and writes the map.
pub(super) fn guide(mut socket: &UnixStream, pid: u32, rootfs: &Path, map: &IdMap) -> io::Result<()> {
    let triples = |kind| map.ranges(kind).iter().map(|range| (range.inside, range.host, range.count)).collect();
    let order = Order { rootfs: Bytes::of(rootfs), users: triples(IdKind::User), groups: triples(IdKind::Group) };
    send(socket, &order)?;
    if map.is_identity() {
        return Ok(());
    }
    match serde_json::from_slice(&read_line(socket)?)? {
        Word::Unmapped => {}
        Word::Done(_) => return Err(io::Error::other("an unpacking ended before it was given its map")),
    }
    for (file, kind) in [("uid_map", IdKind::User), ("gid_map", IdKind::Group)] {
        let lines: Vec<String> = map.ranges(kind).iter().map(|r| format!("{} {} {}\n", r.inside, r.host, r.count)).collect();
        // In one write, as the kernel wants it.
        fs::write(format!("/proc/{pid}/{file}"), lines.concat())?;
    }
    socket.write_all(b"mapped\n")
}

/// Byte by byte, since a buffer would swallow the report that follows.
fn read_line(mut socket: &UnixStream) -> io::Result<Vec<u8>> {
    let (mut line, mut byte) = (Vec::new(), [0]);
    while socket.read(&mut byte)? == 1 && byte != [b'\n'] {
        line.extend_from_slice(&byte);
    }
    Ok(line)
}

/// What the unpacking process reported, if it got that far. The socket does not block.
pub(super) fn read_report(socket: &mut UnixStream) -> Option<Unpacked> {
    let mut text = Vec::new();
    // The other side is closed, or has not spoken: either way there is nothing to wait for.
    let _ = socket.read_to_end(&mut text);
    match serde_json::from_slice(&text).ok()? {
        Word::Done(unpacked) => Some(unpacked),
        Word::Unmapped => None,
    }
}

fn send(mut socket: impl Write, word: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(word)?;
    text.push(b'\n');
    socket.write_all(&text)
}

/// The entry point of `phoenix __unpack`. Errors go to standard error, which the shim keeps.
pub(super) fn main() -> ExitCode {
    match unpack() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(source) = cause {
                text = format!("{text}: {source}");
                cause = source.source();
            }
            let _ = writeln!(io::stderr(), "{text}");
            if error.is_memory() { ExitCode::from(OUT_OF_MEMORY) } else { ExitCode::FAILURE }
        }
    }
}

fn unpack() -> Result<(), UnpackError> {
    let io = |what: &str| {
        let what = what.to_owned();
        move |source: io::Error| UnpackError::Io { what, source }
    };
    let socket = UnixStream::from(rustix::stdio::stdin().try_clone_to_owned().map_err(io("take the shim's socket"))?);
    let archive = File::open(format!("/proc/self/fd/{ARCHIVE_FD}")).map_err(io("take the archive"))?;
    let mut lines = BufReader::new(&socket);
    let mut line = String::new();
    lines.read_line(&mut line).map_err(io("read the order"))?;
    let order: Order = serde_json::from_str(&line).map_err(|error| io("read the order")(error.into()))?;
    let map = idmap(&order.users, &order.groups).ok_or_else(|| io("read the order")(io::Error::other("no id map")))?;
    enter_root(&order.rootfs.path(), &map)?;
    if !map.is_identity() {
        unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| io("make a user namespace")(errno.into()))?;
        send(&socket, &Word::Unmapped).map_err(io("ask for the id map"))?;
        line.clear();
        lines.read_line(&mut line).map_err(io("wait for the id map"))?;
        if line != "mapped\n" {
            return Err(io("get the id map")(io::Error::other("the kernel refused it; is it within /etc/subuid and /etc/subgid?")));
        }
        become_root().map_err(|errno| io("become root of the user namespace")(errno.into()))?;
    }
    keep_few_capabilities().map_err(|errno| io("give up capabilities")(errno.into()))?;
    let unpacked = extract::extract(archive, &map)?;
    send(&socket, &Word::Done(unpacked)).map_err(io("report"))
}

/// Makes `rootfs` the root of a mount namespace of our own, with nothing else in it.
fn enter_root(rootfs: &Path, map: &IdMap) -> Result<(), UnpackError> {
    let step = |what: &str| {
        let what = format!("{what} {}", rootfs.display());
        move |errno: nix::Error| UnpackError::Io { what, source: errno.into() }
    };
    unshare(CloneFlags::CLONE_NEWNS).map_err(step("make a mount namespace for"))?;
    let none: Option<&str> = None;
    // Private before anything else: what is mounted here must not show on the host.
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).map_err(step("make mounts private for"))?;
    mount(Some(rootfs), rootfs, none, MsFlags::MS_BIND, none).map_err(step("bind"))?;
    nix::unistd::chdir(rootfs).map_err(step("enter"))?;
    nix::unistd::pivot_root(".", ".").map_err(step("change the root to"))?;
    // The old root lies on top of the new one now.
    umount2(".", MntFlags::MNT_DETACH).map_err(step("leave the host for"))?;
    nix::unistd::chdir("/").map_err(step("enter"))?;
    let io = |what: &str| {
        let what = format!("{what} {}", rootfs.display());
        move |source| UnpackError::Io { what, source }
    };
    // The cheapest proof that we are where we think we are: an archive must never be unpacked over anything.
    if fs::read_dir("/").map_err(io("read"))?.next().is_some() {
        return Err(UnpackError::NotEmpty { rootfs: rootfs.to_owned() });
    }
    let owner = |kind| map.to_host(kind, 0).ok_or(UnpackError::Owner { name: "/".to_owned(), uid: 0, gid: 0 });
    std::os::unix::fs::chown("/", Some(owner(IdKind::User)?), Some(owner(IdKind::Group)?)).map_err(io("give away"))?;
    let mode = fs::metadata("/").map_err(io("read"))?.mode();
    // Mapped users have to get through it; whoever made it closes the directories above it to others.
    fs::set_permissions("/", std::os::unix::fs::PermissionsExt::from_mode(mode & 0o7000 | 0o755)).map_err(io("open"))
}

fn become_root() -> nix::Result<()> {
    nix::unistd::setgroups(&[])?;
    let (root, wheel) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    nix::unistd::setresgid(wheel, wheel, wheel)?;
    nix::unistd::setresuid(root, root, root)
}

/// What unpacking takes: owners, modes, file capabilities. Not device nodes, not mounts.
fn keep_few_capabilities() -> rustix::io::Result<()> {
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::SETFCAP;
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })
}
