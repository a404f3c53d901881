//! `history`: the journal, readable.

use phoenix_journal::StreamKey;

use crate::codec::CONTAINER;
use crate::driver::RunError;
use crate::report::Timeline;

use super::args::HistoryArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json};
use super::setting::Setting;

pub(super) fn run(setting: &Setting, args: &HistoryArgs) -> Result<Exit, CliError> {
    let key = args.ctid.map(|ctid| StreamKey::new(CONTAINER, ctid.to_string()));
    let entries = match setting.reader()? {
        Some(reader) => reader.entries(.., key.as_ref())?,
        None => Vec::new(),
    };
    if let Some(ctid) = args.ctid.filter(|_| entries.is_empty()) {
        return Err(RunError::UnknownContainers { ctids: vec![ctid] }.into());
    }
    let timeline = Timeline::of(&entries);
    if setting.globals.json {
        print_json(&timeline)?;
    } else {
        print(&timeline.text(setting.screen.out))?;
    }
    Ok(Exit::Well)
}
