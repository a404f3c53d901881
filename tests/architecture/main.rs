//! The rules that hold for the sources themselves: layers, file headers, lengths, and what no program of ours says.
//!
//! They are those of ARCHITECTURE.md and CONTRIBUTING.md, which break in silence when nobody looks. Not here: what clippy
//! sees as well.

mod documents;
mod names;
mod tree;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use names::{Name, names};
use tree::{Module, Sources, modules, strays};

/// A module names only modules to its left, and itself.
const LAYERS: [&str; 13] =
    ["ids", "manifest", "plan", "machine", "engine", "codec", "journal", "shim", "host", "driver", "rehearse", "report", "cli"];

/// Modules that know neither clock nor disk nor chance, and what they would know them by.
const PURE: [&str; 3] = ["plan", "machine", "engine"];
const IMPURE: [&[&str]; 13] = [
    &["std", "io"],
    &["std", "fs"],
    &["std", "env"],
    &["std", "net"],
    &["std", "os"],
    &["std", "process"],
    &["std", "thread"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["getrandom"],
    &["rustix"],
    &["log"],
    &["tracing"],
];

/// What is no end of a thought in a program. (`expect` says which invariant holds.)
const UNFINISHED: [&str; 3] = ["todo", "unimplemented", "dbg"];

/// Names that say nothing of what is inside.
const MEANINGLESS: [&str; 5] = ["utils", "common", "helpers", "types", "manager"];

/// Nobody reads a longer file from top to bottom.
const LINES_MAX: usize = 600;

/// Everything that is wrong, as `FILE:LINE: what`.
fn findings(sources: &Sources) -> Vec<String> {
    let mut found: Vec<String> = sources.iter().flat_map(|(file, text)| file_findings(file, text)).collect();
    for (directory, layers) in [("src", &LAYERS[..]), ("journal/src", &[])] {
        let directory = Path::new(directory);
        let library = modules(sources, &directory.join("lib.rs"));
        let program = Some(directory.join("main.rs")).filter(|file| sources.contains_key(file));
        let all: Vec<Module> = program.iter().flat_map(|file| modules(sources, file)).chain(library).collect();
        found.extend(strays(sources, directory, &all).iter().map(|file| format!("{}:1: no module declares this file", file.display())));
        for module in all.iter().filter(|module| !module.test) {
            let names = names(&module.items);
            found.extend(names.iter().filter_map(|name| unfinished(module, name)));
            found.extend(names.iter().filter_map(|name| impure(module, name)));
            if !layers.is_empty() {
                found.extend(names.iter().filter_map(|name| out_of_layer(module, name)));
            }
        }
        let tops = all.iter().filter(|module| module.path.len() == 1 && !layers.is_empty());
        let unknown = tops.filter(|module| !layers.contains(&module.path[0].as_str()));
        found.extend(unknown.map(|module| format!("{}:1: `{}` has no place among the layers", module.file.display(), module.path[0])));
    }
    found
}

fn file_findings(file: &Path, text: &str) -> Vec<String> {
    let shown = file.display();
    let mut found = Vec::new();
    // A crate whose README is its documentation says what it is for by including it.
    if !text.starts_with("//!") && !text.starts_with("#![doc = include_str!") {
        found.push(format!("{shown}:1: the file does not begin with `//!`"));
    }
    let lines = text.lines().count();
    if lines > LINES_MAX {
        found.push(format!("{shown}:{lines}: the file has {lines} lines, more than {LINES_MAX}"));
    }
    let stems = file.components().map(|part| Path::new(part.as_os_str()).with_extension("").to_string_lossy().into_owned());
    found.extend(stems.filter(|stem| MEANINGLESS.contains(&stem.as_str())).map(|stem| format!("{shown}:1: `{stem}` says nothing")));
    found
}

fn unfinished(module: &Module, name: &Name) -> Option<String> {
    let last = name.parts.last()?;
    let said = (last == "unwrap" && !name.called) || (name.called && UNFINISHED.contains(&last.as_str()));
    said.then(|| format!("{}:{}: `{last}` in a program", module.file.display(), name.line))
}

fn impure(module: &Module, name: &Name) -> Option<String> {
    let pure = module.path.first().is_some_and(|top| PURE.contains(&top.as_str()));
    let begins_with = |start: &&&[&str]| name.parts.iter().map(String::as_str).take(start.len()).eq(start.iter().copied());
    let outside = IMPURE.iter().find(begins_with).filter(|_| pure)?;
    Some(format!("{}:{}: `{}` is no business of `{}`", module.file.display(), name.line, outside.join("::"), module.path[0]))
}

fn out_of_layer(module: &Module, name: &Name) -> Option<String> {
    // The root lists the modules; the program may use all of them.
    let own = module.path.first()?;
    let named = absolute(&module.path, &name.parts)?.into_iter().next()?;
    let layer = |name: &String| LAYERS.iter().position(|layer| layer == name);
    let place = || format!("{}:{}", module.file.display(), name.line);
    match (layer(own), layer(&named)) {
        (Some(own), Some(named)) if named <= own => None,
        (_, None) => Some(format!("{}: `{own}` names `{named}`, which is no layer", place())),
        (_, Some(_)) => Some(format!("{}: `{own}` names `{named}`, which comes after it", place())),
    }
}

/// A name as a path from the crate's root; nothing if it is relative, or another crate's.
fn absolute(module: &[String], parts: &[String]) -> Option<Vec<String>> {
    let (first, rest) = parts.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some([module, rest].concat()),
        "super" => {
            let up = 1 + rest.iter().take_while(|part| *part == "super").count();
            Some([&module[..module.len().checked_sub(up)?], &rest[up - 1..]].concat())
        }
        _ => None,
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of ours.
fn sources() -> Sources {
    let mut sources = Sources::new();
    for directory in ["src", "tests", "journal/src", "journal/tests", "journal/benches", "fuzz/fuzz_targets"] {
        collect(&top().join(directory), &mut sources);
    }
    assert!(sources.contains_key(Path::new("src/lib.rs")), "the sources are found");
    sources
}

fn collect(directory: &Path, sources: &mut Sources) {
    let entries = fs::read_dir(directory).unwrap_or_else(|why| panic!("{}: {why}", directory.display()));
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("a text");
            sources.insert(path.strip_prefix(top()).expect("a file of ours").to_owned(), text);
        }
    }
}

