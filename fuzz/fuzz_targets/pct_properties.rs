//! The target `pct_properties`; what it tries is in `tests/fuzzed/pct_properties.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::pct_properties::run(data));
