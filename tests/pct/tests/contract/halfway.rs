//! Killed workers of the commands that no recording interrupts: what is left follows from the order in which they work.

use phoenix_test_pct::Vmid;

use crate::world::{World, host_command, said, waited};

/// Kills the worker of a command once a piece is done.
#[track_caller]
fn killed(world: &World, line: &str, piece: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    world.pct.fault(&format!("{} {} kill-after {piece}", words[1], words[2])).expect("ordered");
    let said = world.run(line);
    // A command without a worker is killed itself.
    assert!([255, 137].contains(&said.code), "{line}: {said:?}");
    assert_eq!(world.pct.faults_left(), Vec::<String>::new(), "{line} has no piece `{piece}`");
}

#[test]
fn a_killed_start_runs_or_does_not_and_says_nothing_of_it_in_the_configuration() {
    let Some(world) = World::new() else { return };
    let id = 910_090;
    world.create(id, "--rootfs local:0");
    let before = world.conf(id);
    for (piece, runs) in [("locked", false), ("config", false), ("started", true)] {
        killed(&world, &format!("pct start {id}"), piece);
        assert_eq!(world.pct.is_running(Vmid::new(id)), runs, "{piece}");
        assert_eq!(world.conf(id), before, "{piece}");
    }
    killed(&world, &format!("pct stop {id}"), "locked");
    assert!(world.pct.is_running(Vmid::new(id)));
    killed(&world, &format!("pct stop {id}"), "stopped");
    assert!(!world.pct.is_running(Vmid::new(id)));
    assert_eq!(world.conf(id), before);
}

#[test]
fn a_killed_destroy_leaves_a_configuration_without_volumes() {
    let Some(world) = World::new() else { return };
    let id = 910_091;
    let volume = world.path().join(format!("var/lib/vz/images/{id}/subvol-{id}-disk-0.subvol"));
    world.create(id, "--rootfs local:0");
    let before = world.conf(id);
    killed(&world, &format!("pct destroy {id}"), "volumes");
    assert_eq!((world.conf(id), volume.exists()), (before, false));
    killed(&world, &format!("pct destroy {id}"), "destroyed");
    assert_eq!(world.conf(id), "lock: destroyed\n");
    world.fails(&format!("pct destroy {id}"), "CT is locked (destroyed)");
    world.does(&format!("pct unlock {id}"));
    world.does(&format!("pct destroy {id}"));
    assert_eq!(world.pct.conf(Vmid::new(id)), None);
}

#[test]
fn a_killed_rollback_or_delsnapshot_leaves_its_lock() {
    let Some(world) = World::new() else { return };
    let id = 910_092;
    world.create(id, "--rootfs btr:1");
    world.does(&format!("pct snapshot {id} s1"));
    killed(&world, &format!("pct rollback {id} s1"), "volume");
    assert!(world.conf(id).contains("\nlock: rollback\n"), "{}", world.conf(id));
    world.fails(&format!("pct start {id}"), "CT is locked (rollback)");
    world.does(&format!("pct unlock {id}"));
    world.does(&format!("pct rollback {id} s1"));
    killed(&world, &format!("pct delsnapshot {id} s1"), "prepare");
    let conf = world.conf(id);
    assert!(conf.contains("\nlock: snapshot-delete\n") && conf.contains("\nsnapstate: delete\n"), "{conf}");
    world.does(&format!("pct unlock {id}"));
    world.fails(&format!("pct rollback {id} s1"), "unable to rollback to incomplete snapshot (snapstate = delete)");
    world.does(&format!("pct delsnapshot {id} s1"));
    assert!(!world.conf(id).contains("s1"), "{}", world.conf(id));
}

