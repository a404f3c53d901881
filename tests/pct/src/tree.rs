//! The tree of snapshots, as `pct listsnapshot` draws it. Times are in UTC.

use crate::conf::Conf;

/// Where times begin; the drawing and the name come before.
const NAME_WIDTH: usize = 32;
const TIME_WIDTH: usize = 24;

/// The lines of the tree; the present state is in it as `current`.
pub(crate) fn lines(conf: &Conf) -> Vec<String> {
    let mut lines = Vec::new();
    below(conf, None, 0, conf.main.get("parent").filter(|name| conf.snapshots.contains_key(*name)), &mut lines);
    lines
}

fn below(conf: &Conf, parent: Option<&str>, depth: usize, current: Option<&str>, lines: &mut Vec<String>) {
    let is_child = |section: &crate::conf::Section| {
        let of = section.get("parent").filter(|name| conf.snapshots.contains_key(*name));
        of == parent
    };
    let mut children: Vec<_> = conf.snapshots.iter().filter(|(_, section)| is_child(section)).collect();
    let time = |section: &crate::conf::Section| section.get("snaptime").and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    children.sort_by_key(|(_, section)| time(section));
    let line = |name: &str, time: &str, text: &str| {
        let start = format!("{}`-> {name}", " ".repeat(depth));
        format!("{start:<NAME_WIDTH$}{time:<TIME_WIDTH$}{text}")
    };
    for (name, section) in children {
        let text = section.get("description").and_then(|text| text.lines().next()).unwrap_or("no-description");
        lines.push(line(name, &date(time(section)), text));
        below(conf, Some(name), depth + 1, current, lines);
    }
    if current == parent {
        lines.push(line("current", "", "You are here!"));
    }
}

/// `2026-11-23 01:05:48`. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, day) = (days / 146_097, days % 146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * shifted + 2) / 5 + 1, if shifted < 10 { shifted + 3 } else { shifted - 9 });
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_drawn_as_recorded() {
        let text = "arch: amd64\nparent: s1\n\n[s1]\n#first snap\nsnaptime: 1795395948\n\n[s2]\nparent: s1\nsnaptime: 1795395950\n";
        let (conf, _) = Conf::parse(text.as_bytes());
        let expected = [
            "`-> s1                          2026-11-23 01:05:48     first snap",
            " `-> s2                         2026-11-23 01:05:50     no-description",
            " `-> current                                            You are here!",
        ];
        assert_eq!(lines(&conf), expected);
        assert_eq!(lines(&Conf::default()), ["`-> current                                             You are here!"]);
    }
}
