//! Taking a container away, and putting right what was left half-done.
//!
//! The rename comes first: from then on nothing at the place is ours, and what is left bears our incarnation in its name. Not
//! here: stopping.

use crate::ids::Step;
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::shim::ResultPlace;

use super::super::local::act::{Act, Taken, at, failed, io_failed};
use super::super::local::durable;
use super::{Lxc, observe, removal};

impl Act<'_, Lxc> {
    pub(super) fn destroy(&self) -> Taken {
        let (layout, intent) = (&self.host.layout, self.intent());
        let gone = layout.gone(intent.ctid, intent.incarnation);
        match self.check_mark() {
            Err(_) if phoenix_journal::sabotaged("strangers_are_destroyed") => {}
            // Renamed away by an attempt before, and perhaps the place is somebody else's by now.
            Err(_) if gone.exists() => return self.finish_destroying(),
            // Nothing is there: what its scripts left goes as well.
            Err(result) if *result == StepResult::Gone => return self.finish_destroying(),
            other => other?,
        }
        if !observe::up(layout, intent.ctid).map_err(|error| io_failed("look at the container", &error))?.is_down() {
            return Err(failed(FailureClass::Transient, "the container is up; it is stopped before it is destroyed"));
        }
        self.remove_control_groups();
        let place = layout.container(intent.ctid);
        durable::rename_no_replace(&place, &gone).map_err(at("rename", &place))?;
        self.finish_destroying()
    }

    pub(super) fn repair(&self) -> Taken {
        let (layout, intent) = (&self.host.layout, self.intent());
        match &intent.step.step {
            Step::DefineCreate | Step::DefineClone => {
                let staging = layout.staging(intent.ctid, intent.incarnation);
                removal::remove_tree(&staging).map_err(at("remove", &staging))?;
                durable::sync_directory(layout.path()).map_err(at("sync", layout.path()))?;
            }
            Step::DownDestroy => {
                self.finish_destroying()?;
            }
            Step::FinalizeStart | Step::RunStart => {
                self.check_mark()?;
                self.put_down(None)?;
            }
            // These are whole or not there; nothing of them can be partial on this host.
            Step::TemplateFetch
            | Step::FirewallSet
            | Step::SnapshotTake
            | Step::DefineMark
            | Step::CloneHold
            | Step::CloneRelease
            | Step::ConfigureSet
            | Step::FinalizeIdmap
            | Step::FinalizeStop
            | Step::VolumePrepare(_)
            | Step::VolumeAttach(_)
            | Step::VolumeDetach(_)
            | Step::RunReady
            | Step::FeatureApply(_)
            | Step::ApplicationRun
            | Step::HealthCheck(_)
            | Step::AutostartSet
            | Step::DownStop => {}
        }
        Ok(Evidence::Repaired)
    }

    fn finish_destroying(&self) -> Taken {
        let (layout, intent) = (&self.host.layout, self.intent());
        // Before the tree, by which it is told after a crash whether all of this was done.
        let lasting = ResultPlace::lasting(&self.local.state, intent.ctid, intent.incarnation);
        let passing = ResultPlace::of_this_boot(&self.local.runtime, intent.ctid, intent.incarnation);
        for place in [lasting, passing] {
            place.remove().map_err(at("remove", place.path()))?;
        }
        for leftover in [layout.gone(intent.ctid, intent.incarnation), layout.staging(intent.ctid, intent.incarnation)] {
            removal::remove_tree(&leftover).map_err(|error| {
                let leftover = leftover.display().to_string();
                // Somebody mounted something there: only a person can tell whether it may go. The repair says so, since it is
                // what has to be taken again.
                if intent.step.repair && error.kind() == std::io::ErrorKind::ResourceBusy {
                    return failed(FailureClass::Permanent, format!("cannot remove {leftover}: {error}"));
                }
                Box::new(StepResult::Partial { leftover: format!("{leftover}: {error}") })
            })?;
        }
        durable::sync_directory(layout.path()).map_err(at("sync", layout.path()))?;
        Ok(Evidence::Destroyed)
    }
}
