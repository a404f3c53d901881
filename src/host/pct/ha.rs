//! `/etc/pve/ha/resources.cfg`: which containers high availability manages.
//!
//! There, start and stop only ask, and the manager brings the container back to the state it was told. Not here: what follows
//! from it.

use std::collections::BTreeMap;

use super::stanza;

/// The managed containers by number, each with the state that the manager keeps it in (`started`, `stopped`, ...).
pub fn parse(text: &str) -> BTreeMap<u32, String> {
    let managed = stanza::parse(text).into_iter().filter(|stanza| stanza.kind == "ct").filter_map(|stanza| {
        let state = stanza.get("state").unwrap_or("started").to_owned();
        // What the manager is told to ignore is as if it were not listed.
        Some((stanza.name.parse().ok()?, state)).filter(|(_, state)| state != "ignored")
    });
    managed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_containers_are_told_from_machines_and_from_what_is_ignored() {
        let text = "ct: 101\n\tgroup all\n\tstate stopped\n\nvm: 102\n\nct: 103\n\nct: 104\n\tstate ignored\n\nct: web\n";
        let managed: Vec<_> = parse(text).into_iter().collect();
        assert_eq!(managed, [(101, "stopped".to_owned()), (103, "started".to_owned())]);
        assert!(parse("").is_empty());
    }
}
