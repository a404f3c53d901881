//! The guards in SQL against the guards in Rust: a journal on disk and one in memory, given the same drafts.
//!
//! Drafts are made from where the streams stand, so that most are legal, and every fourth or so is then spoilt in one place.
//! Writers come and go. `PROPTEST_CASES=1000 cargo test -p phoenix-journal --test model` tries more; a failure prints the
//! smallest case and leaves it in `model.proptest-regressions`.

mod parcel;

use std::borrow::Cow;

use parcel::{SCHEMA, declare, draft, made, open};
use phoenix_journal::{
    Append, Body, Digest, Draft, Entry, Epoch, Fold, Heritage, JournalError, JournalId, Memory, Position, Refused, Row, Seq, StreamKey,
    verify,
};
use proptest::prelude::*;
use proptest::sample::select;

/// What is done next.
#[derive(Clone, Debug)]
enum Act {
    /// Append these at once.
    Group(Vec<Choice>),
    /// The writer goes away, another comes and begins with these.
    Reopen(Vec<Choice>),
}

/// A draft, as chosen before it is known where its stream stands.
#[derive(Clone, Debug)]
struct Choice {
    stream: u8,
    kind: Kind,
    state: &'static str,
    step: &'static str,
    done: bool,
    blob: Option<u8>,
    spoil: Option<Spoil>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// What carries on best: an outcome if an intent is open, a new life if the old one is over, an intent otherwise.
    Next,
    Raise,
    NewLife,
    Note,
}

#[derive(Clone, Copy, Debug)]
enum Spoil {
    Machine,
    Stream,
    NoStream,
    Life,
    OldLife,
    Generation,
    Kind,
    Step,
    Attempt,
    Intent,
    State,
    Standing,
    Nul,
}

fn choice() -> impl Strategy<Value = Choice> {
    use Spoil::{Attempt, Generation, Intent, Life, Machine, NoStream, Nul, OldLife, Standing, State, Step, Stream};
    let kind = prop_oneof![10 => Just(Kind::Next), 1 => Just(Kind::Raise), 1 => Just(Kind::NewLife), 3 => Just(Kind::Note)];
    let spoils = vec![Machine, Stream, NoStream, Life, OldLife, Generation, Spoil::Kind, Step, Attempt, Intent, State, Standing, Nul];
    let spoil = prop_oneof![4 => Just(None), 1 => select(spoils).prop_map(Some)];
    let states = select(vec!["packed", "labelled", "shipped"]);
    let steps = select(vec!["label", "ship", "weigh", "weigh[scale]", "label.repair", "unpack"]);
    let blob = prop_oneof![5 => Just(None), 1 => (0..4_u8).prop_map(Some)];
    let done = prop::bool::weighted(0.8);
    (0..3_u8, kind, states, steps, done, blob, spoil).prop_map(|(stream, kind, state, step, done, blob, spoil)| Choice {
        stream,
        kind,
        state,
        step,
        done,
        blob,
        spoil,
    })
}

fn act() -> impl Strategy<Value = Act> {
    let group = prop::collection::vec(choice(), 1..6).prop_map(Act::Group);
    let reopen = prop::collection::vec(choice(), 0..2).prop_map(Act::Reopen);
    prop_oneof![12 => group, 1 => reopen]
}

/// The draft of a choice, after what `so_far` holds.
fn chosen(so_far: &Memory, choice: &Choice) -> Draft {
    let stream = format!("p{}", choice.stream);
    let key = StreamKey::new("parcel", stream.clone());
    let position = so_far.positions().expect("positions").into_iter().find(|position| position.key == key);
    let history = so_far.replay(Some(&key)).expect("entries");
    let mut draft = match &position {
        None => declare(&stream),
        Some(position) => carried_on(position, &history, choice),
    };
    draft.blobs = choice.blob.into_iter().map(|byte| vec![byte; 9]).collect();
    draft.payload = format!("{{\"n\":{}}}", so_far.len());
    if let Some(spoil) = choice.spoil {
        spoilt(&mut draft, spoil, position.as_ref(), &history);
    }
    draft
}

