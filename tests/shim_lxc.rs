//! Scripts and commands in real containers: LXC, root and busybox are needed; without them the tests say so and pass.

mod shim_fixture;

use std::fs;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use phoenix::plan::Init;
use phoenix::shim::{ContainerRef, Ending, Inquiry, JobResult, Kept, Secret, Settled, Task, living_bearers, recover};
use shim_fixture::{Place, intent, kill, lives, now, number_in, output, run, skip, until, variables};

const LONG: Duration = Duration::from_secs(60);
const HOST: u32 = 100_000;

/// A running container, ended and removed with the value, panic or not.
struct Container {
    place: Place,
    name: String,
    lxc_path: PathBuf,
}

impl Container {
    /// `None` where there can be none, which is said.
    fn start(test: &str, ctid: u32) -> Option<Self> {
        if let Some(why) = missing() {
            assert!(std::env::var_os("PHOENIX_TEST_LXC").is_none_or(|value| value != "require"), "LXC is required here: {why}");
            skip(test, why);
            return None;
        }
        let place = Place::new(ctid);
        let lxc_path = place.path("lxc");
        let this = Self { place, name: ctid.to_string(), lxc_path };
        this.build();
        let started = lxc("lxc-start", &this.lxc_path, &this.name, &["-d"]);
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        until("init", || this.init());
        Some(this)
    }

    fn build(&self) {
        let rootfs = self.rootfs();
        for dir in ["bin", "dev", "proc", "sys", "tmp", "etc", "sbin", "var"] {
            fs::create_dir_all(rootfs.join(dir)).expect("made");
        }
        fs::copy(program("busybox").expect("it was found"), rootfs.join("bin/busybox")).expect("copied");
        for name in ["sh", "sleep", "echo", "cat", "env", "kill", "setsid", "sort", "ls", "true", "grep", "tr"] {
            symlink("busybox", rootfs.join("bin").join(name)).expect("linked");
        }
        fs::write(rootfs.join("sbin/init"), "#!/bin/sh\ntrap 'exit 0' TERM PWR\nwhile :; do sleep 1 & wait $!; done\n").expect("written");
        fs::set_permissions(rootfs.join("sbin/init"), fs::Permissions::from_mode(0o755)).expect("executable");
        give(&rootfs);
        let config = format!(
            "lxc.include = /usr/share/lxc/config/common.conf\nlxc.include = /usr/share/lxc/config/userns.conf\n\
             lxc.rootfs.path = dir:{}\nlxc.uts.name = shim\nlxc.net.0.type = empty\nlxc.idmap = u 0 {HOST} 65536\nlxc.idmap = g 0 {HOST} 65536\n",
            rootfs.display()
        );
        fs::write(self.lxc_path.join(&self.name).join("config"), config).expect("written");
    }

    fn rootfs(&self) -> PathBuf {
        self.lxc_path.join(&self.name).join("rootfs")
    }

    fn init(&self) -> Option<u32> {
        let out = lxc("lxc-info", &self.lxc_path, &self.name, &["-p", "-H"]);
        String::from_utf8_lossy(&out.stdout).trim().parse().ok()
    }

    fn inside(&self) -> ContainerRef {
        let pid = self.init().unwrap_or(1);
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
        let after_name = stat.rsplit_once(')').expect("a name in parentheses").1;
        let start_ticks = after_name.split_whitespace().nth(19).expect("22 fields").parse().expect("a number");
        let init = Init { boot: "boot".parse().expect("a boot id"), pid, start_ticks };
        ContainerRef {
            lxc_attach: program("lxc-attach").expect("it was found"),
            lxc_path: self.lxc_path.clone(),
            name: self.name.clone(),
            init,
        }
    }

    fn script(&self, text: &str, args: &[&str], env: &[(&str, &str)]) -> Task {
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        let env = variables(&[&[("PATH", "/bin")], env].concat());
        Task::Script { container: self.inside(), text: Arc::from(text.as_bytes()), args, env }
    }

    fn run(&self, seq: u64, task: Task) -> JobResult {
        self.place.run(self.place.job(seq, LONG, task))
    }

    /// The number a script wrote into the container's `/tmp`, which is on no disk of its own here.
    fn number(&self, name: &str) -> u32 {
        number_in(&self.rootfs().join("tmp").join(name))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        lxc("lxc-unfreeze", &self.lxc_path, &self.name, &[]);
        lxc("lxc-stop", &self.lxc_path, &self.name, &["-k"]);
    }
}

/// Why there can be no container here.
fn missing() -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root");
    }
    ["lxc-attach", "busybox"].iter().any(|name| program(name).is_none()).then_some("needs LXC and busybox")
}

