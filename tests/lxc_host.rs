//! The plain LXC host on real LXC: a container's whole life, clones, and what a look at the host shows.
//!
//! Needs root, lxc and busybox; says so and passes where they are missing.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and prints everything else")]
#![expect(clippy::print_stderr, reason = "a test that skips says so, and steps say what they cost")]

#[path = "fleets/archive.rs"]
mod archive;
#[path = "fleets/mod.rs"]
mod fleets;
#[path = "fleets/hands.rs"]
mod hands;
#[path = "fleets/recorded.rs"]
mod recorded;
#[path = "lxc_host/settle.rs"]
mod settle;
#[path = "lxc_host/steps.rs"]
mod steps;
#[path = "lxc_host/world.rs"]
mod world;

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use phoenix::ids::{IdMap, Step};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::{Origin, Ownership};
use phoenix::plan::{Action, CopyFrom, HoldBy, StartPurpose};

use archive::template;
use fleets::ctid;
use hands::mark;
use steps::start;
use world::{HOST_ROOT, World};

/// From nothing to nothing, by the steps of a whole `up` and `down`.
#[test]
fn a_container_lives_from_create_to_destroy() {
    let Some(world) = World::new() else { return };
    let id = ctid(900_200);
    let mut spec = world.spec(id);
    spec.mounts = vec![world.mount("media", "/srv/media")];
    let mount = spec.mounts[0].clone();

    assert_eq!(world.done(&spec, Step::DefineCreate, Action::Create { template: None }), Evidence::Created { left_out: 1 });
    assert_eq!(world.done(&spec, Step::DefineMark, Action::Mark), Evidence::Marked);
    let Evidence::Configured { unenforced } = world.done(&spec, Step::ConfigureSet, Action::Configure) else { panic!("not configured") };
    assert!(unenforced.contains(&"disk_gb on a directory".to_owned()), "{unenforced:?}");

    let first = Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
    let Evidence::Started { init, .. } = world.done(&spec, Step::FinalizeStart, first) else { panic!("not started") };
    let read = world.done(&spec, Step::FinalizeIdmap, Action::ReadIdmap { init: init.clone() });
    assert_eq!(read, Evidence::Idmap { init: init.clone(), idmap: spec.idmap.clone() });
    assert_eq!(world.done(&spec, Step::FinalizeStop, Action::Stop { init: Some(init) }), Evidence::Stopped);

    let name = mount.volume.name.clone();
    let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    let Evidence::Prepared(prepared) = world.done(&spec, Step::VolumePrepare(name), prepare) else { panic!("not prepared") };
    assert_eq!((prepared.host_uid, prepared.host_gid, prepared.former), (HOST_ROOT + 1000, HOST_ROOT + 1000, None));
    let source = prepared.source;
    let attach = || Action::Attach { mount: mount.clone(), source: source.clone(), idmap: spec.idmap.clone() };
    let Evidence::Attached(attached) = world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach()) else { panic!("not attached") };
    assert_eq!(attached.mechanism, "bind");
    world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach());
    let config = std::fs::read_to_string(world.container(id).join("config")).expect("a configuration");
    assert_eq!(config.matches("lxc.mount.entry").count(), 1, "{config}");

    let run = Action::Start { purpose: StartPurpose::Run, idmap: spec.idmap.clone(), sources: vec![source.clone()] };
    let Evidence::Started { init, .. } = world.done(&spec, Step::RunStart, run) else { panic!("not started") };
    let Evidence::Ready { basis, .. } = world.done(&spec, Step::RunReady, Action::AwaitReady { init: init.clone() }) else {
        panic!("not ready")
    };
    assert_eq!(basis, "init was executed (init)");

    let (result, output) = world.script(&spec, &init, "#!/bin/sh\nstat -c %u:%g:%a /srv/media; hostname; cat /etc/hostname; echo $PHOENIX_CTID $PHOENIX_HOSTNAME $PHOENIX_FLEET $HOME $container\n");
    assert!(matches!(result, StepResult::Done(Evidence::Ran { skipped: false, .. })), "{result:?}");
    assert_eq!(output, "1000:1000:750\nct900200\nct900200\n900200 ct900200 homelab /root lxc\n");
    let note = world.container(id).join("rootfs/var/lib/phoenix/application.run.json");
    assert_eq!(std::fs::metadata(note).expect("a note").uid(), HOST_ROOT);

    assert_eq!(world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) }), Evidence::Stopped);
    assert_eq!(world.done(&spec, Step::DownDestroy, Action::Destroy), Evidence::Destroyed);
    let left: Vec<_> = std::fs::read_dir(world.path("lxc")).expect("a directory").flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(left, [format!(".phoenix-{}", mark(id).journal).as_str()]);
    assert!(!world.path("state/results/900200").join(hands::incarnation(id).to_string()).exists());
}