fn carried_on(position: &Position, history: &[Entry], choice: &Choice) -> Draft {
    let state = position.state.clone();
    let base =
        Draft { life: position.life.clone(), generation: position.generation, ..draft(&position.key.stream, Body::Declare, "packed") };
    let new_life = Draft { life: format!("life-{}", history.len()), state: state.clone(), ..base.clone() };
    match (choice.kind, position.open_intent) {
        _ if position.ended => new_life,
        (Kind::NewLife, _) => new_life,
        (Kind::Raise, _) => Draft { generation: position.generation + 1, state, ..base },
        (Kind::Note, _) => Draft { body: Body::Note { topic: "seen".into() }, state: choice.state.into(), ..base },
        (Kind::Next, Some(open)) => {
            let intent = history.iter().find(|entry| entry.seq == open).expect("the open intent");
            let Body::Intent { step, attempt, .. } = &intent.body else { panic!("{intent:?}") };
            let result = if choice.done { "done" } else { "failed" };
            // Where it leads if all is well; a failure stays.
            let to = match (choice.done, step.as_str()) {
                (true, "label") => Cow::Borrowed("labelled"),
                (true, "ship") => Cow::Borrowed("shipped"),
                (true | false, _) => state,
            };
            Draft { body: Body::Outcome { intent: open, step: step.clone(), attempt: *attempt, result: result.into() }, state: to, ..base }
        }
        (Kind::Next, None) => {
            let same =
                |entry: &&Entry| entry.life == position.life && matches!(&entry.body, Body::Intent { step, .. } if step == choice.step);
            let attempt = u32::try_from(history.iter().filter(same).count()).expect("few") + 1;
            let body = Body::Intent { step: choice.step.into(), attempt, deadline: Some("soon".into()), digest: Digest::of(b"it") };
            Draft { body, state, ..base }
        }
    }
}

fn spoilt(draft: &mut Draft, spoil: Spoil, position: Option<&Position>, history: &[Entry]) {
    match (spoil, &mut draft.body) {
        (Spoil::Machine, _) => draft.stream.machine = "letter".into(),
        (Spoil::Stream, _) => draft.stream.stream.push('x'),
        (Spoil::NoStream, _) => draft.stream.stream.clear(),
        (Spoil::Life, _) => draft.life.push('x'),
        (Spoil::OldLife, _) => draft.life = history.first().map_or("old".into(), |entry| entry.life.clone()),
        (Spoil::Generation, _) => draft.generation += 1,
        (Spoil::Kind, body) => *body = Body::Note { topic: "instead".into() },
        (Spoil::Step, Body::Intent { step, .. } | Body::Outcome { step, .. }) => step.push('x'),
        (Spoil::Attempt, Body::Intent { attempt, .. } | Body::Outcome { attempt, .. }) => *attempt += 1,
        (Spoil::Intent, Body::Outcome { intent, .. }) => *intent = position.map_or(Seq::new(1), |position| position.state_seq),
        (Spoil::Step | Spoil::Attempt | Spoil::Intent, _) => draft.state = "shipped".into(),
        (Spoil::State, _) => draft.state = if history.len().is_multiple_of(2) { "melted".into() } else { "shipped".into() },
        (Spoil::Standing, _) => draft.standing = if history.len().is_multiple_of(2) { "lost".into() } else { "tired".into() },
        (Spoil::Nul, _) => draft.payload.push('\0'),
    }
}

/// Each draft of a group follows what those before it have done.
fn drafts(so_far: &Memory, choices: &[Choice]) -> Vec<Draft> {
    let mut ahead = so_far.clone();
    let mut drafts = Vec::new();
    for choice in choices {
        let draft = chosen(&ahead, choice);
        drop(ahead.append_group(vec![draft.clone()]).expect("memory"));
        drafts.push(draft);
    }
    drafts
}

type Verdict = Result<(Seq, Draft), Refused>;

fn verdicts(results: Vec<Result<phoenix_journal::Recorded<Draft>, Refused>>) -> Vec<Verdict> {
    results.into_iter().map(|result| result.map(|recorded| (recorded.seq(), recorded.into_inner()))).collect()
}

fn invariant_both_refuse_the_same_with_the_same_words(disk: &[Verdict], memory: &[Verdict]) {
    assert_eq!(disk, memory);
    let words = |verdicts: &[Verdict]| -> Vec<_> { verdicts.iter().filter_map(|v| v.as_ref().err().map(ToString::to_string)).collect() };
    assert_eq!(words(disk), words(memory));
}

