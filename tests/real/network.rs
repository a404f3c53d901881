//! A container on a bridge of the host.

use std::path::Path;

use serde_json::json;

use super::fleet::Fleet;
use super::ground::{Ground, has, host, host_command, skip};

const BRIDGE: &str = "phxt0";

/// A bridge, removed when dropped.
struct Bridge;

impl Bridge {
    fn new() -> Option<Self> {
        if !has("ip") {
            skip("needs ip");
            return None;
        }
        // Of a test that was killed.
        remove();
        let added = host_command(Path::new("ip")).args(["link", "add", "name", BRIDGE, "type", "bridge"]).output().expect("ip starts");
        if !added.status.success() {
            skip(&format!("needs bridges: {}", String::from_utf8_lossy(&added.stderr)));
            return None;
        }
        host(&["ip", "address", "add", "10.213.77.1/24", "dev", BRIDGE]);
        host(&["ip", "link", "set", BRIDGE, "up"]);
        Some(Self)
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        remove();
    }
}

fn remove() {
    // Fails where there is none.
    let _ = host_command(Path::new("ip")).args(["link", "delete", BRIDGE]).output();
}

#[test]
fn an_interface_has_its_address_and_gateway_and_reaches_the_bridge() {
    let Some(ground) = Ground::new(21) else { return };
    let Some(_bridge) = Bridge::new() else { return };
    let network = json!([
        { "name": "eth0", "bridge": BRIDGE, "ip": "10.213.77.5/24", "gw": "10.213.77.1", "hwaddr": "02:00:00:00:77:05", "mtu": 1400 },
        { "name": "lan1", "bridge": BRIDGE, "ip": "manual" },
    ]);
    Fleet::new(&ground).container(3, json!({ "network": network })).container(4, json!({})).write();
    ground.up(0);
    let (_, shown) = ground.inside(3, &["ip", "address", "show", "dev", "eth0"]);
    for wanted in ["inet 10.213.77.5/24", "02:00:00:00:77:05", "mtu 1400", "UP"] {
        assert!(shown.contains(wanted), "{wanted}: {shown}");
    }
    let (_, routes) = ground.inside(3, &["ip", "route"]);
    assert!(routes.contains("default via 10.213.77.1 dev eth0"), "{routes}");
    let (code, text) = ground.inside(3, &["ping", "-c", "1", "-W", "5", "10.213.77.1"]);
    assert_eq!(code, 0, "{text}");
    let (_, links) = ground.inside(3, &["ip", "link"]);
    assert!(links.contains("lan1"), "{links}");
    let (_, alone) = ground.inside(4, &["ip", "-o", "link"]);
    assert_eq!(alone.lines().filter(|line| line.contains("eth") || line.contains("veth")).count(), 0, "loopback alone: {alone}");
    let ports = || host(&["ip", "-o", "link", "show", "master", BRIDGE]).lines().count();
    assert_eq!(ports(), 2);
    ground.down(0);
    assert_eq!(ports(), 0, "no cable is left on the bridge");
}
