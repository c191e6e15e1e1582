//! A run that somebody interrupts: with real signals, in its middle.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::thread;

use crate::golden::assert_golden;
use crate::masking;
use crate::program::{Ran, command, run, run_json, tell, wait};
use crate::sample::Sample;
use crate::schema::assert_valid;
use crate::service::Service;
use crate::store_state::{holder, stands};

/// The arguments of a run that takes some seconds and says how far it is.
const SLOW: [&str; 6] = [
    "run",
    "--yes",
    "--throttle",
    "60",
    "--progress-interval",
    "50ms",
];

/// Starts a slow run, and waits until it is in its middle.
pub(crate) fn in_the_middle(sample: &Sample) -> Child {
    let mut command = command(sample, &SLOW);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it ended too soon");
        let done = line
            .strip_prefix("loan: ")
            .and_then(|line| line.split_once(" of "));
        if done.is_some_and(|(done, _)| done.parse::<u64>().unwrap() >= 30) {
            break;
        }
    }
    // A pipe that is full would stop it.
    thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
    child
}

/// Some of them had moved, and the rest moves when the run is resumed; none
/// moves twice.
#[track_caller]
fn can_be_resumed(sample: &Sample, said: &Ran) {
    assert_golden(
        "run/interrupted.txt",
        &without_counts(&masking::text(&said.stdout)),
    );
    let halfway = stands(sample);
    let moved = halfway.at("loan@2013");
    assert!((30..240).contains(&moved), "{halfway:?}");
    assert_eq!(halfway.at("loan@2011"), 240 - moved);
    assert_eq!(holder(sample), None);
    let runs = run_json(sample, &["runs"]).json();
    let recorded = &runs["runs"][0];
    assert_eq!(
        (&recorded["state"], &recorded["migrated"]),
        (&"cancelled".into(), &moved.into())
    );

    // What is of the run, and what is of this execution, is labelled.
    let rest = 240 - moved;
    let said = run(sample, &["resume", "last"]).exits(0);
    let value = |name: &str| {
        let mut lines = said.stdout.lines();
        let line = lines.find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("{said:?}")).trim().to_owned()
    };
    let both = format!("240 by the run, {rest} by this execution");
    assert_eq!(value("migrated "), both);
    for name in ["time ", "rate "] {
        assert!(value(name).ends_with(" (this execution)"), "{said:?}");
    }
    let shown = run_json(sample, &["show", "1"]).exits(0).json();
    assert_valid(&shown);
    assert_eq!(
        (&shown["migrated"], &shown["state"]),
        (&240.into(), &"done".into())
    );
    let executed = shown["executed"].as_array().unwrap();
    let executed: Vec<_> = executed.iter().map(|it| &it["migrated"]).collect();
    assert_eq!(executed, [moved, rest]);
    let shown = run(sample, &["show", "1"]).exits(0).stdout;
    for (n, migrated) in [(1, moved), (2, rest)] {
        let line = format!("execution  {n}: {migrated} migrated, 0 failed\n");
        assert!(shown.contains(&line), "{shown}");
    }
    let all = stands(sample);
    assert_eq!(all.at("loan@2013"), 240);
    assert_eq!(all.migrations, [(1, 240)].into());
}

/// How far it came is another in each run.
fn without_counts(text: &str) -> String {
    let hidden = |line: &str| match line.split_once("  ") {
        Some((name @ ("migrated" | "total"), _)) => format!("{name}  <some>\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(hidden).collect()
}

#[test]
fn an_interrupted_run_finishes_its_chunks_in_progress_and_can_be_resumed() {
    let sample = Sample::new();
    let child = in_the_middle(&sample);
    tell(&child, "-INT");
    can_be_resumed(&sample, &wait(child).exits(3));
}

/// Whether these tests, and so their child processes, ignore SIGHUP.
fn ignores_hangups() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 == 1))
}

#[test]
fn a_run_that_is_terminated_or_loses_its_terminal_can_be_resumed() {
    for signal in ["-TERM", "-HUP"] {
        if signal == "-HUP" && ignores_hangups() {
            println!("SKIPPED: SIGHUP, which these tests were started to ignore");
            continue;
        }
        let sample = Sample::new();
        let child = in_the_middle(&sample);
        tell(&child, signal);
        can_be_resumed(&sample, &wait(child).exits(3));
    }
}

/// What `nohup` starts is to outlive its terminal.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_ignores_its_terminal_continues_without_it() {
    let sample = Sample::new();
    let mut nohup = std::process::Command::new("nohup");
    nohup
        .arg(crate::PROGRAM)
        .args(SLOW)
        .args(["--store", "./loans"]);
    nohup.current_dir(sample.folder()).stdin(Stdio::null());
    let child = nohup.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    while stands(&sample).at("loan@2013") == 0 {
        thread::sleep(std::time::Duration::from_millis(50));
    }
    tell(&child, "-HUP");
    wait(child).exits(0);
    assert_eq!(stands(&sample).at("loan@2013"), 240);
}

