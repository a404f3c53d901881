//! A journal that is lost, at every point of a bring-up, and what is rebuilt from the host.

mod fleets;

use std::collections::BTreeMap;
use std::time::Duration;

use fleets::{ctid, mounted, proxmox_trio, script, spec, trio, wanted, with_application};
use phoenix::driver::rebuild::{Found, Proof, RebuildError};
use phoenix::driver::{Observer, Progress, Silent};
use phoenix::host::sim::{Before, Fingerprint, ScriptEnd, Survivors, Tamper, World, WorldOptions};
use phoenix::ids::{Ctid, State, Step};
use phoenix::machine::{Quarantine, QuarantineReason, RunEnd, Standing};
use phoenix::manifest::{Feature, OnInterrupt, Spec};
use phoenix::plan::{Mark, Presence};
use phoenix::rehearse::{Crash, CrashKind, Ended, Stage};
use phoenix_journal::{Append, Epoch};

const CRASHES: [CrashKind; 4] =
    [CrashKind::Process(Survivors::Shims), CrashKind::Process(Survivors::Children), CrashKind::Process(Survivors::Nobody), CrashKind::Host];

/// Longer than anything that goes on without Phoenix.
const QUIET_AFTER: Duration = Duration::from_secs(3600);

fn stage(specs: Vec<Spec>, seed: u64) -> Stage {
    let world = World::new(WorldOptions::seeded(seed));
    Stage::new(world, "fleet".parse().expect("a fleet name"), wanted(specs), 4, seed).expect("a stage")
}

fn up(stage: &mut Stage) -> RunEnd {
    match stage.up(None, &mut Silent).expect("a run") {
        Ended::Run { end, .. } => end,
        Ended::Crashed => panic!("nobody asked for a crash"),
    }
}

/// A stage on which the fleet is done.
fn done(specs: Vec<Spec>) -> Stage {
    let mut stage = stage(specs, 3);
    assert_eq!(up(&mut stage), RunEnd::Done);
    stage
}

/// Rebuilds once nothing is at work any more; that it is refused before is the fact of a test of its own.
fn rebuilt(stage: &mut Stage) -> BTreeMap<Ctid, Found> {
    match stage.rebuild() {
        Err(RebuildError::Locked { .. } | RebuildError::Alive { .. }) => {
            stage.world.pass(QUIET_AFTER);
            stage.rebuild().expect("nothing is at work any more")
        }
        other => other.expect("a rebuild"),
    }
}

#[derive(Default)]
struct Steps(Vec<&'static str>);

impl Observer for Steps {
    fn observe(&mut self, progress: Progress<'_>) {
        if let Progress::Intended { intent, .. } = progress {
            self.0.push(intent.step.step.base());
        }
    }
}

/// No script that had succeeded was started again.
#[track_caller]
fn invariant_a_success_is_never_repeated(stage: &Stage, what: &str) {
    for start in stage.world.starts() {
        assert_ne!(start.before, Before::Ended(ScriptEnd::Succeeded), "{what}: {start:#?}");
    }
    assert!(stage.world.damage().is_empty(), "{what}: {:#?}", stage.world.damage());
}

fn reason(found: &Found) -> Option<QuarantineReason> {
    match &found.standing {
        Standing::Quarantined(Quarantine { reason, .. }) => Some(*reason),
        Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } => None,
    }
}

#[test]
fn a_healthy_fleet_is_taken_over_and_nothing_on_the_host_changes() {
    let mut stage = done(trio());
    let (before, journal) = (stage.world.clone(), stage.journal.journal());
    let found = stage.rebuild().expect("a rebuild");
    assert!(found.values().all(|found| !found.is_set_aside() && found.state >= State::Featured), "{found:#?}");
    assert_eq!(stage.journal.journal(), journal, "the lost journal's id");
    assert_eq!(stage.world.fingerprint(), before.fingerprint());
    let ctids = before.ctids();
    let mut steps = Steps::default();
    stage.up(None, &mut steps).expect("a run");
    assert_eq!(stage.world.fingerprint(), before.fingerprint());
    assert_eq!(stage.world.observe(&ctids), before.observe(&ctids), "the same inits");
    assert_eq!(stage.world.starts().count(), before.starts().count());
    let asking = ["run.start", "run.ready", "health.check"];
    assert!(steps.0.iter().all(|step| asking.contains(step)), "{:?}", steps.0);
    assert_eq!(up(&mut stage), RunEnd::Done);
}

