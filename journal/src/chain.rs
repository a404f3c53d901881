//! The hash chain: what the hash of an entry is.
//!
//! Apart because its encoding is part of the format and never changes. BLAKE3 over the hash of the entry before and every
//! column in the order of the table, each as a tag (0 null, 1 integer, 2 text, 3 bytes), its length as eight bytes, little
//! endian, and its bytes (integers: eight, little endian, two's complement). So no two rows have the same encoding.

use crate::entry::{Body, Row};
use crate::{Digest, Entry, Seq};

/// The columns that depend on the kind of entry, as the table has them.
pub(crate) struct Columns<'a> {
    pub(crate) step: Option<&'a str>,
    pub(crate) attempt: Option<u32>,
    pub(crate) deadline: Option<&'a str>,
    pub(crate) digest: Option<&'a Digest>,
    pub(crate) intent: Option<Seq>,
    pub(crate) result: Option<&'a str>,
    pub(crate) topic: Option<&'a str>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(body: &'a Body) -> Self {
        let none = Self { step: None, attempt: None, deadline: None, digest: None, intent: None, result: None, topic: None };
        match body {
            Body::Declare => none,
            Body::Intent { step, attempt, deadline, digest } => {
                Self { step: Some(step), attempt: Some(*attempt), deadline: deadline.as_deref(), digest: Some(digest), ..none }
            }
            Body::Outcome { intent, step, attempt, result } => {
                Self { step: Some(step), attempt: Some(*attempt), intent: Some(*intent), result: Some(result), ..none }
            }
            Body::Note { topic } => Self { topic: Some(topic), ..none },
        }
    }
}

/// The hash of an entry; its own field `hash` is not looked at. `scratch` is reused from entry to entry.
pub(crate) fn hash(row: &Row, scratch: &mut Vec<u8>) -> Digest {
    let Row { seq, epoch, stream, life, generation, run, body, state, standing, payload, at_ms, prev_hash, hash: _ } = row;
    let Columns { step, attempt, deadline, digest, intent, result, topic } = Columns::of(body);
    scratch.clear();
    let mut encoding = Encoding(scratch);
    encoding.bytes(Some(prev_hash.as_bytes()));
    encoding.integer(Some(seq.get()));
    encoding.integer(Some(epoch.get()));
    encoding.text(Some(&stream.machine));
    encoding.text(Some(&stream.stream));
    encoding.text(Some(life));
    encoding.integer(Some(*generation));
    encoding.text(Some(run));
    encoding.text(Some(body.kind()));
    encoding.text(step);
    encoding.integer(attempt.map(u64::from));
    encoding.text(deadline);
    encoding.bytes(digest.map(|digest| digest.as_bytes().as_slice()));
    encoding.integer(intent.map(Seq::get));
    encoding.text(result);
    encoding.text(topic);
    encoding.text(Some(state));
    encoding.text(Some(standing));
    encoding.text(Some(payload));
    encoding.integer(Some(at_ms.cast_unsigned()));
    Digest::of(encoding.0)
}

/// What is wrong with entries that were read in order: one whose content is not what its hash says, or, if `whole` says that
/// they are all there are, one that does not follow the one before it.
pub(crate) fn broken(entries: &[Entry], whole: bool) -> Option<String> {
    let mut scratch = Vec::new();
    let (mut seq, mut before) = (0, Digest::ZERO);
    for entry in entries {
        if hash(entry, &mut scratch) != entry.hash {
            return Some(format!("the content of entry {} is not what its hash says", entry.seq));
        }
        if whole && (entry.seq.get() != seq + 1 || entry.prev_hash != before) {
            return Some(format!("entry {} does not follow entry {seq}", entry.seq));
        }
        (seq, before) = (entry.seq.get(), entry.hash);
    }
    None
}

struct Encoding<'a>(&'a mut Vec<u8>);

impl Encoding<'_> {
    fn field(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }

    fn integer(&mut self, value: Option<u64>) {
        match value {
            Some(value) => self.field(1, &value.to_le_bytes()),
            None => self.field(0, &[]),
        }
    }

    fn text(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.field(2, value.as_bytes()),
            None => self.field(0, &[]),
        }
    }

    fn bytes<'b>(&mut self, value: Option<impl AsRef<[u8]> + 'b>) {
        match value {
            Some(value) => self.field(3, value.as_ref()),
            None => self.field(0, &[]),
        }
    }
}
