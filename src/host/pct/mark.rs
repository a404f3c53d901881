//! The identity mark of a container of Proxmox: the line `phoenix: {...}` of its description, the last where we write it.
//!
//! There because a description survives everything that Proxmox does to a configuration, and people see it in the web
//! interface. A clone brings its source's; its number tells. Not here: when it is written and what a missing one means.

use crate::codec::{mark_from_json, mark_to_json};
use crate::plan::Mark;

use super::config::text;

/// What the line begins with.
const PREFIX: &str = "phoenix: ";

/// A description that ends with the mark; what `description` says stays, marks apart.
pub(crate) fn with_mark(description: &str, mark: &Mark) -> String {
    let mut text = without_mark(description);
    text.push_str(PREFIX);
    text.push_str(mark_to_json(mark).trim_end());
    text.push('\n');
    text
}

/// The mark of a container, from the text of its configuration. Whoever cannot read the rest of it still knows whose it is.
pub(crate) fn of_config(config: &str) -> Option<Mark> {
    let main = config.lines().take_while(|line| !line.starts_with('['));
    let lines = main.filter_map(|line| line.strip_prefix('#')).filter_map(text::decode);
    // People write notes below it.
    mark_from_json(lines.filter_map(|line| Some(line.strip_prefix(PREFIX)?.to_owned())).last()?.trim()).ok()
}

fn without_mark(description: &str) -> String {
    let others = description.lines().filter(|line| !line.starts_with(PREFIX));
    others.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::config::Config;
    use super::*;

    fn mark(ctid: u32) -> Mark {
        Mark {
            journal: "0102030405060708090a0b0c0d0e0f10".parse().expect("a journal id"),
            fleet: "homelab".parse().expect("a name"),
            ctid: crate::ids::Ctid::new(ctid).expect("in range"),
            incarnation: crate::ids::Incarnation::from_random([0xa5; 16]),
            epoch: phoenix_journal::Epoch::new(7),
        }
    }

    #[test]
    fn a_mark_is_the_last_line_of_a_description() {
        let description = with_mark("the mail server\n", &mark(101));
        assert_eq!(
            description,
            concat!(
                "the mail server\n",
                r#"phoenix: {"schema":1,"journal":"0102030405060708090a0b0c0d0e0f10","fleet":"homelab","ctid":101,"#,
                r#""incarnation":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","epoch":7}"#,
                "\n"
            )
        );
        assert_eq!(with_mark(&description, &mark(102)), with_mark("the mail server\n", &mark(102)));
    }

    #[test]
    fn a_mark_is_read_from_the_main_section_alone() {
        let mut config = Config::parse("memory: 1\n\n[s1]\nsnaptime: 1\n").expect("a configuration");
        config.set_description(&with_mark("two\nlines: here", &mark(101)));
        let text = config.to_string();
        assert_eq!(of_config(&text), Some(mark(101)));
        assert_eq!(of_config(&text.replace("memory: 1", "[broken")), Some(mark(101)));
        let moved = format!("memory: 1\n\n[s1]\n{}", text.lines().next().unwrap_or_default());
        assert_eq!(of_config(&moved), None);
        assert_eq!(of_config(&text.replace("memory", "#notes of a person\nmemory")), Some(mark(101)));
    }

    #[test]
    fn what_is_no_mark_is_none() {
        for text in ["", "#\n", "#phoenix: {}\n", "#phoenix%3A {\"schema\":2}\n", "memory: 1\n"] {
            assert_eq!(of_config(text), None, "{text:?}");
        }
    }
}
