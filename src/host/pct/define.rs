//! Bringing a container about: one `pct create`, or one `pct clone` and what its configuration must not bring along.
//!
//! Everything that can be given at once is, the mark included, so that a container whose configuration is whole bears it. Not
//! here: what a cut-off call leaves (`leftover`), and taking it away (`repair`).

use std::fs::File;

use phoenix_journal::Digest;

use crate::host::local::act::{Act, Taken, at, drift, failed, judge_mark, owner, tail};
use crate::ids::{Ctid, Incarnation};
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::manifest::{Origin, Template};
use crate::plan::{CopyFrom, Reason, SNAPSHOT_FOR_CLONES, STORAGE_DEFAULT};
use crate::shim::JobResult;

use super::config::Config;
use super::config::values::MountSource;
use super::leftover::Leftover;
use super::wanted::Wanted;
use super::{Pct, mark, snapshot};

/// What Proxmox itself gives a root file system that nobody gave a size, in GiB.
const DISK_GB_DEFAULT: u32 = 4;

/// Lines that mount what a person chose, past `pct`.
const RAW_MOUNT: &str = "lxc.mount.entry";

/// What lies at a container's number.
pub(super) enum AtPlace {
    /// Nothing.
    Nothing,
    /// A whole container with our mark.
    Ours,
    /// A container that is not whole, made by this very intent.
    HalfMade(Leftover),
}

