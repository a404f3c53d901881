//! A container whose state is known only at run time, going through the same typed transitions.
//!
//! What is read back from a journal comes to life here alone; a history that breaks the order ends in an error, not in a
//! container.

use std::collections::BTreeMap;

use phoenix_journal::Recorded;

use crate::ids::{FeatureName, State, Step, Target};
use crate::manifest::Spec;
use crate::plan::Repertoire;

use super::container::{
    Configured, Container, Declared, Defined, Done, Featured, Features, Finalized, Mounts, Running, Volumed, WrongEvidence,
};
use super::evidence::{Armed, Attached, Configuration, Finalization, Firewalled, Identity, Ran, RestorePoint, Subject, Up};
use super::outcome::Outcome;

/// A container in one of the eight states.
#[derive(Debug)]
pub enum AnyContainer {
    /// In the manifest.
    Declared(Container<Declared>),
    /// Created.
    Defined(Container<Defined>),
    /// Configured.
    Configured(Container<Configured>),
    /// Id map known.
    Finalized(Container<Finalized>),
    /// Volumes attached.
    Volumed(Container<Volumed>),
    /// Started.
    Running(Container<Running>),
    /// Features applied.
    Featured(Container<Featured>),
    /// Where it should be.
    Done(Container<Done>),
}

/// The evidence of one incarnation, as far as it has been recorded.
#[derive(Clone, Debug, Default)]
pub struct Proofs {
    identity: Option<Identity>,
    configuration: Option<Configuration>,
    firewall: Option<Firewalled>,
    finalization: Option<Finalization>,
    restore_point: Option<RestorePoint>,
    attached: BTreeMap<Target, Attached>,
    up: Option<Up>,
    ran: BTreeMap<FeatureName, Ran>,
    application: Option<Ran>,
    armed: Option<Armed>,
}

impl Proofs {
    /// Takes in what a recorded outcome shows; an outcome that shows nothing changes nothing.
    pub fn take(&mut self, outcome: &Recorded<Outcome>) {
        match &outcome.get().step.step {
            Step::DefineMark => keep(&mut self.identity, Identity::from_recorded(outcome)),
            Step::ConfigureSet => keep(&mut self.configuration, Configuration::from_recorded(outcome)),
            Step::FirewallSet => keep(&mut self.firewall, Firewalled::from_recorded(outcome)),
            Step::SnapshotTake => keep(&mut self.restore_point, RestorePoint::from_recorded(outcome)),
            Step::FinalizeIdmap => keep(&mut self.finalization, Finalization::from_recorded(outcome)),
            Step::VolumeAttach(target) => {
                if let Ok(attached) = Attached::from_recorded(outcome) {
                    self.attached.insert(target.clone(), attached);
                }
            }
            Step::RunReady => keep(&mut self.up, Up::from_recorded(outcome)),
            Step::FeatureApply(name) => {
                if let Ok(ran) = Ran::from_recorded(outcome) {
                    self.ran.insert(name.clone(), ran);
                }
            }
            Step::ApplicationRun => keep(&mut self.application, Ran::from_recorded(outcome)),
            Step::AutostartSet => keep(&mut self.armed, Armed::from_recorded(outcome)),
            // What these show is asked for by later steps of the same transition, not by a transition.
            Step::TemplateFetch
            | Step::DefineCreate
            | Step::DefineClone
            | Step::CloneHold
            | Step::CloneRelease
            | Step::FinalizeStart
            | Step::FinalizeStop
            | Step::VolumePrepare(_)
            | Step::VolumeDetach(_)
            | Step::RunStart
            | Step::HealthCheck(_)
            | Step::DownStop
            | Step::DownDestroy => {}
        }
    }

    /// The id map's proof, if the container has been finalized.
    pub fn finalization(&self) -> Option<&Finalization> {
        self.finalization.as_ref()
    }

    /// What rests on a living init is void.
    pub fn drop_live(&mut self) {
        self.up = None;
    }
}

/// What is told of a container can be told twice; see [`Life`](super::Life).
impl Clone for AnyContainer {
    fn clone(&self) -> Self {
        match self {
            Self::Declared(container) => Self::Declared(container.copied()),
            Self::Defined(container) => Self::Defined(container.copied()),
            Self::Configured(container) => Self::Configured(container.copied()),
            Self::Finalized(container) => Self::Finalized(container.copied()),
            Self::Volumed(container) => Self::Volumed(container.copied()),
            Self::Running(container) => Self::Running(container.copied()),
            Self::Featured(container) => Self::Featured(container.copied()),
            Self::Done(container) => Self::Done(container.copied()),
        }
    }
}

impl AnyContainer {
    /// A new incarnation.
    pub fn declare(subject: Subject) -> Self {
        Self::Declared(Container::declare(subject))
    }

    /// A history, through the typed transitions: `states` are the states that the journal says were entered, each after the
    /// outcomes recorded before it.
    pub fn restore<'a>(
        subject: Subject,
        spec: &Spec,
        repertoire: Repertoire,
        history: impl IntoIterator<Item = (&'a Recorded<Outcome>, Option<State>)>,
    ) -> Result<Self, OutOfTurn> {
        let mut proofs = Proofs::default();
        let mut container = Self::declare(subject);
        for (outcome, entered) in history {
            proofs.take(outcome);
            if let Some(state) = entered {
                container = container.enter(state, &proofs, spec, repertoire)?;
                match state {
                    // What was shown of a container says nothing of the next one.
                    State::Declared => proofs = Proofs::default(),
                    // Reached from above, or before there was anything alive.
                    State::Volumed => proofs.drop_live(),
                    State::Defined | State::Configured | State::Finalized | State::Running | State::Featured | State::Done => {}
                }
            }
        }
        Ok(container)
    }

