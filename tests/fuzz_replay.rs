//! The fuzz targets on what is already known: every seed, and every input that a fuzzer has kept on this machine.
//!
//! So a stable toolchain without `cargo-fuzz` replays what was once found: an input that broke something is committed as a
//! seed. Not here: finding new ones (`scripts/fuzz`).

mod fuzzed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fuzzed::{engine_history, idmap, journal_replay, lxc_config, manifest, pct_config, pct_properties};

type Run = fn(&[u8]);

/// Every target, as in `fuzz/Cargo.toml`.
const TARGETS: [(&str, Run); 7] = [
    ("manifest", manifest::run),
    ("journal_replay", journal_replay::run),
    ("engine_history", engine_history::run),
    ("idmap", idmap::run),
    ("lxc_config", lxc_config::run),
    ("pct_config", pct_config::run),
    ("pct_properties", pct_properties::run),
];

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files
}

#[track_caller]
fn check(target: &str) {
    let (_, run) = TARGETS.iter().find(|(name, _)| *name == target).expect("a target");
    let seeds = files(&top().join("seeds").join(target));
    assert!(!seeds.is_empty(), "{target} has no seeds");
    let kept = files(&top().join("corpus").join(target));
    let broken = files(&top().join("artifacts").join(target));
    for file in seeds.iter().chain(kept.iter().take(KEPT_MAX)).chain(&broken) {
        let data = fs::read(file).expect("a file");
        let outcome = std::panic::catch_unwind(|| run(&data));
        assert!(outcome.is_ok(), "broken by {}", file.display());
    }
}

/// What a fuzzer kept is only this machine's, and grows with every run.
const KEPT_MAX: usize = 500;

#[test]
fn manifests() {
    check("manifest");
}

#[test]
fn journals() {
    check("journal_replay");
}

#[test]
fn engine_histories() {
    check("engine_history");
}

#[test]
fn id_maps() {
    check("idmap");
}

#[test]
fn lxc_configurations() {
    check("lxc_config");
}

#[test]
fn proxmox_configurations() {
    check("pct_config");
}

#[test]
fn property_strings() {
    check("pct_properties");
}

#[test]
fn the_targets_are_those_that_can_be_fuzzed() {
    let manifest = fs::read_to_string(top().join("Cargo.toml")).expect("the manifest of the fuzz targets");
    let declared: BTreeSet<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")?.strip_suffix(".rs\"")).collect();
    assert_eq!(declared, TARGETS.map(|(name, _)| name).into());
}
