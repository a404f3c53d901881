//! The settings that a spec asks for, in `pct`'s words, and how a configuration differs from them.
//!
//! Pure, so that "the configuration equals the spec" is a comparison of values: of property strings only what the spec says is
//! compared, and what Proxmox adds by itself (an address drawn for an interface) is kept. Not here: shared mounts, and what is
//! set last (autostart, protection).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::ids::IdMap;
use crate::manifest::{Address, Autostart, Device, Nic, Spec};

use super::config::Config;
use super::config::property::{DEVICE, NET, PropertyString, Shape};
use super::config::values::Size;

/// Settings of one container, by key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    settings: BTreeMap<String, String>,
    /// A key that must not be there, beside those that are the spec's.
    unwanted: Option<&'static str>,
}

/// What has to be said to `pct set`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// Keys and their new values.
    pub(super) set: BTreeMap<String, String>,
    /// Keys to be taken out.
    pub(super) delete: BTreeSet<String>,
}

/// Keys of one value each that are the spec's; beside them every `netN` and `devN`.
const OWN_KEYS: [&str; 10] =
    ["hostname", "memory", "swap", "cores", "features", "tags", "nameserver", "searchdomain", "timezone", "hookscript"];
/// Keys whose values are lists in any order.
const LISTS: [(&str, &[char]); 3] = [("features", &[',']), ("tags", &[';', ',', ' ']), ("nameserver", &[',', ' '])];
/// The map that Proxmox gives without being told.
const DEFAULT_MAP: (u32, u32) = (100_000, 65_536);
const GIB: u64 = 1024 * 1024 * 1024;

impl Wanted {
    /// What `configure.set` brings about.
    pub(super) fn of(spec: &Spec) -> Self {
        let mut settings = BTreeMap::new();
        let mut set = |key: &str, value: Option<String>| {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                settings.insert(key.to_owned(), value);
            }
        };
        let (resources, options) = (&spec.resources, &spec.host_options);
        set("hostname", Some(spec.hostname.to_string()));
        set("memory", Some(resources.memory_mb.to_string()));
        set("swap", Some(resources.swap_mb.to_string()));
        set("cores", resources.cores.map(|cores| cores.to_string()));
        let features = options.lxc_features.iter().map(|(name, value)| format!("{name}={value}"));
        set("features", Some(features.collect::<Vec<_>>().join(",")));
        set("tags", Some(options.tags.iter().cloned().collect::<Vec<_>>().join(";")));
        set("nameserver", Some(options.nameservers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" ")));
        set("searchdomain", options.searchdomain.clone());
        set("timezone", options.timezone.clone());
        set("hookscript", options.hookscript.clone());
        for (index, nic) in spec.network.iter().enumerate() {
            set(&format!("net{index}"), Some(net(nic)));
        }
        for (index, found) in options.devices.iter().enumerate() {
            set(&format!("dev{index}"), Some(device(found)));
        }
        Self { settings, unwanted: None }
    }

    /// What a clone must not bring along, beside what [`Self::of`] takes out: autostart, protection, shared directories.
    pub(super) fn of_clone(spec: &Spec) -> Self {
        let mut wanted = Self::of(spec);
        wanted.settings.insert("onboot".to_owned(), "0".to_owned());
        wanted.settings.insert("protection".to_owned(), "0".to_owned());
        match startup(spec.autostart) {
            Some(startup) => drop(wanted.settings.insert("startup".to_owned(), startup)),
            None => wanted.unwanted = Some("startup"),
        }
        wanted
    }

    /// What `autostart.set` brings about.
    pub(super) fn at_last(spec: &Spec) -> Self {
        let switch = |on: bool| u8::from(on).to_string();
        let mut settings = BTreeMap::from([("onboot".to_owned(), switch(spec.autostart.enabled))]);
        settings.insert("protection".to_owned(), switch(spec.host_options.protection));
        settings.extend(startup(spec.autostart).map(|startup| ("startup".to_owned(), startup)));
        Self { settings, unwanted: None }
    }

    /// All of it, for a container that is made anew.
    pub(super) fn at_creation(spec: &Spec) -> BTreeMap<String, String> {
        let mut settings = Self::of(spec).settings;
        settings.extend(startup(spec.autostart).map(|startup| ("startup".to_owned(), startup)));
        settings
    }

    /// What has to change in a configuration, as it will be once what is pending has taken effect.
    pub(super) fn change(&self, config: &Config) -> Change {
        self.change_of(&effective(config))
    }

    /// What has to change so that it is in force already and stays so. Proxmox reads the main section when the node boots, and
    /// what is pending replaces that at the next start.
    pub(super) fn change_at_once(&self, config: &Config) -> Change {
        let mut change = self.change(config);
        if !phoenix_journal::sabotaged("what_is_pending_counts") {
            let now = self.change_of(&config.main().settings().map(owned).collect());
            change.set.extend(now.set);
            change.delete.extend(now.delete);
        }
        change
    }

    fn change_of(&self, found: &BTreeMap<String, String>) -> Change {
        let mut change = Change::default();
        for (key, wanted) in &self.settings {
            let is = found.get(key).map(String::as_str);
            if !same(key, wanted, is) {
                change.set.insert(key.clone(), kept(key, wanted, is));
            }
        }
        // Only who speaks of all settings takes any out.
        if self.settings.contains_key("hostname") {
            let lost = found.keys().filter(|key| is_own(key) && !self.settings.contains_key(*key));
            change.delete.extend(lost.cloned());
        }
        change.delete.extend(self.unwanted.filter(|key| found.contains_key(*key)).map(str::to_owned));
        change
    }
}