fn invariant_both_replay_the_same(disk: &impl Append, memory: &Memory) {
    let plain = |entries: Vec<Entry>| -> Vec<Row> {
        let without = |entry: &Entry| Row { hash: Digest::ZERO, prev_hash: Digest::ZERO, ..Row::clone(entry) };
        entries.iter().map(without).collect()
    };
    assert_eq!(plain(disk.replay(None).expect("entries")), plain(memory.replay(None).expect("entries")));
    for position in memory.positions().expect("positions") {
        let key = Some(&position.key);
        assert_eq!(plain(disk.replay(key).expect("entries")), plain(memory.replay(key).expect("entries")));
    }
}

fn invariant_streams_stand_at_the_same_place(disk: &impl Append, memory: &Memory) {
    assert_eq!(disk.positions().expect("positions"), memory.positions().expect("positions"));
}

fn invariant_the_sequence_has_no_gap(disk: &impl Append) {
    let numbers: Vec<u64> = disk.replay(None).expect("entries").iter().map(|entry| entry.seq.get()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64), "{numbers:?}");
}

fn invariant_blobs_are_kept_only_with_their_entry(disk: &impl Append, memory: &Memory) {
    for byte in 0..4 {
        let digest = Digest::of(&[byte; 9]);
        assert_eq!(disk.blob(&digest).expect("a blob"), memory.blob(&digest).expect("a blob"));
    }
}

/// Returns how many drafts were accepted and how many refused.
fn run(acts: &[Act]) -> (usize, usize) {
    let made = made();
    let mut memory = Memory::new(&SCHEMA, made.id).expect("a schema");
    let mut disk = open(&made.path);
    disk.begin(Vec::<Draft>::new()).expect("an epoch");
    memory.begin(Vec::<Draft>::new()).expect("an epoch");
    let (mut accepted, mut refused) = (0, 0);
    for act in acts {
        match act {
            Act::Group(choices) => {
                let group = drafts(&memory, choices);
                let on_disk = verdicts(disk.append_group(group.clone()).expect("room"));
                let in_memory = verdicts(memory.append_group(group).expect("memory"));
                invariant_both_refuse_the_same_with_the_same_words(&on_disk, &in_memory);
                accepted += on_disk.iter().filter(|verdict| verdict.is_ok()).count();
                refused += on_disk.iter().filter(|verdict| verdict.is_err()).count();
            }
            Act::Reopen(choices) => {
                let first = drafts(&memory, choices);
                drop(disk);
                disk = open(&made.path);
                memory = memory.reopened();
                let (on_disk, in_memory) = (disk.begin(first.clone()), memory.begin(first));
                match (on_disk, in_memory) {
                    (Ok(on_disk), Ok(in_memory)) => assert_eq!(on_disk.len(), in_memory.len()),
                    (Err(JournalError::NotBegun { refused: on_disk }), Err(JournalError::NotBegun { refused: in_memory })) => {
                        assert_eq!(on_disk, in_memory);
                        assert_eq!((disk.epoch(), memory.epoch()), (None, None), "nothing was begun");
                        disk.begin(Vec::<Draft>::new()).expect("an epoch");
                        memory.begin(Vec::<Draft>::new()).expect("an epoch");
                    }
                    (on_disk, in_memory) => panic!("{on_disk:?} and {in_memory:?}"),
                }
                assert_eq!(disk.epoch().map(|(epoch, _)| epoch), memory.epoch().map(|(epoch, _)| epoch));
            }
        }
        invariant_streams_stand_at_the_same_place(&disk, &memory);
    }
    invariant_both_replay_the_same(&disk, &memory);
    invariant_the_sequence_has_no_gap(&disk);
    invariant_blobs_are_kept_only_with_their_entry(&disk, &memory);
    drop(disk);
    let report = verify(&made.path).expect("a journal");
    assert_eq!(report.findings, [], "verify finds nothing in what was accepted");
    assert_eq!(usize::try_from(report.entries), Ok(memory.len()));
    (accepted, refused)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn disk_and_memory_agree(acts in prop::collection::vec(act(), 1..40)) {
        run(&acts);
    }
}

fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(48)
}

