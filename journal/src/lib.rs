//! A crash-safe journal of state machines on SQLite.
use std::fmt;
macro_rules! id {
    ($n:ident, $t:ty) => {
        /// Stub.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $n($t);
        impl fmt::Display for $n {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }
    };
}
id!(Digest, [u8; 32]);
id!(JournalId, [u8; 16]);
id!(Seq, u64);
id!(Epoch, u64);
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
impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}
