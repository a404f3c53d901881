//! A directory with a fleet and a journal of its own, and the binary run in it.
//!
//! Apart from the tests so that they state facts. The environment is empty but for what is set here.

#![allow(dead_code, reason = "each test binary uses the part it needs")]

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use phoenix::host::sim::{Flow, Sim, Tamper, WorldOptions};
use tempfile::TempDir;

/// Where a test plays.
pub(crate) struct Stage {
    directory: std::rc::Rc<TempDir>,
    variables: Vec<(String, String)>,
}

/// How a command ended, and what it said.
pub(crate) struct Ended {
    pub(crate) arguments: Vec<String>,
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

const FLEET: &str = r#"{
  "fleet": "homelab",
  "volumes": { "media": { "source": "/srv/media", "owner": { "uid": 1000, "gid": 1000 } } },
  "containers": {
    "101": { "hostname": "db", "template": "t.tar", "features": ["s/base.sh"], "application": "s/app.sh",
             "health": [ { "name": "up", "command": ["true"] } ] },
    "102": { "hostname": "web", "template": "t.tar", "depends_on": ["101"], "features": ["s/base.sh"],
             "volumes": [ { "volume": "media", "at": "/srv/media" } ] }
  }
}
"#;

/// The longest that a test waits for something that has to happen.
const WAIT_MAX: Duration = Duration::from_secs(60);

impl Stage {
    pub(crate) fn empty() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { directory: std::rc::Rc::new(directory), variables: Vec::new() }
    }

    pub(crate) fn with_fleet() -> Self {
        let stage = Self::empty();
        std::fs::create_dir(stage.path().join("s")).expect("a directory");
        stage.write("s/base.sh", "#!/bin/sh\necho base\n");
        stage.write("s/app.sh", "#!/bin/sh\necho app\n");
        stage.write("t.tar", "");
        stage.write("fleet.json", FLEET);
        stage
    }

    /// The same stage with a variable set.
    pub(crate) fn env(&self, name: &str, value: &str) -> Self {
        let mut variables = self.variables.clone();
        variables.push((name.to_owned(), value.to_owned()));
        Self { directory: self.directory.clone(), variables }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).expect("a file");
    }

    /// Does to the simulated host what others might.
    pub(crate) fn tamper(&self, tamper: &Tamper) {
        let sim = Sim::open(&self.path().join("journal/journal.db.sim"), WorldOptions::seeded(1), Flow::Still).expect("a world");
        sim.tamper(tamper).expect("a world that can be saved");
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        let output = self.command(arguments).stdin(Stdio::null()).output().expect("the binary runs");
        ended(arguments, &output)
    }

    /// With a stdout that nobody reads.
    pub(crate) fn run_closed(&self, arguments: &[&str]) -> Ended {
        let mut child =
            self.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        drop(child.stdout.take());
        ended(arguments, &child.wait_with_output().expect("it ends"))
    }

    /// A slow `up` that gets one signal.
    pub(crate) fn interrupted_once(&self) -> Ended {
        self.interrupted_at("define.create", &["up", "fleet.json"])
    }

    /// A slow `up` that gets two signals.
    pub(crate) fn interrupted(&self) -> Ended {
        let mut child = self.slow("20000", &["up", "fleet.json"]);
        self.until(&mut child, "define.create");
        for _ in 0..2 {
            send(&child, rustix::process::Signal::INT);
            // Two signals of one kind that arrive together count as one.
            self.run(&["status"]).well();
        }
        ended(&["up"], &child.wait_with_output().expect("it ends"))
    }

    /// Does something while an `up` holds the journal.
    pub(crate) fn while_up_is_running(&self, what: impl FnOnce(&Self) -> Ended) -> Ended {
        let mut child = self.slow("20000", &["up", "fleet.json"]);
        self.until(&mut child, "define.create");
        let done = what(self);
        send(&child, rustix::process::Signal::KILL);
        child.wait().expect("it ends");
        done
    }

    /// Takes the simulated host down and up again.
    pub(crate) fn reboot(&self) {
        let sim = Sim::open(&self.path().join("journal/journal.db.sim"), WorldOptions::seeded(1), Flow::Still).expect("a world");
        sim.change(phoenix::host::sim::World::crash_host).expect("a world that can be saved");
    }

    /// The containers that are up on the simulated host.
    pub(crate) fn running(&self) -> Vec<u32> {
        let sim = Sim::open(&self.path().join("journal/journal.db.sim"), WorldOptions::seeded(1), Flow::Still).expect("a world");
        let mut found = Vec::new();
        let look = |world: &mut phoenix::host::sim::World| {
            found = [101, 102]
                .into_iter()
                .filter(|&ctid| world.running_idmap(phoenix::ids::Ctid::new(ctid).expect("a number")).is_some())
                .collect();
        };
        sim.change(look).expect("a world that can be looked at");
        found
    }

    /// A slow `up`, killed with a step in flight.
    pub(crate) fn killed_in_the_middle(&self) {
        let mut child = self.slow("20000", &["up", "fleet.json"]);
        self.until(&mut child, "define.create");
        send(&child, rustix::process::Signal::KILL);
        child.wait().expect("it ends");
    }

    /// Phoenix, that gets a signal while it is at this step.
    pub(crate) fn interrupted_at(&self, step: &str, arguments: &[&str]) -> Ended {
        let mut child = self.slow("1000", arguments);
        self.until(&mut child, step);
        send(&child, rustix::process::Signal::INT);
        ended(arguments, &child.wait_with_output().expect("it ends"))
    }

    /// Phoenix, for which a second of the simulated host takes this many milliseconds.
    fn slow(&self, pace: &str, arguments: &[&str]) -> Child {
        let stage = self.env("PHOENIX_SIM_PACE", pace);
        stage.command(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
    }

    /// Waits until the journal names a step.
    fn until(&self, child: &mut Child, step: &str) {
        #[expect(clippy::disallowed_methods, reason = "a test that waits for another process needs an end")]
        let begun = Instant::now();
        while !self.run(&["status", "--json"]).out.contains(step) {
            assert!(begun.elapsed() < WAIT_MAX, "{step} was not begun in time");
            assert!(child.try_wait().expect("a child").is_none(), "it ended too soon");
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the binary under test is a child of the test")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_phoenix"));
        command.args(arguments).current_dir(self.path()).env_clear();
        // The bug that `scripts/sabotage` has switched on.
        command.envs(std::env::var_os("PHOENIX_SABOTAGE").map(|bug| ("PHOENIX_SABOTAGE", bug)));
        command.env("PHOENIX_JOURNAL", self.path().join("journal/journal.db")).env("TZ", "UTC").env("HOME", self.path());
        let named = arguments.contains(&"--host");
        // The journal says which host it belongs to; before there is one, or where it is not believed, it has to be said, lest the
        // containers of this machine are touched.
        if !named && (!self.path().join("journal/journal.db").exists() || arguments.contains(&"rebuild")) {
            command.args(["--host", "sim"]);
        }
        for (name, value) in &self.variables {
            command.env(name, value);
        }
        command
    }
}

