//! `/etc/pve/firewall/ID.fw`: the firewall of one container, of which a part is ours.
//!
//! Ours are three keys of `[OPTIONS]` and the rules that bear our sign; everything else stays byte by byte. The sign stands in
//! each rule's own comment and not around them all: the web interface writes comments of rules back, and drops lines that are
//! comments alone. Not here: which rules are wanted, and whether they are right, which Proxmox says.

use std::fmt;

use crate::manifest::Firewall as Wanted;

/// A container's firewall file, line by line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FirewallFile {
    /// Without their line feeds; whatever else ends a line stays.
    lines: Vec<String>,
    /// Whether no line feed ends the last one.
    is_open: bool,
}

/// What the comment of a rule of ours ends with.
const SIGN: &str = "[phoenix]";
const OPTIONS: &str = "OPTIONS";
const RULES: &str = "RULES";

/// Why rules are not written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule:?} cannot be written as a line of the firewall's rules")]
pub struct RuleError {
    rule: String,
}

impl FirewallFile {
    /// Reads the file; any text is one.
    pub fn parse(text: &str) -> Self {
        let closed = text.strip_suffix('\n').unwrap_or(text);
        let lines = if text.is_empty() { Vec::new() } else { closed.split('\n').map(str::to_owned).collect() };
        Self { lines, is_open: !text.is_empty() && closed == text }
    }

    /// The file with our part as wanted.
    pub fn with(&self, wanted: &Wanted) -> Result<Self, RuleError> {
        let Wanted { enable, policy_in, policy_out, rules } = wanted;
        let rules = rules.iter().map(|rule| signed(rule)).collect::<Result<Vec<_>, _>>()?;
        let mut file = self.clone();
        file.set_option("enable", if *enable { "1" } else { "0" });
        file.set_option("policy_in", policy_in.name());
        file.set_option("policy_out", policy_out.name());
        file.set_rules(rules);
        file.is_open &= file.lines.last() == self.lines.last();
        Ok(file)
    }

    /// Whether a rule in it bears our sign.
    pub fn is_signed(&self) -> bool {
        self.lines.iter().any(|line| is_ours(line))
    }

    /// Whether our part is as wanted.
    pub fn says(&self, wanted: &Wanted) -> bool {
        self.with(wanted).is_ok_and(|file| file == *self)
    }

    fn set_option(&mut self, key: &str, value: &str) {
        let (begin, end) = self.section(OPTIONS).unwrap_or_else(|| {
            self.lines.splice(0..0, [format!("[{OPTIONS}]"), String::new(), String::new()]);
            (1, 3)
        });
        let of_key = |line: &String| line.split_once(':').is_some_and(|(found, _)| found.trim() == key);
        let wanted = format!("{key}: {value}");
        match self.lines[begin..end].iter().rposition(of_key).map(|index| begin + index) {
            Some(last) if option(&self.lines[last]) == option(&wanted) => {}
            Some(last) => self.lines[last] = wanted,
            None => {
                let at = self.last_of(begin, end).unwrap_or_else(|| end.min(begin + 1));
                self.lines.insert(at, wanted);
            }
        }
    }

    fn set_rules(&mut self, rules: Vec<String>) {
        let found = self.section(RULES);
        let ours: Vec<&String> = found.iter().flat_map(|(begin, end)| &self.lines[*begin..*end]).filter(|line| is_ours(line)).collect();
        if ours.into_iter().map(|line| line.trim()).eq(rules.iter().map(String::as_str)) {
            return;
        }
        let (begin, end) = found.unwrap_or_else(|| {
            if self.lines.last().is_some_and(|line| !line.trim().is_empty()) {
                self.lines.push(String::new());
            }
            self.lines.extend([format!("[{RULES}]"), String::new()]);
            (self.lines.len() - 1, self.lines.len())
        });
        // Behind the rules of others, unless ours have a place already: of all rules that match, the first decides.
        let first = self.lines[begin..end].iter().position(|line| is_ours(line)).map(|index| begin + index);
        let at = first.or_else(|| self.last_of(begin, end)).unwrap_or(end);
        let kept = self.lines.drain(begin..end).collect::<Vec<_>>();
        let split = at - begin;
        let (before, behind) = kept.split_at(split);
        let behind = behind.iter().filter(|line| !is_ours(line));
        let lines: Vec<String> = before.iter().cloned().chain(rules).chain(behind.cloned()).collect();
        self.lines.splice(begin..begin, lines);
    }

    /// The lines of a section, without its head.
    fn section(&self, name: &str) -> Option<(usize, usize)> {
        let heads = || self.lines.iter().enumerate().filter(|(_, line)| line.starts_with('['));
        let (head, _) =
            heads().find(|(_, line)| line.trim_end().get(1..).is_some_and(|rest| rest.eq_ignore_ascii_case(&format!("{name}]"))))?;
        let end = heads().find(|(index, _)| *index > head).map_or(self.lines.len(), |(index, _)| index);
        Some((head + 1, end))
    }