impl Change {
    /// Whether nothing has to be said.
    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.delete.is_empty()
    }

    /// The words for `pct set`.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.set.iter().flat_map(|(key, value)| [format!("--{key}"), value.clone()]).collect();
        if !self.delete.is_empty() {
            words.extend(["--delete".to_owned(), self.delete.iter().cloned().collect::<Vec<_>>().join(",")]);
        }
        words
    }

    /// In words, for a person.
    pub(super) fn named(&self) -> String {
        let set = self.set.iter().map(|(key, value)| format!("{key} is not {value:?}"));
        set.chain(self.delete.iter().map(|key| format!("{key} is set"))).collect::<Vec<_>>().join(", ")
    }
}

/// What is in force once everything pending has taken effect.
pub(super) fn effective(config: &Config) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> = config.main().settings().map(owned).collect();
    if let Some(pending) = config.pending() {
        pending.deleted().for_each(|key| {
            found.remove(key);
        });
        found.extend(pending.settings().filter(|(key, _)| *key != "delete").map(owned));
    }
    found
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// The keys that wait for the next start.
pub(super) fn waiting(config: &Config) -> BTreeSet<String> {
    let pending = config.pending();
    let sections = pending.iter();
    let keys = sections.flat_map(|section| section.settings().map(|(key, _)| key).filter(|key| *key != "delete").chain(section.deleted()));
    keys.map(str::to_owned).collect()
}

/// The `lxc.idmap` lines that a map needs; none where Proxmox gives the map by itself.
pub(super) fn idmap_lines(idmap: &IdMap) -> Vec<String> {
    let (host, count) = DEFAULT_MAP;
    let by_itself = idmap.is_identity() || IdMap::shifted(host, count).as_ref() == Ok(idmap);
    if by_itself { Vec::new() } else { idmap.to_lxc().into_iter().collect() }
}

/// What the root file system has to grow to; nothing if it is large enough, or has no size.
pub(super) fn growth(disk_gb: Option<u32>, found: Option<Size>) -> Option<u32> {
    let (wanted, Size(found)) = (disk_gb?, found?);
    (found > 0 && found < u64::from(wanted) * GIB).then_some(wanted)
}

