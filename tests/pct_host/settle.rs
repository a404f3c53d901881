//! The table of docs/proxmox-doubts.md, row by row: `pct` is killed in the middle of a step, what it left is looked at, put right
//! where it has to be, and the step is taken again.

use std::collections::BTreeSet;
use std::time::Duration;

use phoenix::ids::{Step, StepId};
use phoenix::machine::{Evidence, FailureClass, StepResult};
use phoenix::manifest::Spec;
use phoenix::plan::{Action, CopyFrom, HoldBy, StartPurpose};

use crate::fleets::ctid;
use crate::hands::{Hands, incarnation};
use crate::world::{World, partial, vmid};

/// What a look has to say of a step that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Absent,
    Partial,
    Done,
}

pub(crate) fn create() -> Action {
    Action::Create { template: None }
}

pub(crate) fn clone_of(source: &Spec, from: CopyFrom) -> Action {
    Action::Clone { source: source.ctid, incarnation: incarnation(source.ctid), from }
}

/// Cuts one step off with a fault, asks what became of it, and goes on as the engine would.
#[track_caller]
fn check(world: &World, spec: &Spec, step: Step, action: impl Fn() -> Action, fault: &str, row: Row) {
    world.node.fault(fault).expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(spec, step.clone().id(), action()));
    drop(world.carry_out(effect.clone()));
    assert_eq!(world.node.faults_left(), Vec::<String>::new(), "{fault}: met");
    let verdict = world.settle_as(effect, seq);
    match (row, &verdict) {
        (Row::Absent, StepResult::Absent) | (Row::Partial, StepResult::Partial { .. }) | (Row::Done, StepResult::Done(_)) => {}
        _ => panic!("{fault}: {row:?} was expected, not {verdict:?}"),
    }
    if let StepResult::Partial { leftover } = verdict {
        repaired(world, spec, &step, &leftover);
    }
    if row != Row::Done {
        world.done(spec, step, action());
    }
}

/// Puts right what was left, and is asked twice.
#[track_caller]
pub(crate) fn repaired(world: &World, spec: &Spec, step: &Step, leftover: &str) {
    let repair = || Action::Repair { leftover: leftover.to_owned() };
    let id = StepId { step: step.clone(), repair: true };
    let asked = Hands::settle(world, world.effect(spec, id.clone(), repair()));
    assert_eq!(asked, StepResult::Absent, "{leftover}");
    let report = world.carry_out(world.effect(spec, id.clone(), repair()));
    assert_eq!(report.result, StepResult::Done(Evidence::Repaired), "{leftover}");
    assert_eq!(Hands::settle(world, world.effect(spec, id, repair())), StepResult::Done(Evidence::Repaired));
}

#[test]
fn a_create_that_was_killed_leaves_nothing_behind_or_is_done() {
    let Some(world) = World::new() else { return };
    for (place, (piece, row)) in (900_730..).zip([
        ("begin", Row::Partial),
        ("locked", Row::Partial),
        ("volume", Row::Partial),
        ("mount", Row::Partial),
        ("unpack", Row::Partial),
        ("write", Row::Partial),
        ("unmount", Row::Done),
        ("end", Row::Done),
    ]) {
        let spec = world.spec(ctid(place));
        check(&world, &spec, Step::DefineCreate, create, &format!("create {place} kill-both-after {piece}"), row);
        assert_eq!(world.volumes(spec.ctid).len(), 1, "{piece}: one volume, no leftover");
        world.done(&spec, Step::DownDestroy, Action::Destroy);
        world.is_clean(spec.ctid);
    }
}

#[test]
fn a_create_that_was_asked_to_end_leaves_nothing() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_740));
    world.node.fault("create 900740 hang-after mount 30s").expect("a fault");
    let mut effect = world.effect(&spec, Step::DefineCreate.id(), create());
    effect.intent.deadline = world.host.now().expect("a time").moment.after(Duration::from_millis(800));
    let report = world.carry_out(effect);
    assert!(matches!(&report.result, StepResult::Failed(failure) if failure.class == FailureClass::Timeout), "{report:?}");
    world.is_clean(spec.ctid);
}

