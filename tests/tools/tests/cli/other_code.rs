//! A run that was killed, and then the next release is deployed: what works is said.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;
use crate::{FIXED, PROGRAM};

fn say(of: &str, sample: &Sample, args: &[&str], code: i32) -> Ran {
    let mut command = program(of, args);
    command.current_dir(sample.folder());
    finish(command.args(["--store", "./loans"])).exits(code)
}

/// A store in which a run of the draft was killed in its middle.
fn killed() -> Sample {
    let sample = Sample::new();
    let mut command = program(PROGRAM, &["run", "--yes", "--throttle", "40"]);
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
        assert_eq!(commands(&said["next"]), ways, "{args:?}");
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
    // Each of them migrates the rest.
    for way in ways {
        let sample = sample.copied();
        let way: Vec<&str> = way.split(' ').collect();
        say(FIXED, &sample, &way, 0);
        assert_eq!(stands(&sample).at("loan@2014"), 240, "{way:?}");
    }
    // The original program resumes the run.
    for args in [&["status"][..], &["plan", "--sample", "0"]] {
        let said = say(PROGRAM, &sample, &[args, &["--json"]].concat(), 0).json();
        assert_eq!(commands(&said["next"]), ["resume 1"], "{args:?}");
    }
}
