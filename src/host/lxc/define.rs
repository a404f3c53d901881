//! Bringing a container about, and its configuration.
//!
//! A container is built whole in a directory of its own, mark included, made durable, and renamed to its place if nothing lies
//! there. So nothing at the place is ever half-made by us, and what lies in the staging directory of our incarnation is ours.
//! Not here: shared mounts (`volume`) and destruction (`destroy`).

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use phoenix_journal::Digest;

use crate::ids::{Ctid, IdKind, Incarnation};
use crate::machine::{Evidence, FailureClass, StepResult};
use crate::manifest::{Origin, Template};
use crate::plan::Reason;
use crate::shim::{self, Kept, Task};

use super::super::local::act::{Act, Taken, at, drift, failed, io_failed, judge_mark, owner};
use super::super::local::durable;
use super::super::local::inside::{Inside, set_hostname};
use super::super::local::life::host_environment;
use super::config::{Config, MOUNT_KEY};
use super::layout::{CONFIG_FILE, ROOTFS};
use super::mark::{self, MARK_BYTES_MAX, MARK_FILE};
use super::wanted::{self, Wanted};
use super::{Lxc, observe, removal};

/// Permission bits of the configuration and the mark.
const FILE_MODE: u32 = 0o600;
/// A container's directory lets its own root pass, by group, and nobody else: set-user-id programs of the container are not
/// for the host's users.
const CONTAINER_MODE: u32 = 0o710;
/// Where Phoenix's notes lie inside.
const NOTES: &str = "var/lib/phoenix";

