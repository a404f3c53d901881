//! The configuration that a spec asks for.
//!
//! Pure, so that "the parsed configuration equals the spec" is a comparison of two values. Not here: shared mounts and
//! autostart, which steps of their own write ([`with_mount`], [`with_autostart`]), and how the file is written.

use std::path::Path;

use phoenix_journal::Digest;

use crate::ids::{IdMap, Target};
use crate::manifest::{Address, Autostart, Nic, Spec};
use crate::plan::Mark;

use super::super::local::cgroup::{Controllers, LIMIT_KEYS};
use super::config::{Config, MOUNT_KEY, OUR_REMARK};
use super::mount_entry::MountEntry;

/// What a configuration has to hold for a spec, and what of the spec cannot be kept here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    settings: Vec<(String, String)>,
    /// One phrase for each thing that this host cannot enforce.
    pub(crate) unenforced: Vec<String>,
}

/// Files that LXC ships with its defaults; those that exist are included.
const INCLUDE_COMMON: &str = "/usr/share/lxc/config/common.conf";
const INCLUDE_USERNS: &str = "/usr/share/lxc/config/userns.conf";
/// Keys set from the spec, beside [`LIMIT_KEYS`] and everything under `lxc.net`.
const OWN_KEYS: [&str; 3] = ["lxc.idmap", "lxc.uts.name", "lxc.rootfs.path"];
/// Keys that `autostart.set` writes.
const AUTOSTART_KEYS: [&str; 3] = ["lxc.start.auto", "lxc.start.order", "lxc.start.delay"];

impl Wanted {
    /// Derives the settings. `rootfs` is where the root file system will be once the container is in its place.
    pub(crate) fn of(spec: &Spec, mark: &Mark, rootfs: &Path, controllers: Controllers) -> Self {
        let (limits, mut unenforced) = controllers.settings(&spec.resources);
        let mut settings: Vec<(String, String)> = Vec::new();
        let mut set = |key: &str, value: String| settings.push((key.to_owned(), value));
        for include in includes(&spec.idmap) {
            set("lxc.include", include.to_owned());
        }
        set("lxc.rootfs.path", format!("dir:{}", rootfs.display()));
        set("lxc.uts.name", spec.hostname.to_string());
        if !spec.idmap.is_identity() {
            for value in spec.idmap.to_lxc() {
                set("lxc.idmap", value);
            }
        }
        for (key, value) in limits {
            set(key, value);
        }
        if spec.network.is_empty() {
            set("lxc.net.0.type", "empty".to_owned());
        }
        for (index, nic) in spec.network.iter().enumerate() {
            for (key, value) in nic_settings(index, nic, mark) {
                set(&format!("lxc.net.{index}.{key}"), value);
            }
            if nic.firewall {
                unenforced.push(format!("firewall of {}", nic.name));
            }
        }
        if spec.autostart.down_timeout_s.is_some() {
            unenforced.push("startup.down without phoenix".to_owned());
        }
        Self { settings, unenforced }
    }

    /// A configuration of these settings alone.
    pub(crate) fn fresh(&self) -> Config {
        let mut config = Config::default();
        config.remark(&format!("{OUR_REMARK}; settings it does not know are kept"));
        for (key, value) in &self.settings {
            config.push(key.as_str(), value);
        }
        config
    }

    /// `old` with these settings instead of those of the same keys; mounts, autostart and what we do not know stay.
    pub(crate) fn applied_to(&self, mut old: Config) -> Config {
        old.retain(|key, value| !is_own(key) && !self.settings.iter().any(|(k, v)| k == "lxc.include" && k == key && v == value));
        let mut config = self.fresh();
        config.extend(old);
        config
    }

    /// The first key in which `config` differs, in words.
    pub(crate) fn difference(&self, config: &Config) -> Option<String> {
        let keys = self.settings.iter().map(|(key, _)| key.as_str()).chain(config.settings().map(|(key, _)| key).filter(|key| is_own(key)));
        keys.filter(|key| *key != "lxc.include").find_map(|key| {
            let wanted: Vec<&str> = self.settings.iter().filter(|(k, _)| k == key).map(|(_, value)| value.as_str()).collect();
            let found = config.values(key);
            (wanted != found).then(|| format!("{key} is {found:?} instead of {wanted:?}"))
        })
    }
}

