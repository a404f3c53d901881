//! A root for a test: made, filled, watched, and left without a trace.
//!
//! Not here: what the programs do in it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::fault::Fault;
use crate::lxc;
use crate::mounting::mounts_below;
use crate::root::{HOOKS, MANAGER_PROGRAMS, PROGRAMS, Root, Vmid};
use crate::storage::StorageKind;
use crate::vmlist;

/// A root in which the programs are installed. When it is dropped, its containers, processes, mounts and control groups are
/// gone; the directory itself belongs to the caller.
#[derive(Debug)]
pub struct Installed {
    root: Root,
}

/// One call of a program that was counted. Workers are not calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The process.
    pub pid: u32,
    /// The program's name and its arguments.
    pub argv: Vec<String>,
}

/// The name of the node.
const NODE: &str = "vm";
/// Programs of the host that are started for a root, and name it.
const STARTED: [&str; 8] = ["lxc-start", "lxc-stop", "lxc-attach", "lxc-info", "lxc-usernsexec", "tar", "cp", "rsync"];
/// How long processes are waited for that were killed.
const END_MS: u64 = 5000;

impl Installed {
    /// Installs the programs into `directory`, with a storage `local` of kind `dir` and no container. The directory has to be
    /// one that the containers' root gets through to.
    pub fn new(directory: &Path) -> io::Result<Self> {
        let root = Root::at(directory);
        let nodes = format!("etc/pve/nodes/{NODE}");
        let directories = [
            PROGRAMS,
            MANAGER_PROGRAMS,
            HOOKS,
            "etc/pve",
            "etc/pve/ha",
            "etc/pve/firewall",
            "var/lib/lxc",
            "var/lib/vz/template/cache",
            "var/lib/vz/snippets",
            "run/lock/lxc",
            "run/pve",
            "var/log/pve/tasks",
            "test",
        ];
        for name in directories.iter().map(PathBuf::from).chain([Path::new(&nodes).join("lxc"), Path::new(&nodes).join("qemu-server")]) {
            fs::create_dir_all(root.join(name))?;
        }
        for path in ["", "var", "var/lib", "var/lib/lxc", "var/lib/vz"].map(|name| root.join(name)) {
            fs::set_permissions(path, PermissionsExt::from_mode(0o755))?;
        }
        symlink(format!("nodes/{NODE}/lxc"), root.join("etc/pve/lxc"))?;
        symlink(format!("nodes/{NODE}"), root.join("etc/pve/local"))?;
        fs::write(root.join("etc/pve/.members"), format!("{{\n\"nodename\": \"{NODE}\",\n\"version\": 0\n}}\n"))?;
        fs::write(root.join("etc/pve/storage.cfg"), "")?;
        vmlist::update(&root).map_err(io::Error::other)?;
        let program = program()?;
        let installed = Self { root };
        for name in ["pct", "pveam", "pvesh", "pvesm", "pveversion"] {
            place(program, &installed.program(name))?;
        }
        for name in [lxc::PRE_START, lxc::POST_STOP].map(|name| Path::new(HOOKS).join(name)) {
            place(program, &installed.root.join(name))?;
        }
        installed.storage("local", StorageKind::Dir)?;
        Ok(installed)
    }

    /// Where it is installed.
    pub fn root(&self) -> &Root {
        &self.root
    }

    /// A program of the root: `pct`, `pveam`, `pvesm` or `pveversion`.
    pub fn program(&self, name: &str) -> PathBuf {
        let place = if ["pveam", "pvesh", "pveversion"].contains(&name) { MANAGER_PROGRAMS } else { PROGRAMS };
        self.root.join(place).join(name)
    }

