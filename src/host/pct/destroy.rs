//! Taking a container away.
//!
//! `pct destroy` removes the volumes first and the configuration last, so that what it left can be told by the configuration; and
//! it exits with 0 although volumes stayed. Not here: stopping, and putting right what was left half-done (`repair`).

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::host::local::act::{Act, Taken, at, chain, failed};
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::shim::ResultPlace;

use super::define::partial;
use super::leftover::Leftover;
use super::{Pct, observe};

impl Act<'_, Pct> {
    pub(super) fn destroy(&self) -> Taken {
        match self.check_mark() {
            // Nothing is there: what its scripts left goes as well.
            Err(result) if *result == StepResult::Gone => return self.finish_destroying(),
            other => other?,
        }
        self.check_protection(&format!("phoenix down {}", self.intent().ctid))?;
        let storages = self.config()?.storages();
        if !self.up()?.is_down() {
            return Err(failed(FailureClass::Transient, "the container is up; it is stopped before it is destroyed"));
        }
        let said = self.pct(self.words(["destroy"], []))?;
        if self.found_config()?.is_some() {
            return match self.check_mark() {
                Ok(()) => match self.probe_destroyed() {
                    Err(result) if matches!(*result, StepResult::Partial { .. }) => Err(result),
                    Ok(_) | Err(_) => Err(self.refused(&said, "the container was not destroyed")),
                },
                // What `pct` leaves of a container whose volumes it has removed bears no mark any more.
                Err(_) => self.left_of_destroyed().map(|()| Evidence::Destroyed),
            };
        }
        self.make_durable_after(&said)?;
        self.finish_destroying_on(&storages)
    }

    /// What is left once the configuration is gone; the results of scripts go last, before them the rules of the firewall: left
    /// there, they would be those of the next container with this number.
    pub(super) fn finish_destroying(&self) -> Taken {
        self.finish_destroying_on(&BTreeSet::new())
    }

    /// As [`Self::finish_destroying`]; `storages` are those that the configuration named while it was there.
    fn finish_destroying_on(&self, storages: &BTreeSet<String>) -> Taken {
        if let Err(taken) = self.check_not_elsewhere() {
            // Ours alone, wherever the number is now.
            self.remove_results()?;
            return Err(taken);
        }
        let left = self.leftover_on(storages)?;
        if !left.is_empty() {
            return Err(partial(&left));
        }
        self.remove_drafts()?;
        if let Some(rules) = self.firewall_rules() {
            std::fs::remove_file(&rules).map_err(self.in_cluster("remove", &rules))?;
            self.sync_cluster()?;
        }
        self.remove_results()?;
        Ok(Evidence::Destroyed)
    }

    fn remove_results(&self) -> Taken<()> {
        self.result_places().iter().try_for_each(|place| place.remove().map_err(at("remove", place.path())))
    }

    /// Fails if a guest elsewhere in the cluster has the number: what bears it on a storage or in the firewall's directory may be
    /// that guest's.
    pub(super) fn check_not_elsewhere(&self) -> Taken<()> {
        let guests = observe::guests(&self.host.layout).map_err(|error| failed(FailureClass::Transient, chain(&error)))?;
        match observe::elsewhere(guests.get(&self.intent().ctid.get()), &self.host.node) {
            Some(owner) => Err(Box::new(StepResult::Foreign { owner })),
            None => Ok(()),
        }
    }

    /// Fails while anything of the container is left.
    pub(super) fn left_of_destroyed(&self) -> Taken<()> {
        self.check_not_elsewhere()?;
        let results = self.result_places().iter().any(|place| place.path().exists());
        let left = Leftover { results: results || self.firewall_rules().is_some(), ..self.leftover()? };
        if left.is_empty() { Ok(()) } else { Err(partial(&left)) }
    }

    /// Proxmox refuses to destroy what is protected, and to change its mount points; so does a person's wish. `again` is the
    /// command that was in vain.
    pub(super) fn check_protection(&self, again: &str) -> Taken<()> {
        let config = self.config()?;
        if config.main().value("protection").is_some_and(|value| value == "1") {
            let ctid = self.intent().ctid;
            let message = format!("container {ctid} is protected; `pct set {ctid} --protection 0`, then `{again}` again");
            return Err(failed(FailureClass::Permanent, message));
        }
        Ok(())
    }

    /// The container's firewall file, if we wrote into it and it is still there.
    fn firewall_rules(&self) -> Option<PathBuf> {
        let path = self.host.layout.firewall(self.intent().ctid);
        self.effect.spec.host_options.firewall.as_ref().map(|_| path).filter(|path| path.exists())
    }

    fn result_places(&self) -> [ResultPlace; 2] {
        let intent = self.intent();
        let lasting = ResultPlace::lasting(&self.local.state, intent.ctid, intent.incarnation);
        [lasting, ResultPlace::of_this_boot(&self.local.runtime, intent.ctid, intent.incarnation)]
    }

    /// What became of [`Self::destroy`], by looking.
    pub(super) fn probe_destroyed(&self) -> Taken {
        match self.found_config()? {
            None => self.left_of_destroyed().map(|()| Evidence::Destroyed),
            Some(config) => match (self.check_mark(), config.main().lock()) {
                (Ok(()), None) => Err(Box::new(StepResult::Absent)),
                (Ok(()), Some("destroyed")) => Err(partial(&self.leftover()?)),
                (Ok(()), Some(lock)) => Err(self.locked(lock)),
                // Nothing but the lock is left of it once its volumes are gone.
                (Err(_), Some("destroyed")) if self.made_it("vzdestroy", self.intent().ctid) => Err(partial(&self.leftover()?)),
                (Err(result), _) => Err(result),
            },
        }
    }
}
