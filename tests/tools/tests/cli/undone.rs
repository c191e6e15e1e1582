//! What is undone in part, or in the middle, and what the tool says of it.

use std::process::Stdio;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{Ran, finish, program};
use crate::sample::Sample;
use crate::store_state::{Stands, stands};
use crate::suggested_commands::can_be_typed;
use crate::{FIXED, LOSSY, OPENER};

fn say(of: &str, sample: &Sample, args: &[&str], code: i32) -> Ran {
    let mut command = program(of, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans"]);
    finish(command).exits(code)
}

fn ask(sample: &Sample, args: &[&str], code: i32) -> Value {
    let said = say(FIXED, sample, &[args, &["--json"]].concat(), code);
    can_be_typed(sample, &said);
    said.json()
}

/// Kills a command once some processes have this number of migrations.
fn kill(of: &str, sample: &Sample, args: &[&str], migrations: usize) {
    let moved = |stands: &Stands| stands.migrations.get(&migrations).copied();
    kill_at(of, sample, args, |stands| moved(stands).unwrap_or_default());
}

/// Kills a command once it is done with some processes.
fn kill_at(of: &str, sample: &Sample, args: &[&str], done: impl Fn(&Stands) -> usize) {
    let mut command = program(of, args);
    command.current_dir(sample.folder());
    command.args(["--store", "./loans", "--yes", "--throttle", "60"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::null()).spawn().unwrap();
    while done(&stands(sample)) < 10 {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

fn warnings(said: &Value) -> String {
    said["warnings"].to_string()
}

/// To see it fail: let `undone::close` set `partial: false`.
#[test]
fn one_process_that_was_undone_keeps_no_other_from_being_migrated() {
    let sample = Sample::new();
    say(FIXED, &sample, &["run", "--yes", "--limit", "5"], 0);
    let first = ask(&sample, &["processes", "--migrated-by", "1"], 0);
    let one = first["processes"][0]["stream"].as_str().unwrap().to_owned();
    let undone = ask(&sample, &["undo", "1", "--yes", "--stream", &one], 0);
    assert_eq!(undone["migrated"], 1, "{undone}");

    let status = ask(&sample, &["status"], 0);
    let of_2011 = status["versions"].as_array().unwrap().iter();
    let undone: u64 = of_2011.filter_map(|at| at["undone"].as_u64()).sum();
    assert_eq!(undone, 1, "{status}");
    assert!(warnings(&status).contains("1 process at loan@2011 was undone"));
    let listed = ask(&sample, &["processes", "--undone"], 0);
    let listed = listed["processes"].as_array().unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!(listed[0]["stream"], one.as_str());

    // Not counted as due, not opened, and left out by a run; all others are migrated.
    let most = ["run", "--dry-run", "--at-most", "235"];
    assert_eq!(ask(&sample, &most, 0)["migrated"], 235);
    let plan = ask(&sample, &["plan"], 0);
    assert_eq!(plan["due"], 235, "{plan}");
    assert!(warnings(&plan).contains("1 process at loan@2011 was undone"));
    let mut opener = program(OPENER, &["./loans", "240"]);
    opener.current_dir(sample.folder());
    let opened = finish(opener).exits(0).stdout;
    let refused: Vec<_> = opened
        .lines()
        .filter(|it| !it.contains("is open"))
        .collect();
    assert_eq!(refused.len(), 1, "{opened}");
    assert!(refused[0].starts_with(&format!("{one}: ")), "{refused:?}");
    let ran = ask(&sample, &["run", "--yes"], 0);
    assert_eq!(ran["skipped_by"]["undone"], 1, "{ran}");
    let allowed = ask(&sample, &["run", "--yes", "--again"], 0);
    assert_eq!(allowed["migrated"], 1, "{allowed}");
    assert_eq!(stands(&sample).at("loan@2014"), 240);
}

/// To see it fail: let `RunLine::is_open` not ask for an undo, or let `undo` open the store
/// with `Claim::Of(None)`.
#[test]
fn a_run_that_was_killed_is_undone_as_it_is() {
    let sample = Sample::new();
    kill(FIXED, &sample, &["run"], 1);
    let moved = stands(&sample).at("loan@2014");
    assert!((1..240).contains(&moved), "{moved}");
    let dry = ask(&sample, &["undo", "1", "--dry-run"], 0);
    let next = "loans-2014 --store ./loans undo 1 --yes";
    assert_eq!(dry["next"], json!([next]), "{dry}");
    let undone = ask(&sample, &["undo", "1", "--yes"], 0);
    assert_eq!(undone["migrated"], moved, "{undone}");
    for args in [&["runs"][..], &["status"], &["show", "1"]] {
        let said = say(FIXED, &sample, args, 0).stdout;
        assert!(!said.contains("resume"), "{said}");
    }
    let runs = ask(&sample, &["runs"], 0);
    let first = &runs["runs"].as_array().unwrap()[1];
    assert_eq!(first["undone_by"], runs["runs"][0]["run"], "{runs}");
    let shown = say(FIXED, &sample, &["show", "1"], 0).stdout;
    let note = "run 1 did not come to its end, and run 2 has undone it";
    assert!(shown.contains(note), "{shown}");
    let shown = say(FIXED, &sample, &["show", "2"], 0).stdout;
    assert!(
        shown.contains(&format!("\nundone     {moved}\n")),
        "{shown}"
    );
}

/// To see it fail: let `Run::interrupted` begin a run after any other kind.
#[test]
fn a_job_leaves_an_interrupted_redo_to_be_resumed() {
    let sample = Sample::new();
    say(LOSSY, &sample, &["run", "--yes"], 0);
    kill(FIXED, &sample, &["redo", "1"], 2);
    let files = sample.files();
    let refused = ask(&sample, &["run", "--yes", "--or-resume"], 4);
    assert_eq!(refused["reason"], "interrupted_run", "{refused}");
    let next = "loans-2014 --store ./loans resume 2";
    assert_eq!(refused["next"], json!([next]), "{refused}");
    assert!(
        sample.files() == files,
        "a refused command changed the store"
    );
    // Another undo or redo says so, too, before it is refused.
    let dry = say(FIXED, &sample, &["undo", "1", "--dry-run"], 0);
    let warning = "run 2 claims the store, so `undo 1 --yes` is refused";
    assert!(dry.stderr.contains(warning), "{}", dry.stderr);
    ask(&sample, &["resume", "2"], 0);
    ask(&sample, &["verify", "1"], 0);
}

/// To see it fail: let `fits` ask for the same plan, or let `Run::interrupted` begin a run.
#[test]
fn an_interrupted_erasure_is_resumed_by_any_release() {
    let sample = Sample::new();
    say(LOSSY, &sample, &["run", "--yes"], 0);
    let erase = ["erase", "--before-baseline"];
    kill_at(LOSSY, &sample, &erase, |stands| stands.erased);
    assert!((10..240).contains(&stands(&sample).erased));
    // It runs no code, so other code is no reason to refuse it, or to warn.
    for args in [&["status"][..], &["show", "2"]] {
        let said = ask(&sample, args, 0);
        let next = json!(["loans-2014 --store ./loans resume 2"]);
        assert_eq!(said["next"], next, "{said}");
        assert!(!warnings(&said).contains("other migrations"), "{said}");
    }
    let refused = ask(&sample, &["run", "--yes", "--or-resume"], 4);
    assert_eq!(refused["reason"], "interrupted_run", "{refused}");
    let resumed = ask(&sample, &["resume", "last"], 0);
    assert_eq!(resumed["migrated"], 240, "{resumed}");
    assert_eq!(stands(&sample).erased, 240);
    let shown = say(FIXED, &sample, &["show", "2"], 0).stdout;
    assert!(shown.contains(" erased, 0 failed\n"), "{shown}");
    assert!(!shown.contains(" migrated"), "{shown}");
    // What was erased is no damage, and what is left of it is named where it is exported.
    let one = ask(
        &sample,
        &["processes", "--migrated-by", "1", "--limit", "1"],
        0,
    );
    let one = one["processes"][0]["stream"].as_str().unwrap().to_owned();
    let inspected = ask(&sample, &["inspect", &one], 0);
    assert_eq!(inspected["change"]["failure"], Value::Null, "{inspected}");
    let why = inspected["change"]["missing"].as_str().unwrap();
    assert!(why.contains(" were erased, so the state"), "{why}");
    for (pointer, code) in [("/ApplicationSubmitted", 0), ("/from", 0), ("/*/*", 2)] {
        let out = pointer.replace(['/', '*'], "x");
        let export = [
            "export", "--out", &out, "--stream", &one, "--redact", pointer,
        ];
        let said = ask(&sample, &export, code);
        assert_eq!(said["recorded"], u64::from(code == 0), "{said}");
        if code == 0 {
            assert_eq!(said["redacted"], 0, "{said}");
            assert_eq!(said["unused"], json!([pointer]), "{said}");
        } else {
            let why = said["failed"][0]["message"].as_str().unwrap();
            assert!(!why.contains("backup"), "{why}");
            assert!(why.contains("and not with those of the store"), "{why}");
        }
    }
}
