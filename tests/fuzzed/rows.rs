//! The container's rows with every guard off: each edge is there, each step begins anywhere, nothing needs anything.
//!
//! With these a journal refuses only what is no history at all (an outcome without its intent), and the typed machine stands
//! alone. Not here: the rows in force, which are [`phoenix::journal::SCHEMA`].

use std::sync::LazyLock;

use phoenix::journal::SCHEMA;
use phoenix_journal::{Machine, Schema};

/// See the module.
pub(crate) static PERMISSIVE: LazyLock<Schema> = LazyLock::new(|| {
    let machines: Vec<Machine> = SCHEMA.machines.iter().map(permissive).collect();
    Schema { machines: machines.leak(), ..SCHEMA }
});

fn permissive(machine: &Machine) -> Machine {
    let states = machine.states;
    let pairs = |from: &'static str| states.iter().filter(move |&&to| to != from).map(move |&to| (from, to));
    let edges: Vec<_> = states.iter().flat_map(|&from| pairs(from)).collect();
    let begins: Vec<_> = machine.begins.iter().flat_map(|&(step, _)| states.iter().map(move |&state| (step, state))).collect();
    Machine { edges: edges.leak(), needs: &[], begins: begins.leak(), ..*machine }
}
