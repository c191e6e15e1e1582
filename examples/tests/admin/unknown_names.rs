//! Unknown names on the command line, which would otherwise look like an empty
//! store.

use serde_json::Value;
use state_migration::{EventStore, ExpectedSequence, NewEvent, StreamId, WorkflowId};

use crate::examples::in_progress;
use crate::program::{Ran, bare, finish, run, run_json};
use crate::read_only_commands::unreadable_amount;
use crate::sample::Sample;
use crate::shell::typed;

fn warnings(said: &Ran) -> Vec<String> {
    let said = said.json();
    let warnings = said["warnings"].as_array().unwrap().iter();
    let text = |warning: &Value| match warning {
        Value::String(text) => text.clone(),
        of_stream => of_stream["message"].as_str().unwrap().to_owned(),
    };
    warnings.map(text).collect()
}

const SELECTIONS: [(&[&str], &str); 4] = [
    (
        &["--tenant", "ban"],
        "no process has tenant ban; the store has tenants bank",
    ),
    (
        &["--stream", "process/bank/none"],
        "stream process/bank/none does not exist; streams of processes are named process/TENANT/PROCESS",
    ),
    (
        &["--prefix", "bank/"],
        "no stream starts with bank/; streams of processes are named process/TENANT/PROCESS",
    ),
    (
        &["--tenant", "bank", "--prefix", "import"],
        "no process matches the selection (tenant bank, streams with prefix import); remove a part of it",
    ),
];

#[test]
fn a_selection_of_nothing_says_what_is_not_there() {
    let sample = Sample::new();
    for (options, says) in SELECTIONS {
        let plan = run_json(&sample, &[&["plan"], options].concat()).exits(0);
        assert_eq!(warnings(&plan), [says]);
        assert_eq!(
            (&plan.json()["due"], &plan.json()["next"]),
            (&0.into(), &serde_json::json!([]))
        );
    }
    let (options, says) = SELECTIONS[0];
    let said = run_json(&sample, &[&["run", "--yes"], options].concat()).exits(0);
    assert_eq!(warnings(&said), [says]);
    let said = run(&sample, &[&["run", "--dry-run"], options].concat()).exits(0);
    assert!(
        said.stdout.contains(&format!("warning: {says}\n")),
        "{said:?}"
    );
    // Of what is there, nothing is said.
    let plan = run_json(&sample, &["plan", "--tenant", "bank", "--limit", "1"]).exits(0);
    assert!(warnings(&plan).is_empty());
}

#[test]
fn a_workflow_of_which_there_is_nothing_is_refused() {
    let sample = Sample::new();
    let said = run(&sample, &["status", "--workflow", "laon"]).exits(1);
    assert_eq!(said.stdout, "");
    assert_eq!(
        said.stderr,
        "error: workflow \"laon\" has no processes and is not linked into this program (known workflows: import, loan); correct --workflow\n\
         next: loans-admin --store ./loans status\n"
    );
    run_json(
        &sample,
        &["status", "--workflow", "loan", "--workflow", "laon"],
    )
    .exits(1);
    let both = ["status", "--workflow", "loan", "--workflow", "import"];
    let both = run_json(&sample, &both).exits(0).json();
    assert_eq!(both["versions"].as_array().unwrap().len(), 2, "{both}");
}

#[test]
fn a_service_is_asked_for_names_that_it_knows() {
    let sample = Sample::new();
    let _service = in_progress(&sample);
    let via = |args: &[&str]| {
        let mut command = bare(&[args, &["--socket", "./control", "--json"]].concat());
        command.current_dir(sample.folder());
        finish(command)
    };
    for command in [
        &["status"][..],
        &["plan"],
        &["run", "--yes"],
        &["run", "--dry-run"],
    ] {
        let said = via(&[command, &["--workflow", "laon"]].concat())
            .exits(1)
            .json();
        assert_eq!(
            said["message"],
            "the service has no migration for workflow \"laon\" (workflows with migrations: loan); correct --workflow, or link the crate with its migrations"
        );
    }
    let status = via(&["status", "--workflow", "loan"]).exits(0).json();
    assert!(
        !status["versions"].as_array().unwrap().is_empty(),
        "{status}"
    );
    for (options, says) in &SELECTIONS[..3] {
        let plan = via(&[&["plan"], *options].concat()).exits(0);
        let warnings = warnings(&plan);
        assert!(warnings.iter().any(|it| it == says), "{warnings:?}");
    }
}

