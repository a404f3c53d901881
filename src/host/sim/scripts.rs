//! Scripts and checks inside: counting their starts, and the results that their shims leave.
//!
//! Apart from `op` because a result outlives its operation. Not here: what a script writes (`act`).

use std::sync::Arc;

use phoenix_journal::Digest;

use crate::machine::{Evidence, Failure, FailureClass, Output, Report, StepResult};
use crate::manifest::{EnvValue, Script};
use crate::plan::{Action, Effect};

use super::damage::{Before, Damage, ScriptEnd, ScriptStart};
use super::op::Op;
use super::pieces::Carrier;
use super::world::{End, Left, World};

impl World {
    /// A child under a shim has ended: its result is left, and read.
    pub(super) fn child_ended(&mut self, op: &mut Op, end: End) -> Report {
        let effect = Arc::clone(&op.effect);
        let is_script = matches!(effect.intent.action, Action::RunScript { .. });
        let (_, output) = op.exit.take().unwrap_or((0, String::new()));
        if op.runs_script() {
            self.script_ended(&effect, if end == End::Exit(0) { ScriptEnd::Succeeded } else { ScriptEnd::Failed });
        }
        let left = Left { token: effect.intent.token, of_script: is_script, end, started: op.started, ended: self.wall(), output };
        let report = read_result(&left, &effect);
        match op.carrier {
            Carrier::Shim => {
                self.keep_result(&effect, &left);
                self.slot_mut(effect.intent.ctid).left = Some(Arc::new(left));
                if !op.orphan {
                    self.leave_note(&effect, &report.result);
                }
            }
            Carrier::Phoenix | Carrier::Nobody => {
                if op.runs_script() {
                    self.script_ended(&effect, ScriptEnd::Cut);
                }
            }
        }
        report
    }

    /// Counts a start of a script.
    pub(super) fn script_started(&mut self, effect: &Effect) {
        let intent = &effect.intent;
        let slot = self.slot_mut(intent.ctid);
        let same = |start: &&ScriptStart| start.incarnation == intent.incarnation && start.step == intent.step.step;
        let before = slot.starts.iter().rfind(same).map_or(Before::Never, |start| Before::Ended(start.end));
        slot.script_begun = Some(intent.token);
        Arc::make_mut(&mut slot.starts).push(ScriptStart {
            ctid: intent.ctid,
            incarnation: intent.incarnation,
            step: intent.step.step.clone(),
            attempt: intent.attempt,
            reason: intent.reason.clone(),
            before,
            end: ScriptEnd::Running,
        });
        if before == Before::Ended(ScriptEnd::Running) {
            self.note_damage(Damage::ScriptTwiceAtOnce { ctid: intent.ctid, step: intent.step.step.clone() });
        }
    }

    pub(super) fn script_ended(&mut self, effect: &Effect, end: ScriptEnd) {
        let intent = &effect.intent;
        let same = |start: &&mut ScriptStart| {
            start.incarnation == intent.incarnation && start.step == intent.step.step && start.attempt == intent.attempt
        };
        if let Some(start) = Arc::make_mut(&mut self.slot_mut(intent.ctid).starts).iter_mut().rfind(same) {
            start.end = end;
        }
    }
}

/// What a shim's result says about the step.
pub(super) fn read_result(left: &Left, effect: &Effect) -> Report {
    let kept = left.output.clone().into_bytes();
    let bytes_written = kept.len() as u64;
    let output = (bytes_written > 0).then(|| Output { digest: Digest::of(&kept), kept: Some(kept), bytes_written });
    let result = match (left.end, script_of(effect)) {
        (End::Exit(0), Some(script)) if left.of_script => {
            StepResult::Done(Evidence::Ran { script: script.digest, started: left.started, ended: left.ended, skipped: false })
        }
        (End::Exit(0), _) => StepResult::Done(Evidence::Healthy { asked: 1 }),
        (End::Exit(status), _) => StepResult::Failed(Failure {
            class: FailureClass::Transient,
            message: format!("it ended with exit status {status}"),
            command: None,
            status: Some(format!("exit {status}")),
            tail: left.output.clone(),
        }),
        (End::Timeout, _) => StepResult::Failed(Failure {
            class: FailureClass::Timeout,
            message: "it was not done before its deadline, and was ended".to_owned(),
            command: None,
            status: Some("signal 9".to_owned()),
            tail: left.output.clone(),
        }),
    };
    Report { result, output }
}

/// The script that a step names, as the spec has it.
pub(super) fn script_of(effect: &Effect) -> Option<&Script> {
    let step = &effect.intent.step.step;
    if let Some(name) = step.name() {
        return effect.spec.features.iter().find(|feature| feature.name.as_str() == name).map(|feature| &feature.script);
    }
    effect.spec.application.as_ref()
}

/// The name of the first secret of a script that `hides` says cannot be read.
pub(super) fn missing_secret(script: &Script, hides: impl Fn(&str) -> bool) -> Option<String> {
    script.env.values().find_map(|value| {
        let name = match value {
            EnvValue::Plain(_) => return None,
            EnvValue::SecretFile(path) => path.to_string_lossy().into_owned(),
            EnvValue::SecretEnv(name) => name.clone(),
        };
        hides(&name).then_some(name)
    })
}