#[test]
fn what_others_left_at_the_number_is_foreign() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_741));
    let config = world.node.root().join("etc/pve/lxc/900741.conf");
    let foreign = |result: StepResult| assert!(matches!(result, StepResult::Foreign { .. }), "{result:?}");
    let both = || {
        foreign(world.settle(&spec, Step::DefineCreate.id(), create()));
        foreign(world.take(&spec, Step::DefineCreate, create()).result);
    };
    // A create of somebody else's, killed or at work.
    std::fs::write(&config, "lock: create\n").expect("written");
    both();
    std::fs::write(&config, "arch: amd64\nhostname: other\nrootfs: local:900741/x.raw,size=1G\n").expect("written");
    both();
    std::fs::remove_file(&config).expect("removed");
    // A volume that no configuration names.
    let volume = world.node.root().join("var/lib/vz/images/900741/vm-900741-disk-0.raw");
    std::fs::create_dir_all(&volume).expect("a directory");
    both();
    assert!(volume.exists());
    std::fs::remove_dir_all(&volume).expect("removed");
    // A virtual machine.
    let vm = world.node.root().join("etc/pve/nodes/vm/qemu-server/900741.conf");
    std::fs::write(&vm, "memory: 512\n").expect("written");
    std::fs::write(
        world.node.root().join("etc/pve/.vmlist"),
        "{\"version\": 9, \"ids\": {\"900741\": { \"node\": \"vm\", \"type\": \"qemu\", \"version\": 1 }}}",
    )
    .expect("written");
    both();
}

#[test]
fn a_create_that_a_host_crash_cut_off_is_known_by_its_task() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_742));
    world.node.fault("create 900742 kill-both-after volume").expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    drop(world.carry_out(effect.clone()));
    let other = world.after_a_host_crash();
    let leftover = partial(other.settle_as(effect.clone(), seq));
    assert!(leftover.contains("volumes local:900742/"), "{leftover}");
    // Another's task of the kind came after it: then this is another's.
    let tasks = world.node.root().join("var/log/pve/tasks/active");
    let later = std::fs::read_to_string(&tasks).expect("tasks");
    let last = later.lines().last().expect("a task");
    let mut fields: Vec<String> = last.split(':').map(str::to_owned).collect();
    fields[3] = "7FFFFFFF".to_owned();
    fields[4] = "7FFFFFFF".to_owned();
    std::fs::write(&tasks, format!("{later}{}\n", fields.join(":"))).expect("written");
    let result = other.settle_as(effect, seq);
    assert!(matches!(result, StepResult::Foreign { .. }), "{result:?}");
}

/// Its configuration may have come to the disk before its files did.
#[test]
fn a_container_made_before_the_host_went_down_is_made_again_unless_it_is_known_to_be_synced() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_728));
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    assert!(matches!(world.carry_out(effect.clone()).result, StepResult::Done(_)));
    assert!(matches!(world.settle_as(effect.clone(), seq), StepResult::Done(_)), "in the same boot");
    let other = world.after_a_host_crash();
    let leftover = partial(other.settle_as(effect.clone(), seq));
    let repair = || other.effect(&spec, Step::DefineCreate.repair(), Action::Repair { leftover: leftover.clone() });
    assert_eq!(Hands::settle(&other, repair()), StepResult::Absent);
    assert_eq!(other.carry_out(repair()).result, StepResult::Done(Evidence::Repaired));
    assert_eq!(Hands::settle(&other, repair()), StepResult::Done(Evidence::Repaired));
    world.is_clean(spec.ctid);
    assert_eq!(other.settle_as(effect, seq), StepResult::Absent);
}