/// What drives a journal takes it as it is or lent.
#[test]
fn a_lent_journal_is_the_journal() {
    type Told = (JournalId, Vec<Seq>, Vec<Verdict>, Option<u64>, usize, Vec<Position>, Option<Vec<u8>>);
    fn told(mut journal: impl Append) -> Told {
        let begun = journal.begin(vec![declare("p0")]).expect("an epoch").iter().map(phoenix_journal::Recorded::seq).collect();
        let packed = Draft { blobs: vec![vec![7; 9]], ..declare("p1") };
        let results = journal.append_group(vec![packed, declare("")]).expect("a group");
        let epoch = journal.epoch().map(|(epoch, _)| epoch.get());
        let entries = journal.replay(None).expect("entries").len();
        let blob = journal.blob(&Digest::of(&[7; 9])).expect("a blob");
        (journal.journal(), begun, verdicts(results), epoch, entries, journal.positions().expect("positions"), blob)
    }
    let memory = || Memory::new(&SCHEMA, JournalId::from_bytes([1; 16])).expect("a schema");
    let lent = told(&mut memory());
    assert_eq!(lent, told(memory()));
    assert_eq!((lent.1.len(), lent.4, lent.5.len(), lent.6), (1, 2, 2, Some(vec![7; 9])));
}

/// How many entries, and the number of the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Count(usize, u64);

impl Fold for Count {
    fn take(&mut self, entry: &Entry) {
        *self = Self(self.0 + 1, entry.seq.get());
    }
}

#[test]
fn a_journal_in_memory_counts_its_epochs_and_is_folded_whole() {
    let mut memory = Memory::new_as(&SCHEMA, Heritage { id: JournalId::from_bytes([1; 16]), epoch: Epoch::new(7) }).expect("a schema");
    assert!(memory.is_empty() && memory.epochs().is_empty());
    memory.begin(vec![declare("a")]).expect("an epoch");
    memory.keep_folded::<Count>();
    memory.close();
    assert!(matches!(memory.append_group(vec![declare("b")]), Err(JournalError::NoEpoch)));
    memory.begin(vec![declare("b")]).expect("an epoch");
    assert_eq!(memory.folded::<Count>(), Count(2, 2));
    assert_eq!(memory.epochs().iter().map(|(epoch, _)| epoch.get()).collect::<Vec<_>>(), [8, 9]);
    assert_eq!(memory.epoch(), memory.epochs().last().copied());
    assert!(!memory.is_empty());
}

/// A model test in which nothing happens passes as well.
#[test]
fn most_drafts_are_legal_and_every_kind_of_refusal_is_seen() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut accepted, mut words) = (0_usize, std::collections::BTreeMap::<String, usize>::new());
    let mut memory_only = |acts: &[Act]| {
        let made = parcel::SCHEMA;
        let mut memory = Memory::new(&made, JournalId::from_bytes([1; 16])).expect("a schema");
        memory.begin(Vec::<Draft>::new()).expect("an epoch");
        for act in acts {
            let (Act::Group(choices) | Act::Reopen(choices)) = act;
            for verdict in memory.append_group(drafts(&memory, choices)).expect("memory") {
                match verdict {
                    Ok(_) => accepted += 1,
                    Err(refused) => {
                        let text = format!("{refused:?}");
                        let word = text.split(' ').next().unwrap_or_default().to_owned();
                        *words.entry(word).or_default() += 1;
                    }
                }
            }
        }
    };
    for _ in 0..300 {
        let acts = prop::collection::vec(act(), 1..40).new_tree(&mut runner).expect("a tree").current();
        memory_only(&acts);
    }
    let refused: usize = words.values().sum();
    assert!(accepted > refused, "{accepted} accepted, {refused} refused: {words:?}");
    let expected = [
        "Attempt",
        "Begins",
        "Edge",
        "Ended",
        "Generation",
        "Life",
        "LifeGoesOn",
        "LifeReused",
        "Malformed",
        "Moves",
        "NeedsEvidence",
        "NoSuchIntent",
        "NotInitial",
        "OpenIntent",
        "OtherIntent",
        "Undeclared",
        "UnknownMachine",
        "UnknownStanding",
        "UnknownState",
    ];
    let unseen: Vec<_> = expected.into_iter().filter(|word| !words.contains_key(*word)).collect();
    assert!(unseen.is_empty(), "never seen: {unseen:?} among {words:?}");
}
