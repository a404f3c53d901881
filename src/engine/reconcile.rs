//! What the journal claims of a container against what was seen of it.
//!
//! A pure comparison. A claim that is false and volatile leads to the fall-back edge; a claim that is false otherwise is for
//! a person. Not here: steps in doubt, which are settled first.

use crate::ids::{Incarnation, State, Step};
use crate::machine::{Life, Quarantine, QuarantineReason, Standing, Topic};
use crate::plan::{ConfigSeen, HoldBy, Mark, Presence, Seen};

/// What is to be noted about a container whose claims do not all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The note's topic.
    pub topic: Topic,
    /// The state after it.
    pub state: State,
    /// The standing after it.
    pub standing: Standing,
}

/// Compares; `None` if every claim holds. `verify` asks for the claims that do not pass by themselves to be looked at as
/// well, as after a boot.
pub fn reconcile(life: &Life, mark: &Mark, seen: Option<&Seen>, verify: bool) -> Option<Finding> {
    if life.is_ended() || life.state() == State::Declared {
        // Nothing is claimed yet; what lies there is the affair of the define step, which knows its own from a stranger's.
        return None;
    }
    // A mark that is missing is about to be written, on a person's word; the step looks again whether it is.
    let awaited = |quarantine: &Quarantine| life.is_remark_asked() && quarantine.reason == QuarantineReason::MarkMissing;
    if let Some(quarantine) = not_ours(mark, life.former(), seen).filter(|quarantine| !awaited(quarantine)) {
        return Some(set_aside(life, quarantine));
    }
    let seen = seen?;
    let drift = if verify { seen.config.as_ref().and_then(|config| drift(life, config)) } else { None };
    if let Some(evidence) = drift {
        // Before anything is noted that does pass: a run that is cut off then leaves this to the next.
        return Some(set_aside(life, Quarantine { reason: QuarantineReason::Drift, evidence }));
    }
    if let Some(recorded) = life.init()
        && seen.init.as_ref() != Some(recorded)
    {
        let state = if life.state() > State::Volumed { State::Volumed } else { life.state() };
        let topic = Topic::InitLost { recorded: recorded.clone(), found: seen.init.clone() };
        return Some(Finding { topic, state, standing: life.standing.clone() });
    }
    if let Some(init) = &seen.init
        && life.held() == Some(HoldBy::Stop)
        && life.record(&Step::CloneHold).done
    {
        let topic = Topic::FoundRunning { init: init.clone() };
        return Some(Finding { topic, state: life.state(), standing: life.standing.clone() });
    }
    None
}

/// What keeps a container from counting as gone although the journal says that nothing of it is on the host: it was made since,
/// for a journal of which this one is an older copy. What is to come up finds out at the define step, and has it recorded.
pub(super) fn outlives(life: &Life, mark: &Mark, seen: Option<&Seen>) -> Option<Quarantine> {
    let found = seen.filter(|_| !life.may_exist())?.mark.as_ref()?;
    let evidence = mark.outlived_by(found, life.former())?;
    Some(Quarantine { reason: QuarantineReason::JournalOlder, evidence })
}

/// Whether something is there of which the journal says that it is gone, another's or without a mark, and `finding`, what this
/// look came to, does not say so any more. What was recorded once is no proof that it can be forgotten.
pub(super) fn is_back(life: &Life, mark: &Mark, seen: Option<&Seen>, finding: Option<&Finding>) -> bool {
    use QuarantineReason::{Foreign, Gone, JournalOlder, MarkMissing};
    let says = |standing: &Standing, reasons: &[QuarantineReason]| match standing {
        Standing::Quarantined(quarantine) => reasons.contains(&quarantine.reason),
        Standing::Active | Standing::Waiting(_) | Standing::Failed { .. } => false,
    };
    let unproven =
        finding.is_some_and(|finding| finding.topic == Topic::Standing && says(&finding.standing, &[Foreign, MarkMissing, JournalOlder]));
    // Before anything was made, what lies there is a stranger's unless it proves not to be, and no finding says so.
    let proven = seen.and_then(|seen| seen.mark.as_ref()).is_some_and(|found| mark.owns(found));
    let claimed = life.state() > State::Declared && seen.is_some() && !unproven;
    says(&life.standing, &[Gone, Foreign, MarkMissing]) && (proven || claimed)
}

fn set_aside(life: &Life, quarantine: Quarantine) -> Finding {
    Finding { topic: Topic::Standing, state: life.state(), standing: Standing::Quarantined(quarantine) }
}

/// Whether what is there is not, or cannot be shown to be, the container that the journal means.
fn not_ours(mark: &Mark, former: &[Incarnation], seen: Option<&Seen>) -> Option<Quarantine> {
    let because = |reason, evidence: String| Some(Quarantine { reason, evidence });
    let Some(seen) = seen else {
        return because(QuarantineReason::Gone, format!("container {} does not exist on the host", mark.ctid));
    };
    if let Presence::HalfMade(what) = &seen.presence {
        return because(QuarantineReason::Drift, format!("claim: container {} is whole; found: {what}", mark.ctid));
    }
    let Some(found) = &seen.mark else {
        return because(QuarantineReason::MarkMissing, format!("container {} exists but bears no readable mark", mark.ctid));
    };
    if let Some(evidence) = mark.outlived_by(found, former) {
        return because(QuarantineReason::JournalOlder, evidence);
    }
    if !mark.owns(found) {
        let evidence = format!(
            "container {} bears the mark of journal {}, fleet {}, container {}, incarnation {}",
            mark.ctid, found.journal, found.fleet, found.ctid, found.incarnation
        );
        return because(QuarantineReason::Foreign, evidence);
    }
    None
}

/// The first claim of the configuration that does not hold.
fn drift(life: &Life, config: &ConfigSeen) -> Option<String> {
    let spec = &life.spec;
    let differs = |claim: String, found: String| Some(format!("claim: {claim}; found: {found}"));
    if life.record(&Step::ConfigureSet).done
        && let Some(hostname) = &config.hostname
        && hostname != spec.hostname.as_str()
    {
        return differs(format!("host name {}", spec.hostname), format!("host name {hostname}"));
    }
    if let (Some(finalization), Some(idmap)) = (life.proofs().finalization(), &config.idmap)
        && finalization.idmap() != idmap
    {
        return differs(format!("id map {}", finalization.idmap()), format!("id map {idmap}"));
    }
    for mount in spec.mounts.iter().filter(|mount| life.record(&Step::VolumeAttach(mount.at.clone())).done) {
        let claim = format!("{} attached at {}", mount.volume.source.display(), mount.at);
        match config.mounts.get(&mount.at) {
            None => return differs(claim, "nothing attached there".to_owned()),
            Some(seen) if seen.source != mount.volume.source || seen.read_only != mount.read_only => {
                let access = if seen.read_only { "read-only" } else { "writable" };
                return differs(claim, format!("{} attached there, {access}", seen.source.display()));
            }
            Some(_) => {}
        }
    }
    if life.record(&Step::AutostartSet).done && config.autostart != spec.autostart.enabled {
        return differs(format!("autostart {}", spec.autostart.enabled), format!("autostart {}", config.autostart));
    }
    None
}