/// `config` with `entry` attached at its target, in place of any other there.
pub(crate) fn with_mount(config: Config, at: &Target, entry: &MountEntry) -> Config {
    let mut config = without_mount(config, at);
    config.push(MOUNT_KEY, entry);
    config
}

/// `config` with nothing attached at `at`.
pub(crate) fn without_mount(mut config: Config, at: &Target) -> Config {
    config.retain(|key, value| key != MOUNT_KEY || MountEntry::parse(value).and_then(|entry| entry.target()).as_ref() != Some(at));
    config
}

/// `config` with autostart as wanted.
pub(crate) fn with_autostart(mut config: Config, autostart: Autostart) -> Config {
    config.retain(|key, _| !AUTOSTART_KEYS.contains(&key));
    config.push("lxc.start.auto", u8::from(autostart.enabled));
    if let Some(order) = autostart.order {
        config.push("lxc.start.order", order);
    }
    if let Some(delay) = autostart.up_delay_s {
        config.push("lxc.start.delay", delay);
    }
    config
}

fn is_own(key: &str) -> bool {
    OWN_KEYS.contains(&key) || LIMIT_KEYS.contains(&key) || key == "lxc.net" || key.starts_with("lxc.net.")
}

fn includes(idmap: &IdMap) -> impl Iterator<Item = &'static str> {
    let userns = (!idmap.is_identity()).then_some(INCLUDE_USERNS);
    [INCLUDE_COMMON].into_iter().chain(userns).filter(|path| Path::new(path).exists())
}

fn nic_settings(index: usize, nic: &Nic, mark: &Mark) -> Vec<(&'static str, String)> {
    let mut settings =
        vec![("type", "veth".to_owned()), ("link", nic.bridge.clone()), ("flags", "up".to_owned()), ("name", nic.name.clone())];
    settings.push(("hwaddr", nic.hwaddr.clone().unwrap_or_else(|| hwaddr(index, mark))));
    if let Some(mtu) = nic.mtu {
        settings.push(("mtu", mtu.to_string()));
    }
    if let Some(vlan) = nic.vlan {
        settings.push(("veth.vlan.id", vlan.to_string()));
    }
    match nic.address {
        Address::Static { ip, prefix } => {
            settings.push((if ip.is_ipv4() { "ipv4.address" } else { "ipv6.address" }, format!("{ip}/{prefix}")));
        }
        Address::Dhcp | Address::Manual => {}
    }
    if let Some(gateway) = nic.gateway {
        settings.push((if gateway.is_ipv4() { "ipv4.gateway" } else { "ipv6.gateway" }, gateway.to_string()));
    }
    settings
}

