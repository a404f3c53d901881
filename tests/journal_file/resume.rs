//! Taking a damaged journal up again, and judging what came of it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use phoenix::driver::{Channel, Finished, RunError, Silent, Site, look, resume, up};
use phoenix::host::sim::{Fingerprint, Flow, Sim, Survivors, World};
use phoenix::machine::RunEnd;
use phoenix::manifest::Spec;

use crate::fleets::wanted;
use crate::image::{Image, Laid};
use crate::record::{fleet, info};

/// What became of an image.
#[derive(Debug)]
pub(crate) enum Became {
    /// A run went to its end.
    Ran { finished: Finished, world: World },
    /// It was refused, and the files are as they were.
    Refused(RunError),
}

/// A person's `resume`, and `up` where the journal does not know the whole fleet yet.
pub(crate) fn take_up(path: &Path, world: World, specs: &[Spec]) -> Result<(Finished, World), RunError> {
    let sim = Sim::new(world, Flow::Real);
    on(&sim, path, specs).map(|finished| (finished, sim.world()))
}

/// The same on a host that is looked at afterwards, whatever came of it.
pub(crate) fn on(sim: &Sim, path: &Path, specs: &[Spec]) -> Result<Finished, RunError> {
    let site = Site { host: Arc::new(sim.clone()), journal: path.to_owned(), writer: info(), entropy };
    let known = look(&site)?.map_or(0, |known| known.account.lives.len());
    let channel = Channel::new();
    let mut finished = None;
    match resume(&site, None, JOBS, &channel, &mut Silent) {
        Ok(resumed) => finished = Some(resumed),
        // What a person tries next.
        Err(RunError::NothingRecorded { .. }) => {}
        Err(refused) => return Err(refused),
    }
    if known < specs.len() {
        finished = Some(up(&site, look(&site)?, &fleet(), &wanted(specs.to_vec()), JOBS, &channel, &mut Silent)?);
    }
    Ok(finished.expect("a fleet has containers"))
}

/// The world after a crash: of the host and of Phoenix alone in turn.
pub(crate) fn crashed(world: &World, number: usize) -> World {
    let mut world = world.clone();
    if number.is_multiple_of(2) {
        world.crash_host();
    } else {
        world.crash_process(Survivors::Shims);
    }
    world
}

/// Takes an image up; a panic, and a refusal that changed a file, fail the test.
#[track_caller]
pub(crate) fn became(laid: &Laid, world: World, specs: &[Spec], what: &str) -> Became {
    let before = Image::of(&laid.path);
    match catch_unwind(AssertUnwindSafe(|| take_up(&laid.path, world, specs))) {
        Ok(Ok((finished, world))) => Became::Ran { finished, world },
        Ok(Err(error)) => {
            assert!(before == Image::of(&laid.path), "{what}: refused, and the files were changed: {}", chain(&error));
            Became::Refused(error)
        }
        Err(panic) => panic!("{what}: a panic: {:?}", panic.downcast_ref::<String>()),
    }
}

/// Takes an image up and wants the fleet where a run without a crash brings it, every script's start explained.
#[track_caller]
pub(crate) fn check_comes_up(laid: &Laid, world: World, specs: &[Spec], whole: &Fingerprint, what: &str) {
    match became(laid, world, specs, what) {
        Became::Ran { finished, world } => check_whole(&finished, &world, whole, what),
        Became::Refused(error) => panic!("{what}: refused: {}", chain(&error)),
    }
}

/// The fleet is where a run without a crash brings it, and nothing happened on the way that must never happen.
#[track_caller]
pub(crate) fn check_whole(finished: &Finished, world: &World, whole: &Fingerprint, what: &str) {
    check_converged(finished, world, whole, what);
    check_innocent(world, what);
}

/// The fleet is where a run without a crash brings it.
#[track_caller]
pub(crate) fn check_converged(finished: &Finished, world: &World, whole: &Fingerprint, what: &str) {
    assert_eq!(finished.end, RunEnd::Done, "{what}: {:#?}", finished.stands);
    let differences = world.fingerprint().differences(whole);
    assert!(differences.is_empty(), "{what}: {differences:#?}");
}

/// Nothing happened that must never happen.
#[track_caller]
pub(crate) fn check_innocent(world: &World, what: &str) {
    assert!(world.damage().is_empty(), "{what}: {:#?}", world.damage());
    for start in world.starts() {
        assert!(start.is_explained(), "{what}: {start:#?}");
    }
}

/// How many of a kind are tried at each place: all that are thought of, if `PHOENIX_TEST_THOROUGH` is set, which takes some ten
/// minutes for the whole binary.
pub(crate) fn tries(usually: usize, thoroughly: usize) -> usize {
    if std::env::var_os("PHOENIX_TEST_THOROUGH").is_some() { thoroughly } else { usually }
}

/// An error with its causes, as a person sees it.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Different at each call; nothing here depends on its being random.
fn entropy() -> [u8; 16] {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let mut bytes = [0x5a; 16];
    bytes[..8].copy_from_slice(&CALLS.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    bytes
}

const JOBS: usize = 4;