    /// Behind the last line of a range that says something.
    fn last_of(&self, begin: usize, end: usize) -> Option<usize> {
        self.lines[begin..end].iter().rposition(|line| !line.trim().is_empty()).map(|index| begin + index + 1)
    }
}

impl fmt::Display for FirewallFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.is_open || self.lines.is_empty() { "" } else { "\n" };
        write!(f, "{}{end}", self.lines.join("\n"))
    }
}

fn option(line: &str) -> Option<(&str, &str)> {
    line.split_once(':').map(|(key, value)| (key.trim(), value.trim()))
}

fn is_ours(line: &str) -> bool {
    line.trim_end().ends_with(SIGN) && line.contains('#')
}

fn signed(rule: &str) -> Result<String, RuleError> {
    let rule = rule.trim();
    if rule.is_empty() || rule.starts_with(['[', '#']) || rule.contains(|c: char| c.is_control()) {
        return Err(RuleError { rule: rule.chars().take(120).collect() });
    }
    Ok(if rule.contains('#') { format!("{rule} {SIGN}") } else { format!("{rule} # {SIGN}") })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::manifest::FirewallPolicy;

    fn wanted(rules: &[&str]) -> Wanted {
        let rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        Wanted { enable: true, policy_in: FirewallPolicy::Drop, policy_out: FirewallPolicy::Accept, rules }
    }

    #[track_caller]
    fn with(text: &str, rules: &[&str]) -> String {
        FirewallFile::parse(text).with(&wanted(rules)).expect("plain rules").to_string()
    }

    #[test]
    fn a_file_is_made_where_there_is_none() {
        let text = with("", &["IN ACCEPT -p tcp -dport 22", "IN SSH(ACCEPT) # from anywhere"]);
        let expected = "[OPTIONS]\n\nenable: 1\npolicy_in: DROP\npolicy_out: ACCEPT\n\n[RULES]\n\n\
                        IN ACCEPT -p tcp -dport 22 # [phoenix]\nIN SSH(ACCEPT) # from anywhere [phoenix]\n";
        assert_eq!(text, expected);
        assert!(FirewallFile::parse(&text).says(&wanted(&["IN ACCEPT -p tcp -dport 22", "IN SSH(ACCEPT) # from anywhere"])));
        assert!(!FirewallFile::parse(&text).says(&wanted(&["IN ACCEPT -p tcp -dport 22"])));
    }

    #[test]
    fn what_is_not_ours_stays_where_it_is() {
        let text = "[OPTIONS]\n\nlog_level_in: info\nenable: 0\n\n[IPSET lan]\n\n10.0.0.0/8\n\n[RULES]\n\n\
                    |IN DROP -p udp # switched off\nIN ACCEPT old # [phoenix]\nGROUP web\n\n[ALIASES]\n\ngw 10.0.0.1\n";
        let expected =
            text.replace("enable: 0\n", "enable: 1\npolicy_in: DROP\npolicy_out: ACCEPT\n").replace("IN ACCEPT old #", "IN ACCEPT new #");
        assert_eq!(with(text, &["IN ACCEPT new"]), expected);
        assert_eq!(with(&expected, &["IN ACCEPT new"]), expected);
        assert_eq!(with(&expected, &[]), expected.replace("IN ACCEPT new # [phoenix]\n", ""));
    }

    #[test]
    fn the_ends_of_lines_stay_as_they_are() {
        let text =
            "[OPTIONS]\r\n\r\nenable: 1\r\npolicy_in: DROP\r\npolicy_out: ACCEPT\r\n\r\n[RULES]\r\nIN ACCEPT a # [phoenix]\r\nGROUP web";
        assert_eq!(with(text, &["IN ACCEPT a"]), text);
        assert_eq!(with(text, &["IN ACCEPT b"]), text.replace("IN ACCEPT a # [phoenix]\r", "IN ACCEPT b # [phoenix]"));
        assert_eq!(with("[RULES]\nGROUP web", &["IN ACCEPT a"]).lines().last(), Some("IN ACCEPT a # [phoenix]"));
        assert!(with("[RULES]\nGROUP web", &["IN ACCEPT a"]).ends_with('\n'), "a line of ours is whole");
        for text in ["", "\n", "a", "a\n", "a\n\n", "\r\n"] {
            assert_eq!(FirewallFile::parse(text).to_string(), text, "{text:?}");
        }
    }

    #[test]
    fn a_rule_that_is_more_than_a_line_is_not_written() {
        for rule in ["", "IN ACCEPT\n[OPTIONS]", "[RULES]", "# nothing"] {
            assert!(FirewallFile::default().with(&wanted(&[rule])).is_err(), "{rule:?}");
        }
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(text in "((\\[(OPTIONS|RULES|IPSET a)\\]|enable: 1|policy_in: DROP|IN ACCEPT x( # \\[phoenix\\])?|)\n){0,9}") {
            let rules = ["IN ACCEPT a", "OUT DROP b # c"];
            let once = with(&text, &rules);
            prop_assert_eq!(with(&once, &rules), once.clone());
            prop_assert!(FirewallFile::parse(&once).says(&wanted(&rules)));
        }
    }
}
