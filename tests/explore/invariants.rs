//! What must hold in every situation, one function a sentence.
//!
//! Apart from the search, which knows no fleets. Not here: `invariant_always_terminal_or_quarantined` as far as it is about
//! what follows (`search`).

use std::collections::BTreeMap;

use phoenix::engine::{Engine, Goal, Stand};
use phoenix::ids::{Ctid, State, Step};
use phoenix::machine::{RunEnd, Standing};
use phoenix::manifest::Origin;
use phoenix::plan::Effect;

use super::host::{Harm, ScriptEnd};
use super::node::{Budget, Fleet, Node, Op, Phase, told_by};
use super::search::{ALWAYS_ENDS, Violation};

/// All that can be asked of a situation.
pub(crate) fn of_situation(fleet: &Fleet, node: &Node, given: Budget) -> Result<(), Violation> {
    invariant_host_is_unharmed(node)?;
    invariant_acknowledged_is_durable(node)?;
    if let Phase::Ended(engine, end) = &node.phase {
        invariant_ended_means_terminal_or_quarantined(fleet, engine)?;
        invariant_crashes_alone_keep_nothing_from_its_end(node, *end, given)?;
        match node.goal {
            Goal::Up if *end == RunEnd::Done && !node.surprised => {
                invariant_done_means_done(fleet, engine, node)?;
                invariant_snapshots_are_released(node)?;
            }
            Goal::Down if *end == RunEnd::Done && !node.surprised => invariant_down_means_gone(engine, node)?,
            Goal::Up | Goal::Down => {}
        }
    }
    Ok(())
}

/// All that can be asked of an effect that is about to be recorded.
pub(crate) fn of_beginning(node: &Node, engine: &Engine, effect: &Effect, begun: &BTreeMap<Ctid, Op>) -> Result<(), Violation> {
    invariant_no_two_mutators(node, effect, begun)?;
    invariant_volumes_follow_finalization(engine, effect)?;
    invariant_dependents_wait(engine, effect)?;
    invariant_a_held_source_takes_no_other_step(engine, effect)?;
    invariant_clones_copy_what_is_held(engine, effect)
}

/// No effect is begun while another one, or the child of one that was cut off, holds one of its locks.
fn invariant_no_two_mutators(node: &Node, effect: &Effect, begun: &BTreeMap<Ctid, Op>) -> Result<(), Violation> {
    let locks = effect.locks();
    let shares = |op: &&Op| op.effect.locks().iter().any(|ctid| locks.contains(ctid));
    match node.ops.values().chain(begun.values()).find(shares) {
        None => Ok(()),
        Some(op) => {
            let (there, here) = (&op.effect.intent, &effect.intent);
            let what = format!("{} of {} begins while {} of {} is under way", here.step, here.ctid, there.step, there.ctid);
            Err(Violation::new("invariant_no_two_mutators", what))
        }
    }
}

/// No volume step begins in a container whose id map is not proved.
fn invariant_volumes_follow_finalization(engine: &Engine, effect: &Effect) -> Result<(), Violation> {
    let is_volume = matches!(effect.intent.step.step, Step::VolumePrepare(_) | Step::VolumeAttach(_) | Step::VolumeDetach(_));
    let ctid = effect.intent.ctid;
    let proved = engine.lives().any(|(of, life)| of == ctid && life.as_ref().is_ok_and(|life| life.proofs().finalization().is_some()));
    if !is_volume || proved {
        return Ok(());
    }
    Err(Violation::new("invariant_volumes_follow_finalization", format!("{} of {ctid} begins without it", effect.intent.step)))
}

/// From the intent of `clone.hold` to the outcome of `clone.release` nothing else is done to a source, unless it is to go.
fn invariant_a_held_source_takes_no_other_step(engine: &Engine, effect: &Effect) -> Result<(), Violation> {
    let ctid = effect.intent.ctid;
    let held = engine.lives().any(|(of, life)| of == ctid && life.as_ref().is_ok_and(|life| life.held().is_some()));
    if !held || matches!(effect.intent.step.step, Step::CloneHold | Step::CloneRelease | Step::DownStop | Step::DownDestroy) {
        return Ok(());
    }
    let what = format!("{} of {ctid} begins while it is held", effect.intent.step);
    Err(Violation::new("invariant_a_held_source_takes_no_other_step", what))
}

