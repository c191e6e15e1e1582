//! Log output of commands, which does not mix with their answers.

use serde_json::Value;

use crate::program::{bare, command, finish, run};
use crate::sample::Sample;

const DRY: [&str; 2] = ["run", "--dry-run"];

fn log(sample: &Sample, log: &[&str]) -> (Value, Vec<String>) {
    let ran = run(sample, &[&DRY, log, &["--json"]].concat()).exits(0);
    let lines = ran.stderr.lines().map(ToOwned::to_owned).collect();
    (ran.json(), lines)
}

#[test]
fn a_run_is_logged_as_json_where_that_is_asked_for() {
    let sample = Sample::new();
    let (answer, lines) = log(
        &sample,
        &["--log", "state_migration=info", "--log-format", "json"],
    );
    assert_eq!(answer["migrated"], 240);
    let lines: Vec<Value> = lines
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |message: &str| {
        let mut of = lines
            .iter()
            .filter(|line| line["fields"]["message"] == message);
        of.next()
            .unwrap_or_else(|| panic!("no {message} in {lines:#?}"))
    };
    assert_eq!(said("run began")["fields"]["dry_run"], true);
    let ended = said("run ended");
    assert_eq!(ended["fields"]["migrated"], 240);
    assert_eq!(ended["span"]["name"], "run");
    assert_eq!(ended["level"], "INFO");
    let chunks = lines.iter().filter(|line| line["span"]["name"] == "chunk");
    assert!(chunks.count() > 0);
    // Processes are for those who ask for more.
    assert!(lines.iter().all(|line| line["span"]["name"] != "process"));
    let (_, lines) = log(
        &sample,
        &["--log", "state_migration=debug", "--log-format", "json"],
    );
    let processes = lines
        .iter()
        .filter(|line| line.contains(r#""name":"process""#));
    assert!(processes.count() >= 240);
}

#[test]
fn a_run_is_logged_for_people_unless_it_is_said_otherwise() {
    let sample = Sample::new();
    let (_, lines) = log(&sample, &["--log", "state_migration=info"]);
    assert!(
        lines
            .iter()
            .any(|line| line.contains("run ended") && line.contains("migrated=240"))
    );
    assert!(
        !lines.concat().contains('\u{1b}'),
        "a log that is not a terminal has no colours"
    );
    let (_, nothing) = log(&sample, &[]);
    assert_eq!(nothing, [""; 0]);
    let mut command = command(&sample, &DRY);
    command.env("STATE_MIGRATION_LOG", "state_migration=info");
    assert!(finish(command).exits(0).stderr.contains("run ended"));
}

#[test]
fn an_invalid_filter_is_refused_before_anything_is_done() {
    for bad in ["loud", "state_migration=loud"] {
        let mut command = bare(&["migrations", "--json", "--log", bad]);
        command.env_remove("RUST_LOG");
        let message = finish(command).exits(1).json()["message"].to_string();
        assert!(message.contains("invalid filter"), "{message}");
    }
}
