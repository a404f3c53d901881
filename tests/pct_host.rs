//! The Proxmox host on a `pct` for tests, above real plain LXC: a container's whole life, clones, snapshots, and what each crash
//! in the middle of a step leaves.
//!
//! Needs root, lxc and busybox; says so and passes where they are missing.

#![expect(clippy::wildcard_enum_match_arm, reason = "a test names what it expects and prints everything else")]
#![expect(clippy::print_stderr, reason = "a test that skips says so, and steps say what they cost")]

#[path = "fleets/archive.rs"]
mod archive;
#[path = "pct_host/cluster.rs"]
mod cluster;
#[path = "pct_host/fleet.rs"]
mod fleet;
#[path = "fleets/mod.rs"]
mod fleets;
#[path = "fleets/hands.rs"]
mod hands;
#[path = "fleets/recorded.rs"]
mod recorded;
#[path = "pct_host/rows.rs"]
mod rows;
#[path = "pct_host/settle.rs"]
mod settle;
#[path = "lxc_host/steps.rs"]
mod steps;
#[path = "pct_host/strangers.rs"]
mod strangers;
#[path = "pct_host/world.rs"]
mod world;

use std::os::unix::fs::MetadataExt;

use phoenix::ids::Step;
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::plan::{Action, CopyFrom, HoldBy, Presence, StartPurpose};

use fleets::ctid;
use hands::{incarnation, mark};
use world::{HOST_ROOT, World};

