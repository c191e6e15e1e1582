//! Command lines that are none.

use crate::program::{bare, finish, run};
use crate::sample::Sample;

#[test]
fn a_command_line_that_is_none_is_a_document_with_json() {
    for (args, message, next) in [
        (
            &["--json"][..],
            "no command is given; name one, such as `status`",
            "loans-admin --help",
        ),
        (
            &["run", "--json", "--plan", "zzz"],
            "invalid value 'zzz' for '--plan <FINGERPRINT>': it is no fingerprint, which is 16 digits and letters from a to f; copy the one that `plan` shows",
            "loans-admin run --help",
        ),
        (
            &["run", "--yes", "--throttle", "0", "--json"],
            "invalid value '0' for '--throttle <N>': it is no whole number from 1 on; give one, or leave the option out",
            "loans-admin run --help",
        ),
        (
            &["statsu", "--json"],
            "unrecognized subcommand 'statsu'; a similar subcommand exists: 'status'",
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
        assert_eq!(document["next"], next);
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
    let number = "it is no whole number from 1 on; give one, or leave the option out";
    for (args, says) in [
        (&["run", "--yes", "--throttle", "0"][..], number),
        (&["run", "--yes", "--first", "0"], number),
        (&["runs", "--limit", "0"], number),
        (&["show", "1", "--limit", "0"], number),
        (&["inspect", "process/bank/500007", "--limit", "0"], number),
        (&["run", "--plan", "zzz"], "copy the one that `plan` shows"),
        (&["run", "--plan", "0123"], "copy the one that `plan` shows"),
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
            "error: the store has an empty name, in `--store` or in STATE_MIGRATION_STORE; give its folder or URL\n"
        );
    }
}