#[test]
fn a_clone_brings_nothing_of_its_source_but_the_files() {
    let Some(world) = World::new() else { return };
    let (source, copy) = (world.spec(ctid(900_210)), world.spec(ctid(900_211)));
    let mut copy = copy;
    copy.origin = Origin::Clone { source: source.ctid };
    world.created(&source);
    world.done(&source, Step::ConfigureSet, Action::Configure);
    world.done(&source, Step::AutostartSet, Action::SetAutostart);
    let init = world.started(&source);
    let (result, _) = world.script(&source, &init, "#!/bin/sh\nmkdir -p /data; echo x >/data/file; echo id >/etc/machine-id\n");
    assert!(matches!(result, StepResult::Done(_)), "{result:?}");
    world.done(&source, Step::CloneHold, Action::Hold { init: Some(init), by: HoldBy::Stop });
    let incarnation = hands::incarnation(source.ctid);
    world.done(&copy, Step::DefineClone, Action::Clone { source: source.ctid, incarnation, from: CopyFrom::Current });
    let rootfs = world.container(copy.ctid).join("rootfs");
    assert_eq!(std::fs::metadata(rootfs.join("data/file")).expect("copied").uid(), HOST_ROOT);
    assert!(!rootfs.join("var/lib/phoenix").exists(), "the source's notes stay with the source");
    assert_eq!(std::fs::read_to_string(rootfs.join("etc/machine-id")).ok().as_deref(), Some(""));
    let config = std::fs::read_to_string(world.container(copy.ctid).join("config")).expect("a configuration");
    assert!(!config.contains("lxc.start.auto") && config.contains("ct900211"), "{config}");
    world.started(&copy);
    world.stopped(&copy);
}

#[test]
fn a_container_that_does_not_stay_up_is_a_failed_start() {
    let Some(world) = World::new() else { return };
    template(&world.path("template.tar"), &[("sbin/ends", "#!/bin/sh\nexit 3\n", 0o755)]);
    let spec = world.spec(ctid(900_220));
    world.created(&spec);
    let config = world.container(spec.ctid).join("config");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    for (init, what) in [("/sbin/ends", "ended at once"), ("/sbin/missing", "")] {
        std::fs::write(&config, format!("{text}lxc.init.cmd = {init}\n")).expect("written");
        // On a busy machine it may be seen alive before it ends; what counts is that it is seen at all.
        let seen = (0..20).map(|_| world.take(&spec, Step::RunStart, start(&spec)).result);
        match seen.into_iter().find(|result| !matches!(result, StepResult::Done(_))).expect("a start that is seen to fail") {
            StepResult::Failed(failure) => {
                assert!(failure.class == FailureClass::Transient && failure.message.contains(what), "{failure:?}");
                assert!(failure.command.is_some_and(|command| command.starts_with("lxc-start -P ")));
            }
            other => panic!("{init}: {other:?}"),
        }
    }
}

/// The kernel ends an init whose monitor dies; what is left in the way of the next start is nothing.
#[test]
fn a_container_whose_monitor_was_killed_is_down_and_starts_again() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_230));
    world.created(&spec);
    let init = world.started(&spec);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", init.pid)).expect("an init");
    let monitor: i32 = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(1)?.parse().ok()).expect("a parent");
    let pid = rustix::process::Pid::from_raw(monitor).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
    world.stopped(&spec);
    let lost = world.take(&spec, Step::RunReady, Action::AwaitReady { init: init.clone() }).result;
    assert!(matches!(&lost, StepResult::Failed(failure) if failure.class == FailureClass::InitLost), "{lost:?}");
    assert_eq!(world.host.observe(None, &[spec.ctid]).expect("a look").containers[&spec.ctid].init, None);
    assert_ne!(world.started(&spec), init);
    world.stopped(&spec);
}

