//! Facts about manifests: data in, whole output out.
//!
//! One bench with a few files serves all: its directory is written as DIR in what is expected. Not here: tests of single parts, which stand
//! beside them.

#![allow(clippy::needless_raw_string_hashes, reason = "one way to quote all messages, whatever they hold")]

mod bad_json;
mod bad_keys;
mod bad_references;
mod bad_volumes;
mod documents;
mod good;
mod others;
mod properties;
mod proxmox;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Checked, Manifest, Problems, Surroundings, parse, proxmox_idmap};
use crate::ids::HostKind;

/// A directory with scripts and a template, and a machine around it.
pub(super) struct Bench {
    directory: tempfile::TempDir,
    pub(super) around: Surroundings,
}

impl Bench {
    /// Plain LXC, not root.
    pub(super) fn new() -> Self {
        Self::on(HostKind::Lxc)
    }

    pub(super) fn on(host: HostKind) -> Self {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let around = Surroundings {
            host,
            root: false,
            trust_manifest: false,
            default_idmap: Some(proxmox_idmap()),
            protected: vec!["/var/lib/other-lxc".into()],
        };
        let bench = Self { directory, around };
        bench.write("t.tar", "", 0o644);
        bench.write("base.sh", "#!/bin/sh\ntrue\n", 0o755);
        bench.write("web.sh", "#!/usr/bin/env python3\npass\n", 0o755);
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>, mode: u32) {
        let path = self.path(name);
        fs::write(&path, text).expect("a file for the test");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("its mode");
    }

    pub(super) fn check(&self, json: impl AsRef<[u8]>) -> Result<Manifest<Checked>, Problems> {
        parse(json.as_ref(), &self.path("fleet.json"))?.check(&self.around)
    }

    /// Problems, or warnings, or "fine", as a person reads them.
    pub(super) fn says(&self, json: impl AsRef<[u8]>) -> String {
        self.told(self.check(json))
    }

    fn told(&self, checked: Result<Manifest<Checked>, Problems>) -> String {
        match checked {
            Ok(manifest) if manifest.warnings().is_empty() => "fine".to_owned(),
            Ok(manifest) => self.anywhere(&manifest.warnings().to_string()),
            Err(problems) => self.anywhere(&problems.to_string()),
        }
    }

    /// The text with the bench's directory written as DIR, and without it before the manifest's name.
    pub(super) fn anywhere(&self, text: &str) -> String {
        text.replace(&self.directory.path().display().to_string(), "DIR").replace("DIR/fleet.json", "fleet.json")
    }
}

#[track_caller]
pub(super) fn check_on(bench: &Bench, json: impl AsRef<[u8]>, expected: &str) {
    let said = bench.says(json);
    assert!(said == expected.trim_matches('\n'), "\n--- said\n{said}\n--- expected{expected}\n---");
}

#[track_caller]
pub(super) fn check(json: impl AsRef<[u8]>, expected: &str) {
    check_on(&Bench::new(), json, expected);
}

/// A fleet of one container with the keys given beside its host name and template, in line 3.
pub(super) fn one(keys: &str) -> String {
    let comma = if keys.is_empty() { "" } else { ",\n" };
    format!("{{ \"fleet\": \"f\", \"containers\": {{\n\"101\": {{ \"hostname\": \"a\", \"template\": \"t.tar\"{comma}{keys}\n}}\n}} }}")
}

/// A fleet with the containers given, each in a line of its own from line 2 on.
pub(super) fn many(containers: &[&str]) -> String {
    format!("{{ \"fleet\": \"f\", \"containers\": {{\n{}\n}} }}", containers.join(",\n"))
}

/// What [`load`](super::load) says of a file of the bench.
pub(super) fn load_says(bench: &Bench, path: &Path) -> String {
    bench.told(super::load(path, &bench.around))
}