#[test]
fn a_half_made_container_that_changed_since_it_was_found_is_left_alone() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_743));
    world.node.fault("create 900743 kill-both-after locked").expect("a fault");
    let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DefineCreate.id(), create()));
    drop(world.carry_out(effect.clone()));
    let leftover = partial(world.settle_as(effect, seq));
    std::fs::write(world.node.root().join("etc/pve/lxc/900743.conf"), "lock: create\nmemory: 16\n").expect("written");
    let repair = StepId { step: Step::DefineCreate, repair: true };
    let result = world.carry_out(world.effect(&spec, repair, Action::Repair { leftover })).result;
    assert!(matches!(result, StepResult::Foreign { .. }), "{result:?}");
    assert!(world.node.conf(vmid(spec.ctid)).is_some());
}

#[test]
fn a_clone_that_was_killed_leaves_neither_target_nor_locks() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_750));
    world.created(&source);
    // A whole clone starts at boot as its source does, until it is set right.
    world.done(&source, Step::AutostartSet, Action::SetAutostart);
    for (place, (piece, row)) in (900_751..).zip([
        ("locks", Row::Partial),
        ("volume", Row::Partial),
        ("config", Row::Partial),
        ("unlocked", Row::Partial),
        ("end", Row::Done),
    ]) {
        let copy = world.clone_of(source.ctid, ctid(place));
        let fault = format!("clone {} kill-both-after {piece}", source.ctid);
        check(&world, &copy, Step::DefineClone, || clone_of(&source, CopyFrom::Current), &fault, row);
        assert!(!world.config(source.ctid).contains("lock:"), "{piece}: the source is not locked");
        assert_eq!(world.volumes(copy.ctid).len(), 1, "{piece}");
        assert!(world.config(copy.ctid).contains("onboot: 0"), "{piece}");
        world.done(&copy, Step::DownDestroy, Action::Destroy);
        world.is_clean(copy.ctid);
    }
    let copy = world.clone_of(source.ctid, ctid(900_756));
    check(&world, &copy, Step::DefineClone, || clone_of(&source, CopyFrom::Current), "set 900756 kill-after locked", Row::Absent);
}

#[test]
fn a_source_that_others_have_locked_is_waited_for() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_757));
    let copy = world.clone_of(source.ctid, ctid(900_758));
    world.created(&source);
    let file = world.node.root().join("etc/pve/lxc/900757.conf");
    std::fs::write(&file, world.config(source.ctid).replace("memory:", "lock: disk\nmemory:")).expect("written");
    assert_eq!(world.settle(&copy, Step::DefineClone.id(), clone_of(&source, CopyFrom::Current)), StepResult::Absent);
    let result = world.take(&copy, Step::DefineClone, clone_of(&source, CopyFrom::Current)).result;
    let names_it = |failure: &phoenix::machine::Failure| {
        matches!(&failure.class, FailureClass::Wait(wait) if wait.name.contains("900757")) && failure.message.contains("pct unlock 900757")
    };
    assert!(matches!(&result, StepResult::Failed(failure) if names_it(failure)), "the source is named: {result:?}");
    assert!(world.config(source.ctid).contains("lock: disk"), "not ours to clear");
}

/// A clone of somebody else's begins between our look at the source and our own `pct`.
#[test]
fn a_lock_that_our_clone_was_refused_for_is_not_ours() {
    let Some(world) = World::new() else { return };
    let source = world.spec(ctid(900_868));
    let copy = world.clone_of(source.ctid, ctid(900_869));
    world.created(&source);
    world.node.fault("clone 900868 hang 1s").expect("a fault");
    let clone = || clone_of(&source, CopyFrom::Current);
    let (seq, effect) = (world.next_seq(), world.effect(&copy, Step::DefineClone.id(), clone()));
    let result = std::thread::scope(|scope| {
        let (world, carried) = (&world, effect.clone());
        let carrying = scope.spawn(move || world.carry_out(carried).result);
        wait_until(|| world.node.faults_left().is_empty());
        let locked = world.config(source.ctid).replace("memory:", "lock: disk\nmemory:");
        std::fs::write(world.node.root().join("etc/pve/lxc/900868.conf"), locked).expect("written");
        carrying.join().expect("carried out")
    });
    let waits = |failure: &phoenix::machine::Failure| matches!(&failure.class, FailureClass::Wait(_));
    assert!(matches!(&result, StepResult::Failed(failure) if waits(failure)), "{result:?}");
    assert_eq!(world.settle_as(effect, seq), StepResult::Absent);
    assert!(world.config(source.ctid).contains("lock: disk"), "not ours to clear");
}

