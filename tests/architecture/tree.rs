//! The module tree of a crate, from its sources: every module with its path, its items, and whether only tests see it.
//!
//! Apart from the rules so that a planted source can be checked exactly like the real ones. Not here: what a module may do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, Meta};

/// Sources by their path from the top of the repository.
pub(crate) type Sources = BTreeMap<PathBuf, String>;

/// One module, in a file of its own or inline.
pub(crate) struct Module {
    /// Its path in the crate; empty for the root.
    pub(crate) path: Vec<String>,
    /// Where it stands.
    pub(crate) file: PathBuf,
    /// Whether it, or a module around it, is compiled for tests alone.
    pub(crate) test: bool,
    /// What is in it, but for its modules.
    pub(crate) items: Vec<Item>,
}

/// Every module reached from `root`.
pub(crate) fn modules(sources: &Sources, root: &Path) -> Vec<Module> {
    let mut found = Vec::new();
    let directory = root.parent().expect("a root lies in a directory").to_owned();
    let top = Place { path: Vec::new(), file: root.to_owned(), directory, test: false };
    let items = items_of(sources, root);
    walk(sources, top, items, &mut found);
    found
}

/// The files under `directory` that no module declaration leads to.
pub(crate) fn strays(sources: &Sources, directory: &Path, modules: &[Module]) -> Vec<PathBuf> {
    let known: BTreeSet<&PathBuf> = modules.iter().map(|module| &module.file).collect();
    sources.keys().filter(|file| file.starts_with(directory) && !known.contains(file)).cloned().collect()
}

struct Place {
    path: Vec<String>,
    file: PathBuf,
    /// Where the files of its modules are.
    directory: PathBuf,
    test: bool,
}

fn walk(sources: &Sources, place: Place, items: Vec<Item>, found: &mut Vec<Module>) {
    let (inner, items): (Vec<Item>, Vec<Item>) = items.into_iter().partition(|item| matches!(item, Item::Mod(_)));
    for item in inner {
        let Item::Mod(inner) = item else { continue };
        let name = inner.ident.to_string();
        let path: Vec<String> = place.path.iter().cloned().chain([name.clone()]).collect();
        let directory = place.directory.join(&name);
        let test = place.test || inner.attrs.iter().any(is_for_tests);
        if let Some((_, items)) = inner.content {
            walk(sources, Place { path, file: place.file.clone(), directory, test }, items, found);
        } else {
            let file = file_of(sources, &directory).unwrap_or_else(|| panic!("{} has no file", path.join("::")));
            let items = items_of(sources, &file);
            walk(sources, Place { path, file, directory, test }, items, found);
        }
    }
    found.push(Module { path: place.path, file: place.file, test: place.test, items });
}

fn file_of(sources: &Sources, directory: &Path) -> Option<PathBuf> {
    [directory.with_extension("rs"), directory.join("mod.rs")].into_iter().find(|file| sources.contains_key(file))
}

fn items_of(sources: &Sources, file: &Path) -> Vec<Item> {
    let text = sources.get(file).unwrap_or_else(|| panic!("there is no {}", file.display()));
    syn::parse_file(text).unwrap_or_else(|why| panic!("{}: {why}", file.display())).items
}

/// Whether an attribute leaves something out of the program: `cfg(test)`, or the feature that is for tests.
pub(crate) fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg") && attribute.parse_args::<Meta>().is_ok_and(|condition| !may_hold(&condition))
}

/// Whether a condition can hold in a program that is no test.
fn may_hold(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => !path.is_ident("test"),
        Meta::List(list) => {
            let inner = list.parse_args_with(syn::punctuated::Punctuated::<Meta, syn::Token![,]>::parse_terminated);
            let inner = inner.expect("conditions in a condition");
            match list.path.get_ident().map(ToString::to_string).as_deref() {
                Some("any") => inner.iter().any(may_hold),
                Some("all") => inner.iter().all(may_hold),
                // What is negated may hold: the tests' own conditions are false there.
                Some(_) | None => true,
            }
        }
        Meta::NameValue(pair) => !matches!(&pair.value, syn::Expr::Lit(literal) if is_testing(&literal.lit)),
    }
}

fn is_testing(literal: &syn::Lit) -> bool {
    matches!(literal, syn::Lit::Str(text) if text.value() == "testing")
}
