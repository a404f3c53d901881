//! `pct set`: what may be changed, and when a change takes effect.
//!
//! The pieces: `locked`, `write` (everything is in the file). A network of a running container is changed in its configuration
//! alone; the interface inside stays as it is until the next start.

use std::collections::{BTreeMap, BTreeSet};

use crate::arguments::{Kind, Takes, parameter, parameters};
use crate::call::{Call, Command, Run};
use crate::conf::Conf;
use crate::died::{Died, Outcome, die, err};
use crate::mounting::MountPoint;
use crate::root::Vmid;
use crate::{hotplug, life, lock, lxc, pending, schema};

pub(crate) const SET: Command = Command {
    name: "set",
    takes: Takes {
        usage: USAGE,
        positional: &[("vmid", Kind::Vmid)],
        options: &[("delete", Kind::Keys), ("digest", Kind::Text), ("revert", Kind::Keys)],
        settings: true,
        extra: false,
    },
    run: Run::Here(set),
};

const USAGE: &str = "set <vmid> [OPTIONS]";

fn usage() -> String {
    format!("pct {USAGE}")
}

fn keys(list: Option<&str>) -> BTreeSet<String> {
    list.into_iter().flat_map(|list| list.split([',', ';', ' '])).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

fn set(call: &Call) -> Outcome<u8> {
    let (root, id, given) = (&call.root, call.id(), &call.given);
    let (delete, revert) = (keys(given.get("delete")), keys(given.get("revert")));
    let settings: BTreeMap<&str, &str> =
        given.options.iter().filter(|(key, _)| schema::kind(key).is_some()).map(|(key, value)| (key.as_str(), value.as_str())).collect();
    if settings.is_empty() && delete.is_empty() && revert.is_empty() {
        return Err(Died::new("no options specified").with_code(2));
    }
    if let Some(key) = delete.iter().find(|key| schema::kind(key).is_none()) {
        return Err(parameter("delete", &format!("unknown option '{key}'"), &usage()).with_code(255));
    }
    let mut conf = Conf::load(root, id)?;
    allowed(&conf, id, &delete, &settings)?;
    life::check_hookscript(root, given.get("hookscript"))?;
    let _held = lock::config(call, id)?;
    conf = Conf::load(root, id)?;
    conf.check_lock()?;
    conf.check_digest(given.get("digest"))?;
    allowed(&conf, id, &delete, &settings)?;
    for value in settings.iter().filter(|(key, _)| **key == "rootfs" || key.starts_with("mp")).map(|(_, value)| *value) {
        let point = MountPoint::parse("rootfs", value.split(',').next().unwrap_or(value))?;
        if !point.is_bind() {
            pending::wanted(root, point.source())?;
        }
    }
    call.piece("locked")?;
    write_down(&mut conf, &delete, &revert, &settings);
    conf.write(root, id)?;
    call.piece("pending")?;
    if lxc::is_running(root, id) {
        let changed: BTreeSet<&str> = settings.keys().copied().chain(delete.iter().map(String::as_str)).collect();
        let errors = take_effect(call, &mut conf, &changed)?;
        settle(call, &mut conf)?;
        if let Some(why) = errors.values().next() {
            let code = if why.contains("bridge") { 2 } else { 1 };
            return Err(parameters(&errors, &usage()).with_code(code));
        }
    } else {
        pending::apply(root, id, &mut conf)?;
        settle(call, &mut conf)?;
    }
    Ok(0)
}

/// Fails if a change is not allowed at all.
fn allowed(conf: &Conf, id: Vmid, delete: &BTreeSet<String>, settings: &BTreeMap<&str, &str>) -> Outcome {
    if let Some(key) = schema::READ_ONLY.iter().find(|key| settings.contains_key(**key)) {
        return die(format!("unable to modify read-only option: '{key}'"));
    }
    if let Some(key) = schema::READ_ONLY.iter().find(|key| delete.contains(**key)) {
        return die(format!("unable to delete read-only option: '{key}'"));
    }
    if delete.contains("rootfs") {
        return die("unable to delete required option 'rootfs'");
    }
    if conf.main.is_on("protection") && settings.get("protection") != Some(&"0") {
        let is_drive = |key: &str| key == "rootfs" || key.starts_with("mp");
        if let Some(key) = settings.keys().find(|key| is_drive(key)) {
            return die(format!("can't update CT {id} drive '{key}' - protection mode enabled"));
        }
        if let Some(key) = delete.iter().find(|key| is_drive(key) && conf.main.get(key).is_some()) {
            return die(format!("can't remove CT {id} drive '{key}' - protection mode enabled"));
        }
    }
    Ok(())
}

/// Everything is pending first.
fn write_down(conf: &mut Conf, delete: &BTreeSet<String>, revert: &BTreeSet<String>, settings: &BTreeMap<&str, &str>) {
    let mut deletes = conf.pending_deletes();
    for key in revert {
        deletes.remove(key);
        conf.pending.remove(key);
    }
    for key in delete {
        if conf.main.get(key).is_some() {
            deletes.insert(key.clone());
        } else if conf.pending.remove(key).is_none() {
            err(&format!("cannot delete '{key}' - not set in current configuration!"));
        }
    }
    for (key, value) in settings {
        deletes.remove(*key);
        conf.pending.set(key, *value);
    }
    conf.set_pending_deletes(&deletes);
}

/// What of these changes can, takes effect on the running container; what could not, and why.
fn take_effect(call: &Call, conf: &mut Conf, changed: &BTreeSet<&str>) -> Outcome<BTreeMap<String, String>> {
    let (root, id) = (&call.root, call.id());
    let mut errors = BTreeMap::new();
    let mut deletes = conf.pending_deletes();
    for key in deletes.clone().into_iter().filter(|key| schema::is_live(key, false) && changed.contains(key.as_str())) {
        pending::remove(root, conf, &key)?;
        deletes.remove(&key);
    }
    conf.set_pending_deletes(&deletes);
    let keys: Vec<(String, String)> = conf.pending.keys.clone().into_iter().filter(|(key, _)| changed.contains(key.as_str())).collect();
    for (key, value) in keys {
        if conf.main.get(&key) == Some(value.as_str()) {
            conf.pending.remove(&key);
            continue;
        }
        if !schema::is_live(&key, conf.main.get(&key).is_none()) {
            continue;
        }
        conf.pending.remove(&key);
        match effect(call, conf, &key, &value) {
            Ok(value) => conf.main.set(&key, value),
            Err(died) => drop(errors.insert(key.clone(), format!("unable to hotplug {key}: {}\n", died.text))),
        }
    }
    conf.write(root, id)?;
    Ok(errors)
}

fn effect(call: &Call, conf: &Conf, key: &str, value: &str) -> Outcome<String> {
    let (root, id) = (&call.root, call.id());
    if key.starts_with("net")
        && let Some(bridge) = value.split(',').find_map(|part| part.strip_prefix("bridge="))
    {
        lxc::bridge_is_real(root, bridge)?;
    }
    let value = pending::normal(root, id, conf, key, value, &mut Vec::new())?;
    if key == "memory" {
        value.parse().into_iter().for_each(|mib| lxc::limit_memory(root, id, mib));
    }
    if key.starts_with("mp") {
        hotplug::mount(root, id, &conf.main, &MountPoint::parse(key, &value)?)?;
    }
    Ok(value)
}

/// LXC's configuration follows; what is wrong with it is said by the next start.
fn settle(call: &Call, conf: &mut Conf) -> Outcome {
    *conf = Conf::load(&call.root, call.id())?;
    let _ = lxc::write_config(&call.root, call.id(), conf);
    call.piece("write")
}
