//! Shared directories that must not be, or not so.
//!
//! Apart from the other tests by the kind of mistake; each test holds the whole message.

use super::check;

#[test]
fn an_unknown_volume_is_named() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"media": { "source": "/srv/media" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "medai", "at": "/srv/m" }] },
"102": { "hostname": "b", "template": "t.tar", "volumes": [{ "volume": "backups", "at": "/srv/m" }, { "volume": "media", "at": "/srv/x" }] }
} }"##,
        r##"
fleet.json:6:72: volume `medai` is not in this fleet; did you mean `media`?
  6 | …late": "t.tar", "volumes": [{ "volume": "medai", "at": "/srv/m" }] },
    |                                          ^^^^^^^
fleet.json:7:72: volume `backups` is not in this fleet; add it under `volumes`: "backups": { "source": "/srv/backups" }
  7 | …late": "t.tar", "volumes": [{ "volume": "backups", "at": "/srv/m" }, { "volume": "media", …
    |                                          ^^^^^^^^^
"##,
    );
}

#[test]
fn system_directories_are_refused() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v0": { "source": "/" },
"v1": { "source": "/etc" },
"v2": { "source": "/usr/local/share" },
"v3": { "source": "/var" },
"v4": { "source": "/var/lib/lxc/101" },
"v5": { "source": "/var/lib/other-lxc/x" },
"v6": { "source": "/root/x" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar" }
} }"##,
        r##"
fleet.json:3:19: the source / is the whole host; choose a directory of its own, such as /srv/media
  3 | "v0": { "source": "/" },
    |                   ^^^
fleet.json:4:19: the source /etc belongs to the system; choose a directory of its own, such as /srv/media
  4 | "v1": { "source": "/etc" },
    |                   ^^^^^^
fleet.json:5:19: the source /usr/local/share lies in /usr, which belongs to the system; choose a directory of its own, such as /srv/media
  5 | "v2": { "source": "/usr/local/share" },
    |                   ^^^^^^^^^^^^^^^^^^
fleet.json:6:19: the source /var contains /var/lib/other-lxc, which belongs to Phoenix or LXC; choose a directory of its own, such as /srv/media
  6 | "v3": { "source": "/var" },
    |                   ^^^^^^
fleet.json:7:19: the source /var/lib/lxc/101 lies in /var/lib/lxc, which belongs to the system; choose a directory of its own, such as /srv/media
  7 | "v4": { "source": "/var/lib/lxc/101" },
    |                   ^^^^^^^^^^^^^^^^^^
fleet.json:8:19: the source /var/lib/other-lxc/x lies in /var/lib/other-lxc, which belongs to Phoenix or LXC; choose a directory of its own, such as /srv/media
  8 | "v5": { "source": "/var/lib/other-lxc/x" },
    |                   ^^^^^^^^^^^^^^^^^^^^^^
fleet.json:9:19: the source /root/x lies in /root, which belongs to the system; choose a directory of its own, such as /srv/media
  9 | "v6": { "source": "/root/x" }
    |                   ^^^^^^^^^
"##,
    );
}

#[test]
fn sources_are_absolute_and_normal() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v0": { "source": "srv/media" },
"v1": { "source": "/srv/../etc" },
"v2": { "source": "/srv//a" },
"v3": { "source": "/srv/a/" },
"v4": { "source": "/srv/./a" },
"v5": { "source": "/srv/a b" },
"v6": { "source": "" },
"v7": { "source": "./x" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar" }
} }"##,
        r##"
fleet.json:3:19: `source`: "srv/media" is not absolute; write the whole path, such as "/srv/media"
  3 | "v0": { "source": "srv/media" },
    |                   ^^^^^^^^^^^
fleet.json:4:19: `source`: "/srv/../etc" contains `..`; write the path without it
  4 | "v1": { "source": "/srv/../etc" },
    |                   ^^^^^^^^^^^^^
fleet.json:5:19: `source`: "/srv//a" is not a path that every host can attach; write it without `.`, `//`, a slash at the end, spaces, commas, quotes, backslashes, `#` or brackets
  5 | "v2": { "source": "/srv//a" },
    |                   ^^^^^^^^^
fleet.json:6:19: `source`: "/srv/a/" is not a path that every host can attach; write it without `.`, `//`, a slash at the end, spaces, commas, quotes, backslashes, `#` or brackets
  6 | "v3": { "source": "/srv/a/" },
    |                   ^^^^^^^^^
fleet.json:7:19: `source`: "/srv/./a" is not a path that every host can attach; write it without `.`, `//`, a slash at the end, spaces, commas, quotes, backslashes, `#` or brackets
  7 | "v4": { "source": "/srv/./a" },
    |                   ^^^^^^^^^^
fleet.json:8:19: `source`: "/srv/a b" is not a path that every host can attach; write it without `.`, `//`, a slash at the end, spaces, commas, quotes, backslashes, `#` or brackets
  8 | "v5": { "source": "/srv/a b" },
    |                   ^^^^^^^^^^
fleet.json:9:19: `source`: "" is not absolute; write the whole path, such as "/srv/media"
  9 | "v6": { "source": "" },
    |                   ^^
fleet.json:10:19: `source`: "./x" is not absolute; write the whole path, such as "/srv/x"
  10 | "v7": { "source": "./x" }
     |                   ^^^^^
"##,
    );
}

#[test]
fn targets_are_absolute_and_normal() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "srv" },
{ "volume": "v", "at": "/srv/../etc" },
{ "volume": "v", "at": "/proc/x" },
{ "volume": "v", "at": "/dev" },
{ "volume": "v", "at": "/var/lib/phoenix" }] }
} }"##,
        r##"
