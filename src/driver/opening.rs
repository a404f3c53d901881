//! What a run writes first: declarations of new and changed specs, new budgets.
//!
//! Worked out from the journal before anything is written, and again under its lock. Pure but for the fresh ids that it is
//! handed. Not here: the writing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use phoenix_journal::Digest;

use crate::ids::{Ctid, FleetName, Generation, Incarnation, RunId, State, Step, StepId, Wall};
use crate::machine::{Decision, Declaration, Fact, Life, Note, OutOfTurn, RunCommand, RunOpened, Standing, Topic};
use crate::manifest::{Feature, HostOptions, Script, Spec, VolumeClaim, volume_conflicts};
use crate::plan::Repertoire;

/// What the journal says of each container; an error where it says what cannot be.
pub type Lives = BTreeMap<Ctid, Result<Life, OutOfTurn>>;

/// What a container is to be, as a manifest says it now.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The spec.
    pub spec: Arc<Spec>,
    /// BLAKE3 of its template, where templates are files.
    pub template: Option<Digest>,
    /// Which steps its host has.
    pub repertoire: Repertoire,
}

/// Why a manifest cannot be followed from where its containers are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The number belongs to another fleet of this journal.
    #[error("container {ctid} belongs to fleet {owner}; give this one another id, or `phoenix down {ctid}` first")]
    OtherFleet {
        /// The container.
        ctid: Ctid,
        /// The fleet that has it.
        owner: FleetName,
    },
    /// The manifest asks for something else than what was carried out already.
    #[error(
        "container {ctid} was brought up from another spec, and these are done already: {}; set the manifest back, or `phoenix down {ctid}` and then `phoenix up`",
        differences.join(", ")
    )]
    Changed {
        /// The container.
        ctid: Ctid,
        /// What differs, by manifest key.
        differences: Vec<String>,
    },
    /// Another fleet of this journal wants the same directory to belong to somebody else.
    #[error("{}, but {}", claim(one), claim(other))]
    Claimed {
        /// One wish.
        one: VolumeClaim,
        /// The other.
        other: VolumeClaim,
    },
    /// A step of the old spec is in doubt: what became of it is found out first.
    #[error(
        "container {ctid} is to change while {step} is in doubt; `phoenix resume --fleet {fleet}` finds out what became of it, then `phoenix up`"
    )]
    InDoubt {
        /// The container.
        ctid: Ctid,
        /// Its fleet.
        fleet: FleetName,
        /// The step.
        step: StepId,
    },
}

/// The declarations and budgets that `up` begins with; empty if the journal says all of it already.
pub fn opening_up(
    run: RunId,
    fleet: &FleetName,
    wanted: &BTreeMap<Ctid, Wanted>,
    lives: &Lives,
    mut incarnation: impl FnMut() -> Incarnation,
    at: Wall,
) -> Result<Vec<Fact>, Vec<PlanError>> {
    let (mut facts, mut errors) = (Vec::new(), Vec::new());
    for (&ctid, wanted) in wanted {
        match lives.get(&ctid) {
            None => {
                facts.push(declare(run, fleet, ctid, wanted, incarnation(), Generation::FIRST, (State::Declared, Standing::Active), at));
            }
            // Nothing can be declared on an account that cannot be read; the engine sets the container aside.
            Some(Err(_)) => {}
            Some(Ok(life)) => match continue_life(run, fleet, wanted, life, &mut incarnation, at) {
                Ok(more) => facts.extend(more),
                Err(error) => errors.push(error),
            },
        }
    }
    errors.extend(conflicts(fleet, wanted, lives));
    if errors.is_empty() { Ok(facts) } else { Err(errors) }
}

/// Directories that another fleet of this journal wants to belong to somebody else.
fn conflicts(fleet: &FleetName, wanted: &BTreeMap<Ctid, Wanted>, lives: &Lives) -> Vec<PlanError> {
    let ours = wanted.values().flat_map(|wanted| wanted.spec.volume_claims(fleet));
    let others = lives.values().flatten().filter(|life| life.may_exist() && !wanted.contains_key(&life.ctid()));
    let claims: Vec<VolumeClaim> = ours.chain(others.flat_map(|life| life.spec.volume_claims(&life.fleet))).collect();
    let conflicts = volume_conflicts(&claims).into_iter();
    conflicts.map(|(one, other)| PlanError::Claimed { one: one.clone(), other: other.clone() }).collect()
}

