//! A program that does not fit the store: it has no migrations for the workflows of the
//! store, or it is older than some processes.

use state_migration::{EventStore, ExpectedSequence, NewEvent, SlateDbStore, StreamId, WorkflowId};

use crate::program::{run, run_json};
use crate::sample::Sample;
#[cfg(unix)]
use crate::service::Service;

async fn append(store: &SlateDbStore, stream: &str, workflow: &'static str, version: &'static str) {
    let version = WorkflowId::new(workflow, version);
    let event = NewEvent::new(version, "Began", 1, "{}").unwrap();
    let stream = StreamId::new(stream).unwrap();
    let none = ExpectedSequence::NoStream;
    store.append(&stream, none, vec![event]).await.unwrap();
}

#[test]
fn a_program_without_the_workflows_of_the_store_is_refused() {
    let sample = Sample::empty();
    sample.change(async |store| append(&store, "process/shop/1", "order", "1").await);
    let refused = run_json(&sample, &["run", "--yes"]).exits(4).json();
    let message = refused["message"].as_str().unwrap();
    assert!(
        message.contains(
            "this program has migrations of loan, but the store has processes of order only"
        ),
        "{message}"
    );
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    assert_eq!(runs["total"], 0);
    // An empty store is no store of another program.
    let empty = Sample::empty();
    empty.change(async |_| {});
    run(&empty, &["run", "--yes"]).exits(0);
}

#[test]
fn a_program_that_is_older_than_some_processes_is_refused_unless_that_is_allowed() {
    let sample = Sample::new();
    sample.change(async |store| append(&store, "process/bank/newer", "loan", "2099").await);
    for args in [&["run", "--yes"][..], &["run", "--yes", "--or-resume"]] {
        let refused = run_json(&sample, args).exits(4).json();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("processes at loan@2099"), "{message}");
        assert!(message.contains("--allow-newer"), "{message}");
    }
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    assert_eq!(runs["total"], 0);
    let ran = run_json(&sample, &["run", "--yes", "--allow-newer"]);
    let ran = ran.exits(2).json();
    assert_eq!((&ran["migrated"], &ran["failed"]), (&240.into(), &1.into()));
    assert_eq!(ran["failed_by_class"][0]["class"], "newer_than_program");
}

/// The test fails if the service does not check its program, or if the tool does not send
/// `--allow-newer`.
#[cfg(unix)]
#[test]
fn a_service_that_is_older_than_some_processes_refuses_runs_unless_that_is_allowed() {
    let sample = Sample::new();
    run(&sample, &["run", "--yes", "--limit", "3"]).exits(0);
    sample.change(async |store| append(&store, "process/bank/newer", "loan", "2099").await);
    let service = Service::start(sample);
    for args in [
        &["run", "--yes"][..],
        &["run", "--yes", "--or-resume"],
        &["run", "--dry-run"],
        &["verify", "1"],
        &["undo", "1", "--dry-run"],
        &["undo", "1", "--yes"],
        &["redo", "1", "--yes"],
    ] {
        let refused = service.ask(args).exits(4).json();
        assert_eq!(refused["reason"], "other_program", "{args:?}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("processes at loan@2099"), "{message}");
    }
    let plan = service.ask(&["plan"]).exits(0).json();
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("a run would be refused: the store has processes at loan@2099"));
    assert_eq!(plan["next"], serde_json::json!([]));
    service.ask(&["verify", "1", "--allow-newer"]).exits(0);
    let ran = service.ask(&["run", "--yes", "--allow-newer"]);
    let ran = ran.exits(2).json();
    assert_eq!((&ran["migrated"], &ran["failed"]), (&237.into(), &1.into()));
    let retry = service.ask(&["retry", "last"]).exits(4).json();
    assert_eq!(retry["reason"], "other_program", "{retry}");
}
