//! Devices, firewall, and what else a Proxmox node does for a container: looked at together with the container.
//!
//! Apart from the other options because each has rules of its own. Not here: the form of single values (`manifest::proxmox`), and whether
//! storage, pool, snippet or device exist on the node; the host says.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use super::super::proxmox::{DeviceMode, Resolvers};
use super::super::read::{Key, List, Whole};
use super::super::source::{At, Findings, Span};
use super::super::spec::{Device, Firewall, FirewallPolicy, Nic, Owner};
use super::super::tables::{ContainerTable, DEVICE_MODE, DeviceTable, FirewallTable};
use super::Context;
use crate::ids::{HostKind, IdKind, IdMap};
use crate::manifest::entries::DeviceEntry;

/// The most devices of one container; Proxmox has `dev0` to `dev255`.
const DEVICES_MAX: usize = 256;

/// The most name servers that a resolver asks (`MAXNS` of the C library).
const RESOLVERS_MAX: usize = 3;

/// The devices of a container; `map` is `None` if it could not be resolved.
pub(super) fn devices(key: &Key<List<DeviceEntry>>, map: Option<&IdMap>, found: &mut Findings) -> Option<Vec<Device>> {
    let list = match key {
        Key::Absent => return Some(Vec::new()),
        Key::Bad => return None,
        Key::Given(list) => list,
    };
    if list.value.values.len() > DEVICES_MAX {
        found.problem(&list.span, format!("there are more than {DEVICES_MAX} devices"), "remove some");
    }
    let mut seen: BTreeMap<&Path, &Span> = BTreeMap::new();
    for path in list.value.values.iter().filter_map(|entry| entry.value.0.path.given()) {
        if let Some(first) = seen.insert(&path.value.0, &path.span) {
            let what = format!("the device {} stands twice, first in line {}", path.value.0.display(), found.line(first));
            found.problem(&path.span, what, "keep one of them");
        }
    }
    let devices: Vec<Option<Device>> = list.value.values.iter().map(|entry| device(entry, map, found)).collect();
    devices.into_iter().collect::<Option<Vec<Device>>>().filter(|_| list.value.whole)
}

fn device(entry: &At<DeviceEntry>, map: Option<&IdMap>, found: &mut Findings) -> Option<Device> {
    let DeviceTable { path, uid, gid, mode, deny_write } = &entry.value.0;
    let owners = [(uid, IdKind::User, "user"), (gid, IdKind::Group, "group")];
    for (key, kind, noun) in owners {
        if let (Key::Given(id), Some(map)) = (key, map)
            && map.to_host(kind, id.value.0).is_none()
        {
            let what = format!("the {noun} {} does not exist in the container, whose id map is {map}", id.value.0);
            found.problem(&id.span, what, "choose an owner within the map, or widen `idmap`");
            return None;
        }
    }
    let mode = mode.value_or(DeviceMode(DEVICE_MODE))?;
    Some(Device {
        path: path.given()?.value.0.clone(),
        owner: Owner { uid: uid.value_or(Whole(0))?.0, gid: gid.value_or(Whole(0))?.0 },
        mode: mode.0,
        deny_write: deny_write.value_or(false)?,
    })
}

/// The firewall of a container.
pub(super) fn firewall(table: &FirewallTable) -> Option<Firewall> {
    let FirewallTable { enable, policy_in, policy_out, rules } = table;
    let rules = match rules {
        Key::Absent => Some(Vec::new()),
        Key::Bad => None,
        Key::Given(list) => list.value.whole.then(|| list.value.values.iter().map(|rule| rule.value.0.clone()).collect()),
    };
    Some(Firewall {
        enable: enable.value_or(true)?,
        policy_in: policy_in.value_or(FirewallPolicy::Drop)?,
        policy_out: policy_out.value_or(FirewallPolicy::Accept)?,
        rules: rules?,
    })
}

/// The name servers of a container.
pub(super) fn nameservers(key: &Key<Resolvers>, found: &mut Findings) -> Option<Vec<IpAddr>> {
    let at = match key {
        Key::Absent => return Some(Vec::new()),
        Key::Bad => return None,
        Key::Given(at) => at,
    };
    let list = &at.value.0;
    if list.values.len() > RESOLVERS_MAX {
        let what = format!("`nameserver` names more than {RESOLVERS_MAX}, and programs ask the first {RESOLVERS_MAX} alone");
        found.warning(&at.span, what, "remove the others");
    }
    list.whole.then(|| list.values.iter().map(|at| at.value.0).collect())
}