    /// Adds a storage. The first, `local`, is `/var/lib/vz` of the root; others are beside it.
    pub fn storage(&self, name: &str, kind: StorageKind) -> io::Result<()> {
        let vz = self.root.join("var/lib/vz");
        let path = if name == "local" { vz } else { vz.join(name) };
        let place = match kind {
            StorageKind::Dir | StorageKind::Btrfs => format!("\tpath {}\n", path.display()),
            StorageKind::LvmThin => format!("\tthinpool data\n\tvgname {name}\n"),
            StorageKind::ZfsPool => format!("\tpool rpool/{name}\n"),
            StorageKind::Lvm => format!("\tvgname {name}\n"),
            StorageKind::Rbd => format!("\tpool {name}\n"),
        };
        let content = if kind.has_path() { "iso,vztmpl,backup,rootdir,images,snippets" } else { "rootdir,images" };
        let directory = if kind.has_path() { path } else { self.root.test("volumes").join(name) };
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, PermissionsExt::from_mode(0o755))?;
        append(&self.root.join("etc/pve/storage.cfg"), &format!("{}: {name}\n{place}\tcontent {content}\n\n", kind.name()))
    }

    /// Puts a template into `local`; its name for `pct create`.
    pub fn template(&self, file: &Path, name: &str) -> io::Result<String> {
        fs::copy(file, self.root.join("var/lib/vz/template/cache").join(name))?;
        Ok(format!("local:vztmpl/{name}"))
    }

    /// Puts a template where `pveam download` finds it.
    pub fn available(&self, file: &Path, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.test("available"))?;
        fs::copy(file, self.root.test("available").join(name)).map(drop)
    }

    /// Makes a bridge of this name exist for the root; it connects nothing.
    pub fn bridge(&self, name: &str) -> io::Result<()> {
        fs::create_dir_all(self.root.join("sys/class/net").join(name).join("bridge"))
    }

    /// Orders a fault: `create 900101 kill-after volume`. The forms are described in `fault.rs`.
    pub fn fault(&self, line: &str) -> io::Result<()> {
        let words = line.splitn(3, ' ').nth(2).unwrap_or_default();
        Fault::parse(words).map_err(|why| io::Error::new(io::ErrorKind::InvalidInput, why))?;
        append(&self.root.test("faults"), &format!("{line}\n"))
    }

    /// The faults that nobody met yet.
    pub fn faults_left(&self) -> Vec<String> {
        fs::read_to_string(self.root.test("faults")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// Makes a command, a piece of one (`create.unpack`), or `lock-timeout` take this long.
    pub fn delay(&self, what: &str, ms: u64) -> io::Result<()> {
        append(&self.root.test("delays"), &format!("{what} {ms}\n"))
    }

    /// Every call so far, in order.
    pub fn calls(&self) -> Vec<Counted> {
        let text = fs::read_to_string(self.root.test("calls")).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split('\t');
            let (time_ms, pid) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            Some(Counted { time_ms, pid, argv: words.map(str::to_owned).collect() })
        };
        text.lines().filter_map(read).collect()
    }

    /// Counts from nothing again.
    pub fn forget_calls(&self) -> io::Result<()> {
        fs::write(self.root.test("calls"), "")
    }

    /// The text of a container's configuration; nothing if it does not exist.
    pub fn conf(&self, id: Vmid) -> Option<String> {
        fs::read_to_string(self.root.conf(id)).ok()
    }

    /// Whether LXC has the container running.
    pub fn is_running(&self, id: Vmid) -> bool {
        lxc::is_running(&self.root, id)
    }

    /// What is mounted at and below a container's `rootfs`.
    pub fn mounts(&self, id: Vmid) -> Vec<PathBuf> {
        mounts_below(&self.root.mounted(id))
    }

    /// Ends everything that runs, takes off every mount, removes the control groups. What could not be ended, in words.
    pub fn end(&self) -> Vec<String> {
        self.programs().into_iter().for_each(kill);
        let containers = fs::read_dir(self.root.lxc_path()).into_iter().flatten().flatten();
        let ids: Vec<Vmid> = containers.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        for id in &ids {
            // A frozen process does not end when it is killed.
            let _ = lxc::freeze(&self.root, *id, false);
            groups(*id).iter().flat_map(|group| members(group)).for_each(kill);
        }
        let mut left = Vec::new();
        for id in &ids {
            if !waited(|| !lxc::is_running(&self.root, *id)) {
                left.push(format!("container {id}"));
            }
        }
        if !waited(|| self.programs().is_empty()) {
            left.push(format!("programs {:?}", self.programs()));
        }
        for point in mounts_below(self.root.path()).into_iter().rev() {
            if let Err(error) = rustix::mount::unmount(&point, rustix::mount::UnmountFlags::DETACH) {
                left.push(format!("mount {}: {error}", point.display()));
            }
        }
        ids.iter().flat_map(|id| groups(*id)).for_each(|group| remove_group(&group));
        left
    }

    /// What a crash of the host leaves: no process, no mount, nothing under `run`, and everything else as it was.
    pub fn crash(&self) -> Vec<String> {
        let left = self.end();
        for directory in ["run/lock/lxc", "run/lock/pve-manager", "run/pve"].map(|name| self.root.join(name)) {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                // Gone with the crash, or made anew meanwhile.
                let _ = fs::remove_file(entry.path());
            }
        }
        left
    }

    /// Processes that are programs of this root, workers and hooks among them, and what those started on the host.
    fn programs(&self) -> Vec<Pid> {
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let inside = self.root.path().to_string_lossy().into_owned() + "/";
        let is_ours = |path: &Path| {
            let Ok(program) = fs::read_link(path.join("exe")) else { return false };
            let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let words = || fs::read(path.join("cmdline")).unwrap_or_default();
            let about = || words().windows(inside.len()).any(|window| window == inside.as_bytes());
            program.starts_with(self.root.join("usr")) || (STARTED.contains(&name.as_str()) && about())
        };
        let ours = processes.filter(|entry| is_ours(&entry.path()));
        ours.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        let left = self.end();
        assert!(left.is_empty() || std::thread::panicking(), "these do not end: {left:?}");
    }
}

