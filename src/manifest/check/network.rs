//! Interfaces and addresses.
//!
//! Apart because two containers with one address fail in ways that nobody can read from a log. Not here: whether the bridge exists; the
//! host says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::super::read::{Key, List};
use super::super::source::{At, Findings, Span};
use super::super::spec::{Address, Nic};
use super::super::tables::NicTable;
use super::Context;
use crate::ids::Ctid;
use crate::ids::HostKind;

/// The most interfaces of one container; Proxmox has `net0` to `net31`.
const NICS_MAX: usize = 32;

/// Host names, addresses and hardware addresses that two containers share.
pub(super) fn unique(context: &Context<'_>, found: &mut Findings) {
    let mut names = Taken::new("the host name");
    let mut addresses = Taken::new("the address");
    let mut hardware = Taken::new("the hardware address");
    for (ctid, table) in context.containers.iter().filter_map(|(ctid, entry)| Some((*ctid, entry.table?))) {
        if let Key::Given(name) = &table.hostname {
            names.take(ctid, &name.value.as_str().to_ascii_lowercase(), &name.span, found);
        }
        for nic in table.network.given().into_iter().flat_map(|list| &list.value.values).map(|at| &at.value) {
            if let Some((ip, span)) = fixed(nic) {
                addresses.take(ctid, &ip.to_string(), span, found);
            }
            if let Key::Given(mac) = &nic.hwaddr {
                hardware.take(ctid, &mac.value.0, &mac.span, found);
            }
        }
    }
}

/// The interfaces of a container.
pub(super) fn nics(context: &Context<'_>, key: &Key<List<NicTable>>, found: &mut Findings) -> Option<Vec<Nic>> {
    let list = match key {
        Key::Absent => return Some(Vec::new()),
        Key::Bad => return None,
        Key::Given(list) => list,
    };
    if list.value.values.len() > NICS_MAX {
        found.problem(&list.span, format!("there are more than {NICS_MAX} network interfaces"), "remove some");
    }
    let mut names = BTreeSet::new();
    for name in list.value.values.iter().filter_map(|nic| nic.value.name.given()) {
        if !names.insert(name.value.0.as_str()) {
            found.problem(&name.span, format!("two network interfaces are called {}", name.value.0), "give each a name of its own");
        }
    }
    let nics: Vec<Option<Nic>> = list.value.values.iter().map(|nic| self::nic(context, nic, found)).collect();
    nics.into_iter().collect::<Option<Vec<Nic>>>().filter(|_| list.value.whole)
}

fn nic(context: &Context<'_>, at: &At<NicTable>, found: &mut Findings) -> Option<Nic> {
    let NicTable { name, bridge, ip, gw, hwaddr, mtu, vlan, firewall } = &at.value;
    if let (Key::Given(firewall), HostKind::Lxc) = (firewall, context.around.host)
        && firewall.value
    {
        found.warning(&firewall.span, "`firewall` has no effect on plain LXC", "guard the container by other means");
    }
    let address = ip.value_or(super::super::value::Cidr(Address::Dhcp)).map(|cidr| cidr.0);
    if let Some((ip, span)) = fixed(&at.value) {
        usable(ip, address.as_ref(), span, found);
    }
    if let (Key::Given(gateway), Some(address)) = (gw, &address) {
        reachable(gateway.value.0, address, &gateway.span, found);
    }
    Some(Nic {
        name: name.given()?.value.0.clone(),
        bridge: bridge.given()?.value.0.clone(),
        address: address?,
        gateway: gw.optional().ok()?.map(|gateway| gateway.0),
        hwaddr: hwaddr.optional().ok()?.map(|mac| mac.0),
        mtu: mtu.optional().ok()?.map(|mtu| mtu.0),
        vlan: vlan.optional().ok()?.and_then(|vlan| u16::try_from(vlan.0).ok()),
        firewall: firewall.value_or(false)?,
    })
}

fn fixed(nic: &NicTable) -> Option<(IpAddr, &Span)> {
    let given = nic.ip.given()?;
    match given.value.0 {
        Address::Static { ip, .. } => Some((ip, &given.span)),
        Address::Dhcp | Address::Manual => None,
    }
}

fn usable(ip: IpAddr, address: Option<&Address>, span: &Span, found: &mut Findings) {
    if ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() {
        found.problem(span, format!("{ip} is no address for an interface"), "write one of the bridge's network");
        return;
    }
    let Some(Address::Static { prefix, .. }) = address else { return };
    let IpAddr::V4(v4) = ip else { return };
    let host = u32::from(v4) & !mask(*prefix);
    // Networks of one or two addresses (RFC 3021) have neither a name nor a broadcast address.
    if *prefix < 31 && (host == 0 || host == !mask(*prefix)) {
        let kind = if host == 0 { "the address of the network itself" } else { "the network's broadcast address" };
        found.problem(span, format!("{ip}/{prefix} is {kind}"), "write the address of a host in it");
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

fn reachable(gateway: IpAddr, address: &Address, span: &Span, found: &mut Findings) {
    let Address::Static { ip, prefix } = address else {
        found.problem(
            span,
            "a gateway stands beside an address that is not fixed",
            "write `ip` as an address with its prefix, or leave `gw` out",
        );
        return;
    };
    if gateway == *ip {
        found.problem(span, format!("{gateway} is the container's own address"), "write the router's");
        return;
    }
    let within = match (gateway, ip) {
        (IpAddr::V4(gateway), IpAddr::V4(ip)) => (u32::from(gateway) ^ u32::from(*ip)) & mask(*prefix) == 0,
        (IpAddr::V6(gateway), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(*prefix)).unwrap_or(0);
            // Routers announce themselves by link-local addresses, which belong to every network.
            gateway.is_unicast_link_local() || (u128::from(gateway) ^ u128::from(*ip)) & mask == 0
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    };
    if !within {
        found.problem(
            span,
            format!("the gateway {gateway} is not in the network {ip}/{prefix}"),
            "write a gateway of that network, or mend the prefix",
        );
    }
}

/// Values that one container alone may have.
struct Taken {
    noun: &'static str,
    by: BTreeMap<String, (Ctid, Span)>,
}

impl Taken {
    fn new(noun: &'static str) -> Self {
        Self { noun, by: BTreeMap::new() }
    }

    fn take(&mut self, ctid: Ctid, value: &str, span: &Span, found: &mut Findings) {
        let Some((other, first)) = self.by.get(value) else {
            self.by.insert(value.to_owned(), (ctid, span.clone()));
            return;
        };
        let (noun, line) = (self.noun, found.line(first));
        let whom = if *other == ctid { "this container has it".to_owned() } else { format!("container {other} has it") };
        found.problem(span, format!("{noun} {value} is taken: {whom}, in line {line}"), "choose another");
    }
}