/// No container is started for good before everything it depends on is done.
fn invariant_dependents_wait(engine: &Engine, effect: &Effect) -> Result<(), Violation> {
    if effect.intent.step != Step::RunStart.id() {
        return Ok(());
    }
    let is_done = |on: Ctid| {
        engine.lives().any(|(ctid, life)| {
            ctid == on && life.as_ref().is_ok_and(|life| life.state() == State::Done && life.standing == Standing::Active)
        })
    };
    match effect.spec.depends_on.iter().find(|&&on| !is_done(on)) {
        None => Ok(()),
        Some(on) => Err(Violation::new("invariant_dependents_wait", format!("{} is started before {on} is done", effect.intent.ctid))),
    }
}

/// No clone is made of a source that the journal does not call held.
fn invariant_clones_copy_what_is_held(engine: &Engine, effect: &Effect) -> Result<(), Violation> {
    let (Step::DefineClone, false, Origin::Clone { source }) = (&effect.intent.step.step, effect.intent.step.repair, &effect.spec.origin)
    else {
        return Ok(());
    };
    let held = engine.lives().any(|(ctid, life)| {
        ctid == *source
            && life.as_ref().is_ok_and(|life| life.held().is_some() && life.record(&Step::CloneHold).done && life.open().is_none())
    });
    if held { Ok(()) } else { Err(Violation::new("invariant_clones_copy_what_is_held", format!("{source} is not held"))) }
}

/// What the host notices while it happens: strangers are not touched, each start of a script is explained, a held source
/// stays down, nothing is attached before the id map exists.
fn invariant_host_is_unharmed(node: &Node) -> Result<(), Violation> {
    let Some(harm) = node.host.harm.first() else { return Ok(()) };
    let (invariant, what) = match harm {
        Harm::ForeignTouched(what) => ("invariant_foreign_untouched", what),
        Harm::StartUnexplained(what) => ("invariant_script_starts_are_explained", what),
        Harm::HeldSourceUp(what) => ("invariant_held_source_stays_down", what),
        Harm::LiveSourceStopped(what) => ("invariant_a_live_source_keeps_running", what),
        Harm::AttachedWithoutMap(what) => ("invariant_volumes_follow_finalization", what),
    };
    Err(Violation::new(invariant, what.clone()))
}

/// What anybody was told of is in the journal, whatever crashed since.
fn invariant_acknowledged_is_durable(node: &Node) -> Result<(), Violation> {
    if node.told <= node.journal.len() {
        return Ok(());
    }
    let what = format!("{} entries were acknowledged, and the journal holds {}", node.told, node.journal.len());
    Err(Violation::new("invariant_acknowledged_is_durable", what))
}

/// What the journal tells is what the engine has in mind: the fold of history and the fold of the present are one.
pub(crate) fn invariant_journal_tells_what_the_engine_knows(node: &Node) -> Result<(), Violation> {
    let (told, known) = (format!("{:#?}", told_by(&node.journal)), format!("{:#?}", node.lives()));
    if told == known {
        return Ok(());
    }
    let differing = told.lines().zip(known.lines()).find(|(told, known)| told != known);
    Err(Violation::new("invariant_journal_tells_what_the_engine_knows", format!("{differing:?}")))
}

/// As long as others hold the lock of a step in doubt, they may still be about to take it: nothing is said of it.
pub(crate) fn invariant_what_others_hold_stays_in_doubt(node: &Node, ctid: Ctid) -> Result<(), Violation> {
    if node.lives()[&ctid].as_ref().is_ok_and(|life| life.open().is_some()) {
        return Ok(());
    }
    Err(Violation::new("invariant_what_others_hold_stays_in_doubt", format!("the step of {ctid} is closed")))
}

