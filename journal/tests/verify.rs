//! What `verify` counts and finds beside what the guards keep out (`shell.rs` has that).

mod parcel;

use std::fs;
use std::path::Path;

use parcel::{SCHEMA, declare, made, open};
use phoenix_journal::{Append, Digest, Draft, Epoch, Finding, JournalError, Reader, Report, Seq, Writer, verify};

/// Bytes of a page of the main file, and the first byte of one that holds the leaves of an index.
const PAGE: usize = 4096;
const INDEX_LEAF: u8 = 0x0a;

fn verified(path: &Path) -> Report {
    verify(path).expect("a journal")
}

/// What a person does who owns the file, with the guards off.
fn forced(path: &Path, guard: &str, sql: &str) {
    let conn = rusqlite::Connection::open(path).expect("a database");
    let text: String = conn.query_row("SELECT sql FROM sqlite_schema WHERE name = ?1", [guard], |row| row.get(0)).expect("a guard");
    conn.execute_batch(&format!("DROP TRIGGER {guard}; {sql}; {text}")).expect("nothing refuses it");
}

#[test]
fn a_long_history_is_whole_and_of_many_findings_the_first_hundred_are_told() {
    let made = made();
    let mut writer = open(&made.path);
    writer.begin((0..2_500).map(|number| declare(&format!("p{number}"))).collect()).expect("an epoch");
    drop(writer);
    let report = verified(&made.path);
    assert_eq!((report.findings.as_slice(), report.is_clean()), (&[][..], true));
    assert_eq!((report.journal, report.entries, report.streams, report.epochs, report.blobs), (made.id, 2_500, 2_500, 1, 0));
    forced(&made.path, "entries_update", "UPDATE entries SET payload = 'x' WHERE seq > 900");
    let report = verified(&made.path);
    assert_eq!(report.findings.len(), 100);
    assert_eq!(report.findings[0], Finding::Hash { seq: Seq::new(901) });
    assert!(!report.is_clean());
}

#[test]
fn epochs_go_up_and_are_known() {
    let made = made();
    for name in ["a", "b", "c"] {
        open(&made.path).begin(vec![declare(name)]).expect("an epoch");
    }
    for (seq, epoch) in [(1, 4), (3, 1)] {
        let copy = tempfile::tempdir().expect("a temporary directory");
        let path = copy.path().join("parcels.journal");
        fs::copy(&made.path, &path).expect("closed, a journal is one file");
        forced(&path, "entries_update", &format!("UPDATE entries SET epoch = {epoch} WHERE seq = {seq}"));
        let wrong = Finding::Epoch { seq: Seq::new(seq), epoch: Epoch::new(epoch) };
        assert!(verified(&path).findings.contains(&wrong), "{seq}: {:?}", verified(&path).findings);
    }
}

#[test]
fn blobs_are_counted_and_compared_with_their_digests() {
    let made = made();
    let blobs = [b"one".as_slice(), b"two", b"three"].map(<[u8]>::to_vec);
    open(&made.path).begin(vec![Draft { blobs: blobs.to_vec(), ..declare("a") }]).expect("an epoch");
    let report = verified(&made.path);
    assert_eq!((report.blobs, report.is_clean()), (3, true));
    forced(&made.path, "blobs_update", "UPDATE blobs SET bytes = CAST('owt' AS BLOB) WHERE bytes = CAST('two' AS BLOB)");
    assert_eq!(verified(&made.path).findings, [Finding::Blob { digest: Digest::of(b"two") }]);
}

/// One at a time: of what the streams say more than one check makes sure, of the entries' index only one.
#[test]
fn an_index_that_contradicts_its_table_is_found() {
    let made = made();
    open(&made.path).begin(vec![declare("needle"), declare("other")]).expect("an epoch");
    let bytes = fs::read(&made.path).expect("a main file");
    let (mut indexes, mut in_the_file) = (0, 0);
    for number in 0..bytes.len() / PAGE {
        let mut altered = bytes.clone();
        let page = &mut altered[number * PAGE..][..PAGE];
        let named = page.windows(6).position(|window| window == b"needle");
        let Some(at) = named.filter(|_| page[0] == INDEX_LEAF) else { continue };
        page[at + 2] = b'f';
        indexes += 1;
        fs::write(&made.path, altered).expect("room");
        let findings = verified(&made.path).findings;
        in_the_file += usize::from(matches!(&findings[..], [Finding::File(_), ..]));
        assert!(!findings.is_empty(), "page {number}");
        assert!(Reader::open(&made.path, &SCHEMA).is_ok(), "page {number}: a look does not look so closely");
        let refused = Writer::open(&made.path, &SCHEMA, parcel::info()).map(|_| ());
        assert!(matches!(refused, Err(JournalError::Damaged { .. })), "page {number}: the guards ask the index: {refused:?}");
    }
    assert!(indexes > 1 && in_the_file > 0, "the entries' index, and the streams, which are kept as one");
}
