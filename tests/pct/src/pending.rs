//! Changes of a configuration: at once, or written down until the container stops or starts.
//!
//! Not here: which changes are allowed (`set`).

use std::collections::BTreeSet;

use crate::conf::Conf;
use crate::died::{Died, Outcome, die};
use crate::lxc;
use crate::mounting::MountPoint;
use crate::property::{NET, Property, parse_size};
use crate::root::{Root, Vmid};
use crate::storage::{Storage, Volume};

/// Gives everything that waits its effect; the container is down.
pub(crate) fn apply(root: &Root, id: Vmid, conf: &mut Conf) -> Outcome {
    if conf.pending.keys.is_empty() {
        return Ok(());
    }
    for key in conf.pending_deletes() {
        remove(root, conf, &key)?;
    }
    let pending = std::mem::take(&mut conf.pending);
    for (key, value) in pending.keys.iter().filter(|(key, _)| *key != "delete") {
        let value = normal(root, id, conf, key, value, &mut Vec::new())?;
        conf.main.set(key, value);
    }
    conf.write(root, id)
}

/// Takes a key out of the main section. A volume that was mounted is kept as `unusedN`; an unused one is removed.
pub(crate) fn remove(root: &Root, conf: &mut Conf, key: &str) -> Outcome {
    let Some(value) = conf.main.remove(key) else { return Ok(()) };
    if key.starts_with("unused") {
        return Volume::parse(root, &value)?.free(root);
    }
    if key.starts_with("mp") {
        let point = MountPoint::parse(key, &value)?;
        if !point.is_bind() {
            let free = (0..256).map(|number| format!("unused{number}")).find(|name| conf.main.get(name).is_none());
            conf.main.set(&free.unwrap_or_else(|| "unused255".to_owned()), point.source());
        }
    }
    Ok(())
}

/// A value as it stands in the main section: volumes exist, networks have addresses. New volumes are told in `made`.
pub(crate) fn normal(root: &Root, id: Vmid, conf: &Conf, key: &str, value: &str, made: &mut Vec<Volume>) -> Outcome<String> {
    if key.starts_with("net") {
        return network(value);
    }
    if key == "tags" {
        return Ok(tags(value));
    }
    if key == "description" {
        return Ok(value.lines().map(|line| format!("{line}\n")).collect());
    }
    if key != "rootfs" && !key.starts_with("mp") {
        return Ok(value.to_owned());
    }
    let mut point = MountPoint::parse(key, value)?;
    if point.is_bind() {
        return Ok(point.print());
    }
    let volume = match wanted(root, point.source())? {
        Some((storage, bytes)) => {
            let volume = storage.allocate(root, id, bytes, lxc::owner(&conf.main))?;
            made.push(volume.clone());
            volume
        }
        None => existing(root, point.source())?,
    };
    point.property.first = Some(volume.id());
    let size = volume.size_text(root);
    if point.property.get("size").is_none() {
        point.property.set("size", size);
    }
    Ok(point.print())
}

/// `STORAGE:SIZE`: a volume that is to be made.
pub(crate) fn wanted(root: &Root, source: &str) -> Outcome<Option<(Storage, u64)>> {
    let Some((storage, size)) = source.split_once(':') else { return die(format!("unable to parse volume ID '{source}'")) };
    let storage = Storage::named(root, storage)?;
    let is_number = size.starts_with(|c: char| c.is_ascii_digit()) && size.chars().all(|c| c.is_ascii_digit() || c == '.');
    Ok(parse_size(&format!("{size}G")).filter(|_| is_number).map(|bytes| (storage, bytes)))
}

fn existing(root: &Root, id: &str) -> Outcome<Volume> {
    let volume = Volume::parse(root, id)?;
    if volume.path().exists() {
        return Ok(volume);
    }
    crate::died::err(&format!("failed to stat '{}'", volume.path().display()));
    die(format!("volume '{id}' does not exist"))
}

fn network(value: &str) -> Outcome<String> {
    let mut net = Property::parse(&NET, value).map_err(|wrong| Died::new(wrong.join("\n")))?;
    if net.get("hwaddr").is_none() {
        net.set("hwaddr", hwaddr()?);
    }
    if net.get("type").is_none() {
        net.set("type", "veth");
    }
    Ok(net.print(&NET))
}

/// An address with Proxmox's prefix.
pub(crate) fn hwaddr() -> Outcome<String> {
    let mut bytes = [0_u8; 3];
    getrandom::fill(&mut bytes).map_err(|error| Died::new(format!("no random numbers: {error}")))?;
    Ok(format!("BC:24:11:{:02X}:{:02X}:{:02X}", bytes[0], bytes[1], bytes[2]))
}

/// Lower-cased, sorted, each once.
fn tags(value: &str) -> String {
    let words = value.split([',', ';', ' ']).filter(|word| !word.is_empty()).map(str::to_lowercase);
    words.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(";")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_sorted_and_addresses_made_up() {
        assert_eq!(tags("B,a c"), "a;b;c");
        let net = network("name=eth0,bridge=vmbr0").expect("a network");
        assert!(net.starts_with("name=eth0,bridge=vmbr0,hwaddr=BC:24:11:") && net.ends_with(",type=veth"), "{net}");
    }
}
