//! What the property strings of a container's configuration mean: network, mount points, devices, features, start order.
//!
//! Apart from their text ([`super::property`]), into which a value is written so that properties not known here stay. Not here:
//! which values are wanted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::ids::IdRange;

use super::property::{PropertyError, PropertyString, digits};

/// `netN`: one network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net {
    /// Name inside.
    pub name: String,
    /// Bridge of the host.
    pub bridge: Option<String>,
    /// Hardware address, as written.
    pub hwaddr: Option<String>,
    /// IPv4 address.
    pub ip: Option<NetAddress>,
    /// IPv4 gateway.
    pub gw: Option<IpAddr>,
    /// IPv6 address.
    pub ip6: Option<NetAddress>,
    /// IPv6 gateway.
    pub gw6: Option<IpAddr>,
    /// Whether the host's firewall applies.
    pub firewall: bool,
    /// VLAN.
    pub tag: Option<u16>,
    /// MTU.
    pub mtu: Option<u32>,
}

/// How an interface gets an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetAddress {
    /// Fixed.
    Static {
        /// The address.
        ip: IpAddr,
        /// Bits of the network part.
        prefix: u8,
    },
    /// By DHCP.
    Dhcp,
    /// Left to the inside.
    Manual,
    /// By router advertisement.
    Auto,
}

/// `rootfs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFs {
    /// The volume, as `local:101/vm-101-disk-0.raw`; or a path of the host.
    pub volume: String,
    /// Its size, as far as it is written down.
    pub size: Option<Size>,
}

/// `mpN`: something attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountPoint {
    /// What is attached.
    pub source: MountSource,
    /// Where, as written: `relative` means `/relative`.
    pub at: String,
    /// Whether the container may only read.
    pub read_only: bool,
    /// Whether the volume is on every node.
    pub shared: bool,
    /// Whether it goes into backups.
    pub backup: bool,
    /// The volume's size.
    pub size: Option<Size>,
    /// How ids are translated, from Proxmox VE 9.2 on.
    pub idmap: Option<MountIdmap>,
}

/// What is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountSource {
    /// A directory of the host.
    Directory(PathBuf),
    /// A block device of the host.
    Device(PathBuf),
    /// A volume of a storage.
    Volume(String),
}

/// How ids are translated on a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountIdmap {
    /// Ids on disk are the ids inside.
    Passthrough,
    /// By ranges; `host` is the id on disk.
    Ranges {
        /// Of users.
        users: Vec<IdRange>,
        /// Of groups.
        groups: Vec<IdRange>,
    },
}

/// `devN`: a device node of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The node.
    pub path: PathBuf,
    /// Owner, as seen inside; 0 by default.
    pub uid: u32,
    /// Group, as seen inside; 0 by default.
    pub gid: u32,
    /// Permission bits, if they are written down.
    pub mode: Option<u32>,
    /// Whether the container may only read.
    pub deny_write: bool,
}

/// `startup`: place in the order at boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Startup {
    /// Lower first.
    pub order: Option<u32>,
    /// Seconds to wait before the next.
    pub up: Option<u32>,
    /// Seconds to shut down.
    pub down: Option<u32>,
}

/// An amount of bytes, as Proxmox writes it: `8G`, `0T`, `512M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const ADDRESS: &str = "an address with its prefix length, `dhcp`, `manual` or `auto`";

impl Net {
    /// Reads it.
    pub fn read(from: &PropertyString) -> Result<Self, PropertyError> {
        let text = |name: &str| from.get(name).map(str::to_owned);
        let gateway = |name: &str| from.read(name, "an address", |value| value.parse().ok());
        Ok(Self {
            name: from.demand("name")?.to_owned(),
            bridge: text("bridge"),
            hwaddr: text("hwaddr"),
            ip: from.read("ip", ADDRESS, net_address)?,
            gw: gateway("gw")?,
            ip6: from.read("ip6", ADDRESS, net_address)?,
            gw6: gateway("gw6")?,
            firewall: from.flag("firewall")?.unwrap_or(false),
            tag: from.read("tag", "a VLAN from 1 to 4094", |value| digits(value).filter(|tag| (1..=4094).contains(tag)))?,
            mtu: from.read("mtu", "a number", digits)?,
        })
    }

