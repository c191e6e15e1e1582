//! A release from its first look at the store to its last: what an operator
//! types, and what the program says.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;

use crate::golden::assert_golden;
use crate::program::{Ran, finish, program, tell, wait};
use crate::sample::Sample;
use crate::store_state::stands;
use crate::suggested_commands::can_be_typed;
use crate::{FIXED, PROGRAM, masking};

/// What is said, as text or as JSON.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Text,
    Json,
}

/// The store, and the form in which is said what happens to it.
struct Story {
    sample: Sample,
    form: Form,
}

impl Story {
    fn command(&self, of: &str, args: &[&str]) -> Command {
        let mut command = program(of, args);
        command.current_dir(self.sample.folder());
        command.args(["--store", "./loans"]);
        if self.form == Form::Json {
            command.arg("--json");
        }
        command
    }

    /// What a command says is in the golden of this name.
    #[track_caller]
    fn says(&self, golden: &str, of: &str, args: &[&str], code: i32) -> Ran {
        let said = finish(self.command(of, args)).exits(code);
        self.is_golden(golden, &said, |answer| {
            if matches!(golden, "4-resume" | "5-show") {
                hide_executions(answer);
            }
        });
        can_be_typed(&self.sample, &said);
        said
    }

    #[track_caller]
    fn is_golden(&self, golden: &str, said: &Ran, hide: impl Fn(&mut Value)) {
        for text in [&said.stdout, &said.stderr] {
            assert!(!text.contains('\x1b') && !text.contains('\r'), "{said:?}");
        }
        match self.form {
            Form::Text => {
                let text = masking::text(&said.stdout);
                let text = match golden {
                    "3-interrupted" => without_counts(&text),
                    "4-resume" | "5-show" => without_executions(&text),
                    _ => text,
                };
                assert_golden(&format!("release/{golden}.txt"), &text);
            }
            Form::Json => {
                assert_eq!(said.stderr, "");
                let documents = said.documents();
                let (answer, lines) = documents.split_last().unwrap();
                for line in lines {
                    assert_eq!(line["kind"], "progress", "{line}");
                }
                let mut answer = answer.clone();
                hide(&mut answer);
                assert_golden(&format!("release/{golden}.json"), &masking::json(&answer));
            }
        }
    }
}

/// How far a run came before it was interrupted is another each time.
fn without_counts(text: &str) -> String {
    let counts = ["migrated", "total", "failed", "failed:", "process/"];
    let is_count = |line: &&str| !counts.iter().any(|count| line.starts_with(count));
    let lines: Vec<&str> = text.lines().filter(is_count).collect();
    lines.join("\n") + "\n"
}

/// So is how much of a run each execution did.
fn without_executions(text: &str) -> String {
    let hidden = |line: &str| {
        let (name, counts) = line.split_once("  ").unwrap_or((line, ""));
        match name == "execution" || counts.ends_with(" by this execution") {
            true => format!("{name}  <some>\n"),
            false => format!("{line}\n"),
        }
    };
    text.lines().map(hidden).collect()
}

fn hide_executions(answer: &mut Value) {
    if let Some(migrated) = answer.get_mut("migrated_by_execution") {
        *migrated = "<some>".into();
    }
    let executed = answer.get_mut("executed").and_then(Value::as_array_mut);
    for execution in executed.into_iter().flatten() {
        execution["migrated"] = "<some>".into();
        execution["failed"] = "<some>".into();
    }
}

fn hide_counts(answer: &mut Value) {
    for field in [
        "migrated",
        "migrated_by_execution",
        "totals",
        "failed",
        "failed_by_class",
        "failures",
        "workflows",
    ] {
        answer[field] = "<some>".into();
    }
}

/// Waits until the run has come so far, as it says itself.
fn until(child: &mut Child, form: Form, processes: u64) -> Option<thread::JoinHandle<String>> {
    match form {
        Form::Text => {
            let mut lines = BufReader::new(child.stderr.take().unwrap());
            loop {
                let mut line = String::new();
                assert!(lines.read_line(&mut line).unwrap() > 0, "it ended too soon");
                let done = line
                    .strip_prefix("loan: ")
                    .and_then(|l| l.split_once(" of "));
                if done.is_some_and(|(done, _)| done.parse::<u64>().unwrap() >= processes) {
                    break;
                }
            }
            thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
            None
        }
        Form::Json => {
            let mut lines = BufReader::new(child.stdout.take().unwrap());
            let mut all = String::new();
            loop {
                let mut line = String::new();
                assert!(lines.read_line(&mut line).unwrap() > 0, "it ended too soon");
                let progress: Value = serde_json::from_str(&line).unwrap();
                all.push_str(&line);
                let looked_at = |field: &str| progress[field].as_u64().unwrap();
                if looked_at("migrated") + looked_at("failed") >= processes {
                    break;
                }
            }
            Some(thread::spawn(move || {
                std::io::Read::read_to_string(&mut lines, &mut all).unwrap();
                all
            }))
        }
    }
}

fn tell_the_story(form: Form) {
    let sample = Sample::new();
    let story = Story { sample, form };
    let sample = &story.sample;

    // What is there, and what would be done?
    story.says("1-status", PROGRAM, &["status"], 0);
    story.says("2-plan", PROGRAM, &["plan", "--sample", "0"], 0);
    let plan = crate::program::run_json(sample, &["plan"]).exits(0).json();
    let plan = plan["fingerprint"].as_str().unwrap();

    // It is done, carefully; then somebody has second thoughts.
    let args = [
        "run",
        "--plan",
        plan,
        "--throttle",
        "60",
        "--progress-interval",
        "50ms",
        "--actor",
        "ann",
        "--reason",
        "release 2014",
    ];
    let mut running = story.command(PROGRAM, &args);
    let running = running.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = running.spawn().unwrap();
    let rest = until(&mut running, form, 60);
    tell(&running, "-INT");
    let mut said = wait(running).exits(3);
    if let Some(rest) = rest {
        said.stdout = rest.join().unwrap();
    }
    story.is_golden("3-interrupted", &said, hide_counts);
    can_be_typed(sample, &said);
    let halfway = stands(sample);
    assert!((30..200).contains(&halfway.at("loan@2014")), "{halfway:?}");
    assert_eq!(halfway.at("loan@2011"), 240 - halfway.at("loan@2014"));

    // The run is resumed, and some processes fail to convert.
    let resume = [
        "resume",
        "last",
        "--actor",
        "bob",
        "--reason",
        "after the break",
    ];
    story.says("4-resume", PROGRAM, &resume, 2);
    let refused = stands(sample).at("loan@2011");
    assert!((1..100).contains(&refused), "{refused}");
    story.says("5-show", PROGRAM, &["show", "last"], 0);

    // The program is corrected, and tries those again.
    let retry = [
        "retry", "1", "--class", "refused", "--actor", "ann", "--reason", "band 3",
    ];
    story.says("6-retry", FIXED, &retry, 0);
    story.says("7-status", FIXED, &["status"], 0);
    let all = stands(sample);
    assert_eq!(all.at, [("loan@2014".to_owned(), 240)].into());
    assert_eq!(all.migrations, [(1, 240)].into());
}

#[test]
fn a_release_as_people_read_it() {
    tell_the_story(Form::Text);
}

#[test]
fn a_release_as_programs_read_it() {
    tell_the_story(Form::Json);
}
