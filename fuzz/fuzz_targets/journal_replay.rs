//! The target `journal_replay`; what it tries is in `tests/fuzzed/journal_replay.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::journal_replay::run(data));
