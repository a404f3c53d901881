//! One look at the container directory and `/proc`.
//!
//! Apart from the steps because it changes nothing and takes no lock. Not here: what follows from what is seen.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt;

use crate::ids::{BootId, Ctid};
use crate::plan::{Mark, Observation, Presence, Seen};

use super::super::local::durable;
use super::super::local::life::Up;
use super::super::local::proc::{Held, Processes, Root};
use super::config::{CONFIG_BYTES_MAX, Config};
use super::layout::{CONFIG_FILE, Layout, ROOTFS};
use super::mark::{self, MARK_BYTES_MAX, MARK_FILE};

/// Looks at the given containers.
pub(crate) fn observe(layout: &Layout, boot: &BootId, ctids: &[Ctid]) -> io::Result<Observation> {
    let processes = processes(layout, ctids)?;
    let mut containers = BTreeMap::new();
    for &ctid in ctids {
        let (found, mark) = match (presence(layout, ctid), read_mark(layout, ctid)) {
            (Ok(found), Ok(mark)) => (found, mark),
            // Its own affair: the others are looked at all the same.
            (Err(error), _) | (Ok(_), Err(error)) => {
                let what = format!("{} cannot be looked at: {error}", layout.container(ctid).display());
                (Some(Presence::HalfMade(what)), None)
            }
        };
        if let Some(presence) = found {
            let init = processes.inits.get(&ctid).and_then(|pid| Held::open(*pid)).map(|held| held.init(boot));
            let config = read_config(layout, ctid).ok().flatten().and_then(|config| config.seen().ok());
            containers.insert(ctid, Seen { presence, mark, init, config, copies_live: false });
        }
    }
    Ok(Observation { boot: boot.clone(), containers })
}

/// Inits and starters of the given containers.
pub(crate) fn processes(layout: &Layout, ctids: &[Ctid]) -> io::Result<Processes> {
    let root = |ctid: &Ctid| -> Option<(Root, Ctid)> {
        let meta = std::fs::symlink_metadata(layout.rootfs(*ctid)).ok()?;
        Some(((meta.dev(), meta.ino()), *ctid))
    };
    Processes::look(layout.path(), &ctids.iter().filter_map(root).collect(), ctids)
}

/// Takes hold of what runs of one container.
pub(super) fn up(layout: &Layout, ctid: Ctid) -> io::Result<Up> {
    let found = processes(layout, &[ctid])?;
    let init = found.inits.get(&ctid).copied().and_then(Held::open);
    // Its number may have gone to another process between the look and the hold.
    let rootfs = std::fs::symlink_metadata(layout.rootfs(ctid));
    let init = init.filter(|held| rootfs.is_ok_and(|meta| held.root() == Some((meta.dev(), meta.ino()))));
    let starters = found.starters.get(&ctid).into_iter().flatten().copied().filter_map(Held::open).collect();
    Ok(Up { init, starters })
}

/// Whether something lies at the container's place, and whether it is a whole container.
pub(crate) fn presence(layout: &Layout, ctid: Ctid) -> io::Result<Option<Presence>> {
    let place = layout.container(ctid);
    let meta = match std::fs::symlink_metadata(&place) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let has = |name: &str, is: fn(&std::fs::Metadata) -> bool| std::fs::symlink_metadata(place.join(name)).is_ok_and(|meta| is(&meta));
    let half = |what: &str| Ok(Some(Presence::HalfMade(format!("{}: {what}", place.display()))));
    if !meta.is_dir() {
        return half("not a directory");
    }
    if !has(CONFIG_FILE, std::fs::Metadata::is_file) {
        return half("no config");
    }
    if !has(ROOTFS, std::fs::Metadata::is_dir) {
        return half("no rootfs");
    }
    Ok(Some(Presence::Whole))
}

/// The container's mark, if it bears one that can be read.
pub(crate) fn read_mark(layout: &Layout, ctid: Ctid) -> io::Result<Option<Mark>> {
    match durable::read(&layout.container(ctid).join(MARK_FILE), MARK_BYTES_MAX) {
        Ok(text) => Ok(text.as_deref().and_then(mark::parse).map(|(mark, _)| mark)),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(None),
        Err(error) => Err(error),
    }
}

/// The container's configuration; `None` if it has none.
pub(crate) fn read_config(layout: &Layout, ctid: Ctid) -> io::Result<Option<Config>> {
    let text = durable::read(&layout.container(ctid).join(CONFIG_FILE), CONFIG_BYTES_MAX)?;
    text.map(|text| Config::parse(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))).transpose()
}