fn program(name: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/sbin"].iter().map(|directory| Path::new(directory).join(name)).find(|path| path.exists())
}

fn give(path: &Path) {
    lchown(path, Some(HOST), Some(HOST)).expect("given");
    if path.symlink_metadata().expect("there").is_dir() {
        fs::read_dir(path).expect("there").flatten().for_each(|entry| give(&entry.path()));
    }
}

#[expect(clippy::disallowed_methods, reason = "the container of a test")]
fn lxc(program: &str, lxc_path: &Path, name: &str, args: &[&str]) -> Output {
    Command::new(program).arg("-P").arg(lxc_path).args(["-n", name]).args(args).output().expect("LXC is there")
}

/// The host's number of a process that the container knows by another.
fn on_host(token: phoenix::ids::Token, command: &str) -> u32 {
    until(command, || living_bearers(token).ok()?.into_iter().find(|one| one.command.contains(command)).map(|one| one.pid))
}

#[test]
fn a_script_gets_its_arguments_and_exactly_its_environment() {
    let Some(container) = Container::start("a_script_gets_its_arguments_and_exactly_its_environment", 900_160) else { return };
    let script = "#!/bin/sh\nfor arg; do echo \"<$arg>\"; done\nenv | grep -v -e '^PWD=' -e '^SHLVL=' -e '^_=' | sort\nls /proc/self/fd | tr '\\n' ' '\nexit 7\n";
    let hard = "it's $HOME `id`\nsecond line";
    let mut job =
        container.place.job(1, LONG, container.script(script, &["--init", hard, ""], &[("PGPASSWORD", "p'w \"x\""), ("EMPTY", "")]));
    job.sync = vec![container.rootfs()];
    let token = job.token;
    let result = container.place.run(job);
    assert_eq!(result.ending, Ending::Exited(7), "{}", output(&result));
    let text = output(&result);
    let (words, fds) = text.trim_end().rsplit_once('\n').expect("lines");
    assert_eq!(words, format!("<--init>\n<{hard}>\n<>\nEMPTY=\nPATH=/bin\nPGPASSWORD=p'w \"x\"\nPHOENIX_TOKEN={token}\ncontainer=lxc"));
    // Standard descriptors, the script, and the directory being listed: no lock, no job.
    assert!(fds.split(' ').all(|fd| ["0", "1", "2", "3", "4", "10", ""].contains(&fd)), "{fds}");
    assert!(fds.split(' ').filter(|fd| !fd.is_empty()).count() <= 6, "{fds}");
}

#[test]
fn neither_values_nor_arguments_are_arguments_on_the_host_and_the_lock_stays_outside() {
    let Some(container) = Container::start("neither_values_nor_arguments_are_arguments_on_the_host", 900_161) else { return };
    let task = container.script("#!/bin/sh\nsleep 1\nls -l /proc/self/fd /proc/$$/fd\n", &["argument-xyzzy"], &[("V", "value-xyzzy")]);
    let running = container.place.start(container.place.job(1, LONG, task));
    // Between fork and exec the child still looks like the shim.
    let command = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).ok().map(|line| line.replace('\0', " "));
    let attached = |pid: u32| {
        command(pid).filter(|line| line.split(' ').next().is_some_and(|program| program.ends_with("/lxc-attach"))).map(|line| (pid, line))
    };
    let (attach, line) = until("lxc-attach", || children(running.pid()).into_iter().find_map(attached));
    let environ = fs::read_to_string(format!("/proc/{attach}/environ")).expect("there").replace('\0', " ");
    assert!(!line.contains("xyzzy"), "{line}");
    assert!(environ.starts_with("PHOENIX_TOKEN=") && environ.trim_end().split(' ').count() == 1, "{environ}");
    for entry in fs::read_dir(format!("/proc/{attach}/fd")).expect("there").flatten() {
        let target = fs::read_link(entry.path()).unwrap_or_default();
        assert!(!target.starts_with(container.place.runtime.path()), "{target:?}");
        assert!(!target.to_string_lossy().contains("phoenix-job"), "{target:?}");
    }
    let result = running.wait().expect("a result");
    assert!(!output(&result).contains("lxc-900161"), "{}", output(&result));
}