impl Act<'_, Pct> {
    pub(super) fn create(&self, template: Option<Digest>) -> Taken {
        match self.at_place("vzcreate", self.intent().ctid, None)? {
            AtPlace::Ours => {
                self.make_durable()?;
                return Ok(Evidence::Created { left_out: 0 });
            }
            AtPlace::HalfMade(left) => return Err(partial(&left)),
            AtPlace::Nothing => {}
        }
        let said = self.pct(self.creation(&self.template(template)?))?;
        match self.at_place("vzcreate", self.intent().ctid, Some(&said.result))? {
            AtPlace::Ours => self.make_durable_after(&said).map(|()| Evidence::Created { left_out: 0 }),
            AtPlace::HalfMade(left) => Err(partial(&left)),
            AtPlace::Nothing => Err(self.refused(&said, "the container was not created")),
        }
    }

    pub(super) fn clone_from(&self, source: Ctid, incarnation: Incarnation, from: CopyFrom) -> Taken {
        match self.at_place("vzclone", source, None)? {
            AtPlace::Ours => {
                self.make_durable()?;
                return self.shed(source, incarnation);
            }
            AtPlace::HalfMade(left) => return Err(partial(&left)),
            AtPlace::Nothing => {}
        }
        self.check_source(source, incarnation, from)?;
        let said = self.pct(self.cloning(source, from))?;
        match self.at_place("vzclone", source, Some(&said.result))? {
            AtPlace::Ours => self.make_durable_after(&said).and_then(|()| self.shed(source, incarnation)),
            AtPlace::HalfMade(left) => Err(partial(&left)),
            AtPlace::Nothing => Err(self.refused(&said, "the container was not cloned")),
        }
    }

    /// What lies at the container's number; an end if it is somebody else's, or if a worker lives that is about the container.
    /// `kind` and `task_of` name the task that would have made it, `result` is how the call ended, if one did.
    pub(super) fn at_place(&self, kind: &str, task_of: Ctid, result: Option<&JobResult>) -> Taken<AtPlace> {
        let refused = |words: &str| result.is_some_and(|result| was_refused(result, words));
        // Who finds its source locked did not lock it.
        let source = if kind == "vzclone" && !refused("CT is locked (") { self.locked_source(task_of)? } else { None };
        let place = self.lies_there(kind, task_of, source)?;
        match place {
            // One that lost the number to somebody else made nothing of what lies there.
            AtPlace::HalfMade(left) if refused(&format!("{} already exists", self.intent().ctid)) => {
                Err(foreign(format!("{left}: made by others while the number was free")))
            }
            AtPlace::HalfMade(_) | AtPlace::Ours => {
                // Ours has ended: what is at work here is another's, or is to be let finish.
                self.check_no_worker()?;
                Ok(place)
            }
            AtPlace::Nothing => Ok(place),
        }
    }

    fn lies_there(&self, kind: &str, task_of: Ctid, source: Option<(Ctid, String)>) -> Taken<AtPlace> {
        let ctid = self.intent().ctid;
        let left = Leftover { source, ..self.leftover()? };
        let Some(config) = self.found_config()? else {
            self.check_not_elsewhere()?;
            let strange = self.strange_volumes()?;
            if !strange.is_empty() {
                return Err(foreign(format!("volumes {}: left by others under this number; see `pvesm free`", strange.join(" "))));
            }
            // A source may be locked for something else than this clone.
            let nothing_here = Leftover { source: None, ..left.clone() }.is_empty();
            if left.is_empty() || (nothing_here && !self.made_it(kind, task_of)) {
                return Ok(AtPlace::Nothing);
            }
            if self.made_it(kind, task_of) {
                return Ok(AtPlace::HalfMade(left));
            }
            return Err(foreign(format!("{left}: left by others under this number; see `pvesm free` and `umount`, or choose another")));
        };
        let found = mark::of_config(&config.to_string());
        let ours = found.as_ref().is_some_and(|found| self.effect.mark.owns(found));
        match (found, config.main().lock()) {
            (Some(found), None) if ours => {
                judge_mark(&self.effect.mark, &self.effect.former, Some(&found))?;
                let copied = left.source.is_some() && self.made_it(kind, task_of);
                match config.main().value("rootfs") {
                    None => Ok(AtPlace::HalfMade(left)),
                    Some(_) if self.is_unfinished()? => Ok(AtPlace::HalfMade(left)),
                    // Cut off between the two locks: the clone is whole, its source is locked still.
                    Some(_) if copied => Ok(AtPlace::HalfMade(Leftover { source: left.source, ..Leftover::default() })),
                    Some(_) => Ok(AtPlace::Ours),
                }
            }
            (Some(_), Some("create")) if ours => Ok(AtPlace::HalfMade(left)),
            // Locked for something else, after it was made.
            (Some(_), Some(lock)) if ours => Err(self.locked(lock)),
            // Nothing but the lock. Whatever is more bears our mark from its first writing on, a clone as well.
            (None, Some("create")) if is_bare(&config) && self.made_it(kind, task_of) => Ok(AtPlace::HalfMade(left)),
            (Some(found), _) => {
                judge_mark(&self.effect.mark, &self.effect.former, Some(&found))?;
                Err(foreign(owner(&found)))
            }
            (None, Some(lock)) => Err(foreign(format!("a container that is locked ({lock}) and bears no mark"))),
            (None, None) => Err(foreign(format!("{}, without a mark", self.host.layout.config(ctid).display()))),
        }
    }

    /// `Cloned`, once nothing of the source is left in the configuration that must not be.
    fn shed(&self, source: Ctid, incarnation: Incarnation) -> Taken {
        let mut change = Wanted::of_clone(&self.effect.spec).change(&self.config()?);
        let mounts = self.config()?.main().mounts().map_err(|error| drift("the mount points can be read", error))?;
        let shared = mounts.iter().filter(|(_, mount)| !matches!(mount.source, MountSource::Volume(_)));
        change.delete.extend(shared.map(|(number, _)| format!("mp{number}")));
        if !change.is_empty() {
            self.set(&change)?;
        }
        self.cloned(source, incarnation)
    }

    /// `Cloned`, with the shared mounts counted in what is there; absent while something of the source is left.
    pub(super) fn cloned(&self, source: Ctid, incarnation: Incarnation) -> Taken {
        let config = self.config()?;
        let left = Wanted::of_clone(&self.effect.spec).change(&config);
        if !left.is_empty() {
            return Err(drift("the clone's configuration is its own", left.named()));
        }
        let mounts = config.main().mounts().map_err(|error| drift("the mount points can be read", error))?;
        let raw = config.main().raw().filter(|(key, _)| *key == RAW_MOUNT).count();
        let shared = mounts.values().filter(|mount| !matches!(mount.source, MountSource::Volume(_))).count() + raw;
        Ok(Evidence::Cloned { source, incarnation, shared_mounts: u32::try_from(shared).unwrap_or(u32::MAX) })
    }

    pub(super) fn mark(&self) -> Taken {
        match self.check_mark() {
            Err(result) if self.intent().reason == Reason::Asked && is_mark_missing(&result) => {
                let config = self.config()?;
                let old = config.main().description().map_err(|error| drift("the description can be read", error))?.unwrap_or_default();
                let text = mark::with_mark(&old, &self.effect.mark);
                let said = self.pct(self.words(["set"], ["--description", text.trim_end(), "--digest", &config.digest()]))?;
                self.check_mark().map_err(|_| self.refused(&said, "the mark was not written"))?;
                Ok(Evidence::Marked)
            }
            other => other.map(|()| Evidence::Marked),
        }
    }

    /// The words of `pct create`.
    fn creation(&self, template: &str) -> Vec<String> {
        let spec = &self.effect.spec;
        let options = &spec.host_options;
        let storage = options.storage.as_deref().unwrap_or(STORAGE_DEFAULT);
        let rootfs = format!("{storage}:{}", spec.resources.disk_gb.unwrap_or(DISK_GB_DEFAULT));
        let unprivileged = u8::from(spec.unprivileged).to_string();
        let description = mark::with_mark("", &self.effect.mark);
        let mut words = self.words(["create"], [template]);
        let mut add = |name: &str, value: &str| words.extend([format!("--{name}"), value.to_owned()]);
        // Left out, it means privileged on one version and unprivileged on the next.
        add("unprivileged", &unprivileged);
        add("onboot", "0");
        add("description", description.trim_end());
        add("rootfs", &rootfs);
        // Without it, an archive of a system that Proxmox does not know is taken for amd64, with noise.
        if let Some(arch) = architecture() {
            add("arch", arch);
        }
        if let Some(pool) = &options.pool {
            add("pool", pool);
        }
        for (key, value) in &Wanted::at_creation(spec) {
            add(key, value);
        }
        words
    }

    /// The words of `pct clone`. Always in full: a linked clone rests on its source.
    fn cloning(&self, source: Ctid, from: CopyFrom) -> Vec<String> {
        let spec = &self.effect.spec;
        let mut words: Vec<String> = ["clone".to_owned(), source.to_string(), self.intent().ctid.to_string()].into();
        let mut add = |name: &str, value: &str| words.extend([format!("--{name}"), value.to_owned()]);
        add("full", "1");
        add("hostname", spec.hostname.as_str());
        add("description", mark::with_mark("", &self.effect.mark).trim_end());
        if from == CopyFrom::Snapshot {
            add("snapname", SNAPSHOT_FOR_CLONES);
        }
        if let Some(storage) = &spec.host_options.storage {
            add("storage", storage);
        }
        if let Some(pool) = &spec.host_options.pool {
            add("pool", pool);
        }
        words
    }

    /// The template as `pct` is told of it; a file is seen to be the one planned.
    fn template(&self, planned: Option<Digest>) -> Taken<String> {
        let path = match &self.effect.spec.origin {
            Origin::Template(Template::Stored(name)) => return Ok(name.clone()),
            Origin::Template(Template::File(path)) => path,
            Origin::Clone { source } => {
                return Err(failed(FailureClass::Permanent, format!("the spec is a clone of {source} and has no template")));
            }
        };
        let archive = File::open(path).map_err(at("open the template", path))?;
        if !archive.metadata().map_err(at("look at", path))?.is_file() {
            return Err(failed(FailureClass::Permanent, format!("{} is not a regular file; name an archive", path.display())));
        }
        let found = self.host.templates.of(&archive).map_err(at("read", path))?;
        match planned {
            Some(planned) if planned != found => {
                let message =
                    format!("{} has changed since it was planned ({planned}, now {found}); run `phoenix up` again", path.display());
                Err(failed(FailureClass::Permanent, message))
            }
            Some(_) | None => Ok(path.display().to_string()),
        }
    }

    /// A clone source is ours, held, not locked, and has the map that the clone is to have: its files carry mapped ids.
    fn check_source(&self, source: Ctid, incarnation: Incarnation, from: CopyFrom) -> Taken<()> {
        let Some(config) = self.config_of(source)? else {
            return Err(failed(FailureClass::Permanent, format!("container {source}, which is to be copied, is not there")));
        };
        self.judge_source(source, incarnation, mark::of_config(&config.to_string()).as_ref())?;
        if let Some(lock) = config.main().lock() {
            return Err(self.locked_of(source, lock));
        }
        if from == CopyFrom::Snapshot {
            snapshot::check(&config, source)?;
        } else if !self.up_of(source)?.is_down() {
            return Err(failed(FailureClass::Transient, format!("container {source} is up and cannot be copied")));
        }
        if config.main().raw().any(|(key, _)| key == RAW_MOUNT) {
            let message = format!("container {source} has `{RAW_MOUNT}` lines, which its clones would share; take them out of the source");
            return Err(failed(FailureClass::Permanent, message));
        }
        let map = config.main().idmap().map_err(|error| drift("the source has an id map", error))?;
        let wanted = &self.effect.spec.idmap;
        if map.as_ref() != (!wanted.is_identity()).then_some(wanted) {
            let found = map.map_or_else(|| "none".to_owned(), |map| map.to_string());
            let message = format!("the id map of container {source} ({found}) is not the clone's ({wanted})");
            return Err(failed(FailureClass::Permanent, message));
        }
        Ok(())
    }

    /// The source of a clone, if it bears the lock that a cut-off clone leaves, with its configuration's digest.
    pub(super) fn locked_source(&self, source: Ctid) -> Taken<Option<(Ctid, String)>> {
        let config = self.config_of(source)?;
        Ok(config.filter(|config| config.main().lock() == Some("disk")).map(|config| (source, config.digest())))
    }
}

/// Whether `pct` failed with these words, which it says before it begins.
fn was_refused(result: &JobResult, words: &str) -> bool {
    !result.ending.is_success() && tail(&result.output().unwrap_or_default()).contains(words)
}

/// What a cut-off call left, to be put right.
pub(super) fn partial(left: &Leftover) -> Box<StepResult> {
    Box::new(StepResult::Partial { leftover: left.to_string() })
}

/// Whether a configuration says nothing but that it is locked.
fn is_bare(config: &Config) -> bool {
    config.main().settings().all(|(key, _)| key == "lock") && config.main().raw().next().is_none()
}

fn foreign(owner: String) -> Box<StepResult> {
    Box::new(StepResult::Foreign { owner })
}

fn is_mark_missing(result: &StepResult) -> bool {
    matches!(result, StepResult::Failed(failure) if failure.class == FailureClass::MarkMissing)
}

/// This machine's architecture, as Proxmox calls it.
fn architecture() -> Option<&'static str> {
    match std::env::consts::ARCH {
        "x86_64" => Some("amd64"),
        "aarch64" => Some("arm64"),
        "riscv64" => Some("riscv64"),
        _ => None,
    }
}