/// Kills a run in its middle.
fn killed(sample: &Sample) {
    let mut child = in_the_middle(sample);
    child.kill().unwrap();
    child.wait().unwrap();
    let moved = stands(sample).at("loan@2013");
    assert!((1..240).contains(&moved), "{moved}");
}

#[test]
fn a_run_that_was_killed_here_is_interrupted_and_resumed() {
    let sample = Sample::new();
    killed(&sample);
    let before = sample.files();
    for args in [&["runs"][..], &["status"], &["show", "1"]] {
        let said = run(&sample, args).exits(0).stdout;
        assert!(
            said.contains("interrupted") && !said.contains("running"),
            "{said}"
        );
        assert!(
            said.contains("next: loans-admin --store ./loans resume 1\n"),
            "{said}"
        );
    }
    // Another run is not what is next.
    let said = run_json(&sample, &["run", "--yes"]).exits(4).json();
    let held_by = holder(&sample).unwrap();
    let next = format!("loans-admin --store ./loans resume {held_by}");
    assert_eq!(said["next"][0], next);
    let plan = run_json(&sample, &["plan", "--sample", "0"])
        .exits(0)
        .json();
    assert_eq!(
        plan["next"],
        serde_json::json!(["loans-admin --store ./loans resume 1"])
    );
    let warning = plan["warnings"][0].as_str().unwrap();
    assert!(warning.starts_with("run 1 was interrupted "), "{warning}");
    assert!(
        sample.files() == before,
        "a refused command changed the store"
    );
    let by_bob = ["--actor", "bob", "--reason", "night shift"];
    let resume = [&["resume", "last"][..], &by_bob].concat();
    let said = run_json(&sample, &resume).exits(0).json();
    assert_eq!(said["migrated"], 240);
    let shown = run(&sample, &["show", "last"]).exits(0).stdout;
    let resumed = |line: &str| {
        line.starts_with("resumed")
            && line.contains(" by bob, ")
            && line.ends_with(", took over the store: night shift")
    };
    assert!(shown.lines().any(resumed), "{shown}");
    assert_eq!(stands(&sample).migrations, [(1, 240)].into());
}

#[test]
fn a_run_that_was_killed_elsewhere_is_resumed_by_taking_over_the_store() {
    let sample = Sample::new();
    killed(&sample);
    sample.opened_elsewhere();
    let before = sample.files();
    let said = run_json(&sample, &["resume", "last"]).exits(4).json();
    let next = said["next"][0].as_str().unwrap_or_default();
    assert!(next.ends_with(" --take-over"), "{said}");
    let said = run_json(&sample, &["run", "--yes"]).exits(4).json();
    let held_by = holder(&sample).unwrap();
    let next = format!("loans-admin --store ./loans resume {held_by} --take-over");
    assert_eq!(said["next"][0], next);
    assert!(
        sample.files() == before,
        "a refused command changed the store"
    );
    let resume = ["resume", "last", "--take-over"];
    let said = run_json(&sample, &resume).exits(0).json();
    assert_eq!(said["migrated"], 240);
    assert_eq!(stands(&sample).migrations, [(1, 240)].into());
}

/// A supervisor that stops a job with SIGTERM and starts it again loses nothing of its run.
/// Nor does it begin anew after a run with another plan. To see it fail: resume only runs
/// that claim the store, or only the last run.
#[test]
fn a_job_that_was_terminated_continues_its_run() {
    let sample = Sample::new();
    let child = in_the_middle(&sample);
    tell(&child, "-TERM");
    wait(child).exits(3);
    run(&sample, &["run", "--yes", "--limit", "5"]).exits(0);
    let job = ["run", "--yes", "--or-resume"];
    let said = run_json(&sample, &job).exits(0).json();
    assert_eq!(
        (&said["number"], &said["state"]),
        (&1.into(), &"done".into())
    );
    assert_eq!(said["migrated"], 235);
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    assert_eq!(runs["total"], 2, "{runs}");
    assert_eq!(stands(&sample).migrations, [(1, 240)].into());
}

/// To see it fail: resume only runs that claim the store, or that were cancelled.
#[test]
fn a_job_that_was_killed_continues_its_run_after_another_run_took_the_store_over() {
    let sample = Sample::new();
    let mut child = in_the_middle(&sample);
    child.kill().unwrap();
    child.wait().unwrap();
    // A dry run with another plan does not suggest to resume all of it.
    let dry = run(&sample, &["run", "--dry-run", "--limit", "3"]).exits(0);
    assert!(
        dry.stderr.contains("run 1 claims the store"),
        "{}",
        dry.stderr
    );
    assert!(dry.stdout.ends_with(" plan --limit 3\n"), "{}", dry.stdout);
    let said = run(&sample, &["run", "--yes", "--limit", "5", "--or-resume"]).exits(0);
    assert!(
        said.stderr
            .contains("has another plan, so a new run begins")
    );
    let said = run_json(&sample, &["run", "--yes", "--or-resume"])
        .exits(0)
        .json();
    assert_eq!(
        (&said["number"], &said["migrated"]),
        (&1.into(), &235.into())
    );
    assert_eq!(stands(&sample).migrations, [(1, 240)].into());
}

