//! A test's own ground: directories, container directory, journal, runtime directory, boot id, and Phoenix run on them.
//!
//! Whatever happens, nothing is left: when the ground is dropped, also by a panic, every process that belongs to it ends and
//! its directories go. Not here: manifests (`fleet`), what the journal says (`account`).

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use phoenix_test_pct::Installed;
use rustix::process::Signal;
use serde_json::Value;

use super::processes::{self, Process, kill, now, pause};
use super::{proxmox, template};

/// Longer than anything here takes on a machine that is busy with other things.
const RUN_MAX: Duration = Duration::from_secs(400);
/// What root's containers are mapped to: the first range in `/etc/subuid`.
pub(crate) const HOST_ROOT: u32 = 100_000;

/// Which host the ground is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Lxc,
    /// Proxmox VE, which the `pct` for tests stands in for.
    Pct,
}

impl Kind {
    /// As `--host` and `PHOENIX_TEST_HOST` have it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Lxc => "lxc",
            Self::Pct => "pct",
        }
    }

    /// The first number of its containers. Containers of one number share control groups, wherever they lie.
    fn first(self) -> u32 {
        match self {
            Self::Lxc => 900_300,
            Self::Pct => 901_300,
        }
    }
}

pub(crate) struct Ground {
    /// First: its mounts are taken off before its directory goes.
    pve: Option<Installed>,
    directory: tempfile::TempDir,
    runtime: tempfile::TempDir,
    base: u32,
    calls: AtomicU32,
    mounts: Vec<PathBuf>,
}

/// How Phoenix ended and what it said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code; 128 and the signal's number if one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Said {
    /// All that it said.
    pub(crate) fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Phoenix at work. Killed if dropped.
pub(crate) struct Working {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Ground {
    /// The plain ground of the test with this number, or `None` with the reason printed where there is none to be had.
    pub(crate) fn new(number: u32) -> Option<Self> {
        Self::on(Kind::Lxc, number)
    }

    /// The same on this kind of host. `PHOENIX_TEST_HOST` leaves out the others.
    pub(crate) fn on(kind: Kind, number: u32) -> Option<Self> {
        if std::env::var("PHOENIX_TEST_HOST").is_ok_and(|wanted| wanted != kind.name()) {
            skip("is for another host than PHOENIX_TEST_HOST asks for");
            return None;
        }
        if let Some(why) = missing() {
            assert!(std::env::var_os("PHOENIX_TEST_LXC").is_none_or(|value| value != "require"), "LXC is required here: {why}");
            skip(&why);
            return None;
        }
        let directory = tempfile::Builder::new().prefix("phoenix-real-").tempdir_in("/var/tmp").expect("a directory");
        // The containers' root has to get through to its own root file system and to shared directories.
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        let memory = Path::new("/dev/shm");
        let runtime = tempfile::Builder::new().prefix("phoenix-real-").tempdir_in(if memory.is_dir() { memory } else { directory.path() });
        let pve = (kind == Kind::Pct).then(|| proxmox::install(&directory.path().join("pve")));
        let ground = Self {
            pve,
            directory,
            runtime: runtime.expect("a directory"),
            base: kind.first() + 5 * number,
            calls: AtomicU32::new(0),
            mounts: Vec::new(),
        };
        for name in ["lxc", "srv", "journal", "said", "scripts"] {
            fs::create_dir(ground.path(name)).expect("a directory");
            let mode = if name == "journal" { 0o700 } else { 0o755 };
            fs::set_permissions(ground.path(name), PermissionsExt::from_mode(mode)).expect("a mode");
        }
        if kind == Kind::Lxc {
            fs::copy(template::busybox(), ground.template()).expect("the template");
        }
        ground.end_leftovers();
        ground.boot("c0ffee00-0000-4000-8000-000000000001");
        Some(ground)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn runtime(&self) -> &Path {
        self.runtime.path()
    }

    pub(crate) fn kind(&self) -> Kind {
        if self.pve.is_some() { Kind::Pct } else { Kind::Lxc }
    }

    /// The root of Proxmox, if there is one.
    pub(crate) fn pve(&self) -> Option<&Installed> {
        self.pve.as_ref()
    }

    /// The file that containers are made from.
    pub(crate) fn template(&self) -> PathBuf {
        match self.kind() {
            Kind::Lxc => self.path("template.tar.gz"),
            Kind::Pct => self.path("pve/var/lib/vz/template/cache/template.tar.gz"),
        }
    }

    /// LXC's directory of containers.
    pub(crate) fn lxc_path(&self) -> PathBuf {
        match self.kind() {
            Kind::Lxc => self.path("lxc"),
            Kind::Pct => self.path("pve/var/lib/lxc"),
        }
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.path("journal/journal.db")
    }

    /// The container number with this place among the test's five.
    pub(crate) fn ctid(&self, place: u32) -> u32 {
        assert!(place < 5, "each test has five");
        self.base + place
    }

    pub(crate) fn container(&self, place: u32) -> PathBuf {
        self.lxc_path().join(self.ctid(place).to_string())
    }

    /// The file that says how a container is made up, and that it exists.
    pub(crate) fn config(&self, place: u32) -> PathBuf {
        match self.kind() {
            Kind::Lxc => self.container(place).join("config"),
            Kind::Pct => self.path(&format!("pve/etc/pve/lxc/{}.conf", self.ctid(place))),
        }
    }

    /// Where the files of a container's root directory lie.
    pub(crate) fn rootfs(&self, place: u32) -> PathBuf {
        self.volume_of_root(place).unwrap_or_else(|| self.container(place).join("rootfs"))
    }

    /// The containers that stand there, by what makes them exist, and whatever else lies where only they should.
    pub(crate) fn standing(&self) -> Vec<String> {
        let mut names = match self.kind() {
            Kind::Lxc => {
                let entries = fs::read_dir(self.lxc_path()).expect("the container directory").flatten();
                let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
                // The sentinel bears the journal's id.
                names.filter(|name| !(name.starts_with(".phoenix-") && name.len() == ".phoenix-".len() + 32)).collect()
            }
            Kind::Pct => [self.confs(), self.stray_volumes()].concat(),
        };
        names.sort();
        names
    }

    /// Names the boot that Phoenix is told it runs in.
    pub(crate) fn boot(&self, id: &str) {
        fs::write(self.path("boot_id"), format!("{id}\n")).expect("written");
    }

    /// Phoenix with these arguments, not started yet.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_phoenix")), &[], arguments)
    }

