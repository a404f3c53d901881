//! The steps of each transition.
//!
//! The one place that says which steps lead into a state and in which order; the journal's tables, the engine and the
//! documents follow it.

use crate::ids::{HostKind, State, Step};
use crate::manifest::{Origin, Spec, Template};

/// Which steps the host of a declaration has. It stands in the declaration, so that what a spec asks of one kind of host is
/// nothing on another, and nothing in what builds declared that did not know these steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repertoire {
    /// Those that every host has.
    #[default]
    Common,
    /// Those of Proxmox as well: `template.fetch`, `firewall.set`, `snapshot.take`.
    Proxmox,
}

impl Repertoire {
    /// That of a kind of host.
    pub fn of(kind: HostKind) -> Self {
        match kind {
            HostKind::Lxc => Self::Common,
            // The simulator has Proxmox's rules.
            HostKind::Pct | HostKind::Sim => Self::Proxmox,
        }
    }

    /// The template that the host fetches into its store before the container is made from it.
    pub fn fetched_template(self, spec: &Spec) -> Option<&str> {
        match (self, &spec.origin) {
            (Self::Proxmox, Origin::Template(Template::Stored(name))) if spec.host_options.fetch_template => Some(name),
            (Self::Common | Self::Proxmox, Origin::Template(_) | Origin::Clone { .. }) => None,
        }
    }

    /// Whether the host's firewall is told of the container.
    pub fn sets_firewall(self, spec: &Spec) -> bool {
        match self {
            Self::Common => false,
            Self::Proxmox => spec.host_options.firewall.is_some(),
        }
    }

    /// Whether a snapshot to go back to is taken before the first volume is attached.
    pub fn takes_snapshot(self, spec: &Spec) -> bool {
        match self {
            Self::Common => false,
            Self::Proxmox => spec.host_options.snapshot_before_volumes,
        }
    }
}

/// The steps that lead into `state` from its neighbour below, in order. Empty for `Declared`, and for a transition for
/// which this spec asks nothing of this host (no volumes, no features).
pub fn steps_into(state: State, spec: &Spec, repertoire: Repertoire) -> Vec<Step> {
    match state {
        State::Declared => Vec::new(),
        State::Defined => {
            let fetch = repertoire.fetched_template(spec).map(|_| Step::TemplateFetch);
            let define = match spec.origin {
                Origin::Template(_) => Step::DefineCreate,
                Origin::Clone { .. } => Step::DefineClone,
            };
            fetch.into_iter().chain([define, Step::DefineMark]).collect()
        }
        State::Configured if phoenix_journal::sabotaged("volumes_come_before_finalization") => {
            [vec![Step::ConfigureSet], volume_steps(spec)].concat()
        }
        State::Configured => {
            let firewall = repertoire.sets_firewall(spec).then_some(Step::FirewallSet);
            [Step::ConfigureSet].into_iter().chain(firewall).collect()
        }
        State::Finalized => vec![Step::FinalizeStart, Step::FinalizeIdmap, Step::FinalizeStop],
        State::Volumed => {
            // Before the volumes: a host refuses a snapshot of a container with directories of its own attached.
            let snapshot = repertoire.takes_snapshot(spec).then_some(Step::SnapshotTake);
            snapshot.into_iter().chain(volume_steps(spec)).collect()
        }
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
