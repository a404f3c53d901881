//! Workers: a process and session of their own that does a command's work, is named by its task, and leaves a log.
//!
//! The real program forks. Here the program starts itself with the same command line, makes a session, and becomes itself once
//! more under the worker's name, so that process and start time in the task's id are its own. What the worker says goes
//! through a pipe to the process that waits for it, which says it again and writes it to the log: a worker whose `pct` was
//! killed lives on until it next says something.
//!
//! Not here: the work (the commands).

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command as Process, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process_group, setsid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::call::{Call, Command, Run};
use crate::clock;
use crate::conf;
use crate::died::{Died, Outcome, die, err, out};
use crate::fault::BEGIN;
use crate::root::Root;

/// Tells a worker what it is to do; its fields are separated by [`SEPARATOR`].
const VARIABLE: &str = "PHOENIX_TEST_PCT_WORKER";
const SEPARATOR: char = '\u{1f}';
/// How often a worker is asked to end before it is killed.
const POLITE: u32 = 3;
/// How long one look at a child is apart from the next.
const POLL_MS: u64 = 2;

static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Starts the worker of a call and waits for it; the exit code of the program.
pub(crate) fn run(call: &Call, kind: &str) -> Outcome<u8> {
    let started = clock::now_s();
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT, SIGQUIT]).map_err(|error| no_worker(&error))?;
    let (read, write) = std::io::pipe().map_err(|error| no_worker(&error))?;
    let words = [started.to_string(), kind.to_owned(), std::process::id().to_string(), call.fault_words.clone().unwrap_or_default()];
    let mut process = myself()?;
    process.arg0("pct").arg(call.command.name).args(&call.args).env(VARIABLE, words.join(&SEPARATOR.to_string()));
    process.stdout(write.try_clone().map_err(|error| no_worker(&error))?).stderr(write);
    let mut child = process.spawn().map_err(|error| no_worker(&error))?;
    // The pipe ends when the worker's side is closed everywhere.
    drop(process);
    let task = Task { root: &call.root, upid: upid(call, kind, child.id(), started) };
    let worker = Pid::from_child(&child);
    std::thread::spawn(move || {
        for (count, _) in (0..).zip(signals.forever()) {
            // It may have ended already.
            let _ = kill_process_group(worker, if count < POLITE { Signal::TERM } else { Signal::KILL });
        }
    });
    let log = task.follow(BufReader::new(read));
    let _ = child.wait();
    task.end(log.as_deref());
    Ok(if log.as_deref() == Some("OK") { 0 } else { 255 })
}

fn no_worker(error: &std::io::Error) -> Died {
    Died::new(format!("unable to fork worker - {error}"))
}

#[expect(clippy::disallowed_methods, reason = "the program starts itself as its own worker")]
fn myself() -> Outcome<Process> {
    std::env::current_exe().map(Process::new).map_err(|error| no_worker(&error))
}

/// `UPID:node:pid:pstart:starttime:type:id:user:`, numbers in hexadecimal.
fn upid(call: &Call, kind: &str, pid: u32, started: u64) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The 22nd field; the second, a name in brackets, may hold anything.
    let since: u64 = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(20)?.parse().ok()).unwrap_or(0);
    format!("UPID:{}:{pid:08X}:{since:08X}:{started:08X}:{kind}:{}:root@pam:", call.root.node(), call.id())
}

/// A task's files: its log, `active` and `index`.
struct Task<'a> {
    root: &'a Root,
    upid: String,
}

impl Task<'_> {
    fn directory(&self) -> PathBuf {
        self.root.join("var/log/pve/tasks")
    }

    fn log(&self) -> PathBuf {
        let started = self.upid.split(':').nth(4).unwrap_or("0");
        self.directory().join(&started[started.len() - 1..]).join(&self.upid)
    }

    /// Says what the worker says until it is silent; the task's status as the log ends.
    fn follow(&self, mut pipe: BufReader<std::io::PipeReader>) -> Option<String> {
        let mut log = self.open_log();
        let mut status = None;
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            if let Some(log) = &mut log {
                // The log is for people; the work does not depend on it.
                let _ = log.write_all(&line);
            }
            let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
            match (text.as_str(), text.strip_prefix("TASK ERROR: ")) {
                ("TASK OK", _) => status = Some("OK".to_owned()),
                (_, Some(error)) => {
                    err(error);
                    status = Some(error.to_owned());
                }
                (text, None) => out(text),
            }
            line.clear();
        }
        status
    }

    fn open_log(&self) -> Option<File> {
        let log = self.log();
        fs::create_dir_all(log.parent()?).ok()?;
        self.active(|lines| lines.push(format!("{} 0", self.upid)));
        OpenOptions::new().append(true).create(true).open(log).ok()
    }

    fn end(&self, status: Option<&str>) {
        let status = status.unwrap_or("unexpected status");
        let line = format!("{} {:X} {status}", self.upid, clock::now_s());
        self.active(|lines| {
            lines.retain(|found| !found.starts_with(&self.upid));
            lines.push(line.clone());
        });
        let index = OpenOptions::new().append(true).create(true).open(self.directory().join("index"));
        let _ = index.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
    }

    /// Changes the list of tasks that run or ended lately.
    fn active(&self, change: impl FnOnce(&mut Vec<String>)) {
        let Ok(lock) = File::create(self.directory().join(".active.lock")) else { return };
        if flock(&lock, FlockOperation::LockExclusive).is_err() {
            return;
        }
        let path = self.directory().join("active");
        let mut lines: Vec<String> = fs::read_to_string(&path).unwrap_or_default().lines().map(str::to_owned).collect();
        change(&mut lines);
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        let _ = conf::replace(&path, &text);
    }
}

