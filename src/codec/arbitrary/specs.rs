//! Specs and their parts.

use std::net::IpAddr;
use std::sync::Arc;

use phoenix_journal::Digest;
use proptest::prelude::*;

use super::names::{ctid, digest, duration, feature_name, health_name, hostname, idmap, path, target, text, volume_name};
use super::{maybe, one_of, some};
use crate::manifest::{
    Address, Autostart, Device, EnvValue, Feature, Firewall, FirewallPolicy, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin,
    Owner, Ownership, Ready, ReadyProbe, Resources, Script, Spec, Template, Volume,
};

/// Any spec.
pub fn spec() -> BoxedStrategy<Spec> {
    let being = (ctid(), hostname(), origin(), any::<bool>(), idmap(), resources(), some(nic()), some(mount()));
    let doing = (
        prop::collection::btree_set(ctid(), 0..=3),
        some((feature_name(), script()).prop_map(|(name, script)| Feature { name, script }).boxed()),
        maybe(script()),
        some(health()),
        ready(),
        autostart(),
        host_options(),
    );
    (being, doing)
        .prop_map(|(being, doing)| {
            let (ctid, hostname, origin, unprivileged, idmap, resources, network, mounts) = being;
            let (depends_on, features, application, health, ready, autostart, host_options) = doing;
            Spec {
                ctid,
                hostname,
                origin,
                unprivileged,
                idmap,
                resources,
                network,
                mounts,
                depends_on,
                features,
                application,
                health,
                ready,
                autostart,
                host_options,
            }
        })
        .boxed()
}

fn origin() -> BoxedStrategy<Origin> {
    prop_oneof![
        path().prop_map(|file| Origin::Template(Template::File(file))),
        text().prop_map(|name| Origin::Template(Template::Stored(name))),
        ctid().prop_map(|source| Origin::Clone { source }),
    ]
    .boxed()
}

fn resources() -> BoxedStrategy<Resources> {
    any::<(u32, u32, Option<u32>, Option<u32>)>()
        .prop_map(|(memory_mb, swap_mb, cores, disk_gb)| Resources { memory_mb, swap_mb, cores, disk_gb })
        .boxed()
}

fn nic() -> BoxedStrategy<Nic> {
    let fixed = any::<(IpAddr, u8)>().prop_map(|(ip, prefix)| Address::Static { ip, prefix });
    let address = prop_oneof![2 => fixed, 1 => Just(Address::Dhcp), 1 => Just(Address::Manual)];
    let numbers = any::<(Option<IpAddr>, Option<u32>, Option<u16>, bool)>();
    (text(), text(), address, maybe(text()), numbers)
        .prop_map(|(name, bridge, address, hwaddr, (gateway, mtu, vlan, firewall))| Nic {
            name,
            bridge,
            address,
            gateway,
            hwaddr,
            mtu,
            vlan,
            firewall,
        })
        .boxed()
}

pub(super) fn mount() -> BoxedStrategy<Mount> {
    (volume(), target(), any::<bool>()).prop_map(|(volume, at, read_only)| Mount { volume, at, read_only }).boxed()
}

/// Any volume.
pub fn volume() -> BoxedStrategy<Volume> {
    let numbers = any::<(u32, u32, Option<u32>, bool, bool)>();
    (volume_name(), path(), maybe(path()), one_of([Ownership::Chown, Ownership::Map]), numbers)
        .prop_map(|(name, source, nosuid_mount, ownership, (uid, gid, mode, take_ownership, recursive))| Volume {
            name,
            source,
            owner: Owner { uid, gid },
            mode,
            ownership,
            take_ownership,
            recursive,
            nosuid_mount,
        })
        .boxed()
}

/// Any script; half of them with their text, as from a manifest, half without, as from a journal.
pub fn script() -> BoxedStrategy<Script> {
    let read = prop::collection::vec(any::<u8>(), 0..40).prop_map(|text| (Digest::of(&text), Some(Arc::from(text))));
    let known = prop_oneof![read, digest().prop_map(|digest| (digest, None::<Arc<[u8]>>))];
    let env = prop::collection::btree_map(text(), env_value(), 0..=3);
    (path(), known, env, some(text()), duration(), any::<u32>(), one_of([OnInterrupt::Rerun, OnInterrupt::Ask]))
        .prop_map(|(path, (digest, text), env, args, timeout, retries, on_interrupt)| Script {
            path,
            digest,
            text,
            env,
            args,
            timeout,
            retries,
            on_interrupt,
        })
        .boxed()
}

fn env_value() -> BoxedStrategy<EnvValue> {
    prop_oneof![text().prop_map(EnvValue::Plain), path().prop_map(EnvValue::SecretFile), text().prop_map(EnvValue::SecretEnv)].boxed()
}

fn health() -> BoxedStrategy<HealthCheck> {
    (health_name(), some(text()), any::<u32>(), duration(), duration())
        .prop_map(|(name, command, retries, interval, timeout)| HealthCheck { name, command, retries, interval, timeout })
        .boxed()
}

fn ready() -> BoxedStrategy<Ready> {
    let probe = prop_oneof![
        Just(ReadyProbe::Init),
        some(text()).prop_map(ReadyProbe::Command),
        any::<u16>().prop_map(ReadyProbe::Port),
        target().prop_map(ReadyProbe::File),
    ];
    (probe, duration()).prop_map(|(probe, timeout)| Ready { probe, timeout }).boxed()
}

fn autostart() -> BoxedStrategy<Autostart> {
    any::<(bool, Option<u32>, Option<u32>, Option<u32>)>()
        .prop_map(|(enabled, order, up_delay_s, down_timeout_s)| Autostart { enabled, order, up_delay_s, down_timeout_s })
        .boxed()
}

fn host_options() -> BoxedStrategy<HostOptions> {
    let features = prop::collection::btree_map(text(), text(), 0..=3);
    let names = [(); 5].map(|()| maybe(text()));
    let tags = prop::collection::btree_set(text(), 0..=3);
    let nameservers = prop::collection::vec(any::<IpAddr>(), 0..=3);
    (names, features, any::<[bool; 3]>(), some(device()), tags, nameservers, maybe(firewall()))
        .prop_map(|(names, lxc_features, [fetch_template, snapshot_before_volumes, protection], devices, tags, nameservers, firewall)| {
            let [storage, hookscript, pool, searchdomain, timezone] = names;
            HostOptions {
                storage,
                lxc_features,
                fetch_template,
                snapshot_before_volumes,
                devices,
                hookscript,
                pool,
                tags,
                protection,
                nameservers,
                searchdomain,
                timezone,
                firewall,
            }
        })
        .boxed()
}

fn device() -> BoxedStrategy<Device> {
    (path(), any::<(u32, u32, u32, bool)>())
        .prop_map(|(path, (uid, gid, mode, deny_write))| Device { path, owner: Owner { uid, gid }, mode, deny_write })
        .boxed()
}

fn firewall() -> BoxedStrategy<Firewall> {
    let policy = || one_of(FirewallPolicy::ALL);
    (any::<bool>(), policy(), policy(), some(text()))
        .prop_map(|(enable, policy_in, policy_out, rules)| Firewall { enable, policy_in, policy_out, rules })
        .boxed()
}