fn claim(claim: &VolumeClaim) -> String {
    let VolumeClaim { fleet, ctid, volume, source, owner } = claim;
    format!("volume {volume} of container {ctid} (fleet {fleet}) wants {} to belong to {owner} on the host", source.display())
}

/// The first entry of every run.
pub fn run_opened(run: RunId, command: RunCommand, containers: BTreeMap<Ctid, FleetName>, jobs: usize, at: Wall) -> Fact {
    let jobs = u32::try_from(jobs).unwrap_or(u32::MAX);
    Fact::RunOpened(Box::new(RunOpened { run, command, containers, jobs, at }))
}

fn continue_life(
    run: RunId,
    fleet: &FleetName,
    wanted: &Wanted,
    life: &Life,
    incarnation: &mut impl FnMut() -> Incarnation,
    at: Wall,
) -> Result<Vec<Fact>, PlanError> {
    let ctid = life.ctid();
    if life.fleet != *fleet && life.may_exist() {
        return Err(PlanError::OtherFleet { ctid, owner: life.fleet.clone() });
    }
    let same = same_spec(&life.spec, &wanted.spec);
    if life.is_ended() {
        let generation = if same { life.generation } else { life.generation.next() };
        return Ok(vec![declare(run, fleet, ctid, wanted, incarnation(), generation, (State::Declared, Standing::Active), at)]);
    }
    let mut facts = Vec::new();
    let standing = match &life.standing {
        Standing::Failed { .. } | Standing::Waiting(_) => Standing::Active,
        other @ (Standing::Active | Standing::Quarantined(_)) => other.clone(),
    };
    let template_changed = life.template != wanted.template && !life.may_exist();
    if !same || template_changed || life.fleet != *fleet {
        let differences = settled_differences(life, &wanted.spec);
        if !differences.is_empty() {
            return Err(PlanError::Changed { ctid, differences });
        }
        if let Some((_, _, intent)) = life.open() {
            return Err(PlanError::InDoubt { ctid, fleet: life.fleet.clone(), step: intent.step.clone() });
        }
        let generation = life.generation.next();
        facts.push(declare(run, fleet, ctid, wanted, life.incarnation(), generation, (life.state(), life.standing.clone()), at));
    }
    if standing != life.standing {
        let generation = if facts.is_empty() { life.generation } else { life.generation.next() };
        facts.push(Fact::Noted(Box::new(Note {
            run,
            ctid,
            incarnation: life.incarnation(),
            generation,
            topic: Topic::Decided(Decision::NewBudget { step: None }),
            state: life.state(),
            standing,
            at,
        })));
    }
    Ok(facts)
}

#[expect(clippy::too_many_arguments, reason = "a declaration has this many facts, and this is the one place that puts them together")]
fn declare(
    run: RunId,
    fleet: &FleetName,
    ctid: Ctid,
    wanted: &Wanted,
    incarnation: Incarnation,
    generation: Generation,
    (state, standing): (State, Standing),
    at: Wall,
) -> Fact {
    Fact::Declared(Box::new(Declaration {
        run,
        fleet: fleet.clone(),
        ctid,
        incarnation,
        generation,
        spec: Arc::clone(&wanted.spec),
        template: wanted.template,
        repertoire: wanted.repertoire,
        state,
        standing,
        at,
    }))
}

/// Whether two specs ask for the same; where a script was read from does not matter, what it says does.
fn same_spec(old: &Spec, new: &Spec) -> bool {
    bare(old) == bare(new)
}

/// A spec without what is not part of what it asks for.
fn bare(spec: &Spec) -> Spec {
    let strip = |script: &Script| Script { path: std::path::PathBuf::new(), text: None, ..script.clone() };
    Spec {
        features: spec.features.iter().map(|feature| Feature { name: feature.name.clone(), script: strip(&feature.script) }).collect(),
        application: spec.application.as_ref().map(strip),
        ..spec.clone()
    }
}