    /// The state.
    pub fn state(&self) -> State {
        match self {
            Self::Declared(container) => container.state(),
            Self::Defined(container) => container.state(),
            Self::Configured(container) => container.state(),
            Self::Finalized(container) => container.state(),
            Self::Volumed(container) => container.state(),
            Self::Running(container) => container.state(),
            Self::Featured(container) => container.state(),
            Self::Done(container) => container.state(),
        }
    }

    /// Number and incarnation.
    pub fn subject(&self) -> Subject {
        match self {
            Self::Declared(container) => container.subject(),
            Self::Defined(container) => container.subject(),
            Self::Configured(container) => container.subject(),
            Self::Finalized(container) => container.subject(),
            Self::Volumed(container) => container.subject(),
            Self::Running(container) => container.subject(),
            Self::Featured(container) => container.subject(),
            Self::Done(container) => container.subject(),
        }
    }

    /// Goes to `to` by the typed transition, with what has been proved and what the spec asks for on its kind of host.
    pub fn enter(self, to: State, proofs: &Proofs, spec: &Spec, repertoire: Repertoire) -> Result<Self, OutOfTurn> {
        let (from, subject) = (self.state(), self.subject());
        let wrong = |why: WrongEvidence| OutOfTurn::Evidence { from, to, why };
        let missing = || OutOfTurn::Evidence { from, to, why: WrongEvidence::Missing { state: to } };
        match (self, to) {
            (Self::Declared(container), State::Defined) => {
                container.define(proofs.identity.clone().ok_or_else(missing)?).map(Self::Defined).map_err(wrong)
            }
            (Self::Defined(container), State::Configured) => {
                let wanted = repertoire.sets_firewall(spec);
                let firewall = if wanted { Some(proofs.firewall.as_ref().ok_or_else(missing)?) } else { None };
                container.configure(proofs.configuration.clone().ok_or_else(missing)?, firewall).map(Self::Configured).map_err(wrong)
            }
            (Self::Configured(container), State::Finalized) => {
                container.finalize(proofs.finalization.clone().ok_or_else(missing)?).map(Self::Finalized).map_err(wrong)
            }
            (Self::Finalized(container), State::Volumed) => {
                let targets = spec.mounts.iter().map(|mount| &mount.at);
                let mounts = Mounts::gather(subject, targets, |target| proofs.attached.get(target).cloned()).map_err(wrong)?;
                let wanted = repertoire.takes_snapshot(spec);
                let restore_point = if wanted { Some(proofs.restore_point.as_ref().ok_or_else(missing)?) } else { None };
                container.attach_volumes(mounts, restore_point).map(Self::Volumed).map_err(wrong)
            }
            (Self::Volumed(container), State::Running) => {
                container.run(proofs.up.clone().ok_or_else(missing)?).map(Self::Running).map_err(wrong)
            }
            (Self::Running(container), State::Featured) => {
                let names = spec.features.iter().map(|feature| &feature.name);
                let features = Features::gather(subject, names, |name| proofs.ran.get(name).cloned()).map_err(wrong)?;
                container.apply_features(features).map(Self::Featured).map_err(wrong)
            }
            (Self::Featured(_), State::Done)
                if spec.application.is_some() && proofs.application.as_ref().is_none_or(|ran| ran.subject() != subject) =>
            {
                Err(missing())
            }
            (Self::Featured(container), State::Done) => {
                container.finish(proofs.armed.clone().ok_or_else(missing)?).map(Self::Done).map_err(wrong)
            }
            (Self::Running(container), State::Volumed) => Ok(Self::Volumed(container.fall_back())),
            (Self::Featured(container), State::Volumed) => Ok(Self::Volumed(container.fall_back())),
            (Self::Done(container), State::Volumed) => Ok(Self::Volumed(container.fall_back())),
            (any, State::Declared) if from != State::Declared => Ok(any.end()),
            // Every other pair is no edge: skipping a state, standing still, going back.
            (
                Self::Declared(_)
                | Self::Defined(_)
                | Self::Configured(_)
                | Self::Finalized(_)
                | Self::Volumed(_)
                | Self::Running(_)
                | Self::Featured(_)
                | Self::Done(_),
                State::Declared
                | State::Defined
                | State::Configured
                | State::Finalized
                | State::Volumed
                | State::Running
                | State::Featured
                | State::Done,
            ) => Err(OutOfTurn::NoEdge { from, to }),
        }
    }

    fn end(self) -> Self {
        Self::Declared(match self {
            Self::Declared(container) => container.end(),
            Self::Defined(container) => container.end(),
            Self::Configured(container) => container.end(),
            Self::Finalized(container) => container.end(),
            Self::Volumed(container) => container.end(),
            Self::Running(container) => container.end(),
            Self::Featured(container) => container.end(),
            Self::Done(container) => container.end(),
        })
    }
}

/// Why a history was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfTurn {
    /// No edge leads there.
    #[error("no transition leads from {from} to {to}")]
    NoEdge {
        /// The state it was in.
        from: State,
        /// The state it was to enter.
        to: State,
    },
    /// The evidence is missing or belongs to another.
    #[error("the transition from {from} to {to} lacks its evidence")]
    Evidence {
        /// The state it was in.
        from: State,
        /// The state it was to enter.
        to: State,
        /// What is wrong with it.
        #[source]
        why: WrongEvidence,
    },
    /// An entry that cannot follow on what was before it.
    #[error("{what}")]
    Order {
        /// What is wrong, in one sentence.
        what: String,
    },
}

fn keep<T, E>(place: &mut Option<T>, found: Result<T, E>) {
    if let Ok(evidence) = found {
        *place = Some(evidence);
    }
}
