//! What became of an intent without outcome.
//!
//! The world is looked at with the locks held and nothing in flight any more ([`crate::host::local::settle`]). Nothing is
//! changed here. `docs/proxmox-doubts.md` has the table at length, with what is told from a stranger's by what, and the tests.
//!
//! | step in doubt | verdict |
//! |---|---|
//! | any | lock held by others past the deadline: waits for the lock; processes of the step that cannot be ended: undead |
//! | any but `define.*`, `template.fetch`, `volume.prepare`, `down.destroy`, repairs | no configuration: `Gone`; no mark: mark missing; another's mark: `Foreign`; mark of an incarnation never declared, or of a later epoch: journal older |
//! | `template.fetch` | the storage has the file: `Done`; else `Absent` |
//! | `define.create` | whole with our mark: `Done`; `lock: create`, with or without volume and mount, or those alone: `Partial` if this intent made it, else `Foreign`; whole with our mark, and its task's log without the end of the unpacking, or a mount left: `Partial`; nothing: `Absent` |
//! | `define.clone` | as `define.create`; `lock: disk` on the source: `Partial` if this intent made it and was not refused for it; whole with settings of its source: `Absent` |
//! | `define.mark` | mark ours: `Done`; missing, and a person asked for it to be written: `Absent`; else as above |
//! | `clone.hold` by snapshot, `snapshot.take` | whole and not locked: `Done`; none: `Absent`; `snapstate` or a snapshot's lock: `Partial` |
//! | `clone.release` | no snapshot: `Done`; whole: `Absent`; `snapstate` or a snapshot's lock: `Partial` |
//! | `clone.hold` by stopping, `finalize.stop`, `down.stop` | neither init nor monitor: `Done`; else `Absent` |
//! | `configure.set` | the file says it, or will at the next start: `Done`; else `Absent` |
//! | `autostart.set`, `firewall.set` | the file says it, in force and after the next start: `Done`; else `Absent` |
//! | `finalize.start`, `run.start` | a `pct start` at work is waited for, past the deadline it is `Partial`; init up, its map and the sources as wanted and mounted in it: `Done`; else `Absent` |
//! | `finalize.idmap` | init lost: failed; map as planned: `Done`; else the drift it is |
//! | `volume.prepare` | owner and mode as wanted and not recursive: `Done`; else `Absent` |
//! | `volume.attach` | the mount point is there and the source is the same: `Done`; else `Absent` |
//! | `volume.detach` | no mount point at the target: `Done`; else `Absent` |
//! | `run.ready` | init lost: failed; else `Absent` |
//! | `feature.apply`, `application.run` | a result: what it says; none: `Interrupted` |
//! | `health.check` | a result of 0: `Done`; init lost: failed; else `Absent` |
//! | `down.destroy` | configuration with our mark: `Absent`; `lock: destroyed` alone, if this intent made it so, or volumes, mounts or results without a configuration: `Partial`; nothing: `Done` |
//! | a repair | nothing half-made is left: `Done`; else `Absent` |

use crate::host::local::act::{Act, Taken};
use crate::host::local::settle::{done_if, or_absent};
use crate::ids::Ctid;
use crate::machine::{Evidence, StepResult};
use crate::plan::{Action, HoldBy, Intent, Reason, SNAPSHOT_BEFORE_VOLUMES, SNAPSHOT_FOR_CLONES};
use crate::shim::JobResult;

use super::define::{AtPlace, partial};
use super::leftover::Leftover;
use super::{Pct, snapshot};

/// What a worker of this intent is told by; see [`crate::shim::Inquiry::tasks`].
pub(super) fn tasks(intent: &Intent) -> Vec<String> {
    tasks_of(&intent.action, intent.ctid)
}

