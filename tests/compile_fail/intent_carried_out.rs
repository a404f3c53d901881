//! A host carries out recorded effects: no effect that is not recorded yet, and no intent that was read back.

use phoenix::host::{Host, Lease};
use phoenix::machine::{Fact, Line, Report};
use phoenix::plan::{Doubt, Effect, Intent};
use phoenix_journal::{Entry, Recorded};

fn before_writing(host: &dyn Host, effect: Effect, lease: Lease) -> Report {
    host.carry_out(effect, lease)
}

fn read_back(host: &dyn Host, entry: &Entry, lease: Lease) -> Option<Report> {
    let Fact::Intended(intent, _) = entry.mint::<Fact>().ok()?.into_inner() else { return None };
    Some(host.carry_out(*intent, lease))
}

fn recorded_as_an_intent(host: &dyn Host, intent: Recorded<Intent>, lease: Lease) -> Report {
    host.carry_out(intent, lease)
}

fn recorded_as_a_line(host: &dyn Host, line: Recorded<Line>, lease: Lease) -> Report {
    host.carry_out(line, lease)
}

fn in_doubt(host: &dyn Host, doubt: Doubt, lease: Lease) -> Report {
    host.carry_out(doubt.effect, lease)
}

fn main() {}
