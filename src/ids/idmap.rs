//! Id maps: how user and group ids inside a container stand for ids on the host.
//!
//! Plain parsed data, so that the planned map of a manifest and the map the kernel shows are the same type and can be
//! compared. It proves nothing: the proof that a map is in force is the machine's `Finalization`. Formats: `user_namespaces(7)`
//! for `/proc/PID/uid_map`, `lxc.container.conf(5)` for `lxc.idmap`.

use std::fmt;

/// Which of the two maps a range belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKind {
    /// User ids.
    User,
    /// Group ids.
    Group,
}

/// `count` ids from `inside` on stand for those from `host` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdRange {
    /// The first id as seen inside.
    pub inside: u32,
    /// The first id as the host sees it.
    pub host: u32,
    /// How many ids; at least 1.
    pub count: u32,
}

/// The user and group ranges of a container, sorted by the id inside, without overlap on either side.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdMap {
    users: Vec<IdRange>,
    groups: Vec<IdRange>,
}

/// The most ranges one map may have; the kernel's own limit (`user_namespaces(7)`).
const RANGES_MAX: usize = 340;

impl IdMap {
    /// Takes ranges in any order and refuses what no kernel would take.
    pub fn new(mut users: Vec<IdRange>, mut groups: Vec<IdRange>) -> Result<Self, IdMapError> {
        for (kind, ranges) in [(IdKind::User, &mut users), (IdKind::Group, &mut groups)] {
            ranges.sort_unstable();
            check_ranges(kind, ranges)?;
        }
        Ok(Self { users, groups })
    }

    /// One range for users and groups alike, beginning at 0 inside.
    pub fn shifted(host: u32, count: u32) -> Result<Self, IdMapError> {
        let range = IdRange { inside: 0, host, count };
        Self::new(vec![range], vec![range])
    }

    /// The map of a privileged container: every id stands for itself.
    pub fn identity() -> Self {
        let all = IdRange { inside: 0, host: 0, count: u32::MAX };
        Self { users: vec![all], groups: vec![all] }
    }

    /// Reads the texts of `/proc/PID/uid_map` and `gid_map`: three numbers a line.
    pub fn from_proc(uid_map: &str, gid_map: &str) -> Result<Self, IdMapError> {
        Self::new(parse_proc(uid_map)?, parse_proc(gid_map)?)
    }

    /// Reads the values of `lxc.idmap` lines (`u 0 100000 65536`), in any order.
    pub fn from_lxc<'a>(values: impl IntoIterator<Item = &'a str>) -> Result<Self, IdMapError> {
        let (mut users, mut groups) = (Vec::new(), Vec::new());
        for value in values {
            let (kind, range) = parse_lxc(value)?;
            match kind {
                IdKind::User => users.push(range),
                IdKind::Group => groups.push(range),
            }
        }
        Self::new(users, groups)
    }

    /// The values of the `lxc.idmap` lines that ask for this map.
    pub fn to_lxc(&self) -> Vec<String> {
        let line = |kind: char, range: &IdRange| format!("{kind} {} {} {}", range.inside, range.host, range.count);
        let users = self.users.iter().map(|range| line('u', range));
        users.chain(self.groups.iter().map(|range| line('g', range))).collect()
    }

    /// The ranges of one kind.
    pub fn ranges(&self, kind: IdKind) -> &[IdRange] {
        match kind {
            IdKind::User => &self.users,
            IdKind::Group => &self.groups,
        }
    }

    /// The host's id for an id inside; `None` outside every range, which is an error to report and never a guess.
    pub fn to_host(&self, kind: IdKind, inside: u32) -> Option<u32> {
        let range = self.ranges(kind).iter().find(|range| inside >= range.inside && inside - range.inside < range.count)?;
        Some(range.host + (inside - range.inside))
    }

    /// The id inside for a host id; `None` if the container sees it as the overflow id.
    pub fn to_inside(&self, kind: IdKind, host: u32) -> Option<u32> {
        let range = self.ranges(kind).iter().find(|range| host >= range.host && host - range.host < range.count)?;
        Some(range.inside + (host - range.host))
    }

    /// Whether ids inside are host ids unchanged, as in a privileged container.
    pub fn is_identity(&self) -> bool {
        [&self.users, &self.groups].iter().all(|ranges| ranges.iter().all(|range| range.inside == range.host))
    }
}

impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_lxc().join(", "))
    }
}

/// Why ranges or a text are no [`IdMap`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdMapError {
    /// A line that does not have the form.
    #[error("`{given}` is no id map line; expected {expected}")]
    Syntax {
        /// The line, cut to 120 characters.
        given: String,
        /// The form wanted.
        expected: &'static str,
    },
    /// No range for users, or none for groups.
    #[error("the id map has no range for {}", plural(*kind))]
    Empty {
        /// The kind without a range.
        kind: IdKind,
    },
    /// A range of no ids, or one that goes past 2^32 - 2.
    #[error("the id map has a range of {count} {} from {inside} inside and {host} on the host; a range needs at least one id and ends below 4294967295", plural(*kind))]
    Extent {
        /// Users or groups.
        kind: IdKind,
        /// First id inside.
        inside: u32,
        /// First id on the host.
        host: u32,
        /// How many.
        count: u32,
    },
    /// Two ranges that share ids inside or on the host.
    #[error("the id map has overlapping ranges for {}: those from {first} and {second} inside", plural(*kind))]
    Overlap {
        /// Users or groups.
        kind: IdKind,
        /// First id inside of the one.
        first: u32,
        /// First id inside of the other.
        second: u32,
    },
    /// More ranges than the kernel takes.
    #[error("the id map has {count} ranges for {}; the kernel takes at most {RANGES_MAX}", plural(*kind))]
    TooMany {
        /// Users or groups.
        kind: IdKind,
        /// How many.
        count: usize,
    },
}

