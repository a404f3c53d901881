//! Declarations, notes and runs on disk.
//!
//! Mirrors the parts of `machine::line` that are neither intent nor outcome. Not here: the envelope that all of them share.

use std::collections::BTreeMap;
use std::sync::Arc;

use phoenix_journal::Digest;
use serde::{Deserialize, Serialize};

use super::written::{self, is_default, written_as};
use crate::ids::{Ctid, FleetName, Generation, Incarnation, RunId, State, StepId, Wall};
use crate::machine::{Decision, Declaration, Note, RunClosed, RunCommand, RunEnd, RunOpened, Standing, Topic};
use crate::manifest::Spec;
use crate::plan::{Init, Repertoire};

written_as! {
    Declaration => DeclarationDocument,
    Repertoire => RepertoireDocument,
    Note => NoteDocument,
    Topic => TopicDocument,
    Decision => DecisionDocument,
    RunOpened => RunOpenedDocument,
    RunCommand => RunCommandDocument,
    RunClosed => RunClosedDocument,
    RunEnd => RunEndDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Declaration", deny_unknown_fields)]
struct DeclarationDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    fleet: FleetName,
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    incarnation: Incarnation,
    #[serde(with = "written")]
    generation: Generation,
    #[serde(with = "written")]
    spec: Arc<Spec>,
    #[serde(with = "written")]
    template: Option<Digest>,
    /// Left out where it is the common one, which is all that schema 1 knows.
    #[serde(with = "written", default, skip_serializing_if = "is_default")]
    repertoire: Repertoire,
    #[serde(with = "written")]
    state: State,
    #[serde(with = "written")]
    standing: Standing,
    #[serde(with = "written", rename = "at_ms")]
    at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Repertoire", rename_all = "snake_case")]
enum RepertoireDocument {
    Common,
    Proxmox,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Note", deny_unknown_fields)]
struct NoteDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    incarnation: Incarnation,
    #[serde(with = "written")]
    generation: Generation,
    #[serde(with = "written")]
    topic: Topic,
    #[serde(with = "written")]
    state: State,
    #[serde(with = "written")]
    standing: Standing,
    #[serde(with = "written", rename = "at_ms")]
    at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Topic", rename_all = "snake_case", deny_unknown_fields)]
enum TopicDocument {
    Passed,
    InitLost {
        #[serde(with = "written")]
        recorded: Init,
        #[serde(with = "written")]
        found: Option<Init>,
    },
    FoundRunning {
        #[serde(with = "written")]
        init: Init,
    },
    Standing,
    Decided(#[serde(with = "written")] Decision),
    Forgotten {
        seen: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Decision", rename_all = "snake_case", deny_unknown_fields)]
enum DecisionDocument {
    NewBudget {
        #[serde(with = "written")]
        step: Option<StepId>,
    },
    Rerun {
        #[serde(with = "written")]
        step: StepId,
    },
    Skip {
        #[serde(with = "written")]
        step: StepId,
    },
    Remark,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunOpened", deny_unknown_fields)]
struct RunOpenedDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    command: RunCommand,
    #[serde(with = "written")]
    containers: BTreeMap<Ctid, FleetName>,
    jobs: u32,
    #[serde(with = "written", rename = "at_ms")]
    at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunCommand", rename_all = "snake_case")]
enum RunCommandDocument {
    Up,
    Resume,
    Down,
    Retry,
    Rebuild,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunClosed", deny_unknown_fields)]
struct RunClosedDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    end: RunEnd,
    #[serde(with = "written", rename = "at_ms")]
    at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunEnd", rename_all = "snake_case")]
enum RunEndDocument {
    Done,
    Failed,
    Interrupted,
}