    /// Writes it into what is there.
    pub fn write(&self, into: &mut PropertyString) -> Result<(), PropertyError> {
        let Self { name, bridge, hwaddr, ip, gw, ip6, gw6, firewall, tag, mtu } = self;
        into.set("name", name)?;
        into.put("bridge", bridge.as_deref())?;
        into.put("hwaddr", hwaddr.as_deref())?;
        into.put("ip", shown(ip.as_ref()).as_deref())?;
        into.put("gw", shown(gw.as_ref()).as_deref())?;
        into.put("ip6", shown(ip6.as_ref()).as_deref())?;
        into.put("gw6", shown(gw6.as_ref()).as_deref())?;
        into.put("firewall", firewall.then_some("1"))?;
        into.put("tag", shown(tag.as_ref()).as_deref())?;
        into.put("mtu", shown(mtu.as_ref()).as_deref())
    }
}

impl RootFs {
    /// Reads it.
    pub fn read(from: &PropertyString) -> Result<Self, PropertyError> {
        Ok(Self { volume: from.demand("volume")?.to_owned(), size: from.read("size", SIZE, Size::parse)? })
    }
}

impl MountPoint {
    /// Reads it.
    pub fn read(from: &PropertyString) -> Result<Self, PropertyError> {
        let volume = from.demand("volume")?;
        Ok(Self {
            source: if volume.starts_with("/dev/") {
                MountSource::Device(PathBuf::from(volume))
            } else if volume.starts_with('/') {
                MountSource::Directory(PathBuf::from(volume))
            } else {
                MountSource::Volume(volume.to_owned())
            },
            at: from.demand("mp")?.to_owned(),
            read_only: from.flag("ro")?.unwrap_or(false),
            shared: from.flag("shared")?.unwrap_or(false),
            backup: from.flag("backup")?.unwrap_or(false),
            size: from.read("size", SIZE, Size::parse)?,
            idmap: from.read("idmap", "`passthrough`, or ranges as `u:0:100000:65536;g:0:100000:65536`", MountIdmap::parse)?,
        })
    }

    /// Where it is attached, as a path from the root.
    pub fn target(&self) -> String {
        format!("/{}", self.at.trim_matches('/'))
    }
}

impl MountIdmap {
    fn parse(text: &str) -> Option<Self> {
        if text == "passthrough" {
            return Some(Self::Passthrough);
        }
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for range in text.split(';') {
            let mut words = range.split(':');
            let kind = words.next()?;
            let mut number = || words.next().and_then(digits);
            let range = IdRange { inside: number()?, host: number()?, count: number()? };
            match (kind, words.next()) {
                ("u", None) => users.push(range),
                ("g", None) => groups.push(range),
                (_, _) => return None,
            }
        }
        Some(Self::Ranges { users, groups })
    }
}

