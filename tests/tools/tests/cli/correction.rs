//! A conversion that lost a field: found by `verify`, corrected by `redo`, taken back by
//! `undo`, and migrated again.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::golden::assert_golden;
use crate::program::{Ran, finish, program, run_json};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;
use crate::{FIXED, LOSSY, OPENER, PROGRAM as DRAFT, masking};

struct Story {
    sample: Sample,
    is_json: bool,
}

impl Story {
    /// What a command says is in the golden of this name.
    #[track_caller]
    fn says(&self, golden: &str, of: &str, args: &[&str], code: i32) -> Ran {
        let mut command = program(of, args);
        command.current_dir(self.sample.folder());
        command.args(["--store", "./loans"]);
        if self.is_json {
            command.arg("--json");
        }
        let said = finish(command).exits(code);
        match self.is_json {
            false => {
                let text = masking::text(&format!("{}{}", said.stdout, said.stderr));
                assert_golden(&format!("correction/{golden}.txt"), &text);
            }
            true => {
                let answer = masking::json(&said.json());
                assert_golden(&format!("correction/{golden}.json"), &answer);
            }
        }
        can_be_typed(&self.sample, &said);
        said
    }
}

/// The state of each loan, as a program shows it.
fn states(sample: &Sample, of: &str) -> BTreeMap<String, Value> {
    let mut states = BTreeMap::new();
    for stream in streams(sample) {
        let mut command = program(of, &["inspect", &stream, "--payloads", "--json"]);
        command
            .current_dir(sample.folder())
            .args(["--store", "./loans"]);
        let shown = finish(command).exits(0).json();
        // The migration that is due begins with the state, and the last one has led to it.
        let side = match shown["change"]["when"].as_str() {
            Some("next") => "before",
            _ => "after",
        };
        let state = shown["change"][side].clone();
        assert!(state.is_object(), "{shown}");
        states.insert(stream, state);
    }
    states
}

/// Some of the loans.
fn streams(sample: &Sample) -> Vec<String> {
    let listed = run_json(sample, &["processes", "--limit", "30"])
        .exits(0)
        .json();
    let all = listed["processes"].as_array().unwrap().iter();
    let all = all.map(|process| process["stream"].as_str().unwrap().to_owned());
    all.filter(|stream| stream.starts_with("process/bank/"))
        .collect()
}

