//! What is somebody else's though it bears our number, or our container's name: left alone, by every step and repair.
//!
//! Apart from `settle` because nothing is cut off here: others did what is found.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use phoenix::ids::{Ctid, Step, StepId};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::{Firewall, FirewallPolicy, Spec};
use phoenix::plan::{Action, CopyFrom, HoldBy, SNAPSHOT_FOR_CLONES, StartPurpose};

use crate::fleets::ctid;
use crate::settle::{clone_of, create, repaired};
use crate::world::{World, partial, vmid};

#[track_caller]
fn foreign(result: &StepResult) {
    assert!(matches!(result, StepResult::Foreign { .. }), "{result:?}");
}

#[track_caller]
fn waits(result: &StepResult) {
    assert!(matches!(result, StepResult::Failed(failure) if matches!(failure.class, FailureClass::Wait(_))), "{result:?}");
}

#[track_caller]
fn refused(result: &StepResult, why: &str) {
    let is = matches!(result, StepResult::Failed(failure) if failure.class == FailureClass::Permanent && failure.message.contains(why));
    assert!(is, "{result:?}");
}

fn repair(world: &World, spec: &Spec, step: Step, leftover: &str) -> StepResult {
    let id = StepId { step, repair: true };
    world.carry_out(world.effect(spec, id, Action::Repair { leftover: leftover.to_owned() })).result
}

fn file(world: &World, path: String, text: &str) -> PathBuf {
    let path = world.node.root().join(path);
    std::fs::create_dir_all(path.parent().expect("below the root")).expect("a directory");
    std::fs::write(&path, text).expect("written");
    path
}

fn with_firewall(mut spec: Spec) -> Spec {
    let (policy_in, policy_out) = (FirewallPolicy::Drop, FirewallPolicy::Accept);
    spec.host_options.firewall = Some(Firewall { enable: true, policy_in, policy_out, rules: Vec::new() });
    spec
}

fn set_config(world: &World, id: Ctid, text: &str) {
    file(world, format!("etc/pve/lxc/{id}.conf"), text);
}

#[test]
fn a_number_that_is_taken_elsewhere_keeps_its_disk_and_its_rules() {
    let Some(world) = World::new() else { return };
    let spec = with_firewall(world.spec(ctid(900_850)));
    world.created(&spec);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
    // On another node now, with its disk on a storage that both see.
    let disk = file(&world, "var/lib/vz/images/900850/vm-900850-disk-0.raw".to_owned(), "theirs");
    let rules = file(&world, "etc/pve/firewall/900850.fw".to_owned(), "[OPTIONS]\n");
    let guests = "{\"version\": 9, \"ids\": {\"900850\": { \"node\": \"pve2\", \"type\": \"lxc\", \"version\": 1 }}}";
    file(&world, "etc/pve/.vmlist".to_owned(), guests);
    foreign(&world.settle(&spec, Step::DownDestroy.id(), Action::Destroy));
    foreign(&world.take(&spec, Step::DownDestroy, Action::Destroy).result);
    for step in [Step::DownDestroy, Step::DefineCreate] {
        foreign(&repair(&world, &spec, step, "volumes local:900850/vm-900850-disk-0.raw"));
    }
    assert!(disk.exists() && rules.exists());
}

#[test]
fn volumes_on_storages_that_nobody_named_are_not_freed() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_851));
    world.created(&spec);
    let disk = file(&world, "var/lib/vz/btr/images/900851/vm-900851-disk-7/disk.raw".to_owned(), "theirs");
    assert_eq!(world.done(&spec, Step::DownDestroy, Action::Destroy), Evidence::Destroyed);
    assert_eq!(world.settle(&spec, Step::DownDestroy.id(), Action::Destroy), StepResult::Done(Evidence::Destroyed));
    foreign(&world.settle(&spec, Step::DefineCreate.id(), create()));
    assert!(disk.exists());
}

