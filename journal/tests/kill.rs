//! SIGKILL: what was acknowledged is there.
//!
//! The test runs itself as a child that appends and says what was acknowledged, kills it after a number of lines, and looks.

mod parcel;

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use parcel::{SCHEMA, made, open, shipped};
use phoenix_journal::{Append, Reader, verify};

const KILLS: u64 = 20;

/// Where the child finds the journal; without it the child's test does nothing.
const PATH: &str = "PHOENIX_JOURNAL_KILL_TEST";

#[test]
fn whatever_was_acknowledged_survives_a_kill() {
    let made = made();
    let (mut acknowledged, mut seed, mut unheard) = (0_u64, 0x9e37_79b9_u64, 0_u32);
    for round in 1..=KILLS {
        #[expect(clippy::disallowed_methods, reason = "a test's own child, waited for below")]
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "child_that_appends_until_it_is_killed", "--nocapture", "--test-threads=1"])
            .env(PATH, &made.path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map_while(Result::ok);
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut heard = acknowledged;
        let mut hear = |line: String| {
            if let Some(seq) = line.strip_prefix("ack ").and_then(|text| text.parse().ok()) {
                heard = heard.max(seq);
            }
        };
        lines.by_ref().take(usize::try_from(seed >> 58).expect("small") + 4).for_each(&mut hear);
        child.kill().expect("it lives");
        lines.for_each(&mut hear);
        assert!(!child.wait().expect("it was killed").success());
        assert!(heard > acknowledged, "round {round}: the child did nothing");
        acknowledged = heard;
        let reader = Reader::open(&made.path, &SCHEMA).expect("no writer is needed");
        let there = reader.entries(.., None).expect("entries").len() as u64;
        assert!(there >= acknowledged, "round {round}: {acknowledged} acknowledged, {there} there");
        unheard += u32::from(there > acknowledged);
        assert_eq!(verify(&made.path).expect("a journal").findings, [], "round {round}");
        assert_eq!(reader.epochs().expect("epochs").len() as u64, round);
        assert_eq!(reader.writer().expect("lock"), None, "the lock went with the process");
    }
    #[expect(clippy::print_stderr, reason = "figures to publish")]
    {
        eprintln!("{KILLS} kills, {acknowledged} entries acknowledged, none lost; {unheard} times more was there than had been heard of");
    }
}

#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(path) = std::env::var_os(PATH) else { return };
    let mut writer = open(path.as_ref());
    let start = writer.replay(None).expect("entries").len() as u64;
    writer.begin(shipped(&format!("begun-{start}"), start + 1)).expect("an epoch");
    let mut last = start + 5;
    let mut out = std::io::stdout();
    loop {
        let group: Vec<_> = (0..=last % 4).flat_map(|n| shipped(&format!("{last}-{n}"), last + 1 + 5 * n)).collect();
        for recorded in writer.append_group(group).expect("room") {
            last = recorded.expect("legal").seq().get();
        }
        writeln!(out, "ack {last}").and_then(|()| out.flush()).expect("somebody listens");
    }
}