    /// Phoenix on another journal, with the same container and runtime directories.
    pub(crate) fn command_on(&self, journal: &Path, arguments: &[&str]) -> Command {
        self.command_with(Path::new(env!("CARGO_BIN_EXE_phoenix")), &[], journal, arguments)
    }

    /// The same through another program, which gets `before` and then Phoenix's own command line.
    pub(crate) fn command_of(&self, program: &Path, before: &[&str], arguments: &[&str]) -> Command {
        self.command_with(program, before, &self.journal(), arguments)
    }

    fn command_with(&self, program: &Path, before: &[&str], journal: &Path, arguments: &[&str]) -> Command {
        let mut command = host_command(program);
        command.args(before);
        if program != Path::new(env!("CARGO_BIN_EXE_phoenix")) {
            command.arg(env!("CARGO_BIN_EXE_phoenix"));
        }
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        // The bug that `scripts/sabotage` has switched on.
        command.envs(std::env::var_os("PHOENIX_SABOTAGE").map(|bug| ("PHOENIX_SABOTAGE", bug)));
        command.env("PHOENIX_RUNTIME_DIR", self.runtime()).env("PHOENIX_BOOT_ID_FILE", self.path("boot_id"));
        command.arg("--journal").arg(journal).args(["--host", self.kind().name()]);
        match self.kind() {
            Kind::Lxc => command.arg("--lxc-path").arg(self.lxc_path()),
            Kind::Pct => command.env("PHOENIX_PVE_ROOT", self.path("pve")),
        };
        command.args(arguments);
        command.stdin(Stdio::null());
        command
    }

    /// Starts Phoenix and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Working {
        self.start_command(self.command(arguments))
    }

    pub(crate) fn start_command(&self, mut command: Command) -> Working {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let (out, err) = (self.path(&format!("said/{call}.out")), self.path(&format!("said/{call}.err")));
        // Files, not pipes: a pipe that nobody reads would stop Phoenix, and a shim that outlives it would keep it open.
        command.stdout(File::create(&out).expect("a file")).stderr(File::create(&err).expect("a file"));
        Working { child: command.spawn().expect("phoenix starts"), out, err }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.start(arguments).wait()
    }