#[test]
fn a_healthy_fleet_on_proxmox_is_taken_over_as_well() {
    let mut stage = done(proxmox_trio());
    let before = stage.world.fingerprint();
    let found = stage.rebuild().expect("a rebuild");
    assert!(found.values().all(|found| !found.is_set_aside() && found.state >= State::Featured), "{found:#?}");
    let mut steps = Steps::default();
    stage.up(None, &mut steps).expect("a run");
    assert_eq!(stage.world.fingerprint(), before);
    let asking = ["run.start", "run.ready", "health.check"];
    assert!(steps.0.iter().all(|step| asking.contains(step)), "{:?}", steps.0);
}

#[test]
fn the_new_journal_is_above_every_epoch_that_was_seen() {
    let mut stage = done(trio());
    for _ in 0..3 {
        up(&mut stage);
    }
    let (last, _) = stage.journal.epochs().pop().expect("epochs");
    let seen = Epoch::new(1);
    stage.rebuild().expect("a rebuild");
    let (first, _) = *stage.journal.epochs().first().expect("an epoch");
    assert!(first > seen && last > seen, "{first}");
    let marks = stage.world.observe(&stage.world.ctids()).containers;
    assert!(marks.values().all(|seen| seen.mark.as_ref().is_some_and(|mark| mark.epoch < first)));
}

/// Names of results bear epoch and number alone: what was left of starts and health checks must not come again.
#[test]
fn epochs_that_left_no_script_are_seen_in_the_same_boot() {
    let mut stage = done(vec![with_application(spec(101))]);
    for _ in 0..2 {
        stage.world.tamper(&Tamper::Stop(ctid(101)));
        assert_eq!(up(&mut stage), RunEnd::Done);
    }
    let last = stage.journal.epochs().last().expect("an epoch").0;
    let mark = stage.world.observe(&[ctid(101)]).containers[&ctid(101)].mark.clone().expect("a mark");
    assert!(mark.epoch < last, "the mark is of the first");
    stage.rebuild().expect("a rebuild");
    let first = stage.journal.epochs().first().expect("an epoch").0;
    assert!(first >= last, "{first} follows {last}");
}

#[test]
fn notes_are_enough_where_the_results_went_with_the_journal() {
    let mut stage = done(trio());
    stage.world.lose_results();
    let starts = stage.world.starts().count();
    let found = stage.rebuild().expect("a rebuild");
    let proofs: Vec<&Proof> = found.values().flat_map(|found| found.scripts.iter().map(|(_, proof)| proof)).collect();
    assert!(proofs.iter().all(|proof| **proof == Proof::Note), "{proofs:?}");
    assert_eq!(up(&mut stage), RunEnd::Done);
    assert_eq!(stage.world.starts().count(), starts);
}

#[test]
fn every_state_of_a_bring_up_is_taken_over() {
    check_every_state(trio);
}

#[test]
fn every_state_of_a_bring_up_on_proxmox_is_taken_over_and_its_snapshots_are_released() {
    check_every_state(proxmox_trio);
}

fn check_every_state(specs: fn() -> Vec<Spec>) {
    let whole = done(specs());
    let wanted = whole.world.fingerprint();
    let points = match stage(specs(), 3).up(None, &mut Silent).expect("a run") {
        Ended::Run { points, .. } => points,
        Ended::Crashed => panic!("nobody asked for a crash"),
    };
    let (mut tried, mut came_up) = (0_u32, 0_u32);
    for point in 0..points {
        for kind in CRASHES {
            tried += 1;
            came_up += u32::from(comes_up(specs(), Crash { point, kind }, &wanted));
        }
    }
    assert!(came_up * 10 > tried * 7, "{came_up} of {tried}: more than what was cut while it was created or copied");
}

