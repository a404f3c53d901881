//! The main file cut, emptied or replaced; the index missing or of another time; a place that is read-only or full.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use phoenix::driver::RunError;
use phoenix::host::sim::{Survivors, World, WorldOptions};
use phoenix_journal::JournalError;

use crate::flips::{Dice, check_text, checkpointed};
use crate::image::{Image, PAGE, beside, directory};
use crate::record::{History, made, pair};
use crate::resume::{Became, became, chain, check_comes_up, check_whole, take_up};

#[test]
fn a_main_file_cut_at_any_page_is_refused_as_it_is() {
    let history = History::of_the_pair();
    for (image, log) in [(checkpointed(&history.image), "no log"), (history.image.clone(), "everything in the log")] {
        for length in (0..image.main.len()).step_by(PAGE).chain([1, 99, 100, 511, PAGE - 1]) {
            let cut = Image { main: image.main[..length].to_vec(), log: image.log.clone().filter(|log| !log.is_empty()) };
            check_refused_or_whole(&history, &cut, &format!("{length} bytes of the main file are left, {log}"));
        }
    }
}

#[test]
fn a_main_file_of_something_else_is_refused_as_it_is() {
    let history = History::of_the_pair();
    let mut dice = Dice(3);
    let length = history.image.main.len();
    let garbage: Vec<u8> = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap_or(0)).collect();
    let text = b"a text that somebody saved under this name\n".repeat(100);
    for (main, what) in [(garbage, "garbage"), (vec![0; length], "zeros"), (text, "a text")] {
        for log in [history.image.log.clone(), None] {
            let what = format!("{what}, {}", if log.is_some() { "with the log" } else { "without a log" });
            let laid = Image { main: main.clone(), log }.lay();
            match became(&laid, history.world.clone(), &pair(), &what) {
                Became::Refused(error) => check_text(&error, &laid.path, &what),
                Became::Ran { .. } => panic!("{what}: taken up"),
            }
        }
    }
}

#[test]
fn an_empty_main_file_does_not_take_its_log_along() {
    let history = History::of_the_pair();
    let laid = Image { main: Vec::new(), ..history.image.clone() }.lay();
    match became(&laid, history.world.clone(), &pair(), "empty") {
        Became::Refused(RunError::Journal(JournalError::WalBesideEmpty { .. })) => {}
        other @ (Became::Ran { .. } | Became::Refused(_)) => panic!("{other:?}"),
    }
    assert_eq!(fs::read(beside(&laid.path, "-wal")).ok(), history.image.log);
}

#[test]
fn a_log_without_its_main_file_is_refused_as_it_is() {
    let history = History::of_the_pair();
    let laid = history.image.lay();
    fs::remove_file(&laid.path).expect("a file");
    // On a host on which nothing bears a mark of that journal either.
    let error = take_up(&laid.path, World::new(WorldOptions::seeded(7)), &pair()).expect_err("it is not begun anew");
    assert!(matches!(error, RunError::Journal(JournalError::WalWithoutMain { .. })), "{error:?}");
    assert_eq!(fs::read(beside(&laid.path, "-wal")).ok(), history.image.log);
    assert!(!laid.path.exists());
}

#[test]
fn an_index_of_another_time_or_of_garbage_is_passed_over() {
    let history = History::of_the_pair();
    let early = history.image.cut(history.image.frames()[20].at).lay();
    // Opening makes an index for what there was at that time.
    drop(phoenix_journal::Reader::open(&early.path, &phoenix::journal::SCHEMA));
    let writer = phoenix_journal::Writer::open(&early.path, &phoenix::journal::SCHEMA, crate::record::info()).expect("a journal");
    let stale = fs::read(beside(&early.path, "-shm")).expect("an index");
    drop(writer);
    for (index, what) in [(stale, "of another time"), (vec![0xa5; 32 << 10], "garbage"), (Vec::new(), "empty")] {
        let laid = history.image.lay();
        fs::write(beside(&laid.path, "-shm"), index).expect("room");
        let mut world = history.world.clone();
        world.crash_process(Survivors::Shims);
        check_comes_up(&laid, world, &pair(), &history.whole, &format!("an index {what}"));
    }
}

