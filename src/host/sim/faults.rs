//! Faults as data: what goes wrong, where, and at which attempt.
//!
//! Apart because a schedule of faults is a value that a test generates, prints and shrinks. Not here: what a fault does to
//! the world (`op` and `tamper`).

use std::path::PathBuf;
use std::time::Duration;

use crate::ids::{Ctid, Hostname, IdMap, StepId, Target};
use crate::plan::{Effect, Mark};

use super::dice::{Dice, step_key};

/// Everything that is to go wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Faults at given places; of several that fit, the first counts.
    pub planned: Vec<Fault>,
    /// Faults at random places, where no planned one fits.
    pub rates: Rates,
}

/// One fault at one place.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The container; `None` for any.
    pub ctid: Option<Ctid>,
    /// The step.
    pub step: Where,
    /// The attempt, from 1; `None` for every one.
    pub attempt: Option<u32>,
    /// Before, inside or after it.
    pub when: When,
    /// What happens.
    pub what: What,
}

/// Which steps a fault is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Where {
    /// This one.
    Step(StepId),
    /// Every step with this base (`volume.attach`), repairs not included.
    Base(&'static str),
}

/// Where in a step a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before its first piece: nothing has happened.
    Before,
    /// Before the piece with this number, from 1; past the last one it is as [`When::After`].
    Piece(u8),
    /// After its last piece: all has happened, and the report says otherwise.
    After,
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub enum What {
    /// An error that may pass by itself.
    Transient,
    /// An error that would come again.
    Permanent,
    /// No space left on the device.
    DiskFull,
    /// Nothing goes on until the deadline; then everything that belonged to the step is ended.
    Hang,
    /// As [`What::Hang`], and its processes cannot be ended.
    Undead,
    /// The container's init ends.
    InitDies,
    /// The container never becomes ready (a start step alone).
    NeverReady,
    /// The script or health check ends with this exit status.
    Exit {
        /// The exit status.
        status: u8,
        /// What it wrote.
        output: String,
    },
    /// Somebody meddles; the step goes on as well as it can.
    Tamper(Tamper),
}

/// What others, or the world at large, do to a host. Also done at once by [`super::World::tamper`].
#[derive(Clone, Debug)]
pub enum Tamper {
    /// A stranger's container comes to lie on an id, running, in place of whatever was there.
    Stranger(Ctid),
    /// A container is removed by hand.
    Remove(Ctid),
    /// A container's identity mark is removed.
    Unmark(Ctid),
    /// A container gets another mark: of another journal, or of an epoch that the journal does not know.
    Mark(Ctid, Box<Mark>),
    /// A container is stopped by hand.
    Stop(Ctid),
    /// A container is started by hand, or restarted if it is up.
    Start(Ctid),
    /// A running container is frozen: what runs inside hangs until its deadline, which thaws it.
    Freeze(Ctid),
    /// Another process takes a container's lock for a while.
    Lock {
        /// The container.
        ctid: Ctid,
        /// For how long, in virtual time.
        during: Duration,
    },
    /// Somebody backs a container up for a while: `lock: backup` stands in its configuration.
    Backup {
        /// The container.
        ctid: Ctid,
        /// For how long, in virtual time.
        during: Duration,
    },
    /// Somebody changes a container's configuration with an editor.
    Edit(Ctid, Edit),
    /// The file system of a shared directory is taken off; the bare mount point shows.
    Unmount(PathBuf),
    /// It is back.
    Mount(PathBuf),
    /// The volume's directory gets another owner and mode, and holds files.
    Chown {
        /// The directory of the host.
        path: PathBuf,
        /// The new owner on the host.
        uid: u32,
        /// The new group on the host.
        gid: u32,
        /// The new permission bits.
        mode: u32,
    },
    /// A secret (a path, or the name of a variable) cannot be read any more.
    HideSecret(String),
    /// It can be read again.
    ShowSecret(String),
}

/// One change of a configuration by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Another host name.
    Hostname(Hostname),
    /// Another id map.
    Idmap(IdMap),
    /// Another directory is attached at a target, read-only or not; or none is.
    Mount(Target, Option<(PathBuf, bool)>),
    /// Whether the host starts it at boot.
    Autostart(bool),
}

/// Chances of faults at random places, in percent of the attempts at any step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// Transient errors, at any piece.
    pub transient_percent: u8,
    /// Hangs, at any piece.
    pub hang_percent: u8,
    /// Inits that end right after a start.
    pub init_dies_percent: u8,
    /// Attempts from this one on are spared, so that retries come to an end; 0 spares none.
    pub spared_from_attempt: u32,
}

/// A fault that has been chosen for one operation: before which piece (from 0; past the last = after) and what.
pub(super) type Due = (u8, What);

impl Faults {
    /// The fault that strikes this attempt, if one does; `pieces` is how many it has.
    pub(super) fn choose(&self, effect: &Effect, pieces: u8, dice: Dice) -> Option<Due> {
        let planned = self.planned.iter().find(|fault| fault.fits(effect));
        planned.map(|fault| (fault.when.place(pieces), fault.what.clone())).or_else(|| self.rates.choose(effect, pieces, dice))
    }
}

impl Fault {
    fn fits(&self, effect: &Effect) -> bool {
        let intent = &effect.intent;
        let step = match &self.step {
            Where::Step(step) => *step == intent.step,
            Where::Base(base) => !intent.step.repair && intent.step.step.base() == *base,
        };
        step && self.ctid.is_none_or(|ctid| ctid == intent.ctid) && self.attempt.is_none_or(|attempt| attempt == intent.attempt)
    }
}

impl When {
    fn place(self, pieces: u8) -> u8 {
        match self {
            Self::Before => 0,
            Self::Piece(number) => number.saturating_sub(1).min(pieces),
            Self::After => pieces,
        }
    }
}

impl Rates {
    fn choose(self, effect: &Effect, pieces: u8, dice: Dice) -> Option<Due> {
        let sum = self.transient_percent.saturating_add(self.hang_percent).saturating_add(self.init_dies_percent);
        let intent = &effect.intent;
        if sum == 0 || (self.spared_from_attempt > 0 && intent.attempt >= self.spared_from_attempt) {
            return None;
        }
        let keys = [u64::from(intent.ctid.get()), step_key(&intent.step.step), u64::from(intent.step.repair), u64::from(intent.attempt)];
        let place = u8::try_from(dice.between(&[&keys[..], &[1]].concat(), 0, u64::from(pieces))).unwrap_or(pieces);
        let throw = dice.between(&[&keys[..], &[2]].concat(), 0, 99);
        let (transient, hang) = (u64::from(self.transient_percent), u64::from(self.hang_percent));
        if throw < transient {
            Some((place, What::Transient))
        } else if throw < transient + hang {
            Some((place, What::Hang))
        } else if throw < u64::from(sum) && intent.step.step.is_volatile() {
            Some((pieces, What::InitDies))
        } else {
            None
        }
    }
}
