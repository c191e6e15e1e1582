//! Runs that are stopped at once, without waiting for the chunks in progress.

use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::program::{finish, program, run_json, tell, wait};
use crate::sample::Sample;
use crate::store_state::{holder, stands};
use crate::{FIXED, PROGRAM};

/// Runs the fixed program over the sample.
fn fixed(sample: &Sample, args: &[&str]) -> std::process::Command {
    let mut command = program(FIXED, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A chunk that would take a minute: the first signal waits for it, the second
/// does not.
#[test]
fn the_second_signal_stops_a_run_at_once_and_loses_nothing() {
    for json in [false, true] {
        let sample = Sample::new();
        let first = ["run", "--yes", "--limit", "40"];
        finish(fixed(&sample, &first)).exits(0);
        let mut slow = fixed(
            &sample,
            &["run", "--yes", "--deadline", "10m", "--throttle", "200"],
        );
        slow.env("LOANS_TAKE_MS", "3000");
        if json {
            slow.arg("--json");
        }
        let running = slow.spawn().unwrap();
        while holder(&sample).is_none() {
            thread::sleep(Duration::from_millis(20));
        }
        // The first chunk is in progress, and takes far longer than this test.
        thread::sleep(Duration::from_millis(500));
        tell(&running, "-INT");
        thread::sleep(Duration::from_millis(1_500));
        assert!(holder(&sample).is_some(), "the first signal does not wait");
        let begun = Instant::now();
        tell(&running, "-INT");
        let said = wait(running).exits(3);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{:?}",
            begun.elapsed()
        );
        let run = holder(&sample).unwrap();
        let next = format!("loans-2014 --store ./loans resume {run}");
        if json {
            let said = said.json();
            assert_eq!((&said["kind"], &said["exit"]), (&"error".into(), &3.into()));
            assert_eq!(said["next"][0], next.as_str());
        } else {
            assert_eq!(said.stdout, "");
            let error = format!("error: run {run} was stopped at once and still claims the store");
            assert!(said.stderr.contains(&error), "{said:?}");
            assert!(
                said.stderr.ends_with(&format!("next: {next}\n")),
                "{said:?}"
            );
            assert!(
                said.stderr
                    .contains("SIGINT: finishing the chunks in progress"),
                "{said:?}"
            );
        }
        assert_eq!(stands(&sample).at("loan@2014"), 40);

        // As it says itself.
        let run = run.to_string();
        let resumed = ["resume", &run, "--json"];
        let said = finish(fixed(&sample, &resumed)).exits(0).json();
        assert_eq!(
            (&said["migrated"], &said["state"]),
            (&200.into(), &"done".into())
        );
        let all = stands(&sample);
        assert_eq!(all.at, [("loan@2014".to_owned(), 240)].into());
        assert_eq!(all.migrations, [(1, 240)].into());
        assert_eq!(holder(&sample), None);
    }
}

/// A run must be resumed with the migrations that it was started with.
#[test]
fn a_run_of_other_code_is_resumed_only_by_force() {
    let sample = Sample::new();
    let mut slow = program(
        PROGRAM,
        &["run", "--yes", "--throttle", "10", "--store", "./loans"],
    );
    slow.current_dir(sample.folder());
    let running = slow.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = running.spawn().unwrap();
    while stands(&sample).at("loan@2014") < 20 {
        thread::sleep(Duration::from_millis(20));
    }
    tell(&running, "-TERM");
    wait(running).exits(3);
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    assert_eq!(runs["runs"][0]["state"], "cancelled");

    let before = sample.files();
    let said = finish(fixed(&sample, &["resume", "last", "--json"])).exits(4);
    let said = said.json();
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("run 1 was last executed with plan "),
        "{message}"
    );
    assert!(message.ends_with("or use --force"), "{message}");
    assert!(
        sample.files() == before,
        "a refused command changed the store"
    );

    let said = finish(fixed(&sample, &["resume", "last", "--force", "--json"]));
    // What the draft refused stays failed in its run, for a retry.
    let said = said.exits(2).json();
    assert_eq!(said["state"], "done_with_errors");
    finish(fixed(&sample, &["retry", "last"])).exits(0);
    assert_eq!(stands(&sample).at("loan@2014"), 240);
}
