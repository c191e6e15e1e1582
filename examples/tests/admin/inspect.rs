//! `inspect`: one process, with all that is known of it.

use serde_json::Value;

use crate::golden::assert_golden;
use crate::masking;
use crate::program::{Ran, command, finish, run, run_json};
use crate::sample::Sample;
use crate::schema::assert_valid;

const STREAM: &str = "process/bank/500007";

fn inspect(sample: &Sample, more: &[&str]) -> Ran {
    run(sample, &[&["inspect", STREAM], more].concat()).exits(0)
}

fn document(sample: &Sample, more: &[&str]) -> Value {
    let said = run_json(sample, &[&["inspect", STREAM], more].concat()).exits(0);
    assert_eq!(said.stderr, "");
    let document = said.json();
    assert_valid(&document);
    document
}

#[test]
fn a_process_is_shown_with_what_a_run_would_make_of_it() {
    let sample = Sample::new();
    let before = sample.files();
    let said = inspect(&sample, &["--limit", "4"]);
    assert_golden("inspect/behind.txt", &masking::text(&said.stdout));
    let said = document(&sample, &["--limit", "2", "--payloads"]);
    assert_eq!(said["change"]["when"], "next");
    assert_eq!(said["change"]["before"]["application"], "500007");
    assert_golden("inspect/behind.json", &masking::json(&said));
    assert!(sample.files() == before, "looking changed the store");
}

#[test]
fn a_process_is_shown_with_what_its_last_migration_made_of_it() {
    let sample = Sample::new();
    let ahead = document(&sample, &[]);
    run(&sample, &["run", "--yes"]).exits(0);
    let said = inspect(&sample, &["--limit", "1"]);
    assert_golden("inspect/moved.txt", &masking::text(&said.stdout));
    let behind = document(&sample, &["--limit", "1"]);
    assert_golden("inspect/moved.json", &masking::json(&behind));
    // What was foretold is what came.
    assert_eq!(behind["change"]["when"], "last");
    for side in ["from", "to", "before", "after"] {
        assert_eq!(ahead["change"][side], behind["change"][side], "{side}");
    }
    assert_ne!(behind["change"]["before"], behind["change"]["after"]);
}

#[test]
fn events_are_paged_and_say_what_they_hold_when_asked() {
    let sample = Sample::new();
    let all = document(&sample, &["--limit", "1000"]);
    let events = all["events"].as_array().unwrap();
    assert_eq!(events.len() as u64, all["sequence"].as_u64().unwrap());
    assert!(events.iter().all(|event| event["payload"].is_null()));
    assert_eq!(all["next"], serde_json::json!([]));

    let page = document(&sample, &["--after", "1", "--limit", "2", "--payloads"]);
    let numbers: Vec<u64> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["sequence"].as_u64().unwrap())
        .collect();
    assert_eq!(numbers, [2, 3]);
    assert!(page["events"][0]["payload"].is_object(), "{page}");
    assert_eq!(
        page["next"][0],
        format!("loans-admin --store ./loans inspect --after 3 --limit 2 --payloads {STREAM}")
    );
    // Only which events are shown is another.
    assert_eq!(page["change"], all["change"]);
}

#[test]
fn what_an_operator_decided_is_shown() {
    let sample = Sample::new();
    run(
        &sample,
        &["hold", STREAM, "--actor", "ann", "--reason", "in court"],
    )
    .exits(0);
    let said = document(&sample, &[]);
    assert_eq!(
        (
            &said["held"],
            &said["hold"]["actor"],
            &said["hold"]["reason"]
        ),
        (&true.into(), &"ann".into(), &"in court".into())
    );
    let said = inspect(&sample, &[]);
    assert!(said.stdout.contains("by ann: in court"), "{said:?}");
}

#[test]
fn colours_are_for_terminals_and_who_asks_for_them() {
    let sample = Sample::new();
    let plain = inspect(&sample, &[]);
    assert!(!plain.stdout.contains('\x1b'), "{plain:?}");
    let mut colored = command(&sample, &["inspect", STREAM, "--color", "always"]);
    colored.env_remove("NO_COLOR");
    let colored = finish(colored).exits(0);
    assert!(colored.stdout.contains("\x1b[31m-   "), "{colored:?}");
    assert!(colored.stdout.contains("\x1b[32m+   "), "{colored:?}");
}

#[test]
fn a_stream_that_is_not_there_is_told_in_one_sentence_with_the_one_that_was_meant() {
    let sample = Sample::new();
    let said = run(&sample, &["inspect", "process/bank/none"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: stream process/bank/none does not exist; check the tenant and the process in process/TENANT/PROCESS\n\
         next: loans-admin --store ./loans status\n"
    );
    let said = run(&sample, &["inspect", "bank/500007"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: stream bank/500007 does not exist; the stream of the process is process/bank/500007\n\
         next: loans-admin --store ./loans inspect process/bank/500007\n"
    );
}