fn is_own(key: &str) -> bool {
    let numbered =
        |stem: &str| key.strip_prefix(stem).is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()));
    OWN_KEYS.contains(&key) || numbered("net") || numbered("dev")
}

fn shape_of(key: &str) -> Option<&'static Shape> {
    if !is_own(key) || OWN_KEYS.contains(&key) {
        return None;
    }
    Some(if key.starts_with("net") { &NET } else { &DEVICE })
}

/// Whether a value says what is wanted.
fn same(key: &str, wanted: &str, found: Option<&str>) -> bool {
    let Some(found) = found else {
        // What is not set is off.
        return ["onboot", "protection"].contains(&key) && wanted == "0";
    };
    if let Some(shape) = shape_of(key) {
        let parsed = |text: &str| PropertyString::parse(text, shape).ok();
        return match (parsed(wanted), parsed(found)) {
            (Some(wanted), Some(found)) => same_properties(&wanted, &found),
            (None, _) | (_, None) => false,
        };
    }
    match LISTS.iter().find(|(list, _)| *list == key) {
        Some((_, separators)) => parts(wanted, separators) == parts(found, separators),
        None => wanted == found,
    }
}

/// What Proxmox writes by itself is not compared, unless the spec says it.
fn same_properties(wanted: &PropertyString, found: &PropertyString) -> bool {
    const DEFAULTS: [(&str, &str); 5] = [("uid", "0"), ("gid", "0"), ("firewall", "0"), ("deny-write", "0"), ("ip", "manual")];
    let usual = |name: &str, value: &str| DEFAULTS.contains(&(name, value)) || ["hwaddr", "type", "host-managed"].contains(&name);
    let says = |one: &PropertyString, other: &PropertyString, lenient: &dyn Fn(&str, &str) -> bool| {
        one.iter().all(|(name, value)| other.get(name).map_or_else(|| lenient(name, value), |other| other.eq_ignore_ascii_case(value)))
    };
    let default = |name: &str, value: &str| DEFAULTS.contains(&(name, value));
    says(wanted, found, &default) && says(found, wanted, &usual)
}

fn parts<'a>(text: &'a str, separators: &[char]) -> BTreeSet<&'a str> {
    text.split(separators).map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// A new value for an interface keeps the address that was drawn for it.
fn kept(key: &str, wanted: &str, found: Option<&str>) -> String {
    if !key.starts_with("net") {
        return wanted.to_owned();
    }
    let parsed = |text: &str| PropertyString::parse(text, &NET).ok();
    let drawn = found.and_then(parsed).and_then(|found| found.get("hwaddr").map(str::to_owned));
    match (parsed(wanted), drawn) {
        (Some(mut wanted), Some(drawn)) if wanted.get("hwaddr").is_none() => {
            wanted.set("hwaddr", &drawn).expect("what was read from a property string can be written into one");
            wanted.to_string()
        }
        (Some(_) | None, _) => wanted.to_owned(),
    }
}

fn net(nic: &Nic) -> String {
    let Nic { name, bridge, address, gateway, hwaddr, mtu, vlan, firewall } = nic;
    let mut parts = vec![format!("name={name}"), format!("bridge={bridge}")];
    let mut add = |name: &str, value: String| parts.push(format!("{name}={value}"));
    if *firewall {
        add("firewall", "1".to_owned());
    }
    if let Some(gateway) = gateway {
        add(if gateway.is_ipv4() { "gw" } else { "gw6" }, gateway.to_string());
    }
    if let Some(hwaddr) = hwaddr {
        add("hwaddr", hwaddr.to_uppercase());
    }
    match address {
        Address::Static { ip, prefix } => add(if ip.is_ipv4() { "ip" } else { "ip6" }, format!("{ip}/{prefix}")),
        Address::Dhcp => add("ip", "dhcp".to_owned()),
        Address::Manual => add("ip", "manual".to_owned()),
    }
    if let Some(mtu) = mtu {
        add("mtu", mtu.to_string());
    }
    if let Some(vlan) = vlan {
        add("tag", vlan.to_string());
    }
    add("type", "veth".to_owned());
    parts.join(",")
}

