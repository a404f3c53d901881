//! What must not compile, and the error that a person sees who tries.
//!
//! Each file in `compile_fail/` breaks one promise that the types make; beside it stands what the compiler says. Its words
//! change between compilers: `TRYBUILD=overwrite cargo test --test compile_fail` writes them anew, and whoever does that reads
//! that every error is still about the promise. Not here: promises that hold at run time (`order`).

use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn broken_promises_do_not_compile() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile_fail/*.rs");
}

/// The compiler tells of private fields and of foreign traits only where nothing else is wrong, so an attempt can hide behind
/// another one in its file.
#[test]
fn every_attempt_has_an_error_of_its_own() {
    for file in cases() {
        let source = fs::read_to_string(&file).expect("a source");
        let said = fs::read_to_string(file.with_extension("stderr")).expect("what the compiler says");
        let name = file.file_name().expect("a name").to_string_lossy();
        let errors = said
            .split("\nerror")
            .filter_map(|error| error.lines().nth(1)?.split_once(&format!("{name}:"))?.1.split(':').next()?.parse().ok());
        let errors: Vec<usize> = errors.collect();
        for (attempt, lines) in attempts(&source) {
            assert!(errors.iter().any(|line| lines.contains(line)), "{}: nothing is wrong with `{attempt}`", file.display());
        }
    }
}

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let files = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let cases: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect();
    assert!(cases.len() > 5, "the cases are found");
    cases
}

/// The functions and implementations at the left margin, with their lines.
fn attempts(source: &str) -> Vec<(String, std::ops::RangeInclusive<usize>)> {
    let lines: Vec<&str> = source.lines().collect();
    let begins = |line: &str| (line.starts_with("fn ") && !line.starts_with("fn main")) || line.starts_with("impl ");
    // An implementation that only prepares an attempt is marked as one.
    let prepares = |at: usize| at > 0 && lines[at - 1].starts_with("// ");
    let starts = (0..lines.len()).filter(|&at| begins(lines[at]) && !prepares(at));
    let end = |start: usize| (start..lines.len()).find(|&at| lines[at] == "}").expect("an end at the margin");
    starts.map(|start| (lines[start].to_owned(), start + 1..=end(start) + 1)).collect()
}
