//! What only Proxmox keeps of a container, on disk: snapshots, firewall.
//!
//! Apart from the container for its size. Converted both ways field by field, as everything in this file's format.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::host::sim::disk::{Snapshot, SnapshotStage};
use crate::manifest::{Firewall, FirewallPolicy};

use super::container::SavedTrace;

#[derive(Serialize, Deserialize)]
pub(super) struct SavedSnapshot {
    name: String,
    stage: SavedSnapshotStage,
    inside: Vec<SavedTrace>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SavedSnapshotStage {
    Prepare,
    Whole,
    Delete,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedFirewall {
    enable: bool,
    policy_in: String,
    policy_out: String,
    rules: Vec<String>,
}

impl SavedSnapshot {
    pub(super) fn of((name, snapshot): (&String, &Snapshot)) -> Self {
        let Snapshot { stage, inside } = snapshot;
        let stage = match stage {
            SnapshotStage::Prepare => SavedSnapshotStage::Prepare,
            SnapshotStage::Whole => SavedSnapshotStage::Whole,
            SnapshotStage::Delete => SavedSnapshotStage::Delete,
        };
        Self { name: name.clone(), stage, inside: inside.iter().map(SavedTrace::of).collect() }
    }

    pub(super) fn restore(self) -> Option<(String, Snapshot)> {
        let stage = match self.stage {
            SavedSnapshotStage::Prepare => SnapshotStage::Prepare,
            SavedSnapshotStage::Whole => SnapshotStage::Whole,
            SavedSnapshotStage::Delete => SnapshotStage::Delete,
        };
        let inside = Arc::new(self.inside.into_iter().map(SavedTrace::restore).collect::<Option<_>>()?);
        Some((self.name, Snapshot { stage, inside }))
    }
}

impl SavedFirewall {
    pub(super) fn of(firewall: &Firewall) -> Self {
        let Firewall { enable, policy_in, policy_out, rules } = firewall;
        let (policy_in, policy_out) = (policy_in.name().to_owned(), policy_out.name().to_owned());
        Self { enable: *enable, policy_in, policy_out, rules: rules.clone() }
    }

    pub(super) fn restore(self) -> Option<Firewall> {
        let policy = |name: &str| FirewallPolicy::ALL.into_iter().find(|policy| policy.name() == name);
        let (policy_in, policy_out) = (policy(&self.policy_in)?, policy(&self.policy_out)?);
        Some(Firewall { enable: self.enable, policy_in, policy_out, rules: self.rules })
    }
}
