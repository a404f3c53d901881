//! What only so many effects may use at once: storages, templates, clone sources; and locks of the host that pass by themselves.
//!
//! Apart from `rehearsal`, which asks what a crash does to a run and not how a run is spread out. Read from what was recorded:
//! an intent without its outcome is under way.

mod fleets;
#[path = "fleets/invariants.rs"]
mod invariants;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleets::{cloned, ctid, on_proxmox, spec, wanted};
use invariants::{entries, history, invariants};
use phoenix::driver::{Silent, Wanted};
use phoenix::engine::{CREATES_PER_STORAGE, Stand, limits};
use phoenix::host::sim::{Fault, Faults, Tamper, What, When, Where, World, WorldOptions};
use phoenix::ids::{Ctid, Step, StepId};
use phoenix::machine::{RunEnd, Standing, Wait, WaitKind};
use phoenix::manifest::{Origin, Spec, Template};
use phoenix::plan::{Action, HoldBy, Repertoire};
use phoenix::rehearse::{Crash, CrashKind, Ended, Stage};
use phoenix_journal::Body;

const JOBS: usize = 8;

fn stage_on(options: WorldOptions, wanted: BTreeMap<Ctid, Wanted>) -> Stage {
    Stage::new(World::new(options), "fleet".parse().expect("a fleet name"), wanted, JOBS, 1).expect("a stage")
}

fn up(stage: &mut Stage) -> (RunEnd, BTreeMap<Ctid, Stand>) {
    match stage.up(None, &mut Silent).expect("a run") {
        Ended::Run { end, stands, .. } => (end, stands),
        Ended::Crashed => panic!("nothing cuts it"),
    }
}

/// The most containers of these that were within one of these steps at the same time.
fn most_at_once(stage: &Stage, step: &str, of: &dyn Fn(Ctid) -> bool) -> usize {
    let (mut under_way, mut most) = (BTreeSet::new(), 0);
    for entry in entries(stage).iter().filter(|entry| entry.stream.machine == "container") {
        let ctid: Ctid = entry.stream.stream.parse().expect("a number");
        match &entry.body {
            Body::Intent { step: begun, .. } if begun == step && of(ctid) => drop(under_way.insert(ctid)),
            Body::Outcome { step: ended, .. } if ended == step => drop(under_way.remove(&ctid)),
            Body::Declare | Body::Intent { .. } | Body::Outcome { .. } | Body::Note { .. } => {}
        }
        most = most.max(under_way.len());
    }
    most
}

fn on_storage(number: u32, storage: &str) -> Spec {
    let mut spec = on_proxmox(spec(number));
    spec.origin = Origin::Template(Template::Stored(format!("local:vztmpl/{number}.tar.zst")));
    spec.host_options.storage = Some(storage.to_owned());
    spec
}

#[test]
fn a_storage_fills_so_many_at_once_and_another_as_many_beside_it() {
    let specs: Vec<Spec> = (100..104).map(|n| on_storage(n, "tank")).chain((104..108).map(|n| on_storage(n, "ssd"))).collect();
    let mut stage = stage_on(WorldOptions::seeded(1), wanted(specs));
    assert_eq!(up(&mut stage).0, RunEnd::Done);
    invariants(&stage);
    assert_eq!(most_at_once(&stage, "define.create", &|ctid| ctid.get() < 104), CREATES_PER_STORAGE);
    assert_eq!(most_at_once(&stage, "define.create", &|_| true), 2 * CREATES_PER_STORAGE);
}

#[test]
fn a_host_without_storages_has_no_limit_but_the_jobs() {
    let wanted = wanted((100..106).map(spec).collect());
    let common = wanted.into_iter().map(|(ctid, wanted)| (ctid, Wanted { repertoire: Repertoire::Common, ..wanted }));
    let mut stage = stage_on(WorldOptions::seeded(1), common.collect());
    assert_eq!(up(&mut stage).0, RunEnd::Done);
    assert_eq!(most_at_once(&stage, "define.create", &|_| true), 6);
}

#[test]
fn a_template_is_fetched_by_one_at_a_time() {
    let mut stage = stage_on(WorldOptions::seeded(1), wanted((100..104).map(|number| on_proxmox(spec(number))).collect()));
    assert_eq!(up(&mut stage).0, RunEnd::Done);
    assert_eq!(most_at_once(&stage, "template.fetch", &|_| true), 1);
    let mut others = stage_on(WorldOptions::seeded(1), wanted((100..104).map(|number| on_storage(number, "tank")).collect()));
    assert_eq!(up(&mut others).0, RunEnd::Done);
    assert_eq!(most_at_once(&others, "template.fetch", &|_| true), 4, "each has a template of its own");
}

/// What a killed run left under way counts: the child of the one that was killed may still be at it.
#[test]
fn a_fetch_in_doubt_keeps_others_from_fetching_the_same() {
    for point in 0..40 {
        for kind in CrashKind::ALL {
            let mut stage = stage_on(WorldOptions::seeded(1), wanted((100..103).map(|number| on_proxmox(spec(number))).collect()));
            stage.up(Some(Crash { point, kind }), &mut Silent).expect("a run");
            assert_eq!(up(&mut stage).0, RunEnd::Done);
            assert!(most_at_once(&stage, "template.fetch", &|_| true) <= 1, "{point} {kind:?} {:#?}", history(&stage));
        }
    }
}

#[test]
fn a_source_is_copied_to_one_clone_at_a_time() {
    for source in [spec(100), on_proxmox(spec(100))] {
        let clones = (101..104).map(|number| cloned(spec(number), 100));
        let mut stage = stage_on(WorldOptions::seeded(1), wanted(std::iter::once(source).chain(clones).collect()));
        assert_eq!(up(&mut stage).0, RunEnd::Done);
        invariants(&stage);
        assert_eq!(most_at_once(&stage, "define.clone", &|_| true), 1);
    }
}