impl fmt::Display for MountIdmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges { users, groups } = self else { return f.write_str("passthrough") };
        let all = users.iter().map(|range| ('u', range)).chain(groups.iter().map(|range| ('g', range)));
        for (index, (kind, IdRange { inside, host, count })) in all.enumerate() {
            write!(f, "{}{kind}:{inside}:{host}:{count}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl Device {
    /// Reads it.
    pub fn read(from: &PropertyString) -> Result<Self, PropertyError> {
        let mode =
            |value: &str| Some(value).filter(|value| (3..=4).contains(&value.len())).and_then(|value| u32::from_str_radix(value, 8).ok());
        Ok(Self {
            path: from.demand("path")?.into(),
            uid: from.read("uid", "a number", digits)?.unwrap_or(0),
            gid: from.read("gid", "a number", digits)?.unwrap_or(0),
            mode: from.read("mode", "permission bits as `0660`", mode)?,
            deny_write: from.flag("deny-write")?.unwrap_or(false),
        })
    }

    /// Writes it into what is there; what is as by default is left out.
    pub fn write(&self, into: &mut PropertyString) -> Result<(), PropertyError> {
        let Self { path, uid, gid, mode, deny_write } = self;
        let number = |id: u32| (id != 0).then(|| id.to_string());
        into.set("path", &path.to_string_lossy())?;
        into.put("uid", number(*uid).as_deref())?;
        into.put("gid", number(*gid).as_deref())?;
        into.put("mode", mode.map(|mode| format!("{mode:04o}")).as_deref())?;
        into.put("deny-write", deny_write.then_some("1"))
    }
}

/// Reads `features`.
pub fn features(from: &PropertyString) -> BTreeMap<String, String> {
    from.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl Startup {
    /// Reads it.
    pub fn read(from: &PropertyString) -> Result<Self, PropertyError> {
        let number = |name: &str| from.read(name, "a number", digits);
        Ok(Self { order: number("order")?, up: number("up")?, down: number("down")? })
    }

    /// Writes it, always with the name of the order, as people do.
    pub fn text(&self) -> String {
        let Self { order, up, down } = self;
        let parts = [("order", order), ("up", up), ("down", down)];
        parts.iter().filter_map(|(name, value)| value.map(|value| format!("{name}={value}"))).collect::<Vec<_>>().join(",")
    }
}

const SIZE: &str = "a size as `8G`";
const UNITS: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

impl Size {
    /// Reads digits, a fraction if there is one, and a unit if there is one.
    pub fn parse(text: &str) -> Option<Self> {
        let unit = UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)));
        let (number, unit) = unit.unwrap_or((text, 1));
        let (whole, fraction) = number.split_once('.').map_or((number, "0"), |(whole, fraction)| (whole, fraction));
        if whole.is_empty() || fraction.is_empty() || fraction.len() > 9 {
            return None;
        }
        let (whole, part): (u64, u64) = (digits(whole)?, digits(fraction)?);
        let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
        let part = u64::try_from(u128::from(part) * u128::from(unit) / scale).ok()?;
        whole.checked_mul(unit)?.checked_add(part).map(Self)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As Proxmox writes it: the largest unit that divides it. None is `0T`.
        match UNITS.iter().rev().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Display for NetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static { ip, prefix } => write!(f, "{ip}/{prefix}"),
            Self::Dhcp => f.write_str("dhcp"),
            Self::Manual => f.write_str("manual"),
            Self::Auto => f.write_str("auto"),
        }
    }
}

fn net_address(text: &str) -> Option<NetAddress> {
    match text {
        "dhcp" => Some(NetAddress::Dhcp),
        "manual" => Some(NetAddress::Manual),
        "auto" => Some(NetAddress::Auto),
        _ => {
            let (ip, prefix) = text.split_once('/')?;
            let ip: IpAddr = ip.parse().ok()?;
            let prefix = digits(prefix).filter(|prefix| *prefix <= if ip.is_ipv4() { 32 } else { 128 })?;
            Some(NetAddress::Static { ip, prefix })
        }
    }
}

