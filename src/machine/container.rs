//! The typestate: `Container<S>`, one type per state.
//!
//! A transition consumes the container and takes the evidence that the state needs; evidence that speaks of another
//! physical container is refused. There is no other way from one state to the next, so an order that is broken does not
//! compile. [`super::AnyContainer`] is the same with the state known only at run time.

use crate::ids::{Ctid, FeatureName, State, Target};

use super::evidence::{Armed, Attached, Configuration, Finalization, Firewalled, Identity, Ran, RestorePoint, Subject, Up};

mod sealed {
    pub trait Sealed {}
}

/// The states as types. Sealed: there are these eight and no others.
pub trait Stage: sealed::Sealed {
    /// The state's name.
    const STATE: State;
}

macro_rules! stages {
    ($($(#[$doc:meta])* $name:ident { $($field:ident : $type:ty),* }),* $(,)?) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Debug)]
            pub struct $name { $($field: $type),* }
            impl sealed::Sealed for $name {}
            impl Stage for $name { const STATE: State = State::$name; }
        )*
    };
}

stages! {
    /// In the manifest; nothing on the host.
    Declared {},
    /// Created and marked as ours.
    Defined { identity: Identity },
    /// Configured as the spec says.
    Configured { configuration: Configuration },
    /// Its id map is known.
    Finalized { finalization: Finalization },
    /// Shared volumes attached.
    Volumed { finalization: Finalization, mounts: Mounts },
    /// Started and ready.
    Running { finalization: Finalization, mounts: Mounts, up: Up },
    /// Every feature applied.
    Featured { finalization: Finalization, mounts: Mounts, up: Up, features: Features },
    /// Where it should be.
    Done { finalization: Finalization, mounts: Mounts, up: Up, features: Features, armed: Armed },
}

/// A container in state `S`.
#[derive(Debug)]
pub struct Container<S: Stage> {
    subject: Subject,
    stage: S,
}

/// Evidence that does not go with the container, or is not complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongEvidence {
    /// It speaks of another container or another incarnation.
    #[error("the evidence belongs to container {found} in another incarnation than container {wanted}'s present one")]
    Subject {
        /// The container.
        wanted: Ctid,
        /// Whom the evidence speaks of.
        found: Ctid,
    },
    /// A volume that the spec asks for was not shown to be attached.
    #[error("no evidence that a volume is attached at {target}")]
    Mount {
        /// Where inside.
        target: Target,
    },
    /// A feature that the spec asks for was not shown to be applied.
    #[error("no evidence that feature {feature} was applied")]
    Feature {
        /// The feature.
        feature: FeatureName,
    },
    /// A piece of evidence is missing altogether.
    #[error("no evidence for state {state}")]
    Missing {
        /// The state it is needed for.
        state: State,
    },
}

/// Every volume that the spec asks for, attached.
#[derive(Clone, Debug)]
pub struct Mounts {
    subject: Subject,
}

impl Mounts {
    /// Takes the targets that the spec asks for, and the evidence there is; refuses if one is missing.
    pub fn gather<'a>(
        subject: Subject,
        targets: impl IntoIterator<Item = &'a Target>,
        evidence: impl Fn(&Target) -> Option<Attached>,
    ) -> Result<Self, WrongEvidence> {
        for target in targets {
            let attached = evidence(target).filter(|attached| attached.target() == target);
            let attached = attached.ok_or_else(|| WrongEvidence::Mount { target: target.clone() })?;
            check_subject(subject, attached.subject())?;
        }
        Ok(Self { subject })
    }
}

/// Every feature that the spec asks for, applied.
#[derive(Clone, Debug)]
pub struct Features {
    subject: Subject,
}

impl Features {
    /// Takes the features that the spec asks for, and the evidence there is; refuses if one is missing.
    pub fn gather<'a>(
        subject: Subject,
        names: impl IntoIterator<Item = &'a FeatureName>,
        evidence: impl Fn(&FeatureName) -> Option<Ran>,
    ) -> Result<Self, WrongEvidence> {
        for name in names {
            let ran = evidence(name).ok_or_else(|| WrongEvidence::Feature { feature: name.clone() })?;
            check_subject(subject, ran.subject())?;
        }
        Ok(Self { subject })
    }
}

impl<S: Stage> Container<S> {
    /// The container's number.
    pub fn ctid(&self) -> Ctid {
        self.subject.ctid()
    }

    /// Number and incarnation.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// Its state.
    pub fn state(&self) -> State {
        S::STATE
    }

    /// Takes the container out of the order: it was destroyed or forgotten, and a new incarnation begins as `Declared`.
    pub fn end(self) -> Container<Declared> {
        Container { subject: self.subject, stage: Declared {} }
    }

