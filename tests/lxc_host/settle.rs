//! What the plain LXC host says of a step in doubt: a test per row of the table in `src/host/lxc/settle.rs`.
//!
//! Each row is brought about as a crash leaves it: the step carried out without an outcome, in part, or not at all. Needs
//! root, lxc and busybox; says so and passes where they are missing.

use std::os::unix::process::CommandExt;
use std::time::Duration;

use phoenix::ids::{Ctid, Step};
use phoenix::machine::{Evidence, FailureClass, StepResult, WaitKind};
use phoenix::manifest::{HealthCheck, Origin, Spec};
use phoenix::plan::{Action, CopyFrom, Effect, HoldBy};

use super::fleets::{ctid, script_of};
use super::hands::incarnation;
use super::steps::start;
use super::world::{self, World};

const CREATE: Action = Action::Create { template: None };

/// A step that was carried out, and whose outcome was lost.
#[track_caller]
fn after_a_lost_outcome(world: &World, effect: Effect) -> StepResult {
    let seq = world.next_seq();
    let report = world.carry_out(effect.clone());
    assert!(matches!(report.result, StepResult::Done(_)), "{:?}", report.result);
    world.settle_as(effect, seq)
}

#[track_caller]
fn class(result: StepResult) -> FailureClass {
    match result {
        StepResult::Failed(failure) => failure.class,
        other => panic!("{other:?}"),
    }
}

fn staging(world: &World, ctid: Ctid) -> std::path::PathBuf {
    world.path("lxc").join(format!(".phoenix-{ctid}-{}", incarnation(ctid)))
}

fn with_script(mut spec: Spec, text: &str) -> Spec {
    spec.application = Some(script_of(text));
    spec
}

#[test]
fn create_is_absent_partial_done_or_foreign() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_250));
    let settle = || world.settle(&spec, Step::DefineCreate.id(), CREATE);
    assert_eq!(settle(), StepResult::Absent);

    let staging = staging(&world, spec.ctid);
    std::fs::create_dir_all(staging.join("rootfs/bin")).expect("a directory");
    let partial = settle();
    assert!(matches!(&partial, StepResult::Partial { leftover } if *leftover == staging.display().to_string()), "{partial:?}");
    assert_eq!(world.take(&spec, Step::DefineCreate, CREATE).result, partial, "what an attempt before left is not built upon");

    let repair = || Action::Repair { leftover: staging.display().to_string() };
    assert_eq!(world.settle(&spec, Step::DefineCreate.repair(), repair()), StepResult::Absent);
    assert_eq!(world.carry_out(world.effect(&spec, Step::DefineCreate.repair(), repair())).result, StepResult::Done(Evidence::Repaired));
    assert!(!staging.exists());
    assert_eq!(world.settle(&spec, Step::DefineCreate.repair(), repair()), StepResult::Done(Evidence::Repaired));

    let effect = world.effect(&spec, Step::DefineCreate.id(), CREATE);
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Created { left_out: 1 }));

    std::fs::remove_file(world.container(spec.ctid).join("phoenix.mark")).expect("removed");
    assert!(matches!(settle(), StepResult::Foreign { .. }));
}

#[test]
fn clone_is_done_once_it_is_in_its_place() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_251));
    let mut copy = world.spec(ctid(900_252));
    copy.origin = Origin::Clone { source: source.ctid };
    world.created(&source);
    let clone = || Action::Clone { source: source.ctid, incarnation: incarnation(source.ctid), from: CopyFrom::Current };
    assert_eq!(world.settle(&copy, Step::DefineClone.id(), clone()), StepResult::Absent);
    let evidence = Evidence::Cloned { source: source.ctid, incarnation: incarnation(source.ctid), shared_mounts: 0 };
    let effect = world.effect(&copy, Step::DefineClone.id(), clone());
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(evidence));
    assert_eq!(world.settle(&source, Step::CloneRelease.id(), Action::Release), StepResult::Done(Evidence::Released));
}

#[test]
fn configure_and_autostart_are_done_if_the_file_says_so() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_254));
    world.created(&spec);
    assert!(matches!(world.settle(&spec, Step::ConfigureSet.id(), Action::Configure), StepResult::Done(Evidence::Configured { .. })));
    spec.resources.memory_mb += 1;
    assert_eq!(world.settle(&spec, Step::ConfigureSet.id(), Action::Configure), StepResult::Absent);
    let effect = world.effect(&spec, Step::ConfigureSet.id(), Action::Configure);
    assert!(matches!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Configured { .. })));

    assert_eq!(world.settle(&spec, Step::AutostartSet.id(), Action::SetAutostart), StepResult::Absent);
    let effect = world.effect(&spec, Step::AutostartSet.id(), Action::SetAutostart);
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::AutostartSet { enabled: true }));
}