fn backed_up(during: Duration) -> WorldOptions {
    let what = What::Tamper(Tamper::Backup { ctid: ctid(100), during });
    let fault = Fault { ctid: Some(ctid(100)), step: Where::Base("configure.set"), attempt: Some(1), when: When::Before, what };
    WorldOptions { faults: Faults { planned: vec![fault], ..Faults::default() }, ..WorldOptions::seeded(1) }
}

#[test]
fn a_lock_of_the_host_is_waited_for_and_named_meanwhile() {
    let mut stage = stage_on(backed_up(Duration::from_secs(20)), wanted(vec![on_proxmox(spec(100))]));
    assert_eq!(up(&mut stage).0, RunEnd::Done);
    let told = entries(&stage);
    let waiting: Vec<_> = told.iter().filter(|entry| entry.standing == "waiting").collect();
    assert!(!waiting.is_empty() && waiting.iter().all(|entry| entry.payload.contains("CT is locked (backup)")), "{:#?}", history(&stage));
    assert!(waiting.len() < limits::LOCK_WAITS_MAX as usize, "{}", waiting.len());
}

#[test]
fn a_lock_that_outlasts_the_waits_is_what_the_run_ends_with() {
    let mut stage = stage_on(backed_up(Duration::from_secs(3600)), wanted(vec![on_proxmox(spec(100))]));
    let (end, stands) = up(&mut stage);
    assert_eq!(end, RunEnd::Failed);
    let Stand::Stuck(Standing::Waiting(Wait { kind, name, .. })) = &stands[&ctid(100)] else { panic!("{stands:#?}") };
    assert_eq!((*kind, name.as_str()), (WaitKind::Lock, "CT is locked (backup)"));
    stage.world.pass(Duration::from_secs(3600));
    assert_eq!(up(&mut stage).0, RunEnd::Done, "{:#?}", history(&stage));
}

/// A fleet of one whose script may fail once, and what becomes of it with a fault at each of its attempts.
fn with_retries(retries: u32, faults: &[(When, What)]) -> (Stage, RunEnd) {
    let mut spec = spec(100);
    spec.features[0].script.retries = retries;
    let fault = |(attempt, (when, what)): (u32, &(When, What))| Fault {
        ctid: Some(ctid(100)),
        step: Where::Base("feature.apply"),
        attempt: Some(attempt),
        when: *when,
        what: what.clone(),
    };
    let planned = (1..).zip(faults).map(fault).collect();
    let mut stage =
        stage_on(WorldOptions { faults: Faults { planned, ..Faults::default() }, ..WorldOptions::seeded(1) }, wanted(vec![spec]));
    let (end, _) = up(&mut stage);
    invariants(&stage);
    (stage, end)
}

#[test]
fn what_keeps_a_script_from_being_begun_takes_nothing_from_its_own_budget() {
    let fails = (When::Piece(3), What::Exit { status: 3, output: "no".to_owned() });
    let not_begun = (When::Before, What::Transient);
    for faults in [[not_begun.clone(), fails.clone()], [fails.clone(), not_begun.clone()]] {
        let (stage, end) = with_retries(1, &faults);
        assert_eq!((end, stage.world.starts().count()), (RunEnd::Done, 2), "{:#?}", history(&stage));
    }
    let (stage, end) = with_retries(0, &[not_begun, fails]);
    assert_eq!((end, stage.world.starts().count()), (RunEnd::Failed, 1), "{:#?}", history(&stage));
    let (stage, end) = with_retries(0, &[(When::Piece(3), What::Transient)]);
    assert_eq!((end, stage.world.starts().count()), (RunEnd::Failed, 1), "it was begun: {:#?}", history(&stage));
}

#[test]
fn a_start_and_a_snapshot_have_more_time_than_a_stop() {
    let spec = spec(100);
    let hold = |by| limits::timeout_of(&Step::CloneHold.id(), &Action::Hold { init: None, by }, &spec);
    let snapshot = limits::timeout(&Step::SnapshotTake.id(), &spec);
    assert!(snapshot >= Duration::from_secs(300));
    assert_eq!(hold(HoldBy::Snapshot), snapshot, "the same `pct snapshot`");
    assert_eq!(hold(HoldBy::Stop), limits::timeout(&Step::DownStop.id(), &spec));
    assert_eq!(limits::timeout(&StepId { step: Step::CloneHold, repair: true }, &spec), snapshot, "it deletes one");
    for step in [Step::FinalizeStart, Step::RunStart] {
        assert!(limits::timeout(&step.clone().id(), &spec) > limits::timeout(&Step::FinalizeStop.id(), &spec), "{step:?}");
    }
}

#[test]
fn a_stop_has_the_time_that_its_container_may_take_to_shut_down() {
    let time = |step: &Step, seconds| {
        let mut spec = spec(100);
        spec.autostart.down_timeout_s = seconds;
        limits::timeout(&step.clone().id(), &spec)
    };
    let asked = Duration::from_secs(86_400);
    for step in [Step::DownStop, Step::CloneHold] {
        assert_eq!(time(&step, None), time(&step, Some(10)), "{step:?}");
        assert!(time(&step, Some(86_400)) > asked && time(&step, Some(86_400)) < 2 * asked, "{step:?}");
    }
    assert_eq!(time(&Step::FinalizeStop, Some(86_400)), time(&Step::FinalizeStop, None), "nothing is at work yet");
}