/// If this process is to be a worker: becomes it and does the work.
pub(crate) fn work_if_asked(root: &Root, find: impl Fn(&str) -> Option<&'static Command>) -> Option<ExitCode> {
    let asked = std::env::var(VARIABLE).ok()?;
    let words: Vec<String> = asked.split(SEPARATOR).map(str::to_owned).collect();
    let named = std::env::args_os().next().is_some_and(|name| name.to_string_lossy().starts_with("task UPID:"));
    let worked = if named { work(root, find, &words) } else { become_worker(root, find, &words) };
    Some(match worked {
        Ok(()) => {
            out("TASK OK");
            ExitCode::SUCCESS
        }
        Err(died) => {
            err(&format!("TASK ERROR: {}", died.text));
            ExitCode::from(255)
        }
    })
}

/// The first life: the same command line as the program that waits, as after a fork.
fn become_worker(root: &Root, find: impl Fn(&str) -> Option<&'static Command>, words: &[String]) -> Outcome {
    setsid().map_err(|error| no_worker(&error.into()))?;
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (call, kind, started) = read(root, &find, words, &args)?;
    let name = format!("task {}", upid(&call, &kind, std::process::id(), started));
    let words = words.iter().chain(&args).cloned().collect::<Vec<_>>().join(&SEPARATOR.to_string());
    let error = myself()?.arg0(OsString::from(name)).env(VARIABLE, words).exec();
    Err(no_worker(&error))
}

fn work(root: &Root, find: impl Fn(&str) -> Option<&'static Command>, words: &[String]) -> Outcome {
    let flag = INTERRUPTED.get_or_init(|| Arc::new(AtomicBool::new(false)));
    for signal in [SIGTERM, SIGINT, SIGQUIT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).map_err(|error| no_worker(&error))?;
    }
    conf::be_quiet();
    let (call, ..) = read(root, &find, words, words.get(4..).unwrap_or_default())?;
    match call.command.run {
        Run::Here(_) => die("this command has no worker"),
        Run::Task { work, .. } => {
            call.piece(BEGIN)?;
            work(&call)
        }
    }
}

fn read(root: &Root, find: impl Fn(&str) -> Option<&'static Command>, words: &[String], args: &[String]) -> Outcome<(Call, String, u64)> {
    let (Some((name, args)), [started, kind, parent, fault, ..]) = (args.split_first(), words) else { return die("a worker without work") };
    let Some(command) = find(name) else { return die(format!("a worker of `{name}`")) };
    let fault = Some(fault.clone()).filter(|words| !words.is_empty());
    let parent = parent.parse().ok().and_then(Pid::from_raw);
    let call = Call::in_worker(root.clone(), command, args.to_vec(), fault, parent)?;
    Ok((call, kind.clone(), started.parse().unwrap_or(0)))
}

/// Fails if this worker was told to end.
pub(crate) fn check() -> Outcome {
    let told = INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed));
    if told { die("received interrupt") } else { Ok(()) }
}

/// Cleaning up is not interrupted.
pub(crate) fn forget_interrupt() {
    if let Some(flag) = INTERRUPTED.get() {
        flag.store(false, Ordering::Relaxed);
    }
}

/// Waits, but no longer than until this worker is told to end.
pub(crate) fn pause(ms: u64) -> Outcome {
    let mut left = ms;
    while left > 0 {
        check()?;
        let part = left.min(20);
        clock::pause(part);
        left -= part;
    }
    check()
}

/// Waits for a child; ends it if this worker is told to end.
pub(crate) fn wait(child: &mut Child) -> Outcome<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return check().map(|()| status),
            Ok(None) => {}
            Err(error) => return die(format!("wait for a child: {error}")),
        }
        if let Err(died) = check() {
            // It is ours and not waited for: the number is still its own.
            let _ = child.kill();
            let _ = child.wait();
            return Err(died);
        }
        clock::pause(POLL_MS);
    }
}

/// A program of the host; what it says is part of the task's log.
#[expect(clippy::disallowed_methods, reason = "this stands for a program that runs programs of the host, without a shim")]
pub(crate) fn program(name: &str) -> Process {
    let mut process = Process::new(name);
    process.stdin(Stdio::null());
    process
}

/// Runs a program that must succeed; `text` is how the real program calls it in messages.
pub(crate) fn must(process: &mut Process, text: &str) -> Outcome {
    process.env_remove(VARIABLE);
    let mut child = process.spawn().map_err(|error| Died::new(format!("command '{text}' failed: {error}")))?;
    match wait(&mut child) {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => die(format!("command '{text}' failed: exit code {}", status.code().unwrap_or(-1))),
        Err(died) => die(format!("command '{text}' failed: {}", died.text)),
    }
}