#[test]
fn start_stop_and_what_rests_on_the_init() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_255));
    let name: phoenix::ids::HealthName = "ok".parse().expect("a name");
    let (command, interval, timeout) = (vec!["true".to_owned()], Duration::ZERO, Duration::from_secs(5));
    spec.health = vec![HealthCheck { name: name.clone(), command, retries: 0, interval, timeout }];
    world.created(&spec);
    assert_eq!(world.settle(&spec, Step::RunStart.id(), start(&spec)), StepResult::Absent);
    let effect = world.effect(&spec, Step::RunStart.id(), start(&spec));
    let StepResult::Done(Evidence::Started { init, .. }) = after_a_lost_outcome(&world, effect) else { panic!("not started") };
    let other = Action::Start {
        purpose: phoenix::plan::StartPurpose::Run,
        idmap: phoenix::ids::IdMap::shifted(world::HOST_ROOT, 65535).expect("a map"),
        sources: Vec::new(),
    };
    assert_eq!(world.settle(&spec, Step::RunStart.id(), other), StepResult::Absent, "taken again, it is found to be drift");

    let read = || world.settle(&spec, Step::FinalizeIdmap.id(), Action::ReadIdmap { init: init.clone() });
    assert!(matches!(read(), StepResult::Done(Evidence::Idmap { .. })));
    let ready = || world.settle(&spec, Step::RunReady.id(), Action::AwaitReady { init: init.clone() });
    assert!(matches!(ready(), StepResult::Done(Evidence::Ready { .. })));
    let hold = || world.settle(&spec, Step::CloneHold.id(), Action::Hold { init: Some(init.clone()), by: HoldBy::Stop });
    assert_eq!(hold(), StepResult::Absent);

    let ask = Action::AskHealth { init: init.clone() };
    assert_eq!(world.settle(&spec, Step::HealthCheck(name.clone()).id(), ask.clone()), StepResult::Absent);
    let effect = world.effect(&spec, Step::HealthCheck(name.clone()).id(), ask.clone());
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Healthy { asked: 1 }));

    let effect = world.effect(&spec, Step::FinalizeStop.id(), Action::Stop { init: Some(init.clone()) });
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Stopped));
    assert_eq!(hold(), StepResult::Done(Evidence::Held { by: HoldBy::Stop }));
    assert_eq!(class(read()), FailureClass::InitLost);
    assert_eq!(class(ready()), FailureClass::InitLost);
    assert_eq!(class(world.settle(&spec, Step::HealthCheck(name).id(), ask)), FailureClass::InitLost);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a stand-in for an lxc-start that hangs")]
fn a_starting_lxc_start_is_waited_for_until_the_deadline() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_256));
    world.created(&spec);
    let (path, id) = (world.path("lxc").display().to_string(), spec.ctid.to_string());
    let hanging = |seconds: &str| {
        let mut command = std::process::Command::new("/bin/sh");
        command.arg0("lxc-start").args(["-c", &format!("sleep {seconds}; :"), "-P", &path, "-n", &id]);
        let child = command.spawn().expect("started");
        // It runs before its command line can be read.
        let told = || std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
        while !told().starts_with(b"lxc-start") {
            std::thread::yield_now();
        }
        child
    };
    let mut child = hanging("0.3");
    let before = world.host.now().expect("a time").moment.boottime_ms;
    let waiter = std::thread::spawn(move || child.wait());
    assert_eq!(world.settle(&spec, Step::RunStart.id(), start(&spec)), StepResult::Absent);
    let after = world.host.now().expect("a time").moment.boottime_ms;
    assert!(after >= before + 200, "{before} to {after}");
    waiter.join().expect("joined").expect("waited for");

    let mut child = hanging("30");
    let mut late = world.effect(&spec, Step::RunStart.id(), start(&spec));
    late.intent.deadline = world.host.now().expect("a time").moment;
    let verdict = world.settle_as(late, world.next_seq());
    assert!(matches!(verdict, StepResult::Partial { .. }), "{verdict:?}");
    child.kill().expect("killed");
    child.wait().expect("waited for");
}

