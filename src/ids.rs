//! One type per kind of id, parsed once, with its range in the type.
//!
//! Everything else names things through these; a bare `u32` or `String` that means a container, a run or a step does not
//! exist elsewhere. `Display` prints what the operator types. Not here: anything that knows what the ids stand for.

mod host_kind;
mod idmap;
mod names;
mod state;
mod step;
mod time;

use std::fmt;
use std::str::FromStr;

pub use host_kind::{HostKind, HostKindError};
pub use idmap::{IdKind, IdMap, IdMapError, IdRange};
pub use names::{FeatureName, FleetName, HealthName, Hostname, NameError, Target, VolumeName};
pub use state::{State, StateError};
pub use step::{Step, StepId, StepParseError};
pub use time::{BootId, Moment, Now, Wall};

/// The smallest id Proxmox gives to a guest; smaller ones are reserved there, so plain LXC keeps the same range.
pub const CTID_MIN: u32 = 100;
/// The largest id Proxmox accepts for a guest.
pub const CTID_MAX: u32 = 999_999_999;

/// The number of a container, as Proxmox and `lxc-start -n` know it: 100 to 999 999 999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ctid(u32);

impl Ctid {
    /// Takes a number in the range [`CTID_MIN`]`..=`[`CTID_MAX`].
    pub fn new(number: u32) -> Result<Self, CtidError> {
        if (CTID_MIN..=CTID_MAX).contains(&number) { Ok(Self(number)) } else { Err(CtidError::OutOfRange { given: number.to_string() }) }
    }

    /// The bare number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Ctid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for Ctid {
    type Err = CtidError;

    /// Decimal digits without sign or leading zero, so that `"0101"` and `"101"` cannot be two keys for one container.
    fn from_str(text: &str) -> Result<Self, CtidError> {
        let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !plain {
            return Err(CtidError::NotANumber { given: text.to_owned() });
        }
        text.parse::<u32>().map_err(|_| CtidError::OutOfRange { given: text.to_owned() }).and_then(Self::new)
    }
}

/// Why a text or number is no [`Ctid`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CtidError {
    /// Something other than plain decimal digits.
    #[error("`{given}` is not a container id; write a plain number such as 101")]
    NotANumber {
        /// What was written.
        given: String,
    },
    /// A number Proxmox would refuse.
    #[error("container id {given} is out of range; ids go from {CTID_MIN} to {CTID_MAX}")]
    OutOfRange {
        /// What was written.
        given: String,
    },
}

/// The number of a spec that a container is being driven to; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(u64);

impl Generation {
    /// The generation of a container's first spec.
    pub const FIRST: Self = Self(1);

    /// A generation read back from the journal.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The bare number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Takes 16 random bytes; where they come from is the caller's affair.
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text = hex_16(&self.0);
                f.write_str(std::str::from_utf8(&text).expect("hex digits are ASCII"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = RandomIdError;

            fn from_str(text: &str) -> Result<Self, RandomIdError> {
                parse_hex_16(text).map(Self).ok_or_else(|| RandomIdError { kind: stringify!($name), given: text.to_owned() })
            }
        }
    };
}

random_id! {
    /// One `up`, `resume` or `down`: 16 random bytes, written as 32 hex digits.
    RunId
}
random_id! {
    /// One physical container from create to destroy: 16 random bytes, written as 32 hex digits. Evidence belongs to an incarnation.
    Incarnation
}
random_id! {
    /// The random mark that every child of one intent bears in its environment as `PHOENIX_TOKEN`; no secret.
    Token
}

/// Why a text is no random id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {kind}; 32 lower-case hex digits are expected")]
pub struct RandomIdError {
    kind: &'static str,
    given: String,
}

fn hex_16(bytes: &[u8; 16]) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

fn parse_hex_16(text: &str) -> Option<[u8; 16]> {
    if text.len() != 32 || !text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None;
    }
    let mut bytes = [0; 16];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ctids_are_plain_numbers_in_proxmox_range() {
        assert_eq!("101".parse::<Ctid>().map(Ctid::get), Ok(101));
        for text in ["", "0101", "+101", "-1", "1e3", "１０１", " 101"] {
            assert!(matches!(text.parse::<Ctid>(), Err(CtidError::NotANumber { .. })), "{text:?}");
        }
        for text in ["99", "1000000000", "99999999999999999999"] {
            assert!(matches!(text.parse::<Ctid>(), Err(CtidError::OutOfRange { .. })), "{text:?}");
        }
    }

    #[test]
    fn random_ids_come_back_from_their_text() {
        let id = Incarnation::from_random([0xa5; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("A5".repeat(16).parse::<Incarnation>().is_err());
        assert!("a5".repeat(15).parse::<Incarnation>().is_err());
    }
}
