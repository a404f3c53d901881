//! How single values are written: names and ids as text, numbers as numbers, times in milliseconds.
//!
//! Apart from the documents because every document uses them, as `#[serde(with = "written")]`. A type of the core has no
//! `Serialize` of its own, so that what is on disk is decided in `codec` alone. Not here: types with fields of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use phoenix_journal::{Digest, Epoch, JournalId, Seq};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::ids::{
    BootId, Ctid, FeatureName, FleetName, Generation, HealthName, Hostname, IdMap, Incarnation, Moment, RunId, State, StepId, Target,
    Token, VolumeName, Wall,
};

/// A type of the core that has a form on disk. Reading what was written gives the same value, and no other text reads as it.
pub(super) trait Written: Sized {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;
}

/// What `#[serde(with = "written")]` calls.
pub(super) fn serialize<T: Written, S: Serializer>(value: &T, to: S) -> Result<S::Ok, S::Error> {
    value.write(to)
}

/// What `#[serde(with = "written")]` calls.
pub(super) fn deserialize<'de, T: Written, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    T::read(from)
}

/// A value on its way to the disk.
pub(super) struct Shown<'a, T>(pub(super) &'a T);

impl<T: Written> Serialize for Shown<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

/// A value on its way from the disk.
pub(super) struct Read<T>(pub(super) T);

impl<'de, T: Written> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self)
    }
}

/// Lets a core type be written as the document that mirrors it (`#[serde(remote = "..")]`). serde builds the core type from
/// the document's fields and matches on its variants, so that a field or variant forgotten there does not compile.
macro_rules! written_as {
    ($($core:ty => $document:ident),+ $(,)?) => {
        $(impl $crate::codec::written::Written for $core {
            fn write<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                $document::serialize(self, to)
            }

            fn read<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $document::deserialize(from)
            }
        })+
    };
}
pub(super) use written_as;

macro_rules! as_text {
    ($($core:ty),+ $(,)?) => {
        $(impl Written for $core {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                parse(from)
            }
        })+
    };
}

as_text! {
    BootId, Digest, FeatureName, FleetName, HealthName, Hostname, Incarnation, JournalId, Moment, RunId, State, StepId, Target, Token, VolumeName,
}

macro_rules! as_number {
    ($($core:ty: $number:ty, $get:expr, $new:expr);+ $(;)?) => {
        $(impl Written for $core {
            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                let get: fn(&$core) -> $number = $get;
                get(self).serialize(to)
            }

            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let new: fn($number) -> Result<$core, String> = $new;
                new(<$number>::deserialize(from)?).map_err(D::Error::custom)
            }
        })+
    };
}

as_number! {
    Ctid: u32, |ctid| ctid.get(), |number| Self::new(number).map_err(|why| why.to_string());
    Epoch: u64, |epoch| epoch.get(), |number| Ok(Self::new(number));
    Generation: u64, |generation| generation.get(), |number| Ok(Self::new(number));
    Seq: u64, |seq| seq.get(), |number| Ok(Self::new(number));
    Wall: i64, |wall| wall.0, |ms| Ok(Self(ms));
    // Rounded up: a wait that is not nothing must not become nothing.
    Duration: u64, |time| u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX), |ms| Ok(Self::from_millis(ms));
}

/// The lines of `lxc.idmap`: `["u 0 100000 65536", "g 0 100000 65536"]`.
impl Written for IdMap {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.to_lxc())
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let lines = Vec::<String>::deserialize(from)?;
        Self::from_lxc(lines.iter().map(String::as_str)).map_err(D::Error::custom)
    }
}

/// A path is text where it is UTF-8, and `{"hex": "2f.."}` where it is not: nothing a file system takes is lost or refused.
impl Written for PathBuf {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.to_str() {
            Some(text) => PathForm::Text(text.to_owned()).serialize(to),
            None => PathForm::Bytes { hex: to_hex(self.as_os_str().as_bytes()) }.serialize(to),
        }
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        match PathForm::deserialize(from)? {
            PathForm::Text(text) => Ok(Self::from(text)),
            PathForm::Bytes { hex } => from_hex(&hex)
                .map(|bytes| Self::from(OsString::from_vec(bytes)))
                .ok_or_else(|| D::Error::custom(format_args!("{hex:?} is no path; pairs of lower-case hex digits are expected"))),
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields, expecting = "a path is expected: text, or {\"hex\": \"2f..\"} where it is no UTF-8")]
enum PathForm {
    Text(String),
    Bytes { hex: String },
}

impl<T: Written> Written for Option<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Shown).serialize(to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Option::<Read<T>>::deserialize(from).map(|value| value.map(|Read(value)| value))
    }
}

impl<T: Written> Written for Vec<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Shown))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::<Read<T>>::deserialize(from).map(|values| values.into_iter().map(|Read(value)| value).collect())
    }
}

impl<T: Written + Ord> Written for BTreeSet<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(self.iter().map(Shown))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Vec::<T>::read(from).map(|values| values.into_iter().collect())
    }
}

impl<T: Written> Written for BTreeMap<String, T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(name, value)| (name, Shown(value))))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        BTreeMap::<String, Read<T>>::deserialize(from).map(|values| values.into_iter().map(|(name, Read(value))| (name, value)).collect())
    }
}

/// `{"101": "homelab"}`.
impl<T: Written> Written for BTreeMap<Ctid, T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter().map(|(ctid, value)| (ctid.to_string(), Shown(value))))
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let values = BTreeMap::<String, T>::read(from)?.into_iter();
        values.map(|(ctid, value)| ctid.parse().map(|ctid| (ctid, value)).map_err(D::Error::custom)).collect()
    }
}

impl<T: Written> Written for Box<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self, to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self::new)
    }
}

impl<T: Written> Written for Arc<T> {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        T::write(self, to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self::new)
    }
}

/// Whether a value says nothing that was not so before it could be said; such a value is left out.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn parse<'de, T: FromStr<Err: fmt::Display>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    String::deserialize(from)?.parse().map_err(D::Error::custom)
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from(b"0123456789abcdef"[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let lower = text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !lower || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
