//! A recorded effect is made by a journal, after the commit, and there is one of it.

use phoenix::machine::Line;
use phoenix::plan::Effect;
use phoenix_journal::{Epoch, JournalId, Recorded, Seq};

fn minted(journal: JournalId, seq: Seq, epoch: Epoch, value: Effect) -> Recorded<Effect> {
    Recorded::mint(journal, seq, epoch, value)
}

fn cloned(recorded: &Recorded<Effect>) -> Recorded<Effect> {
    recorded.clone()
}

fn from_the_value(line: Line) -> Option<Recorded<Effect>> {
    line.part::<Effect>().ok()
}

fn changed(recorded: Recorded<Effect>, other: Effect) -> Recorded<Effect> {
    *recorded = other;
    recorded
}

fn main() {}
