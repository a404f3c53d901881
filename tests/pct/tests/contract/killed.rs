//! What commands leave behind that were killed in the middle, and what cleans it up.

use std::path::{Path, PathBuf};

use phoenix_test_pct::Vmid;

use crate::world::{Said, World, waited};

const CREATE: &str = "local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --unprivileged 1 --rootfs btr:1";

fn volume(world: &World, id: u32) -> PathBuf {
    world.path().join(format!("var/lib/vz/btr/images/{id}/vm-{id}-disk-0"))
}

fn is_held(lock: &Path) -> bool {
    let file = std::fs::File::open(lock).expect("a lock file");
    rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn a_killed_create_leaves_a_lock_alone_a_volume_and_a_mount() {
    let Some(world) = World::new() else { return };
    let id = 910_010;
    let mounted = world.pct.root().mounted(Vmid::new(id));
    for (piece, has_volume, has_mount) in [("locked", false, false), ("volume", true, false), ("mount", true, true), ("unpack", true, true)]
    {
        world.pct.fault(&format!("create {id} kill-both-after {piece}")).expect("ordered");
        let said = world.run(&format!("pct create {id} {CREATE}"));
        assert_eq!(said.code, 137, "{piece}: {said:?}");
        assert_eq!(world.pct.faults_left(), Vec::<String>::new(), "a fault is met once");
        assert_eq!(world.conf(id), "lock: create\n", "{piece}");
        assert_eq!(volume(&world, id).is_dir(), has_volume, "{piece}");
        assert_eq!(world.pct.mounts(Vmid::new(id)), if has_mount { vec![mounted.clone()] } else { Vec::new() }, "{piece}");
        assert!(waited(|| !is_held(&world.pct.root().config_lock(Vmid::new(id)))), "{piece}");
        for command in ["start", "destroy", "set", "stop"] {
            let more = if command == "set" { " --memory 64" } else { "" };
            let text = if command == "stop" { format!("CT {id} not running") } else { "CT is locked (create)".to_owned() };
            world.fails(&format!("pct {command} {id}{more}"), &text);
        }
        world.does(&format!("pct unlock {id}"));
        world.does(&format!("pct destroy {id}"));
        assert_eq!(volume(&world, id).is_dir(), has_volume, "{piece}: destroying knows of no volume");
        assert_eq!(!world.pct.mounts(Vmid::new(id)).is_empty(), has_mount, "{piece}");
        if has_mount {
            rustix::mount::unmount(&mounted, rustix::mount::UnmountFlags::empty()).expect("unmounted");
        }
        if has_volume {
            assert_eq!(
                world.does(&format!("pvesm free btr:{id}/vm-{id}-disk-0.raw")),
                format!("Removed volume 'btr:{id}/vm-{id}-disk-0.raw'\n")
            );
        }
    }
    world.create(id, "--rootfs btr:1");
    world.does(&format!("pct destroy {id}"));
}

#[test]
fn a_create_that_is_killed_late_leaves_a_whole_configuration_without_its_lock_and_the_mount() {
    let Some(world) = World::new() else { return };
    let id = 910_011;
    world.pct.fault(&format!("create {id} kill-after write")).expect("ordered");
    assert_eq!(world.run(&format!("pct create {id} {CREATE}")).code, 255);
    let conf = world.conf(id);
    assert!(!conf.contains("lock:") && conf.contains(&format!("rootfs: btr:{id}/vm-{id}-disk-0.raw,size=1G\n")), "{conf}");
    assert_eq!(world.pct.mounts(Vmid::new(id)).len(), 1);
}

#[test]
fn unreferenced_disks_go_when_asked_but_the_mount_stays() {
    let Some(world) = World::new() else { return };
    let id = 910_012;
    world.pct.fault(&format!("create {id} kill-both-after mount")).expect("ordered");
    world.run(&format!("pct create {id} {CREATE}"));
    world.does(&format!("pct unlock {id}"));
    world.does(&format!("pct destroy {id} --destroy-unreferenced-disks 1"));
    assert!(!volume(&world, id).exists());
    assert_eq!(world.pct.mounts(Vmid::new(id)).len(), 1);
}

/// The worker ends when it next says something.
#[test]
fn a_create_whose_waiting_process_is_killed_leaves_the_same() {
    let Some(world) = World::new() else { return };
    let id = 910_013;
    world.pct.fault(&format!("create {id} kill-parent-after mount")).expect("ordered");
    assert_eq!(world.run(&format!("pct create {id} {CREATE}")).code, 137);
    assert!(waited(|| !is_held(&world.pct.root().config_lock(Vmid::new(id)))), "the worker ends");
    assert_eq!(world.conf(id), "lock: create\n");
    assert_eq!(world.pct.mounts(Vmid::new(id)).len(), 1);
}

#[test]
fn an_interrupted_create_cleans_up() {
    let Some(world) = World::new() else { return };
    let id = 910_014;
    world.pct.delay("create.unpack", 20_000).expect("ordered");
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let words = format!("pct create {id} {CREATE}");
        let said = interrupted(&world, &words, signal, || world.pct.mounts(Vmid::new(id)).len() == 1);
        let (start, end) = (format!("unable to create CT {id} - "), "received interrupt\n");
        assert!(said.code == 255 && said.stderr.starts_with(&start) && said.stderr.ends_with(end), "{said:?}");
        assert_eq!(world.pct.conf(Vmid::new(id)), None);
        assert!(!volume(&world, id).exists() && world.pct.mounts(Vmid::new(id)).is_empty());
    }
}

