//! The steps of one container: what became of each, and which are still to come.
//!
//! Apart because `explain` and `plan` tell the same thing from two sides. What is due is the engine's and the machine's to say
//! (`steps_into`, `Record`); here it is only counted up.

use serde::Serialize;

use crate::ids::{State, Step};
use crate::machine::{Life, Past, Record};
use crate::manifest::Spec;
use crate::plan::{Repertoire, steps_into};

use super::plain::one_line;

/// One step of a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StepReport {
    /// Its id.
    pub step: String,
    /// The state that it leads into.
    pub into: &'static str,
    /// Whether what it achieves holds.
    pub done: bool,
    /// How often it was begun in this incarnation.
    pub attempts: u32,
    /// Why it would be taken (again); nothing if it is done or was never tried.
    pub why: Option<String>,
}

/// Every step on the way to `Done`, in order, with what became of it. `lost` says that the recorded init is gone, so that what
/// rests on it is to be done again.
pub(super) fn steps(spec: &Spec, repertoire: Repertoire, life: Option<&Life>, lost: bool) -> Vec<StepReport> {
    let all = State::ALL.into_iter().flat_map(|state| steps_into(state, spec, repertoire).into_iter().map(move |step| (state, step)));
    all.map(|(state, step)| report(state, &step, life, lost)).collect()
}

fn report(state: State, step: &Step, life: Option<&Life>, lost: bool) -> StepReport {
    let Record { intents, done, past, leftover, .. } = life.map(|life| life.record(step)).unwrap_or_default();
    // A first start was for its evidence, which stays true after it is down again.
    let rests_on_init = matches!(step, Step::RunStart | Step::RunReady | Step::HealthCheck(_));
    let reached = life.is_some_and(|life| state <= life.state());
    let done = (done || (reached && !rests_on_init)) && !(lost && rests_on_init);
    let why = match (done, leftover, past) {
        (true, _, _) => None,
        (false, Some(leftover), _) => Some(format!("it happened in part, and is put right first: {leftover}")),
        (false, None, Past::Untried) => None,
        (false, None, Past::Failed(after)) => Some(format!("it failed before: {after}")),
        (false, None, Past::CutOff) => Some("it was cut off".to_owned()),
        (false, None, Past::Lost) => Some("what it achieved is gone".to_owned()),
        (false, None, Past::Asked) => Some("it was asked for".to_owned()),
    };
    let why = why.or_else(|| (lost && rests_on_init).then(|| "the recorded init is gone".to_owned()));
    StepReport { step: step.clone().id().to_string(), into: state.name(), done, attempts: intents, why: why.map(|why| one_line(&why)) }
}
