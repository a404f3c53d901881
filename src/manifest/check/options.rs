//! What hosts do with a container beside running it: start at boot, and what Proxmox alone knows.
//!
//! Apart because these options change nothing inside a container, and not every host follows them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::period::Delay;
use super::super::read::{Key, Reported};
use super::super::source::Findings;
use super::super::spec::{Autostart, HostOptions};
use super::super::tables::{ContainerTable, LxcFeaturesTable, StartupTable};
use super::Context;
use super::proxmox::{devices, firewall, nameservers};
use crate::ids::IdMap;

/// Whether and in which order the host starts it at boot.
pub(super) fn autostart(context: &Context<'_>, table: &ContainerTable, found: &mut Findings) -> Option<Autostart> {
    let enabled = table.autostart.or(&context.defaults.autostart).value_or(true);
    let startup = match &table.startup {
        Key::Absent => StartupTable::default(),
        Key::Bad => return None,
        Key::Given(startup) => {
            if enabled == Some(false) {
                found.warning(&startup.span, "`startup` has no effect while `autostart` is false", "leave one of them out");
            }
            startup.value.clone()
        }
    };
    let (up, down) = (seconds(&startup.up_delay, found), seconds(&startup.down_timeout, found));
    Some(Autostart {
        enabled: enabled?,
        order: startup.order.optional().ok()?.map(|order| order.0),
        up_delay_s: up.ok()?,
        down_timeout_s: down.ok()?,
    })
}

/// What only some hosts know; `map` is `None` if it could not be resolved.
pub(super) fn host_options(
    context: &Context<'_>,
    table: &ContainerTable,
    map: Option<&IdMap>,
    found: &mut Findings,
) -> Option<HostOptions> {
    let defaults = &context.defaults;
    // Every part is looked at before the first `?`, so that a problem in one hides none in another.
    let devices = devices(table.devices.or(&defaults.devices), map, found);
    let nameservers = nameservers(table.nameserver.or(&defaults.nameserver), found);
    let lxc_features = match table.lxc_features.or(&defaults.lxc_features) {
        Key::Absent => Some(BTreeMap::new()),
        Key::Bad => None,
        Key::Given(at) => lxc_features(&at.value),
    };
    let tags = match table.tags.or(&defaults.tags) {
        Key::Absent => Some(BTreeSet::new()),
        Key::Bad => None,
        Key::Given(list) => list.value.whole.then(|| list.value.values.iter().map(|tag| tag.value.0.clone()).collect()),
    };
    Some(HostOptions {
        storage: table.storage.or(&defaults.storage).optional().ok()?.map(|storage| storage.0),
        lxc_features: lxc_features?,
        fetch_template: table.fetch_template.or(&defaults.fetch_template).value_or(false)?,
        snapshot_before_volumes: table.snapshot_before_volumes.or(&defaults.snapshot_before_volumes).value_or(false)?,
        devices: devices?,
        hookscript: table.hookscript.or(&defaults.hookscript).optional().ok()?.map(|snippet| snippet.0),
        pool: table.pool.or(&defaults.pool).optional().ok()?.map(|pool| pool.0),
        tags: tags?,
        protection: table.protection.or(&defaults.protection).value_or(false)?,
        nameservers: nameservers?,
        searchdomain: table.searchdomain.or(&defaults.searchdomain).optional().ok()?.map(|domains| domains.0),
        timezone: table.timezone.or(&defaults.timezone).optional().ok()?.map(|zone| zone.0),
        firewall: match table.firewall.or(&defaults.firewall) {
            Key::Absent => None,
            Key::Bad => return None,
            Key::Given(at) => Some(firewall(&at.value)?),
        },
    })
}

fn seconds(key: &Key<Delay>, found: &mut Findings) -> Result<Option<u32>, Reported> {
    let Key::Given(at) = key else { return key.optional().map(|_| None) };
    if at.value.0.subsec_millis() != 0 {
        found.problem(&at.span, "hosts keep this in whole seconds", "write it in s, m or h");
        return Err(Reported);
    }
    Ok(u32::try_from(at.value.0.as_secs()).ok())
}

fn lxc_features(table: &LxcFeaturesTable) -> Option<BTreeMap<String, String>> {
    let LxcFeaturesTable { nesting, keyctl, fuse, mknod, mount, force_rw_sys } = table;
    let switches = [("nesting", nesting), ("keyctl", keyctl), ("fuse", fuse), ("mknod", mknod), ("force_rw_sys", force_rw_sys)];
    let mut features = BTreeMap::new();
    for (name, key) in switches {
        if let Some(on) = key.optional().ok()? {
            features.insert(name.to_owned(), u8::from(on).to_string());
        }
    }
    match mount {
        Key::Absent => {}
        Key::Bad => return None,
        Key::Given(list) => {
            let kinds: Vec<&str> = list.value.values.iter().map(|kind| kind.value.0).collect();
            if !list.value.whole {
                return None;
            }
            if !kinds.is_empty() {
                features.insert("mount".to_owned(), kinds.join(";"));
            }
        }
    }
    Some(features)
}
