//! What is read back is a thing of the past: no effect comes out of an entry, and no other crate can say otherwise.

use phoenix::machine::{Fact, Line};
use phoenix::plan::Effect;
use phoenix_journal::{Entry, Part, Recorded, Replay};

fn minted(entry: &Entry) -> Option<Recorded<Effect>> {
    entry.mint::<Effect>().ok()
}

fn minted_as_a_line(entry: &Entry) -> Option<Recorded<Effect>> {
    entry.mint::<Line>().ok()?.part::<Effect>().ok()
}

fn part_of_a_fact(fact: Recorded<Fact>) -> Option<Recorded<Effect>> {
    fact.part::<Effect>().ok()
}

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

struct Mine(Effect);

impl Part for Mine {
    type Whole = Line;

    fn part(whole: Line) -> Result<Self, Line> {
        Effect::part(whole).map(Self)
    }
}

fn through_a_part_of_my_own(line: Recorded<Line>) -> Option<Recorded<Effect>> {
    line.part::<Mine>().ok()
}

fn main() {}
