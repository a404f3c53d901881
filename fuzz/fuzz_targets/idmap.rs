//! The target `idmap`; what it tries is in `tests/fuzzed/idmap.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::idmap::run(data));
