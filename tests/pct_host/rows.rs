//! Rows of the table of doubts that need no cut-off `pct`, and a start that hangs.
//!
//! Apart from `settle`, whose rows each kill a `pct` in the middle.

use std::time::Duration;

use phoenix::ids::{Step, StepId};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::{Mount, Origin, Template};
use phoenix::plan::{Action, HoldBy, Reason, StartPurpose};

use crate::fleets::ctid;
use crate::hands::{Hands, incarnation};
use crate::settle::repaired;
use crate::world::{World, partial, vmid};

#[track_caller]
fn failed(result: &StepResult, wanted: &FailureClass) {
    assert!(matches!(result, StepResult::Failed(failure) if failure.class == *wanted), "{result:?}");
}

#[test]
fn a_start_that_hangs_past_its_deadline_is_partial_and_its_processes_are_ended() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_860));
    world.created(&spec);
    world.node.fault("start 900860 hang-after config 60s").expect("a fault");
    let action = Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
    let (seq, mut effect) = (world.next_seq(), world.effect(&spec, Step::FinalizeStart.id(), action));
    effect.intent.deadline = world.host.now().expect("a time").moment.after(Duration::from_secs(2));
    std::thread::scope(|scope| {
        let (world, carried) = (&world, effect.clone());
        let carrying = scope.spawn(move || world.carry_out(carried));
        crate::settle::wait_until(|| world.node.faults_left().is_empty());
        crate::settle::kill(&["__shim", "900860"]);
        drop(carrying.join());
    });
    let leftover = partial(world.settle_as(effect, seq));
    repaired(&world, &spec, &Step::FinalizeStart, &leftover);
    world.finalized(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn the_kernels_map_is_asked_of_the_init_that_was_started() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_861));
    world.created(&spec);
    let init = world.started(&spec);
    let found = world.settle(&spec, Step::FinalizeIdmap.id(), Action::ReadIdmap { init: init.clone() });
    assert_eq!(found, StepResult::Done(Evidence::Idmap { init: init.clone(), idmap: spec.idmap.clone() }));
    let mut other = init.clone();
    other.start_ticks += 1;
    failed(&world.settle(&spec, Step::FinalizeIdmap.id(), Action::ReadIdmap { init: other }), &FailureClass::InitLost);
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) });
}

#[test]
fn a_directory_is_prepared_once_its_owner_and_mode_are_right() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_862));
    world.created(&spec);
    let mount = world.mount("rows", "/srv/rows");
    let prepare = || Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    let step = Step::VolumePrepare(mount.volume.name.clone());
    assert_eq!(world.settle(&spec, step.clone().id(), prepare()), StepResult::Absent);
    let evidence = world.done(&spec, step.clone(), prepare());
    assert_eq!(world.settle(&spec, step.id(), prepare()), StepResult::Done(evidence));
}

#[test]
fn a_mark_that_is_gone_is_written_only_if_a_person_asked() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_863));
    world.created(&spec);
    assert_eq!(world.settle(&spec, Step::DefineMark.id(), Action::Mark), StepResult::Done(Evidence::Marked));
    let config = world.config(spec.ctid);
    let unmarked = config.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect::<String>();
    std::fs::write(world.node.root().join("etc/pve/lxc/900863.conf"), unmarked).expect("written");
    failed(&world.settle(&spec, Step::DefineMark.id(), Action::Mark), &FailureClass::MarkMissing);
    let mut effect = world.effect(&spec, Step::DefineMark.id(), Action::Mark);
    effect.intent.reason = Reason::Asked;
    assert_eq!(Hands::settle(&world, effect.clone()), StepResult::Absent);
    assert_eq!(world.carry_out(effect.clone()).result, StepResult::Done(Evidence::Marked));
    assert_eq!(Hands::settle(&world, effect), StepResult::Done(Evidence::Marked));
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn results_of_scripts_go_with_the_container_also_after_a_cut() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_864));
    world.created(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
    // What a cut between the configuration and the results leaves.
    let results = world.path("state/results/900864").join(incarnation(spec.ctid).to_string());
    std::fs::create_dir_all(&results).expect("a directory");
    let leftover = partial(world.settle(&spec, Step::DownDestroy.id(), Action::Destroy));
    repaired(&world, &spec, &Step::DownDestroy, &leftover);
    assert!(!results.exists());
    assert_eq!(world.node.conf(vmid(spec.ctid)), None);
}

#[test]
fn a_disk_that_may_grow_has_more_time_than_an_edit() {
    let mut spec = crate::fleets::spec(900_865);
    let time = |spec: &phoenix::manifest::Spec| phoenix::engine::limits::timeout(&Step::ConfigureSet.id(), spec);
    spec.resources.disk_gb = None;
    let edit = time(&spec);
    spec.resources.disk_gb = Some(8);
    assert!(time(&spec) >= 10 * edit);
}

