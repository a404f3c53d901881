//! One section of a configuration and what its keys mean.
//!
//! Apart from the file so that no question can be asked without saying of which section. As Proxmox reads it: of a key that
//! stands twice the last one counts. Not here: edits.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::ids::{IdMap, Target};
use crate::plan::{ConfigSeen, MountSeen};

use super::ConfigError;
use super::line::Line;
use super::property::{self, DEVICE, FEATURES, MOUNT, NET, PropertyError, PropertyString, ROOTFS, STARTUP, Shape, digits, flag, short};
use super::text;
use super::values::{self, Device, MountPoint, MountSource, Net, RootFs, Startup};

/// A section: the main one, what is pending, or a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// The number of its first line.
    first: usize,
    lines: &'a [Line],
}

/// The map that Proxmox gives an unprivileged container whose configuration names none.
pub(super) const UNPRIVILEGED_MAP: (u32, u32) = (100_000, 65_536);
/// What one key may be numbered up to: `net0` to `net31`, `mp0` to `mp255`, `dev0` to `dev255`.
const NET_MAX: u16 = 31;
/// See [`NET_MAX`].
pub(super) const MOUNT_MAX: u16 = 255;
const DEVICE_MAX: u16 = 255;

impl<'a> Section<'a> {
    pub(super) fn new(first: usize, lines: &'a [Line]) -> Self {
        Self { first, lines }
    }

    /// All settings of Proxmox in order.
    pub fn settings(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.lines.iter().filter_map(Line::as_setting)
    }

    /// The settings handed on to LXC, in order.
    pub fn raw(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.lines.iter().filter_map(Line::as_raw)
    }

    /// The lines that Proxmox would warn of and leave out at its next write, by number.
    pub fn odd_lines(&self) -> impl Iterator<Item = (usize, &'a str)> + use<'a> {
        let first = self.first;
        self.lines.iter().enumerate().filter(|(_, line)| line.is_odd()).map(move |(index, line)| (first + index, line.text()))
    }

    /// The value of a key.
    pub fn value(&self, key: &str) -> Option<&'a str> {
        self.settings().filter(|(found, _)| *found == key).last().map(|(_, value)| value)
    }

    /// A value that is on or off.
    pub fn switch(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        self.read(key, "0 or 1", flag)
    }

    /// A value that is a whole number.
    pub fn number(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.read(key, "a number", digits)
    }

    /// The description, each line ended; `None` if there is none.
    pub fn description(&self) -> Result<Option<String>, ConfigError> {
        let mut description = None;
        for (index, line) in self.lines.iter().enumerate() {
            // Older versions wrote it as a setting.
            let encoded = line.as_remark().or_else(|| line.as_setting().filter(|(key, _)| *key == "description").map(|(_, value)| value));
            if let Some(encoded) = encoded {
                let decoded = text::decode(encoded).ok_or(ConfigError::Description { line: self.first + index })?;
                let description: &mut String = description.get_or_insert_default();
                description.push_str(&decoded);
                description.push('\n');
            }
        }
        Ok(description)
    }

