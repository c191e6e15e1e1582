//! JSON answers: each command prints a document that conforms to the schema, and
//! each kind of document in the schema is printed by a command.

use std::collections::BTreeSet;

use crate::examples::{commands, in_progress, with_runs};
use crate::program::run_json;
use crate::sample::Sample;
use crate::schema::schema;

#[test]
fn every_command_answers_with_a_document_of_the_schema() {
    let stream = "process/bank/x1";
    let lines: &[(&str, &[&str])] = &[
        ("migrations", &["migrations"]),
        ("graph", &["graph"]),
        ("status", &["status"]),
        ("status", &["status", "--can-remove", "loan@2010"]),
        ("plan", &["plan"]),
        ("inspect", &["inspect", stream, "--payloads"]),
        ("processes", &["processes", "--limit", "3"]),
        ("hold", &["hold", stream, "--reason", "in court"]),
        ("release", &["release", stream]),
        ("retry", &["retry", "2"]),
        ("resume", &["resume", "3"]),
        ("show", &["show", "3", "--limit", "1"]),
        ("runs", &["runs"]),
        ("rehearse", &["rehearse"]),
        ("verify", &["verify", "2"]),
        ("redo", &["redo", "2", "--yes"]),
        ("undo", &["undo", "2", "--yes"]),
        ("erase", &["erase", "--before-baseline", "--yes"]),
        (
            "export",
            &["export", "--out", "out", "--sample", "1", "--plain"],
        ),
        ("completions", &["completions", "fish"]),
    ];
    let dry = [
        "run",
        "--dry-run",
        "--throttle",
        "500",
        "--progress-interval",
        "1ms",
    ];
    let sample = with_runs(true);
    let mut tried: BTreeSet<String> = BTreeSet::from(["run".to_owned()]);
    let mut kinds = BTreeSet::new();
    let mut see = |sample: &Sample, args: &[&str]| {
        let said = run_json(sample, args);
        assert_eq!(said.stderr, "", "{said:?}");
        assert!(matches!(said.code, Some(0..=3)), "{said:?}");
        for document in said.documents() {
            kinds.insert(document["kind"].as_str().unwrap().to_owned());
        }
        said.json()
    };
    assert_eq!(see(&sample, &dry)["kind"], "run");
    for (command, args) in lines {
        let answer = see(&sample, args);
        assert_ne!(answer["kind"], "error", "{answer}");
        tried.insert((*command).to_owned());
    }
    assert_eq!(see(&sample, &["show", "17"])["kind"], "error");
    // A run in a service.
    let sample = with_runs(false);
    let service = in_progress(&sample);
    let mut see = |args: &[&str]| see(&sample, &[args, &["--socket", "./control"]].concat());
    for args in [
        &["status"][..],
        &["plan"],
        &["throttle", "60"],
        &["pause"],
        &["unpause"],
        &["cancel"],
        &["watch"],
    ] {
        tried.insert(args[0].to_owned());
        see(args);
    }
    drop(service);
    assert_eq!(tried, commands().into_iter().collect());
    let schema = schema();
    let choice = schema["oneOf"].as_array().unwrap().iter();
    let all = choice.map(|one| one["$ref"].as_str().unwrap().rsplit('/').next().unwrap());
    assert_eq!(kinds, all.map(ToOwned::to_owned).collect());
}

#[test]
fn failures_are_documents_of_the_schema_too() {
    let sample = Sample::empty();
    for args in [
        &["status"][..],
        &["plan"],
        &["runs"],
        &["show", "last"],
        &["plan", "--workflow", "laon"],
    ] {
        let said = run_json(&sample, args).exits(1);
        assert_eq!(said.stderr, "", "{args:?}");
        let document = said.json();
        assert_eq!(document["kind"], "error", "{args:?}");
        assert_eq!(document["exit"], 1, "{args:?}");
    }
}
