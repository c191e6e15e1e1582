//! The commands that only read, over stores at every stage of a migration: their
//! exact output. They change nothing.

use state_migration::{
    EventStore, ExpectedSequence, MigrationRegistry, MigrationReport, MigrationRunner, NewEvent,
    Process, ProcessId, ProcessIdentity, Runs, Selection, SlateDbStore, StreamId, TenantId,
    WorkflowId,
};
use state_migration_examples::import::TENANT;
use state_migration_examples::loan_2011::{Loan2011, LoanEvent2011};

use crate::golden::assert_golden;
use crate::masking;
use crate::program::{bare, finish, run, run_json};
use crate::sample::Sample;
use crate::suggested_commands::can_be_typed;

/// What a command says, as text and as JSON, is in the goldens of its name; it
/// exits with this code, and the store is the same afterwards.
#[track_caller]
fn looks(sample: &Sample, golden: &str, args: &[&str], code: i32) {
    let before = sample.files();
    let said = run(sample, args).exits(code);
    assert_eq!(said.stderr, "");
    assert_golden(&format!("{golden}.txt"), &masking::text(&said.stdout));
    can_be_typed(sample, &said);
    let next = said.next();
    let said = run_json(sample, args).exits(code);
    assert_eq!(said.stderr, "");
    let documents = said.documents();
    assert_eq!(documents.len(), 1);
    assert_golden(&format!("{golden}.json"), &masking::json(&documents[0]));
    assert_eq!(documents[0]["next"], serde_json::json!(next));
    assert!(sample.files() == before, "{args:?} changed the store");
}

/// An application of which the conversion says that its amount is no number.
pub(crate) async fn unreadable_amount(store: &SlateDbStore, process: &str) {
    let tenant = TenantId::new(TENANT).unwrap();
    let identity = ProcessIdentity::of::<Loan2011>(tenant, ProcessId::new(process).unwrap());
    let opened = Process::<Loan2011>::open(identity, store.clone(), store.clone()).await;
    let submitted = LoanEvent2011::ApplicationSubmitted {
        application: process.to_owned(),
        amount_requested: "a lot".to_owned(),
        submitted_at: "2011-10-01T09:00:00+02:00".to_owned(),
        at: "2011-10-01T09:00:00+02:00".to_owned(),
    };
    opened.unwrap().append(&[submitted]).await.unwrap();
}

/// A process at a version of which the binary knows nothing.
async fn stray(store: &SlateDbStore, process: &str, version: WorkflowId) {
    let stream = StreamId::new(format!("process/{TENANT}/{process}")).unwrap();
    let event = NewEvent::new(version, "Something", 1, "{}").unwrap();
    let appended = store.append(&stream, ExpectedSequence::NoStream, vec![event]);
    appended.await.unwrap();
}

async fn migrate(store: &SlateDbStore, selection: Selection, why: &str) -> MigrationReport {
    let linked = MigrationRegistry::linked().unwrap();
    let runner = MigrationRunner::new(linked, store.clone(), store.clone());
    runner
        .select(selection)
        .actor("ann")
        .reason(why)
        .run()
        .await
}

#[test]
fn a_new_store_waits_for_a_plan() {
    let sample = Sample::new();
    looks(&sample, "new/status", &["status"], 0);
    looks(&sample, "new/runs", &["runs"], 0);
    looks(&sample, "new/plan", &["plan"], 0);
    let canary = [
        "plan",
        "--workflow",
        "loan",
        "--percent",
        "5",
        "--sample",
        "3",
    ];
    looks(&sample, "new/plan_of_a_share", &canary, 0);
    let none = ["plan", "--prefix", "process/nobody/", "--in-flight"];
    looks(&sample, "new/plan_of_no_process", &none, 0);
}

#[test]
fn a_store_in_the_middle_says_what_failed_and_what_is_left() {
    let sample = Sample::new();
    sample.change(async |store| {
        for process in ["x1", "x2", "x3", "x4"] {
            unreadable_amount(&store, process).await;
        }
        stray(&store, "old", WorkflowId::new("loan", "2009")).await;
        stray(&store, "future", WorkflowId::new("loan", "2099")).await;
        let bank = Selection::all().first(40);
        let report = migrate(&store, bank, "canary of release 7").await;
        assert_eq!(report.migrated, 40, "{report}");
        let rest = Selection::all().prefix("process/bank/x");
        let report = migrate(&store, rest, "release 7").await;
        assert_eq!((report.migrated, report.error_count), (0, 4), "{report}");
        let runs = Runs::of(&store).unwrap();
        let held = StreamId::new(format!("process/{TENANT}/x4")).unwrap();
        runs.hold(&held, "bob", "on paper").await.unwrap();
    });
    looks(&sample, "middle/status", &["status"], 0);
    looks(
        &sample,
        "middle/status_of_one",
        &["status", "--workflow", "import"],
        0,
    );
    looks(&sample, "middle/runs", &["runs"], 0);
    looks(&sample, "middle/runs_limited", &["runs", "--limit", "1"], 0);
    looks(&sample, "middle/plan", &["plan"], 0);
    looks(&sample, "middle/show_first", &["show", "1"], 0);
    looks(&sample, "middle/show_last", &["show", "last"], 0);
    let first_page = ["show", "2", "--class", "refused", "--limit", "3"];
    looks(&sample, "middle/show_page", &first_page, 0);
    let of_none = ["show", "2", "--class", "panic"];
    looks(&sample, "middle/show_none", &of_none, 0);
    let next = run_json(&sample, &first_page).json()["listed"]["next_after"].clone();
    assert_eq!(next, "process/bank/x3");
    let second_page = [&first_page[..], &["--after", "process/bank/x3"]].concat();
    looks(&sample, "middle/show_end", &second_page, 0);
}

