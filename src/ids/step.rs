//! The names of steps: the smallest journaled piece of a transition.
//!
//! Apart because their text is an on-disk format: an id never changes its meaning, later ones are added. Not here: what a
//! step does or in which state it may be taken.

use std::fmt;
use std::str::FromStr;

use super::{FeatureName, HealthName, Target, VolumeName};

/// What is done, without the question whether it is the step itself or its repair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    /// Fetch the template, where the host keeps templates in a store and does not have it yet.
    TemplateFetch,
    /// Create the container from a template.
    DefineCreate,
    /// Create the container as a copy of another.
    DefineClone,
    /// See (and where the host needs it, write) the identity mark.
    DefineMark,
    /// Keep a clone source as it is while it is copied: down, or as a snapshot while it goes on.
    CloneHold,
    /// Let go of a clone source: it may be started again, its snapshot is deleted.
    CloneRelease,
    /// Bring the container's configuration to its spec.
    ConfigureSet,
    /// Write the container's own rules into the host's firewall.
    FirewallSet,
    /// Start the container for the first time, so that its id map exists.
    FinalizeStart,
    /// Read the id map from the kernel.
    FinalizeIdmap,
    /// Stop the container after its first start.
    FinalizeStop,
    /// Take a snapshot to go back to, before the first shared directory is attached.
    SnapshotTake,
    /// Give a shared directory its owner and mode.
    VolumePrepare(VolumeName),
    /// Attach a shared volume at a target.
    VolumeAttach(Target),
    /// Detach a shared volume from a target.
    VolumeDetach(Target),
    /// Start the container for regular operation.
    RunStart,
    /// Wait until the started container is ready.
    RunReady,
    /// Run one feature script inside.
    FeatureApply(FeatureName),
    /// Run the application script inside.
    ApplicationRun,
    /// Ask one health check.
    HealthCheck(HealthName),
    /// Set whether, and in which order, the host starts the container at boot.
    AutostartSet,
    /// Stop the container in order to destroy it.
    DownStop,
    /// Destroy the container.
    DownDestroy,
}

impl Step {
    /// The id without its name part: `volume.attach` of `volume.attach[/srv]`.
    pub fn base(&self) -> &'static str {
        match self {
            Self::TemplateFetch => "template.fetch",
            Self::DefineCreate => "define.create",
            Self::DefineClone => "define.clone",
            Self::DefineMark => "define.mark",
            Self::CloneHold => "clone.hold",
            Self::CloneRelease => "clone.release",
            Self::ConfigureSet => "configure.set",
            Self::FirewallSet => "firewall.set",
            Self::FinalizeStart => "finalize.start",
            Self::FinalizeIdmap => "finalize.idmap",
            Self::FinalizeStop => "finalize.stop",
            Self::SnapshotTake => "snapshot.take",
            Self::VolumePrepare(_) => "volume.prepare",
            Self::VolumeAttach(_) => "volume.attach",
            Self::VolumeDetach(_) => "volume.detach",
            Self::RunStart => "run.start",
            Self::RunReady => "run.ready",
            Self::FeatureApply(_) => "feature.apply",
            Self::ApplicationRun => "application.run",
            Self::HealthCheck(_) => "health.check",
            Self::AutostartSet => "autostart.set",
            Self::DownStop => "down.stop",
            Self::DownDestroy => "down.destroy",
        }
    }

    /// The name part, if this kind of step has one.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::VolumePrepare(name) => Some(name.as_str()),
            Self::VolumeAttach(target) | Self::VolumeDetach(target) => Some(target.as_str()),
            Self::FeatureApply(name) => Some(name.as_str()),
            Self::HealthCheck(name) => Some(name.as_str()),
            Self::TemplateFetch
            | Self::DefineCreate
            | Self::DefineClone
            | Self::DefineMark
            | Self::CloneHold
            | Self::CloneRelease
            | Self::ConfigureSet
            | Self::FirewallSet
            | Self::FinalizeStart
            | Self::FinalizeIdmap
            | Self::FinalizeStop
            | Self::SnapshotTake
            | Self::RunStart
            | Self::RunReady
            | Self::ApplicationRun
            | Self::AutostartSet
            | Self::DownStop
            | Self::DownDestroy => None,
        }
    }

    /// Whether what this step achieves lasts only while the init it recorded lives.
    pub fn is_volatile(&self) -> bool {
        matches!(self, Self::FinalizeStart | Self::RunStart | Self::RunReady)
    }

    /// Whether this step runs a person's script, which is never repeated without a journaled reason.
    pub fn is_script(&self) -> bool {
        matches!(self, Self::FeatureApply(_) | Self::ApplicationRun)
    }

    /// This step as the journal names it.
    pub fn id(self) -> StepId {
        StepId { step: self, repair: false }
    }

    /// The repair of this step as the journal names it.
    pub fn repair(self) -> StepId {
        StepId { step: self, repair: true }
    }
}

