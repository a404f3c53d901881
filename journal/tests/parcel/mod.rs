//! The machine that the tests run: a parcel, and a tour that has no steps.
#![allow(dead_code, reason = "every test file uses another part of it")]

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use phoenix_journal::{Binding, Body, Digest, Draft, Journal, JournalId, Machine, Schema, Seq, StreamKey, Writer, WriterInfo};
use tempfile::TempDir;

pub(crate) const SCHEMA: Schema = Schema { application_id: 0x5041_5243, version: 1, machines: &[PARCEL, TOUR] };

pub(crate) const PARCEL: Machine = Machine {
    name: "parcel",
    states: &["packed", "labelled", "shipped"],
    initial: "packed",
    edges: &[("packed", "labelled"), ("labelled", "shipped"), ("shipped", "labelled"), ("labelled", "packed"), ("shipped", "packed")],
    needs: &[("labelled", "label"), ("shipped", "ship"), ("shipped", "label")],
    begins: &[
        ("label", "packed"),
        ("ship", "labelled"),
        ("weigh", "packed"),
        ("weigh", "labelled"),
        ("unpack", "shipped"),
        ("unpack", "labelled"),
    ],
    standings: &["active", "lost"],
};

pub(crate) const TOUR: Machine = Machine {
    name: "tour",
    states: &["planned", "over"],
    initial: "planned",
    edges: &[("planned", "over")],
    needs: &[],
    begins: &[],
    standings: &[],
};

/// A journal in a directory of its own.
pub(crate) struct Made {
    pub(crate) dir: TempDir,
    pub(crate) path: PathBuf,
    pub(crate) id: JournalId,
}

pub(crate) fn made() -> Made {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("parcels.journal");
    let id = Journal::create(&path, &SCHEMA, &binding(), &info()).expect("a new journal");
    Made { dir, path, id }
}

pub(crate) fn open(path: &Path) -> Writer {
    Writer::open(path, &SCHEMA, info()).expect("nobody else writes")
}

pub(crate) fn binding() -> Binding {
    Binding { host: "van".into(), node: "node-7".into(), directory: "/parcels".into(), device: 42 }
}

pub(crate) fn info() -> WriterInfo {
    WriterInfo { pid: std::process::id(), command: "parcels send".into(), started_at_ms: 1_700_000_000_000, boot_id: "boot-1".into() }
}

/// A draft for the parcel of this name, in its first life and generation.
pub(crate) fn draft(stream: &str, body: Body, state: &'static str) -> Draft {
    Draft {
        stream: StreamKey::new("parcel", stream),
        life: "first".into(),
        generation: 1,
        run: "run-1".into(),
        body,
        state: Cow::Borrowed(state),
        standing: Cow::Borrowed("active"),
        payload: "{}".into(),
        at_ms: 1_700_000_000_000,
        blobs: Vec::new(),
    }
}

pub(crate) fn declare(stream: &str) -> Draft {
    draft(stream, Body::Declare, "packed")
}

pub(crate) fn intent(stream: &str, step: &str, attempt: u32, state: &'static str) -> Draft {
    let body = Body::Intent { step: step.into(), attempt, deadline: None, digest: Digest::of(step.as_bytes()) };
    draft(stream, body, state)
}

pub(crate) fn outcome(stream: &str, intent: u64, step: &str, attempt: u32, result: &'static str, state: &'static str) -> Draft {
    draft(stream, Body::Outcome { intent: Seq::new(intent), step: step.into(), attempt, result: result.into() }, state)
}

pub(crate) fn note(stream: &str, state: &'static str) -> Draft {
    draft(stream, Body::Note { topic: "seen".into() }, state)
}

pub(crate) fn tour(body: Body, state: &'static str) -> Draft {
    Draft { stream: StreamKey::new("tour", "1"), standing: "".into(), ..draft("1", body, state) }
}

/// A parcel brought to `shipped`: five entries.
pub(crate) fn shipped(stream: &str, first: u64) -> Vec<Draft> {
    vec![
        declare(stream),
        intent(stream, "label", 1, "packed"),
        outcome(stream, first + 1, "label", 1, "done", "labelled"),
        intent(stream, "ship", 1, "labelled"),
        outcome(stream, first + 3, "ship", 1, "done", "shipped"),
    ]
}

/// Name and digest of every file of a directory.
pub(crate) fn digests(dir: &Path) -> Vec<String> {
    let text = outside("sh", &["-c", "cd \"$0\" && sha256sum *", &dir.display().to_string()]);
    text.lines().map(str::to_owned).collect()
}

/// Runs a program. Looking at database files from inside would take the locks of this process' own connections along.
#[expect(clippy::disallowed_methods, reason = "a test's own child, waited for at once")]
pub(crate) fn outside(program: &str, arguments: &[&str]) -> String {
    let done = std::process::Command::new(program).args(arguments).output().expect("the program is there");
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).expect("a text")
}