#[test]
fn a_volume_that_a_repair_names_is_freed_on_whatever_storage_it_was_found() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_866));
    let leftover = "volumes btr:900866/vm-900866-disk-7.raw";
    let disk = file(&world, "var/lib/vz/btr/images/900866/vm-900866-disk-7/disk.raw".to_owned(), "of a configuration that is gone");
    let id = StepId { step: Step::DownDestroy, repair: true };
    assert_eq!(world.settle(&spec, id, Action::Repair { leftover: leftover.to_owned() }), StepResult::Absent);
    assert_eq!(repair(&world, &spec, Step::DownDestroy, leftover), StepResult::Done(Evidence::Repaired));
    assert!(!disk.exists());
}

#[test]
fn who_won_the_number_keeps_what_it_made() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_852));
    world.node.fault("create 900852 exit 2 \"CT 900852 already exists on node 'vm'\"").expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    drop(world.carry_out(effect.clone()));
    set_config(&world, spec.ctid, "lock: create\n");
    foreign(&world.settle_as(effect, seq));
}

#[test]
fn a_container_that_a_restore_or_a_clone_of_others_makes_is_theirs() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_853));
    world.node.fault("create 900853 exit 2 odd").expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    drop(world.carry_out(effect.clone()));
    set_config(&world, spec.ctid, "lock: create\n");
    assert!(partial(world.settle_as(effect.clone(), seq)).contains("lock: create"), "for all that is known it is ours");
    let worker = Worker::about(spec.ctid, "vzrestore");
    waits(&world.settle_as(effect.clone(), seq));
    drop(worker);
    // A clone's first configuration is its source's, with another lock.
    set_config(&world, spec.ctid, "arch: amd64\nhostname: theirs\nlock: create\n");
    foreign(&world.settle_as(effect.clone(), seq));
    set_config(&world, spec.ctid, "lock: create\n");
    file(&world, "var/log/pve/tasks/active".to_owned(), "UPID:vm:00006557:7FFFFFFF:7FFFFFFF:vzrestore:900853:root@pam: 0\n");
    foreign(&world.settle_as(effect, seq));
}

/// A process whose title is that of a worker.
struct Worker(Child);

impl Worker {
    fn about(id: Ctid, kind: &str) -> Self {
        let title = format!("exec -a \"task UPID:vm:$(printf %08X $$):00000001:00000001:{kind}:{id}:root@pam:\" sleep 60");
        #[expect(clippy::disallowed_methods, reason = "a stand-in for a worker of Proxmox's")]
        let child = Command::new("bash").args(["-c", &title]).stdout(Stdio::null()).spawn().expect("a process");
        let named = || std::fs::read(format!("/proc/{}/cmdline", child.id())).is_ok_and(|line| line.starts_with(b"task UPID:"));
        crate::settle::wait_until(named);
        Self(child)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn nothing_is_unmounted_below_a_living_worker() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_854));
    world.node.fault("create 900854 kill-both-after mount").expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    drop(world.carry_out(effect.clone()));
    let leftover = partial(world.settle_as(effect, seq));
    let worker = Worker::about(spec.ctid, "vzmount");
    waits(&repair(&world, &spec, Step::DefineCreate, &leftover));
    assert_eq!(world.node.mounts(vmid(spec.ctid)).len(), 1);
    drop(worker);
    repaired(&world, &spec, &Step::DefineCreate, &leftover);
    world.is_clean(spec.ctid);
}

