//! What the guards, the chain and the positions cost: appending to a journal against appending the same rows to one bare table
//! of SQLite with the same settings, by turns in the same run; and how long a look at 10,000 streams takes.
//!
//! `cargo bench -p phoenix-journal`. The directory is that of `TMPDIR`; what a sync costs there decides most of it.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "it prints figures, and time is what it measures")]
#![expect(clippy::doc_markdown, reason = "SQLite is a name, not code")]

#[path = "../tests/parcel/mod.rs"]
mod parcel;

use std::time::{Duration, Instant};

use parcel::{SCHEMA, made, open, shipped};
use phoenix_journal::{Append, Body, Draft, Reader, Writer, verify};
use rusqlite::{Connection, TransactionBehavior, params};

/// Turns per group size; the median of their ratios is told.
const TURNS: usize = 9;

/// Groups per turn: enough for some checkpoints.
const GROUPS: [(usize, usize); 4] = [(1, 1_500), (8, 400), (32, 200), (128, 80)];

/// About what an effect with its spec's digest and a few facts takes.
const PAYLOAD_BYTES: usize = 300;

fn main() {
    println!("group   bare entries/s   journal entries/s   journal/bare (median of {TURNS} turns)");
    for (size, groups) in GROUPS {
        let (made, bare_dir) = (made(), tempfile::tempdir().expect("a temporary directory"));
        let mut writer = open(&made.path);
        let mut bare = bare(&bare_dir.path().join("bare"));
        writer.begin(Vec::<Draft>::new()).expect("an epoch");
        let (mut next, mut rates) = (1, Vec::new());
        for _ in 0..TURNS {
            let drafts = drafts(next, size * groups);
            let start = Instant::now();
            bare_groups(&mut bare, &drafts, size, next);
            let bare_time = start.elapsed();
            let copies = drafts.clone();
            let start = Instant::now();
            journal_groups(&mut writer, copies, size);
            rates.push((bare_time, start.elapsed()));
            next += drafts.len() as u64;
        }
        report(size, size * groups, &mut rates);
    }
    look_at_ten_thousand();
}

fn report(size: usize, entries: usize, rates: &mut [(Duration, Duration)]) {
    let ratio = |(bare, journal): &(Duration, Duration)| bare.as_secs_f64() / journal.as_secs_f64();
    rates.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    let (bare, journal) = rates[rates.len() / 2];
    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    let rate = |time: Duration| entries as f64 / time.as_secs_f64();
    println!("{size:>5} {:>16.0} {:>19.0} {:>14.2}", rate(bare), rate(journal), ratio(&(bare, journal)));
}

/// Parcels that are shipped, one after the other: a declaration, two intents, two outcomes each.
fn drafts(first: u64, count: usize) -> Vec<Draft> {
    let payload = format!("{{\"x\":\"{}\"}}", "x".repeat(PAYLOAD_BYTES));
    let parcels = (0..count.div_ceil(5) as u64).flat_map(|n| shipped(&format!("parcel-{:06}", first + 5 * n), first + 5 * n));
    parcels.take(count).map(|draft| Draft { payload: payload.clone(), ..draft }).collect()
}

fn journal_groups(writer: &mut Writer, drafts: Vec<Draft>, size: usize) {
    let mut drafts = drafts.into_iter();
    loop {
        let group: Vec<Draft> = drafts.by_ref().take(size).collect();
        if group.is_empty() {
            return;
        }
        let recorded = writer.append_group(group).expect("room");
        assert!(recorded.iter().all(Result::is_ok), "{recorded:?}");
    }
}

fn bare(path: &std::path::Path) -> Connection {
    let conn = Connection::open(path).expect("a database");
    conn.execute_batch(
        "PRAGMA synchronous = EXTRA; PRAGMA journal_mode = WAL; PRAGMA synchronous = EXTRA; PRAGMA mmap_size = 0;
         CREATE TABLE entries (seq INTEGER PRIMARY KEY, epoch INTEGER, machine TEXT, stream TEXT, life TEXT, generation INTEGER,
           run TEXT, kind TEXT, step TEXT, attempt INTEGER, deadline TEXT, digest BLOB, intent_seq INTEGER, result TEXT,
           topic TEXT, state TEXT, standing TEXT, payload TEXT, at_ms INTEGER, prev_hash BLOB, hash BLOB) STRICT;",
    )
    .expect("a table");
    conn
}

fn bare_groups(conn: &mut Connection, drafts: &[Draft], size: usize, first: u64) {
    let mut seq = first;
    for group in drafts.chunks(size) {
        let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).expect("a transaction");
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO entries VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21)")
                .expect("a statement");
            for draft in group {
                bare_row(&mut insert, draft, seq);
                seq += 1;
            }
        }
        transaction.commit().expect("room");
    }
}

fn bare_row(insert: &mut rusqlite::CachedStatement<'_>, draft: &Draft, seq: u64) {
    let (step, attempt, digest, intent, result) = match &draft.body {
        Body::Declare | Body::Note { .. } => (None, None, None, None, None),
        Body::Intent { step, attempt, digest, .. } => (Some(step), Some(attempt), Some(digest.as_bytes()), None, None),
        Body::Outcome { step, attempt, intent, result } => (Some(step), Some(attempt), None, Some(intent.get()), Some(&**result)),
    };
    let row = params![
        seq,
        1,
        &*draft.stream.machine,
        draft.stream.stream,
        draft.life,
        draft.generation,
        draft.run,
        draft.body.kind(),
        step,
        attempt,
        None::<String>,
        digest,
        intent,
        result,
        None::<String>,
        &*draft.state,
        &*draft.standing,
        draft.payload,
        draft.at_ms,
        [1_u8; 32],
        [2_u8; 32]
    ];
    insert.execute(row).expect("room");
}

fn look_at_ten_thousand() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin(Vec::<Draft>::new()).expect("an epoch");
    journal_groups(&mut writer, drafts(1, 50_000), 1_000);
    for turn in ["first", "second"] {
        let start = Instant::now();
        let reader = Reader::open(&made.path, &SCHEMA).expect("a reader");
        let opened = start.elapsed();
        let start = Instant::now();
        let positions = reader.positions().expect("positions").len();
        let positioned = start.elapsed();
        let start = Instant::now();
        let overview = reader.overview().expect("an overview").len();
        let overviewed = start.elapsed();
        assert_eq!((positions, overview), (10_000, 10_000));
        println!("{turn} look at 10,000 streams: open {opened:.1?}, positions {positioned:.1?}, overview {overviewed:.1?}");
    }
    let start = Instant::now();
    let entries = writer.replay(None).expect("entries").len();
    println!("replay of {entries} entries: {:.1?}", start.elapsed());
    drop(writer);
    let start = Instant::now();
    drop(open(&made.path));
    println!("open for writing: {:.1?}", start.elapsed());
    let start = Instant::now();
    assert!(verify(&made.path).expect("a journal").is_clean());
    println!("verify: {:.1?}", start.elapsed());
}
