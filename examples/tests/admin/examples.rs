//! Every example in the help of every command does what it says.

use std::fs;
use std::path::Path;
use std::process::Command;

use state_migration::{MigrationRegistry, MigrationRunner, Selection};

use crate::looking::unreadable_amount;
use crate::program::{bare, finish};
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

/// A service with a run under way that takes a few seconds.
fn under_way(sample: &Sample) -> (Service, Child) {
    let service = Service::start_over(sample);
    let run = ["run", "--yes", "--throttle", "50", "--via", "./control"];
    let mut run = bare(&run);
    run.current_dir(sample.folder())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let run = run.spawn().unwrap();
    service.until_under_way();
    (service, run)
}

/// Runs a line in a shell, as it is typed.
fn typed(line: &str, sample: &Sample) -> Command {
    let home = sample.folder().join("home");
    let completions = home.join(".local/share/bash-completion/completions");
    fs::create_dir_all(completions).unwrap();
    let program = Path::new(crate::PROGRAM).parent().unwrap();
    let tools = sample.folder().join("tools");
    fs::create_dir_all(&tools).unwrap();
    // What a pipe of an example needs, and need not be installed.
    let dot = tools.join("dot");
    fs::write(&dot, "#!/bin/sh\ngrep -q '^digraph' && echo '<svg/>'\n").unwrap();
    let mut executable = fs::metadata(&dot).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut executable, 0o755);
    fs::set_permissions(&dot, executable).unwrap();
    let mut command = crate::program::program("sh", &["-e", "-c", line]);
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{}:{path}", program.display(), tools.display());
    command
        .current_dir(sample.folder())
        .env("PATH", path)
        .env("HOME", home);
    command
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
            let via = example.contains("--via").then(|| under_way(&sample));
            let said = finish(typed(&example, &sample));
            drop(via);
            tried += 1;
            // What fails are the two that cannot be converted; what is watched
            // ends like that, or is interrupted.
            let fine = match example.contains("--via") {
                true => matches!(said.code, Some(0 | 2 | 3)),
                false => matches!(said.code, Some(0 | 2)),
            };
            if !fine {
                wrong.push(format!("{example}: {said:?}"));
            }
        }
    }
    assert!(tried >= commands.len(), "{tried}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
