//! What is read back is a thing of the past: no effect comes out of an entry.

use phoenix::machine::{Fact, Line};
use phoenix::plan::Effect;
use phoenix_journal::{Entry, Part, Recorded};

fn minted(entry: &Entry) -> Option<Recorded<Effect>> {
    entry.mint::<Effect>().ok()
}

fn minted_as_a_line(entry: &Entry) -> Option<Recorded<Effect>> {
    entry.mint::<Line>().ok()?.part::<Effect>().ok()
}

fn part_of_a_fact(fact: Recorded<Fact>) -> Option<Recorded<Effect>> {
    fact.part::<Effect>().ok()
}

struct Mine(Effect);

// This compiles; what it brings is no recorded effect.
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