    /// Runs Phoenix; it must end with this exit code.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> Said {
        let said = self.run(arguments);
        assert_eq!(said.code, code, "{arguments:?}\n{}\n{}", said.stdout, said.stderr);
        said
    }

    /// Brings up the manifest of this name; it must end with this exit code.
    #[track_caller]
    pub(crate) fn up(&self, code: i32) -> Said {
        let manifest = self.path("fleet.json");
        self.ends(code, &["up", manifest.to_str().expect("plain")])
    }

    #[track_caller]
    pub(crate) fn resume(&self, code: i32) -> Said {
        self.ends(code, &["resume"])
    }

    #[track_caller]
    pub(crate) fn down(&self, code: i32) -> Said {
        self.ends(code, &["down", "--all", "--yes"])
    }

    /// What a command prints with `--json`.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let said = self.ends(0, &[&["--json"], arguments].concat());
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}\n{}", said.stdout))
    }

    /// What `status` says of each container, in order.
    #[track_caller]
    pub(crate) fn status(&self) -> Vec<Value> {
        containers_of(&self.json(&["status"]))
    }

    /// Runs a command inside; its exit code and output.
    #[track_caller]
    pub(crate) fn inside(&self, place: u32, argv: &[&str]) -> (i32, String) {
        let mut command = host_command(Path::new("lxc-attach"));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg("-P").arg(self.lxc_path()).args(["-n", &self.ctid(place).to_string(), "--clear-env", "--"]).args(argv);
        let Output { status, stdout, stderr } = command.output().expect("lxc-attach starts");
        let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code().unwrap_or(-1), text)
    }

    /// How often a script that counts its starts was started in this container.
    pub(crate) fn starts(&self, place: u32, script: &str) -> usize {
        let text = fs::read_to_string(self.rootfs(place).join("starts")).unwrap_or_default();
        text.lines().filter(|line| *line == format!("{} {script}", self.ctid(place))).count()
    }

    /// Mounts a small file system in memory, unmounted with the ground.
    #[track_caller]
    pub(crate) fn mount_tmpfs(&mut self, name: &str, options: &str) {
        let path = self.path(name);
        let (options, target) = (format!("{options},mode=0755"), path.to_str().expect("plain"));
        host(&["mount", "-t", "tmpfs", "-o", &options, "phoenix-real", target]);
        self.mounts.push(path);
    }

    /// Every directory that processes of this ground are known by.
    pub(crate) fn directories(&self) -> Vec<PathBuf> {
        vec![self.directory.path().to_owned(), self.runtime.path().to_owned()]
    }

    /// Every control group of the ground's containers, in all hierarchies.
    pub(crate) fn control_groups(&self) -> Vec<PathBuf> {
        (0..5).flat_map(|place| cgroups(self.kind(), &self.ctid(place).to_string())).collect()
    }

    /// Kills every process of the ground, frozen ones too; those that will not end.
    #[must_use]
    pub(crate) fn end(&self) -> Vec<processes::Process> {
        processes::end_belonging(&self.directories(), || self.control_groups().iter().for_each(|group| thaw(group)))
    }

    /// Ends what a run of this test left that was killed: containers without a monitor, frozen ones among them.
    fn end_leftovers(&self) {
        let groups = self.control_groups();
        let monitors = groups.iter().flat_map(|group| members(group)).filter_map(Process::of).find(Process::is_monitor);
        assert_eq!(monitors, None, "another run of this test is at work");
        for group in groups.iter().rev() {
            tell(&format!("left by an earlier run: {}", group.display()));
            thaw(group);
            for pid in members(group) {
                kill(pid, Signal::KILL);
            }
            remove_cgroup(group);
        }
    }

    /// Removes control groups that the monitor of a killed container left behind; a crash of the host leaves none.
    pub(crate) fn remove_control_groups(&self) {
        self.control_groups().iter().for_each(|group| remove_cgroup(group));
    }

    /// Freezes a container, as a snapshot does.
    pub(crate) fn freeze(&self, place: u32) {
        let groups = cgroups(self.kind(), &self.ctid(place).to_string());
        let files = [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")];
        let switch = |group: &PathBuf| files.iter().map(|(file, word)| (group.join(file), *word)).find(|(file, _)| file.exists());
        let is_payload = |group: &&PathBuf| group.display().to_string().contains("lxc/") || group.display().to_string().contains("payload");
        let (file, word) = groups.iter().filter(is_payload).find_map(switch).expect("a freezer");
        fs::write(file, word).expect("frozen");
    }

    pub(crate) fn processes(&self) -> Vec<processes::Process> {
        processes::belonging(&self.directories())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("PHOENIX_TEST_KEEP").is_some() {
            self.directory.disable_cleanup(true);
        }
        let left = self.end();
        self.remove_control_groups();
        for mount in self.mounts.drain(..) {
            let _ = host_command(Path::new("umount")).arg("-l").arg(mount).status();
        }
        assert!(left.is_empty() || std::thread::panicking(), "these do not end: {left:#?}");
    }
}

