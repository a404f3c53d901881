//! What the documents say of the tests: that they exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::tree::Sources;

/// The tests that a document names as `` `suite::test` `` and that no source has; `texts` are the documents.
pub(super) fn missing(texts: &[(String, String)], sources: &Sources) -> Vec<String> {
    let known = functions(sources);
    let said = |(file, text): &(String, String)| {
        let file = file.clone();
        named(text).into_iter().filter(|name| !known.contains(name)).map(move |name| format!("{file}: there is no test `{name}`"))
    };
    texts.iter().flat_map(said).collect()
}

/// The second halves of everything in backticks that looks like `suite::test`.
pub(super) fn named(text: &str) -> Vec<String> {
    let is_name = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let halves = text.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.split_once("::"));
    halves.filter(|(suite, test)| is_name(suite) && is_name(test)).map(|(_, test)| test.to_owned()).collect()
}

/// Every function of the sources, and every file of the compile-fail suite, which are tests by their names.
fn functions(sources: &Sources) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (file, text) in sources {
        for line in text.lines() {
            let Some((_, rest)) = line.split_once("fn ") else { continue };
            names.insert(rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect());
        }
        if file.parent() == Some(Path::new("tests/compile_fail")) {
            names.extend(file.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names
}