fn tell_the_story(is_json: bool) {
    let never_wrong = Sample::new();
    let story = Story {
        sample: never_wrong.copied(),
        is_json,
    };
    let sample = &story.sample;
    let before = states(sample, FIXED);

    // The run, whose program agrees with itself.
    story.says("0-rehearse", LOSSY, &["rehearse"], 0);
    assert_eq!(states(sample, FIXED), before);
    let why = ["--actor", "ann", "--reason", "release 2014"];
    story.says("1-run", LOSSY, &[&["run", "--yes"], &why[..]].concat(), 0);
    let wrong = states(sample, FIXED);
    story.says("2-verify", LOSSY, &["verify", "last"], 0);

    // The corrected program finds out what was lost, predicts, and corrects.
    story.says("3-verify", FIXED, &["verify", "last"], 2);
    story.says("4-unconfirmed", FIXED, &["redo", "1"], 4);
    story.says("5-predicted", FIXED, &["redo", "1", "--dry-run"], 0);
    let why = ["--actor", "bob", "--reason", "offers are back"];
    story.says(
        "6-redo",
        FIXED,
        &[&["redo", "1", "--yes"], &why[..]].concat(),
        0,
    );
    story.says("7-verify", FIXED, &["verify", "2"], 0);
    story.says("7-verify-the-first", FIXED, &["verify", "1"], 0);
    let of_no_stream = ["verify", "1", "--stream", "process/bank/0"];
    story.says("7-verify-nothing", FIXED, &of_no_stream, 0);
    let mut run = program(FIXED, &["run", "--yes", "--store", "./loans"]);
    finish({
        run.current_dir(never_wrong.folder());
        run
    })
    .exits(0);
    let right = states(&never_wrong, FIXED);
    assert_eq!(states(sample, FIXED), right);
    assert!(wrong != right && before != right && before.len() > 20);

    // It is taken back, and stays so.
    story.says("8-predicted", FIXED, &["undo", "1", "--dry-run"], 0);
    let why = ["--actor", "ann", "--reason", "not before May"];
    story.says(
        "9-undo",
        FIXED,
        &[&["undo", "1", "--yes"], &why[..]].concat(),
        0,
    );
    assert_eq!(states(sample, FIXED), before);
    let mut opener = program(OPENER, &["./loans", "10"]);
    opener.current_dir(sample.folder());
    let opened = finish(opener).exits(0).stdout;
    let refused = opened
        .lines()
        .filter(|line| line.contains(", which was undone; "));
    assert_eq!(
        (refused.count(), opened.lines().count()),
        (10, 10),
        "{opened}"
    );
    assert_eq!(states(sample, FIXED), before);
    let mut plan = program(FIXED, &["plan", "--json", "--store", "./loans"]);
    plan.current_dir(sample.folder());
    let plan = finish(plan).exits(0).json();
    let warnings = plan["warnings"].to_string();
    assert!(warnings.contains("which was undone; "), "{plan}");
    assert_eq!(plan["next"], serde_json::json!([]), "{plan}");
    story.says("10-refused", FIXED, &["run", "--yes"], 4);
    story.says("11-runs", FIXED, &["runs"], 0);

    // In May.
    let look = ["run", "--dry-run", "--again"];
    story.says("12-again-predicted", FIXED, &look, 0);
    story.says("12-again", FIXED, &["run", "--yes", "--again"], 0);
    assert_eq!(states(sample, FIXED), right);
    let all = stands(sample);
    assert_eq!(all.at, [("loan@2014".to_owned(), 240)].into());
    story.says("13-show", FIXED, &["show", "3"], 0);

    // The code of the first version is not needed any more, unless to look back.
    let remove = ["status", "--can-remove", "loan@2011"];
    story.says("14-can-remove", FIXED, &remove, 0);
    let kept = [&remove[..], &["--keep-undo"]].concat();
    story.says("15-keep-undo", FIXED, &kept, 2);
    let newest = ["status", "--can-remove", "loan@2014"];
    story.says("16-cannot-remove", FIXED, &newest, 2);
}

#[test]
fn a_correction_as_people_read_it() {
    tell_the_story(false);
}

#[test]
fn a_correction_as_programs_read_it() {
    tell_the_story(true);
}

#[test]
fn a_run_that_fails_too_often_stops_and_can_be_resumed() {
    let sample = Sample::new();
    let run = |args: &[&str]| {
        let mut command = program(DRAFT, args);
        command.current_dir(sample.folder());
        finish(command)
    };
    let store = ["--store", "./loans"];
    let dry = ["run", "--dry-run", "--max-failures", "0"];
    let dry = run(&[&dry[..], &store].concat()).exits(2);
    assert!(dry.stdout.contains("too many processes failed"), "{dry:?}");
    let stopped = ["run", "--yes", "--max-failures", "0"];
    let stopped = run(&[&stopped[..], &store].concat()).exits(2);
    assert!(
        stopped.stdout.contains("too many processes failed"),
        "{stopped:?}"
    );
    let next = "next: loans-2014-draft --store ./loans show 1";
    assert!(stopped.stdout.contains(next), "{stopped:?}");
    let resumed = ["resume", "1", "--max-failures", "1000"];
    let resumed = run(&[&resumed[..], &store].concat()).exits(2);
    assert!(resumed.stdout.contains("done with errors"), "{resumed:?}");
    let bad = ["run", "--yes", "--max-failures", "-1"];
    run(&[&bad[..], &store].concat()).exits(1);
}
