//! A rehearsal by the tool: beside others, killed, and kept.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::FIXED;
use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;

fn say(sample: &Sample, args: &[&str], code: i32) -> Ran {
    let mut command = program(FIXED, args);
    command.current_dir(sample.folder());
    finish(command).exits(code)
}

fn ask(sample: &Sample, args: &[&str], code: i32) -> Value {
    let said = say(
        sample,
        &[args, &["--store", "./loans", "--json"]].concat(),
        code,
    );
    can_be_typed(sample, &said);
    said.json()
}

/// The copies in a store.
fn copies(sample: &Sample) -> Vec<String> {
    let Ok(found) = std::fs::read_dir(sample.store().join("rehearsals")) else {
        return Vec::new();
    };
    let folders = found.map(|it| it.unwrap()).filter(|it| it.path().is_dir());
    folders
        .map(|it| it.file_name().into_string().unwrap())
        .collect()
}

/// Kills a slow command once `is_in_the_middle`.
fn kill(sample: &Sample, args: &[&str], is_in_the_middle: impl Fn() -> bool) {
    let mut command = program(FIXED, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans", "--throttle", "60"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while !is_in_the_middle() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        thread::sleep(Duration::from_millis(20));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// To see it fail: let `Note::is_dead` answer `false`.
#[test]
fn a_killed_rehearsal_leaves_nothing_for_long() {
    let sample = Sample::new();
    for next in [&["rehearse"][..], &["run", "--yes", "--limit", "3"]] {
        kill(&sample, &["rehearse"], || {
            !copies(&sample).is_empty() && {
                thread::sleep(Duration::from_millis(300));
                true
            }
        });
        assert_eq!(copies(&sample).len(), 1);
        assert_eq!(stands(&sample).at("loan@2014"), 0);
        ask(&sample, next, 0);
        assert_eq!(copies(&sample), [""; 0]);
    }
}

/// To see it fail: leave `recover` out.
#[test]
fn a_store_whose_program_was_killed_is_rehearsed() {
    let sample = Sample::new();
    kill(&sample, &["run", "--yes"], || {
        stands(&sample).at("loan@2014") >= 10
    });
    let moved = stands(&sample).at("loan@2014");
    let rehearsed = say(&sample, &["rehearse", "--store", "./loans"], 0);
    let left = format!("\nmigrated   {}\nverified   {}\n", 240 - moved, 240 - moved);
    assert!(rehearsed.stdout.contains(&left), "{rehearsed:?}");
    for warning in ["was opened and closed", "run 1 claims the store"] {
        assert!(rehearsed.stderr.contains(warning), "{rehearsed:?}");
    }
    assert!(rehearsed.stdout.ends_with(" plan\n"), "{rehearsed:?}");
    assert_eq!(stands(&sample).at("loan@2014"), moved);
    let resumed = ask(&sample, &["resume", "1"], 0);
    assert_eq!(resumed["migrated"], 240, "{resumed}");
}

#[test]
fn a_kept_copy_is_opened_where_it_is() {
    let sample = Sample::new();
    let rehearsed = ask(&sample, &["rehearse", "--sample", "7", "--keep"], 0);
    assert_eq!(
        (&rehearsed["migrated"], &rehearsed["verified"]),
        (&json!(7), &json!(7))
    );
    let next = rehearsed["next"][0].as_str().unwrap();
    let (_, plan) = next.split_once(" --plan ").unwrap();
    let kept = rehearsed["rehearsed"]["kept"].as_str().unwrap();
    let status = say(&sample, &["status", "--store", kept], 0).stdout;
    assert!(status.contains("migrate  done"), "{status}");
    // The plan of the store is that of the copy.
    let run = ["run", "--store", kept, "--plan", plan, "--json"];
    let run = say(&sample, &run, 0).json();
    assert_eq!(run["migrated"], 233, "{run}");
    assert_eq!(stands(&sample).at("loan@2014"), 0);
    let run = ask(&sample, &["run", "--plan", plan], 0);
    assert_eq!(run["migrated"], 240, "{run}");
    // A plan for nothing is not suggested.
    let idle = ask(&sample, &["rehearse"], 0);
    let next = idle["next"][0].as_str().unwrap();
    assert!(next.ends_with(" status"), "{idle}");
}
