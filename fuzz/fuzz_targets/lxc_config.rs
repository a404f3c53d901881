//! The target `lxc_config`; what it tries is in `tests/fuzzed/lxc_config.rs`, which `cargo test` replays.
#![no_main]

#[path = "../../tests/fuzzed/mod.rs"]
mod fuzzed;

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzzed::lxc_config::run(data));
