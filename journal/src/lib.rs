//! A crash-safe journal of state machines on SQLite.
use std::fmt;
use std::str::FromStr;
macro_rules! hex_id {
    ($n:ident, $len:literal) => {
        /// Stub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $n([u8; $len]);
        impl fmt::Display for $n {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
        impl FromStr for $n {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                let mut bytes = [0; $len];
                if text.len() != 2 * $len {
                    return Err(text.to_owned());
                }
                for (i, b) in bytes.iter_mut().enumerate() {
                    *b = text.get(2 * i..2 * i + 2).and_then(|t| u8::from_str_radix(t, 16).ok()).ok_or(text)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}
macro_rules! num {
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
num!(Seq);
num!(Epoch);
impl Digest {
    /// Stub.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}
/// Stub.
#[derive(Debug)]
pub struct Recorded<T> {
    t: T,
    seq: Seq,
    epoch: Epoch,
}
impl<T> Recorded<T> {
    /// Stub.
    pub fn stub(t: T, seq: Seq, epoch: Epoch) -> Self {
        Self { t, seq, epoch }
    }
    /// Stub.
    pub fn get(&self) -> &T {
        &self.t
    }
    /// Stub.
    pub fn seq(&self) -> Seq {
        self.seq
    }
    /// Stub.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}
