//! That what is explored is the product: the loop does what the driver's does, and lives are handed on as the journal tells
//! them.
//!
//! Apart because reading a journal back costs more than all the rest: asked of every situation of small fleets only.

use phoenix::driver::{Locks, Silent, Turner, Work};
use phoenix::engine::Event;
use phoenix::host::{Lease, LockError};
use phoenix::plan::Effect;
use phoenix_journal::{Append, Memory};

use super::host::Extent;
use super::invariants::invariant_journal_tells_what_the_engine_knows;
use super::node::{Node, Phase};
use super::search::Violation;

/// Both, of one situation.
pub(crate) fn as_in_the_product(node: &Node) -> Result<(), Violation> {
    invariant_journal_tells_what_the_engine_knows(node)?;
    node.ops.iter().filter(|(_, op)| !op.orphan).try_for_each(|(&ctid, op)| {
        let mut here = node.clone();
        here.ops.remove(&ctid);
        let refused = here.host.carry_out(&op.effect, Extent::All);
        let report = here.report(&op.effect, refused);
        let event = || Event::Finished { ctid, report: report.clone() };
        same_turn(node, &mut here, event)
    })
}

/// One turn here and one of `phoenix::driver::Turner`, from the same engine and journal.
fn same_turn(node: &Node, here: &mut Node, event: impl Fn() -> Event) -> Result<(), Violation> {
    let (Phase::Running(engine), false) = (&node.phase, node.ops.values().any(|op| op.orphan)) else { return Ok(()) };
    let mut watched = Silent;
    let mut turner = Turner::new(Memory::clone(&node.journal), engine.clone(), Free, &mut watched);
    let mut work = Vec::new();
    let mut events = vec![event()];
    while !events.is_empty() {
        work.extend(turner.turn(events, &node.now()).map_err(|why| Violation::new(LOOPS, format!("{why:?}")))?);
        // The driver's looks are made beside the loop, and nothing else happens before they are answered here.
        let looks = work.extract_if(.., |work| matches!(work, Work::Look { .. }));
        events =
            looks.filter_map(|look| if let Work::Look { ctid } = look { Some(here.look(&turner.engine, ctid)) } else { None }).collect();
    }
    let under_way = |node: &Node| node.ops.len() + node.settles.len() + node.wakes.len();
    let before = under_way(here);
    here.turn(event(), &mut Vec::new())?;
    let (Phase::Running(engine) | Phase::Ended(engine, _)) = &here.phase else { unreachable!("a turn kills nobody") };
    let entries = |journal: &Memory| format!("{:?}", journal.replay(None).expect("memory can be read"));
    if entries(&turner.journal) != entries(&here.journal) {
        return Err(Violation::new(LOOPS, "they wrote something else"));
    }
    if format!("{:?}", turner.engine) != format!("{engine:?}") || under_way(here) != before + work.len() {
        return Err(Violation::new(LOOPS, "the engines differ"));
    }
    Ok(())
}

const LOOPS: &str = "invariant_the_loop_is_the_drivers";

/// Where nobody goes on after a crash every lock is free.
struct Free;

impl Locks for Free {
    fn lock(&self, _: &Effect) -> Result<Lease, LockError> {
        Ok(Lease { locks: Vec::new(), keep: None })
    }
}
