//! A journal made in the place of a lost one: its id, its epochs, and what is moved out of its way.

use std::path::{Path, PathBuf};

use phoenix_journal::{
    Append, Binding, Body, Draft, Epoch, Heritage, Journal, JournalError, JournalId, Machine, Memory, Reader, Schema, StreamKey, Writer,
    WriterInfo, set_aside, verify,
};

const SCHEMA: Schema = Schema {
    application_id: 7,
    version: 1,
    machines: &[Machine {
        name: "parcel",
        states: &["packed", "sent"],
        initial: "packed",
        edges: &[("packed", "sent")],
        needs: &[],
        begins: &[],
        standings: &["active"],
    }],
};

fn info() -> WriterInfo {
    WriterInfo { pid: std::process::id(), command: "heritage".into(), started_at_ms: 0, boot_id: "b".into() }
}

fn binding() -> Binding {
    Binding { host: "van".into(), node: "7".into(), directory: "/parcels".into(), device: 1 }
}

fn declaration() -> Draft {
    Draft {
        stream: StreamKey { machine: "parcel".into(), stream: "1".into() },
        life: "a".to_owned(),
        generation: 1,
        run: "r".to_owned(),
        body: Body::Declare,
        state: "packed".into(),
        standing: "active".into(),
        payload: "{}".to_owned(),
        at_ms: 0,
        blobs: Vec::new(),
    }
}

fn made(path: &Path, heritage: Heritage) -> Writer {
    Journal::create_as(path, &SCHEMA, &binding(), &info(), heritage).expect("a journal");
    Writer::open(path, &SCHEMA, info()).expect("a writer")
}

#[test]
fn the_first_epoch_follows_the_last_one_of_the_lost_journal() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("parcels.journal");
    for epoch in [0, 1, 41, 1 << 40] {
        let heritage = Heritage { id: JournalId::from_bytes([9; 16]), epoch: Epoch::new(epoch) };
        let mut memory = Memory::new_as(&SCHEMA, heritage).expect("a journal in memory");
        memory.begin(vec![declaration()]).expect("an epoch");
        let mut writer = made(&path, heritage);
        let first = writer.begin(vec![declaration()]).expect("an epoch");
        assert_eq!((first[0].journal(), first[0].epoch()), (heritage.id, Epoch::new(epoch + 1)));
        assert_eq!(memory.epoch().map(|(epoch, _)| epoch), writer.epoch().map(|(epoch, _)| epoch));
        drop(writer);
        let again = Writer::open(&path, &SCHEMA, info()).expect("a writer");
        assert_eq!(again.journal(), heritage.id);
        drop(again);
        let report = verify(&path).expect("a report");
        assert!(report.is_clean(), "{report:?}");
        aside(&path, &format!("old-{epoch}")).expect("moved");
    }
}

fn aside(path: &Path, suffix: &str) -> Result<Vec<PathBuf>, JournalError> {
    set_aside(path, suffix, &info(), || Ok(()))
}

#[test]
fn what_is_moved_aside_is_whole_and_leaves_its_place_free() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("parcels.journal");
    let mut writer = made(&path, Heritage { id: JournalId::from_bytes([9; 16]), epoch: Epoch::new(0) });
    writer.begin(vec![declaration()]).expect("an epoch");
    assert!(matches!(aside(&path, "old"), Err(JournalError::Locked { .. })), "not under a writer's hands");
    drop(writer);
    let refused = || Err(JournalError::Exists { path: path.clone() });
    assert!(matches!(set_aside(&path, "old", &info(), refused), Err(JournalError::Exists { .. })));
    assert!(Reader::open(&path, &SCHEMA).is_ok(), "what was found to be of use stays");
    let moved = aside(&path, "old").expect("moved");
    assert!(matches!(Reader::open(&path, &SCHEMA), Err(JournalError::Missing { .. })));
    let there = Reader::open(&dir.path().join("parcels.journal.old"), &SCHEMA).expect("a journal");
    assert_eq!(there.entries(.., None).expect("entries").len(), 1, "{moved:?}");
    assert_eq!(aside(&path, "old").expect("nothing to move"), Vec::<std::path::PathBuf>::new());
}
