//! A run that was killed, and then the next release is deployed: what works is said.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use state_migration::{EventStore, ExpectedSequence, NewEvent, StreamId, WorkflowId};

use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;
use crate::{FIXED, PROGRAM};

fn say(of: &str, sample: &Sample, args: &[&str], code: i32) -> Ran {
    let mut command = program(of, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]);
    finish(command).exits(code)
}

/// A store in which a run of the draft was killed in its middle.
fn killed() -> Sample {
    killed_in(Sample::new())
}

fn killed_in(sample: Sample) -> Sample {
    let args = ["run", "--yes", "--throttle", "40", "--allow-newer"];
    let mut command = program(PROGRAM, &args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]).stdin(Stdio::null());
    let mut running = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while stands(&sample).at("loan@2014") < 10 {
        thread::sleep(Duration::from_millis(50));
    }
    running.kill().unwrap();
    running.wait().unwrap();
    sample
}

/// The suggested commands, without the program and the store.
fn commands(next: &Value) -> Vec<String> {
    let next = next.as_array().unwrap().iter();
    let next = next.map(|next| next.as_str().unwrap().to_owned());
    next.map(|next| next.split_once("--store ./loans ").unwrap().1.to_owned())
        .collect()
}

#[test]
fn after_a_deployment_of_other_code_every_suggested_command_works() {
    let sample = killed();
    let ways = ["resume 1 --force", "run --yes --take-over"];
    for args in [&["status"][..], &["plan", "--sample", "0"], &["show", "1"]] {
        let said = say(FIXED, &sample, &[args, &["--json"]].concat(), 0).json();
        // `show` adds the commands about the failures.
        assert_eq!(commands(&said["next"])[..2], ways, "{args:?}");
    }
    for args in [&["status"][..], &["plan", "--sample", "0"]] {
        let text = say(FIXED, &sample, args, 0);
        assert!(
            text.stdout
                .contains("`resume 1` works with the original program"),
            "{text:?}"
        );
        can_be_typed(&sample, &text);
    }
    let refused = say(FIXED, &sample, &["resume", "1", "--json"], 4).json();
    assert_eq!(refused["reason"], "other_code");
    assert_eq!(commands(&refused["next"]), ways);
    let means = refused["next_means"].as_array().unwrap();
    assert!(means[0].as_str().unwrap().contains("the rest of run 1"));
    assert!(means[1].as_str().unwrap().contains("a new run"));
    assert_eq!(refused["next_args"].as_array().unwrap().len(), 2);
    // The original program resumes the run.
    for args in [&["status"][..], &["plan", "--sample", "0"]] {
        let said = say(PROGRAM, &sample, &[args, &["--json"]].concat(), 0).json();
        assert_eq!(commands(&said["next"]), ["resume 1"], "{args:?}");
    }
    // A new run migrates all; of the other one, what the draft refused stays failed.
    let copy = sample.copied();
    let [force, new] = ways.map(|way| Vec::from_iter(way.split(' ')));
    say(FIXED, &copy, &new, 0);
    assert_eq!(stands(&copy).at("loan@2014"), 240);
    let mut command = program(FIXED, &force);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans", "--json"]);
    let said = finish(command).json();
    let failed = said["failed"].as_u64().unwrap();
    assert_eq!(stands(&sample).at("loan@2014") as u64 + failed, 240);
}

#[test]
fn an_older_program_suggests_no_command_that_it_would_refuse() {
    let sample = Sample::new();
    sample.change(async |store| {
        let version = WorkflowId::new("loan", "2099");
        let event = NewEvent::new(version, "Began", 1, "{}").unwrap();
        let stream = StreamId::new("process/bank/newer").unwrap();
        let none = ExpectedSequence::NoStream;
        store.append(&stream, none, vec![event]).await.unwrap();
    });
    let sample = killed_in(sample);
    for args in [&["resume", "1"][..], &["resume", "1", "--force"]] {
        let refused = say(FIXED, &sample, &[args, &["--json"]].concat(), 4).json();
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("processes at loan@2099"), "{message}");
        assert!(!message.contains("--allow-newer"), "{message}");
        assert_eq!(commands(&refused["next"]), ["status"]);
    }
    for args in [&["status"][..], &["plan", "--sample", "0"]] {
        let said = say(FIXED, &sample, &[args, &["--json"]].concat(), 0).json();
        assert_eq!(said["next"], serde_json::json!([]), "{args:?}");
        let warnings = said["warnings"].to_string();
        assert!(
            warnings.contains("resume the run with the newer program"),
            "{said}"
        );
    }
    let shown = say(FIXED, &sample, &["show", "1", "--json"], 0).json();
    let next = commands(&shown["next"]);
    assert!(!next.iter().any(|it| it.starts_with("r")), "{next:?}");
}

/// The test fails if the code of the last execution decides, which has failed nothing.
#[test]
fn a_retry_is_offered_by_the_program_whose_code_the_failures_are_not_of() {
    let sample = killed();
    let draft = say(PROGRAM, &sample, &["show", "1", "--json"], 0).json();
    assert!(
        draft["run"]["failed"]
            .as_u64()
            .or(draft["failed"].as_u64())
            .unwrap()
            > 0,
        "{draft}"
    );
    let forced = say(
        FIXED,
        &sample,
        &["resume", "1", "--force", "--take-over", "--json"],
        2,
    )
    .json();
    assert!(forced["failed"].as_u64().unwrap() > 0);
    let offers = |of| {
        let shown = say(of, &sample, &["show", "1", "--json"], 0).json();
        let next = commands(&shown["next"]);
        next.iter().any(|next| next.starts_with("retry 1"))
    };
    assert_eq!((offers(FIXED), offers(PROGRAM)), (true, false));
    say(FIXED, &sample, &["retry", "1"], 0);
}