/// Runs a command and sends its process a signal once `when`.
fn interrupted(world: &World, line: &str, signal: rustix::process::Signal, when: impl FnMut() -> bool) -> Said {
    let words: Vec<&str> = line.split(' ').collect();
    let mut command = world.command(&words);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().expect("started");
    assert!(waited(when), "{line}");
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).expect("sent");
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[test]
fn a_killed_clone_leaves_both_locks_and_a_volume_that_nobody_names() {
    let Some(world) = World::new() else { return };
    let (source, target) = (910_015, 910_016);
    world.create(source, "--rootfs btr:1 --hostname src --net0 name=eth0,bridge=vmbr0");
    world.pct.fault(&format!("clone {source} kill-both-after volume")).expect("ordered");
    assert_eq!(world.run(&format!("pct clone {source} {target}")).code, 137);
    let (from, to) = (world.conf(source), world.conf(target));
    assert!(from.contains("lock: disk\n") && from.contains("rootfs:"), "{from}");
    assert!(to.contains("lock: create\n") && to.contains("hostname: src\n") && !to.contains("rootfs:"), "{to}");
    assert!(volume(&world, target).is_dir());
    world.fails(&format!("pct start {source}"), "CT is locked (disk)");
    world.fails(&format!("pct clone {source} 910017"), "CT is locked (disk)");
    world.does(&format!("pct unlock {source}"));
    world.does(&format!("pct unlock {target}"));
    world.does(&format!("pct destroy {target}"));
    assert!(volume(&world, target).is_dir(), "destroying knows of no volume");
    world.does(&format!("pct start {source}"));
}

#[test]
fn an_interrupted_clone_cleans_up() {
    let Some(world) = World::new() else { return };
    let (source, target) = (910_018, 910_019);
    world.create(source, "--rootfs btr:1");
    let before = world.conf(source);
    world.pct.delay("clone.volume", 20_000).expect("ordered");
    let copied = || volume(&world, target).join("bin").exists();
    let said = interrupted(&world, &format!("pct clone {source} {target}"), rustix::process::Signal::TERM, copied);
    assert_eq!((said.code, said.stderr.as_str()), (255, "clone failed: interrupted by signal\n"));
    assert_eq!((world.conf(source), world.pct.conf(Vmid::new(target))), (before, None));
    assert!(!volume(&world, target).exists());
}