fn device(device: &Device) -> String {
    let Device { path, owner, mode, deny_write } = device;
    let mut text = path.display().to_string();
    if *deny_write {
        text.push_str(",deny-write=1");
    }
    format!("{text},gid={},mode={mode:04o},uid={}", owner.gid, owner.uid)
}

fn startup(autostart: Autostart) -> Option<String> {
    let Autostart { enabled: _, order, up_delay_s, down_timeout_s } = autostart;
    let part = |name: &str, value: Option<u32>| value.map(|value| format!("{name}={value}"));
    let parts: Vec<String> = [part("order", order), part("up", up_delay_s), part("down", down_timeout_s)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn config(text: &str) -> Config {
        Config::parse(text).expect("a configuration")
    }

    fn wanted(settings: &[(&str, &str)]) -> Wanted {
        let settings = settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Wanted { settings, unwanted: None }
    }

    #[test]
    fn what_proxmox_adds_by_itself_is_no_difference() {
        let wanted = wanted(&[
            ("hostname", "db"),
            ("memory", "512"),
            ("net0", "name=eth0,bridge=vmbr0,ip=10.99.0.5/24,type=veth"),
            ("tags", "b;a"),
            ("features", "nesting=1,keyctl=1"),
        ]);
        let text = "arch: amd64\nfeatures: keyctl=1,nesting=1\nhostname: db\nmemory: 512\n\
                    net0: name=eth0,bridge=vmbr0,hwaddr=BC:24:11:B6:11:39,ip=10.99.0.5/24,type=veth\ntags: a;b\n";
        assert_eq!(wanted.change(&config(text)), Change::default());
    }

    #[test]
    fn only_the_difference_is_said_and_a_drawn_address_stays() {
        let wanted = wanted(&[("hostname", "db"), ("net0", "name=eth0,bridge=vmbr0,ip=dhcp,type=veth")]);
        let text = "cores: 2\nhostname: db\nnet0: name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:B6:11:39,ip=10.0.0.5/24,type=veth\n\
                    net1: name=eth1,bridge=vmbr1\nonboot: 1\n";
        let change = wanted.change(&config(text));
        assert_eq!(
            change.words(),
            ["--net0", "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:B6:11:39,ip=dhcp,type=veth", "--delete", "cores,net1"]
        );
    }

    #[test]
    fn what_waits_for_the_next_start_counts_as_said() {
        let wanted = wanted(&[("hostname", "db"), ("nameserver", "1.1.1.1")]);
        let config = config("features: nesting=1\nhostname: db\n\n[pve:pending]\ndelete: features\nnameserver: 1.1.1.1\n");
        assert!(wanted.change(&config).is_empty());
        assert_eq!(waiting(&config).into_iter().collect::<Vec<_>>(), ["features", "nameserver"]);
    }

    #[test]
    fn what_is_not_set_is_off() {
        let wanted = wanted(&[("onboot", "0"), ("protection", "1")]);
        assert_eq!(wanted.change(&config("hostname: a\n")).words(), ["--protection", "1"]);
        assert_eq!(wanted.change(&config("onboot: 1\nprotection: 1\n")).words(), ["--onboot", "0"]);
    }

    #[test]
    fn a_root_file_system_only_grows() {
        assert_eq!(growth(Some(8), Some(Size(4 * GIB))), Some(8));
        assert_eq!(growth(Some(4), Some(Size(8 * GIB))), None);
        assert_eq!(growth(Some(4), Some(Size(0))), None, "a directory has no size");
        assert_eq!(growth(None, Some(Size(GIB))), None);
    }
}