/// The manifest keys in which the specs differ although the step that answers for them has succeeded.
fn settled_differences(life: &Life, new: &Spec) -> Vec<String> {
    if !life.may_exist() {
        return Vec::new();
    }
    let (old, new) = (bare(&life.spec), bare(new));
    // Destructured without `..`, so that a new key has to find its place here.
    let Spec {
        ctid: _,
        hostname,
        origin,
        unprivileged,
        idmap,
        resources,
        network,
        mounts,
        depends_on,
        features,
        application,
        health,
        ready,
        autostart,
        host_options,
    } = &old;
    let made = life.may_exist();
    let configured = life.record(&Step::ConfigureSet).done || made;
    let mut differences = Vec::new();
    let mut differs = |key: &str, changed: bool, settled: bool| {
        if changed && settled {
            differences.push(key.to_owned());
        }
    };
    differs("hostname", *hostname != new.hostname, configured);
    differs("template or clone_from", *origin != new.origin, made);
    differs("unprivileged", *unprivileged != new.unprivileged, made);
    differs("idmap", *idmap != new.idmap, made);
    differs("memory_mb, swap_mb, cores or disk_gb", *resources != new.resources, configured);
    differs("network", *network != new.network, configured);
    let volumes_begun = life.state() >= State::Volumed
        || life.records().iter().any(|(step, record)| record.done && matches!(step, Step::VolumePrepare(_) | Step::VolumeAttach(_)));
    differs("volumes", *mounts != new.mounts, volumes_begun);
    differs("depends_on", *depends_on != new.depends_on, life.state() >= State::Running);
    differs("ready", *ready != new.ready, life.state() >= State::Running);
    differs("autostart or startup", *autostart != new.autostart, life.record(&Step::AutostartSet).done);
    let settled = Settled { configured, volumes_begun, autostart_set: life.record(&Step::AutostartSet).done };
    options_differ(host_options, &new.host_options, settled, &mut differs);
    differs("application", *application != new.application, life.record(&Step::ApplicationRun).done || life.state() == State::Done);
    differs("health", *health != new.health, life.state() == State::Done);
    let names: BTreeSet<_> = features.iter().chain(&new.features).map(|feature| &feature.name).collect();
    for name in names {
        let of = |spec: &Spec| spec.features.iter().find(|feature| feature.name == *name).cloned();
        let applied = life.record(&Step::FeatureApply(name.clone())).done || life.state() >= State::Featured;
        differs(&format!("feature {name}"), of(&old) != of(&new), applied);
    }
    differences
}

/// How far a container is, as far as it decides what may still change.
#[derive(Clone, Copy)]
struct Settled {
    configured: bool,
    volumes_begun: bool,
    autostart_set: bool,
}

/// The keys that only some hosts know.
fn options_differ(old: &HostOptions, new: &HostOptions, settled: Settled, differs: &mut impl FnMut(&str, bool, bool)) {
    let Settled { configured, volumes_begun, autostart_set } = settled;
    // Destructured without `..`, so that a new key has to find its place here.
    let HostOptions {
        storage,
        lxc_features,
        // Whether a template may be fetched says nothing about a container that is made already.
        fetch_template: _,
        snapshot_before_volumes,
        devices,
        hookscript,
        pool,
        tags,
        protection,
        nameservers,
        searchdomain,
        timezone,
        firewall,
    } = old;
    differs("storage", *storage != new.storage, configured);
    differs("lxc_features", *lxc_features != new.lxc_features, configured);
    differs("snapshot_before_volumes", *snapshot_before_volumes != new.snapshot_before_volumes, volumes_begun);
    differs("devices", *devices != new.devices, configured);
    differs("hookscript", *hookscript != new.hookscript, configured);
    differs("pool", *pool != new.pool, configured);
    differs("tags", *tags != new.tags, configured);
    differs("protection", *protection != new.protection, autostart_set);
    differs("nameserver", *nameservers != new.nameservers, configured);
    differs("searchdomain", *searchdomain != new.searchdomain, configured);
    differs("timezone", *timezone != new.timezone, configured);
    differs("firewall", *firewall != new.firewall, configured);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_both_sides() {
        let claim = |fleet: &str, ctid: u32, uid: u32| VolumeClaim {
            fleet: fleet.parse().expect("a name"),
            ctid: Ctid::new(ctid).expect("in range"),
            volume: "media".parse().expect("a name"),
            source: "/srv/media".into(),
            owner: crate::manifest::HostOwner { uid, gid: uid },
        };
        let conflict = PlanError::Claimed { one: claim("a", 101, 101_000), other: claim("b", 201, 5) };
        assert_eq!(
            conflict.to_string(),
            "volume media of container 101 (fleet a) wants /srv/media to belong to 101000:101000 on the host, \
             but volume media of container 201 (fleet b) wants /srv/media to belong to 5:5 on the host"
        );
    }
}