fn children(parent: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

#[test]
fn a_script_without_an_interpreter_line_and_a_command_run_too() {
    let Some(container) = Container::start("a_script_without_an_interpreter_line_and_a_command_run_too", 900_162) else { return };
    let result = container.run(1, container.script("echo plain $1", &["arg"], &[]));
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(0), "plain arg\n"));
    let command = |argv: &[&str]| {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        Task::Command { container: container.inside(), argv, env: variables(&[("PATH", "/bin")]) }
    };
    let result = container.run(2, command(&["echo", "it's", "$HOME"]));
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(0), "it's $HOME\n"));
    assert_eq!(container.run(3, command(&["no-such-command"])).ending, Ending::Exited(127));
}

#[test]
fn a_script_in_a_container_that_is_down_is_not_started() {
    let Some(container) = Container::start("a_script_in_a_container_that_is_down_is_not_started", 900_163) else { return };
    lxc("lxc-stop", &container.lxc_path, &container.name, &["-k"]);
    let result = container.run(1, container.script("exit 0", &[], &[]));
    assert!(matches!(result.ending, Ending::NotStarted { .. }), "{result:?} {}", output(&result));
}

#[test]
fn a_script_whose_container_goes_down_was_cut_off_and_one_that_is_killed_has_failed() {
    let Some(container) = Container::start("a_script_whose_container_goes_down_was_cut_off", 900_172) else { return };
    let result = container.run(1, container.script("kill -9 $$", &[], &[]));
    assert_eq!(result.ending, Ending::Exited(137), "{}", output(&result));
    let job = container.place.job(2, LONG, container.script("exec sleep 78", &[], &[]));
    let token = job.token;
    let running = container.place.start(job);
    on_host(token, "sleep 78");
    lxc("lxc-stop", &container.lxc_path, &container.name, &["-k"]);
    assert_eq!(running.wait().expect("a result").ending, Ending::ContainerEnded);
}

#[test]
fn a_service_left_behind_does_not_keep_the_job_and_holds_nothing() {
    let Some(container) = Container::start("a_service_left_behind_does_not_keep_the_job_and_holds_nothing", 900_164) else { return };
    let script = "#!/bin/sh\nsetsid sh -c 'exec sleep 77' </dev/null &\necho left\n";
    let job = container.place.job(1, LONG, container.script(script, &[], &[]));
    let (token, deadline) = (job.token, job.deadline.clone());
    let from = now();
    let result = container.place.run(job);
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(0), "left\n"));
    assert!(from.elapsed() < Duration::from_secs(10));
    let daemon = on_host(token, "sleep 77");
    // Its token counts no more: there is a result.
    let (results, locks, intent) = (container.place.results(), [container.place.lock_name()], intent(1));
    let place = &container.place;
    let inquiry = Inquiry {
        intent: &intent,
        token,
        deadline: &deadline,
        grace: Duration::from_millis(200),
        place: &results,
        runtime: &place.runtime,
        locks: &locks,
        clock: &place.clock,
        tasks: &[],
    };
    let settlement = recover(&inquiry, &|waiting| panic!("nothing to wait for: {waiting:?}")).expect("recovers");
    assert!(matches!(settlement.settled, Settled::Result(_)) && lives(daemon));
}

#[test]
fn a_script_whose_messenger_was_killed_still_has_its_status() {
    let Some(container) = Container::start("a_script_whose_messenger_was_killed_still_has_its_status", 900_165) else { return };
    let task = container.script("#!/bin/sh\necho $$ > /tmp/begun\nsleep 1\necho end\nexit 9\n", &[], &[]);
    fs::set_permissions(container.rootfs().join("tmp"), fs::Permissions::from_mode(0o777)).expect("opened");
    let running = container.place.start(container.place.job(1, LONG, task));
    container.number("begun");
    let attach = *children(running.pid()).first().expect("lxc-attach");
    kill(attach);
    let result = running.wait().expect("a result");
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(9), "end\n"));
}

#[test]
fn the_deadline_ends_the_script_itself_and_what_it_left() {
    let Some(container) = Container::start("the_deadline_ends_the_script_itself_and_what_it_left", 900_166) else { return };
    let script = "#!/bin/sh\nsetsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' &\ntrap 'echo asked; exit 3' TERM\nwhile :; do sleep 0.1; done\n";
    let job = container.place.job(1, Duration::from_millis(700), container.script(script, &[], &[]));
    let token = job.token;
    let init = container.init();
    let result = container.place.run(job);
    assert_eq!((result.ending.clone(), result.undead.clone()), (Ending::TimedOut, Vec::new()), "{}", output(&result));
    assert!(output(&result).contains("asked"), "{}", output(&result));
    assert_eq!(living_bearers(token).expect("looks"), []);
    assert_eq!(container.init(), init, "the container itself is unharmed");
}

