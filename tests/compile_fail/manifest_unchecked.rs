//! Planning takes a checked manifest, and `check` alone makes one.

use phoenix::manifest::{Checked, Manifest, Parsed};

fn used_unchecked(manifest: &Manifest<Parsed>) -> usize {
    manifest.containers().len()
}

fn called_checked(manifest: Manifest<Parsed>) -> Manifest<Checked> {
    manifest
}

fn condition_by_default() -> Checked {
    Checked::default()
}

fn main() {}