#[test]
fn a_snapshot_that_was_killed_leaves_neither_lock_nor_frozen_container() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_760));
    spec.host_options.storage = Some("btr".to_owned());
    world.created(&spec);
    let init = world.started(&spec);
    let hold = || Action::Hold { init: Some(init.clone()), by: HoldBy::Snapshot };
    for (piece, row) in
        [("prepare", Row::Partial), ("freeze", Row::Partial), ("volume", Row::Partial), ("thaw", Row::Partial), ("end", Row::Done)]
    {
        check(&world, &spec, Step::CloneHold, hold, &format!("snapshot 900760 kill-both-after {piece}"), row);
        let (result, _) = world.script(&spec, &init, &format!("#!/bin/sh\ntrue {piece}\n"));
        assert!(matches!(result, StepResult::Done(_)), "{piece}: it is not frozen: {result:?}");
        for (piece, row) in
            [("prepare", Row::Partial), ("volume", Row::Partial), ("end", Row::Done)].into_iter().take(if piece == "end" { 3 } else { 0 })
        {
            check(&world, &spec, Step::CloneRelease, || Action::Release, &format!("delsnapshot 900760 kill-both-after {piece}"), row);
            if piece != "end" {
                world.done(&spec, Step::CloneHold, hold());
            }
        }
        world.done(&spec, Step::CloneRelease, Action::Release);
        assert!(!world.config(spec.ctid).contains("lock:") && !world.config(spec.ctid).contains("[phoenix-clone]"), "{piece}");
    }
    world.done(&spec, Step::DownStop, Action::Stop { init: Some(init) });
    check(&world, &spec, Step::SnapshotTake, || Action::TakeSnapshot, "snapshot 900760 kill-both-after prepare", Row::Partial);
    assert!(world.config(spec.ctid).contains("[before-volumes]"));
}

#[test]
fn a_set_that_was_killed_is_absent_or_done() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_765));
    world.created(&spec);
    spec.resources.memory_mb = 256;
    check(&world, &spec, Step::ConfigureSet, || Action::Configure, "set 900765 kill-after locked", Row::Absent);
    spec.resources.memory_mb = 512;
    check(&world, &spec, Step::ConfigureSet, || Action::Configure, "set 900765 kill-after write", Row::Done);
    spec.resources.disk_gb = Some(2);
    check(&world, &spec, Step::ConfigureSet, || Action::Configure, "resize 900765 kill-both-after begin", Row::Absent);
    let grown = || world.config(spec.ctid).lines().find_map(|line| Some(line.strip_prefix("rootfs: ")?.to_owned())).expect("a disk");
    let of_file_system = || {
        let volume = grown().split(',').next().expect("a volume").replace('/', "_");
        std::fs::read_to_string(world.node.root().join("test/grown").join(volume)).expect("it has grown")
    };
    assert!(grown().ends_with("size=2G"), "{}", grown());
    // The volume has grown, the configuration does not say so, and `pct resize` to the same size is refused.
    spec.resources.disk_gb = Some(3);
    check(&world, &spec, Step::ConfigureSet, || Action::Configure, "resize 900765 kill-both-after volume", Row::Absent);
    assert!(grown().ends_with("size=3073M"), "{}", grown());
    assert_eq!(of_file_system(), (3073_u64 << 20).to_string());
    // The same, if it has grown further than to what is wanted.
    world.pct(&["resize", "900765", "rootfs", "5G"]);
    let file = world.node.root().join("etc/pve/lxc/900765.conf");
    std::fs::write(&file, world.config(spec.ctid).replace("size=5G", "size=3G")).expect("written");
    spec.resources.disk_gb = Some(4);
    world.done(&spec, Step::ConfigureSet, Action::Configure);
    assert!(grown().ends_with("size=5121M"), "{}", grown());
    assert_eq!(of_file_system(), (5121_u64 << 20).to_string());
    spec.resources.disk_gb = Some(6);
    check(&world, &spec, Step::ConfigureSet, || Action::Configure, "resize 900765 kill-both-after written", Row::Done);
}

