//! Failures in JSON: a reason for programs, what the failure is about, and the suggested
//! command as arguments.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};
use state_migration::SlateDbStore;

use crate::bad_store::in_runtime;
use crate::examples::with_runs;
use crate::interrupted::in_the_middle;
use crate::program::{bare, command, finish, run_json};
use crate::sample::Sample;
use crate::store_state::holder;

fn failure(mut command: Command, code: i32) -> Value {
    command.arg("--json");
    let said = finish(command).exits(code);
    let document = said.json();
    assert_eq!(document["kind"], "error", "{document}");
    document
}

#[test]
fn each_failure_has_its_reason() {
    let sample = Sample::new();
    let unbound = ["run", "--plan", "0123456789abcdef"];
    let plan = run_json(&sample, &["plan"]).exits(0).json();
    let store = plan["store_id"].as_str().unwrap()[..8].to_owned();
    let out_of_date = format!("0123456789abcdef-{store}");
    for (args, code, reason) in [
        (&["run"][..], 4, "confirmation_needed"),
        (&unbound, 4, "another_store"),
        (&["run", "--plan", &out_of_date], 4, "another_plan"),
        (&["show", "17"], 1, "no_such_run"),
        (&["resume", "last"], 1, "no_such_run"),
        (&["inspect", "process/bank/none"], 1, "no_such_process"),
        (
            &["hold", "process/bank/none", "--reason", "x"],
            1,
            "no_such_process",
        ),
        (&["plan", "--workflow", "laon"], 1, "unknown_workflow"),
        (&["statsu"], 1, "usage"),
        (&["pause"], 1, "usage"),
        (
            &["inspect", "process/bank/none", "--socket", "a"],
            1,
            "unsupported",
        ),
        (&["status", "--socket", "absent"], 1, "service_unreachable"),
        (&["status", "--settings", "absent.toml"], 1, "settings"),
        (&["status", "--log", "loud"], 1, "usage"),
    ] {
        let document = failure(command(&sample, args), code);
        assert_eq!(document["reason"], reason, "{args:?}: {document}");
    }
    for (args, reason) in [
        (["status", "--store", "ftp://host/loans"], "usage"),
        (["status", "--store", "absent"], "no_store"),
        (["status", "--store", "s3://bucket/loans"], "unsupported"),
    ] {
        let mut command = bare(&args);
        command.current_dir(sample.folder());
        assert_eq!(failure(command, 1)["reason"], reason, "{args:?}");
    }
    in_runtime(async {
        let service = SlateDbStore::open_local(sample.store()).await.unwrap();
        let document = failure(command(&sample, &["run", "--yes"]), 4);
        assert_eq!(document["reason"], "store_in_use");
        service.close().await.unwrap();
    });

    let sample = Sample::empty();
    fs::create_dir(sample.store()).unwrap();
    fs::write(sample.store().join("thesis.tex"), "\\begin").unwrap();
    let document = failure(command(&sample, &["run", "--yes"]), 1);
    assert_eq!(document["reason"], "store_unusable");

    let sample = Sample::new();
    in_runtime(async {
        let store = SlateDbStore::open_local(sample.store()).await.unwrap();
        store.db().put(b"mformat\0\x01", [3]).await.unwrap();
        store.close().await.unwrap();
    });
    let document = failure(command(&sample, &["status"]), 1);
    assert_eq!(document["reason"], "newer_format");
    let manifests = fs::read_dir(sample.store().join("manifest")).unwrap();
    let newest = manifests.map(|file| file.unwrap().path()).max().unwrap();
    fs::write(newest, b"x").unwrap();
    let document = failure(command(&sample, &["status"]), 1);
    assert_eq!(document["reason"], "store_damaged");
}

#[test]
fn a_failure_names_its_run_and_its_stream_and_the_next_command_as_arguments() {
    let sample = with_runs(true);
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    let id = |number: u64| {
        let runs = runs["runs"].as_array().unwrap().iter();
        let mut found = runs.filter(|run| run["number"] == number);
        found.next().unwrap()["run"].clone()
    };
    let document = failure(command(&sample, &["resume", "1"]), 1);
    assert_eq!(
        (&document["reason"], &document["run"], &document["stream"]),
        (&json!("nothing_to_do"), &id(1), &Value::Null)
    );

    let sample = Sample::new();
    let mut killed = in_the_middle(&sample);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let document = failure(command(&sample, &["run", "--yes"]), 4);
    let run = holder(&sample).unwrap();
    assert_eq!(
        (&document["reason"], &document["run"]),
        (&json!("interrupted_run"), &json!(run))
    );
    // A program can execute what is suggested.
    let next = document["next_args"][0].as_array().unwrap();
    let next: Vec<&str> = next.iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(next[0], "loans-admin");
    assert_eq!(document["next"], json!([next.join(" ")]));
    assert_eq!(document["next_means"], json!([""]));
    let mut resume = bare(&next[1..]);
    resume.current_dir(sample.folder());
    let said = finish(resume);
    assert!(matches!(said.code, Some(0 | 2)), "{said:?}");

    let stream = "process/bank/none";
    let document = failure(command(&sample, &["inspect", stream]), 1);
    assert_eq!(
        (&document["run"], &document["stream"]),
        (&Value::Null, &json!(stream))
    );
    let document = failure(bare(&["inspect", "--store", "absent", stream]), 1);
    assert_eq!(
        (&document["next"], &document["next_args"]),
        (&json!([]), &json!([]))
    );
}
