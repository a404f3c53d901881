//! A shared directory whose entries are exchanged while it changes owner: directories for links, files for links that lead out.
//!
//! Apart from the other tests because these run for seconds, and because who exchanges is faster and may do more than any
//! container: threads of root. `PHOENIX_TEST_PASSES` sets how often the directory is given away. Nothing but decoys in a
//! directory of the test's own is ever aimed at.

use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustix::fs::RenameFlags;

use super::tests::{Ground, SHIFT, chown, owner_and_mode};
use super::*;

/// Passes unless `PHOENIX_TEST_PASSES` says otherwise.
const PASSES: usize = 500;
/// Whose the decoys are.
const DECOY_OWNER: u32 = 4242;
/// Directories in the volume that are exchanged for links, each with entries of the names that lie outside.
const DIRECTORIES: usize = 8;

/// A volume with everything that can be exchanged, and the decoys outside.
struct Trap {
    ground: Ground,
    volume: Volume,
    decoys: Vec<PathBuf>,
    /// Names in directories of the volume, and those that take their place. By descriptor: by its path, a directory that is a
    /// link at the moment would lead this test itself to the decoys.
    pairs: Vec<(Arc<File>, String, String)>,
}

impl Trap {
    fn new() -> Option<Self> {
        let ground = Ground::new()?;
        let mut volume = ground.volume("srv/shared");
        (volume.take_ownership, volume.recursive) = (true, true);
        let outside = ground.path("outside");
        let decoys: Vec<PathBuf> = ["", "file", "below", "below/file"].iter().map(|name| outside.join(name)).collect();
        std::fs::create_dir_all(outside.join("below")).expect("a directory");
        std::fs::write(outside.join("file"), "x").expect("a file");
        std::fs::write(outside.join("below/file"), "x").expect("a file");
        for decoy in &decoys {
            chown(decoy, DECOY_OWNER, DECOY_OWNER);
        }
        std::fs::create_dir(&volume.source).expect("a directory");
        let top = Arc::new(File::open(&volume.source).expect("a directory"));
        let mut pairs = vec![(Arc::clone(&top), "soft".to_owned(), "hard".to_owned())];
        for index in 0..DIRECTORIES {
            let (directory, link) = (volume.source.join(format!("d{index}")), volume.source.join(format!("l{index}")));
            std::fs::create_dir_all(directory.join("below")).expect("a directory");
            std::fs::write(directory.join("below/file"), "x").expect("a file");
            std::fs::write(directory.join("file"), "x").expect("a file");
            symlink(outside.join("file"), directory.join("away")).expect("a link");
            symlink(&outside, &link).expect("a link");
            pairs.push((Arc::new(File::open(&directory).expect("a directory")), "file".to_owned(), "away".to_owned()));
            pairs.push((Arc::clone(&top), format!("d{index}"), format!("l{index}")));
        }
        std::fs::hard_link(outside.join("file"), volume.source.join("hard")).expect("a link");
        std::fs::write(volume.source.join("soft"), "x").expect("a file");
        Some(Self { ground, volume, decoys, pairs })
    }

    #[track_caller]
    fn check_decoys(&self, pass: usize) {
        for decoy in &self.decoys {
            assert_eq!(owner_and_mode(decoy).0, DECOY_OWNER, "{} changed owner in pass {pass}", decoy.display());
        }
    }

    /// The owner of everything below, one entry after the other, as it was before.
    fn take_back(&self) {
        let owner = |id| (Some(rustix::fs::Uid::from_raw(id)), Some(rustix::fs::Gid::from_raw(id)));
        for (directory, name, _) in self.pairs.iter().filter(|(_, name, _)| name != "soft") {
            // Some other name stands there at times; then it is another one's turn.
            let (uid, gid) = owner(SHIFT);
            let _ = rustix::fs::chownat(directory, name.as_str(), uid, gid, rustix::fs::AtFlags::SYMLINK_NOFOLLOW);
        }
        chown(&self.volume.source, SHIFT, SHIFT);
    }
}

/// Stops those who exchange, also when a check panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn hostile_exchanges_never_give_away_what_lies_outside() {
    let Some(trap) = Trap::new() else { return };
    let passes = std::env::var("PHOENIX_TEST_PASSES").ok().and_then(|passes| passes.parse().ok()).unwrap_or(PASSES);
    let (stop, exchanged) = (AtomicBool::new(false), AtomicUsize::new(0));
    let exchange = || {
        while !stop.load(Ordering::Relaxed) {
            for (directory, one, other) in &trap.pairs {
                let done = rustix::fs::renameat_with(directory, one.as_str(), directory, other.as_str(), RenameFlags::EXCHANGE);
                exchanged.fetch_add(usize::from(done.is_ok()), Ordering::Relaxed);
            }
        }
    };
    let (mut given, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        for _ in 0..2 {
            scope.spawn(exchange);
        }
        for pass in 0..passes {
            match trap.ground.prepare(&trap.volume) {
                Ok(_) => given += 1,
                // What is exchanged at the wrong moment may be an error; it must not be a way out.
                Err(_) => refused += 1,
            }
            trap.check_decoys(pass);
            trap.take_back();
        }
    });
    let exchanged = exchanged.into_inner();
    assert!(given > 0 && exchanged > passes / 10, "{given} passes, {exchanged} exchanges: nothing was tried");
    #[expect(clippy::print_stderr, reason = "figures are told")]
    {
        eprintln!("exchanges: passes={passes} given={given} refused={refused} exchanged={exchanged}");
    }
}

/// Mounted by the test, and unmounted whatever happens.
struct Mounted(PathBuf);

impl Drop for Mounted {
    fn drop(&mut self) {
        // Fails only if it was never mounted.
        let _ = rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

#[test]
fn hostile_or_not_what_is_mounted_below_keeps_its_owner() {
    let Some(trap) = Trap::new() else { return };
    let mounts = [("outside/below", "srv/shared/d0/below"), ("outside/file", "srv/shared/d1/file")];
    let mounted = mounts.map(|(from, to)| {
        let mounted = Mounted(trap.ground.path(to));
        rustix::mount::mount_bind(trap.ground.path(from), &mounted.0).map(|()| mounted)
    });
    if mounted.iter().any(Result::is_err) {
        #[expect(clippy::print_stderr, reason = "a test that skips says so")]
        {
            eprintln!("skipped: bind mounts are not allowed here");
        }
        return;
    }
    let prepared = trap.ground.prepare(&trap.volume).expect("prepared");
    trap.check_decoys(0);
    assert!(["d0/below", "d1/file"].iter().all(|name| prepared.left_alone.iter().any(|left| left == name)), "{:?}", prepared.left_alone);
}
