//! Every name that a module uses: in `use`, in the middle of code, inside macros.
//!
//! Apart because the rules want names alone. Paths in macros are found in their tokens, which `syn` does not look into. Not
//! here: what the names mean.

use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, ExprMethodCall, Item, ItemFn, ItemUse, Macro, UseTree};

use super::tree::is_for_tests;

/// A name, with the line that it stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name {
    /// `crate::ids::Ctid` as its parts.
    pub(crate) parts: Vec<String>,
    pub(crate) line: usize,
    /// Whether it is called as a macro.
    pub(crate) called: bool,
}

/// The names in `items`.
pub(crate) fn names(items: &[Item]) -> Vec<Name> {
    let mut found = Found(Vec::new());
    for item in items {
        found.visit_item(item);
    }
    found.0
}

struct Found(Vec<Name>);

impl Found {
    fn add(&mut self, parts: &[&Ident], called: bool) {
        let Some(first) = parts.first() else { return };
        let line = first.span().start().line;
        self.0.push(Name { parts: parts.iter().map(ToString::to_string).collect(), line, called });
    }

    fn add_use<'a>(&mut self, before: &mut Vec<&'a Ident>, tree: &'a UseTree) {
        match tree {
            UseTree::Path(path) => {
                before.push(&path.ident);
                self.add_use(before, &path.tree);
                before.pop();
            }
            UseTree::Name(name) => self.add(&[&before[..], &[&name.ident]].concat(), false),
            UseTree::Rename(name) => self.add(&[&before[..], &[&name.ident]].concat(), false),
            UseTree::Glob(_) => self.add(before, false),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(before, tree)),
        }
    }

    /// Paths in tokens: `crate::a::b`, and `crate::{a, b}` as two.
    fn add_tokens(&mut self, before: &[&Ident], tokens: TokenStream) {
        let trees: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            at += 1;
            match tree {
                TokenTree::Group(group) => self.add_tokens(&[], group.stream()),
                TokenTree::Ident(first) => {
                    let mut parts = [before, &[first]].concat();
                    while is_colon(trees.get(at)) && is_colon(trees.get(at + 1)) {
                        match trees.get(at + 2) {
                            Some(TokenTree::Ident(next)) => parts.push(next),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.add_tokens(&parts, group.stream());
                            }
                            Some(_) | None => break,
                        }
                        at += 3;
                    }
                    self.add(&parts, is_punct(trees.get(at), '!'));
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_fn(&mut self, function: &'ast ItemFn) {
        if !function.attrs.iter().any(is_for_tests) {
            visit::visit_item_fn(self, function);
        }
    }

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        if !import.attrs.iter().any(is_for_tests) {
            self.add_use(&mut Vec::new(), &import.tree);
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let parts: Vec<&Ident> = path.segments.iter().map(|segment| &segment.ident).collect();
        self.add(&parts, false);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.add(&[&call.method], false);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        let parts: Vec<&Ident> = call.path.segments.iter().map(|segment| &segment.ident).collect();
        self.add(&parts, true);
        self.add_tokens(&[], call.tokens.clone());
    }

    /// Derives and the like name other crates alone.
    fn visit_attribute(&mut self, _: &'ast Attribute) {}
}

fn is_colon(tree: Option<&TokenTree>) -> bool {
    is_punct(tree, ':')
}

fn is_punct(tree: Option<&TokenTree>, wanted: char) -> bool {
    matches!(tree, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}
