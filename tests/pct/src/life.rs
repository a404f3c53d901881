//! `pct start`, `stop`, `shutdown` and `reboot`.
//!
//! The pieces of `start`: `locked`, `config` (LXC's configuration is written), `started` (the container runs). Those of
//! `stop`, `shutdown` and `reboot`: `locked`, `stopped`.

use std::path::PathBuf;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::conf::Conf;
use crate::died::{Died, Outcome, die, out};
use crate::root::{Root, Vmid};
use crate::storage::Storage;
use crate::{lock, lxc, pending, task};

const ID: &[(&str, Kind)] = &[("vmid", Kind::Vmid)];

pub(crate) const START: Command = Command {
    name: "start",
    takes: Takes::plain("start <vmid> [OPTIONS]", ID, &[("debug", Kind::Bool), ("skiplock", Kind::Bool)]),
    run: Run::Task { kind: "vzstart", begin: begin_start, work: start },
};

pub(crate) const STOP: Command = Command {
    name: "stop",
    takes: Takes::plain("stop <vmid> [OPTIONS]", ID, &[("overrule-shutdown", Kind::Bool), ("skiplock", Kind::Bool)]),
    run: Run::Task { kind: "vzstop", begin: must_run, work: stop },
};

pub(crate) const SHUTDOWN: Command = Command {
    name: "shutdown",
    takes: Takes::plain("shutdown <vmid> [OPTIONS]", ID, &[("forceStop", Kind::Bool), ("timeout", Kind::Integer(0, u64::MAX))]),
    run: Run::Task { kind: "vzshutdown", begin: must_run, work: shutdown },
};

pub(crate) const REBOOT: Command = Command {
    name: "reboot",
    takes: Takes::plain("reboot <vmid> [OPTIONS]", ID, &[("timeout", Kind::Integer(0, u64::MAX))]),
    run: Run::Task { kind: "vzreboot", begin: begin_reboot, work: reboot },
};

const DEFAULT_TIMEOUT: &str = "60";

fn begin_start(call: &Call) -> Outcome {
    if lxc::is_running(&call.root, call.id()) {
        return die(format!("CT {} already running", call.id()));
    }
    Conf::load(&call.root, call.id()).map(drop).map_err(|died| died.with_code(255))
}

fn start(call: &Call) -> Outcome {
    let _held = lock::config(call, call.id())?;
    call.piece("locked")?;
    start_locked(call, call.id())
}

/// Starts it; the caller holds the lock.
pub(crate) fn start_locked(call: &Call, id: Vmid) -> Outcome {
    let root = &call.root;
    let mut conf = Conf::load(root, id)?;
    if lxc::is_running(root, id) {
        return die(format!("CT {id} already running"));
    }
    if !call.given.is_on("skiplock") && conf.main.get("lock") != Some("mounted") {
        conf.check_lock()?;
    }
    if conf.is_template() {
        return die("you can't start a CT if it's a template");
    }
    pending::apply(root, id, &mut conf)?;
    lxc::write_config(root, id, &conf)?;
    call.piece("config")?;
    if let Some(error) = hookscript(root, id, &conf, "pre-start")? {
        return die(format!("{error} "));
    }
    lxc::start(root, id)?;
    call.piece("started")?;
    warn_of_hookscript(root, id, &conf, "post-start")
}

fn must_run(call: &Call) -> Outcome {
    if lxc::is_running(&call.root, call.id()) { Ok(()) } else { die(format!("CT {} not running", call.id())) }
}

fn locked_and_running(call: &Call) -> Outcome<(lock::Held, Conf)> {
    let held = lock::config(call, call.id())?;
    call.piece("locked")?;
    must_run(call)?;
    let conf = Conf::load(&call.root, call.id())?;
    if !call.given.is_on("skiplock") && conf.main.get("lock") != Some("mounted") {
        conf.check_lock()?;
    }
    warn_of_hookscript(&call.root, call.id(), &conf, "pre-stop")?;
    Ok((held, conf))
}

fn stop(call: &Call) -> Outcome {
    let _held = locked_and_running(call)?;
    lxc::stop(&call.root, call.id(), &["--kill"])?;
    call.piece("stopped")
}

fn shutdown(call: &Call) -> Outcome {
    let _held = locked_and_running(call)?;
    soft_stop(call)
}

fn soft_stop(call: &Call) -> Outcome {
    let timeout = call.given.get("timeout").unwrap_or(DEFAULT_TIMEOUT);
    let mut how = vec!["--nokill", "--timeout", timeout];
    if call.given.is_on("forceStop") {
        how.remove(0);
    }
    if let Err(died) = lxc::stop(&call.root, call.id(), &how) {
        out(&died.text);
        return die("container did not stop");
    }
    call.piece("stopped")
}

fn begin_reboot(call: &Call) -> Outcome {
    Conf::load(&call.root, call.id())?;
    if lxc::is_running(&call.root, call.id()) { Ok(()) } else { die(format!("VM {} not running", call.id())) }
}

fn reboot(call: &Call) -> Outcome {
    let _held = locked_and_running(call)?;
    soft_stop(call)?;
    start_locked(call, call.id())
}

/// The file of a hook script: `STORAGE:snippets/NAME`.
fn script(root: &Root, volume: &str) -> Outcome<PathBuf> {
    let (storage, name) = volume.split_once(":snippets/").ok_or_else(|| Died::new(format!("unable to parse volume ID '{volume}'")))?;
    Ok(Storage::named(root, storage)?.snippet(name))
}

/// Fails if there is no such script.
pub(crate) fn check_hookscript(root: &Root, volume: Option<&str>) -> Outcome {
    let Some(volume) = volume else { return Ok(()) };
    let missing = || Died::new(format!("script '{volume}' does not exist")).with_code(2);
    script(root, volume)?.exists().then_some(()).ok_or_else(missing)
}

/// Runs the hook script, if there is one; what went wrong with it.
fn hookscript(root: &Root, id: Vmid, conf: &Conf, phase: &str) -> Outcome<Option<String>> {
    let Some(volume) = conf.main.get("hookscript") else { return Ok(None) };
    let path = script(root, volume)?;
    let id = id.to_string();
    let words = format!("{} {id} {phase}", path.display());
    let run = task::must(task::program(&path.display().to_string()).args([&id, phase]), &words);
    Ok(run.err().map(|died| format!("hookscript error for {id} on {phase}: {}", died.text)))
}

fn warn_of_hookscript(root: &Root, id: Vmid, conf: &Conf, phase: &str) -> Outcome {
    if let Some(error) = hookscript(root, id, conf, phase)? {
        out(&format!("{error}\n"));
    }
    Ok(())
}
