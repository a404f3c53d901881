//! No proof, no container and no checked manifest is built field by field.

use std::path::PathBuf;

use phoenix::ids::IdMap;
use phoenix::machine::{Container, Finalization, Finalized, Mounts, Subject, Volumed};
use phoenix::manifest::{Checked, Manifest};
use phoenix::plan::{Effect, Init};
use phoenix_journal::{Epoch, JournalId, Recorded, Seq};

fn finalization(subject: Subject, idmap: IdMap, init: Init) -> Finalization {
    Finalization { subject, idmap, init }
}

fn recorded(journal: JournalId, seq: Seq, epoch: Epoch, value: Effect) -> Recorded<Effect> {
    Recorded { journal, seq, epoch, value }
}

fn state(finalization: Finalization, mounts: Mounts) -> Volumed {
    Volumed { finalization, mounts }
}

fn container(subject: Subject, stage: Finalized) -> Container<Finalized> {
    Container { subject, stage }
}

fn mounts(subject: Subject) -> Mounts {
    Mounts { subject }
}

fn manifest(path: PathBuf, condition: Checked) -> Manifest<Checked> {
    Manifest { path, condition }
}

fn main() {}
