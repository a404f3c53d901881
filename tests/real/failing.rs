//! A script that fails, what is said about it, and how it goes on once it is mended.

use serde_json::{Value, json};

use super::fleet::Fleet;
use super::ground::Ground;

fn fleet(ground: &Ground) {
    Fleet::new(ground)
        .container(0, json!({ "features": ["scripts/good.sh", "scripts/flaky.sh"], "application": "scripts/app.sh" }))
        .container(1, json!({ "depends_on": [0] }))
        .container(2, json!({ "features": ["scripts/good.sh"] }))
        .write();
}

#[test]
fn a_failing_script_is_told_in_full_and_a_mended_one_goes_on_from_there() {
    let Some(ground) = Ground::new(13) else { return };
    ground.script("good", "true");
    ground.script("app", "true");
    ground.script("flaky", "echo preparing; echo 'the disk \u{1b}[31mis missing' >&2; exit 7");
    fleet(&ground);
    let said = ground.up(1);
    let ctid = ground.ctid(0).to_string();
    for wanted in [ctid.as_str(), "feature.apply[flaky]", "7", "the disk", "is missing", "phoenix "] {
        assert!(said.all().contains(wanted), "{wanted:?} is not said:\n{}", said.all());
    }
    assert!(!said.all().contains('\u{1b}'), "control characters of a script reach the terminal: {:?}", said.all());

    let status = ground.status();
    assert_eq!((status[0]["state"].as_str(), status[0]["standing"].as_str()), (Some("running"), Some("failed")), "{status:#?}");
    let error = &status[0]["last_error"];
    assert_eq!((error["step"].as_str(), error["exit_status"].as_str()), (Some("feature.apply[flaky]"), Some("exit 7")), "{error:#}");
    assert!(error["tail"].as_str().is_some_and(|tail| tail.contains("is missing")), "{error:#}");
    assert_eq!(status[1]["waiting_for"]["ctid"], json!(ground.ctid(0)), "{status:#?}");
    assert_eq!(status[2]["state"], "done", "one that needs nothing of it is not held up");

    // A resume gives no new budget.
    ground.resume(1);
    assert_eq!(ground.starts(0, "flaky"), 1);

    // Another script where one has succeeded is refused, by name; nothing changes.
    ground.script("good", "echo changed");
    let rows = ground.entries().len();
    let refused = ground.up(2);
    assert!(refused.stderr.contains("good") && refused.stderr.contains("phoenix down"), "{}", refused.stderr);
    assert_eq!(ground.entries().len(), rows);
    ground.script("good", "true");

    ground.script("flaky", "true");
    ground.up(0);
    let starts: Vec<usize> = ["good", "flaky", "app"].iter().map(|script| ground.starts(0, script)).collect();
    assert_eq!(starts, [1, 2, 1], "what had succeeded is not repeated");
    let status = ground.status();
    assert!(status.iter().all(|one| one["state"] == "done" && one["last_error"] == Value::Null), "{status:#?}");
    assert_eq!((&status[0]["generation"], &status[1]["generation"]), (&json!(2), &json!(1)));
    ground.invariant_journal_is_clean();
}