#[test]
fn a_snapshot_whose_waiting_process_is_killed_is_still_made() {
    let Some(world) = World::new() else { return };
    let id = 910_020;
    world.create(id, "--rootfs btr:1");
    world.pct.fault(&format!("snapshot {id} kill-parent-after prepare")).expect("ordered");
    assert_eq!(world.run(&format!("pct snapshot {id} k1")).code, 137);
    assert!(waited(|| !world.conf(id).contains("lock:")), "{}", world.conf(id));
    let conf = world.conf(id);
    assert!(conf.contains("parent: k1\n") && conf.contains("\n[k1]\n") && !conf.contains("snapstate"), "{conf}");
}

#[test]
fn a_killed_snapshot_leaves_the_container_frozen_until_it_is_thawed_by_hand() {
    let Some(world) = World::new() else { return };
    let id = 910_021;
    world.create(id, "--rootfs btr:1");
    world.does(&format!("pct start {id}"));
    world.pct.fault(&format!("snapshot {id} kill-worker-frozen")).expect("ordered");
    assert_eq!(world.run(&format!("pct snapshot {id} k1")).code, 255);
    let conf = world.conf(id);
    assert!(conf.contains("lock: snapshot\n") && conf.contains("snapstate: prepare\n") && !conf.contains("parent:"), "{conf}");
    assert_eq!(world.does(&format!("pct status {id}")), "status: running\n");
    assert!(!volume(&world, id).with_file_name(format!("vm-{id}-disk-0@k1")).exists());
    let frozen = PathBuf::from(format!("/sys/fs/cgroup/freezer/lxc/{id}/freezer.state"));
    if frozen.exists() {
        assert_eq!(std::fs::read_to_string(&frozen).expect("read"), "FROZEN\n");
        std::fs::write(&frozen, "THAWED").expect("thawed");
    } else {
        std::fs::write(format!("/sys/fs/cgroup/lxc/{id}/cgroup.freeze"), "0").expect("thawed");
    }
    world.does(&format!("pct exec {id} -- true"));
    world.fails(&format!("pct stop {id}"), "CT is locked (snapshot)");
    world.does(&format!("pct unlock {id}"));
    world.fails(&format!("pct rollback {id} k1"), "unable to rollback to incomplete snapshot (snapstate = prepare)");
    let missing = world.path().join(format!("var/lib/vz/btr/images/{id}/vm-{id}-disk-0@k1"));
    let text =
        format!("command 'btrfs subvolume delete -- {}' failed: ERROR: Could not statfs: No such file or directory", missing.display());
    world.fails(&format!("pct delsnapshot {id} k1"), &text);
    assert!(world.conf(id).contains("lock: snapshot-delete\n") && world.conf(id).contains("snapstate: delete\n"));
    world.fails(&format!("pct delsnapshot {id} k1 --force"), "CT is locked (snapshot-delete)");
    world.does(&format!("pct unlock {id}"));
    assert_eq!(world.does(&format!("pct delsnapshot {id} k1 --force")), format!("{text}\n"));
    assert!(!world.conf(id).contains("k1"), "{}", world.conf(id));
}

#[test]
fn a_killed_exec_leaves_the_command_running_inside() {
    let Some(world) = World::new() else { return };
    let id = 910_022;
    world.create(id, "--rootfs local:0");
    world.does(&format!("pct start {id}"));
    let line = ["pct", "exec", "910022", "--", "sh", "-c", "touch /tmp/on; sleep 777"];
    let mut child = world.command(&line).spawn().expect("started");
    let began = || world.path().join(format!("var/lib/vz/images/{id}/subvol-{id}-disk-0.subvol/tmp/on")).exists();
    assert!(waited(began));
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(world.does(&format!("pct exec {id} -- ps")).contains("sleep 777"));
}
