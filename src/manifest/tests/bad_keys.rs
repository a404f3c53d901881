//! Keys and values that are wrong in themselves.
//!
//! Apart from the other tests by the kind of mistake; each test holds the whole message.

use super::{check, many, one};

#[test]
fn an_unknown_key_is_named_with_what_was_meant() {
    check(
        one(r##""memry_mb": 512, "depends": [], "hostName": "b", "fetch": true"##),
        r##"
fleet.json:3:1: unknown key `memry_mb` in container `101`; did you mean `memory_mb`?
  3 | "memry_mb": 512, "depends": [], "hostName": "b", "…
    | ^^^^^^^^^^
fleet.json:3:18: unknown key `depends` in container `101`; did you mean `depends_on`?
  3 | "memry_mb": 512, "depends": [], "hostName": "b", "fetch": true
    |                  ^^^^^^^^^
fleet.json:3:33: unknown key `hostName` in container `101`; did you mean `hostname`?
  3 | "memry_mb": 512, "depends": [], "hostName": "b", "fetch": true
    |                                 ^^^^^^^^^^
fleet.json:3:50: unknown key `fetch` in container `101`; did you mean `fetch_template`?
  3 | …": 512, "depends": [], "hostName": "b", "fetch": true
    |                                          ^^^^^^^
"##,
    );
}

#[test]
fn an_unknown_key_like_no_other_is_answered_with_all() {
    check(
        r##"{ "fleet": "f", "xyzzy": 1, "containers": { "101": { "hostname": "a", "template": "t.tar" } } }"##,
        r##"
fleet.json:1:17: unknown key `xyzzy` in the manifest; it can have fleet, defaults, volumes, containers
  1 | { "fleet": "f", "xyzzy": 1, "containers": { "101": { "hostname": "…
    |                 ^^^^^^^
"##,
    );
}

#[test]
fn a_key_that_stands_twice_is_named() {
    check(
        one(r##""cores": 1,
"cores": 2"##),
        r##"
fleet.json:4:1: key `cores` stands twice, first in line 3; keep one of them
  4 | "cores": 2
    | ^^^^^^^
"##,
    );
}

#[test]
fn missing_keys_are_named() {
    check(
        r##"{ "containers": { "101": {} } }"##,
        r##"
fleet.json:1:1: the manifest has no key `fleet`; add "fleet"
  1 | { "containers": { "101": {} } }
    | ^
fleet.json:1:19: container 101 has neither `template` nor `clone_from`; add "template": "FILE" or "clone_from": "CTID"
  1 | { "containers": { "101": {} } }
    |                   ^^^^^
fleet.json:1:26: container `101` has no key `hostname`; add "hostname"
  1 | { "containers": { "101": {} } }
    |                          ^
"##,
    );
}

#[test]
fn an_empty_fleet_is_named() {
    check(
        r##"{ "fleet": "f", "containers": {} }"##,
        r##"
fleet.json:1:31: the fleet has no containers; add one, such as "101": { "hostname": "db", "template": "debian-12.tar.zst" }
  1 | { "fleet": "f", "containers": {} }
    |                               ^^
"##,
    );
}

#[test]
fn a_container_that_stands_twice_is_named() {
    check(
        many(&[r##""101": { "hostname": "a", "template": "t.tar" }"##, r##""101": { "hostname": "b", "template": "t.tar" }"##]),
        r##"
fleet.json:3:1: container `101` stands twice, first in line 2; keep one of them
  3 | "101": { "hostname": "b", "template": "t.tar" }
    | ^^^^^
"##,
    );
}

#[test]
fn ids_out_of_range_are_named() {
    check(
        many(&[
            r##""99": { "hostname": "a", "template": "t.tar" }"##,
            r##""1000000000": { "hostname": "b", "template": "t.tar" }"##,
            r##""0101": { "hostname": "c", "template": "t.tar" }"##,
            r##""db": { "hostname": "d", "template": "t.tar" }"##,
        ]),
        r##"
fleet.json:2:1: container id 99 is out of range; ids go from 100 to 999999999, as on Proxmox
  2 | "99": { "hostname": "a", "template": "t.tar" },
    | ^^^^
fleet.json:3:1: container id 1000000000 is out of range; ids go from 100 to 999999999, as on Proxmox
  3 | "1000000000": { "hostname": "b", "template": "t.ta…
    | ^^^^^^^^^^^^
fleet.json:4:1: "0101" is no container id; write a plain number in quotes, such as "101"
  4 | "0101": { "hostname": "c", "template": "t.tar" },
    | ^^^^^^
fleet.json:5:1: "db" is no container id; write a plain number in quotes, such as "101"
  5 | "db": { "hostname": "d", "template": "t.tar" }
    | ^^^^
"##,
    );
}

#[test]
fn numbers_out_of_range_are_named() {
    check(
        one(r##""memory_mb": 1, "swap_mb": -1,
"cores": 99999999999999999999,
"disk_gb": 0"##),
        r##"
fleet.json:3:14: `memory_mb` must be a whole number from 16 to 16777216, not the number 1; write 16 or more
  3 | "memory_mb": 1, "swap_mb": -1,
    |              ^
fleet.json:3:28: `swap_mb` must be a whole number from 0 to 16777216, not the number -1; write 0 or more
  3 | "memory_mb": 1, "swap_mb": -1,
    |                            ^^
fleet.json:4:10: `cores` must be a whole number from 1 to 8192, not the number 99999999999999999999; write 8192 or less
  4 | "cores": 99999999999999999999,
    |          ^^^^^^^^^^^^^^^^^^^^
fleet.json:5:12: `disk_gb` must be a whole number from 1 to 131072, not the number 0; write 1 or more
  5 | "disk_gb": 0
    |            ^
"##,
    );
}

#[test]
fn numbers_that_are_not_whole_are_named() {
    check(
        one(r##""memory_mb": 512.0, "cores": 1e1,
"swap_mb": "512", "disk_gb": "8G""##),
        r##"
fleet.json:3:14: `memory_mb` must be a whole number from 16 to 16777216, not the number 512.0; write it with digits alone
  3 | "memory_mb": 512.0, "cores": 1e1,
    |              ^^^^^
fleet.json:3:30: `cores` must be a whole number from 1 to 8192, not the number 1e1; write it with digits alone
  3 | "memory_mb": 512.0, "cores": 1e1,
    |                              ^^^
fleet.json:4:12: `swap_mb` must be a whole number from 0 to 16777216, not the text "512"; write 512 without quotes
  4 | "swap_mb": "512", "disk_gb": "8G"
    |            ^^^^^
fleet.json:4:30: `disk_gb` must be a whole number from 1 to 131072, not the text "8G"; write for example 1
  4 | "swap_mb": "512", "disk_gb": "8G"
    |                              ^^^^
"##,
    );
}

#[test]
fn wrong_types_everywhere_are_all_named() {
    check(
        r##"{
"fleet": 1,
"defaults": [],
"volumes": "v",
"containers": { "101": {
"hostname": null,
"template": true,
"depends_on": "102",
"network": {},
"features": [1, null, []],
"application": 7,
"health": [{ "name": [], "command": "pg_isready" }],
"ready": "soon",
"autostart": "yes",
"idmap": [100000],
"startup": 5,
"lxc_features": "nesting=1",
"unprivileged": 1
} } }"##,
        r##"
fleet.json:2:10: `fleet` must be a text, not the number 1; write for example "homelab"
  2 | "fleet": 1,
    |          ^
fleet.json:3:13: `defaults` must be an object, not a list; write { "key": value }
  3 | "defaults": [],
    |             ^^
fleet.json:4:12: `volumes` must be an object, not the text "v"; write { "key": value }
  4 | "volumes": "v",
    |            ^^^
fleet.json:6:13: `hostname` must be a text, not null; write a value, or leave the key out
  6 | "hostname": null,
    |             ^^^^
fleet.json:7:13: `template` must be a text, not true; write for example "templates/debian-12.tar.zst"
  7 | "template": true,
    |             ^^^^
fleet.json:8:15: `depends_on` must be a list, not the text "102"; write ["102"]
  8 | "depends_on": "102",
    |               ^^^^^
fleet.json:9:12: `network` must be a list, not an object; write [ ... ] around it
  9 | "network": {},
    |            ^^
fleet.json:10:14: an entry of `features` must be the path of a script or an object, not the number 1; write "features/base.sh" or { "script": "features/base.sh" }
  10 | "features": [1, null, []],
     |              ^
fleet.json:10:17: an entry of `features` must be the path of a script or an object, not null; write a value, or leave the key out
  10 | "features": [1, null, []],
     |                 ^^^^
fleet.json:10:23: an entry of `features` must be the path of a script or an object, not a list; write "features/base.sh" or { "script": "features/base.sh" }
  10 | "features": [1, null, []],
     |                       ^^
fleet.json:11:16: `application` must be the path of a script or an object, not the number 7; write "features/base.sh" or { "script": "features/base.sh" }
  11 | "application": 7,
     |                ^
fleet.json:12:22: `name` must be a text, not a list; write for example "http"
  12 | "health": [{ "name": [], "command": "pg_isready" }],
     |                      ^^
fleet.json:12:37: `command` must be a list, not the text "pg_isready"; write ["pg_isready"]
  12 | "health": [{ "name": [], "command": "pg_isready" }],
     |                                     ^^^^^^^^^^^^
fleet.json:13:10: `ready` must be an object, not the text "soon"; write { "key": value }
  13 | "ready": "soon",
     |          ^^^^^^
fleet.json:14:14: `autostart` must be true or false, not the text "yes"; write it without quotes
  14 | "autostart": "yes",
     |              ^^^^^
fleet.json:15:11: an entry of `idmap` must be a text, not the number 100000; write for example "u 0 100000 65536"
  15 | "idmap": [100000],
     |           ^^^^^^
fleet.json:16:12: `startup` must be an object, not the number 5; write { "key": value }
  16 | "startup": 5,
     |            ^
fleet.json:17:17: `lxc_features` must be an object, not the text "nesting=1"; write { "key": value }
  17 | "lxc_features": "nesting=1",
     |                 ^^^^^^^^^^^
fleet.json:18:17: `unprivileged` must be true or false, not the number 1; write it without quotes
  18 | "unprivileged": 1
     |                 ^
"##,
    );
}

#[test]
fn names_outside_their_alphabet_are_named() {
    check(
        r##"{
"fleet": "my fleet",
"volumes": { "-v": { "source": "/srv/v" } },
"containers": { "101": {
"hostname": "my_host",
"template": "t.tar",
"health": [{ "name": "a/b", "command": ["true"] }],
"storage": "local,lvm"
} } }"##,
        r##"
fleet.json:2:10: "my fleet" is no fleet name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  2 | "fleet": "my fleet",
    |          ^^^^^^^^^^
fleet.json:3:14: "-v" is no volume name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  3 | "volumes": { "-v": { "source": "/srv/v" } },
    |              ^^^^
fleet.json:5:13: "my_host" is no host name; use labels of a-z, A-Z, 0-9 and inner `-`, up to 63 characters each, separated by dots
  5 | "hostname": "my_host",
    |             ^^^^^^^^^
fleet.json:7:22: "a/b" is no health check name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  7 | "health": [{ "name": "a/b", "command": ["true"] }],
    |                      ^^^^^
fleet.json:8:12: `storage`: "local,lvm" is no name; use 1 to 64 of a-z, A-Z, 0-9, `.`, `_`, `-`, beginning with a letter or digit
  8 | "storage": "local,lvm"
    |            ^^^^^^^^^^^
"##,
    );
}

#[test]
fn lengths_of_time_have_units_and_bounds() {
    check(
        one(r##""application": { "script": "base.sh", "timeout": 600 },
"ready": { "timeout": "5 minutes" },
"health": [{ "name": "h", "command": ["true"], "interval": "0s", "timeout": "99999999999999999999h" },
{ "name": "i", "command": ["true"], "interval": "18446744073709552s" }],
"startup": { "up_delay": "1500ms" }"##),
        r##"
fleet.json:3:50: `timeout` must be a length of time in quotes, not the number 600; write it with its unit, such as "600s"
  3 | …ion": { "script": "base.sh", "timeout": 600 },
    |                                          ^^^
fleet.json:4:23: `timeout`: "5 minutes" is no length of time; write a whole number and ms, s, m or h, such as "90s"
  4 | "ready": { "timeout": "5 minutes" },
    |                       ^^^^^^^^^^^
fleet.json:5:60: `interval`: "0s" is out of range; write 100ms to 1h
  5 | …: "h", "command": ["true"], "interval": "0s", "timeout": "99999999999999999999h" },
    |                                          ^^^^
fleet.json:5:77: `timeout`: "99999999999999999999h" is out of range; write 1s to 168h
  5 | … ["true"], "interval": "0s", "timeout": "99999999999999999999h" },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:6:49: `interval`: "18446744073709552s" is out of range; write 100ms to 1h
  6 | …: "i", "command": ["true"], "interval": "18446744073709552s" }],
    |                                          ^^^^^^^^^^^^^^^^^^^^
fleet.json:7:26: hosts keep this in whole seconds; write it in s, m or h
  7 | "startup": { "up_delay": "1500ms" }
    |                          ^^^^^^^^
"##,
    );
}

#[test]
fn environments_are_texts_or_secrets() {
    check(
        one(r##""application": { "script": "base.sh", "env": {
"A": 16,
"B": true,
"C": null,
"D": { "secret_file": "relative" },
"E": { "secret_file": "/a", "secret_env": "B" },
"F": {},
"G": { "secret_env": "1x" },
"1H": "x",
"PHOENIX_TOKEN": "x",
"LD_PRELOAD": "x",
"BASH_ENV": "x",
"PATH": "/opt/bin"
} }"##),
        r##"
fleet.json:4:6: variable `A` must be a text or a secret, not the number 16; write "16"
  4 | "A": 16,
    |      ^^
fleet.json:5:6: variable `B` must be a text or a secret, not true; write "true"
  5 | "B": true,
    |      ^^^^
fleet.json:6:6: variable `C` must be a text or a secret, not null; write a value, or leave the key out
  6 | "C": null,
    |      ^^^^
fleet.json:7:23: the secret file "relative" is not an absolute path without `..`; write the whole path, such as "/root/secret"
  7 | "D": { "secret_file": "relative" },
    |                       ^^^^^^^^^^
fleet.json:8:6: variable `E` must have one of `secret_file` and `secret_env`; write the one that holds the value
  8 | "E": { "secret_file": "/a", "secret_env": "B" },
    |      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:9:6: variable `F` must have one of `secret_file` and `secret_env`; write the one that holds the value
  9 | "F": {},
    |      ^^
fleet.json:10:22: `secret_env`: "1x" is no name of a variable; use a-z, A-Z, 0-9 and `_`, not beginning with a digit
  10 | "G": { "secret_env": "1x" },
     |                      ^^^^
fleet.json:11:1: "1H" is no name of a variable; use a-z, A-Z, 0-9 and `_`, not beginning with a digit
  11 | "1H": "x",
     | ^^^^
fleet.json:12:1: the variable PHOENIX_TOKEN is reserved; names that begin with PHOENIX_ are set by Phoenix; choose another
  12 | "PHOENIX_TOKEN": "x",
     | ^^^^^^^^^^^^^^^
fleet.json:13:1: the variable LD_PRELOAD would change how the script itself is started; set it inside the script, for the programs that need it
  13 | "LD_PRELOAD": "x",
     | ^^^^^^^^^^^^
fleet.json:14:1: the variable BASH_ENV would change how the script itself is started; set it inside the script, for the programs that need it
  14 | "BASH_ENV": "x",
     | ^^^^^^^^^^
"##,
    );
}

#[test]
fn a_nul_character_in_an_argument_is_named() {
    check(
        one(r##""application": { "script": "base.sh", "args": ["a\u0000b"] }"##),
        r##"
fleet.json:3:48: an entry of `args`: it contains a NUL character, which no program can be given; remove it
  3 | …ation": { "script": "base.sh", "args": ["a\u0000b"] }
    |                                          ^^^^^^^^^^
"##,
    );
}

#[test]
fn modes_and_words_are_checked() {
    check(
        r##"{ "fleet": "f", "volumes": {
"a": { "source": "/srv/a", "mode": 750 },
"b": { "source": "/srv/b", "mode": "0789" },
"e": { "source": "/srv/e", "mode": "07" },
"f": { "source": "/srv/f", "mode": "00750" },
"c": { "source": "/srv/c", "ownership": "both" },
"d": { "source": "/srv/d", "owner": { "uid": -1 } }
}, "containers": { "101": { "hostname": "a", "template": "t.tar",
"application": { "script": "base.sh", "on_interrupt": "maybe" }
} } }"##,
        r##"
fleet.json:2:36: `mode` must be a text, not the number 750; write for example "0750"
  2 | "a": { "source": "/srv/a", "mode": 750 },
    |                                    ^^^
fleet.json:3:36: `mode`: "0789" are no permission bits; write three or four octal digits, such as "0750"
  3 | "b": { "source": "/srv/b", "mode": "0789" },
    |                                    ^^^^^^
fleet.json:4:36: `mode`: "07" are no permission bits; write three or four octal digits, such as "0750"
  4 | "e": { "source": "/srv/e", "mode": "07" },
    |                                    ^^^^
fleet.json:5:36: `mode`: "00750" are no permission bits; write three or four octal digits, such as "0750"
  5 | "f": { "source": "/srv/f", "mode": "00750" },
    |                                    ^^^^^^^
fleet.json:6:41: `ownership` must be "chown" or "map", not the text "both"; write one of them
  6 | "c": { "source": "/srv/c", "ownership": "both" },
    |                                         ^^^^^^
fleet.json:7:37: `owner` has no key `gid`; add "gid"
  7 | "d": { "source": "/srv/d", "owner": { "uid": -1 } }
    |                                     ^
fleet.json:7:46: `uid` must be a whole number from 0 to 4294967294, not the number -1; write 0 or more
  7 | …{ "source": "/srv/d", "owner": { "uid": -1 } }
    |                                          ^^
fleet.json:9:55: `on_interrupt` must be "rerun" or "ask", not the text "maybe"; write one of them
  9 | … { "script": "base.sh", "on_interrupt": "maybe" }
    |                                          ^^^^^^^
"##,
    );
}

#[test]
fn a_container_is_made_from_one_thing() {
    check(
        many(&[
            r##""101": { "hostname": "a" }"##,
            r##""102": { "hostname": "b", "template": "t.tar", "clone_from": "103" }"##,
            r##""103": { "hostname": "c", "template": "t.tar" }"##,
        ]),
        r##"
fleet.json:2:1: container 101 has neither `template` nor `clone_from`; add "template": "FILE" or "clone_from": "CTID"
  2 | "101": { "hostname": "a" },
    | ^^^^^
fleet.json:3:39: container 102 has both `template` and `clone_from`; keep the one it is made from
  3 | "102": { "hostname": "b", "template": "t.tar", "clone_from": "103" },
    |                                       ^^^^^^^
"##,
    );
}

#[test]
fn id_maps_are_checked() {
    check(
        many(&[
            r##""101": { "hostname": "a", "template": "t.tar", "idmap": ["u 0 100000"] }"##,
            r##""102": { "hostname": "b", "template": "t.tar", "idmap": ["u 0 100000 65536"] }"##,
            r##""103": { "hostname": "c", "template": "t.tar", "idmap": ["u 0 0 65536", "g 0 0 65536"] }"##,
            r##""104": { "hostname": "d", "template": "t.tar", "idmap": ["u 1 100000 65536", "g 0 100000 65536"] }"##,
            r##""105": { "hostname": "e", "template": "t.tar", "idmap": ["u 0 100000 65536", "g 0 100000 65536"], "unprivileged": false }"##,
        ]),
        r##"
fleet.json:2:57: `idmap`: `u 0 100000` is no id map line; expected `u|g INSIDE HOST COUNT`; write for example ["u 0 100000 65536", "g 0 100000 65536"]
  2 | …me": "a", "template": "t.tar", "idmap": ["u 0 100000"] },
    |                                          ^^^^^^^^^^^^^^
fleet.json:3:57: `idmap`: the id map has no range for groups; write for example ["u 0 100000 65536", "g 0 100000 65536"]
  3 | …me": "b", "template": "t.tar", "idmap": ["u 0 100000 65536"] },
    |                                          ^^^^^^^^^^^^^^^^^^^^
fleet.json:4:57: `idmap` gives the container the host's root; let every range begin at 1 or above on the host (the second number)
  4 | …me": "c", "template": "t.tar", "idmap": ["u 0 0 65536", "g 0 0 65536"] },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:5:57: `idmap` has no root inside; let a range of users and one of groups begin at 0 inside (the first number)
  5 | …me": "d", "template": "t.tar", "idmap": ["u 1 100000 65536", "g 0 100000 65536"] },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
fleet.json:6:57: a privileged container has no id map; leave `idmap` out, or make the container unprivileged
  6 | …me": "e", "template": "t.tar", "idmap": ["u 0 100000 65536", "g 0 100000 65536"], "unprivi…
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn readiness_is_one_question() {
    check(
        one(r##""ready": { "port": 80, "file": "/run/ready" }"##),
        r##"
fleet.json:3:10: `ready` has more than one of `command`, `port` and `file`; keep one; a command can ask for several things
  3 | "ready": { "port": 80, "file": "/run/ready" }
    |          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn commands_have_a_program() {
    check(
        one(r##""ready": { "command": [] }, "health": [{ "name": "h", "command": [""] }]"##),
        r##"
fleet.json:3:23: the command has no program; write for example ["pg_isready", "-q"]
  3 | "ready": { "command": [] }, "health": [{ "name": "h", "command": [""] }]
    |                       ^^
fleet.json:3:66: the command has no program; write for example ["pg_isready", "-q"]
  3 | …}, "health": [{ "name": "h", "command": [""] }]
    |                                          ^^^^
"##,
    );
}

#[test]
fn health_checks_have_different_names() {
    check(
        one(r##""health": [{ "name": "h", "command": ["a"] }, { "name": "h", "command": ["b"] }]"##),
        r##"
fleet.json:3:57: two health checks are called `h`; give each a name of its own
  3 | …me": "h", "command": ["a"] }, { "name": "h", "command": ["b"] }]
    |                                          ^^^
"##,
    );
}