fn tasks_of(action: &Action, ctid: Ctid) -> Vec<String> {
    let of = |kinds: &[&str], ctid: Ctid| kinds.iter().map(|kind| format!("{kind}:{ctid}:")).collect::<Vec<_>>();
    // A volume is freed by a task of `pvesm free`, and where that takes long by one of its own, which names nothing. From Proxmox's
    // source, not yet run.
    let freeing = |tasks: Vec<String>| tasks.into_iter().chain(["imgdel::".to_owned(), format!("imgdel:{ctid}@")]).collect();
    match action {
        Action::Create { .. } => freeing(of(&["vzcreate"], ctid)),
        Action::TakeSnapshot => of(&["vzsnapshot"], ctid),
        // A download is about no container.
        Action::FetchTemplate => vec!["download:".to_owned()],
        // The id of a clone's task is its source's.
        Action::Clone { source, .. } => freeing(of(&["vzclone"], *source)),
        Action::Hold { .. } | Action::Stop { .. } => of(&["vzstop", "vzshutdown", "vzsnapshot"], ctid),
        Action::Release => of(&["vzdelsnapshot"], ctid),
        Action::Configure => of(&["resize"], ctid),
        // Others may have started it without its directories; `pct start` itself bears nothing to be told by.
        Action::Start { .. } => of(&["vzshutdown"], ctid),
        Action::Destroy => freeing(of(&["vzdestroy"], ctid)),
        Action::Repair { .. } => freeing(of(&["vzdestroy", "vzdelsnapshot"], ctid)),
        Action::Mark
        | Action::SetFirewall
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
            Action::Create { .. } => match self.at_place("vzcreate", self.intent().ctid, result)? {
                AtPlace::Ours => self.check_synced(result).and_then(|()| self.durable(Evidence::Created { left_out: 0 })),
                AtPlace::HalfMade(left) => Err(partial(&left)),
                AtPlace::Nothing => Err(Box::new(StepResult::Absent)),
            },
            Action::Clone { source, incarnation, from: _ } => match self.at_place("vzclone", *source, result)? {
                AtPlace::Ours => {
                    self.check_synced(result)?;
                    or_absent(self.cloned(*source, *incarnation)).and_then(|evidence| self.durable(evidence))
                }
                AtPlace::HalfMade(left) => Err(partial(&left)),
                AtPlace::Nothing => Err(Box::new(StepResult::Absent)),
            },
            Action::Destroy => self.probe_destroyed().and_then(|evidence| self.durable(evidence)),
            Action::FetchTemplate => or_absent(self.fetched()).and_then(|evidence| self.durable(evidence)),
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

    /// What this process wrote and can be read may not be on the disk yet.
    fn written(&self, evidence: Evidence) -> Taken {
        self.sync_cluster().map(|()| evidence)
    }

    /// Nor what a program of Proxmox's wrote whose shim was killed before it synced that.
    fn durable(&self, evidence: Evidence) -> Taken {
        self.make_durable().map(|()| evidence)
    }

    /// A container that was made before the host went down, and of which nobody said that it was synced, is not believed: its
    /// configuration is written at once, its files when the kernel likes. Nothing has run in it.
    fn check_synced(&self, result: Option<&JobResult>) -> Taken<()> {
        if result.is_some() || self.intent().deadline.boot == *self.local.clock.boot() {
            return Ok(());
        }
        Err(partial(&Leftover { is_unsynced: true, ..self.leftover()? }))
    }

    /// The verdict on a step of a container that is there and ours.
    fn probe_marked(&self, result: Option<&JobResult>) -> Taken {
        match &self.intent().action {
            Action::Hold { init: _, by: by @ HoldBy::Stop } => done_if(self.up()?.is_down(), Evidence::Held { by: *by }),
            Action::Hold { init: _, by: by @ HoldBy::Snapshot } => {
                self.probe_snapshot(SNAPSHOT_FOR_CLONES).and_then(|()| self.durable(Evidence::Held { by: *by }))
            }
            Action::TakeSnapshot => self.probe_snapshot(SNAPSHOT_BEFORE_VOLUMES).and_then(|()| self.durable(snapshot::taken())),
            Action::SetFirewall => self.written(or_absent(self.firewall_set())?),
            Action::Stop { .. } => done_if(self.up()?.is_down(), Evidence::Stopped),
            Action::Release => self.probe_released().and_then(|evidence| self.durable(evidence)),
            Action::Configure => self.durable(or_absent(self.configured())?),
            Action::Start { idmap, sources, .. } => self.probe_started(idmap, sources),
            Action::ReadIdmap { init } => self.read_idmap(init),
            Action::Attach { mount, source, idmap } => {
                let sound = crate::host::ownership::verify_for(&mount.volume, source, idmap, &self.local.grounds).is_ok();
                or_absent(self.attached(mount, source))
                    .and_then(|evidence| done_if(sound, evidence))
                    .and_then(|evidence| self.written(evidence))
            }
            Action::Detach { mount } => {
                done_if(self.attached_at(&mount.at)?.is_empty(), Evidence::Detached).and_then(|evidence| self.written(evidence))
            }
            Action::AwaitReady { init } => self.probe_ready(init),
            Action::RunScript { init } => self.probe_script(init, result),
            Action::AskHealth { init } => self.probe_health(init, result),
            Action::SetAutostart => or_absent(self.autostart_set()).and_then(|evidence| self.durable(evidence)),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_frees_a_volume_is_known_however_it_was_begun() {
        let ctid = Ctid::new(101).expect("in range");
        let knows = |action: &Action, rest: &str| tasks_of(action, ctid).iter().any(|task| rest.starts_with(task));
        let leftover = String::new();
        for action in [Action::Create { template: None }, Action::Destroy, Action::Repair { leftover }] {
            assert!(knows(&action, "imgdel::root@pam:") && knows(&action, "imgdel:101@local:root@pam:"), "{action:?}");
            assert!(!knows(&action, "imgdel:1010@local:root@pam:") && !knows(&action, "imgdel:local:root@pam:"), "{action:?}");
        }
        assert!(!knows(&Action::Configure, "imgdel::root@pam:"));
    }
}
