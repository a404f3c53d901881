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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, StreamKey};

    fn row(body: Body) -> Row {
        let stream = StreamKey { machine: "parcel".into(), stream: "7".to_owned() };
        let (life, run, payload) = ("life".to_owned(), "run".to_owned(), "{}".to_owned());
        let (state, standing) = ("packed".into(), "active".into());
        let (prev_hash, hash) = (Digest::of(b"before"), Digest::ZERO);
        let (seq, epoch) = (Seq::new(5), Epoch::new(2));
        Row { seq, epoch, stream, life, generation: 3, run, body, state, standing, payload, at_ms: -1, prev_hash, hash }
    }

    fn intent() -> Body {
        Body::Intent { step: "attach".to_owned(), attempt: 1, deadline: None, digest: Digest::of(b"what") }
    }

    fn hashed(row: &Row) -> Digest {
        hash(row, &mut vec![1, 2, 3])
    }

    /// An entry with the hash that it ought to have.
    fn entry(seq: u64, before: Digest) -> Entry {
        let mut row = Row { seq: Seq::new(seq), prev_hash: before, ..row(Body::Declare) };
        row.hash = hashed(&row);
        Entry::out_of(crate::JournalId::from_bytes([1; 16]), row)
    }

    #[test]
    fn all_entries_there_are_follow_each_other() {
        let first = entry(1, Digest::ZERO);
        let second = entry(2, first.hash);
        let (gap, other) = (entry(3, first.hash), entry(2, Digest::of(b"another")));
        assert_eq!(broken(&[first.clone(), second.clone()], true), None);
        let cases = [(vec![first.clone(), gap], 3, 1), (vec![first.clone(), other], 2, 1), (vec![second], 2, 0)];
        for (entries, number, before) in cases {
            assert_eq!(broken(&entries, false), None, "a part of them");
            assert_eq!(broken(&entries, true), Some(format!("entry {number} does not follow entry {before}")));
        }
        let changed = Entry::out_of(first.journal(), Row { payload: "[]".to_owned(), ..row(Body::Declare) });
        assert_eq!(broken(&[changed], false), Some("the content of entry 5 is not what its hash says".to_owned()));
    }

    /// What every journal was written with; another result is another format.
    #[test]
    fn the_encoding_is_that_of_the_documentation() {
        let bytes = |digest: Digest| (3, digest.as_bytes().to_vec());
        let integer = |value: i64| (1, value.to_le_bytes().to_vec());
        let text = |text: &str| (2, text.as_bytes().to_vec());
        let null = || (0, Vec::new());
        let before = [bytes(Digest::of(b"before")), integer(5), integer(2), text("parcel"), text("7"), text("life"), integer(3)];
        let step = [text("run"), text("intent"), text("attach"), integer(1), null(), bytes(Digest::of(b"what"))];
        let after = [null(), null(), null(), text("packed"), text("active"), text("{}"), integer(-1)];
        let mut expected = Vec::new();
        for (tag, field) in before.into_iter().chain(step).chain(after) {
            expected.push(tag);
            expected.extend_from_slice(&(field.len() as u64).to_le_bytes());
            expected.extend_from_slice(&field);
        }
        assert_eq!(hashed(&row(intent())), Digest::of(&expected));
    }

    #[test]
    fn whatever_differs_changes_the_hash() {
        let other = |change: fn(&mut Row)| {
            let mut row = row(intent());
            change(&mut row);
            hashed(&row)
        };
        let (digest, two) = (Digest::of(b"else"), 2);
        let outcome = |intent: u64, result: &'static str| Body::Outcome {
            intent: Seq::new(intent),
            step: "attach".to_owned(),
            attempt: 1,
            result: result.into(),
        };
        let hashes = [
            other(|_| ()),
            other(|row| row.seq = Seq::new(6)),
            other(|row| row.epoch = Epoch::new(3)),
            other(|row| row.stream.machine = "letter".into()),
            other(|row| row.stream.stream = "8".to_owned()),
            other(|row| row.life = "death".to_owned()),
            other(|row| row.generation = 4),
            other(|row| row.run = "walk".to_owned()),
            other(|row| row.state = "sent".into()),
            other(|row| row.standing = "waiting".into()),
            other(|row| row.payload = "[]".to_owned()),
            other(|row| row.at_ms = 0),
            other(|row| row.prev_hash = Digest::ZERO),
            hashed(&row(Body::Intent { step: "detach".to_owned(), attempt: 1, deadline: None, digest: Digest::of(b"what") })),
            hashed(&row(Body::Intent { step: "attach".to_owned(), attempt: two, deadline: None, digest: Digest::of(b"what") })),
            hashed(&row(Body::Intent {
                step: "attach".to_owned(),
                attempt: 1,
                deadline: Some(String::new()),
                digest: Digest::of(b"what"),
            })),
            hashed(&row(Body::Intent { step: "attach".to_owned(), attempt: 1, deadline: None, digest })),
            hashed(&row(Body::Declare)),
            hashed(&row(Body::Note { topic: "one".to_owned() })),
            hashed(&row(Body::Note { topic: "two".to_owned() })),
            hashed(&row(outcome(1, "done"))),
            hashed(&row(outcome(2, "done"))),
            hashed(&row(outcome(1, "failed"))),
        ];
        let distinct: std::collections::BTreeSet<String> = hashes.iter().map(Digest::to_string).collect();
        assert_eq!(distinct.len(), hashes.len());
    }
}
