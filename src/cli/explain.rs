//! `explain`: why a container is where it is, what would be done next, on what evidence.

use phoenix_journal::{Epoch, StreamKey};

use crate::codec::CONTAINER;
use crate::driver::RunError;
use crate::ids::Wall;
use crate::journal::Account;
use crate::report;

use super::args::ExplainArgs;
use super::blame::{CliError, Exit};
use super::screen::{print, print_json, say};
use super::setting::Setting;

pub(super) fn run(setting: &Setting, args: &ExplainArgs) -> Result<Exit, CliError> {
    let ctid = args.ctid;
    let Some(reader) = setting.reader()? else {
        return Err(RunError::NoJournal { path: setting.journal.clone() }.into());
    };
    let account = Account::of(reader.entries(.., None)?);
    let life = match account.lives.get(&ctid) {
        None => return Err(RunError::UnknownContainers { ctids: vec![ctid] }.into()),
        Some(Err(why)) => {
            let explanation = report::explain_unreadable(ctid, &why.to_string());
            if setting.globals.json {
                print_json(&explanation)?;
            } else {
                print(&explanation.text(setting.screen.out, Wall(0)))?;
            }
            return Ok(Exit::Well);
        }
        Some(Ok(life)) => life,
    };
    let entries = reader.entries(.., Some(&StreamKey::new(CONTAINER, ctid.to_string())))?;
    let epoch = reader.epochs()?.last().map_or(Epoch::new(0), |row| row.epoch);
    // The journal alone has an answer too, so a host that cannot be asked is no error.
    let observed = setting.host().and_then(|host| Ok(host.observe(Some(&reader.journal()), &[ctid])?));
    let seen = match &observed {
        Ok(observation) => Some(observation.containers.get(&ctid)),
        Err(error) => {
            say(&format!("note: the host was not asked: {error}\n"));
            None
        }
    };
    let explanation = report::explain(&account, life, &entries, reader.journal(), epoch, seen);
    let now = setting.now().map_or(life.since, |now| now.wall);
    if setting.globals.json {
        print_json(&explanation)?;
    } else {
        print(&explanation.text(setting.screen.out, now))?;
    }
    Ok(Exit::Well)
}
