//! Names, ids, numbers and times, drawn through their own parsers.

use std::ffi::OsString;
use std::fmt::Debug;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, JournalId, Seq};
use proptest::prelude::*;

use super::one_of;
use crate::ids::{
    BootId, CTID_MAX, CTID_MIN, Ctid, FeatureName, FleetName, Generation, HealthName, Hostname, IdMap, IdRange, Incarnation, Moment, RunId,
    State, Step, StepId, Target, Token, VolumeName, Wall,
};

/// Any text, control characters and NUL included.
pub fn text() -> BoxedStrategy<String> {
    prop::collection::vec(any::<char>(), 0..12).prop_map(|chars| chars.into_iter().collect()).boxed()
}

/// Any path; one in three is no UTF-8.
pub fn path() -> BoxedStrategy<PathBuf> {
    let bytes = prop::collection::vec(any::<u8>(), 0..12).prop_map(|bytes| PathBuf::from(OsString::from_vec(bytes)));
    prop_oneof![2 => text().prop_map(PathBuf::from), 1 => bytes].boxed()
}

fn parsed<T: FromStr<Err: Debug> + Debug + 'static>(pattern: &'static str) -> BoxedStrategy<T> {
    pattern.prop_filter_map("no name of this kind", |text| text.parse().ok()).boxed()
}

const PLAIN: &str = "[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}";

pub(super) fn fleet() -> BoxedStrategy<FleetName> {
    parsed(PLAIN)
}

pub(super) fn volume_name() -> BoxedStrategy<VolumeName> {
    parsed(PLAIN)
}

pub(super) fn feature_name() -> BoxedStrategy<FeatureName> {
    parsed(PLAIN)
}

pub(super) fn health_name() -> BoxedStrategy<HealthName> {
    parsed(PLAIN)
}

pub(super) fn hostname() -> BoxedStrategy<Hostname> {
    parsed("[a-zA-Z0-9]([a-z0-9-]{0,20}[a-z0-9])?(\\.[a-z]{1,9}){0,2}")
}

/// A mount target.
pub fn target() -> BoxedStrategy<Target> {
    parsed("(/[a-zA-Z0-9._ü-]{1,9}){1,4}")
}

/// A container's number.
pub fn ctid() -> BoxedStrategy<Ctid> {
    (CTID_MIN..=CTID_MAX).prop_filter_map("a number out of the range", |number| Ctid::new(number).ok()).boxed()
}

/// A generation.
pub fn generation() -> BoxedStrategy<Generation> {
    any::<u64>().prop_map(Generation::new).boxed()
}

/// A place in a journal.
pub fn seq() -> BoxedStrategy<Seq> {
    any::<u64>().prop_map(Seq::new).boxed()
}

pub(super) fn epoch() -> BoxedStrategy<Epoch> {
    any::<u64>().prop_map(Epoch::new).boxed()
}

pub(super) fn digest() -> BoxedStrategy<Digest> {
    any::<[u8; 32]>().prop_map(Digest::from_bytes).boxed()
}

pub(super) fn journal_id() -> BoxedStrategy<JournalId> {
    any::<[u8; 16]>().prop_map(JournalId::from_bytes).boxed()
}

/// A run.
pub fn run_id() -> BoxedStrategy<RunId> {
    any::<[u8; 16]>().prop_map(RunId::from_random).boxed()
}

/// A physical container.
pub fn incarnation() -> BoxedStrategy<Incarnation> {
    any::<[u8; 16]>().prop_map(Incarnation::from_random).boxed()
}

pub(super) fn token() -> BoxedStrategy<Token> {
    any::<[u8; 16]>().prop_map(Token::from_random).boxed()
}

pub(super) fn boot() -> BoxedStrategy<BootId> {
    parsed("[a-zA-Z0-9_-]{1,64}")
}

/// A moment of some boot.
pub fn moment() -> BoxedStrategy<Moment> {
    (boot(), any::<u64>()).prop_map(|(boot, boottime_ms)| Moment { boot, boottime_ms }).boxed()
}

/// A wall time.
pub fn wall() -> BoxedStrategy<Wall> {
    any::<i64>().prop_map(Wall).boxed()
}

/// Whole milliseconds, as manifests give them.
pub(super) fn duration() -> BoxedStrategy<Duration> {
    prop_oneof![any::<u64>(), 0_u64..600_000].prop_map(Duration::from_millis).boxed()
}

/// A state.
pub fn state() -> BoxedStrategy<State> {
    one_of(State::ALL)
}

/// A step or its repair.
pub fn step_id() -> BoxedStrategy<StepId> {
    let bare = one_of([
        Step::TemplateFetch,
        Step::FirewallSet,
        Step::SnapshotTake,
        Step::DefineCreate,
        Step::DefineClone,
        Step::DefineMark,
        Step::CloneHold,
        Step::CloneRelease,
        Step::ConfigureSet,
        Step::FinalizeStart,
        Step::FinalizeIdmap,
        Step::FinalizeStop,
        Step::RunStart,
        Step::RunReady,
        Step::ApplicationRun,
        Step::AutostartSet,
        Step::DownStop,
        Step::DownDestroy,
    ]);
    let step = prop_oneof![
        18 => bare,
        1 => volume_name().prop_map(Step::VolumePrepare),
        1 => target().prop_map(Step::VolumeAttach),
        1 => target().prop_map(Step::VolumeDetach),
        1 => feature_name().prop_map(Step::FeatureApply),
        1 => health_name().prop_map(Step::HealthCheck),
    ];
    (step, any::<bool>()).prop_map(|(step, repair)| StepId { step, repair }).boxed()
}

/// An id map, of up to four ranges a kind; one in eight is the identity map.
pub fn idmap() -> BoxedStrategy<IdMap> {
    let mapped = (ranges(), ranges()).prop_filter_map("ranges that overlap", |(users, groups)| IdMap::new(users, groups).ok());
    prop_oneof![7 => mapped, 1 => Just(IdMap::identity())].boxed()
}

/// Gaps and lengths, laid one after the other; on the host in either order.
fn ranges() -> BoxedStrategy<Vec<IdRange>> {
    let piece = (0_u32..100_000, 1_u32..100_000, 0_u32..100_000);
    (prop::collection::vec(piece, 1..=4), any::<bool>())
        .prop_map(|(pieces, turned)| {
            let (mut inside, mut host) = (0, 0);
            let mut ranges = Vec::new();
            for (gap, count, host_gap) in pieces {
                (inside, host) = (inside + gap, host + host_gap);
                let on_host = if turned { 4_000_000 - host - count } else { host };
                ranges.push(IdRange { inside, host: on_host, count });
                (inside, host) = (inside + count, host + count);
            }
            ranges
        })
        .boxed()
}