#[test]
fn a_frozen_container_is_thawed_to_end_its_script() {
    let Some(container) = Container::start("a_frozen_container_is_thawed_to_end_its_script", 900_167) else { return };
    fs::set_permissions(container.rootfs().join("tmp"), fs::Permissions::from_mode(0o777)).expect("opened");
    let task = container.script("#!/bin/sh\necho $$ > /tmp/begun\nwhile :; do sleep 0.1; done\n", &[], &[]);
    let job = container.place.job(1, Duration::from_millis(1500), task);
    let token = job.token;
    let running = container.place.start(job);
    container.number("begun");
    assert!(lxc("lxc-freeze", &container.lxc_path, &container.name, &[]).status.success());
    let result = running.wait().expect("a result");
    assert_eq!((result.ending, result.undead), (Ending::TimedOut, Vec::new()));
    assert_eq!(living_bearers(token).expect("looks"), []);
}

#[test]
fn a_messenger_caught_in_a_frozen_container_is_ended_too() {
    let Some(container) = Container::start("a_messenger_caught_in_a_frozen_container_is_ended_too", 900_171) else { return };
    assert!(lxc("lxc-freeze", &container.lxc_path, &container.name, &[]).status.success());
    let job = container.place.job(1, Duration::from_millis(800), container.script("echo too late\n", &[], &[]));
    let token = job.token;
    let result = container.place.run(job);
    assert_eq!((result.ending, result.undead), (Ending::TimedOut, Vec::new()));
    assert_eq!(living_bearers(token).expect("looks"), []);
}

#[test]
fn without_its_shim_a_script_goes_on_and_is_found_by_its_token() {
    let Some(container) = Container::start("without_its_shim_a_script_goes_on_and_is_found_by_its_token", 900_168) else { return };
    fs::set_permissions(container.rootfs().join("tmp"), fs::Permissions::from_mode(0o777)).expect("opened");
    let job = container.place.job(1, LONG, container.script("#!/bin/sh\necho $$ > /tmp/begun\nexec sleep 78\n", &[], &[]));
    let (token, job_token) = (job.token, job.token);
    let running = container.place.start(job);
    container.number("begun");
    let script = on_host(token, "sleep 78");
    kill(running.pid());
    until("the lock to be free", || running_lock_is_free(&container.place).then_some(()));
    assert!(lives(script), "the lock is free, and the script runs: the token tells");
    let deadline = container.place.clock.moment().after(Duration::from_millis(300));
    let (results, locks, intent) = (container.place.results(), [container.place.lock_name()], intent(1));
    let place = &container.place;
    let inquiry = Inquiry {
        intent: &intent,
        token: job_token,
        deadline: &deadline,
        grace: Duration::from_millis(300),
        place: &results,
        runtime: &place.runtime,
        locks: &locks,
        clock: &place.clock,
        tasks: &[],
    };
    let settlement = recover(&inquiry, &|_| {}).expect("recovers");
    assert!(matches!(settlement.settled, Settled::NoResult), "{settlement:?}");
    assert!(!lives(script) && container.init().is_some());
}

fn running_lock_is_free(place: &Place) -> bool {
    phoenix::shim::Lock::take(&place.runtime, &place.lock_name()).is_ok()
}

#[test]
fn secrets_reach_the_script_and_not_its_output() {
    let Some(container) = Container::start("secrets_reach_the_script_and_not_its_output", 900_169) else { return };
    let mut job = container.place.job(1, LONG, container.script("echo \"pw $PW\"; [ \"$PW\" = 'hunter2 x' ]", &[], &[("PW", "hunter2 x")]));
    job.secrets = vec![Secret::new("hunter2 x")];
    let result = container.place.run(job);
    assert_eq!((result.ending.clone(), output(&result).as_str()), (Ending::Exited(0), "pw ********\n"));
}

/// `lxc-start` leaves a monitor behind, which must hold neither lock nor token, and must not keep the job.
#[test]
fn the_monitor_of_a_started_container_gets_neither_lock_nor_token() {
    let Some(container) = Container::start("the_monitor_of_a_started_container_gets_neither_lock_nor_token", 900_170) else { return };
    lxc("lxc-stop", &container.lxc_path, &container.name, &["-k"]);
    let start = format!("exec lxc-start -P {} -n {} -d", container.lxc_path.display(), container.name);
    let job = container.place.job(1, LONG, run(&start, Kept::Nothing));
    let token = job.token;
    let result = container.place.run(job);
    assert_eq!(result.ending, Ending::Exited(0), "{}", output(&result));
    until("init", || container.init());
    assert_eq!(living_bearers(token).expect("looks"), []);
    drop(container.place.lock());
}