/// One command line for a job that is started again whenever it was killed.
#[test]
fn one_command_line_gets_through_all_kills() {
    let sample = Sample::new();
    let job = ["run", "--yes", "--or-resume", "--throttle", "120", "--json"];
    for kill in 1..=6_u64 {
        let mut child = command(&sample, &job)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(std::time::Duration::from_millis(250 + 97 * kill));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let said = run_json(&sample, &job[..5]).exits(0).json();
    assert_eq!(
        (&said["state"], &said["failed"]),
        (&"done".into(), &0.into())
    );
    let all = stands(&sample);
    assert_eq!(
        (all.at("loan@2013"), all.migrations),
        (240, [(1, 240)].into())
    );
    // There is nothing left to do, and only one run did it.
    run(&sample, &job).exits(0);
    let runs = run_json(&sample, &["runs"]).exits(0).json();
    let moved = runs["runs"].as_array().unwrap().iter();
    let moved: Vec<_> = moved.filter(|run| run["migrated"] != 0).collect();
    assert_eq!(moved.len(), 1, "{runs}");
    assert_eq!(moved[0]["migrated"], 240);
    // With another plan, it is another run.
    let other = Sample::new();
    killed(&other);
    let said = run_json(&other, &["run", "--yes", "--or-resume", "--deadline", "9s"]);
    let said = said.exits(0).json();
    assert_eq!(
        (&said["number"], &said["state"]),
        (&2.into(), &"done".into())
    );
    assert_eq!(stands(&other).at("loan@2013"), 240);
}

/// Who looks and is interrupted has changed nothing.
#[test]
fn a_command_that_waits_can_be_interrupted() {
    let sample = Sample::new();
    let pipe = sample.folder().join("settings.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    for (args, json, says) in [
        (&["status"][..], false, "it writes nothing, so run it again"),
        (&["plan"], true, "it writes nothing, so run it again"),
        (
            &["hold", "process/bank/500007", "--reason", "x"],
            false,
            "`processes --held` shows which are held",
        ),
    ] {
        let mut command = command(&sample, args);
        command.args(["--settings", "settings.toml"]);
        if json {
            command.arg("--json");
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        // It waits for what is written here, and nothing is.
        let waited_for = std::fs::File::options().write(true).open(&pipe).unwrap();
        tell(&child, "-INT");
        let said = wait(child).exits(3);
        drop(waited_for);
        let message = match json {
            true => said.json()["message"].as_str().unwrap().to_owned(),
            false => said.stderr,
        };
        let begins = if json { "SIGINT: " } else { "error: SIGINT: " };
        assert!(message.starts_with(begins), "{message}");
        assert!(message.trim_end().ends_with(says), "{message}");
    }
    // One that waits for a service.
    let socket = sample.folder().join("control");
    let service = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut status = crate::program::bare(&["status", "--socket", "./control"]);
    status.current_dir(sample.folder());
    status.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = status.spawn().unwrap();
    let asked = service.accept().unwrap();
    tell(&child, "-TERM");
    let said = wait(child).exits(3);
    assert!(said.stderr.starts_with("error: SIGTERM: "), "{said:?}");
    drop(asked);
}

/// A closed terminal does not cancel the run of a service.
#[test]
fn a_client_whose_terminal_closes_leaves_the_run_of_the_service_alone() {
    if ignores_hangups() {
        println!("SKIPPED: SIGHUP, which these tests were started to ignore");
        return;
    }
    let mut service = Service::start(Sample::new());
    let client = service.begin(&["run", "--yes", "--throttle", "60"]);
    service.until_migrated(5);
    tell(&client, "-HUP");
    let left = wait(client).exits(3).json();
    let message = left["message"].as_str().unwrap();
    assert!(
        message.starts_with("SIGHUP: the run continues in the service"),
        "{message}"
    );
    let status = service.until_migrated(30);
    assert_eq!(
        (&status["state"], &status["in_progress"]),
        (&"running".into(), &true.into())
    );
    // A cancellation is recorded with its actor.
    service
        .ask(&["cancel", "--actor", "ann", "--reason", "peak hour"])
        .exits(0);
    let shown = service.ask(&["show", "last"]).exits(0).json();
    let requests = shown["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 1, "{shown}");
    let request = &requests[0];
    assert_eq!(
        (&request["request"], &request["actor"], &request["reason"]),
        (&"cancel".into(), &"ann".into(), &"peak hour".into())
    );
    service.end().exits(0);
}
