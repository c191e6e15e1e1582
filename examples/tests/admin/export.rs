//! Histories that are exported, redacted, and replayed.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
// The migrations of the loans, which the replay applies.
use state_migration_examples as _;

use crate::program::{run, run_json};
use crate::sample::Sample;

/// The lines of an exported file.
fn lines(folder: &std::path::Path, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().unwrap()
}

/// The texts under a member of the payloads.
fn texts(lines: &[Value], pointer: &str) -> Vec<String> {
    let payloads = lines.iter().map(|line| &line["payload"]);
    let found = payloads.filter_map(|payload| payload.pointer(pointer));
    found
        .map(|text| text.as_str().unwrap().to_owned())
        .collect()
}

const AMOUNT: &str = "/ApplicationSubmitted/amount_requested";
const ITEM: &str = "/WorkItemChanged/item";
const REDACT: [&str; 6] = [
    "--redact",
    "/ApplicationSubmitted/application",
    "--redact",
    "/*/amount_requested",
    "--redact",
    ITEM,
];

/// To see it fail: let `rewritten::states` keep the state of a `$migrated` event.
#[test]
fn redacted_histories_are_replayed_and_tell_nothing() {
    let sample = Sample::new();
    run(&sample, &["run", "--yes", "--limit", "3"]).exits(0);
    let moved = run_json(&sample, &["processes", "--migrated-by", "1"]).exits(0);
    let moved = moved.json()["processes"][0]["stream"].clone();
    let moved = moved.as_str().unwrap();
    let files = sample.files();
    let one = [&["export", "--out", "one", "--stream", moved][..], &REDACT].concat();
    let one = run_json(&sample, &one).exits(0).json();
    let plain = ["export", "--out", "plain", "--stream", moved, "--plain"];
    let plain = run_json(&sample, &plain).exits(0).json();
    let many = [&["export", "--out", "many", "--sample", "12"][..], &REDACT].concat();
    let many = run_json(&sample, &many).exits(0).json();
    assert!(sample.files() == files, "the store has changed");

    // Nothing of what was replaced is left, in the states of the migrations neither.
    let folder = |name: &str| sample.folder().join(name);
    let file = one["files"][0]["file"].as_str().unwrap();
    let (redacted, original) = (lines(&folder("one"), file), lines(&folder("plain"), file));
    assert_eq!(redacted.len(), original.len());
    assert_eq!(original[0]["stream"], moved);
    assert_eq!(redacted[0]["stream"], "process/exported/1");
    let text = fs::read_to_string(folder("one").join(file)).unwrap();
    let application = texts(&original, "/ApplicationSubmitted/application");
    let items: BTreeSet<String> = texts(&original, ITEM).into_iter().collect();
    assert!(!items.is_empty() && text.contains("$migrated"));
    for secret in items.iter().chain(&application) {
        assert!(
            !text.contains(secret.as_str()),
            "{secret} is left in {text}"
        );
    }
    // Equal texts stay equal.
    let new: BTreeSet<String> = texts(&redacted, ITEM).into_iter().collect();
    assert_eq!(new.len(), items.len());
    let amount = |lines: &[Value]| {
        let payloads = lines.iter().map(|line| &line["payload"]);
        let mut amounts = payloads.filter_map(|it| it.pointer(AMOUNT));
        amounts.next().map(Value::to_string)
    };
    assert!(amount(&original).is_some(), "{original:?}");
    assert_ne!(amount(&redacted), amount(&original));
    // What stays readable is named, and nothing else is.
    let readable = one["readable"].as_array().unwrap().iter();
    let readable = readable.map(|it| it["pointer"].as_str().unwrap());
    let readable: BTreeSet<&str> = readable.collect();
    for (pointer, stays) in [
        (ITEM, false),
        (AMOUNT, false),
        ("/ApplicationSubmitted/application", false),
        ("/WorkItemChanged/transition", true),
    ] {
        assert_eq!(readable.contains(pointer), stays, "{readable:?}");
    }
    assert!(one["redacted"].as_u64().unwrap() > 3, "{one}");
    assert_eq!(plain["redacted"], 0);
    let versions: BTreeSet<&str> = many["files"]
        .as_array()
        .unwrap()
        .iter()
        .map(|file| file["version"].as_str().unwrap())
        .collect();
    assert_eq!(versions, ["loan@2011", "loan@2013"].into());

    // They replay, and a file of another state does not.
    for exported in ["one", "plain", "many"] {
        state_migration::testing::replay(folder(exported));
    }
    let path = folder("one").join(file);
    let changed = text.replacen("\"SCHEDULE\"", "\"START\"", 1);
    assert_ne!(changed, text);
    fs::write(&path, changed).unwrap();
    let differs = std::panic::catch_unwind(|| state_migration::testing::replay(folder("one")));
    assert!(differs.is_err());
}

#[test]
fn an_export_that_would_tell_or_overwrite_is_refused() {
    let sample = Sample::new();
    let export = ["export", "--out", "out", "--sample", "2"];
    let untold = run(&sample, &export).exits(1);
    assert!(untold.stderr.contains("--redact"), "{}", untold.stderr);
    let wrong = [&export[..], &["--redact", "application"]].concat();
    let wrong = run(&sample, &wrong).exits(1);
    assert!(wrong.stderr.contains("begins with `/`"), "{}", wrong.stderr);
    let plain = [&export[..], &["--plain"]].concat();
    run(&sample, &plain).exits(0);
    let absent = [
        "export",
        "--out",
        "out",
        "--stream",
        "process/bank/0",
        "--plain",
    ];
    let absent = run_json(&sample, &absent).exits(2).json();
    assert_eq!(absent["files"], json!([]));
    let unused = [
        "export", "--out", "new", "--sample", "1", "--redact", "/none",
    ];
    let unused = run_json(&sample, &unused).exits(0).json();
    assert_eq!(unused["unused"], json!(["/none"]));
    // A file of an earlier export is kept.
    let file = fs::read_dir(sample.folder().join("out"))
        .unwrap()
        .next()
        .unwrap();
    let file = file.unwrap().path();
    let before = fs::read(&file).unwrap();
    // One of each version is chosen again, so that the names are the same.
    for _ in 0..2 {
        run(&sample, &plain).exits(1);
    }
    assert_eq!(fs::read(&file).unwrap(), before);
}
