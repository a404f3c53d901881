//! The simulator as a site.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use phoenix::host::Host;
use phoenix::host::sim::{Flow, Sim, Tamper, World, WorldOptions};
use phoenix::ids::Ctid;
use phoenix::manifest::{Mount, Spec};

use super::fleets;
use super::hands::mark;
use super::site::{Meddling, Site};

/// Longer than any step.
const HELD: Duration = Duration::from_secs(1_000_000);

struct OnSim(Sim);

#[expect(clippy::unnecessary_wraps, reason = "other hosts may not be there")]
pub(crate) fn site() -> Option<Box<dyn Site>> {
    Some(Box::new(OnSim(Sim::new(World::new(WorldOptions::seeded(11)), Flow::Still))))
}

impl OnSim {
    fn tamper(&self, tamper: &Tamper) {
        self.0.tamper(tamper).expect("no file");
    }
}

/// A lock that others hold.
struct Held(Sim, Ctid);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.tamper(&Tamper::Lock { ctid: self.1, during: Duration::ZERO }).expect("no file");
    }
}

impl Site for OnSim {
    fn host(&self) -> Arc<dyn Host> {
        Arc::new(self.0.clone())
    }

    fn again(&self) -> Arc<dyn Host> {
        Arc::new(self.0.clone())
    }

    fn spec(&self, ctid: Ctid) -> Spec {
        Spec { features: Vec::new(), health: Vec::new(), ..fleets::spec(ctid.get()) }
    }

    fn enrich(&self, _: &mut Spec) {}

    fn live_spec(&self, _: Ctid) -> Option<Spec> {
        None
    }

    fn mount(&self, name: &str) -> Mount {
        fleets::mounted(fleets::spec(100), name).mounts.remove(0)
    }

    fn meddle(&self, ctid: Ctid, meddling: &Meddling) {
        self.tamper(&match meddling {
            Meddling::Remove => Tamper::Remove(ctid),
            Meddling::Stranger => Tamper::Stranger(ctid),
            Meddling::Unmark => Tamper::Unmark(ctid),
            Meddling::Mark(mark) => Tamper::Mark(ctid, Box::new(mark.clone())),
            Meddling::KillInit => Tamper::Stop(ctid),
            Meddling::Start => Tamper::Start(ctid),
        });
    }

    fn hold(&self, ctid: Ctid) -> Box<dyn Any> {
        self.tamper(&Tamper::Lock { ctid, during: HELD });
        Box::new(Held(self.0.clone(), ctid))
    }

    /// Another world in the place of this one.
    fn lose_proof(&self) {
        self.0.change(|world| *world = World::new(WorldOptions::seeded(11))).expect("no file");
    }

    fn print(&self) -> String {
        format!("{:#?}", self.0.world().fingerprint())
    }

    fn left_of(&self, ctid: Ctid) -> Vec<String> {
        let world = self.0.world();
        let there = world.ctids().into_iter().filter(|one| *one == ctid).map(|one| format!("container {one}"));
        let traces = world.traces(&self.spec(ctid), &mark(ctid));
        there.chain(traces.scripts.iter().map(|trace| format!("{trace:?}"))).collect()
    }

    fn directory(&self, path: &Path) -> Option<(u32, u32, u32)> {
        self.0.world().directory(path)
    }

    fn make_filled_directory(&self, path: &Path, uid: u32, gid: u32, mode: u32) {
        self.0.change(|world| world.plant_directory(path, uid, gid, mode, true)).expect("no file");
    }

    fn swap_directory(&self, path: &Path) {
        self.tamper(&Tamper::Unmount(path.to_owned()));
    }

    fn secret(&self) -> PathBuf {
        "/root/pg".into()
    }

    fn show_secret(&self, shown: bool) {
        let name = "/root/pg".to_owned();
        self.tamper(&if shown { Tamper::ShowSecret(name) } else { Tamper::HideSecret(name) });
    }

    fn runs_scripts(&self) -> bool {
        false
    }

    fn environment(&self) -> Vec<String> {
        Vec::new()
    }

    fn has_sentinels(&self) -> bool {
        true
    }
}
