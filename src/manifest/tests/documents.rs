//! Schema, document and examples say the same as the code.
//!
//! Apart because each test here compares two places that people edit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::super::tables::{
    ContainerTable, DefaultsTable, DeviceTable, FeatureTable, FirewallTable, FleetTable, HealthTable, LxcFeaturesTable, MountTable,
    NicTable, OwnerTable, ReadyTable, ScriptTable, SecretTable, StartupTable, VolumeTable,
};
use super::super::{Surroundings, load, proxmox_idmap, schema};
use crate::ids::HostKind;

const DOCUMENT: &str = include_str!("../../../docs/manifest.md");

/// Every manifest in the examples' directory and in the directories of it.
fn examples() -> Vec<PathBuf> {
    let entries = |directory: &Path| -> Vec<PathBuf> {
        fs::read_dir(directory).expect("a directory of examples").map(|entry| entry.expect("an entry").path()).collect()
    };
    let top = entries(&Path::new(env!("CARGO_MANIFEST_DIR")).join("examples"));
    let below: Vec<PathBuf> = top.iter().filter(|path| path.is_dir()).flat_map(|path| entries(path)).collect();
    let mut files: Vec<PathBuf> =
        top.into_iter().chain(below).filter(|path| path.extension().is_some_and(|extension| extension == "json")).collect();
    files.sort();
    files
}

/// Every table of the schema with its keys.
fn schema_keys() -> BTreeMap<String, BTreeSet<String>> {
    let schema = schema();
    let keys = |table: &Value| table["properties"].as_object().expect("properties").keys().cloned().collect::<BTreeSet<String>>();
    let definitions = schema["$defs"].as_object().expect("definitions").iter();
    let mut tables: BTreeMap<String, BTreeSet<String>> = definitions.map(|(name, table)| (name.clone(), keys(table))).collect();
    tables.insert("FleetTable".to_owned(), keys(&schema));
    tables
}

#[test]
fn the_schema_knows_the_keys_that_the_readers_know() {
    let rows = [
        ("FleetTable", FleetTable::KEYS),
        ("DefaultsTable", DefaultsTable::KEYS),
        ("ContainerTable", ContainerTable::KEYS),
        ("NicTable", NicTable::KEYS),
        ("MountTable", MountTable::KEYS),
        ("VolumeTable", VolumeTable::KEYS),
        ("OwnerTable", OwnerTable::KEYS),
        ("ScriptTable", ScriptTable::KEYS),
        ("FeatureTable", FeatureTable::KEYS),
        ("SecretTable", SecretTable::KEYS),
        ("HealthTable", HealthTable::KEYS),
        ("ReadyTable", ReadyTable::KEYS),
        ("StartupTable", StartupTable::KEYS),
        ("LxcFeaturesTable", LxcFeaturesTable::KEYS),
        ("DeviceTable", DeviceTable::KEYS),
        ("FirewallTable", FirewallTable::KEYS),
    ];
    let read: BTreeMap<String, BTreeSet<String>> =
        rows.into_iter().map(|(table, rows)| (table.to_owned(), rows.iter().map(|row| row.name.to_owned()).collect())).collect();
    assert_eq!(schema_keys(), read);
}

#[test]
fn the_document_names_every_key_and_every_default() {
    let schema = schema();
    let tables = schema["$defs"].as_object().expect("definitions").values().chain([&schema]);
    for (key, row) in tables.flat_map(|table| table["properties"].as_object().expect("properties")) {
        let line = DOCUMENT.lines().filter(|line| line.starts_with(&format!("| `{key}` "))).collect::<Vec<_>>();
        assert!(!line.is_empty(), "docs/manifest.md has no row for `{key}`");
        if let Some(default) = row.get("default") {
            let default = format!("| `{default}` |");
            assert!(
                line.iter().any(|line| line.contains(&default)),
                "docs/manifest.md: the row of `{key}` does not name its default {default}"
            );
        }
    }
}

#[test]
fn the_document_names_no_key_that_does_not_exist() {
    let known: BTreeSet<String> = schema_keys().into_values().flatten().collect();
    for line in DOCUMENT.lines().filter_map(|line| line.strip_prefix("| `")) {
        let key = line.split('`').next().unwrap_or_default();
        assert!(known.contains(key), "docs/manifest.md has a row for `{key}`, which no table knows");
    }
}

#[test]
fn every_example_is_right() {
    let around = Surroundings {
        host: HostKind::Sim,
        root: false,
        trust_manifest: false,
        default_idmap: Some(proxmox_idmap()),
        protected: Vec::new(),
    };
    assert!(!examples().is_empty());
    for example in examples() {
        if let Err(problems) = load(&example, &around) {
            panic!("{problems}");
        }
    }
}

/// What the simulator passes over has to be there on a node.
#[test]
fn the_examples_for_proxmox_are_right_on_a_node_and_nothing_is_to_be_said_of_them() {
    let around = Surroundings {
        host: HostKind::Pct,
        root: false,
        trust_manifest: false,
        default_idmap: Some(proxmox_idmap()),
        protected: Vec::new(),
    };
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/proxmox");
    let examples: Vec<PathBuf> = examples().into_iter().filter(|path| path.starts_with(&directory)).collect();
    assert!(!examples.is_empty());
    for example in examples {
        let manifest = load(&example, &around).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(manifest.warnings().is_empty(), "{}", manifest.warnings());
    }
}

#[test]
fn one_example_uses_every_key() {
    fn collect(value: &Value, keys: &mut BTreeSet<String>) {
        match value {
            Value::Object(object) => {
                keys.extend(object.keys().cloned());
                object.values().for_each(|value| collect(value, keys));
            }
            Value::Array(list) => list.iter().for_each(|value| collect(value, keys)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    let example: Value = serde_json::from_str(include_str!("../../../examples/everything.json")).expect("JSON");
    let mut used = BTreeSet::new();
    collect(&example, &mut used);
    let known: BTreeSet<String> = schema_keys().into_values().flatten().collect();
    let unused: Vec<&String> = known.difference(&used).collect();
    assert!(unused.is_empty(), "examples/everything.json does not use {unused:?}");
}
