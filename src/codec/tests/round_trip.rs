//! Whatever can be held comes back as it was, blobs apart.

use std::sync::Arc;

use phoenix_journal::{Body, Digest, Record};
use proptest::prelude::*;

use super::{row, row_of};
use crate::codec::{arbitrary, entry, mark_from_json, mark_to_json};
use crate::machine::{Fact, Line};
use crate::manifest::Spec;

/// What a journal gives back of a fact: scripts and output by digest alone.
fn without_blobs(mut fact: Fact) -> Fact {
    match &mut fact {
        Fact::Declared(declaration) => {
            let spec: &mut Spec = Arc::make_mut(&mut declaration.spec);
            let features = spec.features.iter_mut().map(|feature| &mut feature.script);
            features.chain(&mut spec.application).for_each(|script| script.text = None);
        }
        Fact::Outcome(outcome) => outcome.output.iter_mut().for_each(|output| output.kept = None),
        Fact::Intended(..) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => {}
    }
    fact
}

/// The digests under which the journal has to keep something.
fn named(fact: &Fact) -> Vec<Digest> {
    match fact {
        Fact::Declared(declaration) => {
            let scripts = declaration.spec.features.iter().map(|feature| &feature.script).chain(&declaration.spec.application);
            scripts.filter(|script| script.text.is_some()).map(|script| script.digest).collect()
        }
        Fact::Outcome(outcome) => outcome.output.iter().filter(|output| output.kept.is_some()).map(|output| output.digest).collect(),
        Fact::Intended(..) | Fact::Noted(_) | Fact::RunOpened(_) | Fact::RunClosed(_) => Vec::new(),
    }
}

proptest! {
    #[test]
    fn a_fact_comes_back_from_its_entry(fact in arbitrary::fact()) {
        let back = entry::read(&row_of(&fact)).map_err(|why| TestCaseError::fail(format!("{why:?}")))?;
        prop_assert_eq!(back, without_blobs(fact));
    }

    #[test]
    fn an_effect_comes_back_as_an_intent(effect in arbitrary::effect(), at in arbitrary::wall()) {
        let line = Line::Effect(Box::new(effect.clone()), at);
        let draft = line.draft();
        prop_assert_eq!(&draft, &Line::Fact(Fact::Intended(Box::new(effect.intent.clone()), at)).draft());
        let back = entry::read(&row(draft)).map_err(|why| TestCaseError::fail(format!("{why:?}")))?;
        prop_assert_eq!(back, Fact::Intended(Box::new(effect.intent), at));
    }

    #[test]
    fn every_blob_that_is_named_is_kept_once(fact in arbitrary::fact()) {
        let blobs = Line::Fact(fact.clone()).draft().blobs;
        let mut kept: Vec<Digest> = blobs.iter().map(|blob| Digest::of(blob)).collect();
        kept.sort_unstable();
        let mut named = named(&fact);
        named.sort_unstable();
        named.dedup();
        prop_assert_eq!(kept, named);
    }

    #[test]
    fn an_intents_digest_is_that_of_its_payload_and_knows_no_time(intent in arbitrary::intent(), at in arbitrary::wall(), later in arbitrary::wall()) {
        let [first, second] = [at, later].map(|at| Line::Fact(Fact::Intended(Box::new(intent.clone()), at)).draft());
        prop_assert_eq!(&first.payload, &second.payload);
        let Body::Intent { digest, .. } = first.body else { return Err(TestCaseError::fail("an intent has an intent's body")) };
        prop_assert_eq!(digest, Digest::of(first.payload.as_bytes()));
    }

    #[test]
    fn a_mark_comes_back_from_its_text(mark in arbitrary::mark()) {
        let back = mark_from_json(&mark_to_json(&mark)).map_err(|why| TestCaseError::fail(format!("{why:?}")))?;
        prop_assert_eq!(back, mark);
    }
}
