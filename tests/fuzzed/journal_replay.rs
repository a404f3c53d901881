//! What a journal gives back: histories of any kind, and payloads that no program of ours wrote.

use std::borrow::Cow;

use phoenix::codec::CONTAINER;
use phoenix::journal::Account;
use phoenix::machine::{Fact, Line};
use phoenix_journal::{Append, Body, Draft, Entry, JournalId, Memory, Record, StreamKey};

use super::bytes::Bytes;
use super::histories::tell;
use super::rows::PERMISSIVE;

/// The first byte says which of the two.
pub(crate) fn run(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else { return };
    if first % 2 == 0 {
        tell(rest);
    } else {
        read_back(rest);
    }
}

/// The documents that are on disk already, one a line.
const DOCUMENTS: [&str; 6] = [
    include_str!("../golden/codec/v1/declaration.jsonl"),
    include_str!("../golden/codec/v1/intent.jsonl"),
    include_str!("../golden/codec/v1/outcome.jsonl"),
    include_str!("../golden/codec/v1/note.jsonl"),
    include_str!("../golden/codec/v1/run_opened.jsonl"),
    include_str!("../golden/codec/v1/run_closed.jsonl"),
];

/// What is written between the cuts.
const TOKENS: [&str; 14] =
    ["", "null", "true", "-1", "1e400", "\"\"", "\"x\"", "{}", "[]", ",", "\"schema\":2,", "999999999999999999999", "\\u0000", "}"];

fn read_back(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let document = bytes.pick(&DOCUMENTS);
    let lines: Vec<&str> = document.lines().collect();
    let mut payload = bytes.pick(&lines).as_bytes().to_vec();
    while !bytes.is_empty() {
        let at = bytes.below(payload.len().clamp(1, 65_536));
        let end = (at + bytes.below(24)).min(payload.len());
        let token = bytes.pick(&TOKENS).as_bytes();
        let inserted = if token.is_empty() { bytes.take(2) } else { token };
        payload.splice(at..end, inserted.iter().copied());
    }
    // A NUL no journal takes.
    payload.retain(|&byte| byte != 0);
    let entries = journal_of(&String::from_utf8_lossy(&payload));
    for entry in &entries {
        match entry.mint::<Fact>() {
            Ok(fact) => assert_eq!(Line::Fact(fact.into_inner()).draft().payload, entry.payload, "each fact has one text"),
            Err(why) => assert!(why.to_string().len() < 4000, "{why}"),
        }
    }
    // Nothing can be built on what cannot be read, and it is not passed over either.
    let account = Account::of(entries);
    assert!(account.lives.len() == 1 && account.lives.values().all(Result::is_err), "{account:?}");
}

/// A stream of a declaration and a note, both with this payload.
fn journal_of(payload: &str) -> Vec<Entry> {
    let mut journal = Memory::new(&PERMISSIVE, JournalId::from_bytes([9; 16])).expect("rows that make sense");
    let draft = |body: Body| Draft {
        stream: StreamKey::new(CONTAINER, "101"),
        life: "a5".repeat(16),
        generation: 1,
        run: "11".repeat(16),
        body,
        state: Cow::Borrowed("declared"),
        standing: Cow::Borrowed("active"),
        payload: payload.to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    };
    journal.begin(vec![draft(Body::Declare), draft(Body::Note { topic: "standing".to_owned() })]).expect("no rule speaks of payloads");
    journal.replay(None).expect("a journal that can be read")
}
