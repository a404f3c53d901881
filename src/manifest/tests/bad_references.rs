//! Values that do not fit the others: containers, files, addresses.
//!
//! Apart from the other tests by the kind of mistake; each test holds the whole message.

use super::{check, many, one};

#[test]
fn a_dependency_that_does_not_exist_is_named() {
    check(
        many(&[
            r##""101": { "hostname": "a", "template": "t.tar", "depends_on": ["105"] }"##,
            r##""102": { "hostname": "b", "clone_from": "106" }"##,
        ]),
        r##"
fleet.json:2:63: container 105 is not in this fleet; the fleet has 101, 102
  2 | …a", "template": "t.tar", "depends_on": ["105"] },
    |                                          ^^^^^
fleet.json:3:41: the clone source 106 is not in this fleet; the fleet has 101, 102
  3 | "102": { "hostname": "b", "clone_from": "106" }
    |                                         ^^^^^
"##,
    );
}

#[test]
fn a_dependency_is_written_as_a_text() {
    check(
        one(r##""depends_on": [101]"##),
        r##"
fleet.json:3:16: an entry of `depends_on` must be a container id in quotes, not the number 101; write "101", in quotes as the keys of `containers`
  3 | "depends_on": [101]
    |                ^^^
"##,
    );
}

#[test]
fn a_circle_is_printed() {
    check(
        many(&[
            r##""103": { "hostname": "c", "template": "t.tar", "depends_on": ["101"] }"##,
            r##""101": { "hostname": "a", "template": "t.tar", "depends_on": ["102", "103"] }"##,
            r##""102": { "hostname": "b", "clone_from": "101" }"##,
        ]),
        r##"
fleet.json:3:63: containers wait for each other in a circle: 101 -> 102 -> 101; take one of these dependencies out
  3 | …a", "template": "t.tar", "depends_on": ["102", "103"] },
    |                                          ^^^^^
"##,
    );
}

#[test]
fn a_circle_of_one_is_named() {
    check(
        one(r##""depends_on": ["101"]"##),
        r##"
fleet.json:3:16: container 101 depends on itself; remove this
  3 | "depends_on": ["101"]
    |                ^^^^^
"##,
    );
}

#[test]
fn every_circle_is_named() {
    check(
        many(&[
            r##""101": { "hostname": "a", "template": "t.tar", "depends_on": ["102"] }"##,
            r##""102": { "hostname": "b", "template": "t.tar", "depends_on": ["101"] }"##,
            r##""103": { "hostname": "c", "template": "t.tar", "depends_on": ["104"] }"##,
            r##""104": { "hostname": "d", "template": "t.tar", "depends_on": ["105"] }"##,
            r##""105": { "hostname": "e", "template": "t.tar", "depends_on": ["103"] }"##,
        ]),
        r##"
fleet.json:2:63: containers wait for each other in a circle: 101 -> 102 -> 101; take one of these dependencies out
  2 | …a", "template": "t.tar", "depends_on": ["102"] },
    |                                          ^^^^^
fleet.json:4:63: containers wait for each other in a circle: 103 -> 104 -> 105 -> 103; take one of these dependencies out
  4 | …c", "template": "t.tar", "depends_on": ["104"] },
    |                                          ^^^^^
"##,
    );
}

#[test]
fn missing_scripts_and_templates_are_named() {
    check(
        many(&[r##""101": { "hostname": "a", "template": "gone.tar", "features": ["gone.sh"], "application": "../gone/x.sh" }"##]),
        r##"
fleet.json:2:39: the template DIR/gone.tar does not exist; put the archive there, or write its path, relative to the manifest
  2 | "101": { "hostname": "a", "template": "gone.tar", "features": ["gone.sh"], "application"…
    |                                       ^^^^^^^^^^
fleet.json:2:64: the script DIR/gone.sh does not exist; check the path
  2 | …", "template": "gone.tar", "features": ["gone.sh"], "application": "../gone/x.sh" }
    |                                          ^^^^^^^^^
fleet.json:2:91: the script DIR/../gone/x.sh does not exist; check the path
  2 | …"features": ["gone.sh"], "application": "../gone/x.sh" }
    |                                          ^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_storage_template_needs_proxmox() {
    check(
        many(&[r##""101": { "hostname": "a", "template": "local:vztmpl/debian-12.tar.zst" }"##]),
        r##"
fleet.json:2:39: local:vztmpl/debian-12.tar.zst is a template of a Proxmox storage, and this host is plain LXC; write the path of an archive, such as "templates/debian-12.tar.zst"
  2 | "101": { "hostname": "a", "template": "local:vztmpl/debian-12.tar.zst" }
    |                                       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_storage_template_has_a_form() {
    check(
        many(&[r##""101": { "hostname": "a", "template": "local:debian-12.tar.zst" }"##]),
        r##"
fleet.json:2:39: `template`: "local:debian-12.tar.zst" is no template of a storage; write STORAGE:vztmpl/NAME, such as "local:vztmpl/debian-12.tar.zst", or ./ before the path of a file with a colon in its name
  2 | "101": { "hostname": "a", "template": "local:debian-12.tar.zst" }
    |                                       ^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn equal_feature_names_are_named() {
    check(
        one(r##""features": ["base.sh", { "script": "web.sh", "name": "base" }]"##),
        r##"
fleet.json:3:55: two features are called `base`, the first in line 3; give one of them a `name` of its own
  3 | …base.sh", { "script": "web.sh", "name": "base" }]
    |                                          ^^^^^^
"##,
    );
}

#[test]
fn two_containers_with_one_address_or_name_are_named() {
    check(
        many(&[
            r##""101": { "hostname": "a", "template": "t.tar", "network": [{ "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/24", "hwaddr": "02:00:00:00:00:01" }] }"##,
            r##""102": { "hostname": "A", "template": "t.tar", "network": [
{ "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/16" },
{ "name": "eth1", "bridge": "br0", "hwaddr": "02:00:00:00:00:01" }] }"##,
        ]),
        r##"
fleet.json:3:22: the host name a is taken: container 101 has it, in line 2; choose another
  3 | "102": { "hostname": "A", "template": "t.tar", "network": [
    |                      ^^^
fleet.json:4:42: the address 10.0.0.5 is taken: container 101 has it, in line 2; choose another
  4 | … "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/16" },
    |                                          ^^^^^^^^^^^^^
fleet.json:5:46: the hardware address 02:00:00:00:00:01 is taken: container 101 has it, in line 2; choose another
  5 | …me": "eth1", "bridge": "br0", "hwaddr": "02:00:00:00:00:01" }] }
    |                                          ^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn addresses_are_checked() {
    check(
        one(r##""network": [
{ "name": "eth0", "bridge": "br0", "ip": "10.0.0.5" },
{ "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/33" },
{ "name": "eth2", "bridge": "br0", "ip": "ten" },
{ "name": "eth3", "bridge": "br0", "ip": "10.0.0.0/24" },
{ "name": "eth4", "bridge": "br0", "ip": "10.0.1.255/24" },
{ "name": "eth5", "bridge": "br0", "ip": "127.0.0.1/8" },
{ "name": "eth6", "bridge": "br0", "ip": "10.0.2.5/24", "gw": "10.0.3.1" },
{ "name": "eth7", "bridge": "br0", "ip": "10.0.4.5/24", "gw": "10.0.4.5" },
{ "name": "eth8", "bridge": "br0", "gw": "10.0.4.1" },
{ "name": "eth9", "bridge": "br0", "ip": "10.0.5.5/24", "gw": "fd00::1" },
{ "name": "a-name-far-too-long", "bridge": "br 0", "mtu": 100, "vlan": 4095, "hwaddr": "01:00:00:00:00:00" },
{ "name": "ethb", "bridge": "br0", "hwaddr": "02:00:00:00:00" }
]"##),
        r##"
fleet.json:4:42: `ip`: 10.0.0.5 has no prefix; write an address with its prefix, such as "10.0.0.5/24", or "dhcp" or "manual"
  4 | … "name": "eth0", "bridge": "br0", "ip": "10.0.0.5" },
    |                                          ^^^^^^^^^^
fleet.json:5:11: two network interfaces are called eth0; give each a name of its own
  5 | { "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/33" },
    |           ^^^^^^
fleet.json:5:42: `ip`: the prefix of "10.0.0.5/33" is out of range; write 1 to 32 after the slash
  5 | … "name": "eth0", "bridge": "br0", "ip": "10.0.0.5/33" },
    |                                          ^^^^^^^^^^^^^
fleet.json:6:42: `ip`: "ten" is no address; write an address with its prefix, such as "10.0.0.5/24", or "dhcp" or "manual"
  6 | … "name": "eth2", "bridge": "br0", "ip": "ten" },
    |                                          ^^^^^
fleet.json:7:42: 10.0.0.0/24 is the address of the network itself; write the address of a host in it
  7 | … "name": "eth3", "bridge": "br0", "ip": "10.0.0.0/24" },
    |                                          ^^^^^^^^^^^^^
fleet.json:8:42: 10.0.1.255/24 is the network's broadcast address; write the address of a host in it
  8 | … "name": "eth4", "bridge": "br0", "ip": "10.0.1.255/24" },
    |                                          ^^^^^^^^^^^^^^^
fleet.json:9:42: 127.0.0.1 is no address for an interface; write one of the bridge's network
  9 | … "name": "eth5", "bridge": "br0", "ip": "127.0.0.1/8" },
    |                                          ^^^^^^^^^^^^^
fleet.json:10:63: the gateway 10.0.3.1 is not in the network 10.0.2.5/24; write a gateway of that network, or mend the prefix
  10 | …dge": "br0", "ip": "10.0.2.5/24", "gw": "10.0.3.1" },
     |                                          ^^^^^^^^^^
fleet.json:11:63: 10.0.4.5 is the container's own address; write the router's
  11 | …dge": "br0", "ip": "10.0.4.5/24", "gw": "10.0.4.5" },
     |                                          ^^^^^^^^^^
fleet.json:12:42: a gateway stands beside an address that is not fixed; write `ip` as an address with its prefix, or leave `gw` out
  12 | … "name": "eth8", "bridge": "br0", "gw": "10.0.4.1" },
     |                                          ^^^^^^^^^^
fleet.json:13:63: the gateway fd00::1 is not in the network 10.0.5.5/24; write a gateway of that network, or mend the prefix
  13 | …dge": "br0", "ip": "10.0.5.5/24", "gw": "fd00::1" },
     |                                          ^^^^^^^^^
fleet.json:14:11: `name`: "a-name-far-too-long" is no name of a network device; use 1 to 15 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  14 | { "name": "a-name-far-too-long", "bridge": "br 0", "mtu": 10…
     |           ^^^^^^^^^^^^^^^^^^^^^
fleet.json:14:44: `bridge`: "br 0" is no name of a network device; use 1 to 15 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  14 | …name": "a-name-far-too-long", "bridge": "br 0", "mtu": 100, "vlan": 4095, "hwaddr": "01:00…
     |                                          ^^^^^^
fleet.json:14:59: `mtu` must be a whole number from 576 to 65520, not the number 100; write 576 or more
  14 | …far-too-long", "bridge": "br 0", "mtu": 100, "vlan": 4095, "hwaddr": "01:00:00:00:00:00" }…
     |                                          ^^^
fleet.json:14:72: `vlan` must be a whole number from 1 to 4094, not the number 4095; write 4094 or less
  14 | …, "bridge": "br 0", "mtu": 100, "vlan": 4095, "hwaddr": "01:00:00:00:00:00" },
     |                                          ^^^^
fleet.json:14:88: `hwaddr`: 01:00:00:00:00:00 is an address of many; the second digit must be even, as in 02:00:00:00:00:01
  14 | …0", "mtu": 100, "vlan": 4095, "hwaddr": "01:00:00:00:00:00" },
     |                                          ^^^^^^^^^^^^^^^^^^^
fleet.json:15:46: `hwaddr`: "02:00:00:00:00" is no hardware address; write six pairs of hex digits, such as "02:00:00:00:00:01"
  15 | …me": "ethb", "bridge": "br0", "hwaddr": "02:00:00:00:00" }
     |                                          ^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_clone_is_as_its_source() {
    check(
        many(&[
            r##""101": { "hostname": "a", "template": "t.tar", "disk_gb": 8 }"##,
            r##""102": { "hostname": "b", "clone_from": "101", "unprivileged": false }"##,
            r##""103": { "hostname": "c", "clone_from": "101", "idmap": ["u 0 200000 65536", "g 0 200000 65536"] }"##,
            r##""104": { "hostname": "d", "clone_from": "101", "disk_gb": 4 }"##,
        ]),
        r##"
fleet.json:3:64: this clone is privileged, but its source 101 is unprivileged; leave `unprivileged` out; a clone is as its source
  3 | …", "clone_from": "101", "unprivileged": false },
    |                                          ^^^^^
fleet.json:4:57: this clone has another id map than its source 101; leave `idmap` out; a clone has its source's
  4 | …me": "c", "clone_from": "101", "idmap": ["u 0 200000 65536", "g 0 200000 65536"] },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:5:59: this clone's disk of 4 GiB is smaller than the 8 GiB of its source 101; write 8 or more; disks only grow
  5 | …": "d", "clone_from": "101", "disk_gb": 4 }
    |                                          ^
"##,
    );
}
