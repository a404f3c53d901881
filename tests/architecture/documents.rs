//! What the documents say of the tests: that they exist, each in the suite that is named.
//!
//! A document names a test as `suite::test`, or with the modules in between, all of them. Suites are the targets of cargo, and
//! `lib` for what stands beside the code. Not here: whether the test finds what the document says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use super::tree::Sources;

/// The tests that a document names and that its suite does not have; `texts` are the documents.
pub(super) fn missing(texts: &[(String, String)], sources: &Sources) -> Vec<String> {
    let mut suites: BTreeMap<String, BTreeSet<Vec<String>>> = BTreeMap::new();
    let mut found = Vec::new();
    for (file, text) in texts {
        for path in named(text) {
            let there = suites.entry(path[0].clone()).or_insert_with(|| tests_of(&path[0], sources));
            let is_it = |test: &Vec<String>| if path.len() == 2 { test.last() == path.last() } else { test[..] == path[1..] };
            if !there.iter().any(is_it) {
                found.push(format!("{file}: there is no test `{}`", path.join("::")));
            }
        }
    }
    found
}

/// Everything in backticks that looks like `suite::test`, in its parts.
pub(super) fn named(text: &str) -> Vec<Vec<String>> {
    let is_name = |part: &String| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    let quoted = text.split('`').skip(1).step_by(2).map(|quoted| quoted.split("::").map(str::to_owned).collect::<Vec<_>>());
    quoted.filter(|parts| parts.len() > 1 && parts.iter().all(is_name)).collect()
}

/// The tests of a suite, each with the modules that it stands in; those of the compile-fail suite are its files.
fn tests_of(suite: &str, sources: &Sources) -> BTreeSet<Vec<String>> {
    if suite == "compile_fail" {
        return files_of(suite, sources).into_iter().map(|(modules, _)| modules).collect();
    }
    let mut code = Code::default();
    for (modules, text) in files_of(suite, sources) {
        code.modules = modules;
        code.read(text.parse().expect("Rust"));
    }
    code.tests()
}

/// The files of a suite, each with the modules that its place stands for.
fn files_of<'a>(suite: &str, sources: &'a Sources) -> Vec<(Vec<String>, &'a str)> {
    let tops = match suite {
        "lib" => ["src".to_owned(), "journal/src".to_owned()],
        _ => [format!("tests/{suite}"), format!("journal/tests/{suite}")],
    };
    let below = |file: &Path| {
        let file = file.with_extension("");
        let inner = tops.iter().find_map(|top| file.strip_prefix(top).ok())?;
        let names = inner.iter().map(|part| part.to_string_lossy().into_owned());
        Some(names.filter(|name| !["main", "lib", "mod"].contains(&name.as_str())).collect())
    };
    sources.iter().filter_map(|(file, text)| Some((below(file)?, text.as_str()))).collect()
}

/// What was read of a suite. Tests are known by their attribute, also within `proptest!`; macros that make tests, by having that
/// attribute inside, and what such a macro is told counts if there is a function of that name.
#[derive(Default)]
struct Code {
    /// Where the reading is.
    modules: Vec<String>,
    tests: BTreeSet<Vec<String>>,
    functions: BTreeSet<String>,
    /// Macros that make tests, and in which modules.
    makers: BTreeMap<String, Vec<String>>,
    /// The macros that were called: where, which, and all words that they were told.
    calls: Vec<(Vec<String>, String, Vec<String>)>,
}

impl Code {
    fn read(&mut self, tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut is_test = false;
        for (at, tree) in trees.iter().enumerate() {
            let (one, two) = (trees.get(at + 1), trees.get(at + 2));
            match tree {
                TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                    is_test |= at > 0 && is_punct(&trees[at - 1], '#') && group.stream().to_string() == "test";
                }
                TokenTree::Group(group) => {
                    self.read_group(&trees[..at], group.stream());
                    is_test &= group.delimiter() == Delimiter::Parenthesis;
                }
                TokenTree::Ident(word) if word == "fn" => {
                    if let Some(TokenTree::Ident(name)) = one {
                        self.functions.insert(name.to_string());
                        if is_test {
                            self.tests.insert(self.at(&name.to_string()));
                        }
                    }
                    is_test = false;
                }
                TokenTree::Ident(word) if one.is_some_and(|tree| is_punct(tree, '!')) => {
                    if let Some(TokenTree::Group(told)) = two {
                        self.calls.push((self.modules.clone(), word.to_string(), words(told.stream())));
                    }
                }
                TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }

    /// What stands in a group, by what stands before it.
    fn read_group(&mut self, before: &[TokenTree], inner: TokenStream) {
        match before {
            [.., TokenTree::Ident(word), bang, TokenTree::Ident(name)] if word == "macro_rules" && is_punct(bang, '!') => {
                let words = words(inner.clone());
                if inner.to_string().contains("# [test]") {
                    let modules = words.windows(2).filter(|pair| pair[0] == "mod").map(|pair| pair[1].clone()).collect();
                    self.makers.insert(name.to_string(), modules);
                }
            }
            [.., TokenTree::Ident(word), TokenTree::Ident(name)] if word == "mod" => {
                self.modules.push(name.to_string());
                self.read(inner);
                self.modules.pop();
            }
            _ => self.read(inner),
        }
    }

    fn at(&self, name: &str) -> Vec<String> {
        self.modules.iter().cloned().chain([name.to_owned()]).collect()
    }

    fn tests(mut self) -> BTreeSet<Vec<String>> {
        for (place, call, words) in &self.calls {
            let Some(modules) = self.makers.get(call) else { continue };
            for case in words.iter().filter(|word| self.functions.contains(*word)) {
                let made = modules.iter().map(|module| [&place[..], &[module.clone(), case.clone()]].concat());
                self.tests.extend(made);
            }
        }
        self.tests
    }
}

/// Every name and keyword in tokens, in order.
fn words(tokens: TokenStream) -> Vec<String> {
    let of = |tree| match tree {
        TokenTree::Group(group) => words(group.stream()),
        TokenTree::Ident(word) => vec![word.to_string()],
        TokenTree::Punct(_) | TokenTree::Literal(_) => Vec::new(),
    };
    tokens.into_iter().flat_map(of).collect()
}

fn is_punct(tree: &TokenTree, wanted: char) -> bool {
    matches!(tree, TokenTree::Punct(punct) if punct.as_char() == wanted)
}