#[test]
fn volumes_are_done_if_directory_and_configuration_say_so() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_257));
    let mount = world.mount("media", "/srv/media");
    spec.mounts = vec![mount.clone()];
    world.created(&spec);
    let step = Step::VolumePrepare(mount.volume.name.clone()).id();
    let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    assert_eq!(world.settle(&spec, step.clone(), prepare.clone()), StepResult::Absent);
    assert!(!mount.volume.source.exists(), "a doubt changes nothing");
    std::fs::create_dir(&mount.volume.source).expect("a directory");
    assert_eq!(world.settle(&spec, step.clone(), prepare.clone()), StepResult::Absent);
    let effect = world.effect(&spec, step, prepare);
    let StepResult::Done(Evidence::Prepared(prepared)) = after_a_lost_outcome(&world, effect) else { panic!("not prepared") };
    assert_eq!(prepared.former, Some((0, 0, 0o755)), "the former owner outlives the lost outcome");

    let step = Step::VolumeAttach(mount.at.clone()).id();
    let attach = Action::Attach { mount: mount.clone(), source: prepared.source.clone(), idmap: spec.idmap.clone() };
    assert_eq!(world.settle(&spec, step.clone(), attach.clone()), StepResult::Absent);
    let effect = world.effect(&spec, step.clone(), attach.clone());
    assert!(matches!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Attached(_))));
    std::fs::rename(&mount.volume.source, world.path("srv/moved")).expect("renamed");
    std::fs::create_dir(&mount.volume.source).expect("a directory");
    assert_eq!(world.settle(&spec, step, attach), StepResult::Absent, "another directory lies there");
    let sources = vec![prepared.source];
    let run = Action::Start { purpose: phoenix::plan::StartPurpose::Run, idmap: spec.idmap.clone(), sources };
    match class(world.take(&spec, Step::RunStart, run).result) {
        FailureClass::Wait(wait) => assert_eq!(wait.kind, WaitKind::Source),
        other => panic!("{other:?}"),
    }

    let step = Step::VolumeDetach(mount.at.clone()).id();
    let detach = Action::Detach { mount };
    assert_eq!(world.settle(&spec, step.clone(), detach.clone()), StepResult::Absent);
    let effect = world.effect(&spec, step, detach);
    assert_eq!(after_a_lost_outcome(&world, effect), StepResult::Done(Evidence::Detached));
}

#[test]
fn a_script_is_what_its_result_says_or_interrupted() {
    let Some(world) = World::new() else { return };
    let spec = with_script(world.spec(ctid(900_258)), "#!/bin/sh\necho done\n");
    world.created(&spec);
    let init = world.started(&spec);
    let run = || Action::RunScript { init: init.clone() };
    assert_eq!(world.settle(&spec, Step::ApplicationRun.id(), run()), StepResult::Absent, "no shim ever began");
    let (effect, seq) = (world.effect(&spec, Step::ApplicationRun.id(), run()), world.next_seq());
    assert!(matches!(world.carry_out(effect.clone()).result, StepResult::Done(_)));
    world.stopped(&spec);
    let result = world.settle_as(effect, seq);
    assert!(matches!(result, StepResult::Done(Evidence::Ran { skipped: false, .. })), "the result outlives the init: {result:?}");
    let init = world.started(&spec);
    let failing = with_script(spec.clone(), "#!/bin/sh\nexit 7\n");
    let (effect, seq) = (world.effect(&failing, Step::ApplicationRun.id(), Action::RunScript { init }), world.next_seq());
    assert!(matches!(world.carry_out(effect.clone()).result, StepResult::Failed(_)));
    match world.settle_as(effect, seq) {
        StepResult::Failed(failure) => assert_eq!(failure.status.as_deref(), Some("exit 7")),
        other => panic!("{other:?}"),
    }
}

/// By the killer of processes that take too much memory, say.
#[test]
fn a_script_whose_shim_ends_before_it_begins_was_not_begun() {
    let Some(world) = World::new() else { return };
    let spec = with_script(world.spec(ctid(900_260)), "#!/bin/sh\necho done\n");
    world.created(&spec);
    let (init, step) = (world.started(&spec), Step::ApplicationRun.id());
    let run = || Action::RunScript { init: init.clone() };
    let hands = world.with_shim("/bin/false");
    match hands.carry_out(hands.effect(&spec, step.clone(), run())).result {
        StepResult::Failed(failure) => assert!(failure.is_of_no_start(&step) && failure.message.contains("before it began"), "{failure:?}"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(world.carry_out(world.effect(&spec, step, run())).result, StepResult::Done(_)));
}

#[test]
fn destroy_is_absent_partial_or_done() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_259));
    world.created(&spec);
    let settle = || world.settle(&spec, Step::DownDestroy.id(), Action::Destroy);
    assert_eq!(settle(), StepResult::Absent);
    let gone = world.path("lxc").join(format!(".phoenix-gone-{}-{}", spec.ctid, incarnation(spec.ctid)));
    std::fs::rename(world.container(spec.ctid), &gone).expect("renamed");
    assert!(matches!(settle(), StepResult::Partial { .. }));
    let repair = Action::Repair { leftover: gone.display().to_string() };
    assert_eq!(world.carry_out(world.effect(&spec, Step::DownDestroy.repair(), repair)).result, StepResult::Done(Evidence::Repaired));
    assert!(!gone.exists());
    assert_eq!(settle(), StepResult::Done(Evidence::Destroyed));
}
