//! Id maps: any text is answered, what is a map comes back equal, and the two directions undo each other.

use phoenix::ids::{IdKind, IdMap, IdRange};

/// The text as lines of `lxc.idmap`, and its halves as the kernel's two files.
pub(crate) fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (users, groups) = text.split_once('\0').unwrap_or((&text, &text));
    for map in [IdMap::from_lxc(text.lines()), IdMap::from_proc(users, groups)] {
        match map {
            Ok(map) => holds(&map),
            Err(why) => assert!(why.to_string().chars().count() < 400, "{why}"),
        }
    }
}

fn holds(map: &IdMap) {
    assert_eq!(IdMap::from_lxc(map.to_lxc().iter().map(String::as_str)).as_ref(), Ok(map));
    let line = |range: &IdRange| format!("{} {} {}", range.inside, range.host, range.count);
    let proc = |kind| map.ranges(kind).iter().map(line).collect::<Vec<_>>().join("\n");
    assert_eq!(IdMap::from_proc(&proc(IdKind::User), &proc(IdKind::Group)).as_ref(), Ok(map));
    for kind in [IdKind::User, IdKind::Group] {
        for &IdRange { inside, host, count } in map.ranges(kind) {
            let last = count - 1;
            for (inside, host) in [(inside, host), (inside + last, host + last), (inside + last / 2, host + last / 2)] {
                assert_eq!((map.to_host(kind, inside), map.to_inside(kind, host)), (Some(host), Some(inside)));
            }
            for id in [inside.wrapping_sub(1), inside.saturating_add(count), host.wrapping_sub(1), host.saturating_add(count)] {
                undone(map, kind, id);
            }
        }
        for id in [0, 1000, 65_535, u32::MAX] {
            undone(map, kind, id);
        }
        assert_eq!(map.to_host(kind, u32::MAX), None, "no id is -1");
    }
}

fn undone(map: &IdMap, kind: IdKind, id: u32) {
    assert!(map.to_host(kind, id).is_none_or(|host| map.to_inside(kind, host) == Some(id)));
    assert!(map.to_inside(kind, id).is_none_or(|inside| map.to_host(kind, inside) == Some(id)));
}
