//! What the user of a journal supplies: machines, as rows.
//!
//! The guards are generic over these rows. They are written once, when the journal is made, and compared at each opening. Not
//! here: the SQL tables that hold them (`sql`).

use std::collections::{BTreeMap, BTreeSet};

use crate::JournalError;

/// The machines of a journal. All of it can stand in a `const` or `static`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    /// What `file(1)` and SQLite know the file by; any number that is yours, not 0.
    pub application_id: i32,
    /// The version of the rows below, from 1 to 65535; raised when rows are added. A journal with a newer one is refused.
    pub version: u32,
    /// The machines.
    pub machines: &'static [Machine],
}

/// A state machine: streams of this machine run by these rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its name.
    pub name: &'static str,
    /// Its states.
    pub states: &'static [&'static str],
    /// The state that a life begins in. Coming back to it ends the life.
    pub initial: &'static str,
    /// The transitions: from, to.
    pub edges: &'static [(&'static str, &'static str)],
    /// The evidence: (state, step) says that the state is entered only if the step was done in this life.
    pub needs: &'static [(&'static str, &'static str)],
    /// The steps: (base name, state) says that an intent of the step is accepted in the state. Empty: no steps.
    pub begins: &'static [(&'static str, &'static str)],
    /// The standings. Empty: the standing is always the empty text.
    pub standings: &'static [&'static str],
}

/// The same rows as owned data: from a schema, or read back from a journal that has no schema at hand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) machines: BTreeMap<String, MachineRules>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MachineRules {
    pub(crate) initial: String,
    pub(crate) states: BTreeSet<String>,
    pub(crate) edges: BTreeSet<(String, String)>,
    pub(crate) needs: BTreeSet<(String, String)>,
    pub(crate) begins: BTreeSet<(String, String)>,
    pub(crate) standings: BTreeSet<String>,
}

impl Rules {
    /// The rows of a schema, if they make sense.
    pub(crate) fn of(schema: &Schema) -> Result<Self, JournalError> {
        let wrong = |what: String| JournalError::BadSchema { what };
        if schema.application_id == 0 {
            return Err(wrong("application_id is 0".to_owned()));
        }
        if !(1..=VERSION_MAX).contains(&schema.version) {
            return Err(wrong(format!("version {} is not between 1 and {VERSION_MAX}", schema.version)));
        }
        let mut machines = BTreeMap::new();
        for machine in schema.machines {
            let rules = MachineRules::of(machine).map_err(|what| wrong(format!("machine `{}`: {what}", machine.name)))?;
            if machines.insert(machine.name.to_owned(), rules).is_some() {
                return Err(wrong(format!("two machines are called `{}`", machine.name)));
            }
        }
        Ok(Self { machines })
    }

    /// The rows as (table, machine, text) triples, for comparing two sets of rules.
    pub(crate) fn rows(&self) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for (name, machine) in &self.machines {
            let MachineRules { initial, states, edges, needs, begins, standings } = machine;
            rows.insert(format!("machine `{name}` begins in `{initial}`"));
            rows.extend(states.iter().map(|state| format!("machine `{name}` has the state `{state}`")));
            rows.extend(edges.iter().map(|(from, to)| format!("machine `{name}` has the edge `{from}` -> `{to}`")));
            rows.extend(needs.iter().map(|(state, step)| format!("machine `{name}`: `{state}` needs `{step}`")));
            rows.extend(begins.iter().map(|(step, state)| format!("machine `{name}`: `{step}` begins in `{state}`")));
            rows.extend(standings.iter().map(|standing| format!("machine `{name}` has the standing `{standing}`")));
        }
        rows
    }
}

impl MachineRules {
    /// Whether an intent of the step with this base name is accepted in this state.
    pub(crate) fn begins(&self, step: &str, state: &str) -> bool {
        holds(&self.begins, step, state)
    }

    /// Whether a transition leads from one state to the other.
    pub(crate) fn has_edge(&self, from: &str, to: &str) -> bool {
        holds(&self.edges, from, to)
    }

    /// The steps without which a state is not entered, by name.
    pub(crate) fn needed_for<'a>(&'a self, state: &'a str) -> impl Iterator<Item = &'a String> {
        self.needs.iter().filter(move |(of, _)| of == state).map(|(_, step)| step)
    }

    fn of(machine: &Machine) -> Result<Self, String> {
        let Machine { name, states, initial, edges, needs, begins, standings } = machine;
        let known: BTreeSet<String> = states.iter().map(|&state| state.to_owned()).collect();
        let mentioned = [*initial].into_iter().chain(edges.iter().flat_map(|&(from, to)| [from, to]));
        let mentioned = mentioned.chain(needs.iter().map(|&(state, _)| state)).chain(begins.iter().map(|&(_, state)| state));
        if name.is_empty() || states.contains(&"") {
            return Err("a name is empty".to_owned());
        }
        if let Some(stranger) = mentioned.into_iter().find(|&state| !known.contains(state)) {
            return Err(format!("`{stranger}` is none of its states"));
        }
        if let Some((state, _)) = edges.iter().find(|(from, to)| from == to) {
            return Err(format!("an edge leads from `{state}` to itself"));
        }
        let pairs = |rows: &[(&str, &str)]| rows.iter().map(|&(a, b)| (a.to_owned(), b.to_owned())).collect();
        let standings: &[&str] = if standings.is_empty() { &[""] } else { standings };
        Ok(Self {
            initial: (*initial).to_owned(),
            states: known,
            edges: pairs(edges),
            needs: pairs(needs),
            begins: pairs(begins),
            standings: standings.iter().map(|&standing| standing.to_owned()).collect(),
        })
    }
}

/// Looked for one by one: there are few, and a set of pairs could be asked only with copies of both.
fn holds(rows: &BTreeSet<(String, String)>, one: &str, other: &str) -> bool {
    rows.iter().any(|(a, b)| a == one && b == other)
}

/// The version shares SQLite's `user_version` with the number of this crate's table layout: 16 bits for each.
pub(crate) const VERSION_MAX: u32 = 0xffff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_make_no_sense_are_refused_by_what_is_wrong() {
        const DOOR: Machine = Machine {
            name: "door",
            states: &["open", "shut"],
            initial: "shut",
            edges: &[("shut", "open")],
            needs: &[],
            begins: &[],
            standings: &[],
        };
        let wrong = |machine| MachineRules::of(&machine).expect_err("no sense");
        MachineRules::of(&DOOR).expect("sense");
        assert_eq!(wrong(Machine { name: "", ..DOOR }), "a name is empty");
        assert_eq!(wrong(Machine { states: &["open", "shut", ""], ..DOOR }), "a name is empty");
        assert_eq!(wrong(Machine { initial: "ajar", ..DOOR }), "`ajar` is none of its states");
        assert_eq!(wrong(Machine { needs: &[("ajar", "push")], ..DOOR }), "`ajar` is none of its states");
        assert_eq!(wrong(Machine { begins: &[("push", "ajar")], ..DOOR }), "`ajar` is none of its states");
        assert_eq!(wrong(Machine { edges: &[("open", "open")], ..DOOR }), "an edge leads from `open` to itself");
    }
}