/// Cuts the first bring-up, throws the journal away, rebuilds it and goes on; whether that brought the fleet up. It may not only
/// where something half-made lies on an id, or a source is locked for a copy of which nobody knows any more.
fn comes_up(specs: Vec<Spec>, crash: Crash, wanted: &Fingerprint) -> bool {
    let what = format!("{crash:?}");
    let mut stage = stage(specs, 3);
    stage.up(Some(crash), &mut Silent).expect("a run");
    let found = rebuilt(&mut stage);
    let before = stage.world.fingerprint();
    let observed = stage.world.observe(&stage.world.ctids()).containers;
    for (ctid, found) in found.iter().filter(|(_, found)| found.is_set_aside()) {
        let half = observed.get(ctid).is_some_and(|seen| matches!(seen.presence, Presence::HalfMade(_)));
        assert!(half, "{what}: {ctid} {found:#?}");
    }
    let sound = before.containers.values().all(|container| container.sound);
    let end = up(&mut stage);
    invariant_a_success_is_never_repeated(&stage, &what);
    if !sound {
        return false;
    }
    assert_eq!(end, RunEnd::Done, "{what}: {found:#?} {:#?}", stage.account().expect("an account").lives);
    let differences = stage.world.fingerprint().differences(wanted);
    assert!(differences.is_empty(), "{what}: {differences:#?}");
    true
}

#[test]
fn a_script_that_is_still_at_work_is_waited_for() {
    let mut stage = stage(vec![spec(100)], 3);
    let at_work = |stage: &mut Stage| matches!(stage.rebuild(), Err(RebuildError::Locked { .. } | RebuildError::Alive { .. }));
    let refused = (0..200).filter(|&point| {
        let mut cut = stage.clone();
        cut.up(Some(Crash { point, kind: CrashKind::Process(Survivors::Shims) }), &mut Silent).expect("a run");
        at_work(&mut cut)
    });
    assert!(refused.count() > 0, "some cut leaves a shim at work");
    assert!(!at_work(&mut stage), "nothing is at work on an empty host");
}

#[test]
fn what_bears_no_mark_of_ours_is_foreign() {
    let check = |tamper: &dyn Fn(&Stage) -> Tamper| {
        let mut stage = done(vec![spec(100), mounted(spec(101), "media")]);
        let tamper = tamper(&stage);
        stage.world.tamper(&tamper);
        let before = stage.world.fingerprint();
        let found = stage.rebuild().expect("a rebuild");
        assert_eq!(reason(&found[&ctid(100)]), Some(QuarantineReason::Foreign), "{tamper:?}: {found:#?}");
        assert_eq!(reason(&found[&ctid(101)]), None, "{tamper:?}: {found:#?}");
        up(&mut stage);
        assert_eq!(stage.world.fingerprint(), before, "{tamper:?}");
        assert!(stage.world.damage().is_empty());
    };
    check(&|_| Tamper::Stranger(ctid(100)));
    check(&|_| Tamper::Unmark(ctid(100)));
    check(&|stage| {
        let mark = mark_of(stage, 100);
        Tamper::Mark(ctid(100), Box::new(Mark { fleet: "another".parse().expect("a name"), journal: other_journal(), ..mark }))
    });
    check(&|stage| Tamper::Mark(ctid(100), Box::new(Mark { fleet: "another".parse().expect("a name"), ..mark_of(stage, 100) })));
    check(&|stage| Tamper::Mark(ctid(100), Box::new(Mark { ctid: ctid(555), ..mark_of(stage, 100) })));
}

fn mark_of(stage: &Stage, number: u32) -> Mark {
    let seen = stage.world.observe(&[ctid(number)]).containers.remove(&ctid(number)).expect("there");
    seen.mark.expect("marked")
}

fn other_journal() -> phoenix_journal::JournalId {
    phoenix_journal::JournalId::from_bytes([7; 16])
}

