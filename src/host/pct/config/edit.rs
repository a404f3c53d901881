//! Changes of the main section.
//!
//! Apart from reading because nothing else may: a line at the end of the file would land in a snapshot. What is written stands
//! where Proxmox itself would put it, so that its next write of the file changes nothing. Not here: replacing the file.

use std::collections::BTreeSet;
use std::path::Path;

use crate::ids::Target;

use super::line::Line;
use super::property::{MOUNT, PropertyError, PropertyString, short};
use super::section::{MOUNT_MAX, number_of};
use super::{Config, ConfigError, text};

/// Why a change is not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// What stands there cannot be read.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What is to be written cannot be.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// No key or value that a line can hold.
    #[error("`{key}: {value}` cannot be written as a line of the configuration")]
    Unwritable {
        /// The key.
        key: String,
        /// The value, shortened.
        value: String,
    },
    /// Something other than a directory is attached there.
    #[error("`{key}` attaches something else at {at}; take it off with `pct set ID --delete {key}`, or name another target")]
    Occupied {
        /// The key that attaches it.
        key: String,
        /// Where.
        at: Target,
    },
    /// A change of the same mount point waits for the next start and would undo this one.
    #[error("a change of `{key}` is pending; see `pct pending ID`, and take it back with `pct set ID --revert {key}`")]
    Pending {
        /// The key.
        key: String,
    },
    /// Every number is taken.
    #[error("all mount points up to mp{MOUNT_MAX} are taken; take one off with `pct set ID --delete mpN`")]
    Full,
}