fleet.json:6:83: "srv" is no mount target; use an absolute path such as /srv/media, without `.`, `..`, `//`, a slash at the end, spaces, commas or brackets
  6 | …ar", "volumes": [{ "volume": "v", "at": "srv" },
    |                                          ^^^^^
fleet.json:7:24: "/srv/../etc" is no mount target; use an absolute path such as /srv/media, without `.`, `..`, `//`, a slash at the end, spaces, commas or brackets
  7 | { "volume": "v", "at": "/srv/../etc" },
    |                        ^^^^^^^^^^^^^
fleet.json:8:24: nothing can be mounted at /proc/x, because /proc is for the kernel, init or Phoenix; choose another place, such as /srv/media
  8 | { "volume": "v", "at": "/proc/x" },
    |                        ^^^^^^^^^
fleet.json:9:24: nothing can be mounted at /dev, because /dev is for the kernel, init or Phoenix; choose another place, such as /srv/media
  9 | { "volume": "v", "at": "/dev" },
    |                        ^^^^^^
fleet.json:10:24: nothing can be mounted at /var/lib/phoenix, because /var/lib/phoenix is for the kernel, init or Phoenix; choose another place, such as /srv/media
  10 | { "volume": "v", "at": "/var/lib/phoenix" }] }
     |                        ^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn sources_lie_side_by_side() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"a": { "source": "/srv/a/b" },
"b": { "source": "/srv/a" },
"c": { "source": "/srv/a" },
"d": { "source": "/srv/ab" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar" }
} }"##,
        r##"
fleet.json:3:18: the source of volume `a` lies in /srv/a, the source of `b` in line 4; put one directory beside the other
  3 | "a": { "source": "/srv/a/b" },
    |                  ^^^^^^^^^^
fleet.json:5:18: volume `c` has the same source as `b` in line 4; use one volume in both places, or give each a directory of its own
  5 | "c": { "source": "/srv/a" },
    |                  ^^^^^^^^
"##,
    );
}

#[test]
fn mounts_lie_side_by_side() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v" },
"w": { "source": "/srv/w" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/srv/x" },
{ "volume": "w", "at": "/srv/x" },
{ "volume": "w", "at": "/srv/x/y" },
{ "volume": "w", "at": "/srv/xy" }] }
} }"##,
        r##"
fleet.json:8:24: two volumes are mounted at /srv/x, the first in line 7; mount one of them elsewhere
  8 | { "volume": "w", "at": "/srv/x" },
    |                        ^^^^^^^^
fleet.json:9:24: /srv/x/y lies in /srv/x, where line 7 mounts another volume; mount one beside the other
  9 | { "volume": "w", "at": "/srv/x/y" },
    |                        ^^^^^^^^^^
"##,
    );
}

#[test]
fn one_directory_has_one_owner_through_different_maps() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v", "owner": { "uid": 1000, "gid": 1000 } }
},
"containers": {
"103": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] },
"102": { "hostname": "b", "template": "t.tar", "idmap": ["u 0 200000 65536", "g 0 200000 65536"], "volumes": [{ "volume": "v", "at": "/v" }] }
} }"##,
        r##"
fleet.json:7:123: /srv/v would belong to 101000:101000 for container 103 (line 6), and to 201000:201000 for container 102; give both containers the same id map, or each a volume of its own
  7 | …200000 65536"], "volumes": [{ "volume": "v", "at": "/v" }] }
    |                                          ^^^
"##,
    );
}

#[test]
fn a_privileged_container_beside_an_unprivileged_one_is_a_conflict() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "unprivileged": false, "volumes": [{ "volume": "v", "at": "/v" }] },
"102": { "hostname": "b", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v", "read_only": true }] }
} }"##,
        r##"
fleet.json:7:72: /srv/v would belong to 0:0 for container 101, which is privileged (line 6), and to 100000:100000 for container 102; give both containers the same id map, or each a volume of its own
  7 | …late": "t.tar", "volumes": [{ "volume": "v", "at": "/v", "read_only": true }] }
    |                                          ^^^
"##,
    );
}

#[test]
fn an_owner_outside_the_planned_map_is_an_error() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v", "owner": { "uid": 70000, "gid": 0 } }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] }
} }"##,
        r##"
fleet.json:6:72: the owner 70000:0 of volume `v` does not exist in container 101, whose id map is u 0 100000 65536, g 0 100000 65536; choose an owner within the map, or widen `idmap`
  6 | …late": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] }
    |                                          ^^^
"##,
    );
}

#[test]
fn a_clone_source_has_no_shared_volumes() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] },
"102": { "hostname": "b", "clone_from": "101" }
} }"##,
        r##"
fleet.json:6:59: container 101 is the clone source of 102, so it cannot have shared volumes; give the volumes to the clones, or make 102 from a template
  6 | …": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] },
    |                                          ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"##,
    );
}

#[test]
fn a_nosuid_mount_holds_the_source() {
    check(
        r##"{ "fleet": "f",
"volumes": {
"v": { "source": "/srv/v", "ownership": "map", "nosuid_mount": "/mnt" },
"w": { "source": "/srv/w", "nosuid_mount": "/srv" }
},
"containers": {
"101": { "hostname": "a", "template": "t.tar", "volumes": [{ "volume": "v", "at": "/v" }] }
} }"##,
        r##"
fleet.json:3:64: the source /srv/v does not lie in /mnt; name the mount point that holds the source
  3 | …v", "ownership": "map", "nosuid_mount": "/mnt" },
    |                                          ^^^^^^
"##,
    );
}
