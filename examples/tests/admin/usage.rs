//! Command lines that are none.

use crate::program::{bare, finish, run};
use crate::sample::Sample;

#[test]
fn an_invalid_command_line_is_a_document_with_json() {
    for (args, message, next) in [
        (
            &["--json"][..],
            "no command given; add one, such as `status`",
            "loans-admin --help",
        ),
        (
            &["run", "--json", "--plan", "zzz"],
            "invalid value 'zzz' for '--plan <FINGERPRINT>': expected a fingerprint of 16 hexadecimal digits, as printed by `plan`",
            "loans-admin run --help",
        ),
        (
            &["run", "--yes", "--throttle", "0", "--json"],
            "invalid value '0' for '--throttle <N>': expected a positive integer or `off`; correct the value, or omit the option",
            "loans-admin run --help",
        ),
        (
            &["statsu", "--json"],
            "unrecognized command 'statsu'; a similar command exists: 'status'",
            "loans-admin --help",
        ),
    ] {
        let said = finish(bare(args)).exits(1);
        assert_eq!(said.stderr, "");
        let document = said.json();
        assert_eq!(
            (&document["kind"], &document["exit"]),
            (&"error".into(), &1.into())
        );
        assert_eq!(document["message"], message);
        assert_eq!(document["next"], serde_json::json!([next]));
    }
    // What follows two dashes is no option.
    let said = finish(bare(&["inspect", "--", "a", "--json"])).exits(1);
    assert_eq!(said.stdout, "");
    // Help is for people.
    assert!(
        finish(bare(&["--help", "--json"]))
            .exits(0)
            .stdout
            .contains("Commands:")
    );
}

#[test]
fn options_that_mean_nothing_are_told_how_to_be_given() {
    let sample = Sample::new();
    let before = sample.files();
    let number = "expected a positive integer; correct the value, or omit the option";
    for (args, says) in [
        (
            &["run", "--yes", "--throttle", "0"][..],
            "expected a positive integer or `off`; correct the value, or omit the option",
        ),
        (&["run", "--yes", "--limit", "0"], number),
        (&["runs", "--limit", "0"], number),
        (&["show", "1", "--limit", "0"], number),
        (&["inspect", "process/bank/500007", "--limit", "0"], number),
        (&["run", "--plan", "zzz"], "as printed by `plan`"),
        (&["run", "--plan", "0123"], "as printed by `plan`"),
    ] {
        let said = run(&sample, args).exits(1);
        assert!(said.stderr.starts_with("error: invalid value "), "{said:?}");
        assert!(
            said.stderr.lines().next().unwrap().ends_with(says),
            "{said:?}"
        );
    }
    assert!(sample.files() == before);
    for mut command in [bare(&["status", "--store", ""]), {
        let mut command = bare(&["status"]);
        command.env("STATE_MIGRATION_STORE", "");
        command
    }] {
        command.current_dir(sample.folder());
        assert_eq!(
            finish(command).exits(1).stderr,
            "error: the store name in `--store` or STATE_MIGRATION_STORE is empty; give a folder or a URL\n"
        );
    }
}

#[test]
fn commands_of_other_tools_are_told_what_there_is_and_never_lead_to_a_write() {
    for (args, says, next) in [
        (
            &["undo", "3"][..],
            "no command takes processes back to an earlier version, because a run only leads to newer versions;",
            "loans-admin graph",
        ),
        (
            &["rollback"],
            "no command takes processes back",
            "loans-admin graph",
        ),
        (
            &["history"],
            "the history of a store is the list of its runs; use `runs`",
            "loans-admin runs",
        ),
        (
            &["retri"],
            "unrecognized command 'retri'; `--help` lists the commands",
            "loans-admin --help",
        ),
        (
            &["statsu"],
            "unrecognized command 'statsu'; a similar command exists: 'status'",
            "loans-admin --help",
        ),
    ] {
        let said = finish(bare(args)).exits(1);
        let lines: Vec<&str> = said.stderr.lines().collect();
        assert!(lines[0].starts_with(&format!("error: {says}")), "{said:?}");
        assert_eq!(lines[1..], [format!("next: {next}")], "{said:?}");
    }
    let help = finish(bare(&["--help"])).exits(0).stdout;
    assert!(
        !help.contains("undo") && !help.contains("history"),
        "{help}"
    );
}
