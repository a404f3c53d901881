//! Whether a started container is ready.
//!
//! Asked again and again with growing waits; the wait is on the init itself, so that its end is noticed at once. Not here:
//! health checks, which are asked later and counted.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::Duration;

use crate::ids::Target;
use crate::machine::{Evidence, FailureClass};
use crate::manifest::ReadyProbe;
use crate::plan::Init;
use crate::shim::Task;

use super::Backend;
use super::act::{Act, Taken, failed};
use super::inside::open_in_root;
use super::life::init_lost;
use super::proc::Held;

/// The wait after the first question, doubled each time up to [`ASK_AGAIN_MAX`]: a busybox init is ready within a millisecond.
const ASK_AGAIN_MIN: Duration = Duration::from_millis(1);
/// The longest wait between questions answered by reading a file.
const ASK_AGAIN_MAX: Duration = Duration::from_millis(50);
/// The shortest wait between questions that cost a process.
const ASK_AGAIN_BY_PROCESS: Duration = Duration::from_millis(250);
/// A listening socket in `/proc/net/tcp` (`TCP_LISTEN`).
const LISTENING: &str = "0A";

/// How much of `/proc/net/tcp` is read. Those that listen stand first, so that any number of connections behind them fits.
const SOCKETS_BYTES_MAX: u64 = 16 * 1024 * 1024;

impl<B: Backend> Act<'_, B> {
    pub(in crate::host) fn await_ready(&self, init: &Init) -> Taken {
        self.check_mark()?;
        let held = self.hold(init)?;
        let mut wait = ASK_AGAIN_MIN;
        loop {
            if let Some(basis) = self.ask_ready(&held)? {
                return if held.is_alive() { Ok(Evidence::Ready { init: init.clone(), basis }) } else { Err(init_lost(init)) };
            }
            if self.remaining().is_zero() {
                let message = format!("the container was not ready in time ({})", what_is_asked(&self.effect.spec.ready.probe));
                return Err(failed(FailureClass::Timeout, message));
            }
            if held.ends_within(self.remaining_at_most(wait)) {
                return Err(init_lost(init));
            }
            wait = (wait * 2).min(ASK_AGAIN_MAX);
        }
    }

    /// Whether the question takes a process inside, which nobody starts who only looks.
    pub(in crate::host) fn asks_inside(&self, held: &Held) -> bool {
        match &self.effect.spec.ready.probe {
            ReadyProbe::Init => held.comm().is_none_or(|comm| comm == "systemd"),
            ReadyProbe::Command(_) => true,
            ReadyProbe::Port(_) | ReadyProbe::File(_) => false,
        }
    }

    /// What the answer yes rests on; `None` for not yet.
    pub(in crate::host) fn ask_ready(&self, held: &Held) -> Taken<Option<String>> {
        if !held.parent().is_some_and(|parent| held.has_executed(parent)) {
            return Ok(None);
        }
        match &self.effect.spec.ready.probe {
            ReadyProbe::Init => self.ask_init(held),
            ReadyProbe::Command(command) => {
                let yes = self.ask_command(held, command.clone())?;
                Ok(yes.then(|| format!("`{}` exited with 0", command.join(" "))))
            }
            ReadyProbe::Port(port) => Ok(listens(held.pid, *port).then(|| format!("port {port} listens"))),
            ReadyProbe::File(file) => Ok(exists(held.pid, file).then(|| format!("{file} exists"))),
        }
    }

    /// Any other init than systemd is ready when it was executed.
    fn ask_init(&self, held: &Held) -> Taken<Option<String>> {
        let comm = held.comm().unwrap_or_default();
        if comm != "systemd" {
            return Ok(Some(format!("init was executed ({comm})")));
        }
        // `--wait` blocks until the start has ended, where systemd knows it (240); older ones answer `starting` at once.
        let argv = ["systemctl", "is-system-running", "--wait"].map(str::to_owned).to_vec();
        let result = self.ask(held, argv)?;
        let answer = String::from_utf8_lossy(&result.output().unwrap_or_default()).trim().to_owned();
        // `degraded` is no longer starting: what failed is for health checks to find.
        if matches!(answer.as_str(), "running" | "degraded" | "maintenance" | "stopping") {
            return Ok(Some(format!("systemd is {answer}")));
        }
        held.ends_within(self.remaining_at_most(ASK_AGAIN_BY_PROCESS));
        Ok(None)
    }

    fn ask_command(&self, held: &Held, argv: Vec<String>) -> Taken<bool> {
        let yes = self.ask(held, argv)?.ending.is_success();
        if !yes {
            held.ends_within(self.remaining_at_most(ASK_AGAIN_BY_PROCESS));
        }
        Ok(yes)
    }

    fn ask(&self, held: &Held, argv: Vec<String>) -> Taken<crate::shim::JobResult> {
        let task = Task::Command { container: self.container(held), argv, env: self.base_environment() };
        self.run(task, Vec::new(), Vec::new())
    }
}

fn what_is_asked(probe: &ReadyProbe) -> String {
    match probe {
        ReadyProbe::Init => "init executed and no longer starting".to_owned(),
        ReadyProbe::Command(command) => format!("`{}`", command.join(" ")),
        ReadyProbe::Port(port) => format!("port {port}"),
        ReadyProbe::File(file) => format!("file {file}"),
    }
}

/// Whether a socket listens on `port` in the network of process `pid`.
fn listens(pid: u32, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|table| {
        let Ok(file) = File::open(format!("/proc/{pid}/net/{table}")) else { return false };
        has_listener(file, port)
    })
}

/// Line by line: a container may have any number of sockets, and they are asked for again and again.
fn has_listener(table: impl Read, port: u16) -> bool {
    let lines = BufReader::new(table.take(SOCKETS_BYTES_MAX)).lines();
    lines.skip(1).map_while(Result::ok).any(|line| is_listening(&line, port))
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state (`proc_net(5)`), all in hex.
fn is_listening(line: &str, port: u16) -> bool {
    let mut words = line.split_ascii_whitespace().skip(1);
    let local = words.next().and_then(|address| address.rsplit_once(':')).and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
    local == Some(port) && words.nth(1) == Some(LISTENING)
}

/// Whether a file exists as process `pid` sees it. A mount of the container may lie on the way: here crossing is allowed, and
/// nothing is read.
fn exists(pid: u32, file: &Target) -> bool {
    let Ok(root) = File::open(format!("/proc/{pid}/root")) else { return false };
    let path = Path::new(file.as_str().trim_start_matches('/'));
    open_in_root(&root, path, rustix::fs::OFlags::PATH).is_ok() || crosses(&root, path)
}

fn crosses(root: &File, path: &Path) -> bool {
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::openat2(root, path, flags, rustix::fs::Mode::empty(), resolve).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_number_of_sockets_the_first_are_read() {
        let heading = "  sl  local_address rem_address   st\n";
        let listening = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000\n";
        let without_end = || std::io::repeat(b' ');
        assert!(has_listener(heading.as_bytes().chain(listening.as_bytes()).chain(without_end()), 8080));
        assert!(!has_listener(heading.as_bytes().chain(without_end()), 8080));
    }

    #[test]
    fn only_listening_sockets_of_the_port_count() {
        let listening = "   0: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000";
        let connected = "   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000";
        let six = "   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 0:0";
        assert!(is_listening(listening, 8080) && is_listening(six, 8080));
        assert!(!is_listening(connected, 8080) && !is_listening(listening, 80) && !is_listening("", 80));
    }
}