fn plural(kind: IdKind) -> &'static str {
    match kind {
        IdKind::User => "users",
        IdKind::Group => "groups",
    }
}

fn check_ranges(kind: IdKind, ranges: &[IdRange]) -> Result<(), IdMapError> {
    if ranges.is_empty() {
        return Err(IdMapError::Empty { kind });
    }
    if ranges.len() > RANGES_MAX {
        return Err(IdMapError::TooMany { kind, count: ranges.len() });
    }
    let fits = |first: u32, count: u32| first.checked_add(count).is_some();
    if let Some(bad) = ranges.iter().find(|r| r.count == 0 || !fits(r.inside, r.count) || !fits(r.host, r.count)) {
        return Err(IdMapError::Extent { kind, inside: bad.inside, host: bad.host, count: bad.count });
    }
    let mut by_host: Vec<&IdRange> = ranges.iter().collect();
    by_host.sort_unstable_by_key(|range| range.host);
    let inside =
        ranges.windows(2).find(|pair| pair[0].inside + pair[0].count > pair[1].inside).map(|pair| (pair[0].inside, pair[1].inside));
    let host = by_host.windows(2).find(|pair| pair[0].host + pair[0].count > pair[1].host).map(|pair| (pair[0].inside, pair[1].inside));
    match inside.or(host) {
        Some((first, second)) => Err(IdMapError::Overlap { kind, first, second }),
        None => Ok(()),
    }
}

fn parse_proc(text: &str) -> Result<Vec<IdRange>, IdMapError> {
    text.lines().map(|line| parse_numbers(line.split_ascii_whitespace()).ok_or_else(|| syntax(line, "`INSIDE HOST COUNT`"))).collect()
}

fn parse_lxc(value: &str) -> Result<(IdKind, IdRange), IdMapError> {
    let expected = "`u|g INSIDE HOST COUNT`";
    let mut words = value.split_ascii_whitespace();
    let kind = match words.next() {
        Some("u") => IdKind::User,
        Some("g") => IdKind::Group,
        Some(_) | None => return Err(syntax(value, expected)),
    };
    parse_numbers(words).map(|range| (kind, range)).ok_or_else(|| syntax(value, expected))
}

fn parse_numbers<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<IdRange> {
    let mut number = || words.next().filter(|word| word.bytes().all(|b| b.is_ascii_digit()))?.parse().ok();
    let range = IdRange { inside: number()?, host: number()?, count: number()? };
    words.next().is_none().then_some(range)
}

fn syntax(given: &str, expected: &'static str) -> IdMapError {
    IdMapError::Syntax { given: given.chars().take(120).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(inside: u32, host: u32, count: u32) -> IdRange {
        IdRange { inside, host, count }
    }

    #[test]
    fn ids_are_mapped_range_by_range() {
        let map = IdMap::from_lxc(["u 0 100000 1000", "u 1000 1000 1", "u 1001 101001 64535", "g 0 100000 65536"]).expect("a map");
        assert_eq!(map.to_host(IdKind::User, 999), Some(100_999));
        assert_eq!(map.to_host(IdKind::User, 1000), Some(1000));
        assert_eq!(map.to_host(IdKind::User, 65_536), None);
        assert_eq!(map.to_inside(IdKind::Group, 100_005), Some(5));
        assert_eq!(map.to_inside(IdKind::Group, 0), None);
        assert_eq!(IdMap::from_lxc(map.to_lxc().iter().map(String::as_str)), Ok(map));
    }

    #[test]
    fn what_the_kernel_shows_equals_what_the_config_asks() {
        let shown = "         0     100000      65536\n";
        assert_eq!(IdMap::from_proc(shown, shown), IdMap::shifted(100_000, 65_536));
        let privileged = "         0          0 4294967295\n";
        assert_eq!(IdMap::from_proc(privileged, privileged), Ok(IdMap::identity()));
        assert!(IdMap::identity().is_identity());
    }

    #[test]
    fn maps_no_kernel_would_take_are_refused() {
        let fine = vec![range(0, 100_000, 10)];
        for users in [
            vec![],
            vec![range(0, 5, 0)],
            vec![range(0, u32::MAX, 2)],
            vec![range(0, 100, 10), range(5, 200, 10)],
            vec![range(0, 100, 10), range(50, 105, 10)],
            vec![range(0, 1, 1); RANGES_MAX + 1],
        ] {
            assert!(IdMap::new(users.clone(), fine.clone()).is_err(), "{users:?}");
        }
    }

    #[test]
    fn lines_are_read_strictly() {
        for value in ["", "u", "u 0 1", "u 0 1 2 3", "x 0 1 2", "u -1 2 3", "u +1 2 3", "u 0 1 99999999999", "b 0 1 2", "u 0x1 2 3"] {
            assert!(matches!(IdMap::from_lxc([value]), Err(IdMapError::Syntax { .. })), "{value:?}");
        }
    }
}
