//! Digests of templates, taken once per file: an archive of a gigabyte is not read again for every `up`.
//!
//! A file counts as the same while device, inode, size and times of change are the same. The digests are kept in the journal,
//! beside the history. Not here: whether an archive is the planned one, which the host checks as it unpacks.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use phoenix_journal::{Digest, Reader, Writer};
use tracing::debug;

use crate::driver::{Site, Wanted};
use crate::ids::Ctid;
use crate::ids::HostKind;
use crate::journal::SCHEMA;
use crate::manifest::{Origin, Spec, Template};
use crate::plan::Repertoire;
use crate::shim::digest_of;

use super::blame::CliError;

/// What a manifest wants, with the digests of its templates, and the digests that were not known before.
pub(super) struct Digested {
    /// The containers.
    pub(super) wanted: BTreeMap<Ctid, Wanted>,
    /// Cache keys and values still to be kept.
    fresh: Vec<(String, String)>,
}

/// Digests the templates of `specs`.
pub(super) fn digest<'a>(specs: impl IntoIterator<Item = &'a Spec>, kind: HostKind, reader: Option<&Reader>) -> Result<Digested, CliError> {
    let (mut known, mut fresh): (BTreeMap<PathBuf, Digest>, Vec<_>) = (BTreeMap::new(), Vec::new());
    let mut wanted = BTreeMap::new();
    for spec in specs {
        let template = match &spec.origin {
            // The simulator unpacks nothing; its templates are names.
            Origin::Template(Template::File(_)) if kind == HostKind::Sim => None,
            Origin::Template(Template::File(path)) => Some(match known.get(path) {
                Some(digest) => *digest,
                None => *known.entry(path.clone()).or_insert(one(path, reader, &mut fresh)?),
            }),
            Origin::Template(Template::Stored(_)) | Origin::Clone { .. } => None,
        };
        wanted.insert(spec.ctid, Wanted { spec: Arc::new(spec.clone()), template, repertoire: Repertoire::of(kind) });
    }
    Ok(Digested { wanted, fresh })
}

fn one(path: &Path, reader: Option<&Reader>, fresh: &mut Vec<(String, String)>) -> Result<Digest, CliError> {
    let unreadable = |source| CliError::Unreadable { what: format!("the template {}", path.display()), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    let changed = (found.mtime(), found.mtime_nsec(), found.ctime(), found.ctime_nsec());
    let key = format!("template {} {} {} {changed:?}", found.dev(), found.ino(), found.len());
    let kept = reader.map(|reader| reader.cache_get(&key)).transpose()?.flatten();
    if let Some(digest) = kept.and_then(|text| text.parse().ok()) {
        return Ok(digest);
    }
    debug!(template = %path.display(), "taking the digest");
    let digest = Digest::from_bytes(*digest_of(&file).map_err(unreadable)?.as_bytes());
    fresh.push((key, digest.to_string()));
    Ok(digest)
}

impl Digested {
    /// Keeps what was not known. Only after a run that wrote anyway; failing to is no reason to fail.
    pub(super) fn keep(&self, site: &Site) {
        if self.fresh.is_empty() {
            return;
        }
        let kept = Writer::open(&site.journal, &SCHEMA, site.writer.clone())
            .and_then(|mut writer| self.fresh.iter().try_for_each(|(key, value)| writer.cache_put(key, value)));
        if let Err(error) = kept {
            debug!(%error, "the digests of the templates are not kept");
        }
    }
}