#[test]
fn a_store_that_a_program_has_open_is_looked_at_beside_it() {
    let sample = Sample::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let opened = SlateDbStore::open_local(sample.store());
    let store = runtime.block_on(opened).unwrap();
    let status = run_json(&sample, &["status"]).exits(0).json();
    assert_eq!(status["in_use"], true);
    let by = &status["opened_by"];
    assert_eq!(
        (&by["pid"], &by["alive"]),
        (&std::process::id().into(), &true.into())
    );
    let plan = run_json(&sample, &["plan"]).exits(0).json();
    for said in [&status, &plan] {
        let warning = said["warnings"][0].as_str().unwrap();
        assert!(warning.contains(" has this store open (since 20"), "{said}");
    }
    // The other program was not fenced.
    runtime.block_on(async {
        unreadable_amount(&store, "x1").await;
        store.close().await.unwrap();
    });
    let status = run_json(&sample, &["status"]).exits(0).json();
    assert_eq!(status["in_use"], false);
    assert_eq!(status["versions"][1]["processes"], 241);
}

#[test]
fn what_is_linked_is_listed_and_drawn_without_a_store() {
    let empty = Sample::empty();
    for (golden, args) in [
        ("linked/migrations", &["migrations"][..]),
        ("linked/graph", &["graph"]),
        ("linked/graph_mermaid", &["graph", "--format", "mermaid"]),
        ("linked/graph_dot", &["graph", "--format", "dot"]),
        ("linked/graph_svg", &["graph", "--format", "svg"]),
    ] {
        let said = finish(bare(args)).exits(0);
        assert_golden(&format!("{golden}.txt"), &said.stdout);
        let said = finish(bare(&[args, &["--json"]].concat())).exits(0);
        assert_golden(&format!("{golden}.json"), &masking::json(&said.json()));
    }
    assert!(!empty.store().exists());
}

#[test]
fn every_shell_gets_completions_of_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = finish(bare(&["completions", shell])).exits(0).stdout;
        for word in ["loans-admin", "status", "release", "percent"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        let said = finish(bare(&["completions", shell, "--json"]))
            .exits(0)
            .json();
        assert_eq!(
            (&said["shell"], &said["script"]),
            (&shell.into(), &script.into())
        );
    }
}

#[test]
fn a_run_that_is_not_there_is_answered_with_where_to_look() {
    let sample = Sample::new();
    let said = run(&sample, &["show", "last"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: the store has no runs yet; plan a run first\nnext: loans-admin --store ./loans plan\n"
    );
    can_be_typed(&sample, &said);
    sample.change(async |store| {
        migrate(&store, Selection::all().first(1), "").await;
    });
    let said = run(&sample, &["show", "17"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: no run \"17\" in the store; give a number, an id, the start of an id, or `last`\nnext: loans-admin --store ./loans runs\n"
    );
    let id = run_json(&sample, &["show", "1"]).json()["run"].clone();
    let start = id.as_str().unwrap()[..8].to_uppercase();
    let again = run_json(&sample, &["show", &start]).exits(0).json();
    assert_eq!(again["run"], id);
}

#[test]
fn a_plan_for_a_workflow_that_has_no_migration_is_refused() {
    let sample = Sample::new();
    let said = run(&sample, &["plan", "--workflow", "laon"]).exits(1);
    assert_eq!(
        said.stderr,
        "error: this program has no migration for workflow \"laon\" (workflows with migrations: loan); correct --workflow, or link the crate with its migrations\n"
    );
}

#[test]
fn the_fingerprint_is_that_of_the_same_plan_elsewhere() {
    let sample = Sample::new();
    // The rest is of the store.
    let plan = |args: &[&str]| {
        let plan = run_json(&sample, args).exits(0).json();
        plan["fingerprint"].as_str().unwrap()[..16].to_owned()
    };
    let linked = MigrationRegistry::linked().unwrap();
    let store = state_migration::MemoryStore::new();
    let runner = MigrationRunner::new(linked, store.clone(), store);
    let all = runner.plan().unwrap().fingerprint.to_string();
    assert_eq!(plan(&["plan"]), all);
    let runner = runner.select(Selection::all().percent(5.0).in_flight());
    let runner = runner.check_determinism(true).count_up_to_date(true);
    let share = runner.plan().unwrap().fingerprint.to_string();
    let args = [
        "plan",
        "--percent",
        "5",
        "--in-flight",
        "--check-determinism",
        "--count-all",
    ];
    assert_eq!(plan(&args), share);
    assert_ne!(all, share);
}