impl Working {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal);
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// What it has said on stderr so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Said {
        let from = now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).expect("ended");
                return Said { code, stdout: read(&self.out), stderr: read(&self.err) };
            }
            assert!(from.elapsed() < RUN_MAX, "phoenix does not end:\n{}\n{}", read(&self.out), read(&self.err));
            pause(2);
        }
    }

    /// Kills it as nothing can be caught.
    #[track_caller]
    pub(crate) fn kill(self) -> Said {
        self.signal(Signal::KILL);
        self.wait()
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The containers of a status, of all fleets.
pub(crate) fn containers_of(status: &Value) -> Vec<Value> {
    let fleets = status["fleets"].as_array().into_iter().flatten();
    fleets.flat_map(|fleet| fleet["containers"].as_array().cloned().unwrap_or_default()).collect()
}

/// Runs a program of the host that must succeed.
#[track_caller]
pub(crate) fn host(argv: &[&str]) -> String {
    let output = host_command(Path::new(argv[0])).args(&argv[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("{argv:?}: {error}"));
    assert!(output.status.success(), "{argv:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "tests start Phoenix and the host's programs as a person does")]
pub(crate) fn host_command(program: &Path) -> Command {
    Command::new(program)
}

/// Whether a program is installed.
pub(crate) fn has(program: &str) -> bool {
    ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(program).exists())
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and figures are told")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

pub(crate) fn skip(why: &str) {
    let thread = std::thread::current();
    tell(&format!("skipped: {} {why}", thread.name().unwrap_or("test")));
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let programs = ["lxc-start", "lxc-attach", "busybox"];
    programs.iter().find(|program| !has(program)).map(|program| format!("needs {program}"))
}

fn read(path: &Path) -> String {
    let mut text = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut text)).expect("what it said");
    String::from_utf8_lossy(&text).into_owned()
}

/// The control groups of a container: `lxc.payload.CTID` and `lxc.monitor.CTID`, with a suffix where the name was taken; on
/// Proxmox `lxc/CTID` and `lxc.monitor/CTID`.
fn cgroups(kind: Kind, ctid: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter(|line| line.contains(" cgroup")).filter_map(|line| line.split(' ').nth(1));
    if kind == Kind::Pct {
        let groups = hierarchies.flat_map(|hierarchy| ["lxc", "lxc.monitor"].map(|group| Path::new(hierarchy).join(group).join(ctid)));
        return groups.filter(|group| group.is_dir()).collect();
    }
    let groups = hierarchies.flat_map(|hierarchy| fs::read_dir(hierarchy).into_iter().flatten().flatten());
    let is_its = |name: &str| ["lxc.payload", "lxc.monitor", "lxc.pivot"].iter().any(|kind| name.starts_with(&format!("{kind}.{ctid}")));
    groups.filter(|entry| is_its(&entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// The processes in a control group and below.
fn members(group: &Path) -> Vec<u32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let below = fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    own.lines().filter_map(|line| line.parse().ok()).chain(below.flat_map(|entry| members(&entry.path()))).collect()
}

/// Lets what is frozen in a control group and below go on.
fn thaw(group: &Path) {
    for (file, word) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
        if group.join(file).exists() {
            // Gone, if its last process has just ended.
            let _ = fs::write(group.join(file), word);
        }
    }
    fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()).for_each(|entry| thaw(&entry.path()));
}

fn remove_cgroup(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_cgroup(&entry.path());
    }
    // Not empty for a moment, while the kernel takes its processes apart.
    for _ in 0..50 {
        if fs::remove_dir(path).is_ok() || !path.exists() {
            return;
        }
        pause(10);
    }
}
