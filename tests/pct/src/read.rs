//! `pct list`, `status`, `config`, `pending` and `exec`: what changes nothing on the host.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;

use crate::arguments::{Kind, Takes};
use crate::call::{Call, Command, Run};
use crate::clock;
use crate::conf::{Conf, encode};
use crate::died::{Died, Outcome, die, out};
use crate::mounting::MountPoint;
use crate::property::parse_size;
use crate::{lxc, task};

const ID: &[(&str, Kind)] = &[("vmid", Kind::Vmid)];

pub(crate) const LIST: Command = Command { name: "list", takes: Takes::plain("list ", &[], &[]), run: Run::Here(list) };
pub(crate) const STATUS: Command =
    Command { name: "status", takes: Takes::plain("status <vmid> [OPTIONS]", ID, &[("verbose", Kind::Bool)]), run: Run::Here(status) };
pub(crate) const CONFIG: Command = Command {
    name: "config",
    takes: Takes::plain("config <vmid> [OPTIONS]", ID, &[("current", Kind::Bool), ("snapshot", Kind::Name)]),
    run: Run::Here(config),
};
pub(crate) const PENDING: Command = Command { name: "pending", takes: Takes::plain("pending <vmid>", ID, &[]), run: Run::Here(pending) };
pub(crate) const EXEC: Command = Command {
    name: "exec",
    takes: Takes {
        usage: "exec <vmid> [<extra-args>] [OPTIONS]",
        positional: ID,
        options: &[("keep-env", Kind::Bool)],
        settings: false,
        extra: true,
    },
    run: Run::Here(exec),
};

fn list(call: &Call) -> Outcome<u8> {
    let ids = call.root.containers();
    let line = |id: &str, status: &str, lock: &str, name: &str| out(&format!("{id:<10} {status:<10} {lock:<12} {name:<20}"));
    if !ids.is_empty() {
        line("VMID", "Status", "Lock", "Name");
    }
    for id in ids {
        let conf = Conf::load(&call.root, id)?;
        let status = if lxc::is_running(&call.root, id) { "running" } else { "stopped" };
        let name = conf.main.get("hostname").map_or_else(|| format!("CT{id}"), str::to_owned);
        line(&id.to_string(), status, conf.main.get("lock").unwrap_or_default(), &name);
    }
    Ok(0)
}

fn status(call: &Call) -> Outcome<u8> {
    let (root, id) = (&call.root, call.id());
    let conf = Conf::load(root, id)?;
    let running = lxc::is_running(root, id);
    let word = if running { "running" } else { "stopped" };
    if !call.given.is_on("verbose") {
        out(&format!("status: {word}"));
        return Ok(0);
    }
    let init = lxc::init(root, id).filter(|_| running);
    let main = &conf.main;
    let number = |key: &str, default: u64| main.get(key).and_then(|text| text.parse().ok()).unwrap_or(default);
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let rootfs = main.get("rootfs").map(|value| MountPoint::parse("rootfs", value)).transpose()?;
    let size = rootfs.as_ref().and_then(|point| point.property.get("size")).and_then(parse_size).filter(|size| *size > 0);
    let uptime =
        init.and_then(|pid| fs::metadata(format!("/proc/{pid}")).ok()?.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok());
    let memory = Path::new("/sys/fs/cgroup/memory/lxc").join(id.to_string()).join("memory.usage_in_bytes");
    let used = init.and_then(|_| fs::read_to_string(memory).ok()?.trim().parse::<u64>().ok()).unwrap_or(0);
    let mut values = vec![
        ("cpus", number("cores", cpus).to_string()),
        ("disk", "0".to_owned()),
        ("diskread", "0".to_owned()),
        ("diskwrite", "0".to_owned()),
        ("lock", main.get("lock").unwrap_or_default().to_owned()),
        ("maxdisk", size.unwrap_or(4 << 30).to_string()),
        ("maxmem", (number("memory", 512) << 20).to_string()),
        ("maxswap", (number("swap", 512) << 20).to_string()),
        ("mem", used.to_string()),
        ("name", main.get("hostname").map_or_else(|| format!("CT{id}"), str::to_owned)),
        ("netin", "0".to_owned()),
        ("netout", "0".to_owned()),
        ("pid", init.map(|pid| pid.to_string()).unwrap_or_default()),
        ("status", word.to_owned()),
        ("swap", "0".to_owned()),
        ("tags", main.get("tags").unwrap_or_default().to_owned()),
        ("type", "lxc".to_owned()),
        ("uptime", uptime.map_or(0, |since| clock::now_s().saturating_sub(since.as_secs())).to_string()),
        ("vmid", id.to_string()),
    ];
    values.retain(|(_, value)| !value.is_empty());
    values.iter().for_each(|(key, value)| out(&format!("{key}: {value}")));
    Ok(0)
}

fn config(call: &Call) -> Outcome<u8> {
    let mut conf = Conf::load(&call.root, call.id())?;
    if let Some(name) = call.given.get("snapshot") {
        let Some(section) = conf.snapshots.get(name) else { return die(format!("snapshot '{name}' does not exist")) };
        section.shown().for_each(|line| out(&line));
        return Ok(0);
    }
    if !call.given.is_on("current") {
        for key in conf.pending_deletes() {
            conf.main.remove(&key);
        }
        let pending = conf.pending.keys.clone().into_iter().filter(|(key, _)| key != "delete");
        conf.main.keys.extend(pending);
    }
    conf.main.remove("parent");
    conf.main.shown().for_each(|line| out(&line));
    Ok(0)
}

fn pending(call: &Call) -> Outcome<u8> {
    let conf = Conf::load(&call.root, call.id())?;
    let deletes = conf.pending_deletes();
    let mut keys: Vec<&String> = conf.main.keys.keys().chain(conf.pending.keys.keys().filter(|key| *key != "delete")).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let shown = |value: &str| if key == "description" { encode(value) } else { value.to_owned() };
        match (conf.main.get(key), conf.pending.get(key)) {
            (Some(value), _) if deletes.contains(key) => out(&format!("del {key}: {}", shown(value))),
            (current, pending) => {
                current.iter().for_each(|value| out(&format!("cur {key}: {}", shown(value))));
                pending.iter().for_each(|value| out(&format!("new {key}: {}", shown(value))));
            }
        }
    }
    Ok(0)
}

/// Becomes `lxc-attach`.
fn exec(call: &Call) -> Outcome<u8> {
    let (root, id) = (&call.root, call.id());
    Conf::load(root, id)?;
    if !lxc::is_running(root, id) {
        return die(format!("container '{id}' not running!"));
    }
    let environment = if call.given.get("keep-env") == Some("0") { "--clear-env" } else { "--keep-env" };
    let mut attach = task::program("lxc-attach");
    attach.stdin(std::process::Stdio::inherit());
    attach.arg("-P").arg(root.lxc_path()).args(["-n", &id.to_string(), environment, "--"]).args(&call.given.extra);
    Err(Died::new(format!("exec: {}", attach.exec())))
}
