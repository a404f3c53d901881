//! The world on disk: `JOURNAL.sim`, JSON lines.
//!
//! What is written is the world as the next process would find it if this one were killed now: what Phoenix does itself is cut
//! where it is, what a shim supervises is finished. So nothing of an operation has to be kept. The first line is the host,
//! each further one a container or a directory; of several about the same thing the last counts, so that a change costs one
//! line however large the world is. A line without its end was cut off by a kill and does not count.
//!
//! Version 1. Not kept: what a power cut would take back (a kill is none), and faults, which are given anew each time.
//! Not here: when to save (`backend`).

mod container;
mod proxmox;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use phoenix_journal::JournalId;
use serde::{Deserialize, Serialize};

use crate::ids::{Moment, Now, Wall};

use super::disk::{Directory, OnDisk, Place};
use super::storage::Stored;
use super::world::{World, WorldOptions};
use container::SavedSlot;

const VERSION: u32 = 1;

/// Why a saved world cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("line {line} cannot be read")]
    Syntax {
        line: usize,
        #[source]
        source: serde_json::Error,
    },
    #[error("line {line} holds {what}, which is not valid")]
    Value { line: usize, what: &'static str },
    #[error("it has version {found}; this phoenix reads version {VERSION}")]
    Version { found: u32 },
    #[error("its first line does not describe a host")]
    NoHost,
}

/// All lines of a world.
pub(super) fn whole(world: &World) -> String {
    let mut text = String::new();
    line(&mut text, &Line::Host(Host::of(world)));
    for (path, place) in &*world.places {
        line(&mut text, &Line::Place(SavedPlace::of(path.clone(), place)));
    }
    for (ctid, slot) in &world.slots {
        line(&mut text, &Line::Slot(Box::new(SavedSlot::of(*ctid, slot))));
    }
    text
}

/// Reads lines back; `options` says what is not kept.
pub(super) fn load(text: &str, options: WorldOptions) -> Result<World, LoadError> {
    let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).enumerate();
    let parse = |(number, line): (usize, &str)| {
        let parsed: Result<Line, _> = serde_json::from_str(line);
        parsed.map(|parsed| (number + 1, parsed)).map_err(|source| LoadError::Syntax { line: number + 1, source })
    };
    let Some((_, Line::Host(host))) = lines.next().map(parse).transpose()? else { return Err(LoadError::NoHost) };
    let mut world = host.restore(options)?;
    for (number, line) in lines.map(parse).collect::<Result<Vec<_>, _>>()? {
        let invalid = |what| LoadError::Value { line: number, what };
        match line {
            Line::Host(host) => host.update(&mut world).ok_or(invalid("a host"))?,
            Line::Place(saved) => {
                Arc::make_mut(&mut world.places).insert(saved.path.clone(), saved.restore());
            }
            Line::Slot(saved) => {
                let (ctid, slot) = saved.restore().ok_or(invalid("a container"))?;
                world.slots.insert(ctid, Arc::new(slot));
            }
        }
    }
    Ok(world)
}

