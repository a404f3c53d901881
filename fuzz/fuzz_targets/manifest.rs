//! The target `manifest`; what it tries is in `tests/fuzzed/manifest.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::manifest::run(data));
