//! The clock that decides: milliseconds since boot, suspended time included, in a boot that has a name.
//!
//! Apart so that the boot's name is an input (tests change it). Not here: deadlines, and waiting for them.

use std::fs;
use std::io;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use crate::ids::{BootId, Moment, Now, Wall};

/// Where the kernel says which boot this is.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Reads the time in one boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clock {
    boot: BootId,
}

impl Clock {
    /// A clock for a boot whose id is known.
    pub fn of(boot: BootId) -> Self {
        Self { boot }
    }

    /// A clock for the boot that the file `PHOENIX_BOOT_ID_FILE` names, or the kernel's.
    pub fn from_env() -> io::Result<Self> {
        let file = std::env::var_os("PHOENIX_BOOT_ID_FILE").unwrap_or_else(|| BOOT_ID_FILE.into());
        Self::from_file(Path::new(&file))
    }

    /// A clock for the boot that `file` names.
    pub fn from_file(file: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(file)?;
        text.parse().map(Self::of).map_err(io::Error::other)
    }

    /// The boot.
    pub fn boot(&self) -> &BootId {
        &self.boot
    }

    /// What time it is since boot (`CLOCK_BOOTTIME`).
    pub fn moment(&self) -> Moment {
        Moment { boot: self.boot.clone(), boottime_ms: boottime_ms() }
    }

    /// What time it is, both ways.
    pub fn now(&self) -> Now {
        Now { wall: wall(), moment: self.moment() }
    }
}

/// Milliseconds of `CLOCK_BOOTTIME`.
pub(super) fn boottime_ms() -> u64 {
    let time = clock_gettime(ClockId::Boottime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1000 + u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000
}

/// Wall time, for people.
pub(super) fn wall() -> Wall {
    let time = clock_gettime(ClockId::Realtime);
    Wall(time.tv_sec * 1000 + time.tv_nsec / 1_000_000)
}