    /// The same account a second time, for [`super::AnyContainer`] alone: whoever holds a container cannot use it twice.
    pub(super) fn copied(&self) -> Self
    where
        S: Clone,
    {
        Self { subject: self.subject, stage: self.stage.clone() }
    }

    fn with<N: Stage>(self, evidence: Subject, next: impl FnOnce(S) -> N) -> Result<Container<N>, WrongEvidence> {
        check_subject(self.subject, evidence)?;
        Ok(Container { subject: self.subject, stage: next(self.stage) })
    }
}

impl Container<Declared> {
    /// A new incarnation.
    pub fn declare(subject: Subject) -> Self {
        Self { subject, stage: Declared {} }
    }

    /// Created and marked.
    pub fn define(self, identity: Identity) -> Result<Container<Defined>, WrongEvidence> {
        self.with(identity.subject(), |Declared {}| Defined { identity })
    }
}

impl Container<Defined> {
    /// What shows that it is ours.
    pub fn identity(&self) -> &Identity {
        &self.stage.identity
    }

    /// Configured; the host's firewall as well, if the spec asks for it.
    pub fn configure(self, configuration: Configuration, firewall: Option<&Firewalled>) -> Result<Container<Configured>, WrongEvidence> {
        firewall.map_or(Ok(()), |firewall| check_subject(self.subject, firewall.subject()))?;
        self.with(configuration.subject(), |Defined { identity: _ }| Configured { configuration })
    }
}

impl Container<Configured> {
    /// What shows that it is configured.
    pub fn configuration(&self) -> &Configuration {
        &self.stage.configuration
    }

    /// Started and stopped once, with the id map as evidence.
    pub fn finalize(self, finalization: Finalization) -> Result<Container<Finalized>, WrongEvidence> {
        self.with(finalization.subject(), |Configured { configuration: _ }| Finalized { finalization })
    }
}

impl Container<Finalized> {
    /// The id map's proof.
    pub fn finalization(&self) -> &Finalization {
        &self.stage.finalization
    }

    /// Volumes attached, after the snapshot to go back to, if the spec asks for one. This is the only state that can attach them.
    pub fn attach_volumes(self, mounts: Mounts, restore_point: Option<&RestorePoint>) -> Result<Container<Volumed>, WrongEvidence> {
        restore_point.map_or(Ok(()), |point| check_subject(self.subject, point.subject()))?;
        self.with(mounts.subject, |Finalized { finalization }| Volumed { finalization, mounts })
    }
}

impl Container<Volumed> {
    /// Started and ready.
    pub fn run(self, up: Up) -> Result<Container<Running>, WrongEvidence> {
        self.with(up.subject(), |Volumed { finalization, mounts }| Running { finalization, mounts, up })
    }
}

impl Container<Running> {
    /// Every feature applied.
    pub fn apply_features(self, features: Features) -> Result<Container<Featured>, WrongEvidence> {
        self.with(features.subject, |Running { finalization, mounts, up }| Featured { finalization, mounts, up, features })
    }
}

impl Container<Featured> {
    /// Application run, healthy, autostart set.
    pub fn finish(self, armed: Armed) -> Result<Container<Done>, WrongEvidence> {
        self.with(armed.subject(), |Featured { finalization, mounts, up, features }| Done { finalization, mounts, up, features, armed })
    }
}

impl Container<Done> {
    /// What shows that every feature was applied.
    pub fn features(&self) -> &Features {
        &self.stage.features
    }

    /// What shows that autostart was set.
    pub fn armed(&self) -> &Armed {
        &self.stage.armed
    }
}

/// The states that rest on a living init.
pub trait Live: Stage + Sized {
    /// The init it rests on.
    fn up(&self) -> &Up;
    /// What is left when the init is gone.
    fn without_init(self) -> Volumed;
}

macro_rules! live {
    ($($stage:ident),*) => {$(
        impl Live for $stage {
            fn up(&self) -> &Up { &self.up }
            fn without_init(self) -> Volumed { Volumed { finalization: self.finalization, mounts: self.mounts } }
        }
    )*};
}

live!(Running, Featured, Done);

impl<S: Live> Container<S> {
    /// The init it rests on.
    pub fn up(&self) -> &Up {
        self.stage.up()
    }

    /// The init is gone, or a clone holds the container down: back to `Volumed`. What was attached stays attached.
    pub fn fall_back(self) -> Container<Volumed> {
        Container { subject: self.subject, stage: self.stage.without_init() }
    }
}

fn check_subject(wanted: Subject, found: Subject) -> Result<(), WrongEvidence> {
    if wanted == found { Ok(()) } else { Err(WrongEvidence::Subject { wanted: wanted.ctid(), found: found.ctid() }) }
}