/// A run that has ended has brought each container where it should be, or says what keeps it.
fn invariant_ended_means_terminal_or_quarantined(fleet: &Fleet, engine: &Engine) -> Result<(), Violation> {
    for &ctid in fleet.wanted.keys() {
        let stand = engine.stand(ctid);
        let explained = match &stand {
            Some(Stand::There) => true,
            Some(Stand::Stuck(standing)) => *standing != Standing::Active,
            Some(Stand::Blocked(on)) => engine.stand(*on) != Some(Stand::There),
            Some(Stand::UnderWay | Stand::Undecodable(_)) | None => false,
        };
        if !explained {
            return Err(Violation::new(ALWAYS_ENDS, format!("the run has ended, and {ctid} is {stand:?}")));
        }
    }
    Ok(())
}

/// Where nothing failed and nobody meddled, every run that is not killed ends well, whatever was killed before.
fn invariant_crashes_alone_keep_nothing_from_its_end(node: &Node, end: RunEnd, given: Budget) -> Result<(), Violation> {
    // What was half destroyed when somebody said `up` after all is a person's to decide.
    let harmless = node.left.failures == given.failures && node.left.meddlers == given.meddlers && node.left.ups == given.ups;
    if end == RunEnd::Done || !harmless {
        return Ok(());
    }
    Err(Violation::new("invariant_crashes_alone_keep_nothing_from_its_end", format!("the run ended {end:?}")))
}

/// A run that ended well left no snapshot that a source was held by, whatever became of its clones.
fn invariant_snapshots_are_released(node: &Node) -> Result<(), Violation> {
    let left = node.host.places.iter().find(|(_, place)| place.guest.as_ref().is_some_and(|guest| guest.copy.is_some()));
    match left {
        None => Ok(()),
        Some((ctid, _)) => Err(Violation::new("invariant_snapshots_are_released", format!("{ctid} still has its snapshot for clones"))),
    }
}

/// A run that ended well left every container whole, ours, as its spec says, up, and with every script completed.
fn invariant_done_means_done(fleet: &Fleet, engine: &Engine, node: &Node) -> Result<(), Violation> {
    for (ctid, life) in engine.lives() {
        let spec = fleet.spec(ctid);
        let place = node.host.place(ctid);
        let whole = life.as_ref().ok().zip(place.guest.as_ref()).is_some_and(|(life, guest)| {
            guest.incarnation == Some(life.incarnation())
                && (!guest.half && guest.marked && guest.mapped && guest.configured)
                && guest.autostart == spec.autostart.enabled
                && guest.locked_for.is_none()
                && spec.mounts.iter().all(|mount| guest.attached.contains(&mount.at))
                && life.init() == node.host.init(ctid).as_ref()
        });
        let scripts = spec.features.iter().map(|feature| Step::FeatureApply(feature.name.clone()));
        let scripts = scripts.chain(spec.application.iter().map(|_| Step::ApplicationRun)).collect::<Vec<_>>();
        let completed = scripts.iter().all(|step| place.scripts.get(step) == Some(&ScriptEnd::Succeeded));
        if !whole || !completed || place.up.is_none() || place.held.is_some() {
            return Err(Violation::new("invariant_done_means_done", format!("{ctid} counts as done, and is {place:#?}")));
        }
    }
    Ok(())
}

/// A `down` that ended well left nothing on the host that can be shown to be ours.
fn invariant_down_means_gone(engine: &Engine, node: &Node) -> Result<(), Violation> {
    for (ctid, _) in engine.lives() {
        let place = node.host.place(ctid);
        if place.guest.as_ref().is_some_and(|guest| guest.incarnation.is_some() && guest.marked)
            || (place.guest.is_none() && place.up.is_some())
        {
            return Err(Violation::new("invariant_down_means_gone", format!("{ctid} counts as gone, and is {place:#?}")));
        }
    }
    Ok(())
}