#[test]
fn autostart_counts_once_it_is_in_force_and_stays_so() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_762));
    world.created(&spec);
    world.started(&spec);
    let file = world.node.root().join("etc/pve/lxc/900762.conf");
    // What a process that was killed in the middle of it leaves.
    let draft = world.node.root().join("etc/pve/lxc/900762.conf.tmp.4194305");
    std::fs::write(&draft, world.config(spec.ctid)).expect("written");
    let settle = |spec: &Spec| world.settle_as(world.effect(spec, Step::AutostartSet.id(), Action::SetAutostart), world.next_seq());
    let set = |spec: &Spec| {
        world.node.forget_calls().expect("forgotten");
        assert_eq!(settle(spec), StepResult::Absent, "{}", world.config(spec.ctid));
        world.done(spec, Step::AutostartSet, Action::SetAutostart);
        assert!(matches!(settle(spec), StepResult::Done(_)));
        world.verbs()
    };
    spec.autostart.down_timeout_s = Some(20);
    spec.host_options.protection = true;
    let before = world.config(spec.ctid);
    assert_eq!(set(&spec), Vec::<String>::new(), "a line of a file takes no `pct`");
    assert!(!draft.exists());
    let lines = ["onboot: 1", "protection: 1", "startup: order=3,down=20"];
    let after = world.config(spec.ctid);
    let others = |line: &str| !line.starts_with("onboot") && !line.starts_with("startup");
    let expected: BTreeSet<&str> = before.lines().filter(|line| others(line)).chain(lines).collect();
    assert_eq!(after.lines().collect::<BTreeSet<_>>(), expected, "and nothing else changed");
    // What is pending is not what the node reads when it boots, and at the next start it would replace what is.
    for (main, pending) in [("0", "onboot: 1"), ("1", "onboot: 0"), ("1", "delete: onboot")] {
        let text = after.replace("onboot: 1", &format!("onboot: {main}"));
        std::fs::write(&file, format!("{text}\n[pve:pending]\n{pending}\n")).expect("written");
        set(&spec);
        assert_eq!(world.config(spec.ctid), after, "{main} {pending}");
    }
    // Off again, on a container that others hold.
    spec.autostart.enabled = false;
    std::fs::write(&file, format!("{after}lock: backup\n")).expect("written");
    let result = world.carry_out(world.effect(&spec, Step::AutostartSet.id(), Action::SetAutostart)).result;
    assert!(matches!(&result, StepResult::Failed(failure) if matches!(failure.class, FailureClass::Wait(_))), "{result:?}");
    std::fs::write(&file, after.as_str()).expect("written");
    set(&spec);
    assert!(world.config(spec.ctid).contains("\nonboot: 0\n"));
}

