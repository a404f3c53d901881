//! One call of the program: what was asked, what a test ordered for it, and the steps through which it goes.
//!
//! Not here: the commands, and workers (`task`).

use std::fs::OpenOptions;
use std::io::Write;

use rustix::process::{Pid, Signal, kill_process};

use crate::arguments::{Given, Kind, Takes};
use crate::clock;
use crate::died::{Died, Outcome, die, vanish};
use crate::fault::{BEGIN, Fault, Whom, delay};
use crate::root::{Root, Vmid};
use crate::task;

/// A command of `pct`.
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) run: Run,
}

/// Who does the work.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// The process itself; it says its exit code.
    Here(fn(&Call) -> Outcome<u8>),
    /// A worker of this kind, once the process itself found nothing wrong.
    Task { kind: &'static str, begin: fn(&Call) -> Outcome, work: fn(&Call) -> Outcome },
}

/// One call.
pub(crate) struct Call {
    pub(crate) root: Root,
    pub(crate) command: &'static Command,
    /// As they came, without the command's name.
    pub(crate) args: Vec<String>,
    pub(crate) given: Given,
    /// The words of the fault that was ordered.
    pub(crate) fault_words: Option<String>,
    pub(crate) fault: Option<Fault>,
    /// In a worker: the process that waits for it.
    pub(crate) parent: Option<Pid>,
}

impl Call {
    /// Reads a command line and takes the fault that is ordered for it.
    pub(crate) fn new(root: Root, command: &'static Command, args: Vec<String>) -> Outcome<Self> {
        if let Some(ms) = delay(&root, command.name, None) {
            clock::pause(ms);
        }
        let given = command.takes.read("pct", &args)?;
        let id = command.takes.positional.first().is_some_and(|(_, kind)| matches!(kind, Kind::Vmid)).then(|| given.vmid(0));
        let fault_words = Fault::take(&root, command.name, id)?;
        Self::with(root, command, args, given, fault_words, None)
    }

    /// The same call in its worker.
    pub(crate) fn in_worker(
        root: Root,
        command: &'static Command,
        args: Vec<String>,
        fault: Option<String>,
        parent: Option<Pid>,
    ) -> Outcome<Self> {
        let given = command.takes.read("pct", &args)?;
        Self::with(root, command, args, given, fault, parent)
    }

    fn with(
        root: Root,
        command: &'static Command,
        args: Vec<String>,
        given: Given,
        fault_words: Option<String>,
        parent: Option<Pid>,
    ) -> Outcome<Self> {
        let fault = fault_words.as_deref().map(Fault::parse).transpose().map_err(Died::new)?;
        Ok(Self { root, command, args, given, fault_words, fault, parent })
    }

    /// The container that the call is about.
    pub(crate) fn id(&self) -> Vmid {
        self.given.vmid(0)
    }

    /// Does what is asked.
    pub(crate) fn go(&self) -> Outcome<u8> {
        if let Some(Fault::Exit { code, text }) = &self.fault {
            return if text.is_empty() { Ok(*code) } else { Err(Died::new(text.clone()).with_code(*code)) };
        }
        if let Some(Fault::Locked(lock)) = &self.fault {
            return die(format!("CT is locked ({lock})"));
        }
        match self.command.run {
            Run::Here(work) => {
                self.piece(BEGIN)?;
                work(self)
            }
            Run::Task { kind, begin, .. } => {
                if let Some(Fault::Hang { after, ms }) = &self.fault
                    && after == BEGIN
                {
                    task::pause(*ms)?;
                }
                begin(self)?;
                task::run(self, kind)
            }
        }
    }

    /// A piece of the work is done: what was ordered to happen then happens.
    pub(crate) fn piece(&self, name: &str) -> Outcome {
        if let Some(ms) = delay(&self.root, self.command.name, Some(name)) {
            task::pause(ms)?;
        }
        match &self.fault {
            Some(Fault::Kill { who, after }) if after == name => {
                if let Some(parent) = self.parent.filter(|_| matches!(who, Whom::Parent | Whom::Both)) {
                    // It may have ended already.
                    let _ = kill_process(parent, Signal::KILL);
                    wait_for_end(parent);
                }
                if self.parent.is_none() || matches!(who, Whom::Worker | Whom::Both) {
                    vanish();
                }
                Ok(())
            }
            Some(Fault::Die { after, text }) if after == name => die(text.clone()),
            Some(Fault::Hang { after, ms }) if after == name && (name != BEGIN || self.parent.is_none()) => task::pause(*ms),
            Some(
                Fault::Kill { .. } | Fault::Die { .. } | Fault::Hang { .. } | Fault::LockTimeout | Fault::Locked(_) | Fault::Exit { .. },
            )
            | None => task::check(),
        }
    }
}

/// Until the descriptors of a killed process are closed, a write to its pipe still succeeds: they are its threads' as well, and the
/// first of these can be a zombie before the others have ended.
fn wait_for_end(pid: Pid) {
    let process = format!("/proc/{}", pid.as_raw_nonzero());
    let threads = || std::fs::read_dir(format!("{process}/task")).map_or(0, Iterator::count);
    let is_zombie = |text: String| text.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z"));
    let ended = || std::fs::read_to_string(format!("{process}/stat")).map_or(true, is_zombie) && threads() <= 1;
    for _ in 0..1000 {
        if ended() {
            return;
        }
        clock::pause(1);
    }
}

/// Writes a call down: time in milliseconds, process, and the words, with tabs between them.
pub(crate) fn record(root: &Root, words: &[String]) {
    let line = format!("{}\t{}\t{}\n", clock::now_ms(), std::process::id(), words.join("\t").replace('\n', "\\n"));
    let file = OpenOptions::new().append(true).create(true).open(root.test("calls"));
    // One write: lines of calls at the same time do not mix. A root without the directory has nobody who counts.
    let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
}
