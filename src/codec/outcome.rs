//! Outcomes on disk: what became of an intent, what was shown for it, and where that leaves the container.
//!
//! Mirrors `machine::outcome` and `machine::standing`; the two name each other, a wait being both a kind of failure and a
//! standing. The bytes a child wrote are not in it: the journal keeps them by digest, beside the outcome.

use std::fmt;

use phoenix_journal::{Digest, Seq};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::written::{self, Written, written_as};
use crate::ids::{Ctid, Generation, IdMap, Incarnation, RunId, State, StepId, Wall};
use crate::machine::{
    Evidence, Failure, FailureClass, Outcome, Output, Prepared, Quarantine, QuarantineReason, Standing, StepResult, Wait, WaitKind,
};
use crate::plan::{Attachment, HoldBy, Init, Source};

written_as! {
    Outcome => OutcomeDocument,
    StepResult => StepResultDocument,
    Output => OutputDocument,
    Prepared => PreparedDocument,
    Failure => FailureDocument,
    FailureClass => FailureClassDocument,
    Standing => StandingDocument,
    Wait => WaitDocument,
    WaitKind => WaitKindDocument,
    Quarantine => QuarantineDocument,
    QuarantineReason => QuarantineReasonDocument,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Outcome", deny_unknown_fields)]
struct OutcomeDocument {
    #[serde(with = "written")]
    run: RunId,
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    incarnation: Incarnation,
    #[serde(with = "written")]
    generation: Generation,
    #[serde(with = "written")]
    intent: Seq,
    #[serde(with = "written")]
    step: StepId,
    attempt: u32,
    #[serde(with = "written")]
    result: StepResult,
    recovered: bool,
    #[serde(with = "written")]
    output: Option<Output>,
    #[serde(with = "written")]
    state: State,
    #[serde(with = "written")]
    standing: Standing,
    #[serde(with = "written", rename = "at_ms")]
    at: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StepResult", rename_all = "snake_case", deny_unknown_fields)]
enum StepResultDocument {
    Done(#[serde(with = "written")] Evidence),
    Failed(#[serde(with = "written")] Failure),
    Absent,
    Partial { leftover: String },
    Foreign { owner: String },
    Gone,
    Unknown { why: String },
    Interrupted,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Output", deny_unknown_fields)]
struct OutputDocument {
    #[serde(with = "written")]
    digest: Digest,
    /// A blob of the outcome, found by its digest.
    #[serde(skip)]
    kept: Option<Vec<u8>>,
    bytes_written: u64,
}

/// As its document, but for a source that is held down: that is the word `held` alone, which is all that schema 1 knows.
impl Written for Evidence {
    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if matches!(self, Self::Held { by: HoldBy::Stop }) {
            return to.serialize_str(HELD);
        }
        EvidenceDocument::serialize(self, to)
    }

    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(EvidenceVisitor)
    }
}

const HELD: &str = "held";

struct EvidenceVisitor;

impl<'de> Visitor<'de> for EvidenceVisitor {
    type Value = Evidence;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("evidence: a word, or an object with one key")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<Evidence, E> {
        match word {
            HELD => Ok(Evidence::Held { by: HoldBy::Stop }),
            other => EvidenceDocument::deserialize(StrDeserializer::new(other)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Evidence, A::Error> {
        EvidenceDocument::deserialize(MapAccessDeserializer::new(map))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Evidence", rename_all = "snake_case", deny_unknown_fields)]
enum EvidenceDocument {
    Fetched,
    Created {
        left_out: u32,
    },
    Cloned {
        #[serde(with = "written")]
        source: Ctid,
        #[serde(with = "written")]
        incarnation: Incarnation,
        shared_mounts: u32,
    },
    Marked,
    Held {
        #[serde(with = "written")]
        by: HoldBy,
    },
    Released,
    Configured {
        unenforced: Vec<String>,
    },
    FirewallSet,
    Started {
        #[serde(with = "written")]
        init: Init,
        #[serde(with = "written")]
        idmap: IdMap,
    },
    Idmap {
        #[serde(with = "written")]
        init: Init,
        #[serde(with = "written")]
        idmap: IdMap,
    },
    Stopped,
    Snapshot {
        name: String,
    },
    Prepared(#[serde(with = "written")] Prepared),
    Attached(#[serde(with = "written")] Attachment),
    Detached,
    Ready {
        #[serde(with = "written")]
        init: Init,
        basis: String,
    },
    Ran {
        #[serde(with = "written")]
        script: Digest,
        #[serde(with = "written", rename = "started_ms")]
        started: Wall,
        #[serde(with = "written", rename = "ended_ms")]
        ended: Wall,
        skipped: bool,
    },
    Healthy {
        asked: u32,
    },
    AutostartSet {
        enabled: bool,
    },
    Destroyed,
    Repaired,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Prepared", deny_unknown_fields)]
struct PreparedDocument {
    #[serde(with = "written")]
    source: Source,
    host_uid: u32,
    host_gid: u32,
    /// Owner, group, mode.
    former: Option<(u32, u32, u32)>,
    left_alone: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Failure", deny_unknown_fields)]
struct FailureDocument {
    #[serde(with = "written")]
    class: FailureClass,
    message: String,
    command: Option<String>,
    status: Option<String>,
    tail: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FailureClass", rename_all = "snake_case", deny_unknown_fields)]
enum FailureClassDocument {
    Transient,
    Timeout,
    Permanent,
    InitLost,
    Drift { claim: String, found: String },
    Wait(#[serde(with = "written")] Wait),
    MarkMissing,
    Undead,
    JournalOlder,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Standing", rename_all = "snake_case", deny_unknown_fields)]
enum StandingDocument {
    Active,
    Waiting(#[serde(with = "written")] Wait),
    Failed {
        #[serde(with = "written")]
        step: StepId,
        #[serde(with = "written")]
        failure: Box<Failure>,
    },
    Quarantined(#[serde(with = "written")] Quarantine),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Wait", deny_unknown_fields)]
struct WaitDocument {
    #[serde(with = "written")]
    kind: WaitKind,
    name: String,
    #[serde(with = "written")]
    ctid: Option<Ctid>,
    pid: Option<u32>,
    #[serde(with = "written", rename = "since_ms")]
    since: Wall,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "WaitKind", rename_all = "snake_case")]
enum WaitKindDocument {
    Dependency,
    Lock,
    Source,
    Secret,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Quarantine", deny_unknown_fields)]
struct QuarantineDocument {
    #[serde(with = "written")]
    reason: QuarantineReason,
    evidence: String,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "QuarantineReason", rename_all = "snake_case")]
enum QuarantineReasonDocument {
    Foreign,
    Gone,
    MarkMissing,
    Undead,
    Interrupted,
    JournalOlder,
    Drift,
    Budget,
    Undecodable,
}
