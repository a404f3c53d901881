//! Moments: wall time for people, (boot id, time since boot) for decisions.
//!
//! Apart because mixing the two is the classic mistake: a wall clock jumps, a clock since boot means nothing after the next
//! boot. Not here: reading any clock; time comes in as an argument.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The kernel's random id of one boot (`/proc/sys/kernel/random/boot_id`), as text of at most 64 printable ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(String);

impl BootId {
    /// The id as the kernel writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BootId {
    type Err = BootIdError;

    fn from_str(text: &str) -> Result<Self, BootIdError> {
        let text = text.trim_end_matches('\n');
        let plain = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
        if plain { Ok(Self(text.to_owned())) } else { Err(BootIdError { given: text.chars().take(80).collect() }) }
    }
}

/// Why a text is no [`BootId`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no boot id; expected what /proc/sys/kernel/random/boot_id holds")]
pub struct BootIdError {
    given: String,
}

/// A point in time that decides: milliseconds of `CLOCK_BOOTTIME` in one boot. Moments of different boots do not compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The boot in which the clock ran.
    pub boot: BootId,
    /// Milliseconds since that boot.
    pub boottime_ms: u64,
}

impl Moment {
    /// The moment `wait` later in the same boot.
    #[must_use]
    pub fn after(&self, wait: Duration) -> Self {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Self { boot: self.boot.clone(), boottime_ms: self.boottime_ms.saturating_add(wait_ms) }
    }

    /// How long it is from `now` to this moment; `None` if they belong to different boots, zero if it has passed.
    pub fn remaining(&self, now: &Self) -> Option<Duration> {
        (self.boot == now.boot).then(|| Duration::from_millis(self.boottime_ms.saturating_sub(now.boottime_ms)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.boot, self.boottime_ms)
    }
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let parse = || {
            let (boot, ms) = text.rsplit_once('+')?;
            Some(Self { boot: boot.parse().ok()?, boottime_ms: ms.parse().ok()? })
        };
        parse().ok_or_else(|| MomentError { given: text.chars().take(120).collect() })
    }
}

/// Why a text is no [`Moment`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no moment; expected BOOT_ID+MILLISECONDS")]
pub struct MomentError {
    given: String,
}

/// Wall time: milliseconds since 1970-01-01T00:00:00Z. For people only; nothing is decided by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub i64);

/// What time it is, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Now {
    /// For people.
    pub wall: Wall,
    /// For decisions.
    pub moment: Moment,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_come_back_from_their_text_and_compare_within_a_boot() {
        let boot: BootId = "9083b933-9dd6".parse().expect("a boot id");
        let early = Moment { boot: boot.clone(), boottime_ms: 10 };
        assert_eq!(early.to_string().parse(), Ok(early.clone()));
        let late = early.after(Duration::from_secs(1));
        assert_eq!(late.remaining(&early), Some(Duration::from_secs(1)));
        assert_eq!(early.remaining(&late), Some(Duration::ZERO));
        let other = Moment { boot: "other".parse().expect("a boot id"), boottime_ms: 0 };
        assert_eq!(late.remaining(&other), None);
    }
}
