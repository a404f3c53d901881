//! Locks and who holds them, commands at the same time, workers and their tasks, faults to order, and what is not inherited.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use phoenix_test_pct::Vmid;
use rustix::fs::{FlockOperation, flock};

use crate::world::{Said, World, waited};

const CREATE: &str = "local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --unprivileged 1 --rootfs local:0";

fn start(world: &World, line: &str) -> Child {
    let words: Vec<&str> = line.split(' ').collect();
    world.command(&words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started")
}

fn ended(child: Child) -> Said {
    let output = child.wait_with_output().expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Takes a lock as another process of Proxmox would.
fn hold(world: &World, id: u32) -> File {
    let path = world.pct.root().config_lock(Vmid::new(id));
    let file = File::options().append(true).create(true).open(path).expect("a lock file");
    flock(&file, FlockOperation::LockExclusive).expect("free");
    file
}

#[test]
fn a_held_lock_is_waited_for_and_given_up_after_a_while() {
    let Some(world) = World::new() else { return };
    let id = 910_030;
    world.create(id, "--rootfs local:0");
    let lock = hold(&world, id);
    let child = start(&world, &format!("pct set {id} --memory 64"));
    assert!(waited(|| world.pct.calls().last().is_some_and(|call| call.argv[1] == "set")));
    drop(lock);
    let said = ended(child);
    assert_eq!(said.code, 0);
    assert!(["", "trying to acquire lock...\n OK\n"].contains(&said.stderr.as_str()), "{said:?}");

    world.pct.delay("lock-timeout", 50).expect("ordered");
    let _lock = hold(&world, id);
    let path = world.pct.root().config_lock(Vmid::new(id));
    let text = format!("can't lock file '{}' - got timeout\n", path.display());
    let set = world.run(&format!("pct set {id} --memory 32"));
    assert_eq!((set.code, set.stderr), (255, format!("trying to acquire lock...\n{text}")));
    let start = world.run(&format!("pct start {id}"));
    assert_eq!((start.code, start.stdout.as_str(), start.stderr), (255, "trying to acquire lock...\n", text.clone()));
    let clone = world.run(&format!("pct clone {id} 910031"));
    assert_eq!((clone.code, clone.stderr), (4, format!("trying to acquire lock...\n{text}")));
    assert_eq!(world.pct.conf(Vmid::new(910_031)), None);
    world.does(&format!("pct status {id}"));
}

#[test]
fn a_create_holds_the_lock_from_its_first_to_its_last_line_and_is_named_by_its_task() {
    let Some(world) = World::new() else { return };
    let id = 910_032;
    world.pct.delay("create.unpack", 1500).expect("ordered");
    world.pct.delay("lock-timeout", 50).expect("ordered");
    let child = start(&world, &format!("pct create {id} {CREATE}"));
    let tasks = world.path().join("var/log/pve/tasks");
    let active = || fs::read_to_string(tasks.join("active")).unwrap_or_default();
    assert!(waited(|| active().ends_with(" 0\n") && world.pct.mounts(Vmid::new(id)).len() == 1), "{}", active());
    let upid = active().trim_end_matches(" 0\n").to_owned();
    let parts: Vec<&str> = upid.split(':').collect();
    assert_eq!((parts[0], parts[1], &parts[5..]), ("UPID", "vm", &["vzcreate", "910032", "root@pam", ""][..]));
    let pid = u32::from_str_radix(parts[2], 16).expect("a process");
    let command_line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it works");
    assert_eq!(command_line, format!("task {upid}\0"));
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it works");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    let started = u64::from_str_radix(parts[3], 16).expect("a time");
    assert_eq!((fields[1], fields[3], fields[19]), (&*child.id().to_string(), &*pid.to_string(), &*started.to_string()));
    assert!(world.run(&format!("pct set {id} --memory 64")).stderr.ends_with("- got timeout\n"));
    world.fails(&format!("pct create {id} {CREATE}"), &format!("CT {id} already exists on node 'vm'"));

    let said = ended(child);
    assert_eq!(said.code, 0, "{said:?}");
    let last = parts[4].chars().last().expect("a digit");
    let log = fs::read_to_string(tasks.join(last.to_string()).join(&upid)).expect("a log");
    assert_eq!(log, said.stdout + "TASK OK\n");
    let index = fs::read_to_string(tasks.join("index")).expect("an index");
    assert!(index.starts_with(&upid) && index.ends_with(" OK\n"), "{index}");
    assert_eq!(world.pct.calls().len(), 3, "workers are not calls: {:?}", world.pct.calls());
}

#[test]
fn ordered_faults_are_met_once_by_the_call_that_they_are_for() {
    let Some(world) = World::new() else { return };
    let id = 910_033;
    world.create(id, "--rootfs local:0");
    let order = |line: &str| world.pct.fault(&line.replace("ID", &id.to_string())).expect("ordered");
    order("start ID locked backup");
    order("start ID exit0-but-not-started");
    order("start ID lock-timeout");
    order("* ID die \"odd things happen\"");
    world.fails(&format!("pct start {id}"), "CT is locked (backup)");
    assert_eq!(world.does(&format!("pct start {id}")), "");
    assert!(!world.pct.is_running(Vmid::new(id)));
    assert!(world.run(&format!("pct start {id}")).stderr.ends_with("- got timeout\n"));
    world.fails(&format!("pct start {id}"), "odd things happen");
    assert_eq!(world.pct.faults_left(), Vec::<String>::new());
    world.does(&format!("pct start {id}"));

    order("stop ID die-after stopped \"command 'lxc-stop' failed\"");
    world.fails(&format!("pct stop {id}"), "command 'lxc-stop' failed");
    assert!(!world.pct.is_running(Vmid::new(id)), "it failed once everything was done");
    order("start ID die-after started no");
    world.fails(&format!("pct start {id}"), "no");
    assert!(world.pct.is_running(Vmid::new(id)));

    order("set ID hang 30s");
    let mut child = start(&world, &format!("pct set {id} --memory 64"));
    assert!(waited(|| world.pct.faults_left().is_empty()));
    assert_eq!(child.try_wait().expect("a child"), None);
    child.kill().expect("killed");
    child.wait().expect("ended");
    assert!(world.pct.fault("set 910033 explode").is_err(), "what cannot be met cannot be ordered");
}

#[test]
fn the_monitor_keeps_nothing_of_the_process_that_started_it() {
    let Some(world) = World::new() else { return };
    let id = 910_034;
    world.create(id, "--rootfs local:0");
    let lock = world.path().join("mine.lock");
    let program = world.pct.program("pct");
    let line = format!("exec 9>{}; flock 9; PHOENIX_SECRET=xyzzy {} start {id}", lock.display(), program.display());
    let said = crate::world::said(crate::world::host_command("sh".as_ref()).args(["-c", &line]));
    assert_eq!((said.code, said.stdout, said.stderr), (0, String::new(), String::new()));
    let file = File::open(lock).expect("a lock file");
    flock(&file, FlockOperation::NonBlockingLockExclusive).expect("nobody holds it");
    let monitors: Vec<PathBuf> = processes(&format!("[lxc monitor] {} {id}", world.pct.root().lxc_path().display()));
    let [monitor] = monitors.as_slice() else { panic!("{monitors:?}") };
    let environment = fs::read_to_string(monitor.join("environ")).expect("it lives");
    assert!(!environment.contains("xyzzy") && environment.contains("PATH="), "{environment}");
    let stat = fs::read_to_string(monitor.join("stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
    assert_eq!(monitor.file_name().and_then(|pid| pid.to_str()), Some(fields[3]), "a session of its own");
    let exec = |more: &str| {
        let line = format!("PHOENIX_SECRET=xyzzy {} exec {id} {more}-- env", program.display());
        crate::world::said(crate::world::host_command("sh".as_ref()).args(["-c", &line])).stdout
    };
    assert!(exec("").contains("PHOENIX_SECRET=xyzzy\n"), "the real one leaks the host's environment");
    assert!(!exec("--keep-env 0 ").contains("xyzzy"));
}

fn processes(command_line: &str) -> Vec<PathBuf> {
    let all = fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
    let is_it =
        |path: &PathBuf| fs::read_to_string(path.join("cmdline")).is_ok_and(|text| text.trim_end_matches('\0').trim_end() == command_line);
    all.filter(is_it).collect()
}

/// The part of the recording that is the protocol of commands at the same time.
#[test]
fn commands_at_the_same_time_end_as_recorded() {
    let Some(world) = World::new() else { return };
    let all = |lines: Vec<String>| {
        let children: Vec<Child> = lines.iter().map(|line| start(&world, line)).collect();
        children.into_iter().map(ended).collect::<Vec<Said>>()
    };
    let codes = |said: &[Said]| {
        let mut codes: Vec<i32> = said.iter().map(|said| said.code).collect();
        codes.sort_unstable();
        codes
    };
    let ids = 910_041..=910_046;
    let created = all(ids.clone().map(|id| format!("pct create {id} {CREATE}")).collect());
    assert_eq!(codes(&created), [0; 6], "{created:?}");
    assert_eq!(world.does("pct list").lines().count(), 7);

    world.pct.delay("create.unpack", 300).expect("ordered");
    let same = all((0..3).map(|_| format!("pct create 910040 {CREATE}")).collect());
    assert_eq!(codes(&same), [0, 2, 2], "{same:?}");
    assert!(same.iter().filter(|said| said.code == 2).all(|said| said.stderr == "CT 910040 already exists on node 'vm'\n"), "{same:?}");

    world.pct.delay("set.locked", 100).expect("ordered");
    let sets = all((0..4).map(|number| format!("pct set 910041 --memory 10{number} --tags t{number}")).collect());
    assert_eq!(codes(&sets), [0; 4], "{sets:?}");
    assert!(sets.iter().any(|said| said.stderr == "trying to acquire lock...\n OK\n"), "{sets:?}");
    let conf = world.conf(910_041);
    let of = |key: &str| conf.lines().find_map(|line| line.strip_prefix(key)).map(|value| value.chars().last());
    assert_eq!(of("memory: "), of("tags: "), "{conf}");

    let starts = all(ids.clone().map(|id| format!("pct start {id}")).collect());
    assert_eq!(codes(&starts), [0; 6], "{starts:?}");
    world.does("pct stop 910041");
    let races = all((0..3).map(|_| "pct start 910041".to_owned()).collect());
    assert_eq!(codes(&races), [0, 255, 255], "{races:?}");
    assert!(races.iter().filter(|said| said.code != 0).all(|said| said.stderr == "CT 910041 already running\n"), "{races:?}");
    let stops = all(ids.map(|id| format!("pct stop {id}")).collect());
    assert_eq!(codes(&stops), [0; 6], "{stops:?}");
}