/// From nothing to nothing, by the steps of a whole `up` and `down`.
#[test]
fn a_container_lives_from_create_to_destroy() {
    let Some(world) = World::new() else { return };
    let id = ctid(900_700);
    let mut spec = world.spec(id);
    spec.mounts = vec![world.mount("media", "/srv/media"), world.mount("data", "/srv/data")];
    spec.mounts[1].read_only = true;
    spec.host_options.tags = ["web".to_owned(), "home".to_owned()].into();
    spec.host_options.protection = true;

    assert_eq!(world.done(&spec, Step::DefineCreate, Action::Create { template: None }), Evidence::Created { left_out: 0 });
    let config = world.config(id);
    assert!(config.contains("tags: home;web\n") && config.contains("unprivileged: 1\n") && !config.contains("onboot: 1"), "{config}");
    assert_eq!(world.done(&spec, Step::DefineMark, Action::Mark), Evidence::Marked);
    let Evidence::Configured { unenforced } = world.done(&spec, Step::ConfigureSet, Action::Configure) else { panic!("not configured") };
    assert_eq!(unenforced, Vec::<String>::new());
    world.finalized(&spec);

    let mut sources = Vec::new();
    for mount in spec.mounts.clone() {
        let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
        let step = Step::VolumePrepare(mount.volume.name.clone());
        let Evidence::Prepared(prepared) = world.done(&spec, step, prepare) else { panic!("not prepared") };
        assert_eq!((prepared.host_uid, prepared.host_gid), (HOST_ROOT + 1000, HOST_ROOT + 1000));
        let attach = || Action::Attach { mount: mount.clone(), source: prepared.source.clone(), idmap: spec.idmap.clone() };
        let step = Step::VolumeAttach(mount.at.clone());
        let Evidence::Attached(attached) = world.done(&spec, step.clone(), attach()) else { panic!("not attached") };
        assert_eq!((attached.mechanism.as_str(), attached.read_only), ("bind", mount.read_only));
        world.done(&spec, step, attach());
        sources.push(prepared.source);
    }
    let config = world.config(id);
    assert!(config.contains("mp0: ") && config.contains("mp1: ") && !config.contains("mp2: "), "{config}");

    let run = Action::Start { purpose: StartPurpose::Run, idmap: spec.idmap.clone(), sources };
    let Evidence::Started { init, .. } = world.done(&spec, Step::RunStart, run) else { panic!("not started") };
    world.done(&spec, Step::RunReady, Action::AwaitReady { init: init.clone() });
    let (result, output) = world.script(
        &spec,
        &init,
        "#!/bin/sh\nstat -c %u:%g:%a /srv/media; touch /srv/data/x 2>/dev/null || echo read-only; hostname; echo $PHOENIX_CTID $container\n",
    );
    assert!(matches!(result, StepResult::Done(Evidence::Ran { skipped: false, .. })), "{result:?}");
    assert_eq!(output, "1000:1000:750\nread-only\nct900700\n900700 lxc\n");
    let (note, _) = world.script(&spec, &init, "#!/bin/sh\ntest -e /var/lib/phoenix/application.run.json\n");
    assert!(matches!(note, StepResult::Done(_)), "the script before left a note: {note:?}");
    assert_eq!(world.done(&spec, Step::AutostartSet, Action::SetAutostart), Evidence::AutostartSet { enabled: true });
    assert_eq!(world.verbs(), ["create", "start", "stop", "start"]);

    let seen = world.host.observe(Some(&mark(id).journal), &[id, ctid(900_799)]).expect("a look").containers;
    assert_eq!(seen.len(), 1);
    let seen = &seen[&id];
    assert_eq!((&seen.presence, seen.mark.as_ref(), seen.init.as_ref()), (&Presence::Whole, Some(&mark(id)), Some(&init)));
    let config = seen.config.as_ref().expect("a configuration");
    assert!(config.autostart && config.mounts.len() == 2 && config.idmap.as_ref() == Some(&spec.idmap));

    assert_eq!(world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) }), Evidence::Stopped);
    let refused = world.take(&spec, Step::DownDestroy, Action::Destroy).result;
    assert!(matches!(&refused, StepResult::Failed(failure) if failure.message.contains("--protection 0")), "{refused:?}");
    let unprotected = world.config(id).replace("protection: 1", "protection: 0");
    std::fs::write(world.node.root().join("etc/pve/lxc").join(format!("{id}.conf")), unprotected).expect("written");
    assert_eq!(world.done(&spec, Step::DownDestroy, Action::Destroy), Evidence::Destroyed);
    world.is_clean(id);
    assert!(world.path("srv/media").is_dir(), "shared directories stay");
    assert_eq!(std::fs::metadata(world.path("srv/media")).expect("there").uid(), HOST_ROOT + 1000);
    assert!(!world.path("state/results/900700").join(incarnation(id).to_string()).exists());
}

#[test]
fn a_clone_brings_nothing_of_its_source_but_the_files() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_710));
    let copy = world.clone_of(source.ctid, ctid(900_711));
    world.created(&source);
    world.done(&source, Step::AutostartSet, Action::SetAutostart);
    let init = world.started(&source);
    let (result, _) = world.script(&source, &init, "#!/bin/sh\nmkdir -p /data; echo x >/data/file\n");
    assert!(matches!(result, StepResult::Done(_)), "{result:?}");
    let clone = || Action::Clone { source: source.ctid, incarnation: incarnation(source.ctid), from: CopyFrom::Current };
    let refused = world.take(&copy, Step::DefineClone, clone()).result;
    assert!(matches!(&refused, StepResult::Failed(failure) if failure.message.contains("is up")), "{refused:?}");
    let by = HoldBy::Stop;
    assert_eq!(world.done(&source, Step::CloneHold, Action::Hold { init: Some(init), by }), Evidence::Held { by });
    world.node.forget_calls().expect("forgotten");
    let evidence = world.done(&copy, Step::DefineClone, clone());
    assert_eq!(evidence, Evidence::Cloned { source: source.ctid, incarnation: incarnation(source.ctid), shared_mounts: 0 });
    assert_eq!(world.done(&source, Step::CloneRelease, Action::Release), Evidence::Released);
    world.done(&copy, Step::DefineMark, Action::Mark);
    world.done(&copy, Step::ConfigureSet, Action::Configure);
    assert_eq!(world.verbs(), ["clone", "set"]);
    let config = world.config(copy.ctid);
    assert!(config.contains("hostname: ct900711\n") && config.contains("onboot: 0\n"), "{config}");
    let init = world.started(&copy);
    let (_, output) = world.script(&copy, &init, "#!/bin/sh\ncat /data/file\n");
    assert_eq!(output, "x\n");
    world.stopped(&copy);
}

