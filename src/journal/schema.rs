//! The rows from which the journal makes its guards: states, edges, and what each state and step needs.
//!
//! Written out as data, because the database holds them as data and refuses a journal whose rows are others; the tests below
//! compare each cell with [`State::leads_to`](crate::ids::State::leads_to) and with the steps of each transition. Not here:
//! anything that depends on a spec; whether *every* volume is attached is the typed machine's to ask.

use phoenix_journal::{Machine, Schema};

use crate::codec::{CONTAINER, RUN};
use crate::machine::Standing;

/// The rows of both machines. Version 2 added the steps of hosts that keep templates, firewalls and snapshots.
pub const SCHEMA: Schema = Schema { application_id: APPLICATION_ID, version: 2, machines: &[CONTAINERS, RUNS] };

/// "PHNX": what `file(1)` and `SQLite` know a journal of ours by.
const APPLICATION_ID: i32 = i32::from_be_bytes(*b"PHNX");

/// A container. A life is one physical container: it begins in `declared`, and coming back there ends it.
const CONTAINERS: Machine = Machine {
    name: CONTAINER,
    states: &["declared", "defined", "configured", "finalized", "volumed", "running", "featured", "done"],
    initial: "declared",
    edges: EDGES,
    needs: NEEDS,
    begins: BEGINS,
    standings: &Standing::NAMES,
};

/// A run. One without an end was killed.
const RUNS: Machine = Machine {
    name: RUN,
    states: &["running", "done", "failed", "interrupted"],
    initial: "running",
    edges: &[("running", "done"), ("running", "failed"), ("running", "interrupted")],
    needs: &[],
    begins: &[],
    standings: &["active"],
};

const EDGES: &[(&str, &str)] = &[
    ("declared", "defined"),
    ("defined", "declared"),
    ("defined", "configured"),
    ("configured", "declared"),
    ("configured", "finalized"),
    ("finalized", "declared"),
    ("finalized", "volumed"),
    ("volumed", "declared"),
    ("volumed", "running"),
    ("running", "declared"),
    ("running", "volumed"),
    ("running", "featured"),
    ("featured", "declared"),
    ("featured", "volumed"),
    ("featured", "done"),
    ("done", "declared"),
    ("done", "volumed"),
];

/// What must have been done in this life before a state is entered. A fall back does not undo it here: after it, the typed
/// machine asks for a new `run.ready`, and these rows only for the old one.
const NEEDS: &[(&str, &str)] = &[
    ("defined", "define.mark"),
    ("configured", "configure.set"),
    ("finalized", "finalize.idmap"),
    // No volume without a finalization, whichever way the state is entered.
    ("volumed", "finalize.idmap"),
    ("running", "run.ready"),
    ("done", "autostart.set"),
];

