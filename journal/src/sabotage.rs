//! Deliberate bugs, each of which some test must find.
//!
//! Compiled in with `--cfg sabotage` alone, and then chosen by name through the environment variable `PHOENIX_SABOTAGE`; in
//! every other build no name is asked for, and the compiler removes the question. `scripts/sabotage` goes through all of
//! them. Here, because both crates name it. Not here: the list of names with their tests (`tests/sabotage.tsv`).

/// Whether the bug of this name is wanted.
#[cfg(not(sabotage))]
pub const fn sabotaged(_name: &str) -> bool {
    false
}

/// Whether the bug of this name is wanted.
#[cfg(sabotage)]
pub fn sabotaged(name: &str) -> bool {
    static WANTED: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    WANTED.get_or_init(|| std::env::var("PHOENIX_SABOTAGE").ok()).as_deref() == Some(name)
}
