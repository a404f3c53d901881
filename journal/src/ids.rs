//! The names that a journal gives: sequence numbers, epochs, journals, digests.
//!
//! Apart because each is a type of its own: a sequence number is never compared with an epoch by accident. All of them are
//! plain copyable values; that one of them exists proves nothing (see [`Recorded`](crate::Recorded) for what does).

use std::fmt;
use std::str::FromStr;

/// The place of an entry in its journal: 1, 2, 3 and so on, without gaps, over all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seq(u64);

/// The how-many-th writer of a journal: raised by one whenever a writer begins, so that an older one is refused. 0, which is the
/// default, is before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(u64);

/// A journal's own name: 128 random bits, shown as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalId([u8; 16]);

/// An epoch's own name: 128 random bits. The number alone does not tell the epochs of a journal from those of its restored
/// copy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId([u8; 16]);

/// A BLAKE3 digest, shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is no id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is no {kind}: {digits} hexadecimal digits are expected")]
pub struct IdError {
    kind: &'static str,
    digits: usize,
    given: String,
}

macro_rules! number {
    ($name:ident) => {
        impl $name {
            /// The number as an id. It may be none that any journal has given.
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The plain number.
            pub const fn get(self) -> u64 {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<u64> for $name {
            fn from(number: u64) -> Self {
                Self(number)
            }
        }
    };
}

number!(Seq);
number!(Epoch);

macro_rules! bytes {
    ($name:ident, $size:literal, $kind:literal) => {
        impl $name {
            /// The id of these bytes.
            pub const fn from_bytes(bytes: [u8; $size]) -> Self {
                Self(bytes)
            }

            /// The plain bytes.
            pub const fn as_bytes(&self) -> &[u8; $size] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), hex(&self.0))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let wrong = || IdError { kind: $kind, digits: 2 * $size, given: text.chars().take(80).collect() };
                let mut bytes = [0; $size];
                if text.len() != 2 * $size {
                    return Err(wrong());
                }
                for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
                    let (high, low) = (nibble(pair[0]).ok_or_else(wrong)?, nibble(pair[1]).ok_or_else(wrong)?);
                    *byte = high << 4 | low;
                }
                Ok(Self(bytes))
            }
        }
    };
}

bytes!(JournalId, 16, "journal id");
bytes!(EpochId, 16, "epoch id");
bytes!(Digest, 32, "digest");

impl JournalId {
    /// A new id from the system's random numbers.
    pub fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }
}

impl EpochId {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        random().map(Self)
    }

    /// The id of an epoch that has no chance in it: simulations must repeat.
    pub(crate) fn derived(journal: JournalId, epoch: Epoch) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&journal.0).update(&epoch.0.to_le_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        Self(bytes)
    }
}

impl Digest {
    /// What stands where there is no digest: before the first entry, and in journals in memory.
    pub const ZERO: Self = Self([0; 32]);

    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Lower case only: one id has one text.
fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_their_text() {
        let id = JournalId::from_bytes(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        let digest = Digest::of(b"parcel");
        assert_eq!(digest.to_string().parse(), Ok(digest));
        assert_eq!(digest.to_string().len(), 64);
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "00", "g0112233445566778899aabbccddeeff", "AA112233445566778899aabbccddeeff", "é0112233445566778899aabbccddeef"] {
            assert!(text.parse::<JournalId>().is_err(), "{text}");
        }
    }
}