fn shown(value: Option<&impl fmt::Display>) -> Option<String> {
    value.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::property::{DEVICE, FEATURES, MOUNT, NET, ROOTFS, STARTUP, Shape};
    use super::*;

    #[track_caller]
    fn parsed(text: &str, shape: &'static Shape) -> PropertyString {
        PropertyString::parse(text, shape).expect("a property string")
    }

    #[test]
    fn an_interface_as_pct_writes_it() {
        let text = "name=eth0,bridge=vmbr0,firewall=1,gw=10.99.0.1,hwaddr=BC:24:11:E7:2C:B6,ip=10.99.0.110/24,tag=7,type=veth";
        let net = Net::read(&parsed(text, &NET)).expect("an interface");
        assert_eq!((net.bridge.as_deref(), net.firewall, net.tag, net.mtu), (Some("vmbr0"), true, Some(7), None));
        assert_eq!(net.ip, Some(NetAddress::Static { ip: "10.99.0.110".parse().expect("an address"), prefix: 24 }));
        let mut other = parsed("name=eth9,novelty=1,type=veth", &NET);
        net.write(&mut other).expect("plain values");
        assert_eq!(other.to_string(), text.replace(",tag=7", ",novelty=1,tag=7"));
        for wrong in ["bridge=a", "name=a,ip=10.0.0.1", "name=a,ip=10.0.0.1/33", "name=a,tag=4095", "name=a,mtu=+5", "name=a,firewall=2"] {
            assert!(Net::read(&parsed(wrong, &NET)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mount_point_is_a_directory_a_device_or_a_volume() {
        let read = |text: &str| MountPoint::read(&parsed(text, &MOUNT)).expect("a mount point");
        let directory = read("/var/lib/vz/bind1,mp=/data,ro=1");
        assert_eq!(directory.source, MountSource::Directory("/var/lib/vz/bind1".into()));
        assert!(directory.read_only && !directory.backup);
        assert_eq!(read("/dev/sdb1,mp=relative").source, MountSource::Device("/dev/sdb1".into()));
        assert_eq!(read("/dev/sdb1,mp=relative").target(), "/relative");
        let volume = read("local:100/subvol-100-disk-1.subvol,mp=/vol,size=0T");
        assert_eq!(volume.source, MountSource::Volume("local:100/subvol-100-disk-1.subvol".to_owned()));
        assert_eq!(volume.size, Some(Size(0)));
        assert!(MountPoint::read(&parsed("/srv/a", &MOUNT)).is_err());
    }

    #[test]
    fn a_mapped_mount_comes_back_as_it_was() {
        let text = "/srv/a,mp=/a,idmap=u:0:100000:1000;u:1000:1000:1;g:0:100000:65536";
        let mount = MountPoint::read(&parsed(text, &MOUNT)).expect("a mount point");
        assert_eq!(mount.idmap.map(|map| map.to_string()).as_deref(), text.split_once("idmap=").map(|(_, map)| map));
        let passthrough = MountPoint::read(&parsed("/srv/a,mp=/a,idmap=passthrough", &MOUNT)).expect("a mount point");
        assert_eq!(passthrough.idmap, Some(MountIdmap::Passthrough));
        for wrong in ["u:0:1", "u:0:1:2:3", "x:0:1:2", "u:0:-1:2", ";"] {
            assert!(MountPoint::read(&parsed(&format!("/srv/a,mp=/a,idmap={wrong}"), &MOUNT)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_device_says_only_what_is_not_as_by_default() {
        let device = Device::read(&parsed("/dev/dri/renderD128,gid=104,mode=0660", &DEVICE)).expect("a device");
        assert_eq!((device.uid, device.gid, device.mode, device.deny_write), (0, 104, Some(0o660), false));
        let mut text = PropertyString::empty(&DEVICE);
        device.write(&mut text).expect("plain values");
        assert_eq!(text.to_string(), "/dev/dri/renderD128,gid=104,mode=0660");
        assert!(Device::read(&parsed("/dev/a,mode=0899", &DEVICE)).is_err());
    }

    #[test]
    fn features_and_the_order_at_boot() {
        let found = features(&parsed("nesting=1,mount=nfs;cifs", &FEATURES));
        assert_eq!(found.get("mount").map(String::as_str), Some("nfs;cifs"));
        let startup = Startup::read(&parsed("2,up=5", &STARTUP)).expect("an order");
        assert_eq!(startup, Startup { order: Some(2), up: Some(5), down: None });
        assert_eq!(startup.text(), "order=2,up=5");
    }

    #[test]
    fn sizes_are_read_and_written_as_proxmox_does() {
        for (text, bytes) in [("0T", 0), ("8G", 8 << 30), ("512M", 512 << 20), ("1000", 1000), ("1.5G", 1536 << 20), ("4K", 4096)] {
            assert_eq!(Size::parse(text), Some(Size(bytes)), "{text}");
        }
        assert_eq!(Size(1536 << 20).to_string(), "1536M");
        assert_eq!(Size(0).to_string(), "0T");
        for wrong in ["", "G", "-1G", "1.G", ".5G", "1.0000000000G", "99999999T", "1g", "1 G"] {
            assert_eq!(Size::parse(wrong), None, "{wrong}");
        }
        assert_eq!(RootFs::read(&parsed("local:1", &ROOTFS)).map(|root| root.size), Ok(None));
    }

    proptest! {
        #[test]
        fn sizes_come_back(bytes: u64) {
            prop_assert_eq!(Size::parse(&Size(bytes).to_string()), Some(Size(bytes)));
        }
    }
}