    /// What the container is locked for (`create`, `disk`, `snapshot`, ...), if it is.
    pub fn lock(&self) -> Option<&'a str> {
        self.value("lock")
    }

    /// Its tags.
    pub fn tags(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.value("tags").unwrap_or_default().split([';', ',', ' ']).filter(|tag| !tag.is_empty())
    }

    /// The keys that the next start takes away; in the pending section.
    pub fn deleted(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        // `!` before a key: without asking.
        self.value("delete").unwrap_or_default().split(',').map(|key| key.trim().trim_start_matches('!')).filter(|key| !key.is_empty())
    }

    /// The network interfaces by number.
    pub fn nets(&self) -> Result<BTreeMap<u16, Net>, ConfigError> {
        self.numbered("net", NET_MAX, &NET, Net::read)
    }

    /// What is attached, by number.
    pub fn mounts(&self) -> Result<BTreeMap<u16, MountPoint>, ConfigError> {
        self.numbered("mp", MOUNT_MAX, &MOUNT, MountPoint::read)
    }

    /// The devices by number.
    pub fn devices(&self) -> Result<BTreeMap<u16, Device>, ConfigError> {
        self.numbered("dev", DEVICE_MAX, &DEVICE, Device::read)
    }

    /// The root file system.
    pub fn rootfs(&self) -> Result<Option<RootFs>, ConfigError> {
        self.typed("rootfs", &ROOTFS, RootFs::read)
    }

    /// The place in the order at boot.
    pub fn startup(&self) -> Result<Option<Startup>, ConfigError> {
        self.typed("startup", &STARTUP, Startup::read)
    }

    /// What of the kernel the container may use; empty if nothing is said.
    pub fn features(&self) -> Result<BTreeMap<String, String>, ConfigError> {
        Ok(self.typed("features", &FEATURES, |found| Ok(values::features(found)))?.unwrap_or_default())
    }

    /// The property string of a key as it stands, to be changed.
    pub fn properties(&self, key: &str, shape: &'static Shape) -> Result<Option<PropertyString>, ConfigError> {
        self.typed(key, shape, |found| Ok(found.clone()))
    }

    /// Whether the container has a user namespace of its own; it has none where nothing is said.
    pub fn unprivileged(&self) -> Result<bool, ConfigError> {
        Ok(self.switch("unprivileged")?.unwrap_or(false))
    }

    /// The id map that the configuration asks for; `None` for a privileged container.
    pub fn idmap(&self) -> Result<Option<IdMap>, ConfigError> {
        let lines: Vec<&str> = self.raw().filter(|(key, _)| *key == "lxc.idmap").map(|(_, value)| value).collect();
        let (host, count) = UNPRIVILEGED_MAP;
        let map = match (lines.is_empty(), self.unprivileged()?) {
            (false, _) => IdMap::from_lxc(lines),
            (true, true) => IdMap::shifted(host, count),
            (true, false) => return Ok(None),
        };
        map.map(Some).map_err(ConfigError::Idmap)
    }

    /// What an observation says of it: directories of the host with plain targets, and what else claims are made about.
    pub fn seen(&self) -> Result<ConfigSeen, ConfigError> {
        let mut mounts = BTreeMap::new();
        for mount in self.mounts()?.into_values() {
            if let (MountSource::Directory(source), Ok(at)) = (&mount.source, mount.target().parse::<Target>()) {
                mounts.insert(at, MountSeen { source: PathBuf::from(source), read_only: mount.read_only });
            }
        }
        Ok(ConfigSeen {
            hostname: self.value("hostname").map(str::to_owned),
            idmap: self.idmap()?,
            mounts,
            autostart: self.switch("onboot")?.unwrap_or(false),
        })
    }

    fn read<T>(&self, key: &str, wanted: &'static str, read: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, ConfigError> {
        let wrong = |value: &str| ConfigError::Value { line: self.line_of(key), key: key.to_owned(), given: short(value), wanted };
        self.value(key).map(|value| read(value).ok_or_else(|| wrong(value))).transpose()
    }

    fn typed<T>(
        &self,
        key: &str,
        shape: &'static Shape,
        read: impl FnOnce(&PropertyString) -> Result<T, PropertyError>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let wrong = |error| ConfigError::Property { line: self.line_of(key), key: key.to_owned(), error };
        PropertyString::parse(value, shape).and_then(|found| read(&found)).map(Some).map_err(wrong)
    }

    fn numbered<T>(
        &self,
        stem: &str,
        max: u16,
        shape: &'static Shape,
        read: fn(&PropertyString) -> Result<T, PropertyError>,
    ) -> Result<BTreeMap<u16, T>, ConfigError> {
        let mut found = BTreeMap::new();
        for (key, _) in self.settings() {
            let Some(number) = number_of(key, stem, max) else { continue };
            if let Some(value) = self.typed(key, shape, read)? {
                found.insert(number, value);
            }
        }
        Ok(found)
    }

    /// The number of the line that counts for a key.
    fn line_of(&self, key: &str) -> usize {
        let of_key = |line: &Line| line.as_setting().is_some_and(|(found, _)| found == key);
        self.first + self.lines.iter().rposition(of_key).unwrap_or(0)
    }
}

/// The number of a key such as `mp7`; nothing for `mp07`, which Proxmox does not know.
pub(super) fn number_of(key: &str, stem: &str, max: u16) -> Option<u16> {
    let number = key.strip_prefix(stem)?;
    let plain = number == "0" || !number.starts_with('0');
    property::digits(number).filter(|found: &u16| plain && *found <= max)
}
