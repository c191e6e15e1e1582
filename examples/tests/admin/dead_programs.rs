//! Messages about runs whose program died, and about a service that does not
//! answer.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::interrupted::in_the_middle;
use crate::program::{finish, run, run_json, wait};
use crate::sample::Sample;
use crate::service::{Service, migrated};

fn message(failure: &Value) -> &str {
    failure["message"].as_str().unwrap()
}

fn next(answer: &Value) -> &str {
    let next = &answer["next"];
    next[0].as_str().or_else(|| next.as_str()).unwrap()
}

/// A dry run is not recorded, so it is not the last run and cannot be resumed.
#[test]
fn a_dry_run_in_a_service_hides_no_run_and_is_not_resumed() {
    let service = Service::start(Sample::new());
    let real = service.ask(&["run", "--yes", "--limit", "5"]);
    let real = real.exits(0).json()["run"].clone();
    let is_the_real_one = |status: &Value| {
        assert_eq!((&status["run"], &status["dry_run"]), (&real, &false.into()));
        assert_eq!((&status["state"], migrated(status)), (&"done".into(), 5));
        assert_eq!(status["runs"][0]["run"], real);
    };
    is_the_real_one(&service.status());

    let driver = service.begin(&["run", "--dry-run", "--throttle", "20"]);
    let status = service.until("it has begun", |status| {
        status["dry_run"] == true && migrated(status) > 0
    });
    assert_eq!(
        (&status["run"], &status["in_progress"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(status["throttle"], 20);
    is_the_real_one_in_its_history(&status, &real);
    let cancelled = service.ask(&["cancel"]).exits(0).json();
    assert_eq!(
        (&cancelled["run"], &cancelled["dry_run"]),
        (&Value::Null, &true.into())
    );
    assert_eq!(cancelled["state"], "cancelled");
    assert!(next(&cancelled).ends_with(" plan"), "{cancelled}");
    let driven = wait(driver).exits(3).json();
    assert_eq!(
        (&driven["run"], &driven["next"]),
        (&Value::Null, &Value::Array(Vec::new()))
    );
    let status = service.status();
    is_the_real_one(&status);
    assert!(next(&status).ends_with(" plan"), "{status}");
    let shown = finish(service.tool(&["status"])).exits(0).stdout;
    let last = format!("last run   1  {}\n", real.as_str().unwrap());
    assert!(shown.contains(&last), "{shown}");
}

fn is_the_real_one_in_its_history(status: &Value, real: &Value) {
    assert_eq!(status["runs"][0]["run"], *real);
    assert_eq!(status["runs"].as_array().unwrap().len(), 1);
}

/// A service that was killed in the middle of a run knows of it when it is back.
#[test]
fn a_run_whose_service_was_killed_is_named_and_in_the_way_of_others() {
    let mut service = Service::start(Sample::new());
    let driver = service.begin(&["run", "--yes", "--throttle", "30"]);
    let status = service.until_migrated(10);
    let run = status["run"].clone();
    service.kill();
    let lost = wait(driver).exits(1).json();
    assert!(
        message(&lost).contains("closed the connection before it answered"),
        "{lost}"
    );

    let mut service = service.again();
    let status = service.status();
    assert_eq!(
        (&status["run"], &status["in_progress"]),
        (&run, &false.into())
    );
    assert_eq!(
        (&status["interrupted"], &status["state"]),
        (&true.into(), &"running".into())
    );
    assert!(migrated(&status) >= 10, "{status}");
    let warning = status["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("run 1 was interrupted and claims the store"),
        "{warning}"
    );
    assert!(
        next(&status).ends_with("--socket ./control resume 1"),
        "{status}"
    );
    let shown = finish(service.tool(&["status"])).exits(0).stdout;
    assert!(shown.contains("state      interrupted\n"), "{shown}");
    let resume = format!("resume {}", run.as_str().unwrap());
    for begins in [
        &["run", "--yes"][..],
        &["run", "--plan", "0123456789abcdef"],
    ] {
        let refused = service.ask(begins).exits(4).json();
        if begins[1] == "--yes" {
            assert!(
                message(&refused).contains("was interrupted and claims the store"),
                "{refused}"
            );
            assert!(message(&refused).ends_with("with --take-over"), "{refused}");
            assert!(next(&refused).ends_with(&resume), "{refused}");
        }
    }
    let runs = service.ask(&["runs"]).exits(0).json();
    assert_eq!(runs["total"], 1);
    assert_eq!(runs["runs"][0]["interrupted"], true);
    assert!(next(&runs).ends_with("resume 1"), "{runs}");

    // The same holds without a service and without a program that has the store open.
    assert_eq!(service.end().exits(0).stderr, "");
    let status = run_json(&service.sample, &["status"]).exits(0).json();
    assert!(next(&status).ends_with("resume 1"), "{status}");
    assert_eq!(status["runs"][0]["interrupted"], true);
    let before = service.sample.files();
    let refused = run_json(&service.sample, &["run", "--yes"]).exits(4).json();
    assert!(
        message(&refused).contains("was interrupted and claims the store"),
        "{refused}"
    );
    assert!(next(&refused).ends_with(&resume), "{refused}");
    assert!(
        service.sample.files() == before,
        "a refused command changed the store"
    );

    let mut service = service.again();
    let resumed = service.ask(&["resume", "1"]).exits(0).json();
    assert_eq!(
        (migrated(&resumed), &resumed["state"]),
        (240, &"done".into())
    );
    let status = service.status();
    assert_eq!(
        (&status["interrupted"], &status["warnings"]),
        (&false.into(), &Value::Array(Vec::new()))
    );
    service.end().exits(0);
}

/// A run whose store another run took over is never reported as running.
#[test]
fn a_run_that_another_one_took_the_store_over_from_is_interrupted() {
    let sample = Sample::new();
    let mut child = in_the_middle(&sample);
    child.kill().unwrap();
    child.wait().unwrap();
    let second = run_json(&sample, &["run", "--yes", "--take-over"])
        .exits(0)
        .json();
    assert_eq!(second["number"], 2);

    let runs = run_json(&sample, &["runs"]).exits(0).json();
    let [of_second, of_first] = runs["runs"].as_array().unwrap().as_slice() else {
        panic!("{runs}")
    };
    assert_eq!(
        (&of_second["interrupted"], &of_second["taken_over_by"]),
        (&false.into(), &Value::Null)
    );
    assert_eq!(
        (&of_first["interrupted"], &of_first["taken_over_by"]),
        (&true.into(), &second["run"])
    );
    let said = run(&sample, &["runs"]).exits(0).stdout;
    let note = "run 1 was interrupted, and run 2 took over the store; what was committed is kept, and `resume 1` resumes the run";
    assert!(said.contains(note), "{said}");
    assert!(!said.contains("running"), "{said}");
    let shown = run(&sample, &["show", "1"]).exits(0).stdout;
    assert!(shown.contains("state      interrupted\n"), "{shown}");
    assert!(shown.contains(note), "{shown}");
    assert!(shown.contains("resume 1\n"), "{shown}");
    let status = run(&sample, &["status"]).exits(0).stdout;
    assert!(
        status.contains("interrupted") && !status.contains("running"),
        "{status}"
    );

    // What is said to help does.
    let resumed = run_json(&sample, &["resume", "1"]).exits(0).json();
    assert_eq!(resumed["state"], "done");
    let said = run(&sample, &["runs"]).exits(0).stdout;
    assert!(!said.contains("interrupted"), "{said}");
}

/// One that is stopped takes requests and does not answer them.
#[test]
fn a_stopped_service_is_reported_within_seconds() {
    let mut service = Service::start(Sample::new());
    service.signal("-STOP");
    for args in [&["status"][..], &["run", "--yes"], &["cancel"]] {
        let begun = Instant::now();
        let failure = service.ask(args).exits(1).json();
        // Far less than the minute that one is waited for that is only slow.
        assert!(begun.elapsed() < Duration::from_secs(30), "{args:?}");
        assert!(
            message(&failure).starts_with("the service behind the control socket ./control does not answer; check whether its program is stopped"),
            "{failure}"
        );
    }
    service.signal("-CONT");
    let status = service.status();
    assert_eq!(status["in_progress"], false);
    // Who was told that it does not answer has begun nothing.
    std::thread::sleep(Duration::from_millis(500));
    let runs = service.ask(&["runs"]).exits(0).json();
    assert_eq!(runs["total"], 0, "{runs}");

    // In the middle of a run, too.
    let driver = service.begin(&["run", "--yes", "--throttle", "30"]);
    service.until_migrated(3);
    service.signal("-STOP");
    let begun = Instant::now();
    let left = wait(driver).exits(1).json();
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert!(message(&left).contains("does not answer"), "{left}");
    service.signal("-CONT");
    service.until("the run continues without this tool", |status| {
        migrated(status) > 10
    });
    service.ask(&["cancel"]).exits(0);
    service.end().exits(0);
}

/// No run is proposed if no process is outdated.
#[test]
fn a_service_with_nothing_left_to_migrate_proposes_nothing() {
    let service = Service::start(Sample::new());
    for args in [&["status"][..], &["plan"]] {
        let before = service.ask(args).exits(0).json();
        assert_eq!(before["next"].as_array().unwrap().len(), 1, "{before}");
    }
    service.ask(&["run", "--yes"]).exits(0);
    for args in [&["status"][..], &["plan"]] {
        let after = service.ask(args).exits(0).json();
        assert_eq!(after["next"], Value::Array(Vec::new()), "{after}");
    }
    // A full count is still a run to propose.
    let count = service.ask(&["plan", "--count-all"]).exits(0).json();
    assert!(next(&count).ends_with(" --count-all"), "{count}");
    let said = finish(service.tool(&["plan"])).exits(0).stdout;
    assert!(said.ends_with("\nnothing to do\n"), "{said}");
}

/// The refusal names only options that this command has. An argument that is not
/// UTF-8 does not prevent the refusal.
#[test]
fn a_store_that_a_service_has_open_is_refused_with_what_helps() {
    use std::os::unix::ffi::OsStrExt;

    let mut service = Service::start(Sample::new());
    let skip = ["hold", "process/bank/500007", "--reason", "x"];
    let refused = run_json(&service.sample, &skip).exits(4).json();
    let said = message(&refused);
    assert!(
        said.contains("use `--socket PATH` to ask that program"),
        "{said}"
    );
    let refused = run_json(&service.sample, &["run", "--yes"]).exits(4).json();
    assert!(message(&refused).contains("--socket PATH"), "{refused}");

    service.kill();
    service.sample.opened_elsewhere();
    let odd = std::ffi::OsStr::from_bytes(b"\xff.toml");
    std::fs::write(service.sample.folder().join(odd), "").unwrap();
    let mut command = crate::program::command(&service.sample, &["run", "--yes", "--json"]);
    command.arg("--settings").arg(odd);
    let refused = finish(command).exits(4).json();
    assert!(next(&refused).ends_with(" --take-over"), "{refused}");
}

/// A run for some is measured by them.
#[test]
fn the_progress_of_a_canary_is_that_of_those_that_it_is_for() {
    let sample = Sample::new();
    let args = [
        "run",
        "--yes",
        "--percent",
        "25",
        "--throttle",
        "60",
        "--progress-interval",
        "50ms",
    ];
    let ran = run_json(&sample, &args).exits(0);
    let (all, documents) = (migrated(&ran.json()), ran.documents());
    assert!((20..120).contains(&all), "{all}");
    let mut seen = 0;
    for line in documents.iter().filter(|line| line["kind"] == "progress") {
        let done =
            migrated(line) + line["failed"].as_u64().unwrap() + line["skipped"].as_u64().unwrap();
        assert!(done <= all, "{line}");
        if let Some(expected) = line["expected"].as_u64() {
            assert!(done <= expected && expected < 120, "{line}");
            seen += 1;
        }
    }
    assert!(seen > 3, "{documents:?}");
}
