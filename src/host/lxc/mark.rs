//! The identity mark of a plain LXC container: `phoenix.mark` beside its configuration, out of the container's reach.
//!
//! Apart because its text is an on-disk format. Not here: when it is written and what a missing one means.

use phoenix_journal::JournalId;
use serde::{Deserialize, Serialize};

use crate::ids::Ctid;
use crate::plan::Mark;

/// The name of the file in the container's directory.
pub(crate) const MARK_FILE: &str = "phoenix.mark";
/// The largest mark read; ours are below 300 bytes.
pub(crate) const MARK_BYTES_MAX: u64 = 4096;
/// The version written. 1: the first.
const SCHEMA: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    schema: u32,
    journal: String,
    fleet: String,
    ctid: u32,
    incarnation: String,
    epoch: u64,
    /// What the template's archive held that was left out; evidence of the creation that outlives the boot.
    #[serde(default)]
    left_out: u32,
}

/// The text of `mark`, and how many entries of the template were left out.
pub(crate) fn write(mark: &Mark, left_out: u32) -> String {
    let Mark { journal, fleet, ctid, incarnation, epoch } = mark;
    let written = Written {
        schema: SCHEMA,
        journal: journal.to_string(),
        fleet: fleet.to_string(),
        ctid: ctid.get(),
        incarnation: incarnation.to_string(),
        epoch: epoch.get(),
        left_out,
    };
    let mut text = serde_json::to_string(&written).expect("a struct of numbers and strings has a JSON text");
    text.push('\n');
    text
}

/// Reads a mark; `None` if it is none that this version knows.
pub(crate) fn parse(text: &str) -> Option<(Mark, u32)> {
    let Written { schema, journal, fleet, ctid, incarnation, epoch, left_out } = serde_json::from_str(text).ok()?;
    if schema != SCHEMA {
        return None;
    }
    let mark = Mark {
        journal: journal.parse::<JournalId>().ok()?,
        fleet: fleet.parse().ok()?,
        ctid: Ctid::new(ctid).ok()?,
        incarnation: incarnation.parse().ok()?,
        epoch: phoenix_journal::Epoch::new(epoch),
    };
    Some((mark, left_out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_keeps_its_text() {
        let text = concat!(
            r#"{"schema":1,"journal":"0102030405060708090a0b0c0d0e0f10","fleet":"homelab","ctid":101,"#,
            r#""incarnation":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","epoch":7,"left_out":3}"#,
            "\n"
        );
        let (mark, left_out) = parse(text).expect("the golden text is a mark");
        assert_eq!((mark.ctid.get(), left_out), (101, 3));
        assert_eq!(write(&mark, left_out), text);
    }

    #[test]
    fn what_is_not_known_is_no_mark() {
        for text in [
            "",
            "{}",
            r#"{"schema":2,"journal":"0102030405060708090a0b0c0d0e0f10","fleet":"a","ctid":101,"incarnation":"a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5","epoch":7}"#,
        ] {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }
}
