//! What the results that shims left on the host say of a script: which of its starts came to a good end.
//!
//! Read as they lie on disk and held against the intents, without the code that reads them in Phoenix: a script is started again
//! only where no result of success exists, and whoever overlooks such a result must not be the one to look for it. Not here: the
//! scripts' own logs (`judge`).

use std::fs;
use std::path::Path;

use phoenix::plan::Intent;
use phoenix_journal::Digest;
use serde_json::{Value, json};

use super::ground::Ground;

impl Ground {
    /// What is wrong with the results of a script that is done, of whose intents these are all in the container that is there now.
    pub(crate) fn wrong_results(&self, place: u32, step: &str, intents: &[Intent]) -> Option<String> {
        let life = intents.last()?.incarnation;
        // Results of earlier incarnations went with their containers, and those of other boots stay.
        let results = self.path("journal/journal.db.d/results").join(self.ctid(place).to_string()).join(life.to_string());
        wrong(&intents.iter().map(names).collect::<Vec<_>>(), &succeeded(&results, step))
    }
}

/// What a result calls its intent.
fn names(intent: &Intent) -> String {
    let Intent { ctid, incarnation, step, attempt, token, .. } = intent;
    Digest::of(format!("{ctid} {incarnation} {step} {attempt} {token}").as_bytes()).to_string()
}

/// The intents of the results of success of one step.
fn succeeded(directory: &Path, step: &str) -> Vec<String> {
    let paths = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("an entry").path());
    // What begins with a dot is space for a result whose intent was never recorded.
    let is_result = |path: &Path| {
        path.extension().is_some_and(|end| end == "json") && !path.file_name().expect("a name").as_encoded_bytes().starts_with(b".")
    };
    let read = |path| serde_json::from_slice::<Value>(&fs::read(path).expect("a result")).expect("a shim writes a result whole");
    let results = paths.filter(|path| is_result(path)).map(read);
    let good = results.filter(|result| result["step"] == step && result["ending"] == json!({ "exit": 0 }));
    good.map(|result| result["intent"].as_str().expect("an intent").to_owned()).collect()
}

/// Only the last intent of a script that is done may have succeeded, and it must have.
fn wrong(intents: &[String], succeeded: &[String]) -> Option<String> {
    let (last, before) = intents.split_last()?;
    let again = before.iter().position(|intent| succeeded.contains(intent));
    if let Some(index) = again {
        return Some(format!("was started again though start {} of {} left a result of success", index + 1, intents.len()));
    }
    if let Some(stray) = succeeded.iter().find(|found| !intents.contains(found)) {
        return Some(format!("left a result of success for {stray}, which is none of its intents"));
    }
    (!succeeded.contains(last)).then(|| "is done without a result of success".to_owned())
}

#[test]
fn a_start_after_a_result_of_success_is_found_among_results_on_disk() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, intent: &str, step: &str, ending: Value| {
        let result = json!({ "format": 1, "seq": "7", "epoch": "2", "intent": intent, "step": step, "ending": ending, "output_bytes": 0 });
        fs::write(directory.path().join(name), result.to_string()).expect("written");
    };
    let judged =
        |intents: &[&str]| wrong(&intents.iter().map(ToString::to_string).collect::<Vec<_>>(), &succeeded(directory.path(), "step"));
    write("2-7.json", "first", "step", json!({ "exit": 1 }));
    write("2-8.json", "other", "another.step", json!({ "exit": 0 }));
    fs::write(directory.path().join(".token.json"), "").expect("written");
    assert_eq!(judged(&["first", "second"]).as_deref(), Some("is done without a result of success"));
    write("2-9.json", "second", "step", json!({ "exit": 0 }));
    assert_eq!(judged(&["first", "second"]), None, "a failure is a reason, and a cut leaves no result at all");
    let again = judged(&["first", "second", "third"]).expect("the third start had no reason");
    assert_eq!(again, "was started again though start 2 of 3 left a result of success");
    assert!(judged(&["first"]).is_some_and(|why| why.ends_with("which is none of its intents")));
}
