//! Manifests: any bytes are answered, twice the same, and nothing raw reaches a terminal.
//!
//! A check reads the scripts that a manifest names. Here they lie in an empty directory, and what would lead out of it is
//! only parsed.

use std::path::Path;
use std::sync::LazyLock;

use phoenix::ids::HostKind;
use phoenix::manifest::{Surroundings, parse, proxmox_idmap};
use serde_json::Value;

static NOWHERE: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

/// The bytes as a manifest.
pub(crate) fn run(data: &[u8]) {
    let path = NOWHERE.path().join("fleet.json");
    let said = says(data, &path);
    assert_eq!(said, says(data, &path), "the same input gives the same answer");
    assert!(!said.contains("fault of Phoenix"), "{said}");
    let raw = said.chars().find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{2028}'));
    assert_eq!(raw, None, "something raw reaches the output");
}

fn says(data: &[u8], path: &Path) -> String {
    let parsed = match parse(data, path) {
        Ok(parsed) => parsed,
        Err(problems) => return problems.to_string(),
    };
    let stays = serde_json::from_slice(data).is_ok_and(|value| stays_inside(&value));
    if !stays {
        return String::new();
    }
    match parsed.check(&surroundings()) {
        Ok(manifest) => {
            assert!(manifest.order().len() == manifest.containers().len(), "every container has its place");
            // Debug output escapes what is raw.
            format!("{:?}", manifest.containers())
        }
        Err(problems) => problems.to_string(),
    }
}

/// Whether every script is looked for below the manifest's directory.
fn stays_inside(value: &Value) -> bool {
    match value {
        Value::Object(keys) => keys.iter().all(|(key, value)| match value {
            // A feature can be a bare path in a list, so lists of texts count as well.
            Value::String(text) => key != "script" || is_inside(text),
            Value::Array(list) if key == "features" => list.iter().all(|one| one.as_str().is_none_or(is_inside) && stays_inside(one)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => stays_inside(value),
        }),
        Value::Array(list) => list.iter().all(stays_inside),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

fn is_inside(path: &str) -> bool {
    !path.starts_with('/') && !path.split('/').any(|part| part == "..")
}

fn surroundings() -> Surroundings {
    Surroundings { host: HostKind::Sim, root: false, trust_manifest: false, default_idmap: Some(proxmox_idmap()), protected: Vec::new() }
}
