//! What people configure on Proxmox beside the rest: what good values come to, and what `pct` would refuse.
//!
//! Apart from the other keys because all of these rules are Proxmox's.

use std::path::Path;

use super::super::{Device, Firewall, FirewallPolicy, HostOptions, Owner};
use super::{Bench, check, check_on, many, one};
use crate::ids::{Ctid, HostKind};

#[track_caller]
fn options(json: &str) -> Vec<HostOptions> {
    let manifest = Bench::on(HostKind::Pct).check(json).unwrap_or_else(|problems| panic!("{problems}"));
    manifest.containers().values().map(|spec| spec.host_options.clone()).collect()
}

/// On a node, with a storage, so that nothing else is said.
#[track_caller]
fn check_pct(keys: &str, expected: &str) {
    check_on(&Bench::on(HostKind::Pct), one(&format!("\"storage\": \"local-lvm\",\n{keys}")), expected);
}

#[test]
fn a_container_that_says_nothing_asks_for_nothing() {
    let all = options(&one(""));
    assert_eq!(all, [HostOptions::default()]);
}

#[test]
fn devices_and_the_rest_arrive_as_proxmox_keeps_them() {
    let all = options(&one(
        r##""devices": ["/dev/net/tun", { "path": "/dev/dri/renderD128", "uid": 1, "gid": 104, "mode": "640", "deny_write": true }],
"hookscript": "local:snippets/guard.pl", "pool": "a/b/c", "tags": ["Web", "db_1", "web"], "protection": true, "nameserver": "10.0.0.1",
"searchdomain": "lan.example home", "timezone": "America/Argentina/Buenos_Aires", "storage": "s",
"firewall": { "policy_out": "REJECT", "rules": ["in ACCEPT --proto tcp  --dport 80:443", "|OUT DROP", "IN SSH(ACCEPT) -i net0 -log nolog", "GROUP web -i net1", "OUT DROP #", "OUT DROP  #all else "] }"##,
    ));
    let device =
        |path: &str, uid, gid, mode, deny_write| Device { path: Path::new(path).into(), owner: Owner { uid, gid }, mode, deny_write };
    let expected = HostOptions {
        storage: Some("s".to_owned()),
        devices: vec![device("/dev/net/tun", 0, 0, 0o660, false), device("/dev/dri/renderD128", 1, 104, 0o640, true)],
        hookscript: Some("local:snippets/guard.pl".to_owned()),
        pool: Some("a/b/c".to_owned()),
        tags: ["db_1".to_owned(), "web".to_owned()].into(),
        protection: true,
        nameservers: vec!["10.0.0.1".parse().expect("an address")],
        searchdomain: Some("lan.example home".to_owned()),
        timezone: Some("America/Argentina/Buenos_Aires".to_owned()),
        firewall: Some(Firewall {
            enable: true,
            policy_in: FirewallPolicy::Drop,
            policy_out: FirewallPolicy::Reject,
            rules: [
                "IN ACCEPT -p tcp -dport 80:443",
                "|OUT DROP",
                "IN SSH(ACCEPT) -i net0 -log nolog",
                "GROUP web -i net1",
                "OUT DROP",
                "OUT DROP # all else",
            ]
            .map(str::to_owned)
            .to_vec(),
        }),
        ..HostOptions::default()
    };
    assert_eq!(all, [expected]);
}

