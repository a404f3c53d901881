//! The steps of each transition.
//!
//! The one place that says which steps lead into a state and in which order; the journal's tables, the engine and the
//! documents follow it.

use crate::ids::{State, Step};
use crate::manifest::{Origin, Spec};

/// The steps that lead into `state` from its neighbour below, in order. Empty for `Declared`, and for a transition for
/// which this spec asks nothing (no volumes, no features).
pub fn steps_into(state: State, spec: &Spec) -> Vec<Step> {
    match state {
        State::Declared => Vec::new(),
        State::Defined => match spec.origin {
            Origin::Template(_) => vec![Step::DefineCreate, Step::DefineMark],
            Origin::Clone { .. } => vec![Step::DefineClone, Step::DefineMark],
        },
        State::Configured if phoenix_journal::sabotaged("volumes_come_before_finalization") => {
            [vec![Step::ConfigureSet], volume_steps(spec)].concat()
        }
        State::Configured => vec![Step::ConfigureSet],
        State::Finalized => vec![Step::FinalizeStart, Step::FinalizeIdmap, Step::FinalizeStop],
        State::Volumed => volume_steps(spec),
        State::Running => vec![Step::RunStart, Step::RunReady],
        State::Featured => spec.features.iter().map(|feature| Step::FeatureApply(feature.name.clone())).collect(),
        State::Done => last_steps(spec),
    }
}

/// Every directory is prepared before the first is attached, and a directory attached twice is prepared once.
fn volume_steps(spec: &Spec) -> Vec<Step> {
    let mut steps = Vec::new();
    for mount in &spec.mounts {
        let prepare = Step::VolumePrepare(mount.volume.name.clone());
        if !steps.contains(&prepare) {
            steps.push(prepare);
        }
    }
    steps.extend(spec.mounts.iter().map(|mount| Step::VolumeAttach(mount.at.clone())));
    steps
}

/// Autostart comes last: a host that comes back must not start half-made containers.
fn last_steps(spec: &Spec) -> Vec<Step> {
    let application = spec.application.iter().map(|_| Step::ApplicationRun);
    let health = spec.health.iter().map(|check| Step::HealthCheck(check.name.clone()));
    let mut steps: Vec<Step> = application.chain(health).chain([Step::AutostartSet]).collect();
    if phoenix_journal::sabotaged("autostart_comes_first") {
        steps.rotate_right(1);
    }
    steps
}