#[test]
fn what_a_killed_pct_was_writing_goes_and_what_another_is_writing_stays() {
    let Some(world) = World::new() else { return };
    let (mut spec, stranger) = (world.spec(ctid(900_766)), 900_767);
    world.created(&spec);
    let directory = world.node.root().join("etc/pve/lxc");
    // Larger than any process's number (`PID_MAX_LIMIT` of the kernel).
    let ended = 4_194_305;
    let draft = |id: u32, pid: u32| directory.join(format!("{id}.conf.tmp.{pid}"));
    let (left, living, of_another) = (draft(900_766, ended), draft(900_766, std::process::id()), draft(stranger, ended));
    for path in [&left, &living, &of_another] {
        std::fs::write(path, "memory: 1\n").expect("written");
    }
    spec.resources.memory_mb = 256;
    world.done(&spec, Step::ConfigureSet, Action::Configure);
    assert_eq!([&left, &living, &of_another].map(|path| path.exists()), [false, true, true]);
    // Of a source that was to be copied: the start after that is the last that is done to it.
    std::fs::write(&left, "").expect("written");
    world.started(&spec);
    assert!(!left.exists());
    world.done(&spec, Step::DownStop, Action::Stop { init: None });
    // Of a container that is gone, by the mark in the file itself.
    std::fs::write(&left, world.config(spec.ctid)).expect("written");
    std::fs::remove_file(&living).expect("removed");
    world.done(&spec, Step::DownDestroy, Action::Destroy);
    assert!(!left.exists());
    std::fs::remove_file(of_another).expect("removed");
}

#[test]
fn a_start_or_stop_that_was_killed_is_absent_or_done() {
    let Some(world) = World::new() else { return };
    let spec = world.spec(ctid(900_770));
    world.created(&spec);
    let start = || Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
    let stop = || Action::Stop { init: None };
    check(&world, &spec, Step::FinalizeStart, start, "start 900770 kill-both-after config", Row::Absent);
    check(&world, &spec, Step::FinalizeStop, stop, "stop 900770 kill-both-after locked", Row::Done);
    check(&world, &spec, Step::FinalizeStart, start, "start 900770 kill-both-after started", Row::Done);
    check(&world, &spec, Step::FinalizeStop, stop, "stop 900770 kill-both-after stopped", Row::Done);
    world.started(&spec);
    check(&world, &spec, Step::DownStop, stop, "shutdown 900770 kill-both-after locked", Row::Absent);
    check(&world, &spec, Step::FinalizeStart, start, "start 900770 exit0-but-not-started", Row::Absent);
}

#[test]
fn a_destroy_that_was_killed_is_taken_again_or_finished() {
    let Some(world) = World::new() else { return };
    for (place, (piece, row)) in
        (900_780..).zip([("locked", Row::Absent), ("volumes", Row::Absent), ("destroyed", Row::Partial), ("end", Row::Done)])
    {
        let spec = world.spec(ctid(place));
        world.created(&spec);
        let (seq, effect) = (world.next_seq(), world.effect(&spec, Step::DownDestroy.id(), Action::Destroy));
        world.node.fault(&format!("destroy {place} kill-both-after {piece}")).expect("a fault");
        drop(world.carry_out(effect.clone()));
        let verdict = world.settle_as(effect, seq);
        match (row, &verdict) {
            (Row::Absent, StepResult::Absent) => {
                world.done(&spec, Step::DownDestroy, Action::Destroy);
            }
            (Row::Partial, StepResult::Partial { leftover }) => repaired(&world, &spec, &Step::DownDestroy, leftover),
            (Row::Done, StepResult::Done(Evidence::Destroyed)) => {}
            _ => panic!("{piece}: {row:?} was expected, not {verdict:?}"),
        }
        world.is_clean(spec.ctid);
    }
}

