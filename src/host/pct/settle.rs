//! What became of an intent without outcome.
use crate::host::local::act::{Act, Taken};
use crate::host::local::settle::{done_if, or_absent};
use crate::machine::{Evidence, StepResult};
use crate::plan::{Action, HoldBy, Intent, Reason, SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES};
use crate::shim::JobResult;

use super::Pct;
use super::define::{AtPlace, partial};

/// What a worker of this intent is told by; see [`crate::shim::Inquiry::tasks`].
pub(super) fn tasks(intent: &Intent) -> Vec<String> {
    let ctid = intent.ctid;
    let of = |kinds: &[&str], ctid: crate::ids::Ctid| kinds.iter().map(|kind| format!("{kind}:{ctid}:")).collect();
    match &intent.action {
        Action::Create { .. } => of(&["vzcreate"], ctid),
        Action::TakeSnapshot => of(&["vzsnapshot"], ctid),
        // A download is about no container.
        Action::FetchTemplate => vec!["download:".to_owned()],
        // The id of a clone's task is its source's.
        Action::Clone { source, .. } => of(&["vzclone"], *source),
        Action::Hold { .. } | Action::Stop { .. } => of(&["vzstop", "vzshutdown", "vzsnapshot"], ctid),
        Action::Release => of(&["vzdelsnapshot"], ctid),
        Action::Configure => of(&["resize"], ctid),
        Action::Destroy => of(&["vzdestroy"], ctid),
        Action::Repair { .. } => of(&["vzdestroy", "vzdelsnapshot", "imgdel"], ctid),
        Action::Mark
        | Action::SetFirewall
        | Action::Start { .. }
        | Action::ReadIdmap { .. }
        | Action::Prepare { .. }
        | Action::Attach { .. }
        | Action::Detach { .. }
        | Action::AwaitReady { .. }
        | Action::RunScript { .. }
        | Action::AskHealth { .. }
        | Action::SetAutostart => Vec::new(),
    }
}

impl Act<'_, Pct> {
    /// The verdict on the step, with what its child left.
    pub(super) fn probe(&self, result: Option<&JobResult>) -> Taken {
        match &self.intent().action {
            Action::Create { .. } => match self.at_place("vzcreate", self.intent().ctid)? {
                AtPlace::Ours => Ok(Evidence::Created { left_out: 0 }),
                AtPlace::HalfMade(left) => Err(partial(&left)),
                AtPlace::Nothing => Err(Box::new(StepResult::Absent)),
            },
            Action::Clone { source, incarnation, from: _ } => match self.at_place("vzclone", *source)? {
                AtPlace::Ours => or_absent(self.cloned(*source, *incarnation)),
                AtPlace::HalfMade(left) => Err(partial(&left)),
                AtPlace::Nothing => Err(Box::new(StepResult::Absent)),
            },
            Action::Destroy => self.probe_destroyed(),
            Action::FetchTemplate => or_absent(self.fetched()),
            Action::Prepare { volume, idmap } => self.probe_prepared(volume, idmap),
            Action::Repair { leftover } => done_if(self.probe_repair(leftover)?, Evidence::Repaired),
            Action::Mark => match self.check_mark() {
                Err(_) if self.intent().reason == Reason::Asked => Err(Box::new(StepResult::Absent)),
                other => other.map(|()| Evidence::Marked),
            },
            Action::Hold { .. }
            | Action::Release
            | Action::Configure
            | Action::SetFirewall
            | Action::TakeSnapshot
            | Action::Start { .. }
            | Action::ReadIdmap { .. }
            | Action::Stop { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart => {
                self.check_mark()?;
                self.probe_marked(result)
            }
        }
    }

    /// The verdict on a step of a container that is there and ours.
    fn probe_marked(&self, result: Option<&JobResult>) -> Taken {
        match &self.intent().action {
            Action::Hold { init: _, by: by @ HoldBy::Stop } => done_if(self.up()?.is_down(), Evidence::Held { by: *by }),
            Action::Hold { init: _, by: by @ HoldBy::Snapshot } => {
                self.probe_snapshot(SNAPSHOT_FOR_CLONES).map(|()| Evidence::Held { by: *by })
            }
            Action::TakeSnapshot => self.probe_snapshot(SNAPSHOT_BEFORE_VOLUMES).map(|()| self.snapshot_taken()),
            Action::SetFirewall => or_absent(self.firewall_set()),
            Action::Stop { .. } => done_if(self.up()?.is_down(), Evidence::Stopped),
            Action::Release => self.probe_released(),
            Action::Configure => or_absent(self.configured()),
            Action::Start { idmap, sources, .. } => self.probe_started(idmap, sources),
            Action::ReadIdmap { init } => self.read_idmap(init),
            Action::Attach { mount, source, idmap } => {
                let sound = crate::host::ownership::verify_for(&mount.volume, source, idmap, &self.local.grounds).is_ok();
                or_absent(self.attached(mount, source)).and_then(|evidence| done_if(sound, evidence))
            }
            Action::Detach { mount } => done_if(self.attached_at(&mount.at)?.is_empty(), Evidence::Detached),
            Action::AwaitReady { init } => self.probe_ready(init),
            Action::RunScript { init } => self.probe_script(init, result),
            Action::AskHealth { init } => self.probe_health(init, result),
            Action::SetAutostart => or_absent(self.autostart_set()),
            Action::FetchTemplate
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Prepare { .. }
            | Action::Destroy
            | Action::Repair { .. } => Err(Box::new(StepResult::Unknown { why: "a step that is looked at elsewhere".to_owned() })),
        }
    }
}