fn kill(pid: Pid) {
    // It may have ended by itself.
    let _ = kill_process(pid, Signal::KILL);
}

fn waited(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..END_MS / 5 {
        if done() {
            return true;
        }
        clock::pause(5);
    }
    done()
}

/// The control groups of a container and its monitor, in every hierarchy.
fn groups(id: Vmid) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let hierarchies = mounts.lines().filter(|line| line.contains(" cgroup")).filter_map(|line| line.split(' ').nth(1));
    let both = hierarchies.flat_map(|hierarchy| ["lxc", "lxc.monitor"].map(|group| Path::new(hierarchy).join(group).join(id.to_string())));
    both.filter(|group| group.is_dir()).collect()
}

/// The processes in a control group and below.
fn members(group: &Path) -> Vec<Pid> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let own = own.lines().filter_map(|line| Pid::from_raw(line.parse().ok()?)).collect::<Vec<_>>();
    let below = fs::read_dir(group).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir());
    own.into_iter().chain(below.flat_map(|entry| members(&entry.path()))).collect()
}

fn remove_group(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        remove_group(&entry.path());
    }
    // In use for a moment, while the kernel takes its processes apart; gone if LXC was faster.
    waited(|| fs::remove_dir(path).is_ok() || !path.exists());
}

fn append(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path)?;
    io::Write::write_all(&mut file, text.as_bytes())
}

/// A file of its own, so that the kernel's name for the running program is the one in the root.
fn place(program: &Path, at: &Path) -> io::Result<()> {
    fs::hard_link(program, at).or_else(|_| fs::copy(program, at).map(drop))
}

/// The built program, as new as its sources. `PHOENIX_TEST_PCT` names another one.
fn program() -> io::Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| std::env::var_os("PHOENIX_TEST_PCT").map_or_else(build, |path| Ok(PathBuf::from(path))));
    built.as_deref().map_err(|why| io::Error::other(why.clone()))
}

/// Cargo does not build the programs of a package that others depend on.
#[expect(clippy::disallowed_methods, reason = "a test asks cargo for a program that cargo alone knows how to build")]
fn build() -> Result<PathBuf, String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    // TARGET/PROFILE/deps/TEST
    let profile = test.ancestors().nth(2).ok_or("the test has no place")?;
    let target = profile.parent().ok_or("the test has no place")?;
    let name = profile.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--offline", "--package", env!("CARGO_PKG_NAME"), "--target-dir"]).arg(target);
    build.args([
        "--profile",
        if name == "debug" { "dev" } else { name },
        "--manifest-path",
        concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
    ]);
    let output = build.output().map_err(|error| format!("cargo: {error}"))?;
    if output.status.success() {
        Ok(profile.join(env!("CARGO_PKG_NAME")))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