#[test]
fn what_a_container_says_replaces_what_defaults_say_as_a_whole() {
    let all = options(
        r##"{ "fleet": "f",
        "defaults": { "template": "t.tar", "devices": ["/dev/net/tun"], "tags": ["a", "b"], "protection": true, "nameserver": ["10.0.0.1", "10.0.0.2"],
            "hookscript": "local:snippets/a", "pool": "p", "searchdomain": "x", "timezone": "UTC", "firewall": { "rules": ["IN DROP"] } },
        "containers": {
            "101": { "hostname": "a" },
            "102": { "hostname": "b", "devices": [], "tags": ["c"], "protection": false, "nameserver": [], "firewall": { "enable": false },
                "hookscript": "s:snippets/b", "pool": "q", "searchdomain": "y", "timezone": "host" } } }"##,
    );
    let [first, second] = all.as_slice() else { panic!("two containers") };
    let tags = |options: &HostOptions| options.tags.iter().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!((first.devices.len(), tags(first).as_str(), first.protection, first.nameservers.len()), (1, "a b", true, 2));
    assert_eq!((second.devices.len(), tags(second).as_str(), second.protection, second.nameservers.len()), (0, "c", false, 0));
    let texts = |options: &HostOptions| {
        [&options.hookscript, &options.pool, &options.searchdomain, &options.timezone].map(|text| text.clone().unwrap_or_default())
    };
    assert_eq!(texts(first), ["local:snippets/a", "p", "x", "UTC"]);
    assert_eq!(texts(second), ["s:snippets/b", "q", "y", "host"]);
    assert_eq!(second.firewall.as_ref().map(|firewall| (firewall.enable, firewall.rules.len())), Some((false, 0)));
}

#[test]
fn a_clone_has_what_its_own_entry_says_and_not_what_its_source_has() {
    let json = many(&[
        r##""101": { "hostname": "a", "template": "t.tar", "devices": ["/dev/net/tun"], "tags": ["a"], "protection": true }"##,
        r##""102": { "hostname": "b", "clone_from": "101" }"##,
    ]);
    let manifest = Bench::on(HostKind::Pct).check(json).unwrap_or_else(|problems| panic!("{problems}"));
    let clone = &manifest.containers()[&Ctid::new(102).expect("an id")];
    assert_eq!(clone.host_options, HostOptions::default());
}

#[test]
fn devices_that_proxmox_would_refuse_are_named() {
    check_pct(
        r##""devices": [5, "dri", "/etc/passwd",
"/dev", "/dev/../etc/passwd", "/dev/a,b", "/dev/a=b",
"/dev/fuse", { "path": "/dev/fuse", "gid": 70000 },
{ "gid": 44, "mode": "4755", "user": 1 } ]"##,
        r##"
fleet.json:4:13: an entry of `devices` must be the path of a device or an object, not the number 5; write "/dev/dri/renderD128" or { "path": "/dev/dri/renderD128", "gid": 104 }
  4 | "devices": [5, "dri", "/etc/passwd",
    |             ^
fleet.json:4:16: an entry of `devices`: "dri" is not below /dev; write the device node, such as "/dev/dri/renderD128"; directories are shared as volumes
  4 | "devices": [5, "dri", "/etc/passwd",
    |                ^^^^^
fleet.json:4:23: an entry of `devices`: "/etc/passwd" is not below /dev; write the device node, such as "/dev/dri/renderD128"; directories are shared as volumes
  4 | "devices": [5, "dri", "/etc/passwd",
    |                       ^^^^^^^^^^^^^
fleet.json:5:1: an entry of `devices`: "/dev" is not below /dev; write the device node, such as "/dev/dri/renderD128"; directories are shared as volumes
  5 | "/dev", "/dev/../etc/passwd", "/dev/a,b", "/dev/a=…
    | ^^^^^^
fleet.json:5:9: an entry of `devices`: "/dev/../etc/passwd" is not a device that Proxmox can pass on; write it without `.`, `..`, `//`, a slash at the end, spaces, commas, equals signs, quotes, backslashes, `#` or brackets
  5 | "/dev", "/dev/../etc/passwd", "/dev/a,b", "/dev/a=b",
    |         ^^^^^^^^^^^^^^^^^^^^
fleet.json:5:31: an entry of `devices`: "/dev/a,b" is not a device that Proxmox can pass on; write it without `.`, `..`, `//`, a slash at the end, spaces, commas, equals signs, quotes, backslashes, `#` or brackets
  5 | "/dev", "/dev/../etc/passwd", "/dev/a,b", "/dev/a=b",
    |                               ^^^^^^^^^^
fleet.json:5:43: an entry of `devices`: "/dev/a=b" is not a device that Proxmox can pass on; write it without `.`, `..`, `//`, a slash at the end, spaces, commas, equals signs, quotes, backslashes, `#` or brackets
  5 | …dev", "/dev/../etc/passwd", "/dev/a,b", "/dev/a=b",
    |                                          ^^^^^^^^^^
fleet.json:6:24: the device /dev/fuse stands twice, first in line 6; keep one of them
  6 | "/dev/fuse", { "path": "/dev/fuse", "gid": 70000 },
    |                        ^^^^^^^^^^^
fleet.json:6:44: the group 70000 does not exist in the container, whose id map is u 0 100000 65536, g 0 100000 65536; choose an owner within the map, or widen `idmap`
  6 | …ev/fuse", { "path": "/dev/fuse", "gid": 70000 },
    |                                          ^^^^^
fleet.json:7:1: an entry of `devices` has no key `path`; add "path"
  7 | { "gid": 44, "mode": "4755", "user": 1 } ]
    | ^
fleet.json:7:22: `mode`: "4755" are no permission bits of a device; write three octal digits, such as "0660"
  7 | { "gid": 44, "mode": "4755", "user": 1 } ]
    |                      ^^^^^^
fleet.json:7:30: unknown key `user` in an entry of `devices`; it can have path, uid, gid, mode, deny_write
  7 | { "gid": 44, "mode": "4755", "user": 1 } ]
    |                              ^^^^^^
"##,
    );
}