#[test]
fn a_container_is_not_done_while_a_worker_is_at_it() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_873));
    world.created(&spec);
    let worker = Worker::about(spec.ctid, "vzcreate");
    waits(&world.settle(&spec, Step::DefineCreate.id(), create()));
    drop(worker);
    assert!(matches!(world.settle(&spec, Step::DefineCreate.id(), create()), StepResult::Done(_)));
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn a_snapshot_of_others_is_waited_for_and_keeps_its_lock() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_855));
    spec.host_options.storage = Some("btr".to_owned());
    world.created(&spec);
    let hold = || Action::Hold { init: None, by: HoldBy::Snapshot };
    let config = world.config(spec.ctid);
    let ours = format!("\n[{SNAPSHOT_FOR_CLONES}]\nmemory: 128\nsnaptime: 1\n");
    let theirs = "\n[theirs]\nmemory: 128\nsnapstate: prepare\nsnaptime: 1\n";
    for (lock, sections) in [("snapshot", String::new()), ("snapshot-delete", String::new()), ("snapshot", format!("{ours}{theirs}"))] {
        set_config(&world, spec.ctid, &format!("{config}{sections}").replacen("memory:", &format!("lock: {lock}\nmemory:"), 1));
        waits(&world.settle(&spec, Step::CloneHold.id(), hold()));
        let release = world.settle(&spec, Step::CloneRelease.id(), Action::Release);
        if sections.is_empty() {
            assert_eq!(release, StepResult::Done(Evidence::Released));
        } else {
            waits(&release);
        }
        waits(&repair(&world, &spec, Step::CloneHold, "snapshot phoenix-clone is half done"));
        assert!(world.config(spec.ctid).contains(&format!("lock: {lock}")), "not ours to clear");
    }
    set_config(&world, spec.ctid, &config);
}

#[test]
fn nothing_is_thawed_below_a_living_worker() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_863));
    spec.host_options.storage = Some("btr".to_owned());
    world.created(&spec);
    let init = world.started(&spec);
    world.node.fault("snapshot 900863 kill-both-after freeze").expect("a fault");
    let action = Action::Hold { init: Some(init.clone()), by: HoldBy::Snapshot };
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::CloneHold.id(), action));
    drop(world.carry_out(effect.clone()));
    let leftover = partial(world.settle_as(effect, seq));
    let worker = Worker::about(spec.ctid, "vzsnapshot");
    waits(&repair(&world, &spec, Step::CloneHold, &leftover));
    assert!(is_frozen(init.pid) && world.config(spec.ctid).contains("lock: snapshot"));
    drop(worker);
    repaired(&world, &spec, &Step::CloneHold, &leftover);
    assert!(!is_frozen(init.pid));
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) });
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// A backup freezes what it copies, and only its lock or its worker tells that this is on purpose.
#[test]
fn what_others_keep_frozen_is_not_thawed_to_be_stopped() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_874));
    world.created(&spec);
    let init = world.started(&spec);
    let config = world.config(spec.ctid);
    let stops = || {
        [
            (Step::DownStop, Action::Stop { init: Some(init.clone()) }),
            (Step::CloneHold, Action::Hold { init: Some(init.clone()), by: HoldBy::Stop }),
            (Step::FinalizeStop, Action::Stop { init: Some(init.clone()) }),
        ]
    };
    freeze(init.pid);
    for (step, action) in stops() {
        set_config(&world, spec.ctid, &config.replacen("memory:", "lock: backup\nmemory:", 1));
        waits(&world.take(&spec, step.clone(), action.clone()).result);
        set_config(&world, spec.ctid, &config);
        let worker = Worker::about(spec.ctid, "vzdump");
        waits(&world.take(&spec, step.clone(), action).result);
        drop(worker);
        assert!(is_frozen(init.pid), "{step:?}");
    }
    let console = Worker::about(spec.ctid, "vncproxy");
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init.clone()) });
    drop(console);
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

/// Freezes the group that a process is in, in whichever hierarchy.
fn freeze(pid: u32) {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let written = groups.lines().any(|line| {
        let (controllers, path) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')).expect("three fields");
        match controllers {
            "" => std::fs::write(format!("/sys/fs/cgroup{path}/cgroup.freeze"), "1").is_ok(),
            "freezer" => std::fs::write(format!("/sys/fs/cgroup/freezer{path}/freezer.state"), "FROZEN").is_ok(),
            _ => false,
        }
    });
    assert!(written, "{groups}");
    crate::settle::wait_until(|| is_frozen(pid));
}