impl Ended {
    #[track_caller]
    pub(crate) fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}", self.whole());
        self
    }

    #[track_caller]
    pub(crate) fn well(self) -> Self {
        self.ended(0)
    }

    /// Everything, for a snapshot.
    pub(crate) fn whole(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "$ phoenix {}", self.arguments.join(" "));
        for (name, said) in [("stdout", &self.out), ("stderr", &self.err)] {
            if !said.is_empty() {
                let _ = writeln!(text, "--- {name}\n{}", said.trim_end());
            }
        }
        let _ = writeln!(text, "--- exit {}", self.code);
        text
    }
}

/// Snapshots without what differs from run to run.
pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_omit_expression(true);
    settings.set_prepend_module_to_snapshot(false);
    settings.add_filter(r"\b[0-9a-f]{64}\b", "[digest]");
    settings.add_filter(r"\b[0-9a-f]{32}\b", "[id]");
    settings.add_filter(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "[time]");
    settings.add_filter(r"\d{4}-\d\d-\d\d( \d\d:\d\d:\d\d)?", "[date]");
    settings.add_filter(r"\b\d\d:\d\d:\d\d\b", "[time]");
    settings.add_filter(r"/[^ `]*/journal/", "[dir]/journal/");
    settings.add_filter(r"`/[^ `]*/phoenix ", "`phoenix ");
    settings.add_filter(r"\(pid \d+", "(pid [pid]");
    settings.add_filter(r"(?m)(  +)\d+[smhd]$", "$1[age]");
    settings.add_filter(r"for \d+[smhd];", "for [age];");
    settings.add_filter(r"\d+\.\d s\b", "[took]");
    settings
}

fn ended(arguments: &[&str], output: &Output) -> Ended {
    Ended {
        arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn send(child: &Child, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, signal).expect("it lives");
}
