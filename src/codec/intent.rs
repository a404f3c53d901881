//! Intents on disk: one attempt at one step, with all that the spec could not know.
//!
//! Mirrors `plan::effect`, without the spec and the mark that an effect carries besides: the spec stands in the declaration,
//! the mark follows from journal and incarnation. Not here: outcomes.

use std::path::PathBuf;

use phoenix_journal::Digest;
use serde::{Deserialize, Serialize};

use super::written::{self, is_default, written_as};
use crate::ids::{BootId, Ctid, Generation, IdMap, Incarnation, Moment, RunId, State, StepId, Target, Token, VolumeName};
use crate::manifest::{Mount, Volume};
use crate::plan::{Action, Attachment, CopyFrom, HoldBy, Init, Intent, Reason, Source, StartPurpose};

written_as! {
    Intent => IntentDocument,
    Action => ActionDocument,
    StartPurpose => StartPurposeDocument,
    HoldBy => HoldByDocument,
    CopyFrom => CopyFromDocument,
    Reason => ReasonDocument,
    Init => InitDocument,
    Source => SourceDocument,
    Attachment => AttachmentDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Intent", deny_unknown_fields)]
struct IntentDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    incarnation: Incarnation,
    #[serde(with = "written")]
    generation: Generation,
    #[serde(with = "written")]
    state: State,
    #[serde(with = "written")]
    step: StepId,
    attempt: u32,
    #[serde(with = "written")]
    reason: Reason,
    #[serde(with = "written")]
    deadline: Moment,
    #[serde(with = "written")]
    token: Token,
    #[serde(with = "written")]
    action: Action,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Action", rename_all = "snake_case", deny_unknown_fields)]
enum ActionDocument {
    FetchTemplate,
    Create {
        #[serde(with = "written")]
        template: Option<Digest>,
    },
    Clone {
        #[serde(with = "written")]
        source: Ctid,
        #[serde(with = "written")]
        incarnation: Incarnation,
        /// Left out where the source is down, which is all that schema 1 knows.
        #[serde(with = "written", default, skip_serializing_if = "is_default")]
        from: CopyFrom,
    },
    Mark,
    Hold {
        #[serde(with = "written")]
        init: Option<Init>,
        /// Left out where it is stopped, which is all that schema 1 knows.
        #[serde(with = "written", default, skip_serializing_if = "is_default")]
        by: HoldBy,
    },
    Release,
    Configure,
    SetFirewall,
    Start {
        #[serde(with = "written")]
        purpose: StartPurpose,
        #[serde(with = "written")]
        idmap: IdMap,
        #[serde(with = "written")]
        sources: Vec<Source>,
    },
    ReadIdmap {
        #[serde(with = "written")]
        init: Init,
    },
    Stop {
        #[serde(with = "written")]
        init: Option<Init>,
    },
    TakeSnapshot,
    Prepare {
        #[serde(with = "written")]
        volume: Volume,
        #[serde(with = "written")]
        idmap: IdMap,
    },
    Attach {
        #[serde(with = "written")]
        mount: Mount,
        #[serde(with = "written")]
        source: Source,
        #[serde(with = "written")]
        idmap: IdMap,
    },
    Detach {
        #[serde(with = "written")]
        mount: Mount,
    },
    AwaitReady {
        #[serde(with = "written")]
        init: Init,
    },
    RunScript {
        #[serde(with = "written")]
        init: Init,
    },
    AskHealth {
        #[serde(with = "written")]
        init: Init,
    },
    SetAutostart,
    Destroy,
    Repair {
        leftover: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HoldBy", rename_all = "snake_case")]
enum HoldByDocument {
    Stop,
    Snapshot,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "CopyFrom", rename_all = "snake_case")]
enum CopyFromDocument {
    Current,
    Snapshot,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StartPurpose", rename_all = "snake_case")]
enum StartPurposeDocument {
    Finalize,
    Run,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Reason", rename_all = "snake_case", deny_unknown_fields)]
enum ReasonDocument {
    First,
    Retry { after: String },
    Interrupted,
    Lost,
    Asked,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Init", deny_unknown_fields)]
struct InitDocument {
    #[serde(with = "written")]
    boot: BootId,
    pid: u32,
    start_ticks: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Source", deny_unknown_fields)]
struct SourceDocument {
    #[serde(with = "written")]
    volume: VolumeName,
    #[serde(with = "written")]
    path: PathBuf,
    device: u64,
    inode: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Attachment", deny_unknown_fields)]
struct AttachmentDocument {
    #[serde(with = "written")]
    source: Source,
    #[serde(with = "written")]
    at: Target,
    mechanism: String,
    read_only: bool,
}