impl Config {
    /// Gives a key of the main section a value, in its place among the others.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), EditError> {
        let line = writable(Line::setting(key, value), Line::as_setting, key, value)?;
        let of_key = |line: &Line| line.as_setting().is_some_and(|(found, _)| found == key);
        // Of two the last counts; the others would be left out by the next write of Proxmox's.
        let last = self.main.iter().rposition(of_key);
        match last {
            Some(last) if self.main[last].as_setting() == Some((key, value)) => {}
            Some(last) => self.main[last] = line,
            None => {
                let at = self.place_of(|found| found > key);
                self.insert(at, line);
                return Ok(());
            }
        }
        let mut index = 0;
        self.main.retain(|line| {
            index += 1;
            !of_key(line) || last == Some(index - 1)
        });
        Ok(())
    }

    /// Takes a key out of the main section.
    pub fn remove(&mut self, key: &str) {
        self.main.retain(|line| line.as_setting().is_none_or(|(found, _)| found != key));
    }

    /// Writes the lines of a raw key (`lxc.idmap`) anew, where the first of them stood.
    pub fn set_raw<'a>(&mut self, key: &str, values: impl IntoIterator<Item = &'a str>) -> Result<(), EditError> {
        let lines: Vec<Line> =
            values.into_iter().map(|value| writable(Line::raw(key, value), Line::as_raw, key, value)).collect::<Result<_, _>>()?;
        let of_key = |line: &Line| line.as_raw().is_some_and(|(found, _)| found == key);
        if self.main.iter().filter(|line| of_key(line)).map(Line::as_raw).eq(lines.iter().map(Line::as_raw)) {
            return Ok(());
        }
        let at = self.main.iter().position(of_key).unwrap_or_else(|| self.end());
        self.main.retain(|line| !of_key(line));
        for (index, line) in lines.into_iter().enumerate() {
            self.insert(at + index, line);
        }
        Ok(())
    }

    /// Writes the description anew, at the top; nothing of it is left if `description` is empty.
    pub fn set_description(&mut self, description: &str) {
        let old = |line: &Line| line.as_remark().is_some() || line.as_setting().is_some_and(|(key, _)| key == "description");
        self.main.retain(|line| !old(line));
        for (index, line) in description.lines().enumerate() {
            self.insert(index, Line::remark(&text::encode(line)));
        }
    }

    /// Attaches a directory of the host at a target and says as which mount point: the one that has the target already, with the
    /// properties not named here as they are; else the lowest free one. A number that something pending names is not free.
    pub fn attach(&mut self, source: &Path, at: &Target, properties: &[(&str, Option<&str>)]) -> Result<u16, EditError> {
        let number = match self.attached_at(at)? {
            Some((number, true)) => number,
            Some((number, false)) => return Err(EditError::Occupied { key: format!("mp{number}"), at: at.clone() }),
            None => self.free_mount()?,
        };
        let key = format!("mp{number}");
        if self.waiting().contains(key.as_str()) {
            return Err(EditError::Pending { key });
        }
        let mut mount = self.main().properties(&key, &MOUNT)?.unwrap_or_else(|| PropertyString::empty(&MOUNT));
        let source = source.to_str().ok_or_else(|| EditError::Unwritable { key: key.clone(), value: short(&source.to_string_lossy()) })?;
        mount.set("volume", source)?;
        if mount.get("mp").is_none() {
            mount.set("mp", at.as_str())?;
        }
        for (name, value) in properties {
            mount.put(name, *value)?;
        }
        self.set(&key, &mount.to_string())?;
        Ok(number)
    }

    /// Takes the directory off that is attached at a target, and says which mount point it was.
    pub fn detach(&mut self, at: &Target) -> Result<Option<u16>, EditError> {
        match self.attached_at(at)? {
            Some((number, true)) => {
                self.remove(&format!("mp{number}"));
                Ok(Some(number))
            }
            // A volume must not be taken out by an edit: it would stay on its storage, and nothing would name it.
            Some((number, false)) => Err(EditError::Occupied { key: format!("mp{number}"), at: at.clone() }),
            None => Ok(None),
        }
    }

    /// The mount point with this target, and whether it is a directory of the host.
    fn attached_at(&self, at: &Target) -> Result<Option<(u16, bool)>, ConfigError> {
        let mounts = self.main().mounts()?;
        let found = mounts.iter().find(|(_, mount)| mount.target() == at.as_str());
        Ok(found.map(|(number, mount)| (*number, matches!(mount.source, super::values::MountSource::Directory(_)))))
    }

    fn free_mount(&self) -> Result<u16, EditError> {
        let taken = |key: &str| number_of(key, "mp", MOUNT_MAX);
        let taken: BTreeSet<u16> = self.main().settings().map(|(key, _)| key).chain(self.waiting()).filter_map(taken).collect();
        (0..=MOUNT_MAX).find(|number| !taken.contains(number)).ok_or(EditError::Full)
    }

    /// The keys that change at the next start.
    fn waiting(&self) -> BTreeSet<&str> {
        let pending = self.pending();
        let keys = pending.iter().flat_map(|section| section.settings().map(|(key, _)| key).chain(section.deleted()));
        keys.collect()
    }

    /// Before the first setting whose key says so; else behind the last one, and before what is handed on to LXC.
    fn place_of(&self, behind: impl Fn(&str) -> bool) -> usize {
        let setting = |line: &Line| line.as_setting().is_some_and(|(key, _)| behind(key));
        let raw = || self.main.iter().position(|line| line.as_raw().is_some());
        self.main.iter().position(setting).or_else(raw).unwrap_or_else(|| self.end())
    }

    /// Behind everything, and before the blank lines that part the sections.
    fn end(&self) -> usize {
        self.main.iter().rposition(|line| !line.is_blank()).map_or(0, |last| last + 1)
    }

    fn insert(&mut self, at: usize, line: Line) {
        self.main.insert(at.min(self.main.len()), line);
        self.closed = true;
    }
}

/// `line`, if it reads as what it was made of.
fn writable(line: Line, read: fn(&Line) -> Option<(&str, &str)>, key: &str, value: &str) -> Result<Line, EditError> {
    match Line::parse(1, line.text()) {
        Ok(back) if read(&back) == Some((key, value)) && !line.text().contains('\n') => Ok(line),
        Ok(_) | Err(_) => Err(EditError::Unwritable { key: short(key), value: short(value) }),
    }
}
