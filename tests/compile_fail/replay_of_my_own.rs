//! What can be read back, and what is a part of what, is said by the crates of these types alone.

use phoenix::machine::{Fact, Line};
use phoenix::plan::Effect;
use phoenix_journal::{Entry, Part, Replay};

impl Replay for Effect {
    type Error = ();

    fn from_entry(_: &Entry) -> Result<Self, ()> {
        Err(())
    }
}

impl Part for Line {
    type Whole = Fact;

    fn part(whole: Fact) -> Result<Self, Fact> {
        Err(whole)
    }
}

fn main() {}
