//! Processes are listed one by one, by what an operator knows of them.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::program::{bare, finish, run, run_json};
use crate::read_only_commands::unreadable_amount;
use crate::sample::Sample;

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
