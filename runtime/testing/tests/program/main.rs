//! A program with linked migrations, and the tests that its repository would have.
#![allow(clippy::unwrap_used)]

mod orders;

use std::path::Path;
use std::process::{Command, Output};

use state_migration::testing::{assert_layouts, replay};

#[test]
fn deployed_layouts_are_as_they_were() {
    assert_layouts("tests/program/layouts.lock");
}

#[test]
fn histories_give_the_recorded_states() {
    replay("tests/program/histories");
}

/// Runs one test of this program in another package.
fn run(test: &str, package: &Path, variable: Option<(&str, &str)>) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("CARGO_MANIFEST_DIR", package)
        .env_remove("UPDATE_LAYOUTS")
        .env_remove("UPDATE_HISTORIES")
        .envs(variable)
        .output()
        .unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_test_that_passes_tells_what_is_unknown() {
    let test = "deployed_layouts_are_as_they_were";
    let passed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .output()
        .unwrap();
    assert!(passed.status.success());
    let told = errors(&passed);
    assert!(
        told.contains("warning: the events of order@v1 may have fields, at $ and further inside"),
        "{told}"
    );
    assert!(told.contains("warning: the state of order@v3 may have fields"));
    assert!(!told.contains("the state of order@v1"));
}

#[test]
fn the_variable_writes_the_layouts() {
    let test = "deployed_layouts_are_as_they_were";
    let package = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(package.path().join("tests/program")).unwrap();
    let lock = package.path().join("tests/program/layouts.lock");

    let missing = run(test, package.path(), None);
    assert!(!missing.status.success());
    let expected =
        "order@v1 is not in tests/program/layouts.lock: run the test once with UPDATE_LAYOUTS=1";
    assert!(errors(&missing).contains(expected), "{}", errors(&missing));
    assert!(!lock.exists());

    let unknown = run(test, package.path(), Some(("UPDATE_LAYOUTS", "yes")));
    assert!(errors(&unknown).contains("UPDATE_LAYOUTS=yes is unknown: use 1 or deployed"));
    assert!(!lock.exists());

    let written = run(test, package.path(), Some(("UPDATE_LAYOUTS", "1")));
    assert!(written.status.success(), "{}", errors(&written));
    let text = std::fs::read_to_string(&lock).unwrap();
    assert_eq!(text.matches("deployed = false").count(), 3);
    assert!(run(test, package.path(), None).status.success());

    let deployed = run(test, package.path(), Some(("UPDATE_LAYOUTS", "deployed")));
    assert!(deployed.status.success());
    let marked = std::fs::read_to_string(&lock).unwrap();
    assert_eq!(marked, text.replace("deployed = false", "deployed = true"));

    // What the code of another time would have deployed.
    std::fs::write(
        &lock,
        marked.replace("'$.note' = 'option of string", "'$.note' = 'string"),
    )
    .unwrap();
    let changed = run(test, package.path(), Some(("UPDATE_LAYOUTS", "1")));
    assert!(!changed.status.success());
    assert!(errors(&changed).contains("the stored layout of order@v2 has changed"));
}

#[test]
fn the_variable_records_the_states_of_histories_that_have_none() {
    let test = "histories_give_the_recorded_states";
    let package = tempfile::tempdir().unwrap();
    let folder = package.path().join("tests/program/histories");
    std::fs::create_dir_all(&folder).unwrap();
    let none = run(test, package.path(), None);
    assert!(
        errors(&none).contains("has no histories"),
        "{}",
        errors(&none)
    );

    let recorded = include_str!("histories/migrated-order.jsonl");
    let events: String = recorded
        .lines()
        .filter(|line| !line.starts_with("{\"state\""))
        .map(|line| format!("{line}\n"))
        .collect();
    let file = folder.join("migrated-order.jsonl");
    std::fs::write(&file, &events).unwrap();
    let missing = run(test, package.path(), None);
    let expected = "tests/program/histories/migrated-order.jsonl:1: the history has no recorded \
                    states: run the test once with UPDATE_HISTORIES=1";
    assert!(errors(&missing).contains(expected), "{}", errors(&missing));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), events);

    let written = run(test, package.path(), Some(("UPDATE_HISTORIES", "1")));
    assert!(written.status.success(), "{}", errors(&written));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), recorded);

    // What is recorded is never written again.
    let other = recorded.replace("\"note\":\"fragile\"", "\"note\":\"other\"");
    std::fs::write(&file, &other).unwrap();
    let differs = run(test, package.path(), Some(("UPDATE_HISTORIES", "1")));
    assert!(!differs.status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), other);
}