/// What time it is in the world whose file ends with `tail`, if that says so. A host's line is short, and there are many.
pub(super) fn glance(tail: &str) -> Option<Now> {
    let whole = tail.rfind('\n').map(|end| &tail[..end])?;
    let host = whole.lines().rev().find(|line| line.starts_with(r#"{"host""#))?;
    match serde_json::from_str(host).ok()? {
        Line::Host(host) => {
            let wall = Wall(host.wall_ms.saturating_add(i64::try_from(host.elapsed_ms).ok()?));
            let boottime_ms = host.elapsed_ms.saturating_sub(host.booted_ms);
            Some(Now { wall, moment: Moment { boot: host.boot.parse().ok()?, boottime_ms } })
        }
        Line::Place(_) | Line::Slot(_) => None,
    }
}

fn line(text: &mut String, line: &Line) {
    let json = serde_json::to_string(line).expect("these types have string keys and no maps of anything else");
    text.push_str(&json);
    text.push('\n');
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Host(Host),
    Place(SavedPlace),
    Slot(Box<SavedSlot>),
}

#[derive(Serialize, Deserialize)]
struct Host {
    version: u32,
    seed: u64,
    first_boot: String,
    boot: String,
    wall_ms: i64,
    elapsed_ms: u64,
    booted_ms: u64,
    next_pid: u32,
    next_inode: u64,
    boots: u32,
    hidden_secrets: BTreeSet<String>,
    settled_in: BTreeSet<String>,
    /// Templates that were fetched, each with whether it is whole.
    #[serde(default)]
    templates: BTreeMap<String, bool>,
}

impl Host {
    fn of(world: &World) -> Self {
        Self {
            version: VERSION,
            seed: world.options.seed,
            first_boot: world.options.boot.to_string(),
            boot: world.clock.boot.to_string(),
            wall_ms: world.options.wall.0,
            elapsed_ms: world.clock.elapsed_ms,
            booted_ms: world.clock.booted_ms,
            next_pid: world.next_pid,
            next_inode: world.next_inode,
            boots: world.boots,
            hidden_secrets: BTreeSet::clone(&world.hidden_secrets),
            settled_in: world.settled_in.iter().map(JournalId::to_string).collect(),
            templates: world.templates.get().iter().map(|(name, what)| (name.clone(), *what == Stored::Whole)).collect(),
        }
    }

    fn restore(self, options: WorldOptions) -> Result<World, LoadError> {
        if self.version != VERSION {
            return Err(LoadError::Version { found: self.version });
        }
        let invalid = LoadError::Value { line: 1, what: "a host" };
        let Ok(boot) = self.first_boot.parse() else { return Err(invalid) };
        let mut world = World::new(WorldOptions { seed: self.seed, boot, wall: Wall(self.wall_ms), ..options });
        self.update(&mut world).ok_or(invalid)?;
        Ok(world)
    }

    fn update(self, world: &mut World) -> Option<()> {
        world.clock.boot = Arc::new(self.boot.parse().ok()?);
        world.clock.elapsed_ms = self.elapsed_ms;
        world.clock.booted_ms = self.booted_ms.min(self.elapsed_ms);
        world.next_pid = self.next_pid;
        world.next_inode = self.next_inode;
        world.boots = self.boots;
        world.hidden_secrets = Arc::new(self.hidden_secrets);
        let settled_in: Option<BTreeSet<JournalId>> = self.settled_in.iter().map(|id| id.parse().ok()).collect();
        world.settled_in = Arc::new(settled_in?);
        let stored = |whole: bool| if whole { Stored::Whole } else { Stored::Part };
        let templates = self.templates.into_iter().map(|(name, whole)| (name, stored(whole))).collect();
        world.templates = OnDisk::safe(Arc::new(templates));
        Some(())
    }
}

#[derive(Serialize, Deserialize)]
struct SavedPlace {
    path: PathBuf,
    unmounted: bool,
    mounted: Option<SavedDirectory>,
    bare: Option<SavedDirectory>,
}

#[derive(Serialize, Deserialize)]
struct SavedDirectory {
    device: u64,
    inode: u64,
    owner: (u32, u32, u32),
    former: Option<(u32, u32, u32)>,
    filled: bool,
}

impl SavedPlace {
    fn of(path: PathBuf, place: &Place) -> Self {
        let save = |directory: &Directory| {
            let Directory { device, inode, uid, gid, mode, former, filled } = *directory;
            SavedDirectory { device, inode, owner: (uid, gid, mode), former, filled }
        };
        let mounted = place.mounted_dir.get().as_ref().map(save);
        Self { path, unmounted: place.unmounted, mounted, bare: place.bare_dir.get().as_ref().map(save) }
    }

    fn restore(self) -> Place {
        let load = |saved: SavedDirectory| {
            let SavedDirectory { device, inode, owner: (uid, gid, mode), former, filled } = saved;
            Directory { device, inode, uid, gid, mode, former, filled }
        };
        let [mounted_dir, bare_dir] = [self.mounted, self.bare].map(|saved| OnDisk::safe(saved.map(load)));
        Place { unmounted: self.unmounted, mounted_dir, bare_dir }
    }
}
