//! What the doctor found: one paragraph for each finding, the remedy below it.
//!
//! Not here: what is looked at (`host::doctor`).

use std::fmt::{self, Write};

use serde::Serialize;

use crate::host::doctor::{Finding, Level};
use crate::ids::HostKind;

use super::SCHEMA;
use super::plain::{Look, Tone, count, paragraph, written};

/// Everything that was found.
#[derive(Debug, Serialize)]
pub struct DoctorReport {
    /// The version of this form.
    pub schema: u32,
    /// The kind of host.
    pub host: &'static str,
    /// Whether nothing is in the way of every fleet.
    pub fit: bool,
    /// The findings, those of one topic together.
    pub findings: Vec<FindingReport>,
}

/// One thing that was found.
#[derive(Debug, Serialize)]
pub struct FindingReport {
    /// What it is about.
    pub topic: &'static str,
    /// `good`, `warning` or `bad`.
    pub level: &'static str,
    /// What was found.
    pub what: String,
    /// What to do; `null` where all is well.
    pub remedy: Option<String>,
    #[serde(skip)]
    tone: Tone,
}

impl DoctorReport {
    /// The report of these findings.
    pub fn of(host: HostKind, findings: Vec<Finding>) -> Self {
        let fit = findings.iter().all(|finding| finding.level != Level::Bad);
        let findings = findings.into_iter().map(|Finding { topic, level, what, remedy }| FindingReport {
            topic: topic.name(),
            level: level.name(),
            what,
            remedy,
            tone: match level {
                Level::Good => Tone::Good,
                Level::Warning => Tone::Busy,
                Level::Bad => Tone::Bad,
            },
        });
        Self { schema: SCHEMA, host: host.name(), fit, findings: findings.collect() }
    }

    /// The text.
    pub fn text(&self, look: Look) -> String {
        written(|f| self.write(f, look))
    }

    fn write(&self, f: &mut String, look: Look) -> fmt::Result {
        for FindingReport { topic, level, what, remedy, tone } in &self.findings {
            let head = format!("  {}  {topic:TOPIC_WIDTH$}  ", look.paint(*tone, &format!("{level:LEVEL_WIDTH$}")));
            paragraph(f, look, &head, what)?;
            if let Some(remedy) = remedy {
                paragraph(f, look, &format!("{:indent$}-> ", "", indent = LEVEL_WIDTH + TOPIC_WIDTH + 6), remedy)?;
            }
        }
        let number = |level: &str| self.findings.iter().filter(|finding| finding.level == level).count();
        let (tone, verdict) = if self.fit { (Tone::Good, "fit") } else { (Tone::Bad, "not fit") };
        let warnings = count(number(Level::Warning.name()), "warning");
        let bad = count(number(Level::Bad.name()), "obstacle");
        writeln!(f, "host {}: {}, {bad}, {warnings}", self.host, look.paint(tone, verdict))
    }
}

/// The longest of the levels' and of the topics' names.
const LEVEL_WIDTH: usize = 7;
const TOPIC_WIDTH: usize = 12;

#[cfg(test)]
mod tests {
    use crate::host::doctor::Topic;

    use super::*;

    fn finding(topic: Topic, level: Level, remedy: Option<&str>) -> Finding {
        Finding { topic, level, what: "what was found, in words".to_owned(), remedy: remedy.map(str::to_owned) }
    }

    #[test]
    fn a_finding_is_a_paragraph_with_its_remedy_below() {
        let findings = vec![finding(Topic::User, Level::Good, None), finding(Topic::Availability, Level::Warning, Some("do this"))];
        let report = DoctorReport::of(HostKind::Pct, findings);
        let text = "  good     user          what was found, in words\n  \
                      warning  availability  what was found, in words\n                         -> do this\n\
                    host pct: fit, 0 obstacles, 1 warning\n";
        assert_eq!(report.text(Look::PLAIN), text);
        assert!(!DoctorReport::of(HostKind::Lxc, vec![finding(Topic::Ids, Level::Bad, Some("x"))]).fit);
    }
}
