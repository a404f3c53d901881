//! Journals on disk with a container's way in them, and what can be read out of such a file by anybody.
//!
//! Entries are plain drafts: the guards look at columns and never into payloads. Not here: attacks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::RwLock;

use phoenix::codec::CONTAINER;
use phoenix::journal::SCHEMA;
use phoenix_journal::{Append, Binding, Body, DONE, Digest, Draft, Journal, Seq, StreamKey, Writer, WriterInfo};
use rusqlite::Connection;
use rusqlite::types::Value;

/// Held for reading by whoever opens a journal, for writing by whoever starts a child: between `fork` and `exec` the child has
/// the locks of this process as well, and a journal could not be opened again.
pub(crate) static FORKS: RwLock<()> = RwLock::new(());

pub(crate) const LIFE: &str = "first";

pub(crate) fn info() -> WriterInfo {
    WriterInfo { pid: std::process::id(), command: "test".into(), started_at_ms: 0, boot_id: "boot".into() }
}

/// A journal of our schema, empty.
pub(crate) fn made(directory: &Path) -> PathBuf {
    let path = directory.join("fleet.journal");
    let binding = Binding { host: "sim".into(), node: "node".into(), directory: "/containers".into(), device: 1 };
    Journal::create(&path, &SCHEMA, &binding, &info()).expect("a new journal");
    path
}

pub(crate) fn open(path: &Path) -> Writer {
    Writer::open(path, &SCHEMA, info()).expect("nobody else writes")
}

pub(crate) fn draft(stream: &str, body: Body, state: &str) -> Draft {
    Draft {
        stream: StreamKey::new(CONTAINER, stream),
        life: LIFE.to_owned(),
        generation: 1,
        run: "run".to_owned(),
        body,
        state: state.to_owned().into(),
        standing: "active".into(),
        payload: "{}".to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    }
}

pub(crate) fn intent(stream: &str, step: &str, state: &str) -> Draft {
    let body = Body::Intent { step: step.to_owned(), attempt: 1, deadline: None, digest: Digest::ZERO };
    draft(stream, body, state)
}

pub(crate) fn done(stream: &str, intent: u64, step: &str, state: &str) -> Draft {
    let body = Body::Outcome { intent: Seq::new(intent), step: step.to_owned(), attempt: 1, result: DONE.into() };
    draft(stream, body, state)
}

/// The way of container 101 from its declaration to `done`, entry by entry; 102 is declared last. The intent of entry N is
/// answered by entry N + 1.
pub(crate) fn way() -> Vec<Draft> {
    let steps = [
        ("define.mark", "declared", "defined"),
        ("configure.set", "defined", "configured"),
        ("finalize.idmap", "configured", "finalized"),
        ("volume.attach[/srv]", "finalized", "volumed"),
        ("run.ready", "volumed", "running"),
        ("feature.apply[base]", "running", "featured"),
        ("autostart.set", "featured", "done"),
    ];
    let mut drafts = vec![draft("101", Body::Declare, "declared")];
    for (step, from, to) in steps {
        let seq = drafts.len() as u64 + 1;
        drafts.extend([intent("101", step, from), done("101", seq, step, to)]);
    }
    drafts.push(draft("102", Body::Declare, "declared"));
    drafts
}

/// A journal with the first `count` entries of the way.
pub(crate) fn journal_with(directory: &Path, count: usize) -> PathBuf {
    let path = made(directory);
    let mut writer = open(&path);
    let begun = writer.begin(way().into_iter().take(count).collect()).expect("all of it is legal");
    assert_eq!(begun.len(), count);
    path
}

/// Every row of the guarded tables, as text; entries by their number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) entries: BTreeMap<i64, String>,
    pub(crate) others: Vec<String>,
}

pub(crate) fn content(path: &Path) -> Content {
    let conn = Connection::open(path).expect("a database");
    let rows = |table: &str| -> Vec<(i64, String)> {
        let mut statement = conn.prepare(&format!("SELECT * FROM {table}")).expect("a table");
        let width = statement.column_count();
        let rows = statement.query_map([], |row| {
            let values = (0..width).map(|index| row.get::<_, Value>(index)).collect::<Result<Vec<_>, _>>()?;
            let first = if let Some(Value::Integer(first)) = values.first() { *first } else { 0 };
            Ok((first, format!("{table}: {values:?}")))
        });
        rows.expect("rows").map(|row| row.expect("a row")).collect()
    };
    let tables = ["streams", "epochs", "meta", "machine_states", "machine_edges", "machine_needs", "machine_begins", "machine_standings"];
    let others = tables.into_iter().flat_map(rows).map(|(_, row)| row).collect();
    Content { entries: rows("entries").into_iter().collect(), others }
}

/// Everything that says `volumed` or later of a life without a finalization before it.
pub(crate) fn out_of_order(path: &Path) -> Vec<String> {
    let conn = Connection::open(path).expect("a database");
    let later = "('volumed', 'running', 'featured', 'done')";
    let shown = "SELECT 1 FROM entries f WHERE f.machine = x.machine AND f.stream = x.stream AND f.life = x.life
        AND f.kind = 'outcome' AND f.step = 'finalize.idmap' AND f.result = 'done'";
    let entries = format!(
        "SELECT 'entry ' || x.seq FROM entries x WHERE x.machine = 'container' AND x.state IN {later} AND NOT EXISTS ({shown} AND f.seq < x.seq)"
    );
    let streams = format!(
        "SELECT 'stream ' || x.stream FROM streams x WHERE x.machine = 'container' AND x.state IN {later} AND NOT EXISTS ({shown})"
    );
    let mut statement = conn.prepare(&format!("{entries} UNION ALL {streams}")).expect("a query");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}
