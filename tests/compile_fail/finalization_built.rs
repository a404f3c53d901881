//! The proof of an id map comes from a recorded outcome; nobody builds one.

use phoenix::ids::IdMap;
use phoenix::machine::{Finalization, Outcome};

fn by_default() -> Finalization {
    Finalization::default()
}

fn from_a_report(outcome: &Outcome) -> Option<Finalization> {
    Finalization::from_recorded(outcome).ok()
}

fn changed(mut finalization: Finalization, idmap: IdMap) -> Finalization {
    finalization.idmap = idmap;
    finalization
}

fn main() {}