/// Each is a process that cannot be converted.
const ODD: [&str; 4] = [
    "-x",
    "it's  \"quoted\"",
    "$(touch gone) `touch gone` *;&|>#~!",
    "日本 é back\\slash",
];

/// Neither a store nor a stream is taken for an option.
#[test]
fn names_that_begin_like_options_are_named_as_they_can_be_typed() {
    let sample = Sample::new();
    sample.change(async |store| {
        for stream in ["-x", "--yes"] {
            let stream = StreamId::new(stream).unwrap();
            let version = WorkflowId::new("loan", "2011");
            let events = ["ApplicationSubmitted", "Unheard"];
            let events = events.map(|name| NewEvent::new(version.clone(), name, 1, "{}").unwrap());
            let appended = store.append(&stream, ExpectedSequence::NoStream, events.into());
            appended.await.unwrap();
        }
    });
    std::fs::rename(sample.store(), sample.folder().join("-loans")).unwrap();
    let first = |line: &str, code| typed(line, &sample, code).next().remove(0);
    let all = first("loans-admin plan --store=-loans", 0);
    let show = first(&all, 2);
    let shown = typed(&show, &sample, 0);
    let inspect = shown
        .next()
        .into_iter()
        .find(|line| line.contains("inspect"));
    let inspected = typed(&inspect.unwrap(), &sample, 0);
    assert!(
        inspected.stdout.starts_with("stream     -"),
        "{inspected:?}"
    );
    let page = first(&format!("{show} --limit 1"), 0);
    assert!(page.contains(" --after=-"), "{page}");
    typed(&page, &sample, 0);
    let inspect = "loans-admin --store=-loans inspect --limit 1 -- -x";
    let inspect = first(inspect, 0);
    typed(&inspect, &sample, 0);
    for stream in ["-x", "--yes"] {
        let hold = format!("loans-admin hold --reason x --store=-loans -- {stream}");
        let release = first(&hold, 0);
        // Without a sample, since these events cannot be read.
        let plan = first(&release, 0) + " --sample 0";
        let planned = typed(&plan, &sample, 0);
        let says = format!("--stream={stream}");
        assert!(planned.next()[0].contains(&says), "{planned:?}");
    }
}

/// Whatever a stream is called, the lines that name it can be typed.
#[test]
fn streams_with_odd_names_are_named_as_a_shell_takes_them() {
    let sample = Sample::new();
    sample.change(async |store| {
        for process in ODD {
            unreadable_amount(&store, process).await;
        }
    });
    let all = run(&sample, &["run", "--yes"]).exits(2);
    assert!(all.stdout.contains("4 refused"), "{all:?}");
    for process in ODD {
        let stream = format!("process/bank/{process}");
        let reason = format!("--reason={process}");
        let said = run(&sample, &["hold", &stream, &reason]).exits(0);
        let release = said.next().remove(0);
        let said = typed(&release, &sample, 0);
        // Without a sample, of which all would fail.
        let plan = said.next().remove(0) + " --sample 0";
        let said = typed(&plan, &sample, 0);
        let run = said.next().remove(0);
        let said = typed(&run, &sample, 2);
        assert!(
            said.stdout.contains(&format!("failed: {stream}")),
            "{said:?}"
        );
        let said = typed(&said.next()[0], &sample, 0);
        let said = typed(&said.next()[0], &sample, 0);
        assert!(
            said.stdout.starts_with(&format!("stream     {stream}\n")),
            "{said:?}"
        );
    }
    // And page by page.
    let mut page = run(&sample, &["show", "1", "--limit", "1"]).exits(0);
    for _ in 1..ODD.len() {
        page = typed(&page.next()[0], &sample, 0);
    }
    assert!(!page.next()[0].contains("--after"), "{page:?}");
    assert!(!sample.folder().join("gone").exists());
}

#[test]
fn a_list_of_processes_says_which_of_its_names_match_nothing() {
    let sample = Sample::new();
    for (args, says) in [
        (
            ["--at", "loan"],
            "no process is at loan; give a version as NAME@VERSION",
        ),
        (["--at", "loan@9999"], "no process is at loan@9999;"),
        (["--tenant", "x"], "no process has tenant x;"),
        (["--workflow", "laon"], "no process is of workflow laon;"),
    ] {
        let said = run(&sample, &[&["processes"][..], &args].concat()).exits(0);
        assert!(said.stderr.contains(says), "{said:?}");
    }
    let held = run(&sample, &["processes", "--held"]).exits(0);
    assert_eq!(held.stderr, "");
}