#[test]
fn in_a_place_that_is_read_only_nothing_is_begun_and_nothing_changed() {
    let dir = directory();
    let Some(mount) = Mounted::of(dir.path(), "64m") else { return };
    let history = History::of_the_pair();
    let image = history.image.cut(history.image.frames()[60].at);
    let path = dir.path().join("journal.db");
    fs::write(&path, &image.main).expect("room");
    fs::write(beside(&path, "-wal"), image.log.as_deref().unwrap_or_default()).expect("room");
    mount.again("ro");
    let world = history.world.clone();
    let error = take_up(&path, world, &pair()).expect_err("nothing can be written here");
    let text = chain(&error);
    assert!(text.contains(&*path.display().to_string()) && text.contains("Read-only file system"), "{text}");
    assert!(matches!(error, RunError::Journal(JournalError::Io { .. })), "{error:?}");
    assert_eq!(Image::of(&path), image);
    mount.again("rw");
    let laid = Image::of(&path).lay();
    let last = crate::cuts::last(&laid.path);
    let mut world = history.world_after(last).clone();
    world.crash_host();
    check_comes_up(&laid, world, &pair(), &history.whole, "writable again");
}

#[test]
fn wherever_the_disk_fills_up_the_fleet_comes_up_once_there_is_room() {
    let dir = directory();
    let Some(_mount) = Mounted::of(dir.path(), "12m") else { return };
    let whole = History::of_the_pair().whole;
    let mut stopped = 0;
    for left in (0..1_000 << 10).step_by(32 << 10) {
        stopped += usize::from(check_full(dir.path(), left, &whole));
    }
    assert!(stopped > 10, "only {stopped} runs found the disk full");
}

/// A bring-up with so many bytes left on the disk; whether it ran out of them.
fn check_full(place: &Path, left: usize, whole: &phoenix::host::sim::Fingerprint) -> bool {
    let what = format!("{left} bytes left");
    let own = place.join("own");
    fs::create_dir(&own).expect("room");
    let path = own.join("journal.db");
    let world = made(&path, World::new(WorldOptions::seeded(7)));
    // What a writer sets aside at its first opening.
    drop(phoenix_journal::Writer::open(&path, &phoenix::journal::SCHEMA, crate::record::info()).expect("room"));
    let filler = place.join("filler");
    fill(&filler, left);
    let sim = phoenix::host::sim::Sim::new(world, phoenix::host::sim::Flow::Real);
    let first = crate::resume::on(&sim, &path, &pair());
    fs::remove_file(&filler).expect("a file");
    let full = match &first {
        Ok(_) => false,
        Err(error) => {
            assert!(chain(error).contains("full"), "{what}: {}", chain(error));
            true
        }
    };
    let mut world = sim.world();
    world.crash_process(Survivors::Shims);
    let (finished, world) = take_up(&path, world, &pair()).unwrap_or_else(|error| panic!("{what}: {}", chain(&error)));
    check_whole(&finished, &world, whole, &what);
    fs::remove_dir_all(own).expect("a directory");
    full
}

/// Takes all space but so many bytes.
fn fill(path: &Path, left: usize) {
    let mut file = fs::File::create(path).expect("a file");
    let block = [7_u8; 4096];
    let mut length = 0_u64;
    while file.write_all(&block).is_ok() {
        length += 4096;
    }
    file.set_len(length.saturating_sub(left as u64)).expect("a shorter file");
}

/// Taken up whole, or refused with what is wrong and what to do.
#[track_caller]
fn check_refused_or_whole(history: &History, image: &Image, what: &str) {
    let laid = image.lay();
    let mut world = history.world.clone();
    world.crash_process(Survivors::Shims);
    match became(&laid, world, &pair(), what) {
        Became::Ran { finished, world } => check_whole(&finished, &world, &history.whole, what),
        Became::Refused(error) => check_text(&error, &laid.path, what),
    }
}

/// A small file system in memory, for as long as this lives. Needs root.
struct Mounted(PathBuf);

impl Mounted {
    #[expect(clippy::print_stderr, reason = "a skipped test says so")]
    fn of(at: &Path, size: &str) -> Option<Self> {
        if run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "tmpfs", &at.display().to_string()]) {
            return Some(Self(at.to_owned()));
        }
        eprintln!("SKIPPED: a file system of its own cannot be mounted here");
        None
    }

    fn again(&self, mode: &str) {
        assert!(run("mount", &["-o", &format!("remount,{mode}"), &self.0.display().to_string()]), "it can be mounted as {mode}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run("umount", &["--lazy", &self.0.display().to_string()]);
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
fn run(program: &str, arguments: &[&str]) -> bool {
    std::process::Command::new(program).args(arguments).status().is_ok_and(|status| status.success())
}