/// Warns where a rule could never apply: the firewall sees the traffic of interfaces that say so.
pub(super) fn unguarded(context: &Context<'_>, table: &ContainerTable, network: Option<&[Nic]>, found: &mut Findings) {
    let key = table.firewall.or(&context.defaults.firewall);
    let (Key::Given(at), Some(network)) = (key, network) else { return };
    if context.around.host != HostKind::Lxc && at.value.enable.value_or(true) == Some(true) && !network.iter().any(|nic| nic.firewall) {
        let what = "`firewall` has no effect on a container without an interface that the firewall looks at";
        found.warning(&at.span, what, "add \"firewall\": true to an entry of `network`");
    }
    if context.around.host == HostKind::Lxc {
        return;
    }
    let rules = at.value.rules.given().into_iter().flat_map(|rules| &rules.value.values);
    for (rule, number) in rules.filter_map(|rule| Some((rule, interface(&rule.value.0)?))) {
        if number >= network.len() {
            let last = network.len().checked_sub(1).map_or_else(|| "it has none".to_owned(), |last| format!("its last is net{last}"));
            let what = format!("net{number} is no interface of the container: {last}");
            found.warning(&rule.span, what, "name one that there is, net0 for the first, or leave -i out");
        }
    }
}

/// The number of the interface that a checked rule names.
fn interface(rule: &str) -> Option<usize> {
    let (_, behind) = rule.split_once('#').map_or(rule, |(rule, _)| rule).split_once(" -i net")?;
    behind.split(' ').next()?.parse().ok()
}

/// Warns once of containers whose root file system goes where Proxmox puts it by itself.
pub(super) fn nowhere(context: &Context<'_>, found: &mut Findings) {
    if context.around.host != HostKind::Pct || !context.defaults.storage.is_absent() {
        return;
    }
    let lost = context.containers.values().filter_map(|entry| Some((entry.key, entry.table?)));
    let mut lost = lost.filter(|(_, table)| table.clone_from.is_absent() && table.storage.is_absent());
    if let Some((key, _)) = lost.next() {
        let others = match lost.count() {
            0 => String::new(),
            1 => " (nor does one other)".to_owned(),
            others => format!(" (nor do {others} others)"),
        };
        let what =
            format!("this container names no `storage`{others}: Proxmox takes `local`, which on a node as installed holds no containers");
        found.warning(key, what, "add for example \"storage\": \"local-lvm\", to it or to `defaults`");
    }
}

/// Warns of keys that plain LXC cannot follow; a key of `defaults` is named once, because equal warnings are one.
pub(super) fn proxmox_only(context: &Context<'_>, table: &ContainerTable, found: &mut Findings) {
    if context.around.host != HostKind::Lxc {
        return;
    }
    let defaults = &context.defaults;
    let keys = [
        ("storage", place(table.storage.or(&defaults.storage))),
        ("lxc_features", place(table.lxc_features.or(&defaults.lxc_features))),
        ("fetch_template", switched_on(table.fetch_template.or(&defaults.fetch_template))),
        ("snapshot_before_volumes", switched_on(table.snapshot_before_volumes.or(&defaults.snapshot_before_volumes))),
        ("devices", place(table.devices.or(&defaults.devices))),
        ("hookscript", place(table.hookscript.or(&defaults.hookscript))),
        ("pool", place(table.pool.or(&defaults.pool))),
        ("tags", place(table.tags.or(&defaults.tags))),
        ("protection", switched_on(table.protection.or(&defaults.protection))),
        ("nameserver", place(table.nameserver.or(&defaults.nameserver))),
        ("searchdomain", place(table.searchdomain.or(&defaults.searchdomain))),
        ("timezone", place(table.timezone.or(&defaults.timezone))),
        ("firewall", place(table.firewall.or(&defaults.firewall))),
    ];
    for (name, span) in keys.into_iter().filter_map(|(name, span)| Some((name, span?))) {
        found.warning(span, format!("`{name}` has no effect on plain LXC"), "keep it only if the fleet also goes to Proxmox");
    }
    if let Some(disk) = table.disk_gb.or(&defaults.disk_gb).given() {
        found.warning(
            &disk.span,
            "`disk_gb` cannot be enforced on plain LXC, whose containers are directories",
            "give the containers a file system with quotas if it matters",
        );
    }
}

fn place<T>(key: &Key<T>) -> Option<&Span> {
    key.given().map(|at| &at.span)
}

fn switched_on(key: &Key<bool>) -> Option<&Span> {
    key.given().filter(|at| at.value).map(|at| &at.span)
}