impl Act<'_, Lxc> {
    pub(super) fn create(&self, template: Option<Digest>) -> Taken {
        if let Some(left_out) = self.found_at_place()? {
            return Ok(Evidence::Created { left_out });
        }
        let archive = self.archive(template)?;
        let staging = self.staging()?;
        let rootfs = staging.join(ROOTFS);
        let idmap = self.effect.spec.idmap.clone();
        let left_out = cleaning_up(&staging, || {
            make_directory(&rootfs, 0o755)?;
            let result = self.run(Task::Unpack { archive, rootfs: rootfs.clone(), idmap }, Vec::new(), Vec::new())?;
            if shim::ran_out_of_memory(&result.ending) {
                let mib = shim::UNPACK_MEMORY_BYTES_MAX / (1024 * 1024);
                let message = format!("unpacking the template takes more memory than is allowed ({mib} MiB); rebuild it with a plain tar");
                return Err(failed(FailureClass::Permanent, message));
            }
            self.expect_success(&result, "unpacking the template", None)?;
            Ok(result.unpacked.map_or(0, |unpacked| unpacked.left_out))
        })?;
        cleaning_up(&staging, || self.complete(&staging, left_out))?;
        Ok(Evidence::Created { left_out })
    }

    pub(super) fn clone_from(&self, source: Ctid, incarnation: Incarnation) -> Taken {
        if self.found_at_place()?.is_some() {
            return self.cloned(source, incarnation);
        }
        self.check_source(source, incarnation)?;
        let staging = self.staging()?;
        let (from, to) = (self.host.layout.rootfs(source), staging.join(ROOTFS));
        cleaning_up(&staging, || {
            let mut argv: Vec<OsString> = vec![self.host.programs.cp.clone().into()];
            argv.extend(["-a", "--reflink=auto", "--one-file-system", "-T", "--"].map(OsString::from));
            argv.extend([from.clone().into_os_string(), to.clone().into_os_string()]);
            let task = Task::Run { argv, env: host_environment(), kept: Kept::LockAndToken };
            // The sync of the whole file system that follows makes the copy durable too.
            let result = self.run(task, Vec::new(), Vec::new())?;
            self.expect_success(&result, "copying the root file system", Some(format!("cp -a {} {}", from.display(), to.display())))?;
            self.forget_source(&to)?;
            self.complete(&staging, 0)
        })?;
        self.cloned(source, incarnation)
    }

    /// `Cloned`, with the shared mounts counted in what was written.
    pub(super) fn cloned(&self, source: Ctid, incarnation: Incarnation) -> Taken {
        let mounts = self.config()?.values(MOUNT_KEY).len();
        Ok(Evidence::Cloned { source, incarnation, shared_mounts: u32::try_from(mounts).unwrap_or(u32::MAX) })
    }

    /// Whether the container is at its place already, with what was left out of its archive; an end if something else is.
    pub(super) fn found_at_place(&self) -> Taken<Option<u32>> {
        let (layout, ctid) = (&self.host.layout, self.intent().ctid);
        let presence = observe::presence(layout, ctid).map_err(|error| io_failed("look at the container", &error))?;
        if presence.is_none() {
            return Ok(None);
        }
        let text = durable::read(&layout.container(ctid).join(MARK_FILE), MARK_BYTES_MAX).unwrap_or_default();
        match text.as_deref().and_then(mark::parse) {
            _ if phoenix_journal::sabotaged("strangers_are_adopted") => Ok(Some(0)),
            Some((found, left_out))
                if self.effect.mark.owns(&found) || self.effect.mark.outlived_by(&found, &self.effect.former).is_some() =>
            {
                judge_mark(&self.effect.mark, &self.effect.former, Some(&found))?;
                Ok(Some(left_out))
            }
            Some((found, _)) => Err(Box::new(StepResult::Foreign { owner: owner(&found) })),
            None => Err(Box::new(StepResult::Foreign { owner: format!("{}, without a mark", layout.container(ctid).display()) })),
        }
    }

    pub(super) fn mark(&self) -> Taken {
        match self.check_mark() {
            Err(result) if self.intent().reason == Reason::Asked && is_mark_missing(&result) => {
                self.write_mark(&self.host.layout.container(self.intent().ctid), 0)?;
                Ok(Evidence::Marked)
            }
            other => other.map(|()| Evidence::Marked),
        }
    }

    pub(super) fn configure(&self) -> Taken {
        self.check_mark()?;
        let wanted = self.wanted();
        self.rewrite(|config| wanted.applied_to(config))?;
        let idmap = &self.effect.spec.idmap;
        Inside::open(&self.host.layout.rootfs(self.intent().ctid), idmap)
            .and_then(|inside| set_hostname(&inside, &self.effect.spec.hostname))
            .map_err(|error| io_failed("write the host name", &error))?;
        self.configured(&wanted)
    }

    /// `Configured`, if the file says what is wanted.
    pub(super) fn configured(&self, wanted: &Wanted) -> Taken {
        match wanted.difference(&self.config()?) {
            None => Ok(Evidence::Configured { unenforced: wanted.unenforced.clone() }),
            Some(found) => Err(drift("the configuration equals the spec", found)),
        }
    }

    pub(super) fn set_autostart(&self) -> Taken {
        self.check_mark()?;
        let autostart = self.effect.spec.autostart;
        self.rewrite(|config| wanted::with_autostart(config, autostart))?;
        Ok(Evidence::AutostartSet { enabled: autostart.enabled })
    }

    pub(super) fn wanted(&self) -> Wanted {
        let rootfs = self.host.layout.rootfs(self.intent().ctid);
        Wanted::of(&self.effect.spec, &self.effect.mark, &rootfs, self.host.controllers)
    }

    /// The container's configuration.
    pub(super) fn config(&self) -> Taken<Config> {
        let ctid = self.intent().ctid;
        let found = observe::read_config(&self.host.layout, ctid).map_err(|error| io_failed("read the configuration", &error))?;
        found.ok_or_else(|| drift("the container has a configuration", "there is none"))
    }

    /// Changes the configuration durably, if it changes.
    pub(super) fn rewrite(&self, change: impl FnOnce(Config) -> Config) -> Taken<()> {
        let old = self.config()?;
        let new = change(old.clone());
        if new == old {
            return Ok(());
        }
        let path = self.host.layout.container(self.intent().ctid).join(CONFIG_FILE);
        durable::write(&path, new.to_string().as_bytes(), FILE_MODE).map_err(at("write", &path))
    }

    /// Opens the template and sees that it is the one planned; what is unpacked is what was hashed, by descriptor.
    fn archive(&self, planned: Option<Digest>) -> Taken<File> {
        let path = match &self.effect.spec.origin {
            Origin::Template(Template::File(path)) => path,
            Origin::Template(Template::Stored(name)) => {
                return Err(failed(
                    FailureClass::Permanent,
                    format!("{name} is a template of a Proxmox storage; name a file on plain LXC"),
                ));
            }
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
            Some(_) | None => Ok(archive),
        }
    }

    /// A new staging directory; one that is there is what an attempt before left.
    fn staging(&self) -> Taken<PathBuf> {
        let staging = self.host.layout.staging(self.intent().ctid, self.intent().incarnation);
        if std::fs::symlink_metadata(&staging).is_ok() {
            return Err(Box::new(StepResult::Partial { leftover: staging.display().to_string() }));
        }
        make_directory(&staging, 0o700)?;
        Ok(staging)
    }

    /// Adds configuration, mark and host name to a root file system, makes all of it durable and puts it in its place.
    fn complete(&self, staging: &Path, left_out: u32) -> Taken<()> {
        let (layout, intent) = (&self.host.layout, self.intent());
        let config = staging.join(CONFIG_FILE);
        std::fs::write(&config, self.wanted().fresh().to_string()).map_err(at("write", &config))?;
        std::fs::set_permissions(&config, PermissionsExt::from_mode(FILE_MODE)).map_err(at("write", &config))?;
        let mark = staging.join(MARK_FILE);
        std::fs::write(&mark, mark::write(&self.effect.mark, left_out)).map_err(at("write", &mark))?;
        std::fs::set_permissions(&mark, PermissionsExt::from_mode(FILE_MODE)).map_err(at("write", &mark))?;
        let idmap = &self.effect.spec.idmap;
        Inside::open(&staging.join(ROOTFS), idmap)
            .and_then(|inside| set_hostname(&inside, &self.effect.spec.hostname))
            .map_err(|error| io_failed("write the host name", &error))?;
        let group = idmap.to_host(IdKind::Group, 0);
        std::os::unix::fs::chown(staging, Some(0), group).map_err(at("change the group of", staging))?;
        std::fs::set_permissions(staging, PermissionsExt::from_mode(CONTAINER_MODE)).map_err(at("change the mode of", staging))?;
        durable::sync_file_system(staging).map_err(at("sync", staging))?;
        let place = layout.container(intent.ctid);
        match durable::rename_no_replace(staging, &place) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(Box::new(StepResult::Foreign { owner: format!("{}, made meanwhile by others", place.display()) }))
            }
            other => other.map_err(at("rename to", &place)),
        }
    }

    /// A clone source is ours, down, and has the map that the clone is to have: its files carry mapped ids.
    fn check_source(&self, source: Ctid, incarnation: Incarnation) -> Taken<()> {
        let layout = &self.host.layout;
        let found = observe::read_mark(layout, source).map_err(|error| io_failed("read the source's mark", &error))?;
        self.judge_source(source, incarnation, found.as_ref())?;
        if !observe::up(layout, source).map_err(|error| io_failed("look at the source", &error))?.is_down() {
            return Err(failed(FailureClass::Transient, format!("container {source} is up and cannot be copied")));
        }
        let config = observe::read_config(layout, source).map_err(|error| io_failed("read the source's configuration", &error))?;
        let map = config.and_then(|config| config.idmap().ok()).flatten();
        let wanted = &self.effect.spec.idmap;
        if map.as_ref() != (!wanted.is_identity()).then_some(wanted) {
            let found = map.map_or_else(|| "none".to_owned(), |map| map.to_string());
            return Err(failed(
                FailureClass::Permanent,
                format!("the id map of container {source} ({found}) is not the clone's ({wanted})"),
            ));
        }
        Ok(())
    }

    /// Takes away what would make the copy pass for its source.
    fn forget_source(&self, rootfs: &Path) -> Taken<()> {
        let inside = Inside::open(rootfs, &self.effect.spec.idmap).map_err(at("open", rootfs))?;
        // Where a link is on the way, or nothing, no note of ours lies.
        if inside.directory(Path::new("var/lib")).is_ok() {
            removal::remove_tree(&rootfs.join(NOTES)).map_err(at("remove the source's notes in", rootfs))?;
        }
        let machine_id = Path::new("etc/machine-id");
        if inside.read(machine_id).is_ok_and(|id| id.is_some_and(|id| !id.is_empty())) {
            // Empty, it is drawn anew at the first boot (`machine-id(5)`); two containers with one id get one address by DHCP.
            inside.write(machine_id, b"", 0o444).map_err(at("write /etc/machine-id in", rootfs))?;
        }
        Ok(())
    }

    fn write_mark(&self, container: &Path, left_out: u32) -> Taken<()> {
        let path = container.join(MARK_FILE);
        durable::write(&path, mark::write(&self.effect.mark, left_out).as_bytes(), FILE_MODE).map_err(at("write", &path))
    }
}

/// Takes the staging directory away if `work` fails. If that fails too, it is partial.
fn cleaning_up<T>(staging: &Path, work: impl FnOnce() -> Taken<T>) -> Taken<T> {
    work().map_err(|result| {
        // Processes that could not be ended may be writing still: looking comes first.
        let settled = matches!(&*result, StepResult::Failed(failure) if failure.class != FailureClass::Undead);
        if settled && removal::remove_tree(staging).is_err() {
            return Box::new(StepResult::Partial { leftover: staging.display().to_string() });
        }
        result
    })
}

fn is_mark_missing(result: &StepResult) -> bool {
    matches!(result, StepResult::Failed(failure) if failure.class == FailureClass::MarkMissing)
}

fn make_directory(path: &Path, mode: u32) -> Taken<()> {
    std::fs::DirBuilder::new().mode(mode).create(path).map_err(at("make", path))
}
