//! What a container's earlier steps brought, and the actions of later ones that rest on it: the engine's part, without the engine.

use std::collections::BTreeMap;

use phoenix::ids::{Ctid, Incarnation, Step};
use phoenix::machine::Evidence;
use phoenix::manifest::{Mount, Origin, Spec};
use phoenix::plan::{Action, HoldBy, Init, Source, StartPurpose};

/// Inits and prepared directories, by container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Learned {
    /// How clone sources are held.
    pub(crate) held_by: HoldBy,
    inits: BTreeMap<Ctid, Init>,
    sources: BTreeMap<Ctid, Vec<Source>>,
}

impl Learned {
    /// Takes in what a step showed.
    pub(crate) fn learn(&mut self, ctid: Ctid, evidence: &Evidence) {
        match evidence {
            Evidence::Started { init, .. } => {
                self.inits.insert(ctid, init.clone());
            }
            Evidence::Stopped | Evidence::Held { by: HoldBy::Stop } => self.lose_init(ctid),
            Evidence::Prepared(prepared) => self.sources.entry(ctid).or_default().push(prepared.source.clone()),
            Evidence::Destroyed => {
                self.lose_init(ctid);
                self.sources.remove(&ctid);
            }
            _ => {}
        }
    }

    pub(crate) fn init(&self, ctid: Ctid) -> Option<&Init> {
        self.inits.get(&ctid)
    }

    pub(crate) fn lose_init(&mut self, ctid: Ctid) {
        self.inits.remove(&ctid);
    }

    /// What a step does, as far as earlier ones decide it.
    pub(crate) fn action(&self, spec: &Spec, step: &Step, incarnation: impl Fn(Ctid) -> Incarnation) -> Action {
        let idmap = spec.idmap.clone();
        let known = || self.inits.get(&spec.ctid).cloned();
        let init = || known().unwrap_or_else(nobody);
        let sources = self.sources.get(&spec.ctid).cloned().unwrap_or_default();
        match step {
            Step::TemplateFetch => Action::FetchTemplate,
            Step::FirewallSet => Action::SetFirewall,
            Step::SnapshotTake => Action::TakeSnapshot,
            Step::DefineCreate => Action::Create { template: None },
            Step::DefineClone => match spec.origin {
                Origin::Clone { source } => Action::Clone { source, incarnation: incarnation(source), from: self.held_by.copied() },
                Origin::Template(_) => unreachable!("a container from a template is not cloned"),
            },
            Step::DefineMark => Action::Mark,
            Step::CloneHold => Action::Hold { init: known(), by: self.held_by },
            Step::CloneRelease => Action::Release,
            Step::ConfigureSet => Action::Configure,
            Step::FinalizeStart => Action::Start { purpose: StartPurpose::Finalize, idmap, sources: Vec::new() },
            Step::FinalizeIdmap => Action::ReadIdmap { init: init() },
            Step::FinalizeStop | Step::DownStop => Action::Stop { init: known() },
            Step::VolumePrepare(name) => {
                let mount = spec.mounts.iter().find(|mount| mount.volume.name == *name).expect("a volume of the spec");
                Action::Prepare { volume: mount.volume.clone(), idmap }
            }
            Step::VolumeAttach(at) => {
                let mount = spec.mounts.iter().find(|mount| mount.at == *at).expect("a mount of the spec").clone();
                let source = sources.iter().find(|source| source.volume == mount.volume.name).cloned().unwrap_or_else(|| nowhere(&mount));
                Action::Attach { mount, source, idmap }
            }
            Step::VolumeDetach(at) => {
                Action::Detach { mount: spec.mounts.iter().find(|mount| mount.at == *at).expect("a mount of the spec").clone() }
            }
            Step::RunStart => Action::Start { purpose: StartPurpose::Run, idmap, sources },
            Step::RunReady => Action::AwaitReady { init: init() },
            Step::FeatureApply(_) | Step::ApplicationRun => Action::RunScript { init: init() },
            Step::HealthCheck(_) => Action::AskHealth { init: init() },
            Step::AutostartSet => Action::SetAutostart,
            Step::DownDestroy => Action::Destroy,
        }
    }
}

fn nobody() -> Init {
    Init { boot: "nowhere".parse().expect("a boot id"), pid: 0, start_ticks: 0 }
}

fn nowhere(mount: &Mount) -> Source {
    Source { volume: mount.volume.name.clone(), path: mount.volume.source.clone(), device: 64_769, inode: 131_073 }
}
