//! What holds for every input: nothing panics, the same input gives the same answer, and nothing raw reaches the output.
//!
//! Apart because chance chooses the inputs.

use std::path::Path;

use proptest::prelude::*;

use super::super::{Surroundings, parse, proxmox_idmap};
use super::Bench;
use crate::ids::HostKind;

const WHOLE: &str = include_str!("../../../examples/everything.json");

fn surroundings() -> Surroundings {
    Surroundings { host: HostKind::Sim, root: false, trust_manifest: false, default_idmap: Some(proxmox_idmap()), protected: Vec::new() }
}

/// What is said of an input, with paths in the examples' directory.
fn says(bytes: &[u8]) -> String {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/fleet.json"));
    match parse(bytes, path).and_then(|manifest| manifest.check(&surroundings())) {
        Ok(manifest) => format!("{:?}", manifest.containers()),
        Err(problems) => problems.to_string(),
    }
}

#[track_caller]
fn sane(bytes: &[u8]) {
    let said = says(bytes);
    assert_eq!(said, says(bytes), "the same input gives the same answer");
    assert!(!said.contains("fault of Phoenix"), "{said}");
    let raw = said.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{2028}'));
    assert_eq!(raw, None, "nothing raw reaches the output");
}

/// An edit of a text: at a share of its length, so many bytes go and these come.
fn edit() -> impl Strategy<Value = (f64, usize, Vec<u8>)> {
    let tokens = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "true",
        "-1",
        "1e400",
        "0.5",
        "\"101\"",
        "\"102\"",
        "\\",
        "\\u0000",
        "\"/\"",
        "\"..\"",
        "\u{202e}",
        "\0",
        "999999999999",
    ]);
    let bytes = prop_oneof![tokens.prop_map(|token| token.as_bytes().to_vec()), prop::collection::vec(any::<u8>(), 0..4)];
    (0.0..1.0, 0_usize..24, bytes)
}

fn edited(text: &[u8], edits: &[(f64, usize, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = text.to_vec();
    for (share, gone, come) in edits {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place somewhere in a short text"
        )]
        let at = ((bytes.len() as f64) * share) as usize;
        let end = (at + gone).min(bytes.len());
        bytes.splice(at..end, come.iter().copied());
    }
    bytes
}

/// JSON of any shape whose keys are often the manifest's own.
fn shaped() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        prop::sample::select(vec![
            "101",
            "102",
            "base.sh",
            "features/base.sh",
            "/srv/a",
            "/srv/a/b",
            "10m",
            "10.0.0.1/24",
            "media",
            "chown",
            "/dev/net/tun",
            "local:snippets/a.pl",
            "IN ACCEPT -p tcp -dport 22",
            "GROUP web"
        ])
        .prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        let keys = prop::sample::select(vec![
            "fleet",
            "containers",
            "volumes",
            "defaults",
            "101",
            "102",
            "hostname",
            "template",
            "clone_from",
            "depends_on",
            "source",
            "owner",
            "uid",
            "gid",
            "network",
            "devices",
            "path",
            "tags",
            "firewall",
            "rules",
            "nameserver",
            "ip",
            "features",
            "script",
            "env",
            "health",
            "command",
            "idmap",
            "volume",
            "at",
            "media",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((keys, inner), 0..6).prop_map(|pairs| pairs
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect::<serde_json::Map<_, _>>()
                .into()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        sane(&bytes);
    }

    #[test]
    fn a_mutated_manifest_is_answered(edits in prop::collection::vec(edit(), 1..6)) {
        sane(&edited(WHOLE.as_bytes(), &edits));
    }

    #[test]
    fn json_of_any_shape_is_answered(value in shaped()) {
        sane(value.to_string().as_bytes());
    }
}

#[test]
fn every_prefix_of_a_manifest_is_answered() {
    for end in (0..WHOLE.len()).step_by(7) {
        sane(&WHOLE.as_bytes()[..end]);
    }
}

#[test]
fn ten_thousand_problems_in_one_line_take_no_longer_than_reading_them() {
    let entries: Vec<String> = (100..10_100).map(|ctid| format!("\"{ctid}\":{{\"hostname\":\"h\",\"template\":1}}")).collect();
    let said = Bench::new().says(format!("{{\"fleet\":\"f\",\"containers\":{{{}}}}}", entries.join(",")));
    assert!(said.ends_with("fleet.json: and 19949 more problems"), "{}", &said[said.len() - 200..]);
}

#[test]
fn a_chain_of_ten_thousand_dependencies_is_no_recursion() {
    let entry = |ctid: u32| format!("\"{ctid}\":{{\"hostname\":\"h{ctid}\",\"template\":\"t.tar\",\"depends_on\":[\"{}\"]}}", ctid + 1);
    let mut entries: Vec<String> = (100..10_100).map(entry).collect();
    entries.push("\"10100\":{\"hostname\":\"last\",\"template\":\"t.tar\"}".to_owned());
    assert_eq!(Bench::new().says(format!("{{\"fleet\":\"f\",\"containers\":{{{}}}}}", entries.join(","))), "fine");
    entries.pop();
    entries.push("\"10100\":{\"hostname\":\"last\",\"template\":\"t.tar\",\"depends_on\":[\"100\"]}".to_owned());
    let said = Bench::new().says(format!("{{\"fleet\":\"f\",\"containers\":{{{}}}}}", entries.join(",")));
    assert!(said.contains("in a circle: 100 -> 101 -> 102 -> 103 -> 104 -> 105 -> 106 -> 107 -> … -> 10100 -> 100;"), "{said}");
}