#[test]
fn a_killed_clone_may_leave_only_the_source_locked() {
    let Some(world) = World::new() else { return };
    let (source, target) = (910_093, 910_094);
    world.create(source, "--rootfs btr:1");
    killed(&world, &format!("pct clone {source} {target}"), "unlocked");
    assert!(world.conf(source).contains("lock: disk\n") && !world.conf(target).contains("lock:"));
    world.does(&format!("pct start {target}"));
    world.does(&format!("pct unlock {source}"));
    world.does(&format!("pct destroy {target} --force"));
    killed(&world, &format!("pct clone {source} {target}"), "config");
    assert!(world.conf(source).contains("lock: disk\n"));
    assert!(world.conf(target).contains("lock: create\n") && world.conf(target).contains("rootfs: "), "{}", world.conf(target));
}

#[test]
fn a_killed_set_changed_everything_or_nothing() {
    let Some(world) = World::new() else { return };
    let id = 910_095;
    world.create(id, "--rootfs local:0");
    let before = world.conf(id);
    killed(&world, &format!("pct set {id} --memory 64 --tags x"), "locked");
    assert_eq!(world.conf(id), before);
    killed(&world, &format!("pct set {id} --memory 64 --tags x"), "write");
    assert!(world.conf(id).contains("memory: 64\n") && world.conf(id).contains("tags: x\n"));
    killed(&world, &format!("pct resize {id} rootfs 2G"), "volume");
    assert!(world.conf(id).contains("size=0T"));
    killed(&world, &format!("pct template {id}"), "volume");
    assert!(!world.conf(id).contains("template:"));
}

#[test]
fn an_exec_that_gets_a_signal_ends_with_it_and_its_command_goes_on() {
    let Some(world) = World::new() else { return };
    let id = 910_096;
    world.create(id, "--rootfs local:0");
    world.does(&format!("pct start {id}"));
    let began = world.path().join(format!("var/lib/vz/images/{id}/subvol-{id}-disk-0.subvol/tmp/began"));
    for (signal, code) in [("TERM", 143), ("KILL", 137), ("HUP", 129)] {
        let program = world.pct.program("pct");
        let line = format!(
            "{} exec {id} -- sh -c 'touch /tmp/began; sleep 1234' >/dev/null 2>&1 & while [ ! -e {} ]; do sleep 0.02; done; kill -{signal} $!; wait $!",
            program.display(),
            began.display()
        );
        // Whoever runs the tests may ignore signals, and what is ignored is inherited.
        let mut command = host_command("env".as_ref());
        command.args(["--default-signal", "sh", "-c", &line]);
        assert_eq!(said(&mut command).code, code, "{signal}");
        std::fs::remove_file(&began).expect("begun");
    }
    assert_eq!(world.does(&format!("pct exec {id} -- ps")).matches("sleep 1234").count(), 3);
}

#[test]
fn a_crash_of_the_host_leaves_the_files_and_nothing_else() {
    let Some(world) = World::new() else { return };
    let (running, half) = (910_097, 910_098);
    world.create(running, "--rootfs local:0");
    world.does(&format!("pct start {running}"));
    let before = world.conf(running);
    world.pct.delay("create.unpack", 60_000).expect("ordered");
    let create = format!("pct create {half} local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --unprivileged 1 --rootfs btr:1");
    let words: Vec<&str> = create.split(' ').collect();
    let mut child = world.command(&words).stdout(std::process::Stdio::null()).spawn().expect("started");
    let made = world.path().join(format!("var/lib/vz/btr/images/{half}/vm-{half}-disk-0/bin"));
    assert!(waited(|| made.exists()));
    assert_eq!(world.pct.crash(), Vec::<String>::new());
    child.wait().expect("killed");
    assert!(!world.pct.is_running(Vmid::new(running)) && world.pct.mounts(Vmid::new(half)).is_empty());
    assert_eq!((world.conf(running), world.conf(half)), (before, "lock: create\n".to_owned()));
    assert!(!world.pct.root().config_lock(Vmid::new(half)).exists());
    world.does(&format!("pct start {running}"));
}
