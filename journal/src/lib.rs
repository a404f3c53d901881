//! A crash-safe journal of state machines on SQLite.
use std::fmt;
macro_rules! hex_id {
    ($n:ident, $len:literal) => {
        /// Stub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $n([u8; $len]);
        impl fmt::Display for $n {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
        impl std::str::FromStr for $n {
            type Err = fmt::Error;
            fn from_str(text: &str) -> Result<Self, fmt::Error> {
                let mut bytes = [0; $len];
                for (i, b) in bytes.iter_mut().enumerate() {
                    *b = u8::from_str_radix(text.get(2 * i..2 * i + 2).ok_or(fmt::Error)?, 16).map_err(|_| fmt::Error)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}
macro_rules! num_id {
    ($n:ident) => {
        /// Stub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $n(u64);
        impl $n {
            /// Stub.
            pub fn new(n: u64) -> Self {
                Self(n)
            }
            /// Stub.
            pub fn get(self) -> u64 {
                self.0
            }
        }
        impl fmt::Display for $n {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}
hex_id!(Digest, 32);
hex_id!(JournalId, 16);
num_id!(Seq);
num_id!(Epoch);
impl Digest {
    /// Stub.
    pub fn of(bytes: &[u8]) -> Self {
        let mut out = [0; 32];
        for (i, b) in bytes.iter().enumerate() {
            out[i % 32] ^= *b;
        }
        Self(out)
    }
}
/// Stub.
#[derive(Debug)]
pub struct Recorded<T> {
    t: T,
}
impl<T> Recorded<T> {
    /// Stub.
    pub fn get(&self) -> &T {
        &self.t
    }
}
impl<T> Recorded<T> {
    /// Stub.
    pub fn seq(&self) -> Seq {
        Seq(0)
    }
    /// Stub.
    pub fn epoch(&self) -> Epoch {
        Epoch(0)
    }
    /// Stub.
    pub fn into_inner(self) -> T {
        self.t
    }
    /// Stub.
    pub fn part<P: Part<Whole = T>>(self) -> Result<Recorded<P>, Recorded<T>> {
        match P::part(self.t) {
            Ok(t) => Ok(Recorded { t }),
            Err(t) => Err(Recorded { t }),
        }
    }
}
/// Stub.
pub trait Part: Sized {
    /// Stub.
    type Whole;
    /// Stub.
    fn part(whole: Self::Whole) -> Result<Self, Self::Whole>;
}
