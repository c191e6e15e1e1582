//! The quotations in the README, compared with the project.

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

static README: LazyLock<String> = LazyLock::new(|| read("README.md"));

/// A file of the project; read as the test runs, so that its text is no part of the
/// program.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::read_to_string(root.join(path)).unwrap()
}

/// The fenced blocks of a kind.
fn blocks(kind: &str) -> Vec<&'static str> {
    let fence = format!("```{kind}\n");
    let blocks = README.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

#[test]
fn the_function_shown_first_is_that_of_the_whole_example() {
    let (short, whole) = (blocks("rust,ignore"), blocks("rust,standalone_crate"));
    assert_eq!((short.len(), whole.len()), (4, 2));
    assert!(whole[0].contains(short[0]), "{}", short[0]);
}

/// What needs more features than these tests are built with is a program among the
/// examples or among those of other tests.
#[test]
fn the_programs_shown_are_those_of_examples_and_tests() {
    let short = blocks("rust,ignore");
    let admin = read("tests/tools/src/bin/misfit-admin.rs");
    let service = read("examples/src/bin/loans-service.rs");
    let testing = read("runtime/testing/src/lib.rs");
    // The names of crates and variables are others there.
    for (shown, program, parts) in [
        (
            short[1],
            admin,
            &["ExitCode {\n    state_migration::cli::main()\n}"][..],
        ),
        (
            short[2],
            service,
            &["ControlSocket::bind(", ".serve(Arc::new(runner))?"],
        ),
        (
            short[3],
            testing,
            &[
                "assert_layouts(\"layouts.lock\");",
                "replay(\"tests/histories\");",
            ],
        ),
    ] {
        for part in parts {
            assert!(shown.contains(part), "{part} in {shown}");
            assert!(program.contains(part), "{part}");
        }
    }
}

#[test]
fn the_compile_error_shown_is_a_golden_of_the_tests() {
    let golden = read("tests/ui/cases/fail/types/wrong_parameter.stderr");
    let shown = blocks("text");
    assert_eq!(shown.len(), 2);
    assert!(shown[0].lines().count() > 3);
    assert!(golden.starts_with(shown[0]), "{}", shown[0]);
}

#[test]
fn the_failure_shown_of_a_test_is_that_of_the_tests_of_layouts() {
    let shown = blocks("text")[1];
    let source = read("runtime/testing/src/layouts.rs");
    let says = "has changed, which is deployed according to";
    assert!(shown.contains(says) && source.contains(says), "{shown}");
}

#[test]
fn the_two_commands_of_a_newcomer_are_on_the_first_screen() {
    let first_screen: Vec<&str> = README.lines().take(60).collect();
    for command in ["$ cargo run --bin loans", "$ cargo test --workspace"] {
        assert!(first_screen.contains(&command), "{command}");
    }
    // The tests that it shows are there.
    let contract = read("tests/tests/runner/store_combinations.rs");
    let shown = README.lines().filter_map(|line| line.strip_prefix("test "));
    let shown: Vec<&str> = shown.collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    for line in shown {
        let name = line.strip_prefix("store_combinations::").unwrap();
        let name = name.strip_suffix(" ... ok").unwrap();
        assert!(contract.contains(&format!("async fn {name}()")), "{name}");
    }
    let ci = read(".ci/run");
    assert!(ci.contains("cargo test --workspace"));
}