/// Whether the kernel says so, in whichever hierarchy.
fn is_frozen(pid: u32) -> bool {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    groups.lines().any(|line| {
        let (controllers, path) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')).expect("three fields");
        let says = |file: &str, word: &str| std::fs::read_to_string(file).is_ok_and(|text| text.trim() == word);
        says(&format!("/sys/fs/cgroup/freezer{path}/freezer.state"), "FROZEN") && controllers == "freezer"
            || says(&format!("/sys/fs/cgroup{path}/cgroup.freeze"), "1") && controllers.is_empty()
            || says(&format!("/sys/fs/cgroup/unified{path}/cgroup.freeze"), "1") && controllers.is_empty()
    })
}

#[test]
fn what_high_availability_manages_is_neither_started_nor_ended() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_856));
    world.created(&spec);
    let start = || Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
    let managed = file(&world, "etc/pve/ha/resources.cfg".to_owned(), "ct: 900856\n\tstate started\n");
    refused(&world.take(&spec, Step::FinalizeStart, start()).result, "ha-manager remove ct:900856");
    std::fs::remove_file(&managed).expect("removed");
    let init = world.started(&spec);
    file(&world, "etc/pve/ha/resources.cfg".to_owned(), "ct: 900856\n\tstate started\n");
    let stop = || Action::Stop { init: Some(init.clone()) };
    refused(&world.take(&spec, Step::DownStop, stop()).result, "high availability");
    refused(&world.take(&spec, Step::CloneHold, Action::Hold { init: Some(init.clone()), by: HoldBy::Stop }).result, "high availability");
    refused(&world.take(&spec, Step::DownDestroy, Action::Destroy).result, "high availability");
    refused(&repair(&world, &spec, Step::RunStart, "up"), "high availability");
    std::fs::remove_file(&managed).expect("removed");
    world.done(&spec, Step::DownStop, stop());
    world.done(&spec, Step::DownDestroy, Action::Destroy);
}

#[test]
fn an_edit_counts_once_the_clusters_database_is_synced() {
    let Some(world) = World::new() else { return };
    let spec = with_firewall(world.spec(ctid(900_857)));
    world.created(&spec);
    let mount = world.mount("data", "/srv/data");
    let database = world.node.root().join("var/lib/pve-cluster");
    drop(std::fs::remove_dir_all(&database));
    // What cannot be opened cannot be synced.
    let socket = std::os::unix::net::UnixListener::bind(&database).expect("a socket");
    let steps =
        || [(Step::FirewallSet, Action::SetFirewall), (Step::VolumeDetach(mount.at.clone()), Action::Detach { mount: mount.clone() })];
    let config = format!("{}mp0: /srv/x,mp=/srv/data\n", world.config(spec.ctid));
    set_config(&world, spec.ctid, &config);
    for (step, action) in steps() {
        let result = world.take(&spec, step.clone(), action).result;
        let is = matches!(&result, StepResult::Failed(failure) if failure.message.contains("durable"));
        assert!(is, "{step:?}: {result:?}");
    }
    for (step, action) in steps() {
        let result = world.settle(&spec, step.clone().id(), action);
        assert!(matches!(&result, StepResult::Failed(failure) if failure.message.contains("durable")), "{step:?}: {result:?}");
    }
    drop(socket);
    std::fs::remove_file(&database).expect("removed");
    for (step, action) in steps() {
        world.done(&spec, step, action);
    }
}

#[test]
fn a_clone_has_neither_the_boot_order_nor_the_raw_mounts_of_its_source() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_858));
    world.created(&source);
    world.done(&source, Step::AutostartSet, Action::SetAutostart);
    assert!(world.config(source.ctid).contains("startup: order=3"));
    let mut copy = world.clone_of(source.ctid, ctid(900_859));
    copy.autostart.order = None;
    world.done(&copy, Step::DefineClone, clone_of(&source, CopyFrom::Current));
    assert!(!world.config(copy.ctid).contains("startup"), "{}", world.config(copy.ctid));
    world.done(&copy, Step::DownDestroy, Action::Destroy);
    let config = world.config(source.ctid);
    set_config(&world, source.ctid, &format!("{config}lxc.mount.entry: /srv srv none bind 0 0\n"));
    refused(&world.take(&copy, Step::DefineClone, clone_of(&source, CopyFrom::Current)).result, "lxc.mount.entry");
    world.is_clean(copy.ctid);
}