/// A step or the repair of one: `volume.attach[/srv/media]`, `define.create.repair`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId {
    /// What is done, or put right.
    pub step: Step,
    /// Whether what a partial step left is put right, rather than the step taken.
    pub repair: bool,
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.step.base())?;
        if let Some(name) = self.step.name() {
            write!(f, "[{name}]")?;
        }
        f.write_str(if self.repair { ".repair" } else { "" })
    }
}

/// Why a text is no [`StepId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no step this version of phoenix knows")]
pub struct StepParseError {
    /// What was read.
    pub given: String,
}

impl FromStr for StepId {
    type Err = StepParseError;

    fn from_str(text: &str) -> Result<Self, StepParseError> {
        let unknown = || StepParseError { given: text.to_owned() };
        let (rest, repair) = text.strip_suffix(".repair").map_or((text, false), |rest| (rest, true));
        let (base, name) = match rest.split_once('[') {
            Some((base, tail)) => (base, Some(tail.strip_suffix(']').ok_or_else(unknown)?)),
            None => (rest, None),
        };
        parse_step(base, name).map(|step| StepId { step, repair }).ok_or_else(unknown)
    }
}

fn parse_step(base: &str, name: Option<&str>) -> Option<Step> {
    match (base, name) {
        ("template.fetch", None) => Some(Step::TemplateFetch),
        ("define.create", None) => Some(Step::DefineCreate),
        ("define.clone", None) => Some(Step::DefineClone),
        ("define.mark", None) => Some(Step::DefineMark),
        ("clone.hold", None) => Some(Step::CloneHold),
        ("clone.release", None) => Some(Step::CloneRelease),
        ("configure.set", None) => Some(Step::ConfigureSet),
        ("firewall.set", None) => Some(Step::FirewallSet),
        ("finalize.start", None) => Some(Step::FinalizeStart),
        ("finalize.idmap", None) => Some(Step::FinalizeIdmap),
        ("finalize.stop", None) => Some(Step::FinalizeStop),
        ("snapshot.take", None) => Some(Step::SnapshotTake),
        ("volume.prepare", Some(name)) => name.parse().ok().map(Step::VolumePrepare),
        ("volume.attach", Some(name)) => name.parse().ok().map(Step::VolumeAttach),
        ("volume.detach", Some(name)) => name.parse().ok().map(Step::VolumeDetach),
        ("run.start", None) => Some(Step::RunStart),
        ("run.ready", None) => Some(Step::RunReady),
        ("feature.apply", Some(name)) => name.parse().ok().map(Step::FeatureApply),
        ("application.run", None) => Some(Step::ApplicationRun),
        ("health.check", Some(name)) => name.parse().ok().map(Step::HealthCheck),
        ("autostart.set", None) => Some(Step::AutostartSet),
        ("down.stop", None) => Some(Step::DownStop),
        ("down.destroy", None) => Some(Step::DownDestroy),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn step_ids_come_back_from_their_text() {
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
            "volume.prepare[media]",
            "volume.attach[/srv/media]",
            "volume.detach[/srv/media]",
            "run.start",
            "run.ready",
            "feature.apply[base]",
            "application.run",
            "health.check[http]",
            "autostart.set",
            "down.stop",
            "down.destroy",
            "define.create.repair",
            "volume.attach[/srv.repair].repair",
            "volume.attach[/srv.repair]",
        ];
        for text in texts {
            assert_eq!(text.parse::<StepId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn unknown_steps_are_no_steps() {
        for text in
            ["", "define", "define.create[x]", "volume.attach", "volume.attach[srv]", "volume.attach[/srv", "run.start.repair.repair"]
        {
            assert!(text.parse::<StepId>().is_err(), "{text:?}");
        }
    }
}