#[test]
fn names_that_proxmox_would_refuse_are_named() {
    check_pct(
        r##""hookscript": "/root/hook.pl",
"pool": "a/b/c/d", "tags": ["ok", "no space", "-x", ""],
"timezone": "Vienna!", "searchdomain": "lan  example",
"nameserver": ["10.0.0.1/24", "0.0.0.0"], "protection": 1,
"storage": "local-lvm" "##,
        r##"
fleet.json:4:15: `hookscript`: "/root/hook.pl" is no script of a storage; put the script into the snippets of a storage, and write STORAGE:snippets/NAME, such as "local:snippets/guard.pl"
  4 | "hookscript": "/root/hook.pl",
    |               ^^^^^^^^^^^^^^^
fleet.json:5:9: `pool`: "a/b/c/d" is no resource pool; use a-z, A-Z, 0-9, `.`, `_`, `-`, and a slash between at most 3 levels
  5 | "pool": "a/b/c/d", "tags": ["ok", "no space", "-x", ""],
    |         ^^^^^^^^^
fleet.json:5:35: an entry of `tags`: "no space" is no tag; use 1 to 124 of a-z, 0-9, `_`, `-`, `+`, `.`, beginning with a letter, a digit or `_`
  5 | "pool": "a/b/c/d", "tags": ["ok", "no space", "-x", ""],
    |                                   ^^^^^^^^^^
fleet.json:5:47: an entry of `tags`: "-x" is no tag; use 1 to 124 of a-z, 0-9, `_`, `-`, `+`, `.`, beginning with a letter, a digit or `_`
  5 | …: "a/b/c/d", "tags": ["ok", "no space", "-x", ""],
    |                                          ^^^^
fleet.json:5:53: an entry of `tags`: "" is no tag; use 1 to 124 of a-z, 0-9, `_`, `-`, `+`, `.`, beginning with a letter, a digit or `_`
  5 | …/c/d", "tags": ["ok", "no space", "-x", ""],
    |                                          ^^
fleet.json:6:13: `timezone`: "Vienna!" is no time zone; write a name of the time zone database, such as "Europe/Vienna" or "UTC", or "host" for the host's
  6 | "timezone": "Vienna!", "searchdomain": "lan  example",
    |             ^^^^^^^^^
fleet.json:6:40: `searchdomain`: "lan  example" is no search domain; write a domain such as "lan.example", or several with one space between them
  6 | "timezone": "Vienna!", "searchdomain": "lan  example",
    |                                        ^^^^^^^^^^^^^^
fleet.json:7:16: an entry of `nameserver`: "10.0.0.1/24" is no IP address; write for example "10.0.0.1"
  7 | "nameserver": ["10.0.0.1/24", "0.0.0.0"], "protection": 1,
    |                ^^^^^^^^^^^^^
fleet.json:7:31: an entry of `nameserver`: 0.0.0.0 is no address of a name server; write the address of one host
  7 | "nameserver": ["10.0.0.1/24", "0.0.0.0"], "protection": 1,
    |                               ^^^^^^^^^
fleet.json:7:57: `protection` must be true or false, not the number 1; write it without quotes
  7 | …10.0.0.1/24", "0.0.0.0"], "protection": 1,
    |                                          ^
fleet.json:8:1: key `storage` stands twice, first in line 3; keep one of them
  8 | "storage": "local-lvm"
    | ^^^^^^^^^
"##,
    );
    check_pct(
        r##""hookscript": "local:iso/x", "nameserver": 1, "pool": "", "timezone": "../etc""##,
        r##"
fleet.json:4:15: `hookscript`: "local:iso/x" is no script of a storage; write STORAGE:snippets/NAME, such as "local:snippets/guard.pl"
  4 | "hookscript": "local:iso/x", "nameserver": 1, "pool": "", "timez…
    |               ^^^^^^^^^^^^^
fleet.json:4:44: `nameserver` must be an IP address or a list of them, not the number 1; write "10.0.0.1" or ["10.0.0.1", "10.0.0.2"]
  4 | …okscript": "local:iso/x", "nameserver": 1, "pool": "", "timezone": "../etc"
    |                                          ^
fleet.json:4:55: `pool`: "" is no resource pool; use a-z, A-Z, 0-9, `.`, `_`, `-`, and a slash between at most 3 levels
  4 | …"local:iso/x", "nameserver": 1, "pool": "", "timezone": "../etc"
    |                                          ^^
fleet.json:4:71: `timezone`: "../etc" is no time zone; write a name of the time zone database, such as "Europe/Vienna" or "UTC", or "host" for the host's
  4 | …nameserver": 1, "pool": "", "timezone": "../etc"
    |                                          ^^^^^^^^
"##,
    );
}

