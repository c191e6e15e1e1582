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
            "invalid value 'zzz' for '--plan <FINGERPRINT>': expected a fingerprint as printed by `plan`, such as 5be1a5f3c0ffee00-1f0c9a7e",
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
        (
            &["run", "--plan", "zzz"],
            "such as 5be1a5f3c0ffee00-1f0c9a7e",
        ),
        (
            &["run", "--plan", "0123"],
            "such as 5be1a5f3c0ffee00-1f0c9a7e",
        ),
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
            &["rollback", "3"][..],
            "the command that takes the processes of a run back is `undo RUN`;",
            "loans-admin undo --help",
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
        !help.contains("rollback") && !help.contains("history"),
        "{help}"
    );
}

/// A command line of 5,000 streams is not printed again.
#[test]
fn a_plan_of_many_streams_names_a_file_instead_of_all_streams() {
    let sample = Sample::new();
    let streams: Vec<String> = (0..25)
        .map(|n| format!("process/bank/5000{n:02}"))
        .collect();
    let mut args = vec!["plan", "--sample", "0"];
    for stream in &streams {
        args.extend(["--stream", stream]);
    }
    let plan = crate::program::run_json(&sample, &args).exits(0).json();
    assert!(plan["due"].as_u64().unwrap() > 0, "{plan}");
    assert_eq!(plan["next"].as_array().unwrap().len(), 0, "{plan}");
    let fingerprint = plan["fingerprint"].as_str().unwrap();
    let hint = format!(
        "25 --stream options were given; give the same options to `run --plan {fingerprint}`, or name the streams in a file with --streams-from"
    );
    let warnings = plan["warnings"].as_array().unwrap();
    assert!(warnings.iter().any(|warning| *warning == *hint), "{plan}");
    let said = run(&sample, &args).exits(0);
    assert!(!said.stdout.contains("nothing to do"), "{said:?}");
    let few = crate::program::run_json(&sample, &args[..7])
        .exits(0)
        .json();
    assert_eq!(few["next"].as_array().unwrap().len(), 1, "{few}");
}

/// The tool creates no store, so an empty folder is not a way out.
#[test]
fn a_folder_with_a_store_in_it_is_not_a_store() {
    let sample = Sample::new();
    let mut command = crate::program::bare(&["run", "--yes", "--store", "."]);
    command.current_dir(sample.folder());
    let said = finish(command).exits(1);
    assert!(
        said.stderr
            .contains("contains \"loans\" but no store; use the folder of a store\n"),
        "{said:?}"
    );
}

/// The test fails if the tool does not look at what was given beside the socket.
#[test]
fn options_that_have_no_effect_on_a_service_are_refused() {
    for (args, option) in [
        (&["run", "--yes", "--patience", "3s"][..], "--patience"),
        (&["verify", "1", "--patience", "5m"], "--patience"),
        (
            &["resume", "1", "--fence-live-program"],
            "--fence-live-program",
        ),
        (
            &["hold", "x", "--reason", "y", "--fence-live-program"],
            "--fence-live-program",
        ),
        (&["release", "x", "--take-over"], "--take-over"),
        (&["plan", "--settings", "absent.toml"], "--settings"),
    ] {
        let said = finish(bare(&[args, &["--socket", "absent", "--json"]].concat()));
        let document = said.exits(1).json();
        assert_eq!(document["reason"], "unsupported", "{document}");
        let message = document["message"].as_str().unwrap();
        assert!(
            message.starts_with(&format!("{option} has no effect")),
            "{message}"
        );
    }
    // Their defaults, and what a request has a field for, are sent.
    for args in [
        &["run", "--yes", "--take-over"][..],
        &["retry", "1", "--allow-newer"],
    ] {
        let said = finish(bare(&[args, &["--socket", "absent", "--json"]].concat()));
        assert_eq!(said.exits(1).json()["reason"], "service_unreachable");
    }
    // Beside a store, the settings are those of the suggested commands.
    let args = [
        "plan",
        "--settings",
        "a.toml",
        "--store",
        "b",
        "--socket",
        "absent",
        "--json",
    ];
    let said = finish(bare(&args)).exits(1);
    assert_eq!(said.json()["reason"], "service_unreachable");
}
