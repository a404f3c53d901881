//! The spec on disk: what a declaration holds, once per generation.
//!
//! Mirrors `manifest::spec` field by field. Script texts are not in it: the journal keeps them by digest, beside the
//! declaration. Not here: defaults; everything is written out, so that a later version's defaults change nothing declared.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::Digest;
use serde::{Deserialize, Serialize};

use super::written::{self, written_as};
use crate::ids::{Ctid, FeatureName, HealthName, Hostname, IdMap, Target, VolumeName};
use crate::manifest::{
    Address, Autostart, Device, EnvValue, Feature, Firewall, FirewallPolicy, HealthCheck, HostOptions, Mount, Nic, OnInterrupt, Origin,
    Owner, Ownership, Ready, ReadyProbe, Resources, Script, Spec, Template, Volume,
};

written_as! {
    Spec => SpecDocument,
    Origin => OriginDocument,
    Template => TemplateDocument,
    Resources => ResourcesDocument,
    Nic => NicDocument,
    Address => AddressDocument,
    Mount => MountDocument,
    Volume => VolumeDocument,
    Owner => OwnerDocument,
    Ownership => OwnershipDocument,
    Script => ScriptDocument,
    EnvValue => EnvValueDocument,
    OnInterrupt => OnInterruptDocument,
    Feature => FeatureDocument,
    HealthCheck => HealthCheckDocument,
    Ready => ReadyDocument,
    ReadyProbe => ReadyProbeDocument,
    Autostart => AutostartDocument,
    HostOptions => HostOptionsDocument,
    Device => DeviceDocument,
    Firewall => FirewallDocument,
    FirewallPolicy => FirewallPolicyDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Spec", deny_unknown_fields)]
struct SpecDocument {
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    hostname: Hostname,
    #[serde(with = "written")]
    origin: Origin,
    unprivileged: bool,
    #[serde(with = "written")]
    idmap: IdMap,
    #[serde(with = "written")]
    resources: Resources,
    #[serde(with = "written")]
    network: Vec<Nic>,
    #[serde(with = "written")]
    mounts: Vec<Mount>,
    #[serde(with = "written")]
    depends_on: BTreeSet<Ctid>,
    #[serde(with = "written")]
    features: Vec<Feature>,
    #[serde(with = "written")]
    application: Option<Script>,
    #[serde(with = "written")]
    health: Vec<HealthCheck>,
    #[serde(with = "written")]
    ready: Ready,
    #[serde(with = "written")]
    autostart: Autostart,
    #[serde(with = "written")]
    host_options: HostOptions,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Origin", rename_all = "snake_case", deny_unknown_fields)]
enum OriginDocument {
    Template(#[serde(with = "written")] Template),
    Clone {
        #[serde(with = "written")]
        source: Ctid,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Template", rename_all = "snake_case", deny_unknown_fields)]
enum TemplateDocument {
    File(#[serde(with = "written")] PathBuf),
    Stored(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Resources", deny_unknown_fields)]
struct ResourcesDocument {
    memory_mb: u32,
    swap_mb: u32,
    cores: Option<u32>,
    disk_gb: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Nic", deny_unknown_fields)]
struct NicDocument {
    name: String,
    bridge: String,
    #[serde(with = "written")]
    address: Address,
    gateway: Option<IpAddr>,
    hwaddr: Option<String>,
    mtu: Option<u32>,
    vlan: Option<u16>,
    firewall: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Address", rename_all = "snake_case", deny_unknown_fields)]
enum AddressDocument {
    Static { ip: IpAddr, prefix: u8 },
    Dhcp,
    Manual,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Mount", deny_unknown_fields)]
struct MountDocument {
    #[serde(with = "written")]
    volume: Volume,
    #[serde(with = "written")]
    at: Target,
    read_only: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Volume", deny_unknown_fields)]
struct VolumeDocument {
    #[serde(with = "written")]
    name: VolumeName,
    #[serde(with = "written")]
    source: PathBuf,
    #[serde(with = "written")]
    owner: Owner,
    mode: Option<u32>,
    #[serde(with = "written")]
    ownership: Ownership,
    take_ownership: bool,
    recursive: bool,
    #[serde(with = "written")]
    nosuid_mount: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Owner", deny_unknown_fields)]
struct OwnerDocument {
    uid: u32,
    gid: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Ownership", rename_all = "snake_case")]
enum OwnershipDocument {
    Chown,
    Map,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Script", deny_unknown_fields)]
struct ScriptDocument {
    #[serde(with = "written")]
    path: PathBuf,
    #[serde(with = "written")]
    digest: Digest,
    /// A blob of the declaration, found by its digest.
    #[serde(skip)]
    text: Option<Arc<[u8]>>,
    #[serde(with = "written")]
    env: BTreeMap<String, EnvValue>,
    args: Vec<String>,
    #[serde(with = "written", rename = "timeout_ms")]
    timeout: Duration,
    retries: u32,
    #[serde(with = "written")]
    on_interrupt: OnInterrupt,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "EnvValue", rename_all = "snake_case", deny_unknown_fields)]
enum EnvValueDocument {
    Plain(String),
    SecretFile(#[serde(with = "written")] PathBuf),
    SecretEnv(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OnInterrupt", rename_all = "snake_case")]
enum OnInterruptDocument {
    Rerun,
    Ask,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Feature", deny_unknown_fields)]
struct FeatureDocument {
    #[serde(with = "written")]
    name: FeatureName,
    #[serde(with = "written")]
    script: Script,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HealthCheck", deny_unknown_fields)]
struct HealthCheckDocument {
    #[serde(with = "written")]
    name: HealthName,
    command: Vec<String>,
    retries: u32,
    #[serde(with = "written", rename = "interval_ms")]
    interval: Duration,
    #[serde(with = "written", rename = "timeout_ms")]
    timeout: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Ready", deny_unknown_fields)]
struct ReadyDocument {
    #[serde(with = "written")]
    probe: ReadyProbe,
    #[serde(with = "written", rename = "timeout_ms")]
    timeout: Duration,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ReadyProbe", rename_all = "snake_case", deny_unknown_fields)]
enum ReadyProbeDocument {
    Init,
    Command(Vec<String>),
    Port(u16),
    File(#[serde(with = "written")] Target),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Autostart", deny_unknown_fields)]
struct AutostartDocument {
    enabled: bool,
    order: Option<u32>,
    up_delay_s: Option<u32>,
    down_timeout_s: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HostOptions", deny_unknown_fields)]
struct HostOptionsDocument {
    storage: Option<String>,
    lxc_features: BTreeMap<String, String>,
    fetch_template: bool,
    snapshot_before_volumes: bool,
    // From here on schema 2: not written where it asks for nothing, so that what schema 1 could say is spelled as it was.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "written")]
    devices: Vec<Device>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hookscript: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    tags: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    protection: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    nameservers: Vec<IpAddr>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    searchdomain: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timezone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "written")]
    firewall: Option<Firewall>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Device", deny_unknown_fields)]
struct DeviceDocument {
    #[serde(with = "written")]
    path: PathBuf,
    #[serde(with = "written")]
    owner: Owner,
    mode: u32,
    deny_write: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Firewall", deny_unknown_fields)]
struct FirewallDocument {
    enable: bool,
    #[serde(with = "written")]
    policy_in: FirewallPolicy,
    #[serde(with = "written")]
    policy_out: FirewallPolicy,
    rules: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FirewallPolicy", rename_all = "snake_case")]
enum FirewallPolicyDocument {
    Accept,
    Reject,
    Drop,
}

/// The oldest schema that can say it.
pub(super) fn schema_of(spec: &Spec) -> u32 {
    // Destructured without `..`, so that a new key has to say since when it is known.
    let HostOptions {
        storage: _,
        lxc_features: _,
        fetch_template: _,
        snapshot_before_volumes: _,
        devices,
        hookscript,
        pool,
        tags,
        protection,
        nameservers,
        searchdomain,
        timezone,
        firewall,
    } = &spec.host_options;
    let texts = [hookscript, pool, searchdomain, timezone];
    let more = !devices.is_empty()
        || texts.into_iter().any(Option::is_some)
        || !tags.is_empty()
        || *protection
        || !nameservers.is_empty()
        || firewall.is_some();
    if more { 2 } else { 1 }
}
