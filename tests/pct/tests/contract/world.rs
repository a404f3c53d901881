//! A root for one test, and the programs of it run as a person runs them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use phoenix_test_pct::{Installed, StorageKind, Vmid};

pub(crate) struct World {
    pub(crate) pct: Installed,
    // Last: its contents are unmounted before it is removed.
    directory: tempfile::TempDir,
}

/// How a program ended and what it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// Its exit code; 128 and the signal's number if one ended it.
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A root with the storages of the recordings, or nothing, with the reason printed.
    pub(crate) fn new() -> Option<Self> {
        if let Some(why) = missing() {
            assert!(std::env::var_os("PHOENIX_TEST_LXC").is_none_or(|value| value != "require"), "LXC is required here: {why}");
            skip(&why);
            return None;
        }
        let directory = tempfile::Builder::new().prefix("phoenix-pct-").tempdir_in("/var/tmp").expect("a directory");
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).expect("a mode");
        let pct = Installed::new(directory.path()).expect("installed");
        for (name, kind) in [("btr", StorageKind::Btrfs), ("dir2", StorageKind::Dir)] {
            pct.storage(name, kind).expect("a storage");
        }
        pct.template(template(), "busybox-1.0_amd64.tar.gz").expect("a template");
        pct.bridge("vmbr0").expect("a bridge");
        Some(Self { pct, directory })
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A program of the root, where this root has it.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = host_command(&self.pct.program(words[0]));
        command.args(&words[1..]).stdin(Stdio::null());
        command
    }

    /// Runs a program of the root: the line is split at spaces.
    pub(crate) fn run(&self, line: &str) -> Said {
        let words: Vec<&str> = line.split(' ').collect();
        said(&mut self.command(&words))
    }

    /// The same; it must end with exit code 0.
    #[track_caller]
    pub(crate) fn does(&self, line: &str) -> String {
        let said = self.run(line);
        assert_eq!(said.code, 0, "{line}: {said:?}");
        said.stdout
    }

    /// The same; it must fail with this text on stderr.
    #[track_caller]
    pub(crate) fn fails(&self, line: &str, stderr: &str) -> Said {
        let said = self.run(line);
        assert!(said.code != 0, "{line}: {said:?}");
        assert_eq!(said.stderr, format!("{stderr}\n"), "{line}: {said:?}");
        said
    }

    /// A container of busybox, as small as it can be.
    #[track_caller]
    pub(crate) fn create(&self, id: u32, more: &str) {
        let line = format!("pct create {id} local:vztmpl/busybox-1.0_amd64.tar.gz --ostype unmanaged --arch amd64 --unprivileged 1 {more}");
        self.does(line.trim_end());
    }

    #[track_caller]
    pub(crate) fn conf(&self, id: u32) -> String {
        self.pct.conf(Vmid::new(id)).unwrap_or_else(|| panic!("{id} has no configuration"))
    }
}

#[track_caller]
pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let code = output.status.code().or_else(|| output.status.signal().map(|signal| 128 + signal)).expect("ended");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Said { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

#[expect(clippy::disallowed_methods, reason = "tests run the programs as a person does")]
pub(crate) fn host_command(program: &Path) -> Command {
    Command::new(program)
}

/// The busybox template, made once by the script that the README names.
pub(crate) fn template() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pct-template.tar.gz");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/make-template");
        let made = said(host_command(&script).arg(&path));
        assert_eq!(made.code, 0, "{made:?}");
        path
    })
}

fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let has =
        |program: &str| ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|directory| Path::new(directory).join(program).exists());
    ["lxc-start", "lxc-attach", "lxc-usernsexec", "busybox"].iter().find(|program| !has(program)).map(|program| format!("needs {program}"))
}

fn skip(why: &str) {
    let thread = std::thread::current();
    tell(&format!("skipped: {} {why}", thread.name().unwrap_or("test")));
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and a broken one why")]
pub(crate) fn tell(text: &str) {
    eprintln!("{text}");
}

#[expect(clippy::disallowed_methods, reason = "tests poll the host for what the programs do to it")]
pub(crate) fn waited(mut done: impl FnMut() -> bool) -> bool {
    for _ in 0..5000 {
        if done() {
            return true;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    done()
}