#[test]
fn locks_of_others_are_waited_for_and_their_holder_is_named() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_790));
    world.created(&spec);
    let waits = |result: StepResult| match result {
        StepResult::Failed(failure) => match failure.class {
            FailureClass::Wait(wait) => wait.name,
            other => panic!("{other:?}: {}", failure.message),
        },
        other => panic!("{other:?}"),
    };
    let first = || Action::Start { purpose: StartPurpose::Finalize, idmap: spec.idmap.clone(), sources: Vec::new() };
    world.node.fault("start 900790 locked backup").expect("a fault");
    assert!(waits(world.take(&spec, Step::FinalizeStart, first()).result).contains("backup"));
    world.node.fault("start 900790 lock-timeout").expect("a fault");
    assert!(waits(world.take(&spec, Step::FinalizeStart, first()).result).contains("pve-config-900790.lock"));
    let file = world.node.root().join("etc/pve/lxc/900790.conf");
    let unlocked = world.config(spec.ctid);
    std::fs::write(&file, unlocked.replace("memory:", "lock: backup\nmemory:")).expect("written");
    spec.resources.memory_mb = 512;
    assert!(waits(world.take(&spec, Step::ConfigureSet, Action::Configure).result).contains("backup"));
    assert!(waits(world.take(&spec, Step::DownDestroy, Action::Destroy).result).contains("backup"));
    std::fs::write(&file, unlocked).expect("written");
    world.done(&spec, Step::ConfigureSet, Action::Configure);
}

/// Phoenix, the shim and `pct` itself are killed; the worker, in a session of its own, goes on.
fn cut_off_with_a_living_worker(world: &World, spec: &Spec, fault: &str, deadline: Duration) -> StepResult {
    world.node.fault(fault).expect("a fault");
    let (seq, mut effect) = (world.next_seq(), world.effect(spec, Step::DefineCreate.id(), create()));
    effect.intent.deadline = world.host.now().expect("a time").moment.after(deadline);
    std::thread::scope(|scope| {
        let carried = effect.clone();
        let carrying = scope.spawn(move || world.carry_out(carried));
        wait_until(|| !world.volumes(spec.ctid).is_empty());
        let pct = world.node.program("pct");
        kill(&["__shim", &spec.ctid.to_string()]);
        kill(&[&pct.display().to_string(), "create", &spec.ctid.to_string()]);
        drop(carrying.join());
    });
    world.settle_as(effect, seq)
}