#[test]
fn a_source_that_goes_on_running_is_copied_from_a_snapshot() {
    let Some(world) = World::new() else { return };
    let mut source = world.spec(ctid(900_715));
    source.host_options.storage = Some("btr".to_owned());
    let copy = world.clone_of(source.ctid, ctid(900_716));
    world.created(&source);
    let init = world.started(&source);
    let seen = world.host.observe(None, &[source.ctid]).expect("a look").containers;
    assert!(seen[&source.ctid].copies_live);
    let by = HoldBy::Snapshot;
    world.node.forget_calls().expect("forgotten");
    assert_eq!(world.done(&source, Step::CloneHold, Action::Hold { init: Some(init.clone()), by }), Evidence::Held { by });
    let clone = Action::Clone { source: source.ctid, incarnation: incarnation(source.ctid), from: CopyFrom::Snapshot };
    world.done(&copy, Step::DefineClone, clone);
    assert_eq!(world.done(&source, Step::CloneRelease, Action::Release), Evidence::Released);
    assert!(!world.config(source.ctid).contains("phoenix-clone"));
    let seen = world.host.observe(None, &[source.ctid, copy.ctid]).expect("a look").containers;
    assert_eq!(seen[&source.ctid].init, Some(init), "it went on");
    assert_eq!(seen[&copy.ctid].mark, Some(mark(copy.ctid)));
    assert_eq!(world.verbs().iter().filter(|verb| verb.contains("snapshot")).count(), 2);
}

#[test]
fn nothing_is_done_to_what_does_not_bear_our_mark() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_720));
    let stop = || world.take(&spec, Step::DownStop, Action::Stop { init: None }).result;
    assert_eq!(stop(), StepResult::Gone);
    world.created(&spec);
    let file = world.node.root().join("etc/pve/lxc/900720.conf");
    let ours = std::fs::read_to_string(&file).expect("a configuration");
    let class = |result: StepResult| match result {
        StepResult::Failed(failure) => failure.class,
        other => panic!("{other:?}"),
    };
    std::fs::write(&file, ours.replace("0102", "ffff")).expect("written");
    world.node.forget_calls().expect("forgotten");
    assert!(matches!(stop(), StepResult::Foreign { .. }));
    assert!(matches!(world.take(&spec, Step::DownDestroy, Action::Destroy).result, StepResult::Foreign { .. }));
    assert!(matches!(world.take(&spec, Step::DefineCreate, Action::Create { template: None }).result, StepResult::Foreign { .. }));
    std::fs::write(&file, ours.replace("\"ctid\"%3A900720", "\"ctid\"%3A900721")).expect("written");
    assert_eq!(class(stop()), FailureClass::MarkMissing);
    let unmarked: String = ours.lines().filter(|line| !line.starts_with('#')).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(&file, &unmarked).expect("written");
    assert_eq!(class(world.take(&spec, Step::ConfigureSet, Action::Configure).result), FailureClass::MarkMissing);
    assert_eq!(world.verbs(), Vec::<String>::new(), "no pct was called");
    let mut remark = world.effect(&spec, Step::DefineMark.id(), Action::Mark);
    remark.intent.reason = phoenix::plan::Reason::Asked;
    assert!(matches!(world.carry_out(remark).result, StepResult::Done(Evidence::Marked)));
    assert_eq!(world.done(&spec, Step::DefineMark, Action::Mark), Evidence::Marked);
}
