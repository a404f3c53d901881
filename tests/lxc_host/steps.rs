//! Steps in a [`World`], taken one by one and as a test reads best.

use phoenix::ids::{Step, StepId};
use phoenix::machine::{Evidence, Report, StepResult};
use phoenix::manifest::Spec;
use phoenix::plan::{Action, Init};

use super::fleets;
use super::hands::Hands;
use super::world::World;

impl World {
    /// Carries out one step.
    pub(crate) fn take(&self, spec: &Spec, step: Step, action: Action) -> Report {
        self.carry_out(self.effect(spec, step.id(), action))
    }

    /// Carries out one step that must be `Done`.
    #[track_caller]
    pub(crate) fn done(&self, spec: &Spec, step: Step, action: Action) -> Evidence {
        let name = step.clone().id().to_string();
        let before = self.host.now().expect("a time").moment.boottime_ms;
        let report = self.take(spec, step, action);
        let after = self.host.now().expect("a time").moment.boottime_ms;
        eprintln!("{name}: {} ms", after - before);
        match report.result {
            StepResult::Done(evidence) => evidence,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Asks what became of a step that was never carried out, or carried out without an outcome.
    pub(crate) fn settle(&self, spec: &Spec, step: StepId, action: Action) -> StepResult {
        Hands::settle(self, self.effect(spec, step, action))
    }

    #[track_caller]
    pub(crate) fn created(&self, spec: &Spec) {
        self.done(spec, Step::DefineCreate, Action::Create { template: None });
    }

    #[track_caller]
    pub(crate) fn started(&self, spec: &Spec) -> Init {
        match self.done(spec, Step::RunStart, start(spec)) {
            Evidence::Started { init, idmap } => {
                assert_eq!(idmap, spec.idmap);
                init
            }
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn stopped(&self, spec: &Spec) {
        assert_eq!(self.done(spec, Step::FinalizeStop, Action::Stop { init: None }), Evidence::Stopped);
    }

    /// Runs a script inside and returns its result and output.
    pub(crate) fn script(&self, spec: &Spec, init: &Init, text: &str) -> (StepResult, String) {
        let mut spec = spec.clone();
        spec.application = Some(fleets::script_of(text));
        let report = self.take(&spec, Step::ApplicationRun, Action::RunScript { init: init.clone() });
        let output = report.output.and_then(|output| output.kept).unwrap_or_default();
        (report.result, String::from_utf8_lossy(&output).into_owned())
    }
}

pub(crate) fn start(spec: &Spec) -> Action {
    Action::Start { purpose: phoenix::plan::StartPurpose::Run, idmap: spec.idmap.clone(), sources: Vec::new() }
}
