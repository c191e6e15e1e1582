//! Every example in the help of every command does what it says.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use serde_json::Value;
use state_migration::{MigrationRegistry, MigrationRunner, Selection};

use crate::program::{bare, finish, program};
use crate::read_only_commands::unreadable_amount;
use crate::sample::Sample;

/// A store with a run, a run in which all failed and, if it is wanted, a last one
/// that was interrupted.
pub(crate) fn with_runs(interrupted: bool) -> Sample {
    let sample = Sample::new();
    sample.change(async move |store| {
        for process in ["x1", "x2"] {
            unreadable_amount(&store, process).await;
        }
        let runner = || {
            let linked = MigrationRegistry::linked().unwrap();
            MigrationRunner::new(linked, store.clone(), store.clone())
        };
        let first = runner().select(Selection::all().first(40)).run().await;
        assert!(first.is_ok(), "{first}");
        let second = Selection::all().prefix("process/bank/x");
        let second = runner().select(second).run().await;
        assert_eq!(second.error_count, 2, "{second}");
        if interrupted {
            let third = runner();
            third.control().cancel();
            let third = third.run().await;
            assert_eq!(third.migrated, 0, "{third}");
        }
    });
    sample
}

/// The names of the commands, as the help lists them.
pub(crate) fn commands() -> Vec<String> {
    let help = finish(bare(&["--help"])).exits(0).stdout;
    let listed = help.split_once("Commands:\n").unwrap().1;
    let listed = listed.lines().take_while(|line| line.starts_with("  "));
    let names = listed
        .filter(|line| !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned());
    names.filter(|name| name != "help").collect()
}

fn examples(command: &str) -> Vec<String> {
    let help = finish(bare(&[command, "--help"])).exits(0).stdout;
    let examples = help.split_once("Examples:\n");
    let examples = examples
        .unwrap_or_else(|| panic!("{command} has no example"))
        .1;
    examples
        .lines()
        .map(|line| line.trim().to_owned())
        .collect()
}

/// A child that goes with the test.
pub(crate) struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A service at `./control` with a run in progress that takes ten seconds.
pub(crate) fn in_progress(sample: &Sample) -> [Killed; 2] {
    let mut service = program(
        env!("CARGO_BIN_EXE_loans-service"),
        &[
            "--store",
            "./loans",
            "--socket",
            "./control",
            "--journal",
            "./journal",
        ],
    );
    service.current_dir(sample.folder()).stdout(Stdio::piped());
    let mut service = Killed(service.spawn().unwrap());
    let mut said = BufReader::new(service.0.stdout.take().unwrap());
    said.read_line(&mut String::new()).unwrap();
    service.0.stdout = Some(said.into_inner());
    let via = |args: &[&str]| {
        let mut command = bare(&[args, &["--socket", "./control"]].concat());
        command.current_dir(sample.folder());
        command
    };
    let slow = ["run", "--yes", "--throttle", "20"];
    let mut run = via(&[&slow[..], &["--json", "--progress-interval", "50ms"]].concat());
    run.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut run = Killed(run.spawn().unwrap());
    let mut said = BufReader::new(run.0.stdout.take().unwrap());
    loop {
        let mut line = String::new();
        assert!(said.read_line(&mut line).unwrap() > 0, "no run begins");
        let line: Value = serde_json::from_str(&line).unwrap();
        // The run has an id from the moment that the store knows of it.
        if line["kind"] == "progress" && line["run"].is_string() {
            break;
        }
    }
    // What is not read would stop the one who says it.
    thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    [service, run]
}

/// Runs a line in a shell, as it is typed.
fn typed(line: &str, sample: &Sample) -> Command {
    let home = sample.folder().join("home");
    let completions = home.join(".local/share/bash-completion/completions");
    fs::create_dir_all(completions).unwrap();
    let programs = Path::new(crate::PROGRAM).parent().unwrap();
    let tools = sample.folder().join("tools");
    fs::create_dir_all(&tools).unwrap();
    // What a pipe of an example needs, and need not be installed.
    let dot = tools.join("dot");
    fs::write(&dot, "#!/bin/sh\ngrep -q '^digraph' && echo '<svg/>'\n").unwrap();
    let mut executable = fs::metadata(&dot).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut executable, 0o755);
    fs::set_permissions(&dot, executable).unwrap();
    let mut command = program("sh", &["-e", "-c", line]);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", programs.display(), tools.display());
    command
        .current_dir(sample.folder())
        .env("PATH", path)
        .env("HOME", home);
    command
}

/// The exit code of an example: two processes of the store cannot be converted.
fn ends_with(example: &str) -> i32 {
    let words: Vec<&str> = example.split(' ').collect();
    match words[1] {
        // Neither of the two is in that share.
        "run" if words.contains(&"--percent") => 0,
        // Processes are at that version.
        "status" if words.contains(&"--can-remove") => 2,
        // A run is in progress there.
        "rehearse" if words.contains(&"--socket") => 4,
        "rehearse" | "run" | "resume" | "retry" | "watch" => 2,
        _ => 0,
    }
}

#[test]
fn every_example_in_the_help_works() {
    let commands = commands();
    assert!(commands.len() >= 13, "{commands:?}");
    let mut tried = 0;
    let mut wrong = Vec::new();
    for command in &commands {
        for example in examples(command) {
            let sample = with_runs(command == "resume");
            let via = example.contains("--socket").then(|| in_progress(&sample));
            let said = finish(typed(&example, &sample));
            drop(via);
            tried += 1;
            if said.code != Some(ends_with(&example)) {
                wrong.push(format!("{example}: {said:?}"));
            }
        }
    }
    assert!(tried >= commands.len(), "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
