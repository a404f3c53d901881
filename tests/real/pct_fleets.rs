//! Whole fleets on Proxmox, and how many `pct` they cost.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::ground::{Ground, Kind, tell};
use super::processes::now;
use super::proxmox::{PLAIN, TEMPLATE, WITH_SNAPSHOTS};

/// Processes of `pct`, at the most, without retries: for a created container with volumes, for a clone, and for being cloned once.
const OF_CREATED: usize = 6;
const OF_CLONE: usize = 7;
const OF_SOURCE: usize = 2;
/// The first number of the containers of [`up_on_finished_containers_starts_no_process`].
const MANY: u32 = 903_000;

/// Calls of `pct` by the container that they are about; a clone is about the copy.
fn calls(ground: &Ground) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in ground.pve().expect("a node").calls() {
        let words: Vec<&str> = call.argv.iter().map(String::as_str).collect();
        let about = match words.as_slice() {
            [_, "clone", _, copy, ..] => (*copy).to_owned(),
            [_, _, id, ..] => (*id).to_owned(),
            other => other.join(" "),
        };
        found.entry(about).or_default().push(words.get(1..).unwrap_or_default().join(" "));
    }
    found
}

/// The fleet of the quickstart, with the numbers, the template and the directories of this ground.
fn quickstart(ground: &Ground, storage: &str) -> Value {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/quickstart");
    for directory in ["features", "apps"] {
        fs::create_dir(ground.path(directory)).expect("a directory");
        for entry in fs::read_dir(example.join(directory)).expect("the example").flatten() {
            fs::copy(entry.path(), ground.path(directory).join(entry.file_name())).expect("copied");
        }
    }
    let mut text = fs::read_to_string(example.join("fleet.json")).expect("the example");
    for place in 0..4 {
        text = text.replace(&format!("\"{}\"", 9001 + place), &format!("\"{}\"", ground.ctid(place)));
    }
    text = text.replace("/srv/phoenix-quickstart", ground.path("srv").to_str().expect("plain"));
    text = text.replace("busybox.tar.gz", TEMPLATE);
    let mut manifest: Value = serde_json::from_str(&text).expect("JSON");
    manifest["defaults"]["storage"] = json!(storage);
    manifest
}

#[test]
fn the_quickstart_fleet_runs_on_proxmox_within_its_budget_of_processes() {
    for storage in [PLAIN, WITH_SNAPSHOTS] {
        let Some(ground) = Ground::on(Kind::Pct, 48) else { return };
        let pve = ground.pve().expect("a node");
        fs::write(ground.path("fleet.json"), quickstart(&ground, storage).to_string()).expect("written");
        ground.up(0);
        let (code, page) = ground.inside(3, &["wget", "-q", "-O", "-", "http://127.0.0.1:8080/"]);
        assert!(code == 0 && page.contains("Hello from Phoenix"), "{storage}: {page}");
        assert!(ground.status().iter().all(|one| one["state"] == "done"), "{storage}");
        assert_eq!(ground.left_by_commands(), Vec::<String>::new(), "{storage}");

        let calls = calls(&ground);
        let of = |place: u32| calls.get(&ground.ctid(place).to_string()).map_or(0, Vec::len);
        let budgets = [OF_CREATED + OF_SOURCE, OF_CLONE, OF_CREATED, OF_CREATED];
        for (place, budget) in (0..).zip(budgets) {
            assert!((1..=budget).contains(&of(place)), "{storage}: {budget} for {place}: {calls:#?}");
        }
        assert_eq!(calls.len(), 4, "{storage}: {calls:#?}");
        pve.forget_calls().expect("forgotten");
        ground.up(0);
        ground.ends(0, &["status", "--live"]);
        let manifest = ground.path("fleet.json");
        ground.ends(0, &["plan", manifest.to_str().expect("plain")]);
        assert_eq!(pve.calls().len(), 0, "{storage}: looking costs no process");
        ground.down(0);
        assert_eq!((ground.standing(), ground.volumes()), (Vec::new(), Vec::new()), "{storage}");
    }
}

/// `PHOENIX_TEST_CONTAINERS` says how many; the time that it takes is told, and is nobody's limit.
#[test]
fn up_on_finished_containers_starts_no_process() {
    let Some(ground) = Ground::on(Kind::Pct, 49) else { return };
    let pve = ground.pve().expect("a node");
    let count: u32 = std::env::var("PHOENIX_TEST_CONTAINERS").ok().and_then(|count| count.parse().ok()).unwrap_or(8);
    let one = |index: u32| {
        let number = (MANY + index).to_string();
        (number, json!({ "hostname": format!("ct{index}"), "template": TEMPLATE, "storage": PLAIN, "memory_mb": 32 }))
    };
    let containers: Map<String, Value> = (0..count).map(one).collect();
    fs::write(ground.path("fleet.json"), json!({ "fleet": "many", "containers": containers }).to_string()).expect("written");
    let from = now();
    ground.up(0);
    let (made, calls) = (from.elapsed(), pve.calls().len());
    assert!(calls <= OF_CREATED * count as usize, "{calls} calls for {count} containers");
    pve.forget_calls().expect("forgotten");
    let rows = ground.entries().len();
    let mut times: Vec<u128> = Vec::new();
    for _ in 0..10 {
        let from = now();
        ground.up(0);
        times.push(from.elapsed().as_millis());
    }
    times.sort_unstable();
    assert_eq!((pve.calls().len(), ground.entries().len()), (0, rows), "nothing is started and nothing written");
    tell(&format!(
        "finished: containers={count} made_ms={} calls={calls} up_ms_min={} up_ms_median={}",
        made.as_millis(),
        times[0],
        times[times.len() / 2]
    ));
}