#[test]
fn firewall_rules_that_proxmox_would_refuse_are_named() {
    check_pct(
        r##""firewall": { "policy_in": "drop", "polcy_out": "DROP", "rules": [
"IN", "FORWARD ACCEPT", "IN PASS", "IN ACCEPT -p", "IN ACCEPT tcp",
"IN ACCEPT -dport 22", "IN ACCEPT -i eth0", "OUT ACCEPT -log loud", "GROUP a.b",
"GROUP web -p tcp", "IN ACCEPT -p tcp -p udp",
"[OPTIONS]", "IN ACCEPT\nOUT ACCEPT", "# all", "IN ACCEPT # [x]" ] }"##,
        r##"
fleet.json:4:28: `policy_in` must be "ACCEPT" or "REJECT" or "DROP", not the text "drop"; write one of them
  4 | "firewall": { "policy_in": "drop", "polcy_out": "DROP", "rules": [
    |                            ^^^^^^
fleet.json:4:36: unknown key `polcy_out` in `firewall`; did you mean `policy_out`?
  4 | "firewall": { "policy_in": "drop", "polcy_out": "DROP", "rules": [
    |                                    ^^^^^^^^^^^
fleet.json:5:1: an entry of `rules`: the rule "IN" is not whole; write a direction and an action, such as "IN ACCEPT -p tcp -dport 22"
  5 | "IN", "FORWARD ACCEPT", "IN PASS", "IN ACCEPT -p",…
    | ^^^^
fleet.json:5:7: an entry of `rules`: the rule "FORWARD ACCEPT" begins with "FORWARD"; begin it with IN, OUT or GROUP
  5 | "IN", "FORWARD ACCEPT", "IN PASS", "IN ACCEPT -p", "IN A…
    |       ^^^^^^^^^^^^^^^^
fleet.json:5:25: an entry of `rules`: the rule "IN PASS" has the action "PASS"; write ACCEPT, DROP, REJECT or a macro, such as SSH(ACCEPT)
  5 | "IN", "FORWARD ACCEPT", "IN PASS", "IN ACCEPT -p", "IN ACCEPT tcp",
    |                         ^^^^^^^^^
fleet.json:5:36: an entry of `rules`: the rule "IN ACCEPT -p" has nothing after -p; write its value
  5 | "IN", "FORWARD ACCEPT", "IN PASS", "IN ACCEPT -p", "IN ACCEPT tcp",
    |                                    ^^^^^^^^^^^^^^
fleet.json:5:52: an entry of `rules`: the rule "IN ACCEPT tcp" has the option "tcp"; it can have -i, -p, -dport, -sport, -source, -dest, -log, -icmp-type
  5 | …ARD ACCEPT", "IN PASS", "IN ACCEPT -p", "IN ACCEPT tcp",
    |                                          ^^^^^^^^^^^^^^^
fleet.json:6:1: an entry of `rules`: the rule "IN ACCEPT -dport 22" has a port but no protocol; add -p tcp or -p udp
  6 | "IN ACCEPT -dport 22", "IN ACCEPT -i eth0", "OUT A…
    | ^^^^^^^^^^^^^^^^^^^^^
fleet.json:6:24: an entry of `rules`: the rule "IN ACCEPT -i eth0" names the interface "eth0"; write net0 for the first entry of `network`, net1 for the second
  6 | "IN ACCEPT -dport 22", "IN ACCEPT -i eth0", "OUT ACCEPT -log loud", "GROU…
    |                        ^^^^^^^^^^^^^^^^^^^
fleet.json:6:45: an entry of `rules`: the rule "OUT ACCEPT -log loud" has the log level "loud"; write one of emerg, alert, crit, err, warning, notice, info, debug, nolog
  6 | …ACCEPT -dport 22", "IN ACCEPT -i eth0", "OUT ACCEPT -log loud", "GROUP a.b",
    |                                          ^^^^^^^^^^^^^^^^^^^^^^
fleet.json:6:69: an entry of `rules`: the rule "GROUP a.b" names the group "a.b"; write the name of a security group, such as "GROUP webserver"
  6 | …CCEPT -i eth0", "OUT ACCEPT -log loud", "GROUP a.b",
    |                                          ^^^^^^^^^^^
fleet.json:7:1: an entry of `rules`: the rule "GROUP web -p tcp" has the option "-p"; it can have -i
  7 | "GROUP web -p tcp", "IN ACCEPT -p tcp -p udp",
    | ^^^^^^^^^^^^^^^^^^
fleet.json:7:21: an entry of `rules`: the rule "IN ACCEPT -p tcp -p udp" has -p twice; keep one of them
  7 | "GROUP web -p tcp", "IN ACCEPT -p tcp -p udp",
    |                     ^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:8:1: an entry of `rules`: the rule "[OPTIONS]" has a control character, `[` or `]`; write one rule to a text
  8 | "[OPTIONS]", "IN ACCEPT\nOUT ACCEPT", "# all", "IN…
    | ^^^^^^^^^^^
fleet.json:8:14: an entry of `rules`: the rule "IN ACCEPT\nOUT ACCEPT" has a control character, `[` or `]`; write one rule to a text
  8 | "[OPTIONS]", "IN ACCEPT\nOUT ACCEPT", "# all", "IN ACCEPT # [x]…
    |              ^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:8:39: an entry of `rules`: the rule "# all" is not whole; write a direction and an action, such as "IN ACCEPT -p tcp -dport 22"
  8 | "[OPTIONS]", "IN ACCEPT\nOUT ACCEPT", "# all", "IN ACCEPT # [x]" ] }
    |                                       ^^^^^^^
fleet.json:8:48: an entry of `rules`: the rule "IN ACCEPT # [x]" has a control character, `[` or `]`; write one rule to a text
  8 | …NS]", "IN ACCEPT\nOUT ACCEPT", "# all", "IN ACCEPT # [x]" ] }
    |                                          ^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn keys_of_proxmox_are_suggested_where_they_were_meant() {
    check_pct(
        r##""device": [], "tag": [], "nameservers": [], "search_domain": "x", "time_zone": "UTC", "hook_script": "x", "fire_wall": {}"##,
        r##"
fleet.json:4:1: unknown key `device` in container `101`; did you mean `devices`?
  4 | "device": [], "tag": [], "nameservers": [], "searc…
    | ^^^^^^^^
fleet.json:4:15: unknown key `tag` in container `101`; did you mean `tags`?
  4 | "device": [], "tag": [], "nameservers": [], "search_domain": "x"…
    |               ^^^^^
fleet.json:4:26: unknown key `nameservers` in container `101`; did you mean `nameserver`?
  4 | "device": [], "tag": [], "nameservers": [], "search_domain": "x", "time_zon…
    |                          ^^^^^^^^^^^^^
fleet.json:4:45: unknown key `search_domain` in container `101`; did you mean `searchdomain`?
  4 | …ice": [], "tag": [], "nameservers": [], "search_domain": "x", "time_zone": "UTC", "hook_sc…
    |                                          ^^^^^^^^^^^^^^^
fleet.json:4:67: unknown key `time_zone` in container `101`; did you mean `timezone`?
  4 | …nameservers": [], "search_domain": "x", "time_zone": "UTC", "hook_script": "x", "fire_wall…
    |                                          ^^^^^^^^^^^
fleet.json:4:87: unknown key `hook_script` in container `101`; did you mean `hookscript`?
  4 | …earch_domain": "x", "time_zone": "UTC", "hook_script": "x", "fire_wall": {}
    |                                          ^^^^^^^^^^^^^
fleet.json:4:107: unknown key `fire_wall` in container `101`; did you mean `firewall`?
  4 | …"time_zone": "UTC", "hook_script": "x", "fire_wall": {}
    |                                          ^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_firewall_that_looks_at_no_interface_is_named() {
    check_pct(
        r##""firewall": { "rules": ["IN DROP"] }, "network": [{ "name": "eth0", "bridge": "vmbr0" }]"##,
        r##"
fleet.json:4:13: warning: `firewall` has no effect on a container without an interface that the firewall looks at; add "firewall": true to an entry of `network`
  4 | "firewall": { "rules": ["IN DROP"] }, "network": [{ "name": "e…
    |             ^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
    check_pct(
        r##""firewall": { "rules": ["IN DROP -i net0 # -i net7", "GROUP web -i net1"] }, "network": [{ "name": "eth0", "bridge": "vmbr0", "firewall": true }]"##,
        r##"
fleet.json:4:54: warning: net1 is no interface of the container: its last is net0; name one that there is, net0 for the first, or leave -i out
  4 | … "rules": ["IN DROP -i net0 # -i net7", "GROUP web -i net1"] }, "network": [{ "name": "eth…
    |                                          ^^^^^^^^^^^^^^^^^^^
"##,
    );
    check_pct(r##""firewall": {}, "network": [{ "name": "eth0", "bridge": "vmbr0", "firewall": true }]"##, "fine");
    check_pct(r##""firewall": { "enable": false }"##, "fine");
}

#[test]
fn more_name_servers_than_are_asked_are_named() {
    check_pct(
        r##""nameserver": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]"##,
        r##"
fleet.json:4:15: warning: `nameserver` names more than 3, and programs ask the first 3 alone; remove the others
  4 | "nameserver": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]
    |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn containers_without_a_storage_are_named_once_on_a_node() {
    let json = many(&[
        r##""101": { "hostname": "a", "template": "t.tar" }"##,
        r##""102": { "hostname": "b", "clone_from": "101" }"##,
        r##""103": { "hostname": "c", "template": "t.tar" }"##,
        r##""104": { "hostname": "d", "template": "t.tar", "storage": "local-zfs" }"##,
    ]);
    check_on(
        &Bench::on(HostKind::Pct),
        &json,
        r##"
fleet.json:2:1: warning: this container names no `storage` (nor does one other): Proxmox takes `local`, which on a node as installed holds no containers; add for example "storage": "local-lvm", to it or to `defaults`
  2 | "101": { "hostname": "a", "template": "t.tar" },
    | ^^^^^
"##,
    );
    check_on(&Bench::on(HostKind::Sim), &json, "fine");
    check(json.replace(", \"storage\": \"local-zfs\"", ""), "fine");
}

#[test]
fn a_template_that_proxmox_would_not_know_by_its_name_is_named() {
    let json = many(&[
        r##""101": { "hostname": "a", "storage": "s", "template": "local:vztmpl/debian-12" }"##,
        r##""102": { "hostname": "b", "storage": "s", "template": "local:vztmpl/debian-12.tar.zst" }"##,
    ]);
    check_on(
        &Bench::on(HostKind::Pct),
        json,
        r##"
fleet.json:2:55: local:vztmpl/debian-12 does not end like a template of Proxmox; write the name that `pveam list` shows; it ends in .tar, .tar.gz, .tar.xz, .tar.zst, .tar.bz2
  2 | …name": "a", "storage": "s", "template": "local:vztmpl/debian-12" },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_source_that_reads_as_an_option_is_refused_on_a_node_alone() {
    let json = r##"{ "fleet": "f", "volumes": { "v": { "source": "/srv/a=b" } }, "containers": {
"101": { "hostname": "a", "template": "t.tar", "storage": "s", "volumes": [{ "volume": "v", "at": "/a=b" }] } } }"##;
    check_on(
        &Bench::on(HostKind::Pct),
        json,
        r##"
fleet.json:1:47: the source /srv/a=b has an equals sign, by which Proxmox would take it for an option; give the directory a name without it
  1 | …et": "f", "volumes": { "v": { "source": "/srv/a=b" } }, "containers": {
    |                                          ^^^^^^^^^^
"##,
    );
    check_on(&Bench::on(HostKind::Sim), json, "fine");
}

#[test]
fn plain_lxc_warns_of_each() {
    check(
        one(r##""devices": [], "hookscript": "local:snippets/x", "pool": "p", "tags": [], "protection": true,
"nameserver": "10.0.0.1", "searchdomain": "x", "timezone": "UTC", "firewall": {}"##),
        r##"
fleet.json:3:12: warning: `devices` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  3 | "devices": [], "hookscript": "local:snippets/x", "pool": "p",…
    |            ^^
fleet.json:3:30: warning: `hookscript` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  3 | "devices": [], "hookscript": "local:snippets/x", "pool": "p", "tags": [], "prot…
    |                              ^^^^^^^^^^^^^^^^^^
fleet.json:3:58: warning: `pool` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  3 | …ookscript": "local:snippets/x", "pool": "p", "tags": [], "protection": true,
    |                                          ^^^
fleet.json:3:71: warning: `tags` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  3 | …local:snippets/x", "pool": "p", "tags": [], "protection": true,
    |                                          ^^
fleet.json:3:89: warning: `protection` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  3 | … "pool": "p", "tags": [], "protection": true,
    |                                          ^^^^
fleet.json:4:15: warning: `nameserver` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  4 | "nameserver": "10.0.0.1", "searchdomain": "x", "timezone": "UTC"…
    |               ^^^^^^^^^^
fleet.json:4:43: warning: `searchdomain` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  4 | …ameserver": "10.0.0.1", "searchdomain": "x", "timezone": "UTC", "firewall": {}
    |                                          ^^^
fleet.json:4:60: warning: `timezone` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  4 | ….0.1", "searchdomain": "x", "timezone": "UTC", "firewall": {}
    |                                          ^^^^^
fleet.json:4:79: warning: `firewall` has no effect on plain LXC; keep it only if the fleet also goes to Proxmox
  4 | …n": "x", "timezone": "UTC", "firewall": {}
    |                                          ^^
"##,
    );
    check(one(r##""protection": false"##), "fine");
}