/// LXC would draw a new address at every start, and with it a new DHCP lease; this one stays with the incarnation. `00:16:3e`
/// is the prefix that LXC's own templates use.
fn hwaddr(index: usize, mark: &Mark) -> String {
    let digest = Digest::of(format!("{} {} {index}", mark.incarnation, mark.ctid).as_bytes()).to_string();
    let byte = |at: usize| digest.get(2 * at..2 * at + 2).unwrap_or("00");
    format!("00:16:3e:{}:{}:{}", byte(0), byte(1), byte(2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{HostOptions, Origin, Ready, ReadyProbe, Resources, Template};

    fn spec(network: Vec<Nic>) -> Spec {
        Spec {
            ctid: crate::ids::Ctid::new(101).expect("in range"),
            hostname: "db".parse().expect("a host name"),
            origin: Origin::Template(Template::File("/t.tar".into())),
            unprivileged: true,
            idmap: IdMap::shifted(100_000, 65536).expect("a map"),
            resources: Resources { memory_mb: 64, swap_mb: 0, cores: None, disk_gb: None },
            network,
            mounts: Vec::new(),
            depends_on: std::collections::BTreeSet::new(),
            features: Vec::new(),
            application: None,
            health: Vec::new(),
            ready: Ready { probe: ReadyProbe::Init, timeout: std::time::Duration::ZERO },
            autostart: Autostart { enabled: true, order: Some(2), up_delay_s: Some(5), down_timeout_s: None },
            host_options: HostOptions::default(),
        }
    }

    fn mark() -> Mark {
        Mark {
            journal: "0102030405060708090a0b0c0d0e0f10".parse().expect("a journal id"),
            fleet: "homelab".parse().expect("a name"),
            ctid: crate::ids::Ctid::new(101).expect("in range"),
            incarnation: crate::ids::Incarnation::from_random([1; 16]),
            epoch: phoenix_journal::Epoch::new(1),
        }
    }

    fn nic() -> Nic {
        Nic {
            name: "eth0".to_owned(),
            bridge: "vmbr0".to_owned(),
            address: Address::Static { ip: "10.0.0.5".parse().expect("an address"), prefix: 24 },
            gateway: "10.0.0.1".parse().ok(),
            hwaddr: None,
            mtu: Some(1400),
            vlan: None,
            firewall: true,
        }
    }

    fn wanted(network: Vec<Nic>) -> Wanted {
        Wanted::of(&spec(network), &mark(), Path::new("/var/lib/lxc/101/rootfs"), Controllers::default())
    }

    #[test]
    fn a_network_is_spelled_as_lxc_wants_it() {
        let wanted = wanted(vec![nic()]);
        let config = wanted.fresh();
        let value = |key: &str| config.value(key).map(str::to_owned);
        assert_eq!(value("lxc.net.0.ipv4.address").as_deref(), Some("10.0.0.5/24"));
        assert_eq!(value("lxc.net.0.ipv4.gateway").as_deref(), Some("10.0.0.1"));
        assert_eq!(value("lxc.net.0.mtu").as_deref(), Some("1400"));
        let hwaddr = value("lxc.net.0.hwaddr").expect("an address");
        assert!(hwaddr.starts_with("00:16:3e:") && hwaddr.len() == 17, "{hwaddr}");
        assert_eq!(wanted, self::wanted(vec![nic()]), "the same incarnation keeps its address");
        assert!(wanted.unenforced.contains(&"firewall of eth0".to_owned()));
        assert_eq!(self::wanted(Vec::new()).fresh().value("lxc.net.0.type"), Some("empty"));
    }

    #[test]
    fn rewriting_replaces_what_is_ours_and_keeps_the_rest() {
        let entry = "/srv/m srv/m none bind,create=dir,nosuid,nodev 0 0";
        let text = format!(
            "lxc.net.0.type = veth\nlxc.net.0.link = old\nlxc.uts.name = old\nlxc.apparmor.profile = mine\nlxc.start.auto = 1\n{MOUNT_KEY} = {entry}\nlxc.include = /etc/lxc/mine.conf\n"
        );
        let old = Config::parse(&text).expect("a configuration");
        let wanted = wanted(Vec::new());
        let new = wanted.applied_to(old);
        assert_eq!(wanted.difference(&new), None);
        assert_eq!(new.value("lxc.net.0.link"), None);
        assert_eq!(new.values("lxc.include").last(), Some(&"/etc/lxc/mine.conf"));
        for (key, value) in [("lxc.apparmor.profile", "mine"), ("lxc.start.auto", "1"), (MOUNT_KEY, entry), ("lxc.uts.name", "db")] {
            assert_eq!(new.value(key), Some(value));
        }
        assert_eq!(wanted.applied_to(new.clone()), new, "a second time changes nothing");
    }

    #[test]
    fn what_differs_is_named() {
        let wanted = wanted(Vec::new());
        let mut config = wanted.fresh();
        config.push("lxc.net.1.type", "veth");
        assert!(wanted.difference(&config).is_some_and(|what| what.contains("lxc.net.1.type")));
        let mut config = wanted.fresh();
        config.retain(|key, _| key != "lxc.idmap");
        assert!(wanted.difference(&config).is_some_and(|what| what.contains("lxc.idmap")));
    }

    #[test]
    fn a_target_is_attached_once_and_autostart_set_once() {
        let at: Target = "/srv/m".parse().expect("a target");
        let entry = |source: &str| MountEntry::new(Path::new(source), &at, false, false).expect("a plain path");
        let config = with_mount(with_mount(Config::default(), &at, &entry("/srv/a")), &at, &entry("/srv/b"));
        assert_eq!(config.mounts().map(|(_, entry)| entry).collect::<Vec<_>>(), [entry("/srv/b")]);
        assert_eq!(without_mount(config, &at).mounts().count(), 0);
        let autostart = spec(Vec::new()).autostart;
        let config = with_autostart(with_autostart(Config::default(), autostart), autostart);
        assert_eq!(config.to_string(), "lxc.start.auto = 1\nlxc.start.order = 2\nlxc.start.delay = 5\n");
    }
}
