//! `run`, `retry`, `hold` and `release`: what they ask for, what they do, and
//! what they refuse.

use std::fs::File;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::golden::assert_golden;
use crate::masking;
use crate::program::{Ran, command, finish, program, run, run_json, wait};
use crate::sample::Sample;
use crate::schema::assert_valid;
use crate::store_state::{first_stream, stands};
use crate::suggested_commands::can_be_typed;

/// Control codes of a terminal.
#[track_caller]
fn is_plain(said: &Ran) {
    for text in [&said.stdout, &said.stderr] {
        assert!(!text.contains('\x1b') && !text.contains('\r'), "{said:?}");
    }
}

fn fingerprint(sample: &Sample, args: &[&str]) -> String {
    let plan = run_json(sample, &[&["plan"], args].concat())
        .exits(0)
        .json();
    plan["fingerprint"].as_str().unwrap().to_owned()
}

#[test]
fn an_unconfirmed_run_is_refused_and_changes_nothing() {
    let sample = Sample::new();
    let before = sample.files();
    let said = run(&sample, &["run", "--percent", "5"]).exits(4);
    assert_eq!(said.stdout, "");
    assert_eq!(
        said.stderr,
        "error: a run changes the store and needs confirmation; give --plan with the fingerprint that `plan` prints, or give --yes\n\
         next: loans-admin --store ./loans plan --percent 5\n"
    );
    can_be_typed(&sample, &said);
    let right = fingerprint(&sample, &[]);
    let wrong = format!("0123456789abcdef{}", &right[16..]);
    let said = run_json(&sample, &["run", "--plan", &wrong])
        .exits(4)
        .json();
    assert_eq!((&said["kind"], &said["exit"]), (&"error".into(), &4.into()));
    let message = said["message"].as_str().unwrap();
    assert!(
        message.contains(&wrong) && message.contains(&right),
        "{message}"
    );
    assert_eq!(said["next"][0], "loans-admin --store ./loans plan");
    // The plan of other processes is another one.
    run(&sample, &["run", "--plan", &right, "--percent", "5"]).exits(4);
    let said = run(&sample, &["run", "--plan", "x", "--yes"]).exits(1);
    assert!(said.stderr.contains("--plan"), "{said:?}");
    assert!(sample.files() == before);
}

#[test]
fn a_run_by_its_plan_moves_all_of_them_and_says_so() {
    let sample = Sample::new();
    let plan = fingerprint(&sample, &[]);
    let run_by_plan = [
        "run",
        "--plan",
        &plan,
        "--actor",
        "ann",
        "--reason",
        "release 7",
    ];
    let said = run(&sample, &run_by_plan).exits(0);
    is_plain(&said);
    assert_golden("run/done.txt", &masking::text(&said.stdout));
    can_be_typed(&sample, &said);
    assert_eq!(stands(&sample).at("loan@2013"), 240);

    // Again, there is nothing to do, so the store is not opened for writing.
    let before = sample.files();
    let said = run_json(&sample, &["run", "--yes"]).exits(0);
    assert_eq!(said.stderr, "");
    assert_golden("run/nothing-left.json", &masking::json(&said.json()));
    assert!(sample.files() == before);
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    let [first] = runs["runs"].as_array().unwrap().as_slice() else {
        panic!("{runs}")
    };
    assert_eq!(
        (&first["actor"], &first["reason"]),
        (&"ann".into(), &"release 7".into())
    );
    let migrations = stands(&sample).migrations;
    assert_eq!(migrations, [(1, 240)].into());
}

#[test]
fn a_run_signs_with_the_name_of_the_user() {
    let sample = Sample::new();
    let signs = |command: Command| {
        finish(command).exits(0);
        let runs = run_json(&sample, &["runs"]).json();
        runs["runs"][0]["actor"].as_str().unwrap().to_owned()
    };
    let run = || {
        let mut command = command(&sample, &["run", "--yes", "--limit", "1"]);
        command.env_remove("USER").env_remove("LOGNAME");
        command
    };
    // As under cron, where no variable says it.
    let id = finish(program("id", &["-un"])).exits(0).stdout;
    assert_eq!(signs(run()), id.trim());
    // The system knows better than a variable.
    let mut other = run();
    other.env("USER", "bob");
    assert_eq!(signs(other), id.trim());
    // As in a container, where a user need not have a name.
    let root = finish(program("id", &["-u"])).stdout.trim() == "0";
    if root {
        let nameless = |mut command: Command| {
            std::os::unix::process::CommandExt::uid(&mut command, 64_123);
            command
        };
        let opened = finish(program(
            "chmod",
            &["-R", "a+rwX", sample.folder().to_str().unwrap()],
        ));
        opened.exits(0);
        assert_eq!(signs(nameless(run())), "user 64123");
        let mut named = run();
        named.env("USER", "bob");
        assert_eq!(signs(nameless(named)), "bob");
    }
}

