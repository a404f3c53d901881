//! The text of a mark: what a host leaves on a container so that it can be told from a stranger's.
//!
//! Apart from the entries because it lives outside of the journal and has a version of its own. Not here: where a host keeps
//! it, and what a missing or unreadable one means.

use phoenix_journal::{Epoch, JournalId};
use serde::{Deserialize, Serialize};

use super::written;
use crate::ids::{Ctid, FleetName, Incarnation};
use crate::plan::Mark;

/// The version of the mark's text. 1: the first.
const MARK_SCHEMA: u32 = 1;

/// The text of `mark`: one line of JSON with its line end.
///
/// ```text
/// {"schema":1,"journal":"0102..","fleet":"homelab","ctid":101,"incarnation":"a5a5..","epoch":7}
/// ```
///
/// # Panics
///
/// Never: a struct of numbers and texts has a JSON text.
pub fn mark_to_json(mark: &Mark) -> String {
    let Mark { journal, fleet, ctid, incarnation, epoch } = mark.clone();
    let document = MarkDocument { schema: MARK_SCHEMA, journal, fleet, ctid, incarnation, epoch };
    let mut text = serde_json::to_string(&document).expect("a struct of numbers and texts has a JSON text");
    text.push('\n');
    text
}

/// Reads a mark. Space around it is allowed: hosts keep it in files and in fields of their own.
pub fn mark_from_json(text: &str) -> Result<Mark, MarkError> {
    let Versioned { schema } = read(text)?;
    if schema != u64::from(MARK_SCHEMA) {
        return Err(MarkError::Version { found: schema });
    }
    let MarkDocument { schema: _, journal, fleet, ctid, incarnation, epoch } = read(text)?;
    Ok(Mark { journal, fleet, ctid, incarnation, epoch })
}

/// Why a text is no mark that this program knows.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    /// A mark of another version.
    #[error("the mark has schema {found}, and this phoenix reads schema {MARK_SCHEMA}; use the version that wrote it, or a later one")]
    Version {
        /// Its version.
        found: u64,
    },
    /// No JSON, or something in it that this version does not know.
    #[error("the mark cannot be read at `{path}`; it was cut off or is not phoenix's")]
    Form {
        /// The place in the JSON; `.` for the whole.
        path: String,
        /// What is wrong there.
        #[source]
        cause: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct Versioned {
    schema: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarkDocument {
    schema: u32,
    #[serde(with = "written")]
    journal: JournalId,
    #[serde(with = "written")]
    fleet: FleetName,
    #[serde(with = "written")]
    ctid: Ctid,
    #[serde(with = "written")]
    incarnation: Incarnation,
    #[serde(with = "written")]
    epoch: Epoch,
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, MarkError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| MarkError::Form { path: error.path().to_string(), cause: error.into_inner() })?;
    json.end().map_err(|cause| MarkError::Form { path: ".".to_owned(), cause })?;
    Ok(value)
}
