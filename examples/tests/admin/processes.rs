//! Processes are listed one by one, by what an operator knows of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{bare, finish, run, run_json};
use crate::read_only_commands::unreadable_amount;
use crate::sample::Sample;
use crate::service::Service;

fn streams(answer: &Value) -> Vec<String> {
    let processes = answer["processes"].as_array().unwrap().iter();
    processes
        .map(|process| process["stream"].as_str().unwrap().to_owned())
        .collect()
}

fn listed(sample: &Sample, args: &[&str]) -> Vec<String> {
    let all = [&["processes", "--limit", "1000"], args].concat();
    streams(&run_json(sample, &all).exits(0).json())
}

#[test]
fn processes_are_listed_by_version_run_and_flag() {
    let sample = Sample::new();
    sample.change(async |store| unreadable_amount(&store, "x1").await);
    run_json(&sample, &["run", "--yes", "--limit", "7"]).exits(0);
    let moved = listed(&sample, &["--at", "loan@2013"]);
    assert_eq!(moved.len(), 7);
    assert_eq!(listed(&sample, &["--migrated-by", "last"]), moved);
    assert_eq!(listed(&sample, &["--at", "loan@2011"]).len(), 234);
    assert_eq!(listed(&sample, &["--workflow", "loan"]).len(), 241);
    assert_eq!(listed(&sample, &["--workflow", "import"]).len(), 1);
    let rest = run_json(&sample, &["run", "--yes"]).exits(2).json();
    assert_eq!(rest["failed"], 1);
    // Only the last migration counts, and the first run keeps its own.
    assert_eq!(listed(&sample, &["--migrated-by", "1"]), moved);
    assert_eq!(listed(&sample, &["--migrated-by", "2"]).len(), 233);
    assert_eq!(listed(&sample, &["--failed-in", "2"]), ["process/bank/x1"]);
    assert_eq!(listed(&sample, &["--failed-in", "1"]), Vec::<String>::new());
    run(&sample, &["hold", &moved[0], "--reason", "in court"]).exits(0);
    assert_eq!(listed(&sample, &["--held"]), moved[..1]);
    let none = run(&sample, &["processes", "--held", "--tenant", "shop"]);
    assert_eq!(none.exits(0).stdout, "no processes\n");
    let held = run(&sample, &["processes", "--held"]).exits(0).stdout;
    assert!(held.contains("FLAGS") && held.contains("  held"), "{held}");
    let (finished, open) = (
        listed(&sample, &["--finished"]),
        listed(&sample, &["--in-flight"]),
    );
    assert_eq!(finished.len() + open.len(), 242);
}

#[test]
fn a_long_list_is_continued_by_the_suggested_command() {
    let sample = Sample::new();
    let args = ["processes", "--at", "loan@2011", "--limit", "100"];
    let mut answer = run_json(&sample, &args).exits(0).json();
    let (mut all, mut pages) = (BTreeSet::new(), 0);
    loop {
        pages += 1;
        all.extend(streams(&answer));
        let Some(next) = answer["next"][0].as_str() else {
            break;
        };
        let next: Vec<&str> = next.split(' ').skip(1).collect();
        let mut command = bare(&next);
        command.arg("--json").current_dir(sample.folder());
        answer = finish(command).exits(0).json();
    }
    assert_eq!((pages, all.len()), (3, 240));
}

/// Several processes are held at once, in the store or by the service that has it open.
#[test]
fn processes_of_a_file_are_held_and_released() {
    let sample = Sample::new();
    let some = listed(&sample, &["--prefix", "process/bank/50000"]);
    assert!(some.len() > 2, "{some:?}");
    let file = sample.folder().join("in-court.txt");
    std::fs::write(&file, some[1..].join("\n")).unwrap();
    let hold = [
        "hold",
        &some[0],
        "--from",
        "in-court.txt",
        "--reason",
        "in court",
    ];
    let held = run_json(&sample, &hold).exits(0).json();
    assert_eq!(held["processes"].as_array().unwrap().len(), some.len());
    assert_eq!(listed(&sample, &["--held"]), some);
    // Nothing is changed if one of them does not exist.
    std::fs::write(&file, format!("{}\nprocess/bank/none\n", some[0])).unwrap();
    let refused = run(&sample, &["release", "--from", "in-court.txt"]).exits(1);
    assert!(
        refused
            .stderr
            .contains("stream process/bank/none does not exist")
    );
    assert_eq!(listed(&sample, &["--held"]), some);
    std::fs::write(&file, "\n").unwrap();
    let refused = run(&sample, &["release", "--from", "in-court.txt"]).exits(1);
    assert!(
        refused.stderr.contains("the file names no stream"),
        "{refused:?}"
    );

    let mut service = Service::start(sample);
    let released = service.ask(&["release", &some[0], &some[1], "--reason", "paid"]);
    let released = released.exits(0).json();
    assert_eq!(released["processes"][1]["was_held"], true);
    let missing = service
        .ask(&["hold", "process/bank/none", "--reason", "x"])
        .exits(1);
    let message = missing.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("process/bank/none does not exist"),
        "{message}"
    );
    service
        .ask(&["hold", &some[0], "--reason", "again"])
        .exits(0);
    let ran = service.ask(&["run", "--yes"]).exits(0).json();
    assert_eq!(ran["skipped_by"]["held"], some.len() - 1);
    service.end().exits(0);
    let inspect = ["inspect", &some[0]];
    let shown = run_json(&service.sample, &inspect).exits(0).json();
    let holds = shown["holds"].as_array().unwrap();
    let reasons: Vec<_> = holds.iter().map(|hold| hold["reason"].clone()).collect();
    assert_eq!(reasons, ["in court", "paid", "again"]);
}

#[test]
fn a_run_is_for_the_streams_of_a_file_and_for_no_more_processes_than_expected() {
    let sample = Sample::new();
    let some = listed(&sample, &["--prefix", "process/bank/50000"]);
    std::fs::write(sample.folder().join("some.txt"), some.join("\n")).unwrap();
    let few = (some.len() - 1).to_string();
    let refused = run(
        &sample,
        &[
            "run",
            "--yes",
            "--streams-from",
            "some.txt",
            "--at-most",
            &few,
        ],
    );
    let refused = refused.exits(4);
    assert!(
        refused
            .stderr
            .contains(&format!("more than --at-most {few}")),
        "{refused:?}"
    );
    assert!(
        refused.stderr.contains("plan --streams-from some.txt"),
        "{refused:?}"
    );
    let all = some.len().to_string();
    let ran = [
        "run",
        "--yes",
        "--streams-from",
        "some.txt",
        "--at-most",
        &all,
    ];
    let ran = run_json(&sample, &ran).exits(0).json();
    assert_eq!(ran["migrated"], some.len());
    assert_eq!(listed(&sample, &["--migrated-by", "last"]), some);
    // The record has the whole list.
    let shown = run_json(&sample, &["show", "last"]).exits(0).json();
    assert_eq!(
        shown["plan"]["selected"]["streams"],
        serde_json::json!(some)
    );
}