#[test]
fn the_sources_keep_the_rules() {
    let found = findings(&sources());
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_layers_are_those_of_the_document() {
    let document = fs::read_to_string(top().join("ARCHITECTURE.md")).expect("the document");
    let rows = document.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |")).map(|(module, _)| module);
    assert_eq!(rows.collect::<Vec<_>>(), LAYERS);
}

#[test]
fn no_method_of_a_host_has_a_default_body() {
    let text = fs::read_to_string(top().join("src/host.rs")).expect("the file");
    let file = syn::parse_file(&text).expect("Rust");
    let traits = file.items.iter().filter_map(|item| if let syn::Item::Trait(found) = item { Some(found) } else { None });
    let host = traits.into_iter().find(|found| found.ident == "Host").expect("the trait");
    let defaults = host.items.iter().filter(|item| matches!(item, syn::TraitItem::Fn(method) if method.default.is_some()));
    assert_eq!(defaults.count(), 0);
}

#[test]
fn the_tests_that_the_documents_name_exist() {
    let read = |file: &str| (file.to_owned(), fs::read_to_string(top().join(file)).expect("the document"));
    let texts = ["docs/failures.md", "docs/guarantees.md"].map(read);
    assert!(documents::named(&texts[0].1).len() > 20, "the names are found");
    assert_eq!(documents::missing(&texts, &sources()), Vec::<String>::new());
}

/// Two suites with a test of every kind, and what is none.
#[test]
fn a_test_that_is_not_in_the_suite_that_is_named_is_found() {
    let files = [
        ("tests/one.rs", "//! One.\n#[test]\nfn plain() {}\nfn helper() {}\n// #[test] fn remark() {}\n"),
        ("tests/one/deep.rs", "proptest! { #[test]\n#[ignore]\npub(crate) fn drawn(x: u8) { let x = [test]; } }\n#[cfg(test)] fn no() {}"),
        ("tests/two/main.rs", "macro_rules! on { ($($c:ident)*) => { mod lxc { $(#[test] fn $c() {})* } } }\nmod inner;"),
        ("tests/two/inner.rs", "on! { made absent }\nfn made() {}\nfn other() { say! { other } }"),
        ("tests/compile_fail/forged.rs", "fn main() {}"),
        ("journal/src/lib.rs", "mod log { mod tests { #[test] fn whole() {} } }"),
    ];
    let sources = files.into_iter().map(|(file, text)| (file.into(), text.to_owned())).collect();
    let check = |names: &[&str], is_there: bool| {
        for name in names {
            let texts = [("d.md".to_owned(), format!("A test, `{name}`."))];
            let expected = if is_there { Vec::new() } else { vec![format!("d.md: there is no test `{name}`")] };
            assert_eq!(documents::missing(&texts, &sources), expected);
        }
    };
    check(&["one::plain", "one::drawn", "one::deep::drawn", "compile_fail::forged", "lib::whole", "lib::log::tests::whole"], true);
    check(&["two::made", "two::inner::lxc::made", "Code::not_a_test", "one::Two", "alone"], true);
    check(&["one::deep::plain", "one::other::drawn", "one::made", "two::plain", "lib::tests::whole", "three::plain"], false);
    check(&["one::helper", "one::remark", "one::no", "two::absent", "two::other", "two::inner::made", "compile_fail::main"], false);
}

/// A bug that is not listed is never switched on, and one that is not there is never found.
#[test]
fn the_list_of_deliberate_bugs_is_whole() {
    let list = fs::read_to_string(top().join("tests/sabotage.tsv")).expect("the list");
    let listed: BTreeSet<&str> = list.lines().filter_map(|line| line.split('\t').next()).collect();
    let sources = sources();
    let ours = sources.iter().filter(|(file, _)| file.starts_with("src") || file.starts_with("journal/src"));
    let named = ours.flat_map(|(_, text)| text.split("sabotaged(\"").skip(1).filter_map(|rest| rest.split('"').next()));
    assert_eq!(named.collect::<BTreeSet<_>>(), listed);
    for line in list.lines() {
        let how = line.split('\t').nth(3);
        assert!(line.split('\t').count() >= 3 && how.is_none_or(|how| ["hangs", "aborts"].contains(&how)), "{line}");
    }
    assert!(listed.len() >= 20, "{} bugs", listed.len());
}

/// A repository of two modules in which nothing is wrong.
fn small() -> Sources {
    let files = [
        ("src/lib.rs", "//! Root.\npub mod ids;\npub mod engine;\n"),
        ("src/ids.rs", "//! Names.\npub struct Ctid;\n"),
        ("src/engine.rs", "//! Engine.\nmod deep;\nuse crate::ids::Ctid;\n"),
        ("src/engine/deep.rs", "//! Below.\nuse super::super::ids::Ctid;\n"),
        ("journal/src/lib.rs", "//! Journal.\n"),
    ];
    files.into_iter().map(|(file, text)| (file.into(), text.to_owned())).collect()
}

/// What is found when `text` is added to `file`.
#[track_caller]
fn check(file: &str, text: &str, expected: &[&str]) {
    let mut sources = small();
    assert_eq!(findings(&sources), Vec::<String>::new(), "nothing is wrong before");
    let header = if sources.contains_key(Path::new(file)) { "" } else { "//! New.\n" };
    let place = sources.entry(file.into()).or_default();
    place.push_str(header);
    place.push_str(text);
    let found: BTreeSet<String> = findings(&sources).into_iter().collect();
    assert_eq!(found, expected.iter().map(|&line| line.to_owned()).collect(), "{text}");
}

#[test]
fn a_name_from_a_later_layer_is_found_wherever_it_stands() {
    let wrong = ["src/ids.rs:3: `ids` names `engine`, which comes after it"];
    for text in [
        "use crate::engine::Engine;",
        "pub use crate::{engine::*};",
        "use super::engine;",
        "fn f() { crate::engine::go(); }",
        "fn f(e: &crate::engine::Engine) {}",
        "fn f() -> Vec<Option<crate::engine::Engine>> { Vec::new() }",
        "fn f() { assert!(matches!(1, x if [crate::engine::ok(x)][0])); }",
        "make! { A => crate::{engine::B} }",
        "macro_rules! m { () => { $crate::engine::go() }; }",
        "mod inner { use super::super::engine::Engine; }",
        "#[cfg(not(test))] use crate::engine::Engine;",
    ] {
        check("src/ids.rs", text, &wrong);
    }
    let below = ["src/engine/deep.rs:3: `engine` names `host`, which comes after it"];
    check("src/engine/deep.rs", "use super::super::host::Host;", &below);
    check("src/ids.rs", "use crate::misc::X;", &["src/ids.rs:3: `ids` names `misc`, which is no layer"]);
}

#[test]
fn names_from_earlier_layers_and_of_tests_are_no_business_of_the_rule() {
    for text in [
        "use crate::ids::Ctid; use self::deep::X; use phoenix_journal::Seq; fn f() { engine::go(); }",
        "#[cfg(test)] mod tests { use crate::host::Host; fn f() { None::<u8>.unwrap(); todo!() } }",
        "#[cfg(any(test, feature = \"testing\"))] mod given { use crate::cli::X; }",
        "#[cfg(test)] use crate::host::Host;",
    ] {
        check("src/engine.rs", text, &[]);
    }
}

#[test]
fn unfinished_thoughts_are_found() {
    check("src/ids.rs", "fn f() { Some(1).unwrap(); }", &["src/ids.rs:3: `unwrap` in a program"]);
    check("src/ids.rs", "fn f() { Some(1).map(Option::unwrap); }", &["src/ids.rs:3: `unwrap` in a program"]);
    check("src/ids.rs", "fn f() { format!(\"{}\", Some(1).unwrap()); }", &["src/ids.rs:3: `unwrap` in a program"]);
    check("src/ids.rs", "fn f() { std::todo!() }", &["src/ids.rs:3: `todo` in a program"]);
    check("src/ids.rs", "fn f() { vec![dbg!(1)]; }", &["src/ids.rs:3: `dbg` in a program"]);
    check("journal/src/lib.rs", "fn f() { unimplemented!() }", &["journal/src/lib.rs:2: `unimplemented` in a program"]);
}

#[test]
fn clocks_disks_and_threads_are_found_in_what_is_pure() {
    check("src/engine.rs", "use std::{fmt, io::Error};", &["src/engine.rs:4: `std::io` is no business of `engine`"]);
    check(
        "src/engine/deep.rs",
        "fn f() { std::time::Instant::now(); }",
        &["src/engine/deep.rs:3: `std::time::Instant` is no business of `engine`"],
    );
    check("src/engine.rs", "use std::time::Duration;", &[]);
    check("src/ids.rs", "use std::io;", &[]);
}

#[test]
fn files_without_header_too_long_misnamed_or_forgotten_are_found() {
    check("src/engine.rs", &"\n".repeat(597), &[]);
    check("src/engine.rs", &"\n".repeat(598), &["src/engine.rs:601: the file has 601 lines, more than 600"]);
    check("src/ids/lost.rs", "", &["src/ids/lost.rs:1: no module declares this file"]);
    check("src/utils.rs", "", &["src/utils.rs:1: `utils` says nothing", "src/utils.rs:1: no module declares this file"]);
    let mut sources = small();
    sources.insert("src/lib.rs".into(), "pub mod ids;\npub mod engine;\npub mod other { }\n".to_owned());
    let found = findings(&sources);
    assert_eq!(found, ["src/lib.rs:1: the file does not begin with `//!`", "src/lib.rs:1: `other` has no place among the layers"]);
}