#[test]
fn what_runs_is_killed_only_after_it_had_its_time_to_shut_down() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_867));
    world.created(&spec);
    for (step, action) in [(Step::DownStop, Action::Stop { init: None }), (Step::CloneHold, Action::Hold { init: None, by: HoldBy::Stop })]
    {
        let init = world.started(&spec);
        world.node.fault("shutdown 900867 exit 255 \"ipcc_send_rec[1] failed: Connection refused\"").expect("a fault");
        let effect = world.effect(&spec, step.id(), action);
        failed(&world.carry_out(effect.clone()).result, &FailureClass::Transient);
        let seen = world.host.observe(None, &[spec.ctid]).expect("a look").containers;
        assert_eq!(seen[&spec.ctid].init.as_ref(), Some(&init), "it goes on");
        world.node.fault("shutdown 900867 exit 255 \"container did not stop\"").expect("a fault");
        let result = world.carry_out(effect).result;
        assert!(matches!(result, StepResult::Done(_)), "{result:?}");
    }
    // Nothing is at work after the first start.
    world.started(&spec);
    world.node.fault("stop 900867 exit 255 odd").expect("a fault");
    assert_eq!(world.done(&spec, Step::FinalizeStop, Action::Stop { init: None }), Evidence::Stopped);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn a_template_that_pveam_does_not_list_is_said_with_what_to_do() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_870));
    spec.origin = Origin::Template(Template::Stored("local:vztmpl/debian-12-standard_12.0-1_amd64.tar.zst".to_owned()));
    let result = world.take(&spec, Step::TemplateFetch, Action::FetchTemplate).result;
    failed(&result, &FailureClass::Permanent);
    let StepResult::Failed(failure) = result else { return };
    for words in ["12.0-1", "pveam update", "pveam available --section system"] {
        assert!(failure.message.contains(words), "{}", failure.message);
    }
}

#[test]
fn words_beyond_ascii_come_through_to_pct() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_871));
    let template = world.path("Vorlage für alle.tar");
    std::fs::copy(world.path("busybox.tar"), &template).expect("copied");
    spec.origin = Origin::Template(Template::File(template));
    world.created(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn mount_points_of_what_is_protected_are_not_changed() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_872));
    spec.host_options.protection = true;
    world.created(&spec);
    let (mount, other) = (world.mount("kept", "/srv/kept"), world.mount("more", "/srv/more"));
    let attach = |mount: &Mount| {
        let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
        let prepared = world.done(&spec, Step::VolumePrepare(mount.volume.name.clone()), prepare);
        let Evidence::Prepared(prepared) = prepared else { panic!("not prepared") };
        Action::Attach { mount: mount.clone(), source: prepared.source, idmap: spec.idmap.clone() }
    };
    world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach(&mount));
    world.done(&spec, Step::AutostartSet, Action::SetAutostart);
    let config = world.config(spec.ctid);
    assert!(config.contains("protection: 1"), "{config}");
    // What is there already is no change.
    world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach(&mount));
    for (step, action) in [
        (Step::VolumeAttach(other.at.clone()), attach(&other)),
        (Step::VolumeDetach(mount.at.clone()), Action::Detach { mount: mount.clone() }),
    ] {
        let result = world.take(&spec, step, action).result;
        let says = |message: &str| message.contains("pct set 900872 --protection 0") && message.contains("phoenix up");
        assert!(matches!(&result, StepResult::Failed(failure) if says(&failure.message)), "{result:?}");
    }
    assert_eq!(world.config(spec.ctid), config);
}

#[test]
fn a_start_that_came_up_late_is_not_ended_by_its_repair() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_878));
    world.created(&spec);
    let init = world.started(&spec);
    let repair = || Action::Repair { leftover: "lxc-start [1] hangs without an init".to_owned() };
    for step in [Step::FinalizeStart, Step::RunStart] {
        let id = StepId { step, repair: true };
        assert_eq!(world.settle(&spec, id.clone(), repair()), StepResult::Done(Evidence::Repaired));
        let report = world.carry_out(world.effect(&spec, id, repair()));
        assert_eq!(report.result, StepResult::Done(Evidence::Repaired));
        let seen = world.host.observe(None, &[spec.ctid]).expect("a look").containers;
        assert_eq!(seen[&spec.ctid].init.as_ref(), Some(&init), "it goes on");
    }
    assert_eq!(world.started(&spec), init, "taken again, the start is found done");
    // With another map than the one wanted it does not go on.
    spec.idmap = phoenix::ids::IdMap::shifted(200_000, 65_536).expect("a map");
    let id = StepId { step: Step::RunStart, repair: true };
    assert_eq!(world.settle(&spec, id.clone(), repair()), StepResult::Absent);
    assert_eq!(world.carry_out(world.effect(&spec, id, repair())).result, StepResult::Done(Evidence::Repaired));
    assert_eq!(world.host.observe(None, &[spec.ctid]).expect("a look").containers[&spec.ctid].init, None);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// `pct stop` returns while LXC's hook, and the operator's below it, still runs below the monitor.