/// Kills the processes whose command lines hold these words one after the other.
pub(crate) fn kill(words: &[&str]) {
    let wanted = words.join("\0");
    for entry in std::fs::read_dir("/proc").expect("processes").flatten() {
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid.filter(|_| String::from_utf8_lossy(&command).contains(&wanted)) {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).expect("killed");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test waits for what another thread does")]
pub(crate) fn wait_until(condition: impl Fn() -> bool) {
    for _ in 0..2000 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come");
}

#[test]
fn a_worker_that_outlives_its_shim_is_waited_for_and_after_the_deadline_asked_to_end() {
    let Some(world) = World::new() else { return };
    // It goes on until it next says something, finds nobody who listens, and dies.
    let spec = world.spec(ctid(900_795));
    let verdict = cut_off_with_a_living_worker(&world, &spec, "create 900795 hang-after volume 2s", Duration::from_secs(60));
    repaired(&world, &spec, &Step::DefineCreate, &partial(verdict));
    world.is_clean(spec.ctid);
    let spec = world.spec(ctid(900_796));
    let verdict = cut_off_with_a_living_worker(&world, &spec, "create 900796 hang-after volume 60s", Duration::from_secs(2));
    assert_eq!(verdict, StepResult::Absent, "asked to end, it cleaned up");
    world.is_clean(spec.ctid);
}

#[test]
fn what_is_edited_in_process_is_absent_or_done() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_797));
    spec.host_options.firewall = Some(phoenix::manifest::Firewall {
        enable: true,
        policy_in: phoenix::manifest::FirewallPolicy::Drop,
        policy_out: phoenix::manifest::FirewallPolicy::Accept,
        rules: vec!["IN ACCEPT -p tcp -dport 22".to_owned()],
    });
    world.created(&spec);
    world.finalized(&spec);
    let mount = world.mount("data", "/srv/data");
    let prepare = Action::Prepare { volume: mount.volume.clone(), idmap: spec.idmap.clone() };
    let Evidence::Prepared(prepared) = world.done(&spec, Step::VolumePrepare(mount.volume.name.clone()), prepare) else {
        panic!("not prepared")
    };
    let attach = || Action::Attach { mount: mount.clone(), source: prepared.source.clone(), idmap: spec.idmap.clone() };
    let detach = || Action::Detach { mount: mount.clone() };
    let firewall = world.node.root().join("etc/pve/firewall/900797.fw");
    std::fs::write(&firewall, "[OPTIONS]\n\nlog_level_in: info\n").expect("written");
    let draft = |pid: u32, text: &str| {
        let path = firewall.with_file_name(format!("900797.fw.tmp.{pid}"));
        std::fs::write(&path, text).expect("written");
        path
    };
    let signed = "[RULES]\n\nIN ACCEPT -p icmp # [phoenix]\n";
    // Of processes that are not on this node: Proxmox gives the same names, and on every node of the cluster.
    let (left, theirs, fresh) = (draft(4_194_305, signed), draft(4_194_306, "[OPTIONS]\n"), draft(4_194_307, signed));
    for old in [&left, &theirs] {
        let file = std::fs::File::options().write(true).open(old).expect("there");
        file.set_modified(std::time::UNIX_EPOCH).expect("a time");
    }
    for (step, action) in [
        (Step::VolumeAttach(mount.at.clone()), &attach as &dyn Fn() -> Action),
        (Step::VolumeDetach(mount.at.clone()), &detach),
        (Step::FirewallSet, &|| Action::SetFirewall),
    ] {
        assert_eq!(world.settle(&spec, step.clone().id(), action()), StepResult::Absent, "{step:?}");
        let evidence = world.done(&spec, step.clone(), action());
        assert_eq!(world.settle(&spec, step.id(), action()), StepResult::Done(evidence));
    }
    assert_eq!([&left, &theirs, &fresh].map(|path| path.exists()), [false, true, true]);
    let text = std::fs::read_to_string(&firewall).expect("there");
    assert!(text.contains("log_level_in: info") && text.contains("-dport 22") && text.contains("policy_in: DROP"), "{text}");
}

#[test]
fn a_template_is_fetched_once() {
    let Some(world) = World::new() else { return };
    let mut spec = world.spec(ctid(900_798));
    world.node.available(&world.path("busybox.tar"), "other.tar").expect("available");
    spec.origin = phoenix::manifest::Origin::Template(phoenix::manifest::Template::Stored("local:vztmpl/other.tar".to_owned()));
    assert_eq!(world.settle(&spec, Step::TemplateFetch.id(), Action::FetchTemplate), StepResult::Absent);
    assert_eq!(world.done(&spec, Step::TemplateFetch, Action::FetchTemplate), Evidence::Fetched);
    assert_eq!(world.done(&spec, Step::TemplateFetch, Action::FetchTemplate), Evidence::Fetched);
    assert_eq!(world.settle(&spec, Step::TemplateFetch.id(), Action::FetchTemplate), StepResult::Done(Evidence::Fetched));
    assert_eq!(world.verbs(), ["download"]);
}

#[test]
fn a_fetch_that_was_killed_is_absent_or_done() {
    let Some(world) = World::new() else { return };
    for (piece, row) in [("begin", Row::Absent), ("copy", Row::Absent), ("rename", Row::Done)] {
        let mut spec = world.spec(ctid(900_794));
        let name = format!("{piece}.tar");
        world.node.available(&world.path("busybox.tar"), &name).expect("available");
        spec.origin = phoenix::manifest::Origin::Template(phoenix::manifest::Template::Stored(format!("local:vztmpl/{name}")));
        check(&world, &spec, Step::TemplateFetch, || Action::FetchTemplate, &format!("download * kill-after {piece}"), row);
    }
}