#[test]
fn two_journals_in_one_fleet_are_refused() {
    let mut stage = done(vec![spec(100), spec(101)]);
    let mark = Mark { journal: other_journal(), ..mark_of(&stage, 101) };
    stage.world.tamper(&Tamper::Mark(ctid(101), Box::new(mark.clone())));
    let ours = mark_of(&stage, 100).journal;
    match stage.rebuild() {
        Err(RebuildError::TwoJournals { one, other }) => assert_eq!((one, other), ((ctid(100), ours), (ctid(101), mark.journal))),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn what_is_gone_is_declared_anew() {
    let mut stage = done(vec![spec(100), spec(101)]);
    stage.world.tamper(&Tamper::Remove(ctid(100)));
    let found = stage.rebuild().expect("a rebuild");
    assert_eq!((found[&ctid(100)].state, &found[&ctid(100)].standing), (State::Declared, &Standing::Active));
    assert_eq!(up(&mut stage), RunEnd::Done);
}

#[test]
fn a_stopped_container_is_started_and_its_scripts_are_not() {
    let mut stage = done(trio());
    let (before, starts) = (stage.world.fingerprint(), stage.world.starts().count());
    stage.world.tamper(&Tamper::Stop(ctid(102)));
    stage.rebuild().expect("a rebuild");
    assert_eq!(up(&mut stage), RunEnd::Done);
    assert_eq!(stage.world.fingerprint(), before);
    assert_eq!(stage.world.starts().count(), starts);
}

/// Two features, an application; the journal and what `lose` takes are lost.
fn with_two_features(on_interrupt: OnInterrupt) -> Spec {
    let mut two = with_application(spec(100));
    two.features.push(Feature { name: "more".parse().expect("a name"), script: script("more") });
    for feature in &mut two.features {
        feature.script.on_interrupt = on_interrupt;
    }
    if let Some(application) = &mut two.application {
        application.on_interrupt = on_interrupt;
    }
    two
}

#[test]
fn a_changed_script_is_drift() {
    let mut stage = done(vec![with_two_features(OnInterrupt::Rerun)]);
    let mut changed = with_two_features(OnInterrupt::Rerun);
    changed.features[1].script = script("mended");
    let mut other = self::stage(vec![changed], 3);
    other.world = stage.world.clone();
    let found = other.rebuild().expect("a rebuild");
    assert_eq!(reason(&found[&ctid(100)]), Some(QuarantineReason::Drift), "{found:#?}");
    let starts = stage.world.starts().count();
    up(&mut other);
    assert_eq!(other.world.starts().count(), starts);
    assert!(stage.rebuild().expect("a rebuild").values().all(|found| !found.is_set_aside()));
}

#[test]
fn a_changed_configuration_is_drift_and_says_what_differs() {
    let stage = done(vec![spec(100)]);
    let mut renamed = spec(100);
    renamed.hostname = "other".parse().expect("a host name");
    let mut other = self::stage(vec![renamed], 3);
    other.world = stage.world.clone();
    let found = other.rebuild().expect("a rebuild");
    let Standing::Quarantined(Quarantine { reason, evidence }) = &found[&ctid(100)].standing else { panic!("{found:#?}") };
    assert_eq!(*reason, QuarantineReason::Drift);
    assert!(evidence.contains("c100"), "{evidence}");
}

#[test]
fn a_script_without_a_trace_before_one_with_one_is_asked_about() {
    let mut stage = done(vec![with_two_features(OnInterrupt::Rerun)]);
    let mut more = with_two_features(OnInterrupt::Rerun);
    more.features.insert(0, Feature { name: "earlier".parse().expect("a name"), script: script("earlier") });
    let mut other = self::stage(vec![more], 3);
    other.world = stage.world.clone();
    let found = other.rebuild().expect("a rebuild");
    assert_eq!(reason(&found[&ctid(100)]), Some(QuarantineReason::Interrupted), "{found:#?}");
    let earlier = (Step::FeatureApply("earlier".parse().expect("a name")), Proof::Unknown);
    assert_eq!(found[&ctid(100)].scripts.first(), Some(&earlier));
    assert!(stage.rebuild().is_ok());
}

#[test]
fn a_script_that_was_cut_off_is_asked_about_if_the_manifest_says_so() {
    let mut asked = 0;
    for point in 0..300 {
        let mut stage = self::stage(vec![with_two_features(OnInterrupt::Ask)], 3);
        let crash = Crash { point, kind: CrashKind::Process(Survivors::Nobody) };
        if stage.up(Some(crash), &mut Silent).expect("a run") != Ended::Crashed {
            break;
        }
        let cut = stage.world.starts().any(|start| start.end == ScriptEnd::Cut);
        let found = rebuilt(&mut stage);
        if cut {
            asked += 1;
            assert_eq!(reason(&found[&ctid(100)]), Some(QuarantineReason::Interrupted), "{point}: {found:#?}");
        }
        let starts = stage.world.starts().count();
        up(&mut stage);
        assert!(!cut || stage.world.starts().count() == starts, "{point}: started without being asked for");
    }
    assert!(asked > 0, "some point cuts a script off");
}