#[test]
fn a_monitor_is_not_killed_while_its_hook_runs() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_879));
    world.created(&spec);
    let init = world.started(&spec);
    let (hook, ran) = (world.node.root().join("usr/share/lxc/hooks/lxc-pve-poststop-hook"), world.path("ran"));
    std::fs::remove_file(&hook).expect("removed");
    std::fs::write(&hook, format!("#!/bin/sh\nsleep 13\ntouch {}\n", ran.display())).expect("written");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let pid = i32::try_from(init.pid).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    assert_eq!(world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) }), Evidence::Stopped);
    assert!(ran.exists(), "it came to its end");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn volumes_that_a_snapshot_froze_are_thawed_with_their_container() {
    let Some(world) = World::new() else { return };
    world.node.storage("ceph", phoenix_test_pct::StorageKind::Rbd).expect("a storage");
    let (program, log) = (world.node.root().join("usr/sbin/fsfreeze"), world.path("unfrozen"));
    let script = format!(
        "#!/bin/sh\necho \"$1 $(readlink $2)\" >>{}\necho 'fsfreeze: unfreeze failed: Invalid argument' >&2\nexit 1\n",
        log.display()
    );
    std::fs::write(&program, script).expect("written");
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("a mode");
    let mut spec = world.spec(ctid(900_880));
    spec.host_options.storage = Some("ceph".to_owned());
    world.created(&spec);
    // What lies on other storages is the host's own file system, and not frozen by anybody of ours.
    for (place, storage) in [("/data", "ceph"), ("/more", "thin")] {
        let slot = if storage == "ceph" { "--mp0" } else { "--mp1" };
        world.pct(&["set", "900880", slot, &format!("{storage}:1,mp={place}")]);
    }
    let init = world.started(&spec);
    world.node.fault("snapshot 900880 kill-both-after freeze").expect("a fault");
    let action = Action::Hold { init: Some(init.clone()), by: HoldBy::Snapshot };
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::CloneHold.id(), action));
    drop(world.carry_out(effect.clone()));
    let leftover = partial(world.settle_as(effect, seq));
    repaired(&world, &spec, &Step::CloneHold, &leftover);
    let unfrozen = std::fs::read_to_string(&log).expect("called");
    let lines: Vec<&str> = unfrozen.lines().collect();
    assert_eq!(lines.len(), 2, "{unfrozen}");
    assert!(lines[0].starts_with("--unfreeze /") && lines[1].ends_with("/data"), "{unfrozen}");
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) });
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn a_start_that_failed_says_where_the_reason_shows() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_881));
    world.created(&spec);
    world.node.fault("start 900881 exit 255 \"startup for container '900881' failed\"").expect("a fault");
    let result = world.take(&spec, Step::RunStart, crate::steps::start(&spec)).result;
    let says = |message: &str| message.contains("`pct start 900881 --debug 1`") && message.contains("startup for container");
    assert!(matches!(&result, StepResult::Failed(failure) if says(&failure.message)), "{result:?}");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// On Proxmox the host's root mounts, so that no directory above has to let the container through.
#[test]
fn a_directory_below_a_closed_one_is_shared() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_885));
    let (mut mount, closed) = (world.mount("media", "/srv/media"), world.path("srv/private"));
    (mount.volume.source, mount.volume.owner.uid) = (closed.join("media"), 0);
    std::fs::create_dir(&closed).expect("a directory");
    std::fs::set_permissions(&closed, std::os::unix::fs::PermissionsExt::from_mode(0o700)).expect("a mode");
    world.created(&spec);
    let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    let prepared = world.done(&spec, Step::VolumePrepare(mount.volume.name.clone()), prepare);
    let Evidence::Prepared(prepared) = prepared else { panic!("not prepared") };
    let attach = Action::Attach { mount: mount.clone(), source: prepared.source.clone(), idmap: spec.idmap.clone() };
    world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach);
    spec.mounts = vec![mount];
    let run = Action::Start { purpose: StartPurpose::Run, idmap: spec.idmap.clone(), sources: vec![prepared.source] };
    let Evidence::Started { init, .. } = world.done(&spec, Step::RunStart, run) else { panic!("not started") };
    let (result, output) = world.script(&spec, &init, "#!/bin/sh\ntouch /srv/media/x && echo written\n");
    assert!(matches!(result, StepResult::Done(_)) && output == "written\n", "{result:?}: {output}");
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) });
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn a_growth_that_cannot_be_put_right_is_said_with_what_was_tried() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_886));
    world.created(&spec);
    spec.resources.disk_gb = Some(2);
    for text in ["disk is already at specified size", "no space left"] {
        world.node.fault(&format!("resize 900886 exit 255 {text}")).expect("a fault");
    }
    let result = world.take(&spec, Step::ConfigureSet, Action::Configure).result;
    let says = |message: &str| message.contains("`pct resize 900886 rootfs +1M`") && message.ends_with("no space left");
    assert!(matches!(&result, StepResult::Failed(failure) if says(&failure.message)), "{result:?}");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}