#[test]
fn an_id_mapped_mount_shows_host_ids_unchanged() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_241));
    let mut mount = world.mount("mapped", "/srv/mapped");
    mount.volume.ownership = Ownership::Map;
    spec.mounts = vec![mount.clone()];
    std::os::unix::fs::chown(world.path("srv"), None, Some(HOST_ROOT)).expect("a group");
    std::fs::set_permissions(world.path("srv"), PermissionsExt::from_mode(0o710)).expect("a mode");
    world.created(&spec);
    let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    let Evidence::Prepared(prepared) = world.done(&spec, Step::VolumePrepare(mount.volume.name.clone()), prepare) else {
        panic!("not prepared")
    };
    assert_eq!((prepared.host_uid, prepared.host_gid), (1000, 1000));
    let attach = || Action::Attach { mount: mount.clone(), source: prepared.source.clone(), idmap: spec.idmap.clone() };
    let Evidence::Attached(attached) = world.done(&spec, Step::VolumeAttach(mount.at.clone()), attach()) else { panic!("not attached") };
    assert_eq!(attached.mechanism, "bind+idmap");
    let init = world.started(&spec);
    let sources = vec![prepared.source.clone()];
    let with_it = Action::Start { purpose: StartPurpose::Run, idmap: spec.idmap.clone(), sources };
    let taken_over = world.settle(&spec, Step::RunStart.id(), with_it);
    assert!(matches!(&taken_over, StepResult::Done(Evidence::Started { init: found, .. }) if *found == init), "{taken_over:?}");
    let (result, output) = world.script(&spec, &init, "#!/bin/sh\nstat -c %u:%g /srv/mapped; touch /srv/mapped/file\n");
    assert!(matches!(result, StepResult::Done(_)), "{result:?}");
    assert_eq!(output, "1000:1000\n");
    assert_eq!(std::fs::metadata(mount.volume.source.join("file")).expect("a file").uid(), 0, "why others must be kept out");
    world.stopped(&spec);
    std::fs::set_permissions(world.path("srv"), PermissionsExt::from_mode(0o700)).expect("a mode");
    let closed = world.take(&spec, Step::VolumeAttach(mount.at.clone()), attach()).result;
    assert!(matches!(&closed, StepResult::Failed(failure) if failure.message.contains("let the container's root pass")), "{closed:?}");
    std::fs::set_permissions(world.path("srv"), PermissionsExt::from_mode(0o755)).expect("a mode");
    let open = world.take(&spec, Step::VolumeAttach(mount.at.clone()), attach()).result;
    assert!(matches!(&open, StepResult::Failed(failure) if failure.message.contains("keeps other users out")), "{open:?}");
}

#[test]
fn a_privileged_container_has_the_identity_map() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_242));
    (spec.unprivileged, spec.idmap) = (false, IdMap::identity());
    world.created(&spec);
    let init = world.started(&spec);
    assert_eq!(
        world.done(&spec, Step::FinalizeIdmap, Action::ReadIdmap { init: init.clone() }),
        Evidence::Idmap { init, idmap: IdMap::identity() }
    );
    assert_eq!(
        std::fs::metadata(world.container(spec.ctid)).expect("a directory").mode() & 0o007,
        0,
        "set-user-id programs inside are out of reach"
    );
    world.stopped(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// A container that is up, and forges its own tree, leads no write of ours astray.
#[test]
fn what_a_container_forges_is_not_followed() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_243));
    world.created(&spec);
    let init = world.started(&spec);
    let outside = world.path("outside");
    std::fs::create_dir(&outside).expect("a directory");
    let forge = format!(
        "#!/bin/sh\ncd /\nmkdir -p /x\n{0} rm -rf /var /etc\n{0} ln -s {1} /var\n{0} ln -s {1} /etc\n",
        "/bin/busybox",
        outside.display()
    );
    let (result, output) = world.script(&spec, &init, &forge);
    assert!(matches!(result, StepResult::Done(_)), "a note that cannot be written is no failure: {result:?} {output}");
    assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0);
    let refused = world.take(&spec, Step::ConfigureSet, Action::Configure).result;
    assert!(matches!(refused, StepResult::Failed(_)), "{refused:?}");
    assert_eq!(std::fs::read_dir(&outside).expect("a directory").count(), 0);
    world.stopped(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
    assert!(outside.is_dir());
}