/// Where the answer goes nowhere, that is said, and how the run ended.
#[test]
fn an_answer_that_cannot_be_written_is_reported() {
    let sample = Sample::new();
    let full = |args: &[&str]| {
        let mut command = command(&sample, args);
        command.stdout(File::options().write(true).open("/dev/full").unwrap());
        command.stderr(Stdio::piped());
        wait(command.spawn().unwrap()).exits(1).stderr
    };
    let says = "cannot write the answer to standard output: No space left on device";
    for args in [
        &["status"][..],
        &["migrations"],
        &["--help"],
        &["completions", "zsh"],
    ] {
        let stderr = full(args);
        assert!(
            stderr.starts_with(&format!("error: {says}")),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
    let stderr = full(&["status", "--json"]);
    let document: Value = serde_json::from_str(&stderr).unwrap();
    assert_valid(&document);
    assert!(
        document["message"].as_str().unwrap().starts_with(says),
        "{document}"
    );
    let stderr = full(&["run", "--yes", "--progress-interval", "1h"]);
    assert!(
        stderr.contains("; the run has ended, and its result is recorded\n"),
        "{stderr}"
    );
    assert!(
        stderr.ends_with("\nnext: loans-admin --store ./loans show 1\n"),
        "{stderr}"
    );
    assert_eq!(stands(&sample).at("loan@2013"), 240);
}

/// As `| head -1` does, which has seen enough.
#[test]
fn a_closed_output_does_not_stop_a_run() {
    let sample = Sample::new();
    run(&sample, &["run", "--yes", "--limit", "3"]).exits(0);
    for args in [
        &["--help"][..],
        &["migrations"],
        &["graph", "--format", "dot"],
        &["status"],
        &["plan", "--json"],
        &["show", "1"],
        &["inspect", "process/bank/500007", "--payloads"],
        &["completions", "zsh"],
    ] {
        let mut command = command(&sample, args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let said = wait(child).exits(0);
        assert_eq!(said.stderr, "", "{args:?}");
    }
    let mut logs = command(&sample, &["status", "--log", "trace"]);
    logs.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = logs.spawn().unwrap();
    drop(child.stderr.take());
    assert!(wait(child).exits(0).stdout.contains("loan@2013"));
}

#[test]
fn a_dry_run_says_what_a_run_would_do_and_writes_nothing() {
    let sample = Sample::new();
    let before = sample.files();
    let said = run(&sample, &["run", "--dry-run"]).exits(0);
    is_plain(&said);
    assert_golden("run/dry.txt", &masking::text(&said.stdout));
    can_be_typed(&sample, &said);
    let said = run_json(&sample, &["run", "--dry-run", "--limit", "7"]).exits(0);
    assert_golden("run/dry.json", &masking::json(&said.json()));
    assert!(sample.files() == before);
}

/// The same selection means the same to `plan` and to `run`.
#[test]
fn a_canary_is_as_large_as_its_plan_says() {
    let sample = Sample::new();
    let canary = ["--percent", "10", "--tenant", "bank"];
    let plan = run_json(&sample, &[&["plan"][..], &canary].concat())
        .exits(0)
        .json();
    let due = plan["due"].as_u64().unwrap();
    assert!((1..120).contains(&due), "{due}");
    let fingerprint = plan["fingerprint"].as_str().unwrap();
    let args = [&["run", "--plan", fingerprint][..], &canary].concat();
    let said = run_json(&sample, &args).exits(0).json();
    assert_eq!(said["migrated"], due);
    assert_eq!(said["skipped_by"]["not_selected"], 240 - due);
    assert_eq!(stands(&sample).at("loan@2013") as u64, due);
}

#[test]
fn progress_is_a_json_line_each_and_the_answer_is_the_last() {
    let sample = Sample::new();
    let args = [
        "run",
        "--yes",
        "--throttle",
        "120",
        "--progress-interval",
        "100ms",
    ];
    let said = run_json(&sample, &args).exits(0);
    assert_eq!(said.stderr, "");
    let documents = said.documents();
    let (answer, lines) = documents.split_last().unwrap();
    assert_eq!(
        (&answer["kind"], &answer["migrated"]),
        (&"run".into(), &240.into())
    );
    assert!(lines.len() >= 5, "{lines:?}");
    let (mut migrated, mut in_between) = (0, 0);
    for line in lines {
        assert_eq!(
            (&line["schema"], &line["kind"]),
            (&2.into(), &"progress".into())
        );
        let now = line["migrated"].as_u64().unwrap();
        assert!(now >= migrated, "{lines:?}");
        in_between += usize::from((1..240).contains(&now));
        migrated = now;
    }
    assert!(in_between >= 3, "{lines:?}");
    let last = lines.last().unwrap();
    assert_eq!(last["run"], answer["run"]);
    assert_eq!(last["expected"], 240);
    let loan = &last["workflows"][0];
    assert_eq!(
        (&loan["workflow"], &loan["expected"]),
        (&"loan".into(), &240.into())
    );
}

#[test]
fn piped_progress_is_a_plain_line_at_intervals() {
    let sample = Sample::new();
    let args = [
        "run",
        "--yes",
        "--throttle",
        "120",
        "--progress-interval",
        "100ms",
    ];
    let said = run(&sample, &args).exits(0);
    is_plain(&said);
    let lines: Vec<&str> = said.stderr.lines().collect();
    assert!(lines.len() >= 5, "{said:?}");
    for line in &lines {
        let known = *line == "planned: reading the store" || *line == "running: reading the store";
        assert!(
            known || line.starts_with("loan: ") && line.contains(" of 240 ("),
            "{line}"
        );
    }
    assert!(lines.last().unwrap().contains(" 0 failed, "), "{lines:?}");
}

/// Who listens may go away; the run is not for that.
#[test]
fn a_run_ends_normally_after_its_output_was_closed() {
    let sample = Sample::new();
    let args = [
        "run",
        "--yes",
        "--throttle",
        "200",
        "--progress-interval",
        "50ms",
        "--json",
    ];
    let mut command = command(&sample, &args);
    command.stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    drop(child.stderr.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(stands(&sample).at("loan@2013"), 240);
    let runs = run_json(&sample, &["runs"]).json();
    assert_eq!(runs["runs"][0]["state"], "done");
}

#[test]
fn a_process_that_is_skipped_stays_until_it_is_put_back() {
    let sample = Sample::new();
    let stream = first_stream(&sample);
    let said = run(
        &sample,
        &["hold", &stream, "--reason", "in court", "--actor", "ann"],
    )
    .exits(0);
    assert_golden("run/hold.txt", &masking::text(&said.stdout));
    can_be_typed(&sample, &said);
    let said = run_json(&sample, &["run", "--yes"]).exits(0).json();
    assert_eq!(
        (&said["migrated"], &said["skipped_by"]["held"]),
        (&239.into(), &1.into())
    );
    assert_eq!(stands(&sample).at("loan@2011"), 1);
    let again = run_json(
        &sample,
        &["hold", &stream, "--reason", "still", "--actor", "ann"],
    )
    .exits(0);
    assert_golden("run/hold.json", &masking::json(&again.json()));

    let said = run(&sample, &["release", &stream]).exits(0);
    assert_golden("run/release.txt", &masking::text(&said.stdout));
    can_be_typed(&sample, &said);
    let again = run_json(&sample, &["release", &stream]).exits(0).json();
    assert_eq!(
        (&again["held"], &again["processes"][0]["was_held"]),
        (&false.into(), &false.into())
    );
    let said = run_json(&sample, &["run", "--yes"]).exits(0).json();
    assert_eq!(said["migrated"], 1);

    let before = sample.files();
    for command in [
        &["release", "process/bank/none"][..],
        &["hold", "process/bank/none", "--reason", "x"],
    ] {
        let said = run(&sample, command).exits(1);
        assert!(
            said.stderr
                .contains("stream process/bank/none does not exist"),
            "{said:?}"
        );
    }
    assert!(
        sample.files() == before,
        "a stream that is not there was decided about"
    );
}

#[test]
fn what_cannot_be_resumed_or_retried_is_refused_with_the_way_out() {
    let sample = Sample::new();
    let error = |args: &[&str], code: i32| -> Value {
        let before = sample.files();
        let said = run_json(&sample, args).exits(code).json();
        assert_eq!(said["kind"], "error");
        assert!(sample.files() == before, "{args:?} changed the store");
        said
    };
    for command in ["resume", "retry"] {
        let said = error(&[command, "last"], 1);
        assert!(
            said["message"]
                .as_str()
                .unwrap()
                .contains("has no runs yet"),
            "{said}"
        );
    }
    run(&sample, &["run", "--yes", "--limit", "3"]).exits(0);
    let said = error(&["resume", "1"], 1);
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("run 1 is done, so there is nothing to resume"),
        "{message}"
    );
    let said = error(&["retry", "1"], 1);
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("run 1 has no failures, so there is nothing to retry"),
        "{message}"
    );
    assert_eq!(said["next"][0], "loans-admin --store ./loans show 1");
    let said = error(&["retry", "1", "--class", "panic"], 1);
    assert!(
        said["message"].as_str().unwrap().contains("--class panic"),
        "{said}"
    );
    let said = run(&sample, &["retry", "1", "--class", "panick"]).exits(1);
    assert!(
        said.stderr.contains("known classes: panic, refused"),
        "{said:?}"
    );
    error(&["resume", "17"], 1);
}

#[test]
fn a_dry_run_over_more_processes_than_expected_is_refused_like_its_run() {
    let sample = Sample::new();
    for how in ["--yes", "--dry-run"] {
        let refused = run_json(&sample, &["run", how, "--at-most", "239"]).exits(4);
        assert_eq!(refused.json()["reason"], "too_many_due", "{how}");
    }
    run(&sample, &["run", "--dry-run", "--at-most", "240"]).exits(0);
    #[cfg(unix)]
    {
        let service = crate::service::Service::start(sample);
        let refused = service
            .ask(&["run", "--dry-run", "--at-most", "239"])
            .exits(4);
        assert_eq!(refused.json()["reason"], "too_many_due");
    }
}

#[test]
fn a_dry_run_with_nothing_to_do_suggests_no_run() {
    let sample = Sample::new();
    let next = |sample: &Sample| run_json(sample, &["run", "--dry-run"]).exits(0).json();
    assert_eq!(next(&sample)["next"].as_array().unwrap().len(), 1);
    run(&sample, &["run", "--yes"]).exits(0);
    assert_eq!(next(&sample)["next"], serde_json::json!([]));
}

/// The test fails if texts that a person has typed reach a terminal as they are, if a table
/// has all of them, or if the limit of a run has no actor.
#[test]
fn what_a_person_has_typed_is_shown_with_its_actor_in_one_line() {
    let sample = Sample::new();
    let long = "x".repeat(1_000);
    let (actor, reason) = ("an\u{202e}n\nbob", format!("\u{202e}rtl\n{long}"));
    let args = [
        "run",
        "--yes",
        "--throttle",
        "5000",
        "--actor",
        actor,
        "--reason",
        &reason,
    ];
    run(&sample, &args).exits(0);
    for args in [&["runs"][..], &["status"], &["show", "1"]] {
        let text = run(&sample, args).exits(0).stdout;
        assert!(!text.contains('\u{202e}'), "{text:?}");
        assert!(
            !text.contains("\nbob") && !text.contains("\nxxx"),
            "{text:?}"
        );
        assert_eq!(text.contains(&long), args[0] == "show", "{text}");
    }
    let text = run(&sample, &["show", "1"]).exits(0).stdout;
    assert!(text.contains("throttle 5000 by an n bob"), "{text}");
    let json = run_json(&sample, &["show", "1"]).exits(0).json();
    assert_eq!(
        json["run"]["reason"].as_str().or(json["reason"].as_str()),
        Some(&*reason)
    );
}
