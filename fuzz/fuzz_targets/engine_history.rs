//! The target `engine_history`; what it tries is in `tests/fuzzed/engine_history.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::engine_history::run(data));
