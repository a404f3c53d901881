//! `/etc/pve/ha/resources.cfg`: which containers high availability manages.
//!
//! There, start and stop only ask, and the manager brings the container back to the state it was told: so neither is done to
//! what it manages. Not here: the same asked of a whole fleet before it is begun (`vet`).

use std::collections::BTreeMap;

use crate::host::local::act::{Act, Taken, chain, failed};
use crate::ids::{Ctid, Step};
use crate::machine::FailureClass;
use crate::plan::Action;

use super::{Pct, observe, stanza};

/// The managed containers by number, each with the state that the manager keeps it in (`started`, `stopped`, ...).
pub fn parse(text: &str) -> BTreeMap<u32, String> {
    let managed = stanza::parse(text).into_iter().filter(|stanza| stanza.kind == "ct").filter_map(|stanza| {
        let state = stanza.get("state").unwrap_or("started").to_owned();
        // What the manager is told to ignore is as if it were not listed.
        Some((stanza.name.parse().ok()?, state)).filter(|(_, state)| state != "ignored")
    });
    managed.collect()
}

/// Why a container in this state of the manager's is left alone.
pub(super) fn objection(state: &str) -> String {
    format!("high availability manages it (state {state}): start and stop would only ask, and be undone")
}

/// What can be done about it.
pub(super) fn remedy(ctid: Ctid) -> String {
    format!("take it out of high availability with `ha-manager remove ct:{ctid}`; phoenix does not drive it yet")
}

impl Act<'_, Pct> {
    /// Refuses to start, stop or destroy a container that was put under high availability, be it since it was made.
    pub(super) fn check_unmanaged(&self) -> Taken<()> {
        let touches = match &self.intent().action {
            Action::Start { .. } | Action::Stop { .. } | Action::Hold { .. } | Action::Destroy => true,
            Action::Repair { .. } => matches!(self.intent().step.step, Step::FinalizeStart | Step::RunStart | Step::DownDestroy),
            Action::FetchTemplate
            | Action::TakeSnapshot
            | Action::Create { .. }
            | Action::Clone { .. }
            | Action::Mark
            | Action::Release
            | Action::Configure
            | Action::SetFirewall
            | Action::ReadIdmap { .. }
            | Action::Prepare { .. }
            | Action::Attach { .. }
            | Action::Detach { .. }
            | Action::AwaitReady { .. }
            | Action::RunScript { .. }
            | Action::AskHealth { .. }
            | Action::SetAutostart => false,
        };
        if !touches {
            return Ok(());
        }
        let text = observe::optional(&self.host.layout.ha_resources()).map_err(|error| failed(FailureClass::Transient, chain(&error)))?;
        let ctid = self.intent().ctid;
        match parse(&text).get(&ctid.get()) {
            Some(state) => Err(failed(FailureClass::Permanent, format!("{}; {}", objection(state), remedy(ctid)))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_containers_are_told_from_machines_and_from_what_is_ignored() {
        let text = "ct: 101\n\tgroup all\n\tstate stopped\n\nvm: 102\n\nct: 103\n\nct: 104\n\tstate ignored\n\nct: web\n";
        let managed: Vec<_> = parse(text).into_iter().collect();
        assert_eq!(managed, [(101, "stopped".to_owned()), (103, "started".to_owned())]);
        assert!(parse("").is_empty());
    }
}
