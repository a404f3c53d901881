//! Scripts and health checks inside a running container.
//!
//! The shim does the running; here is which script, with which environment, and what its end means.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::ids::{IdKind, Step};
use crate::machine::{Evidence, Failure, FailureClass, StepResult, WaitKind};
use crate::manifest::{HealthCheck, Script};
use crate::plan::Init;
use crate::shim::{self, Begun, ContainerRef, Ending, JobResult, Left, Secret, SecretError, Task, Variables};

use super::Backend;
use super::act::{Act, Taken, at, chain, failed, output_of, tail};
use super::inside::Inside;
use super::life::init_lost;
use super::proc::Held;

/// What a script or command gets as `PATH`, unless the manifest says otherwise.
const INSIDE_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl<B: Backend> Act<'_, B> {
    pub(in crate::host) fn run_script(&self, init: &Init) -> Taken {
        self.check_mark()?;
        let script = self.script()?;
        self.check_results(script)?;
        let held = self.hold(init)?;
        let text =
            script.text.clone().ok_or_else(|| failed(FailureClass::Permanent, "the script's text was not loaded from the journal"))?;
        let (env, secrets) = shim::resolve(&script.env).map_err(|error| self.secret_missing(&error))?;
        let env = self.base_environment().into_iter().chain(env).collect();
        let task = Task::Script { container: self.container(&held), text, args: script.args.clone(), env };
        let result = self.run(task, self.written_places(init)?, secrets)?;
        if matches!(result.ending, Ending::NotStarted { .. }) && !held.is_alive() {
            return Err(init_lost(init));
        }
        self.script_ended(script, &result)
    }

    /// A directory on each file system that a script may write to and that is to keep it: the container's own, and those of the
    /// directories that it does not only read. One that cannot be looked at is named all the same: the shim says then that the
    /// script's work is not durable. Without the first nothing is begun: the host shows no running container any more.
    fn written_places(&self, init: &Init) -> Taken<Vec<PathBuf>> {
        let rootfs = self.host.rootfs(self.intent().ctid).ok_or_else(|| init_lost(init))?;
        let writable = self.effect.spec.mounts.iter().filter(|mount| !mount.read_only).map(|mount| mount.volume.source.clone());
        let mut devices = BTreeSet::new();
        let mut is_new = |path: &PathBuf| std::fs::metadata(path).map_or(true, |meta| devices.insert(meta.dev()));
        Ok([rootfs].into_iter().chain(writable).filter(|path| is_new(path)).collect())
    }

    /// A journal that is an older copy (a backup put back, a disk that took back what it had synced) does not know what was run
    /// since. Results do: they lie on the host for as long as the container does. Whoever knew that the script has succeeded, or
    /// had seen a later epoch, would not start it.
    fn check_results(&self, script: &Script) -> Taken<()> {
        let (place, step) = (self.place(), self.intent().step.to_string());
        let left = place.left().map_err(at("read the results in", place.path()))?;
        let of = |result: &JobResult| result.script.as_deref() == Some(&*script.digest.to_string()) && result.step.as_ref() == Some(&step);
        let unknown = left.results.iter().find(|result| {
            let later = result.intent.epoch.parse().is_ok_and(|epoch: u64| epoch > self.epoch.get());
            later || (of(result) && result.ending.is_success())
        });
        let running = self.still_running(&left)?;
        match (unknown, running) {
            _ if phoenix_journal::sabotaged("results_are_not_compared") => Ok(()),
            (Some(result), _) => {
                let (epoch, seq) = (&result.intent.epoch, &result.intent.seq);
                let ran = result.step.as_deref().unwrap_or("a script");
                let message =
                    format!("{ran} was run by entry {seq} of epoch {epoch}, as its result says, and this journal knows nothing of it");
                Err(failed(FailureClass::JournalOlder, message))
            }
            (None, Some(begun)) => {
                let message = format!("{} is running already, and this journal knows nothing of that start", begun.step);
                Err(failed(FailureClass::JournalOlder, message))
            }
            (None, None) => Ok(()),
        }
    }

    /// A start of this step that goes on without its shim. What this journal knows of was waited for, and ended, before.
    fn still_running<'b>(&self, left: &'b Left) -> Taken<Option<&'b Begun>> {
        let intent = self.intent();
        for begun in left.unfinished.iter().filter(|begun| begun.step == intent.step && begun.token != intent.token) {
            if !shim::living_bearers(begun.token).map_err(at("look for processes of", self.place().path()))?.is_empty() {
                return Ok(Some(begun));
            }
        }
        Ok(None)
    }

    /// What a script's result means, however it was come by.
    pub(in crate::host) fn script_ended(&self, script: &Script, result: &JobResult) -> Taken {
        self.keep_output(result);
        let name = script.path.display();
        self.expect_success(result, &format!("the script {name}"), None)?;
        self.leave_note(script);
        Ok(Evidence::Ran { script: script.digest, started: result.started, ended: result.ended, skipped: false })
    }

    pub(in crate::host) fn ask_health(&self, init: &Init) -> Taken {
        self.check_mark()?;
        let check = self.health_check()?;
        let held = self.hold(init)?;
        let mut asked = 0;
        loop {
            asked += 1;
            let deadline = self.local.clock.moment().after(self.remaining_at_most(check.timeout));
            let task = Task::Command { container: self.container(&held), argv: check.command.clone(), env: self.base_environment() };
            let result = self.run_until(task, Vec::new(), Vec::new(), deadline)?;
            if result.ending.is_success() {
                return Ok(Evidence::Healthy { asked });
            }
            if !held.is_alive() {
                return Err(init_lost(init));
            }
            if asked > check.retries || self.remaining().is_zero() || !result.undead.is_empty() {
                return Err(unhealthy(check, asked, &result));
            }
            if held.ends_within(self.remaining_at_most(check.interval)) {
                return Err(init_lost(init));
            }
        }
    }

    /// The script that the step names.
    pub(in crate::host) fn script(&self) -> Taken<&Script> {
        let spec = &self.effect.spec;
        let step = &self.intent().step.step;
        let feature = spec.features.iter().find(|feature| Step::FeatureApply(feature.name.clone()) == *step);
        let application = spec.application.as_ref().filter(|_| *step == Step::ApplicationRun);
        let found = feature.map(|feature| &feature.script).or(application);
        found.ok_or_else(|| failed(FailureClass::Permanent, format!("the spec has no script for {}", self.intent().step)))
    }

    fn health_check(&self) -> Taken<&HealthCheck> {
        let step = &self.intent().step.step;
        let found = self.effect.spec.health.iter().find(|check| Step::HealthCheck(check.name.clone()) == *step);
        found.ok_or_else(|| failed(FailureClass::Permanent, format!("the spec has no health check for {}", self.intent().step)))
    }

    /// The running container as `lxc-attach` is told of it.
    pub(in crate::host) fn container(&self, held: &Held) -> ContainerRef {
        ContainerRef {
            lxc_attach: self.local.lxc_attach.clone(),
            lxc_path: self.local.lxc_path.clone(),
            name: self.intent().ctid.to_string(),
            init: held.init(self.local.clock.boot()),
        }
    }

    /// What everything that runs inside gets; the manifest's own variables come over it.
    pub(in crate::host) fn base_environment(&self) -> Variables {
        let (ctid, hostname, fleet) = (self.intent().ctid, &self.effect.spec.hostname, &self.effect.mark.fleet);
        [
            ("PATH", INSIDE_PATH.to_owned()),
            ("HOME", "/root".to_owned()),
            ("container", "lxc".to_owned()),
            ("PHOENIX_CTID", ctid.to_string()),
            ("PHOENIX_HOSTNAME", hostname.to_string()),
            ("PHOENIX_FLEET", fleet.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Secret::new(value)))
        .collect()
    }

    fn secret_missing(&self, error: &SecretError) -> Box<StepResult> {
        let name = match error {
            SecretError::File { path, .. } | SecretError::Unfit { path, .. } => path.display().to_string(),
            SecretError::Env { name, .. } => name.clone(),
        };
        self.wait(WaitKind::Secret, name, chain(error))
    }

    /// Leaves a note inside that a lost journal can be rebuilt from. It is the container's to forge and proves nothing; failing
    /// to write it is no failure of the step, whose result lies on the host.
    fn leave_note(&self, script: &Script) {
        let intent = self.intent();
        if self.effect.spec.idmap.to_host(IdKind::User, 0).is_none() {
            return;
        }
        let note = serde_json::json!({
            "schema": 1,
            "step": intent.step.to_string(),
            "digest": script.digest.to_string(),
            "ctid": intent.ctid.get(),
            "incarnation": intent.incarnation.to_string(),
            "epoch": self.epoch.get(),
        });
        let path = PathBuf::from(format!("var/lib/phoenix/{}.json", intent.step));
        let Some(rootfs) = self.host.rootfs(intent.ctid) else { return };
        let written = Inside::open(&rootfs, &self.effect.spec.idmap)
            .and_then(|inside| inside.write_below(&path, format!("{note}\n").as_bytes(), 0o600));
        if let Err(error) = written {
            tracing::warn!(container = %intent.ctid, step = %intent.step, %error, "the note inside could not be written");
        }
    }
}

fn unhealthy(check: &HealthCheck, asked: u32, result: &JobResult) -> Box<StepResult> {
    let class = if result.undead.is_empty() { FailureClass::Transient } else { FailureClass::Undead };
    let message = format!("health check {} failed {asked} times; run it inside to see why", check.name);
    let status = Some(format!("{:?}", result.ending));
    let tail = output_of(result).and_then(|output| output.kept).map(|kept| tail(&kept)).unwrap_or_default();
    Box::new(StepResult::Failed(Failure { class, message, command: Some(check.command.join(" ")), status, tail }))
}
