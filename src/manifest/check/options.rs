//! What hosts do with a container beside running it: start at boot, and what Proxmox alone knows.
//!
//! Apart because these options change nothing inside a container, and not every host follows them.

use std::collections::BTreeMap;

use super::super::period::Delay;
use super::super::read::{Key, Reported};
use super::super::source::{Findings, Span};
use super::super::spec::{Autostart, HostOptions};
use super::super::tables::{ContainerTable, LxcFeaturesTable, StartupTable};
use super::Context;
use crate::ids::HostKind;

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

/// What only some hosts know.
pub(super) fn host_options(context: &Context<'_>, table: &ContainerTable) -> Option<HostOptions> {
    let defaults = &context.defaults;
    let lxc_features = match table.lxc_features.or(&defaults.lxc_features) {
        Key::Absent => BTreeMap::new(),
        Key::Bad => return None,
        Key::Given(at) => lxc_features(&at.value)?,
    };
    Some(HostOptions {
        storage: table.storage.or(&defaults.storage).optional().ok()?.map(|storage| storage.0),
        lxc_features,
        fetch_template: table.fetch_template.or(&defaults.fetch_template).value_or(false)?,
        snapshot_before_volumes: table.snapshot_before_volumes.or(&defaults.snapshot_before_volumes).value_or(false)?,
        ..HostOptions::default()
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

/// Warns of keys that plain LXC cannot follow; a key of `defaults` is named once, because equal warnings are one.
pub(super) fn proxmox_only(context: &Context<'_>, table: &ContainerTable, found: &mut Findings) {
    if context.around.host != HostKind::Lxc {
        return;
    }
    let defaults = &context.defaults;
    let span = |on: bool, span: &Span| on.then(|| span.clone());
    let keys = [
        ("storage", table.storage.or(&defaults.storage).given().map(|at| at.span.clone())),
        ("lxc_features", table.lxc_features.or(&defaults.lxc_features).given().map(|at| at.span.clone())),
        ("fetch_template", table.fetch_template.or(&defaults.fetch_template).given().and_then(|at| span(at.value, &at.span))),
        (
            "snapshot_before_volumes",
            table.snapshot_before_volumes.or(&defaults.snapshot_before_volumes).given().and_then(|at| span(at.value, &at.span)),
        ),
    ];
    for (name, span) in keys.into_iter().filter_map(|(name, span)| Some((name, span?))) {
        found.warning(&span, format!("`{name}` has no effect on plain LXC"), "keep it only if the fleet also goes to Proxmox");
    }
    if let Some(disk) = table.disk_gb.or(&defaults.disk_gb).given() {
        found.warning(
            &disk.span,
            "`disk_gb` cannot be enforced on plain LXC, whose containers are directories",
            "give the containers a file system with quotas if it matters",
        );
    }
}