/// In which state each step may begin, its repair included.
const BEGINS: &[(&str, &str)] = &[
    ("template.fetch", "declared"),
    ("define.create", "declared"),
    ("define.clone", "declared"),
    ("define.mark", "declared"),
    // Again, on a person's word.
    ("define.mark", "defined"),
    ("define.mark", "configured"),
    ("define.mark", "finalized"),
    ("define.mark", "volumed"),
    ("define.mark", "running"),
    ("define.mark", "featured"),
    ("define.mark", "done"),
    ("configure.set", "defined"),
    ("firewall.set", "defined"),
    ("finalize.start", "configured"),
    ("finalize.idmap", "configured"),
    ("finalize.stop", "configured"),
    ("snapshot.take", "finalized"),
    ("volume.prepare", "finalized"),
    ("volume.attach", "finalized"),
    ("volume.detach", "volumed"),
    ("run.start", "volumed"),
    ("run.ready", "volumed"),
    ("feature.apply", "running"),
    ("application.run", "featured"),
    ("health.check", "featured"),
    ("autostart.set", "featured"),
    ("clone.hold", "volumed"),
    ("clone.hold", "running"),
    ("clone.hold", "featured"),
    ("clone.hold", "done"),
    ("clone.release", "volumed"),
    ("clone.release", "running"),
    ("clone.release", "featured"),
    ("clone.release", "done"),
    ("down.stop", "declared"),
    ("down.stop", "defined"),
    ("down.stop", "configured"),
    ("down.stop", "finalized"),
    ("down.stop", "volumed"),
    ("down.stop", "running"),
    ("down.stop", "featured"),
    ("down.stop", "done"),
    ("down.destroy", "declared"),
    ("down.destroy", "defined"),
    ("down.destroy", "configured"),
    ("down.destroy", "finalized"),
    ("down.destroy", "volumed"),
    ("down.destroy", "running"),
    ("down.destroy", "featured"),
    ("down.destroy", "done"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{State, Step};
    use crate::machine::RunEnd;

    #[test]
    fn the_states_are_those_of_the_machine() {
        assert_eq!(CONTAINERS.states, State::ALL.map(State::name));
        assert_eq!(CONTAINERS.initial, State::Declared.name());
    }

    #[test]
    fn an_edge_stands_here_exactly_if_the_machine_has_it() {
        for from in State::ALL {
            for to in State::ALL {
                let rows = EDGES.iter().filter(|edge| **edge == (from.name(), to.name())).count();
                assert_eq!(rows, usize::from(from.leads_to(to)), "{from} -> {to}");
            }
        }
        assert_eq!(EDGES.len(), 7 + 3 + 7, "seven steps up, three falls back, seven ends");
    }

    #[test]
    fn a_run_ends_in_each_of_its_ends_and_only_there() {
        let ends: Vec<_> = RunEnd::ALL.map(|end| (RUNS.initial, end.name())).to_vec();
        assert_eq!(RUNS.edges, ends);
        assert_eq!(RUNS.states.len(), 1 + ends.len());
    }

    /// A step of every kind; the match makes a new kind stop the build here.
    fn every_step() -> Vec<Step> {
        let texts = [
            "template.fetch",
            "define.create",
            "define.clone",
            "define.mark",
            "clone.hold",
            "clone.release",
            "configure.set",
            "firewall.set",
            "finalize.start",
            "finalize.idmap",
            "finalize.stop",
            "snapshot.take",
            "volume.prepare[v]",
            "volume.attach[/v]",
            "volume.detach[/v]",
            "run.start",
            "run.ready",
            "feature.apply[f]",
            "application.run",
            "health.check[h]",
            "autostart.set",
            "down.stop",
            "down.destroy",
        ];
        texts.iter().map(|text| text.parse::<crate::ids::StepId>().expect("a step").step).collect()
    }

    /// The states in which a step may begin, said once more in the machine's own words: a step begins in the state below the
    /// one it leads into, and the others are named.
    fn begins_in(step: &Step) -> Vec<State> {
        match step {
            Step::TemplateFetch | Step::DefineCreate | Step::DefineClone => vec![State::Declared],
            // Again wherever a person says that it was lost.
            Step::DefineMark => State::ALL.to_vec(),
            Step::ConfigureSet | Step::FirewallSet => vec![State::Defined],
            Step::FinalizeStart | Step::FinalizeIdmap | Step::FinalizeStop => vec![State::Configured],
            Step::SnapshotTake | Step::VolumePrepare(_) | Step::VolumeAttach(_) => vec![State::Finalized],
            Step::VolumeDetach(_) | Step::RunStart | Step::RunReady => vec![State::Volumed],
            Step::FeatureApply(_) => vec![State::Running],
            Step::ApplicationRun | Step::HealthCheck(_) | Step::AutostartSet => vec![State::Featured],
            Step::CloneHold | Step::CloneRelease => vec![State::Volumed, State::Running, State::Featured, State::Done],
            Step::DownStop | Step::DownDestroy => State::ALL.to_vec(),
        }
    }

    #[test]
    fn a_step_may_begin_exactly_where_the_machine_takes_it() {
        for step in every_step() {
            for state in State::ALL {
                let rows = BEGINS.iter().filter(|row| **row == (step.base(), state.name())).count();
                assert_eq!(rows, usize::from(begins_in(&step).contains(&state)), "{} in {state}", step.base());
            }
        }
        let known: Vec<_> = every_step().iter().map(Step::base).collect();
        assert!(BEGINS.iter().all(|(step, _)| known.contains(step)), "a row for a step that does not exist");
    }

    #[test]
    fn what_a_state_needs_can_be_begun_before_it() {
        for (state, step) in NEEDS {
            let entered: State = state.parse().expect("a state");
            let below = BEGINS.iter().filter(|(base, _)| base == step);
            let below: Vec<State> = below.map(|(_, state)| state.parse().expect("a state")).collect();
            assert!(below.iter().any(|from| *from < entered), "{state} needs {step}");
        }
    }
}
